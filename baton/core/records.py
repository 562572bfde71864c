"""A whole database as records, for the tools that look after it: check, export, import, backup, restore, seed.

A record is the same in every store, so that one store's records can be another's. `Store` is for serving; a server
never needs what stands here, and what stands here knows no rules of conversations.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from baton.core.models import Attachment


class Kind(StrEnum):
    """What a record is. Declared in the order in which a database can be filled: what others refer to comes first."""

    PROJECT = "project"
    CONVERSATION = "conversation"
    MESSAGE = "message"
    RUN = "run"
    PROMPT = "prompt"
    GRANT = "grant"
    JOURNAL = "journal"
    AUDIT = "audit"
    TOKEN = "token"  # nosec B105  # noqa: S105 - the name of a kind
    ATTACHMENT = "attachment"


@dataclass(frozen=True, slots=True)
class Record:
    """One stored thing."""

    kind: Kind
    id: str
    """Of a run its requestId; of a journal row `<conversationId>:<seq>`."""
    conversation_id: str | None
    """As the store files it; None: it belongs to none, or says none."""
    document: dict[str, Any] | None
    """JSON types only, all fields: what `schemas.records` reads. Of an attachment with `usedBy` and `length`. None:
    what is stored cannot be read."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of values that were to be added."""

    added: int = 0
    known: int = 0
    """Their ids were there already: those stay as they are."""
    refused: tuple[str, ...] = ()
    """Ids of those that this store does not take, as their conversation is not there or a value cannot be stored."""

    def __add__(self, other: "Added") -> "Added":
        return Added(self.added + other.added, self.known + other.known, self.refused + other.refused)


@dataclass(frozen=True, slots=True)
class StoreFault:
    """What is wrong with the database itself, rather than with what it holds."""

    code: str
    """One of `services.integrity.MEANINGS`."""
    names: tuple[str, ...]


class Records(Protocol):
    """The records of one database.

    1. Memory is bounded, however many records there are; only an attachment's bytes are whole in memory.
    2. What a verb has written when it returns is as durable as what `Store` writes.
    3. A driver's error is raised as Unavailable.
    4. Who writes has the lease of the database.
    """

    def scan(
        self,
        kind: Kind,
        *,
        after: str | None = None,
        conversation_id: str | None = None,
        by_conversation: bool = False,
    ) -> AsyncIterator[Record]:
        """All of this kind, by id; those with an id greater than `after`.

        1. `by_conversation`: by the id of their conversation, and in it by ordinal or seq; then `after` is not used.
        2. `conversation_id`: what belongs to that one only (its project, grants of its scope, attachments that it
           uses), in the order of 1; of tokens none.
        3. On SQLite all scans of one object are of one moment.
        """
        ...

    async def content(self, attachment_id: str) -> bytes | None:
        """An attachment's bytes."""
        ...

    async def has(self, kind: Kind, record_id: str) -> bool:
        """Whether there is such a conversation or attachment."""
        ...

    async def add(self, kind: Kind, values: Sequence[object]) -> Added:
        """Add those whose ids are not there. Not for attachments."""
        ...

    async def add_attachment(self, attachment: Attachment, content: bytes, used_by: Sequence[str]) -> bool:
        """Add it with its uses; False: it is there, and only its uses were added."""
        ...

    async def forget_runs(self, conversation_id: str) -> None:
        """Remove runs of a conversation that is not there: what its purge has left of them."""
        ...

    async def clear_data(self, message_ids: Sequence[str]) -> None:
        """Give these messages an empty `claudeData`."""
        ...

    async def counts(self) -> Mapping[Kind, int]:
        """How many of each kind."""
        ...

    async def epoch(self) -> str:
        """See `Store.epoch`."""
        ...

    async def renew_epoch(self) -> str:
        """A new one: what clients know of this database counts no longer."""
        ...

    async def faults(self) -> Sequence[StoreFault]:
        """What is wrong with the database itself."""
        ...

    async def shape(self) -> Sequence[str]:
        """Make missing indexes and counts anew; what was done, in words. Safe beside a server."""
        ...
