"""Grants are found by status, by whom they reach and by age; the audit by conversation and age, and is counted."""

from typing import Any

_SQLITE = (
    # Columns for what is looked for; the document stays the truth. `conversationId` is set for the scope
    # `conversation` only: it refers to a conversation, and a grant that reaches further outlives each of them.
    "ALTER TABLE conversation_permissions ADD COLUMN projectId TEXT",
    "ALTER TABLE conversation_permissions ADD COLUMN status TEXT NOT NULL DEFAULT 'granted'",
    "ALTER TABLE conversation_permissions ADD COLUMN createdAt TEXT NOT NULL DEFAULT ''",
    """
    UPDATE conversation_permissions SET
        projectId = CASE WHEN scope = 'project' THEN json_extract(doc, '$.projectId') END,
        status = coalesce(json_extract(doc, '$.status'), 'granted'),
        createdAt = coalesce(json_extract(doc, '$.createdAt'), '')
    """,
    "CREATE INDEX conversation_permissions_status ON conversation_permissions (status, createdAt, id)",
    "CREATE INDEX conversation_permissions_reach ON conversation_permissions (scope, createdAt, id)",
    "CREATE INDEX conversation_permissions_project ON conversation_permissions (projectId, createdAt, id)",
    "CREATE INDEX conversation_permissions_conversation ON conversation_permissions (conversationId, createdAt, id)",
    # No reference to conversations: what was decided is known after they are gone.
    "ALTER TABLE audit_log ADD COLUMN conversationId TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE audit_log ADD COLUMN outcome TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE audit_log ADD COLUMN handler TEXT NOT NULL DEFAULT ''",
    """
    UPDATE audit_log SET
        conversationId = coalesce(json_extract(doc, '$.conversationId'), ''),
        outcome = coalesce(json_extract(doc, '$.outcome'), ''),
        handler = coalesce(json_extract(doc, '$.handler'), '')
    """,
    """
    CREATE INDEX conversations_bypassing ON conversations (id) WHERE json_extract(doc, '$.bypassUntil') IS NOT NULL
    """,
    "CREATE INDEX audit_log_newest ON audit_log (createdAt, id)",
    "CREATE INDEX audit_log_conversation ON audit_log (conversationId, createdAt, id)",
    """
    INSERT INTO tallies (kind, status, count)
        SELECT 'audit_log', outcome || '/' || handler, count(*) FROM audit_log GROUP BY 2
    """,
    """
    CREATE TRIGGER audit_log_tally_insert AFTER INSERT ON audit_log BEGIN
        INSERT INTO tallies VALUES ('audit_log', new.outcome || '/' || new.handler, 1)
            ON CONFLICT DO UPDATE SET count = count + 1;
    END
    """,
    """
    CREATE TRIGGER audit_log_tally_delete AFTER DELETE ON audit_log BEGIN
        UPDATE tallies SET count = count - 1
            WHERE kind = 'audit_log' AND status = old.outcome || '/' || old.handler;
    END
    """,
)

# The places of a list end with `_id`, as in the first step. `tally` is `<outcome>/<handler>`: each is counted in it.
_MONGO_INDEXES: dict[str, list[list[tuple[str, int]]]] = {
    "conversation_permissions": [
        [("status", 1), ("createdAt", 1), ("_id", 1)],
        [("scope", 1), ("createdAt", -1), ("_id", -1)],
        [("scope", 1), ("projectId", 1), ("createdAt", -1), ("_id", -1)],
        [("scope", 1), ("conversationId", 1), ("createdAt", -1), ("_id", -1)],
    ],
    "conversations": [[("bypassUntil", 1)]],
    "audit_log": [
        [("createdAt", -1), ("_id", -1)],
        [("conversationId", 1), ("createdAt", -1), ("_id", -1)],
        [("tally", 1)],
    ],
}


def sqlite(connection: Any) -> None:
    """Columns, indexes and the tally of the audit. Runs inside the transaction of the migration runner."""
    for statement in _SQLITE:
        connection.execute(statement)


async def mongo(database: Any) -> None:
    """Indexes, and the tally of entries that are there. Runs again after a crash in it."""
    for name, indexes in _MONGO_INDEXES.items():
        for keys in indexes:
            await database[name].create_index(keys)
    audit = database["audit_log"]
    async for entry in audit.find({"tally": {"$exists": False}}, {"outcome": True, "handler": True}):
        tally = f"{entry.get('outcome')}/{entry.get('handler')}"
        await audit.update_one({"_id": entry["_id"]}, {"$set": {"tally": tally}})
