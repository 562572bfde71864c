"""Looks through programs that run other programs: sudo, env, xargs, find -exec, sh -c, eval and their like.

What is looked through is also judged for itself: the wrapper stays in the list of commands.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from baton.services.shell_parts import Command, Word

SHELLS: Final = frozenset({"sh", "bash", "zsh", "dash", "ksh", "ash", "fish", "csh", "tcsh", "mksh", "rbash", "pwsh"})
INTERPRETERS: Final = re.compile(r"(python|pypy|node|deno|bun|perl|ruby|php|lua|tclsh|osascript|groovy|jshell)[\d.]*")
_INLINE: Final = frozenset({"-c", "-e", "-E", "-p", "-pe", "-ne", "-r", "--eval", "--print", "eval", "-le", "-lne"})
_APPENDED: Final = Word("<what is read>", is_known=False)


@dataclass(frozen=True, slots=True)
class Inner:
    """What a command runs beside itself. `hidden`: why that cannot all be told; None where it can."""

    commands: tuple[Command, ...] = ()
    scripts: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    """Text that may be a script: strings inside another language's code. Only what is critical in it counts."""
    hidden: str | None = None


NOTHING: Final = Inner()


@dataclass(frozen=True, slots=True)
class _Prefix:
    """A program whose command stands behind its own options: `timeout -s KILL 60 make`."""

    valued: str = ""
    """Short options with a value."""
    valued_long: frozenset[str] = frozenset()
    operands: int = 0
    """Words of its own between its options and the command."""
    sets_variables: bool = False


_PREFIXES: Final[Mapping[str, _Prefix]] = {
    "sudo": _Prefix("CDghpRrTtUu", frozenset({"--user", "--group", "--host", "--prompt", "--chdir"}), 0, True),
    "doas": _Prefix("Cu"),
    "pkexec": _Prefix("", frozenset({"--user"})),
    "runuser": _Prefix("gGu"),
    "env": _Prefix("uCP", frozenset({"--unset", "--chdir"}), 0, True),
    "nice": _Prefix("n", frozenset({"--adjustment"})),
    "ionice": _Prefix("cnpPu", frozenset({"--class", "--classdata"})),
    "chrt": _Prefix("TPD", operands=1),
    "taskset": _Prefix("", operands=1),
    "timeout": _Prefix("ks", frozenset({"--kill-after", "--signal"}), 1),
    "gtimeout": _Prefix("ks", frozenset({"--kill-after", "--signal"}), 1),
    "nohup": _Prefix(),
    "setsid": _Prefix(),
    "stdbuf": _Prefix("ioe", frozenset({"--input", "--output", "--error"})),
    "unbuffer": _Prefix(),
    "time": _Prefix("fo", frozenset({"--format", "--output"})),
    "command": _Prefix(),
    "builtin": _Prefix(),
    "exec": _Prefix("a"),
    "coproc": _Prefix(),
    "noglob": _Prefix(),
    "nocorrect": _Prefix(),
    "busybox": _Prefix(),
    "toybox": _Prefix(),
    "chroot": _Prefix("", frozenset({"--userspec", "--groups"}), 1),
    "unshare": _Prefix("SG"),
    "nsenter": _Prefix("tSG", frozenset({"--target"})),
    "strace": _Prefix("abeEIoOpPsSuUX"),
    "ltrace": _Prefix("aAeFlnopsuwxX"),
    "caffeinate": _Prefix("tw"),
    "flock": _Prefix("wE", frozenset({"--timeout", "--wait"}), 1),
    "setarch": _Prefix("", operands=1),
    "xvfb-run": _Prefix("efnps", frozenset({"--server-args", "--server-num", "--error-file"})),
    "dbus-run-session": _Prefix(),
    "fakeroot": _Prefix(),
    "firejail": _Prefix(),
    "proxychains": _Prefix("f"),
    "xargs": _Prefix("adEILnPsSRJ", frozenset({"--arg-file", "--delimiter", "--max-args", "--max-procs", "--replace"})),
    "parallel": _Prefix("jaSIN", frozenset({"--jobs", "--arg-file", "--delimiter", "--colsep", "--joblog"})),
}
_WITHOUT_VALUE: Final = frozenset(
    {"--foreground", "--preserve-status", "--verbose", "--ignore-environment", "--null", "--no-run-if-empty", "--exit"}
    | {"--interactive", "--open-tty", "--non-interactive", "--stdin", "--login", "--background", "--wait", "--append"}
    | {"--portability", "--fork", "--ctty", "--exclusive", "--shared", "--nonblock", "--close", "--idle", "--quiet"}
)
"""Long options of all of them that take no value."""
TRANSPARENT: Final = frozenset({"timeout", "gtimeout", "nice", "nohup", "stdbuf", "command", "builtin"})
"""Those that change nothing of what the command does: a grant for the command is one for it with these."""


