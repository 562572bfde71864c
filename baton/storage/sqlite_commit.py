"""What `commit` and the other writing verbs do inside the writer's transaction."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from baton.core.errors import LeaseLost
from baton.core.ids import ConversationId
from baton.core.lifecycle import OPEN_RUN
from baton.core.models import RunRequest, RunStatus
from baton.core.stored import Committed, Known, Lost, Outcome, Refused
from baton.storage.sqlite_cleaning import end_uses
from baton.storage.sqlite_rows import Encoded, EncodedChange, EncodedJournal, Row, document, load_run

_COMMITTED: Final = Committed()

# Milliseconds << 20, counted on within one millisecond: see the first migration.
INSERT_CONVERSATION = """
INSERT INTO conversations (id, projectId, status, claudeSessionId, seq, createdAt, updatedAt, pk, doc)
VALUES (?, ?, ?, ?, ?, ?, ?,
    (SELECT coalesce(max(pk) + 1, ?) FROM conversations WHERE pk >= ? AND pk < ? + 1048576), ?)
ON CONFLICT (id) DO NOTHING
"""
_UPDATE_CONVERSATION = """
UPDATE conversations SET projectId = ?, status = ?, claudeSessionId = ?, seq = ?, updatedAt = ?, doc = ? WHERE id = ?
"""
PUT_MESSAGE = """
INSERT INTO messages (id, conversationId, requestId, role, status, ordinal, seq, sessionId, createdAt,
    coversBridgeSeq, pk, doc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    (SELECT coalesce(max(pk) + 1, ?) FROM messages WHERE pk >= ? AND pk < ? + 1048576), ?)
ON CONFLICT (id) DO UPDATE SET
    requestId = excluded.requestId, role = excluded.role, status = excluded.status, ordinal = excluded.ordinal,
    seq = excluded.seq, sessionId = excluded.sessionId, createdAt = excluded.createdAt,
    coversBridgeSeq = excluded.coversBridgeSeq, doc = excluded.doc
