"""Where the layers meet. Services know these protocols and nothing of what stands behind them.

Each guarantee is numbered; an adapter that breaks one is broken (`baton.testing.store_contract` tests the Store's).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from baton.core.events import BridgePresence, Event
from baton.core.frames import AgentOffer, Execute, PromptAsked, RunFrame, RunResult, ServerFrame
from baton.core.ids import (
    AttachmentId,
    BridgeId,
    ConversationId,
    MessageId,
    ProjectId,
    PromptId,
    RequestId,
    TokenId,
    UserId,
)
from baton.core.models import (
    Attachment,
    Conversation,
    ConversationStatus,
    Message,
    Project,
    Prompt,
    PromptStatus,
    Run,
    RunStatus,
)
from baton.core.permissions import AuditEntry, Grant, GrantId
from baton.core.series import Bucket, Span
from baton.core.stored import (
    Change,
    ConversationFilter,
    EncodedJson,
    LaneState,
    Outcome,
    Page,
    SearchHit,
    StoreCounts,
    StoredChanges,
    StoredMessage,
    Swept,
)
from baton.core.stream import StreamEvent
from baton.core.tally import PoolTally
from baton.core.text import Json
from baton.core.tokens import ApiToken, Login


class Clock(Protocol):
    """The time. A port, so that tests move it."""

    def now(self) -> datetime:
        """Aware UTC, cut to milliseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


# --- store -----------------------------------------------------------------------------------------------------


