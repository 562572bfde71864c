"""Which conversations use an attachment, so that those that none uses can go.

The uses of what is stored already are found by reading it: every id of an attachment that stands in a message or in
the journal of a run counts as a use of its conversation. That is one pass over the messages (some seconds for a
million), in which SQLite and MongoDB look for themselves and only messages with attachments are read here. What no
use is found for counts as uploaded now.
"""

import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from bson import ObjectId

_TABLES: Final = (
    "CREATE TABLE attachment_uses (attachmentId TEXT NOT NULL, conversationId TEXT NOT NULL, "
    "PRIMARY KEY (attachmentId, conversationId)) WITHOUT ROWID",
    "CREATE INDEX attachment_uses_conversationId ON attachment_uses (conversationId, attachmentId)",
    # Of these it is not known whether a conversation that exists uses them. Not a column of `attachments`: to change
    # one means to write the file's bytes again.
    "CREATE TABLE attachments_in_doubt (attachmentId TEXT PRIMARY KEY, since TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX attachments_in_doubt_since ON attachments_in_doubt (since, attachmentId)",
    "INSERT INTO attachments_in_doubt SELECT id, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') FROM attachments",
)
# A message without attachments says so; one whose tools' results are attachments names them so.
_NAMING: Final = (
    "SELECT conversationId, doc FROM messages "
    """WHERE doc NOT LIKE '%"attachments":[]%' OR doc LIKE '%"attachment":"%'""",
    """SELECT conversationId, events FROM run_journal WHERE events LIKE '%"attachment":"%'""",
)
_OBJECT_ID: Final = re.compile(r"\b[0-9a-f]{24}\b")

_IN_MESSAGES: Final = {
    "$or": [
        {"attachments.0": {"$exists": True}},
        {"blocks.attachment": {"$gt": ""}},
        {"blocks.input.attachment": {"$gt": ""}},
    ]
}
_IN_JOURNALS: Final = {"$or": [{"events.attachment": {"$gt": ""}}, {"events.input.attachment": {"$gt": ""}}]}


def sqlite(connection: sqlite3.Connection) -> None:
    """The tables, filled. Runs inside the transaction of the migration runner."""
    for statement in _TABLES:
        connection.execute(statement)
    known = {row[0] for row in connection.execute("SELECT id FROM attachments")}
    if not known:
        return
    for query in _NAMING:
        for conversation_id, text in connection.execute(query):
            uses = [(name, conversation_id) for name in set(_OBJECT_ID.findall(text)) & known]
            connection.executemany("INSERT OR IGNORE INTO attachment_uses VALUES (?, ?)", uses)


async def mongo(database: Any) -> None:
    """The fields of each file, and their indexes. Runs under the lock of the migration runner, and again after a
    crash in it."""
    files = database["attachments.files"]
    await files.create_index([("usedBy", 1)])
    await files.create_index([("inDoubtSince", 1)])
    now = datetime.now(UTC)
    await files.update_many({"usedBy": {"$exists": False}}, {"$set": {"usedBy": [], "inDoubtSince": now}})
    for name, where in (("messages", _IN_MESSAGES), ("run_journal", _IN_JOURNALS)):
        async for document in database[name].find(
            where, {"conversationId": 1, "attachments": 1, "blocks": 1, "events": 1}
        ):
            used = {ObjectId(text) for text in _ids_in(document)}
            await files.update_many({"_id": {"$in": list(used)}}, {"$addToSet": {"usedBy": document["conversationId"]}})


def _ids_in(value: Any) -> Iterator[str]:
    """Everything that looks like an id, at any depth."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _ids_in(item)
    elif isinstance(value, ObjectId | str):
        yield from _OBJECT_ID.findall(str(value))
