"""Which conversations use an attachment, so that those that none uses can go.

Nothing is filled in here: a server of the version before may go on for a while beside this step, and its messages
would be missed. The first server that serves with these tables does it (`Store.repair`).
"""

import sqlite3
from typing import Any, Final

_STATEMENTS: Final = (
    "CREATE TABLE attachment_uses (attachmentId TEXT NOT NULL, conversationId TEXT NOT NULL, "
    "PRIMARY KEY (attachmentId, conversationId)) WITHOUT ROWID",
    "CREATE INDEX attachment_uses_conversationId ON attachment_uses (conversationId, attachmentId)",
    # Of these it is not known whether a conversation that exists uses them. Not a column of `attachments`: to change
    # one means to write the file's bytes again.
    "CREATE TABLE attachments_in_doubt (attachmentId TEXT PRIMARY KEY, since TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX attachments_in_doubt_since ON attachments_in_doubt (since, attachmentId)",
)


def sqlite(connection: sqlite3.Connection) -> None:
    """The tables. Runs inside the transaction of the migration runner."""
    for statement in _STATEMENTS:
        connection.execute(statement)


async def mongo(database: Any) -> None:
    """The indexes. Runs under the lock of the migration runner, and again after a crash in it."""
    files = database["attachments.files"]
    await files.create_index([("usedBy", 1)])
    await files.create_index([("inDoubtSince", 1)])
