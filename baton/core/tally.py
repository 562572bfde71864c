"""What parts count of themselves while they work: plain numbers, read when somebody asks for /metrics.

Nothing here locks, formats or allocates; on the stream's path an integer is added to and no more. Counted is since the
start of the process; nothing is stored.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from baton.core import lifecycle
from baton.core.models import Prompt, Run

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
COUNTS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class Spread:
    """How values are spread: how many were at most each of `bounds`, and what they make together."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds: Final = bounds
        self.counts: Final = [0] * (len(bounds) + 1)
        """By the bound that holds the value; the last is for those above all."""
        self.total = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class Tally:
    """Of the services of one server."""

    deltas_in: int = 0
    """Events of streams, as bridges sent them."""
    flush_frames: Spread = field(default_factory=lambda: Spread(COUNTS))
    flush_s: Spread = field(default_factory=Spread)
    """From the commit's begin to the last acknowledgement."""
    write_s: Spread = field(default_factory=Spread)
    """Every commit, of flushes too."""
    write_failures: int = 0
    runs_ended: Counter[str] = field(default_factory=Counter)
    """By status."""
    prompts_ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By status and handler."""

    def note(self, runs: Iterable[Run], ended_prompts: Iterable[Prompt]) -> None:
        """These runs were stored, and these prompts stored as ended."""
        for run in runs:
            if lifecycle.is_final(run):
                self.runs_ended[run.status.value] += 1
        for prompt in ended_prompts:
            self.prompts_ended[prompt.status.value, prompt.auto_handler or "user_selection"] += 1


@dataclass(slots=True)
class PoolTally:
    """Of the connections to a database server; all 0 where there is none. The driver's threads count into it."""

    opened: int = 0
    closed: Counter[str] = field(default_factory=Counter)
    """By reason."""
    in_use: int = 0
    waiting: int = 0
    """Operations that wait for a connection."""
    checkout_s: Spread = field(default_factory=Spread)
    """How long operations waited for theirs."""
    checkout_failures: Counter[str] = field(default_factory=Counter)
    """Operations that got none, by reason."""
    cleared: int = 0
    """How often the server failed, so that its connections were given up."""

    @property
    def idle(self) -> int:
        """Connections that are open and not used now."""
        return max(0, self.opened - sum(self.closed.values()) - self.in_use)