def look_through(command: Command) -> Inner:
    """What this command runs beside itself."""
    program = command.program
    if program is None:
        return Inner(hidden="which program runs is only decided at run time")
    if program in _PREFIXES:
        return _prefixed(program, command)
    if program in SHELLS:
        return _shell(command)
    if INTERPRETERS.fullmatch(program):
        return _interpreter(command)
    special = _SPECIAL.get(program)
    return NOTHING if special is None else special(command)


def _from_words(command: Command, found: Sequence[Word]) -> Inner:
    if not found:
        return NOTHING
    return Inner(commands=(replace(command, words=tuple(found), assignments=(), redirects=()),))


def _prefixed(program: str, command: Command) -> Inner:
    prefix = _PREFIXES[program]
    rest = list(command.arguments)
    if program == "env" and (split := _split_string(rest)) is not None:
        return split
    if program == "command" and rest and re.fullmatch(r"-p?[vV]", rest[0].text):
        return NOTHING
    rest, is_sure = _behind_options(rest, prefix)
    while prefix.sets_variables and rest and re.match(r"\w+=", rest[0].text):
        rest = rest[1:]
    rest = rest[prefix.operands :]
    if program == "flock" and rest and rest[0].text in ("-c", "--command"):
        return _joined(rest[1:2])
    if program in ("xargs", "parallel") and rest:
        rest = [*rest, _APPENDED]
    if program == "parallel":
        # It hands its words to a shell, and without any runs what it reads.
        return _joined(rest) if rest else Inner(hidden="it runs the lines that it reads")
    # An option that is not known may have taken a word for its value: the command may begin later.
    starts = [rest] if is_sure else [rest, rest[1:], rest[2:]]
    return Inner(commands=tuple(each for start in starts for each in _from_words(command, start).commands))


def _behind_options(rest: list[Word], prefix: _Prefix) -> tuple[list[Word], bool]:
    """The words behind the options, and whether each option was known."""
    is_sure = True
    while rest and rest[0].text.startswith("-") and rest[0].text != "-":
        text = rest[0].text
        if text == "--":
            return rest[1:], is_sure
        if text.startswith("--"):
            takes_next = text in prefix.valued_long
            is_sure = is_sure and (takes_next or "=" in text or text in _WITHOUT_VALUE)
        else:
            takes_next = text[-1] in prefix.valued and not any(letter in prefix.valued for letter in text[1:-1])
        rest = rest[2 if takes_next else 1 :]
    return rest, is_sure


def _split_string(rest: Sequence[Word]) -> Inner | None:
    """`env -S 'words of a command'`, in whatever spelling."""
    for number, word in enumerate(rest):
        if not word.text.startswith("-"):
            return None
        found = re.match(r"(--split-string=?|-[i0v]*S)(.*)", word.text, re.DOTALL)
        if found is not None:
            return _joined([Word(found[2], word.is_known), *rest[number + 1 :]])
    return None


