"""Files in MongoDB, in the layout of GridFS, written with ordinary inserts (docs/decisions/mongo-attachments.md).

Every tool that reads GridFS reads them (`mongofiles --prefix attachments`). Knows the model and its bytes, and of
conversations only which of them use a file.

A file is in doubt (`inDoubtSince`) from the moment that it is put, asked for or freed, until `judge` has looked whether
a conversation that exists uses it. Every step of that is one update of one document.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId

from baton.core.errors import StoreUnavailable
from baton.core.models import Attachment
from baton.core.stored import Swept
from baton.storage.mongo_documents import Document, dump_attachment, equal, load_attachment, object_id, one_of

CHUNK_BYTES = 1 << 20
"""One chunk. GridFS leaves the size to the writer; 255 KiB, its default, would mean four times the documents."""
_MAX_CHUNKS = 4096


class Attachments:
    """The two collections of a GridFS bucket."""

    def __init__(self, files: Any, chunks: Any) -> None:
        self._files = files
        self._chunks = chunks

    async def put(self, attachment: Attachment, content: bytes, used_by: ObjectId | None, now: datetime) -> None:
        """Insert or replace. The file's document is written last: a file that is cut short is not there."""
        document = dump_attachment(attachment)
        key = document["_id"]
        before = await self._files.find_one({"_id": key}, {"usedBy": True})
        uses = set((before or {}).get("usedBy", ())) | ({used_by} if used_by else set())
        await self._files.delete_one({"_id": key})
        await self._chunks.delete_many({"files_id": key})
        chunks = _chunks(key, content)
        if chunks:
            await self._chunks.insert_many(chunks)
        kept = {"usedBy": sorted(uses), "inDoubtSince": now}
        await self._files.insert_one(_file(document, attachment, len(content)) | kept)

    async def get(self, key: ObjectId) -> Attachment | None:
        """What is known of a file."""
        document = await self._files.find_one({"_id": key})
        return None if document is None else load_attachment({"_id": key, **document["metadata"]})

    async def content(self, key: ObjectId) -> bytes | None:
        """A file's bytes. Raises StoreUnavailable where some are missing."""
        document = await self._files.find_one({"_id": key}, {"length": True})
        if document is None:
            return None
        found = self._chunks.find({"files_id": equal(key)}).sort([("files_id", 1), ("n", 1)]).limit(_MAX_CHUNKS)
        content = b"".join([bytes(chunk["data"]) async for chunk in found])
        if len(content) != document["length"]:
            raise StoreUnavailable("The attachment is not complete in the database", retryable=False)
        return content

    # --- uses --------------------------------------------------------------------------------------------------

    async def use(self, conversation_key: ObjectId, key: ObjectId, now: datetime) -> bool:
        """Note the use; whether the file is there."""
        change = {"$addToSet": {"usedBy": conversation_key}, "$set": {"inDoubtSince": now}}
        return bool((await self._files.update_one({"_id": key}, change)).matched_count)

    async def judge(self, conversations: Any, before: datetime, limit: int) -> Swept:
        """Remove files in doubt that nothing uses. See core.ports.Store.remove_unused_attachments.

        Each is changed only if it stands as it was read: a use that is noted meanwhile puts it in doubt anew.
        """
        if limit < 1:
            return Swept(looked_at=0, removed=0)
        found = self._files.find({"inDoubtSince": {"$lte": before}}, {"usedBy": True, "inDoubtSince": True})
        files = [file async for file in found.sort([("inDoubtSince", 1)]).limit(limit)]
        removed = 0
        for file in files:
            as_read = {"_id": file["_id"], "inDoubtSince": file["inDoubtSince"]}
            if await conversations.find_one({"_id": one_of(file.get("usedBy", ()))}, {"_id": True}) is not None:
                await self._files.update_one(as_read, {"$set": {"inDoubtSince": None}})
            elif (await self._files.delete_one(as_read)).deleted_count:
                await self._chunks.delete_many({"files_id": file["_id"]})
                removed += 1
        return Swept(looked_at=len(files), removed=removed, next="more" if len(files) == limit else None)

    async def remove_strays(self, before: datetime, limit: int, after: str | None) -> Swept:
        """Remove chunks of files that are not there. See core.ports.Store.remove_stray_content."""
        last = None if after is None else object_id(after)
        where = {} if last is None else {"files_id": {"$gt": last}}
        found = self._chunks.find(where, {"files_id": True}).sort([("files_id", 1), ("n", 1)]).limit(max(limit, 1))
        chunks = [chunk async for chunk in found]
        # The keys are of our own making: they say when the chunk was written.
        written_at = {chunk["files_id"]: chunk["_id"].generation_time for chunk in chunks}
        strays = [key for key in await self._without_file(list(written_at)) if written_at[key] < before]
        for key in strays:
            await self._chunks.delete_many({"files_id": key})
        following = str(chunks[-1]["files_id"]) if len(chunks) == max(limit, 1) else None
        return Swept(looked_at=len(chunks), removed=len(strays), next=following)

    async def _without_file(self, keys: Sequence[ObjectId]) -> list[ObjectId]:
        if not keys:
            return []
        found = self._files.find({"_id": one_of(keys)}, {"_id": True}).limit(len(keys))
        there = {file["_id"] async for file in found}
        return [key for key in keys if key not in there]


def _chunks(key: ObjectId, content: bytes) -> list[Document]:
    return [
        {"_id": ObjectId(), "files_id": key, "n": number, "data": content[start : start + CHUNK_BYTES]}
        for number, start in enumerate(range(0, len(content), CHUNK_BYTES))
    ]


def _file(document: Document, attachment: Attachment, length: int) -> Document:
    metadata = {name: value for name, value in document.items() if name != "_id"}
    return {
        "_id": document["_id"],
        "length": length,
        "chunkSize": CHUNK_BYTES,
        "uploadDate": attachment.created_at,
        "filename": attachment.filename,
        "metadata": metadata,
    }
