"""Sending and streaming, through reloads, restarts and lost connections; two windows show the same."""

import re

from playwright.async_api import Page, expect

from tests.browser.stage import Stage, answers, begin, box, is_done, log, reconnected, send


async def test_a_message_is_answered_word_by_word(stage: Stage, page: Page) -> None:
    await begin(page, "/demo slow words=30 rate=20")
    await expect(answers(page)).to_contain_text(re.compile(r"\w+"))
    early = await answers(page).first.inner_text()
    await is_done(page)
    assert len(await answers(page).first.inner_text()) > len(early)


async def test_markdown_is_shown_as_headings_tables_and_code(page: Page) -> None:
    await begin(page, "/demo markdown words=120 rate=2000")
    await is_done(page)
    await expect(log(page).get_by_role("table").first).to_be_visible()
    await expect(log(page).locator("figure.code .hljs-keyword").first).to_have_text("def")


async def test_a_tool_call_is_a_card_with_its_output(page: Page) -> None:
    await begin(page, "/demo tool rate=2000")
    await is_done(page)
    tool = log(page).get_by_role("region", name="Tool Bash")
    await tool.get_by_role("button", name="Bash").click()
    await expect(tool.get_by_label("Output")).to_be_visible()


async def test_a_reload_in_the_middle_loses_nothing(stage: Stage, page: Page) -> None:
    await begin(page, "/demo slow words=60 rate=20")
    await expect(answers(page)).to_contain_text(re.compile(r"\w+ \w+"))
    await page.reload()
    await is_done(page)
    assert await answers(page).count() == 1


async def test_two_windows_show_the_same(stage: Stage, page: Page) -> None:
    url = await begin(page, "/demo slow words=40 rate=20")
    other = await stage.open(url.removeprefix(stage.server.url))
    await is_done(page)
    await is_done(other)
    assert await answers(page).first.inner_text() == await answers(other).first.inner_text()
    await send(other, "From the other window rate=500")
    await expect(log(page)).to_contain_text("From the other window")


async def test_a_server_that_is_killed_and_comes_back_is_told_and_forgotten(stage: Stage, page: Page) -> None:
    await begin(page, "/demo slow words=200 rate=20")
    await expect(answers(page)).to_contain_text(re.compile(r"\w+ \w+"))
    shown = await answers(page).first.locator(".prose").inner_text()
    await stage.server.kill()
    await expect(page.get_by_text("No connection for")).to_be_visible()
    await expect(page.get_by_role("button", name="Retry now")).to_be_visible()
    await stage.server.start()
    await reconnected(page)
    # The bridge lived in that process: the run has failed, says why, and can be tried again; what was shown stays.
    await expect(page.get_by_role("button", name="Retry")).to_be_visible()
    assert (await answers(page).first.locator(".prose").inner_text()).startswith(shown)


async def test_what_is_sent_offline_is_kept_and_sent_later(stage: Stage, page: Page) -> None:
    await begin(page, "Hello rate=2000")
    await is_done(page)
    await stage.server.kill()
    await expect(page.get_by_text("No connection for")).to_be_visible()
    await send(page, "Said without a server rate=2000")
    await expect(page.get_by_text("Kept here until there is a connection")).to_be_visible()
    await stage.server.start()
    await reconnected(page)
    await is_done(page, 2)
    await expect(log(page).get_by_text("Said without a server rate=2000", exact=True)).to_have_count(1)


async def test_a_run_is_stopped_by_escape_and_can_be_tried_again(page: Page) -> None:
    await begin(page, "/demo slow words=500 rate=20")
    await expect(answers(page)).to_contain_text(re.compile(r"\w+ \w+"))
    await box(page).press("Escape")
    await expect(log(page).get_by_text("Stopped here.")).to_be_visible()
    await expect(log(page).get_by_role("button", name="Retry")).to_be_visible()


async def test_a_run_that_failed_says_why_also_after_a_reload(page: Page) -> None:
    await begin(page, "/demo fail rate=2000")
    await expect(log(page).get_by_role("article", name="You")).to_contain_text("The demo agent failed")
    await page.reload()
    await expect(log(page).get_by_role("article", name="You")).to_contain_text("The demo agent failed")
    await log(page).get_by_role("button", name="Retry").click()
    await expect(log(page).get_by_role("article", name="Agent")).to_have_count(2)


