"""What Baton stores and shows: Project > Conversation > Message, Run, Prompt, Attachment.

Frozen values; a change makes a new one with `dataclasses.replace`, through `lifecycle` where a status moves.
Names and meanings are those of docs/protocol.md section 4. Fields below the line "kept, not shown" in a class
are stored but are not part of the wire object (`INTERNAL_FIELDS` lists them for the codecs).
Times are aware UTC datetimes cut to milliseconds, because MongoDB keeps no more.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from baton.core.ids import (
    AttachmentId,
    BridgeId,
    ConversationId,
    MessageId,
    ProjectId,
    PromptId,
    RequestId,
    UserId,
)
from baton.core.permissions import Decision
from baton.core.text import Json


class Role(StrEnum):
    """Who speaks in a message."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"


class MessageStatus(StrEnum):
    """How far a message is. `discarded`: the agent took it back after it was shown."""

    SENDING = "sending"
    STREAMING = "streaming"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"
    DISCARDED = "discarded"


class RunStatus(StrEnum):
    """queued -> dispatched -> running <-> awaiting_input -> completed | failed | aborted."""

    QUEUED = "queued"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    AWAITING_INPUT = "awaiting_input"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"


class PromptStatus(StrEnum):
    """One end state, whoever races. `timeout` is not a deny."""

    PENDING = "pending"
    ANSWERED = "answered"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


class PromptType(StrEnum):
    """What kind of question the agent asks."""

    TOOL_PERMISSION = "tool_permission"
    PLAN_REVIEW = "plan_review"
    QUESTION = "question"


class PermissionMode(StrEnum):
    """How much the agent may do without asking."""

    DEFAULT = "default"
    PLAN = "plan"
    ACCEPT_EDITS = "acceptEdits"
    BYPASS = "bypassPermissions"


class ConversationStatus(StrEnum):
    """Where a conversation stands in its own life."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    DELETED = "deleted"


class ConversationState(StrEnum):
    """What a conversation is doing, for lists and badges."""

    IDLE = "idle"
    QUEUED = "queued"
    RUNNING = "running"
    AWAITING_INPUT = "awaiting_input"
    FAILED = "failed"


class ToolStatus(StrEnum):
    """How far a tool call is."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as counted by the agent."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run or message failed; the same shape as the error of an acknowledgement."""

    code: str
    message: str
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanEntry:
    """One line of the agent's to-do list."""

    text: str
    status: str


@dataclass(frozen=True, slots=True)
class RunNotice:
    """Something about a run that a person should know. `level`: info, warning, error."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Text of the assistant or the user."""

    text: str
    type: str = "text"


@dataclass(frozen=True, slots=True)
class ThinkingBlock:
    """What the model thought aloud."""

    text: str
    type: str = "thinking"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUseBlock:
    """One tool call, with its result once there is one.

    `kind`: read, edit, execute, search, fetch, think, task or other.
    """

    id: str
    name: str
    kind: str = "other"
    title: str = ""
    input: Json = None
    status: ToolStatus = ToolStatus.RUNNING
    result: Json = None
    is_error: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    parent_tool_use_id: str | None = None
    progress: str = ""
    attachment: str | None = None
    type: str = "tool_use"


