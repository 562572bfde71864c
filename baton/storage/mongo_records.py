"""A MongoDB database as records (`core.records`). What a document is, `mongo_documents` knows."""

import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
from bson import ObjectId
from bson.errors import BSONError
from pymongo.errors import BulkWriteError, PyMongoError

from baton.core.errors import StoreUnavailable
from baton.core.ids import AttachmentId, ConversationId, UserId, new_object_id
from baton.core.models import Attachment
from baton.core.ports import Clock
from baton.core.records import Added, Kind, Record, Records, StoreFault
from baton.schemas.records import UNREADABLE, dump_record
from baton.storage import mongo_documents as documents
from baton.storage.migrate import discover, pending
from baton.storage.mongo_attachments import CHUNK_BYTES, Attachments
from baton.storage.mongo_connection import connect, database_of, disconnect, durable, reachable
from baton.storage.mongo_documents import Document, Unstorable, equal, object_id, one_of
from baton.storage.mongo_migrations import MongoMigrations
from baton.storage.mongo_owners import owners_of
from baton.storage.mongo_shape import make_indexes, missing_indexes

_DUPLICATE: Final = 11000
_MOST_UNFINISHED: Final = 1000


@dataclass(frozen=True, slots=True)
class _Collection:
    """How a kind is kept: where, by which key, in which order in a conversation, and as what."""

    name: str
    load: Callable[[Document], object]
    dump: Callable[..., Document]
    """Of a value, and of those of `_OWNED` with whose conversation it is of."""
    key: str = "_id"
    order: str | None = None


_COLLECTIONS: Final[Mapping[Kind, _Collection]] = {
    Kind.PROJECT: _Collection("projects", documents.load_project, documents.dump_project),
    Kind.CONVERSATION: _Collection("conversations", documents.load_conversation, documents.dump_conversation),
    Kind.MESSAGE: _Collection("messages", documents.load_message, documents.dump_message, order="ordinal"),
    Kind.RUN: _Collection("runs", documents.load_run, documents.dump_run, key="requestId", order="seq"),
    Kind.PROMPT: _Collection("interactive_prompts", documents.load_prompt, documents.dump_prompt, order="seq"),
    Kind.GRANT: _Collection("conversation_permissions", documents.load_grant, documents.dump_grant),
    Kind.JOURNAL: _Collection("run_journal", documents.load_journal, documents.dump_journal, order="seq"),
    Kind.AUDIT: _Collection("audit_log", documents.load_audit_entry, documents.dump_audit_entry),
    Kind.TOKEN: _Collection("api_tokens", documents.load_token, documents.dump_token),
    Kind.ATTACHMENT: _Collection("attachments.files", lambda file: file, lambda file: file),
}
_HOUSED: Final = frozenset({Kind.MESSAGE, Kind.PROMPT, Kind.JOURNAL})
"""Refused where their conversation is not there; SQLite refuses the same by a reference."""
_OWNED: Final = frozenset({Kind.MESSAGE, Kind.PROMPT, Kind.RUN})
_EMPTIED: Final = (
    "pending_changes",
    *(collection.name for collection in _COLLECTIONS.values()),
    "attachments.chunks",
)


@asynccontextmanager
async def mongo_records(
    uri: str, *, clock: Clock, database: str | None = None, client: Any = None
) -> AsyncIterator["MongoRecords"]:
    """The database as records. Raises ConfigError where no server answers, and inside it Unavailable."""
    connected = connect(uri) if client is None else client
    try:
        target = database_of(connected, database)
        async with reachable(uri):
            await target.command("ping")
        try:
            yield MongoRecords(target, {name: durable(target, name) for name in (*_EMPTIED, "meta", "leases")}, clock)
        except PyMongoError as exc:
            # The driver's own text may quote documents.
            raise StoreUnavailable(f"The database did not answer as it should ({type(exc).__name__})") from exc
    finally:
        if client is None:
            await disconnect(connected)


