"""A database's records into a file, out of a file, and from one database into another (docs/backup.md).

Everything streams: in memory are one batch of records, or one attachment.
"""

import base64
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from baton.core.errors import InvalidRequest, NotFound
from baton.core.models import Attachment
from baton.core.records import Added, Kind, Records
from baton.schemas.records import (
    CHUNK,
    CHUNK_BYTES,
    FORMAT,
    HEAD,
    MOST_LINE_BYTES,
    TAIL,
    VERSION,
    BrokenFile,
    Chain,
    Line,
    load_record,
)

BATCH: Final = 500

Progress = Callable[[int], None]
"""Told how many records are done."""


@dataclass(slots=True)
class Contents:
    """What a file holds, as far as it was read."""

    head: dict[str, Any]
    chain: Chain
    """After the last whole record."""
    size_bytes: int = 0
    """Up to there."""
    counts: Counter[str] = field(default_factory=Counter)
    last: tuple[Kind, str] | None = None
    is_whole: bool = False
    wanted: dict[str, Any] | None = None
    """The conversation that was looked for."""


@dataclass(slots=True)
class Exported:
    """How many of each kind were written, and what could not be read and is missing."""

    counts: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)


# --- out -------------------------------------------------------------------------------------------------------


async def export(
    records: Records,
    out: BinaryIO,
    progress: Progress,
    *,
    conversation_id: str | None = None,
    begun: Contents | None = None,
) -> Exported:
    """Write everything, or one conversation with what it uses. `begun`: `out` stands behind this part of it.

    Raises NotFound where there is no such conversation, InvalidRequest where what was begun is another database's.
    """
    if conversation_id is not None and not await records.has(Kind.CONVERSATION, conversation_id):
        raise NotFound(f"There is no conversation {conversation_id}")
    head = await _head(records, conversation_id)
    chain = begun.chain if begun else Chain()
    exported = Exported(counts=Counter(begun.counts) if begun else Counter())
    if begun is None:
        out.write(chain.write(HEAD, head))
    elif (begun.head.get("epoch"), begun.head.get("conversation")) != (head["epoch"], conversation_id):
        raise InvalidRequest("The file was begun from another database, or of another conversation: name another file")
    kinds = list(Kind)
    last_kind, last_id = begun.last if begun and begun.last else (kinds[0], None)
    for kind in kinds[kinds.index(last_kind) :]:
        after = last_id if kind is last_kind else None
        await _export_kind(_Out(records, out, chain, exported, progress), kind, after, conversation_id)
    out.write(chain.write(TAIL, {"counts": dict(exported.counts), "lines": chain.lines + 1}))
    return exported


async def _head(records: Records, conversation_id: str | None) -> dict[str, Any]:
    counts = None
    if conversation_id is None:
        counts = {kind.value: count for kind, count in (await records.counts()).items()}
    return {
        "format": FORMAT,
        "version": VERSION,
        "epoch": await records.epoch(),
        "conversation": conversation_id,
        # As it was at the beginning; the last line has what is in the file.
        "counts": counts,
    }


@dataclass(frozen=True, slots=True)
class _Out:
    records: Records
    out: BinaryIO
    chain: Chain
    exported: Exported
    progress: Progress


async def _export_kind(to: _Out, kind: Kind, after: str | None, conversation_id: str | None) -> None:
    # One conversation has its own order, in which nothing says where to go on: it is read again up to there.
    is_behind = conversation_id is None or after is None
    async for record in to.records.scan(
        kind, after=after if conversation_id is None else None, conversation_id=conversation_id
    ):
        if not is_behind:
            is_behind = record.id == after
            continue
        if record.document is None:
            to.exported.unreadable.append(f"{kind} {record.id}")
            continue
        to.out.write(to.chain.write(kind, record.document))
        if kind is Kind.ATTACHMENT:
            await _export_content(to, record.id)
        to.exported.counts[kind.value] += 1
        to.progress(to.exported.counts.total())


async def _export_content(to: _Out, attachment_id: str) -> None:
    content = await to.records.content(attachment_id) or b""
    for number, start in enumerate(range(0, len(content), CHUNK_BYTES)):
        data = base64.b64encode(content[start : start + CHUNK_BYTES]).decode("ascii")
        to.out.write(to.chain.write(CHUNK, {"id": attachment_id, "n": number, "data": data}))


# --- what a file holds -----------------------------------------------------------------------------------------


def read_contents(
    file: BinaryIO, progress: Progress, *, is_begun: bool = False, conversation_id: str | None = None
) -> Contents:
    """Read a file from its beginning, checking every line; nothing of a file is used before that.

    `is_begun`: one that has no end yet is good up to its last whole record. Raises BrokenFile.
    """
    chain = Chain()
    contents = Contents(_read_head(chain, file), chain.copy(), file.tell())
    missing_bytes = 0
    record: Line | None = None
    lines = _lines(file)
    while True:
        try:
            raw = next(lines, None)
            line = None if raw is None else chain.read(raw)
        except BrokenFile:
            if not is_begun or file.read(1):
                raise
            return contents
        if line is None:
            if is_begun:
                return contents
            raise BrokenFile(chain.lines + 1, "is missing: the file was cut before its last line")
        if line.kind == TAIL:
            return _end(contents, line, file)
        if line.kind == CHUNK:
            missing_bytes -= len(base64.b64decode(line.document["data"]))
        elif missing_bytes:
            raise BrokenFile(line.number, "follows an attachment that is not whole")
        else:
            record = line
            missing_bytes = _length(line)
        if not missing_bytes and record is not None:
            _note(contents, record, conversation_id)
            record = None
            contents.chain, contents.size_bytes = chain.copy(), file.tell()
        progress(contents.counts.total())


