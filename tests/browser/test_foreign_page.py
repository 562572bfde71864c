"""A page of another origin, in the browser of somebody who is logged in, gets nothing out of Baton and nothing into it.

From a name of its own, from another port of the same machine (whose requests carry the login cookie, `SameSite` or
not), and from a name that was rebound to the server; with and without tokens. What the page is told is asked of the
page; what Baton answered, also where the browser kept it from the page, is asked of Baton's own count of requests.
"""

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import BrowserContext, Error, Page, async_playwright, expect

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.fixtures import browser_fixture
from tests.support.ports import free_port
from tests.support.server_process import ServerProcess, server_process
from tests.support.tcp_proxy import TcpProxy

SOCKET_IO = Path(__file__).parents[1] / "clients" / "node_modules" / "socket.io-client" / "dist" / "socket.io.min.js"
ELSEWHERE = "evil.test"
REBOUND = "rebound.test"
ANOTHER_ADDRESS = "127.0.0.2"
NAMES = f"MAP {ELSEWHERE} 127.0.0.1, MAP {REBOUND} {ANOTHER_ADDRESS}"
REFUSAL = r'basic 403 \{"ok":false,"error":\{"code":"forbidden",'
FRAME = """
(address) => new Promise((end) => {
  const frame = document.createElement("iframe");
  frame.onload = end; frame.src = address; document.body.append(frame);
})
"""
WHO = "fetch('/api/me').then((answer) => answer.status)"
TABLES = ("projects", "conversations", "messages", "runs", "api_tokens", "attachments")

ATTEMPTS = """
async ({ base, socketBase }) => {
  const told = {};
  const within = (promise) => Promise.race([promise, new Promise((end) => setTimeout(() => end("nothing"), 10000))]);
  const attempt = async (name, make) => {
    try { told[name] = await within(make()); } catch (error) { told[name] = "refused"; }
  };
  const read = async (answer) => `${answer.type} ${answer.status} ${await answer.text()}`;
  const json = (method, path, body, more) => fetch(base + path, {
    method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, ...more }).then(read);
  const loud = (element, attributes) => new Promise((end) => {
    Object.assign(element, attributes);
    element.onload = () => end("loaded"); element.onerror = () => end("refused");
    document.body.append(element);
  });
  const credentials = { credentials: "include" };
  const opaque = { mode: "no-cors", credentials: "include" };

  await attempt("fetch", () => fetch(base + "/api/me").then(read));
  await attempt("fetch with the cookie", () => fetch(base + "/api/chat/conversations", credentials).then(read));
  await attempt("fetch of health", () => fetch(base + "/health", credentials).then(read));
  await attempt("fetch of metrics", () => fetch(base + "/metrics", credentials).then(read));
  await attempt("fetch of the page", () => fetch(base + "/", credentials).then(read));
  await attempt("opaque fetch", () => fetch(base + "/api/chat/conversations", opaque).then(read));
  await attempt("json", () => json("POST", "/api/projects", { name: "evil" }, credentials));
  await attempt("json in disguise", () => fetch(base + "/api/projects", {
    method: "POST", body: '{"name":"evil"}', headers: { "Content-Type": "text/plain" }, ...opaque }).then(read));
  await attempt("delete", () => fetch(base + "/api/chat/sessions/clear", {
    method: "DELETE", ...credentials }).then(read));
  await attempt("login", () => json("POST", "/api/login", { token: "x".repeat(30) }, credentials));
  await attempt("beacon", async () => (navigator.sendBeacon(base + "/api/projects", '{"name":"evil"}'), "sent"));
  await attempt("upload", () => {
    const form = new FormData(); form.append("file", new Blob(["evil"]), "evil.html");
    return fetch(base + "/api/attachments", { method: "POST", body: form, ...opaque }).then(read);
  });
  await attempt("image", () => loud(new Image(), { src: base + "/static/favicon.svg" }));
  await attempt("script", () => loud(document.createElement("script"), { src: base + "/api/chat/conversations" }));
  await attempt("style", () => loud(document.createElement("link"), {
    rel: "stylesheet", href: base + "/static/status.css" }));
  await attempt("event source", () => new Promise((end) => {
    const source = new EventSource(base + "/api/chat/conversations", { withCredentials: true });
    source.onmessage = (event) => end(event.data); source.onerror = () => { source.close(); end("refused"); };
  }));
  await attempt("form", () => new Promise((end) => {
    const frame = document.createElement("iframe"); frame.name = "target"; document.body.append(frame);
    const form = document.createElement("form");
    Object.assign(form, { method: "POST", action: base + "/api/projects", target: "target", enctype: "text/plain" });
    const input = document.createElement("input");
    Object.assign(input, { name: '{"name":"evil","x":"', value: '"}' });
    form.append(input); document.body.append(form);
    frame.onload = () => end("loaded"); form.submit();
  }));
  const raw = (path, protocols) => new Promise((end) => {
    const socket = new WebSocket(socketBase + path, protocols);
    socket.onopen = () => end("open"); socket.onclose = () => end("refused");
    socket.onmessage = (event) => end(event.data);
  });
  await attempt("raw bridge", () => raw("/bridge", ["baton.bridge.v1"]));
  await attempt("raw socket", () => raw("/socket.io/?EIO=4&transport=websocket"));
  for (const transport of ["polling", "websocket"]) {
    await attempt(`socket.io over ${transport}`, () => new Promise((end) => {
      const socket = io(base || location.origin, {
        transports: [transport], reconnection: false, withCredentials: true });
      socket.on("connect", () => end("connected")); socket.onAny((name) => end(name));
      socket.on("connect_error", () => { socket.close(); end("refused"); });
    }));
  }
  return told;
}
"""


