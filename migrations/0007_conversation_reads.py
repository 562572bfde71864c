"""Up to where each user has seen each conversation."""

import sqlite3
from typing import Any, Final

# By conversation first, so that all that belongs to one goes with it.
_TABLE: Final = (
    "CREATE TABLE conversation_reads (conversationId TEXT NOT NULL, userId TEXT NOT NULL, seq INTEGER NOT NULL, "
    "PRIMARY KEY (conversationId, userId)) WITHOUT ROWID"
)


def sqlite(connection: sqlite3.Connection) -> None:
    """The table. Runs inside the transaction of the migration runner."""
    connection.execute(_TABLE)


async def mongo(database: Any) -> None:
    """The index by which they go with their conversation. Runs under the lock of the migration runner, and again after
    a crash in it.
    """
    await database["conversation_reads"].create_index([("conversationId", 1)])
