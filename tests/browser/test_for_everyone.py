"""Phones, keyboards, screen readers, hostile text, and those who are not logged in."""

from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.accessibility import serious
from tests.browser.stage import Stage, answers, begin, box, is_done, key, log, prompt

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_serious_keeps_people_out(stage: Stage, scheme: Any) -> None:
    login = await stage.open("/", is_logged_in=False, color_scheme=scheme)
    await expect(login.get_by_label("Token")).to_be_visible()
    assert await serious(login) == [], "login"
    page = await stage.open("/", color_scheme=scheme)
    assert await serious(page) == [], "new chat"
    await begin(page, "/demo markdown words=120 rate=5000")
    await is_done(page)
    assert await serious(page) == [], "thread"
    for scenario, title in (
        ("ask", "Run rm -r build/1?"),
        ("plan", "Go on with this plan?"),
        ("question", "Three questions"),
    ):
        await page.goto(f"{stage.server.url}/")
        await begin(page, f"/demo {scenario} rate=5000")
        await expect(prompt(page, title)).to_be_visible()
        assert await serious(page) == [], scenario
    for view in ("bridges", "permissions", "usage"):
        await page.goto(f"{stage.server.url}/o/{view}")
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert await serious(page) == [], view


async def test_somebody_with_a_keyboard_alone_asks_answers_and_stops(page: Page) -> None:
    await expect(box(page)).to_be_focused()
    await page.keyboard.type("/demo ask rate=2000")
    await page.keyboard.press("Enter")
    await expect(prompt(page, "Run rm -r build/1?")).to_be_focused()
    await key(prompt(page, "Run rm -r build/1?"), "1")
    await is_done(page)
    await page.keyboard.press("/")
    await expect(box(page)).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await expect(page.get_by_role("button", name="Permission mode: Accept edits")).to_be_visible()
    await page.keyboard.type("/demo silent seconds=60")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Stop the run")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Stop the run")).to_be_hidden()
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()


async def test_on_a_phone_nothing_is_wider_than_the_screen(stage: Stage) -> None:
    page = await stage.open("/", **PHONE)
    await box(page).fill("/demo markdown words=120 rate=5000")
    await page.get_by_role("button", name="Send").click()
    await is_done(page)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.get_by_role("button", name="Show the list").click()
    await expect(page.get_by_role("link", name="/demo markdown")).to_be_visible()
    await page.get_by_role("link", name="New chat").click()
    await expect(page.get_by_role("link", name="/demo markdown")).to_be_hidden()


async def test_what_looks_like_markup_is_text(stage: Stage, page: Page) -> None:
    text = '<img src=x onerror="alert(1)"> [link](javascript:alert(2)) <script>alert(3)</script> \u202etxt.exe'
    page.on("dialog", lambda dialog: stage.complaints.append(dialog.message))
    await begin(page, text)
    await is_done(page)
    for message in (log(page).get_by_role("article", name="You"), answers(page).first):
        await expect(message).to_contain_text('<img src=x onerror="alert(1)">')
        await expect(message).to_contain_text("[U+202E]txt.exe")
    assert await log(page).locator("img, script, a[href^=javascript]").count() == 0


async def test_megabytes_in_one_line_leave_the_page_usable(page: Page) -> None:
    await begin(page, "/demo huge size_kb=2048 rate=100000")
    await is_done(page)
    await box(page).fill("still here")
    await expect(box(page)).to_have_value("still here")
    await expect(log(page).get_by_role("button", name="Show more").first).to_be_visible()


async def test_without_a_token_there_is_a_login_and_a_wrong_one_is_refused(stage: Stage) -> None:
    page = await stage.open("/c/0123456789abcdef01234567", is_logged_in=False)
    await page.get_by_label("Token").fill("wrong")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).not_to_be_empty()
    await page.get_by_label("Token").fill(stage.server.token())
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_text("There is no such conversation")).to_be_visible()


async def test_dark_and_light_can_be_chosen(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    before = await page.evaluate(ground)
    await page.get_by_role("button", name="Settings and views").click()
    await page.get_by_role("menuitemradio", name="Dark").click()
    assert await page.evaluate(ground) != before
    await page.reload()
    assert await page.evaluate(ground) != before
