"""Files come by drop, by paste and with the picker; how far they are is shown, and what is refused says why."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

from playwright.async_api import Browser, JSHandle, Locator, Page, expect

from tests.browser.fixtures import browser_fixture
from tests.browser.stage import Stage, begin, box, is_done, log
from tests.support.server_process import server_process
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

LIMIT = 20 << 20


@browser_fixture()
async def network() -> AsyncIterator[TcpProxy]:
    async with tcp_proxy() as proxy:
        yield proxy


@browser_fixture()
async def stage(tmp_path: Path, browser: Browser, network: TcpProxy) -> AsyncIterator[Stage]:
    async with server_process(tmp_path, PUBLIC_URL=network.url, BATON_ATTACHMENT_MAX_BYTES=str(LIMIT)) as server:
        network.target_port = server.port
        made = Stage(server, browser, url=network.url)
        yield made
        await made.close()


@browser_fixture()
async def page(stage: Stage) -> Page:
    return await stage.open()


async def files(page: Page, *named: tuple[str, str]) -> JSHandle:
    """What a browser hands over at a drop or a paste."""
    return await page.evaluate_handle(
        """(named) => {
          const transfer = new DataTransfer();
          for (const [name, text] of named) transfer.items.add(new File([text], name, { type: "text/plain" }));
          return transfer;
        }""",
        [list(one) for one in named],
    )


def chips(page: Page) -> Locator:
    return page.get_by_role("list", name="Attachments").get_by_role("listitem")


async def test_files_that_are_dropped_are_sent_with_the_message(page: Page) -> None:
    dropped = await files(page, ("one.txt", "first"), ("two.txt", "second file"))
    await page.locator(".composer").dispatch_event("drop", {"dataTransfer": dropped})
    await expect(chips(page)).to_contain_text(["5 B", "11 B"])
    await begin(page, "See both rate=2000")
    await is_done(page)
    for name in ("one.txt", "two.txt"):
        await expect(log(page).get_by_role("link", name=name)).to_be_visible()
    await expect(log(page)).to_contain_text("You attached two.txt, 11 bytes.")


async def test_what_is_pasted_as_a_file_is_attached_and_text_stays_text(page: Page) -> None:
    pasted = await files(page, ("clipboard.txt", "pasted words"))
    await box(page).evaluate(
        """(box, clipboardData) => box.dispatchEvent(
          new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }))""",
        pasted,
    )
    await expect(chips(page)).to_contain_text(["12 B"])
    await expect(box(page)).to_have_value("")


async def test_how_far_an_upload_is_is_shown_and_nothing_is_sent_before_its_end(page: Page, network: TcpProxy) -> None:
    # What the browser and the systems between have taken up counts as sent: that is some megabytes.
    network.hold_upstream(after=1 << 20)
    whole = {"name": "large.bin", "mimeType": "application/octet-stream", "buffer": b"\x00" * (LIMIT - 1)}
    await page.locator("input[type=file]").set_input_files(whole)
    await expect(chips(page)).to_contain_text(re.compile(r"[1-9]\d? %"))
    await box(page).fill("See the file rate=2000")
    await expect(page.get_by_role("button", name="Send")).to_be_disabled()
    network.let_go()
    await expect(chips(page)).to_contain_text("20.0 MB")
    await expect(page.get_by_role("button", name="Send")).to_be_enabled()


async def test_an_upload_can_be_taken_back_while_it_runs(page: Page, network: TcpProxy) -> None:
    network.hold_upstream(after=1 << 20)
    whole = {"name": "large.bin", "mimeType": "application/octet-stream", "buffer": b"\x00" * (16 << 20)}
    await page.locator("input[type=file]").set_input_files(whole)
    await page.get_by_role("button", name="Remove large.bin").click()
    await expect(chips(page)).to_have_count(0)
    network.let_go()
    await begin(page, "Without it rate=2000")
    await is_done(page)
    await expect(log(page).get_by_role("link", name="large.bin")).to_have_count(0)


async def test_a_file_that_is_too_large_says_so_and_the_rest_can_be_sent(page: Page) -> None:
    too_large = {"name": "huge.bin", "mimeType": "application/octet-stream", "buffer": b"\x00" * (LIMIT + 1)}
    small = {"name": "small.txt", "mimeType": "text/plain", "buffer": b"small"}
    await page.locator("input[type=file]").set_input_files([too_large, small])
    refused = chips(page).filter(has_text="huge.bin")
    await expect(refused).to_contain_text("Too large: at most 20,971,520 bytes")
    await expect(refused).to_have_attribute("data-bad", "true")
    await begin(page, "See the small one rate=2000")
    await is_done(page)
    await expect(log(page).get_by_role("link", name="small.txt")).to_be_visible()
    await expect(log(page).get_by_role("link", name="huge.bin")).to_have_count(0)


async def test_an_upload_that_is_cut_off_says_so(page: Page, network: TcpProxy) -> None:
    network.hold_upstream(after=1 << 20)
    whole = {"name": "large.bin", "mimeType": "application/octet-stream", "buffer": b"\x00" * (16 << 20)}
    await page.locator("input[type=file]").set_input_files(whole)
    await expect(chips(page)).to_contain_text(re.compile(r"\d+ %"))
    network.let_go()
    network.take_down()
    await expect(chips(page)).to_contain_text("cut off")
    network.bring_up()
