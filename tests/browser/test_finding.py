"""Long conversations: opened at their end, read back to their beginning, and searched."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from playwright.async_api import Browser, Locator, Page, expect

from tests.browser.fixtures import browser_fixture
from tests.browser.stage import Stage, box, log, reconnected
from tests.support.server_process import server_process

MESSAGES = 1000


@browser_fixture()
async def stage(tmp_path: Path, browser: Browser) -> AsyncIterator[Stage]:
    """A server with a conversation of a thousand messages, which say their number in brackets."""
    command = (
        sys.executable,
        "-m",
        "baton",
        "db",
        "seed",
        "--messages",
        str(MESSAGES),
        "--data",
        str(tmp_path / "data"),
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
    seeding = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=inherited, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    assert await seeding.wait() == 0
    async with server_process(tmp_path) as server:
        made = Stage(server, browser)
        yield made
        await made.close()


@browser_fixture()
async def page(stage: Stage) -> Page:
    """The long conversation."""
    opened = await stage.open()
    await opened.get_by_role("link", name=re.compile("1,000 messages")).click()
    await expect(message(opened, MESSAGES)).to_be_in_viewport()
    return opened


def message(page: Page, number: int) -> Locator:
    """The message with that number."""
    return log(page).get_by_role("article").filter(has_text=f"({number})")


async def test_a_hit_far_back_is_shown_where_it_was_said_and_one_can_return(page: Page) -> None:
    await page.get_by_role("searchbox").fill("herons 7")
    hits = page.get_by_role("region", name="Search results").get_by_role("link")
    await expect(hits.first).to_contain_text("(7)")
    await expect(hits.first.locator("mark").first).to_be_visible()
    await hits.first.click()
    await expect(log(page).locator("[data-target=true]")).to_contain_text("(7)")
    await expect(message(page, 7)).to_be_in_viewport()
    await page.get_by_role("button", name=re.compile("Jump to latest|new message")).click()
    await expect(message(page, MESSAGES)).to_be_in_viewport()


async def test_an_address_with_a_message_opens_there(stage: Stage, page: Page) -> None:
    await page.get_by_role("searchbox").fill("herons 500")
    await page.get_by_role("region", name="Search results").get_by_role("link").first.click()
    await expect(message(page, 500)).to_be_in_viewport()
    address = page.url
    assert "?m=" in address
    other = await stage.open(address.removeprefix(stage.url).split("?")[0])
    await other.goto(address)
    await expect(message(other, 500)).to_be_in_viewport()


async def read_back_to(page: Page, number: int) -> None:
    """Turn the wheel until that message or an older one is there: a fast wheel passes by a single message."""
    async with asyncio.timeout(60):
        while await oldest(page) > number:
            await page.mouse.wheel(0, -4000)
            await asyncio.sleep(0.05)


async def oldest(page: Page) -> int:
    """The number of the oldest message that exists on the page."""
    said = await log(page).get_by_role("article").all_inner_texts()
    return min((int(number) for text in said for number in re.findall(r"\((\d+)\)", text)), default=MESSAGES)


async def test_reading_back_loads_what_is_older_and_keeps_the_place(page: Page) -> None:
    await log(page).hover()
    for number in (850, 700, 500):
        await read_back_to(page, number)
    assert await log(page).get_by_role("article").count() < 100, "only what is near the screen exists"
    await box(page).fill("still quick")
    await expect(box(page)).to_have_value("still quick")


async def test_older_messages_that_did_not_come_can_be_asked_for_again(page: Page) -> None:
    older = re.compile(r"/messages\?limit=")
    await page.route(older, lambda route: route.abort())
    await log(page).hover()
    again = log(page).get_by_role("button", name="Try again")
    async with asyncio.timeout(60):
        while not await again.count():
            await page.mouse.wheel(0, -4000)
            await asyncio.sleep(0.05)
    # Where nothing more can be scrolled, no scrolling asks again.
    await page.mouse.wheel(0, -40_000)
    before = await oldest(page)
    await page.unroute(older)
    await again.click()
    await expect(again).to_have_count(0)
    await read_back_to(page, before - 1)


async def test_a_screen_higher_than_what_came_is_filled(stage: Stage, page: Page) -> None:
    tall = await stage.open(page.url.removeprefix(stage.url), viewport={"width": 1000, "height": 20_000})
    await expect(message(tall, MESSAGES)).to_be_in_viewport()
    async with asyncio.timeout(30):
        while await oldest(tall) > MESSAGES - 150:
            await asyncio.sleep(0.1)


async def test_who_has_read_on_from_a_hit_is_not_brought_back_by_a_new_link(stage: Stage, page: Page) -> None:
    await page.get_by_role("searchbox").fill("herons 500")
    await page.get_by_role("region", name="Search results").get_by_role("link").first.click()
    await expect(message(page, 500)).to_be_in_viewport()
    await log(page).hover()
    await read_back_to(page, 400)
    await asyncio.sleep(4.5)  # the hit is marked for four seconds; only after that it could be shown again
    await stage.server.kill()
    await expect(page.get_by_text("No connection for")).to_be_visible()
    await stage.server.start()
    await reconnected(page)
    await asyncio.sleep(1)  # what brought people back came with the join
    assert await oldest(page) <= 400
    await expect(message(page, 500)).to_have_count(0)


async def test_an_address_whose_message_is_gone_says_so_and_shows_the_end(stage: Stage, page: Page) -> None:
    await page.goto(f"{page.url}?m={'0' * 24}")
    await expect(page.get_by_text("The message of this address is not here")).to_be_visible()
    await page.get_by_role("button", name="Jump to latest").or_(message(page, MESSAGES)).first.click()
    await expect(message(page, MESSAGES)).to_be_in_viewport()
