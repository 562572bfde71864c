"""The server's side of bridge links over real sockets, whose every step a test decides."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

Frame = dict[str, Any]
Greet = Callable[["FakeLinkEnd"], Coroutine[Any, Any, None]]


class FakeLinkEnd:
    """One link, as the server sees it. `heard`: the frames that came, hello first."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, epoch: str) -> None:
        self.request = request
        self.epoch = epoch
        self.socket = socket
        self.heard: list[Frame] = []
        self.is_over = asyncio.Event()
        self.is_welcome = asyncio.Event()
        self._news = asyncio.Event()

    async def say(self, **frame: Any) -> None:
        await self.socket.send_str(json.dumps(frame))

    async def welcome(
        self, acks: dict[str, int] | None = None, heartbeat_s: float = 20.0, window: int = 1 << 20
    ) -> None:
        await self.say(
            type="welcome",
            epoch=self.epoch,
            heartbeatS=heartbeat_s,
            window=window,
            maxFrameBytes=1 << 24,
            acks=acks or {},
        )
        self.is_welcome.set()

    async def close(self, code: int, reason: str = "") -> None:
        await self.socket.close(code=code, message=reason.encode())

    async def until_heard(self, kind: str) -> Frame:
        """The first frame of this type, waited for."""
        while not (found := [frame for frame in self.heard if frame["type"] == kind]):
            self._news.clear()
            await self._news.wait()
        return found[0]

    async def read(self) -> None:
        async for message in self.socket:
            if message.type is WSMsgType.TEXT:
                self.heard.append(json.loads(message.data))
                self._news.set()
        self.is_over.set()


async def greet_kindly(link: FakeLinkEnd) -> None:
    """Welcome it, as a server does."""
    await link.until_heard("hello")
    await link.welcome()


def close_with(code: int, reason: str = "") -> Greet:
    """Close what comes, before or instead of welcome."""

    async def greet(link: FakeLinkEnd) -> None:
        await link.close(code, reason)

    return greet


class FakeServer:
    """Serves `/bridge`. `greet` is what is done with the next link; `links` are those that came."""

    def __init__(self) -> None:
        self.greet: Greet = greet_kindly
        self.links: list[FakeLinkEnd] = []
        self.files: dict[str, bytes] = {}
        self.asked: list[web.Request] = []
        self.status = 200
        self.epoch = "e"
        """Of the database that it has, as far as its next links know."""
        self.url = ""
        self._news = asyncio.Event()

    async def until_links(self, count: int) -> FakeLinkEnd:
        """The newest link, once there were so many."""
        while len(self.links) < count:
            self._news.clear()
            await self._news.wait()
        return self.links[-1]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if self.status != 200:
            return web.Response(status=self.status)
        socket = web.WebSocketResponse(protocols=("baton.bridge.v1",), compress=False, timeout=0.5)
        await socket.prepare(request)
        link = FakeLinkEnd(request, socket, self.epoch)
        self.links.append(link)
        self._news.set()
        async with asyncio.TaskGroup() as tasks:
            greeting = tasks.create_task(self.greet(link))
            await link.read()
            greeting.cancel()
        return socket

    async def file(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.status != 200:
            return web.Response(status=self.status)
        return web.Response(body=self.files[request.match_info["name"]])


@asynccontextmanager
async def fake_server() -> AsyncIterator[FakeServer]:
    """A fake server on a port of its own."""
    fake = FakeServer()
    app = web.Application()
    app.router.add_get("/bridge", fake.serve)
    app.router.add_get("/api/attachments/{name}", fake.file)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake
