"""`baton db backup`: copies that were read back, with date and time in their names, and the oldest of them removed."""

import contextlib
import hashlib
import re
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from baton.core.errors import BatonError, ConfigError, Conflict, Unavailable
from baton.core.ports import Clock
from baton.credentials import prepare_folder
from baton.db_transfer import export_to, read_whole, reading, writing
from baton.keeping import Progress, Tell, require_database
from baton.settings import Settings
from baton.storage.sqlite_backup import check_copy, copy_database, sync

NAME: Final = re.compile(r"baton-\d{4}-\d\d-\d\dT\d{6}Z\.(sqlite3|jsonl)\Z")
"""What a backup is called, and nothing else: no other file of the folder is ever removed."""
_UNFINISHED: Final = re.compile(r"\.baton-.*\.partial(-journal|-wal|-shm)?\Z")
_EVERY: Final = re.compile(r"([1-9][0-9]{0,5})(m|h|d)\Z", re.ASCII)
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_DIGEST_BLOCK: Final = 1 << 20


def default_folder(settings: Settings) -> Path:
    """Where backups go when no folder is named."""
    return settings.data / "backups"


def parse_every(text: str) -> timedelta:
    """How often. Raises ConfigError."""
    match = _EVERY.match(text)
    if match is None:
        raise ConfigError(f"--every={text}: accepted is a number with m, h or d behind it: 30m, 24h, 7d")
    return int(match[1]) * _UNITS[match[2]]


async def backups(
    settings: Settings,
    tell: Tell,
    clock: Clock,
    *,
    folder: Path | None = None,
    every: timedelta | None = None,
    keep: int | None = None,
) -> None:
    """One backup; with `every`, one after the other until it is stopped: one that fails is told, and the next tried."""
    place = folder or default_folder(settings)
    if every is None:
        await _one(settings, tell, clock, place, keep)
        return
    while True:
        begun = clock.monotonic()
        try:
            await _one(settings, tell, clock, place, keep)
        except (BatonError, OSError) as error:
            tell(f"❌ no backup at {stamp(clock.now())}: {getattr(error, 'message', type(error).__name__)}")
        await clock.sleep(max(every.total_seconds() - (clock.monotonic() - begun), 0))


async def _one(settings: Settings, tell: Tell, clock: Clock, folder: Path, keep: int | None) -> None:
    path = await make_backup(settings, clock, folder)
    size = path.stat().st_size
    tell(f"✅ {path} ({size / 1e6:.1f} MB), read back and found good")
    for old in _beyond(folder, keep):
        for gone in (old, digest_path(old)):
            gone.unlink(missing_ok=True)
        tell(f"removed {old.name}")


async def make_backup(settings: Settings, clock: Clock, folder: Path) -> Path:
    """Make one, and read it back; under its name it is whole. Raises ConfigError, Unavailable, Conflict."""
    require_database(settings)
    _prepare(folder, is_ours=folder == default_folder(settings))
    ending = "jsonl" if settings.sqlite_path is None else "sqlite3"
    path = folder / f"baton-{stamp(clock.now())}.{ending}"
    if path.exists():
        raise Conflict(f"{path} is there already: wait for a second")
    partial = folder / f".{path.name}.partial"
    try:
        await (_export(settings, partial) if settings.sqlite_path is None else _copy(settings.sqlite_path, partial))
        # First the digest: a backup that has its name has it too.
        digest_path(path).write_text(f"{digest_of(partial)}  {path.name}\n", encoding="ascii")
        partial.rename(path)
        sync(folder)
    except BaseException as error:
        _remove_unfinished(folder)
        digest_path(path).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Unavailable(f"{path} could not be written: {error.strerror}") from error
        raise
    return path


def digest_path(path: Path) -> Path:
    """Where a backup's SHA-256 stands, as `sha256sum -c` reads it."""
    return path.with_name(path.name + ".sha256")


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_DIGEST_BLOCK):
            digest.update(block)
    return digest.hexdigest()


async def _copy(source: Path, partial: Path) -> None:
    with Progress(sys.stderr, "💾 copying pages:") as progress:
        await copy_database(source, partial, progress.of)
    await check_copy(partial)


async def _export(settings: Settings, partial: Path) -> None:
    said: list[str] = []
    if not await export_to(settings, said.append, target=str(partial)):
        raise Unavailable(f"This would be no whole backup: {said[-1]}")
    with reading(partial) as file:
        read_whole(file, partial)


def _prepare(folder: Path, *, is_ours: bool) -> None:
    """Raises ConfigError where nothing can be written there. What a backup before left unfinished goes."""
    try:
        if is_ours:
            prepare_folder(folder.parent)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_unfinished(folder)
        trial = folder / ".baton-trial.partial"
        with writing(trial):
            trial.unlink()
    except (OSError, Unavailable) as error:
        raise ConfigError(f"{folder} cannot be written: name a folder that can, or allow writing to it") from error


def _remove_unfinished(folder: Path) -> None:
    for path in folder.iterdir():
        if _UNFINISHED.match(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


def _beyond(folder: Path, keep: int | None) -> list[Path]:
    """The oldest ones, without the newest `keep`."""
    if keep is None:
        return []
    # Their names sort by their times.
    ours = sorted(path for path in folder.iterdir() if NAME.match(path.name))
    return ours[: max(len(ours) - keep, 0)]


def stamp(at: datetime) -> str:
    """As it stands in names."""
    return at.strftime("%Y-%m-%dT%H%M%SZ")
