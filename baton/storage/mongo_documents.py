"""Models as MongoDB documents and back: ObjectIds for `_id` and references, real dates, keys that every server takes.

Knows no database and no driver beyond `bson`. A message's wire JSON is made from its document directly, because
pages of history are served that way and building objects for them would cost most of the time.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import bson
import orjson
from bson import ObjectId
from bson.errors import BSONError

from baton.core.ids import ConversationId, MessageId, UserId, derived_object_id, is_object_id
from baton.core.models import (
    Attachment,
    Conversation,
    Message,
    Project,
    Prompt,
    PromptStatus,
    Run,
    RunRequest,
    RunStatus,
)
from baton.core.permissions import DONE, AuditEntry, Grant
from baton.core.stored import EncodedJson, JournalRow, StoredMessage
from baton.core.tokens import ApiToken, Login
from baton.schemas.codec import build_converter, dump_event, iso, load_stored_event, shown_fields
from baton.storage.mongo_words import words_of

Document: TypeAlias = dict[str, Any]

MAX_DOCUMENT_BYTES = 15 << 20
"""MongoDB's own limit is 16 MiB; the rest is room for what stands around a document where it is carried along."""

_converter = build_converter(internal=True, native_dates=True)

_ESCAPED = "escapedKeys"
"""Set on a document in which keys were changed, so that no other needs to be walked when read."""

_SPECIAL = re.compile("[$.％＄．]")
_WRITTEN = re.compile("％(.)|([＄．])")
_TO_SAFE = {"$": "＄", ".": "．", "％": "％％", "＄": "％＄", "．": "％．"}
_FROM_SAFE = {"＄": "$", "．": "."}


class Unstorable(Exception):
    """A value that no document can hold: a lone surrogate, a number beyond 64 bits, a malformed id, too many bytes."""


# --- ids -------------------------------------------------------------------------------------------------------


def object_id(text: object) -> ObjectId | None:
    """The ObjectId that `text` writes out; None where it writes none, so that nothing else ever reaches a filter."""
    return ObjectId(text) if isinstance(text, str) and is_object_id(text) else None


def run_key(request_id: str) -> ObjectId:
    """A run's `_id`: the same for the same requestId, so that inserting it twice fails."""
    if not isinstance(request_id, str):
        raise Unstorable("a requestId is not a text")
    return ObjectId(derived_object_id("run", request_id))


def _reference(text: Any) -> ObjectId | None:
    """An id for a document. Raises Unstorable for what is none."""
    if text is None:
        return None
    key = object_id(text)
    if key is None:
        raise Unstorable("an id is not 24 hex digits")
    return key


def _text(key: ObjectId | None) -> str | None:
    return None if key is None else str(key)


def _each(document: Document, names: Iterable[str], change: Callable[[Any], Any]) -> None:
    for name in names:
        if name in document:
            document[name] = change(document[name])


# --- keys ------------------------------------------------------------------------------------------------------


def escape_keys(value: Any) -> tuple[Any, bool]:
    """`value` with keys that hold no `$` and no `.`, which not all servers store; and whether one had to change."""
    if isinstance(value, dict):
        changed = False
        result = {}
        for key, item in value.items():
            safe = key if key.isidentifier() else _SPECIAL.sub(lambda found: _TO_SAFE[found[0]], key)
            result[safe], deeper = escape_keys(item)
            changed = changed or deeper or safe != key
        return (result, True) if changed else (value, False)
    if isinstance(value, (list, tuple)):
        pairs = [escape_keys(item) for item in value]
        return [item for item, _ in pairs], any(deeper for _, deeper in pairs)
    return value, False


