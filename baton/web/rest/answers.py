"""How a REST answer is written: one place for its bytes and headers."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import quote

from aiohttp import hdrs, web

from baton.web.wire import encode

JSON = "application/json"
JSON_TYPE = "application/json; charset=utf-8"

_SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""For content that people and agents have made: whatever a browser takes it for, it can do nothing."""


def answer(body: dict[str, object], *, status: int = 200) -> web.Response:
    """`{"ok": true, ...}`."""
    return raw_json({"ok": True, **body}, status=status)


def raw_json(body: dict[str, object], *, status: int = 200) -> web.Response:
    """The object as it is, never cached. `orjson.Fragment`s in it are stored JSON, copied and not decoded."""
    headers = {hdrs.CONTENT_TYPE: JSON_TYPE, hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(status=status, body=encode(body), headers=headers)


def content_headers(content_type: str, filename: str, *, inline: bool) -> dict[str, str]:
    """Headers for content that others have made: its name in RFC 6266's form, and nothing it may do."""
    disposition = "inline" if inline else "attachment"
    return {
        hdrs.CONTENT_TYPE: content_type,
        hdrs.CONTENT_DISPOSITION: f"{disposition}; filename*=UTF-8''{quote(filename, safe='')}",
        "Content-Security-Policy": _SANDBOX,
        "X-Content-Type-Options": "nosniff",
    }


async def stream(request: web.Request, headers: dict[str, str], chunks: AsyncGenerator[bytes]) -> web.StreamResponse:
    """Send the chunks as they come.

    The first is awaited before the headers go, so that what is wrong from the start gets its own status. What goes
    wrong later cuts the connection, which tells the client that the answer is not whole.
    """
    async with aclosing(chunks):
        first = await anext(chunks, b"")
        response = web.StreamResponse(headers={hdrs.CACHE_CONTROL: "no-store"} | headers)
        await response.prepare(request)
        if request.method == hdrs.METH_HEAD:
            return response  # aiohttp would write a body here, which the client takes for the next answer
        await response.write(first)
        async for chunk in chunks:
            await response.write(chunk)
        await response.write_eof()
    return response
