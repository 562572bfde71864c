"""Tokens of the API in MongoDB, and the logins that they were used for: documents that are few, and change rarely."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from baton.core.ids import BridgeId
from baton.core.tokens import ApiToken, Login
from baton.storage.mongo_documents import Document, dump_login, dump_token, equal, load_login, load_token, one_of

_STEP: Final = 500
"""Documents of one query where all are read."""


class Tokens:
    """The collection `api_tokens`; its index on the digest makes every token unique."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    async def add(self, token: ApiToken) -> bool:
        """See core.ports.Store."""
        document = dump_token(token)
        try:
            await self._collection.insert_one(document)
        except DuplicateKeyError:
            # The driver repeats an insert whose answer was lost, and finds its own.
            this = {name: equal(document[name]) for name in ("_id", "digest")}
            return await self._collection.find_one(this, {"_id": True}) is not None
        return True

    async def get(self, key: ObjectId) -> ApiToken | None:
        """See core.ports.Store."""
        document = await self._collection.find_one({"_id": key})
        return None if document is None else load_token(document)

    async def newest(self, limit: int) -> list[ApiToken]:
        """See core.ports.Store."""
        if limit < 1:
            return []
        found = self._collection.find({}).sort([("_id", -1)]).limit(limit)
        return [load_token(document) async for document in found]

    async def live(self) -> list[ApiToken]:
        """See core.ports.Store. Step by step along the key: a query for all at once would have no limit."""
        live: list[ApiToken] = []
        last = ObjectId("0" * 24)
        while True:
            found = self._collection.find({"_id": {"$gt": last}}).sort([("_id", 1)]).limit(_STEP)
            step = [document async for document in found]
            live += [load_token(document) for document in step if document["revokedAt"] is None]
            if len(step) < _STEP:
                return live
            last = step[-1]["_id"]

    async def bind(self, key: ObjectId, bridge_id: BridgeId) -> ApiToken | None:
        """See core.ports.Store."""
        return await self._change(key, {"bridgeId": None, "revokedAt": None}, {"bridgeId": bridge_id})

    async def revoke(self, key: ObjectId, at: datetime) -> ApiToken | None:
        """See core.ports.Store."""
        return await self._change(key, {"revokedAt": None}, {"revokedAt": at})

    async def note_use(self, used_at: Mapping[ObjectId, datetime]) -> None:
        """See core.ports.Store. Not one command for all: there are few, and a compatible server knows this one."""
        for key, at in used_at.items():
            await self._collection.update_one({"_id": key}, {"$max": {"lastUsedAt": at}})

    async def _change(self, key: ObjectId, expected: Document, fields: Document) -> ApiToken | None:
        """The compare-and-set: `fields` where the document is as `expected`, and what is stored then either way."""
        await self._collection.update_one({"_id": key, **expected}, {"$set": fields})
        return await self.get(key)


class Logins:
    """The collection `logins`."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection

    async def add(self, login: Login) -> None:
        """See core.ports.Store."""
        # The driver repeats an insert whose answer was lost, and finds its own.
        with contextlib.suppress(DuplicateKeyError):
            await self._collection.insert_one(dump_login(login))

    async def newest(self, limit: int) -> list[Login]:
        """See core.ports.Store."""
        if limit < 1:
            return []
        found = self._collection.find({}).sort([("createdAt", -1), ("_id", -1)]).limit(limit)
        return [load_login(document) async for document in found]

    async def remove(self, ids: Sequence[str]) -> None:
        """See core.ports.Store."""
        if ids:
            await self._collection.delete_many({"_id": one_of(ids)})
