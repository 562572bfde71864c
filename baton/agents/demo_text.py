"""The material of the demo agent's long answers: the same every time."""

from collections.abc import Iterator
from typing import Final

_TITLE: Final = "# A long answer\n\n"
_SECTIONS: Final = (
    "## Section {number}\n\n",
    "Text with **bold**, *italic*, `code`, a [link](https://example.org/) and a line\n"
    "that goes on — with naïve ünicode 🌉.\n\n",
    "- first point\n- second point\n  1. nested, numbered\n  2. and again\n\n",
    '```python\ndef baton(runner: str) -> str:\n    """Pass it on."""\n    return f"{{runner}} 🏃 has it"\n```\n\n',
    "| column | value |\n|---|---|\n| section | {number} |\n| emoji | 👩‍👩‍👧‍👦 |\n\n",
    "> A quotation, as long as it needs to be to look like one.\n\n",
)
"""Each kind of Markdown that a page must show, with characters outside the basic plane: offsets count UTF-16."""


def _markdown() -> Iterator[str]:
    yield _TITLE
    number = 0
    while True:
        number += 1
        for section in _SECTIONS:
            yield section.format(number=number)


def markdown_text(words: int) -> str:
    """So many words of Markdown, with its line breaks; whole pieces as long as they fit."""
    pieces = _markdown()
    text: list[str] = []
    while words > 0:
        piece = next(pieces)
        count = len(piece.split())
        text.append(piece if count <= words else " ".join(piece.split()[:words]))
        words -= count
    return "".join(text).rstrip()


def filler(size: int) -> Iterator[str]:
    """Numbered lines, `size` characters in all."""
    line = 0
    while size > 0:
        line += 1
        text = f"{line:>8} {'the quick brown fox jumps over the lazy dog ' * 22}\n"[:size]
        size -= len(text)
        yield text
