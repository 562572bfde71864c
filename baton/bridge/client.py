"""The link of a bridge to its server: a raw WebSocket, again and again, for as long as the process lives.

What is said over it is `protocol.BridgeEnd`'s business; what it means, its owner's. Here are sockets, delays and
clocks: a link that ends is only a link, runs go on without it.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from socket import SHUT_RDWR
from typing import Final, Literal, TypeAlias

import aiohttp
from aiohttp import ClientWebSocketResponse, WSMsgType

from baton.bridge.backoff import Backoff
from baton.bridge.endings import Ending, Next, of_close, of_refusal
from baton.bridge.facts import LinkState, LinkStatus
from baton.bridge.heartbeat import Beat
from baton.bridge.protocol import BridgeEnd, BridgeState, Instruction
from baton.core.errors import PeerViolation
from baton.core.frames import SUBPROTOCOL, Hello
from baton.core.limits import Limits
from baton.core.ports import Clock
from baton.schemas.bridge import dump_frame, load_server_frame

logger = logging.getLogger(__name__)

Socket: TypeAlias = "ClientWebSocketResponse[Literal[False]]"
"""One that gives text as bytes."""

CLOSE_S: Final = 2.0
"""How long a closing handshake is waited for."""
_LOOK_EVERY_S: Final = 1.0
"""How often the clock is looked at, at least."""
_SLEPT_S: Final = 10.0
"""So much more wall time than was waited for means that the machine slept, or this process was stopped."""
_FRAMES_PER_TURN: Final = 64
"""Frames that are read in one turn of the loop: what waits in the socket's buffer comes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """Where the server is, and how patient the bridge is. `max_tries` 0: for ever."""

    url: str
    """Of the server; http or https."""
    token: str | None = None
    timeout_s: float = 30.0
    """From the first packet to the welcome."""
    first_delay_s: float = 1.0
    max_tries: int = 0


