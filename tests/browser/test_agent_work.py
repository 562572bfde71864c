"""What an agent does is shown as work: lists, edits, commands, failures, sub-agents; and is the same after a reload."""

import contextlib
import re

from playwright.async_api import Locator, Page, expect

from tests.browser.stage import Stage, answers, begin, box, is_done, log, send


def tool(page: Page, name: str) -> Locator:
    """The cards of that tool, on the thread's own level or within sub-agents."""
    return log(page).get_by_role("region", name=f"Tool {name}", exact=True)


async def shown(page: Page) -> str:
    """All that the thread says, once what loads when it is used has been loaded."""
    await expect(log(page).get_by_text("Loading the changes")).to_be_hidden()
    return re.sub(r"\s+", " ", await log(page).inner_text())


async def test_a_to_do_list_says_what_is_done_and_what_is_at_work(page: Page) -> None:
    await begin(page, "/demo work rate=5000")
    await is_done(page)
    first, last = tool(page, "TodoWrite").first, tool(page, "TodoWrite").last
    await expect(first.get_by_role("listitem")).to_have_count(3)
    await expect(first.get_by_role("img", name="done")).to_have_count(1)
    await expect(first.get_by_role("img", name="at work")).to_have_count(1)
    await expect(first.get_by_role("img", name="open")).to_have_count(1)
    await expect(last.get_by_role("img", name="done")).to_have_count(3)


async def test_an_edit_is_a_diff_and_a_command_that_failed_is_open_with_its_output(page: Page) -> None:
    await begin(page, "/demo work rate=5000")
    await is_done(page)
    edit = tool(page, "Edit")
    await expect(edit.get_by_text("return baton")).to_be_visible()
    await expect(edit.locator(".tool-state")).to_contain_text("done")
    failed = tool(page, "Bash")
    await expect(failed).to_have_attribute("data-status", "failed")
    await expect(failed.locator(".tool-state")).to_contain_text(re.compile(r"failed .*\d"))
    await expect(failed.get_by_label("Output")).to_contain_text("Error 1")
    read = tool(page, "Read")
    await expect(read.get_by_text("def pass_on")).to_be_hidden()
    await opened(read.get_by_role("button", name="Read"))
    await expect(read.get_by_text("def pass_on")).to_be_visible()


async def opened(button: Locator) -> None:
    """Press until it is open: a press is lost where the list draws the row anew because it has just come into sight."""
    for _ in range(5):
        await button.click()
        with contextlib.suppress(AssertionError):
            await expect(button).to_have_attribute("aria-expanded", "true", timeout=3000)
            return


async def test_sub_agents_stand_within_the_call_that_started_them(page: Page) -> None:
    await begin(page, "/demo work rate=5000")
    await is_done(page)
    agents = tool(page, "Task")
    await expect(agents).to_have_count(2)
    for at in range(2):
        nested = agents.nth(at).get_by_role("group", name="Sub-agent")
        await expect(agents.nth(at)).to_contain_text(
            re.compile("say what you find.*I am a sub-agent.*Nothing was found")
        )
        await expect(nested.get_by_role("region", name="Tool Grep")).to_have_count(1)
        await expect(nested).to_contain_text("I am a sub-agent")
    # Nothing of theirs stands on the thread's own level, and the run has one footer.
    await expect(log(page).get_by_text("I am a sub-agent")).to_have_count(2)
    await expect(page.get_by_role("button", name="Copy the answer")).to_have_count(1)
    await agents.first.get_by_role("button", name="Task").click()
    await expect(agents.first.get_by_role("group", name="Sub-agent")).to_be_hidden()


async def test_a_tool_shows_its_output_while_it_runs_and_how_long_it_took(page: Page) -> None:
    await begin(page, "/demo tool steps=40 seconds=8 rate=2000")
    running = tool(page, "Bash")
    await expect(running.get_by_label("Output so far")).to_contain_text("step 2 of 40")
    await expect(running.locator(".tool-state")).to_contain_text("running")
    await is_done(page)
    await expect(running.locator(".tool-state")).to_contain_text(re.compile(r"done.*\d"))


