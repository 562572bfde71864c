"""Reads of grants and of the audit. Each uses an index and is limited; each runs in one read transaction."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime

from baton.core.ids import ConversationId, ProjectId, UserId
from baton.core.permissions import AuditEntry, Grant, GrantId
from baton.core.stored import Page, Swept
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
    connection: sqlite3.Connection,
    conversation_id: ConversationId,
    project_id: ProjectId | None,
    user_id: UserId | None,
    limit: int,
) -> list[Grant]:
    """See the port. One query for each reach: for all at once SQLite would sort what there is."""
    reached: list[tuple[str, tuple[str | None, ...]]] = [("conversationId = ?", (conversation_id,))]
    for bound_to in dict.fromkeys((None, user_id)):
        reached.append(("scope = ? AND userId IS ?", ("all", bound_to)))
        if project_id is not None:
            reached.append(("projectId = ? AND userId IS ?", (project_id, bound_to)))
    rows = [
        row
        for terms, values in reached
        for row in connection.execute(
            f"SELECT createdAt, id, doc FROM conversation_permissions WHERE {terms} "  # nosec B608  # noqa: S608 - of constants
            "ORDER BY createdAt DESC, id DESC LIMIT ?",
            (*values, max(limit, 0)),
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
    where: Mapping[str, str | None],
    position: Sequence[str | int] | None,
    limit: int,
) -> Page[AuditEntry]:
    """See the port; `where`: values by column, of which None is any. `position` is the cursor's."""
    terms, values = ["TRUE"], list[str | int]()
    for column, value in where.items():
        if value is not None:
            terms.append(f"{column} = ?")
            values.append(value)
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


def remove_old_audit(connection: sqlite3.Connection, before: str, limit: int) -> Swept:
    """See the port."""
    removed = connection.execute(
        "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE createdAt < ? ORDER BY createdAt LIMIT ?)",
        (before, max(limit, 0)),
    ).rowcount
    return Swept(looked_at=removed, removed=removed, next="more" if removed == limit else None)


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
