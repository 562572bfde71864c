"""Tokens in the page: admins make and revoke them, their text is shown once, and users do not see the view."""

import re

from playwright.async_api import Page, expect

from tests.browser.stage import Stage, box
from tests.browser.test_for_everyone import serious


async def made(page: Page, name: str, *, same_user: bool = False) -> str:
    """Make a token of a user with the form; its text."""
    await page.get_by_label("Name").fill(name)
    if same_user:
        await page.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Make it").click()
    shown = page.get_by_role("dialog", name=f"The token of {name}")
    text = await shown.locator("code").inner_text()
    await shown.get_by_role("button", name="Close").click()
    await expect(shown).to_be_hidden()
    return text


async def test_an_admin_makes_a_token_that_is_shown_once_and_revokes_it(stage: Stage) -> None:
    page = await stage.open()
    await page.goto(f"{stage.server.url}/o/tokens")
    text = await made(page, "anna")
    assert re.fullmatch(r"baton_[\w-]{43}", text)
    assert text not in await page.content()
    person = await stage.open("/", is_logged_in=False)
    await person.goto(f"{stage.server.url}/?token={text}")
    await expect(box(person)).to_be_visible()
    assert await serious(page) == []
    row = page.get_by_role("row", name=re.compile("anna"))
    await row.get_by_role("button", name="Revoke anna").click()
    await page.get_by_role("button", name="Revoke it").click()
    await expect(row).to_contain_text("revoked")
    # Its socket was closed at once, and its cookie opens nothing.
    await expect(person.get_by_label("Token")).to_be_visible()


async def test_a_second_token_of_the_same_user_must_be_asked_for(stage: Stage) -> None:
    page = await stage.open()
    await page.goto(f"{stage.server.url}/o/tokens")
    await made(page, "anna")
    await page.get_by_label("Name").fill("anna")
    await page.get_by_role("button", name="Make it").click()
    await expect(page.get_by_text("There is a token named anna")).to_be_visible()
    assert await made(page, "anna", same_user=True)
    await expect(page.get_by_role("row", name=re.compile("anna"))).to_have_count(2)


async def test_a_user_sees_neither_tokens_nor_the_audit_nor_what_is_others(stage: Stage) -> None:
    admin = await stage.open()
    await box(admin).fill("/demo markdown words=20 rate=5000")
    await box(admin).press("Enter")
    await admin.wait_for_url(re.compile(r"/c/[0-9a-f]{24}"))
    admins_own = admin.url
    await admin.goto(f"{stage.server.url}/o/tokens")
    text = await made(admin, "anna")
    page = await stage.open("/", is_logged_in=False)
    await page.goto(f"{stage.server.url}/?token={text}")
    await expect(page.get_by_text("No conversations yet.")).to_be_visible()
    await page.goto(f"{stage.server.url}/o/tokens")
    await expect(page.get_by_text("Tokens are for admins.")).to_be_visible()
    await expect(page.get_by_role("link", name="Tokens")).to_have_count(0)
    await page.goto(f"{stage.server.url}/o/permissions")
    await expect(page.get_by_role("heading", name="Permissions", exact=True)).to_be_visible()
    await expect(page.get_by_role("heading", name="what people did")).to_have_count(0)
    await page.goto(admins_own)
    await expect(page.get_by_text("There is no such conversation").first).to_be_visible()


async def test_an_admin_sees_whose_a_conversation_is(stage: Stage) -> None:
    admin = await stage.open()
    await admin.goto(f"{stage.server.url}/o/tokens")
    text = await made(admin, "anna")
    page = await stage.open("/", is_logged_in=False)
    await page.goto(f"{stage.server.url}/?token={text}")
    await box(page).fill("/demo markdown words=20 rate=5000")
    await box(page).press("Enter")
    await page.wait_for_url(re.compile(r"/c/[0-9a-f]{24}"))
    await expect(admin.get_by_title("Of anna")).to_be_visible()
    await expect(page.get_by_title("Of anna")).to_have_count(0)
