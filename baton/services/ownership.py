"""Whose a conversation is: the one place that says who may see it (docs/decisions/ownership.md).

A conversation is its user's; admins see all. To everybody else it is not there: what is refused here is refused in the
words, and with the reads, of something that does not exist. An owner never changes, so that what was let in once (a
join, a turn) need not be asked again.
"""

import contextlib
from collections.abc import AsyncIterator

from baton.core.commands import AccountRole, Identity
from baton.core.errors import NotFound
from baton.core.ids import ConversationId, UserId
from baton.core.models import Conversation
from baton.core.ports import Store
from baton.services.lanes import Lanes
from baton.services.memory import Memory

NO_CONVERSATION = "There is no such conversation"


def owns(who: Identity, user_id: UserId) -> bool:
    """Whether what is this user's is `who`'s to see and to change."""
    return who.is_admin or (who.role is AccountRole.USER and who.user_id == user_id)


def seen_by(who: Identity) -> UserId | None:
    """Whose conversations lists are limited to; None: all that there are."""
    return None if who.is_admin else who.user_id


class Ownership:
    """Asks store and memory whose conversations are."""

    def __init__(self, store: Store, lanes: Lanes) -> None:
        self._store = store
        self._lanes = lanes

    async def sees(self, who: Identity, conversation_id: ConversationId) -> bool:
        """Whether the conversation is theirs. Of one that is not there it says what it would say of another's; to
        admins it is theirs, and whoever reads it finds out."""
        if who.is_admin:
            return True
        memory = self._lanes.peek(conversation_id)
        if memory is not None and owns(who, memory.conversation.user_id):
            return True
        # Also where memory knows that it is another's: the answer must take as long as for one that is not there.
        return self.is_theirs(who, await self._store.conversation(conversation_id))

    def is_theirs(self, who: Identity, conversation: Conversation | None) -> bool:
        """Whether it is there for them."""
        return conversation is not None and owns(who, conversation.user_id)

    async def check(self, who: Identity, conversation_id: ConversationId, missing: str = NO_CONVERSATION) -> None:
        """Raises NotFound, saying `missing`, unless it is theirs."""
        if not await self.sees(who, conversation_id):
            raise NotFound(missing)

    async def conversation(self, who: Identity, conversation_id: ConversationId) -> Conversation:
        """The conversation as stored. Raises NotFound, also for another's."""
        conversation = await self._store.conversation(conversation_id)
        if conversation is None or not owns(who, conversation.user_id):
            raise NotFound(NO_CONVERSATION)
        return conversation

    @contextlib.asynccontextmanager
    async def turn(self, who: Identity, conversation_id: ConversationId) -> AsyncIterator[Memory]:
        """`Lanes.turn` of a conversation that is theirs. Raises NotFound before it waits for anybody."""
        await self.check(who, conversation_id)
        async with self._lanes.turn(conversation_id) as memory:
            yield memory
