"""Judges shell commands: how bad they can be, whether a grant's pattern covers them, whether a denial meets them.

Three questions with three readings of doubt. Risk: what cannot be read is CRITICAL, because adding something must never
make a command look better. Allowing: two readers must read the command the same, and every part must be covered.
Denying: one part that meets the denial is enough, and where parts are hidden the answer is "nobody can tell".
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from baton.core.errors import InvalidRequest
from baton.core.permissions import Risk
from baton.services.folders import has_hidden_signs, is_protected, place_in
from baton.services.shell_danger import danger_of, redirect_danger
from baton.services.shell_parts import Command, Redirect, Word, words
from baton.services.shell_plain import read_plain
from baton.services.shell_readonly import is_harmless_redirect, reads_only, risk_of_plain
from baton.services.shell_tree import read_tree
from baton.services.shell_wrappers import TRANSPARENT, look_through

MAX_PATTERN_CHARS: Final = 500
_MAX_DEPTH: Final = 6
_MAX_COMMANDS: Final = 400
_MAX_INNER_CHARS: Final = 6_000
"""Of all scripts within a command together, and of all hints: see `shell_tree.MAX_TREE_CHARS`."""
_BY_COMMAND: Final = re.compile(
    r"(npm|pnpm|yarn|bun|uv|poetry) run|(gh|glab|aws|az|gcloud) \S+|docker (compose|container|image|volume|network)"
    r"|git|npm|pnpm|yarn|bun|cargo|go|docker|kubectl|helm|pip3?|uv|poetry|make|just|dotnet|mvn|gradle"
)
"""What has commands of its own: the word behind these words says what is done."""
_TAKES_CODE: Final = re.compile(
    r"(npm|pnpm|yarn|bun|cargo|go|pip3?|uv|poetry|docker|kubectl|helm|make|just|dotnet|mvn|gradle)"
    r" (install|i|add|ci|exec|x|dlx|create|init|run|tool|get|apply)|.* -.*"
)
"""Words behind which somebody else's code is named: the grant is for these very words."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How bad a command can be, and why, as a sentence."""

    risk: Risk
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A command line as it was understood. Made by `read` or `read_words`; nothing in it was run."""

    commands: tuple[Command, ...] = ()
    """Every simple command in it, also those that other commands run."""
    redirects: tuple[Redirect, ...] = ()
    hidden: str | None = None
    """Why not everything that it runs can be told, as the end of a sentence that begins with "It"."""
    critical: str | None = None
    """What in it is critical whatever the folder, likewise."""
    plain: tuple[Command, ...] | None = None
    """Its commands in order, where both readers understand it and agree."""
    hints: tuple[str, ...] = ()


def read(text: str) -> Reading:
    """Understand a command line, as far as that goes."""
    return _read(text, depth=0)


def read_words(texts: Sequence[str]) -> Reading:
    """Understand a command that is given as its words, without a shell."""
    command = Command(words=words(*texts))
    if any(has_hidden_signs(text.replace("\n", "").replace("\t", "")) for text in texts):
        return Reading(commands=(command,), hidden="holds signs that cannot be seen")
    return _looked_through(Reading(commands=(command,), plain=(command,) if texts else None), depth=0)


def _read(text: str, depth: int) -> Reading:
    if has_hidden_signs(text.replace("\n", "").replace("\t", "")):
        return Reading(hidden="holds signs that cannot be seen")
    script, plain = read_tree(text), read_plain(text)
    if script is None:
        # The other reader is exact where it understands: good enough to say what is critical, not to allow.
        if plain is None:
            return Reading(hidden="cannot be understood")
        redirects = tuple(redirect for command in plain for redirect in command.redirects)
        return _looked_through(Reading(commands=plain, redirects=redirects), depth)
    is_agreed = plain is not None and _agree(plain, script.commands)
    reading = Reading(
        # Where the readers disagree, either may be right: what each of them has seen counts.
        commands=(*script.commands, *(() if plain is None or is_agreed else plain)),
        redirects=script.redirects,
        critical="starts itself again and again (a fork bomb)" if script.is_fork_bomb else None,
        plain=plain if is_agreed else None,
    )
    return _looked_through(reading, depth)


def _agree(plain: Sequence[Command], found: Sequence[Command]) -> bool:
    """Whether the two readers tell the same commands, words, redirections and inputs."""
    rest = list(found)
    for command in plain:
        if not rest or not _is_same(command, twin := rest.pop(0)):
            return False
        for word in twin.words:
            # `"$(cat <<'EOF' ...)"`: one reader tells its text, the other one the command in it.
            if not word.is_known and (not rest or [w.text for w in rest.pop(0).words] != ["cat"]):
                return False
    return not rest


def _is_same(one: Command, other: Command) -> bool:
    return (
        len(one.words) == len(other.words)
        and all(map(_is_same_word, one.words, other.words))
        and [(r.operator, r.target.text) for r in one.redirects]
        == [(r.operator, r.target.text) for r in other.redirects]
        and len(one.inputs) == len(other.inputs)
        and not other.assignments
        and one.is_piped == other.is_piped
    )


def _is_same_word(one: Word, other: Word) -> bool:
    if not other.is_known:
        return other.text.startswith("$(cat <<'")
    return one.text == other.text and (one.glob_at is None) == (other.glob_at is None)


def _looked_through(reading: Reading, depth: int) -> Reading:
    """The reading with what its commands run beside themselves, and what those run."""
    commands: list[Command] = []
    waiting = [(command, depth) for command in reading.commands]
    redirects, hidden, critical = list(reading.redirects), reading.hidden, reading.critical
    hints, spent = list(reading.hints), 0
    while waiting:
        command, level = waiting.pop(0)
        commands.append(command)
        if level > _MAX_DEPTH or len(commands) > _MAX_COMMANDS:
            hidden = hidden or "runs too much within commands"
            break
        inner = look_through(command)
        hidden = hidden or inner.hidden
        hints += inner.hints
        waiting += [(each, level + 1) for each in inner.commands]
        for script in inner.scripts:
            spent += len(script)
            is_too_much = level >= _MAX_DEPTH or spent > _MAX_INNER_CHARS
            found = Reading(hidden="runs too much within commands") if is_too_much else _read(script, level + 1)
            commands += found.commands
            redirects += found.redirects
            hints += found.hints
            hidden, critical = hidden or found.hidden, critical or found.critical
    return replace(
        reading,
        commands=tuple(commands),
        redirects=tuple(redirects),
        hidden=hidden,
        critical=critical,
        hints=tuple(hints),
    )


# --- risk ----------------------------------------------------------------------------------------------------------


def judge(reading: Reading, folder: str | None) -> Verdict:
    """How bad it can be. `folder`: the absolute path of the working directory; None: not known, nothing is LOW."""
    folder = folder if place_in(folder, ".") is not None else None
    why = _critical(reading, folder)
    if why is not None:
        return Verdict(Risk.CRITICAL, f"It {why}")
    if reading.plain:
        risk = risk_of_plain(reading.plain, folder)
        if risk is Risk.LOW:
            return Verdict(Risk.LOW, "It only reads in the working directory")
        if risk is Risk.MEDIUM:
            return Verdict(Risk.MEDIUM, "It only reads, some of it from the network")
    if any(redirect.is_write and redirect.target.literal != "/dev/null" for redirect in reading.redirects):
        return Verdict(Risk.HIGH, "It writes files")
    names = dict.fromkeys(command.program for command in reading.commands if command.program)
    return Verdict(Risk.HIGH, f"It runs {', '.join(name[:40] for name in list(names)[:4]) or 'a command'}")


def _critical(reading: Reading, folder: str | None) -> str | None:
    if reading.critical:
        return reading.critical
    for command in reading.commands:
        if (why := danger_of(command, folder)) is not None:
            return why
    for redirect in reading.redirects:
        if (why := redirect_danger(redirect, folder)) is not None:
            return why
    spent = 0
    for hint in reading.hints:
        spent += len(hint)
        if spent <= _MAX_INNER_CHARS and (why := _critical_in_hint(hint, folder)) is not None:
            return why
    return reading.hidden


def _critical_in_hint(hint: str, folder: str | None) -> str | None:
    """Text that may be no shell command at all: only what is plainly one, and critical, counts."""
    reading = _read(hint, depth=_MAX_DEPTH - 1)
    if reading.hidden is not None and not reading.commands:
        return None
    return next((why for command in reading.commands if command.program and (why := danger_of(command, folder))), None)


# --- patterns of grants --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pattern:
    words: tuple[str, ...]
    is_prefix: bool


def check_pattern(pattern: str) -> None:
    """Raises InvalidRequest where it is no pattern of commands: words, then `:*` for any further arguments."""
    _parse(pattern)


def _parse(pattern: str) -> _Pattern:
    is_prefix = pattern.endswith(":*")
    text = pattern.removesuffix(":*")
    if len(pattern) > MAX_PATTERN_CHARS:
        raise _invalid(f"At most {MAX_PATTERN_CHARS} characters.")
    commands = read_plain(text)
    if commands is None or len(commands) != 1:
        raise _invalid("Must be one plain command, such as `npm test` or `git commit:*`.")
    (command,) = commands
    if command.redirects or command.inputs or any(word.literal is None for word in command.words):
        raise _invalid("Must hold no redirection, and no `*` but in `:*` at its end.")
    if command.words[0].text.startswith("-"):
        raise _invalid("Must begin with a program.")
    return _Pattern(tuple(word.text for word in command.words), is_prefix)


def _invalid(why: str) -> InvalidRequest:
    return InvalidRequest("This is no pattern of shell commands", fields={"pattern": [why]})


def covered_by(reading: Reading, patterns: Sequence[str], folder: str | None) -> frozenset[int] | None:
    """Which of the patterns allow it, by index; None where some part of it is not covered.

    Each simple command must be covered by a pattern or be LOW by itself, also those that other commands run.
    Redirections must stay in the folder. A prefix never covers what is CRITICAL by itself: for that the exact words
    must be given.
    """
    if not reading.plain or reading.critical is not None:
        return None
    parsed = [_parse(pattern) for pattern in patterns]
    used: set[int] = set()
    if all(_covers(command, parsed, folder, used, depth=0) for command in reading.plain):
        return frozenset(used)
    return None


def _covers(command: Command, patterns: Sequence[_Pattern], folder: str | None, used: set[int], depth: int) -> bool:
    if depth > _MAX_DEPTH:
        return False
    if reads_only(command, folder):
        return True
    if not all(_stays_inside(redirect, folder) for redirect in command.redirects):
        return False
    inner = look_through(command)
    if inner.hidden is not None or not _covers_inner(inner.commands, inner.scripts, patterns, folder, used, depth):
        return False
    is_critical = danger_of(command, folder) is not None or any(_critical_in_hint(h, folder) for h in inner.hints)
    for index, pattern in enumerate(patterns):
        if not (is_critical and pattern.is_prefix) and _matches(pattern, command):
            used.add(index)
            return True
    return command.program in TRANSPARENT and bool(inner.commands) and not is_critical


def _covers_inner(
    commands: Iterable[Command],
    scripts: Iterable[str],
    patterns: Sequence[_Pattern],
    folder: str | None,
    used: set[int],
    depth: int,
) -> bool:
    found = list(commands)
    for script in scripts:
        plain = _read(script, depth + 1).plain
        if plain is None:
            return False
        found += plain
    return all(_covers(command, patterns, folder, used, depth + 1) for command in found)


def _stays_inside(redirect: Redirect, folder: str | None) -> bool:
    if is_harmless_redirect(redirect, folder):
        return True
    place = place_in(folder, redirect.target.literal)
    return place is not None and not is_protected(place)


def _matches(pattern: _Pattern, command: Command) -> bool:
    texts = [word.literal for word in command.words]
    if len(texts) < len(pattern.words) or (len(texts) > len(pattern.words) and not pattern.is_prefix):
        return False
    return all(text == wanted for text, wanted in zip(texts, pattern.words, strict=False))


def meets(reading: Reading, pattern: str) -> bool | None:
    """Whether a denial of this pattern means some part of the command; None where nobody can tell.

    Programs are compared without their folder and without case, and options between a program and its command do not
    count: `git push:*` means `/usr/bin/git -C . push` too.
    """
    wanted = _parse(pattern)
    answers = [_is_meant(wanted, command) for command in reading.commands]
    if any(answers):
        return True
    named = re.compile(rf"\b{re.escape(wanted.words[0].rsplit('/', 1)[-1])}\b", re.IGNORECASE)
    if reading.hidden is not None or any(named.search(hint) for hint in reading.hints):
        return None
    return None if any(answer is None for answer in answers) else False


def _is_meant(pattern: _Pattern, command: Command) -> bool | None:
    if command.program is None:
        return None if command.words else False
    if command.program != pattern.words[0].rsplit("/", 1)[-1].casefold():
        return False
    wanted, rest = pattern.words[1:], list(command.arguments)
    if not pattern.is_prefix:
        return _same_words(rest, wanted) if len(rest) == len(wanted) else False
    doubt: bool | None = False
    for start in range(len(rest) + 1):
        found = _same_words(rest[start:], wanted)
        if found:
            return True
        doubt = None if found is None else doubt
        if start < len(rest) and not _is_option(rest, start):
            break
    return doubt


def _is_option(rest: Sequence[Word], at: int) -> bool:
    """An option, or what may be the value of the option before it."""
    return rest[at].text.startswith("-") or (at > 0 and rest[at - 1].text.startswith("-"))


def _same_words(rest: Sequence[Word], wanted: Sequence[str]) -> bool | None:
    if len(rest) < len(wanted):
        return None if any(word.literal is None for word in rest) else False
    pairs = list(zip(rest, wanted, strict=False))
    if any(word.literal is not None and word.text != text for word, text in pairs):
        return False
    return None if any(word.literal is None for word, _ in pairs) else True


def patterns_for(reading: Reading, folder: str | None) -> tuple[str, ...]:
    """The narrowest patterns that would have allowed this command; none where no pattern can.

    For programs with commands of their own (`git commit`) any arguments of that command, else the exact words.
    """
    if not reading.plain or any(r.is_write and r.target.literal != "/dev/null" for r in reading.redirects):
        return ()
    found = dict.fromkeys(_pattern_for(command, folder) for command in reading.plain if not reads_only(command, folder))
    patterns = tuple(found)
    try:
        return patterns if patterns and covered_by(reading, patterns, folder) is not None else ()
    except InvalidRequest:
        return ()


def _pattern_for(command: Command, folder: str | None) -> str:
    texts = [word.text for word in command.words]
    if danger_of(command, folder) is None:
        for length in (3, 2):
            head, said = " ".join(texts[: length - 1]), " ".join(texts[:length])
            if len(texts) >= length and _BY_COMMAND.fullmatch(head) and not _TAKES_CODE.fullmatch(said):
                return f"{shlex.join(texts[:length])}:*"
    return shlex.join(texts)
