"""Whatever goes wrong, on whichever route: one shape, the right status, nothing secret, and the server goes on."""

import asyncio
import dataclasses
import json
import re
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from baton.core import errors
from baton.core.commands import AccountRole
from baton.core.ids import ConversationId, RequestId, new_object_id
from baton.schemas.answers import ErrorAnswer
from baton.schemas.fields import load
from baton.services.catalog import Services
from baton.testing import samples
from baton.web.access import Access
from baton.web.rest import setup_rest
from baton.web.rest.route import Route
from baton.web.rest.table import ROUTES
from baton.web.wire import HTTP_STATUS
from tests.support.logins import FakeLogins
from tests.web.rest_stage import LIMITS, Answered, Tokens, facts

SECRET = "postgres://root:hunter2@db"
CONVERSATION = ConversationId(new_object_id())
WINNING_RUN = samples.run(CONVERSATION)
WINNING_PROMPT = samples.prompt(CONVERSATION, RequestId("r"))

SAID: list[errors.BatonError] = [
    errors.InvalidRequest("wrong", fields={"x": ["is wrong"]}),
    errors.Unauthenticated("who?"),
    errors.Forbidden("not you"),
    errors.NotFound("nothing"),
    errors.Conflict("again"),
    errors.AlreadyResolved("late", winner=WINNING_RUN),
    errors.AlreadyResolved("late", winner=WINNING_PROMPT),
    errors.TooLarge("over content_max_chars"),
    errors.StoreUnavailable("The disk is full"),
    errors.LeaseLost("Another process owns the database"),
    errors.Overloaded("full"),
    errors.Draining("leaving"),
    errors.NoBridge(),
    errors.BatonError("slow down", code="rate_limited", retryable=True),
    *(errors.AgentFailed("broke", code=code) for code, status in HTTP_STATUS.items() if status == 502),
]
UNSAID: list[Exception] = [
    errors.BatonError(SECRET),
    errors.PeerViolation(SECRET),
    errors.ConfigError(SECRET),
    ValueError(SECRET),
    KeyError(SECRET),
    RuntimeError(SECRET),
    OSError(SECRET),
    TimeoutError(SECRET),
    RecursionError(SECRET),
    StopAsyncIteration(SECRET),
]


class Raising:
    """Services each of whose verbs raises this."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __getattr__(self, name: str) -> "Raising":
        return self

    def __call__(self, *args: object, **named: object) -> Any:
        raise self._error


class Site:
    """A server with these services, and a client of it."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def ask(self, method: str, path: str, *, token: str | None = "admin-token", **options: Any) -> Answered:
        """One request, of an admin unless another credential is named: admins may do everything."""
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self.session.request(method, self.url + path, headers=headers, **options) as response:
            return Answered(response.status, response.headers, await response.read())

    async def ask_rightly(self, route: Route, **options: Any) -> Answered:
        """A request that the route has no reason to refuse."""
        return await self.ask(route.method, path_of(route), **body_of(route), **options)


@asynccontextmanager
async def site(services: object) -> AsyncIterator[Site]:
    app = web.Application()
    access = Access(Tokens(), FakeLogins(), host="127.0.0.1", port=0)
    access.attach(app)

    async def health() -> Any:
        return facts()

    setup_rest(app, cast(Services, services), access, version="1", health=health, limits=LIMITS)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Site(f"http://127.0.0.1:{server.port}", session)
    await server.close()


@pytest.fixture
async def raising() -> AsyncIterator[Site]:
    """Services that are never reached, or say so."""
    async with site(Raising(AssertionError("reached"))) as running:
        yield running


def path_of(route: Route) -> str:
    values = {"requestId": "r"}
    path = re.sub(r"{(\w+)}", lambda found: values.get(found.group(1), CONVERSATION), route.path)
    return path + {"/api/chat/search": "?q=word"}.get(route.path, "")


def body_of(route: Route) -> dict[str, Any]:
    """What each route's body must have."""
    if route.path == "/api/attachments":
        form = aiohttp.FormData()
        form.add_field("file", b"x", filename="x")
        return {"data": form}
    bodies: dict[str, Any] = {
        "messages": {"content": "x"},
        "session": {"claudeSessionId": "s"},
        "permission-mode": {"mode": "plan"},
        "projects": {"name": "x"},
        "respond": {"selectedOption": "deny"},
        "login": {"token": "user-token"},
        "permissions": {"toolName": "Bash"},
        "tokens": {"name": "x", "role": "bridge"},
        "import": {"sessionId": "s"} if route.path.endswith("sessions/import") else {},
    }
    body = bodies.get(route.path.rpartition("/")[2])
    if route.path.endswith("{conversationId}/respond"):
        body = {"selectedOption": "deny", "promptId": CONVERSATION}
    return {} if body is None or route.method in ("GET", "DELETE") else {"json": body}


