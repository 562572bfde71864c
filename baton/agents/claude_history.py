"""Claude Code's own session files: which there are for a folder, and what was said in one, page by page.

`$CLAUDE_CONFIG_DIR/projects/<folder>/<session>.jsonl`. Read with memory that does not grow with the file; blocking,
for threads. Needs neither the SDK nor Claude Code's program.
"""

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from baton.agents.claude_transcript import Transcript
from baton.core.errors import InvalidRequest, NotFound
from baton.core.text import Json, clean_text

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
PAGE_BYTES: Final = 4 << 20
"""Of one page, about; well below a frame of the wire."""
SCAN_BYTES: Final = 64 << 20
"""Looked at for one page: a stretch without messages gives an empty page and a cursor."""
MAX_LINE_BYTES: Final = 32 << 20
"""Longer lines are passed over: a picture of such a size is no message for people."""
HEAD_BYTES: Final = 256 << 10
"""Looked at of each end of a file for its title and folder."""
TITLE_CHARS: Final = 200

_FOLDER_CHARS: Final = 200
_SESSION: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_NO_LETTER: Final = re.compile(r"[^a-zA-Z0-9]")
_TOLD: Final = (b'"type":"user"', b'"type":"assistant"', b'"type": "user"', b'"type": "assistant"', b'"queued_command"')
"""What a line that says something has in it; the others need not be parsed."""
_TITLES: Final = ("customTitle", "aiTitle", "summary")


@dataclass(frozen=True, slots=True)
class _File:
    session_id: str
    path: Path
    size: int
    changed_at: float


def list_sessions(environment: Mapping[str, str], folder: str, cursor: str | None, limit: int | None) -> Json:
    """`{sessions: [{sessionId, title, workingDirectory, startedAt, updatedAt, sizeBytes}], next}`, newest first.

    Only sessions of this very folder, in which somebody said something. Raises InvalidRequest for a wrong cursor.
    """
    most = min(limit or DEFAULT_LIMIT, MAX_LIMIT)
    files = sorted(_files(environment, folder), key=lambda file: (-file.changed_at, file.session_id))
    begin = _position(cursor)
    sessions: list[Json] = []
    for number, file in enumerate(files[begin:], begin):
        if len(sessions) == most:
            return {"sessions": sessions, "next": str(number)}
        described = _describe(file, folder)
        if described is not None:
            sessions.append(described)
    return {"sessions": sessions, "next": None}


def read_session(
    environment: Mapping[str, str], folder: str, session_id: str, cursor: str | None, limit: int | None
) -> Json:
    """`{session, messages: [{role, at, id, model, usage, blocks}], next}`, the oldest message first.

    The file may grow meanwhile. Raises NotFound, InvalidRequest.
    """
    file = next((file for file in _files(environment, folder) if file.session_id == session_id), None)
    described = _describe(file, folder) if file is not None else None
    if file is None or described is None:
        raise NotFound(f"Claude Code has no session {session_id} in that folder")
    messages, following = _page(file.path, _position(cursor), min(limit or DEFAULT_LIMIT, MAX_LIMIT))
    return {"session": described, "messages": messages, "next": None if following is None else str(following)}


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise InvalidRequest("The cursor is not one of ours", fields={"cursor": "invalid"})
    return int(cursor)


# --- messages ----------------------------------------------------------------------------------------------------


def _page(path: Path, begin: int, limit: int) -> tuple[list[Json], int | None]:
    """Messages from this place in the file on, and where the next page begins; None: that was all."""
    transcript = Transcript()
    page: list[Json] = []
    size = 0
    with _opened(path) as file:
        file.seek(begin)
        for place, line in _lines(file, begin):
            entry = read_entry(line)
            if entry is None:
                is_far = place - begin > SCAN_BYTES and transcript.is_between
            else:
                is_far = place - begin > SCAN_BYTES and transcript.begins_message(entry)
                if transcript.begins_message(entry):
                    # Counts the one under way, which is complete now.
                    is_far = is_far or len(page) + (not transcript.is_between) >= limit or size > PAGE_BYTES
            if is_far:
                return [*page, *(told.as_json() for told in transcript.finish())], place
            for told in transcript.take(entry) if entry is not None else ():
                page.append(told.as_json())
                size += told.size
    return [*page, *(told.as_json() for told in transcript.finish())], None