Block: TypeAlias = TextBlock | ThinkingBlock | ToolUseBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A named folder of conversations."""

    id: ProjectId
    name: str
    working_directory: str | None = None
    user_id: UserId
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that came with a message, or what a tool returned beyond a message's share."""

    id: AttachmentId
    filename: str
    mime_type: str
    size_bytes: int
    url: str
    # kept, not shown
    user_id: UserId | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One thread with one agent. `seq` grows with each change; `state` is what lists show."""

    id: ConversationId
    project_id: ProjectId | None = None
    user_id: UserId
    title: str = ""
    status: ConversationStatus = ConversationStatus.ACTIVE
    agent: str | None = None
    model: str | None = None
    permission_mode: PermissionMode = PermissionMode.DEFAULT
    bridge_id: BridgeId | None = None
    working_directory: str | None = None
    claude_session_id: str | None = None
    seq: int = 0
    state: ConversationState = ConversationState.IDLE
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    bypass_until: datetime | None = None
    """When `bypassPermissions` ends; None in every other mode."""
    created_at: datetime
    updated_at: datetime
    # kept, not shown
    ordinal: int = 0
    """The highest ordinal given to a message so far."""
    queue_paused: bool = False
    queue_reason: str | None = None
    deleted_at: datetime | None = None
    fork_session: bool = False
    """The next run starts a fork of `claude_session_id` instead of going on in it."""
    mode_before: PermissionMode | None = None
    """The mode that comes back when `bypass_until` has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of the history. `content` is the text of its text blocks; `blocks` is the truth."""

    id: MessageId
    conversation_id: ConversationId
    project_id: ProjectId | None = None
    request_id: RequestId | None = None
    ordinal: int
    seq: int
    role: Role
    status: MessageStatus
    content: str
    blocks: tuple[Block, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    type: str = "message"
    claude_data: Json = field(default_factory=dict)
    claude_message_id: str | None = None
    model: str | None = None
    session_id: str | None = None
    usage: Usage | None = None
    error: Failure | None = None
    parent_tool_use_id: str | None = None
    timestamp: datetime
    created_at: datetime
    updated_at: datetime
    # kept, not shown
    covers_bridge_seq: int = 0
    """Journal rows of its run up to here are contained in this document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What was asked of the agent: everything that a dispatch, or a dispatch after a restart, needs."""

    content: str
    blocks: tuple[Block, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    session_id: str | None = None
    agent: str | None = None
    model: str | None = None
    permission_mode: PermissionMode | None = None
    working_directory: str | None = None
    allowed_tools: tuple[str, ...] = ()
    bridge_id: BridgeId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendAnswer:
    """What a send was answered; stored, so that the same requestId gets the same answer for ever."""

    request_id: RequestId
    conversation_id: ConversationId
    message_id: MessageId
    status: str
    position: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One user message being answered by an agent."""

    request_id: RequestId
    conversation_id: ConversationId
    seq: int
    status: RunStatus
    bridge_id: BridgeId | None = None
    agent: str | None = None
    model: str | None = None
    message_ids: tuple[MessageId, ...] = ()
    queued_at: datetime
    dispatched_at: datetime | None = None
    started_at: datetime | None = None
    last_event_at: datetime | None = None
    abort_requested_at: datetime | None = None
    deadline_at: datetime | None = None
    deadline_reason: str | None = None
    finished_at: datetime | None = None
    away: bool = False
    origin: str = "user"
    usage: Usage = field(default_factory=Usage)
    """While it works, as far as the agent has told; then what it used in all."""
    cost_usd: float = 0.0
    plan: tuple[PlanEntry, ...] = ()
    """The agent's to-do list as it told it last."""
    notices: tuple[RunNotice, ...] = ()
    """The newest, `MAX_NOTICES` of them at most; oldest first."""
    error: Failure | None = None
    # kept, not shown
    user_id: UserId
    digest: str = ""
    """Of the payload: the same requestId with another payload is a conflict."""
    answer: SendAnswer | None = None
    request: RunRequest
    folder: str | None = None
    """Where its agent works, as far as anybody knew when it was dispatched."""
    position: float = 0.0
    """Orders the queue; only its order means something."""
    bridge_seq: int = 0
    """The last frame of the bridge that this document contains (the journal may hold later ones)."""
    user_message: Message | None = None
    """The message that asked: carried until it is known to stand in `messages`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOption:
    """One way to answer a prompt."""

    id: str
    label: str
    kind: str = ""
    style: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionOption:
    """One choice of a question."""

    label: str
    description: str | None = None
    preview: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of a prompt of the type `question`."""

    id: str
    question: str
    header: str | None = None
    multi_select: bool = False
    options: tuple[QuestionOption, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptResponse:
    """What was answered beside the option."""

    message: str | None = None
    input: Json = None
    answers: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A question of the agent to a person: a document before it is a popup."""

    id: PromptId
    conversation_id: ConversationId
    project_id: ProjectId | None = None
    request_id: RequestId
    seq: int
    session_id: str | None = None
    type: PromptType
    title: str
    message: str = ""
    tool_name: str | None = None
    tool_use_id: str | None = None
    risk_level: str = "HIGH"
    editable: bool = True
    """Whether the agent can take a changed `input`."""
    decision: Decision | None = None
    """What the rules said when the agent asked; None for plans and questions, and before the rules were asked."""
    input: Json = None
    options: tuple[PromptOption, ...] = ()
    questions: tuple[Question, ...] = ()
    status: PromptStatus = PromptStatus.PENDING
    selected_option: str | None = None
    response: PromptResponse | None = None
    auto_handler: str | None = None
    answered_by: UserId | None = None
    stage: int = 0
    timeout_at: datetime | None = None
    seen_at: datetime | None = None
    delivered_at: datetime | None = None
    created_at: datetime
    responded_at: datetime | None = None
    # kept, not shown
    bridge_prompt_id: str
    """The bridge's own name for it, used on the bridge wire."""
    stage_at: datetime | None = None
    """When it tells louder next."""
    seen_until: datetime | None = None
    """Until when somebody's look at it holds its deadline up."""


INTERNAL_FIELDS: dict[type, frozenset[str]] = {
    Attachment: frozenset({"user_id", "created_at"}),
    Conversation: frozenset({"ordinal", "queue_paused", "queue_reason", "deleted_at", "fork_session", "mode_before"}),
    Message: frozenset({"covers_bridge_seq"}),
    Run: frozenset({"user_id", "digest", "answer", "request", "folder", "position", "bridge_seq", "user_message"}),
    Prompt: frozenset({"bridge_prompt_id", "stage_at", "seen_until"}),
}
"""Stored, but no part of the wire object."""
