"""`/bridge` over real sockets: what a bridge is answered, and with which code its link ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web
from aiohttp.test_utils import BaseTestServer, TestServer

from baton.bridge.endpoint import BridgeEndpoint, text_frame
from baton.bridge.hub import Hub
from baton.core.commands import AccountRole, Identity
from baton.core.errors import Forbidden, StoreUnavailable, Unauthenticated
from baton.core.frames import Abort, Ack, Execute, Failed
from baton.core.ids import BridgeId, ConversationId, RequestId, TokenId, UserId
from baton.core.limits import Limits
from baton.testing.clock import FakeClock
from tests.support.bridges import FakeIntake, FakePublisher

LIMITS = Limits(bridge_frame_max_bytes=100_000)
B = BridgeId("b")
R = RequestId("r")
HELLO = {
    "type": "hello",
    "protocol": 1,
    "bridgeId": "b",
    "instanceId": "i",
    "agents": [{"id": "demo", "title": "Demo", "available": True, "models": [], "modes": []}],
    "maxConcurrentRequests": 5,
    "runs": [],
}


def authorize(request: web.Request) -> Identity:
    token = request.headers.get("Authorization", "")
    if token == "Bearer anna":
        raise Forbidden("A bridge needs a token of the role bridge")
    if token not in ("Bearer secret", "Bearer other"):
        raise Unauthenticated("The token is not valid")
    return Identity(UserId(token), AccountRole.BRIDGE, TokenId(token))


@dataclass
class Wire:
    """A bridge's side of one socket."""

    socket: ClientWebSocketResponse

    async def say(self, frame: dict[str, Any]) -> None:
        await self.socket.send_str(json.dumps(frame))

    async def hear(self) -> dict[str, Any]:
        message = await self.socket.receive()
        assert message.type is WSMsgType.TEXT, message
        frame: dict[str, Any] = json.loads(message.data)
        return frame

    async def ending(self) -> tuple[int | None, str]:
        """The code and reason that the server closes with; what it says before is passed over."""
        while (message := await self.socket.receive()).type is WSMsgType.TEXT:
            pass
        assert message.type is WSMsgType.CLOSE, message
        return message.data, message.extra or ""

    async def greet(self, **changes: Any) -> dict[str, Any]:
        await self.say({**HELLO, **changes})
        return await self.hear()


Connect = Callable[..., Awaitable[Wire]]


@dataclass
class Setup:
    """A serving endpoint."""

    endpoint: BridgeEndpoint
    hub: Hub
    intake: FakeIntake
    clock: FakeClock
    server: BaseTestServer
    bindings: dict[UserId, BridgeId]
    session: ClientSession

    async def connect(self, token: str = "secret", protocols: tuple[str, ...] = ("baton.bridge.v1",)) -> Wire:
        socket = await self.session.ws_connect(
            self.server.make_url("/bridge"),
            headers={"Authorization": f"Bearer {token}"},
            protocols=protocols,
            autoclose=True,
        )
        return Wire(socket)

    async def welcomed(self, **changes: Any) -> Wire:
        wire = await self.connect()
        await wire.greet(**changes)
        return wire


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    clock = FakeClock()
    hub = Hub(clock, LIMITS, epoch="e")
    intake = FakeIntake(hub)
    hub.attach(intake, FakePublisher())
    bindings: dict[UserId, BridgeId] = {}

    async def bind(who: Identity, bridge_id: BridgeId) -> None:
        if bindings.setdefault(who.user_id, bridge_id) != bridge_id:
            raise Forbidden("another's")

    endpoint = BridgeEndpoint(hub, authorize, LIMITS, clock, bind=bind)
    app = web.Application()
    endpoint.attach(app)
    async with TestServer(app) as server, ClientSession() as session:
        yield Setup(endpoint, hub, intake, clock, server, bindings, session)


def text(seq: int, said: str = "hi", **changes: Any) -> dict[str, Any]:
    event = {"type": "text.delta", "messageId": "m", "block": 0, "offset": 0, "text": said, **changes}
    return {"type": "claude:stream", "requestId": "r", "seq": seq, "events": [event]}