def check(answered: Answered, status: int, code: str) -> Any:
    """The one shape; the error in it."""
    assert answered.headers["Content-Type"] == "application/json; charset=utf-8"
    load(ErrorAnswer(), answered.body)
    assert (answered.status, answered.code) == (status, code), answered.content
    assert ("Retry-After" in answered.headers) == (status in (429, 503))
    assert answered.headers["Cache-Control"] == "no-store"
    assert b"Traceback" not in answered.content
    return answered.body["error"]


USING_SERVICES = [route for route in ROUTES if not route.is_public and route.path not in ("/metrics", "/api/me")]


# --- what services raise -------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", SAID, ids=lambda error: f"{type(error).__name__}-{error.code}")
async def test_every_error_keeps_its_code_and_text_on_every_route(error: errors.BatonError) -> None:
    async with site(Raising(error)) as server:
        for route in USING_SERVICES:
            said = check(await server.ask_rightly(route), HTTP_STATUS[error.code], error.code)
            assert (said["message"], said["retryable"]) == (error.message, error.retryable), route.path


@pytest.mark.parametrize("error", UNSAID, ids=lambda error: type(error).__name__)
async def test_what_nobody_thought_of_is_internal_and_tells_nothing(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(Raising(error)) as server:
        for route in USING_SERVICES:
            caplog.clear()
            answered = await server.ask_rightly(route)
            said = check(answered, 500, "internal")
            assert b"hunter2" not in answered.content, route.path
            [logged] = [record for record in caplog.records if getattr(record, "incident", None)]
            assert logged.__dict__["incident"] == said["incident"]
            assert logged.exc_info is not None


async def test_a_lost_race_names_its_winner() -> None:
    for winner, name in ((WINNING_RUN, "run"), (WINNING_PROMPT, "prompt")):
        async with site(Raising(errors.AlreadyResolved("late", winner=winner))) as server:
            answered = await server.ask("POST", "/api/chat/runs/r/abort")
            assert answered.body[name]["conversationId"] == CONVERSATION


# --- who -----------------------------------------------------------------------------------------------------


async def test_every_route_that_is_not_public_needs_a_credential(raising: Site) -> None:
    for route in ROUTES:
        if not route.is_public:
            for token in (None, "wrong"):
                answered = await raising.ask_rightly(route, token=token)
                check(answered, 401, "unauthenticated")
                assert answered.headers["WWW-Authenticate"] == "Bearer"


async def test_a_bridges_credential_opens_attachments_only(raising: Site) -> None:
    for route in USING_SERVICES:
        answered = await raising.ask_rightly(route, token="bridge-token")
        reached = route.method == "GET" and route.path == "/api/attachments/{attachmentId}"
        check(answered, 500, "internal") if reached else check(answered, 403, "forbidden")


async def test_what_is_for_admins_is_for_nobody_else(raising: Site) -> None:
    for_admins = [route for route in ROUTES if AccountRole.USER not in route.roles]
    assert {route.path for route in for_admins} >= {"/api/tokens", "/api/tokens/{tokenId}"}
    for route in for_admins:
        for token in ("user-token", "bridge-token"):
            check(await raising.ask_rightly(route, token=token), 403, "forbidden")


async def test_a_foreign_origin_or_host_is_refused_everywhere(raising: Site) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        for path in ("/", "/health", "/api/me", "/no/such/path"):
            answered = await raising.ask("GET", path, headers=headers)
            assert (answered.status, answered.code) == (403, "forbidden")


# --- what is asked -------------------------------------------------------------------------------------------


async def test_every_malformed_id_in_a_path_is_not_found(raising: Site) -> None:
    for route in ROUTES:
        for name in set(route.parameters) - {"requestId"}:
            for wrong in ("x", "65f0c0ffee", "z" * 24, "%00", "%ff", "%F0%9F%92%A9", "a" * 5000):
                path = path_of(dataclasses.replace(route, path=route.path.replace(f"{{{name}}}", wrong)))
                check(await raising.ask(route.method, path, **body_of(route)), 404, "not_found")


async def test_every_unknown_field_and_parameter_is_refused_by_name(raising: Site) -> None:
    for route in ROUTES:
        known = path_of(route)
        answered = await raising.ask(route.method, known + ("&" if "?" in known else "?") + "bogus=1", **body_of(route))
        assert check(answered, 400, "invalid_payload")["fields"] == {"bogus": ["Unknown field."]}
        if route.body is not None:
            body = {**body_of(route).get("json", {}), "bogus": 1}
            answered = await raising.ask(route.method, known, json=body)
            assert check(answered, 400, "invalid_payload")["fields"]["bogus"] == ["Unknown field."]


NO_OBJECT = [b"{", b"nonsense", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000, b'"text"', b"[]", b"null", b"1" * 5000]


@pytest.mark.parametrize("body", NO_OBJECT, ids=range(len(NO_OBJECT)))
async def test_a_body_that_is_no_json_object_is_refused(raising: Site, body: bytes) -> None:
    for route in ROUTES:
        if route.body is not None:
            answered = await raising.ask(route.method, path_of(route), data=body)
            status, code = (413, "too_large") if len(body) > LIMITS.payload_max_bytes else (400, "invalid_payload")
            check(answered, status, code)


async def test_one_byte_over_the_limit_is_too_large_however_it_is_sent(raising: Site) -> None:
    async def in_pieces() -> AsyncIterator[bytes]:
        yield b'{"name": "'
        for _ in range(30):
            yield b"x" * 1000

    over = b'{"name":"' + b"x" * LIMITS.payload_max_bytes
    for body in (over, in_pieces(), zlib.compress(b"x" * 10_000_000)):
        headers = {"Content-Encoding": "deflate"} if isinstance(body, bytes) and body is not over else {}
        answered = await raising.ask("POST", "/api/projects", data=body, headers=headers)
        assert "payload_max_bytes" in check(answered, 413, "too_large")["message"]


async def test_what_is_just_within_the_limit_is_read(raising: Site) -> None:
    body = json.dumps({"name": "x"}).encode().ljust(LIMITS.payload_max_bytes)
    check(await raising.ask("POST", "/api/projects", data=body), 500, "internal")


async def test_text_and_numbers_that_no_store_can_hold_are_no_error(raising: Site) -> None:
    body = b'{"selectedOption": "\\ud800", "input": {"a\\u0000": 99999999999999999999999, "\\udfff": [1e999]}}'
    check(await raising.ask("POST", f"/api/chat/prompts/{CONVERSATION}/respond", data=body), 500, "internal")


# --- what aiohttp itself refuses -----------------------------------------------------------------------------


async def test_a_path_that_is_not_there_has_the_shape(raising: Site) -> None:
    for path in ("/nothing", "/api", "/api/", "/api/chat/conversations/", "/static/", "//", "/%00", "/api/token"):
        check(await raising.ask("GET", path), 404, "not_found")


async def test_a_method_that_is_not_there_has_the_shape_and_says_which_are(raising: Site) -> None:
    for path, allowed in (("/api/projects", {"GET", "HEAD", "POST"}), ("/health", {"GET", "HEAD"})):
        for method in ("PUT", "OPTIONS", "TRACE", "PROPFIND"):
            answered = await raising.ask(method, path)
            check(answered, 405, "invalid_payload")
            assert set(answered.headers["Allow"].split(",")) == allowed


async def test_an_expectation_that_cannot_be_met_has_the_shape(raising: Site) -> None:
    answered = await raising.ask("POST", "/api/projects", headers={"Expect": "a miracle"}, json={"name": "x"})
    check(answered, 417, "invalid_payload")


async def test_who_expects_to_be_asked_for_the_body_is_asked(raising: Site) -> None:
    check(await raising.ask("POST", "/api/projects", data=b"{", expect100=True), 400, "invalid_payload")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_cannot_be_unpacked_has_the_shape(raising: Site, encoding: str) -> None:
    answered = await raising.ask("POST", "/api/projects", data=b"not packed", headers={"Content-Encoding": encoding})
    check(answered, 400, "invalid_payload")


async def test_a_head_request_has_the_status_and_no_body(raising: Site) -> None:
    answered = await raising.ask("HEAD", "/api/projects", token=None)
    assert (answered.status, answered.content) == (401, b"")


async def test_an_answer_that_breaks_off_is_not_taken_as_whole() -> None:
    async def pieces(*_: object) -> AsyncIterator[bytes]:
        yield b'{"messages":['
        raise errors.StoreUnavailable("The disk is gone")

    services = SimpleNamespace(transfer=SimpleNamespace(stream_json=pieces))
    async with site(services) as server:
        with pytest.raises(aiohttp.ClientError):
            await server.ask("GET", f"/api/chat/conversations/{CONVERSATION}/export")
        assert (await server.ask("GET", "/health")).status == 200


async def test_a_client_that_leaves_in_the_middle_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def pieces(*_: object) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
                began.set()
                await asyncio.sleep(0)  # the client reads, then leaves
        finally:
            ended.set()

    async with site(SimpleNamespace(transfer=SimpleNamespace(stream_json=pieces))) as server:
        async with server.session.get(
            f"{server.url}/api/chat/conversations/{CONVERSATION}/export",
            headers={"Authorization": "Bearer user-token"},
        ) as response:
            await response.content.readany()
            response.close()
        await asyncio.wait_for(ended.wait(), 10)
        assert (await server.ask("GET", "/health")).status == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
