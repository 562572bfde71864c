"""Two servers on one database, as in a deployment that overlaps: one serves, the other waits and takes over."""

import json
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baton.schemas.codec import parse_iso
from tests.faults.test_remote_bridge import expected
from tests.support.bridge_process import BridgeProcess, bridge_process
from tests.support.node_client import NodeClient, node_client
from tests.support.server_process import ServerProcess
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

HAND_OVERS = 6
STORY = "/demo markdown words=600 rate=200"
TAKE_OVER_S = 5.0
"""A second for the next look at the lease, and what two busy cores need for the rest."""
QUEUE_TIMEOUT_S = 8


@dataclass
class Pair:
    """The server that serves and the one that waits, and the one address under which people and bridges know both."""

    folder: Path
    wire: TcpProxy
    servers: AsyncExitStack
    serving: ServerProcess = field(init=False)
    waiting: ServerProcess = field(init=False)

    async def new_server(self) -> ServerProcess:
        """One more on the same data; it lives when this returns."""
        environment = {
            "BATON_BRIDGE": "none",
            "PUBLIC_URL": self.wire.url,
            "BATON_QUEUE_TIMEOUT_S": str(QUEUE_TIMEOUT_S),
        }
        server = ServerProcess(self.folder / "data", **environment)
        self.servers.push_async_callback(server.stop)
        await server.start_waiting()
        return server

    async def hand_over(self, *, by_kill: bool) -> float:
        """End the one that serves; how many seconds it took the other to be ready. A third then waits."""
        assert await self.waiting.status("/health/live") == 200
        assert await self.waiting.status("/health/ready") == 503
        began = time.monotonic()
        self.wire.target_port = self.waiting.port
        if by_kill:
            await self.serving.kill()
        else:
            assert await self.serving.terminate() == 0
        await self.waiting.until("/health/ready", 200)
        took_s = time.monotonic() - began
        self.serving, self.waiting = self.waiting, await self.new_server()
        return took_s

    def stored_run(self, request_id: str) -> dict[str, Any]:
        """A run as it stands in the file."""
        with sqlite3.connect(f"file:{self.serving.database}?mode=ro", uri=True) as database:
            row = database.execute("SELECT doc FROM runs WHERE requestId = ?", (request_id,)).fetchone()
        run: dict[str, Any] = json.loads(row[0])
        return run


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[Pair]:
    async with tcp_proxy() as wire, AsyncExitStack() as servers:
        two = Pair(folder, wire, servers)
        two.serving = await two.new_server()
        await two.serving.until("/health/ready", 200)
        wire.target_port = two.serving.port
        two.waiting = await two.new_server()
        yield two


@asynccontextmanager
async def people(two: Pair) -> AsyncIterator[tuple[NodeClient, BridgeProcess]]:
    """Somebody who watches, and a bridge elsewhere."""
    async with (
        bridge_process(two.folder / "bridge", two.wire.url, two.serving.token("bridge")) as bridge,
        node_client(two.wire.url, two.serving.token()) as anna,
    ):
        await bridge.until_connected()
        yield anna, bridge


def connects(anna: NodeClient) -> int:
    return sum(state["state"] == "connect" for state in anna.states)


async def send(anna: NodeClient, request_id: str, **fields: object) -> str:
    """Send a message; the conversation's id."""
    answer = await anna.emit("chat:send-message", {"requestId": request_id, **fields})
    assert answer["ok"], answer
    conversation_id: str = answer["conversationId"]
    return conversation_id


async def told_in(anna: NodeClient, request_id: str) -> str:
    """What is shown of the run's answer once it has completed."""
    await anna.until(lambda: anna.view.runs.get(request_id, {}).get("status") in ("completed", "failed", "aborted"))
    assert anna.view.runs[request_id]["status"] == "completed", anna.view.runs[request_id]
    assert anna.view.gaps == 0
    return "\n".join(m["content"] for m in anna.view.messages.values() if m["role"] == "assistant")


async def test_runs_of_an_outside_bridge_complete_with_exact_text_over_hand_overs(tmp_path: Path) -> None:
    whole = await expected(STORY)
    async with pair(tmp_path) as two, people(two) as (anna, bridge):
        for number in range(HAND_OVERS):
            request_id = f"r{number}"
            anna.view.messages.clear()
            anna.events.clear()
            conversation_id = await send(anna, request_id, content=STORY)
            await anna.join(conversation_id)
            await anna.until(lambda: len(anna.payloads("chat:stream-response")) > 3)
            before = connects(anna)
            took_s = await two.hand_over(by_kill=number % 2 == 0)
            assert took_s < TAKE_OVER_S
            await anna.until(lambda least=before: connects(anna) > least)
            await anna.join(conversation_id, after=anna.view.seq)
            assert await told_in(anna, request_id) == whole
        assert bridge.starts == [f"r{number}" for number in range(HAND_OVERS)], "each was worked on once"


async def test_deadlines_of_queued_runs_are_kept_over_hand_overs_and_fire_once(tmp_path: Path) -> None:
    async with pair(tmp_path) as two, people(two) as (anna, _):
        deadlines: dict[str, str] = {}
        ended: dict[str, dict[str, Any]] = {}
        for number in range(HAND_OVERS):
            request_id = f"q{number}"
            await send(anna, request_id, content="Is anybody there?", bridgeId="nobody")
            deadlines[request_id] = two.stored_run(request_id)["deadlineAt"]
            before = connects(anna)
            await two.hand_over(by_kill=number % 2 == 1)
            await anna.until(lambda least=before: connects(anna) > least)
            check_deadlines(two, deadlines, ended)
        while len(ended) < HAND_OVERS:
            await anna.emit("latency:ping", {"sentAt": 0})
            check_deadlines(two, deadlines, ended)
        await two.hand_over(by_kill=True)
        check_deadlines(two, deadlines, ended)
        failures = [told["conversationId"] for told in anna.payloads("conversation:state") if told["state"] == "failed"]
        assert len(failures) == len(set(failures))


def check_deadlines(two: Pair, deadlines: dict[str, str], ended: dict[str, dict[str, Any]]) -> None:
    """A run waits under a deadline that is not before its first, or has ended by it, once and not before it."""
    for request_id, deadline_at in deadlines.items():
        run = two.stored_run(request_id)
        if run["status"] == "queued":
            assert request_id not in ended
            assert run["deadlineAt"] is not None
            assert parse_iso(run["deadlineAt"]) >= parse_iso(deadline_at)
        else:
            assert (run["status"], run["error"]["code"]) == ("failed", "dispatch_timeout")
            assert parse_iso(run["finishedAt"]) >= parse_iso(deadline_at)
            assert ended.setdefault(request_id, run) == run, "it has ended twice"
