"""The load of the benchmarks, in processes of its own: producers of deltas, watchers that time and check them, crowds.

A delta is text like `@<monotonic nanoseconds>@ word`; all processes of a machine share that clock. Run by the parts:
`python -m benchmarks.load watch|produce|bridge|crowd <JSON of its options>`. Lines on stdin steer it, JSON lines on
stdout tell. It ends when stdin does, so that nothing is left behind when the benchmark is killed.
"""

import asyncio
import json
import re
import resource
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import orjson

from baton.core.text import utf16_length
from benchmarks.client import WebSocketClient, open_socket

NEVER = 1 << 62
STAMP = re.compile(r"@(\d+)@")
_AT_ONCE = 50
"""Sockets that are being opened at the same moment, where it is not about that."""
_SENDS_PER_TURN = 32
_SOCKET_IO = "/socket.io/?EIO=4&transport=websocket"
_ROOM_EVENT = '42["chat:'


def say(**line: object) -> None:
    """One line for the part that started this."""
    print(json.dumps(line), flush=True)


async def lines() -> asyncio.StreamReader:
    """stdin, to be read line by line."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


# --- watchers ------------------------------------------------------------------------------------------------------


class Watchers:
    """Times what arrives while `is_counting`; with `checks`, holds each room's order and counts what was delivered."""

    def __init__(self, *, checks: bool = False) -> None:
        self.is_counting = False
        self.checks = checks
        self.latencies_ms: list[float] = []
        self.delivered = 0
        """Deltas since the join."""
        self.broken = 0
        """Events whose `prevSeq` is not the last `seq`, deltas whose offset is not where the text ended."""

    def listener(self) -> Callable[[str], None]:
        """What takes the packets of one socket."""
        seq: int | None = None
        ends: dict[str, int] = {}

        def check(packet: str) -> None:
            nonlocal seq
            name, payload = orjson.loads(packet[2:])
            if seq is not None and payload["prevSeq"] != seq:
                self.broken += 1
            seq = payload["seq"]
            if name == "chat:stream-response":
                for event in payload["events"]:
                    if event["type"] == "text.delta":
                        self.delivered += 1
                        if event["offset"] != ends.get(event["messageId"], event["offset"]):
                            self.broken += 1
                        ends[event["messageId"]] = event["offset"] + len(event["text"])

        def take(packet: str) -> None:
            if self.checks and packet.startswith(_ROOM_EVENT):
                check(packet)
            # A whole message holds deltas that were delivered before.
            if self.is_counting and not packet.startswith('42["chat:message"'):
                now = time.monotonic_ns()
                self.latencies_ms.extend((now - int(stamp)) / 1e6 for stamp in STAMP.findall(packet))

        return take

    def tell(self) -> None:
        """Say what was counted."""
        ordered = sorted(self.latencies_ms)
        count = len(ordered)
        say(
            count=count,
            median_ms=ordered[count // 2] if ordered else None,
            p99_ms=ordered[int(count * 0.99)] if ordered else None,
            most_ms=ordered[-1] if ordered else None,
            delivered=self.delivered,
            broken=self.broken,
        )


async def open_watcher(
    url: str, room: str, token: str | None, take: Callable[[str], None], *, after: dict[str, Any] | None = None
) -> WebSocketClient:
    """A Socket.IO client that has joined `room`, spoken by hand. `take` gets every other packet.

    `after`: what a client that comes again says it has.
    """
    if token is None:
        join = json.dumps(["join", room])
    else:
        join = json.dumps(["join-conversation", {"conversationId": room, **(after or {})}])
    joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_text(client: WebSocketClient, packet: str) -> None:
        if packet == "2":
            client.send("3")
        elif packet.startswith("0"):
            client.send("40" + (json.dumps({"token": token}) if token else ""))
        elif packet.startswith("40"):
            client.send(f"420{join}")
        elif packet.startswith("430"):
            joined.set_result(None)
        else:
            take(packet)

    client = await open_socket(url, _SOCKET_IO, on_text)
    async with asyncio.timeout(60):
        await asyncio.wait((joined, client.closed), return_when=asyncio.FIRST_COMPLETED)
    if not joined.done():
        raise ConnectionError("the server closed the socket before the join was answered")
    return client


async def watch(options: dict[str, Any]) -> None:
    """Connect all watchers, then count between the lines `begin` and `end`."""
    watchers = Watchers(checks=options.get("checks", False))
    url, token, slots = options["url"], options.get("token"), asyncio.Semaphore(_AT_ONCE)

    async def one(room: str) -> WebSocketClient:
        async with slots:
            take = watchers.listener()
            if options["kind"] == "bare":
                return await open_socket(url, f"/watch/{room}", lambda _, packet: take(packet))
            return await open_watcher(url, room, token, take)

    sockets = await asyncio.gather(*(one(room) for room in options["rooms"] for _ in range(options["per_room"])))
    say(ready=True)
    stdin = await lines()
    while line := (await stdin.readline()).decode().strip():
        if line == "begin":
            watchers.latencies_ms.clear()
            watchers.is_counting = True
        elif line == "end":
            watchers.is_counting = False
            watchers.tell()
        elif line == "stop":
            break
    for socket in sockets:
        socket.cut()


# --- crowds --------------------------------------------------------------------------------------------------------


async def crowd(options: dict[str, Any]) -> None:
    """Many sockets that only listen; on `again` all are cut at once and come again at once."""
    url, token, rooms = options["url"], options["token"], options["rooms"]
    slots = asyncio.Semaphore(_AT_ONCE)

    async def first(number: int) -> WebSocketClient:
        async with slots:
            return await open_watcher(url, rooms[number % len(rooms)], token, _ignore)

    async def again(number: int, began: float) -> tuple[WebSocketClient, float]:
        after = {"after": options.get("after", 1)}
        socket = await open_watcher(url, rooms[number % len(rooms)], token, _ignore, after=after)
        return socket, time.monotonic() - began

    sockets = list(await asyncio.gather(*(first(number) for number in range(options["sockets"]))))
    say(ready=True)
    stdin = await lines()
    while (await stdin.readline()).decode().strip() == "again":
        for socket in sockets:
            socket.cut()
        began = time.monotonic()
        found = await asyncio.gather(*(again(number, began) for number in range(len(sockets))))
        sockets = [socket for socket, _ in found]
        took_s = sorted(seconds for _, seconds in found)
        say(live=len(took_s), median_s=took_s[len(took_s) // 2], last_s=took_s[-1])
    for socket in sockets:
        socket.cut()


def _ignore(packet: str) -> None:
    pass


# --- producers -----------------------------------------------------------------------------------------------------


async def paced(rooms: list[str], rate: float, send: Callable[[str], None], most: int = NEVER) -> None:
    """Call `send(room)` `rate` times a second for each room, evenly spread, `most` times in all."""
    gap = 1 / (rate * len(rooms))
    due = time.monotonic()
    sent = 0
    while True:
        for room in rooms:
            send(room)
            sent += 1
            if sent >= most:
                return
            due += gap
            wait_s = due - time.monotonic()
            if wait_s > 0 or sent % _SENDS_PER_TURN == 0:
                await asyncio.sleep(max(0.0, wait_s))


def envelope(room: str) -> dict[str, Any]:
    """One delta as Baton's watchers get it, so that every system carries as many bytes to its watchers."""
    event = {"type": "text.delta", "messageId": "0" * 24, "block": 0, "offset": 1000, "text": word()}
    return {
        "conversationId": "0" * 24,
        "seq": 1000,
        "prevSeq": 999,
        "requestId": f"load-{room:0>24}",
        "messageId": "0" * 24,
        "events": [event],
    }


def word() -> str:
    """The text of one delta."""
    return f"@{time.monotonic_ns()}@ word "


async def produce(options: dict[str, Any]) -> None:
    """Deltas for a relay, until stdin ends."""
    socket = await open_socket(options["url"], "/produce", lambda *_: None, offers_deflate=False)

    def send(room: str) -> None:
        socket.send(json.dumps({"room": room, "data": envelope(room)}))

    say(ready=True)
    await _until_ended(paced(options["rooms"], options["rate"], send))


class LoadBridge:
    """A bridge as docs/protocol.md has it: `per_frame` deltas a frame; each message ends after `message_deltas`.

    With a `text` each message says that, word by word, instead of stamps. What the link's window does not take waits.
    """

    def __init__(self, message_deltas: int, per_frame: int, text: str | None = None) -> None:
        self.socket: WebSocketClient | None = None
        self.is_welcome = asyncio.Event()
        self.is_ready = asyncio.Event()
        self.expected = 0
        self.runs: list[str] = []
        self.deltas = 0
        self._window = 0
        self._in_flight = 0
        """Bytes that are not on the server's disk yet, as far as it has said."""
        self._sizes: defaultdict[str, deque[int]] = defaultdict(deque)
        """Of the frames in flight, by run."""
        self._waiting: deque[tuple[str, str]] = deque()
        self._message_deltas = message_deltas
        self._per_frame = per_frame
        self._words = None if text is None else re.findall(r"\s*\S+\s*", text)
        self._seqs: dict[str, int] = {}
        self._acked: dict[str, int] = {}
        self._said: dict[str, int] = {}
        self._offsets: dict[str, int] = {}

    def read(self, socket: WebSocketClient, text: str) -> None:
        """Take up the runs that come, answer pings."""
        frame = orjson.loads(text)
        kind = frame["type"]
        if kind == "ack":
            for run, seq in frame["acks"].items():
                self._acknowledged(run, seq)
        elif kind == "claude:execute":
            self.runs.append(frame["requestId"])
            self._send(frame["requestId"], {"type": "claude:started", "sessionId": "load"})
            if len(self.runs) == self.expected:
                self.is_ready.set()
        elif kind == "welcome":
            self._window = frame["window"]
            self.is_welcome.set()
        elif kind == "ping":
            socket.send(json.dumps({"type": "pong", "t": frame["t"]}))

    def speak(self, run: str) -> None:
        """The next frame of a run."""
        events = [self._next_event(run) for _ in range(self._per_frame)]
        self._send(run, {"type": "claude:stream", "events": events})
        self.deltas += self._per_frame
        if self._said[run] % self._message_deltas == 0:
            message_id = f"m{self._said[run] // self._message_deltas - 1}"
            done = {"type": "message.done", "messageId": message_id, "claudeData": {}}
            self._send(run, {"type": "claude:stream", "events": [done]})

    def _next_event(self, run: str) -> dict[str, Any]:
        said = self._said.get(run, 0)
        self._said[run] = said + 1
        offset = self._offsets.get(run, 0) if said % self._message_deltas else 0
        text = word() if self._words is None else self._words[said % self._message_deltas % len(self._words)]
        self._offsets[run] = offset + utf16_length(text)
        message_id = f"m{said // self._message_deltas}"
        return {"type": "text.delta", "messageId": message_id, "block": 0, "offset": offset, "text": text}

    def _send(self, run: str, frame: dict[str, Any]) -> None:
        self._seqs[run] = self._seqs.get(run, 0) + 1
        self._waiting.append((run, json.dumps({**frame, "requestId": run, "seq": self._seqs[run]})))
        self._send_what_fits()

    def _send_what_fits(self) -> None:
        assert self.socket is not None, "it is open"
        while self._waiting and self._in_flight + len(self._waiting[0][1]) <= self._window:
            run, text = self._waiting.popleft()
            self._in_flight += len(text)
            self._sizes[run].append(len(text))
            self.socket.send(text)

    def _acknowledged(self, run: str, seq: int) -> None:
        """All frames of the run up to this one."""
        sizes, acked = self._sizes[run], self._acked.get(run, 0)
        self._in_flight -= sum(sizes.popleft() for _ in range(acked, seq))
        self._acked[run] = seq
        self._send_what_fits()

    @property
    def is_done(self) -> bool:
        """Whether all that was said is on the server's disk."""
        return not self._waiting and not self._in_flight


_HELLO = {
    "type": "hello",
    "protocol": 1,
    "bridgeId": "load",
    "instanceId": "load",
    "name": "load",
    "version": "1",
    "hostname": "localhost",
    "agents": [{"id": "load", "title": "Load", "available": True, "models": [], "modes": []}],
    "maxConcurrentRequests": 1000,
    "workspaces": [],
    "allowBypass": False,
    "runs": [],
}


async def bridge(options: dict[str, Any]) -> None:
    """Connect, wait for as many runs as there are rooms, on `go` stream; on `end` stop and say what was sent."""
    peer = LoadBridge(options.get("message_deltas", NEVER), options.get("per_frame", 1), options.get("text"))
    peer.expected = options["runs"]
    headers = (f"Authorization: Bearer {options['token']}", "Sec-WebSocket-Protocol: baton.bridge.v1")
    peer.socket = await open_socket(options["url"], "/bridge", peer.read, headers=headers, offers_deflate=False)
    peer.socket.send(json.dumps(_HELLO))
    await peer.is_welcome.wait()
    say(connected=True)
    await peer.is_ready.wait()
    say(ready=True)
    stdin = await lines()
    if not await stdin.readline():
        return
    frames = options.get("deltas", NEVER) // options.get("per_frame", 1)
    speaking = asyncio.ensure_future(paced(peer.runs, options["rate"], peer.speak, frames))
    speaking.add_done_callback(lambda task: task.cancelled() or say(spoken=peer.deltas))
    while line := (await stdin.readline()).decode().strip():
        if line == "end":
            speaking.cancel()
            async with asyncio.timeout(30):
                while not peer.is_done:
                    await asyncio.sleep(0.02)
            say(sent=peer.deltas)
    speaking.cancel()


async def _until_ended(work: Any) -> None:
    """Do it until stdin ends."""
    stdin = await lines()
    working = asyncio.ensure_future(work)
    while await stdin.readline():
        pass
    working.cancel()


def main() -> None:
    """Run the part that the arguments name."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if hard != resource.RLIM_INFINITY else (soft, hard))
    part = {"watch": watch, "produce": produce, "bridge": bridge, "crowd": crowd}[sys.argv[1]]
    asyncio.run(part(json.loads(sys.argv[2])))


if __name__ == "__main__":
    main()
