"""A value of any class of the core with every field set, or with as few as can be: made from the types alone.

Lets a test hold for each class, and for classes that do not exist yet.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from baton.core import ids, models, permissions
from baton.core.text import Json

AT = datetime(2026, 11, 20, 9, 30, 15, 250_000, tzinfo=UTC)
OWN_ID = "65f0c0ffee0123456789abcd"
OWN_IDS = {
    ids.ProjectId,
    ids.ConversationId,
    ids.MessageId,
    ids.PromptId,
    ids.AttachmentId,
    ids.TokenId,
    permissions.GrantId,
}

_PLAIN: dict[Any, Any] = {str: "ünï 💬", int: 7, float: 0.25, bool: True, datetime: AT}
_FIXED: dict[tuple[type, str], Any] = {
    (models.TextBlock, "type"): "text",
    (models.ThinkingBlock, "type"): "thinking",
    (models.ToolUseBlock, "type"): "tool_use",
    (models.ToolUseBlock, "attachment"): OWN_ID,
    (models.Run, "origin"): "background",
    (models.Message, "claude_data"): {"id": "msg_1"},
    (permissions.AuditEntry, "id"): OWN_ID,
}


def full(cls: type) -> Any:
    """A value with every field set, and one item of each kind in every sequence."""
    return cls(**{field.name: _full_field(cls, field) for field in dataclasses.fields(cls)})


def sparse(cls: type) -> Any:
    """A value with nothing but what it must have."""
    required = (field for field in dataclasses.fields(cls) if _has_no_default(field))
    return cls(**{field.name: _full_field(cls, field) for field in required})


def _has_no_default(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _full_field(cls: type, field: "dataclasses.Field[Any]") -> Any:
    if (cls, field.name) in _FIXED:
        return _FIXED[cls, field.name]
    return {"any": [1, None, "json"]} if field.type is Json else _full_value(field.type)


def _full_value(kind: Any) -> Any:
    if kind in OWN_IDS:
        return OWN_ID
    if hasattr(kind, "__supertype__"):
        return _full_value(kind.__supertype__)
    if dataclasses.is_dataclass(kind):
        return full(kind)  # type: ignore[arg-type]  # a class, not a value
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return list(kind)[-1]
    return _PLAIN[kind] if kind in _PLAIN else _full_generic(kind)


def _full_generic(kind: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return tuple(_full_value(each) for each in _alternatives(arguments[0]))
    if origin in (types.UnionType, typing.Union):
        return _full_value(next(each for each in arguments if each is not type(None)))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {_full_value(arguments[0]): _full_value(arguments[1])}
    raise AssertionError(f"no sample for {kind!r}")


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
