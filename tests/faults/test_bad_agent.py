"""Agents that break every rule, on a bridge of another machine: their runs fail by name, and other runs go on."""

import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tests.support.node_client import node_client
from tests.support.remote_world import World, expected, world

SCRIPT = Path(__file__).parents[1] / "support" / "acp_scripted_agent.py"
COMMAND = shlex.join([sys.executable, "-IS", str(SCRIPT)])
STORY = "/demo markdown words=1200 rate=300"
FLOOD_MEBIBYTES = 1024
SPOOL_BYTES = 128 << 20
BRIDGE_BYTES = 160 << 20
"""Twice what the bridge was seen to take with a spool of any size: what it gathers must not add to it."""

ENDS = [
    ("garbage 40", "completed", "before after"),
    ("garbage 1000", "agent_failed", "writes what is no message"),
    ("line 40", "agent_failed", "one message of more than 32 MiB"),
    ("die", "agent_failed", "exit code 7"),
    ("kill", "agent_failed", "signal 9"),
    ("nonsense", "agent_failed", "what the protocol does not have"),
    ("error the model is on holiday", "agent_failed", "the model is on holiday"),
    ("twice", "completed", "once"),
    ("login", "agent_not_logged_in", "not logged in"),
]


@asynccontextmanager
async def two_people(folder: Path, **bridge: str) -> AsyncIterator[tuple[World, World]]:
    """Anna's agent breaks rules, Ben's does not; both work on one bridge."""
    agents = {"BATON_AGENTS": "demo,acp:bad", "BATON_ACP": f"bad={COMMAND}"}
    async with world(folder, **agents, **bridge) as w, node_client(w.server.url, w.server.token()) as ben:
        yield w, replace(w, anna=ben)


async def test_an_agent_that_floods_a_gigabyte_fails_alone_and_the_bridge_stays_small(tmp_path: Path) -> None:
    async with two_people(tmp_path, BATON_SPOOL_MAX_BYTES=str(SPOOL_BYTES)) as (anna, ben):
        await anna.send("flood", f"flood {FLOOD_MEBIBYTES}", agent="acp:bad")
        await anna.bridge.until(lambda health: health["spool"]["bytes"] > SPOOL_BYTES / 2)
        await ben.send("story", STORY, agent="demo")
        await ben.until_ended("story", "completed")
        assert ben.text("story") == await expected(STORY)

        run = await anna.until_ended("flood", "failed")
        assert (run["error"]["code"], run["error"]["retryable"]) == ("spool_full", True)
        assert anna.text("flood"), "what fitted is kept"
        assert anna.bridge.peak_bytes < BRIDGE_BYTES
        await anna.bridge.until(lambda health: health["spool"]["bytes"] == 0)

        await ben.send("after", "Hello again rate=1000", agent="demo")
        await ben.until_ended("after", "completed")


async def test_an_agent_that_breaks_a_rule_fails_by_name_and_other_runs_go_on(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (anna, ben), node_client(anna.server.url, anna.server.token()) as carla:
        hanging = replace(anna, anna=carla)
        conversation_id = await abort_a_hanging_one(hanging)
        await ben.send("story", "/demo markdown words=30000 rate=300", agent="demo")
        for number, (message, code, words) in enumerate(ENDS):
            request_id = f"r{number}"
            await anna.send(request_id, message, agent="acp:bad")
            run = await anna.until_ended(request_id, "completed" if code == "completed" else "failed")
            if code == "completed":
                # What comes after the end of a turn has no turn's name: it may count to this one still.
                assert anna.text(request_id).startswith(words)
            else:
                assert run["error"]["code"] == code
                assert words in run["error"]["message"]
        await hanging.until_ended("hangs", "aborted")
        await hanging.send("after", "say still here", conversation_id, agent="acp:bad")
        await hanging.until_ended("after", "completed")
        assert hanging.text("after").strip() == "still here"
        assert ben.run("story")["status"] == "running"


async def abort_a_hanging_one(w: World) -> str:
    """Somebody asks for the abort of an agent that hears nothing any more; the conversation."""
    conversation_id = await w.send("hangs", "deaf", agent="acp:bad")
    await w.anna.until(lambda: w.text("hangs") == "hanging")
    asked = await w.anna.emit("chat:abort", {"requestId": "hangs"})
    assert asked["ok"], asked
    return conversation_id
