"""What whoever runs the server sees and does: usage over time, standing permissions, bridges, sessions to import."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.browser.fixtures import browser_fixture
from tests.browser.stage import Stage, begin, box, is_done, key, log, prompt, send
from tests.browser.test_for_everyone import PHONE, serious
from tests.support.server_process import server_process
from tests.support.session_files import SessionFile

ASKED = "Run rm -r build/1?"


@browser_fixture()
async def claude_stage(tmp_path: Path, browser: Browser) -> AsyncIterator[Stage]:
    """A server whose bridge has Claude Code too, not logged in, with two sessions of a terminal in its folder."""
    config = tmp_path / "claude"
    work = tmp_path / "work"
    work.mkdir()
    for session_id, word in (
        ("abcdef01-2222-4333-8444-555555555555", "walnut"),
        ("abcdef01-2222-4333-8444-666666666666", "acorn"),
    ):
        session = SessionFile(config, work, session_id)
        session.person(f"The secret word is {word}")
        session.claude({"type": "text", "text": f"I will remember {word}."})
    environment = {
        "BATON_AGENTS": "demo,claude",
        "BATON_WORKSPACE": str(work),
        "CLAUDE_CONFIG_DIR": str(config),
        "HOME": str(tmp_path),
        "ANTHROPIC_API_KEY": "",
    }
    async with server_process(tmp_path / "data", **environment) as server:
        made = Stage(server, browser)
        yield made
        await made.close()


async def view(page: Page, name: str) -> None:
    """Go there by the menu, as people do."""
    await page.get_by_role("button", name="Settings and views").click()
    await page.get_by_role("menuitem", name=name).click()
    await expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()


def chart(page: Page, title: str) -> Locator:
    """One chart."""
    return page.get_by_role("figure", name=title, exact=True)


# --- usage ---------------------------------------------------------------------------------------------------------


async def test_a_server_without_runs_says_so_instead_of_drawing_nothing(page: Page) -> None:
    await view(page, "Health and usage")
    await expect(page.get_by_role("region", name="Health")).to_contain_text("All well")
    for title, words in (
        ("Runs", "No run ended in this time."),
        ("Questions", "No question was decided in this time."),
        ("Tokens", "No tokens were used in this time."),
        ("Time until people answered", "Nobody was asked in this time."),
    ):
        await expect(chart(page, title)).to_contain_text(words)


async def test_usage_is_shown_over_time_as_a_chart_and_as_a_table(page: Page) -> None:
    await begin(page, "/demo ask rate=2000")
    await key(prompt(page, ASKED), "1")
    await is_done(page)
    await send(page, "/demo fail rate=2000")
    await expect(log(page)).to_contain_text("The demo agent failed")
    await view(page, "Health and usage")
    for span in ("24 hours", "7 days", "30 days"):
        await page.get_by_role("button", name=span).click()
        await expect(page.get_by_role("button", name=span)).to_have_attribute("aria-pressed", "true")
        await expect(chart(page, "Runs")).to_contain_text("2 runs")
        await expect(chart(page, "Runs").get_by_role("listitem").filter(has_text="Failed")).to_contain_text("1")
        await expect(chart(page, "Questions")).to_contain_text("1 question")
        await expect(chart(page, "Time until people answered")).to_contain_text("1 answer")
    await chart(page, "Runs").get_by_text("As a table").click()
    table = chart(page, "Runs").get_by_role("table")
    await expect(table.get_by_role("columnheader")).to_have_text(["When", "Completed", "Stopped", "Failed"])
    await expect(table.get_by_role("row").last.get_by_role("cell")).to_have_text(["1", "0", "1"])
    assert await serious(page) == []


async def test_a_chart_tells_the_numbers_of_where_one_points(page: Page) -> None:
    await begin(page, "Hello rate=2000")
    await is_done(page)
    await view(page, "Health and usage")
    area = chart(page, "Runs").locator(".plot-area")
    bounds = await area.bounding_box()
    assert bounds is not None
    await page.mouse.move(bounds["x"] + bounds["width"] - 3, bounds["y"] + 20)
    await expect(chart(page, "Runs").get_by_role("listitem").filter(has_text="Completed")).to_contain_text("1")
    await page.mouse.move(bounds["x"] + 3, bounds["y"] + 20)
    await expect(chart(page, "Runs").get_by_role("listitem").filter(has_text="Completed")).to_contain_text("0")


# --- permissions ---------------------------------------------------------------------------------------------------


async def test_a_permission_given_by_hand_counts_at_once_until_it_is_revoked(page: Page) -> None:
    await view(page, "Permissions")
    standing = page.get_by_role("region", name="Standing permissions").first
    await expect(standing).to_contain_text("None. They are given here")
    await page.get_by_role("button", name="Allow or deny a tool").click()
    form = page.get_by_role("dialog", name="Allow or deny a tool")
    await form.get_by_label("Tool", exact=True).fill("Bash")
    await form.get_by_label("Only for").fill("rm:*")
    await form.get_by_role("button", name="Allow from now on").click()
    await expect(form).to_be_hidden()
    await expect(standing.get_by_role("row").last).to_contain_text("rm:*")
    await expect(standing.get_by_role("row").last).to_contain_text("everywhere")
    await page.get_by_role("link", name="New chat").first.click()
    await begin(page, "/demo ask rate=2000")
    await is_done(page)
    await view(page, "Permissions")
    await expect(page.get_by_role("region", name="Decisions").first).to_contain_text("allowed")
    await standing.get_by_role("button", name="Revoke").click()
    await expect(standing).to_contain_text("None. They are given here")
    await page.go_back()
    await expect(box(page)).to_be_visible()
    await send(page, "/demo ask rate=2000")
    await expect(prompt(page, ASKED)).to_be_visible()


async def test_what_is_wrong_with_a_permission_stands_below_its_field(page: Page) -> None:
    await view(page, "Permissions")
    await page.get_by_role("button", name="Allow or deny a tool").click()
    form = page.get_by_role("dialog", name="Allow or deny a tool")
    await form.get_by_role("button", name="Deny", exact=True).click()
    await form.get_by_role("button", name="Deny from now on").click()
    await expect(form.get_by_label("Tool", exact=True)).to_have_accessible_description(re.compile("Name the tool"))
    await form.get_by_label("Tool", exact=True).fill("Write")
    await form.get_by_label("Only for").fill("/etc/*")
    await form.get_by_role("button", name="Deny from now on").click()
    await expect(form.get_by_label("Only for")).to_have_attribute("aria-invalid", "true")
    await form.get_by_label("Only for").fill("")
    await form.get_by_role("button", name="One project").click()
    await form.get_by_role("button", name="Deny from now on").click()
    await expect(form).to_contain_text("Choose a project.")
    await form.get_by_role("button", name="Everywhere").click()
    await form.get_by_role("button", name="Until").click()
    await page.get_by_role("menuitemradio", name="A date and time").click()
    await form.get_by_role("textbox", name="Date and time").fill("2020-01-01T00:00")
    await form.get_by_role("button", name="Deny from now on").click()
    await expect(form).to_contain_text("Must lie ahead")
    assert await serious(page) == []


async def test_a_permission_of_one_conversation_is_listed_with_it_only(page: Page) -> None:
    await begin(page, "Hello rate=2000")
    await is_done(page)
    await view(page, "Permissions")
    await page.get_by_role("button", name="Allow or deny a tool").click()
    form = page.get_by_role("dialog", name="Allow or deny a tool")
    await form.get_by_label("Tool", exact=True).fill("WebFetch")
    await form.get_by_role("button", name="One conversation").click()
    await form.get_by_role("button", name="Conversation: Choose a conversation").click()
    await page.get_by_role("menuitemradio", name="Hello").click()
    await form.get_by_role("button", name="Allow from now on").click()
    standing = page.get_by_role("region", name="Standing permissions").first
    await expect(standing.get_by_role("row").last).to_contain_text("WebFetch")
    await standing.get_by_role("button", name="That reach").click()
    await page.get_by_role("menuitemradio", name="Everywhere and in projects").click()
    await expect(standing).to_contain_text("None. They are given here")


# --- bridges -------------------------------------------------------------------------------------------------------


async def test_the_bridges_tell_their_load_their_agents_and_what_is_missing(claude_stage: Stage) -> None:
    page = await claude_stage.open()
    await page.get_by_role("button", name="Agent").click()
    await page.get_by_role("menuitemradio", name="Demo").click()
    await begin(page, "/demo silent seconds=60")
    await expect(page.get_by_role("button", name="Stop the run")).to_be_visible()
    await view(page, "Bridges")
    card = page.locator(".bridge-card")
    await expect(card).to_contain_text("connected")
    await expect(card.get_by_role("img", name=re.compile("^1 of 5 places taken"))).to_be_visible()
    agents = card.get_by_role("listitem")
    await expect(agents.filter(has_text="Claude Code")).to_contain_text("not available")
    await expect(agents.filter(has_text="Claude Code")).to_contain_text("not logged in")
    await expect(agents.filter(has_text="Claude Code").get_by_role("button", name="Copy the command")).to_be_visible()
    await expect(page.get_by_text(f"baton bridge --backend {claude_stage.server.url}")).to_be_visible()
    assert await serious(page) == []


# --- import --------------------------------------------------------------------------------------------------------


async def test_a_session_of_a_terminal_is_imported_once_and_opened(claude_stage: Stage) -> None:
    page = await claude_stage.open()
    await page.get_by_role("button", name="Import from Claude Code").click()
    dialog = page.get_by_role("dialog", name="Import from Claude Code")
    rows = dialog.get_by_role("list", name="Sessions").get_by_role("listitem")
    await expect(rows).to_have_count(2)
    await expect(dialog.get_by_role("button", name="Import", exact=True)).to_be_disabled()
    walnut = rows.filter(has_text="walnut")
    await walnut.get_by_role("checkbox").check()
    assert await serious(page) == []
    await dialog.get_by_role("button", name="Import", exact=True).click()
    await expect(walnut).to_contain_text("2 messages")
    await expect(walnut.get_by_role("checkbox")).to_be_disabled()
    await walnut.get_by_role("link", name="Open").click()
    await expect(log(page)).to_contain_text("I will remember walnut.")
    await view(page, "Bridges")
    await page.get_by_role("button", name="Import from Claude Code").click()
    for row in (walnut, rows.filter(has_text="acorn")):
        await row.get_by_role("checkbox").check()
    await dialog.get_by_role("button", name="Import 2 sessions").click()
    await expect(walnut).to_contain_text("Was here already")
    await expect(rows.filter(has_text="acorn")).to_contain_text("2 messages")


async def test_an_import_that_cannot_be_says_why(claude_stage: Stage, tmp_path: Path) -> None:
    page = await claude_stage.open()
    await page.get_by_role("button", name="Import from Claude Code").click()
    dialog = page.get_by_role("dialog", name="Import from Claude Code")
    await expect(dialog.get_by_role("checkbox")).to_have_count(2)
    await dialog.get_by_role("checkbox").first.check()
    for path in (tmp_path / "claude").rglob("*.jsonl"):
        path.unlink()
    await dialog.get_by_role("button", name="Import", exact=True).click()
    await expect(dialog.get_by_role("listitem").locator(".problem")).to_be_visible()
    await dialog.get_by_role("button", name="Close").last.click()
    await page.get_by_role("button", name="Import from Claude Code").click()
    await expect(dialog).to_contain_text("No session of Claude Code was kept for this folder.")
    await dialog.get_by_role("button", name="Close").last.click()
    await page.route("**/api/bridges/sessions*", lambda route: route.abort())
    await page.get_by_role("button", name="Import from Claude Code").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("cannot be reached")
    await page.unroute("**/api/bridges/sessions*")
    await dialog.get_by_role("button", name="Try again").click()
    await expect(dialog).to_contain_text("No session of Claude Code was kept for this folder.")


# --- everybody -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_views_fit_a_phone_and_keep_nobody_out(stage: Stage, scheme: Any) -> None:
    page = await stage.open("/", color_scheme=scheme, **PHONE)
    await box(page).fill("/demo ask rate=2000")
    await page.get_by_role("button", name="Send").click()
    await prompt(page, ASKED).get_by_role("button", name="Allow once").click()
    await is_done(page)
    for name, title in (
        ("projects", "Projects"),
        ("bridges", "Bridges"),
        ("permissions", "Permissions"),
        ("usage", "Health and usage"),
    ):
        await page.goto(f"{stage.server.url}/o/{name}")
        await expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
        await expect(
            page.get_by_role("status").filter(has_text=re.compile("^(Asking|Loading|Adding up)$"))
        ).to_have_count(0)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        assert await serious(page) == [], name
