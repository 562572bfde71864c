"""When a bridge's socket is read: at once where it says little, in strides where it says much.

Knows transports and time, not frames.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Final

LEAD: Final = 0.2
"""So much of the floor before a flush may begin what it is to write is read: a timer may come late by a part of that,
and what comes just behind a flush waits for the next one."""


class Pace:
    """Reads a busy link in strides, one before each flush.

    What comes in between could not be written earlier anyway, so it may as well stay in the kernel: one look at the
    socket, one wake-up and one read then serve several frames, and the flush follows at once. A link that says little
    is read at once.

    `floor_s`: the least time between two flushes; `rest_s` tells how long the next one has to wait from now.
    """

    def __init__(self, transport: asyncio.ReadTransport, floor_s: float, rest_s: Callable[[], float]) -> None:
        self._transport = transport
        self._floor_s = floor_s
        self._rest_s = rest_s
        self._loop = asyncio.get_running_loop()
        self._read_at = -math.inf
        self._resting: asyncio.TimerHandle | None = None
        self._is_held = False

    def rest(self) -> None:
        """A frame was read: on a busy link, read what follows together, just before the flush behind the next one."""
        if self._resting is not None:
            return
        now = self._loop.time()
        if now - self._read_at < 2 * self._floor_s:
            rest_s, lead_s = self._rest_s(), LEAD * self._floor_s
            # What was read now is written now, or with what is read before the flush that waits.
            until_s = rest_s if rest_s > 2 * lead_s else self._floor_s
            self._transport.pause_reading()
            self._resting = self._loop.call_later(until_s - lead_s, self._rested)
        self._read_at = now

    def hold(self) -> None:
        """Nobody takes what is read: aiohttp alone decides now, which stops reading once it holds enough."""
        self._is_held = True

    def go_on(self) -> None:
        """Somebody does again."""
        self._is_held = False
        if self._resting is None:
            self._transport.resume_reading()

    def end(self) -> None:
        """Read as it comes: the last words and the close frame. Idempotent."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        self._transport.resume_reading()

    def _rested(self) -> None:
        self._resting = None
        if not self._is_held:
            self._transport.resume_reading()
