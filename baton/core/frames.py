"""The frames of the bridge wire as values: what a server and a bridge say to each other.

Spoken as JSON over `/bridge` and as these very objects to the in-process bridge. Wire names and the rules:
docs/protocol.md section 5; the rules as code: `baton.bridge.protocol`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from baton.core.ids import BridgeId, ConversationId, RequestId
from baton.core.models import (
    Attachment,
    Block,
    Failure,
    PermissionMode,
    PromptOption,
    PromptType,
    Question,
    Usage,
)
from baton.core.stream import StreamEvent
from baton.core.text import Json

PROTOCOL_VERSION = 1
SUBPROTOCOL = "baton.bridge.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOffer:
    """An agent that a bridge can run, or the reason why it cannot now."""

    id: str
    title: str
    available: bool = True
    reason: str | None = None
    models: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A folder that a bridge lets agents work in."""

    path: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRun:
    """A run that a bridge still knows when it says hello."""

    request_id: RequestId
    last_seq: int
    prompts: tuple[str, ...] = ()
    epoch: str | None = None
    """The history that it belongs to, as the welcome named it; None: not known, that of whoever is greeted."""
    origin: str | None = None
    """`background`: the agent began it by itself, and its first frame, from which a server may have to learn of it,
    comes (again)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """A bridge's first frame."""

    protocol: int
    bridge_id: BridgeId
    instance_id: str
    name: str = ""
    version: str = ""
    hostname: str = ""
    agents: tuple[AgentOffer, ...] = ()
    max_concurrent_requests: int = 5
    workspaces: tuple[Workspace, ...] = ()
    allow_bypass: bool = False
    runs: tuple[KnownRun, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The server's answer to hello: where each run stands on disk."""

    epoch: str
    heartbeat_s: float
    window: int
    max_frame_bytes: int
    acks: Mapping[RequestId, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Execute:
    """Run this message with this agent. May come twice; works once."""

    request_id: RequestId
    conversation_id: ConversationId
    message: str
    blocks: tuple[Block, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    session_id: str | None = None
    fork: bool = False
    agent: str
    model: str | None = None
    permission_mode: PermissionMode = PermissionMode.DEFAULT
    working_directory: str | None = None
    allowed_tools: tuple[str, ...] = ()
    project_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """End this run. Idempotent."""

    request_id: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionResponse:
    """The answer to a prompt. `prompt_id` is the bridge's own."""

    request_id: RequestId
    prompt_id: str
    selected_option: str
    message: str | None = None
    input: Json = None
    answers: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMode:
    """The run's permission mode is now this one."""

    request_id: RequestId
    mode: PermissionMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpc:
    """A question to the bridge that is answered by one `RpcResult` of the same id."""

    id: str
    method: str
    params: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Are you there? `t` comes back unchanged."""

    t: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """All frames of these runs up to these numbers are on disk."""

    acks: Mapping[RequestId, int]


ServerFrame: TypeAlias = Welcome | Execute | Abort | PermissionResponse | SetMode | Rpc | Ping | Ack


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The agent took the run up. `origin` "background" with a conversation: a turn it started by itself."""

    request_id: RequestId
    seq: int
    session_id: str | None = None
    conversation_id: ConversationId | None = None
    origin: str = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Events of a run, in order; all of one frame take effect together."""

    request_id: RequestId
    seq: int
    events: tuple[StreamEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptAsked:
    """A question as the bridge asks it."""

    prompt_id: str
    type: PromptType
    title: str
    message: str = ""
    tool_name: str | None = None
    tool_use_id: str | None = None
    input: Json = None
    options: tuple[PromptOption, ...] = ()
    questions: tuple[Question, ...] = ()
    risk: str | None = None
    editable: bool | None = None
    """False: the agent cannot take a changed `input`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionRequest:
    """The agent asks a person."""

    request_id: RequestId
    seq: int
    prompt: PromptAsked


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionApplied:
    """The agent has the answer and acts on it."""

    request_id: RequestId
    seq: int
    prompt_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionCancel:
    """The agent asks no longer."""

    request_id: RequestId
    seq: int
    prompt_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run completed. `outcome`: completed, max_tokens or refused; cost and usage are this run's own."""

    outcome: str = "completed"
    session_id: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    duration_ms: int = 0
    num_turns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """Final: the agent finished."""

    request_id: RequestId
    seq: int
    result: RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Final: the agent, or its bridge, could not finish (`claude:error` on the wire)."""

    request_id: RequestId
    seq: int
    error: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Aborted:
    """Final: ended on request."""

    request_id: RequestId
    seq: int


RunFrame: TypeAlias = (
    Started | Stream | PermissionRequest | PermissionApplied | PermissionCancel | Complete | Failed | Aborted
)
"""The numbered frames: seq counts from 1 per run, and exactly one of the last three ends it."""

FINAL_FRAMES = (Complete, Failed, Aborted)


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeStatus:
    """A bridge's load and agents have changed."""

    agents: tuple[AgentOffer, ...] = ()
    active: int = 0
    queued: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcResult:
    """The answer to an `Rpc`."""

    id: str
    ok: bool
    result: Json = None
    error: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """The answer to a `Ping`."""

    t: float


BridgeFrame: TypeAlias = Hello | RunFrame | BridgeStatus | RpcResult | Pong

FRAME_TYPES: dict[type, str] = {
    Hello: "hello",
    Welcome: "welcome",
    Execute: "claude:execute",
    Abort: "claude:abort",
    PermissionResponse: "permission:response",
    SetMode: "permission:set-mode",
    Rpc: "rpc",
    Ping: "ping",
    Ack: "ack",
    Started: "claude:started",
    Stream: "claude:stream",
    PermissionRequest: "permission:request",
    PermissionApplied: "permission:applied",
    PermissionCancel: "permission:cancel",
    Complete: "claude:complete",
    Failed: "claude:error",
    Aborted: "claude:aborted",
    BridgeStatus: "bridge:status",
    RpcResult: "rpc:result",
    Pong: "pong",
}
"""The `type` of each on the wire."""
