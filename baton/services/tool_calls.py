"""What a tool call is, from its name, kind and input: its family, the places it touches, and how bad it can be.

Knows the tools of Claude Code by name and those of ACP agents by their kind. Where a name and a kind say different
things, the worse counts. Tools of MCP servers can do anything, whatever they call themselves.

What judges shell commands (`shell`) is loaded with the first of them: it is a twentieth of what a start imports.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from baton.core.permissions import Risk, worst
from baton.core.text import Json
from baton.services.folders import has_hidden_signs, holds_secrets, is_protected, place_in, takes_over

if TYPE_CHECKING:
    from baton.services import shell


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Family(StrEnum):
    """What a tool does. Declared from the most harmless to the worst."""

    THINK = "think"
    READ = "read"
    SEARCH = "search"
    FETCH = "fetch"
    OTHER = "other"
    EDIT = "edit"
    SHELL = "shell"


_BY_NAME: Final[Mapping[str, Family]] = {
    **dict.fromkeys(
        ("TodoWrite", "TodoRead", "TaskCreate", "TaskUpdate", "TaskGet", "TaskList", "ToolSearch", "EnterPlanMode"),
        Family.THINK,
    ),
    "Think": Family.THINK,
    "Read": Family.READ,
    "NotebookRead": Family.READ,
    "LS": Family.SEARCH,
    "Glob": Family.SEARCH,
    "Grep": Family.SEARCH,
    "Search": Family.SEARCH,
    "WebFetch": Family.FETCH,
    "WebSearch": Family.FETCH,
    "Fetch": Family.FETCH,
    **dict.fromkeys(("Edit", "MultiEdit", "Write", "NotebookEdit", "Delete", "Move"), Family.EDIT),
    **dict.fromkeys(("Bash", "Run", "BashOutput", "KillShell", "KillBash", "PowerShell", "Monitor"), Family.SHELL),
}
_BY_KIND: Final[Mapping[str, Family]] = {
    "think": Family.THINK,
    "read": Family.READ,
    "search": Family.SEARCH,
    "fetch": Family.FETCH,
    "task": Family.OTHER,
    "other": Family.OTHER,
    "edit": Family.EDIT,
    "delete": Family.EDIT,
    "move": Family.EDIT,
    "execute": Family.SHELL,
}
PLAIN_EDITS: Final = frozenset({"Edit", "MultiEdit", "Write", "NotebookEdit"})
"""Those that `acceptEdits` means: removing and moving files is more than editing."""
_FOLDER_BY_DEFAULT: Final = frozenset({"LS", "Glob", "Grep", "Search"})
_PATH_KEYS: Final = (
    "file_path",
    "notebook_path",
    "path",
    "paths",
    "filePath",
    "file",
    "filename",
    "abs_path",
    "absolute_path",
    "old_path",
    "new_path",
    "source",
    "destination",
    "from",
    "to",
    "uri",
)
_TEXT_KEYS: Final = _names(
    """pattern query regex glob content contents text old_string new_string oldText newText old_text new_text new_source
    edits todos description offset limit"""
)
"""Input of the tools for files that is no path, whatever it looks like."""
_COMMAND_KEYS: Final = ("command", "cmd", "script")
_FOLDER_KEYS: Final = ("cwd", "workdir", "working_directory", "workingDirectory", "directory")
_COMMAND_INPUT: Final = frozenset(
    {
        *_COMMAND_KEYS,
        *_FOLDER_KEYS,
        "args",
        "arguments",
        "description",
        "timeout",
        "timeout_ms",
        "run_in_background",
        "dangerouslyDisableSandbox",
    }
)
_URL_KEYS: Final = ("url", "uri")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call as it was understood."""

    tool: str
    family: Family
    folder: str | None
    paths: tuple[str | None, ...] = ()
    """What it names; None for something that is no path."""
    domain: str | None = None
    """The host of the web page that it reads; None where there is none, or nobody can tell."""
    reading: "shell.Reading | None" = None
    """Its command line."""
    risk: Risk
    reason: str

    @property
    def places(self) -> tuple[str | None, ...]:
        """Its paths below the working directory; None for each that lies outside or is not known."""
        return tuple(place_in(self.folder, path) for path in self.paths)


def family_of(tool: str, kind: str | None) -> Family:
    """What the tool does, as far as its name and kind tell; the worse of both."""
    named = _BY_NAME.get(tool)
    told = _BY_KIND.get(kind or "other", Family.OTHER)
    if named is None:
        # A kind alone is a claim: it can make an unknown tool (or an MCP server's) worse, not better.
        return told if told in (Family.EDIT, Family.SHELL, Family.FETCH) else Family.OTHER
    if kind in (None, "other"):
        return named
    order = list(Family)
    return max(named, told, key=order.index)


