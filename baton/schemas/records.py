"""Records as lines of a file (docs/backup.md), and as values of the core.

A line is a JSON object whose first member is its digest: of the line before and of the rest of this one. So a file that
was cut or changed is known by the first line that is not as it was written, and no line can be left out or moved.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import orjson

from baton.core.errors import InvalidRequest
from baton.core.ids import ConversationId, RequestId
from baton.core.models import Attachment, Conversation, Message, Project, Prompt, Run
from baton.core.permissions import AuditEntry, Grant
from baton.core.records import Kind
from baton.core.stored import JournalRow
from baton.core.tokens import ApiToken
from baton.schemas.codec import dump_event, from_document, iso, load_stored_event, parse_iso, to_document

FORMAT: Final = "baton-records"
VERSION: Final = 1

HEAD: Final = "head"
"""The first line: format, version, epoch, counts."""
TAIL: Final = "tail"
"""The last line: without it the file is not whole."""
CHUNK: Final = "attachment.chunk"
"""Some bytes of the attachment of the line before."""

CHUNK_BYTES: Final = 768 << 10
"""Of an attachment in one line: 1 MiB as base64."""
MOST_LINE_BYTES: Final = 64 << 20
"""A longer line is no line of ours: a message has at most some megabytes. So no file is read into memory whole."""

UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError, ExceptionGroup)
"""What making a value of a document raises that was changed by hand; cattrs gathers several in a group."""

_CLASSES: Final[dict[Kind, type]] = {
    Kind.PROJECT: Project,
    Kind.CONVERSATION: Conversation,
    Kind.MESSAGE: Message,
    Kind.RUN: Run,
    Kind.PROMPT: Prompt,
    Kind.GRANT: Grant,
    Kind.AUDIT: AuditEntry,
    Kind.TOKEN: ApiToken,
    Kind.ATTACHMENT: Attachment,
}


class BrokenFile(InvalidRequest):
    """The file is not as it was written; `line` is the first that is not."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"Line {line} {reason}")
        self.line = line


def load_record(kind: Kind, document: dict[str, Any]) -> Any:
    """The value of the core. Raises InvalidRequest."""
    try:
        if kind is Kind.JOURNAL:
            return _load_journal(document)
        return from_document(_CLASSES[kind], document)
    except UNREADABLE as error:
        raise InvalidRequest(f"holds no {kind} that this version can read") from error


def dump_journal(row: JournalRow) -> dict[str, Any]:
    """A journal row as a document."""
    return {
        "conversationId": row.conversation_id,
        "requestId": row.request_id,
        "seq": row.seq,
        "bridgeSeq": row.bridge_seq,
        "at": iso(row.at),
        "events": [dump_event(event) for event in row.events],
    }


def dump_record(value: object) -> dict[str, Any]:
    """The document of a value of the core; `load_record` reads it."""
    return dump_journal(value) if isinstance(value, JournalRow) else to_document(value)


def _load_journal(document: dict[str, Any]) -> JournalRow:
    return JournalRow(
        conversation_id=ConversationId(document["conversationId"]),
        request_id=RequestId(document["requestId"]),
        seq=document["seq"],
        bridge_seq=document["bridgeSeq"],
        events=tuple(load_stored_event(event) for event in document["events"]),
        at=parse_iso(document["at"]),
    )


# --- lines -----------------------------------------------------------------------------------------------------

_OPENING: Final = b'{"digest":"'
_CLOSING: Final = b'",'
_DIGEST_BYTES: Final = 16
_BODY_AT: Final = len(_OPENING) + 2 * _DIGEST_BYTES + len(_CLOSING)


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its `kind` (HEAD, CHUNK, TAIL or a Kind) and what it holds."""

    number: int
    kind: str
    document: dict[str, Any]


class Chain:
    """The digests of a file's lines, as they are written or read one after the other."""

    def __init__(self) -> None:
        self.lines = 0
        self._digest = b""

    def copy(self) -> "Chain":
        """The same place, to go on from later."""
        other = Chain()
        other.lines, other._digest = self.lines, self._digest
        return other

    def write(self, kind: str, document: dict[str, Any]) -> bytes:
        """The next line, with its end."""
        body = orjson.dumps({"kind": kind, "document": document})[1:]
        digest = self._follow(body)
        return _OPENING + digest + _CLOSING + body + b"\n"

    def check(self, line: bytes) -> None:
        """The next line is this one. Raises BrokenFile where it cannot be, also for one that is cut."""
        number = self.lines + 1
        if not line.endswith(b"\n"):
            raise BrokenFile(number, "has no end: the file was cut there")
        if not line.startswith(_OPENING):
            raise BrokenFile(number, "is no record: this is no export of Baton, or it was changed")
        digest = self._follow(line[_BODY_AT:-1])
        if line[:_BODY_AT] != _OPENING + digest + _CLOSING:
            raise BrokenFile(number, "is not as it was written, or lines before it are missing")

    def read(self, line: bytes) -> Line:
        """The next line, checked. Raises BrokenFile."""
        self.check(line)
        body = orjson.loads(b"{" + line[_BODY_AT:-1])
        return Line(self.lines, body["kind"], body["document"])

    def _follow(self, body: bytes) -> bytes:
        self._digest = hashlib.blake2b(self._digest + body, digest_size=_DIGEST_BYTES).digest()
        self.lines += 1
        return self._digest.hex().encode()
