"""Whether what a database holds fits together; the same questions of every store.

One pass beside each other over conversations, messages, runs, prompts and the journal, each in the order of their
conversations: whatever the number of messages, what is remembered is one conversation's open runs. Only looks; what
is safe to mend, `services.mending` does.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from baton.core.lifecycle import OPEN_RUN
from baton.core.models import ConversationState, ConversationStatus, PromptStatus, RunStatus
from baton.core.records import Kind, Record, Records

MOST_IDS: Final = 10_000
"""Ids that are kept of one finding, to mend them; those beyond are counted, and the next repair finds them."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a finding means, and whether `--repair` mends it."""

    text: str
    is_mended: bool


MEANINGS: Final[Mapping[str, Meaning]] = {
    "file_damaged": Meaning("the database file is damaged: restore a backup with `baton db restore`", False),
    "migration_missing": Meaning("the database has not had these migrations: `baton db migrate`", True),
    "index_missing": Meaning("indexes or triggers are missing: reads are slow, searches and counts wrong", True),
    "count_wrong": Meaning("what is counted while writing is not what is there", True),
    "change_unfinished": Meaning("a change was begun and not finished, as a crash leaves it", True),
    "unreadable": Meaning("cannot be read: changed by hand, or by a newer version", False),
    "message_without_content": Meaning("messages without any text", False),
    "message_without_data": Meaning("messages whose claudeData is null", True),
    "message_without_conversation": Meaning("messages that name no conversation: nothing shows them", False),
    "message_misfiled": Meaning("messages that are filed under another conversation than they name", False),
    "message_orphan": Meaning("messages of conversations that are not there: restore these from a backup", False),
    "run_orphan": Meaning("runs of conversations that are not there and were not removed by Baton", False),
    "prompt_orphan": Meaning("prompts of conversations that are not there", False),
    "journal_orphan": Meaning("journal of conversations that are not there", True),
    "journal_ended": Meaning("journal of runs that have ended: contained in messages already", True),
    "prompt_of_ended_run": Meaning("prompts that wait for an answer though their run has ended", True),
    "run_of_deleted": Meaning("open runs of conversations in the bin: restore these in the page, and abort", False),
    "state_wrong": Meaning("conversations that are told as doing something else than their runs do", True),
    "seq_behind": Meaning("conversations whose seq is below what they hold: browsers would miss changes", True),
    "ordinal_behind": Meaning("conversations whose ordinal is below a message's: the next one would collide", True),
    "ordinal_twice": Meaning("messages that share their place with another of the conversation", False),
    "attachment_missing": Meaning("attachments that messages name and that are not there: restore a backup", False),
    "attachment_torn": Meaning("attachments of which bytes are missing: restore a backup", False),
}
"""Every finding, in the order in which they are told."""


@dataclass(slots=True)
class Finding:
    """How many of one fault, and which."""

    code: str
    count: int = 0
    ids: list[str] = field(default_factory=list)
    """The first MOST_IDS."""

    def add(self, record_id: str) -> None:
        """One more."""
        self.count += 1
        if len(self.ids) < MOST_IDS:
            self.ids.append(record_id)


class Findings:
    """All that was found, by code."""

    def __init__(self) -> None:
        self._by_code: dict[str, Finding] = {}

    def add(self, code: str, record_id: str) -> None:
        """One more."""
        assert code in MEANINGS, code
        self._by_code.setdefault(code, Finding(code)).add(record_id)

    def ids(self, code: str) -> list[str]:
        """Of one fault."""
        return self._by_code[code].ids if code in self._by_code else []

    def also_in(self, other: "Findings") -> "Findings":
        """Those that both have, of the ids that are kept."""
        both = Findings()
        for finding in self:
            for record_id in set(finding.ids) & set(other.ids(finding.code)):
                both.add(finding.code, record_id)
        return both

    def __iter__(self) -> Iterator[Finding]:
        return (self._by_code[code] for code in MEANINGS if code in self._by_code)

    def __bool__(self) -> bool:
        return bool(self._by_code)


Progress = Callable[[int], None]
"""Told how many records have been looked at."""


