"""What an agent asks is answered in the page: by key, with a reason, changed; and gone once somebody has answered."""

from playwright.async_api import Page, expect

from tests.browser.stage import Stage, answers, begin, is_done, key, log, prompt


async def test_a_permission_is_given_by_a_number_key(page: Page) -> None:
    await begin(page, "/demo ask rate=2000")
    card = prompt(page, "Run rm -r build/1?")
    await expect(card).to_be_visible()
    await expect(card).to_contain_text("High risk")
    await key(card, "1")
    await is_done(page)
    await expect(log(page)).to_contain_text("Allowed once by admin")


async def test_a_permission_is_denied_with_a_reason_that_the_agent_reads(page: Page) -> None:
    await begin(page, "/demo ask rate=2000")
    await expect(prompt(page, "Run rm -r build/1?")).to_be_visible()
    await key(prompt(page, "Run rm -r build/1?"), "d")
    await page.get_by_role("textbox", name="Why not, and what instead").fill("Keep the folder")
    await page.get_by_role("textbox", name="Why not, and what instead").press("Enter")
    await is_done(page)
    await expect(log(page)).to_contain_text("Denied by admin")
    await expect(log(page)).to_contain_text("Keep the folder")


async def test_a_command_is_changed_before_it_is_allowed(page: Page) -> None:
    await begin(page, "/demo ask rate=2000")
    await key(prompt(page, "Run rm -r build/1?"), "e")
    await page.get_by_role("textbox", name="Command").fill("ls build")
    await page.get_by_role("button", name="Allow this once").click()
    await is_done(page)
    await expect(answers(page).last).to_contain_text("ls build")


async def test_what_another_window_answered_vanishes_with_who(stage: Stage, page: Page) -> None:
    url = await begin(page, "/demo ask rate=2000")
    other = await stage.open(url.removeprefix(stage.server.url))
    await expect(prompt(page, "Run rm -r build/1?")).to_be_visible()
    await prompt(other, "Run rm -r build/1?").get_by_role("button", name="Allow once").click()
    await expect(prompt(page, "Run rm -r build/1?")).to_be_hidden()
    await expect(log(page)).to_contain_text("Allowed once by admin")


async def test_the_tray_and_the_title_tell_of_questions_elsewhere(stage: Stage, page: Page) -> None:
    await begin(page, "/demo ask rate=2000")
    await expect(page.get_by_role("region", name="Questions that wait")).to_contain_text("1 question for you")
    other = await stage.open("/")
    await expect(other).to_have_title("(1) Baton")
    await other.get_by_role("region", name="Questions that wait").get_by_role("link").click()
    await expect(prompt(other, "Run rm -r build/1?")).to_be_visible()


async def test_a_plan_is_changed_and_carried_out(page: Page) -> None:
    await begin(page, "/demo plan rate=2000")
    card = prompt(page, "Go on with this plan?")
    await expect(card.get_by_role("listitem")).to_have_count(3)
    await key(card, "e")
    await page.get_by_role("textbox", name="Plan, as Markdown").fill("1. Only look")
    await page.get_by_role("button", name="Send the changed plan").click()
    await is_done(page)
    await expect(log(page)).to_contain_text("Changed by admin")


async def test_questions_are_answered_as_a_form(page: Page) -> None:
    await begin(page, "/demo question rate=2000")
    card = prompt(page, "Three questions")
    await expect(card.get_by_role("button", name="Answer")).to_be_disabled()
    await card.get_by_role("radio").first.check()
    await card.get_by_role("checkbox").nth(0).check()
    await card.get_by_role("checkbox").nth(1).check()
    await card.get_by_role("textbox").last.fill("Ada")
    await card.get_by_role("button", name="Answer").click()
    await is_done(page)
    await expect(log(page)).to_contain_text("Ada")
