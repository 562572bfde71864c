"""Who may come in: the Host and Origin of a request, and the credential of whoever makes it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, settings
from hypothesis import strategies as st

from baton.core.commands import AccountRole, Identity
from baton.core.errors import BatonError, Forbidden, Unauthenticated
from baton.core.ids import UserId
from baton.web.access import LOCAL_BRIDGE, LOCAL_USER, Access
from tests.support.logins import FakeLogins

ADMIN = Identity(UserId("admin"), AccountRole.ADMIN)
ROBOT = Identity(UserId("robot"), AccountRole.BRIDGE)
CLIENT = "http://localhost:5173"


class Tokens:
    def verify(self, token: str) -> Identity | None:
        return {"admin-token": ADMIN, "bridge-token": ROBOT}.get(token)


def access(logins: FakeLogins | None = None, **options: Any) -> Access:
    return Access(
        Tokens(), logins or FakeLogins(), **{"host": "127.0.0.1", "port": 3001, "client_origins": [CLIENT], **options}
    )


def request(**headers: str) -> web.Request:
    return make_mocked_request("GET", "/", headers={name.replace("_", "-"): value for name, value in headers.items()})


def is_allowed(rules: Access, **headers: str) -> bool:
    try:
        rules.check_source(request(**headers))
    except Forbidden:
        return False
    return True


# --- Host ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost:3001", "127.0.0.1:3001", "[::1]:3001", "LOCALHOST:3001"])
def test_a_loopback_server_answers_to_the_names_of_this_machine_with_its_port(host: str) -> None:
    assert is_allowed(access(), Host=host)


@pytest.mark.parametrize(
    "host",
    ["", "localhost", "localhost:3002", "evil.example:3001", "192.168.1.5:3001", "localhost:3001.evil.example",
     "127.0.0.1.evil.example:3001", "localhost:03001x", "[::1]", "[::1", "localhost:" + "9" * 5000, "localhost:²"],
)  # fmt: skip
def test_a_loopback_server_answers_to_no_other_host(host: str) -> None:
    assert not is_allowed(access(), Host=host)


def test_a_public_server_answers_to_its_public_name_and_to_addresses_that_nobody_can_rebind() -> None:
    rules = access(host="0.0.0.0", public_url="https://baton.example", names=["baton.lan:3001"])
    for host in (
        "baton.example",
        "baton.example:443",
        "BATON.example",
        "baton.lan:3001",
        "10.0.0.7:3001",
        "localhost:3001",
    ):
        assert is_allowed(rules, Host=host), host
    for host in ("evil.example", "evil.example:3001", "baton.example.evil.example", "10.0.0.7:9", "baton.lan:9"):
        assert not is_allowed(rules, Host=host), host


def test_the_name_that_the_server_listens_on_is_its_own() -> None:
    assert is_allowed(access(host="devbox"), Host="devbox:3001")


# --- Origin ----------------------------------------------------------------------------------------------------


def test_a_request_without_an_origin_is_not_a_browsers() -> None:
    assert is_allowed(access(), Host="localhost:3001")


@pytest.mark.parametrize(
    "origin", ["http://localhost:3001", "http://127.0.0.1:3001", "http://[::1]:3001", CLIENT, CLIENT + "/"]
)
def test_our_own_pages_and_the_configured_client_may_ask(origin: str) -> None:
    assert is_allowed(access(), Host="localhost:3001", Origin=origin)


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://evil.example", "http://localhost:3002", "http://localhost", "file://localhost:3001",
     "https://localhost:5173", "http://localhost:51730", "http://localhost:3001.evil.example", "localhost:3001",
     "http://evil.example:3001", "http://192.168.1.5:3001"],
)  # fmt: skip
def test_no_other_page_may_ask(origin: str) -> None:
    assert not is_allowed(access(), Host="localhost:3001", Origin=origin)


def test_a_public_server_trusts_its_own_page_but_no_unencrypted_copy_and_no_stranger_on_an_address() -> None:
    rules = access(host="0.0.0.0", public_url="https://baton.example")
    assert is_allowed(rules, Host="baton.example", Origin="https://baton.example")
    assert is_allowed(rules, Host="10.0.0.7:3001", Origin="http://10.0.0.7:3001")
    assert not is_allowed(rules, Host="baton.example", Origin="http://baton.example")
    assert not is_allowed(rules, Host="10.0.0.7:3001", Origin="http://10.0.0.8:3001")


def fetched(site: str, mode: str = "no-cors", dest: str = "image", **headers: str) -> dict[str, str]:
    """Headers as a browser sends them with what a page loads."""
    return {"Host": "localhost:3001", "Sec_Fetch_Site": site, "Sec_Fetch_Mode": mode, "Sec_Fetch_Dest": dest, **headers}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("dest", ["image", "script", "style", "empty", "iframe", "object", "embed", "audio"])
def test_what_a_page_of_another_origin_embeds_is_refused_though_it_names_no_origin(site: str, dest: str) -> None:
    mode = "navigate" if dest in ("iframe", "object", "embed") else "no-cors"
    assert not is_allowed(access(), **fetched(site, mode, dest))
    assert not is_allowed(access(auth_enabled=False), **fetched(site, mode, dest))


def test_links_from_elsewhere_bookmarks_and_our_own_page_work() -> None:
    assert is_allowed(access(), **fetched("cross-site", "navigate", "document"))
    assert is_allowed(access(), **fetched("none", "navigate", "document"))
    for dest in ("image", "script", "empty"):
        assert is_allowed(access(), **fetched("same-origin", dest=dest))


def test_a_configured_client_embeds_what_it_asks_for_by_cors() -> None:
    assert is_allowed(access(), **fetched("same-site", "cors", "image", Origin=CLIENT))
    assert not is_allowed(access(), **fetched("same-site"))


@settings(deadline=None)
@given(host=st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40),
       origin=st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40))  # fmt: skip
def test_no_host_or_origin_breaks_the_check(host: str, origin: str) -> None:
    rules = access(host="0.0.0.0", public_url="https://baton.example")
    assert is_allowed(rules, Host=host, Origin=origin) in (True, False)


# --- credentials -----------------------------------------------------------------------------------------------


async def test_a_credential_comes_as_bearer_token_or_as_cookie_of_this_port() -> None:
    rules = access(logins := FakeLogins())
    cookie = await logins.open(ADMIN, "admin-token")
    assert rules.identify(request(Authorization="Bearer admin-token")) == ADMIN
    assert rules.identify(request(Authorization="bearer  admin-token ")) == ADMIN
    assert rules.identify(request(Cookie=f"baton_token_3001={cookie}")) == ADMIN


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, {"Authorization": "Basic admin-token"},
     {"Cookie": "baton_token_3002=cookie-0-of-admin"}, {"Cookie": "baton_token_3001=admin-token"},
     {"Authorization": "Bearer cookie-0-of-admin"},
     {"Authorization": "Bearer wrong", "Cookie": "baton_token_3001=cookie-0-of-admin"}],
)  # fmt: skip
async def test_without_a_valid_one_nobody_is_known(headers: dict[str, str]) -> None:
    rules = access(logins := FakeLogins())
    assert await logins.open(ADMIN, "admin-token") == "cookie-0-of-admin"
    with pytest.raises(Unauthenticated):
        rules.identify(request(**headers))


async def test_a_socket_brings_its_token_in_its_connect_packet_or_as_rest_does() -> None:
    rules = access(logins := FakeLogins())
    cookie = await logins.open(ADMIN, "admin-token")
    environ = {"aiohttp.request": request()}
    assert rules.identify_socket(environ, {"token": "admin-token"}) == ADMIN
    with_cookie = {"aiohttp.request": request(Cookie=f"baton_token_3001={cookie}")}
    for auth in (None, {}, {"token": None}, {"token": ""}, "x", ["token"]):
        assert rules.identify_socket(with_cookie, auth) == ADMIN
        with pytest.raises(Unauthenticated):
            rules.identify_socket(environ, auth)


async def test_a_bridge_is_no_person_and_a_person_no_bridge() -> None:
    rules = access()
    robot, admin = request(Authorization="Bearer bridge-token"), request(Authorization="Bearer admin-token")
    assert rules.authorize_bridge(robot) == ROBOT
    assert rules.identify_person(admin) == ADMIN
    refusals: list[Callable[[], Identity]] = [
        lambda: rules.authorize_bridge(admin),
        lambda: rules.identify_person(robot),
        lambda: rules.identify_socket({"aiohttp.request": request()}, {"token": "bridge-token"}),
    ]
    for refusal in refusals:
        with pytest.raises(Forbidden):
            refusal()
    with pytest.raises(Forbidden):
        await rules.log_in(request(), web.Response(), "bridge-token")


def test_with_authentication_off_everybody_is_somebody() -> None:
    rules = access(auth_enabled=False)
    assert rules.identify(request()) == LOCAL_USER
    assert rules.authorize_bridge(request()) == LOCAL_BRIDGE
    assert not is_allowed(rules, Host="evil.example:3001"), "but not from everywhere"


@pytest.mark.parametrize(("public_url", "is_secure"), [(None, False), ("https://baton.example", True)])
async def test_the_login_cookie_is_out_of_reach_of_scripts_and_of_other_sites(
    public_url: str | None, is_secure: bool
) -> None:
    rules, response = access(public_url=public_url), web.Response()
    assert await rules.log_in(request(), response, "admin-token") == ADMIN
    cookie = response.cookies["baton_token_3001"]
    assert (cookie["httponly"], cookie["samesite"], bool(cookie["secure"])) == (True, "Strict", is_secure)
    await rules.log_out(request(), response)
    assert response.cookies["baton_token_3001"].value == ""


async def test_a_wrong_token_sets_no_cookie_and_is_told() -> None:
    response, logins = web.Response(), FakeLogins()
    with pytest.raises(BatonError):
        await access(logins).log_in(request(), response, "wrong")
    assert not response.cookies
    assert len(logins.failures) == 1


# --- as middleware ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/hello", hello)
    access(port=0).attach(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            yield session, f"http://127.0.0.1:{runner.addresses[0][1]}/hello"
    finally:
        await runner.cleanup()


async def test_a_refused_request_gets_the_error_shape_and_no_cors_header() -> None:
    async with serving() as (session, url), session.get(url, headers={"Origin": "http://evil.example"}) as response:
        assert response.status == 403
        assert (await response.json())["error"]["code"] == "forbidden"
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_configured_client_gets_cors_headers_and_its_preflight_answered() -> None:
    async with serving() as (session, url):
        async with session.get(url, headers={"Origin": CLIENT}) as response:
            assert response.headers["Access-Control-Allow-Origin"] == CLIENT
            assert response.headers["Access-Control-Allow-Credentials"] == "true"
            assert response.headers["Vary"] == "Origin"
        asking = {"Origin": CLIENT, "Access-Control-Request-Method": "PATCH"}
        async with session.options(url, headers=asking) as response:
            assert response.status == 204
            assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
        async with session.get(url) as response:
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_name_that_was_rebound_to_this_machine_is_refused() -> None:
    async with serving() as (session, url), session.get(url, headers={"Host": "rebound.example"}) as response:
        assert response.status == 403