class Store(Protocol):
    """Where everything is kept. Verbs of the domain; rules live in services.

    1. What a verb has written when it returns survives `kill -9` and loss of power.
    2. A driver's error is raised as StoreUnavailable or LeaseLost. Nothing of the call was stored then, except where
       the store was lost before it could answer: a change of `commit` may be there, and is whole after `load_lane`.
    3. A cancelled caller's write may still happen.
    4. Every read is limited and uses an index.
    5. Verbs may be called concurrently; `commit` calls take effect in the order of their calls.
    """

    async def open(self) -> None:
        """Connect, check that the migrations are applied, prepare. Raises ConfigError with the cure where not."""
        ...

    async def close(self) -> None:
        """Finish what is queued and let go. Idempotent."""
        ...

    async def acquire_lease(self, holder: str) -> bool:
        """Try to become the one serving process of this database; whether it worked. Never waits for the holder."""
        ...

    async def renew_lease(self) -> None:
        """Keep it; to be called every 5 s. Raises LeaseLost when somebody else has it."""
        ...

    async def epoch(self) -> str:
        """The name of this database's history: changed by a restore only."""
        ...

    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Store each change, all of it or nothing, and say for each what happened, in order.

        1. One call is one durable write, however many changes (group commit).
        2. A change whose outcome is not Committed has left nothing, and sinks no other.
        3. A store without transactions writes `new_run` first (it carries its whole user message), otherwise
           messages and prompts first and then run, grants, audit, journal row and conversation, so that after a
           crash in between the same frames come again and the same ids are written again; `repair` mends a send.
        4. The same journal (conversation, seq) twice means that another process writes here: LeaseLost.
        5. A caller that is cancelled is held until the write has ended: it holds lanes, and who read them anew
           before would know less than the disk, and give out the same seq again. Cancelled a second time, it goes
           at once (a shutdown that takes too long).
        """
        ...

    async def repair(self) -> int:
        """After a crash, before anyone is served: finish what `commit` left half done; how many were mended.

        And what a version before this one did not keep: once, while nobody else writes.
        """
        ...

    async def open_conversations(self) -> Sequence[ConversationId]:
        """Those with a run that has no final state: what recovery must load."""
        ...

    async def load_lane(self, conversation_id: ConversationId) -> LaneState | None:
        """See LaneState; None where there is no such conversation."""
        ...

    async def changes_after(self, conversation_id: ConversationId, after: int, limit: int) -> StoredChanges:
        """Messages, runs and prompts with a seq above `after`: at most `limit` of each, the newest.

        `after` 0: the newest `limit` messages, the open runs and the pending prompts.
        """
        ...

    async def history(
        self,
        conversation_id: ConversationId,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> Sequence[StoredMessage]:
        """Messages with an ordinal below `before` (the newest of them) or above `after` (the oldest), by ordinal."""
        ...

    async def message(self, message_id: MessageId) -> Message | None: ...

    async def run(self, request_id: RequestId) -> Run | None: ...

    async def runs(
        self, statuses: frozenset[RunStatus], limit: int = 1000, *, user_id: UserId | None = None
    ) -> Sequence[Run]:
        """Runs with these statuses, oldest first. `user_id`: of this user's conversations; made for open runs."""
        ...

    async def runs_of(
        self, conversation_id: ConversationId, request_ids: Sequence[RequestId]
    ) -> Mapping[RequestId, EncodedJson]:
        """Those of these runs that are this conversation's, as their wire JSON: what a page of messages needs."""
        ...

    async def prompt(self, prompt_id: PromptId) -> Prompt | None: ...

    async def prompts(
        self,
        status: PromptStatus | None = None,
        conversation_id: ConversationId | None = None,
        limit: int = 1000,
        *,
        user_id: UserId | None = None,
    ) -> Sequence[Prompt]:
        """Newest first. `user_id`: of this user's conversations."""
        ...

    async def conversation(self, conversation_id: ConversationId) -> Conversation | None: ...

    async def conversations(
        self, where: ConversationFilter, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Conversation]:
        """Most recently updated first. Raises InvalidRequest for a cursor that is not ours."""
        ...

    async def note_seen(self, user_id: UserId, conversation_id: ConversationId, seq: int) -> bool:
        """Remember up to where this user has seen the conversation; whether that is further than what was known.

        1. Of several the greatest stays. `purge_conversation` forgets it.
        2. Of a conversation that is not there nothing need be kept.
        """
        ...

    async def seen(self, user_id: UserId, conversation_ids: Sequence[ConversationId]) -> Mapping[ConversationId, int]:
        """Those of these conversations that the user has seen, and up to where."""
        ...

    async def purge_conversation(self, conversation_id: ConversationId) -> None:
        """Remove for good, with the grants of its scope. Idempotent.

        Of each run stays requestId, owner, digest and answer; entries of the audit stay, they hold no content.
        Attachments that only it used may be removed by `remove_unused_attachments` from now on.
        """
        ...

    async def standing_grants(self, limit: int = 100_000) -> Sequence[Grant]:
        """Every grant with the status `granted`, also one whose time is over, oldest first: for a server's start."""
        ...

    async def grants(
        self,
        conversation_id: ConversationId,
        project_id: ProjectId | None,
        limit: int = 1000,
        *,
        user_id: UserId | None = None,
    ) -> Sequence[Grant]:
        """Grants of any status that reach this conversation of `user_id`: of all, of its project, its own; newest
        first. Those that are bound to another user are none of them."""
        ...

    async def grant(self, grant_id: GrantId) -> Grant | None: ...

    async def put_grant(self, grant: Grant) -> None:
        """Insert or replace, outside a change: one that a person gives or takes back, or that has run out."""
        ...

    async def audit(
        self,
        *,
        conversation_id: ConversationId | None = None,
        user_id: UserId | None = None,
        action: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[AuditEntry]:
        """Newest first; None: of any, of purged conversations too. Raises InvalidRequest for a cursor not ours."""
        ...

    async def append_to_audit(self, entry: AuditEntry) -> None:
        """Keep one that belongs to no change of a conversation; one whose id is stored already changes nothing."""
        ...

    async def remove_old_audit(self, before: datetime, limit: int) -> Swept:
        """Remove entries made before then, the oldest first, at most `limit`; `next` is set where more may be left."""
        ...

    async def bypassing(self, limit: int = 10_000) -> Sequence[ConversationId]:
        """Conversations whose `bypassPermissions` has an end; what a server loads at its start."""
        ...

    async def note_alive(self, at: datetime) -> None:
        """Keep the moment up to which a server was at work, instead of the one before."""
        ...

    async def alive_at(self) -> datetime | None:
        """What was noted last; None: nothing ever was."""
        ...

    async def put_project(self, project: Project) -> None:
        """Insert or replace."""
        ...

    async def project(self, project_id: ProjectId) -> Project | None: ...

    async def projects(self, limit: int = 1000) -> Sequence[Project]:
        """Newest first."""
        ...

    async def delete_project(self, project_id: ProjectId) -> bool:
        """Whether there was one. Its conversations stay and lose their projectId when next stored."""
        ...

    async def put_attachment(
        self, attachment: Attachment, content: bytes, *, used_by: ConversationId | None = None
    ) -> None:
        """Insert or replace. With `used_by`, it is as if `use_attachments` had been called in the same moment."""
        ...

    async def attachment(self, attachment_id: AttachmentId) -> Attachment | None: ...

    async def is_used_by(self, attachment_id: AttachmentId, user_id: UserId) -> bool:
        """Whether a conversation of this user's, also one in the bin, uses it."""
        ...

    async def attachment_content(self, attachment_id: AttachmentId) -> bytes | None: ...

    async def search(
        self,
        words: str,
        *,
        project_id: ProjectId | None = None,
        user_id: UserId | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> Page[SearchHit]:
        """Messages and titles that hold all words, newest first; deleted conversations are left out.

        1. With `user_id`, what is not that user's costs nothing: it is part of what the index is asked.
        """
        ...

    async def counts(self) -> StoreCounts: ...

    async def series(self, span: Span) -> Sequence[Bucket]:
        """What ended in each bucket of the span: runs by `finished_at`, prompts by the audit; as many as it has.

        Runs of purged conversations count. Raises TooLarge where a store cannot add up so many.
        """
        ...

    async def probe(self) -> tuple[float, float]:
        """One durable write and one read of a scratch row: milliseconds each."""
        ...

    # --- tokens of the API

    async def add_token(self, token: ApiToken) -> bool:
        """Keep a new one. False, and nothing is written, where its id or its digest is there already."""
        ...

    async def token(self, token_id: TokenId) -> ApiToken | None: ...

    async def tokens(self, limit: int = 1000) -> Sequence[ApiToken]:
        """Those with the greatest ids, greatest first: also revoked and expired ones."""
        ...

    async def live_tokens(self) -> Sequence[ApiToken]:
        """All that are not revoked, however many were; expired ones too, because the store knows no time."""
        ...

    async def bind_token(self, token_id: TokenId, bridge_id: BridgeId) -> ApiToken | None:
        """Make it this bridge's; the token as it is stored then, None where there is none.

        1. A token that is bound or revoked stays as it is: of two that race the first wins, and both learn who.
        """
        ...

    async def revoke_token(self, token_id: TokenId, at: datetime) -> ApiToken | None:
        """Revoke it; the token as it is stored then, None where there is none.

        1. A revoked token stays as it is: it has been revoked once, and is for ever.
        """
        ...

    async def note_token_use(self, used_at: Mapping[TokenId, datetime]) -> None:
        """Remember when each was last used, in one write; an earlier time than the stored one changes nothing."""
        ...

    async def add_login(self, login: Login) -> None:
        """Keep a new one. Logins are no record: no backup has them."""
        ...

    async def logins(self, limit: int = 20_000) -> Sequence[Login]:
        """Expired ones too, those made last first."""
        ...

    async def remove_logins(self, ids: Sequence[str]) -> None:
        """Forget them, as far as they are there."""
        ...

    # --- what nothing needs any more (services.cleaning)

    async def use_attachments(
        self, conversation_id: ConversationId, attachment_ids: Sequence[AttachmentId]
    ) -> Sequence[AttachmentId]:
        """Note that the conversation uses these attachments; those that are not there, of which nothing is noted.

        To be called before a message that names them is stored.
        1. While the conversation exists, an attachment that it uses is not removed; `purge_conversation` ends the use.
        2. Until the conversation exists, the use protects no longer than a fresh upload is protected: one that was
           noted for a message that never came is no use.
        """
        ...

    async def remove_unused_attachments(self, before: datetime, limit: int) -> Swept:
        """Remove attachments that no conversation uses and that, by the store's clock, were put, asked for by
        `use_attachments`, or freed by a purge not after `before`.

        1. At most `limit` are looked at, the oldest first; those that are used are not looked at again until then.
        2. Against `use_attachments` one of both comes first: the attachment is kept, or told as not there.
        3. `next` is set where more may be left; it says nothing more.
        """
        ...

    async def remove_stray_content(self, before: datetime, limit: int, after: str | None = None) -> Swept:
        """Remove bytes that belong to no attachment and were written before `before`, as a crash in the middle of an
        upload leaves them where bytes are kept apart. A walk through all content, `limit` pieces at a time, from
        `after`, the `next` of the call before.
        """
        ...

    async def remove_ended_journals(self, limit: int, after: str | None = None) -> Swept:
        """Remove journal rows of runs that have ended or are not there. A walk through the runs with rows, `limit`
        at a time, from `after`, the `next` of the call before. `removed` counts runs.
        """
        ...

    async def unchanged_conversations(
        self, status: ConversationStatus, before: datetime, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Conversation]:
        """Those of this status whose `updated_at` is not after `before`, the one longest unchanged first.

        Raises InvalidRequest for a cursor that is not ours.
        """
        ...


# --- publishing ------------------------------------------------------------------------------------------------


@runtime_checkable
class Pooled(Protocol):
    """A store that keeps connections to a server, and counts them."""

    pool: PoolTally


class Publisher(Protocol):
    """Tells browsers.

    1. Never waits: a receiver that is too slow is told to resync, the caller goes on.
    2. Events of one conversation reach each of its watchers in the order of the calls.
    3. Called only with what is on disk.
    """

    def publish(self, events: Sequence[Event]) -> None: ...


# --- bridges ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeChoice:
    """Where a run can go. `reason` is set where it cannot go now, and says why."""

    bridge_id: BridgeId | None
    agent: str | None
    reason: str | None = None
    folder: str | None = None
    """Where this bridge's agents work when they are told no folder."""
    is_busy: bool = False
    """A bridge for it is there and full: the run waits for room, under no deadline."""


class BridgeLink(Protocol):
    """What services ask of the bridges that are connected.

    1. `send` never waits and never raises: a frame for a bridge that is gone is dropped, because the next
       welcome says anew what should be.
    """

    def choose(self, *, agent: str | None, bridge_id: BridgeId | None, working_directory: str | None) -> BridgeChoice:
        """The asked bridge, or the least loaded that has the agent (None: its default) and is not full."""
        ...

    def is_connected(self, bridge_id: BridgeId) -> bool: ...

    def send(self, bridge_id: BridgeId, frame: ServerFrame) -> None: ...

    def acknowledge(self, bridge_id: BridgeId, acks: Mapping[RequestId, int]) -> None:
        """Tell that frames are on disk; the run's dispatched load ends with `release`."""
        ...

    def release(self, bridge_id: BridgeId, request_id: RequestId) -> None:
        """The run has ended: it counts no longer as this bridge's load."""
        ...

    def presence(self) -> tuple[BridgePresence, ...]: ...

    async def call(self, bridge_id: BridgeId, method: str, params: Json, timeout_s: float) -> Json:
        """Ask a bridge (`rpc`). Raises NoBridge, AgentFailed (its error), Unavailable (timeout)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a bridge that said hello should be doing, as far as the store knows."""

    acks: Mapping[RequestId, int]
    """For every run it named and every run of its that is open: the greatest bridge seq on disk."""
    frames: tuple[ServerFrame, ...]
    """To send after the welcome: execute, abort, answers, modes."""


class RunIntake(Protocol):
    """What the hub tells the services.

    1. `receive` never waits. It keeps the frames of one run in order; each is acknowledged through
       BridgeLink.acknowledge once it is on disk, or at once when it is dropped (ended or unknown run, duplicate).
    """

    async def greet(self, bridge_id: BridgeId, *, known: Mapping[RequestId, tuple[int, tuple[str, ...]]]) -> Expected:
        """A bridge said hello and knows these runs (last seq, open prompts). Ends with bridge_lost what is lost."""
        ...

    def last_seq(self, request_id: RequestId) -> int | None:
        """The last frame number taken in for an open run (stored or about to be); None: ended or unknown."""
        ...

    def receive(self, bridge_id: BridgeId, frame: RunFrame) -> None: ...

    def flush_rest_s(self) -> float:
        """Seconds until what is received now can be written; at most 0: at once."""
        ...

    async def arrived(self, bridge_id: BridgeId) -> None:
        """The bridge has its welcome and the frames that go with it: queued runs may go to it."""
        ...

    async def settle(self, bridge_id: BridgeId) -> None:
        """Return when all frames received from it so far are stored or dropped."""
        ...

    async def departed(self, bridge_id: BridgeId) -> None:
        """Its link is gone."""
        ...


# --- agents ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptAnswer:
    """What a person (or a rule) answered. `selected_option` is one of the prompt's option ids."""

    selected_option: str
    message: str | None = None
    input: Json = None
    answers: Json = None


class Turn(Protocol):
    """What an agent may do while it works on one run.

    1. `emit` never waits: what is said is gathered and sent in order, in as few frames as the link allows.
    2. `ask` returns the answer once; cancelling the call takes the question back.
    3. `begin_background` may be called also after the run has ended: the agent goes on by itself. `play` is what
       `Agent.run` is otherwise, in a new run of the same conversation that has the origin `background`; it waits for
       its place among the conversation's runs, and abort cancels it.
    """

    def emit(self, *events: StreamEvent) -> None: ...

    async def ask(self, prompt: PromptAsked) -> PromptAnswer: ...

    async def read_attachment(self, attachment: Attachment) -> bytes: ...

    def begin_background(self, play: "Callable[[Turn], Awaitable[RunResult]]") -> None: ...


class Agent(Protocol):
    """A kind of back end, found by the entry point group `baton.agents` (a callable that makes one).

    1. `run` returns when the turn is over, or raises AgentFailed with one of the codes of docs/protocol.md.
    2. Abort is cancellation: `run` ends its own work within 8 s, keeps the session usable, and lets
       CancelledError pass.
    3. Turns of one session never overlap; turns of different sessions may.
    """

    id: str
    title: str

    async def offer(self) -> AgentOffer:
        """Whether it can work here and now, and the reason and the cure where not. At most 10 s."""
        ...

    async def run(self, task: Execute, turn: Turn) -> RunResult: ...

    async def commands(self, working_directory: str | None) -> Json:
        """`{"commands": [...], "models": [...]}` as far as it knows them."""
        ...

    async def close(self) -> None:
        """End every child process. Idempotent, at most 5 s."""
        ...


@runtime_checkable
class KeepsSessions(Protocol):
    """An agent whose own sessions, also those that Baton had no part in, can be listed and read on its machine."""

    async def list_sessions(self, working_directory: str, *, cursor: str | None, limit: int | None) -> Json:
        """`{"sessions": [...], "next": cursor or None}` of this folder, the newest first."""
        ...

    async def read_session(
        self, working_directory: str, session_id: str, *, cursor: str | None, limit: int | None
    ) -> Json:
        """`{"session", "messages": [...], "next": cursor or None}`, the oldest first. Raises NotFound."""
        ...
