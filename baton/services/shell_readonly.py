"""Whether a plain command only reads: with options from the list, in the working directory, and no secrets by name."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from baton.core.permissions import Risk
from baton.services import shell_readonly_list as listed
from baton.services.folders import holds_secrets, place_in
from baton.services.shell_parts import Command, Redirect, Word


@dataclass(frozen=True, slots=True)
class _Program:
    """One line of the list."""

    flags: frozenset[str]
    """Options without a value: letters, and long names."""
    valued: frozenset[str]
    operands: str
    """PATHS, PATTERN, TEXT, ANY, URLS or nothing."""
    most: int
    counts: bool


def _read(line: str) -> _Program:
    flags: set[str] = set()
    valued: set[str] = set()
    operands, most, counts = "", 1000, False
    for word in line.split():
        if word == "-NUM":
            counts = True
        elif word.startswith("MOST="):
            most = int(word.removeprefix("MOST="))
        elif not word.startswith("-"):
            operands = word
        elif word.endswith("="):
            valued.add(word.strip("=").removeprefix("-") if len(word) == 3 else word[:-1])
        elif word.startswith("--"):
            flags.add(word)
        else:
            flags.update(word[1:])
    return _Program(frozenset(flags), frozenset(valued), operands, most, counts)


_READERS: Final = {name: _read(line) for name, line in listed.READERS.items()}
_NETWORK: Final = {name: _read(line) for name, line in listed.NETWORK.items()}
_GIT: Final = {name: _read(line) for name, line in listed.GIT.items()}
_FIND_TESTS: Final = frozenset(listed.FIND_TESTS.split())
_FIND_VALUED: Final = frozenset(listed.FIND_VALUED.split())
_VERSIONED: Final = frozenset(listed.VERSIONED.split())
_SED_PRINT: Final = re.compile(r"(\d+|\$)(,(\d+|\$|\+\d+))?p(;(\d+|\$)(,(\d+|\$|\+\d+))?p)*")
_PATTERN_OPTIONS: Final = frozenset({"e", "--regexp", "--files", "--type-list"})


def _may_say(text: str) -> bool:
    """What curl writes out: its format can name a file."""
    return "output{" not in text and "@" not in text


def _is_no_file(text: str) -> bool:
    return not text.startswith("@")


def _runs_nothing(text: str) -> bool:
    return "%G" not in text  # git asks gpg about the signature


_VALUES: Final[Mapping[str, Callable[[str], bool]]] = {
    "curl w": _may_say,
    "curl --write-out": _may_say,
    "curl H": _is_no_file,
    "curl --header": _is_no_file,
    "curl X": lambda text: text in ("GET", "HEAD", "OPTIONS"),
    "curl --request": lambda text: text in ("GET", "HEAD", "OPTIONS"),
    "curl o": lambda text: text == "/dev/null",
    "curl --output": lambda text: text == "/dev/null",
    "wget O": lambda text: text in ("-", "/dev/null"),
    "git --format": _runs_nothing,
    "git --pretty": _runs_nothing,
}
"""Options whose value must be of a kind."""
_OPERANDS: Final[Mapping[str, Callable[[str], bool]]] = {
    "cd": lambda text: not text.startswith("+"),
    "date": lambda text: text.startswith("+"),
    "dig": lambda text: not text.startswith(("@", "+")),
}


def risk_of_plain(commands: Sequence[Command], folder: str | None) -> Risk | None:
    """LOW or MEDIUM where every command only reads; None where one runs, writes, or reads elsewhere."""
    programs = {command.words[0].text for command in commands}
    if "cd" in programs and "git" in programs:
        return None  # another folder can be another repository, whose settings name programs to run
    risk = Risk.LOW
    for command in commands:
        found = _risk_of(command, folder)
        if found is None:
            return None
        risk = max(risk, found, key=lambda each: each.level)
    return risk


def reads_only(command: Command, folder: str | None) -> bool:
    """Whether this command by itself is LOW."""
    return _risk_of(command, folder) is Risk.LOW


def is_harmless_redirect(redirect: Redirect, folder: str | None) -> bool:
    """Nothing is written but into nothing, and what is read lies in the folder."""
    target = redirect.target.literal
    if (redirect.is_copy and redirect.operator == ">&") or (redirect.is_write and target == "/dev/null"):
        return True
    return redirect.operator == "<" and target is not None and _is_readable(target, folder)


def _risk_of(command: Command, folder: str | None) -> Risk | None:
    if not all(is_harmless_redirect(each, folder) for each in command.redirects):
        return None
    name = command.words[0].literal
    if name is None or not all(_is_fixed(word) for word in command.arguments):
        return None
    texts = [word.text for word in command.arguments]
    if name in _NETWORK:
        return Risk.MEDIUM if _fits(name, _NETWORK[name], texts, folder) else None
    return Risk.LOW if folder is not None and _is_low(name, texts, folder) else None


def _is_low(name: str, texts: list[str], folder: str) -> bool:
    if name in _VERSIONED and texts == ["--version"]:
        return True
    if name == "git":
        return _is_reading_git(texts, folder)
    if name == "find":
        return _is_reading_find(texts, folder)
    if name == "sed":
        return _is_printing_sed(texts, folder)
    if name == "command":
        return len(texts) == 2 and texts[0] in ("-v", "-V") and not texts[1].startswith("-")
    if name == "cd" and texts in ([], ["-"]):
        return False  # home, or wherever it was before
    return name in _READERS and _fits(name, _READERS[name], texts, folder)


def _is_fixed(word: Word) -> bool:
    """Literal, or a pattern of file names that can become no option and no `..`."""
    if word.literal is not None:
        return True
    if not word.is_known or word.glob_at is None:
        return False
    if any(part.startswith(".") and re.search(r"[*?\[]", part) for part in word.text.split("/")):
        return False
    return re.match(r"[A-Za-z0-9_/]|\./|--[a-z-]+=", word.text[: word.glob_at]) is not None


def _is_readable(text: str, folder: str | None) -> bool:
    return text == "-" or (place_in(folder, text) is not None and not holds_secrets(text))


def _fits(name: str, program: _Program, texts: Sequence[str], folder: str | None) -> bool:
    """Whether these arguments are among those of the list."""
    if program.operands == "ANY":
        return name != "printf" or not (texts and texts[0].startswith("-"))
    options: list[str] = []
    operands: list[str] = []
    rest = list(texts)
    while rest:
        text = rest.pop(0)
        if text == "--":
            operands += rest
            break
        if text == "-" or not text.startswith("-"):
            operands.append(text)
        elif not (program.counts and re.fullmatch(r"-\d+", text)):
            option = _take_option(name, program, text, rest)
            if option is None:
                return False
            options.append(option)
    if name == "wget" and not {"O", "--spider"}.intersection(options):
        return False  # it writes a file
    if len(operands) > program.most or not all(_OPERANDS.get(name, _anything)(text) for text in operands):
        return False
    return _are_operands(program, options, operands, folder)


def _are_operands(program: _Program, options: Sequence[str], operands: Sequence[str], folder: str | None) -> bool:
    match program.operands:
        case "PATHS":
            return all(_is_readable(text, folder) for text in operands)
        case "PATTERN":
            first = 0 if _PATTERN_OPTIONS.intersection(options) else 1
            return all(_is_readable(text, folder) for text in operands[first:])
        case "URLS":
            return all(re.fullmatch(r"https?://[^\s@\\]+", text) for text in operands)
        case "TEXT":
            return True
    return not operands


def _take_option(name: str, program: _Program, text: str, rest: list[str]) -> str | None:
    """The option that decides about this word (None: not allowed); takes its value off `rest` if it stands there.

    A word of several letters counts as its last one: those before it have no value.
    """
    if text.startswith("--"):
        option, equals, value = text.partition("=")
        has_value = bool(equals)
    else:
        letters = text[1:]
        at = next((place for place, letter in enumerate(letters) if letter in program.valued), len(letters) - 1)
        if not set(letters[:at]) <= program.flags:
            return None
        option, value = letters[at], letters[at + 1 :]
        has_value = bool(value)
    if option not in program.valued:
        return option if option in program.flags else None
    if not has_value:
        if not rest:
            return None
        value = rest.pop(0)
    return option if _VALUES.get(f"{name} {option}", _anything)(value) else None


def _anything(text: str) -> bool:
    return True


def _is_reading_git(texts: list[str], folder: str) -> bool:
    if texts[:1] == ["--no-pager"]:
        texts = texts[1:]
    for length in (2, 1):
        name = " ".join(texts[:length])
        if len(texts) >= length and name in _GIT:
            return _fits("git", _GIT[name], texts[length:], folder)
    return False


def _is_reading_find(texts: list[str], folder: str) -> bool:
    rest = list(texts)
    while rest and not rest[0].startswith(("-", "(", "!")):
        if not _is_readable(rest.pop(0), folder):
            return False
    while rest:
        text = rest.pop(0)
        if text in _FIND_VALUED and rest:
            rest.pop(0)
        elif text not in _FIND_TESTS:
            return False
    return True


def _is_printing_sed(texts: list[str], folder: str) -> bool:
    """`sed -n 1,80p file`: the one script of sed's that is known to do nothing but print."""
    if texts[:1] != ["-n"] or len(texts) < 2 or not _SED_PRINT.fullmatch(texts[1]):
        return False
    return all(_is_readable(text, folder) and not text.startswith("-") for text in texts[2:])
