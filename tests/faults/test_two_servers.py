"""One bridge, two servers: what it holds for the one survives that it meets the other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.bridge_process import bridge_process
from tests.support.node_client import node_client
from tests.support.remote_world import World, expected, world
from tests.support.server_process import server_process

STORY = "/demo markdown words=600 rate=600"


async def test_what_waits_for_one_server_is_delivered_though_another_one_was_met_first(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.send("r", STORY)
        await w.until_shown(2, "r")
        w.wire.take_down()
        await w.bridge.until(lambda health: health["runs"]["active"] == 0 and health["spool"]["bytes"] > 2000)
        await w.bridge.terminate()

        async with working_elsewhere(w, tmp_path / "other") as other:
            await other.send("s", "Hello rate=1000")
            await other.until_ended("s", "completed")
            # The same name as a run of the first server's: rare, and no reason to mix the two.
            await other.send("r", "Hello rate=1000")
            assert (await other.until_ended("r", "failed"))["error"]["code"] == "bridge_lost"
            assert other.text("r") == ""

        w.wire.bring_up()
        await w.bridge.start()
        await w.until_ended("r", "completed")
        assert w.text("r") == await expected(STORY)
        assert w.bridge.starts == ["r", "s"]
        health = await w.bridge.until(lambda health: health["spool"]["bytes"] == 0)
        assert health["runs"] == {"active": 0, "queued": 0, "undelivered": 0, "elsewhere": 0}


@asynccontextmanager
async def working_elsewhere(w: World, folder: Path) -> AsyncIterator[World]:
    """The bridge's next process works for another server, with what it holds for its own."""
    async with server_process(folder, BATON_BRIDGE="none") as server:
        async with (
            bridge_process(w.bridge.folder, server.url, server.token("bridge")) as bridge,
            node_client(server.url, server.token()) as ben,
        ):
            other = World(server, bridge, w.wire, ben)
            await other.until_there()
            health = await bridge.until(lambda health: health["link"]["state"] == "connected")
            assert health["runs"]["elsewhere"] == 1
            assert health["spool"]["bytes"] > 2000
            yield other
            assert await bridge.terminate() == 0