"""
INSERT_RUN = """
INSERT INTO runs (conversationId, status, seq, position, queuedAt, doc, requestId) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (requestId) DO NOTHING
"""
_MOVE_RUN = """
UPDATE runs SET conversationId = ?, status = ?, seq = ?, position = ?, queuedAt = ?, doc = ?
WHERE requestId = ? AND status IN (SELECT value FROM json_each(?))
"""
INSERT_PROMPT = """
INSERT INTO interactive_prompts (conversationId, requestId, status, seq, createdAt, timeoutAt, doc, id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING
"""
_MOVE_PROMPT = """
UPDATE interactive_prompts SET conversationId = ?, requestId = ?, status = ?, seq = ?, createdAt = ?, timeoutAt = ?,
    doc = ?
WHERE id = ? AND status = ?
"""
PUT_GRANT = """
INSERT INTO conversation_permissions (conversationId, projectId, scope, toolName, status, expiresAt, createdAt, doc, id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    conversationId = excluded.conversationId, projectId = excluded.projectId, scope = excluded.scope,
    toolName = excluded.toolName, status = excluded.status, expiresAt = excluded.expiresAt,
    createdAt = excluded.createdAt, doc = excluded.doc
"""
APPEND_TO_AUDIT = """
INSERT INTO audit_log (id, createdAt, conversationId, outcome, handler, doc) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING
"""
_TRIM = "DELETE FROM run_journal WHERE requestId = ? AND bridgeSeq <= ?"

_JOURNAL_HEAD: Final = "INSERT INTO run_journal (conversationId, seq, requestId, bridgeSeq, at, events) VALUES "
_JOURNAL_ROW: Final = "(?, ?, ?, ?, ?, ?)"
_INSERT_JOURNAL: Final = tuple(_JOURNAL_HEAD + ", ".join([_JOURNAL_ROW] * count) for count in range(65))
"""By the number of rows. One statement for many: each call of the driver gives up the interpreter's lock and has to
win it back."""
_MOST_ROWS: Final = len(_INSERT_JOURNAL) - 1

UNSTORABLE = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    # What a value that cannot be bound raises, by its kind and by the version of Python.
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)


class _NotWrittenError(Exception):
    """Leaves a change before its end; what it has written so far is taken back."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def apply_changes(connection: sqlite3.Connection, changes: Sequence[Encoded | Refused]) -> list[Outcome]:
    """Write the changes in order; the outcome of each. Raises LeaseLost."""
    outcomes: list[Outcome] = []
    for kind, some in groupby(changes, type):
        if kind is EncodedJournal:
            outcomes += _apply_journal(connection, [one.row for one in some if isinstance(one, EncodedJournal)])
        else:
            outcomes += [one if isinstance(one, Refused) else _apply_one(connection, one) for one in some]
    return outcomes


def _apply_journal(connection: sqlite3.Connection, rows: Sequence[Row]) -> list[Outcome]:
    """Many rows in few statements; only where a statement fails, row by row."""
    outcomes: list[Outcome] = []
    for start in range(0, len(rows), _MOST_ROWS):
        chunk = rows[start : start + _MOST_ROWS]
        try:
            connection.execute(_INSERT_JOURNAL[len(chunk)], [value for row in chunk for value in row])
        except UNSTORABLE:
            outcomes += [_apply_journal_row(connection, row) for row in chunk]
        else:
            outcomes += [_COMMITTED] * len(chunk)
    return outcomes


def _apply_journal_row(connection: sqlite3.Connection, row: Row) -> Outcome:
    try:
        _insert_journal_row(connection, row)
    except UNSTORABLE as error:
        return _refused(error)
    return _COMMITTED


def _insert_journal_row(connection: sqlite3.Connection, row: Row) -> None:
    """Raises LeaseLost where the row's seq was given out before: two processes count in one conversation."""
    try:
        connection.execute(_INSERT_JOURNAL[1], row)
    except sqlite3.IntegrityError as error:
        if connection.execute("SELECT 1 FROM run_journal WHERE conversationId = ? AND seq = ?", row[:2]).fetchone():
            raise LeaseLost("Another process writes to this database: a seq was given out twice") from error
        raise


def _refused(error: Exception) -> Refused:
    """Why a row cannot be stored, in words."""
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return Refused("its conversation does not exist")
    if name == "SQLITE_CONSTRAINT_UNIQUE":
        return Refused("this frame of the bridge is stored already")
    return Refused("it holds a value that cannot be stored")


def _apply_one(connection: sqlite3.Connection, change: Encoded) -> Outcome:
    """All of one change, or nothing."""
    assert isinstance(change, EncodedChange), "journal rows go another way"
    connection.execute("SAVEPOINT change")
    outcome: Outcome = _COMMITTED
    try:
        _write(connection, change)
    except _NotWrittenError as stopped:
        outcome = stopped.outcome
    except UNSTORABLE as error:
        outcome = _refused(error)
    if outcome is not _COMMITTED:
        connection.execute("ROLLBACK TO change")
    connection.execute("RELEASE change")
    return outcome


def _write(connection: sqlite3.Connection, change: EncodedChange) -> None:
    _write_conversation(connection, change)
    for row, expect in change.runs:
        _require(connection.execute(_MOVE_RUN, (*row, _json_list(expect))), Lost())
    for row, status in change.prompts:
        if status is None:
            _require(connection.execute(INSERT_PROMPT, row), Lost())
        else:
            _require(connection.execute(_MOVE_PROMPT, (*row, status)), Lost())
    for row in change.messages:
        *columns, pk, doc = row
        connection.execute(PUT_MESSAGE, (*columns, pk, pk, pk, doc))
    for row in change.grants:
        connection.execute(PUT_GRANT, row)
    for row in change.audit:
        connection.execute(APPEND_TO_AUDIT, row)
    if change.journal is not None:
        _insert_journal_row(connection, change.journal)
    for trim in change.trims:
        connection.execute(_TRIM, trim)


def _write_conversation(connection: sqlite3.Connection, change: EncodedChange) -> None:
    """The conversation and the new run, in the order in which a known request outranks everything else."""
    if change.is_new and change.conversation is not None:
        *columns, pk, doc = change.conversation
        _require(connection.execute(INSERT_CONVERSATION, (*columns, pk, pk, pk, doc)), Known())
    if change.new_run is not None:
        _require(connection.execute(INSERT_RUN, change.new_run), Known())
    if not change.is_new and change.conversation is not None:
        conversation_id, project_id, status, session_id, seq, _, updated_at, _, doc = change.conversation
        values = (project_id, status, session_id, seq, updated_at, doc, conversation_id)
        _require(connection.execute(_UPDATE_CONVERSATION, values), Refused("its conversation does not exist"))


def _require(done: sqlite3.Cursor, outcome: Outcome) -> None:
    """Leave the change with this outcome where the statement has touched no row."""
    if done.rowcount == 0:
        raise _NotWrittenError(outcome)


def _json_list(statuses: Sequence[str]) -> str:
    # Statuses are our own words, without a sign that JSON would escape.
    return "[" + ",".join(f'"{status}"' for status in statuses) + "]"


# --- the other verbs that write

_PURGE_STEP = 500
"""Messages removed in one transaction, so that a purge of many holds nobody up."""


def purge_some_messages(connection: sqlite3.Connection, conversation_id: ConversationId) -> bool:
    """Remove some messages of the conversation; whether there may be more."""
    removed = connection.execute(
        "DELETE FROM messages WHERE pk IN (SELECT pk FROM messages WHERE conversationId = ? LIMIT ?)",
        (conversation_id, _PURGE_STEP),
    )
    return removed.rowcount == _PURGE_STEP


def purge_rest(connection: sqlite3.Connection, conversation_id: ConversationId, now: str) -> None:
    """Remove what is left of the conversation, and of its runs all but what answers their requests again."""
    values = (conversation_id,)
    end_uses(connection, conversation_id, now)
    connection.execute("DELETE FROM messages WHERE conversationId = ?", values)
    connection.execute("DELETE FROM run_journal WHERE conversationId = ?", values)
    connection.execute("DELETE FROM conversation_reads WHERE conversationId = ?", values)
    connection.execute("DELETE FROM interactive_prompts WHERE conversationId = ?", values)
    # Only grants of this scope name their conversation in the column.
    connection.execute("DELETE FROM conversation_permissions WHERE conversationId = ?", values)
    for (doc,) in connection.execute("SELECT doc FROM runs WHERE conversationId = ?", values).fetchall():
        run = load_run(doc)
        kept = replace(
            run,
            seq=0,
            status=RunStatus.ABORTED if run.status in OPEN_RUN else run.status,
            message_ids=(),
            plan=(),
            notices=(),
            error=None,
            request=RunRequest(content=""),
            user_message=None,
        )
        connection.execute(
            "UPDATE runs SET status = ?, seq = 0, doc = ? WHERE requestId = ?",
            (kept.status.value, document(kept), kept.request_id),
        )
    connection.execute("DELETE FROM conversations WHERE id = ?", values)


def put_grant(connection: sqlite3.Connection, row: Row) -> None:
    """Insert or replace (`sqlite_rows.grant_row`)."""
    connection.execute(PUT_GRANT, row)


def append_to_audit(connection: sqlite3.Connection, row: Row) -> None:
    """Insert (`sqlite_rows.audit_row`), unless its id is there."""
    connection.execute(APPEND_TO_AUDIT, row)


def put_project(connection: sqlite3.Connection, row: Row) -> None:
    """Insert or replace (id, createdAt, doc)."""
    connection.execute(
        "INSERT INTO projects (id, createdAt, doc) VALUES (?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET createdAt = excluded.createdAt, doc = excluded.doc",
        row,
    )


def delete_project(connection: sqlite3.Connection, project_id: str) -> bool:
    """Whether there was one."""
    return connection.execute("DELETE FROM projects WHERE id = ?", (project_id,)).rowcount == 1


def put_attachment(connection: sqlite3.Connection, row: Row) -> None:
    """Insert or replace (id, createdAt, doc, content)."""
    connection.execute(
        "INSERT INTO attachments (id, createdAt, doc, content) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "createdAt = excluded.createdAt, doc = excluded.doc, content = excluded.content",
        row,
    )


def note_alive(connection: sqlite3.Connection, at: str) -> None:
    """Keep this time instead of the one before."""
    connection.execute(
        "INSERT INTO meta VALUES ('aliveAt', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (at,)
    )


def touch_probe(connection: sqlite3.Connection) -> None:
    """Write the scratch row."""
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'probe'")
