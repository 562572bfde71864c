"""Lists and search are limited to one user's in their indexes; the audit knows who did what, and finds it.

A server of the version before may go on for a while beside this step: on SQLite triggers fill in what it does not
know of, on MongoDB the first server that serves with it does (`Store.repair`).
"""

from typing import Any, Final

# As in the first step: in a `doc`, NUL is written as the escape below, where SQLite's JSON functions would end a text.
_SAFE_DOC: Final = r"replace({doc}, '\u0000', '\u0020')"
_CONTENT: Final = f"json_extract({_SAFE_DOC}, '$.content')"
_TITLE: Final = f"json_extract({_SAFE_DOC}, '$.title')"
# An owner as one word that no tokenizer takes apart (`sqlite_search.owner_word`).
_OWNER: Final = "'u' || lower(hex(coalesce({name}, '')))"
_OWNER_OF_MESSAGE: Final = (
    "(SELECT " + _OWNER.format(name="c.userId") + " FROM conversations AS c WHERE c.id = {row}conversationId)"  # nosec B608  # noqa: S608 - of constants
)
_OWNER_OF_CONVERSATION: Final = _OWNER.format(name="json_extract({doc}, '$.userId')")

_COLUMNS: Final = (
    "ALTER TABLE conversations ADD COLUMN userId TEXT AS (json_extract(doc, '$.userId')) VIRTUAL",
    "CREATE INDEX conversations_user ON conversations (userId, updatedAt, id) WHERE status <> 'deleted'",
    "CREATE INDEX conversations_user_status ON conversations (userId, status, updatedAt, id)",
    "CREATE INDEX conversations_user_project ON conversations (userId, projectId, updatedAt, id)",
    # A grant that reaches further than a conversation is bound to whoever gave it, unless that was an admin. Before
    # this step nobody noted it: what a person gave who has only tokens of a user becomes that person's.
    """
    UPDATE conversation_permissions SET doc = json_set(doc, '$.userId', json_extract(doc, '$.createdBy'))
    WHERE scope <> 'conversation' AND json_extract(doc, '$.createdBy') IN (
        SELECT json_extract(doc, '$.name') FROM api_tokens GROUP BY 1
        HAVING max(json_extract(doc, '$.role') <> 'user') = 0
    )
    """,
    "ALTER TABLE conversation_permissions ADD COLUMN userId TEXT AS (json_extract(doc, '$.userId')) VIRTUAL",
    "CREATE INDEX conversation_permissions_user ON conversation_permissions (scope, userId, createdAt, id)",
    "CREATE INDEX conversation_permissions_user_project "
    "ON conversation_permissions (projectId, userId, createdAt, id) WHERE projectId IS NOT NULL",
    "ALTER TABLE audit_log ADD COLUMN userId TEXT AS (json_extract(doc, '$.userId')) VIRTUAL",
    "ALTER TABLE audit_log "
    "ADD COLUMN action TEXT AS (coalesce(json_extract(doc, '$.action'), 'prompt.decided')) VIRTUAL",
    "CREATE INDEX audit_log_user ON audit_log (userId, createdAt, id)",
    "CREATE INDEX audit_log_action ON audit_log (action, createdAt, id)",
    # Browsers that are logged in, by the digest of what their cookie holds.
    "CREATE TABLE logins (id TEXT PRIMARY KEY, createdAt TEXT NOT NULL, doc TEXT NOT NULL)",
    "CREATE INDEX logins_createdAt ON logins (createdAt, id)",
    # Only decisions are counted as such: what else people did is found, and not summed up.
    "DROP TRIGGER audit_log_tally_insert",
    "DROP TRIGGER audit_log_tally_delete",
    """
    CREATE TRIGGER audit_log_tally_insert AFTER INSERT ON audit_log WHEN new.outcome <> 'done' BEGIN
        INSERT INTO tallies VALUES ('audit_log', new.outcome || '/' || new.handler, 1)
            ON CONFLICT DO UPDATE SET count = count + 1;
    END
    """,
    """
    CREATE TRIGGER audit_log_tally_delete AFTER DELETE ON audit_log WHEN old.outcome <> 'done' BEGIN
        UPDATE tallies SET count = count - 1
            WHERE kind = 'audit_log' AND status = old.outcome || '/' || old.handler;
    END
    """,
)

# Whose conversation it is of, in the row itself: a list that is ordered by time needs it in its index.
_OWNED: Final = (
    "ALTER TABLE {table} ADD COLUMN ownerId TEXT",
    "UPDATE {table} SET ownerId = (SELECT userId FROM conversations WHERE id = {table}.conversationId)",
    """
    CREATE TRIGGER {table}_owner AFTER INSERT ON {table} BEGIN
        UPDATE {table} SET ownerId = (SELECT userId FROM conversations WHERE id = new.conversationId)
            WHERE {key} = new.{key};
    END
    """,
)
_OWNED_INDEXES: Final = (
    "CREATE INDEX runs_owner ON runs (ownerId, status, queuedAt)",
    "CREATE INDEX interactive_prompts_owner ON interactive_prompts (ownerId, createdAt, id)",
    "CREATE INDEX interactive_prompts_owner_status ON interactive_prompts (ownerId, status, createdAt, id)",
)