def restore_keys(value: Any) -> Any:
    """What `escape_keys` was given."""
    if isinstance(value, dict):
        return {
            _WRITTEN.sub(lambda found: found[1] or _FROM_SAFE[found[2]], key): restore_keys(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [restore_keys(item) for item in value]
    return value


def _sealed(document: Document) -> Document:
    """The document as it is stored. Raises Unstorable where BSON cannot hold it."""
    escaped, changed = escape_keys(document)
    if changed:
        escaped[_ESCAPED] = True
    size_bytes(escaped)
    result: Document = escaped
    return result


def _opened(document: Mapping[str, Any]) -> Document:
    opened = restore_keys(dict(document)) if document.get(_ESCAPED) else dict(document)
    result: Document = opened
    return result


def size_bytes(document: Document) -> int:
    """How large the document is. Raises Unstorable where it cannot be stored at all, before any server sees it."""
    try:
        size = len(bson.encode(document))
    except (BSONError, OverflowError, ValueError, TypeError, RecursionError) as exc:
        raise Unstorable(f"a value cannot be stored ({type(exc).__name__})") from exc
    if size > MAX_DOCUMENT_BYTES:
        raise Unstorable(f"a document of {size} bytes is over the {MAX_DOCUMENT_BYTES} that can be stored")
    return size


# --- models to documents ---------------------------------------------------------------------------------------


def dump_conversation(conversation: Conversation) -> Document:
    """As stored in `conversations`, with the words of its title."""
    document = _with_key(_converter.unstructure(conversation))
    _each(document, ("projectId",), _reference)
    return _sealed({**document, "words": words_of(conversation.title)})


def dump_message(message: Message, owner_id: UserId | None = None) -> Document:
    """As stored in `messages`, with the words of its content, and whose conversation it is of."""
    document = _message_references(_with_key(_converter.unstructure(message)))
    if message.session_id is None:
        # Left out, so that {sessionId: {$exists: true}} finds exactly the messages that have one.
        del document["sessionId"]
    return _sealed({**document, "words": words_of(message.content), "ownerId": owner_id})


def dump_run(run: Run, owner_id: UserId | None = None) -> Document:
    """As stored in `runs`, with whose conversation it is of; the user's message that it carries keeps its `id`."""
    document: Document = {"_id": run_key(run.request_id), **_converter.unstructure(run)}
    _each(document, ("conversationId",), _reference)
    document["messageIds"] = [_reference(item) for item in document["messageIds"]]
    if document["answer"] is not None:
        _each(document["answer"], ("conversationId", "messageId"), _reference)
    if document["userMessage"] is not None:
        _each(_message_references(document["userMessage"]), ("id",), _reference)
    _attachment_references(document["request"])
    return _sealed({**document, "ownerId": owner_id})


def dump_prompt(prompt: Prompt, owner_id: UserId | None = None) -> Document:
    """As stored in `interactive_prompts`, with whose conversation it is of."""
    document = _with_key(_converter.unstructure(prompt))
    _each(document, ("conversationId", "projectId"), _reference)
    if document["decision"] is not None:
        _each(document["decision"], ("grantId",), _reference)
    return _sealed({**document, "ownerId": owner_id})


def dump_grant(grant: Grant) -> Document:
    """As stored in `conversation_permissions`."""
    document = _with_key(_converter.unstructure(grant))
    _each(document, ("conversationId", "projectId"), _reference)
    return _sealed(document)


def dump_audit_entry(entry: AuditEntry) -> Document:
    """As stored in `audit_log`, with what it is counted as, if it is a decision."""
    document = _with_key(_converter.unstructure(entry))
    _each(document, _AUDIT_REFERENCES, _reference)
    tally = {} if entry.outcome == DONE else {"tally": f"{entry.outcome}/{entry.handler}"}
    return _sealed({**document, **tally})


def dump_journal(row: JournalRow) -> Document:
    """As stored in `run_journal`. Each call gives it another `_id`."""
    return _sealed(
        {
            "_id": ObjectId(),
            "conversationId": _reference(row.conversation_id),
            "requestId": row.request_id,
            "seq": row.seq,
            "bridgeSeq": row.bridge_seq,
            "at": row.at,
            "events": [dump_event(event) for event in row.events],
        }
    )


def dump_project(project: Project) -> Document:
    """As stored in `projects`."""
    return _sealed(_with_key(_converter.unstructure(project)))


def dump_attachment(attachment: Attachment) -> Document:
    """What of an attachment is stored beside its bytes."""
    return _sealed(_with_key(_converter.unstructure(attachment)))


def dump_token(token: ApiToken) -> Document:
    """As stored in `api_tokens`."""
    document = _with_key(_converter.unstructure(token))
    if token.last_used_at is None:
        # Left out, so that `$max` has nothing to compare a time with.
        del document["lastUsedAt"]
    return _sealed(document)


def dump_login(login: Login) -> Document:
    """As stored in `logins`: its `_id` is no ObjectId but the digest that names it."""
    document = _converter.unstructure(login)
    return _sealed({"_id": document.pop("id"), **document})


def _with_key(document: Document) -> Document:
    return {"_id": _reference(document.pop("id")), **document}


def _message_references(document: Document) -> Document:
    _each(document, ("conversationId", "projectId"), _reference)
    _attachment_references(document)
    return document


def _attachment_references(document: Document) -> None:
    for attachment in document["attachments"]:
        _each(attachment, ("id",), _reference)


_AUDIT_REFERENCES = ("conversationId", "projectId", "promptId", "grantId", "tokenId")

STRIPPED_RUN: Document = {
    "seq": 0,
    "bridgeId": None,
    "messageIds": [],
    "userMessage": None,
    "plan": [],
    "notices": [],
    "error": None,
    "request": _converter.unstructure(RunRequest(content="")),
}
"""What of a run is overwritten when its conversation goes: all that anybody wrote."""


# --- documents to models ---------------------------------------------------------------------------------------


def load_conversation(document: Mapping[str, Any]) -> Conversation:
    """The conversation that was stored."""
    opened = _without_key(_opened(document))
    _each(opened, ("projectId",), _text)
    return _converter.structure(opened, Conversation)


def load_message(document: Mapping[str, Any]) -> Message:
    """The message that was stored."""
    return _converter.structure(_message_texts(_without_key(_opened(document))), Message)


def load_run(document: Mapping[str, Any]) -> Run:
    """The run that was stored."""
    opened = _opened(document)
    _each(opened, ("conversationId",), _text)
    opened["messageIds"] = [str(item) for item in opened["messageIds"]]
    if opened["answer"] is not None:
        opened["answer"] = dict(opened["answer"])
        _each(opened["answer"], ("conversationId", "messageId"), _text)
    if opened["userMessage"] is not None:
        opened["userMessage"] = _message_texts(dict(opened["userMessage"]))
        _each(opened["userMessage"], ("id",), _text)
    opened["request"] = _attachment_texts(dict(opened["request"]))
    return _converter.structure(opened, Run)


def load_prompt(document: Mapping[str, Any]) -> Prompt:
    """The prompt that was stored."""
    opened = _without_key(_opened(document))
    _each(opened, ("conversationId", "projectId"), _text)
    if opened.get("decision") is not None:
        opened["decision"] = dict(opened["decision"])
        _each(opened["decision"], ("grantId",), _text)
    return _converter.structure(opened, Prompt)


def load_grant(document: Mapping[str, Any]) -> Grant:
    """The grant that was stored."""
    opened = _without_key(_opened(document))
    _each(opened, ("conversationId", "projectId"), _text)
    return _converter.structure(opened, Grant)


def load_audit_entry(document: Mapping[str, Any]) -> AuditEntry:
    """The entry that was stored."""
    opened = _without_key(_opened(document))
    _each(opened, _AUDIT_REFERENCES, _text)
    return _converter.structure(opened, AuditEntry)


def load_journal(document: Mapping[str, Any]) -> JournalRow:
    """The row that was stored."""
    opened = _opened(document)
    return JournalRow(
        conversation_id=ConversationId(str(opened["conversationId"])),
        request_id=opened["requestId"],
        seq=int(opened["seq"]),
        bridge_seq=int(opened["bridgeSeq"]),
        events=tuple(load_stored_event(event) for event in opened["events"]),
        at=aware(opened["at"]),
    )


def load_project(document: Mapping[str, Any]) -> Project:
    """The project that was stored."""
    return _converter.structure(_without_key(_opened(document)), Project)


def load_attachment(document: Mapping[str, Any]) -> Attachment:
    """The attachment that was stored."""
    return _converter.structure(_without_key(_opened(document)), Attachment)


def load_token(document: Mapping[str, Any]) -> ApiToken:
    """The token that was stored."""
    return _converter.structure(_without_key(_opened(document)), ApiToken)


def load_login(document: Mapping[str, Any]) -> Login:
    """The login that was stored."""
    return _converter.structure(_without_key(_opened(document)), Login)


def _without_key(document: Document) -> Document:
    document["id"] = str(document.pop("_id"))
    return document


def _message_texts(document: Document) -> Document:
    _each(document, ("conversationId", "projectId"), _text)
    return _attachment_texts(document)


def _attachment_texts(document: Document) -> Document:
    document["attachments"] = [{**item, "id": str(item["id"])} for item in document["attachments"]]
    return document


def aware(at: datetime) -> datetime:
    """A time as read, in UTC: a driver may leave the zone out."""
    return at if at.tzinfo else at.replace(tzinfo=UTC)


# --- documents to the wire -------------------------------------------------------------------------------------


_MESSAGE_FIELDS = shown_fields(Message)
_ATTACHMENT_FIELDS = shown_fields(Attachment)
_RUN_FIELDS = shown_fields(Run)
_RUN_BEFORE: Document = {"plan": [], "notices": []}
"""What runs lack that were stored before they had it."""
STORED_MESSAGE_FIELDS = dict.fromkeys(("_id", _ESCAPED, *(name for name in _MESSAGE_FIELDS if name != "id")), True)
"""A projection: what `stored_message` needs."""
STORED_RUN_FIELDS = dict.fromkeys((_ESCAPED, *_RUN_FIELDS), True)
"""A projection: what `run_view` needs."""


def stored_message(document: Mapping[str, Any]) -> StoredMessage:
    """The message as its wire JSON: the same bytes as `codec.to_wire_json` gives for it."""
    opened = _opened(document)
    opened["id"] = opened["_id"]
    wire = {name: opened.get(name) for name in _MESSAGE_FIELDS}
    wire["attachments"] = [{name: item.get(name) for name in _ATTACHMENT_FIELDS} for item in opened["attachments"]]
    encoded = orjson.dumps(wire, default=_wire_value, option=orjson.OPT_PASSTHROUGH_DATETIME)
    return StoredMessage(
        id=MessageId(str(opened["_id"])),
        request_id=opened["requestId"],
        ordinal=int(opened["ordinal"]),
        seq=int(opened["seq"]),
        json=EncodedJson(encoded),
    )


def run_view(document: Mapping[str, Any]) -> EncodedJson:
    """The run as its wire JSON: the same bytes as `codec.to_wire_json` gives for it."""
    opened = _RUN_BEFORE | _opened(document)
    wire = {name: opened[name] for name in _RUN_FIELDS}
    return EncodedJson(orjson.dumps(wire, default=_wire_value, option=orjson.OPT_PASSTHROUGH_DATETIME))


def _wire_value(value: object) -> str:
    if isinstance(value, datetime):
        return iso(aware(value))
    if isinstance(value, ObjectId):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not part of a message or run")


# --- filters ---------------------------------------------------------------------------------------------------


def equal(value: object) -> Document:
    """A condition that takes `value` for what it is, even where it looks like an operator."""
    return {"$eq": value}


def one_of(values: Iterable[ObjectId | RunStatus | PromptStatus | str]) -> Document:
    """A condition on values of our own making: never given what a user supplies."""
    return {"$in": [value if isinstance(value, ObjectId) else str(value) for value in values]}
