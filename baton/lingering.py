"""A WebSocket whose other side learns why it is closed, also when it is still sending what was refused.

For both kinds of sockets, browsers' and bridges'. aiohttp closes the transport behind its close frame; with input
unread that resets the connection, and a sender of ten megabytes sees the reset instead of 1009.
"""

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.http import WebSocketError

LINGER_S: Final = 1.0
"""How long the other side is given to read the close frame, and to stop sending."""

_LOOKS: Final = 50


class LingeringSocket(web.WebSocketResponse):
    """Stays open after a frame that was refused (too large, not UTF-8) until `linger` lets it go.

    What still comes meanwhile is dropped unread.
    """

    @property
    def was_refused(self) -> bool:
        """Whether it ends because of a frame that could not be taken; then `linger` is due."""
        return isinstance(self.exception(), WebSocketError)

    async def linger(self, transport: asyncio.BaseTransport) -> None:
        """Return when the other side has gone, at most `LINGER_S` after a refused frame."""
        for _ in range(_LOOKS):
            if transport.is_closing():
                return
            await asyncio.sleep(LINGER_S / _LOOKS)  # nothing tells that a transport was closed
        transport.close()

    def _close_transport(self) -> None:
        if not self.was_refused:
            super()._close_transport()
