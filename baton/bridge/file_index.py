"""Every file and folder below a folder, for people who type a part of a name: made once, kept for some seconds.

Real paths only: symlinks are never followed, and those that lead out of the folder do not exist here.
Plain blocking functions for threads.
"""

import os
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from baton.bridge.ignoring import IGNORE_FILE, Stack, is_ignored, rules_down_to, rules_of

MAX_ENTRIES: Final = 200_000
"""Entries of one index; of a larger folder it holds those that lie least deep."""
MAX_BUILD_S: Final = 6.0
KEPT_S: Final = 5.0
"""How old an index may be: a file that an agent has just made is found after it."""
MAX_INDEXES: Final = 2

_NOT_AT_ALL: Final = 9


@dataclass(frozen=True, slots=True)
class FileIndex:
    """Paths from the indexed folder on, a folder's with a `/` at its end. `is_whole`: nothing was left out."""

    paths: tuple[str, ...]
    folded: tuple[str, ...]
    """The same for comparing."""
    is_whole: bool
    made_at: float = field(default_factory=time.monotonic)

    def search(self, query: str, limit: int) -> tuple[list[str], bool]:
        """The best matches, best first, and whether there are more.

        Every word of the query stands in the path; where that finds too few, those whose letters stand in the path
        in the query's order follow.
        """
        words = query.casefold().split()
        found = self._ranked(words, range(len(self.folded)))
        if len(found) <= limit:
            taken = {number for _, _, number in found}
            rest = (number for number in self._loosely("".join(words)) if number not in taken)
            found += sorted((_NOT_AT_ALL, len(self.paths[number]), number) for number in rest)
        return [self.paths[number] for _, _, number in found[:limit]], len(found) > limit

    def _ranked(self, words: Sequence[str], numbers: Sequence[int]) -> list[tuple[int, int, int]]:
        folded, found = self.folded, []
        for number in numbers:
            path = folded[number]
            if all(word in path for word in words):
                found.append((_rank(path, words), len(path), number))
        return sorted(found)

    def _loosely(self, letters: str) -> Iterator[int]:
        # Each letter is looked for from where the last one was found: no pattern of this kind ever goes back.
        pattern = re.compile("".join(f"[^{re.escape(letter)}]*{re.escape(letter)}" for letter in letters), re.DOTALL)
        return (number for number, path in enumerate(self.folded) if pattern.match(path))


def _rank(path: str, words: Sequence[str]) -> int:
    """0 is best: the name itself, its beginning, a part of it, a part of the path."""
    name = path.rstrip("/").rpartition("/")[2]
    if len(words) == 1 and words[0] in (name, path):
        return 0
    if words and name.startswith(words[0]):
        return 1
    return 2 if all(word in name for word in words) else 3


class FileIndexes:
    """Indexes by root and folder. Who asks while one is made waits for it."""

    def __init__(self) -> None:
        self._indexes: OrderedDict[tuple[str, str], tuple[threading.Lock, list[FileIndex]]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, root: str, below: str) -> FileIndex:
        """The index of a folder below a real root, at most KEPT_S old when it is asked for."""
        asked_at = time.monotonic()
        with self._lock:
            lock, kept = self._indexes.setdefault((root, below), (threading.Lock(), []))
            self._indexes.move_to_end((root, below))
            while len(self._indexes) > MAX_INDEXES:
                self._indexes.popitem(last=False)
        with lock:
            if not kept or kept[0].made_at < asked_at - KEPT_S:
                kept[:] = [build_index(root, below)]
            return kept[0]


def build_index(root: str, below: str) -> FileIndex:
    """Look at everything in a folder that git does not ignore. `below`: as of `look_into`."""
    until = time.monotonic() + MAX_BUILD_S
    paths: list[str] = []
    waiting: deque[tuple[str, Stack]] = deque([(below, rules_down_to(root, below))])
    while waiting and len(paths) < MAX_ENTRIES and time.monotonic() < until:
        folder, stack = waiting.popleft()
        stack, entries = look_into(root, folder, stack)
        for entry, path in entries:
            paths.append(path[len(below) :])
            if path[-1] == "/" and not entry.is_symlink():
                waiting.append((path, stack))
    return _index(paths[:MAX_ENTRIES], is_whole=not waiting and len(paths) <= MAX_ENTRIES)


def _index(paths: Sequence[str], *, is_whole: bool) -> FileIndex:
    return FileIndex(tuple(paths), tuple(path.casefold() for path in paths), is_whole)


def look_into(root: str, below: str, stack: Stack) -> tuple[Stack, list[tuple[os.DirEntry[str], str]]]:
    """What stands in one folder and is not ignored, folders first, and the rules that hold in it.

    `below`: its path from the root, empty or with a `/` at its end; `stack`: the rules of the folders above it.
    """
    folder = os.path.join(root, below)
    try:
        with os.scandir(folder) as opened:
            inside = list(opened)
    except OSError:
        return stack, []
    if any(entry.name in (IGNORE_FILE, ".git") for entry in inside):
        stack += rules_of(folder, len(below))
    found = [(entry, path) for entry in inside if (path := _path_of(root, below, entry, stack)) is not None]
    found.sort(key=lambda item: (item[1][-1] != "/", item[1]))
    return stack, found


def _path_of(root: str, below: str, entry: os.DirEntry[str], stack: Stack) -> str | None:
    """The entry's path; None for what is ignored, leads out of the root, or is neither file nor folder."""
    try:
        is_link = entry.is_symlink()
        is_folder = entry.is_dir(follow_symlinks=False)
        path = below + entry.name
        # A link is a file to git, wherever it leads.
        if is_ignored(stack, path, is_folder=is_folder):
            return None
        if is_link:
            if not Path(entry.path).resolve().is_relative_to(root):
                return None
            is_folder = entry.is_dir()
        return path + "/" if is_folder else path if entry.is_file() else None
    except OSError:
        return None
