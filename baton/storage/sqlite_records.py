"""The database file as records (`core.records`): read in one transaction, written by a connection of its own."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from baton.core.ids import ConversationId, new_object_id
from baton.core.models import Attachment
from baton.core.ports import Clock
from baton.core.records import Added, Kind, Record, Records, StoreFault
from baton.schemas.codec import iso
from baton.storage import sqlite_commit as writes
from baton.storage import sqlite_rows as rows
from baton.storage.sqlite_cleaning import put_attachment
from baton.storage.sqlite_connection import check_library, check_place, connect, unavailable
from baton.storage.sqlite_shape import find_faults, mend_shape

Result = TypeVar("Result")

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class _Table:
    """How a kind is read: its name, its key, the column of its conversation, and what its document is made of."""

    name: str
    key: str = "id"
    conversation: str = "NULL"
    columns: str = "doc"
    order: str | None = None
    """In a conversation."""
    of_one: str | None = None
    """What belongs to one conversation."""


_ONE: Final = "conversationId = ?"
_USES: Final = (
    "(SELECT json_group_array(conversationId) FROM (SELECT conversationId FROM attachment_uses "
    "WHERE attachmentId = attachments.id ORDER BY conversationId))"
)
_TABLES: Final[Mapping[Kind, _Table]] = {
    Kind.PROJECT: _Table("projects", of_one="id = (SELECT projectId FROM conversations WHERE id = ?)"),
    Kind.CONVERSATION: _Table("conversations", conversation="id", of_one="id = ?"),
    Kind.MESSAGE: _Table(
        "messages", conversation="conversationId", columns="doc, coversBridgeSeq", order="ordinal", of_one=_ONE
    ),
    Kind.RUN: _Table("runs", key="requestId", conversation="conversationId", order="seq", of_one=_ONE),
    Kind.PROMPT: _Table("interactive_prompts", conversation="conversationId", order="seq", of_one=_ONE),
    Kind.GRANT: _Table("conversation_permissions", conversation="conversationId", of_one=_ONE),
    Kind.JOURNAL: _Table(
        "run_journal",
        key="conversationId, seq",
        conversation="conversationId",
        columns="requestId, seq, bridgeSeq, at, events",
        order="seq",
        of_one=_ONE,
    ),
    Kind.AUDIT: _Table("audit_log", conversation="conversationId", of_one=_ONE),
    Kind.TOKEN: _Table("api_tokens", of_one="? IS NULL"),
    Kind.ATTACHMENT: _Table(
        "attachments",
        columns=f"doc, length(content), {_USES}",
        of_one="id IN (SELECT attachmentId FROM attachment_uses WHERE conversationId = ?)",
    ),
}


def _insert_only(statement: str) -> str:
    """The statement of the store without its second half, which replaces what is there."""
    return statement.partition("ON CONFLICT")[0] + "ON CONFLICT DO NOTHING"


_INSERTS: Final[Mapping[Kind, tuple[str, Callable[[Any], rows.Row]]]] = {
    Kind.PROJECT: (
        "INSERT INTO projects (id, createdAt, doc) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        lambda project: (project.id, iso(project.created_at), rows.document(project)),
    ),
    Kind.CONVERSATION: (writes.INSERT_CONVERSATION, lambda item: _with_pk(rows.conversation_row(item))),
    Kind.MESSAGE: (_insert_only(writes.PUT_MESSAGE), lambda item: _with_pk(rows.message_row(item))),
    Kind.RUN: (writes.INSERT_RUN, rows.run_row),
    Kind.PROMPT: (writes.INSERT_PROMPT, rows.prompt_row),
    Kind.GRANT: (_insert_only(writes.PUT_GRANT), rows.grant_row),
    Kind.JOURNAL: (
        "INSERT INTO run_journal (conversationId, seq, requestId, bridgeSeq, at, events) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        rows.journal_row,
    ),
    Kind.AUDIT: (writes.APPEND_TO_AUDIT, rows.audit_row),
    Kind.TOKEN: (
        "INSERT INTO api_tokens (id, digest, createdAt, doc) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        lambda token: (token.id, token.digest, iso(token.created_at), rows.document(token)),
    ),
}


def _with_pk(row: rows.Row) -> rows.Row:
    """The statements name the first primary key of the millisecond three times."""
    *columns, pk, doc = row
    return (*columns, pk, pk, pk, doc)


@asynccontextmanager
async def sqlite_records(path: Path, *, clock: Clock) -> AsyncIterator["SqliteRecords"]:
    """The records of the file. Raises ConfigError where there is none, Unavailable where it is none of ours."""
    check_library()
    check_place(path, must_exist=True)
    records = SqliteRecords(path, clock)
    try:
        yield records
    finally:
        await asyncio.to_thread(records.close)


class SqliteRecords(Records):
    """See the port."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._reading: sqlite3.Connection | None = None
        self._writing: sqlite3.Connection | None = None

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        for connection in (self._reading, self._writing):
            if connection is not None:
                connection.close()
        self._reading = self._writing = None

    # --- reading

    async def scan(
        self,
        kind: Kind,
        *,
        after: str | None = None,
        conversation_id: str | None = None,
        by_conversation: bool = False,
    ) -> AsyncIterator[Record]:
        """See the port."""
        query, values = _query(_TABLES[kind], after, conversation_id, by_conversation=by_conversation)
        cursor = await self._read(lambda connection: connection.execute(query, values))
        while page := await self._read(lambda _: cursor.fetchmany(_PAGE)):
            for row in page:
                yield _record(kind, row)

    async def content(self, attachment_id: str) -> bytes | None:
        """See the port."""
        query = "SELECT content FROM attachments WHERE id = ?"
        row = await self._read(lambda connection: connection.execute(query, (attachment_id,)).fetchone())
        return None if row is None else bytes(row[0])

    async def has(self, kind: Kind, record_id: str) -> bool:
        """See the port. Who has written sees what was added."""
        query = f"SELECT 1 FROM {_TABLES[kind].name} WHERE id = ?"  # nosec B608  # noqa: S608 - of constants

        def find(connection: sqlite3.Connection) -> bool:
            return (self._writing or connection).execute(query, (record_id,)).fetchone() is not None

        return await self._read(find)

    async def counts(self) -> Mapping[Kind, int]:
        """See the port."""

        def count(connection: sqlite3.Connection) -> dict[Kind, int]:
            return {
                kind: int(connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0])  # nosec B608  # noqa: S608 - of constants
                for kind, table in _TABLES.items()
            }

        return await self._read(count)

    async def epoch(self) -> str:
        """See the port."""
        query = "SELECT value FROM meta WHERE key = 'epoch'"
        (value,) = await self._read(lambda connection: connection.execute(query).fetchone())
        return str(value.decode())

    async def faults(self) -> Sequence[StoreFault]:
        """See the port."""
        return await self._read(find_faults)

    # --- writing

    async def add(self, kind: Kind, values: Sequence[object]) -> Added:
        """See the port. One transaction."""
        statement, row_of = _INSERTS[kind]
        return await self._write(lambda connection: _insert(connection, statement, row_of, values))

    async def add_attachment(self, attachment: Attachment, content: bytes, used_by: Sequence[str]) -> bool:
        """See the port."""
        is_new = not await self.has(Kind.ATTACHMENT, attachment.id)
        created_at = None if attachment.created_at is None else iso(attachment.created_at)
        row = (attachment.id, created_at, rows.document(attachment), content)
        now = iso(self._clock.now())

        def put(connection: sqlite3.Connection) -> None:
            if is_new:
                put_attachment(connection, row, None, now)
            uses = [(attachment.id, user) for user in used_by]
            connection.executemany("INSERT OR IGNORE INTO attachment_uses VALUES (?, ?)", uses)

        await self._write(put)
        return is_new

    async def forget_runs(self, conversation_id: str) -> None:
        """See the port."""
        statement = (
            "DELETE FROM runs WHERE conversationId = ?1 AND NOT EXISTS (SELECT 1 FROM conversations WHERE id = ?1)"
        )
        await self._write(lambda connection: connection.execute(statement, (ConversationId(conversation_id),)))

    async def clear_data(self, message_ids: Sequence[str]) -> None:
        """See the port."""
        statement = "UPDATE messages SET doc = json_set(doc, '$.claudeData', json('{}')) WHERE id = ?"
        await self._write(lambda connection: connection.executemany(statement, [(one,) for one in message_ids]))

    async def renew_epoch(self) -> str:
        """See the port."""
        epoch = new_object_id()
        statement = "UPDATE meta SET value = ? WHERE key = 'epoch'"
        await self._write(lambda connection: connection.execute(statement, (epoch,)))
        return epoch

    async def shape(self) -> Sequence[str]:
        """See the port."""
        return await self._write(mend_shape)

    # --- connections

    async def _read(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        def run() -> Result:
            if self._reading is None:
                self._reading = connect(self._path, reads_only=True)
                self._reading.execute("BEGIN")
            return query(self._reading)

        return await self._explained(run)

    async def _write(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        def run() -> Result:
            if self._writing is None:
                self._writing = connect(self._path)
            self._writing.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._writing)
            except BaseException:
                # A full disk has ended the transaction already.
                if self._writing.in_transaction:
                    self._writing.execute("ROLLBACK")
                raise
            self._writing.execute("COMMIT")
            return result

        return await self._explained(run)

    async def _explained(self, run: Callable[[], Result]) -> Result:
        try:
            return await asyncio.to_thread(run)
        except sqlite3.Error as error:
            raise unavailable(self._path, error) from error


def _query(
    table: _Table, after: str | None, conversation_id: str | None, *, by_conversation: bool
) -> tuple[str, tuple[str | int, ...]]:
    values: tuple[str | int, ...] = ()
    condition, order = "1", table.key
    if conversation_id is not None:
        condition, values = str(table.of_one), (conversation_id,)
    elif after is not None and table.name == "run_journal":
        conversation, _, seq = after.partition(":")
        condition, values = "(conversationId, seq) > (?, ?)", (conversation, int(seq))
    elif after is not None:
        condition, values = f"{table.key} > ?", (after,)
    if table.order is not None and (by_conversation or conversation_id is not None):
        order = f"conversationId, {table.order}"
    key = "conversationId || ':' || seq" if table.name == "run_journal" else table.key
    query = (
        f"SELECT {key}, {table.conversation}, {table.columns} FROM {table.name} "  # nosec B608  # noqa: S608 - of constants
        f"WHERE {condition} ORDER BY {order}"
    )
    return query, values


def _record(kind: Kind, row: tuple[Any, ...]) -> Record:
    record_id, conversation_id, *columns = row
    try:
        document = _document(kind, conversation_id, columns)
    except (orjson.JSONDecodeError, TypeError, AttributeError):
        document = None
    return Record(kind, _text(record_id), None if conversation_id is None else _text(conversation_id), document)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _document(kind: Kind, conversation_id: bytes, columns: Sequence[Any]) -> dict[str, Any]:
    if kind is Kind.JOURNAL:
        request_id, seq, bridge_seq, at, events = columns
        return {
            "conversationId": conversation_id.decode(),
            "requestId": request_id.decode(),
            "seq": seq,
            "bridgeSeq": bridge_seq,
            "at": at.decode(),
            "events": orjson.loads(events),
        }
    document: dict[str, Any] = orjson.loads(columns[0])
    if kind is Kind.MESSAGE:
        return {**document, "coversBridgeSeq": columns[1]}
    if kind is Kind.ATTACHMENT:
        return {**document, "length": columns[1], "usedBy": orjson.loads(columns[2])}
    return document


def _insert(
    connection: sqlite3.Connection, statement: str, row_of: Callable[[Any], rows.Row], values: Sequence[object]
) -> Added:
    added = 0
    refused: list[str] = []
    for value in values:
        row = row_of(value)
        try:
            added += connection.execute(statement, row).rowcount
        except writes.UNSTORABLE:
            refused.append(str(getattr(value, "id", None) or getattr(value, "request_id", "")))
    return Added(added, len(values) - added - len(refused), tuple(refused))
