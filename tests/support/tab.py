"""A browser's tab of which many commands are under way at the same time, and which keeps what it is told."""

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.support.raw_clients import RawSocket, open_socket

Told = dict[str, Any]


class Tab:
    """`prompts`: what it was told of each prompt, in order. `runs`: of each run, what it was told last."""

    def __init__(self, socket: RawSocket) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Told]] = {}
        self._asked: defaultdict[str, asyncio.Future[Told]] = defaultdict(asyncio.get_running_loop().create_future)
        self.prompts: defaultdict[str, list[Told]] = defaultdict(list)
        self.runs: dict[str, Told] = {}

    async def ask(self, event: str, payload: Told) -> Told:
        """The acknowledgement of an event."""
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.tell(f"42{number}{json.dumps([event, payload])}")
        async with asyncio.timeout(30):
            return await answer

    async def asked_in(self, request_id: str) -> Told:
        """The first prompt of a run, once it is told."""
        async with asyncio.timeout(30):
            return await self._asked[request_id]

    async def read(self) -> None:
        """Take in what it is told; for the task that owns it."""
        while True:
            packet = await self._socket.packet()
            start = packet.index("[")
            if packet.startswith("43"):
                (answer,) = json.loads(packet[start:])
                self._answers.pop(int(packet[2:start])).set_result(answer)
            elif packet.startswith("42"):
                self._take(*json.loads(packet[start:]))

    def _take(self, name: str, payload: Told) -> None:
        if name in ("interactive_prompt", "prompt:resolved"):
            prompt = payload["prompt"]
            self.prompts[prompt["id"]].append(prompt)
            first = self._asked[prompt["requestId"]]
            if not first.done():
                first.set_result(prompt)
        elif name == "chat:run":
            self.runs[payload["run"]["requestId"]] = payload["run"]


@asynccontextmanager
async def open_tab(session: aiohttp.ClientSession, url: str, token: str) -> AsyncIterator[Tab]:
    """A tab that was let in, and listens."""
    socket = await open_socket(session, url, token)
    tab = Tab(socket)
    reading = asyncio.create_task(tab.read(), name="tab")
    try:
        yield tab
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await socket.close()
