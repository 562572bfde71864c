"""The raw WebSocket at `/bridge` (docs/protocol.md section 5): sockets under the hub, and nothing else.

Reading has no await per frame but the read itself, and starts no task; what comes within one floor of the flush is
read together (`Pace`). Writing goes straight to the transport: all
frames of one turn of the loop as one write, so that neither a slow bridge nor a slow write holds up anybody.
What frames mean is judged by `schemas.bridge`, whether they may come now by `protocol`.
"""

import asyncio
import itertools
import logging
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import WSMessage, WSMsgType, web
from aiohttp.http import WebSocketError

from baton.bridge.hub import Hub, Session
from baton.bridge.pace import Pace
from baton.bridge.protocol import CLOSE_CREDENTIAL, CLOSE_DRAINING
from baton.core.commands import Identity
from baton.core.errors import Forbidden, PeerViolation, Unauthenticated, Unavailable
from baton.core.frames import SUBPROTOCOL, Hello, ServerFrame
from baton.core.ids import BridgeId, TokenId
from baton.core.limits import Limits
from baton.core.ports import Clock
from baton.lingering import LingeringSocket
from baton.schemas.bridge import CLOSE_BAD_FRAME, CLOSE_VERSION, RefusedFrame, dump_frame, load_bridge_frame

logger = logging.getLogger(__name__)

Authorize = Callable[[web.Request], Identity]
"""Who the request's credential names, which must be of the role `bridge`. Raises Unauthenticated or Forbidden."""
Bind = Callable[[Identity, BridgeId], Awaitable[None]]
"""Make the credential this bridge's, if it is nobody's yet. Raises Forbidden where it is another's."""

CLOSE_INTERNAL: Final = 1011
CLOSE_TRY_LATER: Final = 1013

_CLOSE_S: Final = 2.0
"""How long a closing handshake is waited for."""
_CLOSE_REASON_BYTES: Final = 123
"""What a close frame holds beside its code (RFC 6455, 5.5)."""
_FRAMES_PER_TURN: Final = 64
"""Frames that one bridge may have read in one turn of the loop: what waits in a socket's buffer comes at once."""


def text_frame(payload: bytes) -> bytes:
    """`payload` as one unmasked WebSocket text frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


class SocketLink:
    """A bridge's WebSocket as the hub sees it (`hub.Link`).

    Past `max_buffered_bytes` that the bridge does not read, the link is closed: it may come again, and then gets
    anew what should be.
    """

    in_process = False

    def __init__(self, transport: asyncio.WriteTransport, max_buffered_bytes: int) -> None:
        self.closing: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        """Done once the link is to be closed: with which code, and why."""
        self._transport = transport
        self._max_buffered_bytes = max_buffered_bytes
        self._batch: list[bytes] = []
        self._batch_bytes = 0

    @property
    def buffered_bytes(self) -> int:
        """What was sent and has not left this process yet."""
        return self._transport.get_write_buffer_size() + self._batch_bytes

    def send(self, frame: ServerFrame) -> None:
        """Send with what else is sent in this turn of the loop."""
        if self.closing.done():
            return
        if not self._batch:
            asyncio.get_running_loop().call_soon(self._flush)
        encoded = text_frame(dump_frame(frame))
        self._batch.append(encoded)
        self._batch_bytes += len(encoded)
        if self.buffered_bytes > self._max_buffered_bytes:
            self._batch.clear()
            self.close(CLOSE_TRY_LATER, "The bridge does not read what it is sent")

    def close(self, code: int, reason: str) -> None:
        """Send what was sent, then the close frame, soon. The first call's code counts."""
        if not self.closing.done():
            self._flush()
            self.closing.set_result((code, reason))

    def abort(self) -> None:
        """Let go of a socket whose other side does not read, with all that it would have read."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()

    def _flush(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if batch and not self._transport.is_closing():
            # aiohttp's own writer would have to be awaited, in a task per link; an unmasked, uncompressed frame is
            # a header of a few bytes, and whole frames may be mixed with those that aiohttp writes (pong, close).
            self._transport.write(b"".join(batch))


@dataclass(slots=True, eq=False)
class _Connection:
    """One bridge's socket and how far it is."""

    request: web.Request
    socket: LingeringSocket
    transport: asyncio.Transport
    link: SocketLink
    identity: Identity | None = None
    said_hello: bool = False
    session: Session | None = None


