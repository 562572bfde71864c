"""What an agent says, made fit for every wire and store before it is numbered: clean text, bounded size.

An agent's output is foreign input even in this very process; nothing behind this module meets a lone surrogate
or an event that no frame can carry.
"""

import dataclasses
import json
from typing import Any, Final, TypeVar, cast

import orjson

from baton.core.stream import StreamEvent
from baton.core.text import clean_json, clean_text
from baton.schemas.codec import dump_event

Value = TypeVar("Value")

CUT: Final = "\n[cut here: over the limit of one frame]"
_ESCAPED_BYTES: Final = 6
"""The most bytes that JSON needs for one character (a control character)."""


def cleaned(value: Value) -> Value:
    """A frozen dataclass, text, JSON or tuple of these with all its text clean; the same object where it was."""
    result: Any = value
    if isinstance(value, str):
        result = clean_text(value)
    elif isinstance(value, (dict, list)):
        result = clean_json(value)
    elif isinstance(value, tuple):
        result = tuple(cleaned(item) for item in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        clean = {name: cleaned(item) for name, item in fields.items()}
        if any(clean[name] is not fields[name] for name in fields):
            result = dataclasses.replace(value, **clean)
    return cast(Value, result)


def weight(value: object) -> int:
    """About how many characters `value` has on the wire: cheap, never more than a sixth of its bytes too low."""
    if isinstance(value, str):
        return len(value) + 4
    if isinstance(value, dict):
        return 2 + sum(len(str(key)) + 6 + weight(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return 2 + sum(1 + weight(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return 24 + sum(16 + weight(getattr(value, field.name)) for field in dataclasses.fields(value))
    return 20


def fitted(event: StreamEvent, max_bytes: int) -> StreamEvent:
    """The event, cut where as JSON it had more than `max_bytes`: a cut result is better than a lost run."""
    if weight(event) * _ESCAPED_BYTES <= max_bytes or len(orjson.dumps(dump_event(event))) <= max_bytes:
        return event
    share = max_bytes // _ESCAPED_BYTES // 2
    changes: dict[str, Any] = {
        field.name: _cut(value, share)
        for field in dataclasses.fields(event)
        if weight(value := getattr(event, field.name)) > share
    }
    return dataclasses.replace(event, **changes)


def _cut(value: object, characters: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return clean_text(text[:characters]) + CUT
