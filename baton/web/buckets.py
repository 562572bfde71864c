"""Token buckets: so many at once, then so many a minute; for any number of names in bounded memory, without I/O.

Own code because none of the libraries that were looked at lets the time be given and bounds its memory
(docs/dependencies.md). A bucket is one number, the moment at which it will be full again (the generic cell rate
algorithm of ITU-T I.371), so that a full one need not be kept at all.
"""

import math
from collections import OrderedDict
from typing import Final

from baton.core.ports import Clock

MOST_NAMES: Final = 10_000
"""Names that one set of buckets remembers, some hundred bytes each; beyond, who was seen longest ago starts anew."""


class Buckets:
    """One bucket per name: `per_minute` fit in, and as many refill in a minute. 0: nothing is ever refused."""

    def __init__(self, per_minute: int, clock: Clock, most_names: int = MOST_NAMES) -> None:
        self._clock = clock
        self._most_names = most_names
        self._interval_s = 60 / per_minute if per_minute else 0.0
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Names that are remembered."""
        return len(self._full_at)

    def take(self, name: str) -> int:
        """Take one out. 0: there was one; else the whole seconds until there will be, and none was taken."""
        if not self._interval_s:
            return 0
        now = self._clock.monotonic()
        full_at = max(self._full_at.get(name, now), now)
        # A millionth: sums of intervals are not exact.
        wait_s = full_at + self._interval_s - 60.0 - now
        if wait_s > 1e-6:
            return math.ceil(wait_s)
        self._full_at[name] = full_at + self._interval_s
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._most_names:
            self._full_at.popitem(last=False)
        return 0