def read_entry(line: bytes) -> dict[str, Any] | None:
    """A line that may say something; None for all others, and for what is no JSON (yet)."""
    if not any(mark in line for mark in _TOLD):
        return None
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            entry = json.loads(line)  # orjson refuses half a character, which JavaScript writes
        except (ValueError, RecursionError):
            return None
    return entry if isinstance(entry, dict) else None


def _lines(file: BinaryIO, begin: int) -> Iterator[tuple[int, bytes]]:
    """Each line with its place; of one that is too long nothing but its place."""
    place = begin
    while line := file.readline(MAX_LINE_BYTES):
        length = len(line)
        is_whole = line.endswith(b"\n")
        while not is_whole and (rest := file.readline(MAX_LINE_BYTES)):
            line, length, is_whole = b"", length + len(rest), rest.endswith(b"\n")
        yield place, line
        place += length


# --- files -------------------------------------------------------------------------------------------------------


def _files(environment: Mapping[str, str], folder: str) -> Iterator[_File]:
    for place in _folders(environment, folder):
        try:
            with os.scandir(place) as entries:
                found = [entry for entry in entries if _SESSION.match(entry.name.removesuffix(".jsonl"))]
        except OSError:
            continue
        for entry in found:
            try:
                facts = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if entry.name.endswith(".jsonl") and stat.S_ISREG(facts.st_mode) and facts.st_size > 0:
                session_id = entry.name.removesuffix(".jsonl")
                yield _File(session_id, Path(entry.path), facts.st_size, facts.st_mtime)


def _folders(environment: Mapping[str, str], folder: str) -> Iterator[Path]:
    """Where the sessions of a folder lie: named after it, a long name cut and with a hash that only it knows."""
    named = environment.get("CLAUDE_CONFIG_DIR")
    home = Path(named) if named else Path(environment.get("HOME") or os.path.expanduser("~")) / ".claude"
    name = _NO_LETTER.sub("-", folder)
    if len(name) <= _FOLDER_CHARS:
        yield home / "projects" / name
        return
    yield from sorted((home / "projects").glob(f"{name[:_FOLDER_CHARS]}-*"))


def _describe(file: _File, folder: str) -> dict[str, Json] | None:
    """The session for a list; None where it is another folder's of a like name, or nobody said anything in it."""
    try:
        with _opened(file.path) as opened:
            entries = _first_entries(opened)
            opened.seek(max(0, file.size - HEAD_BYTES))
            tail = opened.read(HEAD_BYTES)
    except (OSError, NotFound):
        return None
    first = next((entry for entry in entries if isinstance(entry.get("cwd"), str)), None)
    if first is None or os.path.realpath(first["cwd"]) != os.path.realpath(folder) or first.get("isSidechain"):
        return None
    return {
        "sessionId": file.session_id,
        "title": _title(tail, entries),
        "workingDirectory": clean_text(folder),
        "startedAt": first.get("timestamp") if isinstance(first.get("timestamp"), str) else None,
        "updatedAt": datetime.fromtimestamp(file.changed_at, UTC).isoformat(timespec="milliseconds"),
        "sizeBytes": file.size,
    }


def _first_entries(file: BinaryIO) -> list[dict[str, Any]]:
    """What is said in the file's beginning: at least one line, however long, if it is not too far in."""
    entries: list[dict[str, Any]] = []
    for place, line in _lines(file, 0):
        if place > (HEAD_BYTES if entries else MAX_LINE_BYTES):
            break
        entry = read_entry(line)
        if entry is not None:
            entries.append(entry)
    return entries


def _title(tail: bytes, entries: list[dict[str, Any]]) -> str:
    """The title that it was given last, else the first thing that a person said."""
    for line in reversed(tail.split(b"\n")):
        if any(f'"{name}"'.encode() in line[:400] for name in _TITLES):
            given = _given_title(line)
            if given:
                return given
    transcript = Transcript()
    said = (told for entry in entries for told in transcript.take(entry) if told.role == "user")
    first = next((str(told.blocks[0].get("text")) for told in said), "")
    return " ".join(first.split())[:TITLE_CHARS]


def _given_title(line: bytes) -> str | None:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(entry, dict):
        return None
    given = next((entry[name] for name in _TITLES if isinstance(entry.get(name), str) and entry[name].strip()), None)
    return None if given is None else " ".join(clean_text(given).split())[:TITLE_CHARS]


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The plain file itself: no link is followed, and opening a pipe does not wait."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(f"The session's file cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as opened:
        yield opened