async def test_work_looks_the_same_after_a_reload_and_in_another_window(stage: Stage) -> None:
    tall = {"width": 1200, "height": 4000}  # all of it, so that nothing is left out as out of sight
    page = await stage.open("/", viewport=tall)
    url = await begin(page, "/demo work rate=5000")
    await is_done(page)
    await expect(log(page).locator(".run-footer")).to_contain_text(re.compile(r"demo-script.*in, .*out"))
    before = await shown(page)
    assert "this is what work looks like" in before
    other = await stage.open(url.removeprefix(stage.server.url), viewport=tall)
    await is_done(other)
    await page.reload()
    await is_done(page)
    assert await shown(page) == before
    assert await shown(other) == before


async def test_the_footer_of_an_older_page_is_the_runs_own(stage: Stage, page: Page) -> None:
    """More runs than a snapshot holds: the first one's facts come with its page of history."""
    await begin(page, "Number 0 rate=100000")
    await is_done(page)
    for number in range(1, 60):
        await send(page, f"Number {number} rate=100000")
    await expect(page.get_by_role("region", name="Waiting messages")).to_be_hidden()
    await expect(log(page).get_by_text("Number 59 rate=100000", exact=True)).to_be_visible()
    await page.reload()
    await expect(log(page).get_by_text("Number 59 rate=100000", exact=True)).to_be_visible()
    first = log(page).get_by_text("Number 0 rate=100000", exact=True)
    for _ in range(60):
        if await first.count():
            break
        await log(page).hover()
        await page.mouse.wheel(0, -4000)
        await page.wait_for_timeout(100)
    await expect(first).to_be_visible()
    await expect(answers(page).first.locator(".run-footer")).to_contain_text("demo-script")


async def test_who_comes_to_a_run_that_works_sees_its_list_its_notices_and_its_tokens(stage: Stage, page: Page) -> None:
    url = await begin(page, "/demo notice rate=2")
    working = page.locator(".working")
    for window in (page, await stage.open(url.removeprefix(stage.server.url))):
        seen = window.locator(".working")
        await expect(seen.get_by_role("listitem")).to_have_count(3)
        await expect(seen.get_by_role("img", name="done")).to_have_count(1)
        await expect(seen.locator(".agent-notice")).to_have_count(3)
    await page.reload()
    await expect(working.get_by_role("listitem")).to_have_count(3)
    await expect(working.locator(".agent-notice").last).to_have_text("Demo agent: a notice of the level error.")


async def test_what_was_read_in_one_window_is_new_in_no_other(stage: Stage, page: Page) -> None:
    other = await stage.open("/")
    await begin(page, "Said while elsewhere rate=2000")
    await is_done(page)
    entry = other.get_by_role("link", name="Said while elsewhere")
    await expect(entry).to_be_visible()
    await expect(entry.get_by_text("New")).to_be_hidden()
    # A run that ends while nobody looks is new in both, until somebody does.
    await send(page, "/demo silent seconds=3 rate=2000")
    await expect(page.get_by_role("button", name="Stop the run")).to_be_visible()
    await page.get_by_role("link", name="New chat").first.click()
    await expect(entry.get_by_text("New")).to_be_visible()
    await expect(page.get_by_role("link", name="Said while elsewhere").get_by_text("New")).to_be_visible()
    await other.reload()
    await expect(entry.get_by_text("New")).to_be_visible()
    await page.get_by_role("link", name="Said while elsewhere").click()
    await expect(box(page)).to_be_visible()
    await expect(entry.get_by_text("New")).to_be_hidden()
    await other.reload()
    await expect(entry).to_be_visible()
    await expect(entry.get_by_text("New")).to_be_hidden()
