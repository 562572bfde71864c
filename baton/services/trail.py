"""Who did what, kept in the audit beside the decisions: never with content, in bounded number.

What changes a conversation is entered in the same commit (`Draft.note`). What stands by itself is entered when it is
done; an entry that the store then does not take is told in the log, because what was done stays done.
"""

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Final

from baton.core.commands import Identity
from baton.core.errors import Unavailable
from baton.core.ids import new_object_id
from baton.core.models import Conversation
from baton.core.permissions import DONE, PERSON, Action, AuditEntry, GrantId
from baton.core.ports import Clock, Store

logger = logging.getLogger(__name__)

MOST_FAILED: Final = 100
"""Failed logins that are entered in one hour, from wherever; how many more there were the next entry tells."""
_HOUR: Final = timedelta(hours=1)
_BY_ITSELF: Final = "cleanup"


class Trail:
    """See the module."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._hour_began_at = clock.now()
        self._failed = 0
        self._untold = 0

    def entry(
        self,
        who: Identity | None,
        action: Action,
        *,
        conversation: Conversation | None = None,
        subject: str | None = None,
        grant_id: GrantId | None = None,
    ) -> AuditEntry:
        """That `who` did this now; None: the server did it by itself."""
        return AuditEntry(
            id=new_object_id(),
            created_at=self._clock.now(),
            action=action.value,
            conversation_id=conversation.id if conversation else None,
            project_id=conversation.project_id if conversation else None,
            outcome=DONE,
            handler=PERSON if who else _BY_ITSELF,
            user_id=who.user_id if who else None,
            role=who.role.value if who else None,
            address=who.address if who else None,
            token_id=who.token_id if who else None,
            subject=subject,
            grant_id=grant_id,
        )

    async def note(
        self,
        who: Identity | None,
        action: Action,
        *,
        conversation: Conversation | None = None,
        subject: str | None = None,
        grant_id: GrantId | None = None,
    ) -> None:
        """Enter it by itself. Raises nothing that the store does."""
        await self._append(self.entry(who, action, conversation=conversation, subject=subject, grant_id=grant_id))

    async def login_failed(self, address: str) -> None:
        """Somebody came with a token that is nobody's. Past MOST_FAILED in an hour they are only counted."""
        now = self._clock.now()
        if now - self._hour_began_at >= _HOUR:
            self._hour_began_at, self._failed = now, 0
        if self._failed >= MOST_FAILED:
            self._untold += 1
            return
        self._failed += 1
        untold, self._untold = self._untold, 0
        subject = f"and {untold} more before" if untold else None
        entry = self.entry(None, Action.LOGIN_FAILED, subject=subject)
        await self._append(replace(entry, handler=PERSON, address=address))

    async def _append(self, entry: AuditEntry) -> None:
        try:
            await self._store.append_to_audit(entry)
        except Unavailable:
            logger.exception(
                "❌ the audit lacks an entry",
                extra={"action": "audit.lost", "item": entry.action, "userId": entry.user_id},
            )
