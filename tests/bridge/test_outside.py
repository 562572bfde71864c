"""A whole bridge in this process, on a real disk, with a fake server behind a real socket and an agent by script."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from baton.agents.registry import Offers
from baton.bridge.client import LinkOptions
from baton.bridge.health import health_app
from baton.bridge.outside import OutsideBridge
from baton.bridge.profile import Profile
from baton.bridge.spool import SpoolFolder
from baton.clock import SystemClock
from baton.core.errors import AgentFailed, BatonError, TooLarge
from baton.core.frames import Execute, RunResult, Workspace
from baton.core.ids import BridgeId
from baton.core.limits import Limits
from baton.core.ports import Turn
from baton.core.stream import TextDelta, ToolDone
from tests.support.fake_server import FakeLinkEnd, FakeServer, fake_server
from tests.support.scripted_agents import ScriptedAgent

LIMITS = Limits(attachment_max_bytes=1000)


class Bench:
    """The bridge, its agent, and the server that it talks to."""

    def __init__(self, server: FakeServer, folder: Path, *, buffer_bytes: int, spool_bytes: int) -> None:
        self.server = server
        self.agent = ScriptedAgent()
        self.spool = SpoolFolder(folder / "spool", SystemClock(), max_bytes=spool_bytes)
        self.bridge = OutsideBridge(
            {"scripted": self.agent},
            Offers([self.agent]),
            self.spool,
            profile=Profile(
                bridge_id=BridgeId("laptop-1"),
                name="Laptop",
                working_directory=str(folder),
                workspaces=(Workspace(path=str(folder), name="code"),),
                max_concurrent=2,
            ),
            link=LinkOptions(url=server.url, token="t" * 24, timeout_s=2.0, first_delay_s=0.01),
            clock=SystemClock(),
            limits=LIMITS,
            buffer_bytes=buffer_bytes,
        )

    async def link(self, number: int = 1) -> FakeLinkEnd:
        """The link of this number, once it was welcomed."""
        link = await self.server.until_links(number)
        await link.is_welcome.wait()
        return link

    async def ask(self, link: FakeLinkEnd, request_id: str = "r", **more: Any) -> None:
        fields = {"conversationId": "c" * 24, "message": "go", "agent": "scripted", "permissionMode": "default"}
        await link.say(type="claude:execute", requestId=request_id, **(fields | more))


@asynccontextmanager
async def bench(
    server: FakeServer, folder: Path, *, buffer_bytes: int = 1 << 20, spool_bytes: int = 1 << 30
) -> AsyncIterator[Bench]:
    made = Bench(server, folder, buffer_bytes=buffer_bytes, spool_bytes=spool_bytes)
    try:
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(made.bridge.run(), name="outside bridge")
            try:
                yield made
            finally:
                running.cancel()
    finally:
        await made.bridge.close()
        made.spool.close()


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


def says(*words: str) -> Callable[[Execute, Turn], Any]:
    async def play(task: Execute, turn: Turn) -> RunResult:
        for index, word in enumerate(words):
            turn.emit(TextDelta("m", 0, index, word))
        return RunResult()

    return play


# --- runs --------------------------------------------------------------------------------------------------------


async def test_it_greets_with_what_it_is_and_has(server: FakeServer, tmp_path: Path) -> None:
    async with bench(server, tmp_path) as b:
        hello = await (await b.link()).until_heard("hello")
    assert (hello["bridgeId"], hello["name"], hello["maxConcurrentRequests"]) == ("laptop-1", "Laptop", 2)
    assert hello["workspaces"] == [{"path": str(tmp_path), "name": "code"}]
    assert [offer["id"] for offer in hello["agents"]] == ["scripted"]


async def test_a_run_goes_from_execute_to_its_end(server: FakeServer, tmp_path: Path) -> None:
    async with bench(server, tmp_path) as b:
        b.agent.play = says("a", "b")
        link = await b.link()
        await b.ask(link)
        await link.until_heard("claude:complete")
        said = [frame for frame in link.heard if "seq" in frame]
        assert [frame["seq"] for frame in said] == list(range(1, len(said) + 1))
        assert [frame["type"] for frame in said] == ["claude:started", "claude:stream", "claude:complete"]


async def test_the_request_is_in_the_ledger_before_the_agent_starts(server: FakeServer, tmp_path: Path) -> None:
    found: list[bool] = []

    async def play(task: Execute, turn: Turn) -> RunResult:
        found.append(b'"start":"r"' in (tmp_path / "spool" / "runs").read_bytes())
        return RunResult()

    async with bench(server, tmp_path) as b:
        b.agent.play = play
        link = await b.link()
        await b.ask(link)
        await link.until_heard("claude:complete")
    assert found == [True]


async def test_a_run_goes_on_while_there_is_no_link(server: FakeServer, tmp_path: Path) -> None:
    is_cut = asyncio.Event()

    async def play(task: Execute, turn: Turn) -> RunResult:
        await is_cut.wait()
        turn.emit(TextDelta("m", 0, 0, "said while away"))
        return RunResult()

    async with bench(server, tmp_path) as b:
        b.agent.play = play
        first = await b.link()
        await b.ask(first)
        await first.until_heard("claude:started")
        await first.close(1012)
        is_cut.set()
        second = await b.link(2)
        assert (await second.until_heard("claude:stream"))["events"][0]["text"] == "said while away"
        await second.until_heard("claude:complete")


async def test_an_agent_that_floods_fails_alone_once_the_spool_is_full(server: FakeServer, tmp_path: Path) -> None:
    async def flood(task: Execute, turn: Turn) -> RunResult:
        if task.request_id == "quiet":
            return RunResult()
        while True:
            turn.emit(ToolDone(message_id="m", id="t", result="x" * 10_000, is_error=False))
            await asyncio.sleep(0)

    async def greet(link: FakeLinkEnd) -> None:
        await link.until_heard("hello")
        await link.welcome(window=10_000)

    server.greet = greet
    async with bench(server, tmp_path, buffer_bytes=20_000, spool_bytes=500_000) as b:
        b.agent.play = flood
        link = await b.link()
        await b.ask(link, "loud")
        await b.ask(link, "quiet", conversationId="d" * 24)
        while len(b.agent.tasks) < 2 or b.bridge.facts().active:
            assert b.spool.size_bytes <= 500_000
            await asyncio.sleep(0)
        while b.bridge.facts().undelivered:
            for run in ("loud", "quiet"):
                seq = max((frame["seq"] for frame in link.heard if frame.get("requestId") == run), default=0)
                await link.say(type="ack", acks={run: seq})
            await asyncio.sleep(0)
        assert (await link.until_heard("claude:complete"))["requestId"] == "quiet"
        error = await link.until_heard("claude:error")
        assert (error["requestId"], error["error"]["code"]) == ("loud", "spool_full")
        assert b.spool.size_bytes == 0


async def test_what_was_said_when_it_ended_is_there_for_the_next_process(server: FakeServer, tmp_path: Path) -> None:
    async with bench(server, tmp_path) as b:
        b.agent.play = says("kept")
        link = await b.link()
        await b.ask(link)
        await link.until_heard("claude:complete")
    server.greet = FakeLinkEnd.welcome
    async with bench(server, tmp_path) as b:
        link = await b.link(2)
        assert (await link.until_heard("hello"))["runs"] == [
            {"requestId": "r", "lastSeq": 3, "prompts": [], "epoch": "e"}
        ]
        await link.until_heard("claude:complete")
        assert b.agent.tasks == []


async def test_what_waits_for_one_server_survives_another_one(server: FakeServer, tmp_path: Path) -> None:
    async with bench(server, tmp_path) as b:
        b.agent.play = says("kept")
        await b.ask(await b.link())
        await server.links[0].until_heard("claude:complete")
    server.epoch = "other"
    async with bench(server, tmp_path) as b:
        link = await b.link(2)
        await link.say(type="ack", acks={"r": 3})
        await b.ask(link, "s")
        await link.until_heard("claude:complete")
        assert {frame["requestId"] for frame in link.heard if "requestId" in frame} == {"s"}
        assert b.bridge.facts().elsewhere == 1
    server.epoch = "e"
    async with bench(server, tmp_path) as b:
        link = await b.link(3)
        await link.until_heard("claude:complete")
        assert {frame["requestId"] for frame in link.heard if "requestId" in frame} == {"r"}


async def test_told_to_stop_it_ends_its_runs_over_the_link_and_waits_for_their_acknowledgement(
    server: FakeServer, tmp_path: Path
) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")

    async with bench(server, tmp_path) as b:
        b.agent.play = play
        link = await b.link()
        await b.ask(link)
        await link.until_heard("claude:started")
        ending = asyncio.ensure_future(b.bridge.end_runs())
        error = await link.until_heard("claude:error")
        assert error["error"]["code"] == "bridge_lost"
        assert not ending.done()
        await link.say(type="ack", acks={"r": error["seq"]})
        await ending
        assert b.spool.known() == ("r",)


async def test_an_agent_that_comes_is_told_of(server: FakeServer, tmp_path: Path) -> None:
    async def log_in_needed(task: Execute, turn: Turn) -> RunResult:
        raise AgentFailed("Log in", code="agent_not_logged_in")

    async with bench(server, tmp_path) as b:
        b.agent.play = log_in_needed
        link = await b.link()
        b.agent.title = "Another title"
        await b.ask(link)
        status = await link.until_heard("bridge:status")
        assert status["agents"][0]["title"] == "Another title"


# --- attachments -------------------------------------------------------------------------------------------------


def attachment(name: str = "a.txt", url: str | None = None) -> dict[str, Any]:
    return {
        "id": "a" * 24,
        "filename": name,
        "mimeType": "text/plain",
        "sizeBytes": 5,
        "url": url or f"/api/attachments/{name}",
    }


async def read_in_a_run(b: Bench, of: dict[str, Any]) -> bytes | BatonError:
    """What an agent gets that reads the attachment of its message."""
    got: list[bytes | BatonError] = []

    async def play(task: Execute, turn: Turn) -> RunResult:
        try:
            got.append(await turn.read_attachment(task.attachments[0]))
        except BatonError as error:
            got.append(error)
        return RunResult()

    b.agent.play = play
    link = await b.link()
    await b.ask(link, attachments=[of])
    await link.until_heard("claude:complete")
    return got[0]


async def test_attachments_are_read_from_the_server_with_the_bridges_credential(
    server: FakeServer, tmp_path: Path
) -> None:
    server.files["a.txt"] = b"hello"
    async with bench(server, tmp_path) as b:
        assert await read_in_a_run(b, attachment()) == b"hello"
    assert server.asked[0].headers["Authorization"] == "Bearer " + "t" * 24


async def test_the_credential_goes_to_no_other_address(server: FakeServer, tmp_path: Path) -> None:
    async with fake_server() as other, bench(server, tmp_path) as b:
        failed = await read_in_a_run(b, attachment(url=f"{other.url}/api/attachments/a.txt"))
        assert isinstance(failed, AgentFailed)
        assert other.asked == []


async def test_an_attachment_that_is_too_large_is_not_taken_whole(server: FakeServer, tmp_path: Path) -> None:
    server.files["a.txt"] = b"x" * 5000
    async with bench(server, tmp_path) as b:
        assert isinstance(await read_in_a_run(b, attachment()), TooLarge)


# --- how it is ---------------------------------------------------------------------------------------------------


async def test_its_page_tells_how_it_is(server: FakeServer, tmp_path: Path) -> None:
    async with bench(server, tmp_path) as b, TestServer(health_app(b.bridge.facts)) as page, ClientSession() as session:
        link = await b.link()
        await link.say(type="ping", t=1.0)
        await link.until_heard("pong")
        async with session.get(page.make_url("/health")) as response:
            health = await response.json()
        assert response.status == 200
        assert health["status"] == "ok"
        assert health["link"]["state"] == "connected"
        assert health["link"]["server"] == server.url
        assert health["agents"] == [{"id": "scripted", "title": "Scripted", "available": True, "reason": None}]
        assert health["runs"] == {"active": 0, "queued": 0, "undelivered": 0, "elsewhere": 0}
        assert health["spool"] == {"bytes": 0, "maxBytes": 1 << 30}


async def test_without_a_link_its_page_says_why_and_is_not_well(server: FakeServer, tmp_path: Path) -> None:
    server.status = 503
    async with bench(server, tmp_path) as b, TestServer(health_app(b.bridge.facts)) as page, ClientSession() as session:
        health: dict[str, Any] = {"link": {"reason": None}}
        while health["link"]["reason"] is None:
            async with session.get(page.make_url("/health")) as response:
                health = await response.json()
                assert response.status == 503
        assert health["status"] == "degraded"
        assert "503" in health["link"]["reason"]


async def test_its_page_is_for_this_machine_only(server: FakeServer, tmp_path: Path) -> None:
    async with bench(server, tmp_path) as b, TestServer(health_app(b.bridge.facts)) as page, ClientSession() as session:
        async with session.get(page.make_url("/health"), headers={"Host": "rebound.example:8080"}) as response:
            assert response.status == 403
            assert "scripted" not in await response.text()
