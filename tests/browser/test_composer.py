"""The message box: commands, mentions, modes, models, drafts, what waits, and stopping."""

from collections.abc import AsyncIterator
from pathlib import Path

from playwright.async_api import Browser, Locator, Page, expect

from tests.browser.fixtures import browser_fixture
from tests.browser.stage import Stage, begin, box, is_done, log, send
from tests.support.quiet_bridge import quiet_bridge
from tests.support.server_process import server_process


def options(page: Page) -> Locator:
    """What is suggested."""
    return page.get_by_role("option")


def mode(page: Page, name: str) -> Locator:
    """The button that says which mode is on."""
    return page.get_by_role("button", name=f"Permission mode: {name}")


def waiting(page: Page) -> Locator:
    """What waits behind the run."""
    return page.get_by_role("region", name="Waiting messages")


async def is_working(page: Page) -> None:
    """Wait until a run can be stopped."""
    await expect(page.get_by_role("button", name="Stop the run")).to_be_visible()


# --- commands and mentions -------------------------------------------------------------------------------------------


async def test_a_slash_offers_the_agents_commands_and_tab_takes_one(page: Page) -> None:
    await begin(page, "Hello rate=2000")
    await is_done(page)
    await box(page).press_sequentially("/de")
    await expect(options(page)).to_have_count(1)
    await expect(options(page)).to_contain_text("/demo")
    await expect(options(page)).to_contain_text("<scenario>")
    await box(page).press("Tab")
    await expect(box(page)).to_have_value("/demo ")
    await expect(options(page)).to_have_count(0)


async def test_escape_closes_what_is_suggested_and_does_not_stop_the_run(page: Page) -> None:
    await begin(page, "/demo silent seconds=600")
    await is_working(page)
    await box(page).press_sequentially("see @rel")
    await expect(page.get_by_role("option", name="src/relay.py")).to_be_visible()
    await box(page).press("Escape")
    await expect(options(page)).to_have_count(0)
    await is_working(page)
    await expect(box(page)).to_have_value("see @rel")
    await box(page).press("Escape")
    await expect(log(page).locator(".way[data-step=aborted]")).to_be_visible()
    await expect(box(page)).to_have_value("see @rel")


async def test_files_are_named_with_at_and_chosen_with_the_arrows_or_the_mouse(page: Page) -> None:
    await box(page).press_sequentially("@re")
    await expect(page.get_by_role("option", name="src/relay.py")).to_have_attribute("aria-selected", "true")
    await page.get_by_role("option", name="src/relay.py").click()
    await expect(box(page)).to_have_value("@src/relay.py ")
    await box(page).press_sequentially("and @s")
    await expect(page.get_by_role("option", name="src/", exact=False).first).to_be_visible()
    await box(page).press("ArrowDown")
    await expect(options(page).nth(1)).to_have_attribute("aria-selected", "true")


# --- mode and model --------------------------------------------------------------------------------------------------


async def test_shift_tab_goes_through_the_modes_and_the_other_window_follows(stage: Stage, page: Page) -> None:
    url = await begin(page, "Hello rate=2000")
    await is_done(page)
    other = await stage.open(url.removeprefix(stage.server.url))
    for name in ("Accept edits", "Plan", "Ask", "Accept edits"):
        await box(page).press("Shift+Tab")
        await expect(mode(page, name)).to_be_visible()
        await expect(mode(other, name)).to_be_visible()
    await page.reload()
    await expect(mode(page, "Accept edits")).to_be_visible()


@browser_fixture()
async def chooser(tmp_path: Path, browser: Browser) -> AsyncIterator[Stage]:
    """A server whose one bridge has an agent with two models."""
    agent = {"id": "two", "title": "Two", "available": True, "models": ["opus-4", "sonnet-4"], "modes": ["default"]}
    async with server_process(tmp_path / "server", BATON_BRIDGE="none") as server:
        async with quiet_bridge(server.url, server.token("bridge"), [agent]):
            made = Stage(server, browser)
            yield made
            await made.close()


async def test_the_model_is_switched_and_kept(chooser: Stage) -> None:
    page = await chooser.open()
    await begin(page, "Hello")
    await page.get_by_role("button", name="Model: Default model").click()
    await page.get_by_role("menuitemradio", name="sonnet-4").click()
    await expect(page.get_by_role("button", name="Model: sonnet-4")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("button", name="Model: sonnet-4")).to_be_visible()


# --- drafts ----------------------------------------------------------------------------------------------------------


async def test_each_conversation_keeps_its_own_draft_until_it_is_sent(page: Page) -> None:
    await begin(page, "First rate=2000")
    await is_done(page)
    await box(page).fill("for the first\nin two lines")
    await page.get_by_role("link", name="New chat").first.click()
    await expect(box(page)).to_have_value("")
    await box(page).fill("for a new one")
    await page.get_by_role("link", name="First").click()
    await expect(box(page)).to_have_value("for the first\nin two lines")
    await page.reload()
    await expect(box(page)).to_have_value("for the first\nin two lines")
    await box(page).press("Enter")
    await is_done(page, 2)
    await page.reload()
    await is_done(page, 2)
    await expect(box(page)).to_have_value("")
    await page.get_by_role("link", name="New chat").first.click()
    await expect(box(page)).to_have_value("for a new one")


async def test_the_last_message_comes_back_with_arrow_up_and_shift_enter_makes_a_line(page: Page) -> None:
    await begin(page, "Said before rate=2000")
    await is_done(page)
    await box(page).press("ArrowUp")
    await expect(box(page)).to_have_value("Said before rate=2000")
    await box(page).press("End")
    await box(page).press("Shift+Enter")
    await box(page).press_sequentially("and more")
    await expect(box(page)).to_have_value("Said before rate=2000\nand more")


# --- what waits ------------------------------------------------------------------------------------------------------


async def test_what_waits_is_changed_in_every_window_and_goes_out_in_its_order(stage: Stage, page: Page) -> None:
    url = await begin(page, "/demo silent seconds=600")
    await is_working(page)
    for text in ("first rate=2000", "second rate=2000", "third rate=2000"):
        await send(page, text)
        await expect(waiting(page)).to_contain_text(text)
    other = await stage.open(url.removeprefix(stage.server.url))
    await expect(waiting(other).get_by_role("listitem")).to_have_count(3)
    await waiting(page).get_by_role("button", name="Later: first").click()
    await expect(waiting(other).get_by_role("listitem").first).to_contain_text("second")
    await waiting(page).get_by_role("button", name="Remove: second").click()
    await waiting(page).get_by_role("button", name="Edit: third").click()
    await page.get_by_role("textbox", name="Waiting message").press("Escape")
    await is_working(page)
    await waiting(page).get_by_role("button", name="Edit: third").click()
    await page.get_by_role("textbox", name="Waiting message").fill("changed rate=2000")
    await page.get_by_role("button", name="Save").click()
    for window in (page, other):
        await expect(waiting(window).get_by_role("listitem")).to_have_count(2)
        await expect(waiting(window).get_by_role("listitem").last).to_contain_text("changed")
    await page.reload()
    await expect(waiting(page).get_by_role("listitem")).to_have_count(2)
    # Stopping what works pauses what waits behind it, until somebody says so.
    await box(page).press("Escape")
    await waiting(page).get_by_role("button", name="Go on").click()
    await is_done(page, 2)
    answered = log(page).locator(".user-message", has=page.locator(".way[data-step=done]"))
    texts = [text.split("\n")[0] for text in await answered.all_inner_texts()]
    assert texts == ["first rate=2000", "changed rate=2000"]
