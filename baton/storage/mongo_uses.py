"""Once, in a database from before uses of attachments were kept: finds them in what is stored.

Every id that stands in a message with attachments, or in the journal of a run, counts as a use of its conversation if
it is an attachment's. The server looks through the messages itself; only those with attachments are read here.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from bson import ObjectId

from baton.storage.mongo_documents import Document, one_of

_PAGE: Final = 500
_FIRST: Final = ObjectId("0" * 24)
_TEXT: Final = {"$gt": ""}
_NAMING: Final[Mapping[str, Document]] = {
    "messages": {
        "$or": [
            {"attachments.0": {"$exists": True}},
            {"blocks.attachment": _TEXT},
            {"blocks.input.attachment": _TEXT},
        ]
    },
    "run_journal": {"$or": [{"events.attachment": _TEXT}, {"events.input.attachment": _TEXT}]},
}
_FIELDS: Final = dict.fromkeys(("conversationId", "attachments", "blocks", "events"), True)
_OBJECT_ID: Final = re.compile(r"\b[0-9a-f]{24}\b")


async def fill_uses(collections: Mapping[str, Any], now: datetime) -> None:
    """To be called by the one process that serves, before it does: then nobody writes what this would miss.

    May be cut short and called again.
    """
    meta, files = collections["meta"], collections["attachments.files"]
    if await meta.find_one({"_id": "attachment_uses"}) is not None:
        return
    for name, naming in _NAMING.items():
        last = _FIRST
        while page := await _page(collections[name], naming, last):
            # One that was changed by hand may name no conversation: then it is no use of any.
            for document in (one for one in page if one.get("conversationId") is not None):
                named = {ObjectId(text) for text in _ids_in(document)}
                use = {"$addToSet": {"usedBy": document["conversationId"]}}
                await files.update_many({"_id": one_of(named)}, use)
            last = page[-1]["_id"]
    await files.update_many({"usedBy": {"$exists": False}}, {"$set": {"usedBy": []}})
    await files.update_many({"inDoubtSince": {"$exists": False}}, {"$set": {"inDoubtSince": now}})
    await meta.replace_one({"_id": "attachment_uses"}, {"_id": "attachment_uses", "value": now}, upsert=True)


async def _page(collection: Any, naming: Document, last: ObjectId) -> list[Document]:
    found = collection.find({"_id": {"$gt": last}, **naming}, _FIELDS).sort([("_id", 1)]).limit(_PAGE)
    return [document async for document in found]


def _ids_in(value: Any) -> Iterator[str]:
    """Everything that looks like an id, at any depth."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _ids_in(item)
    elif isinstance(value, ObjectId | str):
        yield from _OBJECT_ID.findall(str(value))
