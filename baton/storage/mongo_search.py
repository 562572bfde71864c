"""Full-text search over the `words` of messages and titles, in one order, the newest first.

Two lists (messages, titles) are read from their indexes and merged; hits in deleted conversations are left out
after the fact, because a message's document does not say what became of its conversation.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from baton.core.ids import ConversationId, MessageId, ProjectId, UserId
from baton.core.models import ConversationStatus
from baton.core.stored import Page, SearchHit
from baton.storage.mongo_documents import Document, aware, equal, one_of
from baton.storage.mongo_paging import Position, newest_first, read_cursor
from baton.storage.mongo_words import snippet, words_of

MAX_QUERY_WORDS = 32
"""Words of a query that count."""

_ROUNDS = 20
"""Batches that one call reads past hits of deleted conversations; then the page ends early, with a cursor."""
_VISIBLE = (ConversationStatus.ACTIVE, ConversationStatus.ARCHIVED)
_NEWEST_FIRST = newest_first("createdAt")


@dataclass(frozen=True, slots=True)
class _Match:
    """A message or a title that holds all words."""

    position: Position
    conversation_key: ObjectId
    message: Document | None
    """None: the title matched."""


class Search:
    """Searches two collections."""

    def __init__(self, messages: Any, conversations: Any) -> None:
        self._messages = messages
        self._conversations = conversations

    async def page(
        self, text: str, project: ObjectId | None, user_id: UserId | None, cursor: str | None, limit: int
    ) -> Page[SearchHit]:
        """See core.ports.Store.search."""
        position = read_cursor(cursor, "search") if cursor is not None else None
        # The longest first: a server that serves only one word from the index had better begin with a rare one.
        words = sorted(words_of(text)[:MAX_QUERY_WORDS], key=len, reverse=True)
        hits: list[SearchHit] = []
        if not words or limit < 1:
            return Page(items=(), next=None)
        for _ in range(_ROUNDS):
            matches = await self._matches(words, project, user_id, position, limit + 1)
            conversations = await self._conversations_of(matches, project)
            for place, match in enumerate(matches):
                position = match.position
                if match.conversation_key not in conversations:
                    continue
                hits.append(_hit(match, conversations[match.conversation_key], words))
                if len(hits) == limit:
                    is_last = place + 1 == len(matches) and len(matches) <= limit
                    return Page(items=tuple(hits), next=None if is_last else position.cursor("search"))
            if len(matches) <= limit:
                return Page(items=tuple(hits), next=None)
        return Page(items=tuple(hits), next=position.cursor("search") if position else None)

    async def _matches(
        self,
        words: Sequence[str],
        project: ObjectId | None,
        user_id: UserId | None,
        position: Position | None,
        limit: int,
    ) -> list[_Match]:
        """The next matches of both kinds, in order; fewer than `limit` at the end only.

        The owner comes before the words in an index of its own, so that what is others' is not even looked at.
        """
        where: Document = {"words": {"$all": list(words)}}
        if position is not None:
            where.update(position.after("createdAt"))
        shown = {"conversationId": True, "content": True, "role": True, "createdAt": True}
        of_user: Document = {} if user_id is None else {"ownerId": equal(user_id)}
        messages = self._messages.find(where | of_user, shown).sort(_NEWEST_FIRST).limit(limit)
        matches = [
            _Match(Position(aware(document["createdAt"]), document["_id"]), document["conversationId"], document)
            async for document in messages
        ]
        titled = where | {"status": one_of(_VISIBLE)}
        if project is not None:
            titled["projectId"] = project
        if user_id is not None:
            titled["userId"] = equal(user_id)
        titles = self._conversations.find(titled, {"createdAt": True})
        matches += [
            _Match(Position(aware(document["createdAt"]), document["_id"]), document["_id"], None)
            async for document in titles.sort(_NEWEST_FIRST).limit(limit)
        ]
        matches.sort(key=lambda match: (match.position.at, match.position.key), reverse=True)
        return matches[:limit]

    async def _conversations_of(self, matches: Iterable[_Match], project: ObjectId | None) -> dict[ObjectId, Document]:
        """The visible conversations of these matches that are in the project now: a message tells of its first one."""
        keys = {match.conversation_key for match in matches}
        if not keys:
            return {}
        where: Document = {"_id": one_of(keys), "status": one_of(_VISIBLE)}
        if project is not None:
            where["projectId"] = project
        found = self._conversations.find(where, {"title": True, "projectId": True}).limit(len(keys))
        return {document["_id"]: document async for document in found}


def _hit(match: _Match, conversation: Mapping[str, Any], words: Sequence[str]) -> SearchHit:
    project_key = conversation["projectId"]
    return SearchHit(
        conversation_id=ConversationId(str(match.conversation_key)),
        project_id=None if project_key is None else ProjectId(str(project_key)),
        title=conversation["title"],
        message_id=None if match.message is None else MessageId(str(match.message["_id"])),
        role=None if match.message is None else match.message["role"],
        snippet=snippet(conversation["title"] if match.message is None else match.message["content"], words),
        created_at=match.position.at,
    )
