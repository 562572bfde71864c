"""Engine.IO and Socket.IO as Baton needs them: connections that can be written to directly, and nothing forgiven.

Subclasses of python-engineio 4.15.1 and python-socketio 5.18.1, whose versions are pinned because this leans on
their inside; `tests/web/test_order.py` holds the order of packets. What is replaced, and why (measured, or read in
their source):

- An idle upgraded socket is written to at once, with a frame that was built once for all its receivers. The
  library would start a task per receiver: 60 us of CPU instead of 13, with 200 of them.
- What waits for a socket is counted in bytes. A client that does not read is not listened to either.
- A packet that does not parse, or is too large, ends the connection; the library logs it and goes on, and drops a
  whole POST of more than 16 packets with status 200.
- Pings follow the monotonic clock and one sweep; the library's follow the wall clock, and a task per socket.
- Per-message deflate is off: it costs 100 KB per idle socket.

Knows nothing of events, rooms or services.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import orjson
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter
from engineio import AsyncServer as LibraryEngine
from engineio import packet as engine_packet
from engineio.async_socket import AsyncSocket

from baton.core.ports import Clock
from baton.lingering import LINGER_S, LingeringSocket
from baton.web.packets import BadPacket, Frame

logger = logging.getLogger(__name__)

DIRECT_MAX_BYTES: Final = 64 << 10
"""A socket with more unsent bytes than this is not idle: its transport is paused, and what comes next waits."""

FLUSH_BYTES: Final = 64 << 10
"""How much of a queue goes to the transport before its buffer is looked at again."""

MAX_PACKETS_PER_POST: Final = 10_000
UPGRADE_TIMEOUT_S: Final = 20.0
ADMISSION_TIMEOUT_S: Final = 20.0
"""How long a connection may stand without a Socket.IO CONNECT that was let in."""

_SEPARATOR: Final = "\x1e"


_CLOSE: Final = Frame(b"1")
_PING: Final = Frame(b"2")
_NOOP: Final = Frame(b"6")


class FrameQueue(asyncio.Queue[Frame | None]):
    """The library's queue of a socket, counted in bytes. None in it ends whoever reads it."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self.size_bytes = 0
        self.shrunk = asyncio.Event()

    def _put(self, item: Frame | None) -> None:
        super()._put(item)
        self.size_bytes += 0 if item is None else len(item.wire)

    def _get(self) -> Frame | None:
        item: Frame | None = super()._get()
        self.size_bytes -= 0 if item is None else len(item.wire)
        self.shrunk.set()
        return item