@dataclass
class Theatre:
    """A server, a browser whose owner is logged in to it, and somebody else's web server."""

    server: ServerProcess
    context: BrowserContext
    foreign_port: int

    async def foreign_page(self, host: str) -> Page:
        """A page that the other server gave out under this name."""
        page = await self.context.new_page()
        await page.goto(f"http://{host}:{self.foreign_port}/")
        await page.add_script_tag(path=SOCKET_IO)
        return page

    @asynccontextmanager
    async def rebound_page(self) -> AsyncIterator[Page]:
        """A page that was loaded under a name which then became this server's, at the same port.

        The name is another address of this machine, where a proxy leads to the other server, and then to Baton: a
        resolver that changes its mind could not do more.
        """
        proxy = TcpProxy()
        proxy.target_port = self.foreign_port
        async with await asyncio.start_server(proxy.serve, ANOTHER_ADDRESS, self.server.port):
            page = await self.context.new_page()
            await page.goto(f"http://{REBOUND}:{self.server.port}/")
            await page.add_script_tag(path=SOCKET_IO)
            proxy.target_port = self.server.port
            proxy.cut()
            yield page
            await page.close()
            proxy.cut()

    async def answered(self) -> Counter[str]:
        """How many requests were answered with which status, this one not among them."""
        headers = {"Authorization": f"Bearer {self.server.token()}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.get(f"{self.server.url}/metrics") as response:
                text = await response.text()
        counts: Counter[str] = Counter()
        for route, status, count in re.findall(
            r'^baton_http_requests_total{method="\w+",route="([^"]+)",status="(\d+)"} (\S+)$', text, flags=re.M
        ):
            if route != "/metrics" or status != "200":
                counts[status] += int(float(count))
        return counts

    def rows(self) -> dict[str, int]:
        """How many rows the tables have that people can fill."""
        with sqlite3.connect(f"file:{self.server.database}?mode=ro", uri=True) as database:
            counts = {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
        database.close()
        return counts


@asynccontextmanager
async def theatre(folder: Path, **environment: str) -> AsyncIterator[Theatre]:
    async def blank(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Kittens</title><body>", content_type="text/html")

    other = web.Application()
    other.router.add_get("/{any:.*}", blank)
    runner = web.AppRunner(other, access_log=None)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    arguments = [*ARGUMENTS, f"--host-resolver-rules={NAMES}"]
    try:
        async with server_process(folder, **environment) as server, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
            context = await browser.new_context()
            own = await context.new_page()
            await own.goto(f"{server.url}/?token={server.token()}")
            await own.wait_for_load_state("networkidle")
            assert await own.evaluate(WHO) == 200, "the person is logged in"
            await own.goto("about:blank")  # from now on no request is theirs
            yield Theatre(server, context, port)
            await own.goto(server.url)
            assert await own.evaluate(WHO) == 200, "and has not been put out"
            await browser.close()
    finally:
        await runner.cleanup()


@browser_fixture(params=["on", "off"], ids=["with-tokens", "without-tokens"])
async def stage(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Theatre]:
    async with theatre(tmp_path, BATON_AUTH=request.param) as made:
        yield made


def useless(told: Any) -> bool:
    """Whether a page has learnt nothing."""
    return told in ("refused", "opaque 0 ", "sent", "loaded")


def assert_all_refused(answered: Counter[str], at_least: int = 10) -> None:
    """That requests did reach Baton, and each was answered with 403 and nothing else."""
    assert set(answered) == {"403"}, answered
    assert answered["403"] >= at_least, answered


async def test_a_page_of_another_origin_gets_nothing_and_does_nothing(stage: Theatre) -> None:
    for host in (ELSEWHERE, "127.0.0.1"):  # another name, and another port of the same one
        before, answered = stage.rows(), await stage.answered()
        page = await stage.foreign_page(host)
        socket_base = stage.server.url.replace("http", "ws")
        told = await page.evaluate(ATTEMPTS, {"base": stage.server.url, "socketBase": socket_base})
        assert {name: said for name, said in told.items() if not useless(said)} == {}
        assert [name for name in ("image", "script", "style") if told[name] != "refused"] == []
        assert_all_refused(await stage.answered() - answered)
        assert stage.rows() == before


async def test_a_name_that_was_rebound_to_the_server_gets_nothing_and_does_nothing(stage: Theatre) -> None:
    before, answered = stage.rows(), await stage.answered()
    async with stage.rebound_page() as page:
        socket_base = f"ws://{REBOUND}:{stage.server.port}"
        told = await page.evaluate(ATTEMPTS, {"base": "", "socketBase": socket_base})
    refusals = {name for name, said in told.items() if re.match(REFUSAL, said)}
    assert {name: said for name, said in told.items() if name not in refusals and not useless(said)} == {}
    assert {"fetch", "fetch of health", "fetch of the page", "json", "delete"} <= refusals, "it is the same origin"
    assert_all_refused(await stage.answered() - answered)
    assert stage.rows() == before


async def test_nobody_puts_the_page_into_a_frame_or_looks_into_its_window(tmp_path: Path) -> None:
    async with theatre(tmp_path) as stage:
        answered = await stage.answered()
        for host in (ELSEWHERE, "127.0.0.1"):
            page = await stage.foreign_page(host)
            for path in ("/", "/o/permissions", "/api/chat/conversations"):
                await page.evaluate(FRAME, stage.server.url + path)
            for frame in page.frames[1:]:
                assert "<script" not in await frame.content()
                assert "conversations" not in await frame.content()
        assert_all_refused(await stage.answered() - answered, at_least=6)
        page = await stage.foreign_page(ELSEWHERE)
        async with page.expect_popup() as popped:
            await page.evaluate("(address) => { window.opened = window.open(address) }", stage.server.url)
        popup = await popped.value
        await expect(popup).to_have_title(re.compile("Baton"))  # a person who follows a link arrives
        with pytest.raises(Error, match=r"cross-origin|Blocked"):
            await page.evaluate("window.opened.document.body.innerHTML")
