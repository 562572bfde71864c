"""A bridge that says exactly what a test gives it, whatever the message: for pages that must show anything."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

AGENT = "speaker"
_HELLO = {
    "type": "hello",
    "protocol": 1,
    "bridgeId": "speaker",
    "instanceId": "speaker",
    "name": "speaker",
    "version": "1",
    "hostname": "localhost",
    "agents": [{"id": AGENT, "title": "Speaker", "available": True, "models": [], "modes": ["default"]}],
    "maxConcurrentRequests": 10,
    "workspaces": [],
    "allowBypass": False,
    "runs": [],
}
_PIECE = 200_000
"""So many characters go into one delta: frames are bounded."""

Frame = Mapping[str, Any]


def says(message_id: str, *events: Mapping[str, Any]) -> Frame:
    """A frame with these events of one message."""
    return {"type": "claude:stream", "events": [{"messageId": message_id, **event} for event in events]}


def text(message_id: str, said: str) -> list[Frame]:
    """A whole message of one text, of any length."""
    frames = [says(message_id, {"type": "message.started"})]
    for offset in range(0, len(said), _PIECE):
        piece = said[offset : offset + _PIECE]
        units = len(said[:offset].encode("utf-16-le")) // 2
        frames.append(says(message_id, {"type": "text.delta", "block": 0, "offset": units, "text": piece}))
    return [*frames, says(message_id, {"type": "message.done", "claudeData": {}})]


@asynccontextmanager
async def speaking_bridge(url: str, token: str, frames: Sequence[Frame]) -> AsyncIterator[None]:
    """While open, every run of the server at `url` (http) is answered by `frames` and then completed."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        async with session.ws_connect(
            f"{url}/bridge", protocols=("baton.bridge.v1",), max_msg_size=0, compress=0
        ) as socket:
            await socket.send_str(json.dumps(_HELLO))
            welcome = json.loads((await socket.receive()).data)
            assert welcome["type"] == "welcome", welcome
            speaking = asyncio.create_task(_speak(socket, frames), name="speaking bridge")
            try:
                yield
            finally:
                speaking.cancel()
                await asyncio.gather(speaking, return_exceptions=True)


async def _speak(socket: aiohttp.ClientWebSocketResponse, frames: Iterable[Frame]) -> None:
    async for message in socket:
        frame = json.loads(message.data)
        if frame["type"] == "ping":
            await socket.send_str(json.dumps({"type": "pong", "t": frame["t"]}))
        elif frame["type"] == "claude:execute":
            run = frame["requestId"]
            whole = [{"type": "claude:started", "sessionId": run}, *frames, _COMPLETE]
            for seq, part in enumerate(whole, start=1):
                await socket.send_str(json.dumps({**part, "requestId": run, "seq": seq}))


_COMPLETE = {"type": "claude:complete", "result": {"outcome": "completed"}}
