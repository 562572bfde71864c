"""The page tells how things are: each message's way, the bridge, the agent, the connection, the server's version."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, Route, expect

from tests.browser.fixtures import browser_fixture
from tests.browser.stage import Stage, answers, begin, box, is_done, log, prompt, reconnected, send
from tests.support.bridge_process import bridge_process
from tests.support.quiet_bridge import quiet_bridge
from tests.support.server_process import server_process

PATIENCE_MS = 60_000
"""For what a process that starts or dies must do first."""


@browser_fixture()
async def alone(tmp_path: Path, browser: Browser) -> AsyncIterator[Stage]:
    """A server without a bridge, which soon notices one that is gone."""
    soon = {"BATON_HEARTBEAT_S": "5", "BATON_AWAY_AFTER_S": "2"}
    async with server_process(tmp_path / "server", BATON_BRIDGE="none", **soon) as server:
        made = Stage(server, browser)
        yield made
        await made.close()


def way(page: Page, at: int = -1) -> Locator:
    """How far one's own message has come; the last one's."""
    return log(page).locator(".user-message .way").nth(at)


# --- a message's way -------------------------------------------------------------------------------------------------


async def test_a_message_says_when_it_was_started_when_it_is_answered_and_when_that_is_done(page: Page) -> None:
    await begin(page, "/demo silent seconds=6 rate=4")
    await expect(way(page)).to_have_attribute("data-step", "started")
    await expect(way(page)).to_have_text("Started")
    await expect(way(page)).to_have_attribute("data-step", "streaming", timeout=PATIENCE_MS)
    await expect(way(page)).to_have_text("Answering")
    await is_done(page)
    await expect(way(page)).to_have_attribute("data-step", "done")


async def test_a_message_that_waits_says_its_number_and_one_whose_agent_asks_that_it_waits_for_you(page: Page) -> None:
    await begin(page, "/demo ask rate=2000")
    await expect(prompt(page, "Run rm -r build/1?")).to_be_visible()
    await expect(way(page)).to_have_text("Waits for you")
    await send(page, "after that rate=2000")
    await expect(page.get_by_role("region", name="Waiting messages")).to_contain_text("after that")
    await prompt(page, "Run rm -r build/1?").get_by_role("button", name="Allow once").click()
    await is_done(page, 2)
    await expect(way(page, 0)).to_have_attribute("data-step", "done")


async def test_a_message_that_was_stopped_or_has_failed_says_so_with_its_reason_and_can_be_tried_again(
    page: Page,
) -> None:
    await begin(page, "/demo fail rate=2000")
    await expect(way(page)).to_have_attribute("data-step", "failed")
    await expect(way(page)).to_contain_text("Failed")
    await expect(way(page)).to_contain_text("The demo agent failed, as it was told to")
    await way(page).get_by_role("button", name="Retry").click()
    await expect(log(page).locator(".user-message .way[data-step=failed]")).to_have_count(2)
    await send(page, "/demo silent seconds=600")
    await expect(way(page)).to_have_attribute("data-step", "started")
    await box(page).press("Escape")
    await expect(way(page)).to_have_attribute("data-step", "aborted")
    await expect(way(page)).to_contain_text("Stopped")
    await page.reload()
    await expect(way(page)).to_have_attribute("data-step", "aborted")
    await expect(log(page).locator(".user-message .way[data-step=failed]")).to_have_count(2)


# --- bridges and agents ----------------------------------------------------------------------------------------------


async def test_without_a_bridge_the_page_says_how_to_start_one_and_what_is_sent_waits_for_it(
    alone: Stage, tmp_path: Path
) -> None:
    page = await alone.open()
    await expect(page.get_by_text("No bridge service connected").first).to_be_visible()
    await expect(page.get_by_text(f"baton bridge --backend {alone.server.url}").first).to_be_visible()
    await begin(page, "Is anybody there? rate=2000")
    await expect(page.get_by_role("region", name="Waiting messages")).to_contain_text("Is anybody there?")
    await expect(page.get_by_text("No bridge service connected").first).to_be_visible()
    async with bridge_process(tmp_path / "bridge", alone.server.url, alone.server.token("bridge")):
        await is_done(page)
        await expect(page.get_by_text("No bridge service connected")).to_have_count(0)
        await expect(way(page)).to_have_attribute("data-step", "done")


async def test_a_bridge_that_is_lost_is_named_and_its_run_goes_on_when_it_is_back(alone: Stage, tmp_path: Path) -> None:
    lost = re.compile(r"The bridge laptop\S* is not connected")
    async with bridge_process(tmp_path / "bridge", alone.server.url, alone.server.token("bridge")) as bridge:
        await bridge.until_connected()
        page = await alone.open()
        await begin(page, "/demo slow words=60 rate=6")
        await expect(answers(page)).to_contain_text(re.compile(r"\w+ \w+"))
        # As a laptop that sleeps: it says nothing any more, and its socket stays open.
        bridge.pause()
        try:
            await expect(page.get_by_text(lost)).to_be_visible(timeout=PATIENCE_MS * 3)
            gone = page.get_by_text("Its bridge is not connected; the run goes on when it is back")
            await expect(gone).to_be_visible(timeout=PATIENCE_MS * 3)
        finally:
            bridge.resume()
        await expect(page.get_by_text(lost)).to_be_hidden(timeout=PATIENCE_MS)
        await is_done(page)
        await expect(way(page)).to_have_attribute("data-step", "done")


NOT_LOGGED_IN = "Claude Code is not logged in on this machine: run `claude` there once and log in"


async def test_an_agent_that_is_not_logged_in_is_told_with_what_to_do(alone: Stage) -> None:
    token = alone.server.token("bridge")
    offer: dict[str, Any] = {"id": "claude", "title": "Claude Code", "available": False, "reason": NOT_LOGGED_IN}
    async with quiet_bridge(alone.server.url, token, [{**offer, "models": [], "modes": []}]):
        page = await alone.open()
        await expect(page.get_by_text("Claude Code is not logged in on this machine").first).to_be_visible()
        await expect(page.locator(".command", has_text="claude").first).to_be_visible()


async def test_a_run_that_fails_because_nobody_is_logged_in_says_what_to_do_and_can_be_tried_again(
    alone: Stage,
) -> None:
    token = alone.server.token("bridge")
    offer: dict[str, Any] = {"id": "claude", "title": "Claude Code", "available": True, "models": [], "modes": []}
    error = {"code": "agent_not_logged_in", "message": NOT_LOGGED_IN, "retryable": False}
    async with quiet_bridge(alone.server.url, token, [offer], error=error):
        page = await alone.open()
        await begin(page, "Hello")
        await expect(way(page)).to_contain_text("run `claude` there once and log in")
        await expect(way(page).get_by_role("button", name="Retry")).to_be_visible()


# --- the server's version --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.0.1", "99.0.0"])
async def test_a_server_of_another_version_is_told_and_a_reload_is_offered(stage: Stage, version: str) -> None:
    async def other_version(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, body=json.dumps({**await answer.json(), "version": version}))

    page = await stage.open("/")
    await box(page).fill("half a thought")
    notice = page.get_by_text(f"The server is version {version}")
    await expect(notice).to_be_hidden()
    await page.route("**/health", other_version)
    # As after an update of the server: the connection goes, and what comes back is another version.
    await stage.server.kill()
    await expect(page.get_by_text("No connection for")).to_be_visible(timeout=PATIENCE_MS)
    await stage.server.start()
    await reconnected(page)
    await expect(notice).to_be_visible(timeout=PATIENCE_MS)
    await page.unroute("**/health")
    await page.get_by_role("button", name="Reload").click()
    await expect(box(page)).to_have_value("half a thought")
    await expect(notice).to_be_hidden()
