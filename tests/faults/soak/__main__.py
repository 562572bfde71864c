"""`make soak`: half an hour of mixed load with faults, and whether anything grows.

make soak                                       30 minutes
make soak ARGS="--minutes 5 --seed 3"           less
make soak ARGS="--out benchmarks/results"       where soak.csv and soak.svg go [default: that]
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp

from tests.faults.soak.chart import draw
from tests.faults.soak.load import Load, load
from tests.faults.soak.samples import LIMITS, Sample, Subject, sample, write_csv
from tests.faults.soak.trend import trend
from tests.faults.suite.ending import end_on_sigterm
from tests.faults.suite.world import TOKEN

EVERY_S: Final = 5.0
WARM_UP_SHARE: Final = 1 / 4
"""Of the whole: caches fill, and allocators find their size."""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="make soak ARGS=...", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30, help="how long [default: 30]")
    parser.add_argument("--seed", type=int, help="decides the load [default: a new one]")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of soak.csv and soak.svg")
    return parser.parse_args()


async def main(given: argparse.Namespace) -> int:
    """Run it; the exit code: 1 where something grows, or a browser was told what did not fit."""
    end_on_sigterm()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    print(f"seed {seed}: {given.minutes:g} minutes", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="baton-soak-"))
    print(f"logs and database: {folder}, removed where all is well", flush=True)
    async with load(folder / "soak", seed) as going:
        samples = await _watch(going, given.minutes * 60)
        misfits = _misfits(going)
    given.out.mkdir(parents=True, exist_ok=True)
    write_csv(given.out / "soak.csv", samples)
    (given.out / "soak.svg").write_text(draw(samples, warm_up_min=given.minutes * WARM_UP_SHARE), encoding="utf-8")
    print("  runs: " + ", ".join(f"{count} {end}" for end, count in sorted(going.ends.items())))
    print("  faults: " + ", ".join(f"{count} {fault}" for fault, count in sorted(going.broken.items())))
    print("".join(f"  did not fit: {misfit}\n" for misfit in misfits), end="")
    if _judge(samples) or misfits:
        return 1
    shutil.rmtree(folder)
    return 0


async def _watch(going: Load, seconds: float) -> list[Sample]:
    """Let it go on for so long, and look every few seconds."""
    samples: list[Sample] = []
    began = time.monotonic()
    subject = _subject(going)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session:
        working = asyncio.create_task(going.go_on(), name="load")
        try:
            while time.monotonic() - began < seconds and not working.done():
                await asyncio.wait([working], timeout=EVERY_S)
                samples.append(await sample(session, subject, began=began))
                if len(samples) % 12 == 0:
                    _tell(samples[-1], going)
        finally:
            working.cancel()
            (ended,) = await asyncio.gather(working, return_exceptions=True)
    if isinstance(ended, Exception):
        raise ended
    return samples


def _subject(going: Load) -> Subject:
    world = going.world
    assert world.bridge is not None, "the shape has one"
    return Subject(
        server_pid=world.serving.pid,
        bridge_pid=world.bridge.pid,
        url=world.serving.url,
        token=TOKEN,
        bridge_url=f"http://127.0.0.1:{world.bridge.port}",
        database=world.data / "baton.sqlite3",
    )


def _tell(last: Sample, going: Load) -> None:
    told = ", ".join(f"{name} {last[name]:.6g}" for name in LIMITS)
    print(f"{last['minutes']:5.1f} min  {sum(going.ends.values())} runs, {told}", flush=True)


def _misfits(going: Load) -> list[str]:
    return [*going.misfits, *(m for person in going.world.people for m in person.witness.all_misfits())]


def _judge(samples: Sequence[Sample]) -> list[str]:
    """What grows."""
    settled = samples[int(len(samples) * WARM_UP_SHARE) :]
    grown = []
    for name, limit in LIMITS.items():
        seen = trend([one[name] for one in settled], limit)
        if seen is None:
            print("Too few samples to judge: let it run longer")
            return ["too few"]
        mark = "✗ GROWS" if seen.grows else "✓"
        medians = f"{seen.first:.6g}, {seen.middle:.6g}, {seen.last:.6g}"
        print(f"{mark} {name}: medians {medians}; allowed up to {seen.allowed:.6g}")
        if seen.grows:
            grown.append(name)
    return grown


if __name__ == "__main__":
    sys.exit(asyncio.run(main(options())))
