"""The load of benchmarks/relay.py, in processes of its own: producers of deltas, and watchers that time them.

A delta is text like `@<monotonic nanoseconds>@ word`; all processes of a machine share that clock.
Run by relay.py: `python -m benchmarks.load watch|produce|bridge <JSON of its options>`. Lines on stdin steer it.
"""

import asyncio
import json
import re
import sys
import time
from typing import Any

import aiohttp

from baton.core.text import utf16_length

NEVER = 1 << 62
STAMP = re.compile(r"@(\d+)@")


def say(**line: object) -> None:
    """One line for relay.py."""
    print(json.dumps(line), flush=True)


async def lines() -> asyncio.StreamReader:
    """stdin, to be read line by line."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


class Watchers:
    """Many sockets that only listen. Counts and times what arrives while `is_counting`."""

    def __init__(self) -> None:
        self.is_counting = False
        self.latencies_ms: list[float] = []

    def take(self, text: str) -> None:
        """Note the deltas in one packet; a whole message holds those that were delivered before."""
        if self.is_counting and not text.startswith('42["chat:message"'):
            now = time.monotonic_ns()
            self.latencies_ms.extend((now - int(stamp)) / 1e6 for stamp in STAMP.findall(text))

    async def bare(self, session: aiohttp.ClientSession, url: str, room: str, joined: asyncio.Event) -> None:
        """A watcher of bare_aiohttp.py."""
        async with session.ws_connect(f"{url}/watch/{room}", compress=0) as socket:
            joined.set()
            async for message in socket:
                self.take(message.data)

    async def socketio(
        self, session: aiohttp.ClientSession, url: str, join: str, token: str | None, joined: asyncio.Event
    ) -> None:
        """A Socket.IO client, spoken by hand so that this process costs little."""
        address = f"{url}/socket.io/?EIO=4&transport=websocket"
        async with session.ws_connect(address, compress=0, max_msg_size=0) as socket:
            await socket.receive()
            await socket.send_str("40" + (json.dumps({"token": token}) if token else ""))
            async for message in socket:
                packet = message.data
                if packet == "2":
                    await socket.send_str("3")
                elif packet.startswith("40"):
                    await socket.send_str(f"420{join}")
                elif packet.startswith("430"):
                    joined.set()
                else:
                    self.take(packet)


async def watch(options: dict[str, Any]) -> None:
    """Connect all watchers, then count between the lines `begin` and `end`."""
    watchers = Watchers()
    url = options["url"]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        tasks = []
        for room in options["rooms"]:
            for _ in range(options["per_room"]):
                joined = asyncio.Event()
                if options["kind"] == "bare":
                    work = watchers.bare(session, url, room, joined)
                else:
                    event = ["join-conversation", {"conversationId": room}] if options.get("token") else ["join", room]
                    work = watchers.socketio(session, url, json.dumps(event), options.get("token"), joined)
                tasks.append(asyncio.ensure_future(work))
                await asyncio.wait_for(joined.wait(), 20)
        say(ready=True)
        stdin = await lines()
        while line := (await stdin.readline()).decode().strip():
            if line == "begin":
                watchers.latencies_ms.clear()
                watchers.is_counting = True
            elif line == "end":
                watchers.is_counting = False
                ordered = sorted(watchers.latencies_ms)
                say(
                    count=len(ordered),
                    median_ms=ordered[len(ordered) // 2] if ordered else None,
                    p99_ms=ordered[int(len(ordered) * 0.99)] if ordered else None,
                )
            elif line == "stop":
                break
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def paced(rooms: list[str], rate: float, send: Any) -> None:
    """Call `send(room)` `rate` times a second for each room, evenly spread, for ever."""
    gap = 1 / (rate * len(rooms))
    due = time.monotonic()
    while True:
        for room in rooms:
            await send(room)
            due += gap
            await asyncio.sleep(max(0.0, due - time.monotonic()))


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
    """Deltas for a relay that stores nothing."""
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{options['url']}/produce", compress=0) as socket:

            async def send(room: str) -> None:
                await socket.send_str(json.dumps({"room": room, "data": envelope(room)}))

            say(ready=True)
            await paced(options["rooms"], options["rate"], send)


class LoadBridge:
    """A bridge as docs/protocol.md has it: one delta per frame; each message ends after `message_deltas` of them.

    With a `text` each message says that, word by word, instead of stamps.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, message_deltas: int, text: str | None = None) -> None:
        self._socket = socket
        self._message_deltas = message_deltas
        self._words = None if text is None else re.findall(r"\s*\S+\s*", text)
        self._seqs: dict[str, int] = {}
        self._said: dict[str, int] = {}
        self._offsets: dict[str, int] = {}
        self.runs: list[str] = []
        self.in_flight: dict[str, int] = {}

    async def read(self, expected: int, ready: asyncio.Event) -> None:
        """Take up the runs that come, answer pings."""
        async for message in self._socket:
            frame = json.loads(message.data)
            if frame["type"] == "claude:execute":
                self.runs.append(frame["requestId"])
                await self._send(frame["requestId"], {"type": "claude:started", "sessionId": "load"})
                if len(self.runs) == expected:
                    ready.set()
            elif frame["type"] == "ack":
                self.in_flight.update(frame["acks"])
            elif frame["type"] == "ping":
                await self._socket.send_str(json.dumps({"type": "pong", "t": frame["t"]}))

    async def delta(self, run: str) -> None:
        """One more word of a run."""
        said = self._said.get(run, 0)
        self._said[run] = said + 1
        message_id = f"m{said // self._message_deltas}"
        offset = self._offsets.get(run, 0) if said % self._message_deltas else 0
        text = word() if self._words is None else self._words[said % self._message_deltas % len(self._words)]
        self._offsets[run] = offset + utf16_length(text)
        event = {"type": "text.delta", "messageId": message_id, "block": 0, "offset": offset, "text": text}
        await self._send(run, {"type": "claude:stream", "events": [event]})
        if (said + 1) % self._message_deltas == 0:
            done = {"type": "message.done", "messageId": message_id, "claudeData": {}}
            await self._send(run, {"type": "claude:stream", "events": [done]})

    async def _send(self, run: str, frame: dict[str, Any]) -> None:
        self._seqs[run] = self._seqs.get(run, 0) + 1
        await self._socket.send_str(json.dumps({**frame, "requestId": run, "seq": self._seqs[run]}))


async def bridge(options: dict[str, Any]) -> None:
    """Connect, wait for as many runs as there are rooms, stream until stopped."""
    headers = {"Authorization": f"Bearer {options['token']}"}
    hello = {
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
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(
            f"{options['url']}/bridge", headers=headers, protocols=["baton.bridge.v1"], compress=0, max_msg_size=0
        ) as socket:
            await socket.send_str(json.dumps(hello))
            welcome = json.loads((await socket.receive()).data)
            assert welcome["type"] == "welcome", welcome
            say(connected=True)
            peer, ready = LoadBridge(socket, options.get("message_deltas", NEVER), options.get("text")), asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(peer.read(options["runs"], ready))
                await ready.wait()
                say(ready=True)
                stdin = await lines()
                await stdin.readline()
                tasks.create_task(paced(peer.runs, options["rate"], peer.delta))


def main() -> None:
    """Run the part that the arguments name."""
    part = {"watch": watch, "produce": produce, "bridge": bridge}[sys.argv[1]]
    asyncio.run(part(json.loads(sys.argv[2])))


if __name__ == "__main__":
    main()
