"""Keyboard alone from end to end, every view on a phone, calm for those who want it, and nothing that jumps about."""

import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.accessibility import serious
from tests.browser.stage import Stage, answers, begin, box, is_done, key, log, prompt, send

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
TITLE = "Run rm -r build/1?"
# Put in before the page's own scripts, so that nothing is missed.
SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  const name = ({ node }) => {
    const element = node instanceof Element ? node : node?.parentElement;
    return element?.closest(".working") ? "working" : (element?.getAttribute("class") ?? "");
  };
  for (const entry of list.getEntries()) {
    if (!entry.hadRecentInput) window.shifts.push([entry.value, entry.sources.map(name)]);
  }
}).observe({ type: "layout-shift", buffered: true });
"""
MOVING = "document.getAnimations().filter((one) => one.playState === 'running').length"


# --- keys --------------------------------------------------------------------------------------------------------


async def tab_to(page: Page, name: str, most: int = 30) -> None:
    """Walk with Tab until what has that name in it is reached."""
    for _ in range(most):
        await page.keyboard.press("Tab")
        focused = await page.evaluate("document.activeElement?.ariaLabel ?? document.activeElement?.textContent ?? ''")
        if name in focused:
            return
    raise AssertionError(f"Tab does not lead to {name!r}")


async def test_the_whole_way_can_be_gone_without_a_mouse(page: Page) -> None:
    await page.keyboard.type("/demo ask rate=2000")
    await page.keyboard.press("Enter")
    await expect(prompt(page, TITLE)).to_be_focused()
    await key(prompt(page, TITLE), "1")
    await is_done(page)
    asked = page.url

    await page.keyboard.press("Alt+n")
    await expect(box(page)).to_be_focused()
    await page.keyboard.type("Another one rate=2000")
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile(r"/c/[0-9a-f]{24}"))
    await is_done(page)
    assert page.url != asked

    await page.keyboard.press("Control+k")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await tab_to(page, "/demo ask")
    await page.keyboard.press("Enter")
    await page.wait_for_url(asked)
    await expect(log(page)).to_contain_text("Allowed once by admin")

    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keyboard")
    await expect(sheet).to_be_visible()
    await expect(sheet).to_contain_text("Next permission mode")
    await page.keyboard.press("Escape")
    await expect(sheet).to_be_hidden()


async def test_menus_open_move_and_close_by_keys(page: Page) -> None:
    await begin(page, "Hello rate=2000")
    await is_done(page)
    await page.keyboard.press("Control+k")
    await tab_to(page, "Actions for Hello")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("textbox", name="Title")).to_be_focused()
    await page.keyboard.type("Greetings")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Greetings")).to_be_visible()


async def test_what_has_the_focus_is_seen(page: Page) -> None:
    await begin(page, "Hello rate=2000")
    await is_done(page)
    await page.keyboard.press("Escape")
    for _ in range(12):
        await page.keyboard.press("Tab")
        seen = await page.evaluate(
            """() => {
              if (document.activeElement === document.body) return true; // behind the last comes the window itself
              const style = getComputedStyle(document.activeElement);
              const parent = document.activeElement.closest(".composer");
              const ring = parent ? getComputedStyle(parent).boxShadow : "none";
              return style.outlineStyle !== "none" || style.boxShadow !== "none" || ring !== "none";
            }"""
        )
        assert seen, await page.evaluate("document.activeElement.outerHTML.slice(0, 200)")


# --- phones ------------------------------------------------------------------------------------------------------


async def fits(page: Page) -> None:
    """Nothing is wider than the screen, and what is pressed is large enough for a finger."""
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url
    small = await page.evaluate(
        """() => [...document.querySelectorAll("button, [role=button], input[type=text]")]
          .filter((one) => one.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
          .filter((one) => !one.closest(".away"))
          .map((one) => [one, one.getBoundingClientRect()])
          .filter(([one, place]) => place.width > 0 && (place.height < 28 || place.width < 24))
          .map(([one]) => one.outerHTML.slice(0, 120))"""
    )
    assert small == [], page.url


async def test_every_view_fits_a_phone(stage: Stage) -> None:
    page = await stage.open("/", **PHONE)
    await fits(page)
    for scenario, shown in (("ask", TITLE), ("plan", "Go on with this plan?"), ("question", "Three questions")):
        await page.goto(stage.url)
        await box(page).fill(f"/demo {scenario} rate=5000")
        await page.get_by_role("button", name="Send").click()
        await expect(prompt(page, shown)).to_be_visible()
        await fits(page)
    await page.get_by_role("button", name="Show the list").click()
    await expect(page.get_by_role("region", name="Questions that wait")).to_contain_text("3 questions for you")
    await fits(page)
    for view in ("bridges", "permissions", "usage"):
        await page.goto(f"{stage.url}/o/{view}")
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await fits(page)


async def test_a_question_is_answered_with_a_finger(stage: Stage) -> None:
    page = await stage.open("/", **PHONE)
    await box(page).fill("/demo ask rate=2000")
    await page.get_by_role("button", name="Send").tap()
    card = prompt(page, TITLE)
    await expect(card).to_be_visible()
    await card.get_by_role("button", name="Deny with a reason").tap()
    await page.get_by_role("textbox", name="Why not, and what instead").fill("Keep it")
    await card.get_by_role("button", name="Deny", exact=True).tap()
    await is_done(page)
    await expect(log(page)).to_contain_text("Denied by admin")


# --- calm --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wish", "moves"), [("reduce", False), ("no-preference", True)])
async def test_nothing_moves_for_those_who_asked_for_less_motion(stage: Stage, wish: Any, moves: bool) -> None:
    page = await stage.open("/", reduced_motion=wish)
    await begin(page, "/demo silent seconds=60")
    await expect(log(page).get_by_role("button", name="Stop")).to_be_visible()
    await expect(log(page).locator(".spin")).to_be_visible()
    assert (await page.evaluate(MOVING) > 0) is moves


async def test_nothing_that_is_read_moves_while_an_answer_comes(stage: Stage, page: Page) -> None:
    await page.context.add_init_script(SHIFTS)
    await begin(page, "Hello rate=2000")
    await is_done(page)
    await page.reload()
    await is_done(page)
    await page.evaluate("window.shifts.length = 0")
    for text in ("/demo markdown words=300 rate=120", "/demo tool rate=200"):
        await send(page, text)
        await expect(page.get_by_role("button", name="Stop the run")).to_be_visible()
        await expect(page.get_by_role("button", name="Stop the run")).to_be_hidden()
    # The line that says what the run does stands below the answer, and makes room for it.
    moved = [(value, names) for value, names in await page.evaluate("window.shifts") if set(names) != {"working"}]
    assert sum(value for value, _ in moved) < 0.01, moved


# --- what a checker finds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_serious_keeps_people_out_of_what_opens(stage: Stage, scheme: Any) -> None:
    page = await stage.open("/", color_scheme=scheme)
    await begin(page, "/demo fail rate=5000")
    await expect(log(page).get_by_role("button", name="Retry")).to_be_visible()
    assert await serious(page) == [], "failed run"
    await page.get_by_role("searchbox").fill("fail")
    await expect(page.get_by_role("region", name="Search results").get_by_role("link").first).to_be_visible()
    assert await serious(page) == [], "search"
    await page.get_by_role("searchbox").fill("")
    await page.get_by_role("button", name="Actions for /demo fail").click()
    assert await serious(page) == [], "menu of a conversation"
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Settings and views").click()
    assert await serious(page) == [], "settings"
    await page.get_by_role("menuitem", name="Keyboard").click()
    await expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    assert await serious(page) == [], "shortcuts"
    await page.goto(f"{stage.url}/c/0123456789abcdef01234567")
    await expect(page.get_by_role("alert")).to_be_visible()
    assert await serious(page) == [], "no such conversation"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_serious_keeps_people_out_while_an_agent_works(stage: Stage, scheme: Any) -> None:
    page = await stage.open("/", color_scheme=scheme)
    await begin(page, "/demo slow words=2000 rate=20")
    await expect(answers(page)).to_contain_text(re.compile(r"\w+ \w+"))
    assert await serious(page) == [], "streaming"
    await send(page, "Afterwards this")
    await expect(page.get_by_role("region", name="Waiting messages")).to_contain_text("Afterwards this")
    assert await serious(page) == [], "queue"
    await page.goto(stage.url)
    await begin(page, "/demo notice rate=5000")
    await is_done(page)
    assert await serious(page) == [], "notices"
    await stage.server.kill()
    await expect(page.get_by_text("No connection for")).to_be_visible()
    assert await serious(page) == [], "no connection"


async def test_nothing_serious_keeps_people_out_on_a_phone(stage: Stage) -> None:
    page = await stage.open("/", **PHONE)
    assert await serious(page) == [], "new chat"
    await box(page).fill("/demo ask rate=5000")
    await page.get_by_role("button", name="Send").tap()
    await expect(prompt(page, TITLE)).to_be_visible()
    assert await serious(page) == [], "question"
    await page.get_by_role("button", name="Show the list").tap()
    await expect(page.get_by_role("navigation", name="Conversations")).to_be_visible()
    assert await serious(page) == [], "list"