class MongoRecords(Records):
    """See the port. `of` gives each collection by its name, with the store's own durability; `database` the indexes.

    Made by `mongo_records`, which translates the driver's errors.
    """

    def __init__(self, database: Any, of: Mapping[str, Any], clock: Clock) -> None:
        self._database = database
        self._of = of
        self._clock = clock

    # --- reading

    async def scan(
        self,
        kind: Kind,
        *,
        after: str | None = None,
        conversation_id: str | None = None,
        by_conversation: bool = False,
    ) -> AsyncIterator[Record]:
        """See the port."""
        collection = _COLLECTIONS[kind]
        where = await self._where(kind, after, conversation_id)
        if where is None:
            return
        order = [(collection.key, 1)]
        in_conversation = collection.order is not None and (by_conversation or conversation_id is not None)
        if kind is Kind.JOURNAL or in_conversation:
            order = [("conversationId", 1), (str(collection.order), 1)]
        async for document in self._of[collection.name].find(where).sort(order):
            yield _record(kind, document)

    async def _where(self, kind: Kind, after: str | None, conversation_id: str | None) -> Document | None:
        """The filter; None: there is nothing."""
        if conversation_id is not None:
            return await self._of_one(kind, object_id(conversation_id))
        if after is None:
            return {}
        if kind is Kind.RUN:
            return {"requestId": {"$gt": after}}
        if kind is Kind.JOURNAL:
            conversation, _, seq = after.partition(":")
            key = object_id(conversation)
            return {"$or": [{"conversationId": {"$gt": key}}, {"conversationId": key, "seq": {"$gt": int(seq)}}]}
        return {"_id": {"$gt": object_id(after)}}

    async def _of_one(self, kind: Kind, key: ObjectId | None) -> Document | None:
        if key is None or kind is Kind.TOKEN:
            return None
        if kind is Kind.CONVERSATION:
            return {"_id": key}
        if kind is Kind.PROJECT:
            conversation = await self._of["conversations"].find_one({"_id": key}, {"projectId": True})
            return None if conversation is None else {"_id": conversation.get("projectId")}
        if kind is Kind.ATTACHMENT:
            return {"usedBy": key}
        return {"conversationId": key} | ({"scope": "conversation"} if kind is Kind.GRANT else {})

    async def content(self, attachment_id: str) -> bytes | None:
        """See the port."""
        key = object_id(attachment_id)
        return None if key is None else await self._attachments.content(key)

    async def has(self, kind: Kind, record_id: str) -> bool:
        """See the port."""
        where = {"_id": object_id(record_id)}
        return await self._of[_COLLECTIONS[kind].name].find_one(where, {"_id": True}) is not None

    async def counts(self) -> Mapping[Kind, int]:
        """See the port."""
        return {kind: await self._of[one.name].count_documents({}) for kind, one in _COLLECTIONS.items()}

    async def epoch(self) -> str:
        """See the port."""
        document = await self._of["meta"].find_one({"_id": "epoch"})
        return str((document or {}).get("value", ""))

    async def faults(self) -> Sequence[StoreFault]:
        """See the port. What a commit has announced and not finished is one only where nobody serves."""
        missing = pending(discover(), await MongoMigrations(self._database, self._clock).applied())
        if missing:
            return [StoreFault("migration_missing", tuple(step.name for step in missing))]
        faults = []
        indexes = tuple([str(index) for index in await missing_indexes(self._database)])
        if indexes:
            faults.append(StoreFault("index_missing", indexes))
        unfinished = await self._unfinished()
        if unfinished:
            faults.append(StoreFault("change_unfinished", unfinished))
        torn = tuple([key async for key in self._torn_files()])
        if torn:
            faults.append(StoreFault("attachment_torn", torn))
        return faults

    async def _unfinished(self) -> tuple[str, ...]:
        lease = await self._of["leases"].find_one({"_id": "server"})
        if lease and lease.get("holder") is not None and documents.aware(lease["expiresAt"]) > self._clock.now():
            return ()
        announced = self._of["pending_changes"].find({}, {"_id": True}).limit(_MOST_UNFINISHED)
        return tuple([str(document["_id"]) async for document in announced])

    async def _torn_files(self) -> AsyncIterator[str]:
        async for file in self._of["attachments.files"].find({}, {"length": True}):
            count = await self._of["attachments.chunks"].count_documents({"files_id": equal(file["_id"])})
            if count != math.ceil(file["length"] / CHUNK_BYTES):
                yield str(file["_id"])

    # --- writing

    async def add(self, kind: Kind, values: Sequence[object]) -> Added:
        """See the port."""
        collection = _COLLECTIONS[kind]
        ready: list[Document] = []
        refused: list[str] = []
        owners = await self._owners(kind, values)
        for value in values:
            home = object_id(getattr(value, "conversation_id", None))
            try:
                document = collection.dump(value, owners.get(home)) if kind in _OWNED else collection.dump(value)
            except (Unstorable, BSONError, UnicodeEncodeError, OverflowError):
                document = None
            if document is None or (kind in _HOUSED and home not in owners):
                refused.append(_name_of(value))
            else:
                ready.append(document)
        if not ready:
            return Added(refused=tuple(refused))
        try:
            await self._of[collection.name].insert_many(ready, ordered=False)
            known = 0
        except BulkWriteError as error:
            failed = (error.details or {}).get("writeErrors", [])
            if any(one.get("code") != _DUPLICATE for one in failed):
                raise
            known = len(failed)
        return Added(len(ready) - known, known, tuple(refused))

    async def _owners(self, kind: Kind, values: Sequence[object]) -> Mapping[ObjectId | None, UserId]:
        """Whose the conversations are that these name, as far as they are there."""
        if kind not in _HOUSED | _OWNED:
            return {}
        named = {object_id(getattr(value, "conversation_id", None)) for value in values}
        found = await owners_of(self._of["conversations"], [key for key in named if key is not None])
        return {key: owner for key, owner in found.items() if key in named}

    async def add_attachment(self, attachment: Attachment, content: bytes, used_by: Sequence[str]) -> bool:
        """See the port."""
        key = object_id(attachment.id)
        if key is None:
            raise Unstorable("an id is not 24 hex digits")
        is_new = not await self.has(Kind.ATTACHMENT, AttachmentId(attachment.id))
        if is_new:
            await self._attachments.put(attachment, content, None, self._clock.now())
        users = sorted(user for user in map(object_id, used_by) if user is not None)
        await self._of["attachments.files"].update_one({"_id": key}, {"$addToSet": {"usedBy": {"$each": users}}})
        return is_new

    async def forget_runs(self, conversation_id: str) -> None:
        """See the port."""
        if not await self.has(Kind.CONVERSATION, ConversationId(conversation_id)):
            await self._of["runs"].delete_many({"conversationId": object_id(conversation_id)})

    async def clear_data(self, message_ids: Sequence[str]) -> None:
        """See the port."""
        keys = [key for key in map(object_id, message_ids) if key is not None]
        await self._of["messages"].update_many({"_id": one_of(keys)}, {"$set": {"claudeData": {}}})

    async def renew_epoch(self) -> str:
        """See the port."""
        epoch = new_object_id()
        await self._of["meta"].replace_one({"_id": "epoch"}, {"_id": "epoch", "value": epoch}, upsert=True)
        return epoch

    async def shape(self) -> Sequence[str]:
        """See the port."""
        return await make_indexes(self._database)

    async def empty(self) -> None:
        """Remove every record. Before a restore that replaces all; the lease and the ledger of migrations stay."""
        for name in _EMPTIED:
            await self._of[name].delete_many({})

    @property
    def _attachments(self) -> Attachments:
        return Attachments(self._of["attachments.files"], self._of["attachments.chunks"])


