"""What happened over time: runs and prompts that ended, in buckets of one width.

Values and the arithmetic of buckets, the same for every store; which documents they are made of is the store's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Final

from baton.core.models import Usage

PROMPT_OUTCOMES: Final = ("allow", "deny", "answered", "timeout", "cancelled")
"""How a prompt ends, as entries of the audit say. What else the audit may tell of is no prompt, and not counted."""


class BucketWidth(StrEnum):
    """How much time one bucket holds."""

    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> int:
        """Of one bucket. A day always has 24 hours: buckets know no time zones."""
        return 3600 if self is BucketWidth.HOUR else 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """`count` buckets, one after the other, from `since` on, which is a whole second."""

    since: datetime
    width: BucketWidth
    count: int

    @property
    def until(self) -> datetime:
        """The end of the last bucket; not in it."""
        return self.start_of(self.count)

    def start_of(self, index: int) -> datetime:
        """When this bucket begins."""
        return self.since + timedelta(seconds=index * self.width.seconds)

    def index_of(self, at: datetime) -> int:
        """Which bucket holds this moment, which must lie in the span."""
        return (at - self.since) // timedelta(seconds=self.width.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """What ended in one bucket."""

    start_at: datetime
    runs: Mapping[str, int]
    """By final status."""
    usage: Usage
    """Of these runs, as is `cost_usd`."""
    cost_usd: float
    prompts: Mapping[str, int]
    """By how they ended, of PROMPT_OUTCOMES."""
    answers: int
    """How many of the prompts a person answered; the next two are about these, None where there are none."""
    median_latency_ms: int | None
    p95_latency_ms: int | None


@dataclass(slots=True)
class _Sums:
    runs: Counter[str] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    prompts: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[int] = field(default_factory=list)


class SeriesSums:
    """Adds up what a store finds, in any order."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._sums = [_Sums() for _ in range(span.count)]

    def add_runs(self, index: int, status: str, count: int, usage: Usage, cost_usd: float) -> None:
        """So many runs of this bucket ended with this status, and used this together."""
        sums = self._sums[index]
        sums.runs[status] += count
        sums.usage += usage
        sums.cost_usd += cost_usd

    def add_prompts(self, index: int, outcome: str, count: int) -> None:
        """So many prompts of this bucket ended like this."""
        self._sums[index].prompts[outcome] += count

    def add_answer(self, index: int, latency_ms: int) -> None:
        """A person took this long to answer one of them."""
        self._sums[index].latencies_ms.append(latency_ms)

    def buckets(self) -> tuple[Bucket, ...]:
        """All of them, also those in which nothing was."""
        return tuple(self._bucket(index, sums) for index, sums in enumerate(self._sums))

    def _bucket(self, index: int, sums: _Sums) -> Bucket:
        latencies_ms = sorted(sums.latencies_ms)
        return Bucket(
            start_at=self._span.start_of(index),
            runs=dict(sums.runs),
            usage=sums.usage,
            cost_usd=sums.cost_usd,
            prompts=dict(sums.prompts),
            answers=len(latencies_ms),
            median_latency_ms=percentile(latencies_ms, 50),
            p95_latency_ms=percentile(latencies_ms, 95),
        )


def percentile(ordered: Sequence[int], percent: int) -> int | None:
    """The least value that so many percent of them do not exceed (nearest rank); None of none."""
    return ordered[ceil(len(ordered) * percent / 100) - 1] if ordered else None
