"""Mutants over real sockets against `baton serve` as a process of its own.

What is sent is malformed by the judgement of the schemas themselves, so that a mutant that happens to be right makes
nothing. Each event that is a packet is answered, each other one ends its connection (docs/protocol.md 2); each frame
ends its link with a code of section 5, or is taken, which is known from the acknowledgement of a frame sent after it.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from baton.bridge.protocol import CLOSE_CREDENTIAL
from baton.core.errors import BatonError
from baton.core.limits import Limits
from baton.schemas.browser import load_event
from baton.schemas.fields import parse_json
from tests.fuzz.corpus import sound_events, sound_frames, sound_stream_events
from tests.fuzz.in_memory import FuzzedBadlyError, judged
from tests.fuzz.mutation import Mutator
from tests.fuzz.report import MEBI, Footprint, Report
from tests.support.raw_clients import hello
from tests.support.shared_server import BRIDGE_TOKEN, TOKEN, SharedServer, shared_server

BATCH = 40
TABS = 2
WAIT_S = 60
RUNS_AT_ONCE = 8
MOST_GROWTH_BYTES = 48 * MEBI
_READERS = 4
LIMITS = Limits()
ENDED_TABS = frozenset({1000, 1002, 1005, 1007, 1009})
ENDED_LINKS = frozenset({1002, 1007, 1009, 4400, 4426})
UNLIMITED = {
    "BATON_REST_PER_MINUTE": "0",
    "BATON_REST_PER_MINUTE_OF_ADDRESS": "0",
    "BATON_COMMANDS_PER_MINUTE": "0",
    "BATON_CONNECTS_PER_MINUTE": "0",
    "LOG_LEVEL": "ERROR",
}
_ENDS = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.ERROR)


class _Tab:
    """A browser's socket that is opened again when it was ended."""

    def __init__(self, session: aiohttp.ClientSession, url: str, mutator: Mutator) -> None:
        self._session = session
        self._url = url
        self._mutator = mutator
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._ids = 0
        self._events = sound_events()

    async def batch(self, report: Report) -> None:
        """Some events that are packets, at once, and one that may be none."""
        packets = {self._next_id(): self._malformed() for _ in range(BATCH)}
        socket = await self._open()
        for ack_id, event in packets.items():
            await socket.send_str(f"42{ack_id}{json.dumps(event)}")
        waiting = set(packets)
        while waiting:
            packet = await self._packet(socket)
            if packet is None:
                raise FuzzedBadlyError(f"closed with {socket.close_code} instead of an answer to one of {packets}")
            if packet.startswith("43"):
                bracket = packet.index("[")
                ack_id = int(packet[2:bracket])
                waiting.discard(ack_id)
                outcome = judged(packet)
                if outcome == "taken":
                    raise FuzzedBadlyError(f"{packets.get(ack_id)} was taken")
                # What names an id that is none is `not_found`, and malformed all the same.
                report.add("event", "refused")
        report.add("event", await self._torn(socket))

    async def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            await self._socket.close()

    async def _torn(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        """A packet that is perhaps none: the connection ends, or goes on answering."""
        name, payload = self._mutator.random.choice(self._events)
        text = self._mutator.text(f"42{self._next_id()}{json.dumps([name, payload])}")
        ping = self._next_id()
        with contextlib.suppress(ConnectionError):
            await socket.send_frame(text.encode("utf-8", "replace"), aiohttp.WSMsgType.TEXT)
            await socket.send_str(f'42{ping}["latency:ping",{{"sentAt":{ping}}}]')
        while (packet := await self._packet(socket)) is not None:
            if packet.startswith(f"43{ping}["):
                return "answered"
        if socket.close_code not in ENDED_TABS:
            raise FuzzedBadlyError(f"{text[:2000]!r} was closed with {socket.close_code}")
        await socket.close()
        self._socket = None
        return "ended"

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        if self._socket is None or self._socket.closed:
            self._socket = await self._session.ws_connect(
                f"{self._url}/socket.io/?EIO=4&transport=websocket", max_msg_size=0
            )
            await self._socket.send_str("40" + json.dumps({"token": TOKEN}))
            while not (packet := await self._packet(self._socket) or "").startswith("40{"):
                assert packet.startswith("0{"), packet
        return self._socket

    async def _packet(self, socket: aiohttp.ClientWebSocketResponse) -> str | None:
        """The next one; None: it was ended."""
        while True:
            message = await socket.receive(WAIT_S)
            if message.type in _ENDS:
                return None
            if message.data != "2":
                return str(message.data)
            await socket.send_str("3")

    def _malformed(self) -> list[Any]:
        """An event whose payload the schemas refuse."""
        while True:
            name, payload = self._mutator.random.choice(self._events)
            wrong = self._mutator.value(payload)
            try:
                load_event(name, parse_json(json.dumps(wrong)), LIMITS)
            except BatonError:
                return [name, wrong]

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids


class _Link:
    """A bridge that is connected again when its link was ended, and gets runs to be wrong about."""

    def __init__(self, session: aiohttp.ClientSession, url: str, mutator: Mutator, most_runs: int) -> None:
        self._session = session
        self._url = url
        self._mutator = mutator
        self._most_runs = most_runs
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._frames = [frame for frame in sound_frames() + sound_stream_events() if frame["type"] != "hello"]
        self._seqs: dict[str, int] = {}
        """How far each run that goes on is acknowledged."""
        self._probes = 0
        self._begun = 0

    async def frame(self) -> str:
        """What one mutant came to."""
        socket = await self._open()
        raw = await self._mutant()
        running = len(self._seqs)
        if not await self._is_open_after(socket, raw):
            if socket.close_code not in ENDED_LINKS:
                raise FuzzedBadlyError(f"{raw[:2000]!r} was closed with {socket.close_code}")
            await self.close()
            return "ended"
        return "taken" if len(self._seqs) == running else "refused"

    async def first_frame(self) -> str:
        """What a mutant of the hello came to, on a link of its own."""
        await self.close()
        raw = json.dumps(self._mutator.value(self._hello())).encode()
        socket = await self._connect()
        with contextlib.suppress(ConnectionError):
            await socket.send_frame(raw, aiohttp.WSMsgType.TEXT)
        answer = await self._hear(socket)
        await socket.close()
        if answer is not None:
            assert answer["type"] == "welcome", answer
            return "taken"
        if socket.close_code not in ENDED_LINKS | {CLOSE_CREDENTIAL}:
            raise FuzzedBadlyError(f"the first frame {raw[:2000]!r} was closed with {socket.close_code}")
        return "ended"

    async def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    async def _mutant(self) -> bytes:
        frame = self._mutator.random.choice(self._frames)
        if "requestId" in frame:
            request_id = await self._some_run()
            frame = {**frame, "requestId": request_id, "seq": self._seqs.get(request_id, 0) + 1}
        chance = self._mutator.random.random()
        if chance < 0.8:
            wrong = self._mutator.value(frame)
            if isinstance(wrong, dict) and chance < 0.7 and "requestId" in frame:
                wrong |= {name: frame[name] for name in ("type", "requestId", "seq")}
            return json.dumps(wrong).encode()
        text = json.dumps(frame)
        torn = self._mutator.text(text).encode("utf-8", "replace")
        return torn if chance < 0.95 else self._mutator.bytes(text.encode())

    async def _some_run(self) -> str:
        """One that goes on; a new one where there are few, until there were as many as may be."""
        if len(self._seqs) < RUNS_AT_ONCE and self._begun < self._most_runs:
            self._begun += 1
            name, made = f"wire-{self._begun}", f"{self._url}/api/chat/conversations"
            async with self._session.post(made, json={"title": name}) as response:
                made += "/" + (await response.json())["conversation"]["id"]
            body = {"requestId": name, "content": "go", "agent": "ext"}
            async with self._session.post(f"{made}/messages", json=body) as response:
                assert response.status == 202, await response.text()
            self._seqs[name] = 0
        return self._mutator.random.choice(list(self._seqs) or ["nobody"])

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        if self._socket is None or self._socket.closed:
            socket = self._socket = await self._connect()
            first = json.dumps(self._hello()).encode()
            assert await self._is_open_after(socket, first), socket.close_code
        return self._socket

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        headers = {"Authorization": f"Bearer {BRIDGE_TOKEN}"}
        return await self._session.ws_connect(
            f"{self._url}/bridge", protocols=["baton.bridge.v1"], headers=headers, max_msg_size=0
        )

    def _hello(self) -> dict[str, Any]:
        runs = [{"requestId": name, "lastSeq": seq, "prompts": []} for name, seq in self._seqs.items()]
        return hello("ext", "i", runs) | {"maxConcurrentRequests": 100_000}

    async def _is_open_after(self, socket: aiohttp.ClientWebSocketResponse, raw: bytes) -> bool:
        """Send a frame; whether the link takes the next one too, whose run nobody knows. Runs that are over go."""
        self._probes += 1
        probe = f"probe-{self._probes}"
        with contextlib.suppress(ConnectionError):
            await socket.send_frame(raw, aiohttp.WSMsgType.TEXT)
            await socket.send_str(json.dumps({"type": "claude:started", "requestId": probe, "seq": 1}))
        while (frame := await self._hear(socket)) is not None:
            match frame["type"]:
                case "ping":
                    await socket.send_str(json.dumps({"type": "pong", "t": frame["t"]}))
                case "claude:abort":
                    self._seqs.pop(frame["requestId"], None)
                case "ack" | "welcome":
                    self._seqs |= {name: seq for name, seq in frame["acks"].items() if name in self._seqs}
                    if probe in frame["acks"]:
                        return True
        return False

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any] | None:
        """The next frame; None: the link was ended."""
        message = await socket.receive(WAIT_S)
        return None if message.type in _ENDS else json.loads(message.data)


