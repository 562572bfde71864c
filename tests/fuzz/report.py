"""What a fuzz run counts, what it watches of the process, and how it says so."""

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

MEBI = 1 << 20
MALFORMED = frozenset({"ended", "refused"})
"""A connection that was ended, or a refusal by the schemas: what was sent was malformed."""


@dataclass(frozen=True)
class Footprint:
    """What a process holds, as Linux tells; zeros elsewhere."""

    rss_bytes: int = 0
    files: int = 0
    threads: int = 0

    @classmethod
    def of(cls, pid: int | str = "self") -> "Footprint":
        """As of now."""
        folder = Path("/proc") / str(pid)
        if not (folder / "status").exists():
            return cls()
        told = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        files = sum(1 for _ in (folder / "fd").iterdir())
        return cls(int(told["VmRSS"].split()[0]) * 1024, files, int(told["Threads"]))

    def __str__(self) -> str:
        return f"{self.rss_bytes / MEBI:.1f} MiB, {self.files} files, {self.threads} threads"


@dataclass
class Report:
    """One level of a run. `outcomes`: how often each kind of input came to what."""

    level: str
    seed: int
    wanted: int
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    before: Footprint = Footprint()
    """Once everything that is made once was made: after a twentieth of the run."""
    after: Footprint = Footprint()
    blocks: list[int] = field(default_factory=list)
    """Blocks that Python's objects take, after each round; empty for another process."""
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    shows_progress: bool = False
    _shown: int = 0

    @property
    def malformed(self) -> int:
        """How many were malformed so far."""
        return sum(count for (_, outcome), count in self.outcomes.items() if outcome in MALFORMED)

    def malformed_of(self, *kinds: str) -> int:
        """How many of these kinds."""
        return sum(self.outcomes[kind, outcome] for kind in kinds for outcome in MALFORMED)

    @property
    def is_done(self) -> bool:
        """Whether there were as many as were wanted."""
        return self.malformed >= self.wanted

    @property
    def is_warm(self) -> bool:
        """Whether the memory may be looked at for the first time."""
        return self.malformed >= self.wanted // 20

    def add(self, kind: str, outcome: str) -> None:
        """One more input."""
        self.outcomes[kind, outcome] += 1

    def progress(self) -> None:
        """A line about every tenth of a percent, on a terminal over the one before."""
        if not self.shows_progress or self.malformed - self._shown < max(1, self.wanted // 1000):
            return
        self._shown = self.malformed
        rate = self.malformed / max(0.001, time.monotonic() - self.began)
        left = (self.wanted - self.malformed) / max(1.0, rate)
        text = f"{self.level}: {self.malformed:,} of {self.wanted:,} malformed, {rate:,.0f}/s, {left:,.0f} s left"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{text}\x1b[K")
        elif self.malformed * 20 // self.wanted > (self.malformed - self.wanted // 1000) * 20 // self.wanted:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def end(self, after: Footprint) -> None:
        """It is over."""
        self.after = after
        self.seconds = time.monotonic() - self.began
        if self.shows_progress and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")

    def __str__(self) -> str:
        lines = [f"{self.level}: {self.malformed:,} malformed, seed {self.seed}, {self.seconds:,.0f} s"]
        lines += [f"  {kind:<6} {outcome:<9} {count:>9,}" for (kind, outcome), count in sorted(self.outcomes.items())]
        if self.blocks:
            lines.append(f"  {self.blocks[0]:,} blocks of memory after the first round, {self.blocks[-1]:,} at the end")
        return "\n".join([*lines, f"  before {self.before}", f"  after  {self.after}"])
