"""Networks that are cut, come back, or are slow: what is shown then is what the server has, no more and no less."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

from playwright.async_api import Browser, Page, WebSocket, expect

from tests.browser.fixtures import browser_fixture
from tests.browser.stage import Stage, answers, begin, is_done, is_live, log, reconnected, send
from tests.support.server_process import server_process
from tests.support.tcp_proxy import TcpProxy, tcp_proxy


@browser_fixture()
async def network() -> AsyncIterator[TcpProxy]:
    """What is between the browser and the server."""
    async with tcp_proxy() as proxy:
        yield proxy


@browser_fixture()
async def stage(tmp_path: Path, browser: Browser, network: TcpProxy) -> AsyncIterator[Stage]:
    """A server that is reached through the network."""
    async with server_process(tmp_path, PUBLIC_URL=network.url) as server:
        network.target_port = server.port
        made = Stage(server, browser, url=network.url)
        yield made
        await made.close()


@browser_fixture()
async def page(stage: Stage) -> Page:
    return await stage.open()


async def go_offline(page: Page, network: TcpProxy) -> None:
    """As when a cable is pulled: the browser knows, and what is open is dead."""
    await page.context.set_offline(True)
    network.take_down()
    await expect(page.get_by_text("No connection for")).to_be_visible()


async def come_back(page: Page, network: TcpProxy) -> None:
    """The browser is told, and tries at once by itself."""
    network.bring_up()
    await page.context.set_offline(False)
    await expect(page.get_by_text("No connection for")).to_be_hidden()


async def is_what_the_server_has(stage: Stage, page: Page) -> None:
    """A window that has just been opened, on a good connection, shows the same messages."""
    fresh = await stage.open(page.url.removeprefix(stage.url))
    texts = log(fresh).get_by_role("article")
    await expect(texts).to_have_count(await log(page).get_by_role("article").count())
    assert (
        await texts.locator(".prose").all_inner_texts() == await log(page).locator("article .prose").all_inner_texts()
    )


async def test_a_network_that_is_away_in_the_middle_leaves_nothing_out_and_says_nothing_twice(
    stage: Stage, page: Page, network: TcpProxy
) -> None:
    await begin(page, "/demo slow words=400 rate=25")
    await expect(answers(page)).to_contain_text(re.compile(r"\w+ \w+"))
    await go_offline(page, network)
    cut = await answers(page).first.locator(".prose").inner_text()
    await come_back(page, network)
    await is_done(page)
    assert await answers(page).count() == 1
    assert (await answers(page).first.locator(".prose").inner_text()).startswith(cut)
    await is_what_the_server_has(stage, page)


async def test_what_ended_while_the_network_was_away_is_there_when_it_is_back(
    stage: Stage, page: Page, network: TcpProxy
) -> None:
    await begin(page, "/demo slow words=60 rate=20")
    await expect(answers(page)).to_contain_text(re.compile(r"\w+ \w+"))
    await go_offline(page, network)
    async with asyncio.timeout(60):
        while await active_runs(stage, page):
            await asyncio.sleep(0.1)
    await come_back(page, network)
    await is_done(page)
    await expect(page.get_by_role("button", name="Stop the run")).to_be_hidden()
    await is_what_the_server_has(stage, page)


async def active_runs(stage: Stage, page: Page) -> int:
    """How many runs the server itself knows of that have not ended."""
    context = await page.context.browser.new_context()  # type: ignore[union-attr]  # a launched browser has contexts
    try:
        bearer = {"Authorization": f"Bearer {stage.server.token()}"}
        answer = await context.request.get(f"{stage.server.url}/api/chat/runs?status=active", headers=bearer)
        return len((await answer.json())["runs"])
    finally:
        await context.close()


async def test_cuts_one_after_the_other_lose_nothing(stage: Stage, page: Page, network: TcpProxy) -> None:
    await begin(page, "/demo slow words=300 rate=40")
    for words in (20, 60, 120):
        await expect(answers(page)).to_contain_text(re.compile(rf"(\S+\s+){{{words}}}"))
        network.cut()
    await is_done(page)
    await is_what_the_server_has(stage, page)


async def test_a_slow_network_shows_everything_in_the_end(stage: Stage, page: Page, network: TcpProxy) -> None:
    network.bytes_per_s = 20_000
    await begin(page, "/demo markdown words=250 rate=60")
    await expect(answers(page)).to_contain_text(re.compile(r"\w+ \w+"))
    await send(page, "And one more rate=500")
    await is_done(page, 2)
    network.bytes_per_s = None
    await is_what_the_server_has(stage, page)


async def test_a_network_that_carries_nothing_is_found_out(stage: Stage, page: Page, network: TcpProxy) -> None:
    await is_live(page)
    network.hold()
    await send(page, "Hello rate=2000")
    await expect(page.get_by_text("Saving")).to_be_visible()
    # Nothing hangs for ever: what is not answered is said to be kept, and goes again once.
    await expect(page.get_by_text("Kept here until there is a connection")).to_be_visible(timeout=60_000)
    network.let_go()
    await page.wait_for_url(re.compile(r"/c/[0-9a-f]{24}"), timeout=60_000)
    await is_done(page)
    await expect(log(page).get_by_text("Hello rate=2000", exact=True)).to_have_count(1)


async def test_a_network_that_fails_while_the_page_connects_is_found_out(stage: Stage, network: TcpProxy) -> None:
    network.delay(0.3)
    page = await stage.open(before=lambda page: page.once("websocket", lambda socket: hold_once_open(socket, network)))
    # The connection is open, and the page never hears that it was let in.
    await expect(page.get_by_text("No connection for")).to_be_visible()
    network.delay(0)
    network.let_go()
    await reconnected(page)
    await is_live(page)


def hold_once_open(socket: WebSocket, network: TcpProxy) -> None:
    """After the server's first packet nothing more of it comes through."""
    socket.once("framereceived", lambda _: network.hold_downstream())
