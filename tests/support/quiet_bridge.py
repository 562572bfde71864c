"""A bridge with agents of a test's choice, which answers every run with one error: for what pages say of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

Json = dict[str, Any]


@asynccontextmanager
async def quiet_bridge(
    url: str,
    token: str,
    agents: Sequence[Json],
    *,
    error: Json | None = None,
    commands: Sequence[Json] = (),
) -> AsyncIterator[None]:
    """Connected to the server at `url` (http) while open. Without an `error` it takes runs and says nothing."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        async with session.ws_connect(f"{url}/bridge", protocols=("baton.bridge.v1",), max_msg_size=0) as socket:
            await socket.send_str(json.dumps(_hello(agents)))
            assert (await socket.receive_json())["type"] == "welcome"
            answering = asyncio.create_task(_answer(socket, error, list(commands)), name="quiet bridge")
            try:
                yield
            finally:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)


def _hello(agents: Sequence[Json]) -> Json:
    return {
        "type": "hello",
        "protocol": 1,
        "bridgeId": "quiet",
        "instanceId": "quiet",
        "name": "quiet",
        "version": "1",
        "hostname": "localhost",
        "agents": list(agents),
        "maxConcurrentRequests": 5,
        "workspaces": [],
        "allowBypass": False,
        "runs": [],
    }


async def _answer(socket: aiohttp.ClientWebSocketResponse, error: Json | None, commands: list[Json]) -> None:
    async for message in socket:
        frame = json.loads(message.data)
        if frame["type"] == "ping":
            await socket.send_str(json.dumps({"type": "pong", "t": frame["t"]}))
        elif frame["type"] == "rpc":
            is_known = frame["method"] == "commands"
            known: Json = {"ok": True, "result": {"commands": commands, "models": []}}
            unknown: Json = {"ok": False, "error": {"code": "not_found", "message": "No", "retryable": False}}
            answer = known if is_known else unknown
            await socket.send_str(json.dumps({"type": "rpc:result", "id": frame["id"], **answer}))
        elif frame["type"] == "claude:execute" and error is not None:
            failed = {"type": "claude:error", "requestId": frame["requestId"], "seq": 1, "error": error}
            await socket.send_str(json.dumps(failed))
