"""A bridge's link over real sockets: it comes back for ever, says why there is none, and knows when to stop."""

import asyncio
import base64
import hashlib
import random
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from baton.bridge import client as client_module
from baton.bridge.backoff import Backoff
from baton.bridge.client import Client, LinkOptions
from baton.bridge.endings import Ending
from baton.bridge.endpoint import text_frame
from baton.bridge.facts import LinkState
from baton.bridge.protocol import BridgeEnd, Instruction
from baton.core.frames import Execute, Hello, RpcResult, Started
from baton.core.ids import BridgeId, RequestId
from baton.core.limits import Limits
from baton.testing.clock import FakeClock
from tests.support.fake_server import FakeLinkEnd, FakeServer, close_with, fake_server, greet_kindly

HELLO = Hello(protocol=1, bridge_id=BridgeId("b"), instance_id="i", name="Laptop")
EXECUTE = {
    "type": "claude:execute",
    "requestId": "r",
    "conversationId": "c" * 24,
    "message": "go",
    "agent": "demo",
    "permissionMode": "default",
}


class Longest(random.Random):
    """Chance that always gives the most: what is waited is the ceiling."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Bench:
    """A client, what it was instructed, and how it was: each state with its time."""

    def __init__(self, url: str, *, timeout_s: float, max_tries: int) -> None:
        self.clock = FakeClock()
        self.end = BridgeEnd()
        self.instructed: list[Instruction] = []
        self.history: list[tuple[LinkState, float]] = []
        self._seen = 0
        self._changed = asyncio.Event()
        self.client = Client(
            self.end,
            LinkOptions(url=url, token="t" * 24, timeout_s=timeout_s, max_tries=max_tries),
            hello=lambda: HELLO,
            instruct=self.instructed.append,
            clock=self.clock,
            limits=Limits(),
            on_change=self.note,
            chance=Longest(),
        )
        self.running: asyncio.Task[Ending] | None = None

    def note(self) -> None:
        state = self.client.status.state
        if not self.history or self.history[-1][0] is not state:
            self.history.append((state, self.clock.monotonic()))
        self._changed.set()

    async def ending(self) -> Ending:
        """What the client stopped with."""
        assert self.running is not None
        return await self.running

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not is_true():
                self._changed.clear()
                await self._changed.wait()

    async def until_state(self, state: LinkState) -> None:
        await self.until(lambda: self.client.status.state is state)

    async def waited_s(self) -> float:
        """How long the next pause is that was not asked for yet, once it is over; its time is let pass."""
        await self.until(lambda: any(state is LinkState.WAITING for state, _ in self.history[self._seen :]))
        while self.history[self._seen][0] is not LinkState.WAITING:
            self._seen += 1
        began = self.history[self._seen][1]
        self._seen += 1
        while len(self.history) == self._seen:
            await self.clock.until_sleeping()
            await self.clock.run_for(0.25)
        return self.history[self._seen][1] - began


@asynccontextmanager
async def bench(url: str, *, timeout_s: float = 30.0, max_tries: int = 0) -> AsyncIterator[Bench]:
    made = Bench(url, timeout_s=timeout_s, max_tries=max_tries)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        made.running = tasks.create_task(made.client.run(session), name="client")
        try:
            yield made
        finally:
            made.running.cancel()


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


# --- a link ------------------------------------------------------------------------------------------------------


async def test_a_link_begins_with_the_credential_and_hello(server: FakeServer) -> None:
    async with bench(server.url) as b:
        await b.until_state(LinkState.CONNECTED)
        (link,) = server.links
        assert link.request.headers["Authorization"] == "Bearer " + "t" * 24
        assert link.socket.ws_protocol == "baton.bridge.v1"
        assert link.heard[0]["type"] == "hello"
        assert link.heard[0]["name"] == "Laptop"


async def test_what_the_server_wants_is_done_and_what_is_said_is_sent(server: FakeServer) -> None:
    async with bench(server.url) as b:
        await b.until_state(LinkState.CONNECTED)
        await server.links[0].say(**EXECUTE)
        await b.until(lambda: bool(b.instructed))
        (execute,) = b.instructed
        assert isinstance(execute, Execute)
        b.end.say(Started(request_id=execute.request_id, seq=0))
        b.client.wake()
        assert (await server.links[0].until_heard("claude:started"))["seq"] == 1


async def test_pings_are_answered(server: FakeServer) -> None:
    async with bench(server.url) as b:
        await b.until_state(LinkState.CONNECTED)
        await server.links[0].say(type="ping", t=4.5)
        assert (await server.links[0].until_heard("pong"))["t"] == 4.5


async def test_what_was_not_acknowledged_comes_again_over_the_next_link(server: FakeServer) -> None:
    async with bench(server.url) as b:
        await b.until_state(LinkState.CONNECTED)
        first = server.links[0]
        await first.say(**EXECUTE)
        await b.until(lambda: bool(b.instructed))
        b.end.say(Started(request_id=RequestId("r"), seq=0))
        b.client.wake()
        await first.until_heard("claude:started")
        await first.close(1012)
        await b.waited_s()
        second = await server.until_links(2)
        assert (await second.until_heard("hello"))["runs"] == [
            {"requestId": "r", "lastSeq": 1, "prompts": [], "epoch": "e"}
        ]
        assert (await second.until_heard("claude:started"))["seq"] == 1


# --- coming back -------------------------------------------------------------------------------------------------


async def test_each_try_waits_longer_up_to_half_a_minute(server: FakeServer) -> None:
    server.greet = close_with(1011)
    async with bench(server.url) as b:
        waited = [await b.waited_s() for _ in range(7)]
    assert waited == [1, 2, 4, 8, 16, 30, 30]


async def test_a_good_connection_makes_the_next_break_the_first_again(server: FakeServer) -> None:
    server.greet = close_with(1011)
    async with bench(server.url) as b:
        for _ in range(4):
            await b.waited_s()
        server.greet = greet_kindly
        await b.waited_s()
        await b.until_state(LinkState.CONNECTED)
        assert b.client.status.tries == 0
        await server.links[-1].close(1011)
        assert await b.waited_s() == 1


def test_delays_are_spread_from_nothing_to_the_ceiling() -> None:
    backoff = Backoff(1.0, random.Random(7))
    for _ in range(20):
        backoff.next_s()
    delays = [backoff.next_s() for _ in range(1000)]
    assert 0 <= min(delays) < 1
    assert 29 < max(delays) <= 30


async def test_a_server_that_restarts_is_tried_again_soon_whatever_came_before(server: FakeServer) -> None:
    server.greet = close_with(1011)
    async with bench(server.url) as b:
        for _ in range(5):
            await b.waited_s()
        server.greet = close_with(1012, "The server is restarting")
        await b.waited_s()
        assert await b.waited_s() == 1


async def test_a_server_that_is_not_there_is_tried_for_ever() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        async with bench(f"http://127.0.0.1:{probe.getsockname()[1]}") as b:
            for _ in range(12):
                await b.waited_s()
            assert "cannot be reached" in b.client.status.text
            assert b.client.status.tries >= 12


async def test_the_number_of_tries_can_be_limited(server: FakeServer) -> None:
    server.greet = close_with(1011)
    async with bench(server.url, max_tries=3) as b:
        for _ in range(3):
            await b.waited_s()
        assert "was closed" in (await b.ending()).text
        assert b.client.status.state is LinkState.STOPPED
        assert len(server.links) == 4


# --- close codes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "said"), [(4409, "Another process is this bridge"), (4426, "another version")])
async def test_some_codes_are_final_and_say_why(server: FakeServer, code: int, said: str) -> None:
    server.greet = close_with(code)
    async with bench(server.url) as b:
        ending = await b.ending()
        assert (ending.code, said in ending.text) == (code, True)
        assert b.client.status.state is LinkState.STOPPED
    assert len(server.links) == 1


async def test_a_wrong_credential_is_told_with_its_cure_and_tried_again_slowly(server: FakeServer) -> None:
    server.greet = close_with(4401, "The token is not valid")
    async with bench(server.url) as b:
        assert await b.waited_s() == 30
        assert "BATON_BRIDGE_TOKEN" in b.client.status.text
        assert "The token is not valid" in b.client.status.text
        assert b.client.status.code == 4401
        server.greet = greet_kindly
        await b.waited_s()
        await b.until_state(LinkState.CONNECTED)


async def test_a_link_that_a_newer_one_replaced_is_only_a_link(server: FakeServer) -> None:
    async with bench(server.url) as b:
        await b.until_state(LinkState.CONNECTED)
        await server.links[0].close(1001)
        assert await b.waited_s() == 1


@pytest.mark.parametrize(("status", "said"), [(404, "--backend"), (403, "PUBLIC_URL"), (401, "BATON_BRIDGE_TOKEN")])
async def test_what_is_no_baton_or_refuses_is_told_with_the_cure(server: FakeServer, status: int, said: str) -> None:
    server.status = status
    async with bench(server.url) as b:
        assert await b.waited_s() == 30
        assert said in b.client.status.text
        assert b.client.status.code == status


async def test_a_server_in_trouble_is_tried_as_one_that_is_away(server: FakeServer) -> None:
    server.status = 503
    async with bench(server.url) as b:
        assert await b.waited_s() == 1
        assert "503" in b.client.status.text


# --- a server that does not keep to the contract -----------------------------------------------------------------


@pytest.mark.parametrize("frame", ["no json", "[]", '{"type": "ack", "acks": {}}', '{"type": "what"}'])
async def test_a_frame_that_cannot_be_ends_the_link_not_the_bridge(server: FakeServer, frame: str) -> None:
    async def greet(link: FakeLinkEnd) -> None:
        await link.socket.send_str(frame)

    server.greet = greet
    async with bench(server.url) as b:
        await b.until_state(LinkState.WAITING)
        server.greet = greet_kindly
        await b.waited_s()
        await b.until_state(LinkState.CONNECTED)


async def test_a_frame_that_is_no_text_ends_the_link(server: FakeServer) -> None:
    async def greet(link: FakeLinkEnd) -> None:
        await link.socket.send_bytes(b"\x00")

    server.greet = greet
    async with bench(server.url) as b:
        await b.until_state(LinkState.WAITING)
        assert "no text" in b.client.status.text


async def test_a_mistake_in_the_bridge_ends_the_link_not_the_bridge(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(server.url) as b:
        await b.until_state(LinkState.CONNECTED)
        with monkeypatch.context() as patched:
            patched.setattr(b.end, "receive", lambda frame: 1 / 0)
            await server.links[0].say(type="ping", t=1.0)
            await b.until_state(LinkState.WAITING)
        assert "mistake" in b.client.status.text
        await b.waited_s()
        await b.until_state(LinkState.CONNECTED)


# --- silence -----------------------------------------------------------------------------------------------------


async def silence_s(b: Bench) -> float:
    """How long nothing must be heard until the link ends."""
    began = b.clock.monotonic()
    while b.client.status.state is LinkState.CONNECTED:
        await b.clock.until_sleeping()
        await b.clock.run_for(0.25)
        # The link's end closes a real socket, which takes turns of the real loop.
        await asyncio.sleep(0.001)
    return b.clock.monotonic() - began


async def test_a_link_over_which_nothing_comes_is_dead_after_two_heartbeats(server: FakeServer) -> None:
    async with bench(server.url) as b:
        await b.until_state(LinkState.CONNECTED)
        assert 40 <= await silence_s(b) <= 42
        assert "two heartbeats" in b.client.status.text
        await b.waited_s()
        await server.until_links(2)


async def test_the_servers_heartbeat_is_what_counts(server: FakeServer) -> None:
    async def greet(link: FakeLinkEnd) -> None:
        await link.welcome(heartbeat_s=2.0)

    server.greet = greet
    async with bench(server.url) as b:
        await b.until_state(LinkState.CONNECTED)
        assert 4 <= await silence_s(b) <= 6


async def test_a_server_that_never_says_welcome_is_left(server: FakeServer) -> None:
    async def greet(link: FakeLinkEnd) -> None:
        await link.is_over.wait()

    server.greet = greet
    async with bench(server.url, timeout_s=10) as b:
        await server.until_links(1)
        while b.client.status.state is LinkState.CONNECTING:
            await b.clock.until_sleeping()
            await b.clock.run_for(1)
            await asyncio.sleep(0.001)
        assert "welcome" in b.client.status.text


async def test_a_server_that_does_not_even_shake_hands_is_left() -> None:
    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(ignore, "127.0.0.1", 0)
    async with listening:
        async with bench(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", timeout_s=0.05) as b:
            await b.until_state(LinkState.WAITING)
            assert "does not answer" in b.client.status.text


async def test_a_server_that_reads_no_more_does_not_hold_up_the_end_of_its_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "CLOSE_S", 0.1)
    is_over = asyncio.Event()

    async def greet_and_read_no_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # there is no other kind here
        writer.write(shake_hands(request) + text_frame(WELCOME))
        await is_over.wait()
        writer.transport.abort()

    listening = await asyncio.start_server(greet_and_read_no_more, "127.0.0.1", 0)
    async with listening, bench(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}") as b:
        await b.until_state(LinkState.CONNECTED)
        large = "x" * 15_000_000  # more than the buffers of both sides' sockets take
        b.end.reply(RpcResult(id="1", ok=True, result=large))
        b.client.wake()
        await b.clock.until_sleeping()
        b.clock.jump(3600)
        await b.clock.run_for(1)
        async with asyncio.timeout(2):
            await b.until_state(LinkState.WAITING)
        is_over.set()


WELCOME = b'{"type":"welcome","epoch":"e","heartbeatS":20,"window":1000,"maxFrameBytes":1000,"acks":{}}'


def shake_hands(request: bytes) -> bytes:
    """The answer to a WebSocket's opening request (RFC 6455, 4.2.2)."""
    found = re.search(rb"Sec-WebSocket-Key: (\S+)", request, re.I)
    assert found is not None
    digest = hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Protocol: baton.bridge.v1\r\nSec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


