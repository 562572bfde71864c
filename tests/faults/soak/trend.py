"""Whether something grows: pure, and robust against the noise of a machine that does other things too.

What a process needs settles after a while. After that its first and its last third are compared by their medians, which
no single peak moves; a limit allows what is no growth: a page cache that fills, an allocator's fragments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

FEWEST: Final = 9
"""Samples after the warm-up, below which nothing is judged."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much the last third may lie above the first: a share of it, and an amount."""

    share: float
    amount: float


@dataclass(frozen=True, slots=True)
class Trend:
    """Medians of the three thirds of what was sampled after the warm-up."""

    first: float
    middle: float
    last: float
    limit: Limit

    @property
    def allowed(self) -> float:
        """How high the last third may be."""
        return self.first * (1 + self.limit.share) + self.limit.amount

    @property
    def grows(self) -> bool:
        """Whether it has gone up beyond its limit, and not by a step that the middle does not have."""
        return self.last > self.allowed and self.last >= self.middle >= self.first


def trend(values: Sequence[float], limit: Limit) -> Trend | None:
    """Of samples after the warm-up; None where they are too few."""
    if len(values) < FEWEST:
        return None
    third = len(values) // 3
    parts = (values[:third], values[third : 2 * third], values[-third:])
    return Trend(*(float(median(part)) for part in parts), limit)
