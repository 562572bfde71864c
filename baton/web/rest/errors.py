"""The one error shape for everything that REST can answer (docs/protocol.md, section 1).

One middleware, outermost but for the Host and Origin checks: errors of Baton, of aiohttp's own router and parser,
and those that nobody has thought of.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler, Middleware

from baton.core.errors import BatonError, InvalidRequest, NotFound, TooLarge
from baton.web.rest.answers import raw_json
from baton.web.wire import error_body, error_headers, http_status

logger = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 5
"""What `Retry-After` says where the error itself knows nothing better."""

_KEPT_HEADERS: Final = (hdrs.ALLOW, hdrs.RETRY_AFTER)
_TELLS_WHEN: Final = frozenset({429, 503})


def error_middleware() -> Middleware:
    """Turns whatever a handler raises into the error shape with its status."""

    @web.middleware
    async def shape(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as raised:
            if raised.status < 400:
                raise
            return _of_aiohttp(request, raised)
        except BatonError as raised:
            error: BaseException = raised
        except (asyncio.CancelledError, ConnectionResetError):
            raise  # the client has gone: there is nobody to answer
        # One of the four broad excepts (STYLE): no request may end without an answer, and none with a traceback.
        except Exception as raised:  # noqa: BLE001
            error = raised
        return error_response(request, error)

    return shape


def error_response(request: web.BaseRequest, error: BaseException) -> web.Response:
    """The error as an answer; where one is already under way, the connection is cut, so that it is not taken as whole.

    An internal error is logged with its incident id (`baton.web.wire`).
    """
    status = http_status(error)
    body = error_body(error)
    if _has_begun(request):
        logger.warning("❌ answer cut short", extra={"action": "rest.cut", "path": request.path, "status": status})
        if request.transport is not None:
            request.transport.abort()
    return _respond(body, status, error_headers(error))


def _has_begun(request: web.BaseRequest) -> bool:
    """Whether bytes of an answer are on the wire, as aiohttp itself decides it."""
    return request.writer.output_size > 0


def _of_aiohttp(request: web.BaseRequest, raised: web.HTTPException) -> web.StreamResponse:
    """What aiohttp's router, parser or body reader refuses, with the status it chose."""
    kept = {str(name): raised.headers[name] for name in _KEPT_HEADERS if name in raised.headers}
    if raised.status >= 500:
        return _respond(error_body(raised), raised.status, kept)
    return _respond(error_body(_meaning(request, raised)), raised.status, kept)


def _meaning(request: web.BaseRequest, raised: web.HTTPException) -> BatonError:
    """Which of our errors it is. Statuses without a code of their own are `invalid_payload`."""
    if raised.status == web.HTTPNotFound.status_code:
        return NotFound("There is nothing at this path; GET /api/openapi.json names what there is")
    if raised.status == web.HTTPMethodNotAllowed.status_code:
        allowed = raised.headers.get(hdrs.ALLOW, "")
        return InvalidRequest(f"{request.method} is not possible here, only {allowed}")
    if raised.status == web.HTTPRequestEntityTooLarge.status_code:
        return TooLarge("The body is larger than the server takes (payload_max_bytes)")
    return InvalidRequest(f"The request cannot be understood: {raised.reason}")


def _respond(body: dict[str, object], status: int, headers: Mapping[str, str]) -> web.Response:
    response = raw_json(body, status=status)
    response.headers.update(headers)
    if status in _TELLS_WHEN:
        response.headers.setdefault(hdrs.RETRY_AFTER, str(RETRY_AFTER_S))
    if status == web.HTTPUnauthorized.status_code:
        response.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return response


async def meet_expectation(request: web.Request) -> web.StreamResponse | None:
    """Answer `Expect`: 100-continue as aiohttp does, anything else in the error shape with 417.

    aiohttp calls this before any middleware, so that its own refusal would be plain text.
    """
    if request.version < HttpVersion11:
        return None
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        return _respond(error_body(InvalidRequest("Only `Expect: 100-continue` can be met")), 417, {})
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
    return None
