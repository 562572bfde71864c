"""What is told to browsers: one value per thing that happened, published only after it is on disk.

`RoomEvent`s belong to one conversation and its order (`seq`, `prev_seq`); the others stand outside it.
The wire names live in `baton.web.sockets`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from baton.core.frames import AgentOffer, Workspace
from baton.core.ids import BridgeId, ConversationId, MessageId, ProjectId, PromptId, RequestId, UserId
from baton.core.models import (
    Conversation,
    ConversationState,
    Failure,
    Message,
    PermissionMode,
    Project,
    Prompt,
    Run,
    Usage,
)
from baton.core.stream import StreamEvent


@dataclass(frozen=True, slots=True)
class Queue:
    """The runs that wait behind a conversation's active one, in order."""

    paused: bool
    reason: str | None
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class MessageChanged:
    """A message was stored, changed or finished; replaces what the client had."""

    message: Message


@dataclass(frozen=True, slots=True)
class Streamed:
    """Deltas of a run; all take effect together."""

    request_id: RequestId
    message_id: MessageId | None
    events: tuple[StreamEvent, ...]


@dataclass(frozen=True, slots=True)
class RunChanged:
    """A run changed its state; `queue` where that changed too."""

    run: Run
    queue: Queue | None = None


@dataclass(frozen=True, slots=True)
class RunCompleted:
    """One of the three endings, after all messages of the run are stored."""

    request_id: RequestId
    message_id: MessageId | None
    session_id: str | None
    usage: Usage
    cost_usd: float
    duration_ms: int


@dataclass(frozen=True, slots=True)
class RunFailed:
    """One of the three endings."""

    request_id: RequestId
    error: Failure


@dataclass(frozen=True, slots=True)
class RunAborted:
    """One of the three endings."""

    request_id: RequestId


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """The conversation resumes with this session from now on."""

    session_id: str | None


@dataclass(frozen=True, slots=True)
class PromptOpened:
    """A prompt is pending; told again at every change while it is."""

    prompt: Prompt


@dataclass(frozen=True, slots=True)
class PromptResolved:
    """A prompt has its end state; told again when it is delivered."""

    prompt: Prompt


@dataclass(frozen=True, slots=True)
class ModeChanged:
    """The conversation's permission mode was changed by somebody."""

    mode: PermissionMode
    by: str


RoomPayload: TypeAlias = (
    MessageChanged
    | Streamed
    | RunChanged
    | RunCompleted
    | RunFailed
    | RunAborted
    | SessionChanged
    | PromptOpened
    | PromptResolved
    | ModeChanged
)


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """Something in the order of one conversation."""

    conversation_id: ConversationId
    seq: int
    prev_seq: int
    payload: RoomPayload


@dataclass(frozen=True, slots=True)
class StateChanged:
    """What a conversation is doing, for lists, badges and the prompt tray."""

    conversation_id: ConversationId
    project_id: ProjectId | None
    title: str
    state: ConversationState
    pending_prompts: int
    updated_at: datetime
    seq: int
    user_id: UserId
    """Whose the conversation is; not told, it says who is."""


@dataclass(frozen=True, slots=True)
class ConversationCreated:
    """A conversation exists."""

    conversation: Conversation


@dataclass(frozen=True, slots=True)
class ConversationUpdated:
    """Title, status, agent or another property changed."""

    conversation: Conversation


@dataclass(frozen=True, slots=True)
class ConversationDeleted:
    """The conversation is in the bin."""

    conversation_id: ConversationId
    project_id: ProjectId | None
    user_id: UserId
    """Whose it was; not told, it says who is."""


@dataclass(frozen=True, slots=True)
class ConversationSeen:
    """Somebody has seen a conversation up to here. For their own sockets alone."""

    user_id: UserId
    conversation_id: ConversationId
    seq: int


@dataclass(frozen=True, slots=True)
class ProjectUpdated:
    """A project was made or changed."""

    project: Project


@dataclass(frozen=True, slots=True)
class ProjectDeleted:
    """The project is gone; its conversations are not."""

    project_id: ProjectId


@dataclass(frozen=True, slots=True)
class PromptEscalated:
    """A prompt waits and nobody answers: tell louder."""

    conversation_id: ConversationId
    prompt_id: PromptId
    stage: int
    tool_name: str | None
    risk_level: str
    deadline: datetime | None
    user_id: UserId
    """Whose the conversation is; not told, it says who is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePresence:
    """One bridge as lists show it."""

    id: BridgeId
    name: str
    hostname: str = ""
    version: str = ""
    connected: bool = True
    in_process: bool = False
    agents: tuple[AgentOffer, ...] = ()
    workspaces: tuple[Workspace, ...] = ()
    max_concurrent_requests: int = 0
    active: int = 0
    queued: int = 0
    allow_bypass: bool = False
    connected_at: datetime | None = None
    last_seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BridgesChanged:
    """Presence of bridges, whole."""

    bridges: tuple[BridgePresence, ...]


@dataclass(frozen=True, slots=True)
class ServerDraining:
    """The server leaves; come back after this long."""

    reconnect_after_ms: int


GlobalEvent: TypeAlias = (
    StateChanged
    | ConversationCreated
    | ConversationUpdated
    | ConversationDeleted
    | ConversationSeen
    | ProjectUpdated
    | ProjectDeleted
    | PromptEscalated
    | BridgesChanged
    | ServerDraining
)
Event: TypeAlias = RoomEvent | GlobalEvent


def owner_of(event: Event) -> UserId | None:
    """Whose sockets alone, beside the admins', may hear of it outside a room; None: it is everybody's, or a room's."""
    match event:
        case ConversationCreated() | ConversationUpdated():
            return event.conversation.user_id
        case StateChanged() | ConversationDeleted() | PromptEscalated():
            return event.user_id
    return None
