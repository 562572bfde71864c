"""Removes what nothing needs any more, a little at a time: the old in the bin and in the audit, journals of ended runs,
attachments.

One round is bounded, and one item's failure does not stop the others; what is left over the next round finds, also
after a restart. What goes with a conversation goes in its lane's turn, so that whoever restores it comes first or
finds it gone, and never gets half of it.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from baton.core.errors import LeaseLost, NotFound
from baton.core.ids import ConversationId
from baton.core.limits import Limits
from baton.core.models import Conversation, ConversationStatus
from baton.core.ports import Clock, Store
from baton.core.stored import Swept
from baton.services.conversations import Conversations

logger = logging.getLogger(__name__)

PAGE: Final = 50
"""Conversations that are read at once."""
MOST_CONVERSATIONS: Final = 500
"""Of each kind in one round."""
MOST_CALLS: Final = 50
"""Of each verb that removes a number of things at once."""
MOST_FAILURES: Final = 10
"""Then the round ends: the store is away, or worse."""
_ATTACHMENTS_AT_ONCE: Final = 100
_RUNS_AT_ONCE: Final = 100
_PIECES_AT_ONCE: Final = 1000
_ENTRIES_AT_ONCE: Final = 1000

_MOST: Final = timedelta(days=36_500)
"""A hundred years: much more, and no calendar has the day before."""

_Sweep = Callable[[str | None], Awaitable[Swept]]


class Cleaning:
    """See the module. One round at a time."""

    def __init__(self, *, store: Store, conversations: Conversations, clock: Clock, limits: Limits) -> None:
        self._store = store
        self._conversations = conversations
        self._clock = clock
        self._limits = limits
        self._places: dict[str, str | None] = {}
        """Where walks go on that a round did not end. Not stored: after a restart they begin again."""

    async def clean_up(self) -> Counter[str]:
        """One round: how many of what are gone. Raises LeaseLost; ExceptionGroup of failures, once all else is done."""
        this = _Round()
        for name, step in (
            ("retired", self._retire),
            ("purged", self._purge),
            ("journals", self._sweep_journals),
            ("attachments", self._sweep_attachments),
            ("strays", self._sweep_strays),
            ("audit", self._sweep_audit),
        ):
            await this.attempt(name, step(this))
        if this.counts.total():
            logger.info(
                "cleaned up",
                extra={"action": "jobs.cleaned_up", **{name: count for name, count in this.counts.items() if count}},
            )
        this.raise_failures()
        return this.counts

    # --- conversations -----------------------------------------------------------------------------------------

    async def _purge(self, this: "_Round") -> int:
        """What has been in the bin for long enough."""
        before = self._ago(days=self._limits.trash_keep_days)
        async for conversation in self._unchanged(ConversationStatus.DELETED, before):
            await this.attempt("purged", self._purge_one(conversation.id, before), conversation.id)
        return 0

    async def _retire(self, this: "_Round") -> int:
        """Where somebody asked for it, what nobody has touched for long goes to the bin."""
        if not self._limits.retention_days:
            return 0
        before = self._ago(days=self._limits.retention_days)
        for status in (ConversationStatus.ACTIVE, ConversationStatus.ARCHIVED):
            async for conversation in self._unchanged(status, before):
                await this.attempt("retired", self._retire_one(conversation.id, before), conversation.id)
        return 0

    async def _purge_one(self, conversation_id: ConversationId, before: datetime) -> int:
        try:
            return int(await self._conversations.purge(conversation_id, deleted_by=before))
        except NotFound:
            return 0

    async def _retire_one(self, conversation_id: ConversationId, before: datetime) -> int:
        try:
            return int(await self._conversations.retire(conversation_id, unchanged_since=before))
        except NotFound:
            return 0

    async def _unchanged(self, status: ConversationStatus, before: datetime) -> AsyncIterator[Conversation]:
        """Page by page and never twice, so that one that cannot be dealt with does not stand in the others' way."""
        cursor: str | None = None
        for _ in range(MOST_CONVERSATIONS // PAGE):
            page = await self._store.unchanged_conversations(status, before, cursor=cursor, limit=PAGE)
            for conversation in page.items:
                yield conversation
            cursor = page.next
            if cursor is None:
                return

    # --- the rest ----------------------------------------------------------------------------------------------

    async def _sweep_journals(self, this: "_Round") -> int:
        return await self._walk("journals", lambda after: self._store.remove_ended_journals(_RUNS_AT_ONCE, after))

    async def _sweep_attachments(self, this: "_Round") -> int:
        before = self._ago(seconds=self._limits.attachment_keep_s)
        return await self._walk(
            "attachments", lambda _: self._store.remove_unused_attachments(before, _ATTACHMENTS_AT_ONCE)
        )

    async def _sweep_strays(self, this: "_Round") -> int:
        before = self._ago(seconds=self._limits.attachment_keep_s)
        return await self._walk(
            "strays", lambda after: self._store.remove_stray_content(before, _PIECES_AT_ONCE, after)
        )

    async def _sweep_audit(self, this: "_Round") -> int:
        if not self._limits.audit_keep_days:
            return 0
        before = self._ago(days=self._limits.audit_keep_days)
        return await self._walk("audit", lambda _: self._store.remove_old_audit(before, _ENTRIES_AT_ONCE))

    async def _walk(self, name: str, sweep: _Sweep) -> int:
        removed = 0
        for _ in range(MOST_CALLS):
            swept = await sweep(self._places.pop(name, None))
            removed += swept.removed
            if swept.next is None:
                break
            self._places[name] = swept.next
        return removed

    def _ago(self, *, days: float = 0, seconds: float = 0) -> datetime:
        return (
            self._clock.now()
            - min(timedelta(days=days), _MOST)
            - timedelta(seconds=min(seconds, _MOST.total_seconds()))
        )


class _Round:
    """What one round has done so far, and what went wrong in it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._failures: list[Exception] = []

    async def attempt(self, name: str, work: Awaitable[int], conversation_id: ConversationId | None = None) -> None:
        """Do it, and count what it removed; its failure is kept for later. Raises LeaseLost, and what has failed
        where that is too much."""
        try:
            removed = await work
            # Not in one line: a step counts its items while it is awaited, and the old number would come back.
            self.counts[name] += removed
        except (LeaseLost, ExceptionGroup):
            raise
        except Exception as error:  # one item's failure must not stop the others (job item)
            logger.warning(
                "could not be cleaned up",
                extra={"action": "jobs.item_failed", "item": name, "conversationId": conversation_id},
                exc_info=True,
            )
            self._failures.append(error)
            if len(self._failures) >= MOST_FAILURES:
                self.raise_failures()

    def raise_failures(self) -> None:
        """Raise ExceptionGroup where anything failed."""
        if self._failures:
            raise ExceptionGroup("Something could not be cleaned up", self._failures)
