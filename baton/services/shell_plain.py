"""Reads the small part of bash in which nothing is left to run time, and that part exactly; else says so.

What may run without asking must be read the same by this reader and by `shell_tree`: two readers that share no code.
Known here: simple commands joined by `;`, `&&`, `||`, `|` and new lines; quotes; comments; redirections;
here-documents without expansions; and `"$(cat <<'EOF' ...)"`, the way in which agents write long arguments.
Everything else (variables, substitutions, braces, subshells, functions, keywords, `&`) is not plain.
"""

import re
from dataclasses import replace
from typing import Final

from baton.services.folders import has_hidden_signs
from baton.services.shell_parts import MAX_CHARS, Command, Redirect, Word

_KEYWORDS: Final = re.compile(
    r"if|then|elif|else|fi|for|while|until|do|done|case|esac|select|function|time|coproc|in|\{|\}|\[\[|\]\]|!"
)
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*(\[|\+?=)")
_OPERATOR: Final = re.compile(r"&&|\|\||;(?!;)|\|(?!&)|\n")
_REDIRECT: Final = re.compile(r"(\d*)(<<<|<<-?|>>|>\||>&|<&|<>|>|<|)")
_ORDINARY: Final = re.compile(r"[\w./:,%@+^-]*")
_MARK: Final = re.compile(r"'(\w+)'|\"(\w+)\"|(\w+)")
_LONG_ARGUMENT: Final = re.compile(r"\"\$\(cat <<'(\w+)'\n(.*?)\n\1\n\s*\)\"", re.DOTALL)


class _NotPlainError(Exception):
    """Something that this reader leaves to the other one."""


def read_plain(text: str) -> tuple[Command, ...] | None:
    """The commands in order; None where the text is not plain. A known pipe sets `is_piped` and `source`."""
    if len(text) > MAX_CHARS or has_hidden_signs(text.replace("\n", "").replace("\t", "")):
        return None
    try:
        return tuple(_Reader(text).commands())
    except _NotPlainError:
        return None


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._waiting: list[tuple[int, str, bool]] = []
        """Here-documents whose bodies begin at the next new line: index of their command, mark, is quoted."""
        self._commands: list[Command] = []
        self._is_piped = False

    def commands(self) -> list[Command]:
        """All of them, up to the end of the text."""
        while True:
            self._skip_blanks()
            if self._at >= len(self._text):
                break
            operator = _OPERATOR.match(self._text, self._at)
            if operator is None:
                self._command()
            elif operator[0] == "\n":
                self._new_line()
            else:
                self._joined(operator[0])
        if self._waiting or self._is_piped:
            raise _NotPlainError
        return self._commands

    def _joined(self, operator: str) -> None:
        if not self._commands or self._is_piped:
            raise _NotPlainError
        self._at += len(operator)
        self._is_piped = operator == "|"

    def _new_line(self) -> None:
        self._at += 1
        waiting, self._waiting = self._waiting, []
        for index, mark, is_quoted in waiting:
            body = self._body(mark)
            if not is_quoted and re.search(r"[$`\\]", body):
                raise _NotPlainError
            command = self._commands[index]
            self._commands[index] = replace(command, inputs=(*command.inputs, Word(body)))

    def _body(self, mark: str) -> str:
        begin = self._at
        while self._at < len(self._text):
            end = self._text.find("\n", self._at)
            end = len(self._text) if end < 0 else end
            line, start = self._text[self._at : end], self._at
            self._at = min(end + 1, len(self._text))
            if line == mark:
                return self._text[begin:start]
        raise _NotPlainError  # bash would take the end of the text for the mark, and warn

    def _command(self) -> None:
        words: list[Word] = []
        redirects: list[Redirect] = []
        inputs: list[Word] = []
        index = len(self._commands)
        while True:
            self._skip_blanks()
            if self._at >= len(self._text) or _OPERATOR.match(self._text, self._at):
                break
            redirect = _REDIRECT.match(self._text, self._at)
            assert redirect is not None, "the pattern matches nothing too"
            if not redirect[2]:
                words.append(self._word(is_first=not words))
                continue
            self._at = redirect.end()
            if redirect[2] == "<<<":
                inputs.append(self._word())
            elif redirect[2].startswith("<<"):
                self._heredoc_mark(redirect[2], index)
            else:
                redirects.append(Redirect(redirect[2], self._word()))
        if not words:
            raise _NotPlainError
        source = self._commands[-1] if self._is_piped else None
        self._commands.append(
            Command(
                words=tuple(words),
                redirects=tuple(redirects),
                inputs=tuple(inputs),
                is_piped=self._is_piped,
                source=source,
            )
        )
        self._is_piped = False

    def _heredoc_mark(self, operator: str, index: int) -> None:
        self._skip_blanks()
        mark = _MARK.match(self._text, self._at)
        if operator != "<<" or mark is None or not self._ends_word(mark.end()):
            raise _NotPlainError
        self._at = mark.end()
        self._waiting.append((index, mark[1] or mark[2] or mark[3], mark[3] is None))

    def _ends_word(self, position: int) -> bool:
        return position >= len(self._text) or self._text[position] in " \t\n;|<>&"

    def _skip_blanks(self) -> None:
        """Blanks, continued lines, and a comment, which can only begin where a word could."""
        while True:
            if self._text.startswith("\\\n", self._at):
                self._at += 2
            elif self._text[self._at : self._at + 1] in (" ", "\t"):
                self._at += 1
            else:
                break
        is_start = self._at == 0 or self._text[self._at - 1] in " \t\n;|&"
        if is_start and self._text[self._at : self._at + 1] == "#":
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end

    def _word(self, *, is_first: bool = False) -> Word:
        self._skip_blanks()
        begin = self._at
        text, glob_at = "", None
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in " \t\n;|&<>":
                break
            if char in "'\"\\":
                text += self._quoted(char)
                continue
            if char in "$`(){}" or (self._at == begin and char in "~="):
                raise _NotPlainError
            if char in "*?[" and glob_at is None:
                glob_at = len(text)
            end = _ORDINARY.match(self._text, self._at + 1)
            assert end is not None, "the pattern matches nothing too"
            text += self._text[self._at : end.end()]
            self._at = end.end()
        raw = self._text[begin : self._at].replace("\\\n", "")
        if not raw or raw[0] == "#" or (is_first and (_KEYWORDS.fullmatch(raw) or _ASSIGNMENT.match(raw))):
            raise _NotPlainError
        return Word(text, glob_at=None if raw == "[" else glob_at)

    def _quoted(self, quote: str) -> str:
        """What a quote or an escape at this place stands for."""
        begin = self._at
        if quote == "\\":
            self._at += 2
            if self._at > len(self._text):
                raise _NotPlainError
            escaped = self._text[begin + 1]
            return "" if escaped == "\n" else escaped
        if quote == '"' and (long := _LONG_ARGUMENT.match(self._text, begin)) is not None:
            if any(line.startswith(long[1]) for line in long[2].split("\n")):
                raise _NotPlainError  # the document may end there, also before a `)`, and what follows is run
            self._at = long.end()
            return long[2].rstrip("\n")
        pattern = r"'([^']*)'" if quote == "'" else r'"((?:[^"\\$`]|\\.)*)"'
        found = re.compile(pattern, re.DOTALL).match(self._text, begin)
        if found is None:
            raise _NotPlainError
        self._at = found.end()
        return found[1] if quote == "'" else re.sub(r"\\(?:\n|([$`\"\\]))", r"\1", found[1])
