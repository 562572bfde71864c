"""A turn that Claude Code begins by itself, on a bridge of another machine, through every break.

Its run has no message: the server hears of it from its first frame, which may come late, twice, or from the spool of
a process that is dead.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("claude_agent_sdk", reason="the extra `claude` is not installed")

from tests.support import claude_fixtures
from tests.support.fake_messages_api import FakeMessagesApi, Reply, Text
from tests.support.remote_world import World, world

# pytest finds fixtures by the names of the module that uses them.
api, environment, work = claude_fixtures.api, claude_fixtures.environment, claude_fixtures.work

_NOT_OURS = ("ANTHROPIC_", "CLAUDE")
STORY = " ".join(f"w{number}" for number in range(200))


@pytest.fixture
def variables(
    environment: dict[str, str], work: Path, api: FakeMessagesApi, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """What a bridge that runs Claude Code is started with. What ends in the background is told as a long story."""
    for name in list(os.environ):
        if name.startswith(_NOT_OURS):
            monkeypatch.delenv(name)
    api.script("notified", Reply(parts=(Text(STORY),), pause_s=0.01))
    return {**environment, "BATON_AGENTS": "claude", "BATON_WORKSPACE": str(work)}


@asynccontextmanager
async def something_left(folder: Path, work: Path, variables: dict[str, str]) -> AsyncIterator[tuple[World, str]]:
    """A run has ended and has left a command in the background, which `end_command` ends; the conversation."""
    os.mkfifo(work / "pipe")
    async with world(folder, **variables) as w:
        conversation_id = await w.send("r", "later cat pipe", allowedTools=["Bash"])
        await w.until_ended("r", "completed")
        yield w, conversation_id


async def end_command(work: Path) -> None:
    """Let the command end, once it runs."""
    async with asyncio.timeout(20):
        os.close(await asyncio.to_thread(os.open, work / "pipe", os.O_WRONLY))


async def begun(w: World) -> str:
    """The run that the agent began by itself, once the server shows it."""
    await w.anna.until(lambda: len(w.anna.view.runs) == 2)
    (name,) = w.anna.view.runs.keys() - {"r"}
    assert w.run(name)["origin"] == "background"
    return name


async def check_whole(w: World, name: str, conversation_id: str) -> None:
    """It has completed with its text, once, and the conversation goes on."""
    await w.until_ended(name, "completed")
    assert w.text(name) == STORY
    assert len(w.anna.view.runs) == 2
    await w.send("after", "text after", conversation_id)
    await w.until_ended("after", "completed")
    assert w.text("after") == "after"


async def test_it_is_a_run_of_its_own_and_survives_cuts_of_the_link(
    tmp_path: Path, work: Path, variables: dict[str, str]
) -> None:
    async with something_left(tmp_path, work, variables) as (w, conversation_id):
        await end_command(work)
        name = await begun(w)
        for _ in range(3):
            await w.until_shown(10, name)
            w.wire.cut()
        await check_whole(w, name, conversation_id)


async def test_what_begins_and_ends_without_a_link_comes_with_the_next_one(
    tmp_path: Path, work: Path, variables: dict[str, str]
) -> None:
    async with something_left(tmp_path, work, variables) as (w, conversation_id):
        w.wire.take_down()
        await end_command(work)
        await w.bridge.until(lambda health: health["runs"]["undelivered"] == 1)
        await w.bridge.until(lambda health: health["runs"]["active"] == 0)
        w.wire.bring_up()
        await check_whole(w, await begun(w), conversation_id)


async def test_what_was_sent_and_never_arrived_is_sent_again(
    tmp_path: Path, work: Path, variables: dict[str, str]
) -> None:
    async with something_left(tmp_path, work, variables) as (w, conversation_id):
        w.wire.hold_upstream()
        await end_command(work)
        # It has begun, and its first frames are on a wire that will lose them: the next hello names a run that the
        # server has never heard of.
        await w.bridge.until(lambda health: health["runs"]["active"] == 1)
        w.wire.cut()
        w.wire.let_go()
        await check_whole(w, await begun(w), conversation_id)


async def test_it_completes_though_the_server_was_killed_twice(
    tmp_path: Path, work: Path, variables: dict[str, str]
) -> None:
    async with something_left(tmp_path, work, variables) as (w, conversation_id):
        await w.server.kill()
        await end_command(work)
        await w.bridge.until(lambda health: health["runs"]["active"] == 1)
        await w.start_server()
        await w.anna.join(conversation_id, after=w.anna.view.seq)
        name = await begun(w)
        await w.until_shown(10, name)
        await w.restart_server()
        await w.anna.join(conversation_id, after=w.anna.view.seq)
        await check_whole(w, name, conversation_id)


@pytest.mark.parametrize("is_online", [True, False])
async def test_it_ends_with_a_killed_bridge_and_keeps_what_was_said(
    tmp_path: Path, work: Path, variables: dict[str, str], api: FakeMessagesApi, is_online: bool
) -> None:
    api.script("notified", Reply(parts=(Text(STORY),), pause_s=0.05))  # not at its end before the kill
    async with something_left(tmp_path, work, variables) as (w, conversation_id):
        if not is_online:
            # Begun offline: the server hears of the run for the first time from the next process.
            w.wire.take_down()
        before = (await w.bridge.until(lambda health: True))["spool"]["bytes"]
        await end_command(work)
        if is_online:
            await w.until_shown(10, await begun(w))
        else:
            await w.bridge.until(lambda health: health["spool"]["bytes"] > before + 2000)
        await w.restart_bridge()
        name = await begun(w)
        run = await w.until_ended(name, "failed")
        assert run["error"]["code"] == "bridge_lost"
        assert w.text(name)
        assert STORY.startswith(w.text(name))
        await w.send("after", "text after", conversation_id)
        await w.until_ended("after", "completed")