def _name_of(value: object) -> str:
    return str(getattr(value, "id", None) or getattr(value, "request_id", ""))


def _record(kind: Kind, document: Document) -> Record:
    filed = document["_id"] if kind is Kind.CONVERSATION else document.get("conversationId")
    record_id = str(document["_id"])
    if kind is Kind.RUN:
        record_id = str(document.get("requestId"))
    if kind is Kind.JOURNAL:
        record_id = f"{filed}:{document.get('seq')}"
    try:
        canonical = _canonical(kind, document)
    except UNREADABLE:
        canonical = None
    return Record(kind, record_id, None if filed is None else str(filed), canonical)


def _canonical(kind: Kind, document: Document) -> dict[str, Any]:
    if kind is Kind.MESSAGE:
        # Without building an object: most records are messages. `stored_message` gives what SQLite stores.
        wire: dict[str, Any] = orjson.loads(documents.stored_message(document).json)
        return {**wire, "coversBridgeSeq": document.get("coversBridgeSeq", 0)}
    if kind is Kind.ATTACHMENT:
        attachment = documents.load_attachment({"_id": document["_id"], **document["metadata"]})
        users = sorted(str(key) for key in document.get("usedBy", ()))
        return {**dump_record(attachment), "length": document["length"], "usedBy": users}
    return dump_record(_COLLECTIONS[kind].load(document))
