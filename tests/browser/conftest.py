"""A real server, a real browser: Debian's Chromium, driven by Playwright for Python."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from baton.web.page import find_built_page
from tests.browser.fixtures import browser_fixture
from tests.browser.stage import Stage
from tests.support.server_process import server_process

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# No sandbox: tests run as root in containers. Nothing is fetched beside what a test asks for.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a browser or a page these tests say so, and fail only where CI promises both."""
    missing = "no Chromium is installed" if CHROMIUM is None else "`make ui` has built no page"
    can_run = (CHROMIUM is not None and find_built_page() is not None) or "CI" in os.environ
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            if not can_run:
                item.add_marker(pytest.mark.skip(reason=missing))


@browser_fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A browser, started once: each window has an empty profile of its own."""
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield opened
        await opened.close()


@browser_fixture()
async def stage(tmp_path: Path, browser: Browser) -> AsyncIterator[Stage]:
    """A server with the demo agent in a folder with some files, and somebody who is logged in."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "relay.py").write_text("def pass_on(baton): ...\n")
    async with server_process(tmp_path) as server:
        made = Stage(server, browser)
        yield made
        await made.close()


@browser_fixture()
async def page(stage: Stage) -> Page:
    """The page, on a new chat."""
    return await stage.open()
