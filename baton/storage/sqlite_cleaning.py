"""What `SqliteStore` does about what nothing needs any more: uses of attachments, and what is removed.

An attachment is in doubt from the moment that it is put, asked for or freed, until `judge_attachments` has looked
whether a conversation that exists uses it. So a use that was noted for a conversation that never came keeps nothing
for ever, and each attachment is looked at once, not at every clean-up.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from baton.core.ids import AttachmentId, ConversationId
from baton.core.models import Conversation, ConversationStatus
from baton.core.stored import Page, Swept
from baton.storage.cursors import decode_cursor, encode_cursor
from baton.storage.sqlite_rows import Row, load_conversation

_DOUBT: Final = (
    "INSERT INTO attachments_in_doubt (attachmentId, since) VALUES (?, ?) "
    "ON CONFLICT (attachmentId) DO UPDATE SET since = excluded.since"
)
_FREE: Final = (
    "INSERT INTO attachments_in_doubt (attachmentId, since) "
    "SELECT attachmentId, ? FROM attachment_uses WHERE conversationId = ? "
    "ON CONFLICT (attachmentId) DO UPDATE SET since = excluded.since"
)
_USE: Final = "INSERT INTO attachment_uses (attachmentId, conversationId) VALUES (?, ?) ON CONFLICT DO NOTHING"
_LIVING_USE: Final = (
    "SELECT 1 FROM attachment_uses AS u CROSS JOIN conversations AS c ON c.id = u.conversationId "
    "WHERE u.attachmentId = ? LIMIT 1"
)
_MOST_BYTES: Final = 8 << 20
"""After so many bytes of files a transaction ends: 20 MiB take the writer 70 ms, in which no stream is stored."""
_OPEN_RUN: Final = (
    "SELECT 1 FROM runs WHERE requestId = ? AND status IN ('queued', 'dispatched', 'running', 'awaiting_input')"
)
_REMOVE_JOURNAL: Final = (
    "DELETE FROM run_journal WHERE rowid IN (SELECT rowid FROM run_journal WHERE requestId = ? LIMIT 5000)"
)
"""So many rows in one transaction; the next walk finds what is left."""


def put_attachment(connection: sqlite3.Connection, row: Row, used_by: ConversationId | None, now: str) -> None:
    """Insert or replace (id, createdAt, doc, content), in doubt from now on."""
    connection.execute(
        "INSERT INTO attachments (id, createdAt, doc, content) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "createdAt = excluded.createdAt, doc = excluded.doc, content = excluded.content",
        row,
    )
    connection.execute(_DOUBT, (row[0], now))
    if used_by is not None:
        connection.execute(_USE, (row[0], used_by))


def use_attachments(
    connection: sqlite3.Connection, conversation_id: ConversationId, attachment_ids: Sequence[AttachmentId], now: str
) -> list[AttachmentId]:
    """See the port."""
    missing: list[AttachmentId] = []
    for attachment_id in attachment_ids:
        if connection.execute("SELECT 1 FROM attachments WHERE id = ?", (attachment_id,)).fetchone() is None:
            missing.append(attachment_id)
            continue
        connection.execute(_DOUBT, (attachment_id, now))
        connection.execute(_USE, (attachment_id, conversation_id))
    return missing


def end_uses(connection: sqlite3.Connection, conversation_id: ConversationId, now: str) -> None:
    """The conversation is being purged."""
    connection.execute(_FREE, (now, conversation_id))
    connection.execute("DELETE FROM attachment_uses WHERE conversationId = ?", (conversation_id,))


def judge_attachments(connection: sqlite3.Connection, before: str, limit: int) -> Swept:
    """Remove those in doubt that nothing uses; fewer than `limit` where they are large."""
    doubtful = connection.execute(
        "SELECT attachmentId FROM attachments_in_doubt WHERE since <= ? ORDER BY since LIMIT ?", (before, max(limit, 0))
    ).fetchall()
    looked_at = removed = freed_bytes = 0
    for key in doubtful:
        if freed_bytes >= _MOST_BYTES:
            break
        if connection.execute(_LIVING_USE, key).fetchone() is None:
            freed_bytes += _remove_attachment(connection, key)
            removed += 1
        connection.execute("DELETE FROM attachments_in_doubt WHERE attachmentId = ?", key)
        looked_at += 1
    has_more = looked_at < len(doubtful) or len(doubtful) == limit
    return Swept(looked_at=looked_at, removed=removed, next="more" if has_more else None)


def _remove_attachment(connection: sqlite3.Connection, key: tuple[str]) -> int:
    """How many bytes it had."""
    row = connection.execute("SELECT length(content) FROM attachments WHERE id = ?", key).fetchone()
    connection.execute("DELETE FROM attachments WHERE id = ?", key)
    connection.execute("DELETE FROM attachment_uses WHERE attachmentId = ?", key)
    return 0 if row is None else int(row[0])


def remove_ended_journals(connection: sqlite3.Connection, limit: int, after: str | None) -> Swept:
    """See the port. Steps from run to run in the index, over their rows."""
    last, looked_at, removed = after or "", 0, 0
    while looked_at < limit:
        (request_id,) = connection.execute(
            "SELECT min(requestId) FROM run_journal WHERE requestId > ?", (last,)
        ).fetchone()
        if request_id is None:
            return Swept(looked_at=looked_at, removed=removed)
        last, looked_at = request_id, looked_at + 1
        if connection.execute(_OPEN_RUN, (last,)).fetchone() is None:
            connection.execute(_REMOVE_JOURNAL, (last,))
            removed += 1
    return Swept(looked_at=looked_at, removed=removed, next=last)


def list_unchanged(
    connection: sqlite3.Connection,
    status: ConversationStatus,
    before: str,
    position: Sequence[str | int] | None,
    limit: int,
) -> Page[Conversation]:
    """See the port; `position` is the cursor's."""
    limit = max(limit, 1)
    beyond = "" if position is None else "AND (updatedAt, id) > (?, ?) "
    rows = connection.execute(
        f"SELECT updatedAt, id, doc FROM conversations WHERE status = ? AND updatedAt <= ? {beyond}"  # nosec B608  # noqa: S608 - of constants
        "ORDER BY updatedAt, id LIMIT ?",
        (status.value, before, *(position or ()), limit + 1),
    ).fetchall()
    items = tuple(load_conversation(doc) for _, _, doc in rows[:limit])
    following = None
    if len(rows) > limit:
        updated_at, conversation_id, _ = rows[limit - 1]
        following = encode_cursor("unchanged", updated_at.decode(), conversation_id.decode())
    return Page(items=items, next=following)


def decode_unchanged_cursor(cursor: str) -> list[str | int]:
    """Where the next page goes on. Raises InvalidRequest."""
    return decode_cursor(cursor, "unchanged", str, str)
