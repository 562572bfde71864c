"""Files in MongoDB, in the layout of GridFS, written with ordinary inserts (docs/decisions/mongo-attachments.md).

Every tool that reads GridFS reads them (`mongofiles --prefix attachments`). Knows the model and its bytes only.
"""

from typing import Any

from bson import ObjectId

from baton.core.errors import StoreUnavailable
from baton.core.models import Attachment
from baton.storage.mongo_documents import Document, dump_attachment, equal, load_attachment

CHUNK_BYTES = 1 << 20
"""One chunk. GridFS leaves the size to the writer; 255 KiB, its default, would mean four times the documents."""
_MAX_CHUNKS = 4096


class Attachments:
    """The two collections of a GridFS bucket."""

    def __init__(self, files: Any, chunks: Any) -> None:
        self._files = files
        self._chunks = chunks

    async def put(self, attachment: Attachment, content: bytes) -> None:
        """Insert or replace. The file's document is written last: a file that is cut short is not there."""
        document = dump_attachment(attachment)
        key = document["_id"]
        await self._files.delete_one({"_id": key})
        await self._chunks.delete_many({"files_id": key})
        chunks = _chunks(key, content)
        if chunks:
            await self._chunks.insert_many(chunks)
        await self._files.insert_one(_file(document, attachment, len(content)))

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
