"""What comes to the port and is no HTTP: answered in the one error shape, and no ERROR in the log.

aiohttp's own answer names its version and quotes what came, as plain text; and it logs each as an error with its trace,
so that anybody who reaches the port could fill the log. No middleware sees these requests: they have no head yet.
"""

import asyncio
import logging

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from baton.core.errors import BatonError, InvalidRequest, TooLarge
from baton.web.wire import refusal

logger = logging.getLogger(__name__)


class _Protocol(web.RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what could not be parsed; anything else is aiohttp's to answer."""
        if not isinstance(exc, HttpProcessingError) or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        logger.info(
            "❌ no HTTP", extra={"action": "http.refused", "remote": request.remote, "reason": type(exc).__name__}
        )
        response = refusal(_meaning(exc))
        response.headers[hdrs.SERVER] = "Baton"
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        response.force_close()
        return response


def _meaning(error: HttpProcessingError) -> BatonError:
    """Nothing of what came is said back."""
    if isinstance(error, LineTooLong):
        return TooLarge("The address or a header is longer than the server takes (8190 bytes)")
    return InvalidRequest("This is no request of HTTP/1.1")


class _Server(web.Server):
    """Makes a protocol per connection."""

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class StrictRunner(web.AppRunner):
    """Runs an application as `web.AppRunner` does, behind that protocol."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=asyncio.get_running_loop(),
            **made._kwargs,  # aiohttp has no way to name the class of a connection
        )
