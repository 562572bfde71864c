"""A WebSocket client that costs little, so that what is measured is the server and not the load beside it.

As far as RFC 6455 and 7692 that benchmarks need it: text frames, whole ones, no pings. It offers per-message deflate
as browsers do. Masks are zero, which spares a pass over each frame and is a mask like any other.
"""

import asyncio
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

OPEN_TIMEOUT_S = 60.0
_DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
_TAIL = b"\x00\x00\xff\xff"
"""What RFC 7692 leaves out at the end of each message."""


OnText: TypeAlias = "Callable[[WebSocketClient, str], None]"


class WebSocketClient(asyncio.Protocol):
    """One socket. `on_text` gets it, and every text message; `closed` is done once the connection is gone."""

    def __init__(self, request: bytes, on_text: OnText) -> None:
        loop = asyncio.get_running_loop()
        self.on_text = on_text
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._request = request
        self._buffer = b""
        self._inflate = zlib.decompressobj(-15)
        self._transport: asyncio.Transport | None = None

    def send(self, text: str) -> None:
        """Send one message; never waits."""
        assert self._transport is not None, "it is open"
        payload = text.encode()
        size = len(payload)
        if size < 126:
            header = bytes((0x81, 0x80 | size))
        elif size < 1 << 16:
            header = struct.pack("!BBH", 0x81, 0xFE, size)
        else:
            header = struct.pack("!BBQ", 0x81, 0xFF, size)
        self._transport.write(b"".join((header, b"\0\0\0\0", payload)))

    def cut(self) -> None:
        """Drop the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        assert isinstance(transport, asyncio.Transport), "TCP gives one"
        self._transport = transport
        transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing comes any more."""
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionError("the server closed the connection"))
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, received: bytes) -> None:
        """The answer to the upgrade first, then frames."""
        data = self._buffer + received if self._buffer else received
        if not self.opened.done():
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._buffer = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(ConnectionError(head.split(b"\r\n")[0].decode()))
                self.cut()
                return
            self.opened.set_result(None)
        self._buffer = data[self._take(data) :]

    def _take(self, data: bytes) -> int:
        """Hand on the whole frames; where the rest begins."""
        at, end = 0, len(data)
        while end - at >= 2:
            head, size, start = data[at], data[at + 1], at + 2
            if size == 126:
                if end - at < 4:
                    break
                size, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            elif size == 127:
                if end - at < 10:
                    break
                size, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
            if end - start < size:
                break
            at = start + size
            if head & 0x0F == 1:
                payload = data[start:at]
                self.on_text(self, (self._inflate.decompress(payload + _TAIL) if head & 0x40 else payload).decode())
        return at


async def open_socket(
    url: str, path: str, on_text: OnText, *, headers: Sequence[str] = (), offers_deflate: bool = True
) -> WebSocketClient:
    """An open socket. Raises ConnectionError or TimeoutError."""
    address = urlsplit(url)
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {address.netloc}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: YmF0b24gYmVuY2htYXJrcw==",
        *headers,
        *([_DEFLATE] if offers_deflate else []),
    ]
    request = "\r\n".join([*lines, "", ""]).encode()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(OPEN_TIMEOUT_S):
        _, client = await loop.create_connection(
            lambda: WebSocketClient(request, on_text), address.hostname, address.port
        )
        await client.opened
    return client
