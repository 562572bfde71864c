"""The web page: what `ui/` was built into, served by the server itself.

The index is asked for anew each time, so an update is seen at once; what it names has a hash in its name, and stays.
"""

import gzip
import hashlib
from collections.abc import Awaitable, Callable
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from baton.core.errors import Forbidden, NotFound, Unauthenticated
from baton.web.access import Access

# `'self'` covers the WebSocket of the same origin. Inline styles are let in because the accessible primitives of the
# page measure and place what they open; scripts are not, and what agents say never becomes markup.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# What the page's own addresses are: a conversation, one found by its session, and the operator's views.
PAGE_PATHS: Final = ("/", "/c/{conversationId}", "/s/{sessionId}", "/o/{view}")
_FOREVER: Final = "public, max-age=31536000, immutable"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
_INDEX: Final = "index.html"
_WORTH_PACKING: Final = 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PageFile:
    """One file that is served as it is, packed where the browser takes that."""

    def __init__(self, path: Path, content_type: str, *, cache: str = "no-cache") -> None:
        self.content = path.read_bytes()
        self.content_type = content_type
        self.etag = hashlib.blake2b(self.content, digest_size=12).hexdigest()
        self._cache = cache

    @cached_property
    def packed(self) -> bytes:
        """Made when it is first asked for: some milliseconds once, instead of at every start."""
        return gzip.compress(self.content, 6, mtime=0)

    def answer(self, request: web.Request, policy: str) -> web.Response:
        """The file, or that the browser has it."""
        known = {tag.value for tag in request.if_none_match or ()}
        response = web.Response(status=304) if self.etag in known else self._body(request)
        response.headers[hdrs.CACHE_CONTROL] = self._cache
        response.headers["Content-Security-Policy"] = policy
        response.etag = self.etag
        return response

    def _body(self, request: web.Request) -> web.Response:
        takes_gzip = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "")
        headers = {hdrs.CONTENT_TYPE: self.content_type, hdrs.VARY: hdrs.ACCEPT_ENCODING}
        if not takes_gzip or len(self.content) < _WORTH_PACKING:
            return web.Response(body=self.content, headers=headers)
        return web.Response(body=self.packed, headers=headers | {hdrs.CONTENT_ENCODING: "gzip"})


def find_built_page() -> Path | None:
    """The folder with what `make ui` has built, or what came with the wheel; None where there is none."""
    folder = Path(str(files("baton.web").joinpath("static", "app")))
    return folder if (folder / _INDEX).is_file() else None


def add_built_page(app: web.Application, access: Access, folder: Path) -> None:
    """Add the page's addresses and `/static/app/...` to `app`. Public: what it shows, it asks for as the visitor."""
    served = read_folder(folder, "**/*", cache=_FOREVER)
    index = PageFile(folder / _INDEX, _TYPES[".html"])
    for path in PAGE_PATHS:
        app.router.add_get(path, page_handler(index, access, CONTENT_SECURITY_POLICY))
    app.router.add_get("/static/app/{name:.+}", files_handler(served, CONTENT_SECURITY_POLICY))


def read_folder(folder: Path, pattern: str = "*", *, cache: str = "no-cache") -> dict[str, PageFile]:
    """The files of a folder that match and that browsers may have, by their path below it."""
    return {
        path.relative_to(folder).as_posix(): PageFile(path, _TYPES[path.suffix], cache=cache)
        for path in sorted(folder.glob(pattern))
        if path.is_file() and path.suffix in _TYPES
    }


def page_handler(page: PageFile, access: Access, policy: str) -> Handler:
    """Answers with `page`; with `?token=` it logs the browser in first."""

    async def show(request: web.Request) -> web.StreamResponse:
        token = request.query.get("token")
        return page.answer(request, policy) if token is None else await _logged_in(request, access, token)

    return show


def files_handler(served: dict[str, PageFile], policy: str) -> Handler:
    """Answers with one of `served`, and with nothing else."""

    async def give(request: web.Request) -> web.StreamResponse:
        file = served.get(request.match_info["name"])
        if file is None:
            raise NotFound("There is no such file")
        return file.answer(request, policy)

    return give


async def _logged_in(request: web.Request, access: Access, token: str) -> web.Response:
    """To the same page without the token, so that it stays in no history; with the cookie if it is right."""
    response = web.Response(status=303, headers={hdrs.LOCATION: request.path, hdrs.CACHE_CONTROL: "no-store"})
    try:
        if not token:
            raise Unauthenticated("The link has lost its token")
        await access.log_in(request, response, token)
    except (Unauthenticated, Forbidden):
        response.headers[hdrs.LOCATION] = f"{request.path}#token-refused"
    return response
