"""A real `baton bridge` and a real server as processes, and everything that can come between them."""

import asyncio
import random
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton.agents.demo import DemoAgent
from baton.agents.options import AgentOptions
from tests.support.bridge_process import BridgeProcess, bridge_process
from tests.support.node_client import NodeClient, node_client
from tests.support.recording_turn import RecordingTurn
from tests.support.scripted_agents import execute
from tests.support.server_process import ServerProcess, server_process
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

SEED = 20261123
SERVER_KILLS = 20
FINAL = ("completed", "failed", "aborted")
STORY = "/demo markdown words=1200 rate=300"
LONG_STORY = "/demo markdown words=6000 rate=2500"


@dataclass
class World:
    """A server, a bridge elsewhere, the wire between them, and somebody who watches."""

    server: ServerProcess
    bridge: BridgeProcess
    wire: TcpProxy
    anna: NodeClient

    async def send(self, request_id: str, content: str, conversation_id: str | None = None) -> str:
        """Send a message in a conversation that is watched, else in a new one; its id."""
        watched = conversation_id or await self._watch_new()
        payload = {"requestId": request_id, "content": content, "conversationId": watched}
        answer = await self.anna.emit("chat:send-message", payload)
        assert answer["ok"], answer
        return watched

    async def _watch_new(self) -> str:
        """A new conversation, watched before anything is sent: what ends before the join is in no snapshot."""
        made = await self.anna.emit("conversation:create", {})
        await self.anna.join(made["conversation"]["id"])
        watched: str = made["conversation"]["id"]
        return watched

    async def until_shown(self, events: int, request_id: str) -> None:
        """So many more stream events were shown, or the run has ended meanwhile."""
        least = len(self.anna.payloads("chat:stream-response")) + events
        await self.anna.until(
            lambda: (
                len(self.anna.payloads("chat:stream-response")) >= least or self.run(request_id).get("status") in FINAL
            )
        )

    async def until_ended(self, request_id: str, *statuses: str) -> dict[str, Any]:
        """The run, once it has ended; as one of these."""
        await self.anna.until(lambda: self.run(request_id).get("status") in FINAL, timeout_s=40)
        assert self.run(request_id)["status"] in statuses, self.run(request_id)
        assert self.anna.view.gaps == 0
        return self.run(request_id)

    def run(self, request_id: str) -> dict[str, Any]:
        return self.anna.view.runs.get(request_id, {})

    def text(self, request_id: str) -> str:
        """What is shown of the run's answer."""
        messages = self.anna.view.messages.values()
        ours = [m for m in messages if m["role"] == "assistant" and m["requestId"] == request_id]
        return "\n".join(m["content"] for m in sorted(ours, key=lambda m: int(m["ordinal"])))

    async def until_gone(self) -> None:
        """The server knows that the bridge is not there."""
        await self.anna.until(lambda: not self._is_there())

    async def until_there(self) -> None:
        """The server has the bridge."""
        await self.anna.until(self._is_there)

    def _is_there(self) -> bool:
        told = self.anna.payloads("bridge:status")
        return bool(told) and any(bridge["connected"] for bridge in told[-1]["bridges"])

    async def restart_server(self) -> None:
        """SIGKILL, and a new process; returns when the watcher is back and has joined again."""
        connects = self._connects()
        await self.server.kill()
        await self.server.start()
        await self.anna.until(lambda: self._connects() > connects)

    def _connects(self) -> int:
        return sum(state["state"] == "connect" for state in self.anna.states)

    async def restart_bridge(self) -> None:
        """SIGKILL, and a new process with a link."""
        await self.bridge.kill()
        self.wire.bring_up()
        await self.bridge.start()
        await self.bridge.until_connected()


Moment = Callable[[World, str], Awaitable[None]]


@asynccontextmanager
async def world(folder: Path, *, server: dict[str, str] | None = None, **bridge: str) -> AsyncIterator[World]:
    async with tcp_proxy() as wire:
        settings = {"BATON_BRIDGE": "none", "PUBLIC_URL": wire.url, **(server or {})}
        async with server_process(folder / "server", **settings) as serving:
            wire.target_port = serving.port
            async with (
                bridge_process(folder / "bridge", wire.url, serving.token("bridge"), **bridge) as bridging,
                node_client(serving.url, serving.token()) as anna,
            ):
                made = World(serving, bridging, wire, anna)
                await made.until_there()
                yield made


