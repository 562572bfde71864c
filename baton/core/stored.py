"""What crosses the port to the store: changes to write and their outcomes, and what is read back.

Values without rules; `core.ports.Store` says what becomes of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NewType, TypeVar

from baton.core.ids import ConversationId, MessageId, ProjectId, RequestId, UserId
from baton.core.models import (
    Conversation,
    ConversationStatus,
    Message,
    Prompt,
    PromptStatus,
    Run,
    RunStatus,
)
from baton.core.permissions import AuditEntry, Grant
from baton.core.stream import StreamEvent

Item = TypeVar("Item")

EncodedJson = NewType("EncodedJson", bytes)
"""One JSON value as UTF-8 bytes, in the shape of the wire; spares pages of history from being built as objects."""

# --- what is written -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRow:
    """What one run said in one flush. Events carry the server's message ids and are replayed after a crash."""

    conversation_id: ConversationId
    request_id: RequestId
    seq: int
    bridge_seq: int
    events: tuple[StreamEvent, ...]
    at: datetime
    """When it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMove:
    """A run to store whole, if the stored one still has one of these statuses."""

    run: Run
    expect: frozenset[RunStatus]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptMove:
    """A prompt to store whole, if the stored one still has this status; None: there is none yet."""

    prompt: Prompt
    expect: PromptStatus | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalTrim:
    """Journal rows of this run up to this bridge seq are contained in documents and go."""

    request_id: RequestId
    up_to_bridge_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one conversation's lane writes at once. The only way anything of a conversation is written."""

    conversation_id: ConversationId
    conversation: Conversation | None = None
    """To store whole (its `seq` and `ordinal` are the lane's after this change). None: only for a bare journal row."""
    is_new: bool = False
    """The conversation must not exist yet; if it does, the outcome is KNOWN."""
    new_run: Run | None = None
    """Must not exist yet; if its requestId does, the outcome is KNOWN."""
    runs: tuple[RunMove, ...] = ()
    messages: tuple[Message, ...] = ()
    """Stored whole, by id: inserted or replaced."""
    prompts: tuple[PromptMove, ...] = ()
    journal: JournalRow | None = None
    trims: tuple[JournalTrim, ...] = ()
    grants: tuple[Grant, ...] = ()
    """Stored whole, by id: inserted or replaced. Also those that reach further than this conversation."""
    audit: tuple[AuditEntry, ...] = ()
    """Appended; an entry whose id is stored already changes nothing."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The change is on disk, all of it."""


@dataclass(frozen=True, slots=True)
class Known:
    """Nothing was written: the requestId (or the new conversation) is stored already."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Nothing was written: a run or prompt no longer had the expected status."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was written: this change cannot be stored (a bad row); others of the same call were."""

    reason: str


Outcome = Committed | Known | Lost | Refused


# --- what is read ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """Everything of one conversation that the process which serves it keeps in memory."""

    conversation: Conversation
    """Its seq is the greatest ever given out: of the document and of the journal."""
    runs: tuple[Run, ...]
    """The open ones, in queue order."""
    prompts: tuple[Prompt, ...]
    """Those of the open runs, in any status."""
    journal: tuple[JournalRow, ...]
    """Of the open runs, by seq."""
    messages: tuple[Message, ...]
    """The assistant's, of the open runs, by ordinal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message as its wire JSON, with what paging and merging need."""

    id: MessageId
    request_id: RequestId | None
    ordinal: int
    seq: int
    json: EncodedJson


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredChanges:
    """What of one conversation is stored above a seq."""

    messages: tuple[StoredMessage, ...]
    """By ordinal."""
    runs: tuple[Run, ...]
    prompts: tuple[Prompt, ...]
    has_more: bool
    """There were more messages than the limit; these are the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """One page of a list, and the cursor of the next one (opaque; None at the end)."""

    items: tuple[Item, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationFilter:
    """What to list; None: any. Deleted ones are only listed when asked for by status."""

    project_id: ProjectId | None = None
    status: ConversationStatus | None = None
    session_id: str | None = None
    user_id: UserId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """A message or title that holds all words. In `snippet`, matches stand between U+E000 and U+E001."""

    conversation_id: ConversationId
    project_id: ProjectId | None
    title: str
    message_id: MessageId | None
    """None: the title matched."""
    role: str | None
    snippet: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCounts:
    """For /api/stats, /health and metrics."""

    messages: Mapping[str, int]
    runs: Mapping[str, int]
    prompts: Mapping[str, int]
    conversations: Mapping[str, int]
    decisions: Mapping[str, int]
    """Entries of the audit by `<outcome>/<handler>`, for example `allow/grant`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one call of a clean-up looked at, and how much of it is gone."""

    looked_at: int
    removed: int
    next: str | None = None
    """Where the next call goes on (opaque); None: nothing is left to look at."""
