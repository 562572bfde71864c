"""Reads of grants and of the audit: one method per question, each limited, each served by an index."""

import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from baton.core.ids import UserId
from baton.core.permissions import AuditEntry, Grant, GrantScope, GrantStatus
from baton.core.stored import Page, Swept
from baton.storage.mongo_documents import Document, aware, equal, load_audit_entry, load_grant, one_of
from baton.storage.mongo_paging import Position, newest_first, read_cursor

_MAX_TALLIES = 1000
"""Kinds of decisions that are told apart; there are some dozens."""


class PermissionReads:
    """Reads `conversation_permissions` and `audit_log`."""

    def __init__(self, collections: Mapping[str, Any]) -> None:
        self._grants = collections["conversation_permissions"]
        self._audit = collections["audit_log"]

    async def standing_grants(self, limit: int) -> list[Grant]:
        """Oldest first."""
        if limit < 1:
            return []
        where = {"status": str(GrantStatus.GRANTED)}
        found = self._grants.find(where).sort([("createdAt", 1), ("_id", 1)]).limit(limit)
        return [load_grant(document) async for document in found]

    async def grants(
        self, conversation_key: ObjectId, project_key: ObjectId | None, user_id: UserId | None, limit: int
    ) -> list[Grant]:
        """Newest first. One query for each reach: each has an index that gives its order."""
        if limit < 1:
            return []
        reached: list[Document] = [{"scope": str(GrantScope.CONVERSATION), "conversationId": conversation_key}]
        for bound_to in dict.fromkeys((None, user_id)):
            # Equal to None is also what has no such field: a grant from before they were bound.
            bound = {"userId": equal(bound_to)}
            reached.append({"scope": str(GrantScope.ALL), **bound})
            if project_key is not None:
                reached.append({"scope": str(GrantScope.PROJECT), "projectId": project_key, **bound})
        documents = [
            document
            for where in reached
            async for document in self._grants.find(where).sort(newest_first("createdAt")).limit(limit)
        ]
        documents.sort(key=lambda document: (aware(document["createdAt"]), document["_id"]), reverse=True)
        return [load_grant(document) for document in documents[:limit]]

    async def grant(self, key: ObjectId) -> Grant | None:
        """By its id."""
        document = await self._grants.find_one({"_id": key})
        return None if document is None else load_grant(document)

    async def audit(self, wanted: Mapping[str, Any], cursor: str | None, limit: int) -> Page[AuditEntry]:
        """Newest first; `wanted`: values by field, of which None is any. The limit is at least 1."""
        where: Document = {name: equal(value) for name, value in wanted.items() if value is not None}
        if cursor is not None:
            where.update(read_cursor(cursor, "audit").after("createdAt"))
        found = self._audit.find(where).sort(newest_first("createdAt")).limit(max(limit, 1) + 1)
        documents = [document async for document in found]
        page = documents[: max(limit, 1)]
        following = None
        if len(documents) > len(page):
            following = Position(aware(page[-1]["createdAt"]), page[-1]["_id"]).cursor("audit")
        return Page(items=tuple([load_audit_entry(document) for document in page]), next=following)

    async def append(self, document: Document) -> None:
        """Insert, unless its id is there."""
        with contextlib.suppress(DuplicateKeyError):
            await self._audit.insert_one(document)

    async def remove_old(self, before: datetime, limit: int) -> Swept:
        """The oldest first."""
        found = self._audit.find({"createdAt": {"$lt": before}}, {"_id": True}).sort([("createdAt", 1)])
        keys = [document["_id"] async for document in found.limit(max(limit, 1))]
        if keys:
            await self._audit.delete_many({"_id": one_of(keys)})
        return Swept(looked_at=len(keys), removed=len(keys), next="more" if len(keys) == limit else None)

    async def decisions(self) -> dict[str, int]:
        """How many entries there are of each `<outcome>/<handler>`, counted in the index of just that.

        Which there are is read from the same index, from one to the next: nothing must know them beforehand.
        """
        counts: dict[str, int] = {}
        last = ""
        for _ in range(_MAX_TALLIES):
            found = self._audit.find({"tally": {"$gt": last}}, {"tally": True}).sort([("tally", 1)]).limit(1)
            following = [document["tally"] async for document in found]
            if not following:
                break
            (last,) = following
            counts[last] = int(await self._audit.count_documents({"tally": equal(last)}))
        return counts