async def expected(content: str) -> str:
    """What the demo agent answers to this, said without a pause."""

    async def at_once(seconds: float) -> None: ...

    agent = DemoAgent(AgentOptions(environment={}, default_working_directory="/", sleep=at_once))
    turn = RecordingTurn()
    await agent.run(execute(message=content), turn)
    return turn.text()


# --- the server dies ---------------------------------------------------------------------------------------------


async def test_runs_complete_with_exact_text_over_twenty_kills_of_the_server(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    story = "/demo markdown words=1500 rate=100"
    whole = await expected(story)
    async with world(tmp_path) as w:
        kills = 0
        while kills < SERVER_KILLS:
            request_id = f"r{kills}"
            conversation_id = await w.send(request_id, story)
            while kills < SERVER_KILLS and w.run(request_id).get("status") != "completed":
                await w.until_shown(rng.randint(1, 25), request_id)
                await w.restart_server()
                kills += 1
                await w.anna.join(conversation_id, after=w.anna.view.seq)
            await w.until_ended(request_id, "completed")
            assert w.text(request_id) == whole
        assert Counter(w.bridge.starts).most_common(1)[0][1] == 1


# --- the bridge dies ---------------------------------------------------------------------------------------------


async def at_once(w: World, request_id: str) -> None:
    """As soon as the message was sent."""


def shown(events: int) -> Moment:
    """So many events later."""
    return lambda w, request_id: w.until_shown(events, request_id)


async def asked(w: World, request_id: str) -> None:
    """While a question waits for somebody."""
    await w.anna.until(lambda: any(p["status"] == "pending" for p in w.anna.view.prompts.values()))


async def offline(w: World, request_id: str) -> None:
    """While what it says goes to its disk alone."""
    await w.until_shown(3, request_id)
    w.wire.take_down()
    await w.bridge.until(lambda health: health["spool"]["bytes"] > 2000)


MOMENTS: list[tuple[str, Moment]] = [
    (STORY, at_once),
    (STORY, shown(1)),
    (STORY, shown(2)),
    (STORY, shown(7)),
    (STORY, shown(20)),
    (STORY, shown(45)),
    ("/demo ask rate=500", asked),
    (STORY, offline),
]


async def test_a_killed_bridge_ends_its_runs_once_with_their_text(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for number, (content, moment) in enumerate(MOMENTS):
            request_id = f"r{number}"
            conversation_id = await w.send(request_id, content)
            await moment(w, request_id)
            before = w.text(request_id)
            await w.restart_bridge()
            run = await w.until_ended(request_id, "failed", *(["completed"] if moment is at_once else []))
            if run["status"] == "failed":
                assert run["error"]["code"] == "bridge_lost"
                assert run["error"]["retryable"]
            kept = w.text(request_id)
            assert kept.startswith(before)
            assert moment is asked or (await expected(content)).startswith(kept)
            if moment is offline:
                assert len(kept) > len(before), "what was said without a link is delivered too"
            assert not any(p["status"] == "pending" for p in w.anna.view.prompts.values())
            await w.send(f"next{number}", "Hello again rate=1000", conversation_id)
            await w.until_ended(f"next{number}", "completed")
        assert Counter(w.bridge.starts).most_common(1)[0][1] == 1


async def test_a_run_that_ended_without_a_link_is_whole_after_a_crash_of_the_bridge(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.send("r", STORY)
        await w.until_shown(2, "r")
        w.wire.take_down()
        await w.bridge.until(lambda health: health["runs"]["active"] == 0 and health["spool"]["bytes"] > 5000)
        await asyncio.sleep(1.2)  # the bridge's own time for writing to disk what nobody takes
        await w.restart_bridge()
        await w.until_ended("r", "completed")
        assert w.text("r") == await expected(STORY)


async def test_a_bridge_that_is_told_to_stop_ends_its_runs_at_the_server_and_leaves(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.send("r", STORY)
        await w.until_shown(3, "r")
        began = time.monotonic()
        assert await w.bridge.terminate() == 0
        assert time.monotonic() - began < 6
        assert (await w.until_ended("r", "failed"))["error"]["code"] == "bridge_lost"
        await w.until_gone()


# --- the wire ----------------------------------------------------------------------------------------------------


async def test_a_bridge_that_stood_still_goes_on_and_completes(tmp_path: Path) -> None:
    async with world(tmp_path, server={"BATON_HEARTBEAT_S": "0.5"}) as w:
        await w.send("r", STORY)
        await w.until_shown(3, "r")
        w.bridge.pause()
        await w.until_gone()
        w.bridge.resume()
        await w.until_ended("r", "completed")
        assert w.text("r") == await expected(STORY)


async def test_a_wire_that_carries_nothing_is_given_up_and_a_new_one_had(tmp_path: Path) -> None:
    async with world(tmp_path, server={"BATON_HEARTBEAT_S": "0.5"}, BATON_WEBSOCKET_TIMEOUT="1000") as w:
        await w.send("r", STORY)
        await w.until_shown(3, "r")
        w.wire.hold()
        began = time.monotonic()
        health = await w.bridge.until(lambda health: health["link"]["state"] != "connected")
        assert time.monotonic() - began < 2 * 0.5 + 1
        assert health["status"] == "degraded"
        w.wire.let_go()
        await w.until_ended("r", "completed")
        assert w.text("r") == await expected(STORY)


async def test_what_was_said_without_a_link_arrives_in_order_also_what_memory_had_no_room_for(tmp_path: Path) -> None:
    async with world(tmp_path, BATON_MESSAGE_BUFFER_SIZE="5000") as w:
        await w.send("r", LONG_STORY)
        await w.until_shown(1, "r")
        w.wire.take_down()
        health = await w.bridge.until(lambda health: health["runs"]["active"] == 0)
        assert health["spool"]["bytes"] > 10_000
        assert health["runs"]["undelivered"] == 1
        w.wire.bring_up()
        await w.until_ended("r", "completed")
        assert w.text("r") == await expected(LONG_STORY)
        await w.bridge.until(lambda health: health["spool"]["bytes"] == 0)


async def test_ten_thousand_deltas_said_without_a_link_arrive_in_order(tmp_path: Path) -> None:
    content = "/demo burst n=10000"
    async with world(tmp_path) as w:
        w.wire.hold_upstream()
        await w.send("r", content)
        await w.bridge.until(lambda health: health["runs"] == {"active": 0, "queued": 0, "undelivered": 1})
        w.wire.cut()
        w.wire.let_go()
        await w.until_ended("r", "completed")
        assert w.text("r") == await expected(content)


async def test_a_link_that_is_cut_every_200_ms_still_carries_a_run_to_its_end(tmp_path: Path) -> None:
    async with world(tmp_path, BATON_RECONNECTION_DELAY="20") as w:
        await w.send("r", STORY)
        while w.run("r").get("status") != "completed":
            await asyncio.sleep(0.2)  # the wire's own rhythm
            w.wire.cut()
        assert w.text("r") == await expected(STORY)
        assert w.wire.connections > 10
        assert w.bridge.starts == ["r"]


# --- two of them -------------------------------------------------------------------------------------------------


async def test_of_two_processes_that_are_the_same_bridge_the_older_stops_and_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        other = tmp_path / "copy"
        shutil.copytree(w.bridge.folder / "data", other / "data")
        async with bridge_process(other, w.wire.url, w.server.token("bridge")) as newer:
            await newer.until_connected()
            assert await w.bridge.wait() == 1
            assert "Another process is this bridge now" in (w.bridge.folder / "bridge.err").read_text()


async def test_a_second_bridge_on_the_same_spool_does_not_start(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        second = BridgeProcess(w.bridge.folder, w.wire.url, w.server.token("bridge"))
        assert await second.refused() == 2
        assert "Another bridge (process" in (w.bridge.folder / "bridge.err").read_text()
        await w.bridge.until_connected()
