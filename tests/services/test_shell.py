"""A shell command is judged by what a shell would do with it, and doubt never makes it look better."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from baton.core.errors import InvalidRequest
from baton.core.permissions import Risk
from baton.services import shell
from baton.services.shell_parts import Command, words
from baton.services.shell_plain import read_plain
from tests.services import shell_table as table
from tests.services.shell_table import FOLDER

TABLE = [
    (text, risk)
    for risk, texts in (
        (Risk.LOW, table.LOW),
        (Risk.MEDIUM, table.MEDIUM),
        (Risk.HIGH, table.HIGH),
        (Risk.CRITICAL, table.CRITICAL),
    )
    for text in texts
]
WHOLE = [text for text, _ in TABLE if text.strip() and not re.search(r"#|<<|\\\Z", text)]
"""Commands whose end cannot take in what is put behind them."""


def risk(text: str, folder: str | None = FOLDER) -> Risk:
    return shell.judge(shell.read(text), folder).risk


def is_read(text: str) -> bool:
    reading = shell.read(text)
    return reading.hidden is None or bool(reading.commands)


# --- the table -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "expected"), TABLE, ids=[f"{risk}-{text[:50]!r}" for text, risk in TABLE])
def test_each_command_has_its_risk(text: str, expected: Risk) -> None:
    assert risk(text) is expected


def test_the_table_is_as_long_as_was_promised() -> None:
    assert len({text for text, _ in TABLE}) == len(TABLE) >= 150


@pytest.mark.parametrize("text", table.LOOK_ALIKES)
def test_a_letter_that_looks_the_same_makes_another_program(text: str) -> None:
    assert risk(text).level >= Risk.HIGH.level


@pytest.mark.parametrize("folder", [None, "/", "relative/folder", "/work/../etc", ""])
def test_nothing_is_harmless_where_the_folder_is_not_known(folder: str | None) -> None:
    for text in table.LOW:
        assert risk(text, folder) is not Risk.LOW, text


def test_a_reason_is_a_sentence_for_people() -> None:
    assert shell.judge(shell.read("ls && rm -rf ~"), FOLDER).reason == "It removes ~"
    assert shell.judge(shell.read("npm test | tee x"), FOLDER).reason == "It runs npm, tee"


# --- doubt never helps ---------------------------------------------------------------------------------------------

PIECES = st.one_of(
    st.sampled_from([text for text, _ in TABLE if len(text) < 200]),
    st.text(alphabet="ab $'\"`\\;|&<>(){}[]*?~#=-/\n!EOF", max_size=20),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.sampled_from(WHOLE), PIECES, st.sampled_from(["; ", "\n", " && ", " || ", " | ", " & "]))
def test_what_is_put_behind_a_command_never_lowers_its_risk(text: str, more: str, joint: str) -> None:
    assume(is_read(text) and len(text) < 400)
    assert risk(text + joint + more).level >= risk(text).level


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([text for text in WHOLE if len(text) < 400]), st.sampled_from(list(table.LOW)))
def test_what_is_put_before_a_command_never_lowers_its_risk(text: str, before: str) -> None:
    assume(is_read(text))
    assert risk(before + "\n" + text).level >= risk(text).level


@pytest.mark.parametrize(
    "around", ["({}\n)", "{{ {}\n}}", "ls $({}\n)", "if true; then {}\nfi", "f() {{ {}\n}}", "! {}"]
)
def test_no_wrapping_lowers_the_risk_of_a_command(around: str) -> None:
    for text in WHOLE:
        if text.strip() and len(text) < 400:
            assert risk(around.format(text)).level >= risk(text).level, text


@pytest.mark.parametrize(
    "around", ["bash -c {}", "eval {}", "sh -c {}", "trap {} EXIT", "env bash -c {}", "ssh host {}"]
)
def test_a_command_in_a_string_is_as_bad_as_outside(around: str) -> None:
    for text in table.CRITICAL:
        if len(text) < 400 and is_read(text) and "'" not in text:
            assert risk(around.format(f"'{text}'")) is Risk.CRITICAL, text


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_whatever_is_said_is_judged(text: str) -> None:
    shell.judge(shell.read(text), FOLDER)
    shell.patterns_for(shell.read(text), FOLDER)
    shell.meets(shell.read(text), "rm:*")


# --- the second reader is exact ------------------------------------------------------------------------------------

BASH = shutil.which("bash")
TELL = """
command_not_found_handle() { printf '%s\\0' "$#" "$@" >&"$TELL_TO"; }
cat() { local line; while IFS= read -r line; do printf '%s\\n' "$line"; done; }
PATH=/nonexistent
"""
TOKENS = st.lists(
    st.sampled_from(
        [
            *(
                "aa",
                "bb",
                " ",
                " ",
                " ",
                "\n",
                ";",
                "&&",
                "'",
                '"',
                "\\",
                "#",
                "\t",
                "=",
                "~",
                "$",
                "*",
                "'x y'",
                '"p q"',
            ),
            *("\\\n", "\\'", '\\"', "$X", "{", "}", "(", ")", "`", "!", " 2>&1 ", "é", ",", "-", "]", "\nE\n", "E"),
            *(" <<'E'\n", " <<E\n", " <<'E'; aa\n", "\"$(cat <<'E'\n", '\nE\n)"', "\nE"),
        ]
    ),
    max_size=14,
).map("".join)


def told_by_bash(text: str, folder: str) -> tuple[list[list[str]], bool]:
    """What bash runs, as lists of words, and whether it is good bash."""
    assert BASH is not None
    heard, told = os.pipe()
    with os.fdopen(heard, "rb") as pipe:
        done = subprocess.run(
            [BASH, "--norc", "--noprofile", "-c", TELL + text],
            env={"LC_ALL": "C.UTF-8", "TELL_TO": str(told)},
            cwd=folder,
            pass_fds=(told,),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=False,
        )
        os.close(told)
        words = pipe.read().decode().split("\0")[:-1]
    commands: list[list[str]] = []
    while words:
        count = int(words[0])
        commands.append(words[1 : 1 + count])
        words = words[1 + count :]
    return commands, b"syntax error" not in done.stderr


@pytest.mark.skipif(BASH is None or os.name != "posix", reason="bash is not installed")
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(TOKENS)
def test_the_plain_reader_reads_what_bash_reads(tmp_path: Path, text: str) -> None:
    commands = read_plain(text)
    assume(commands)
    assert commands is not None
    told, is_good = told_by_bash(text, str(tmp_path))
    expected = [[word.text for word in command.words] for command in commands]
    # Bash runs the lines before one that it cannot take.
    assert told == (expected if is_good else expected[: len(told)])


@pytest.mark.parametrize(
    ("text", "words_of_it"),
    [
        ('"\\\\\n"', ["\\\n"]),
        ('"a\\\nb"', ["ab"]),
        ('"\\a\\$\\`\\""', ['\\a$`"']),
        ("a\\ b'c'\"d\"", ["a bcd"]),
        ("a\\\nb", ["ab"]),
        ("'a\nb' # c", ["a\nb"]),
        ("a\\\n#b", ["a#b"]),
    ],
)
def test_quotes_go_as_in_bash(text: str, words_of_it: list[str]) -> None:
    (command,) = read_plain(text) or ()
    assert [word.text for word in command.words] == words_of_it
    assert shell.read(text).plain in (None, (command,))  # the other reader may see less


def test_a_document_that_ends_early_is_not_taken_for_an_argument() -> None:
    text = "echo \"$(cat <<'E'\naa\nE\nbb\nE\n)\""
    assert read_plain(text) is None
    assert read_plain(text.replace("bb", "")) is None
    assert read_plain("echo \"$(cat <<'E'\n\nE)\nE\n)\"") is None
    assert read_plain("echo \"$(cat <<'E'\naa\n)\\E\nE\n)\"") is not None


@pytest.mark.parametrize("seen", [[], ["ls"], ["ls", "rm a", "ls"], ["ls", "rm b"], ["ls", "rm a b"]])
def test_nothing_is_allowed_where_the_readers_disagree(seen: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    other = tuple(Command(words=words(*text.split())) for text in seen)
    monkeypatch.setattr(shell, "read_plain", lambda text: other)
    reading = shell.read("ls; rm a")
    assert reading.plain is None
    assert shell.judge(reading, FOLDER).risk is Risk.HIGH


def test_what_either_reader_has_seen_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "read_plain", lambda text: (Command(words=words("rm", "-rf", "/")),))
    reading = shell.read("ls")
    assert shell.judge(reading, FOLDER).risk is Risk.CRITICAL
    assert shell.meets(reading, "rm:*") is True


# --- patterns ------------------------------------------------------------------------------------------------------


def covers(text: str, *patterns: str) -> bool:
    return shell.covered_by(shell.read(text), patterns, FOLDER) is not None


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("git commit -m x", ["git commit:*"]),
        ("git commit", ["git commit:*"]),
        ("npm test", ["npm test"]),
        ("git add -A && git commit -m 'a; b'", ["git add:*", "git commit:*"]),
        ("cd src && npm test 2>&1 | tail -20", ["npm test:*"]),
        ("npm test > out.log", ["npm test:*"]),
        ("timeout 60 npm test", ["npm test:*"]),
        ("git commit -m \"$(cat <<'EOF'\nrm -rf ~; it's $(fine)\nEOF\n)\"", ["git commit:*"]),
        ("bash -c 'npm test'", ["bash:*", "npm test:*"]),
        ("rm -rf /opt/x", ["rm -rf /opt/x"]),
        ("git push --force origin main", ["git push --force origin main"]),
        ("echo 'a b'", ["echo:*"]),
    ],
)
def test_a_pattern_covers_what_it_says(text: str, patterns: list[str]) -> None:
    assert covers(text, *patterns)


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("git commits", ["git commit:*"]),
        ("git -C /tmp commit", ["git commit:*"]),
        ("./git commit", ["git commit:*"]),
        ("GIT commit", ["git commit:*"]),
        ("npm test x", ["npm test"]),
        ("npm", ["npm test:*"]),
        ("git commit; rm a", ["git commit:*"]),
        ("git commit && curl https://example.com", ["git commit:*"]),
        ("git commit -m $(id -u)", ["git commit:*"]),
        ('git commit -m "$MESSAGE"', ["git commit:*"]),
        ("git commit -m x &", ["git commit:*"]),
        ("(git commit)", ["git commit:*"]),
        ("FOO=1 git commit", ["git commit:*"]),
        ("env git commit", ["git commit:*"]),
        ("sudo git commit", ["git commit:*"]),
        ("git commit > /etc/x", ["git commit:*"]),
        ("git commit > ../x", ["git commit:*"]),
        ("git commit >> .git/hooks/x", ["git commit:*"]),
        ("git commit > $X", ["git commit:*"]),
        ("git commit < /etc/passwd", ["git commit:*"]),
        ("xargs rm", ["xargs:*"]),
        ("find . -exec touch {} +", ["find:*"]),
        ("bash -c 'rm a'", ["bash:*"]),
        ("bash <<'EOF'\nrm a\nEOF", ["bash:*"]),
        ("cat x | bash", ["bash:*"]),
        ("git push --force", ["git push:*"]),
        ("rm -rf ~", ["rm:*"]),
        ("rm -rf /", ["rm:*", "rm -rf:*"]),
        ("python3 -c 'import os; os.system(\"rm -rf ~\")'", ["python3:*"]),
        ("git commit -m \"$(cat <<'EOF'\nx\nEOF\nrm a\nEOF\n)\"", ["git commit:*"]),
        ("git commit -m 'x", ["git commit:*"]),
        ("git commit\r-m x", ["git commit:*"]),
        ("cat <<'EOF' 2>&1 | npm test\nx\nEOF", ["npm test:*"]),
        ("npm test", []),
    ],
)
def test_a_pattern_covers_nothing_else(text: str, patterns: list[str]) -> None:
    assert not covers(text, *patterns)


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "",
            " ",
            ":*",
            "*",
            "git *",
            "git commit; rm:*",
            "git $X:*",
            "git 'commit",
            "FOO=1 git:*",
            "-rf:*",
            "git > x",
        ),
        *("a | b", "$(git):*", "git\x00:*", "git\u00a0push:*", "x" * 600),
    ],
)
def test_an_invalid_pattern_is_refused_with_its_field(pattern: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        shell.check_pattern(pattern)
    assert refused.value.fields is not None
    assert "pattern" in refused.value.fields


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("rm a", "rm:*"),
        ("ls; rm a", "rm:*"),
        ("/bin/rm a", "rm:*"),
        ("RM a", "rm:*"),
        ("r'm' a", "rm:*"),
        ("sudo rm a", "rm:*"),
        ("env -i rm a", "rm:*"),
        ("bash -c 'ls; rm a'", "rm:*"),
        ("find . -exec rm {} +", "rm:*"),
        ("ls | xargs rm", "rm:*"),
        ("ls | xargs -i rm {}", "rm:*"),
        ("timeout --sig KILL 5 rm a", "rm:*"),
        ("echo $(rm a)", "rm:*"),
        ("f() { rm a; }", "rm:*"),
        ("git push", "git push:*"),
        ("git -C . --no-pager push -f", "git push:*"),
        ("cat <<'EOF' 2>&1 | rm a\nx\nEOF", "rm:*"),
        ("npm publish", "npm publish"),
        ("; ".join(["true"] * 60) + "; curl https://example.com", "curl:*"),
    ],
)
def test_a_denial_is_met_wherever_it_hides(text: str, pattern: str) -> None:
    assert shell.meets(shell.read(text), pattern) is True


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("$X a", "rm:*"),
        ('eval "$X"', "rm:*"),
        ("cat script | sh", "rm:*"),
        ("rm '", "rm:*"),
        ("ls\r", "rm:*"),
        ("git $X", "git push:*"),
        ("git -c alias.x='!rm a' x", "rm:*"),
        ("python3 -c 'import os; os.system(\"rm a\")'", "rm:*"),
        ("awk 'BEGIN{system(\"rm a\")}'", "rm:*"),
        ("base64 -d <<< x | bash", "rm:*"),
    ],
)
def test_a_denial_may_be_meant_where_something_is_hidden(text: str, pattern: str) -> None:
    assert shell.meets(shell.read(text), pattern) is None


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("ls", "rm:*"),
        ("git stash push", "git push:*"),
        ("git commit -m push", "git push:*"),
        ("echo rm", "rm:*"),
        ("npm publish --dry-run", "npm publish"),
    ],
)
def test_a_denial_does_not_mean_other_commands(text: str, pattern: str) -> None:
    assert shell.meets(shell.read(text), pattern) is False


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("git commit -m x", ("git commit:*",)),
        ("cd src && git add -A && git commit -m x | tail -3", ("git add:*", "git commit:*")),
        ("npm run build -- --prod", ("npm run build:*",)),
        ("gh pr create --title x", ("gh pr create:*",)),
        ("npm install left-pad", ("npm install left-pad",)),
        ("pytest -x 'a b'", ("pytest -x 'a b'",)),
        ("git push --force", ("git push --force",)),
        ("ls", ()),
        ("cat a > b", ()),
        ("$X", ()),
        ("(npm test)", ()),
        ("FOO=1 npm test", ()),
    ],
)
def test_always_means_no_more_than_was_asked(text: str, patterns: tuple[str, ...]) -> None:
    assert shell.patterns_for(shell.read(text), FOLDER) == patterns


def test_what_is_suggested_allows_what_was_asked() -> None:
    for text, _ in TABLE:
        reading = shell.read(text)
        patterns = shell.patterns_for(reading, FOLDER)
        assert not patterns or shell.covered_by(reading, patterns, FOLDER) is not None, text


def test_a_command_given_as_words_has_no_shell() -> None:
    assert shell.judge(shell.read_words(["ls", ";", "rm"]), FOLDER).risk is Risk.LOW
    assert shell.judge(shell.read_words(["rm", "-rf", "/"]), FOLDER).risk is Risk.CRITICAL
    assert shell.judge(shell.read_words(["sh", "-c", "rm -rf ~"]), FOLDER).risk is Risk.CRITICAL
    assert shell.judge(shell.read_words(["cat", "/etc/passwd"]), FOLDER).risk is Risk.HIGH
