"""Reads of grants and of the audit. Each uses an index and is limited; each runs in one read transaction."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from baton.core.ids import ConversationId, ProjectId
from baton.core.permissions import AuditEntry, Grant, GrantId
from baton.core.stored import Page
from baton.schemas.codec import iso, parse_iso
from baton.storage.cursors import decode_cursor, encode_cursor
from baton.storage.sqlite_rows import load_audit_entry, load_grant


def list_standing_grants(connection: sqlite3.Connection, limit: int) -> list[Grant]:
    """See the port."""
    rows = connection.execute(
        "SELECT doc FROM conversation_permissions WHERE status = 'granted' ORDER BY createdAt, id LIMIT ?",
        (max(limit, 0),),
    )
    return [load_grant(doc) for (doc,) in rows]


def list_grants(
    connection: sqlite3.Connection, conversation_id: ConversationId, project_id: ProjectId | None, limit: int
) -> list[Grant]:
    """See the port. One query for each scope: for all at once SQLite would sort what there is."""
    reached = (("scope", "all"), ("projectId", project_id), ("conversationId", conversation_id))
    rows = [
        row
        for column, value in reached
        for row in connection.execute(
            f"SELECT createdAt, id, doc FROM conversation_permissions WHERE {column} = ? "  # nosec B608  # noqa: S608 - of constants
            "ORDER BY createdAt DESC, id DESC LIMIT ?",
            (value, max(limit, 0)),
        )
    ]
    rows.sort(key=lambda row: (row[0], row[1]), reverse=True)
    return [load_grant(doc) for _, _, doc in rows[: max(limit, 0)]]


def read_grant(connection: sqlite3.Connection, grant_id: GrantId) -> Grant | None:
    """See the port."""
    row = connection.execute("SELECT doc FROM conversation_permissions WHERE id = ?", (grant_id,)).fetchone()
    return None if row is None else load_grant(row[0])


def list_audit(
    connection: sqlite3.Connection,
    conversation_id: ConversationId | None,
    position: Sequence[str | int] | None,
    limit: int,
) -> Page[AuditEntry]:
    """See the port; `position` is the cursor's."""
    terms, values = ["TRUE"], list[str | int]()
    if conversation_id is not None:
        terms.append("conversationId = ?")
        values.append(conversation_id)
    if position is not None:
        terms.append("(createdAt, id) < (?, ?)")
        values += position
    limit = max(limit, 1)
    rows = connection.execute(
        f"SELECT doc FROM audit_log WHERE {' AND '.join(terms)} ORDER BY createdAt DESC, id DESC LIMIT ?",  # nosec B608  # noqa: S608 - of constants
        [*values, limit + 1],
    ).fetchall()
    items = tuple(load_audit_entry(doc) for (doc,) in rows[:limit])
    return Page(items=items, next=_audit_cursor(items[-1]) if len(rows) > limit else None)


def _audit_cursor(last: AuditEntry) -> str:
    return encode_cursor("audit", iso(last.created_at), last.id)


def decode_audit_cursor(cursor: str) -> list[str | int]:
    """Where the next page goes on. Raises InvalidRequest."""
    return decode_cursor(cursor, "audit", str, str)


def list_bypassing(connection: sqlite3.Connection, limit: int) -> list[ConversationId]:
    """See the port."""
    rows = connection.execute(
        "SELECT id FROM conversations WHERE json_extract(doc, '$.bypassUntil') IS NOT NULL LIMIT ?", (max(limit, 0),)
    )
    return [ConversationId(name.decode()) for (name,) in rows]


def read_alive_at(connection: sqlite3.Connection) -> datetime | None:
    """See the port."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'aliveAt'").fetchone()
    return None if row is None else parse_iso(row[0].decode())
