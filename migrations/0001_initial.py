"""The first shape: conversations and all that belongs to them, lists, full-text search, permissions, tokens, audit."""

import sqlite3
from typing import Any

# In a message's and a conversation's `doc`, NUL is written as the escape below. SQLite's JSON functions end a text
# there, so it is read as a space. A written-out backslash-u0000 keeps its length and stays valid JSON.
_SAFE_DOC = r"replace({doc}, '\u0000', '\u0020')"
_CONTENT = f"json_extract({_SAFE_DOC}, '$.content')"
_TITLE = f"json_extract({_SAFE_DOC}, '$.title')"

_TABLES = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE projects (
    id TEXT PRIMARY KEY,
    createdAt TEXT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX projects_createdAt ON projects (createdAt, id);

-- pk orders by creation: milliseconds << 20, counted on within one millisecond. It is also the rowid of the
-- full-text index, which therefore gives the newest first without sorting.
CREATE TABLE conversations (
    pk INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    projectId TEXT,
    status TEXT NOT NULL,
    claudeSessionId TEXT,
    seq INTEGER NOT NULL,
    createdAt TEXT NOT NULL,
    updatedAt TEXT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX conversations_updatedAt ON conversations (updatedAt, id) WHERE status <> 'deleted';
CREATE INDEX conversations_projectId ON conversations (projectId, updatedAt, id);
CREATE INDEX conversations_status ON conversations (status, updatedAt, id);
CREATE INDEX conversations_claudeSessionId ON conversations (claudeSessionId, updatedAt, id)
    WHERE claudeSessionId IS NOT NULL;

-- doc is the wire object; what is stored beside it and not shown has its own column.
CREATE TABLE messages (
    pk INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    conversationId TEXT NOT NULL REFERENCES conversations (id),
    requestId TEXT,
    role TEXT NOT NULL,
    status TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    sessionId TEXT,
    createdAt TEXT NOT NULL,
    coversBridgeSeq INTEGER NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX messages_ordinal ON messages (conversationId, ordinal);
CREATE INDEX messages_seq ON messages (conversationId, seq);
CREATE INDEX messages_createdAt ON messages (conversationId, createdAt DESC);
CREATE INDEX messages_requestId ON messages (requestId, ordinal) WHERE requestId IS NOT NULL;
CREATE INDEX messages_sessionId ON messages (sessionId) WHERE sessionId IS NOT NULL;
CREATE INDEX messages_status ON messages (status);

-- No reference to conversations: what answers a request again outlives its conversation.
CREATE TABLE runs (
    requestId TEXT PRIMARY KEY,
    conversationId TEXT NOT NULL,
    status TEXT NOT NULL,
    seq INTEGER NOT NULL,
    position REAL NOT NULL,
    queuedAt TEXT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX runs_seq ON runs (conversationId, seq);
CREATE INDEX runs_status ON runs (status, queuedAt);
CREATE INDEX runs_open ON runs (conversationId, position, queuedAt)
    WHERE status IN ('queued', 'dispatched', 'running', 'awaiting_input');

-- The hot table. Rows of all runs are appended one after the other, so that a flush touches few pages; clustered
-- by conversation each flush costs a third more CPU, because most of it goes into writing pages.
CREATE TABLE run_journal (
    conversationId TEXT NOT NULL REFERENCES conversations (id),
    seq INTEGER NOT NULL,
    requestId TEXT NOT NULL,
    bridgeSeq INTEGER NOT NULL,
    at TEXT NOT NULL,
    events TEXT NOT NULL
);
CREATE UNIQUE INDEX run_journal_seq ON run_journal (conversationId, seq);
CREATE UNIQUE INDEX run_journal_bridgeSeq ON run_journal (requestId, bridgeSeq);

CREATE TABLE interactive_prompts (
    id TEXT PRIMARY KEY,
    conversationId TEXT NOT NULL REFERENCES conversations (id),
    requestId TEXT NOT NULL,
    status TEXT NOT NULL,
    seq INTEGER NOT NULL,
    createdAt TEXT NOT NULL,
    timeoutAt TEXT,
    doc TEXT NOT NULL
);
CREATE INDEX interactive_prompts_seq ON interactive_prompts (conversationId, seq);
CREATE INDEX interactive_prompts_requestId ON interactive_prompts (requestId, seq);
CREATE INDEX interactive_prompts_createdAt ON interactive_prompts (createdAt, id);
CREATE INDEX interactive_prompts_conversationId ON interactive_prompts (conversationId, createdAt, id);
CREATE INDEX interactive_prompts_status ON interactive_prompts (status, createdAt, id);
CREATE INDEX interactive_prompts_open ON interactive_prompts (conversationId, status, createdAt, id);
CREATE INDEX interactive_prompts_timeoutAt ON interactive_prompts (status, timeoutAt);

CREATE TABLE conversation_permissions (
    id TEXT PRIMARY KEY,
    conversationId TEXT REFERENCES conversations (id),
    scope TEXT NOT NULL,
    toolName TEXT NOT NULL,
    expiresAt TEXT,
    doc TEXT NOT NULL
);
CREATE INDEX conversation_permissions_scope ON conversation_permissions (scope, toolName);
CREATE INDEX conversation_permissions_conversationId ON conversation_permissions (conversationId);

CREATE TABLE attachments (
    id TEXT PRIMARY KEY,
    createdAt TEXT,
    doc TEXT NOT NULL,
    content BLOB NOT NULL
);
CREATE INDEX attachments_createdAt ON attachments (createdAt);

CREATE TABLE api_tokens (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    createdAt TEXT NOT NULL,
    doc TEXT NOT NULL
);

CREATE TABLE audit_log (
    id TEXT PRIMARY KEY,
    createdAt TEXT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX audit_log_createdAt ON audit_log (createdAt);

-- How many there are of each status: counted while writing, because counting a million rows takes 210 ms.
CREATE TABLE tallies (
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (kind, status)
) WITHOUT ROWID;
"""

_TALLY = """
CREATE TRIGGER {table}_tally_insert AFTER INSERT ON {table} BEGIN
    INSERT INTO tallies VALUES ('{table}', new.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER {table}_tally_delete AFTER DELETE ON {table} BEGIN
    UPDATE tallies SET count = count - 1 WHERE kind = '{table}' AND status = old.status;
END;
CREATE TRIGGER {table}_tally_update AFTER UPDATE OF status ON {table} WHEN old.status <> new.status BEGIN
    UPDATE tallies SET count = count - 1 WHERE kind = '{table}' AND status = old.status;
    INSERT INTO tallies VALUES ('{table}', new.status, 1) ON CONFLICT DO UPDATE SET count = count + 1;
END;
"""

# The index keeps no copy of the text: it reads it back through the view, with the expression it was given.
_FULL_TEXT = """
CREATE VIEW {table}_text AS SELECT pk, {text} AS {column} FROM {table};
CREATE VIRTUAL TABLE {table}_fts USING fts5(
    {column}, content='{table}_text', content_rowid='pk', tokenize='unicode61 remove_diacritics 2'
);
CREATE TRIGGER {table}_fts_insert AFTER INSERT ON {table} BEGIN
    INSERT INTO {table}_fts (rowid, {column}) VALUES (new.pk, {new_text});
END;
CREATE TRIGGER {table}_fts_delete AFTER DELETE ON {table} BEGIN
    INSERT INTO {table}_fts ({table}_fts, rowid, {column}) VALUES ('delete', old.pk, {old_text});
END;
CREATE TRIGGER {table}_fts_update AFTER UPDATE OF doc ON {table} WHEN {old_text} IS NOT {new_text} BEGIN
    INSERT INTO {table}_fts ({table}_fts, rowid, {column}) VALUES ('delete', old.pk, {old_text});
    INSERT INTO {table}_fts (rowid, {column}) VALUES (new.pk, {new_text});
END;
"""

# Plain ones only: no partial, sparse, text or expiring index, which compatible servers leave out or get wrong. Where
# equal times must not lose a place in a page, `_id` ends the index. `words` is the full-text search.
_MONGO_INDEXES: dict[str, list[list[tuple[str, int]]]] = {
    "projects": [[("createdAt", -1), ("_id", -1)]],
    "conversations": [
        [("status", 1), ("updatedAt", -1), ("_id", -1)],
        [("projectId", 1), ("updatedAt", -1), ("_id", -1)],
        [("claudeSessionId", 1), ("updatedAt", -1), ("_id", -1)],
        [("words", 1), ("createdAt", -1), ("_id", -1)],
    ],
    "messages": [
        [("conversationId", 1), ("createdAt", -1)],
        [("conversationId", 1), ("ordinal", 1)],
        [("conversationId", 1), ("seq", 1)],
        [("requestId", 1), ("ordinal", 1)],
        [("sessionId", 1)],
        [("status", 1)],
        [("words", 1), ("createdAt", -1), ("_id", -1)],
    ],
    "runs": [
        [("status", 1), ("queuedAt", 1)],
        [("conversationId", 1), ("status", 1)],
        [("conversationId", 1), ("seq", 1)],
    ],
    "interactive_prompts": [
        [("status", 1), ("timeoutAt", 1)],
        [("status", 1), ("createdAt", -1), ("_id", -1)],
        [("conversationId", 1), ("status", 1), ("createdAt", -1), ("_id", -1)],
        [("conversationId", 1), ("createdAt", -1), ("_id", -1)],
        [("conversationId", 1), ("seq", 1)],
        [("requestId", 1), ("seq", 1)],
        [("createdAt", -1), ("_id", -1)],
    ],
    "conversation_permissions": [[("scope", 1), ("toolName", 1)], [("conversationId", 1)]],
    "audit_log": [[("createdAt", -1)]],
    "pending_changes": [[("changeId", 1)]],
}
_MONGO_UNIQUE: dict[str, list[list[tuple[str, int]]]] = {
    "runs": [[("requestId", 1)]],
    "run_journal": [[("conversationId", 1), ("seq", 1)], [("requestId", 1), ("bridgeSeq", 1)]],
    "attachments.chunks": [[("files_id", 1), ("n", 1)]],
    "api_tokens": [[("digest", 1)]],
}


def sqlite(connection: sqlite3.Connection) -> None:
    """Every table, index and trigger. Runs inside the transaction of the migration runner."""
    for statement in _statements(_TABLES):
        connection.execute(statement)
    for table in ("messages", "runs", "interactive_prompts", "conversations"):
        for statement in _statements(_TALLY.format(table=table)):
            connection.execute(statement)
    for table, column, text in (("messages", "content", _CONTENT), ("conversations", "title", _TITLE)):
        script = _FULL_TEXT.format(
            table=table,
            column=column,
            text=text.format(doc="doc"),
            new_text=text.format(doc="new.doc"),
            old_text=text.format(doc="old.doc"),
        )
        for statement in _statements(script):
            connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES ('epoch', lower(hex(randomblob(12)))), ('probe', '0')")


async def mongo(database: Any) -> None:
    """Every collection's indexes. Runs under the lock of the migration runner, and again after a crash in it."""
    for name, indexes in _MONGO_INDEXES.items():
        for keys in indexes:
            await database[name].create_index(keys)
    for name, unique in _MONGO_UNIQUE.items():
        for keys in unique:
            await database[name].create_index(keys, unique=True)


def _statements(script: str) -> list[str]:
    """The statements of a script: sqlite3's own executescript would end the runner's transaction."""
    statements: list[str] = []
    gathered = ""
    for line in script.splitlines(keepends=True):
        gathered += line
        if sqlite3.complete_statement(gathered):
            statements.append(gathered.strip())
            gathered = ""
    return statements