class Client:
    """Keeps a link to the server for a `BridgeEnd`.

    `hello` gives the first frame of each link; `instruct` is told what the server wants done; `on_change` is called
    when `status` has changed, and when a frame came. `wake` must be called after something was said.
    """

    def __init__(
        self,
        end: BridgeEnd,
        options: LinkOptions,
        *,
        hello: Callable[[], Hello],
        instruct: Callable[[Instruction], None],
        clock: Clock,
        limits: Limits,
        on_change: Callable[[], None] = lambda: None,
        chance: random.Random | None = None,
    ) -> None:
        self._end = end
        self._options = options
        self._hello = hello
        self._instruct = instruct
        self._clock = clock
        self._limits = limits
        self._on_change = on_change
        self._backoff = Backoff(options.first_delay_s, chance or random.SystemRandom())
        self._news = asyncio.Event()
        self.status = LinkStatus(since=clock.now())

    def wake(self) -> None:
        """There may be something to send."""
        self._news.set()

    async def run(self, session: aiohttp.ClientSession) -> Ending:
        """Have a link, for ever; return only where it is of no use to try again, with the reason."""
        while True:
            self._become(LinkState.CONNECTING)
            try:
                ending = await self._live(session)
            # The bridge's read loop: a fault in here must not end the runs, and a new link may mend it.
            except Exception as error:
                logger.exception("❌ the bridge lost its link", extra={"action": "bridge.fault"})
                ending = Ending(text=f"The bridge lost its link by a mistake of its own ({type(error).__name__})")
            delay_s = self._delay_s(ending)
            if delay_s is None:
                self._become(LinkState.STOPPED, ending)
                return ending
            self._become(LinkState.WAITING, ending)
            await self._pause(delay_s)

    def _delay_s(self, ending: Ending) -> float | None:
        """How long to wait after this ending; None: for ever."""
        if ending.then is Next.STOP or 0 < self._options.max_tries <= self._backoff.tries:
            return None
        if ending.then is Next.SOON:
            self._backoff.reset()
        return self._backoff.slow_s() if ending.then is Next.SLOWLY else self._backoff.next_s()

    # --- one link ------------------------------------------------------------------------------------------------

    async def _live(self, session: aiohttp.ClientSession) -> Ending:
        """One link, from the first packet to the last; at most `CLOSE_S` longer than it is of use."""
        try:
            async with asyncio.timeout(self._options.timeout_s):
                socket = await self._connect(session)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return of_refusal(error)
        ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        try:
            self._end.connected(self._hello(), self._clock.monotonic())
            async with asyncio.TaskGroup() as tasks:
                running = (
                    tasks.create_task(self._read(socket, ended), name="bridge link: read"),
                    tasks.create_task(self._write(socket, ended), name="bridge link: write"),
                    tasks.create_task(self._watch(ended), name="bridge link: watch"),
                )
                try:
                    return await ended
                finally:
                    for task in running:
                        task.cancel()
        finally:
            self._end.disconnected()
            await _shut(socket)

    async def _connect(self, session: aiohttp.ClientSession) -> Socket:
        token = self._options.token
        return await session.ws_connect(
            self._options.url.rstrip("/") + "/bridge",
            protocols=(SUBPROTOCOL,),
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
            compress=0,
            max_msg_size=self._limits.bridge_frame_max_bytes,
            decode_text=False,
        )

    async def _read(self, socket: Socket, ended: "asyncio.Future[Ending]") -> None:
        """Take in frames until the socket ends, or the server breaks the contract."""
        count = 0
        while True:
            message = await socket.receive()
            if message.type is not WSMsgType.TEXT:
                _settle(ended, _ending_of(socket.close_code, message.type, message.extra))
                return
            try:
                self._take_in(message.data)
            except PeerViolation as violation:
                _settle(ended, Ending(text=violation.message, code=violation.close_code))
                return
            count += 1
            if count % _FRAMES_PER_TURN == 0:
                # Reading what is there already does not let others run, and agents must.
                await asyncio.sleep(0)

    def _take_in(self, payload: bytes) -> None:
        was_open = self._end.state is BridgeState.OPEN
        for instruction in self._end.receive(load_server_frame(payload, self._limits)):
            self._instruct(instruction)
        if not was_open and self._end.state is BridgeState.OPEN:
            self._backoff.reset()
            self._become(LinkState.CONNECTED)
        else:
            self._on_change()
        self.wake()

    async def _write(self, socket: Socket, ended: "asyncio.Future[Ending]") -> None:
        """Send what may be sent, whenever there is news. A server that does not read is found by `_watch`."""
        while True:
            self._news.clear()
            try:
                for frame in self._end.take():
                    await socket.send_frame(dump_frame(frame), WSMsgType.TEXT)
            except (aiohttp.ClientError, ConnectionError):
                # What broke the link is better told by the reader, if there is anything left to read.
                await asyncio.sleep(0)
                _settle(ended, of_close(socket.close_code, ""))
                return
            await self._news.wait()

    async def _watch(self, ended: "asyncio.Future[Ending]") -> None:
        """End a link over which nothing comes any more, and one that a sleep of the machine has left behind."""
        began = self._clock.monotonic()
        while True:
            if await self._nap(min(_LOOK_EVERY_S, self._end.heartbeat_s / 4)):
                # Addresses and their translations may have changed: a new link is had sooner than a dead one is found.
                return _settle(ended, Ending(text="The machine slept", then=Next.SOON))
            now = self._clock.monotonic()
            if self._end.tick(now) is Beat.DEAD:
                return _settle(ended, Ending(text="Nothing was heard from the server for two heartbeats"))
            if self._end.state is BridgeState.GREETING and now - began > self._options.timeout_s:
                return _settle(ended, Ending(text="The server did not say welcome"))

    # --- time ----------------------------------------------------------------------------------------------------

    async def _pause(self, seconds: float) -> None:
        """Wait before the next try; not longer than until the machine wakes from a sleep."""
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0:
            if await self._nap(min(left, _LOOK_EVERY_S)):
                return

    async def _nap(self, seconds: float) -> bool:
        """Wait; whether the machine slept meanwhile (its monotonic clock may stand still then, the other does not)."""
        before = self._clock.now()
        await self._clock.sleep(seconds)
        return (self._clock.now() - before).total_seconds() - seconds > _SLEPT_S

    # --- telling -------------------------------------------------------------------------------------------------

    def _become(self, state: LinkState, ending: Ending | None = None) -> None:
        before = self.status
        self.status = replace(before, state=state, since=self._clock.now(), tries=self._backoff.tries)
        if state is LinkState.CONNECTED:
            self.status = replace(self.status, text="", code=None)
            logger.info("🌉 connected to the server", extra={"action": "bridge.connected", "url": self._options.url})
            if self._end.elsewhere:
                logger.warning(
                    "🌉 runs of another server are kept until it is met again",
                    extra={"action": "bridge.elsewhere", "runs": self._end.elsewhere},
                )
        elif ending is not None:
            self.status = replace(self.status, text=ending.text, code=ending.code)
            is_news = ending.text != before.text
            logger.log(
                logging.WARNING if is_news else logging.DEBUG,
                "🌉 no link to the server",
                extra={"action": "bridge.disconnected", "reason": ending.text, "code": ending.code},
            )
        self._on_change()


def _settle(ended: "asyncio.Future[Ending]", ending: Ending) -> None:
    """The first reason counts."""
    if not ended.done():
        ended.set_result(ending)


def _ending_of(close_code: int | None, kind: WSMsgType, reason: str | None) -> Ending:
    if kind is WSMsgType.BINARY:
        return Ending(text="The server sent a frame that is no text")
    return of_close(close_code, reason or "" if kind is WSMsgType.CLOSE else "")


async def _shut(socket: Socket) -> None:
    """Close the socket; at most `CLOSE_S`, also where the other side reads no more."""
    raw = socket.get_extra_info("socket")
    try:
        async with asyncio.timeout(CLOSE_S):
            await socket.close()
    except TimeoutError:
        # aiohttp closes its transport, which goes on holding what it could not send; this makes it let go.
        with suppress(OSError):
            raw.shutdown(SHUT_RDWR)
