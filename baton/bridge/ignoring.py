"""What the `.gitignore` files of a folder ignore, as git has it; the library pathspec knows the patterns.

A repository is foreign: its files are read only where they are plain files, only so far, and patterns that would take
long to match are left out. Rules above the folder, and a person's own global ones, are not looked for.

The library asks whether a pattern matches a path or any folder above it. Git asks for each entry by itself, because
it never looks into a folder that is ignored: so that `!keep/` does not bring back what another pattern ignores in it.
Hence the mark: a pattern for `keep` is made to end with it, and so is the path of the one entry that is asked about.
"""

import os
import re
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

IGNORE_FILE: Final = ".gitignore"
MAX_BYTES: Final = 256 << 10
MAX_PATTERNS: Final = 2000
MAX_STARS: Final = 8
"""In one pattern; the time that a regular expression takes can grow with their power."""
_ALWAYS: Final = frozenset({".git"})
_MARK: Final = "\x01"
_NAMED_GROUP: Final = re.compile(r"\(\?P<\w+>")
_ENDS_OPEN: Final = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one file. `prefix`: how many characters of a path lead to the folder that it stands in."""

    patterns: Sequence[GitIgnoreSpecPattern]
    """The last one that matches counts."""
    any_of: re.Pattern[str] | None
    """Matches whatever one of them matches: asked first, because most files are ignored by none."""
    prefix: int

    def verdict(self, marked: str) -> bool | None:
        """Whether these ignore the path, which has the mark; None: they do not say."""
        below = marked[self.prefix :]
        if self.any_of is not None and self.any_of.match(below) is None:
            return None
        fitting = (pattern.include for pattern in reversed(self.patterns) if pattern.match_file(below) is not None)
        return next(fitting, None)


Stack = tuple[Rules, ...]
"""The rules that hold in a folder, those of the folder itself last."""


def is_ignored(stack: Stack, path: str, *, is_folder: bool) -> bool:
    """Whether git would ignore the entry, which stands in a folder that it does not ignore. `path`: from the root."""
    if path.rpartition("/")[2] in _ALWAYS:
        return True
    marked = path + _MARK + ("/" if is_folder else "")
    verdicts = (rules.verdict(marked) for rules in reversed(stack))
    return next((verdict for verdict in verdicts if verdict is not None), False)


def rules_of(folder: str, prefix: int) -> Stack:
    """Those of the folder's own `.gitignore`, and of git's private one where it is the repository's top; or none."""
    texts = (_read(os.path.join(folder, ".git", "info", "exclude")), _read(os.path.join(folder, IGNORE_FILE)))
    compiled = (compile_rules(text.removeprefix("\ufeff").split("\n"), prefix) for text in texts if text)
    return tuple(rules for rules in compiled if rules is not None)


def rules_down_to(root: str, below: str) -> Stack:
    """The rules of the root and of every folder from it down to `below`, without those of that one."""
    stack: Stack = ()
    parts = below.split("/")[:-1]
    for depth in range(len(parts)):
        above = "".join(part + "/" for part in parts[:depth])
        stack += rules_of(os.path.join(root, above), len(above))
    return stack


def compile_rules(lines: Iterable[str], prefix: int) -> Rules | None:
    """The rules of these lines; None where none of them is a pattern."""
    patterns = _patterns(lines)
    if not patterns:
        return None
    texts = [_NAMED_GROUP.sub("(?:", pattern.regex.pattern) for pattern in patterns if pattern.regex is not None]
    # Those that are not tied to the path's beginning would have to be looked for at each of its characters.
    are_tied = all(text.startswith("^") for text in texts)
    return Rules(patterns, re.compile("|".join(f"(?:{text})" for text in texts)) if are_tied else None, prefix)


def _patterns(lines: Iterable[str]) -> list[GitIgnoreSpecPattern]:
    found: list[GitIgnoreSpecPattern] = []
    for line in lines:
        marked = _marked(line) if len(found) < MAX_PATTERNS and line.count("*") <= MAX_STARS else None
        if marked is None:
            continue
        # A line that is no pattern is ignored by git too.
        with suppress(GitIgnorePatternError, re.error):
            found += [pattern for pattern in GitIgnoreSpec.from_lines([marked]).patterns if pattern.include is not None]
    return found


def _marked(line: str) -> str | None:
    """The pattern for the entry itself alone: see the module. None where the line is no pattern."""
    line = line.removesuffix("\r")
    body = line if line.endswith("\\ ") else line.rstrip(" ")
    is_for_folders = body.endswith("/")
    body = body.rstrip("/") if is_for_folders else body
    if body in ("", "!") or body.startswith("#") or _MARK in body or _ENDS_OPEN.search(body):
        return None
    if body.rpartition("/")[2].lstrip("!") == "**":
        body += "/*"  # whatever stands at any depth
    return body + _MARK + ("/" if is_for_folders else "")


def _read(path: str) -> str | None:
    """The beginning of a plain file; None where it is none. Never waits, as opening a pipe would."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return os.read(descriptor, MAX_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return None
    finally:
        os.close(descriptor)