def _read_head(chain: Chain, file: BinaryIO) -> dict[str, Any]:
    line = chain.read(next(_lines(file), b""))
    if line.kind != HEAD or line.document.get("format") != FORMAT:
        raise BrokenFile(1, "is not the head of an export of Baton")
    if line.document.get("version") != VERSION:
        raise BrokenFile(1, f"says version {line.document.get('version')}: this Baton reads version {VERSION}")
    return line.document


def _lines(file: BinaryIO) -> Any:
    return iter(lambda: file.readline(MOST_LINE_BYTES), b"")


def _length(line: Line) -> int:
    """How many bytes of an attachment are to follow in chunks."""
    return int(line.document["length"]) if line.kind == Kind.ATTACHMENT else 0


def _note(contents: Contents, line: Line, conversation_id: str | None) -> None:
    """The record is whole."""
    kind = _kind(line)
    contents.counts[kind.value] += 1
    contents.last = (kind, _id(kind, line.document))
    if kind is Kind.CONVERSATION and line.document["id"] == conversation_id:
        contents.wanted = line.document


def _end(contents: Contents, line: Line, file: BinaryIO) -> Contents:
    if line.document.get("counts") != dict(contents.counts) or line.document.get("lines") != line.number:
        raise BrokenFile(line.number, "counts other records than the file has")
    if file.read(1):
        raise BrokenFile(line.number + 1, "stands behind the end of the file")
    contents.is_whole = True
    return contents


def _kind(line: Line) -> Kind:
    try:
        return Kind(line.kind)
    except ValueError:
        raise BrokenFile(line.number, f"is of a kind that this version does not know: {line.kind}") from None


def _id(kind: Kind, document: Mapping[str, Any]) -> str:
    if kind is Kind.JOURNAL:
        return f"{document['conversationId']}:{document['seq']}"
    return str(document["requestId"] if kind is Kind.RUN else document["id"])


# --- in --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Incoming:
    """A value to be added; of an attachment with its bytes and its uses."""

    kind: Kind
    value: Any
    content: bytes = b""
    used_by: tuple[str, ...] = ()


@dataclass(slots=True)
class Filled:
    """What became of the records of each kind."""

    kinds: dict[Kind, Added] = field(default_factory=dict)

    def add(self, kind: Kind, added: Added) -> None:
        """Some more."""
        self.kinds[kind] = self.kinds.get(kind, Added()) + added

    @property
    def added(self) -> int:
        """How many are new."""
        return sum(one.added for one in self.kinds.values())

    @property
    def known(self) -> int:
        """How many were there already."""
        return sum(one.known for one in self.kinds.values())

    @property
    def refused(self) -> list[str]:
        """What the store did not take: kind and id."""
        return [f"{kind} {name}" for kind, one in self.kinds.items() for name in one.refused]


async def fill(records: Records, source: AsyncIterator[Incoming], progress: Progress) -> Filled:
    """Add everything that is not there."""
    filled = Filled()
    batch: list[Incoming] = []
    done = 0
    async for incoming in source:
        if batch and (batch[0].kind is not incoming.kind or len(batch) == BATCH):
            await _add(records, batch, filled)
            batch = []
        batch.append(incoming)
        if incoming.kind is Kind.ATTACHMENT:
            # One at a time: each can have many megabytes.
            await _add(records, batch, filled)
            batch = []
        done += 1
        progress(done)
    if batch:
        await _add(records, batch, filled)
    return filled


async def _add(records: Records, batch: list[Incoming], filled: Filled) -> None:
    kind = batch[0].kind
    if kind is Kind.ATTACHMENT:
        for one in batch:
            assert isinstance(one.value, Attachment), "its kind says so"
            is_new = await records.add_attachment(one.value, one.content, one.used_by)
            filled.add(kind, Added(int(is_new), int(not is_new)))
    else:
        filled.add(kind, await records.add(kind, [one.value for one in batch]))


async def from_file(file: BinaryIO) -> AsyncGenerator[Incoming]:
    """The records of a file that `read_contents` has read to its end. Raises BrokenFile."""
    chain = Chain()
    _read_head(chain, file)
    open_file: Line | None = None
    content = bytearray()
    for raw in _lines(file):
        line = chain.read(raw)
        if line.kind == CHUNK:
            content += base64.b64decode(line.document["data"])
            continue
        if open_file is not None:
            yield _incoming(open_file, bytes(content))
            open_file = None
        if line.kind == Kind.ATTACHMENT:
            open_file, content = line, bytearray()
        elif line.kind != TAIL:
            yield _incoming(line)


def _incoming(line: Line, content: bytes = b"") -> Incoming:
    kind = _kind(line)
    used_by = tuple(line.document.get("usedBy", ())) if kind is Kind.ATTACHMENT else ()
    try:
        return Incoming(kind, load_record(kind, _plain(kind, line.document)), content, used_by)
    except InvalidRequest as error:
        raise BrokenFile(line.number, error.message) from error


async def from_records(
    records: Records, unreadable: list[str], *, conversation_id: str | None = None
) -> AsyncGenerator[Incoming]:
    """The records of another database; what cannot be read is named in `unreadable`."""
    for kind in Kind:
        async for record in records.scan(kind, conversation_id=conversation_id):
            if record.document is None:
                unreadable.append(f"{kind} {record.id}")
                continue
            content, used_by = b"", ()
            if kind is Kind.ATTACHMENT:
                content = await records.content(record.id) or b""
                used_by = tuple(record.document["usedBy"])
            yield Incoming(kind, load_record(kind, _plain(kind, record.document)), content, used_by)


def _plain(kind: Kind, document: dict[str, Any]) -> dict[str, Any]:
    if kind is not Kind.ATTACHMENT:
        return document
    return {name: value for name, value in document.items() if name not in ("usedBy", "length")}