# The full-text index gets the owner as a second column, so that one question asks for both: a word that stands in
# everybody's messages costs a user only as far as it stands in that user's. It is made anew, once: about a minute for
# each million messages.
_FULL_TEXT: Final = (
    "DROP TRIGGER {table}_fts_insert",
    "DROP TRIGGER {table}_fts_delete",
    "DROP TRIGGER {table}_fts_update",
    "DROP TABLE {table}_fts",
    "DROP VIEW {table}_text",
    "CREATE VIEW {table}_text AS SELECT pk, {text} AS {column}, {owner} AS owner FROM {table}",
    "CREATE VIRTUAL TABLE {table}_fts USING fts5("
    "{column}, owner, content='{table}_text', content_rowid='pk', tokenize='unicode61 remove_diacritics 2')",
    """
    CREATE TRIGGER {table}_fts_insert AFTER INSERT ON {table} BEGIN
        INSERT INTO {table}_fts (rowid, {column}, owner) VALUES (new.pk, {new_text}, {new_owner});
    END
    """,
    """
    CREATE TRIGGER {table}_fts_delete AFTER DELETE ON {table} BEGIN
        INSERT INTO {table}_fts ({table}_fts, rowid, {column}, owner)
            VALUES ('delete', old.pk, {old_text}, {old_owner});
    END
    """,
    """
    CREATE TRIGGER {table}_fts_update AFTER UPDATE OF doc ON {table} WHEN {old_text} IS NOT {new_text} BEGIN
        INSERT INTO {table}_fts ({table}_fts, rowid, {column}, owner)
            VALUES ('delete', old.pk, {old_text}, {old_owner});
        INSERT INTO {table}_fts (rowid, {column}, owner) VALUES (new.pk, {new_text}, {new_owner});
    END
    """,
    "INSERT INTO {table}_fts ({table}_fts) VALUES ('rebuild')",
)

_MONGO_INDEXES: Final[dict[str, list[list[tuple[str, int]]]]] = {
    "conversations": [
        [("userId", 1), ("status", 1), ("updatedAt", -1), ("_id", -1)],
        [("userId", 1), ("projectId", 1), ("updatedAt", -1), ("_id", -1)],
        [("userId", 1), ("words", 1), ("createdAt", -1), ("_id", -1)],
    ],
    "messages": [[("ownerId", 1), ("words", 1), ("createdAt", -1), ("_id", -1)]],
    "runs": [[("ownerId", 1), ("status", 1), ("queuedAt", 1)]],
    "interactive_prompts": [
        [("ownerId", 1), ("createdAt", -1), ("_id", -1)],
        [("ownerId", 1), ("status", 1), ("createdAt", -1), ("_id", -1)],
    ],
    "conversation_permissions": [
        [("scope", 1), ("userId", 1), ("createdAt", -1), ("_id", -1)],
        [("scope", 1), ("projectId", 1), ("userId", 1), ("createdAt", -1), ("_id", -1)],
    ],
    "logins": [[("createdAt", -1), ("_id", -1)]],
    "audit_log": [
        [("userId", 1), ("createdAt", -1), ("_id", -1)],
        [("action", 1), ("createdAt", -1), ("_id", -1)],
    ],
}


def sqlite(connection: Any) -> None:
    """Columns, indexes, triggers and the full-text index. Runs inside the transaction of the migration runner."""
    for statement in _COLUMNS:
        connection.execute(statement)
    for table, key in (("runs", "requestId"), ("interactive_prompts", "id")):
        for statement in _OWNED:
            connection.execute(statement.format(table=table, key=key))
    for statement in _OWNED_INDEXES:
        connection.execute(statement)
    for table, column, text, owner in (
        ("messages", "content", _CONTENT, _OWNER_OF_MESSAGE),
        ("conversations", "title", _TITLE, _OWNER_OF_CONVERSATION),
    ):
        # In the view the columns of the row have the table's name before them, in triggers `new` or `old`.
        parts = {
            "text": text.format(doc="doc"),
            "owner": owner.format(doc="doc", row=f"{table}."),
            "new_text": text.format(doc="new.doc"),
            "new_owner": owner.format(doc="new.doc", row="new."),
            "old_text": text.format(doc="old.doc"),
            "old_owner": owner.format(doc="old.doc", row="old."),
        }
        for statement in _FULL_TEXT:
            connection.execute(statement.format(table=table, column=column, **parts))


async def mongo(database: Any) -> None:
    """The indexes. Runs under the lock of the migration runner, and again after a crash in it."""
    for name, indexes in _MONGO_INDEXES.items():
        for keys in indexes:
            await database[name].create_index(keys)
