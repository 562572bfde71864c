"""A server of the browser side alone, on a real port, over services that tests script; and raw clients for it.

The clients speak Engine.IO 4 and Socket.IO 5 by hand, so that tests see every packet in its order.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self, cast

import aiohttp
import orjson
from aiohttp import web

from baton.core import commands
from baton.core.commands import AccountRole, Identity
from baton.core.errors import NotFound
from baton.core.events import BridgePresence, Queue, RoomEvent, Streamed
from baton.core.ids import BridgeId, ConversationId, MessageId, RequestId, TokenId, UserId
from baton.core.limits import Limits
from baton.core.models import PermissionMode, SendAnswer
from baton.core.stored import EncodedJson
from baton.core.stream import TextDelta
from baton.services.catalog import Services
from baton.services.snapshots import Snapshot
from baton.services.watching import Watchers
from baton.testing import samples
from baton.testing.clock import FakeClock
from baton.web.access import Access
from baton.web.engine import Connection
from baton.web.fanout import Fanout
from baton.web.sockets import SocketServer
from baton.web.throttle import Throttle
from tests.support.logins import FakeLogins

TOKEN = "a-token"
BRIDGE_TOKEN = "a-bridge-token"
CONVERSATION = ConversationId("65f0c0ffee0123456789abcd")
OTHER_TOKEN = "another-token"
ANNA = Identity(UserId("anna"), AccountRole.USER, TokenId("1" * 24))
BEN = Identity(UserId("ben"), AccountRole.USER, TokenId("2" * 24))
ANSWER = SendAnswer(
    request_id=RequestId("r"), conversation_id=CONVERSATION, message_id=MessageId("6" * 24), status="dispatched"
)
Join = Callable[[commands.JoinConversation, Callable[[], None]], Awaitable[Snapshot]]


class Tokens:
    """Four tokens, as `services.tokens` would know them."""

    def verify(self, token: str) -> Identity | None:
        robot, root = Identity(UserId("robot"), AccountRole.BRIDGE), Identity(UserId("root"), AccountRole.ADMIN)
        known = {TOKEN: ANNA, OTHER_TOKEN: BEN, BRIDGE_TOKEN: robot, "an-admins-token": root}
        return known.get(token)


def snapshot(seq: int = 0, messages: Sequence[bytes] = ()) -> Snapshot:
    return Snapshot(
        epoch="e",
        seq=seq,
        conversation=samples.conversation(id=CONVERSATION, seq=seq),
        messages=tuple(EncodedJson(message) for message in messages),
        runs=(),
        prompts=(),
        queue=Queue(paused=False, reason=None, runs=()),
        truncated=False,
    )


def streamed(seq: int, text: str = "x", conversation_id: ConversationId = CONVERSATION) -> RoomEvent:
    delta = TextDelta(message_id="m", block=0, offset=0, text=text)
    return RoomEvent(conversation_id, seq, seq - 1, Streamed(RequestId("r"), None, (delta,)))


@dataclass
class Script:
    """The services as a test wants them: what was asked is in `asked`, and `actions` replaces single verbs."""

    asked: list[tuple[str, Any]] = field(default_factory=list)
    actions: dict[str, Callable[..., Awaitable[Any]]] = field(default_factory=dict)
    join: Join | None = None
    watchers: Watchers = field(default_factory=Watchers)

    def services(self, clock: FakeClock, limits: Limits) -> Services:
        conversation = samples.conversation(id=CONVERSATION)
        queue = Queue(paused=False, reason=None, runs=())
        return cast(
            Services,
            SimpleNamespace(
                conversations=SimpleNamespace(
                    create=self._verb("create", conversation),
                    exists=self._verb("exists", True),
                    mode=self._verb("mode", PermissionMode.DEFAULT),
                    set_mode=self._verb("set_mode", PermissionMode.PLAN),
                ),
                marks=SimpleNamespace(note=self._verb("note", None)),
                snapshots=SimpleNamespace(snapshot=self._snapshot),
                runs=SimpleNamespace(
                    send=self._verb("send", ANSWER),
                    retry=self._verb("retry", ANSWER),
                    abort=self._verb("abort", samples.run(CONVERSATION)),
                    extend=self._verb("extend", samples.run(CONVERSATION)),
                    queue_update=self._verb("queue_update", queue),
                    queue_remove=self._verb("queue_remove", queue),
                    queue_move=self._verb("queue_move", queue),
                    queue_resume=self._verb("queue_resume", queue),
                ),
                prompts=SimpleNamespace(
                    respond=self._verb("respond", samples.prompt(CONVERSATION, RequestId("r"))),
                    seen=self._verb("prompt_seen", samples.prompt(CONVERSATION, RequestId("r"))),
                    extend=self._verb("prompt_extend", samples.prompt(CONVERSATION, RequestId("r"))),
                    watchers=self.watchers,
                ),
                projects=SimpleNamespace(get=self._verb("project", samples.project())),
                bridges=SimpleNamespace(
                    presence=lambda: (BridgePresence(id=BridgeId("local"), name="local"),),
                    files=self._verb("files", {"files": [{"path": "a", "type": "file", "size": 1}]}),
                    commands=self._verb("commands", {"commands": ["/x"], "models": []}),
                ),
                store=SimpleNamespace(probe=self._verb("probe", (1.5, 0.5))),
                clock=clock,
                limits=limits,
            ),
        )

    def _verb(self, name: str, default: Any) -> Callable[..., Awaitable[Any]]:
        async def act(*args: Any, **named: Any) -> Any:
            self.asked.append((name, args[1:] or named))
            action = self.actions.get(name)
            return await action(*args, **named) if action else default

        return act

    async def _snapshot(self, who: Identity, command: commands.JoinConversation, subscribe: Callable[[], None]) -> Any:
        self.asked.append(("join", command))
        if self.join is not None:
            return await self.join(command, subscribe)
        if command.conversation_id != CONVERSATION:
            raise NotFound("There is no such conversation")
        subscribe()
        return snapshot()


@dataclass
class Stage:
    """One running server and all that a test may touch of it."""

    script: Script
    fanout: Fanout
    sockets: SocketServer
    clock: FakeClock
    session: aiohttp.ClientSession
    port: int
    logins: FakeLogins

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        return f"{self.url}/socket.io/"

    async def websocket(self, *, token: str | None = TOKEN, deflate: int = 0) -> "RawSocket":
        """A client that is let in, after its `bridge:status`."""
        raw = await RawSocket.open(self, deflate=deflate)
        await raw.connect(token)
        return raw

    async def polling(self) -> "RawPolling":
        raw = RawPolling(self)
        await raw.connect()
        return raw

    def connection(self) -> Connection:
        """The server's end of the only connection."""
        (connection,) = self.sockets._library.engine.connections()
        return connection

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when it holds; the loop runs meanwhile."""
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0)

    async def until_gone(self, count: int = 0) -> None:
        await self.until(lambda: self.fanout.socket_count == count)


@asynccontextmanager
async def open_stage(
    script: Script | None = None, *, limits: Limits | None = None, auth: bool = True, transports: tuple[str, ...] = ()
) -> AsyncIterator[Stage]:
    limits, script, clock = limits or Limits(), script or Script(), FakeClock()
    fanout = Fanout(limits)
    access = Access(
        Tokens(),
        logins := FakeLogins(),
        host="127.0.0.1",
        port=0,
        client_origins=["http://localhost:5173"],
        auth_enabled=auth,
        throttle=Throttle(limits, clock),
    )
    sockets = SocketServer(
        script.services(clock, limits), fanout, access, limits, clock, transports=transports or ("websocket", "polling")
    )
    app = web.Application()
    access.attach(app)
    sockets.attach(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    # Small, so that a client which does not read is felt after little; accepted sockets inherit it.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
    await web.SockSite(runner, listening).start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Stage(script, fanout, sockets, clock, session, runner.addresses[0][1], logins)
    finally:
        await runner.cleanup()


class RawClient:
    """What both transports have in common: numbered events and the parsing of what comes."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._ids = 0

    def event(self, name: str, *payload: object, ack: bool = True) -> str:
        """An EVENT packet; its acknowledgement's id is the count of events so far."""
        self._ids += ack
        return f"42{self._ids if ack else ''}{json.dumps([name, *payload])}"


