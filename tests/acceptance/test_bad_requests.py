"""Bytes that are hardly HTTP, headers without end, names of files that lead elsewhere: refused, and the server goes on.

One real server for all of it (`bad_world`): after each test it must still serve, and its log must hold no error.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.support.bad_world import World, nothing_stored, world_of
from tests.support.shared_server import TOKEN, SharedServer, shared_server

WAIT_S = 5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with shared_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
async def world(server: SharedServer) -> AsyncIterator[World]:
    async with world_of(server) as world:
        yield world


async def say(server: SharedServer, request: bytes) -> bytes:
    """What the server answers to these bytes before it closes the connection; nothing where it waits for more."""
    where = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        answer = b""
        try:
            writer.write(request)
            await writer.drain()
            while piece := await asyncio.wait_for(reader.read(1 << 16), WAIT_S if not answer else 5):
                answer += piece
        except (ConnectionError, TimeoutError):
            pass  # what was read until then is the answer
        return answer
    finally:
        writer.close()


def get(*headers: bytes, path: bytes = b"/api/me", version: bytes = b"HTTP/1.1") -> bytes:
    own = (b"Host: HOST", f"Authorization: Bearer {TOKEN}".encode(), b"Connection: close")
    return b"\r\n".join([b"GET " + path + b" " + version, *own, *headers, b"", b""])


BAD = {
    "a header of 9 KB": get(b"X-Long: " + b"x" * 9_000),
    "a header of 1 MB": get(b"X-Long: " + b"x" * 1_000_000),
    "a name of 1 MB": get(b"x" * 1_000_000 + b": y"),
    "a cookie of 64 KB": get(b"Cookie: a=" + b"x" * 65_536),
    "a path of 100 KB": get(path=b"/" + b"x" * 100_000),
    "a query of 100 KB": get(path=b"/api/chat/search?q=" + b"x" * 100_000),
    "a line without a colon": get(b"nonsense"),
    "a folded line": get(b"X-A: b", b" c"),
    "a NUL in a header": get(b"X-A: b\0c"),
    "a carriage return in a header": get(b"X-A: b\rX-Evil: c"),
    "a space before the colon": get(b"Host : x"),
    "two lengths": get(b"Content-Length: 1", b"Content-Length: 2"),
    "a length that is none": get(b"Content-Length: -1"),
    "a length in words": get(b"Content-Length: ten"),
    "a length and chunks": get(b"Content-Length: 4", b"Transfer-Encoding: chunked"),
    "chunks of no size": get(b"Transfer-Encoding: chunked") + b"zz\r\n\r\n",
    "an encoding that there is not": get(b"Transfer-Encoding: chunked, x"),
    "a version that there is not": get(version=b"HTTP/9.9"),
    "no version": b"GET /api/me\r\n\r\n",
    "a method of no letters": b"G\x00T / HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "the beginning of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "no line at all": b"\r\n" * 1_000,
    "no Host": b"GET /api/me HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two Hosts": get(b"Host: evil.example"),
}


@pytest.mark.parametrize("what", BAD)
async def test_bytes_that_are_no_request_are_refused_and_tell_nothing(world: World, what: str) -> None:
    host = urlsplit(world.server.url).netloc.encode()
    with nothing_stored(world.server):
        answer = await say(world.server, BAD[what].replace(b"HOST", host))
    head, _, body = answer.partition(b"\r\n\r\n")
    if answer:
        assert re.match(rb"HTTP/[01]\.[019] 4\d\d ", head), answer[:300]
    for secret in (TOKEN.encode(), b"Traceback", b"aiohttp", b"Python/", b'"userId"'):
        assert secret not in answer, answer[:500]
    assert not body or b'"ok":false' in body, answer[:500]


async def test_headers_by_the_ten_thousand_are_refused_or_read_and_no_other_connection_waits(world: World) -> None:
    many = get(*(b"X-%d: y" % number for number in range(10_000)))
    host = urlsplit(world.server.url).netloc.encode()
    answers = await asyncio.gather(*(say(world.server, many.replace(b"HOST", host)) for _ in range(5)))
    assert all(re.match(rb"(HTTP/1\.[01] (200|4\d\d) |\Z)", answer) for answer in answers), answers
    assert (await world.anna.ask("bridge:list", {}))["ok"]


async def test_who_begins_a_request_and_does_not_end_it_holds_up_nobody(world: World) -> None:
    where = urlsplit(world.server.url)
    slow = [await asyncio.open_connection(where.hostname, where.port) for _ in range(100)]
    try:
        for _, writer in slow:
            writer.write(b"POST /api/projects HTTP/1.1\r\nHost: ")
            await writer.drain()
        status, _ = await world.rest("GET", "/api/me")
        assert status == 200
        assert (await world.anna.ask("bridge:list", {}))["ok"]
    finally:
        for _, writer in slow:
            writer.close()


TRICKS = (
    "../../../../../../tmp/baton-was-here",
    "..\\..\\baton-was-here",
    "/tmp/baton-was-here",
    "file:///tmp/baton-was-here",
    "C:\\baton-was-here",
    "....//....//baton-was-here",
    "%2e%2e%2f%2e%2e%2fbaton-was-here",
    "baton-was-here\0.txt",
    "~/baton-was-here",
    "$(touch baton-was-here)",
    "baton-was-here\r\nX-Evil: yes",
    "\u202ebaton-was-here",
    "." * 3,
    "x" * 5_000 + "/baton-was-here",
)


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "baton.sqlite3" not in path.name}


@pytest.mark.parametrize("name", TRICKS, ids=lambda name: name[:24].encode("unicode_escape").decode())
async def test_a_name_that_leads_elsewhere_is_a_name_and_leads_nowhere(world: World, name: str) -> None:
    before = files_below(world.server.folder)
    # By hand, and in the form of RFC 5987: aiohttp's own form refuses to say such names.
    head = f"--x\r\nContent-Disposition: form-data; name=\"file\"; filename*=utf-8''{quote(name, safe='')}\r\n"
    form = f"{head}Content-Type: text/html\r\n\r\n<script>1</script>\r\n--x--\r\n".encode()
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    status, answer = await world.rest("POST", "/api/attachments", data=form, headers=headers)
    assert status == 201, answer
    kept = answer["attachment"]
    assert not re.search(r"[/\\\x00-\x1f\u202e]", kept["filename"])
    assert len(kept["filename"]) <= 200
    async with world.session.get(world.server.url + kept["url"]) as response:
        assert await response.read() == b"<script>1</script>"
        assert response.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''")
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert "X-Evil" not in response.headers
    assert files_below(world.server.folder) == before
    assert not Path("/tmp/baton-was-here").exists()


@pytest.mark.parametrize(
    "path",
    ["..%2f..%2fadmin.token", "%2e%2e/%2e%2e/admin.token", "....//admin.token", "/etc/passwd", "%00", "admin.token"],
)
@pytest.mark.parametrize("below", ["/api/attachments/", "/static/", "/static/app/", "/c/../../"])
async def test_no_path_below_anything_that_is_served_leads_to_another_file(world: World, below: str, path: str) -> None:
    host = urlsplit(world.server.url).netloc.encode()
    answer = await say(world.server, get(path=(below + path).encode()).replace(b"HOST", host))
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), answer[:200]
    assert TOKEN.encode() not in answer
    assert b"root:" not in answer
