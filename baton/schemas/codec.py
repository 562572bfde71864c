"""Values of the core to plain dicts and back, with the wire's camelCase names.

Two shapes: the wire object (no internal fields) and the stored document (all fields). Built once per class by
cattrs, which compiles a function per class; marshmallow is used where input must be judged, not here.
"""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

import cattrs
import orjson
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from baton.core import events, frames, models, stored, stream
from baton.core.models import INTERNAL_FIELDS, Block, TextBlock, ThinkingBlock, ToolUseBlock
from baton.core.text import Json

Value = TypeVar("Value")

_BLOCKS: dict[str, type] = {"text": TextBlock, "thinking": ThinkingBlock, "tool_use": ToolUseBlock}
OMITS_NONE = {
    stream.MessageStarted,
    stream.ToolProgress,
    stream.ToolDone,
    stream.MessageDone,
    frames.Started,
    frames.Execute,
    frames.PermissionResponse,
    frames.PromptAsked,
    frames.RpcResult,
    frames.AgentOffer,
    frames.KnownRun,
    models.Question,
    models.QuestionOption,
    models.SendAnswer,
}
"""Classes whose absent values are left out instead of sent as null."""


def camel(name: str) -> str:
    """The wire's name of a field: `cost_usd` -> `costUsd`."""
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)


@lru_cache(maxsize=4)  # all rows of a flush have one time
def iso(at: datetime) -> str:
    """ISO 8601 UTC with milliseconds, as everywhere on the wire."""
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def parse_iso(text: str) -> datetime:
    """The time that `iso` wrote. Raises ValueError."""
    return datetime.fromisoformat(text).astimezone(UTC)


def build_converter(*, internal: bool, native_dates: bool) -> cattrs.Converter:
    """A converter of every class of the core.

    `internal`: with the fields that are stored but not shown. `native_dates`: datetimes stay what they are
    (MongoDB), instead of becoming ISO text.
    """
    converter = cattrs.Converter()
    if not native_dates:
        converter.register_unstructure_hook(datetime, iso)
        converter.register_structure_hook(datetime, lambda text, _: parse_iso(text))
    else:
        converter.register_unstructure_hook(datetime, lambda at: at)
        converter.register_structure_hook(datetime, lambda at, _: at if at.tzinfo else at.replace(tzinfo=UTC))
    converter.register_unstructure_hook(StrEnum, lambda item: item.value)
    converter.register_structure_hook(Block, lambda raw, _: converter.structure(raw, _BLOCKS[raw["type"]]))
    converter.register_unstructure_hook_factory(
        dataclasses.is_dataclass, lambda cls: _unstructurer(cls, converter, internal=internal)
    )
    converter.register_structure_hook_factory(dataclasses.is_dataclass, lambda cls: _structurer(cls, converter))
    return converter


def _unstructurer(cls: type, converter: cattrs.Converter, *, internal: bool) -> Callable[[Any], dict[str, Any]]:
    hidden = frozenset() if internal else INTERNAL_FIELDS.get(cls, frozenset())
    overrides: dict[str, Any] = {
        field.name: override(
            rename=camel(field.name),
            omit=field.name in hidden,
            omit_if_default=cls in OMITS_NONE and field.default is None,
            unstruct_hook=_unchanged if field.type is Json else None,
        )
        for field in dataclasses.fields(cls)
    }
    return make_dict_unstructure_fn(cls, converter, **overrides)


def _structurer(cls: type, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    overrides: dict[str, Any] = {
        field.name: override(rename=camel(field.name), struct_hook=(lambda raw, _: raw) if field.type is Json else None)
        for field in dataclasses.fields(cls)
    }
    return make_dict_structure_fn(cls, converter, **overrides)


def _unchanged(value: Any) -> Any:
    return value


_wire = build_converter(internal=False, native_dates=False)
_document = build_converter(internal=True, native_dates=False)


def to_wire(value: object) -> dict[str, Any]:
    """The wire object of a model, frame part or event."""
    result: dict[str, Any] = _wire.unstructure(value)
    return result


def to_wire_json(value: object) -> stored.EncodedJson:
    """The wire object as UTF-8 JSON."""
    return stored.EncodedJson(orjson.dumps(_wire.unstructure(value)))


def shown_fields(cls: type) -> tuple[str, ...]:
    """The names of the wire object's fields, in its order."""
    hidden = INTERNAL_FIELDS.get(cls, frozenset())
    return tuple(camel(field.name) for field in dataclasses.fields(cls) if field.name not in hidden)


def to_document(value: object) -> dict[str, Any]:
    """The stored document of a model: JSON types only."""
    result: dict[str, Any] = _document.unstructure(value)
    return result


def from_document(cls: type[Value], document: dict[str, Any]) -> Value:
    """The value that `to_document` (or `to_wire`, where a class has no internal fields) wrote."""
    return _document.structure(document, cls)


_EVENT_CLASSES = {name: cls for cls, name in stream.STREAM_EVENT_TYPES.items()}


def dump_event(event: stream.StreamEvent) -> dict[str, Any]:
    """A stream event as it travels and is journalled, with its `type`."""
    if type(event) is stream.TextDelta or type(event) is stream.ThinkingDelta:
        # Nearly all events are deltas: spelled out, this is a third of the general way's time.
        return {
            "type": "text.delta" if type(event) is stream.TextDelta else "thinking.delta",
            "messageId": event.message_id,
            "block": event.block,
            "offset": event.offset,
            "text": event.text,
        }
    return {"type": stream.STREAM_EVENT_TYPES[type(event)], **_wire.unstructure(event)}


def load_stored_event(raw: dict[str, Any]) -> stream.StreamEvent:
    """The event that `dump_event` wrote into the journal. Input from a bridge goes through `schemas.bridge`."""
    event: stream.StreamEvent = _wire.structure(raw, _EVENT_CLASSES[raw["type"]])
    return event


__all__ = [
    "OMITS_NONE",
    "build_converter",
    "camel",
    "dump_event",
    "events",
    "from_document",
    "iso",
    "load_stored_event",
    "parse_iso",
    "shown_fields",
    "to_document",
    "to_wire",
    "to_wire_json",
]
