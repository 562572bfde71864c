"""Time that stands still until a test moves it."""

import asyncio
import heapq
import itertools
from datetime import datetime, timedelta

from baton.testing.samples import START


class FakeClock:
    """Implements core.ports.Clock. `advance` wakes in order those whose sleep is over; nothing else ever does.

    `jump` moves the wall clock alone, as a correction of the time or a sleep of the machine does.
    """

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._monotonic = 1000.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._fell_asleep = asyncio.Event()

    def now(self) -> datetime:
        """The time of day as far as the test has moved it, cut to milliseconds."""
        return self._now.replace(microsecond=self._now.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        """Seconds, moved by `advance` only."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Return when the clock was advanced by `seconds`; a sleep of nothing lets others run once."""
        if seconds <= 0:
            await asyncio.sleep(0)  # what a real sleep of 0 does
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), waiter))
        self._fell_asleep.set()
        await waiter

    @property
    def sleeping(self) -> int:
        """How many wait for the clock."""
        return sum(1 for _, _, waiter in self._sleepers if not waiter.done())

    def advance(self, seconds: float) -> None:
        """Move both clocks; whoever wakes goes on when the caller next awaits.

        One who sleeps again after waking starts from the new time: to see each round of a loop, use `run_for`.
        """
        self._move_to(self._monotonic + seconds)

    async def run_for(self, seconds: float) -> None:
        """Advance from one waking to the next, and let the woken run in between."""
        end = self._monotonic + seconds
        await self._let_run()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._move_to(max(self._sleepers[0][0], self._monotonic))
            await self._let_run()
        self._move_to(end)
        await self._let_run()

    async def until_sleeping(self, count: int = 1) -> None:
        """Return when at least `count` wait for the clock."""
        while self.sleeping < count:
            self._fell_asleep.clear()
            await self._fell_asleep.wait()

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone; nobody wakes."""
        self._now += timedelta(seconds=seconds)

    def _move_to(self, moment: float) -> None:
        self._now += timedelta(seconds=moment - self._monotonic)
        self._monotonic = moment
        while self._sleepers and self._sleepers[0][0] <= moment:
            _, _, waiter = heapq.heappop(self._sleepers)
            if not waiter.done():
                waiter.set_result(None)

    async def _let_run(self) -> None:
        # A woken task may need a few rounds of the loop before it sleeps again; ten is more than any chain here has.
        for _ in range(10):
            await asyncio.sleep(0)
