"""What is asked of MongoDB about what has ended or is old; each question limited and served by an index."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from baton.core.ids import RequestId
from baton.core.lifecycle import OPEN_RUN
from baton.core.models import Conversation, ConversationStatus
from baton.core.stored import Page, Swept
from baton.storage.mongo_documents import Document, aware, equal, load_conversation, one_of
from baton.storage.mongo_paging import Position, read_cursor


class Cleaning:
    """Looks through the collections of conversations for what can go."""

    def __init__(self, collections: Mapping[str, Any]) -> None:
        self._of = collections

    async def remove_ended_journals(self, limit: int, after: str | None) -> Swept:
        """See core.ports.Store. Steps from run to run in the index, over their rows."""
        last, looked_at, removed = after or "", 0, 0
        while looked_at < limit:
            following = await self._of["run_journal"].find_one(
                {"requestId": {"$gt": last}}, {"requestId": True}, sort=[("requestId", 1), ("bridgeSeq", 1)]
            )
            if following is None:
                return Swept(looked_at=looked_at, removed=removed)
            last, looked_at = following["requestId"], looked_at + 1
            if not await self._is_open(RequestId(last)):
                await self._of["run_journal"].delete_many({"requestId": equal(last)})
                removed += 1
        return Swept(looked_at=looked_at, removed=removed, next=last)

    async def _is_open(self, request_id: RequestId) -> bool:
        where = {"requestId": equal(request_id), "status": one_of(OPEN_RUN)}
        return await self._of["runs"].find_one(where, {"_id": True}) is not None

    async def unchanged_conversations(
        self, status: ConversationStatus, before: datetime, cursor: str | None, limit: int
    ) -> Page[Conversation]:
        """See core.ports.Store."""
        where: Document = {"status": equal(str(status)), "updatedAt": {"$lte": before}}
        if cursor is not None:
            beyond = read_cursor(cursor, "unchanged").beyond("updatedAt")
            where |= beyond | {"updatedAt": beyond["updatedAt"] | {"$lte": before}}
        order = [("updatedAt", 1), ("_id", 1)]
        limit = max(limit, 1)
        documents = [one async for one in self._of["conversations"].find(where).sort(order).limit(limit + 1)]
        page = documents[:limit]
        following = None
        if len(documents) > limit:
            following = Position(aware(page[-1]["updatedAt"]), page[-1]["_id"]).cursor("unchanged")
        return Page(items=tuple([load_conversation(document) for document in page]), next=following)
