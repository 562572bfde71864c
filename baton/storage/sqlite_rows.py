"""Changes as rows, and rows as values.

A change is encoded on the event loop, at the call: what cannot be encoded is refused before it is queued, and the
queue can be bounded in bytes. On the writer's thread it would cost the same (measured, 20 journal rows a call, loop
idle or busy: 3 of 17-20 us of CPU per row either way), since the interpreter's lock is held for it there too.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

import orjson

from baton.core.ids import ConversationId, MessageId, RequestId
from baton.core.models import Conversation, Message, Prompt, Run
from baton.core.permissions import AuditEntry, Grant, GrantScope
from baton.core.stored import Change, EncodedJson, JournalRow, StoredMessage
from baton.schemas.codec import (
    dump_event,
    from_document,
    iso,
    load_stored_event,
    parse_iso,
    shown_fields,
    to_document,
    to_wire_json,
)

Row: TypeAlias = tuple[Any, ...]
"""Values in the order of a statement's placeholders."""

_PK_BITS = 20
_MAX_MILLISECONDS = (1 << (63 - _PK_BITS)) - 1


@dataclass(frozen=True, slots=True)
class EncodedChange:
    """A change as the values of its statements."""

    conversation: Row | None
    is_new: bool
    new_run: Row | None
    runs: tuple[tuple[Row, tuple[str, ...]], ...]
    messages: tuple[Row, ...]
    prompts: tuple[tuple[Row, str | None], ...]
    journal: Row | None
    trims: tuple[Row, ...]
    grants: tuple[Row, ...]
    audit: tuple[Row, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class EncodedJournal:
    """The change that most are: one bare journal row."""

    row: Row
    size_bytes: int


Encoded: TypeAlias = EncodedChange | EncodedJournal


def encode_change(change: Change) -> Encoded:
    """The change as rows. Raises TypeError or ValueError where it holds what cannot be stored."""
    journal = None if change.journal is None else journal_row(change.journal)
    if journal is not None and change.conversation is None and change.new_run is None and not _has_documents(change):
        return EncodedJournal(journal, len(journal[5]))
    conversation = None if change.conversation is None else conversation_row(change.conversation)
    new_run = None if change.new_run is None else run_row(change.new_run)
    runs = tuple((run_row(move.run), tuple(move.expect)) for move in change.runs)
    messages = tuple(message_row(message) for message in change.messages)
    prompts = tuple((prompt_row(move.prompt), move.expect) for move in change.prompts)
    return EncodedChange(
        conversation=conversation,
        is_new=change.is_new,
        new_run=new_run,
        runs=runs,
        messages=messages,
        prompts=prompts,
        journal=journal,
        trims=tuple((trim.request_id, trim.up_to_bridge_seq) for trim in change.trims),
        grants=tuple(grant_row(grant) for grant in change.grants),
        audit=tuple(audit_row(entry) for entry in change.audit),
        size_bytes=1000 + sum(len(row[-1]) for row in messages),
    )


def _has_documents(change: Change) -> bool:
    return bool(change.runs or change.messages or change.prompts or change.trims or change.grants or change.audit)


def journal_row(row: JournalRow) -> Row:
    """The columns of a journal row."""
    events = orjson.dumps([dump_event(event) for event in row.events]).decode()
    return (row.conversation_id, row.seq, row.request_id, row.bridge_seq, iso(row.at), events)


def conversation_row(conversation: Conversation) -> Row:
    """The columns of a conversation, its first primary key before the last."""
    return (
        conversation.id,
        conversation.project_id,
        conversation.status.value,
        conversation.claude_session_id,
        conversation.seq,
        iso(conversation.created_at),
        iso(conversation.updated_at),
        pk_of(conversation.created_at),
        document(conversation),
    )


def message_row(message: Message) -> Row:
    """The columns of a message, its first primary key before the last."""
    return (
        message.id,
        message.conversation_id,
        message.request_id,
        message.role.value,
        message.status.value,
        message.ordinal,
        message.seq,
        message.session_id,
        iso(message.created_at),
        message.covers_bridge_seq,
        pk_of(message.created_at),
        to_wire_json(message).decode(),
    )


def run_row(run: Run) -> Row:
    """The columns of a run."""
    return (
        run.conversation_id,
        run.status.value,
        run.seq,
        run.position,
        iso(run.queued_at),
        document(run),
        run.request_id,
    )


def prompt_row(prompt: Prompt) -> Row:
    """The columns of a prompt."""
    timeout_at = None if prompt.timeout_at is None else iso(prompt.timeout_at)
    return (
        prompt.conversation_id,
        prompt.request_id,
        prompt.status.value,
        prompt.seq,
        iso(prompt.created_at),
        timeout_at,
        document(prompt),
        prompt.id,
    )


def grant_row(grant: Grant) -> Row:
    """The columns of a grant."""
    return (
        # The column refers to a conversation, which a grant that reaches further may outlive.
        grant.conversation_id if grant.scope is GrantScope.CONVERSATION else None,
        grant.project_id if grant.scope is GrantScope.PROJECT else None,
        grant.scope.value,
        grant.tool_name,
        grant.status.value,
        None if grant.expires_at is None else iso(grant.expires_at),
        iso(grant.created_at),
        document(grant),
        grant.id,
    )


def audit_row(entry: AuditEntry) -> Row:
    """The columns of an entry of the audit."""
    return (entry.id, iso(entry.created_at), entry.conversation_id or "", entry.outcome, entry.handler, document(entry))


def document(value: object) -> str:
    """A model as its stored JSON."""
    return orjson.dumps(to_document(value)).decode()


def pk_of(created_at: datetime) -> int:
    """The first primary key of this millisecond; times that no clock shows are cut to those that fit."""
    milliseconds = round(created_at.timestamp() * 1000)
    return min(max(milliseconds, 0), _MAX_MILLISECONDS) << _PK_BITS


def load_conversation(doc: bytes) -> Conversation:
    """The conversation of this row."""
    return from_document(Conversation, orjson.loads(doc))


def load_message(doc: bytes, covers_bridge_seq: int) -> Message:
    """The message of this row."""
    return from_document(Message, {**orjson.loads(doc), "coversBridgeSeq": covers_bridge_seq})


def load_run(doc: bytes | str) -> Run:
    """The run of this row."""
    return from_document(Run, orjson.loads(doc))


def load_prompt(doc: bytes) -> Prompt:
    """The prompt of this row."""
    return from_document(Prompt, orjson.loads(doc))


def load_grant(doc: bytes) -> Grant:
    """The grant of this row."""
    return from_document(Grant, orjson.loads(doc))


def load_audit_entry(doc: bytes) -> AuditEntry:
    """The entry of this row."""
    return from_document(AuditEntry, orjson.loads(doc))


def load_journal(conversation_id: ConversationId, row: tuple[int, bytes, int, bytes, bytes]) -> JournalRow:
    """The journal row of (seq, requestId, bridgeSeq, at, events)."""
    seq, request_id, bridge_seq, at, events = row
    return JournalRow(
        conversation_id=conversation_id,
        request_id=RequestId(request_id.decode()),
        seq=seq,
        bridge_seq=bridge_seq,
        events=tuple(load_stored_event(event) for event in orjson.loads(events)),
        at=parse_iso(at.decode()),
    )


def load_stored_message(row: tuple[bytes, bytes | None, int, int, bytes]) -> StoredMessage:
    """The page entry of (id, requestId, ordinal, seq, doc)."""
    message_id, request_id, ordinal, seq, doc = row
    return StoredMessage(
        id=MessageId(message_id.decode()),
        request_id=None if request_id is None else RequestId(request_id.decode()),
        ordinal=ordinal,
        seq=seq,
        json=EncodedJson(doc),
    )


_RUN_FIELDS = shown_fields(Run)
_RUN_BEFORE: Final[dict[str, Any]] = {"plan": [], "notices": []}
"""What runs lack that were stored before they had it."""


def run_view(doc: bytes) -> EncodedJson:
    """The run of this row as its wire JSON: the same bytes as `codec.to_wire_json` gives for it.

    Without building the object: measured, a quarter of the time (19 us of 81).
    """
    run = _RUN_BEFORE | orjson.loads(doc)
    return EncodedJson(orjson.dumps({name: run[name] for name in _RUN_FIELDS}))
