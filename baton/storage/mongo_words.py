"""Words of texts, for a full-text search that needs nothing but an ordinary index (docs/decisions/mongo-search.md).

A word is a run of letters and digits, without case and accents. Knows no database.
"""

import re
import unicodedata
from collections.abc import Iterable

MATCH_START, MATCH_END = "\ue000", "\ue001"
"""Stand around each match of a snippet."""

MAX_WORDS = 10_000
"""Different words of one text that are indexed."""
MAX_WORD_LENGTH = 64
"""Characters of a word that count."""

_WORD = re.compile(r"[^\W_](?:[^\W_]|[\u0300-\u036f])*")
_MARKS = str.maketrans("", "", MATCH_START + MATCH_END)
_BEFORE_CHARS = 80
_SNIPPET_CHARS = 240


def fold(word: str) -> str:
    """The form in which words are compared: no case, no accents, at most MAX_WORD_LENGTH characters."""
    if not word.isascii():
        decomposed = unicodedata.normalize("NFKD", word)
        word = "".join(char for char in decomposed if not unicodedata.combining(char))
    return word.casefold()[:MAX_WORD_LENGTH]


def words_of(text: str) -> list[str]:
    """The different words of a text, folded, in the order in which they first come; at most MAX_WORDS."""
    found: dict[str, None] = {}
    for word in dict.fromkeys(_WORD.findall(text)):
        if len(found) >= MAX_WORDS:
            break
        found[fold(word)] = None
    found.pop("", None)
    return list(found)


def snippet(text: str, words: Iterable[str]) -> str:
    """The place of the first match in `text`, with every match in it marked; the beginning where there is none."""
    wanted = frozenset(words)
    text = text.translate(_MARKS)
    first = next((found.start() for found in _WORD.finditer(text) if fold(found[0]) in wanted), 0)
    start = _word_start(text, max(0, first - _BEFORE_CHARS))
    cut = text[start : start + _SNIPPET_CHARS]
    marked = _WORD.sub(lambda found: MATCH_START + found[0] + MATCH_END if fold(found[0]) in wanted else found[0], cut)
    return ("…" if start else "") + marked + ("…" if start + _SNIPPET_CHARS < len(text) else "")


def _word_start(text: str, position: int) -> int:
    """The first beginning of a word at or after `position`, so that no snippet begins inside one."""
    if position == 0:
        return 0
    space = text.find(" ", position, position + _BEFORE_CHARS)
    return position if space < 0 else space + 1
