"""Where a bridge's health page is served: on loopback, for people and monitors of its machine."""

import errno
import logging
import socket
from collections.abc import Callable
from typing import Final

from aiohttp import web

from baton.bridge.facts import BridgeFacts
from baton.bridge.health import health_app

logger = logging.getLogger(__name__)

LOOPBACK: Final = "127.0.0.1"
_CLOSE_S: Final = 0.5
"""How long a request may go on after the page was closed."""


class HealthPage:
    """One bridge's page. `close` is idempotent."""

    def __init__(self, facts: Callable[[], BridgeFacts]) -> None:
        self._runner = web.AppRunner(health_app(facts), access_log=None, shutdown_timeout=_CLOSE_S)

    async def serve(self, bound: socket.socket) -> None:
        """Answer on this socket, which is the page's from now on."""
        await self._runner.setup()
        await web.SockSite(self._runner, bound).start()

    async def close(self) -> None:
        """Answer no more."""
        await self._runner.cleanup()


class LocalPage:
    """The page of the bridge inside a server. The server starts, and goes on, whether or not the port is to be had.

    The process before this one may have it until it has left, and so may another program for as long as it likes:
    `open` is to be called now and then.
    """

    def __init__(self, facts: Callable[[], BridgeFacts], port: int) -> None:
        self._page = HealthPage(facts)
        self._wanted = port
        self._is_told = False
        self._is_closed = False
        self.port: int | None = None
        """Where it is; None: nowhere yet."""

    async def open(self) -> None:
        """Be served, if the port is free; the first time that it is not, the log says so with the cure. Idempotent."""
        if self.port is not None or self._is_closed:
            return
        try:
            bound = bind(self._wanted)
        except OSError as error:
            self._tell_missing(error)
            return
        self.port = bound.getsockname()[1]
        await self._page.serve(bound)
        logger.info("🌉 bridge health page", extra={"action": "bridge.page", "port": self.port})

    async def close(self) -> None:
        """Answer no more. Idempotent."""
        self._is_closed = True
        await self._page.close()

    def _tell_missing(self, error: OSError) -> None:
        if self._is_told:
            return
        self._is_told = True
        logger.warning(
            "🌉 no health page of the in-process bridge: set BATON_BRIDGE_PORT to a free port, or to none",
            extra={"action": "bridge.page", "port": self._wanted, "reason": why_unbound(error)},
        )


def bind(port: int) -> socket.socket:
    """A socket on this machine only, not yet listening; 0: on a port that is free. Raises OSError."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((LOOPBACK, port))
        # Only this tells of a program that listens on all addresses; some systems would share the port silently.
        bound.listen()
    except OSError:
        bound.close()
        raise
    return bound


def why_unbound(error: OSError) -> str:
    """Why `bind` failed, for people."""
    return "another program listens there" if error.errno == errno.EADDRINUSE else (error.strerror or "refused")
