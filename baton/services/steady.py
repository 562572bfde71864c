"""The wall clock without its jumps, for everything that has a deadline."""

from datetime import datetime, timedelta

from baton.core.ports import Clock


class SteadyClock:
    """Implements `core.ports.Clock`: goes on with the monotonic clock until somebody lets it `catch_up`.

    A jump is seen up to a second after it has happened. What gets a deadline meanwhile would get it in another time
    than what had one before, and moving all of them would move some of them wrongly: set back by an hour, a message
    that was sent a moment ago has waited too long.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall, self._monotonic = clock.now(), clock.monotonic()

    def now(self) -> datetime:
        """Aware UTC, cut to milliseconds."""
        now = self._wall + timedelta(seconds=self._clock.monotonic() - self._monotonic)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await self._clock.sleep(seconds)

    def catch_up(self) -> timedelta:
        """Go on from the wall clock; how far that is ahead (negative: behind) of what `now` gave until here."""
        before = self.now()
        self._wall, self._monotonic = self._clock.now(), self._clock.monotonic()
        return self._wall - before
