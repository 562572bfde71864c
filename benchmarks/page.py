"""What the page costs in a real browser. `make bench-page`

Opens a conversation of 10,000 messages, and watches the page while an agent says 200 words a second: frames as
requestAnimationFrame has them, tasks of the main thread by the clock and by their CPU time, and the CPU of all of
Chromium's processes, which draw without a graphics card. A task that the clock says was long and the CPU says was
short waited for a core: that is the machine, not the page. A plain page that only appends words to a paragraph is the
control: what it cannot do, this machine cannot do now. With `--against <checkout>` the page of that checkout is
measured in turn with this one, round by round, so that a busy machine meets both.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, CDPSession, Page, async_playwright

from baton.agents.demo_text import markdown_text
from benchmarks.processes import Child, baton_server
from benchmarks.systems import begin_run

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results" / "page.md"
RATE = 200
MESSAGES = 10_000
FRAME_MS = 33
TASK_MS = 50
CHROMIUM_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
_WARM_UP_S = 1.5
_PATIENCE_MS = 60_000
_CODE_LINES = 400

# The control: words come as often as from the agent, into one paragraph whose end stays in sight.
_PLAIN_PAGE = """
<body style="margin:0"><div style="height:100vh;overflow:auto;background:#fff" id="log"><p id="text"></p></div></body>
"""
_PLAIN_STREAM = """(rate) => {
  const log = document.getElementById("log"), text = document.getElementById("text");
  let due = performance.now(), waiting = "";
  setInterval(() => { while (due < performance.now()) { waiting += "word "; due += 1000 / rate; } }, 1000 / rate);
  const show = () => {
    if (waiting) { text.append(waiting); waiting = ""; log.scrollTop = log.scrollHeight; }
    requestAnimationFrame(show);
  };
  show();
}"""


@dataclass(frozen=True, slots=True)
class Streamed:
    """What was seen of one stream."""

    frames_ms: tuple[float, ...]
    tasks_ms: tuple[float, ...]
    """Tasks of 50 ms and more, by the clock."""
    cpu_ms: tuple[float, ...]
    """Every task, by the CPU time of the main thread."""
    cpu: float
    """CPU seconds of all processes per second."""
    shift: float

    @property
    def p95_ms(self) -> float:
        """Ninety-five of a hundred frames came at least so soon after the one before."""
        return sorted(self.frames_ms)[int(len(self.frames_ms) * 0.95)]


@dataclass(frozen=True, slots=True)
class Subject:
    """A checkout whose page is measured."""

    name: str
    root: Path


def texts() -> dict[str, str]:
    """What the agent says, message after message: what people see most, and one block that grows long."""
    lines = "\n".join(f"    total_{line} = sum(part for part in parts[{line}:] if part)" for line in range(_CODE_LINES))
    return {
        "Markdown, messages of 1,000 words": markdown_text(1000),
        f"one code block of {_CODE_LINES} lines": f"```python\ndef totals(parts):\n{lines}\n```",
    }


# --- one round ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def window(
    browser: Browser, url: str | None = None, token: str = ""
) -> AsyncIterator[tuple[BrowserContext, Page]]:
    """A window of its own with an empty cache, logged in where there is a server."""
    context = await browser.new_context(viewport={"width": 1280, "height": 820})
    await context.add_init_script(path=HERE / "page_watch.js")
    if url is not None:
        answer = await context.request.post(f"{url}/api/login", data={"token": token})
        assert answer.ok, answer.status
    page = await context.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    try:
        yield context, page
    finally:
        await context.close()


async def watch(browser: Browser, page: Page, seconds: float) -> Streamed:
    """What the page does for so long."""
    processes = await browser.new_browser_cdp_session()
    await browser.start_tracing(page=page, categories=["toplevel"])
    cpu_before, began = await _cpu_s(processes), time.monotonic()
    await page.evaluate("benchmark.begin()")
    await asyncio.sleep(seconds)
    seen = await page.evaluate("benchmark.end()")
    passed_s, cpu_after = time.monotonic() - began, await _cpu_s(processes)
    cpu_ms = main_thread_tasks(json.loads(await browser.stop_tracing()))
    return Streamed(
        frames_ms=tuple(seen["frames"]),
        tasks_ms=tuple(seen["tasks"]),
        cpu_ms=cpu_ms,
        cpu=(cpu_after - cpu_before) / passed_s,
        shift=seen["shift"],
    )


def main_thread_tasks(trace: dict[str, Any]) -> tuple[float, ...]:
    """The CPU ms of each task of the page's main thread: of the renderers', the one that did most."""
    events = trace["traceEvents"]
    named = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks: dict[tuple[int, int], list[float]] = {}
    for event in events:
        if event["name"] == "ThreadControllerImpl::RunTask" and (event["pid"], event["tid"]) in named:
            tasks.setdefault((event["pid"], event["tid"]), []).append(event.get("tdur", 0) / 1000)
    return tuple(max(tasks.values(), key=sum))


async def _cpu_s(processes: CDPSession) -> float:
    found = await processes.send("SystemInfo.getProcessInfo")
    return sum(process["cpuTime"] for process in found["processInfo"])


async def stream_plain(browser: Browser, seconds: float) -> Streamed:
    """The control."""
    async with window(browser) as (_, page):
        await page.set_content(_PLAIN_PAGE)
        await page.add_script_tag(path=HERE / "page_watch.js")
        await page.evaluate(_PLAIN_STREAM, RATE)
        await asyncio.sleep(_WARM_UP_S)
        return await watch(browser, page, seconds)


async def stream(browser: Browser, subject: Subject, text: str, seconds: float) -> Streamed:
    """The page of a checkout, while an agent says `text` again and again."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        async with serving(subject, Path(folder), BATON_BRIDGE="none") as (url, tokens):
            words = len(re.findall(r"\s*\S+\s*", text))
            options = {"url": url, "token": tokens["bridge"], "runs": 1, "rate": RATE, "text": text}
            async with Child.load("bridge", {**options, "message_deltas": words}) as bridge:
                await bridge.told("connected")
                conversation_id = await asyncio.to_thread(begin_run, url, tokens["admin"])
                await bridge.told("ready")
                async with window(browser, url, tokens["admin"]) as (_, page):
                    await page.goto(f"{url}/c/{conversation_id}")
                    await page.get_by_text("Working").first.wait_for()
                    await bridge.tell("go")
                    await page.get_by_role("article", name="Agent").first.wait_for()
                    await asyncio.sleep(_WARM_UP_S)
                    return await watch(browser, page, seconds)


