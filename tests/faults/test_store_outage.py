"""The store goes away while fifty agents speak: what was shown is kept, nothing else falls, and all go on again.

SQLite is locked by another program; MongoDB (where BATON_TEST_MONGO_URI names one) stands behind a wire that is cut,
or that carries nothing any more. BATON_TEST_OUTAGE_S says for how long: docs/performance.md has the figures of 30 s.
"""

import asyncio
import itertools
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from baton.core.ids import new_object_id
from tests.support.outside_bridge import expected_text
from tests.support.outside_process import outside_bridge
from tests.support.raw_clients import RawSocket, open_socket
from tests.support.server_process import ServerProcess, server_process
from tests.support.tcp_proxy import tcp_proxy
from tests.support.view import View

STREAMS = 50
RATE = 5
OUTAGE_S = float(os.environ.get("BATON_TEST_OUTAGE_S", "8"))
LIVE_WITHIN_S = 10.0
"""Generous: on a machine that does other things too. The figures of an idle one are in docs/performance.md."""
WORDS = round(RATE * (OUTAGE_S + 12))
MORE_MEMORY_MB = 200
FINAL = ("completed", "failed", "aborted")
MONGO = os.environ.get("BATON_TEST_MONGO_URI")
LIMITS = dict.fromkeys(("BATON_COMMANDS_PER_MINUTE", "BATON_REST_PER_MINUTE", "BATON_REST_PER_MINUTE_OF_ADDRESS"), "0")


class Watcher:
    """One tab that watches every stream. `told_at`: when each conversation was last told something."""

    def __init__(self, socket: RawSocket) -> None:
        self._socket = socket
        self.views: dict[str, View] = {}
        self.told_at: dict[str, float] = {}
        self.links: set[tuple[str, bool, str]] = set()
        """Every link of a bridge that it was told of, and every end of one."""
        self._joining: dict[int, str] = {}
        """Conversations that are being joined again, by the number of the question."""
        self._numbers = itertools.count(100_000)
        self.failure: Exception | None = None
        self._news = asyncio.Event()

    async def begin(self, number: int) -> None:
        """A new conversation, watched, in which an agent begins to speak."""
        made = await self._socket.ask("conversation:create", {})
        conversation_id = made["conversation"]["id"]
        view = self.views[conversation_id] = View()
        view.take_snapshot(await self._socket.ask("join-conversation", conversation_id), is_resume=False)
        message = {"requestId": f"r{number}", "content": f"words={WORDS} rate={RATE}"}
        answer = await self._socket.ask("chat:send-message", message | {"conversationId": conversation_id})
        assert answer["ok"], answer

    async def read(self) -> None:
        """Take in what it is told; for the task that owns it. What it fails of comes out of `until`."""
        for name, payload in self._socket.events:
            self._take(name, payload)
        try:
            while True:
                with suppress(TimeoutError):  # while the store is away there is nothing to tell
                    await self._hear(await self._socket.packet())
        except Exception as error:
            self.failure = error
            self._news.set()

    async def _hear(self, packet: str) -> None:
        start = packet.index("[")
        if packet.startswith("42"):
            self._take(*json.loads(packet[start:]))
        elif packet.startswith("43"):
            (snapshot,) = json.loads(packet[start:])
            key = self._joining.pop(int(packet[2:start]))
            self.views[key].take_snapshot(snapshot, is_resume=True)
            self.told_at[key] = time.monotonic()
            self._news.set()
        for key, view in self.views.items():
            # It had fallen behind, and was told to join again.
            if view.needs_join and key not in self._joining.values():
                number = next(self._numbers)
                self._joining[number] = key
                known = {"conversationId": key, "after": view.seq, "epoch": view.epoch}
                await self._socket.tell(f"42{number}{json.dumps(['join-conversation', known])}")

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Return when it holds."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
                    if self.failure is not None:
                        raise self.failure
        except TimeoutError:
            told = sorted(time.monotonic() - at for at in self.told_at.values())
            pytest.fail(f"in {timeout_s} s it did not hold: {Counter(self.statuses())}; told before {told} s")

    def heard_since(self, moment: float) -> int:
        """How many conversations have been told something since then."""
        return sum(told > moment for told in self.told_at.values())

    def statuses(self) -> list[str]:
        """Of the runs, as shown."""
        return [run["status"] for view in self.views.values() for run in view.runs.values()]

    def shown(self) -> dict[str, str]:
        """The agents' texts, by conversation."""
        return {key: "".join(view.texts().values()) for key, view in self.views.items()}

    def _take(self, name: str, payload: Any) -> None:
        if name == "bridge:status":
            self.links |= {(bridge["id"], bridge["connected"], bridge["connectedAt"]) for bridge in payload["bridges"]}
        if isinstance(payload, dict) and (key := payload.get("conversationId")) in self.views:
            self.views[key].take_event(name, payload)
            if name == "chat:stream-response":
                self.told_at[key] = time.monotonic()
        self._news.set()


