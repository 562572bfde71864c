"""A wire between two processes that a test cuts, holds and lets go."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_SIP = 1 << 9
"""A slow wire carries a little at a time."""
_SEGMENT_BYTES = 1400


class Way:
    """One direction, and how much of what comes may pass. `delay_s`: how long everything takes, one after the other."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self._left: int | None = None
        self._changed = asyncio.Event()

    def open(self) -> None:
        """Everything passes."""
        self._set(None)

    def hold(self, after: int = 0) -> None:
        """So many more bytes pass, and then nothing."""
        self._set(after)

    def _set(self, left: int | None) -> None:
        self._left = left
        self._changed.set()

    async def room(self, wanted: int) -> int:
        """How many bytes of those may pass, at least one; waits for that."""
        while self._left == 0:
            self._changed.clear()
            await self._changed.wait()
        if self._left is None:
            return wanted
        given = min(wanted, self._left)
        self._left -= given
        return given


class TcpProxy:
    """Carries connections to `target_port` of this machine. `is_up` False: new ones are closed at once.

    `buffer_bytes`: what the system holds of what a server has sent and nobody has read, where that is to be little.
    """

    def __init__(self, *, buffer_bytes: int | None = None) -> None:
        self.target_port = 0
        self._buffer_bytes = buffer_bytes
        self._writers: set[asyncio.StreamWriter] = set()
        self._to_server, self._to_bridge = Way(), Way()
        self.is_up = True
        self.port = 0
        self.connections = 0
        self.bytes_per_s: float | None = None
        """How much passes in each direction of each connection; None: as much as comes."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End every connection, without a word: what is under way is lost."""
        for writer in self._writers:
            writer.transport.abort()

    def take_down(self) -> None:
        """No way through until `bring_up`."""
        self.is_up = False
        self.cut()

    def bring_up(self) -> None:
        """The way is open again."""
        self.is_up = True

    def hold(self) -> None:
        """Carry nothing, and end nothing: what a router does that has forgotten a connection."""
        self._to_server.hold()
        self._to_bridge.hold()

    def hold_upstream(self, after: int = 0) -> None:
        """Carry so many more bytes to the server, and then nothing; what it says still comes through."""
        self._to_server.hold(after)

    def hold_downstream(self) -> None:
        """Carry nothing to the bridge; what it says still comes through."""
        self._to_bridge.hold()

    def delay(self, seconds: float) -> None:
        """Everything takes so much longer, in both directions, until it is set to 0 again."""
        self._to_server.delay_s = self._to_bridge.delay_s = seconds

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_up:
            writer.transport.abort()
            return
        self.connections += 1
        try:
            there, back = await self._open_connection()
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, back}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry(reader, back, self._to_server))
                tasks.create_task(self._carry(there, writer, self._to_bridge))
        finally:
            self._writers -= pair
            for end in pair:
                end.transport.abort()

    async def _open_connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        near = socket.socket()
        try:
            near.setblocking(False)
            if self._buffer_bytes is not None:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)
                # The sender's own buffer is sized by it: over loopback 2.6 MB, where segments are as large as there.
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)
            await asyncio.get_running_loop().sock_connect(near, ("127.0.0.1", self.target_port))
            return await asyncio.open_connection(sock=near)
        except BaseException:  # also where the connecting is cancelled the socket is ours to close
            near.close()
            raise

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, way: Way) -> None:
        with suppress(OSError):
            while piece := await source.read(1 << 16 if self.bytes_per_s is None else _SIP):
                if way.delay_s:
                    await asyncio.sleep(way.delay_s)
                while piece:
                    size = await way.room(len(piece))
                    target.write(piece[:size])
                    await target.drain()
                    if self.bytes_per_s is not None:
                        await asyncio.sleep(size / self.bytes_per_s)
                    piece = piece[size:]
        target.close()

    def let_go(self) -> None:
        """Carry again."""
        self._to_server.open()
        self._to_bridge.open()


@asynccontextmanager
async def tcp_proxy(*, buffer_bytes: int | None = None) -> AsyncIterator[TcpProxy]:
    """A proxy on a port of its own; it is told later where to."""
    proxy = TcpProxy(buffer_bytes=buffer_bytes)
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    async with listening:
        try:
            yield proxy
        finally:
            proxy.let_go()
            proxy.cut()