async def open_large(browser: Browser, subject: Subject, rounds: int) -> list[float]:
    """How many ms pass from the address to the last of 10,000 messages in sight, with an empty cache."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        await _seed(subject, Path(folder))
        async with serving(subject, Path(folder)) as (url, tokens):
            taken_ms = []
            for _ in range(rounds):
                async with window(browser, url, tokens["admin"]) as (context, page):
                    listed = await (await context.request.get(f"{url}/api/chat/conversations")).json()
                    await page.goto(f"{url}/c/{listed['conversations'][0]['id']}", wait_until="commit")
                    taken_ms.append(await page.evaluate("text => benchmark.inSight(text)", f"({MESSAGES})"))
            return taken_ms


async def _seed(subject: Subject, folder: Path) -> None:
    command = (sys.executable, "-m", "baton", "db", "seed", "--messages", str(MESSAGES), "--data", str(folder / "data"))
    seeding = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "PYTHONPATH": str(subject.root)}, stdout=asyncio.subprocess.DEVNULL, cwd=folder
    )
    assert await seeding.wait() == 0, "the conversation was written"


@asynccontextmanager
async def serving(subject: Subject, folder: Path, **environment: str) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """The server of a checkout: its address and tokens."""
    async with baton_server(folder, PYTHONPATH=str(subject.root), **environment) as (_, url, tokens):
        yield url, tokens


# --- all rounds ---------------------------------------------------------------------------------------------------


async def measure(subjects: Sequence[Subject], rounds: int, seconds: float) -> list[str]:
    """The tables, as lines of Markdown."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert chromium is not None, "Chromium is installed"
    cases = texts()
    opened: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    streamed: dict[tuple[str, str], list[Streamed]] = {}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGUMENTS))
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            streamed.setdefault(("a plain page (the control)", ""), []).append(await stream_plain(browser, seconds))
            for subject in subjects:
                opened[subject.name] += await open_large(browser, subject, 3)
            for case, text in cases.items():
                for subject in subjects:
                    streamed.setdefault((case, subject.name), []).append(await stream(browser, subject, text, seconds))
        lines = _opened(opened) + _streamed(streamed)
        head = f"{os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}, Chromium {browser.version}"
        await browser.close()
    return [f"{head}; {rounds} rounds, {seconds:g} s of each stream.", "", *lines]


def _opened(opened: dict[str, list[float]]) -> list[str]:
    lines = [f"| a conversation of {MESSAGES:,} messages, to its last one | median | slowest |", "|---|---|---|"]
    for name, taken_ms in opened.items():
        lines.append(f"| {name} | {statistics.median(taken_ms):.0f} ms | {max(taken_ms):.0f} ms |")
    return [*lines, ""]


def _streamed(streamed: dict[tuple[str, str], list[Streamed]]) -> list[str]:
    heads = (
        f"{RATE} words a second",
        "page",
        "frames/s",
        "95 of 100 frames within",
        f"frames over {FRAME_MS} ms",
        f"tasks over {TASK_MS} ms by the clock",
        "by their CPU",
        "longest by its CPU",
        "CPU of the main thread per frame",
        "of all Chromium",
        "layout shift",
    )
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for (case, name), rounds in streamed.items():
        frames_ms = [frame for one in rounds for frame in one.frames_ms]
        cpu_ms = [task for one in rounds for task in one.cpu_ms]
        late = sum(frame > FRAME_MS for frame in frames_ms) / len(frames_ms)
        cells = (
            case,
            name,
            f"{1000 * len(frames_ms) / sum(frames_ms):.0f}",
            f"{statistics.median(one.p95_ms for one in rounds):.0f} ms",
            f"{late:.1%}",
            str(sum(len(one.tasks_ms) for one in rounds)),
            str(sum(task > TASK_MS for task in cpu_ms)),
            f"{max(cpu_ms):.0f} ms",
            f"{sum(cpu_ms) / len(frames_ms):.1f} ms",
            f"{statistics.median(one.cpu for one in rounds):.0%}",
            f"{max(one.shift for one in rounds):.3f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15, help="of each stream [default: 15]")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout with a built page")
    parser.add_argument("--keep", action="store_true", help=f"write the tables to {RESULTS.relative_to(ROOT)} too")
    options = parser.parse_args()
    subjects = [Subject("this page", ROOT)]
    if options.against is not None:
        subjects.append(Subject("the other page", options.against.resolve()))
    lines = asyncio.run(measure(subjects, options.rounds, options.seconds))
    print("\n".join(lines))
    if options.keep:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(["# The page in Chromium: `make bench-page`", "", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
