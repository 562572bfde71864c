"""Text as every store, codec and browser can hold it.

Lone surrogates break orjson, SQLite and BSON; integers beyond 64 bits and NUL in keys break BSON. Text is
cleaned once, at the edge, before any offset is counted.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import TypeAlias

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"

_MAX_INT = 2**63 - 1
_MIN_INT = -(2**63)
_MAX_DEPTH = 64
_MAX_DIGITS = 20
"""Of a 64 bit number, with its sign."""


def clean_text(text: str) -> str:
    """`text` with each lone surrogate replaced by U+FFFD; the same object where there is none."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # Surrogates that form a pair become their character; only lone ones are replaced.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def clean_json(value: object, depth: int = 0) -> Json:
    """`value` as JSON that every store can hold: see the module; nesting beyond 64 levels becomes text."""
    if isinstance(value, str):
        return clean_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if _MIN_INT <= value <= _MAX_INT else str(value)
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if depth >= _MAX_DEPTH:
        return clean_text(str(value))
    if isinstance(value, Mapping):
        return {_clean_key(str(key)): clean_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean_json(item, depth + 1) for item in value]
    return clean_text(str(value))


def whole_number(digits: str) -> int | Decimal:
    """A JSON number without a fraction, for `parse_int`; a Decimal where 64 bits cannot hold it (`clean_json` makes
    text of it). Of itself, the standard library refuses numbers with more than some thousands of digits; and text
    at once would pass where only text may.
    """
    return int(digits) if len(digits) <= _MAX_DIGITS else Decimal(digits)


def _clean_key(key: str) -> str:
    return clean_text(key.replace("\0", ""))


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units, as JavaScript counts: the unit of every offset on the wire."""
    if text.isascii():
        return len(text)
    return len(text) + sum(1 for char in text if char > "\uffff")