async def fuzz_on_wire(folder: Path, report: Report) -> None:
    """As many malformed events and frames as `report` wants. Raises for any harm, also if the process has grown."""
    async with _serving(folder) as (server, session):
        mutators = [Mutator(report.seed + number) for number in range(TABS + 1)]
        tabs = [_Tab(session, server.url, mutator) for mutator in mutators[:TABS]]
        link = _Link(session, server.url, mutators[TABS], most_runs=200 + report.wanted // 50)
        async with asyncio.TaskGroup() as tasks:
            for tab in tabs:
                tasks.create_task(_each(lambda tab=tab: tab.batch(report), report, ("event",), server), name="tab")  # type: ignore[misc]
            tasks.create_task(
                _each(lambda: _some_frames(link, report), report, ("frame", "hello"), server), name="link"
            )
        for client in (*tabs, link):
            await client.close()
        await _until_left(session, server.url)
        report.end(Footprint.of(server.pid))
        _assert_unharmed(server, report)
    await asyncio.to_thread(_assert_fits, server)


async def _each(step: Any, report: Report, kinds: tuple[str, ...], server: SharedServer) -> None:
    """Events take a third of the time that frames do, half of which cost a link."""
    share = 0.75 if kinds == ("event",) else 0.25
    while report.malformed_of(*kinds) < share * report.wanted:
        await step()
        report.progress()
        if report.is_warm and not report.before.threads:
            report.before = Footprint.of(server.pid)


async def _some_frames(link: _Link, report: Report) -> None:
    report.add("hello", await link.first_frame())
    for _ in range(BATCH):
        report.add("frame", await link.frame())


@asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[tuple[SharedServer, aiohttp.ClientSession]]:
    with shared_server(folder, **UNLIMITED) as server:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
            yield server, session
        server.terminate()


async def _until_left(session: aiohttp.ClientSession, url: str) -> None:
    """Return when the server has noticed that all have gone."""
    async with asyncio.timeout(WAIT_S):
        while True:
            async with session.get(f"{url}/health") as response:
                told = await response.json()
            if (response.status, told["connections"]["sockets"], told["connections"]["bridges"]) == (200, 0, 1):
                return
            await asyncio.sleep(0.05)  # health can only be asked again


def _assert_unharmed(server: SharedServer, report: Report) -> None:
    assert server.is_running
    assert server.log == "", server.log[-3000:]
    grown = report.after.rss_bytes - report.before.rss_bytes
    assert grown < MOST_GROWTH_BYTES, f"{grown / MEBI:.1f} MiB more than at the start: {report}"
    # The store opens a reader when one more is wanted at the same moment; what leaks would be as many as what was sent.
    assert report.after.files <= report.before.files + _READERS, f"files are left open: {report}"


def _assert_fits(server: SharedServer) -> None:
    """The database, with the command that people would use."""
    command = [sys.executable, "-m", "baton", "db", "check", "--data", str(server.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
