"""Keeps everybody out until the server owns its database and has recovered, and again once it leaves.

The process is live all the while: `/health/live` and the status files answer, so that platforms see a deploy overlap
instead of a crash.
"""

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from baton.core.errors import Draining, StoreUnavailable
from baton.web.wire import encode, error_body, http_status

_ALWAYS: Final = ("/health", "/metrics", "/static/")
_GUARDED: Final = ("/api/", "/socket.io/", "/bridge")


class Gate:
    """Closed until `open`; `drain` closes it for good."""

    def __init__(self) -> None:
        self._is_open = False
        self._is_draining = False

    @property
    def is_open(self) -> bool:
        """Whether work is taken."""
        return self._is_open and not self._is_draining

    def open(self) -> None:
        """Let everybody in."""
        self._is_open = True

    def drain(self) -> None:
        """Let nobody in any more."""
        self._is_draining = True

    def attach(self, app: web.Application) -> None:
        """Stand before everything that needs the store."""
        app.middlewares.append(self.middleware)

    @property
    def middleware(self) -> "_Middleware":
        """The check, as aiohttp takes it."""
        return _Middleware(self)

    def refusal(self) -> Draining | StoreUnavailable:
        """Why nobody is let in now."""
        if self._is_draining:
            return Draining("The server is restarting; try again in a moment")
        return StoreUnavailable("The server is starting: another process still owns the database")


class _Middleware:
    """One gate's check of one request."""

    __middleware_version__ = 1

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        guarded = request.path.startswith(_GUARDED) and not request.path.startswith(_ALWAYS)
        if self._gate.is_open or not guarded:
            return await handler(request)
        refusal = self._gate.refusal()
        return web.Response(
            body=encode(error_body(refusal)),
            status=http_status(refusal),
            content_type="application/json",
            headers={"Retry-After": "1"},
        )
