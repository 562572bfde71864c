"""Questions of the real Claude Code outlive what dies between it and a person, and what was allowed is done once.

`baton serve`, `baton bridge` and the CLI are processes of their own; only the API behind Claude Code is a fake, on
loopback. Commands append to a file, which so counts how often they were run.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="the extra `claude` is not installed")

from tests.support import claude_fixtures
from tests.support.bridge_process import BridgeProcess, bridge_process
from tests.support.fake_messages_api import PLAN, FakeMessagesApi
from tests.support.node_client import NodeClient, node_client
from tests.support.server_process import ServerProcess, server_process
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

# pytest finds fixtures by the names of the module that uses them.
api, environment, work = claude_fixtures.api, claude_fixtures.environment, claude_fixtures.work

FINAL = ("completed", "failed", "aborted")
CRITICAL_S = 2.0
"""How long the server waits for an answer about a command that destroys; about others it waits long."""
_NOT_OURS = ("ANTHROPIC_", "CLAUDE", "AWS_", "GOOGLE_")

Prompt = dict[str, Any]


@dataclass
class World:
    """A server, a bridge with Claude Code elsewhere, the wire between them, and somebody who watches."""

    server: ServerProcess
    bridge: BridgeProcess
    wire: TcpProxy
    anna: NodeClient
    work: Path
    conversation_id: str = ""

    async def send(self, request_id: str, content: str, **more: object) -> None:
        """Send in the conversation."""
        payload = {"requestId": request_id, "content": content, "conversationId": self.conversation_id, **more}
        answer = await self.anna.emit("chat:send-message", payload)
        assert answer["ok"], answer

    async def asked(self, request_id: str, *, is_as_wanted: Callable[[Prompt], bool] = lambda prompt: True) -> Prompt:
        """The prompt of the run that waits, once it is as wanted."""
        found: list[Prompt] = []

        def is_there() -> bool:
            prompts = self.anna.view.prompts.values()
            found[:] = [p for p in prompts if p["requestId"] == request_id and p["status"] == "pending"]
            return bool(found) and is_as_wanted(found[0])

        await self.anna.until(is_there)
        return found[0]

    async def answer(self, prompt: Prompt, option: str, **more: object) -> None:
        """Answer it, as the first."""
        answer = {"promptId": prompt["id"], "selectedOption": option, **more}
        told = await self.anna.emit("permission:respond", answer)
        assert told["ok"], told

    async def ended(self, request_id: str, status: str = "completed") -> dict[str, Any]:
        """The run, once it has ended, which must be as `status`."""
        await self.anna.until(lambda: self.anna.view.runs.get(request_id, {}).get("status") in FINAL)
        run: dict[str, Any] = self.anna.view.runs[request_id]
        assert run["status"] == status, run
        return run

    async def kill_server(self) -> None:
        """SIGKILL, and a new process; returns when the watcher is back and has joined again."""
        await self.server.kill()
        await self.start_server()

    async def start_server(self) -> None:
        """After it was killed."""
        connects = self._connects()
        await self.server.start()
        await self.anna.until(lambda: self._connects() > connects)
        await self.anna.join(self.conversation_id, after=self.anna.view.seq)

    def _connects(self) -> int:
        return sum(state["state"] == "connect" for state in self.anna.states)

    def prompt(self, known: Prompt) -> Prompt:
        """As the watcher sees it now."""
        prompt: Prompt = self.anna.view.prompts[known["id"]]
        return prompt

    async def until_delivered(self, prompt: Prompt) -> None:
        """The agent has the answer, as the watcher sees."""
        await self.anna.until(lambda: bool(self.prompt(prompt)["deliveredAt"]))

    def times(self, name: str) -> int:
        """How often the command that appends to this file was run."""
        path = self.work / name
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
async def world(
    tmp_path: Path, environment: dict[str, str], work: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    for name in list(os.environ):
        if name.startswith(_NOT_OURS):
            monkeypatch.delenv(name)
    async with _world(tmp_path, environment, work) as made:
        yield made


@asynccontextmanager
async def _world(folder: Path, environment: dict[str, str], work: Path) -> AsyncIterator[World]:
    async with tcp_proxy() as wire:
        times = {"BATON_PROMPT_STAGES_S": "1.5,3,4.5", "BATON_PROMPT_TIMEOUTS_S": f"CRITICAL={CRITICAL_S}"}
        settings = {"BATON_BRIDGE": "none", "PUBLIC_URL": wire.url, **times}
        async with server_process(folder / "server", **settings) as server:
            wire.target_port = server.port
            agent = {**environment, "BATON_AGENTS": "claude", "BATON_WORKSPACE": str(work)}
            async with (
                bridge_process(folder / "bridge", wire.url, server.token("bridge"), **agent) as bridge,
                node_client(server.url, server.token()) as anna,
            ):
                await bridge.until_connected()
                made = World(server, bridge, wire, anna, work)
                told = await anna.emit("conversation:create", {"agent": "claude"})
                made.conversation_id = told["conversation"]["id"]
                await anna.join(made.conversation_id)
                yield made


# --- the server dies ---------------------------------------------------------------------------------------------


async def test_an_answer_after_a_kill_of_the_server_at_any_stage_reaches_claude_and_the_tool_runs_once(
    world: World,
) -> None:
    for stage in range(4):
        await world.send(f"r{stage}", f"bash echo ran >> count{stage}")
        # Not exactly at it: what is told late on a loaded machine may be past it already.
        prompt = await world.asked(f"r{stage}", is_as_wanted=lambda asked, stage=stage: asked["stage"] >= stage)
        await world.kill_server()
        waits = world.prompt(prompt)
        assert (waits["status"], waits["stage"] >= stage) == ("pending", True)
        assert world.times(f"count{stage}") == 0
        await world.answer(prompt, "allow_once")
        await world.ended(f"r{stage}")
        assert world.times(f"count{stage}") == 1
        assert world.prompt(prompt)["deliveredAt"]
    assert world.bridge.starts == [f"r{stage}" for stage in range(4)]


async def test_an_answer_that_was_given_and_not_delivered_when_the_server_died_is_not_lost(world: World) -> None:
    await world.send("r", "bash echo ran >> count")
    prompt = await world.asked("r")
    world.wire.take_down()
    await world.answer(prompt, "allow_once")
    await world.server.kill()
    assert world.times("count") == 0
    world.wire.bring_up()
    await world.start_server()
    await world.ended("r")
    assert world.times("count") == 1
    assert world.prompt(prompt)["deliveredAt"]


async def test_an_answer_that_claude_has_and_whose_delivery_the_server_never_heard_of_counts_once(
    world: World,
) -> None:
    await world.send("r", "bash echo ran >> count")
    prompt = await world.asked("r")
    world.wire.hold_upstream()
    await world.answer(prompt, "allow_once")
    async with asyncio.timeout(20):
        while not world.times("count"):
            await asyncio.sleep(0.02)  # a file does not tell when it changes
    assert world.prompt(prompt)["deliveredAt"] is None
    await world.server.kill()
    world.wire.cut()
    world.wire.let_go()
    await world.start_server()
    await world.ended("r")
    assert world.times("count") == 1
    assert world.prompt(prompt)["deliveredAt"]


async def test_plans_and_questions_wait_through_a_restart_and_are_answered_as_asked(
    world: World, api: FakeMessagesApi
) -> None:
    await world.send("question", "question")
    question = await world.asked("question")
    await world.kill_server()
    assert world.prompt(question)["questions"] == question["questions"]
    await world.answer(question, "answer", answers={"q1": "Blue", "q2": ["S", "L"]})
    await world.ended("question")
    assert api.requests[-1].says("Blue")
    assert api.requests[-1].says("S, L")

    await world.send("plan", "plan", permissionMode="plan")
    plan = await world.asked("plan")
    assert (plan["type"], plan["message"]) == ("plan_review", PLAN)
    await world.kill_server()
    await world.answer(plan, "edit", input={"plan": "1. Do less"})
    await world.ended("plan")
    assert api.requests[-1].says("1. Do less")


# --- the bridge dies ---------------------------------------------------------------------------------------------


async def test_a_prompt_whose_bridge_died_is_cancelled_and_the_session_goes_on(
    world: World, api: FakeMessagesApi
) -> None:
    await world.send("before", "text the code word is walrus")
    await world.ended("before")
    await world.send("r", "bash echo ran >> count")
    prompt = await world.asked("r")
    await world.bridge.kill()
    await world.bridge.start()
    run = await world.ended("r", "failed")
    assert run["error"]["code"] == "bridge_lost"
    ended = world.prompt(prompt)
    assert (ended["status"], ended["autoHandler"], ended["deliveredAt"]) == ("cancelled", "run_ended", None)
    late = await world.anna.emit("permission:respond", {"promptId": prompt["id"], "selectedOption": "allow_once"})
    assert (late["error"]["code"], late["prompt"]["status"]) == ("already_resolved", "cancelled")

    await world.send("after", "text two")
    await world.ended("after")
    assert api.requests[-1].says("the code word is walrus")
    assert world.times("count") == 0


# --- nobody answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bridge", ["there", "away"])
async def test_when_nobody_answers_claude_hears_why_and_stops_and_the_session_goes_on(
    world: World, api: FakeMessagesApi, bridge: str
) -> None:
    await world.send("r", "bash echo ran >> count; rm -rf /")
    prompt = await world.asked("r")
    assert prompt["riskLevel"] == "CRITICAL"
    if bridge == "away":
        world.wire.take_down()
    run = await world.ended("r", "failed")
    world.wire.bring_up()
    assert run["error"]["code"] == "prompt_timeout"
    ended = world.prompt(prompt)
    assert (ended["status"], ended["autoHandler"], ended["selectedOption"]) == ("timeout", "timeout", None)

    await world.send("after", "text two")
    await world.ended("after")
    assert world.times("count") == 0
    assert api.requests[-1].says("Nobody answered in time"), "the model is told why"


# --- always ------------------------------------------------------------------------------------------------------


async def test_always_is_kept_by_the_server_also_after_a_restart_and_not_by_claude(
    world: World, environment: dict[str, str]
) -> None:
    home = Path(environment["HOME"])
    (world.work / "Makefile").write_text("tick:\n\t@echo ran >> count\n")
    await world.send("first", "bash make tick")
    prompt = await world.asked("first")
    before = settings_below(home, world.work)
    await world.answer(prompt, "allow_always")
    await world.ended("first")
    await world.send("second", "bash make tick")
    await world.ended("second")
    await world.kill_server()
    await world.send("third", "bash make tick")
    await world.ended("third")

    assert world.times("count") == 3
    others = [p for p in world.anna.view.prompts.values() if p["id"] != prompt["id"]]
    assert [(p["status"], p["autoHandler"]) for p in others] == [("answered", "grant")] * 2
    assert settings_below(home, world.work) == before


def settings_below(*folders: Path) -> dict[Path, bytes]:
    """Where Claude Code would keep what is allowed."""
    found = [path for folder in folders for path in folder.rglob("settings*.json")]
    return {path: path.read_bytes() for path in found}
