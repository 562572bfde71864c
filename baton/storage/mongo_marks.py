"""Up to where each user has seen each conversation, in MongoDB: one small document for each."""

from collections.abc import Iterable
from typing import Any

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from baton.core.ids import UserId, derived_object_id
from baton.storage.mongo_documents import Document, one_of


class Marks:
    """The collection `conversation_reads`; its `_id` is made of user and conversation, so that there is one of each."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    async def note(self, user_id: UserId, conversation: ObjectId, seq: int) -> bool:
        """See core.ports.Store."""
        key: Document = {"_id": _key(user_id, conversation)}
        names: Document = {"userId": user_id, "conversationId": conversation}
        update = {"$max": {"seq": seq}, "$setOnInsert": names}
        try:
            done = await self._collection.update_one(key, update, upsert=True)
        except DuplicateKeyError:
            # Two came first at the same moment; now the document is there.
            done = await self._collection.update_one(key, update)
        return done.upserted_id is not None or done.modified_count == 1

    async def seen(self, user_id: UserId, conversations: Iterable[ObjectId]) -> dict[ObjectId, int]:
        """See core.ports.Store; by the conversation's key."""
        keys = [_key(user_id, conversation) for conversation in conversations]
        found = self._collection.find({"_id": one_of(keys)}).limit(max(len(keys), 1))
        return {document["conversationId"]: int(document["seq"]) async for document in found}


def _key(user_id: UserId, conversation: ObjectId) -> ObjectId:
    return ObjectId(derived_object_id("seen", user_id, str(conversation)))
