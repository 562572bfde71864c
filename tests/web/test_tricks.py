"""Cookies that were kept or come from elsewhere, headers and bodies without end, and paths that want out."""

import asyncio

import aiohttp
import pytest

from tests.web.rest_stage import Stage

CHANGING = [("POST", "/api/projects"), ("POST", "/api/chat/conversations"), ("POST", "/api/logout")]


async def logged_in(rest: Stage, token: str = "user-token") -> str:
    """The Cookie header of a browser that has logged in."""
    answered = await rest.ask("POST", "/api/login", token=None, json={"token": token})
    rest.session.cookie_jar.clear()
    return answered.headers["Set-Cookie"].partition(";")[0]


async def test_a_cookie_that_was_kept_opens_nothing_after_the_logout(rest: Stage) -> None:
    kept, other = await logged_in(rest), await logged_in(rest)
    assert (await rest.ask("GET", "/api/me", token=None, headers={"Cookie": kept})).status == 200
    await rest.ask("POST", "/api/logout", token=None, headers={"Cookie": kept})
    for method, path in (("GET", "/api/me"), ("GET", "/api/chat/conversations"), ("POST", "/api/projects")):
        assert (await rest.ask(method, path, token=None, headers={"Cookie": kept})).status == 401
    assert (await rest.ask("GET", "/api/me", token=None, headers={"Cookie": other})).status == 200


async def test_a_cookie_is_no_token_and_a_token_no_cookie(rest: Stage) -> None:
    cookie = await logged_in(rest)
    name, _, secret = cookie.partition("=")
    assert "user-token" not in secret
    assert (await rest.ask("GET", "/api/me", token=secret)).status == 401
    assert (await rest.ask("GET", "/api/me", token=None, headers={"Cookie": f"{name}=user-token"})).status == 401


@pytest.mark.parametrize(("method", "path"), CHANGING)
@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}])
async def test_a_cookie_does_nothing_for_another_page(
    rest: Stage, method: str, path: str, headers: dict[str, str]
) -> None:
    cookie = await logged_in(rest)
    answered = await rest.ask(method, path, token=None, headers={"Cookie": cookie, **headers}, json={"name": "x"})
    assert (answered.status, answered.code) == (403, "forbidden")
    assert (await rest.get("/api/projects"))["projects"] == []
    assert (await rest.ask("GET", "/api/me", token=None, headers={"Cookie": cookie})).status == 200, "still logged in"


async def test_headers_without_end_are_refused_and_the_server_goes_on(rest: Stage) -> None:
    for name, value in (("X-Long", "x" * 100_000), ("Cookie", "a=" + "b" * 100_000), ("Authorization", "B" * 100_000)):
        async with rest.session.get(f"{rest.url}/api/me", headers={name: value}) as response:
            assert response.status in (400, 401)
            assert "Traceback" not in await response.text()
    assert (await rest.ask("GET", "/api/me")).status == 200


async def test_ten_thousand_headers_are_refused_and_the_server_goes_on(rest: Stage) -> None:
    host, port = rest.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"GET /api/me HTTP/1.1\r\nHost: {host}:{port}\r\n" + "".join(f"X-{n}: y\r\n" for n in range(10_000)) + "\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(30):
        status = await reader.readline()
    writer.close()
    assert status.split()[1] in (b"400", b"401")
    assert (await rest.ask("GET", "/api/me")).status == 200


async def test_a_token_of_a_megabyte_is_refused_unread(rest: Stage) -> None:
    answered = await rest.ask("POST", "/api/login", token=None, json={"token": "x" * 5_000})
    assert (answered.status, answered.code) == (400, "invalid_payload")


@pytest.mark.parametrize(
    "path",
    [
        "/api/attachments/../tokens",
        "/api/attachments/..%2f..%2fetc%2fpasswd",
        "/api/attachments/%2e%2e%2f%2e%2e%2fbaton.sqlite3",
        "/api/attachments/....//....//etc/passwd",
        "/api/attachments/%00",
        "/api/attachments/..%5c..%5cbaton.sqlite3",
        "/static/app/../../../settings.py",
        "/static/app/%2e%2e/%2e%2e/settings.py",
        "/static/app//etc/passwd",
    ],
)
async def test_no_path_leads_out(rest: Stage, path: str) -> None:
    host, port = rest.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    # By hand: a client would take the dots out before it asks.
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer user-token\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    async with asyncio.timeout(30):
        said = await reader.read()
    writer.close()
    assert said.split()[1] in (b"403", b"404"), said[:200]
    assert b"root:" not in said
    assert b"SQLite format" not in said


@pytest.mark.parametrize("name", ["../../etc/passwd", "..\\..\\x.txt", "/etc/passwd", "....//....//x.txt"])
async def test_a_files_name_from_outside_is_only_ever_a_name(rest: Stage, name: str) -> None:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("file", b"x", filename=name, content_type="text/plain")
    answered = await rest.ask("POST", "/api/attachments", data=form)
    assert answered.status == 201
    kept = answered.body["attachment"]
    assert "/" not in kept["filename"]
    assert "\\" not in kept["filename"]
    read = await rest.ask("GET", kept["url"])
    assert read.content == b"x"
