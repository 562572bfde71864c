"""What people read: a line per round, everything about a violation, and the sum."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from tests.faults.suite.checks import Violation
from tests.faults.suite.evidence import Evidence
from tests.faults.suite.plan import Fault, Round


@dataclass(slots=True)
class Tally:
    """All rounds together."""

    seed: int
    began_at: datetime
    rounds: int = 0
    violations: list[tuple[int, Violation]] = field(default_factory=list)
    faults: Counter[Fault] = field(default_factory=Counter)
    left_out: Counter[Fault] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    connects: int = 0
    resyncs: int = 0
    crashes: int = 0

    def add(self, evidence: Evidence, found: list[Violation]) -> None:
        """One more round."""
        self.rounds += 1
        self.violations += [(evidence.round.number, violation) for violation in found]
        self.faults.update(evidence.round.faults - evidence.left_out)
        self.left_out.update(evidence.left_out)
        self.runs += _ends(evidence)
        self.connects += sum(witness.connects for witness in evidence.witnesses)
        self.resyncs += sum(witness.resyncs for witness in evidence.witnesses)
        self.crashes += len(evidence.crashes)

    def summary(self, *, seconds: float) -> str:
        """For people."""
        rounds = len({number for number, _ in self.violations})
        lines = [
            f"{self.rounds} rounds in {seconds / 60:.1f} min, seed {self.seed}: "
            + (f"{len(self.violations)} violations in {rounds} rounds" if self.violations else "no violation"),
            "  runs: " + ", ".join(f"{count} {end}" for end, count in sorted(self.runs.items())),
            "  faults: " + ", ".join(f"{count} {fault}" for fault, count in sorted(self.faults.items())),
            f"  {self.connects} connections, {self.resyncs} resyncs, {self.crashes} disks looked at after a kill",
        ]
        if self.left_out:
            lines.append("  not possible on this machine: " + ", ".join(sorted(self.left_out)))
        missing = sorted(set(Fault) - self.faults.keys() - self.left_out.keys())
        if missing:
            lines.append("  not dealt in so few rounds: " + ", ".join(missing))
        return "\n".join(lines)

    def line(self, *, seconds: float) -> str:
        """For a file that keeps what was run."""
        return json.dumps(
            {
                "at": self.began_at.isoformat(timespec="seconds"),
                "seed": self.seed,
                "rounds": self.rounds,
                "minutes": round(seconds / 60, 1),
                "violations": [f"round {number}: {v.promise}: {v.what}" for number, v in self.violations],
                "runs": dict(sorted(self.runs.items())),
                "faults": {str(fault): count for fault, count in sorted(self.faults.items())},
                "leftOut": sorted(self.left_out),
            },
            ensure_ascii=False,
        )


def tell_round(evidence: Evidence, found: list[Violation], *, seconds: float) -> None:
    """A line while it goes on."""
    round_ = evidence.round
    faults = ", ".join(part.fault for part in round_.breaks)
    ends = ", ".join(f"{count} {end}" for end, count in sorted(_ends(evidence).items()))
    mark = "✗" if found else "✓"
    print(f"{mark} {round_.number:4} {round_.shape:6} {seconds:5.1f} s  {faults}  |  {ends}", flush=True)


def tell_violations(round_: Round, found: list[Violation]) -> None:
    """What was violated, the round, and how to see it again."""
    for violation in found:
        print(f"  VIOLATED {violation.promise}: {violation.what}")
    print("\n".join(f"    {line}" for line in round_.script()))
    print(f'  again: make test-faults ARGS="--seed {round_.seed} --first {round_.number} --rounds 1"', flush=True)


def _ends(evidence: Evidence) -> Counter[str]:
    runs = evidence.stored.runs.values() if evidence.stored else ()
    return Counter((run["error"] or {}).get("code", run["status"]) for run in runs)