# --- sleep -------------------------------------------------------------------------------------------------------


async def test_a_machine_that_slept_has_a_new_link_at_once(server: FakeServer) -> None:
    async with bench(server.url) as b:
        await b.until_state(LinkState.CONNECTED)
        await b.clock.until_sleeping()
        b.clock.jump(8 * 3600)
        await b.clock.run_for(1)
        await b.until_state(LinkState.WAITING)
        assert "slept" in b.client.status.text
        assert await b.waited_s() <= 1
        await server.until_links(2)


async def test_a_machine_that_wakes_does_not_wait_for_its_next_try(server: FakeServer) -> None:
    server.greet = close_with(1011)
    async with bench(server.url) as b:
        for _ in range(6):
            await b.waited_s()
        await b.until_state(LinkState.WAITING)
        server.greet = greet_kindly
        await b.clock.until_sleeping()
        b.clock.jump(8 * 3600)
        assert await b.waited_s() <= 2
        await b.until_state(LinkState.CONNECTED)


async def test_a_clock_that_is_set_back_changes_nothing(server: FakeServer) -> None:
    async with bench(server.url) as b:
        await b.until_state(LinkState.CONNECTED)
        await b.clock.until_sleeping()
        b.clock.jump(-8 * 3600)
        await b.clock.run_for(5)
        assert b.client.status.state is LinkState.CONNECTED


async def test_a_bridge_that_ends_says_so_to_the_server(server: FakeServer) -> None:
    async with bench(server.url) as b:
        await b.until_state(LinkState.CONNECTED)
        assert b.running is not None
        b.running.cancel()
        await server.links[0].is_over.wait()
        assert server.links[0].socket.close_code == 1000
