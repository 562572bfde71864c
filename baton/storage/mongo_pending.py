"""What is about to be written, written down: after a crash, `settle` writes it again.

A change is announced with all its documents in `pending_changes`, in parts of which none is over the size of one
document, and forgotten when it is written. It must not know what the documents mean.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteError

from baton.core.stored import Refused
from baton.storage.mongo_documents import Document, equal, one_of, size_bytes
from baton.storage.mongo_errors import DUPLICATE_KEY, is_of_the_server, refused_documents
from baton.storage.mongo_lease import Lease
from baton.storage.mongo_plan import APPEND_ONLY, Plan

logger = logging.getLogger(__name__)

_PART_BYTES = 8 << 20
_MAX_PARTS = 10_000
"""Parts that one call of `settle` looks at; there is at most one change per conversation, of one part nearly always."""


class PendingChanges:
    """The collection `pending_changes`, and the way back from it."""

    def __init__(self, collections: Mapping[str, Any], lease: Lease) -> None:
        self._of = collections
        self._pending = collections["pending_changes"]
        self._lease = lease

    async def announce(self, plans: Sequence[Plan]) -> dict[ObjectId, Refused]:
        """Write all of them down in one call; those that the server does not take, by their ids."""
        parts = [part for plan in plans for part in self._parts(plan)]
        if not parts:
            return {}
        try:
            await self._pending.insert_many(parts)
        except BulkWriteError as exc:
            errors = refused_documents(exc)
            # Nothing is written yet but a part of this announcement.
            await self.forget([plan.id for plan in plans])
            if any(error.get("code") == DUPLICATE_KEY for error in errors):
                # The driver has sent the call twice, because the first answer was lost. With new keys it is another.
                await self._pending.insert_many([part for plan in plans for part in self._parts(plan)])
                return {}
            if len(plans) == 1:
                return {plans[0].id: Refused("the database does not take this change")}
            # One of them stopped the call: find out which.
            refused: dict[ObjectId, Refused] = {}
            for plan in plans:
                refused |= await self.announce([plan])
            return refused
        return {}

    async def forget(self, change_ids: Sequence[ObjectId]) -> None:
        """They are written, or never will be."""
        if change_ids:
            await self._pending.delete_many({"changeId": one_of(change_ids)})

    async def settle(self, since_term: int) -> int:
        """Write again whatever is announced; how many changes that were.

        A change of which not all parts are there was never begun. One of a term before `since_term` came from a
        process that had lost its lease when another had already repaired: it must not undo what followed.
        """
        fields = {"changeId": True, "number": True, "of": True, "term": True}
        found = self._pending.find({}, fields).sort([("_id", 1)]).limit(_MAX_PARTS)
        parts: dict[ObjectId, list[Document]] = {}
        async for part in found:
            parts.setdefault(part["changeId"], []).append(part)
        for change_id, group in parts.items():
            if len(group) == group[0]["of"] and group[0]["term"] >= since_term:
                for part in sorted(group, key=lambda part: int(part["number"])):
                    await self._write_again(part["_id"])
            await self.forget([change_id])
        return len(parts)

    async def _write_again(self, part_id: ObjectId) -> None:
        part = await self._pending.find_one({"_id": part_id})
        for step in part["steps"] if part else []:
            if "trim" in step:
                await self._of["run_journal"].delete_many(trimmed(step["trim"], step["upToBridgeSeq"]))
            else:
                await self._put_again(step["into"], step["document"])

    async def _put_again(self, name: str, document: Document) -> None:
        try:
            if name == APPEND_ONLY:
                await self._of[name].insert_one(document)
            else:
                await self._of[name].replace_one({"_id": document["_id"]}, document, upsert=True)
        except DuplicateKeyError:
            # An entry that is there, or a journal row that is there under another `_id`: somebody else's, and as good.
            return
        except WriteError as exc:
            if is_of_the_server(exc):
                raise
            # To stop here would mean never to start again. No traceback: the driver's text may quote the document.
            logger.error(
                "A document of a pending change was refused",
                extra={"action": "store_repair_refused", "collection": name, "code": exc.code},
            )

    def _parts(self, plan: Plan) -> list[Document]:
        groups: list[list[Document]] = [[]]
        room = _PART_BYTES
        for name, document in plan.documents():
            size = size_bytes(document)
            if groups[-1] and size > room:
                groups.append([])
                room = _PART_BYTES
            groups[-1].append({"into": name, "document": document})
            room -= size
        groups[-1] += [{"trim": trim.request_id, "upToBridgeSeq": trim.up_to_bridge_seq} for trim in plan.trims]
        return [
            {
                "_id": ObjectId(),
                "changeId": plan.id,
                "conversationId": plan.conversation_key,
                "term": self._lease.term,
                "number": number,
                "of": len(groups),
                "steps": group,
            }
            for number, group in enumerate(groups, start=1)
        ]


def trimmed(request_id: str, up_to_bridge_seq: int) -> Document:
    """The journal rows of a run that documents contain."""
    return {"requestId": equal(request_id), "bridgeSeq": {"$lte": up_to_bridge_seq}}
