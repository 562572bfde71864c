"""The folders of a bridge's machine, as far as they may be looked into: real paths below them, symlinks resolved.

Plain blocking functions; the runner calls them in a thread.
"""

import base64
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from baton.core.errors import Forbidden, InvalidRequest, NotFound
from baton.core.text import Json, clean_text

DEFAULT_LIMIT: Final = 200
MAX_LIMIT: Final = 2000
MAX_VISITED: Final = 50_000
"""Entries that one search looks at; past it the answer says that it is truncated."""
READ_MAX_BYTES: Final = 1 << 20
_SKIPPED: Final = frozenset({".git"})


class Folders:
    """The working directory of runs, and what may be listed and read below it.

    `workspaces`: where agents may work, as the bridge announces it; empty: anywhere, as the person who started the
    bridge could.
    """

    def __init__(self, default: str, workspaces: Sequence[str] = ()) -> None:
        self._default = default
        self._workspaces = tuple(Path(path).resolve() for path in workspaces)

    def working_directory(self, asked: str | None) -> Path:
        """The real path of the directory. Raises NotFound, Forbidden (outside the workspaces)."""
        path = Path(asked or self._default).expanduser()
        if not path.is_absolute() or "\0" in str(path):
            raise InvalidRequest(f"The working directory must be an absolute path, not {asked!r}")
        real = path.resolve()
        if self._workspaces and not any(real.is_relative_to(workspace) for workspace in self._workspaces):
            raise Forbidden(f"The working directory {asked!r} is in none of this bridge's workspaces")
        if not real.is_dir():
            raise NotFound(f"The working directory {asked or self._default!r} does not exist on this bridge")
        return real

    def list(self, params: Json) -> Json:
        """`{files: [{path, type, size}], truncated}` for `{workingDirectory?, path?, query?, limit?}`.

        Without a query what stands directly in `path`, folders first; with one, everything below whose path holds
        it. Paths are relative to the working directory.
        """
        root = self.working_directory(_text(params, "workingDirectory"))
        start = _below(root, _text(params, "path") or ".")
        if not start.is_dir():
            raise NotFound("There is no such folder below the working directory")
        query = (_text(params, "query") or "").casefold()
        limit = _limit(params)
        found: list[Json] = []
        for visited, entry in enumerate(_walk(start, deep=bool(query))):
            if visited >= MAX_VISITED:
                return {"files": found, "truncated": True}
            path = _shown(root, entry)
            described = _describe(root, entry, path) if query in path.casefold() else None
            if described is None:
                continue
            if len(found) >= limit:
                return {"files": found, "truncated": True}
            found.append(described)
        return {"files": found, "truncated": False}

    def read(self, params: Json) -> Json:
        """`{path, size, encoding: "utf-8" or "base64", content, truncated}` for `{workingDirectory?, path}`.

        At most 1 MiB of it.
        """
        root = self.working_directory(_text(params, "workingDirectory"))
        path = _text(params, "path")
        if not path:
            raise InvalidRequest("path is needed", fields={"path": "missing"})
        file = _below(root, path)
        if not file.is_file():
            raise NotFound("There is no such file below the working directory")
        try:
            with file.open("rb") as opened:
                content = opened.read(READ_MAX_BYTES)
            size = file.stat().st_size
        except OSError as error:
            raise NotFound(f"The file cannot be read: {error.strerror}") from error
        encoding, text = _encoded(content, is_cut=size > len(content))
        return {
            "path": _shown(root, file),
            "size": size,
            "encoding": encoding,
            "content": text,
            "truncated": size > len(content),
        }


def _below(root: Path, path: str) -> Path:
    """The real path, which must be `root` or below it."""
    if "\0" in path:
        raise InvalidRequest("path holds a NUL", fields={"path": "invalid"})
    real = (root / path).resolve()
    if not real.is_relative_to(root):
        raise Forbidden("The path leads out of the working directory")
    return real


def _walk(start: Path, *, deep: bool) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder, folders first; if `deep`, then of the folders below. Never through a symlink."""
    waiting = [start.as_posix()]
    while waiting:
        try:
            with os.scandir(waiting.pop(0)) as entries:
                inside = [entry for entry in entries if entry.name not in _SKIPPED]
        except OSError:
            continue
        inside.sort(key=lambda entry: (not entry.is_dir(follow_symlinks=False), entry.name))
        yield from inside
        if deep:
            waiting.extend(entry.path for entry in inside if entry.is_dir(follow_symlinks=False))


def _describe(root: Path, entry: os.DirEntry[str], path: str) -> Json:
    """The entry as the answer shows it; None where it leads out of the root or is neither file nor folder."""
    try:
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
            return None
        if entry.is_dir():
            return {"path": path, "type": "directory", "size": 0}
        return {"path": path, "type": "file", "size": entry.stat().st_size} if entry.is_file() else None
    except OSError:
        return None


def _shown(root: Path, entry: os.PathLike[str]) -> str:
    return clean_text(os.path.relpath(entry, root).replace(os.sep, "/"))


def _encoded(content: bytes, *, is_cut: bool) -> tuple[str, str]:
    """Text where it is UTF-8 (a character that the limit cut in two may miss), else base64."""
    for missing in range(4 if is_cut else 1):
        try:
            return "utf-8", content[: len(content) - missing].decode("utf-8")
        except UnicodeDecodeError:
            continue
    return "base64", base64.b64encode(content).decode("ascii")


def _text(params: Json, name: str) -> str | None:
    value = params.get(name) if isinstance(params, dict) else None
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name} must be text", fields={name: "not a string"})
    return value


def _limit(params: Json) -> int:
    value = params.get("limit") if isinstance(params, dict) else None
    if value is None:
        return DEFAULT_LIMIT
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidRequest("limit must be a positive number", fields={"limit": "not a positive number"})
    return min(value, MAX_LIMIT)
