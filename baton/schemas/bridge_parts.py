"""The parts of bridge frames that need judging: fields, and the events of `claude:stream`.

Tolerant where it costs nothing and lets versions differ: unknown fields are ignored, null counts as absent, an
unknown tool kind is `other` and an unknown notice level `info`. Strict where something would be believed: types,
lengths, numbers, and names that decide what happens. Knows nothing of sockets and of the order of frames.
"""

import math
from typing import Any, TypeAlias

from marshmallow import EXCLUDE, ValidationError, fields, post_load

from baton.core import models, stream
from baton.core.ids import MAX_FOREIGN_ID_LENGTH
from baton.core.models import ToolStatus
from baton.core.text import clean_text
from baton.schemas.codec import parse_iso
from baton.schemas.fields import Items, JsonValue, Payload, RequestName

MAX_COUNT = 2**63 - 1
"""The greatest number that every store can hold."""

MAX_BLOCK = 100_000
"""The greatest index of a block: no message within its size limit has more."""

MAX_ITEMS = 100_000
"""Items of one list: beyond any real frame, below what would hold up the event loop."""

TOOL_KINDS = frozenset({"read", "edit", "execute", "search", "fetch", "think", "task", "other"})
NOTICE_LEVELS = frozenset({"info", "warning", "error"})

Delta: TypeAlias = stream.TextDelta | stream.ThinkingDelta


class Part(Payload):
    """A JSON object of the bridge wire. Fields that are absent, unknown or null leave the value's own default."""

    class Meta:
        unknown = EXCLUDE

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> Any:
        """The value of these fields."""
        assert self.command is not None, "a part of a frame says what it makes"
        return self.command(**{name: value for name, value in loaded.items() if value is not None})


# --- fields ----------------------------------------------------------------------------------------------------


class Words(fields.String):
    """A string of any length, cleaned."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return clean_text(super()._deserialize(value, attr, data, **kwargs))


class ForeignId(RequestName):
    """An id that a bridge or client chose: 1 to 100 characters."""


class Count(fields.Field[int]):
    """A whole JSON number from 0 (or `least`) up; `true`, `1.0` and `"1"` are none."""

    def __init__(self, *, least: int = 0, most: int = MAX_COUNT, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.least = least
        self.most = most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if type(value) is not int or not self.least <= value <= self.most:
            raise ValidationError(f"Must be a whole number from {self.least} to {self.most}.")
        return value


class Amount(fields.Field[float]):
    """A finite JSON number that is not negative."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            raise ValidationError("Must be a number that is not negative.")
        return float(value)


class Flag(fields.Field[bool]):
    """`true` or `false` and nothing that resembles them."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if type(value) is not bool:
            raise ValidationError("Must be true or false.")
        return value


class OneOf(Words):
    """One of some words; another one becomes `otherwise`, or is refused where there is none."""

    def __init__(self, words: frozenset[str], *, otherwise: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words
        self.otherwise = otherwise

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        word = super()._deserialize(value, attr, data, **kwargs)
        if word in self.words:
            return word
        if self.otherwise is None:
            raise ValidationError(f"Must be one of: {', '.join(sorted(self.words))}.")
        return self.otherwise


class Time(Words):
    """An ISO 8601 time."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        try:
            return parse_iso(super()._deserialize(value, attr, data, **kwargs))
        except ValueError:
            raise ValidationError("Must be an ISO 8601 time.") from None


def several(item: fields.Field[Any] | type[Part], **kwargs: Any) -> Items:
    """A list of fields or parts, as a tuple; absent unless `required`."""
    part = item if isinstance(item, fields.Field) else fields.Nested(item)
    return Items(part, most=MAX_ITEMS, **(kwargs or {"load_default": None}))


class UsagePart(Part):
    """Tokens; absent ones are 0."""

    command = models.Usage
    input_tokens = Count(load_default=None)
    output_tokens = Count(load_default=None)
    cache_read_tokens = Count(load_default=None)
    cache_write_tokens = Count(load_default=None)


# --- stream events ---------------------------------------------------------------------------------------------


class MessagePart(Part):
    """What every event of a message has."""

    message_id = ForeignId(required=True)


class BlockPart(MessagePart):
    """What every event of a block has."""

    block = Count(most=MAX_BLOCK, required=True)


class MessageStartedPart(MessagePart):
    command = stream.MessageStarted
    model = Words(load_default=None)
    parent_tool_use_id = Words(load_default=None)


class TextDeltaPart(BlockPart):
    command = stream.TextDelta
    offset = Count(required=True)
    text = Words(required=True)


class ThinkingDeltaPart(BlockPart):
    command = stream.ThinkingDelta
    offset = Count(required=True)
    text = Words(required=True)


class TextDonePart(BlockPart):
    command = stream.TextDone
    text = Words(required=True)


class ThinkingDonePart(BlockPart):
    command = stream.ThinkingDone
    text = Words(required=True)


class ToolStartedPart(BlockPart):
    command = stream.ToolStarted
    id = Words(required=True)
    name = Words(required=True)
    kind = OneOf(TOOL_KINDS, otherwise="other", load_default=None)
    title = Words(load_default=None)


class ToolInputPart(BlockPart):
    command = stream.ToolInput
    id = Words(required=True)
    input = JsonValue(required=True, allow_none=True)

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> Any:
        """Null is an input like any other."""
        return stream.ToolInput(**loaded)


class ToolProgressPart(MessagePart):
    command = stream.ToolProgress
    id = Words(required=True)
    text = Words(required=True)


