"""The queries of reading verbs. Each uses an index and is limited; each runs in one read transaction."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from baton.core.ids import AttachmentId, ConversationId, MessageId, ProjectId, PromptId, RequestId, UserId
from baton.core.models import Attachment, Conversation, Message, Project, Prompt, PromptStatus, Run, RunStatus
from baton.core.stored import (
    ConversationFilter,
    EncodedJson,
    JournalRow,
    LaneState,
    Page,
    StoreCounts,
    StoredChanges,
    StoredMessage,
)
from baton.schemas.codec import from_document, iso
from baton.storage.cursors import decode_cursor, encode_cursor
from baton.storage.sqlite_rows import (
    load_conversation,
    load_journal,
    load_message,
    load_prompt,
    load_run,
    load_stored_message,
    run_view,
)

_OPEN: Final = "status IN ('queued', 'dispatched', 'running', 'awaiting_input')"
"""Written as in the partial index of open runs, which SQLite uses only for the same words."""

_PAGE = "SELECT id, requestId, ordinal, seq, doc FROM messages WHERE conversationId = ? "


# --- one conversation


def load_lane(connection: sqlite3.Connection, conversation_id: ConversationId) -> LaneState | None:
    """See the port."""
    conversation = read_conversation(connection, conversation_id)
    if conversation is None:
        return None
    (journalled,) = connection.execute(
        "SELECT coalesce(max(seq), 0) FROM run_journal WHERE conversationId = ?", (conversation_id,)
    ).fetchone()
    runs = _open_runs(connection, conversation_id)
    return LaneState(
        conversation=replace(conversation, seq=max(conversation.seq, journalled)),
        runs=runs,
        prompts=tuple(prompt for run in runs for prompt in _prompts_of(connection, run)),
        journal=_journal_of(connection, conversation_id, runs),
        messages=_spoken_in(connection, runs),
    )


def _open_runs(connection: sqlite3.Connection, conversation_id: ConversationId) -> tuple[Run, ...]:
    rows = connection.execute(
        f"SELECT doc FROM runs WHERE conversationId = ? AND {_OPEN} ORDER BY position, queuedAt",  # nosec B608  # noqa: S608 - a constant
        (conversation_id,),
    )
    return tuple(load_run(doc) for (doc,) in rows)


def _prompts_of(connection: sqlite3.Connection, run: Run) -> list[Prompt]:
    rows = connection.execute("SELECT doc FROM interactive_prompts WHERE requestId = ? ORDER BY seq", (run.request_id,))
    return [load_prompt(doc) for (doc,) in rows]


def _journal_of(
    connection: sqlite3.Connection, conversation_id: ConversationId, runs: Sequence[Run]
) -> tuple[JournalRow, ...]:
    wanted = {run.request_id.encode() for run in runs}
    if not wanted:
        return ()
    rows = connection.execute(
        "SELECT seq, requestId, bridgeSeq, at, events FROM run_journal WHERE conversationId = ? ORDER BY seq",
        (conversation_id,),
    )
    return tuple(load_journal(conversation_id, row) for row in rows if row[1] in wanted)


def _spoken_in(connection: sqlite3.Connection, runs: Sequence[Run]) -> tuple[Message, ...]:
    spoken = [
        load_message(doc, covers)
        for run in runs
        for doc, covers in connection.execute(
            "SELECT doc, coversBridgeSeq FROM messages WHERE requestId = ? AND role = 'assistant' ORDER BY ordinal",
            (run.request_id,),
        )
    ]
    return tuple(sorted(spoken, key=lambda message: message.ordinal))


def read_changes(
    connection: sqlite3.Connection, conversation_id: ConversationId, after: int, limit: int
) -> StoredChanges:
    """See the port."""
    values = (conversation_id, after, limit + 1)
    if after > 0:
        found = connection.execute(_PAGE + "AND seq > ? ORDER BY seq DESC LIMIT ?", values).fetchall()
        runs = [
            doc
            for (doc,) in connection.execute(
                "SELECT doc FROM runs WHERE conversationId = ? AND seq > ? ORDER BY seq DESC LIMIT ?", values
            )
        ]
        prompts = [
            doc
            for (doc,) in connection.execute(
                "SELECT doc FROM interactive_prompts WHERE conversationId = ? AND seq > ? ORDER BY seq DESC LIMIT ?",
                values,
            )
        ]
        changed_runs = tuple(load_run(doc) for doc in reversed(runs[:limit]))
    else:
        found = connection.execute(_PAGE + "ORDER BY ordinal DESC LIMIT ?", (conversation_id, limit + 1)).fetchall()
        prompts = _pending_prompts(connection, conversation_id, limit)
        changed_runs = _open_runs(connection, conversation_id)[:limit]
    messages = sorted((load_stored_message(row) for row in found[:limit]), key=lambda stored: stored.ordinal)
    return StoredChanges(
        messages=tuple(messages),
        runs=changed_runs,
        prompts=tuple(load_prompt(doc) for doc in reversed(prompts[:limit])),
        has_more=len(found) > limit,
    )


def _pending_prompts(connection: sqlite3.Connection, conversation_id: ConversationId, limit: int) -> list[bytes]:
    rows = connection.execute(
        "SELECT doc FROM interactive_prompts WHERE conversationId = ? AND status = 'pending' "
        "ORDER BY createdAt DESC, id DESC LIMIT ?",
        (conversation_id, limit),
    )
    return [doc for (doc,) in rows]


def read_history(
    connection: sqlite3.Connection,
    conversation_id: ConversationId,
    before: int | None,
    after: int | None,
    limit: int,
) -> list[StoredMessage]:
    """See the port."""
    bounds, values = "", list[str | int]([conversation_id])
    for bound, ordinal in (("AND ordinal < ? ", before), ("AND ordinal > ? ", after)):
        if ordinal is not None:
            bounds, values = bounds + bound, [*values, ordinal]
    forth = after is not None and before is None
    order = "ORDER BY ordinal LIMIT ?" if forth else "ORDER BY ordinal DESC LIMIT ?"
    rows = connection.execute(_PAGE + bounds + order, [*values, max(limit, 0)]).fetchall()
    return [load_stored_message(row) for row in (rows if forth else reversed(rows))]


def read_runs_of(
    connection: sqlite3.Connection, conversation_id: ConversationId, request_ids: Sequence[RequestId]
) -> dict[RequestId, EncodedJson]:
    """See the port. The plus keeps SQLite to the primary key: the index of the conversation leads to all its runs."""
    rows = connection.execute(
        f"SELECT requestId, doc FROM runs WHERE requestId IN ({', '.join('?' * len(request_ids))}) "  # nosec B608  # noqa: S608 - of constants
        "AND +conversationId = ?",
        [*request_ids, conversation_id],
    )
    return {RequestId(request_id.decode()): run_view(doc) for request_id, doc in rows}


# --- one document


def _doc(connection: sqlite3.Connection, query: str, key: str) -> bytes | None:
    row = connection.execute(query, (key,)).fetchone()
    return None if row is None else row[0]


def read_conversation(connection: sqlite3.Connection, conversation_id: ConversationId) -> Conversation | None:
    """See the port."""
    doc = _doc(connection, "SELECT doc FROM conversations WHERE id = ?", conversation_id)
    return None if doc is None else load_conversation(doc)


def read_message(connection: sqlite3.Connection, message_id: MessageId) -> Message | None:
    """See the port."""
    row = connection.execute("SELECT doc, coversBridgeSeq FROM messages WHERE id = ?", (message_id,)).fetchone()
    return None if row is None else load_message(*row)


def read_run(connection: sqlite3.Connection, request_id: RequestId) -> Run | None:
    """See the port."""
    doc = _doc(connection, "SELECT doc FROM runs WHERE requestId = ?", request_id)
    return None if doc is None else load_run(doc)


def read_prompt(connection: sqlite3.Connection, prompt_id: PromptId) -> Prompt | None:
    """See the port."""
    doc = _doc(connection, "SELECT doc FROM interactive_prompts WHERE id = ?", prompt_id)
    return None if doc is None else load_prompt(doc)


def read_project(connection: sqlite3.Connection, project_id: ProjectId) -> Project | None:
    """See the port."""
    doc = _doc(connection, "SELECT doc FROM projects WHERE id = ?", project_id)
    return None if doc is None else from_document(Project, orjson.loads(doc))


def read_attachment(connection: sqlite3.Connection, attachment_id: AttachmentId) -> Attachment | None:
    """See the port."""
    doc = _doc(connection, "SELECT doc FROM attachments WHERE id = ?", attachment_id)
    return None if doc is None else from_document(Attachment, orjson.loads(doc))


def is_used_by(connection: sqlite3.Connection, attachment_id: AttachmentId, user_id: UserId) -> bool:
    """See the port."""
    found = connection.execute(
        "SELECT 1 FROM attachment_uses AS u CROSS JOIN conversations AS c ON c.id = u.conversationId "
        "WHERE u.attachmentId = ? AND c.userId = ? LIMIT 1",
        (attachment_id, user_id),
    )
    return found.fetchone() is not None


def read_attachment_content(connection: sqlite3.Connection, attachment_id: AttachmentId) -> bytes | None:
    """See the port."""
    return _doc(connection, "SELECT content FROM attachments WHERE id = ?", attachment_id)


# --- lists


def list_open_conversations(connection: sqlite3.Connection) -> list[ConversationId]:
    """See the port."""
    rows = connection.execute(f"SELECT DISTINCT conversationId FROM runs WHERE {_OPEN}")  # nosec B608  # noqa: S608 - a constant
    return [ConversationId(conversation_id.decode()) for (conversation_id,) in rows]


def list_runs(
    connection: sqlite3.Connection, statuses: Sequence[RunStatus], limit: int, user_id: UserId | None
) -> list[Run]:
    """See the port. One query for each status: for several at once SQLite would sort all there are."""
    owned, owner = ("", []) if user_id is None else ("ownerId = ? AND ", [user_id])
    rows = [
        row
        for status in statuses
        for row in connection.execute(
            f"SELECT queuedAt, doc FROM runs WHERE {owned}status = ? ORDER BY queuedAt LIMIT ?",  # nosec B608  # noqa: S608 - of constants
            [*owner, status.value, max(limit, 0)],
        )
    ]
    rows.sort(key=lambda row: row[0])
    return [load_run(doc) for _, doc in rows[: max(limit, 0)]]


def list_prompts(
    connection: sqlite3.Connection,
    status: PromptStatus | None,
    conversation_id: ConversationId | None,
    limit: int,
    user_id: UserId | None,
) -> list[Prompt]:
    """See the port."""
    wanted = {"status": status, "conversationId": conversation_id, "ownerId": user_id}
    where = " AND ".join(["TRUE", *(f"{column} = ?" for column, value in wanted.items() if value is not None)])
    rows = connection.execute(
        f"SELECT doc FROM interactive_prompts WHERE {where} ORDER BY createdAt DESC, id DESC LIMIT ?",  # nosec B608  # noqa: S608 - of constants
        [*(value for value in wanted.values() if value is not None), max(limit, 0)],
    )
    return [load_prompt(doc) for (doc,) in rows]


def list_conversations(
    connection: sqlite3.Connection, where: ConversationFilter, position: Sequence[str | int] | None, limit: int
) -> Page[Conversation]:
    """See the port; `position` is the cursor's."""
    terms, values = ["status <> 'deleted'" if where.status is None else "TRUE"], list[Any]()
    wanted = (
        ("userId", where.user_id),
        ("status", where.status),
        ("projectId", where.project_id),
        ("claudeSessionId", where.session_id),
    )
    for column, value in wanted:
        if value is not None:
            terms.append(f"{column} = ?")
            values.append(value)
    if position is not None:
        terms.append("(updatedAt, id) < (?, ?)")
        values += position
    limit = max(limit, 1)
    rows = connection.execute(
        f"SELECT doc FROM conversations WHERE {' AND '.join(terms)} ORDER BY updatedAt DESC, id DESC LIMIT ?",  # nosec B608  # noqa: S608 - of constants
        [*values, limit + 1],
    ).fetchall()
    items = tuple(load_conversation(doc) for (doc,) in rows[:limit])
    return Page(items=items, next=_conversation_cursor(items[-1]) if len(rows) > limit else None)


