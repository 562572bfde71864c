"""Why a bridge's link ended, in words for people, and what follows from it. Pure: a table over codes and errors."""

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import aiohttp

from baton.bridge.protocol import CLOSE_CREDENTIAL, CLOSE_DRAINING, CLOSE_REPLACED, CLOSE_TAKEN
from baton.schemas.bridge import CLOSE_BAD_FRAME, CLOSE_TOO_LARGE, CLOSE_VERSION


class Next(Enum):
    """What to do after a link has ended."""

    SOON = auto()
    """Try again after about the first delay: it ended in order."""
    RETRY = auto()
    """Try again with growing delays."""
    SLOWLY = auto()
    """Try again, but somebody has to do something first."""
    STOP = auto()
    """Never again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a link, or the try to have one, ended. `code`: the close code, or the HTTP status that refused it."""

    text: str
    then: Next = Next.RETRY
    code: int | None = None


_CREDENTIAL_CURE: Final = (
    "give it as --token, in BATON_BRIDGE_TOKEN or as bridge.token in the data folder; "
    "`baton token create --role bridge --name NAME` on the server's machine makes one"
)
_CODES: Final[dict[int, tuple[str, Next]]] = {
    CLOSE_TAKEN: (
        "Another process is this bridge now, started later: this one stops. Two at a time need two names (--name)",
        Next.STOP,
    ),
    CLOSE_VERSION: ("The server speaks another version of the bridge wire: update the older of the two", Next.STOP),
    CLOSE_CREDENTIAL: (f"The server does not accept the bridge's token: {_CREDENTIAL_CURE}", Next.SLOWLY),
    CLOSE_DRAINING: ("The server is restarting", Next.SOON),
    CLOSE_REPLACED: ("A newer link of this bridge has replaced this one", Next.RETRY),
    CLOSE_BAD_FRAME: ("The server could not follow this link", Next.RETRY),
    CLOSE_TOO_LARGE: ("A frame was too large", Next.RETRY),
}
_STATUSES: Final[dict[int, tuple[str, Next]]] = {
    401: (f"The server wants a valid token: {_CREDENTIAL_CURE}", Next.SLOWLY),
    403: (
        "The server, or something before it, refuses this address (403): on the server's machine, PUBLIC_URL must be "
        "the address that --backend names here",
        Next.SLOWLY,
    ),
    429: ("The server has refused too much from this address (429): look at the token", Next.SLOWLY),
    404: ("There is no Baton at this address (404): look at --backend", Next.SLOWLY),
}


def of_close(code: int | None, reason: str) -> Ending:
    """The other side closed the socket, or it broke (None, 1006)."""
    text, then = _CODES.get(
        code or 0, ("The link was cut" if code in (None, 1006) else "The link was closed", Next.RETRY)
    )
    return Ending(text=f"{text} ({reason})" if reason else text, then=then, code=code)


def of_refusal(error: Exception) -> Ending:
    """There was no link to be had. `error`: what aiohttp, the system or a timeout raised."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        text, then = _STATUSES.get(error.status, (f"The server answered with status {error.status}", Next.RETRY))
        return Ending(text=text, then=then, code=error.status)
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return Ending(text="The server does not answer")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Ending(text=f"The server's certificate is not valid: {error.certificate_error}", then=Next.SLOWLY)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Ending(text=f"The server cannot be reached ({error.os_error.strerror or type(error).__name__})")
    return Ending(text=f"The server cannot be reached ({type(error).__name__})")
