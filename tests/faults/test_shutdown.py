"""A stop is clean and quick, however much hangs on the server."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.server_process import ServerProcess, server_process

SOCKETS = 1000
STREAMS = 10


async def connect(session: aiohttp.ClientSession, server: ServerProcess, token: str) -> Any:
    """A Socket.IO client, spoken by hand: cheap enough for a thousand."""
    socket = await session.ws_connect(
        f"{server.url}/socket.io/?EIO=4&transport=websocket", compress=0, max_msg_size=0, autoping=False
    )
    await socket.receive_str()
    await socket.send_str("40" + json.dumps({"token": token}))
    assert (await socket.receive_str()).startswith("40")
    return socket


async def ask(socket: Any, number: int, event: str, payload: object) -> Any:
    """An event's acknowledgement; what comes before it is passed over."""
    await socket.send_str(f"42{number}" + json.dumps([event, payload]))
    while not (packet := await socket.receive_str()).startswith(f"43{number}"):
        pass
    return json.loads(packet.removeprefix(f"43{number}"))[0]


async def test_sigterm_is_clean_with_a_thousand_sockets_and_streams_under_way(tmp_path: Path) -> None:
    settings = {"BATON_MAX_CONCURRENT_REQUESTS": str(STREAMS)}
    async with server_process(tmp_path, **settings) as server, AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        token = server.token()
        sockets = []
        for _ in range(0, SOCKETS, 50):
            sockets += await asyncio.gather(*[connect(session, server, token) for _ in range(50)])
        conversations = []
        for number in range(STREAMS):
            content = {"requestId": f"r{number}", "content": "/demo markdown words=20000 rate=50"}
            sent = await ask(sockets[0], number, "chat:send-message", content)
            conversations.append(sent["conversationId"])
        for number, socket in enumerate(sockets):
            joined = await ask(socket, 7, "join-conversation", conversations[number % STREAMS])
            assert joined["ok"]
        while "chat:stream-response" not in await sockets[-1].receive_str():
            pass
        began = time.monotonic()
        code = await server.terminate()
        assert code == 0, (tmp_path / "server.log").read_text()[-3000:]
        assert time.monotonic() - began < 10
        for socket in sockets:
            while not socket.closed:
                message = await socket.receive()
                if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                    break
