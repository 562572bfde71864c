"""What an agent says while it works, one small value per thing said.

The same values travel from the agent through the bridge wire, the journal and the browser's
`chat:stream-response`; only `message_id` changes on the way (the bridge's, then the server's).
Offsets count UTF-16 code units. Wire names and fields: docs/protocol.md section 5.
"""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from baton.core.models import PlanEntry, Usage
from baton.core.text import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStarted:
    """A message of the agent begins."""

    message_id: str
    model: str | None = None
    parent_tool_use_id: str | None = None
    claude_message_id: str | None = None
    """In the journal and for browsers only: the bridge's own id of the message."""
    ordinal: int | None = None
    """In the journal and for browsers only: the message's place in the history."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of one block."""

    message_id: str
    block: int
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """More thinking of one block."""

    message_id: str
    block: int
    offset: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDone:
    """The whole text of one block: the truth, whatever deltas came."""

    message_id: str
    block: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingDone:
    """The whole thinking of one block: the truth, whatever deltas came."""

    message_id: str
    block: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted:
    """A tool call begins; its input may follow."""

    message_id: str
    block: int
    id: str
    name: str
    kind: str = "other"
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolInput:
    """The whole input of a tool call."""

    message_id: str
    block: int
    id: str
    input: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolProgress:
    """More output of a running tool. `block` is set for browsers, who index by it."""

    message_id: str
    id: str
    text: str
    block: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDone:
    """A tool call has its result. `attachment` is set where the result was cut and the whole is an attachment."""

    message_id: str
    id: str
    result: Json
    is_error: bool = False
    block: int | None = None
    attachment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDone:
    """The message is final but for the results of its tools."""

    message_id: str
    claude_data: Json = field(default_factory=dict)
    usage: Usage | None = None
    model: str | None = None
    stop_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDiscarded:
    """The agent took the message back after it was shown."""

    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUpdated:
    """The agent's own resume handle is now this one."""

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageUpdated:
    """Tokens of the run so far."""

    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanUpdated:
    """The agent's to-do list, whole."""

    entries: tuple[PlanEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeUpdated:
    """The agent changed its permission mode."""

    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the person should know, for example that the API is retried. `level`: info, warning, error."""

    level: str
    text: str


StreamEvent: TypeAlias = (
    MessageStarted
    | TextDelta
    | ThinkingDelta
    | TextDone
    | ThinkingDone
    | ToolStarted
    | ToolInput
    | ToolProgress
    | ToolDone
    | MessageDone
    | MessageDiscarded
    | SessionUpdated
    | UsageUpdated
    | PlanUpdated
    | ModeUpdated
    | Notice
)

DELTAS: Final = frozenset({TextDelta, ThinkingDelta})
"""Nearly all events are of these kinds, and nothing but text: what looks at the others need not look at them."""

STREAM_EVENT_TYPES: dict[type, str] = {
    MessageStarted: "message.started",
    TextDelta: "text.delta",
    ThinkingDelta: "thinking.delta",
    TextDone: "text.done",
    ThinkingDone: "thinking.done",
    ToolStarted: "tool.started",
    ToolInput: "tool.input",
    ToolProgress: "tool.progress",
    ToolDone: "tool.done",
    MessageDone: "message.done",
    MessageDiscarded: "message.discarded",
    SessionUpdated: "session.updated",
    UsageUpdated: "usage.updated",
    PlanUpdated: "plan.updated",
    ModeUpdated: "mode.updated",
    Notice: "notice",
}
"""The `type` of each on every wire and in the journal."""
