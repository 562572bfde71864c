"""Breaks as long as real ones are, with the heartbeats that a bridge really has. They last; nothing else here does."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.node_client import node_client
from tests.support.remote_world import World, expected, world

STORY = "/demo markdown words=1200 rate=300"
STANDS_STILL_S = 120
CUT_FOR_S = 60
CUT_EVERY_S = 0.2


@pytest.mark.timeout(240)
async def test_two_minutes_of_standing_still_and_a_minute_of_cuts_lose_and_double_nothing(tmp_path: Path) -> None:
    # One test, so that the two wait at the same time.
    async with asyncio.TaskGroup() as both:
        both.create_task(stands_still(tmp_path / "still"))
        both.create_task(is_cut(tmp_path / "cut"))


async def stands_still(folder: Path) -> None:
    """SIGSTOP, as a laptop that sleeps: its run is shown as away, and completes when it wakes."""
    async with world(folder) as w:
        await w.send("r", STORY)
        await w.until_shown(3, "r")
        before = w.text("r")
        w.bridge.pause()
        paused_at = time.monotonic()
        await w.until_gone(timeout_s=STANDS_STILL_S)
        await w.anna.until(lambda: bool(w.run("r")["away"]), timeout_s=STANDS_STILL_S)
        assert time.monotonic() - paused_at < STANDS_STILL_S - 10, "it was found out while it stood still"
        await asyncio.sleep(STANDS_STILL_S - (time.monotonic() - paused_at))  # two real minutes are the point
        assert w.text("r").startswith(before)
        w.bridge.resume()
        await w.until_ended("r", "completed")
        assert w.text("r") == await expected(STORY)
        assert w.bridge.starts == ["r"]


async def is_cut(folder: Path) -> None:
    """A link that never lasts longer than a moment, while three people have their answers."""
    async with world(folder, BATON_RECONNECTION_DELAY="20") as w, AsyncExitStack() as stack:
        others = [await stack.enter_async_context(node_client(w.server.url, w.server.token())) for _ in range(2)]
        until = time.monotonic() + CUT_FOR_S
        async with asyncio.TaskGroup() as tasks:
            talks = [
                tasks.create_task(talk(replace(w, anna=person), f"person{number}", until))
                for number, person in enumerate([w.anna, *others])
            ]
            while time.monotonic() < until or not all(task.done() for task in talks):
                await asyncio.sleep(CUT_EVERY_S)  # the wire's own rhythm
                w.wire.cut()
        answered = [request_id for task in talks for request_id in task.result()]
        assert w.wire.connections > CUT_FOR_S / CUT_EVERY_S / 2
        assert sorted(w.bridge.starts) == sorted(answered)


async def talk(w: World, name: str, until: float) -> list[str]:
    """Send and be answered, again and again; the runs."""
    whole, runs = await expected(STORY), []
    conversation_id: str | None = None
    while time.monotonic() < until:
        runs.append(f"{name}-{len(runs)}")
        conversation_id = await w.send(runs[-1], STORY, conversation_id)
        await w.until_ended(runs[-1], "completed")
        assert w.text(runs[-1]) == whole
    return runs