async def look(records: Records, progress: Progress, *, conversation_id: str | None = None) -> Findings:
    """Look at everything, or at what belongs to one conversation. Writes nothing."""
    findings = Findings()
    if conversation_id is None:
        for fault in await records.faults():
            for name in fault.names:
                findings.add(fault.code, name)
        if findings.ids("file_damaged") or findings.ids("migration_missing"):
            return findings
    await _Look(records, findings, progress, conversation_id).run()
    return findings


@dataclass(slots=True)
class _One:
    """What the pass remembers of the conversation that it is at."""

    id: str
    conversation: dict[str, Any] | None
    open_runs: dict[str, str] = field(default_factory=dict)
    """The status of each."""
    seq: int = 0
    ordinal: int = 0


class _Look:
    def __init__(self, records: Records, findings: Findings, progress: Progress, conversation_id: str | None) -> None:
        self._records = records
        self._findings = findings
        self._progress = progress
        self._only = conversation_id
        self._looked_at = 0

    async def run(self) -> None:
        streams = {kind: _Stream(self._scan(kind)) for kind in (Kind.MESSAGE, Kind.RUN, Kind.PROMPT, Kind.JOURNAL)}
        async for conversation in self._scan(Kind.CONVERSATION):
            await self._orphans(streams, before=conversation.id)
            await self._conversation(conversation, streams)
        await self._orphans(streams, before=None)
        if self._only is None:
            await self._rest()

    async def _scan(self, kind: Kind) -> AsyncGenerator[Record]:
        """The readable ones; what has no readable conversation sorts before all others."""
        async for record in self._records.scan(kind, by_conversation=True, conversation_id=self._only):
            self._looked_at += 1
            self._progress(self._looked_at)
            if record.document is None:
                self._findings.add("unreadable", record.id)
            # Also an unreadable conversation is there, and what it holds is no orphan.
            if record.document is not None or kind is Kind.CONVERSATION:
                yield record

    # --- in a conversation

    async def _conversation(self, record: Record, streams: Mapping[Kind, "_Stream"]) -> None:
        one = _One(record.id, record.document)
        async for run in streams[Kind.RUN].of(one.id):
            self._run(one, run)
        ordinal_before: int | None = None
        async for message in streams[Kind.MESSAGE].of(one.id):
            ordinal_before = await self._message(one, message, ordinal_before)
        async for prompt in streams[Kind.PROMPT].of(one.id):
            self._prompt(one, prompt)
        async for row in streams[Kind.JOURNAL].of(one.id):
            self._row(one, row)
        if one.conversation is not None:
            self._whole(one, one.conversation)

    def _run(self, one: _One, record: Record) -> None:
        run = _read(record)
        one.seq = max(one.seq, _number(run, "seq"))
        if run.get("status") not in OPEN_RUN:
            return
        one.open_runs[record.id] = str(run["status"])
        if (one.conversation or {}).get("status") == ConversationStatus.DELETED:
            self._findings.add("run_of_deleted", record.id)

    async def _message(self, one: _One, record: Record, ordinal_before: int | None) -> int:
        message = _read(record)
        ordinal = _number(message, "ordinal")
        one.seq = max(one.seq, _number(message, "seq"))
        one.ordinal = max(one.ordinal, ordinal)
        if ordinal == ordinal_before:
            self._findings.add("ordinal_twice", record.id)
        if message.get("conversationId") != one.id:
            self._findings.add("message_misfiled", record.id)
        self._content(record.id, message)
        for attachment_id in _named(message):
            if not await self._records.has(Kind.ATTACHMENT, attachment_id):
                self._findings.add("attachment_missing", attachment_id)
        return ordinal

    def _content(self, message_id: str, message: Mapping[str, Any]) -> None:
        # One with nothing but attachments says something without a text.
        if not message.get("content") and not message.get("attachments"):
            self._findings.add("message_without_content", message_id)
        if message.get("claudeData") is None:
            self._findings.add("message_without_data", message_id)

    def _prompt(self, one: _One, record: Record) -> None:
        prompt = _read(record)
        one.seq = max(one.seq, _number(prompt, "seq"))
        if prompt.get("status") == PromptStatus.PENDING and prompt.get("requestId") not in one.open_runs:
            self._findings.add("prompt_of_ended_run", record.id)

    def _row(self, one: _One, record: Record) -> None:
        row = _read(record)
        if row.get("requestId") not in one.open_runs:
            self._findings.add("journal_ended", record.id)

    def _whole(self, one: _One, conversation: Mapping[str, Any]) -> None:
        if conversation.get("state") not in _states(one.open_runs.values()):
            self._findings.add("state_wrong", one.id)
        # While a run is open, its journal counts on, and the document follows at the end.
        if one.seq > _number(conversation, "seq") and not one.open_runs:
            self._findings.add("seq_behind", one.id)
        if one.ordinal > _number(conversation, "ordinal"):
            self._findings.add("ordinal_behind", one.id)

    # --- what belongs to none

    async def _orphans(self, streams: Mapping[Kind, "_Stream"], *, before: str | None) -> None:
        for kind, stream in streams.items():
            async for record in stream.before(before):
                self._orphan(kind, record)

    def _orphan(self, kind: Kind, record: Record) -> None:
        document = _read(record)
        if kind is Kind.RUN:
            # A purge leaves of each run what answers its request again, with the seq 0.
            if _number(document, "seq") or document.get("status") in OPEN_RUN:
                self._findings.add("run_orphan", record.id)
        elif kind is Kind.MESSAGE:
            self._content(record.id, document)
            has_none = record.conversation_id is None
            self._findings.add("message_without_conversation" if has_none else "message_orphan", record.id)
        else:
            self._findings.add(f"{kind}_orphan", record.id)

    async def _rest(self) -> None:
        """Kinds of which only is asked whether they can be read."""
        for kind in (Kind.PROJECT, Kind.GRANT, Kind.AUDIT, Kind.TOKEN, Kind.ATTACHMENT):
            async for _ in self._scan(kind):
                pass


