"""Up to where each user has seen each conversation, in SQLite: one small row for each."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from baton.core.ids import ConversationId, UserId

# Where the conversation is gone, no row is left behind; where a greater seq is there, it stays.
_NOTE: Final = """
INSERT INTO conversation_reads (conversationId, userId, seq) SELECT id, ?, ? FROM conversations WHERE id = ?
ON CONFLICT (conversationId, userId) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq
"""


def note_seen(connection: sqlite3.Connection, user_id: UserId, conversation_id: ConversationId, seq: int) -> bool:
    """See the port."""
    return connection.execute(_NOTE, (user_id, seq, conversation_id)).rowcount == 1


def read_seen(
    connection: sqlite3.Connection, user_id: UserId, conversation_ids: Sequence[ConversationId]
) -> dict[ConversationId, int]:
    """See the port."""
    places = ", ".join("?" * len(conversation_ids))
    rows = connection.execute(
        f"SELECT conversationId, seq FROM conversation_reads WHERE conversationId IN ({places}) AND userId = ?",  # nosec B608  # noqa: S608 - of constants
        [*conversation_ids, user_id],
    )
    return {ConversationId(conversation_id.decode()): seq for conversation_id, seq in rows}
