"""`make test-faults`: rounds of faults on real processes, each held against every promise.

make test-faults                                      ten rounds of a new seed, which is printed
make test-faults ARGS="--seed 7 --rounds 1000"        the long form, some hours; with --jobs 6 fewer
make test-faults ARGS="--seed 7 --first 42 --rounds 1"    one round again
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.suite.checks import Violation, judge
from tests.faults.suite.ending import end_on_sigterm
from tests.faults.suite.evidence import Evidence
from tests.faults.suite.plan import Round, plan
from tests.faults.suite.play import play
from tests.faults.suite.report import Tally, tell_round, tell_violations

ROUNDS = 10


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="make test-faults ARGS=...", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how many rounds [default: {ROUNDS}]")
    parser.add_argument("--seed", type=int, help="decides every round [default: a new one]")
    parser.add_argument("--first", type=int, default=0, help="number of the first round [default: 0]")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time; they wait more than work [default: 1]")
    parser.add_argument("--minutes", type=float, help="begin no further round after so long [default: no limit]")
    parser.add_argument("--plan", action="store_true", help="print the rounds and play none")
    parser.add_argument("--keep", type=Path, help="a folder for logs and databases of rounds that violate something")
    parser.add_argument("--record", type=Path, help="append a line about the whole to this file")
    return parser.parse_args()


async def main(given: argparse.Namespace) -> int:
    """Play the rounds; the exit code: 1 where anything was violated."""
    end_on_sigterm()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    rounds = [plan(seed, number) for number in range(given.first, given.first + given.rounds)]
    if given.plan:
        print("\n".join(line for round_ in rounds for line in round_.script()))
        return 0
    print(f"seed {seed}: {len(rounds)} rounds from {given.first}", flush=True)
    tally, began = Tally(seed, datetime.now(UTC)), time.monotonic()
    waiting = iter(rounds)
    try:
        async with asyncio.TaskGroup() as jobs:
            for _ in range(given.jobs):
                jobs.create_task(_play_all(waiting, tally, given, began), name="rounds")
    finally:
        _tell_all(tally, given.record, seconds=time.monotonic() - began)
    return 1 if tally.violations else 0


async def _play_all(waiting: Iterator[Round], tally: Tally, given: argparse.Namespace, began: float) -> None:
    """Rounds, one after the other, as long as there are any and there is time."""
    for round_ in waiting:
        if given.minutes is not None and time.monotonic() - began > given.minutes * 60:
            return
        at = time.monotonic()
        evidence, found = await _one(round_, given.keep)
        tally.add(evidence, found)
        tell_round(evidence, found, seconds=time.monotonic() - at)
        if found:
            tell_violations(round_, found)


def _tell_all(tally: Tally, record: Path | None, *, seconds: float) -> None:
    """The sum of what was played, also where it was ended early."""
    print(tally.summary(seconds=seconds), flush=True)
    if record is not None:
        with record.open("a") as file:
            file.write(tally.line(seconds=seconds) + "\n")


async def _one(round_: Round, keep: Path | None) -> tuple[Evidence, list[Violation]]:
    with tempfile.TemporaryDirectory(prefix="baton-faults-") as folder:
        evidence = await play(round_, Path(folder) / "round")
        found = judge(evidence)
        if found and keep is not None:
            kept = keep / f"{round_.seed}-{round_.number}"
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(folder) / "round", kept)  # may be another disk
        return evidence, found


if __name__ == "__main__":
    sys.exit(asyncio.run(main(options())))
