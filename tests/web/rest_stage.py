"""REST over real services on a real SQLite file and a real port; the bridge's agent is the test.

Every answer that a test gets is held against the schema that its route promises.
"""

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from baton.core.commands import AccountRole, Identity
from baton.core.frames import Complete, PermissionRequest, PromptAsked, RunFrame, RunResult, Started, Stream
from baton.core.ids import RequestId, UserId
from baton.core.limits import Limits
from baton.core.models import PromptOption, PromptType
from baton.core.stream import TextDelta
from baton.schemas.answers import ErrorAnswer
from baton.schemas.fields import load
from baton.services.catalog import Services, build_services
from baton.testing.clock import FakeClock
from baton.web.access import Access
from baton.web.rest import HealthFacts, setup_rest
from baton.web.rest.route import Route
from baton.web.rest.table import ROUTES
from baton.web.source import Network
from baton.web.throttle import Throttle
from tests.services.harness import LOCAL, Bridge, Browser, opened
from tests.support.logins import FakeLogins

TOKENS: Final = {
    "user-token": Identity(UserId("anna"), AccountRole.USER),
    "admin-token": Identity(UserId("root"), AccountRole.ADMIN),
    "other-token": Identity(UserId("ben"), AccountRole.USER),
    "bridge-token": Identity(UserId("robot"), AccountRole.BRIDGE, bridge_id=LOCAL),
}
LIMITS: Final = Limits(payload_max_bytes=20_000, attachment_max_bytes=5_000, content_max_chars=2_000)


class Tokens:
    """Knows the tokens above."""

    def verify(self, token: str) -> Identity | None:
        return TOKENS.get(token)


@dataclass(frozen=True)
class Answered:
    """One answer, read whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> str:
        """Of an error."""
        code: str = self.body["error"]["code"]
        return code


@dataclass
class Stage:
    """One running server, and what tests do with it."""

    app: web.Application
    services: Services
    access: Access
    bridge: Bridge
    browser: Browser
    clock: FakeClock
    session: aiohttp.ClientSession
    url: str
    facts: HealthFacts = field(default_factory=lambda: HealthFacts(uptime_s=1, is_store_ok=True, bridges=1))

    async def ask(
        self, method: str, path: str, *, token: str | None = "user-token", json: Any = None, **options: Any
    ) -> Answered:
        """One request, with `json` as its body unless `data` is given; the answer has its promised shape."""
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self.session.request(
            method, self.url + path, json=json, headers=headers, allow_redirects=False, **options
        ) as response:
            answered = Answered(response.status, response.headers, await response.read())
        check_shape(method, path, answered)
        return answered

    async def get(self, path: str, **options: Any) -> Any:
        """The body of what must be there."""
        answered = await self.ask("GET", path, **options)
        assert answered.status == 200, answered.content
        return answered.body

    async def conversation(self) -> str:
        """The path of a new conversation."""
        answered = await self.ask("POST", "/api/chat/conversations")
        return f"/api/chat/conversations/{answered.body['conversation']['id']}"

    async def send(self, path: str, content: str = "Hello?", **body: Any) -> Any:
        """The answer to a message."""
        answered = await self.ask("POST", f"{path}/messages", json={"content": content, **body})
        assert answered.status == 202, answered.content
        return answered.body

    async def agent_says(self, request_id: str, text: str) -> None:
        """The agent answers, and is done."""
        name = RequestId(request_id)
        await self.frames(
            Started(request_id=name, seq=1, session_id="s1"),
            Stream(request_id=name, seq=2, events=(TextDelta(f"m-{name}", 0, 0, text),)),
            Complete(request_id=name, seq=3, result=RunResult()),
        )

    async def agent_asks(self, request_id: str) -> str:
        """The agent asks a question; its prompt's id."""
        options = (PromptOption(id="allow_once", label="Allow"), PromptOption(id="deny", label="Deny"))
        asked = PromptAsked(prompt_id="p", type=PromptType.TOOL_PERMISSION, title="Run?", options=options)
        name = RequestId(request_id)
        await self.frames(Started(request_id=name, seq=1), PermissionRequest(request_id=name, seq=2, prompt=asked))
        [prompt] = (await self.get("/api/chat/prompts?status=pending"))["prompts"]
        prompt_id: str = prompt["id"]
        return prompt_id

    async def frames(self, *frames: RunFrame) -> None:
        """What the bridge sends, all the way to disk."""
        for frame in frames:
            self.services.intake.receive(LOCAL, frame)
        await self.services.intake.flush()


def check_shape(method: str, path: str, answered: Answered) -> None:
    """Every error has the one shape, and every JSON answer what its route promises."""
    if answered.status >= 400 and not path.startswith("/health"):
        assert answered.headers["Content-Type"] == "application/json; charset=utf-8"
        if method != "HEAD":
            load(ErrorAnswer(), answered.body)
    elif (route := route_of(method, path)) is not None and route.answer is not None:
        assert answered.status in (route.status, *route.also_answers)
        load(route.answer(), answered.body)


def route_of(method: str, path: str) -> Route | None:
    """The route that serves this."""
    for route in ROUTES:
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(route.path))
        if route.method == method and re.fullmatch(pattern, path.partition("?")[0]):
            return route
    return None


@asynccontextmanager
async def stage(
    path: Path,
    *,
    limits: Limits = LIMITS,
    trusted_proxies: Sequence[Network] = (),
    built_page: Path | None = None,
) -> AsyncIterator[Stage]:
    """A server that was just started."""
    async with opened(path) as store:
        bridge, browser, clock = Bridge(), Browser(), FakeClock()
        services = build_services(store=store, publisher=browser, link=bridge, clock=clock, limits=limits)
        app = web.Application()
        access = Access(
            Tokens(), FakeLogins(), host="127.0.0.1", port=0, throttle=Throttle(limits, clock, trusted_proxies)
        )
        access.attach(app)
        server = TestServer(app, host="127.0.0.1")
        # Browsers keep cookies of addresses; aiohttp only when told so.
        session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        set_up = Stage(app, services, access, bridge, browser, clock, session, "")

        async def health() -> HealthFacts:
            return set_up.facts

        setup_rest(app, services, access, version="1.2.3", health=health, limits=limits, built_page=built_page)
        await server.start_server()
        set_up.url = f"http://127.0.0.1:{server.port}"
        try:
            yield set_up
        finally:
            await set_up.session.close()
            await server.close()


def facts(**changes: Any) -> HealthFacts:
    """A healthy server's, but for these."""
    return replace(HealthFacts(uptime_s=12.5, is_store_ok=True, bridges=1), **changes)
