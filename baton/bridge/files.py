"""The folders of a bridge's machine, as far as they may be looked into: real paths below them, symlinks resolved.

Plain blocking functions; the runner calls them in a thread.
"""

import base64
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from baton.bridge.file_index import FileIndexes, look_into
from baton.bridge.ignoring import rules_down_to
from baton.core.errors import Forbidden, InvalidRequest, NotFound
from baton.core.text import Json, clean_text

DEFAULT_LIMIT: Final = 200
MAX_LIMIT: Final = 2000
MAX_QUERY_CHARS: Final = 200
READ_MAX_BYTES: Final = 1 << 20


class Folders:
    """The working directory of runs, and what may be listed and read below it.

    `workspaces`: where agents may work, as the bridge announces it; empty: anywhere, as the person who started the
    bridge could.
    """

    def __init__(self, default: str, workspaces: Sequence[str] = ()) -> None:
        self._default = default
        self._workspaces = tuple(Path(path).resolve() for path in workspaces)
        self._indexes = FileIndexes()

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

        Without a query what stands directly in `path`, folders first; with one, what is found below it, best first
        (`file_index.FileIndex.search`). Without what `.gitignore` ignores. Paths are relative to the working
        directory.
        """
        root = self.working_directory(_text(params, "workingDirectory"))
        start = _below(root, _text(params, "path") or ".")
        if not start.is_dir():
            raise NotFound("There is no such folder below the working directory")
        limit = _limit(params)
        query = _text(params, "query") or ""
        if query.strip():
            return self._search(root, start, query[:MAX_QUERY_CHARS], limit)
        found = _standing_in(root, start)
        return {"files": _described(root, found[:limit]), "truncated": len(found) > limit}

    def _search(self, root: Path, start: Path, query: str, limit: int) -> Json:
        below = _path_from(root, start)
        index = self._indexes.of(str(root), below)
        found, has_more = index.search(query, limit)
        files = _described(root, [below + path for path in found])
        return {"files": files, "truncated": has_more or not index.is_whole}

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


def _standing_in(root: Path, start: Path) -> list[str]:
    """What stands directly in a folder, folders first."""
    below = _path_from(root, start)
    _, entries = look_into(str(root), below, rules_down_to(str(root), below))
    return [path for _, path in entries]


def _path_from(root: Path, folder: Path) -> str:
    """Empty for the root itself, else with a `/` at its end."""
    return "" if folder == root else folder.relative_to(root).as_posix() + "/"


def _described(root: Path, paths: Iterable[str]) -> list[Json]:
    """The paths as the answer shows them; those that are gone by now are left out."""
    return [shown for path in paths if (shown := _describe(root, path)) is not None]


def _describe(root: Path, path: str) -> Json:
    if path.endswith("/"):
        return {"path": clean_text(path[:-1]), "type": "directory", "size": 0}
    try:
        return {"path": clean_text(path), "type": "file", "size": os.stat(os.path.join(root, path)).st_size}
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