# --- who may come in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("token", "reason"), [("wrong", "The token is not valid"), ("anna", "role bridge")])
async def test_a_wrong_credential_ends_the_link(setup: Setup, token: str, reason: str) -> None:
    code, text_ = await (await setup.connect(token)).ending()
    assert code == 4401
    assert reason in text_


async def test_a_credential_belongs_to_the_bridge_that_used_it_first(setup: Setup) -> None:
    first, second = await setup.welcomed(), await setup.connect()
    await second.say({**HELLO, "bridgeId": "impostor"})
    assert (await second.ending())[0] == 4401
    assert setup.bindings == {UserId("Bearer secret"): B}
    assert setup.hub.is_connected(B)
    assert not first.socket.closed


async def test_a_token_that_ends_closes_its_links_and_no_other(setup: Setup) -> None:
    silent = await setup.connect()
    mine, other = await setup.welcomed(), await setup.connect("other")
    await other.greet(bridgeId="c")
    setup.endpoint.end_token(TokenId("Bearer secret"))
    assert (await mine.ending())[0] == 4401
    assert (await silent.ending())[0] == 4401, "one that has not said hello yet goes too"
    await setup.intake.until_told("departed b")
    assert not setup.hub.is_connected(B)
    assert setup.hub.is_connected(BridgeId("c"))


async def test_the_subprotocol_must_be_offered(setup: Setup) -> None:
    code, _ = await (await setup.connect(protocols=())).ending()
    assert code == 4426


async def test_a_request_that_is_no_websocket_is_refused(setup: Setup) -> None:
    async with setup.session.get(setup.server.make_url("/bridge")) as response:
        assert response.status == 400


async def test_the_subprotocol_is_chosen_and_nothing_is_compressed(setup: Setup) -> None:
    wire = await setup.connect()
    assert wire.socket.protocol == "baton.bridge.v1"
    assert not wire.socket.compress


# --- hello -------------------------------------------------------------------------------------------------------


async def test_hello_is_answered_by_welcome_and_what_should_be(setup: Setup) -> None:
    setup.intake.on_disk = {R: 3}
    setup.intake.expected = (Abort(request_id=R),)
    wire = await setup.connect()
    welcome = await wire.greet(runs=[{"requestId": "r", "lastSeq": 5, "prompts": ["p"]}])
    assert welcome == {
        "type": "welcome",
        "epoch": "e",
        "heartbeatS": 20.0,
        "window": 4 << 20,
        "maxFrameBytes": 100_000,
        "acks": {"r": 3},
    }
    assert await wire.hear() == {"type": "claude:abort", "requestId": "r"}


async def test_another_version_is_told_so(setup: Setup) -> None:
    wire = await setup.connect()
    await wire.say({"type": "hello", "protocol": 2})
    assert (await wire.ending())[0] == 4426


@pytest.mark.parametrize("frame", [text(1), {"type": "pong", "t": 1}, text(1, offset="x"), {"type": "hello"}])
async def test_the_first_frame_must_be_a_sound_hello(setup: Setup, frame: dict[str, Any]) -> None:
    wire = await setup.connect()
    await wire.say(frame)
    assert (await wire.ending())[0] == 4400


async def test_a_second_hello_ends_the_link(setup: Setup) -> None:
    wire = await setup.welcomed()
    await wire.say(HELLO)
    assert (await wire.ending())[0] == 4400


@pytest.mark.parametrize(("instance", "code"), [("i", 1001), ("j", 4409)])
async def test_a_newer_link_replaces_the_older(setup: Setup, instance: str, code: int) -> None:
    older = await setup.welcomed()
    newer = await setup.welcomed(instanceId=instance)
    assert (await older.ending())[0] == code
    await newer.say({"type": "bridge:status", "agents": [], "active": 0, "queued": 7})
    while setup.hub.presence()[0].queued != 7:
        await asyncio.sleep(0)
    assert "departed b" not in setup.intake.told


async def test_a_store_that_is_away_sends_the_bridge_to_try_later(setup: Setup) -> None:
    setup.intake.fails = StoreUnavailable("no disk")
    wire = await setup.connect()
    await wire.say(HELLO)
    assert (await wire.ending())[0] == 1013