async def test_messages_that_wait_are_changed_moved_and_removed(page: Page) -> None:
    await begin(page, "/demo silent seconds=60")
    await expect(page.get_by_role("button", name="Stop the run")).to_be_visible()
    for text in ("first", "second", "third"):
        await send(page, text)
        await expect(page.get_by_role("region", name="Waiting messages")).to_contain_text(text)
    queue = page.get_by_role("region", name="Waiting messages").get_by_role("listitem")
    await page.get_by_role("button", name="Earlier: third").click()
    await expect(queue).to_have_text(["first", "third", "second"])
    await page.get_by_role("button", name="Remove: first").click()
    await page.get_by_role("button", name="Edit: second").click()
    await page.get_by_role("textbox", name="Waiting message").fill("changed")
    await page.get_by_role("textbox", name="Waiting message").press("Enter")
    await expect(queue).to_have_text(["third", "changed"])


async def test_an_attachment_is_uploaded_and_named_in_the_message(page: Page) -> None:
    await page.locator("input[type=file]").set_input_files(
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"some notes"}
    )
    await expect(page.get_by_role("list", name="Attachments")).to_contain_text("10 B")
    await begin(page, "See the file rate=2000")
    await is_done(page)
    await expect(log(page).get_by_role("link", name="notes.txt")).to_be_visible()


async def test_a_file_of_the_folder_is_named_with_at(page: Page) -> None:
    await begin(page, "Hello rate=2000")
    await is_done(page)
    await box(page).press_sequentially("see @rel")
    await expect(page.get_by_role("option", name="src/relay.py")).to_be_visible()
    await box(page).press("Enter")
    await expect(box(page)).to_have_value("see @src/relay.py ")


async def test_who_scrolled_up_stays_there_and_is_told_what_is_new(page: Page) -> None:
    await begin(page, "/demo markdown words=1500 rate=100000")
    await is_done(page)
    await send(page, "/demo slow words=60 rate=20")
    await expect(page.get_by_role("button", name="Stop the run")).to_be_visible()
    await log(page).hover()
    await page.mouse.wheel(0, -3000)
    await expect(page.get_by_role("button", name="Jump to latest")).to_be_visible()
    before = await log(page).evaluate("element => element.scrollTop")
    await expect(page.get_by_role("button", name="Stop the run")).to_be_hidden()
    assert await log(page).evaluate("element => element.scrollTop") == before
    await page.get_by_role("button", name="Jump to latest").or_(page.get_by_role("button", name="new message")).click()
    await expect(page.get_by_role("button", name="Jump to latest")).to_be_hidden()


async def test_a_draft_outlives_a_reload(page: Page) -> None:
    await box(page).fill("half a thought")
    await page.reload()
    await expect(box(page)).to_have_value("half a thought")


async def test_a_hit_of_the_search_leads_to_its_message(page: Page) -> None:
    await begin(page, "The word is xylophone rate=2000")
    await is_done(page)
    await page.goto(page.url.split("/c/")[0] + "/")
    await page.get_by_role("searchbox").fill("xylophone")
    hit = page.get_by_role("region", name="Search results").get_by_role("link").first
    await expect(hit.locator("mark").first).to_have_text("xylophone")
    await hit.click()
    await expect(log(page).locator("[data-target=true]")).to_contain_text("xylophone")


async def test_a_conversation_is_renamed_deleted_and_brought_back(page: Page) -> None:
    await begin(page, "Hello rate=2000")
    await is_done(page)
    await page.get_by_role("button", name="Actions for Hello").click()
    await page.get_by_role("menuitem", name="Rename").click()
    await page.get_by_role("textbox", name="Title").fill("Greetings")
    await page.get_by_role("textbox", name="Title").press("Enter")
    await expect(page.get_by_role("heading", name="Greetings")).to_be_visible()
    await page.get_by_role("button", name="Actions for Greetings").click()
    await page.get_by_role("menuitem", name="Delete").click()
    await expect(page.get_by_role("link", name="Greetings")).to_be_hidden()
    await page.get_by_role("button", name="Undo").click()
    await expect(page.get_by_role("link", name="Greetings")).to_be_visible()


async def test_what_stands_in_the_thread_can_be_pressed_while_it_scrolls_with_an_answer(page: Page) -> None:
    await begin(page, "/demo slow words=3000 rate=200")
    await expect(answers(page)).to_contain_text(re.compile(r"(\S+\s+){200}"))
    # For 60 frames: a list that scrolls may not turn the pointer away.
    found = await answers(page).evaluate(
        """(message) => new Promise((resolve) => {
          const seen = new Set();
          let frames = 0;
          const look = () => {
            seen.add(getComputedStyle(message).pointerEvents);
            frames += 1;
            if (frames < 60) requestAnimationFrame(look);
            else resolve([...seen]);
          };
          look();
        })"""
    )
    assert found == ["auto"]