@asynccontextmanager
async def locked_sqlite(folder: Path) -> AsyncIterator[tuple[ServerProcess, Callable[[], None], Callable[[], None]]]:
    """A server, and how its database goes away and comes back."""
    async with server_process(folder, BATON_BRIDGE="none", **LIMITS) as server:
        other = sqlite3.connect(server.database, isolation_level=None, timeout=30)
        try:
            yield server, lambda: _say(other, "BEGIN IMMEDIATE"), lambda: _say(other, "ROLLBACK")
        finally:
            other.close()


def _say(database: sqlite3.Connection, text: str) -> None:
    database.execute(text)


@asynccontextmanager
async def mongo_behind_a_wire(
    folder: Path, *, silent: bool
) -> AsyncIterator[tuple[ServerProcess, Callable[[], None], Callable[[], None]]]:
    """The same on MongoDB: every connection is cut and none comes through, or nothing is carried any more."""
    address = urlsplit(str(MONGO))
    async with tcp_proxy() as wire:
        wire.target_port = address.port or 27017
        store = f"mongodb://127.0.0.1:{wire.port}/baton_test_{new_object_id()}?directConnection=true"
        async with server_process(
            folder, BATON_STORE=store, BATON_MIGRATE="1", BATON_BRIDGE="none", **LIMITS
        ) as server:
            yield (server, wire.hold, wire.let_go) if silent else (server, wire.take_down, wire.bring_up)


def resident_mb(pid: int) -> float:
    """Memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


WORLDS: dict[str, Callable[[Path], Any]] = {
    "sqlite locked": locked_sqlite,
    "mongo cut": lambda folder: mongo_behind_a_wire(folder, silent=False),
    "mongo silent": lambda folder: mongo_behind_a_wire(folder, silent=True),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", WORLDS)
async def test_fifty_streams_outlive_a_store_that_is_away(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind.startswith("mongo") and MONGO is None:
        pytest.skip("BATON_TEST_MONGO_URI names no server")
    async with AsyncExitStack() as stack:
        server, take_away, bring_back = await stack.enter_async_context(WORLDS[kind](tmp_path))
        await stack.enter_async_context(outside_bridge(server.url, server.token("bridge")))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        socket = await open_socket(session, server.url, server.token())
        watcher = Watcher(socket)
        while not (await socket.ask("bridge:list", {}))["bridges"]:
            await asyncio.sleep(0.05)  # a process that starts can only be asked again
        for number in range(STREAMS):
            await watcher.begin(number)
        reading = asyncio.create_task(watcher.read(), name="watcher")
        try:
            figures = await _outage(server, watcher, take_away, bring_back)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await socket.close()
    with capsys.disabled():
        print(f"\n{kind}, away for {OUTAGE_S:.0f} s: {figures}")


async def _outage(
    server: ServerProcess, watcher: Watcher, take_away: Callable[[], None], bring_back: Callable[[], None]
) -> str:
    await watcher.until(lambda: watcher.heard_since(0) == STREAMS, 60)
    before_mb, links = resident_mb(server.pid), set(watcher.links)
    take_away()
    ends_at = time.monotonic() + OUTAGE_S
    shown, most_mb = watcher.shown(), before_mb
    while time.monotonic() < ends_at:
        await asyncio.sleep(0.2)  # the outage lasts as long as it lasts
        most_mb = max(most_mb, resident_mb(server.pid))
        assert await server.status("/health/live") == 200
    ended = sum(status in FINAL for status in watcher.statuses())
    bring_back()
    back_at = time.monotonic()
    await watcher.until(lambda: watcher.heard_since(back_at) > 0, LIVE_WITHIN_S)
    first_s = time.monotonic() - back_at
    await watcher.until(lambda: watcher.heard_since(back_at) + ended >= STREAMS, LIVE_WITHIN_S)
    all_s = time.monotonic() - back_at
    await watcher.until(lambda: sum(status in FINAL for status in watcher.statuses()) == STREAMS, 120)
    assert set(watcher.statuses()) == {"completed"}
    for key, text in watcher.shown().items():
        assert text.startswith(shown[key]), "what was shown is kept"
        assert text == expected_text(WORDS)
    assert watcher.links == links, "no link came or went"
    assert not any(view.gaps for view in watcher.views.values()), "what was stored without an answer is told too"
    assert most_mb - before_mb < MORE_MEMORY_MB
    return (
        f"the first stream live again after {first_s:.2f} s, all {STREAMS} after {all_s:.2f} s; "
        f"memory {before_mb:.0f} MB before, {most_mb:.0f} MB at most"
    )
