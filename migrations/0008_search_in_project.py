"""Search within a project without looking at what other projects hold.

Each message's entry in the full-text index also names its conversation and the project that the message was made in,
which never change. What a project holds is then what was made in it, and the conversations that were moved into it
(`conversation_moves` has those that ever were). To note the conversation's present project instead would mean to
write the whole conversation anew with each move.

The index keeps its name and its first columns, so that a server of the version before goes on searching beside this.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any, Final

_EXPRESSIONS: Final[Mapping[str, str]] = {
    # As in the first step: in a `doc`, NUL is written as an escape, where SQLite's JSON functions would end a text.
    "content": r"json_extract(replace({row}doc, '\u0000', '\u0020'), '$.content')",
    # As the step of owners writes it.
    "owner": "(SELECT 'u' || lower(hex(coalesce(c.userId, ''))) FROM conversations AS c "
    "WHERE c.id = {row}conversationId)",
    "project": "json_extract({row}doc, '$.projectId')",
    "conversation": "{row}conversationId",
}

_MOVES: Final = (
    # Conversations that hold, or may hold, messages of another project than their own.
    "CREATE TABLE conversation_moves (conversationId TEXT PRIMARY KEY) WITHOUT ROWID",
    """
    CREATE TRIGGER conversations_moved AFTER UPDATE OF projectId ON conversations
    WHEN old.projectId IS NOT new.projectId BEGIN
        INSERT OR IGNORE INTO conversation_moves VALUES (new.id);
    END
    """,
    """
    CREATE TRIGGER conversations_gone AFTER DELETE ON conversations BEGIN
        DELETE FROM conversation_moves WHERE conversationId = old.id;
    END
    """,
    """
    INSERT OR IGNORE INTO conversation_moves
        SELECT DISTINCT c.id FROM messages AS m JOIN conversations AS c ON c.id = m.conversationId
            WHERE c.projectId IS NOT json_extract(m.doc, '$.projectId')
    """,
)

_OLD_INDEX: Final = (
    "DROP TRIGGER messages_fts_insert",
    "DROP TRIGGER messages_fts_delete",
    "DROP TRIGGER messages_fts_update",
    "DROP TABLE messages_fts",
    "DROP VIEW messages_text",
)
_NEW_INDEX: Final = (
    "CREATE VIEW messages_text AS SELECT pk, {shown} FROM messages",
    "CREATE VIRTUAL TABLE messages_fts USING fts5("
    "{columns}, content='messages_text', content_rowid='pk', tokenize='unicode61 remove_diacritics 2')",
    """
    CREATE TRIGGER messages_fts_insert AFTER INSERT ON messages BEGIN
        INSERT INTO messages_fts (rowid, {columns}) VALUES (new.pk, {new});
        INSERT OR IGNORE INTO conversation_moves
            SELECT id FROM conversations WHERE id = new.conversationId AND projectId IS NOT {new_project};
    END
    """,
    """
    CREATE TRIGGER messages_fts_delete AFTER DELETE ON messages BEGIN
        INSERT INTO messages_fts (messages_fts, rowid, {columns}) VALUES ('delete', old.pk, {old});
    END
    """,
    """
    CREATE TRIGGER messages_fts_update AFTER UPDATE OF doc ON messages
    WHEN {old_content} IS NOT {new_content} OR {old_project} IS NOT {new_project} BEGIN
        INSERT INTO messages_fts (messages_fts, rowid, {columns}) VALUES ('delete', old.pk, {old});
        INSERT INTO messages_fts (rowid, {columns}) VALUES (new.pk, {new});
        INSERT OR IGNORE INTO conversation_moves
            SELECT id FROM conversations WHERE id = new.conversationId AND projectId IS NOT {new_project};
    END
    """,
    # Reads every message once: about a minute for a million.
    "INSERT INTO messages_fts (messages_fts) VALUES ('rebuild')",
)


def sqlite(connection: sqlite3.Connection) -> None:
    """The index anew, with what it had. Runs inside the transaction of the migration runner."""
    there = [name for _, name, *_ in connection.execute("PRAGMA table_info(messages_fts)")]
    for statement in (*_MOVES, *_OLD_INDEX, *_index([*there, "project", "conversation"])):
        connection.execute(statement)


def _index(names: list[str]) -> Iterator[str]:
    old, new = ({name: _EXPRESSIONS[name].format(row=row) for name in names} for row in ("old.", "new."))
    parts = {
        "columns": ", ".join(names),
        "shown": ", ".join(f"{_EXPRESSIONS[name].format(row='messages.')} AS {name}" for name in names),
        "old": ", ".join(old.values()),
        "new": ", ".join(new.values()),
        **{f"old_{name}": expression for name, expression in old.items()},
        **{f"new_{name}": expression for name, expression in new.items()},
    }
    return (statement.format(**parts) for statement in _NEW_INDEX)


async def mongo(database: Any) -> None:
    """Nothing: there a message names its project beside its words, in one query."""
