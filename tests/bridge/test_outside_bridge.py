"""A bridge that somebody else wrote from the contract alone works with ours, over real sockets."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from baton.bridge.endpoint import BridgeEndpoint
from baton.bridge.hub import Hub
from baton.core.commands import AccountRole, Identity
from baton.core.errors import Unauthenticated
from baton.core.frames import (
    Abort,
    Aborted,
    Complete,
    Execute,
    Failed,
    PermissionApplied,
    PermissionRequest,
    PermissionResponse,
    Started,
    Stream,
)
from baton.core.ids import BridgeId, ConversationId, RequestId, UserId
from baton.core.limits import Limits
from baton.core.stream import TextDelta, TextDone, ToolDone
from baton.core.text import utf16_length
from baton.testing.clock import FakeClock
from tests.support.bridges import FakeIntake, FakePublisher
from tests.support.outside_bridge import expected_text

SCRIPT = Path(__file__).parent.parent / "support" / "outside_bridge.py"
OUTSIDE = BridgeId("outside")
R = RequestId("r")


def authorize(request: web.Request) -> Identity:
    if request.headers.get("Authorization") != "Bearer secret":
        raise Unauthenticated("The token is not valid")
    return Identity(UserId("outside"), AccountRole.BRIDGE)


@dataclass
class Setup:
    """A server with nothing behind it, and the outside bridge as a process."""

    hub: Hub
    intake: FakeIntake
    server: BaseTestServer
    process: asyncio.subprocess.Process | None = None

    async def start(self, token: str = "secret") -> asyncio.subprocess.Process:
        url = str(self.server.make_url("/bridge")).replace("http", "ws", 1)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, SCRIPT, "--url", url, "--token", token, "--rate", "0", "--retry", "0.01",
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        return self.process

    async def execute(self, message: str, request_id: RequestId = R) -> None:
        """Have the bridge answer; waits until it is there."""
        await self.intake.until_told("arrived outside")
        self.intake.on_disk[request_id] = 0
        self.hub.send(OUTSIDE, execute(message, request_id))

    async def finish(self) -> list[object]:
        """All frames, once a final one is among them."""
        while not any(isinstance(frame, Complete | Failed | Aborted) for frame in self.intake.frames):
            await self.intake.until_received(len(self.intake.frames) + 1)
        return list(self.intake.frames)


def execute(message: str, request_id: RequestId = R) -> Execute:
    return Execute(request_id=request_id, conversation_id=ConversationId("c" * 24), message=message, agent="demo")


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    clock, limits = FakeClock(), Limits(bridge_window_bytes=4000)
    hub = Hub(clock, limits)
    intake = FakeIntake(hub)
    hub.attach(intake, FakePublisher())
    app = web.Application()
    BridgeEndpoint(hub, authorize, limits, clock).attach(app)
    async with TestServer(app) as server:
        setup = Setup(hub, intake, server)
        yield setup
        if setup.process is not None and setup.process.returncode is None:
            setup.process.kill()
            await setup.process.wait()


def text_of(frames: list[object]) -> str:
    """The deltas joined; each must begin where the one before ended."""
    text = ""
    for frame in frames:
        for event in frame.events if isinstance(frame, Stream) else ():
            if isinstance(event, TextDelta):
                assert event.offset == utf16_length(text)
                text += event.text
    return text


async def test_it_answers_with_the_text_it_foretells(setup: Setup) -> None:
    setup.intake.commits_at_once = True
    await setup.start()
    await setup.execute("words=60 tool")
    frames = await setup.finish()
    assert isinstance(frames[0], Started)
    assert isinstance(frames[-1], Complete)
    assert text_of(frames) == expected_text(60)
    events = [event for frame in frames if isinstance(frame, Stream) for event in frame.events]
    assert TextDone(message_id="message-r", block=0, text=expected_text(60)) in events
    assert any(isinstance(event, ToolDone) for event in events)


async def test_it_sends_again_what_was_not_on_disk_when_its_link_broke(setup: Setup) -> None:
    await setup.start()
    await setup.execute("words=100")
    await setup.intake.until_received(10)
    setup.intake.commit(OUTSIDE)
    session = setup.hub._session(OUTSIDE)
    assert session is not None
    session.link.close(1012, "restart")
    setup.intake.commits_at_once = True
    frames = await setup.finish()
    assert text_of(frames) == expected_text(100)
    assert [frame.seq for frame in setup.intake.frames] == list(range(1, len(frames) + 1))


async def test_it_asks_and_goes_on_with_the_answer(setup: Setup) -> None:
    await setup.start()
    await setup.execute("words=4 ask")
    while not any(isinstance(frame, PermissionRequest) for frame in setup.intake.frames):
        await setup.intake.until_received(len(setup.intake.frames) + 1)
    asked = setup.intake.frames[-1]
    assert isinstance(asked, PermissionRequest)
    setup.hub.send(
        OUTSIDE,
        PermissionResponse(request_id=R, prompt_id=asked.prompt.prompt_id, selected_option="allow_once"),
    )
    frames = await setup.finish()
    assert any(isinstance(frame, PermissionApplied) for frame in frames)
    assert isinstance(frames[-1], Complete)
    assert text_of(frames) == expected_text(4)


async def test_it_ends_a_run_on_request_and_fails_when_asked_to(setup: Setup) -> None:
    await setup.start()
    await setup.execute("words=1000 rate=1")
    await setup.intake.until_received(3)
    setup.hub.send(OUTSIDE, Abort(request_id=R))
    assert isinstance((await setup.finish())[-1], Aborted)
    setup.intake.frames.clear()
    await setup.execute("words=1 fail", RequestId("s"))
    assert isinstance((await setup.finish())[-1], Failed)


async def test_it_works_on_a_request_once(setup: Setup) -> None:
    await setup.start()
    await setup.execute("words=3")
    setup.hub.send(OUTSIDE, execute("words=3"))
    await setup.finish()
    assert await setup.hub.call(OUTSIDE, "echo", {"a": 1}, 5) == {"a": 1}
    assert sum(isinstance(frame, Started) for frame in setup.intake.frames) == 1


async def test_it_tells_what_a_run_waits_for(setup: Setup) -> None:
    await setup.start()
    await setup.intake.until_told("arrived outside")
    assert await setup.hub.call(OUTSIDE, "run.status", {"requestId": "none"}, 5) is None


async def test_it_gives_up_where_its_credential_is_refused(setup: Setup) -> None:
    process = await setup.start(token="wrong")
    assert await process.wait() == 3


async def test_it_ends_at_sigterm(setup: Setup) -> None:
    process = await setup.start()
    await setup.intake.until_told("arrived outside")
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    await setup.intake.until_told("departed outside")
