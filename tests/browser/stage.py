"""What a person does with the page, in the words of the tests."""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect
from playwright.async_api import TimeoutError as NotInTime

from tests.support.server_process import ServerProcess

PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)


class Stage:
    """A server and the windows that look at it. Whatever a window complains about is kept."""

    def __init__(self, server: ServerProcess, browser: Browser, *, url: str | None = None) -> None:
        self.server = server
        self.url = url or server.url
        """Where windows go to: the server itself, or what stands before it."""
        self.complaints: list[str] = []
        self._browser = browser
        self._contexts: list[BrowserContext] = []

    async def open(
        self,
        path: str = "/",
        *,
        is_logged_in: bool = True,
        before: Callable[[Page], None] | None = None,
        **options: Any,
    ) -> Page:
        """A window of its own, with cookies of its own. `before`: called with it while it is empty."""
        context = await self._browser.new_context(**options)
        self._contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)
        if before is not None:
            before(page)
        query = f"?token={self.server.token()}" if is_logged_in else ""
        await page.goto(f"{self.url}{path}{query}")
        if is_logged_in:
            await expect(box(page)).to_be_visible()
        return page

    def _listen(self, said: ConsoleMessage) -> None:
        """What the policy of the page (CSP) has refused is said on the console."""
        if "Content Security Policy" in said.text:
            self.complaints.append(said.text)

    async def close(self) -> None:
        """All windows; fails if a script of the page did."""
        for context in self._contexts:
            await context.close()
        assert self.complaints == [], "the page's scripts ran without errors"


def box(page: Page) -> Locator:
    """Where one writes."""
    return page.get_by_role("combobox", name="Message")


async def is_live(page: Page) -> None:
    """Wait until a window of a desktop is connected, which it need not be when one can write: only then it asks so."""
    await expect(page.get_by_role("link", name=re.compile(r"ready$|^No bridge$"))).to_be_visible()


async def send(page: Page, text: str) -> None:
    """Write and press Enter."""
    await box(page).fill(text)
    await box(page).press("Enter")


async def begin(page: Page, text: str) -> str:
    """Send the first message of a new chat; the conversation's address."""
    await send(page, text)
    await page.wait_for_url(re.compile(r"/c/[0-9a-f]{24}"))
    return page.url


def log(page: Page) -> Locator:
    """The messages."""
    return page.get_by_role("log", name="Messages")


def answers(page: Page) -> Locator:
    """What the agent said."""
    return page.get_by_role("article", name="Agent")


def prompt(page: Page, title: str) -> Locator:
    """A question that waits."""
    return page.get_by_role("region", name=title)


async def reconnected(page: Page) -> None:
    """Press `Retry now`, unless the page was back by itself before, and wait until it is live."""
    with suppress(NotInTime):
        await page.get_by_role("button", name="Retry now").click(timeout=3000)
    await expect(page.get_by_text("No connection for")).to_be_hidden()


async def is_done(page: Page, runs: int = 1) -> None:
    """Wait until so many runs have ended: each has a footer."""
    await expect(page.get_by_role("button", name="Copy the answer")).to_have_count(runs)


async def until(page: Page, condition: str) -> None:
    """Wait until a script's condition holds. (The driver's own way needs `eval`, which the page's policy forbids.)"""
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while not await page.evaluate(condition):
            await asyncio.sleep(0.05)


async def key(card: Locator, name: str) -> None:
    """Press a key of a question. A card that has just come takes none, lest one meant for the box answers it."""
    await expect(card).to_be_visible()
    await card.page.wait_for_timeout(600)
    await card.press(name)