def _joined(words: Sequence[Word]) -> Inner:
    """Words that a shell puts together and runs."""
    if not words:
        return NOTHING
    if any(word.literal is None for word in words):
        known = " ".join(word.text for word in words)
        return Inner(hints=(known,), hidden="it runs text that is only known at run time")
    return Inner(scripts=(" ".join(word.text for word in words),))


def _shell(command: Command) -> Inner:
    """`sh -c text`, `sh file`, and `sh` that runs what it reads."""
    arguments = list(command.arguments)
    while arguments and arguments[0].text.startswith(("-", "+")) and arguments[0].text not in ("-", "--"):
        option, arguments = arguments[0].text, arguments[1:]
        if re.fullmatch(r"-[A-Za-z]*c[A-Za-z]*|--command|-Command|-EncodedCommand", option):
            while arguments and arguments[0].text.startswith(("-", "+")):
                arguments = arguments[1:]
            return _joined(arguments[:1])
        if option in ("-o", "+o", "-O", "+O", "--rcfile", "--init-file"):
            arguments = arguments[1:]
        if option in ("-s", "--version", "--help"):
            break
    files = [word for word in arguments if word.text not in ("-", "--")]
    if files and "/dev/stdin" not in files[0].text and "-s" not in [word.text for word in command.arguments]:
        return _not_substituted(files)
    return _read_script(command)


def _not_substituted(words: Sequence[Word]) -> Inner:
    if any("<(" in word.text and not word.is_known for word in words):
        return Inner(hidden="it runs what another program says")
    return NOTHING


def _read_script(command: Command) -> Inner:
    """What a shell runs that reads its script from its input."""
    if command.inputs:
        return _joined(command.inputs)
    if not command.is_piped:
        taken = any(redirect.operator == "<" for redirect in command.redirects)
        return Inner(hidden="it runs what it reads from its input") if taken else NOTHING
    source = command.source
    if source is not None and source.program == "echo" and all(w.literal is not None for w in source.arguments):
        said = " ".join(word.text for word in source.arguments if not re.fullmatch(r"-[neE]+", word.text))
        return Inner(scripts=(said,))
    if source is not None and source.program == "cat" and len(source.words) == 1 and source.inputs:
        return _joined(source.inputs)
    hints = tuple(word.text for word in source.arguments) if source is not None else ()
    return Inner(hints=hints, hidden="it runs what another program says")


def _interpreter(command: Command) -> Inner:
    """Code of another language: its strings may be shell commands."""
    texts = [word.text for word in command.arguments]
    inline = [text for before, text in pairwise(texts) if before in _INLINE]
    code = [*inline, *(word.text for word in command.inputs)]
    has_file = any(not text.startswith("-") for text in texts)
    if command.is_piped and not command.inputs and not has_file:
        return Inner(hidden="it runs what another program says")
    if any("<(" in text for text in texts):
        return _not_substituted(command.arguments)
    return Inner(hints=tuple(_strings_in(code)))


def _strings_in(code: Sequence[str]) -> list[str]:
    found: list[str] = []
    for text in code:
        found += [
            a or b or c for a, b, c in re.findall(r"\"([^\"\n]{2,400})\"|'([^'\n]{2,400})'|`([^`\n]{2,400})`", text)
        ]
        if words := re.findall(r"['\"]([^'\"]*)['\"]\s*[,\]]", text):
            found.append(" ".join(words))
    return found[:50]


# --- programs of their own kind ------------------------------------------------------------------------------------


def _find(command: Command) -> Inner:
    inner: list[Command] = []
    words: list[Word] | None = None
    for word in command.arguments:
        if words is None:
            if (joined := re.fullmatch(r"--exec(?:-batch)?=(.+)", word.text)) is not None:
                words = [Word(joined[1], word.is_known)]
            elif re.fullmatch(r"-(exec|execdir|ok|okdir)|-[xX]|--exec|--exec-batch", word.text):
                words = []
        elif word.text in (";", "+"):
            inner.append(Command(words=tuple(words)))
            words = None
        else:
            words.append(replace(word, is_known=False) if "{}" in word.text else word)
    if words:
        inner.append(Command(words=tuple(words)))
    return Inner(commands=tuple(each for each in inner if each.words))


