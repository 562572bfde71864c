"""Everything that a round has left: what agents wrote down, what people were shown, what is stored."""

import json
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.suite.plan import Fault, Round
from tests.faults.suite.witness import Json, Witness
from tests.support.page_view import utf16_length

Texts = dict[tuple[str, int], str]
"""By message and place of the block."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a scribe."""

    at: float
    pid: int
    request: str
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Absence:
    """Somebody (`server`, `bridge`, `agent`) was not there, by the machine's monotonic clock."""

    who: str
    how: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Crash:
    """A server was killed: what its browsers had been shown by then, and what was on disk."""

    shown: Texts
    disk: Texts


@dataclass(slots=True)
class Sent:
    """One message of a person: every answer that it got, and since when it was known to anybody."""

    at: float
    answers: list[Json] = field(default_factory=list)


@dataclass(slots=True)
class Evidence:
    """See the module."""

    round: Round
    conversations: list[str] = field(default_factory=list)
    sent: dict[str, Sent] = field(default_factory=dict)
    aborted: set[str] = field(default_factory=set)
    """Runs of which somebody asked for the abort."""
    responses: list[tuple[str, str, Json]] = field(default_factory=list)
    """Every answer to a prompt: the prompt, the option, and what the server said to it."""
    witnesses: list[Witness] = field(default_factory=list)
    newcomer: Witness | None = None
    """A browser that came after everything."""
    history: dict[str, list[Json]] = field(default_factory=dict)
    """Messages by conversation, as REST gives them."""
    stored: "Stored | None" = None
    lines: list[Line] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)
    absences: list[Absence] = field(default_factory=list)
    crashes: list[Crash] = field(default_factory=list)
    expected: dict[tuple[str, str | None], str] = field(default_factory=dict)
    """What the demo agent says to a message, by the option that its prompt was answered with."""
    peak_bytes: int = 0
    """The most memory that the last server has had."""
    checked: str = ""
    """What `baton db check` found; empty: nothing."""
    let_in: list[str] = field(default_factory=list)
    """Who came in without a credential."""
    left_out: set[Fault] = field(default_factory=set)
    """Faults that this machine cannot play."""
    failures: list[str] = field(default_factory=list)
    """What the driver could not do: somebody waited in vain, or a process did not start."""

    def said(self, request_id: str) -> str:
        """All text that the scribe said in this run."""
        return "".join(line.text for line in self.lines if line.request == request_id and line.what == "said")

    def of(self, request_id: str, what: str) -> list[Line]:
        """The scribe's lines of one kind."""
        return [line for line in self.lines if line.request == request_id and line.what == what]


@dataclass(frozen=True, slots=True)
class Stored:
    """Documents of the database, after the last server has left it."""

    messages: list[Json]
    runs: dict[str, Json]
    prompts: dict[str, Json]
    journal_rows: int

    def texts(self) -> Texts:
        """Every block with a text."""
        return {(m["id"], n): b.get("text", "") for m in self.messages for n, b in enumerate(m["blocks"])}

    def answer(self, request_id: str, between: str) -> str:
        """The whole text that is stored of a run's answer, without what was taken back. `between` two blocks."""
        ours = [m for m in self.messages if m["role"] == "assistant" and m["requestId"] == request_id]
        kept = [m for m in sorted(ours, key=lambda m: int(m["ordinal"])) if m["status"] != "discarded"]
        return between.join(b["text"] for m in kept for b in m["blocks"] if b["type"] == "text")


def read_log(path: Path) -> list[Line]:
    """The whole lines of the scribes' log; one that was being written when its writer was killed is none."""
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [Line(**json.loads(line)) for line in whole.splitlines()]


def copy_database(data: Path, target: Path) -> Path:
    """The database of a server that is not running, as it lies there."""
    target.mkdir(parents=True)
    for path in data.glob("baton.sqlite3*"):
        shutil.copy(path, target / path.name)
    return target / "baton.sqlite3"


def read_stored(database: Path) -> Stored:
    """Its documents."""
    with closing(sqlite3.connect(database)) as opened:
        return Stored(
            messages=_documents(opened, "messages"),
            runs={run["requestId"]: run for run in _documents(opened, "runs")},
            prompts={prompt["id"]: prompt for prompt in _documents(opened, "interactive_prompts")},
            journal_rows=opened.execute("SELECT count(*) FROM run_journal").fetchone()[0],
        )


def read_texts(database: Path) -> Texts:
    """Every text that a database holds: of its messages, with what the journal adds to them."""
    with closing(sqlite3.connect(database)) as opened:
        messages = _documents(opened, "messages")
        rows = opened.execute("SELECT events FROM run_journal ORDER BY conversationId, seq").fetchall()
    texts: Texts = {(m["id"], n): b.get("text", "") for m in messages for n, b in enumerate(m["blocks"])}
    grow(texts, (event for (events,) in rows for event in json.loads(events)))
    return texts


def grow(texts: Texts, events: Iterable[Json]) -> None:
    """Add the deltas among `events` that follow on; those that are contained already add nothing."""
    lengths: defaultdict[tuple[str, int], int] = defaultdict(int)
    lengths |= {key: utf16_length(text) for key, text in texts.items()}
    for event in events:
        if event["type"] not in ("text.delta", "thinking.delta"):
            continue
        key = (event["messageId"], event["block"])
        if event["offset"] == lengths[key]:
            texts[key] = texts.get(key, "") + event["text"]
            lengths[key] += utf16_length(event["text"])


def _documents(opened: sqlite3.Connection, table: str) -> list[Any]:
    return [json.loads(document) for (document,) in opened.execute(f"SELECT doc FROM {table}")]