def look_at(tool: str, tool_input: Json, kind: str | None, folder: str | None) -> ToolCall:
    """Understand a call. `folder`: the absolute path of its working directory; None: not known."""
    family = family_of(tool, kind)
    given: Mapping[str, Json] = tool_input if isinstance(tool_input, dict) else {}
    reading = _reading_of(given) if family is Family.SHELL else None
    if family is Family.SHELL:
        folder = _folder_of(given, folder)
    paths = _paths_of(tool, family, given)
    risk, reason = _judged(tool, family, folder, paths, reading)
    return ToolCall(
        tool=tool,
        family=family,
        folder=folder,
        paths=paths,
        domain=_domain_of(given) if family is Family.FETCH else None,
        reading=reading,
        risk=risk,
        reason=reason,
    )


def risk_of(tool: str, tool_input: Json, kind: str | None, working_directory: str | None) -> Risk:
    """How bad this call can be."""
    return look_at(tool, tool_input, kind, working_directory).risk


def _reading_of(given: Mapping[str, Json]) -> "shell.Reading | None":
    """The command line: as text, or as a list of words; None where the input has neither.

    Input that says more than we know how to read is never plain: nothing of it is allowed by itself.
    """
    from baton.services import shell

    value = next((given[key] for key in _COMMAND_KEYS if given.get(key)), None)
    arguments = given.get("args", given.get("arguments", []))
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not isinstance(arguments, list):
        return None
    texts = [word for word in (*words, *arguments) if isinstance(word, str)]
    if not texts or len(texts) != len(words) + len(arguments):
        return None
    if isinstance(value, str) and not arguments:
        reading = shell.read(texts[0])
    elif len(texts) == 3 and re.fullmatch(r"(/usr)?(/bin/)?(ba|z|da)?sh", texts[0]) and texts[1] in ("-c", "-lc"):
        reading = shell.read(texts[2])  # how some agents hand over a line for the shell
    else:
        reading = shell.read_words(texts)
    known = given.keys() <= _COMMAND_INPUT and not given.get("dangerouslyDisableSandbox")
    return reading if known else replace(reading, plain=None)


def _folder_of(given: Mapping[str, Json], folder: str | None) -> str | None:
    """Where a command runs: elsewhere than in the working directory, or below it, is not known well enough."""
    named = [given[key] for key in _FOLDER_KEYS if given.get(key) is not None]
    return folder if all(place_in(folder, path) is not None for path in named) else None


def _paths_of(tool: str, family: Family, given: Mapping[str, Json]) -> tuple[str | None, ...]:
    """What it names as paths; None for whatever may be a further one."""
    if family not in (Family.READ, Family.SEARCH, Family.EDIT):
        return ()
    found: list[str | None] = []
    for key, value in given.items():
        if key in _TEXT_KEYS or value is None:
            continue
        if key in _PATH_KEYS:
            items = value if isinstance(value, list) else [value]
            found += [item if isinstance(item, str) else None for item in items]
        elif isinstance(value, (dict, list)) or (isinstance(value, str) and re.search(r"^[/~]|\.\.|://", value)):
            found.append(None)
    pattern = given.get("pattern")
    if tool == "Glob" and isinstance(pattern, str):
        found.append(pattern)
    if not found:
        found.append("." if tool in _FOLDER_BY_DEFAULT else None)
    return tuple(found)


def _domain_of(given: Mapping[str, Json]) -> str | None:
    url = next((given[key] for key in _URL_KEYS if key in given), None)
    if not isinstance(url, str) or "\\" in url or has_hidden_signs(url) or not url.isascii():
        return None
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or host is None:
        return None
    host = host.rstrip(".")
    return host if re.fullmatch(r"[a-z0-9.-]+|[0-9a-f:.]+", host) else None


def _judged(
    tool: str, family: Family, folder: str | None, paths: tuple[str | None, ...], reading: "shell.Reading | None"
) -> tuple[Risk, str]:
    places = [place_in(folder, path) for path in paths]
    match family:
        case Family.SHELL:
            if reading is None:
                return Risk.HIGH, "It runs something"
            from baton.services import shell

            verdict = shell.judge(reading, folder)
            # Only of the tools that are known to be a shell is it known that the command is all they run.
            return (verdict.risk if tool in ("Bash", "Run") else worst([verdict.risk, Risk.HIGH])), verdict.reason
        case Family.EDIT:
            if any(path is not None and takes_over(path, folder) for path in paths):
                return Risk.CRITICAL, "It writes to what the system, or the next login, runs"
            return Risk.HIGH, "It writes files"
        case Family.READ | Family.SEARCH:
            if not all(place is not None for place in places):
                return Risk.MEDIUM, "It reads outside the working directory, or nobody can tell where"
            if any(path is not None and holds_secrets(path) for path in paths):
                return Risk.MEDIUM, "It reads what usually holds secrets"
            return Risk.LOW, "It only reads in the working directory"
        case Family.FETCH:
            return Risk.MEDIUM, "It reads from the network"
        case Family.THINK:
            return Risk.LOW, "It changes nothing"
    return Risk.MEDIUM, "Nothing is known about this tool"


def is_plain_edit(call: ToolCall) -> bool:
    """Whether it edits files below the working directory, all of them known, none run later without asking."""
    if call.family is not Family.EDIT or call.tool not in PLAIN_EDITS or call.risk is Risk.CRITICAL:
        return False
    return all(place is not None and place != "." and not is_protected(place) for place in call.places)
