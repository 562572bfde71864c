"""A real `baton bridge` and a real server as processes, and everything that can come between them."""

import asyncio
import random
import shutil
import time
from collections import Counter
from pathlib import Path

from tests.support.bridge_process import BridgeProcess, bridge_process
from tests.support.remote_world import expected, world

SEED = 20261123
SERVER_KILLS = 20
STORY = "/demo markdown words=1200 rate=300"
LONG_STORY = "/demo markdown words=6000 rate=2500"


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
        await w.bridge.until(
            lambda health: health["runs"] == {"active": 0, "queued": 0, "undelivered": 1, "elsewhere": 0}
        )
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