def _conversation_cursor(last: Conversation) -> str:
    return encode_cursor("conversations", iso(last.updated_at), last.id)


def decode_conversation_cursor(cursor: str) -> list[str | int]:
    """Where the next page goes on. Raises InvalidRequest."""
    return decode_cursor(cursor, "conversations", str, str)


def list_projects(connection: sqlite3.Connection, limit: int) -> list[Project]:
    """See the port."""
    rows = connection.execute(
        "SELECT doc FROM projects ORDER BY createdAt DESC, id DESC LIMIT ?", (max(limit, 0),)
    ).fetchall()
    return [from_document(Project, orjson.loads(doc)) for (doc,) in rows]


# --- numbers


def read_counts(connection: sqlite3.Connection) -> StoreCounts:
    """See the port."""
    counts: dict[str, dict[str, int]] = {}
    for kind, status, count in connection.execute("SELECT kind, status, count FROM tallies WHERE count > 0"):
        counts.setdefault(kind.decode(), {})[status.decode()] = count
    return StoreCounts(
        messages=counts.get("messages", {}),
        runs=counts.get("runs", {}),
        prompts=counts.get("interactive_prompts", {}),
        conversations=counts.get("conversations", {}),
        decisions=counts.get("audit_log", {}),
    )


def read_meta(connection: sqlite3.Connection, key: str) -> str:
    """A value that the first migration put there."""
    value: bytes = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0]
    return value.decode()
