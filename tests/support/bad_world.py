"""One server that a test does its worst to, and what must be true of it afterwards."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.support.raw_clients import RawBridge, RawSocket, open_bridge, open_socket
from tests.support.shared_server import BRIDGE_TOKEN, TOKEN, SharedServer, connected

SAID = "cocoa-7731"
"""Stands in all that people and agents say, and nowhere in the log."""
NEVER_TOLD = ("Traceback", "sqlite3", "marshmallow", ".py", TOKEN, BRIDGE_TOKEN)


@dataclass
class World:
    """The server, and somebody who uses it."""

    server: SharedServer
    session: aiohttp.ClientSession
    anna: RawSocket

    async def rest(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status and answer."""
        async with self.session.request(method, self.server.url + path, **options) as response:
            body = await response.read()
            return response.status, json.loads(body) if body else None

    async def sent(self, request_id: str, content: str, **more: object) -> str:
        """The conversation of a message that was taken."""
        answer = await self.anna.ask("chat:send-message", {"requestId": request_id, "content": content, **more})
        assert answer["ok"], answer
        return str(answer["conversationId"])

    async def ended(self, request_id: str) -> str:
        """How the run has ended, as it is on disk; waited for."""
        async with asyncio.timeout(20):
            while True:
                ((status,),) = self.server.query("SELECT status FROM runs WHERE requestId = ?", request_id)
                if status in ("completed", "failed", "aborted"):
                    return str(status)
                await asyncio.sleep(0.02)  # a file does not tell when it changes

    @asynccontextmanager
    async def bridge(self, first: Any = None, token: str | None = BRIDGE_TOKEN) -> AsyncIterator[RawBridge]:
        """An outside bridge."""
        async with open_bridge(self.session, self.server.url, token, first) as bridge:
            yield bridge


@asynccontextmanager
async def world_of(server: SharedServer) -> AsyncIterator[World]:
    """For one test; at its end the server must still serve, and have said nothing that it must not."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        anna = await open_socket(session, server.url, TOKEN)
        yield World(server, session, anna)
        await anna.close()
        await assert_serves(server, session)


async def assert_serves(server: SharedServer, session: aiohttp.ClientSession) -> None:
    """It does what it did before, and has said nothing that it must not."""
    fresh = await open_socket(session, server.url, TOKEN)
    assert (await fresh.ask("latency:ping", {"sentAt": 1}))["sentAt"] == 1
    await fresh.close()
    with connected(server.database) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    log = server.log
    assert " ERROR " not in log
    for secret in (TOKEN, BRIDGE_TOKEN, SAID, "Traceback"):
        assert secret not in log


def refused(answer: Any, code: str, field: str | None = None) -> None:
    """The one error shape, with this code, naming this field, and telling nothing else."""
    assert isinstance(answer, dict), answer
    assert answer["ok"] is False
    error = answer["error"]
    assert error["code"] == code, answer
    assert isinstance(error["message"], str)
    assert isinstance(error["retryable"], bool)
    assert set(error) <= {"code", "message", "retryable", "fields"}
    if field is not None:
        assert any(name.split(".")[0] == field for name in error["fields"]), answer
    text = json.dumps(answer)
    assert not [secret for secret in NEVER_TOLD if secret in text], text


@contextmanager
def nothing_stored(server: SharedServer) -> Iterator[None]:
    """What happens in here leaves no row."""
    before = server.counts()
    yield
    assert server.counts() == before
