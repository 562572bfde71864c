"""MongoDB stores what it was asked to, and the connection ends before it can say so: all goes on as if it had.

The server is `tests.support.wire_server`, to which the real driver speaks over TCP; the rest is `baton serve` with the
demo agent, and a browser's socket that holds that no event is left out.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.raw_clients import RawSocket, open_socket
from tests.support.server_process import ServerProcess, server_process
from tests.support.view import View
from tests.support.wire_server import Fault, WireServer, wire_server

SOON_S = 30.0
"""Not minutes, as for what is called stuck."""
LIMITS = dict.fromkeys(("BATON_COMMANDS_PER_MINUTE", "BATON_REST_PER_MINUTE", "BATON_REST_PER_MINUTE_OF_ADDRESS"), "0")


@pytest.fixture
async def mongo() -> AsyncIterator[WireServer]:
    async with wire_server() as server:
        yield server


@pytest.fixture
async def server(tmp_path: Path, mongo: WireServer) -> AsyncIterator[ServerProcess]:
    store = f"mongodb://{mongo.address}/baton"
    async with server_process(tmp_path, BATON_STORE=store, BATON_MIGRATE="1", **LIMITS) as server:
        yield server


class Tab:
    """One conversation, watched from its beginning."""

    def __init__(self, socket: RawSocket) -> None:
        self._socket = socket
        self.view = View()
        self.conversation_id = ""

    async def begin(self) -> None:
        """A new conversation."""
        made = await self._socket.ask("conversation:create", {})
        self.conversation_id = made["conversation"]["id"]
        snapshot = await self._socket.ask("join-conversation", self.conversation_id)
        self.view.take_snapshot(snapshot, is_resume=False)

    async def send(self, request_id: str, content: str) -> Any:
        """The answer to a message."""
        message = {"requestId": request_id, "content": content, "conversationId": self.conversation_id}
        return await self._socket.ask("chat:send-message", message)

    async def until_run(self, request_id: str, status: str) -> None:
        """Follow what is told until the run has that status; nothing may be left out, and nothing read anew."""
        ends_at = time.monotonic() + SOON_S
        while self.view.runs.get(request_id, {}).get("status") != status:
            await self._socket.ask("conversation:list", {})  # what came before its answer has been kept
            for name, payload in self._socket.events:
                self.view.take_event(name, payload)
            self._socket.events.clear()
            assert self.view.gaps == 0
            assert time.monotonic() < ends_at, f"{request_id} is not {status}: {self.view.runs.get(request_id)}"
            await asyncio.sleep(0.05)  # a server can only be asked again


def lost(collection: str, *, after: int = 0) -> Fault:
    """The next write there (but so many) is carried out, and its answer cut off in the middle."""
    return Fault(collection=collection, is_carried_out=True, cut_after=20, after=after)


async def test_a_message_that_was_stored_although_it_was_called_an_error_is_worked_on(
    mongo: WireServer, server: ServerProcess
) -> None:
    async with aiohttp.ClientSession() as session:
        socket = await open_socket(session, server.url, server.token())
        for collection in ("pending_changes", "messages", "runs", "conversations"):
            tab = Tab(socket)
            await tab.begin()
            fault = lost(collection)
            mongo.faults = [fault]
            answer = await tab.send(collection, "words=20 rate=200")
            assert (answer["ok"], fault.hits) == (False, 1)
            assert answer["error"]["code"] == "store_unavailable"
            await tab.until_run(collection, "completed")
            assert (await tab.send(collection, "words=20 rate=200"))["ok"]
            assert len(tab.view.texts()) == 1
        await socket.close()


async def test_a_run_whose_change_was_written_without_an_answer_goes_on_and_the_next_one_begins(
    mongo: WireServer, server: ServerProcess
) -> None:
    async with aiohttp.ClientSession() as session:
        socket = await open_socket(session, server.url, server.token())
        for number, (collection, after) in enumerate(itertools.product(("run_journal", "runs"), range(3))):
            tab, first, second = Tab(socket), f"r{number}-1", f"r{number}-2"
            await tab.begin()
            assert (await tab.send(first, "words=10 rate=20"))["ok"]
            assert (await tab.send(second, "words=10 rate=200"))["ok"]
            await tab.until_run(first, "running")
            fault = lost(collection, after=after)
            mongo.faults = [fault]
            await tab.until_run(first, "completed")
            await tab.until_run(second, "completed")
            assert fault.hits == 1
            assert len(tab.view.texts()) == 2
        await socket.close()
