"""`/` until the real page comes: how the server is, who is connected, how to go on. Its files come with the package.

Nothing from outside is loaded and nothing inline runs: the policy below forbids it.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from aiohttp import hdrs, web

from baton.core.errors import Forbidden, NotFound, Unauthenticated
from baton.web.access import Access

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PAGE: Final = "index.html"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    content_type: str
    etag: str


def add_status_page(app: web.Application, access: Access) -> None:
    """Add `/` and `/static/...` to `app`. Public: what it shows, it asks for with the visitor's own cookie."""
    served = _read_files()
    app.router.add_get("/", _page(served[_PAGE], access))
    app.router.add_get("/static/{name}", _static(served))


def _read_files() -> dict[str, _File]:
    """The files, by name: read once, because they are few and small."""
    found = {}
    for path in files("baton.web").joinpath("static").iterdir():
        suffix = path.name[path.name.rfind(".") :]
        if suffix in _TYPES:
            content = path.read_bytes()
            found[path.name] = _File(content, _TYPES[suffix], hashlib.blake2b(content, digest_size=12).hexdigest())
    return found


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _page(page: _File, access: Access) -> _Handler:
    async def show(request: web.Request) -> web.StreamResponse:
        token = request.query.get("token")
        return _respond(request, page) if token is None else _logged_in(request, access, token)

    return show


def _logged_in(request: web.Request, access: Access, token: str) -> web.Response:
    """To `/` without the token, so that it stays in no history and no bookmark; with the cookie if it is right."""
    response = web.Response(status=303, headers={hdrs.LOCATION: "/", hdrs.CACHE_CONTROL: "no-store"})
    try:
        if not token:
            raise Unauthenticated("The link has lost its token")
        access.log_in(request, response, token)
    except (Unauthenticated, Forbidden):
        response.headers[hdrs.LOCATION] = "/#token-refused"
    return response


def _static(served: dict[str, _File]) -> _Handler:
    async def give(request: web.Request) -> web.StreamResponse:
        file = served.get(request.match_info["name"])
        if file is None:
            raise NotFound("There is no such file")
        return _respond(request, file)

    return give


def _respond(request: web.Request, file: _File) -> web.Response:
    """The file, or that the browser has it: asked every time, so that an update is never mixed with what was before."""
    known = {tag.value for tag in request.if_none_match or ()}
    response = web.Response(status=304) if file.etag in known else web.Response(body=file.content)
    if response.status != 304:
        response.headers[hdrs.CONTENT_TYPE] = file.content_type
    response.headers[hdrs.CACHE_CONTROL] = "no-cache"
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.etag = file.etag
    return response