class RawSocket(RawClient):
    """A WebSocket client."""

    def __init__(self, stage: Stage, ws: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__(stage)
        self.ws = ws

    @classmethod
    async def open(cls, stage: Stage, *, sid: str | None = None, deflate: int = 0) -> Self:
        query = "EIO=4&transport=websocket" + (f"&sid={sid}" if sid else "")
        ws = await stage.session.ws_connect(f"{stage.endpoint}?{query}", compress=deflate, max_msg_size=0)
        raw = cls(stage, ws)
        if sid is None:
            assert (await raw.packet())[0] == "0"
        return raw

    async def connect(self, token: str | None = TOKEN) -> None:
        await self.ws.send_str("40" + (json.dumps({"token": token}) if token else ""))
        assert (await self.packet()).startswith("40{"), "refused"
        assert (await self.next_event())[0] == "bridge:status"

    async def packet(self) -> str:
        """The next packet; pings are answered."""
        while True:
            message = await asyncio.wait_for(self.ws.receive(), 10)
            assert message.type is aiohttp.WSMsgType.TEXT, f"the socket ended: {message.type} {message.data}"
            if message.data != "2":
                return cast(str, message.data)
            await self.ws.send_str("3")

    async def next_event(self) -> tuple[str, Any]:
        packet = await self.packet()
        assert packet.startswith("42"), packet[:200]
        name, payload = orjson.loads(packet[2:])
        return name, payload

    async def ask(self, name: str, *payload: object) -> Any:
        """Send an event and return its acknowledgement, which must be the next packet."""
        await self.ws.send_str(self.event(name, *payload))
        return await self.ack()

    async def ack(self) -> Any:
        return read_ack(await self.packet())[1]

    def stop_reading(self) -> None:
        """From now on what the server sends fills the buffers of the system, and then the server's."""
        self._transport.pause_reading()

    def go_on_reading(self) -> None:
        self._transport.resume_reading()

    @property
    def _transport(self) -> asyncio.Transport:
        connection = self.ws._response.connection
        assert connection is not None
        transport = connection.transport
        assert isinstance(transport, asyncio.Transport)
        return transport

    async def closed(self) -> int | None:
        """The close code, once the server has ended the connection."""
        async with asyncio.timeout(10):
            while (await self.ws.receive()).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                pass
        return self.ws.close_code


class RawPolling(RawClient):
    """A long-polling client."""

    sid = ""

    async def open(self) -> None:
        (opening,) = await self.poll()
        self.sid = json.loads(opening[1:])["sid"]

    async def connect(self) -> None:
        await self.open()
        await self.post("40" + json.dumps({"token": TOKEN}))
        packets = await self.packets(2)
        assert packets[0].startswith("40{")
        assert packets[1].startswith('42["bridge:status"')

    async def poll(self) -> list[str]:
        async with self.stage.session.get(self._url()) as response:
            assert response.status == 200, await response.text()
            return (await response.text()).split("\x1e")

    async def packets(self, count: int) -> list[str]:
        got: list[str] = []
        async with asyncio.timeout(20):
            while len(got) < count:
                got += [packet for packet in await self.poll() if packet not in ("2", "6")]
        return got

    async def post(self, *packets: str) -> int:
        async with self.stage.session.post(self._url(), data="\x1e".join(packets).encode()) as response:
            return response.status

    def _url(self) -> str:
        return f"{self.stage.endpoint}?EIO=4&transport=polling" + (f"&sid={self.sid}" if self.sid else "")


def read_ack(packet: str) -> tuple[int, Any]:
    assert packet.startswith("43"), packet[:200]
    bracket = packet.index("[")
    (answer,) = orjson.loads(packet[bracket:])
    return int(packet[2:bracket]), answer


def seqs(packets: Sequence[str]) -> list[int]:
    """The seq of each event of the conversation among these packets."""
    events = [orjson.loads(packet[2:]) for packet in packets if packet.startswith("42")]
    return [payload["seq"] for _, payload in events if "seq" in payload]
