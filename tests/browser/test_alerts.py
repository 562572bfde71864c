"""A hidden page calls: by its title always, by a notification and a sound where somebody asked for them."""

import re

from playwright.async_api import Page, expect

from tests.browser.fixtures import browser_fixture
from tests.browser.stage import Stage, begin, is_done, key, prompt, until

# What the browser would show and play is kept instead, and the page is hidden when the test says so.
STUBS = """
window.notes = [];
window.sounds = 0;
window.Notification = class {
  static permission = "default";
  static async requestPermission() { return (this.permission = "granted"); }
  constructor(title, options) { this.told = { title, ...options }; window.notes.push(this); }
  close() { this.isClosed = true; }
};
const Real = window.AudioContext;
window.AudioContext = class extends Real { constructor() { super(); window.sounds += 1; } };
let isHidden = false;
Object.defineProperty(document, "hidden", { get: () => isHidden });
Object.defineProperty(document, "visibilityState", { get: () => (isHidden ? "hidden" : "visible") });
window.setHidden = (value) => {
  isHidden = value;
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
};
"""
# Slow enough to hide the page before the question comes.
ASK = "/demo ask rate=6"
TITLE = "Run rm -r build/1?"


@browser_fixture()
async def page(stage: Stage) -> Page:
    opened = await stage.open()
    await opened.context.add_init_script(STUBS)
    await opened.reload()
    return opened


async def choose(page: Page, setting: str) -> None:
    """In the settings at the foot of the list."""
    await page.get_by_role("button", name="Settings and views").click()
    await page.get_by_role("menuitem", name=setting).click()


async def test_a_hidden_page_calls_by_notification_sound_and_title(stage: Stage, page: Page) -> None:
    await choose(page, "Notify me when an agent asks")
    await choose(page, "Sound when an agent asks")
    asked = await begin(page, ASK)
    await page.get_by_role("link", name="New chat").click()
    await page.evaluate("setHidden(true)")
    await until(page, "notes.length === 1 && sounds === 1")
    told = await page.evaluate("notes[0].told")
    assert (told["title"], told["body"]) == ("Baton: an agent asks", TITLE)
    await expect(page).to_have_title("(1) Baton")
    # A click on it leads to the question.
    await page.evaluate("setHidden(false); notes[0].onclick()")
    await page.wait_for_url(asked)
    await key(prompt(page, TITLE), "1")
    await is_done(page)
    await expect(page).to_have_title(re.compile(r"^/demo ask"))


async def test_without_the_settings_only_the_title_tells(page: Page) -> None:
    await begin(page, ASK)
    await page.evaluate("setHidden(true)")
    await expect(page).to_have_title(re.compile(r"^\(1\) "))
    assert await page.evaluate("[notes.length, sounds]") == [0, 0]


async def test_a_page_that_is_looked_at_does_not_call(page: Page) -> None:
    await choose(page, "Notify me when an agent asks")
    await choose(page, "Sound when an agent asks")
    await begin(page, ASK)
    await expect(prompt(page, TITLE)).to_be_visible()
    assert await page.evaluate("[notes.length, sounds]") == [0, 0]


async def test_the_settings_outlive_a_reload_and_can_be_taken_back(page: Page) -> None:
    await choose(page, "Notify me when an agent asks")
    await choose(page, "Sound when an agent asks")
    await page.reload()
    await choose(page, "Turn notifications off")
    await choose(page, "Turn the sound off")
    await begin(page, ASK)
    await page.evaluate("setHidden(true)")
    await expect(page).to_have_title(re.compile(r"^\(1\) "))
    assert await page.evaluate("[notes.length, sounds]") == [0, 0]


async def test_a_browser_that_allows_no_notifications_is_told_of(page: Page) -> None:
    await page.evaluate("Notification.requestPermission = async () => 'denied'")
    await choose(page, "Notify me when an agent asks")
    await expect(page.get_by_text("does not allow notifications")).to_be_visible()
    await page.get_by_role("button", name="Settings and views").click()
    await expect(page.get_by_role("menuitem", name="Notify me when an agent asks")).to_be_visible()
