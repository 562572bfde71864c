"""How long to wait before the next try. Pure: chance is passed in, nothing sleeps here."""

import random
from typing import Final

MAX_DELAY_S: Final = 30.0
_MAX_DOUBLINGS: Final = 30
"""Beyond, the cap counts anyway, and the power would only grow."""


class Backoff:
    """Exponential, capped, with full jitter (M. Brooker, AWS Architecture Blog, "Exponential Backoff And Jitter"):
    many bridges that lost the same server come back spread over the time, not all at once.
    """

    def __init__(self, first_s: float, chance: random.Random, *, max_s: float = MAX_DELAY_S) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._chance = chance
        self.tries = 0
        """Since the last good connection."""

    def next_s(self) -> float:
        """Seconds until the next try; twice as many on average as before, up to the cap."""
        ceiling = min(self._max_s, self._first_s * 2 ** min(self.tries, _MAX_DOUBLINGS))
        self.tries += 1
        return self._chance.uniform(0, ceiling)

    def slow_s(self) -> float:
        """As long as it gets at once, for what will hardly change soon."""
        self.tries += 1
        return self._chance.uniform(self._max_s / 2, self._max_s)

    def reset(self) -> None:
        """The connection was good: the next break is the first again."""
        self.tries = 0
