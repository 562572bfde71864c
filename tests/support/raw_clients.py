"""Clients that say whatever they are told to, right or wrong: a browser's socket and a bridge's, byte by byte."""

import asyncio
import io
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

ANSWER_S = 20


@dataclass(frozen=True)
class Closed:
    """What the server did instead of answering."""

    code: int | None
    reason: str = ""


class RawSocket:
    """A Socket.IO client over a WebSocket. `events`: what it was told while it waited for answers."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.events: list[tuple[str, Any]] = []

    async def ask(self, name: str, *payload: object) -> Any:
        """The acknowledgement of an event."""
        return await self.say(f"42{next(self._ids)}{json.dumps([name, *payload])}")

    async def say(self, packet: str | bytes) -> Any:
        """Send a packet as it is; the acknowledgement that comes, or Closed."""
        try:
            if isinstance(packet, bytes):
                await self._socket.send_bytes(packet)
            else:
                await self._socket.send_str(packet)
        except ConnectionError:
            pass  # closed while it was being sent: what was said about it can still be read
        return await self._answer()

    async def tell(self, packet: str) -> None:
        """Send a packet, and wait for nothing."""
        await self._socket.send_str(packet)

    async def until_event(self, name: str) -> Any:
        """The payload of the next event of that name, from those that came already on."""
        async with asyncio.timeout(ANSWER_S):
            while True:
                for index, (event, payload) in enumerate(self.events):
                    if event == name:
                        del self.events[: index + 1]
                        return payload
                self._keep(await self.packet())

    async def packet(self) -> str:
        """The next packet; pings are answered."""
        while True:
            message = await self._socket.receive(ANSWER_S)
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise ConnectionResetError(f"the socket ended: {message.type}")
            if message.data != "2":
                return str(message.data)
            await self._socket.send_str("3")

    async def close(self) -> None:
        """Leave."""
        await self._socket.close()

    async def _answer(self) -> Any:
        while True:
            try:
                packet = await self.packet()
            except ConnectionResetError:
                return Closed(self._socket.close_code)
            if packet.startswith("43"):
                (answer,) = json.loads(packet[packet.index("[") :])
                return answer
            self._keep(packet)

    def _keep(self, packet: str) -> None:
        if packet.startswith("42"):
            name, payload = json.loads(packet[2:])
            self.events.append((name, payload))


async def knock(session: aiohttp.ClientSession, url: str) -> RawSocket:
    """A client that has said nothing yet."""
    socket = await session.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket", max_msg_size=0)
    client = RawSocket(socket)
    assert (await client.packet()).startswith("0{")
    return client


async def open_socket(session: aiohttp.ClientSession, url: str, token: str | None) -> RawSocket:
    """A client that was let in."""
    client = await knock(session, url)
    await client.tell("40" + json.dumps({"token": token} if token else {}))
    assert (await client.packet()).startswith("40{"), "refused"
    return client


class RawPolling:
    """A client over long polling, that was let in."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/socket.io/?EIO=4&transport=polling"

    async def connect(self, token: str) -> None:
        """Open it."""
        async with self._session.get(self._url) as response:
            self._url += "&sid=" + json.loads((await response.text())[1:])["sid"]
        assert await self.post("40" + json.dumps({"token": token})) == 200

    async def post(self, body: str | io.BytesIO) -> int:
        """Send packets; the status."""
        async with self._session.post(self._url, data=body) as response:
            return response.status

    async def poll(self) -> tuple[int, str]:
        """Status and packets of one poll."""
        async with self._session.get(self._url) as response:
            return response.status, await response.text()


Frame = dict[str, Any]


class RawBridge:
    """A bridge that says what a test wants. `acks`: how far each run was acknowledged."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.acks: dict[str, int] = {}

    async def say(self, *frames: Frame | str | bytes) -> None:
        """Send frames, as JSON or as they are."""
        for frame in frames:
            try:
                if isinstance(frame, bytes):
                    await self._socket.send_bytes(frame)
                else:
                    await self._socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))
            except ConnectionError:
                return  # closed while it was being sent: what was said about it can still be read

    async def hear(self) -> Frame | Closed:
        """The next frame, or Closed."""
        message = await self._socket.receive(ANSWER_S)
        if message.type is aiohttp.WSMsgType.TEXT:
            frame: Frame = json.loads(message.data)
            if frame["type"] == "ack":
                self.acks.update(frame["acks"])
            return frame
        return Closed(self._socket.close_code, str(message.extra or ""))

    async def until(self, kind: str) -> Frame:
        """The next frame of that type; what comes before is passed over."""
        while True:
            frame = await self.hear()
            assert isinstance(frame, dict), f"no {kind} came, but {frame}"
            if frame["type"] == kind:
                return frame

    async def until_acknowledged(self, request_id: str, seq: int) -> None:
        """Return when the run is acknowledged up to there."""
        while self.acks.get(request_id, 0) < seq:
            await self.until("ack")

    async def ending(self) -> Closed:
        """How the server ends the link; what it says before is passed over."""
        while not isinstance(frame := await self.hear(), Closed):
            pass
        return frame

    async def close(self) -> None:
        """Leave."""
        await self._socket.close()


def hello(bridge_id: str = "ext", instance: str = "i", runs: Sequence[Frame] = ()) -> Frame:
    """A sound first frame of a bridge with an agent `ext`."""
    return {
        "type": "hello",
        "protocol": 1,
        "bridgeId": bridge_id,
        "instanceId": instance,
        "agents": [{"id": "ext", "title": "Of somebody else"}],
        "runs": list(runs),
    }


@asynccontextmanager
async def open_bridge(
    session: aiohttp.ClientSession, url: str, token: str | None, first: Frame | str | None = None
) -> AsyncIterator[RawBridge]:
    """A connected bridge that has said `first`, if anything."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    socket = await session.ws_connect(f"{url}/bridge", protocols=["baton.bridge.v1"], headers=headers, max_msg_size=0)
    bridge = RawBridge(socket)
    try:
        if first is not None:
            await bridge.say(first)
        yield bridge
    finally:
        await bridge.close()