async def test_a_link_that_never_says_hello_is_closed(setup: Setup) -> None:
    wire = await setup.connect()
    await setup.clock.until_sleeping()
    await setup.clock.run_for(2 * LIMITS.heartbeat_s)
    assert await wire.ending() == (4400, "No hello came")


# --- frames ------------------------------------------------------------------------------------------------------


async def test_frames_reach_the_services_and_are_acknowledged_once_on_disk(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    wire = await setup.welcomed()
    for seq in range(1, 201):
        await wire.say(text(seq))
    await setup.intake.until_received(200)
    assert [frame.seq for frame in setup.intake.frames] == list(range(1, 201))
    setup.intake.commit(B)
    assert await wire.hear() == {"type": "ack", "acks": {"r": 200}}


async def test_what_the_server_says_arrives_whole_and_in_order(setup: Setup) -> None:
    wire = await setup.welcomed()
    sizes = [1, 125, 126, 65_000, 70_000, 3]
    for index, size in enumerate(sizes):
        conversation = ConversationId("c" * 24)
        setup.hub.send(
            B,
            Execute(request_id=RequestId(str(index)), conversation_id=conversation, message="x" * size, agent="demo"),
        )
    frames = [await wire.hear() for _ in sizes]
    assert [(frame["requestId"], len(frame["message"])) for frame in frames] == [
        (str(index), size) for index, size in enumerate(sizes)
    ]


async def test_a_gap_ends_the_link_and_what_came_before_it_counts(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    wire = await setup.welcomed()
    await wire.say(text(1))
    await wire.say(text(3))
    assert (await wire.ending())[0] == 4400
    await setup.intake.until_told("departed b")
    assert [frame.seq for frame in setup.intake.frames] == [1]


async def test_frames_after_the_final_one_are_acknowledged_and_dropped(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    wire = await setup.welcomed()
    await wire.say({"type": "claude:aborted", "requestId": "r", "seq": 1})
    await setup.intake.until_received(1)
    setup.intake.commit(B)
    assert await wire.hear() == {"type": "ack", "acks": {"r": 1}}
    await wire.say(text(2))
    assert await wire.hear() == {"type": "ack", "acks": {"r": 2}}
    assert len(setup.intake.frames) == 1


async def test_a_frame_of_an_unknown_run_is_acknowledged_and_dropped(setup: Setup) -> None:
    wire = await setup.welcomed()
    await wire.say(text(5))
    assert await wire.hear() == {"type": "ack", "acks": {"r": 5}}


async def test_a_refused_frame_fails_its_run_and_the_link_lives_on(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    wire = await setup.welcomed()
    await wire.say(text(1, offset=-1))
    assert await wire.hear() == {"type": "claude:abort", "requestId": "r"}
    setup.intake.commit(B)
    assert await wire.hear() == {"type": "ack", "acks": {"r": 1}}
    [failed] = setup.intake.frames
    assert isinstance(failed, Failed)
    assert failed.error.code == "agent_failed"


@pytest.mark.parametrize("raw", ["{", "[]", "null", '{"type": "claude:stream"}', '{"type": "unheard-of"}'])
async def test_a_frame_that_cannot_be_read_ends_the_link(setup: Setup, raw: str) -> None:
    wire = await setup.welcomed()
    await wire.socket.send_str(raw)
    assert (await wire.ending())[0] == 4400
    await setup.intake.until_told("departed b")


async def test_a_binary_frame_ends_the_link(setup: Setup) -> None:
    wire = await setup.welcomed()
    await wire.socket.send_bytes(json.dumps(text(1)).encode())
    assert (await wire.ending())[0] == 4400


async def test_a_frame_of_the_greatest_size_is_taken_and_one_byte_more_is_not(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    wire = await setup.welcomed()
    empty = len(json.dumps(text(1, "")))
    await wire.say(text(1, "x" * (LIMITS.bridge_frame_max_bytes - empty)))
    await setup.intake.until_received(1)
    await wire.say(text(2, "x" * (LIMITS.bridge_frame_max_bytes - empty + 1)))
    assert (await wire.ending())[0] == 1009
    assert len(setup.intake.frames) == 1


async def test_a_question_goes_out_and_its_answer_comes_back(setup: Setup) -> None:
    wire = await setup.welcomed()
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(setup.hub.call(B, "echo", {"a": 1}, 5))
        rpc = await wire.hear()
        await wire.say({"type": "rpc:result", "id": rpc["id"], "ok": True, "result": rpc["params"]})
    assert call.result() == {"a": 1}


# --- staying and leaving -----------------------------------------------------------------------------------------


async def test_a_bridge_that_answers_pings_stays_and_a_silent_one_is_closed(setup: Setup) -> None:
    wire = await setup.welcomed()
    for _ in range(3):
        await setup.clock.until_sleeping()
        setup.clock.advance(LIMITS.heartbeat_s)
        ping = await wire.hear()
        assert ping["type"] == "ping"
        await wire.say({"type": "pong", "t": ping["t"]})
        await _until_heard(setup)
    await setup.clock.until_sleeping()
    await setup.clock.run_for(3 * LIMITS.heartbeat_s)
    assert await wire.ending() == (4400, "Nothing was heard for two heartbeats")
    await setup.intake.until_told("departed b")


async def _until_heard(setup: Setup) -> None:
    """The pong was read: only the hub's own session knows."""
    session = setup.hub._session(B)
    assert session is not None
    while not session.end.was_heard:
        await asyncio.sleep(0)


async def test_a_bridge_that_leaves_has_departed(setup: Setup) -> None:
    wire = await setup.welcomed()
    await wire.socket.close()
    await setup.intake.until_told("departed b")
    assert not setup.hub.is_connected(B)


async def test_a_bridge_whose_socket_breaks_has_departed(setup: Setup) -> None:
    wire = await setup.welcomed()
    connection = wire.socket._response.connection
    assert connection is not None
    assert connection.transport is not None
    connection.transport.abort()
    await setup.intake.until_told("departed b")


async def test_a_bridge_that_does_not_read_is_let_go_and_holds_up_nobody(setup: Setup) -> None:
    wire = await setup.welcomed()
    big = Execute(request_id=R, conversation_id=ConversationId("c" * 24), message="x" * 90_000, agent="demo")
    for _ in range(200):
        setup.hub.send(B, big)
        await asyncio.sleep(0)
    await setup.intake.until_told("departed b")
    assert not setup.hub.is_connected(B)
    assert not wire.socket.closed, "it has not even read that it was closed"


async def test_draining_closes_every_link_and_lets_none_in(setup: Setup) -> None:
    wire = await setup.welcomed()
    setup.hub.send(B, Ack(acks={R: 1}))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(setup.endpoint.close_all())
        assert await wire.hear() == {"type": "ack", "acks": {"r": 1}}, "what was said before is still sent"
        assert await wire.ending() == (1012, "The server is restarting")
    late = await setup.connect()
    assert (await late.ending())[0] == 1012


async def test_shutdown_does_not_wait_for_a_bridge_that_is_still_being_greeted(setup: Setup) -> None:
    setup.intake.hold = asyncio.Event()
    wire = await setup.connect()
    await wire.say(HELLO)
    await setup.intake.until_told("greet b")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(setup.endpoint.close_all())
        assert (await wire.ending())[0] == 1012
    assert setup.intake.told[-1] == "departed b"


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_text_frame_has_the_header_of_its_size(size: int, header: bytes) -> None:
    assert text_frame(b"x" * size) == header + b"x" * size


async def test_a_bridge_that_says_much_is_heard_whole_and_in_order(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    setup.intake.commits_at_once = True
    wire = await setup.welcomed()
    for seq in range(1, 2001):
        await wire.say({"type": "claude:stream", "requestId": "r", "seq": seq, "events": []})
    acked = 0
    async with asyncio.timeout(60):
        while acked < 2000:
            acked = (await wire.hear())["acks"]["r"]
    assert [frame.seq for frame in setup.intake.frames] == list(range(1, 2001))
