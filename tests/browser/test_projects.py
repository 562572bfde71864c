"""Projects are managed in the page, conversations move between them, and what was put away comes back."""

import re
from typing import Any

from playwright.async_api import Locator, Page, expect

from tests.browser.stage import Stage, begin, is_done


async def stored(stage: Stage, page: Page, conversation_id: str) -> Any:
    """The conversation, as the server tells it to whoever asks."""
    headers = {"Authorization": f"Bearer {stage.server.token()}"}
    answer = await page.request.get(f"{stage.server.url}/api/chat/conversations/{conversation_id}", headers=headers)
    return (await answer.json())["conversation"]


async def make_project(page: Page, name: str, folder: str = "") -> None:
    """By the dialog that `New project` opens."""
    await page.get_by_role("button", name="New project").click()
    dialog = page.get_by_role("dialog", name="New project")
    await dialog.get_by_label("Name").fill(name)
    await dialog.get_by_label("Folder").fill(folder)
    await dialog.get_by_role("button", name="Create").click()
    await expect(dialog).to_be_hidden()


def group(page: Page, name: str) -> Locator:
    """One project of the list, with its conversations."""
    return page.locator(".group").filter(has=page.get_by_role("heading", name=name))


def card(page: Page, name: str) -> Locator:
    """One project of the view of projects."""
    return page.get_by_role("region", name=name, exact=True)


async def choose(page: Page, button: str, *items: str) -> None:
    """Open a menu and go through it."""
    await page.get_by_role("button", name=button).first.click()
    for item in items:
        await page.get_by_role("menuitem", name=item).or_(page.get_by_role("menuitemradio", name=item)).click()


async def begun(page: Page, text: str) -> str:
    """A conversation whose first run is done; its id."""
    url = await begin(page, f"{text} rate=2000")
    await is_done(page)
    return url.rpartition("/")[2]


async def test_a_project_is_made_changed_and_deleted_and_every_window_shows_it(stage: Stage, page: Page) -> None:
    other = await stage.open("/")
    await page.goto(f"{stage.server.url}/o/projects")
    await expect(page.get_by_text("No projects yet.")).to_be_visible()
    await make_project(page, "Garden", "/srv/garden")
    await expect(card(page, "Garden")).to_contain_text("/srv/garden")
    await expect(group(other, "Garden")).to_be_visible()
    await choose(page, "Actions for the project Garden", "Name and folder")
    dialog = page.get_by_role("dialog", name="Edit the project")
    await dialog.get_by_label("Name").fill("")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_label("Name")).to_have_accessible_description("Give it a name.")
    await dialog.get_by_label("Name").fill("Park")
    await dialog.get_by_label("Folder").fill("")
    await dialog.get_by_role("button", name="Save").click()
    await expect(card(page, "Park")).to_contain_text("No folder of its own")
    await expect(group(other, "Park")).to_be_visible()
    await choose(page, "Actions for the project Park", "Delete")
    dialog = page.get_by_role("dialog", name="Delete the project Park?")
    await expect(dialog).to_contain_text("Its conversations stay")
    await dialog.get_by_role("button", name="Keep it").click()
    await choose(page, "Actions for the project Park", "Delete")
    await dialog.get_by_role("button", name="Delete the project").click()
    await expect(page.get_by_text("No projects yet.")).to_be_visible()
    await expect(group(other, "Park")).to_be_hidden()


async def test_a_conversation_moves_into_a_project_and_back_in_every_window(stage: Stage, page: Page) -> None:
    conversation_id = await begun(page, "Hello")
    other = await stage.open("/")
    await page.get_by_role("link", name="New chat").first.click()
    await make_project(page, "Garden")
    await page.goto(f"{stage.server.url}/c/{conversation_id}")
    await choose(page, "Actions for Hello", "Move to project", "Garden")
    for window in (page, other):
        await expect(group(window, "Garden").get_by_role("link", name="Hello")).to_be_visible()
    assert (await stored(stage, page, conversation_id))["projectId"] is not None
    await page.get_by_role("button", name="Undo").click()
    for window in (page, other):
        await expect(group(window, "No project").get_by_role("link", name="Hello")).to_be_visible()
    assert (await stored(stage, page, conversation_id))["projectId"] is None


async def test_the_conversations_of_a_deleted_project_stay_without_one(stage: Stage, page: Page) -> None:
    await make_project(page, "Garden")
    conversation_id = await begun(page, "Hello")
    await expect(group(page, "Garden").get_by_role("link", name="Hello")).to_be_visible()
    await choose(page, "Actions for the project Garden", "Delete")
    await page.get_by_role("button", name="Delete the project").click()
    await expect(group(page, "Garden")).to_be_hidden()
    await page.reload()
    await expect(page.get_by_role("link", name="Hello")).to_be_visible()
    assert (await stored(stage, page, conversation_id))["status"] == "active"


async def test_a_new_chat_of_a_project_works_in_its_folder(stage: Stage, page: Page) -> None:
    folder = str(stage.server.data.parent / "src")
    await make_project(page, "Relay", folder)
    await expect(page.get_by_role("heading", name="What should be done in Relay?")).to_be_visible()
    conversation = await stored(stage, page, await begun(page, "Hello"))
    assert (conversation["workingDirectory"], conversation["projectId"] is None) == (folder, False)


async def test_an_archived_conversation_comes_back_by_undo_and_from_the_archive(stage: Stage, page: Page) -> None:
    conversation_id = await begun(page, "Hello")
    other = await stage.open("/")
    hello = page.get_by_role("link", name=re.compile("^Hello"))
    await choose(page, "Actions for Hello", "Archive")
    await expect(other.get_by_role("link", name=re.compile("^Hello"))).to_be_hidden()
    assert (await stored(stage, page, conversation_id))["status"] == "archived"
    await page.get_by_role("button", name="Undo").click()
    await expect(hello).to_be_visible()
    await expect(other.get_by_role("link", name=re.compile("^Hello"))).to_be_visible()
    assert (await stored(stage, page, conversation_id))["status"] == "active"
    await choose(page, "Actions for Hello", "Archive")
    await expect(hello).to_be_hidden()
    await page.get_by_role("button", name="Archived", exact=True).click()
    await choose(page, "Actions for Hello", "Bring back")
    await page.get_by_role("button", name="Back to the active ones").click()
    await expect(hello).to_be_visible()
    assert (await stored(stage, page, conversation_id))["status"] == "active"


async def test_a_deleted_conversation_comes_back_whole_by_undo(stage: Stage, page: Page) -> None:
    conversation_id = await begun(page, "Hello")
    other = await stage.open(f"/c/{conversation_id}")
    await expect(other.get_by_role("article", name="Agent")).to_be_visible()
    await choose(page, "Actions for Hello", "Delete")
    await expect(page.get_by_role("link", name=re.compile("^Hello"))).to_be_hidden()
    assert (await stored(stage, page, conversation_id))["status"] == "deleted"
    await page.get_by_role("button", name="Undo").click()
    await page.get_by_role("link", name=re.compile("^Hello")).click()
    await expect(page.get_by_role("article", name="Agent")).to_be_visible()
    restored = await stored(stage, page, conversation_id)
    assert (restored["status"], restored["title"]) == ("active", "Hello rate=2000")
    await expect(other.get_by_role("link", name=re.compile("^Hello"))).to_be_visible()