class BridgeEndpoint:
    """Serves `/bridge` for a hub.

    `bind` keeps which credential is which bridge's. None: nothing is bound (`BATON_AUTH=off`, where all bridges are
    one name).
    Two tasks per link: one reads, one looks at the clock.
    """

    def __init__(
        self,
        hub: Hub,
        authorize: Authorize,
        limits: Limits,
        clock: Clock,
        *,
        bind: Bind | None = None,
    ) -> None:
        self._hub = hub
        self._authorize = authorize
        self._limits = limits
        self._clock = clock
        self._bind = bind
        self._connections: set[_Connection] = set()
        self._are_all_gone = asyncio.Event()
        self._is_draining = False

    def attach(self, app: web.Application) -> None:
        """Add the route, and close all links when the application shuts down."""
        app.router.add_get("/bridge", self.serve)
        app.on_shutdown.append(self._on_shutdown)

    async def close_all(self, code: int = CLOSE_DRAINING, reason: str = "The server is restarting") -> None:
        """Close every link, and let no new one in. Returns within about 3 s, or earlier when all have gone."""
        self._is_draining = True
        for connection in self._connections:
            connection.link.close(code, reason)
        try:
            async with asyncio.timeout(_CLOSE_S + 1):
                while self._connections:
                    self._are_all_gone.clear()
                    await self._are_all_gone.wait()
        except TimeoutError:
            logger.warning("bridge links did not close in time", extra={"action": "bridge.close_timeout"})

    def end_token(self, token_id: TokenId) -> None:
        """The token opens nothing any more: close the links that came with it."""
        for connection in self._connections:
            if connection.identity is not None and connection.identity.token_id == token_id:
                self._close(connection, CLOSE_CREDENTIAL, "The token was revoked, or has expired")

    async def _on_shutdown(self, _: web.Application) -> None:
        await self.close_all()

    # --- one link ------------------------------------------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """The life of one link, from the upgrade to the close."""
        socket = LingeringSocket(
            protocols=(SUBPROTOCOL,),
            compress=False,
            # aiohttp refuses what is as large as this already.
            max_msg_size=self._limits.bridge_frame_max_bytes + 1,
            decode_text=False,
            timeout=_CLOSE_S,
        )
        await socket.prepare(request)
        if request.transport is None:
            return socket
        assert isinstance(request.transport, asyncio.Transport), "a socket's transport can be read and written"
        link = SocketLink(request.transport, 2 * self._limits.bridge_frame_max_bytes)
        connection = _Connection(request, socket, request.transport, link)
        self._connections.add(connection)
        try:
            await self._run(connection)
        finally:
            self._connections.discard(connection)
            self._are_all_gone.set()
        return socket

    async def _run(self, connection: _Connection) -> None:
        """Read until the bridge has gone or the link is to be closed, whoever wants that; then close it."""
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read(connection), name="bridge-read")
            beating = tasks.create_task(self._beat(connection), name="bridge-beat")
            try:
                await asyncio.wait((reading, connection.link.closing), return_when=asyncio.FIRST_COMPLETED)
            finally:
                reading.cancel()
                beating.cancel()
            await _shut(connection)

    async def _read(self, connection: _Connection) -> None:
        try:
            # Known from here on to `end_token`: nothing is awaited between the check and this.
            identity = connection.identity = self._admit(connection)
            hello = await self._read_hello(connection)
            if hello is None:
                return
            await self._check_bound(identity, hello.bridge_id)
            session = connection.session = await self._hub.connect(hello, connection.link)
            pace = Pace(connection.transport, self._limits.flush_floor_s, self._hub.flush_rest_s)
            try:
                await self._read_frames(connection.socket, session, pace)
            finally:
                pace.end()
                await self._hub.disconnect(session)
        except PeerViolation as violation:
            self._close(connection, violation.close_code, violation.message)
        except Unavailable as unavailable:
            self._close(connection, CLOSE_TRY_LATER, unavailable.message)
        except Exception:  # the bridge read loop: one bridge's trouble must not reach the others
            logger.exception("bridge link failed", extra={"action": "bridge.error"})
            self._close(connection, CLOSE_INTERNAL, "Internal error")

    def _close(self, connection: _Connection, code: int, reason: str) -> None:
        bridge_id = None if connection.session is None else connection.session.bridge_id
        logger.warning(
            "🌉 bridge link closed",
            extra={"action": "bridge.closed", "bridgeId": bridge_id, "code": code, "reason": reason},
        )
        connection.link.close(code, reason)

    def _admit(self, connection: _Connection) -> Identity:
        """Whose credential it is. Raises PeerViolation for whom this endpoint does not talk to."""
        if self._is_draining:
            raise PeerViolation("The server is restarting", close_code=CLOSE_DRAINING)
        if connection.socket.ws_protocol != SUBPROTOCOL:
            raise PeerViolation(f"Offer the subprotocol {SUBPROTOCOL}", close_code=CLOSE_VERSION)
        try:
            return self._authorize(connection.request)
        except (Unauthenticated, Forbidden) as error:
            raise PeerViolation(error.message, close_code=CLOSE_CREDENTIAL) from error

    async def _check_bound(self, identity: Identity, bridge_id: BridgeId) -> None:
        """A credential is one bridge's. Raises PeerViolation."""
        if self._bind is None:
            return
        try:
            await self._bind(identity, bridge_id)
        except Forbidden as error:
            raise PeerViolation(error.message, close_code=CLOSE_CREDENTIAL) from error

    async def _read_hello(self, connection: _Connection) -> Hello | None:
        """The bridge's first frame; None: it has gone."""
        payload = _payload(await connection.socket.receive())
        if payload is None:
            return None
        try:
            hello = load_bridge_frame(payload, self._limits)
        except RefusedFrame as refused:
            raise PeerViolation("The first frame must be hello") from refused
        if not isinstance(hello, Hello):
            raise PeerViolation("The first frame must be hello")
        connection.said_hello = True
        return hello

    async def _read_frames(self, socket: web.WebSocketResponse, session: Session, pace: Pace) -> None:
        hub, limits = self._hub, self._limits
        for count in itertools.count(1):
            payload = _payload(await socket.receive())
            if payload is None:
                return
            pace.rest()
            try:
                hub.receive(session, load_bridge_frame(payload, limits), len(payload))
            except RefusedFrame as refused:
                hub.refuse(session, refused, len(payload))
            if not session.has_room.is_set():
                pace.hold()
                await session.has_room.wait()
                pace.go_on()
            elif count % _FRAMES_PER_TURN == 0:
                # Reading what is there already does not let others run: a bridge that sends much must not be alone.
                await asyncio.sleep(0)

    async def _beat(self, connection: _Connection) -> None:
        for beats in itertools.count(1):
            await self._clock.sleep(self._limits.heartbeat_s)
            if connection.session is not None:
                self._hub.beat(connection.session)
            elif beats >= 2 and not connection.said_hello:
                connection.link.close(CLOSE_BAD_FRAME, "No hello came")


def _payload(message: WSMessage) -> bytes | None:
    """What a text frame holds; None: the socket has closed. Raises PeerViolation for a binary one."""
    if message.type is WSMsgType.TEXT:
        payload: bytes = message.data
        return payload
    if message.type is WSMsgType.BINARY:
        raise PeerViolation("Frames are text", close_code=CLOSE_BAD_FRAME)
    if isinstance(message.data, WebSocketError):
        # aiohttp has said so to the bridge already; here it gets into the log.
        raise PeerViolation("A frame is too large, or not UTF-8", close_code=message.data.code)
    return None


async def _shut(connection: _Connection) -> None:
    """Close the socket with the code that was asked for, if it is not closed; at most `_CLOSE_S`."""
    code, reason = connection.link.closing.result() if connection.link.closing.done() else (1000, "")
    cut = reason.encode()[:_CLOSE_REASON_BYTES].decode(errors="ignore")
    # Not drained: one that does not read would be waited for without end.
    await connection.socket.close(code=code, message=cut.encode(), drain=False)
    if connection.socket.was_refused and connection.request.transport is not None:
        await connection.socket.linger(connection.request.transport)
    connection.link.abort()