class _Stream:
    """Records in the order of their conversations, of which the next can be looked at before it is taken."""

    def __init__(self, records: AsyncIterator[Record]) -> None:
        self._records = records
        self._next: Record | None = None
        self._has_begun = False

    async def of(self, conversation_id: str) -> AsyncGenerator[Record]:
        """Those of this conversation; to be asked when all before it are taken."""
        while (record := await self._peek()) is not None and record.conversation_id == conversation_id:
            yield record
            await self._take()

    async def before(self, conversation_id: str | None) -> AsyncGenerator[Record]:
        """Those of conversations before this one; None: all that are left."""
        while (record := await self._peek()) is not None and (
            conversation_id is None or (record.conversation_id or "") < conversation_id
        ):
            yield record
            await self._take()

    async def _peek(self) -> Record | None:
        if not self._has_begun:
            self._has_begun = True
            await self._take()
        return self._next

    async def _take(self) -> None:
        self._next = await anext(self._records, None)


def _read(record: Record) -> dict[str, Any]:
    assert record.document is not None, "those that cannot be read were left out"
    return record.document


def _number(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    return value if isinstance(value, int) else 0


def _named(message: Mapping[str, Any]) -> Iterator[str]:
    """Ids of the attachments that a message names."""
    for attachment in message.get("attachments") or ():
        yield str(attachment.get("id"))
    for block in message.get("blocks") or ():
        spilled = block.get("input")
        if block.get("attachment"):
            yield str(block["attachment"])
        if isinstance(spilled, dict) and spilled.keys() == {"cut", "attachment"}:
            yield str(spilled["attachment"])


def _states(open_runs: Any) -> frozenset[str]:
    """The states that a conversation with these open runs can be in (`lifecycle.conversation_state`)."""
    statuses = set(open_runs)
    if not statuses:
        return frozenset({ConversationState.IDLE, ConversationState.FAILED})
    if RunStatus.AWAITING_INPUT in statuses:
        return frozenset({ConversationState.AWAITING_INPUT})
    if statuses == {RunStatus.QUEUED}:
        return frozenset({ConversationState.QUEUED})
    return frozenset({ConversationState.RUNNING})