class Connection(AsyncSocket):  # type: ignore[misc]  # the library has no types
    """One Engine.IO connection, on either transport.

    Everything that is sent goes through `transmit`, which alone chooses between the transport and the queue; so
    there is one order. Whoever puts into the queue ends `_idle`; `_flush` gives it back once the queue is empty and
    what was in it is written.
    """

    server: "EngineServer"
    queue: FrameQueue
    connected: bool
    upgrading: bool
    upgraded: bool
    closing: bool
    closed: bool

    def __init__(self, server: "EngineServer", sid: str) -> None:
        super().__init__(server, sid)
        self.is_admitted = False
        self.is_lost = False
        """To be ended by the next sweep."""
        self.close_code: int = WSCloseCode.OK
        self.binary_to_skip = 0
        self._transport: asyncio.Transport | None = None
        self._websocket: LingeringSocket | None = None
        self._writer: AbstractStreamWriter | None = None
        self._idle: asyncio.Transport | None = None
        """The transport, while what is sent may go straight to it. One look, because a room has hundreds of these."""
        self._is_polling = False
        self._answered_bytes = 0
        self._inbox = asyncio.Lock()
        self._opened_at = self._heard_at = server.clock.monotonic()
        self._pinged_at: float | None = None

    # --- sending ---

    def transmit(self, frames: Sequence[Frame]) -> None:
        """Send in order: now and in one write where the socket is idle, else when it is. Never waits."""
        if self.closed:
            return
        transport = self._idle
        if transport is None or transport.get_write_buffer_size() > DIRECT_MAX_BYTES:
            self._idle = None
            for frame in frames:
                self.queue.put_nowait(frame)
        elif self._can_write(transport):
            transport.write(frames[0].wire if len(frames) == 1 else b"".join([frame.wire for frame in frames]))

    def write_now(self, data: bytes) -> bool:
        """Write whole frames if the socket is idle; False: it is not, or closed, and `transmit` knows what to do."""
        transport = self._idle
        if (
            transport is None
            or transport.get_write_buffer_size() > DIRECT_MAX_BYTES
            or transport.is_closing()
            or self._websocket is None
            or self._websocket.closed
        ):
            return False
        transport.write(data)
        return True

    def answer(self, frame: Frame) -> None:
        """Send what the client has asked for: it does not count against it as long as it waits."""
        if self.closed:
            return
        self.transmit((frame,))
        self._answered_bytes += len(frame.wire)

    async def send(self, pkt: engine_packet.Packet) -> None:
        """A packet that the library itself sends: the answer to a CONNECT."""
        self.transmit((Frame(pkt.encode().encode()),))

    @property
    def backlog_bytes(self) -> int:
        """What was sent and has not left this process."""
        transport = self._transport
        return self.queue.size_bytes + (0 if transport is None else transport.get_write_buffer_size())

    def excess_bytes(self) -> int:
        """What waits beside the answers that the client has asked for."""
        backlog = self.backlog_bytes
        if self._answered_bytes > backlog:
            # What is older than the answers has left by now, and so much of the answers too.
            self._answered_bytes = backlog
        return backlog - self._answered_bytes

    def _can_write(self, transport: asyncio.Transport) -> bool:
        websocket = self._websocket
        return not transport.is_closing() and websocket is not None and not websocket.closed

    # --- receiving ---

    async def take(self, packets: Sequence[str | bytes]) -> None:
        """Let these packets take effect, one after the other. Raises BadPacket."""
        async with self._inbox:
            for packet in packets:
                if self.closed:
                    return
                await self._take_one(packet)

    async def _take_one(self, packet: str | bytes) -> None:
        if isinstance(packet, bytes) or packet[:1] == "b":
            return self._skip_binary()
        kind, body = packet[:1], packet[1:]
        if kind == "4":
            await self._wait_for_room()
            return await self.server.on_message(self, body)
        if kind == "3":
            self._heard_at, self._pinged_at = self.server.clock.monotonic(), None
        elif kind == "1":
            await self.close(abort=True, reason=self.server.reason.CLIENT_DISCONNECT)
        elif kind not in ("5", "6"):
            raise BadPacket("no packet of Engine.IO 4")
        return None

    def _skip_binary(self) -> None:
        """JSON alone is spoken here: attachments of an event that was refused for them are let pass unread."""
        if self.binary_to_skip <= 0:
            raise BadPacket("a binary packet that belongs to no event")
        self.binary_to_skip -= 1

    async def _wait_for_room(self) -> None:
        """A client whose own answers pile up unread is not listened to until it has read half of them."""
        # Not less than what a transport holds without pausing: nothing would wake us.
        least = max(self.server.backlog_max_bytes // 2, DIRECT_MAX_BYTES)
        while not self.closed and self.backlog_bytes > least:
            if self.queue.empty() and self._writer is not None:
                await self._writer.drain()
            else:
                self.queue.shrunk.clear()
                await self.queue.shrunk.wait()

    # --- polling ---

    async def handle_get_request(self, environ: Mapping[str, Any]) -> Any:
        """A poll, or the WebSocket's handshake. Two polls at once would tear the order: that ends the connection."""
        if self._is_polling and "HTTP_UPGRADE" not in environ:
            await self.close(abort=True, reason=self.server.reason.TRANSPORT_ERROR)
            return self.server.refuse()
        return await super().handle_get_request(environ)

    async def poll(self) -> list[Frame]:
        """All that waits, at least one packet; nothing when the connection has ended. Pings bound the wait."""
        self._is_polling = True
        try:
            frame = await self.queue.get()
            frames: list[Frame] = []
            while frame is not None:
                frames.append(frame)
                if self.queue.empty():
                    return frames
                frame = self.queue.get_nowait()
        finally:
            self._is_polling = False
        self.queue.put_nowait(None)
        return frames

    # --- WebSocket ---

    async def _upgrade_websocket(self, environ: Mapping[str, Any]) -> Any:
        if self.upgrading or self.upgraded:
            return self.server.refuse()
        request: web.Request = environ["aiohttp.request"]
        websocket = LingeringSocket(
            # aiohttp refuses what is as large as its maximum, we what is larger.
            max_msg_size=self.server.max_http_buffer_size + 1,
            compress=False,
            timeout=LINGER_S,
        )
        writer = await websocket.prepare(request)
        if self.connected and not await self._probe(websocket):
            await websocket.close()
            return websocket
        self.connected = self.upgraded = True
        self._websocket, self._writer, self._transport = websocket, writer, request.transport
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=DIRECT_MAX_BYTES)
        self._idle = self._transport if self.queue.empty() else None
        self.server.upgraded.add(self)
        try:
            await self._serve(websocket, writer)
        finally:
            self._transport = self._idle = None
            await self.close(abort=True, reason=self.server.reason.TRANSPORT_CLOSE)
            self.server.stopped_serving(self)
        return websocket

    async def _probe(self, websocket: LingeringSocket) -> bool:
        """The upgrade from polling; whether the client has made it. Until then everything waits in the queue."""
        self.upgrading = True
        try:
            async with asyncio.timeout(UPGRADE_TIMEOUT_S):
                if (await websocket.receive()).data != "2probe":
                    return False
                await websocket.send_str("3probe")
                self.queue.put_nowait(_NOOP)  # ends the poll that waits, so that the client can leave polling
                return (await websocket.receive()).data == "5" and not self.closed
        except TimeoutError:
            return False
        finally:
            self.upgrading = False

    async def _serve(self, websocket: LingeringSocket, writer: AbstractStreamWriter) -> None:
        async with asyncio.TaskGroup() as tasks:
            flushing = tasks.create_task(self._flush(websocket, writer), name=f"socket-flush-{self.sid}")
            await self._listen(websocket)
            flushing.cancel()

    async def _listen(self, websocket: LingeringSocket) -> None:
        while True:
            message = await websocket.receive()
            if message.type is WSMsgType.ERROR and self._transport is not None:
                return await websocket.linger(self._transport)
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return None
            try:
                await self.take((message.data,))
            except BadPacket:
                await websocket.close(code=WSCloseCode.PROTOCOL_ERROR)
                return None
            except ConnectionError:
                return None

    async def _flush(self, websocket: LingeringSocket, writer: AbstractStreamWriter) -> None:
        """Write what waits whenever the transport has room, and close after the None."""
        try:
            while (frame := await self.queue.get()) is not None:
                await writer.drain()
                self._write_batch(frame)
                if self.queue.empty():
                    self._idle = self._transport
        except ConnectionError:
            return
        await websocket.close(code=self.close_code)

    def _write_batch(self, frame: Frame) -> None:
        batch, size = [frame.wire], len(frame.wire)
        while size < FLUSH_BYTES and not self.queue.empty():
            following = self.queue.get_nowait()
            if following is None:
                self.queue.put_nowait(None)
                break
            batch.append(following.wire)
            size += len(following.wire)
        transport = self._transport
        if transport is not None and self._can_write(transport):
            transport.write(b"".join(batch))

    # --- life ---

    async def tick(self, now: float) -> None:
        """Ping when it is time, end what is lost. To be called about every second, with the clock's monotonic time."""
        is_overdue = self._pinged_at is not None and now - self._pinged_at > self.server.ping_timeout
        is_stranger = not self.is_admitted and now - self._opened_at > ADMISSION_TIMEOUT_S
        if self.is_lost or is_overdue or is_stranger:
            await self.close(abort=True, reason=self.server.reason.PING_TIMEOUT)
            self.cut()
        elif self._pinged_at is None and now - self._heard_at >= self.server.ping_interval:
            self._pinged_at = now
            self.transmit((_PING,))

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """End the connection; `abort`: without a word. Idempotent; waits for nobody (`wait` is the library's)."""
        if self.closed or self.closing:
            return
        self.closing = True
        await self.server._trigger_event(
            "disconnect", self.sid, reason or self.server.reason.SERVER_DISCONNECT, run_async=False
        )
        if not abort:
            self.transmit((_CLOSE,))
        self.closed, self._idle = True, None
        self.queue.put_nowait(None)
        self.queue.shrunk.set()
        self.server.sockets.pop(self.sid, None)

    def cut(self) -> None:
        """Drop the connection and whatever waits for it, at once; of a polling one, with the next sweep."""
        self.is_lost = True
        if self._transport is not None:
            self._transport.abort()


