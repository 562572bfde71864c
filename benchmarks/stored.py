"""Reading from a large database: pages of history, joins, searches; at its full size and at a small one."""

import asyncio
import json
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import aiohttp

from baton.clock import SystemClock
from baton.core.ids import ConversationId, MessageId, ProjectId, UserId, new_object_id
from baton.core.models import Conversation, Message, MessageStatus, Project, Role, TextBlock
from baton.core.stored import Change
from baton.database import bring_up_to_date, make_store
from baton.settings import Settings
from benchmarks.load import open_watcher
from benchmarks.processes import baton_server
from benchmarks.results import Found, Goal, Options, Table
from benchmarks.systems import store_settings

SMALL = 10_000
_PER_CONVERSATION = 1000
_BATCH = 1000
_BEGAN = datetime(2025, 1, 1, tzinfo=UTC)
_VOCABULARY = 5000
_WORDS = 30
FREQUENT, COMMON, RARE, ABSENT = "w0", "w1", "needle", "nowhere"
_RARE_AT = 5
"""Messages that hold the rare word."""
_PROJECTS = 10
_HISTORY_P99_MS, _JOIN_P99_MS, _SEARCH_P99_MS = 5.0, 10.0, 20.0


@dataclass(frozen=True, slots=True)
class Filled:
    """What stands in a database."""

    settings: dict[str, str]
    messages: int
    conversations: list[tuple[str, int]]
    """Id and number of messages."""
    old_project: str
    """A small one, whose conversation is the oldest."""
    wide_project: str
    """A tenth of all conversations, spread over all times."""


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of many requests of one kind."""

    median: float
    p99: float


async def measure(options: Options) -> Found:
    """Both sizes, each on a server of its own."""
    sizes = sorted({SMALL if options.messages > SMALL else options.messages // 10, options.messages})
    found: dict[int, dict[str, Times]] = {}
    for size in sizes:
        keeps = options.folder is not None and size == options.messages
        folder = options.folder if keeps and options.folder else Path(tempfile.mkdtemp(prefix="baton-bench-"))
        try:
            filled = await _filled(folder, size, options)
            async with baton_server(folder, BATON_BRIDGE="none", **filled.settings) as (_, url, tokens):
                found[size] = await _ask(url, tokens["admin"], filled, options)
        finally:
            if not keeps:
                shutil.rmtree(folder, ignore_errors=True)
    return _result(found, sizes)


# --- filling -------------------------------------------------------------------------------------------------------


async def _filled(folder: Path, messages: int, options: Options) -> Filled:
    """The database of this size, made or (SQLite) as an earlier run kept it."""
    kept = folder / f"filled-{messages}.json"
    if kept.exists() and options.store is None:
        return Filled(**json.loads(kept.read_text()))
    began = time.monotonic()
    settings = store_settings(options.store)
    filled = await _fill(folder, messages, settings)
    kept.write_text(json.dumps({name: getattr(filled, name) for name in Filled.__slots__}))
    options.tell(f"  {messages:,} messages stored in {time.monotonic() - began:.0f} s{_size(folder)}")
    return filled


def _size(folder: Path) -> str:
    path = folder / "data" / "baton.sqlite3"
    return f", {path.stat().st_size / (1 << 20):.0f} MiB" if path.exists() else ""


async def _fill(folder: Path, messages: int, environment: dict[str, str]) -> Filled:
    (folder / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = Settings(data=folder / "data", store=environment.get("BATON_STORE"), migrate=True)
    clock = SystemClock()
    await bring_up_to_date(settings, clock)
    store = make_store(settings, clock)
    await store.open()
    projects = [ProjectId(new_object_id()) for _ in range(_PROJECTS + 1)]
    for number, project_id in enumerate(projects):
        project = Project(
            id=project_id, name=f"Project {number}", user_id=UserId("bench"), created_at=_BEGAN, updated_at=_BEGAN
        )
        await store.put_project(project)
    text = Text(messages)
    conversations = []
    for number, first in enumerate(range(0, messages, _PER_CONVERSATION)):
        # The first conversation alone is in the small, old project.
        project_id = projects[-1] if number == 0 else projects[number % _PROJECTS]
        count = min(_PER_CONVERSATION, messages - first)
        conversation = Conversation(
            id=ConversationId(new_object_id()),
            user_id=UserId("bench"),
            project_id=project_id,
            title=f"Conversation {number}",
            created_at=_at(first),
            updated_at=_at(first + count),
            seq=count,
            ordinal=count,
        )
        batch = tuple(_message(conversation, n + 1, text.of(first + n), _at(first + n)) for n in range(count))
        await store.commit(
            [Change(conversation_id=conversation.id, conversation=conversation, is_new=True, messages=batch)]
        )
        conversations.append((conversation.id, count))
    await store.close()
    return Filled(environment, messages, conversations, projects[-1], projects[1])


def _at(number: int) -> datetime:
    return _BEGAN + timedelta(seconds=number)


class Text:
    """What messages say: words as frequent as in a language, and a rare one in some messages."""

    def __init__(self, messages: int) -> None:
        self._random = random.Random(1)
        self._words = [f"w{number}" for number in range(_VOCABULARY)]
        total, self._weights = 0.0, []
        for number in range(_VOCABULARY):
            total += 1 / (number + 2)
            self._weights.append(total)
        self._rare = {(2 * number + 1) * messages // (2 * _RARE_AT) for number in range(_RARE_AT)}

    def of(self, number: int) -> str:
        """The text of one message."""
        words = self._random.choices(self._words, cum_weights=self._weights, k=_WORDS)
        return " ".join([*words, RARE] if number in self._rare else words)


def _message(conversation: Conversation, ordinal: int, text: str, at: datetime) -> Message:
    return Message(
        id=MessageId(new_object_id()),
        conversation_id=conversation.id,
        project_id=conversation.project_id,
        ordinal=ordinal,
        seq=ordinal,
        role=Role.USER if ordinal % 2 else Role.ASSISTANT,
        status=MessageStatus.COMPLETED,
        content=text,
        blocks=(TextBlock(text),),
        timestamp=at,
        created_at=at,
        updated_at=at,
    )


# --- asking --------------------------------------------------------------------------------------------------------

_SEARCHES = {
    "a frequent word": FREQUENT,
    "a rare word": RARE,
    "two frequent words": f"{FREQUENT} {COMMON}",
    "a frequent and a rare word": f"{FREQUENT} {RARE}",
    "an absent word": ABSENT,
}
_PLACES = ("anywhere", "in a small, old project", "in a tenth of all")


async def _ask(url: str, token: str, filled: Filled, options: Options) -> dict[str, Times]:
    asked = 100 if options.is_quick else 400
    found: dict[str, Times] = {}
    rng = random.Random(2)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:

        async def page() -> None:
            conversation_id, count = rng.choice(filled.conversations)
            before = rng.randint(2, count + 1)
            await _get(session, f"{url}/api/chat/conversations/{conversation_id}/messages?before={before}&limit=100")

        async def nothing() -> None:
            await _get(session, f"{url}/health/live")

        found["`/health/live`, which reads nothing"] = await _time(nothing, asked)
        found["a page of 100 messages, at random depths"] = await _time(page, 4 * asked)
        found["join, the last 100 messages"] = await _join(url, token, filled, rng, asked)
        for what, words in _SEARCHES.items():
            for place in _PLACES:
                project = {_PLACES[1]: filled.old_project, _PLACES[2]: filled.wide_project}.get(place)
                address = f"{url}/api/chat/search?q={quote(words)}&limit=20" + (
                    f"&projectId={project}" if project else ""
                )
                name = f"search: {what}, {place}"
                found[name] = await _time(lambda address=address: _get(session, address), asked)
                options.tell(
                    f"  {filled.messages:,}: {name}: median {found[name].median:.2f} ms, p99 {found[name].p99:.2f} ms"
                )
    return found


async def _get(session: aiohttp.ClientSession, address: str) -> None:
    async with session.get(address) as response:
        await response.read()
        assert response.status == 200, await response.text()


async def _time(work: Callable[[], Awaitable[None]], times: int) -> Times:
    """Median and p99; a request that takes seconds is asked less often, so that the whole has a bound."""
    taken = []
    spent_s = 0.0
    for number in range(times + 10):
        began = time.perf_counter()
        await work()
        took_s = time.perf_counter() - began
        spent_s += took_s
        if number >= 10 or took_s > 1:
            taken.append(took_s * 1000)
        if spent_s > 30:
            break
    ordered = sorted(taken)
    return Times(ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)])


async def _join(url: str, token: str, filled: Filled, rng: random.Random, times: int) -> Times:
    """One socket that joins one conversation after the other."""
    answered = asyncio.Event()

    def on_packet(packet: str) -> None:
        if packet.startswith("43"):
            answered.set()

    socket = await open_watcher(url, filled.conversations[0][0], token, on_packet)
    number = 0

    async def call(event: str, conversation_id: str) -> None:
        nonlocal number
        number += 1
        answered.clear()
        socket.send(f"42{number}" + json.dumps([event, {"conversationId": conversation_id}]))
        await asyncio.wait_for(answered.wait(), 30)

    taken = []
    for count in range(times + 10):
        conversation_id = rng.choice(filled.conversations)[0]
        began = time.perf_counter()
        await call("join-conversation", conversation_id)
        if count >= 10:
            taken.append((time.perf_counter() - began) * 1000)
        await call("leave-conversation", conversation_id)
    socket.cut()
    ordered = sorted(taken)
    return Times(ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)])


# --- the result ----------------------------------------------------------------------------------------------------


def _result(found: dict[int, dict[str, Times]], sizes: list[int]) -> Found:
    small, large = sizes[0], sizes[-1]
    rows, goals = [], []
    for what, times in found[large].items():
        before = found[small][what]
        rows.append(
            (
                what,
                f"{times.median:.2f} ms",
                f"{times.p99:.2f} ms",
                f"{before.median:.2f} ms",
                f"{times.median / before.median:.2f}",
            )
        )
        most = _most_ms(what)
        if most is not None:
            goals.append(Goal(f"{large:,} messages, {what}: p99", most, times.p99, "ms"))
            goals.append(Goal(f"{what}: median over that at {small:,}", 2.0, times.median / before.median, "times"))
    columns = ("", f"median at {large:,}", "p99", f"median at {small:,}", "ratio")
    title = f"Reading from {large:,} messages, through REST and Socket.IO"
    return Found(tables=(Table("stored", title, columns, tuple(rows)),), goals=tuple(goals))


def _most_ms(what: str) -> float | None:
    for start, most in (("a page", _HISTORY_P99_MS), ("join", _JOIN_P99_MS), ("search", _SEARCH_P99_MS)):
        if what.startswith(start):
            return most
    return None
