"""`baton db export` and `baton db import`: the records of a database as lines of a file, and back into any store."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from baton.clock import SystemClock
from baton.core.errors import ConfigError, Conflict, InvalidRequest, Unavailable
from baton.core.ids import is_object_id
from baton.keeping import Progress, Tell, open_records, owned_database, require_database
from baton.services.archive import Contents, Exported, Filled, export, fill, from_file, read_contents
from baton.services.mending import settle
from baton.settings import Settings

_SHOWN: Final = 5


async def export_to(
    settings: Settings, tell: Tell, *, target: str, conversation_id: str | None = None, resumes: bool = False
) -> bool:
    """Whether everything could be read; `tell` is for people, the lines go to `target` (`-`: standard output)."""
    require_database(settings)
    require_id(conversation_id)
    if target == "-":
        if resumes:
            raise ConfigError("--resume needs a file: what went to the standard output is not there any more")
        try:
            exported = await _export(settings, sys.stdout.buffer, conversation_id, None)
            sys.stdout.buffer.flush()
        except OSError as error:
            raise Unavailable(f"The standard output could not be written: {error.strerror}") from error
    else:
        path = Path(target)
        begun = _begun(path, conversation_id) if resumes else None
        if begun is not None and begun.is_whole:
            tell(f"{path} is whole already")
            return True
        with _opened(path, begun) as file:
            exported = await _export(settings, file, conversation_id, begun)
    tell(f"exported {_counted(dict(exported.counts))}")
    if exported.unreadable:
        tell(f"❌ {len(exported.unreadable)} records cannot be read and are missing: {listed(exported.unreadable)}")
    return not exported.unreadable


async def import_from(settings: Settings, tell: Tell, *, source: str) -> bool:
    """Whether everything was taken. Nothing is written before the whole file was read and found good."""
    path = Path(source)
    with reading(path) as file:
        contents = read_whole(file, path)
        async with owned_database(settings) as store:
            file.seek(0)
            with Progress(sys.stderr, "💾 importing records:", contents.counts.total()) as progress:
                async with open_records(settings) as records:
                    filled = await fill(records, from_file(file), progress)
            # Other connections, because on SQLite those before see the database as it was.
            async with open_records(settings) as now:
                with Progress(sys.stderr, "💾 looking at records:") as progress:
                    await settle(now, store, SystemClock(), progress)
    tell_filled(tell, filled)
    return not filled.refused


def tell_filled(tell: Tell, filled: Filled) -> None:
    """What became of the records."""
    tell(f"added {_counted({kind: one.added for kind, one in filled.kinds.items()})}")
    if filled.known:
        tell(f"skipped {filled.known} that were there already")
    if filled.refused:
        tell(f"❌ {len(filled.refused)} were not taken, as their conversation is missing: {listed(filled.refused)}")


def read_whole(file: BinaryIO, path: Path, conversation_id: str | None = None) -> Contents:
    """The contents of a file that is whole. Raises InvalidRequest that names the file and the line."""
    with Progress(sys.stderr, "💾 reading records:") as progress:
        try:
            return read_contents(file, progress, conversation_id=conversation_id)
        except InvalidRequest as error:
            raise InvalidRequest(f"{path}: {_uncapped(error.message)}; nothing was changed") from error


def require_id(conversation_id: str | None) -> None:
    """Raise ConfigError for what is no id."""
    if conversation_id is not None and not is_object_id(conversation_id):
        raise ConfigError(f"--conversation={conversation_id}: accepted is an id, 24 hex digits")


def listed(names: list[str]) -> str:
    """Some of them."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """The file. Raises ConfigError where it cannot be read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield file


async def _export(settings: Settings, out: BinaryIO, conversation_id: str | None, begun: Contents | None) -> Exported:
    async with open_records(settings) as records:
        total = None if conversation_id else sum((await records.counts()).values())
        with Progress(sys.stderr, "💾 exporting records:", total) as progress:
            return await export(records, out, progress, conversation_id=conversation_id, begun=begun)


def _begun(path: Path, conversation_id: str | None) -> Contents | None:
    if not path.exists():
        return None
    with reading(path) as file, Progress(sys.stderr, "💾 reading what is there:") as progress:
        try:
            return read_contents(file, progress, is_begun=True, conversation_id=conversation_id)
        except InvalidRequest as error:
            raise InvalidRequest(f"{path}: {_uncapped(error.message)}; it cannot be gone on with") from error


@contextmanager
def _opened(path: Path, begun: Contents | None) -> Iterator[BinaryIO]:
    """The file to write to, for its owner only; on the disk when it is closed. Raises Conflict, Unavailable."""
    try:
        with writing(path, is_new=begun is None) as file:
            if begun is not None:
                file.truncate(begun.size_bytes)
                file.seek(begun.size_bytes)
            yield file
    except FileExistsError as error:
        raise Conflict(f"{path} is there already: --resume goes on with it; or name another file") from error


@contextmanager
def writing(path: Path, *, is_new: bool = True) -> Iterator[BinaryIO]:
    """A file that only its owner can read. Raises FileExistsError for a new one that is there, Unavailable."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if is_new else 0)
    try:
        with os.fdopen(os.open(path, flags, 0o600), "r+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise
    except OSError as error:
        raise Unavailable(f"{path} could not be written: {error.strerror}") from error


def _counted(counts: dict[str, int]) -> str:
    parts = ", ".join(f"{kind} {count}" for kind, count in counts.items() if count)
    return f"{sum(counts.values())} records" + (f" ({parts})" if parts else "")


def _uncapped(text: str) -> str:
    return text[:1].lower() + text[1:]