class EngineServer(LibraryEngine):  # type: ignore[misc]  # the library has no types
    """The Engine.IO server."""

    def __init__(self, *, clock: Clock, backlog_max_bytes: int, **options: Any) -> None:
        super().__init__(**options, monitor_clients=False)
        self.clock: Final = clock
        self.backlog_max_bytes: Final = backlog_max_bytes
        self.upgraded: Final[set[Connection]] = set()
        """Connections whose WebSocket is being served."""
        self._one_less = asyncio.Event()

    async def on_message(self, connection: Connection, body: str) -> None:
        """Hand it to Socket.IO: not through the library's own trigger, which swallows what is raised."""
        handler: Callable[[str, str], Awaitable[None]] = self.handlers["message"]
        await handler(connection.sid, body)

    def connections(self) -> tuple[Connection, ...]:
        """All that are open now."""
        return tuple(self.sockets.values())

    def stopped_serving(self, connection: Connection) -> None:
        """Its WebSocket has ended."""
        self.upgraded.discard(connection)
        self._one_less.set()

    async def until_served(self, grace_s: float) -> None:
        """Return when no WebSocket is open any more; those that are after `grace_s` are cut, and waited for as long."""
        await self._until_none_upgraded(grace_s)
        for connection in self.upgraded:
            connection.cut()
        await self._until_none_upgraded(grace_s)

    async def _until_none_upgraded(self, within_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.upgraded:
                    self._one_less.clear()
                    await self._one_less.wait()

    def create_queue(self, *_: Any, **__: Any) -> FrameQueue:
        """For the library's sockets."""
        return FrameQueue()

    def refuse(self) -> Any:
        """400, in the library's form."""
        return self._bad_request()

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        """Every HTTP request to the endpoint."""
        if request.method == "POST":
            return await self._handle_post(request)
        response: web.StreamResponse = await super().handle_request(request)
        return response

    async def _handle_connect(self, environ: Any, transport: str, jsonp_index: int | None = None) -> Any:
        sid = self.generate_id()
        connection = self.sockets[sid] = Connection(self, sid)
        connection.transmit((Frame(b"0" + orjson.dumps(self._opening(sid, transport))),))
        await self._trigger_event("connect", sid, environ, run_async=False)
        if transport == "websocket":
            try:
                return await connection.handle_get_request(environ)
            finally:
                await connection.close(abort=True)
        connection.connected = True
        return self._ok(await connection.poll())

    def _opening(self, sid: str, transport: str) -> dict[str, Any]:
        return {
            "sid": sid,
            "upgrades": self._upgrades(sid, transport),
            "pingInterval": int(self.ping_interval * 1000),
            "pingTimeout": int(self.ping_timeout * 1000),
            "maxPayload": self.max_http_buffer_size,
        }

    async def _handle_post(self, request: web.Request) -> web.Response:
        connection = self.sockets.get(request.query.get("sid"))
        if connection is None or not connection.connected or connection.upgraded:
            return web.Response(status=400, text="There is no such polling session")
        try:
            await connection.take(await self._read_packets(request))
        except web.HTTPRequestEntityTooLarge:
            await connection.close(abort=True, reason=self.reason.TRANSPORT_ERROR)
            return web.Response(status=413, text=f"More than {self.max_http_buffer_size} bytes")
        except (BadPacket, UnicodeDecodeError):
            await connection.close(abort=True, reason=self.reason.TRANSPORT_ERROR)
            return web.Response(status=400, text="Not a payload of Engine.IO 4")
        return web.Response(text="ok")

    async def _read_body(self, request: web.Request) -> bytes:
        """The whole body. Raises HTTPRequestEntityTooLarge, having read a little further, so that most clients hear it.

        The declared length is not trusted: a chunked body has none.
        """
        most, size, chunks = self.max_http_buffer_size, 0, []
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size <= most:
                chunks.append(chunk)
            elif size > 2 * most or (request.content_length or 0) > 2 * most:
                break
        if size > most:
            raise web.HTTPRequestEntityTooLarge(most, size)
        return b"".join(chunks)

    async def _read_packets(self, request: web.Request) -> list[str | bytes]:
        body = await self._read_body(request)
        packets: list[str | bytes] = [*body.decode().split(_SEPARATOR)]
        if len(packets) > MAX_PACKETS_PER_POST:
            raise BadPacket("too many packets")
        return packets


class QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """The library's logger: it reports every misbehaving client as an error, and the content of packets as info."""

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Only what it did not expect itself is worth a line."""
        if kwargs.get("exc_info"):
            super().log(level, msg, *args, **kwargs)