def _ssh(command: Command) -> Inner:
    rest, _ = _behind_options(list(command.arguments), _Prefix("BbcDEeFIiJLlmOopQRSWw"))
    options = [w.text for w in command.arguments if re.search(r"(Proxy|Local|KnownHosts)Command", w.text)]
    inner = _joined(rest[1:])
    return replace(inner, scripts=(*inner.scripts, *(re.sub(r".*?Command[= ]", "", text) for text in options)))


def _git(command: Command) -> Inner:
    """Settings and options of git that name a program to run."""
    scripts: list[str] = []
    texts = [word.text for word in command.arguments]
    for before, text in zip(["", *texts], texts, strict=False):
        if before == "-c" and (setting := re.match(r"[\w.-]+=(.*)", text, re.DOTALL)) is not None:
            scripts.append(setting[1].removeprefix("!"))
        elif (option := re.match(r"--(?:upl|rec|exec|ext|open)[\w-]*=(.*)", text, re.DOTALL)) is not None:
            scripts.append(option[1])
        elif text.startswith("ext::"):
            scripts.append(text.removeprefix("ext::"))
        elif text.startswith("!") or before in ("--exec", "-x", "--tree-filter", "--index-filter", "--msg-filter"):
            scripts.append(text.removeprefix("!"))
    tail = texts[texts.index("run") + 1 :] if texts[:2] == ["bisect", "run"] else []
    submodule = texts[2:] if texts[:2] == ["submodule", "foreach"] else []
    scripts += [" ".join(part) for part in (tail, submodule) if part]
    return Inner(hints=tuple(scripts))


def _first_is_script(command: Command) -> Inner:
    return _joined([word for word in command.arguments if not word.text.startswith("-")][:1])


def _last_is_script(command: Command) -> Inner:
    return _joined(command.arguments[-1:])


def _eval(command: Command) -> Inner:
    return _joined([word for word in command.arguments if word.text != "--"])


def _watch(command: Command) -> Inner:
    rest, _ = _behind_options(list(command.arguments), _Prefix("nq", frozenset({"--interval"})))
    return _joined(rest)


def _alias(command: Command) -> Inner:
    values = [Word(word.text.partition("=")[2], word.is_known) for word in command.arguments if "=" in word.text]
    inners = [_joined([value]) for value in values]
    return Inner(
        scripts=tuple(script for inner in inners for script in inner.scripts),
        hidden=next((inner.hidden for inner in inners if inner.hidden), None),
    )


def _code(command: Command) -> Inner:
    return Inner(hints=tuple(_strings_in([word.text for word in command.arguments])))


def _script_option(command: Command) -> Inner:
    """`script -c 'text'`, `su -c 'text'`."""
    texts = list(command.arguments)
    for before, word in pairwise(texts):
        if re.fullmatch(r"-[a-z]*c|--command", before.text):
            return _joined([word])
    return NOTHING


def _source(command: Command) -> Inner:
    if any("/dev/stdin" in word.text or "/dev/fd" in word.text for word in command.arguments):
        return Inner(hidden="it runs what it reads from its input")
    return _not_substituted(command.arguments)


_SPECIAL: Final[Mapping[str, Callable[[Command], Inner]]] = {
    "find": _find,
    "gfind": _find,
    "fd": _find,
    "fdfind": _find,
    "ssh": _ssh,
    "git": _git,
    "eval": _eval,
    "trap": _first_is_script,
    "watch": _watch,
    "alias": _alias,
    "awk": _code,
    "gawk": _code,
    "mawk": _code,
    "nawk": _code,
    "sed": _code,
    "make": _code,
    "vim": _code,
    "vi": _code,
    "script": _script_option,
    "su": _script_option,
    "runuser": _script_option,
    "source": _source,
    ".": _source,
    "entr": _eval,
    "hyperfine": _last_is_script,
}
