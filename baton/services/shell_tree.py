"""Reads a shell command with tree-sitter's grammar of bash: every simple command in it, wherever it stands.

The grammar is made for editors: it is lenient, and there is valid bash that it takes for something else. So an error,
or text that no part of the tree covers, makes the whole command unreadable; and what is to be *allowed* must be read
the same by `shell_plain`, which knows little of the language and that exactly.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Final

import tree_sitter
import tree_sitter_bash

from baton.services.shell_parts import Command, Redirect, Word

MAX_TREE_CHARS: Final = 3_000
"""The grammar's error recovery is quadratic, or worse, for some input: measured up to 0.25 s at this length."""
MAX_NODES: Final = 6_000
MAX_DEPTH: Final = 60

_LANGUAGE: Final = tree_sitter.Language(tree_sitter_bash.language())

_PARTS_OF_WORDS: Final = frozenset({"word", "string", "raw_string", "ansi_c_string", "concatenation", "number"})
_DECLARATIONS: Final = frozenset({"declaration_command", "unset_command", "test_command"})
_ON_ONE_LINE: Final = frozenset(
    {"command", "redirected_statement", "file_redirect", "concatenation", "declaration_command", "unset_command"}
)
_FRESH: Final = frozenset({"command_substitution", "process_substitution"})
_KEYWORDS: Final = frozenset(
    {"if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "select", "function"}
    | {"{", "}", "!", "[[", "]]"}
)
_ESCAPES: Final = {
    "a": "\a",
    "b": "\b",
    "e": "\x1b",
    "E": "\x1b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}
_ANSI: Final = re.compile(
    r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|c(.)|(.))", re.DOTALL
)
_BRACES: Final = re.compile(r"\{[^{}]*(,|\.\.)[^{}]*\}")
_OPAQUE: Final = frozenset({"string", "heredoc_body", "comment"})
"""Nodes whose text is not wholly that of their children."""


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that a command line would run or write, as far as it is written there."""

    commands: tuple[Command, ...]
    redirects: tuple[Redirect, ...]
    is_fork_bomb: bool
    """A function that starts itself, in a pipe or in the background."""


class _UnreadableError(Exception):
    """The text is not bash that we understand, or more of it than we look at."""


def read_tree(text: str) -> Script | None:
    """The script; None where it cannot be read: bad syntax, too long, or too deeply nested."""
    if len(text) > MAX_TREE_CHARS:
        return None
    source = text.encode("utf-8", "replace")
    try:
        root = _parse(source)
        _check_covered(root, source)
        walk = _Walk(source)
        walk.visit(root, _Context())
    except _UnreadableError:
        return None
    return Script(tuple(walk.commands), tuple(walk.redirects), walk.is_fork_bomb)


def _parse(source: bytes) -> tree_sitter.Node:
    # From bytes: parsing through callbacks, which alone could be stopped, leaks memory in 0.26 and crashes in 0.25.
    root = tree_sitter.Parser(_LANGUAGE).parse(source).root_node
    if root.has_error or root.descendant_count > MAX_NODES:
        raise _UnreadableError
    return root


def _check_covered(root: tree_sitter.Node, source: bytes) -> None:
    """Every byte but blanks belongs to a part of the tree; nothing is nested too deeply."""
    cursor = root.walk()
    end = 0
    while True:
        node = cursor.node
        assert node is not None, "a cursor stands on a node"
        if cursor.depth > MAX_DEPTH:
            raise _UnreadableError
        is_leaf = node.child_count == 0 or node.type in _OPAQUE
        if is_leaf:
            if source[end : node.start_byte].replace(b"\\\n", b"").strip(b" \t\n"):
                raise _UnreadableError
            end = max(end, node.end_byte)
        if not is_leaf and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                if source[end:].replace(b"\\\n", b"").strip(b" \t\n\\"):
                    raise _UnreadableError
                return


@dataclass(frozen=True, slots=True)
class _Context:
    """What comes to a command from around it."""

    is_piped: bool = False
    source: Command | None = None
    redirects: tuple[Redirect, ...] = ()
    inputs: tuple[Word, ...] = ()
    extra: tuple[Word, ...] = ()
    """Words that stand behind a redirection: the grammar gives them to it, bash to the command."""

    def joined(self, other: "_Context") -> "_Context":
        """This one with what the other one adds."""
        return replace(
            self,
            redirects=self.redirects + other.redirects,
            inputs=self.inputs + other.inputs,
            extra=self.extra + other.extra,
        )


@dataclass(slots=True)
class _Walk:
    """Gathers what stands in a tree."""

    text: bytes
    commands: list[Command] = field(default_factory=list)
    redirects: list[Redirect] = field(default_factory=list)
    is_fork_bomb: bool = False

    def visit(self, node: tree_sitter.Node, context: _Context) -> None:
        """Take this node and all below it."""
        if node.type in _ON_ONE_LINE:
            self._check_line(node)
        match node.type:
            case "command":
                self._command(node, context)
            case "pipeline":
                self._pipeline(node, context)
            case "redirected_statement":
                self._redirected(node, context)
            case "function_definition":
                self._function(node)
            case kind if kind in _FRESH:
                self._children(node, _Context())
            case kind if kind in _DECLARATIONS:
                self._declaration(node, context)
            case _:
                self._children(node, context)

    def _check_line(self, node: tree_sitter.Node) -> None:
        """A new line ends a command in bash; the grammar joins them where the next line begins with a backslash."""
        end = node.start_byte
        for child in node.children:
            gap = self.text[end : child.start_byte]
            bare = self.text[child.start_byte : child.end_byte] if child.type in ("word", "command_name") else b""
            if b"\n" in (gap + b" " + bare).replace(b"\\\n", b""):
                raise _UnreadableError
            end = child.end_byte

    def _children(self, node: tree_sitter.Node, context: _Context) -> None:
        for child in node.named_children:
            self.visit(child, context)

    def _command(self, node: tree_sitter.Node, context: _Context) -> None:
        words: list[Word] = []
        names: list[str] = []
        redirects, inputs = list(context.redirects), list(context.inputs)
        for child in node.named_children:
            if child.type == "variable_assignment":
                names.append(self._text(child.named_children[0]))
            elif child.type == "file_redirect":
                redirect, extra = self._file_redirect(child)
                redirects.append(redirect)
                words += extra
            elif child.type == "herestring_redirect":
                inputs.append(self._word(child.named_children[-1]))
            else:
                words.append(self._word(child))
        if words and words[0].text in _KEYWORDS:
            raise _UnreadableError  # the grammar lost its way: `! if true; then ...`
        self.commands.append(
            Command(
                words=(*words, *context.extra),
                assignments=tuple(names),
                redirects=tuple(redirects),
                inputs=tuple(inputs),
                is_piped=context.is_piped,
                source=context.source,
            )
        )
        self._children(node, _Context())

    def _declaration(self, node: tree_sitter.Node, context: _Context) -> None:
        """`export`, `unset`, `[` and their like: commands whose words the grammar tells in another way."""
        first = self._text(node.children[0])
        rest = tuple(Word(self._text(child), is_known=False) for child in node.named_children)
        self.commands.append(Command(words=(Word(first), *rest), redirects=context.redirects))
        self._children(node, _Context())

    def _pipeline(self, node: tree_sitter.Node, context: _Context, last: _Context | None = None) -> None:
        """`last`: what comes to its last command alone."""
        own = last or _Context()
        inner = context
        for part in node.named_children:
            if part.end_byte == node.named_children[-1].end_byte:
                inner = inner.joined(own)
            before = len(self.commands)
            self.visit(part, inner)
            said = self.commands[before] if _is_one_command(part) and len(self.commands) > before else None
            inner = replace(context, is_piped=True, source=said)

    def _redirected(self, node: tree_sitter.Node, context: _Context) -> None:
        body = node.child_by_field_name("body")
        own = self._around(node)
        before = len(self.commands)
        if body is not None:
            self._closing(body, context, own)
        said = self.commands[before] if body is not None and body.type == "command" else None
        after = _Context(is_piped=True, source=said)
        for child in node.children_by_field_name("redirect"):
            # What follows a here-document's mark on its line stands below it in the tree: `cat <<A | sh`.
            self._children(child, after if child.type == "heredoc_redirect" else _Context())

    def _closing(self, body: tree_sitter.Node, context: _Context, own: _Context) -> None:
        """A statement whose last command gets `own`: the grammar puts more of a line before a `>` than bash does."""
        if body.type == "pipeline":
            self._pipeline(body, context, own)
        elif body.type == "list":
            *others, last = body.named_children
            for other in others:
                self.visit(other, context)
            self._closing(last, context, own)
        else:
            self.visit(body, context.joined(own))

    def _around(self, node: tree_sitter.Node) -> _Context:
        """What the redirections of a statement, or of a here-document's line, give to its command."""
        found = _Context()
        for child in node.children_by_field_name("redirect"):
            if child.type == "file_redirect":
                redirect, extra = self._file_redirect(child)
                found = found.joined(_Context(redirects=(redirect,), extra=tuple(extra)))
            elif child.type == "herestring_redirect":
                found = found.joined(_Context(inputs=(self._word(child.named_children[-1]),)))
            else:
                arguments = tuple(self._word(each) for each in child.children_by_field_name("argument"))
                found = found.joined(_Context(inputs=(self._heredoc(child),), extra=arguments))
                found = found.joined(self._around(child))
        return found

    def _file_redirect(self, node: tree_sitter.Node) -> tuple[Redirect, list[Word]]:
        operator = next((self._text(child) for child in node.children if not child.is_named), "")
        targets = [self._word(child) for child in node.children_by_field_name("destination")]
        if not targets:  # `>&-`
            targets = [Word("-")]
        redirect = Redirect(operator, targets[0])
        self.redirects.append(redirect)
        return redirect, targets[1:]

    def _heredoc(self, node: tree_sitter.Node) -> Word:
        start = next((child for child in node.children if child.type == "heredoc_start"), None)
        body = next((child for child in node.children if child.type == "heredoc_body"), None)
        if start is None or body is None:
            raise _UnreadableError
        text = self._text(body)
        is_quoted = re.search(r"['\"\\]", self._text(start)) is not None
        if not is_quoted and re.search(r"\$\(|`", text) and not body.named_children:
            raise _UnreadableError
        return Word(text, is_known=is_quoted or re.search(r"[$`\\]", text) is None)

    def _function(self, node: tree_sitter.Node) -> None:
        name = self._text(node.child_by_field_name("name") or node)
        before = len(self.commands)
        self._children(node, _Context())
        body = self._text(node)
        if any(command.program == name.casefold() for command in self.commands[before:]) and re.search(r"[|&]", body):
            self.is_fork_bomb = True

    # --- words -------------------------------------------------------------------------------------------------

    def _word(self, node: tree_sitter.Node) -> Word:
        if node.type == "command_name":
            return self._word(node.named_children[0])
        text, known, glob_at = "", True, None
        for part in [node] if node.type != "concatenation" else node.children:
            piece = self._piece(part)
            if piece.glob_at is not None and glob_at is None:
                glob_at = len(text) + piece.glob_at
            text, known = text + piece.text, known and piece.is_known
        raw = self._text(node)
        if raw.startswith("~") or (_BRACES.search(raw) and not raw.startswith(("'", '"'))):
            known = False
        return Word(text, known, glob_at)

    def _piece(self, node: tree_sitter.Node) -> Word:
        raw = self._text(node)
        match node.type:
            case "raw_string":
                return Word(raw[1:-1])
            case "ansi_c_string":
                return Word(_ANSI.sub(_unescape, raw[2:-1]))
            case "string":
                is_known = all(child.type in ('"', "string_content") for child in node.children)
                return Word(_unquote(raw[1:-1]), is_known)
            case "word" | "number" | "{" | "}":
                return _bare(raw)
            case "extglob_pattern" | "regex":
                return Word(raw, glob_at=0)
            case _:
                return Word(raw, is_known=False)

    def _text(self, node: tree_sitter.Node) -> str:
        return self.text[node.start_byte : node.end_byte].decode("utf-8", "replace")


def _is_one_command(node: tree_sitter.Node) -> bool:
    body = node.child_by_field_name("body") if node.type == "redirected_statement" else node
    return body is not None and body.type == "command"


def _unquote(text: str) -> str:
    """What stands between double quotes, without the escapes that count there."""
    return re.sub(r"\\(?:\n|([$`\"\\]))", r"\1", text)


def _bare(raw: str) -> Word:
    """A piece without quotes."""
    text, glob_at, position = "", None, 0
    while position < len(raw):
        char = raw[position]
        if char == "\\" and position + 1 < len(raw):
            position += 1
            char = "" if raw[position] == "\n" else raw[position]
        elif char in ("*", "?", "[") and glob_at is None:
            glob_at = len(text)
        text += char
        position += 1
    return Word(text, glob_at=glob_at)


def _unescape(found: re.Match[str]) -> str:
    for group, base in ((1, 16), (2, 16), (3, 16), (4, 8)):
        digits = found[group]
        if digits is not None:
            code = int(digits, base)
            return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "�"
    if found[5] is not None:
        return chr(ord(found[5]) & 0x1F)
    return _ESCAPES.get(found[6], found[6] if found[6] in "\\'\"?" else "\\" + found[6])
