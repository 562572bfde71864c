"""The page of the bridge inside a server: there when its port is, and never in the server's way."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from baton.bridge.facts import BridgeFacts, LinkState, LinkStatus
from baton.bridge.page import LocalPage, bind
from baton.testing.clock import FakeClock
from tests.support.in_process import running_server

FACTS = BridgeFacts(
    name="This server",
    bridge_id="local",
    url="http://localhost:3001",
    link=LinkStatus(state=LinkState.CONNECTED, since=FakeClock().now()),
    agents=(),
    active=0,
    queued=0,
    undelivered=0,
    elsewhere=0,
    spool_bytes=0,
    spool_max_bytes=0,
    uptime_s=1.0,
)


@pytest.fixture
async def page() -> AsyncIterator[LocalPage]:
    """A page that wants a port which somebody has."""
    with bind(0) as taken:
        port: int = taken.getsockname()[1]
        made = LocalPage(lambda: FACTS, port)
        await made.open()
    yield made
    await made.close()


async def health(port: int | None) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/health") as answered:
        assert answered.status == 200
        found: dict[str, Any] = await answered.json()
        return found


async def test_a_port_that_somebody_has_is_warned_of_once_with_the_cure(caplog: pytest.LogCaptureFixture) -> None:
    with bind(0) as taken, caplog.at_level(logging.WARNING):
        page = LocalPage(lambda: FACTS, taken.getsockname()[1])
        await page.open()
        await page.open()
        await page.close()
    assert page.port is None
    (record,) = caplog.records
    assert "set BATON_BRIDGE_PORT to a free port, or to none" in record.message
    assert record.__dict__["reason"] == "another program listens there"


async def test_a_port_that_becomes_free_is_taken(page: LocalPage) -> None:
    assert page.port is None
    await page.open()
    assert (await health(page.port))["bridgeId"] == "local"
    await page.open()


async def test_a_closed_page_does_not_open_again(page: LocalPage) -> None:
    await page.close()
    await page.open()
    assert page.port is None


async def test_a_server_tells_of_the_bridge_inside_it(tmp_path: Path) -> None:
    async with running_server(tmp_path, bridge_port=0) as running:
        assert running.server.page is not None
        found = await health(running.server.page.port)
        assert (found["status"], found["bridgeId"], found["link"]["state"]) == ("ok", "local", "connected")
        assert [agent["id"] for agent in found["agents"]] == ["demo"]
        assert found["link"]["server"] == running.url.replace("127.0.0.1", "localhost")


@pytest.mark.parametrize("settings", [{"bridge_port": None}, {"bridge_port": 0, "bridge": "none"}])
async def test_a_server_without_such_a_bridge_or_a_port_for_it_has_no_page(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    async with running_server(tmp_path, **settings) as running:
        assert running.server.page is None
