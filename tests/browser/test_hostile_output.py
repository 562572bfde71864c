"""Whatever an agent says is text: it runs nothing, loads nothing, hides nothing, and leaves the page usable."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, expect

from tests.browser.fixtures import browser_fixture
from tests.browser.stage import Stage, answers, begin, box, is_done, log
from tests.support.server_process import server_process
from tests.support.speaking_bridge import Frame, says, speaking_bridge, text

MARKUP = """
<script>window.harm = 1</script> <img src=x onerror="window.harm = 2"> <svg onload="window.harm = 3">

<iframe srcdoc="<script>parent.harm = 4</script>"></iframe>

[one](javascript:window.harm=5) [two](JaVaScRiPt&colon;window.harm=6) [three](\tjava\tscript:window.harm=7)
<javascript:window.harm=8> [four](data:text/html,<script>window.harm=9</script>) [five](vbscript:harm)
[six][ref] [seven](<javascript:window.harm=10>) [fine](https://example.org/page)

[ref]: javascript:window.harm=11

![picture](http://127.0.0.1:1/pixel.png) <link rel=stylesheet href="http://127.0.0.1:1/x.css">
<style>*{display:none}</style>

<a href="https://example.org" onclick="window.harm=12">in HTML</a>
<form action=/api/logout><button>Press</button></form>

| <b>cell</b> | `<i>code</i>` |
|---|---|
| <script>harm</script> | ok |

```html" onmouseover="window.harm=13
<script>window.harm = 14</script>
```
"""
BROKEN = (
    "```python\nprint('never closed')",
    "| a | b\n|---\n| c",
    "**bold *and italic `and code",
    "[a](b [c](d ![e](f",
    "> " * 3000 + "deep",
    "- " * 2000 + "deep list",
    "*a " * 5000,
    "[" * 20_000,
    "`" * 9999 + "x",
    "<" * 20_000 + "!--",
    "&#x1F600; &#0; &#xD800; &bogus; &#99999999;",
    "\u202e gnp.exe \u2066hidden\u2069 zero\u200bwidth \x00 \x1b[31mred\x1b[0m \ufeff",
    "a\u0300" * 500,
    "# " + "x" * 100_000,
)

Speak = Callable[[Sequence[Frame]], AbstractAsyncContextManager[Page]]


@browser_fixture()
async def stage(tmp_path: Path, browser: Browser) -> AsyncIterator[Stage]:
    """A server whose only agent says what a test gives it."""
    async with server_process(tmp_path, BATON_BRIDGE="none") as server:
        made = Stage(server, browser)
        yield made
        await made.close()


@browser_fixture()
async def speak(stage: Stage) -> Speak:
    """Opens the page after the agent has said those frames."""

    @asynccontextmanager
    async def told(frames: Sequence[Frame]) -> AsyncIterator[Page]:
        async with speaking_bridge(stage.server.url, stage.server.token("bridge"), frames):
            page = await stage.open()
            page.on("dialog", lambda dialog: stage.complaints.append(dialog.message))
            page.on("request", lambda asked: _stays_here(stage, asked.url))
            await begin(page, "Go on")
            yield page

    return told


def _stays_here(stage: Stage, url: str) -> None:
    if not url.startswith((stage.url, "data:", "blob:")):
        stage.complaints.append(f"the page asked for {url}")


async def is_unharmed(page: Page) -> None:
    """Nothing has run, nothing foreign stands in the thread, and one can go on writing."""
    assert await page.evaluate("window.harm") is None
    foreign = "script, iframe, img, svg:not(.lucide), style, link, form, object, embed, [onclick], [onerror]"
    assert await answers(page).locator(foreign).count() == 0
    links = await answers(page).locator("a").evaluate_all("links => links.map((link) => link.protocol)")
    assert set(links) <= {"https:", "http:", "mailto:"}
    await box(page).fill("still here")
    await expect(box(page)).to_have_value("still here")


async def test_markup_scripts_and_links_are_shown_as_they_were_written(speak: Speak) -> None:
    async with speak(text("m1", MARKUP)) as page:
        await is_done(page)
        for written in ("<script>window.harm = 1</script>", "javascript:window.harm=5", "<iframe srcdoc="):
            await expect(answers(page)).to_contain_text(written)
        await expect(answers(page).get_by_role("link", name="fine")).to_have_attribute(
            "href", "https://example.org/page"
        )
        for link in await answers(page).get_by_role("link").all():
            assert await link.get_attribute("rel") == "noreferrer noopener"
        await is_unharmed(page)


async def test_broken_markdown_and_hidden_characters_are_shown_whole(speak: Speak) -> None:
    frames = [frame for number, said in enumerate(BROKEN) for frame in text(f"m{number}", said)]
    async with speak(frames) as page:
        await is_done(page)
        await page.get_by_role("log").press("Home")
        for shown in ("print('never closed')", "and italic"):
            await expect(log(page)).to_contain_text(shown)
        await page.get_by_role("log").press("End")
        await is_unharmed(page)


async def test_characters_that_turn_the_reading_order_are_written_out(speak: Speak) -> None:
    command = "rm -rf / # \u202eyrass\u202c harmless"
    tool = {"block": 1, "id": "t1", "name": "Bash\u202e", "kind": "execute", "title": command}
    frames = [
        says(
            "m1", {"type": "message.started"}, {"type": "text.delta", "block": 0, "offset": 0, "text": "\u202etxt.exe"}
        ),
        says(
            "m1",
            {"type": "tool.started", **tool},
            {"type": "tool.input", "block": 1, "id": "t1", "input": {"command": command}},
        ),
        says("m1", {"type": "message.done", "claudeData": {}}),
        says(
            "m1",
            {
                "type": "tool.done",
                "id": "t1",
                "result": "\x1b]0;title\x07\x1b[31mred\x1b[0m\x1b[2J\x1b[10;10H \u202eend",
                "isError": False,
            },
        ),
    ]
    async with speak(frames) as page:
        await is_done(page)
        await expect(answers(page)).to_contain_text("[U+202E]txt.exe")
        card = answers(page).get_by_role("region", name="Tool Bash")
        await expect(card).to_contain_text("[U+202E]yrass")
        await card.get_by_role("button", name="Bash").click()
        output = card.get_by_label("Output")
        await expect(output.locator(".ansi-red")).to_have_text("red")
        await expect(output).to_contain_text("[U+202E]end")
        assert "\x1b" not in await card.inner_text()
        await is_unharmed(page)


async def test_five_megabytes_in_one_line_come_in_portions(speak: Speak) -> None:
    line = "x" * (5 << 20)
    tool = {"block": 0, "id": "t1", "name": "Bash", "kind": "execute", "title": "cat line"}
    frames = [
        *text("m1", line),
        says("m2", {"type": "message.started"}, {"type": "tool.started", **tool}),
        says("m2", {"type": "message.done", "claudeData": {}}),
        says("m2", {"type": "tool.done", "id": "t1", "result": line, "isError": False}),
        *text("m3", "The end."),
    ]
    async with speak(frames) as page:
        await expect(log(page)).to_contain_text("The end.", timeout=60_000)
        await is_done(page)
        nodes = await page.evaluate("document.body.innerText.length")
        assert nodes < 1 << 20, "a portion of it is in the page, not all"
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await is_unharmed(page)


async def test_the_policy_of_the_page_lets_no_script_in(speak: Speak, stage: Stage) -> None:
    async with speak(text("m1", "Hello")) as page:
        await is_done(page)
        for element in (
            "Object.assign(document.createElement('script'), { textContent: 'window.harm = 1' })",
            "Object.assign(document.createElement('script'), { src: 'data:text/javascript,window.harm=2' })",
            "Object.assign(document.createElement('iframe'), { src: 'https://example.org/' })",
            "Object.assign(document.createElement('img'), { src: 'http://127.0.0.1:1/pixel.png' })",
        ):
            refused = await page.evaluate(
                f"""() => new Promise((resolve) => {{
                  document.addEventListener("securitypolicyviolation", () => resolve(true), {{ once: true }});
                  document.body.append({element});
                }})"""
            )
            assert refused, element
        assert await page.evaluate("window.harm") is None
    stage.complaints.clear()  # what was refused here was meant to be