class ToolDonePart(MessagePart):
    command = stream.ToolDone
    id = Words(required=True)
    result = JsonValue(load_default=None)
    is_error = Flag(load_default=None)

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> Any:
        """Null is a result like any other."""
        return stream.ToolDone(**{**loaded, "is_error": bool(loaded["is_error"])})


class MessageDonePart(MessagePart):
    command = stream.MessageDone
    claude_data = JsonValue(load_default=None)
    usage = fields.Nested(UsagePart, load_default=None)
    model = Words(load_default=None)
    stop_reason = Words(load_default=None)


class MessageDiscardedPart(MessagePart):
    command = stream.MessageDiscarded


class SessionUpdatedPart(Part):
    command = stream.SessionUpdated
    session_id = Words(required=True)


class UsageUpdatedPart(Part):
    command = stream.UsageUpdated
    usage = fields.Nested(UsagePart, required=True)


class PlanEntryPart(Part):
    command = models.PlanEntry
    text = Words(required=True)
    status = Words(required=True)


class PlanUpdatedPart(Part):
    command = stream.PlanUpdated
    entries = several(PlanEntryPart, required=True)


class ModeUpdatedPart(Part):
    command = stream.ModeUpdated
    mode = Words(required=True)


class NoticePart(Part):
    command = stream.Notice
    level = OneOf(NOTICE_LEVELS, otherwise="info", required=True)
    text = Words(required=True)


_EVENT_PARTS: tuple[type[Part], ...] = (
    MessageStartedPart,
    TextDeltaPart,
    ThinkingDeltaPart,
    TextDonePart,
    ThinkingDonePart,
    ToolStartedPart,
    ToolInputPart,
    ToolProgressPart,
    ToolDonePart,
    MessageDonePart,
    MessageDiscardedPart,
    SessionUpdatedPart,
    UsageUpdatedPart,
    PlanUpdatedPart,
    ModeUpdatedPart,
    NoticePart,
)
_EVENTS = {stream.STREAM_EVENT_TYPES[part.command]: part() for part in _EVENT_PARTS if part.command is not None}


def load_delta(raw: object) -> Delta | None:
    """The text or thinking delta that `raw` is; None where it is another event, or a wrong one.

    Written by hand because nearly everything a bridge says is a delta: marshmallow takes thirty times as long.
    Its rules are those of `TextDeltaPart`, which says what is wrong when this does not know.
    """
    if type(raw) is not dict:
        return None
    kind = raw.get("type")
    if kind != "text.delta" and kind != "thinking.delta":
        return None
    message_id, block, offset, text = raw.get("messageId"), raw.get("block"), raw.get("offset"), raw.get("text")
    if type(message_id) is not str or not 0 < len(message_id) <= MAX_FOREIGN_ID_LENGTH or type(text) is not str:
        return None
    if type(block) is not int or not 0 <= block <= MAX_BLOCK or type(offset) is not int or not 0 <= offset <= MAX_COUNT:
        return None
    delta = stream.TextDelta if kind == "text.delta" else stream.ThinkingDelta
    return delta(message_id, block, offset, clean_text(text))


def load_event(raw: object) -> stream.StreamEvent:
    """The event that `raw` is. Raises ValidationError, with what is wrong by field."""
    delta = load_delta(raw)
    if delta is not None:
        return delta
    if not isinstance(raw, dict):
        raise ValidationError("Must be an object.")
    kind = raw.get("type")
    part = _EVENTS.get(kind) if isinstance(kind, str) else None
    if part is None:
        raise ValidationError({"type": ["There is no such event."]})
    event: stream.StreamEvent = part.load(raw)
    return event


class Events(fields.Field[tuple[stream.StreamEvent, ...]]):
    """The list of a stream frame's events."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[stream.StreamEvent, ...]:
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise ValidationError("Must be a list of events.")
        loaded = []
        for index, raw in enumerate(value):
            try:
                loaded.append(load_event(raw))
            except ValidationError as invalid:
                raise ValidationError({str(index): invalid.messages}) from None
        return tuple(loaded)


# --- blocks and attachments, as `claude:execute` carries them ------------------------------------------------------


class TextBlockPart(Part):
    command = models.TextBlock
    text = Words(required=True)


class ThinkingBlockPart(Part):
    command = models.ThinkingBlock
    text = Words(required=True)


class ToolUseBlockPart(Part):
    command = models.ToolUseBlock
    id = Words(required=True)
    name = Words(required=True)
    kind = OneOf(TOOL_KINDS, otherwise="other", load_default=None)
    title = Words(load_default=None)
    input = JsonValue(load_default=None)
    status = fields.Enum(ToolStatus, by_value=True, load_default=None)
    result = JsonValue(load_default=None)
    is_error = Flag(load_default=None)
    started_at = Time(load_default=None)
    finished_at = Time(load_default=None)
    parent_tool_use_id = Words(load_default=None)
    progress = Words(load_default=None)
    attachment = Words(load_default=None)


_BLOCKS = {"text": TextBlockPart(), "thinking": ThinkingBlockPart(), "tool_use": ToolUseBlockPart()}


class BlockField(fields.Field[models.Block]):
    """A content block, told by its `type`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> models.Block:
        kind = value.get("type") if isinstance(value, dict) else None
        part = _BLOCKS.get(kind) if isinstance(kind, str) else None
        if part is None:
            raise ValidationError("There is no such block.")
        block: models.Block = part.load(value)
        return block


class AttachmentPart(Part):
    command = models.Attachment
    id = Words(required=True)
    filename = Words(required=True)
    mime_type = Words(required=True)
    size_bytes = Count(required=True)
    url = Words(required=True)
