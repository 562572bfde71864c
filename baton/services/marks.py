"""Up to where each person has seen each conversation: what makes one unread, in every browser of theirs alike.

Pages tell it while somebody looks, some seconds apart at most; nothing is written for what is known already.
"""

from collections.abc import Sequence
from typing import Final

from baton.core.commands import Identity
from baton.core.errors import InvalidRequest
from baton.core.events import ConversationSeen
from baton.core.ids import ConversationId, UserId
from baton.core.ports import Publisher, Store
from baton.services.conversations import Conversations

_MOST_KNOWN: Final = 10_000
"""Marks in memory; past that all are forgotten, at the price of one write each that changes nothing."""


class Marks:
    """See the module."""

    def __init__(self, *, store: Store, conversations: Conversations, publisher: Publisher) -> None:
        self._store = store
        self._conversations = conversations
        self._publisher = publisher
        self._known: dict[tuple[UserId, ConversationId], int] = {}

    async def note(self, who: Identity, conversation_id: ConversationId, seq: int) -> None:
        """They have seen it up to here; told to their other sockets where that is news.

        Raises NotFound, InvalidRequest for a seq that is not there yet.
        """
        conversation = await self._conversations.get(who, conversation_id)
        if seq > conversation.seq:
            most = f"Must be at most {conversation.seq}."
            raise InvalidRequest("That seq has not been reached", fields={"seq": [most]})
        key = (who.user_id, conversation_id)
        if seq <= self._known.get(key, -1):
            return
        is_news = await self._store.note_seen(who.user_id, conversation_id, seq)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[key] = max(seq, self._known.get(key, 0))
        if is_news:
            self._publisher.publish([ConversationSeen(who.user_id, conversation_id, seq)])

    async def of(self, who: Identity, conversation_ids: Sequence[ConversationId]) -> dict[ConversationId, int]:
        """Their marks in these conversations; what they have never looked at has none."""
        return dict(await self._store.seen(who.user_id, conversation_ids))
