"""Every benchmark, one after the other: `make bench`, or `python -m benchmarks`.

Prints what it does while it does it, and keeps what it found in benchmarks/results/: JSON, Markdown and plots. A part
that fails is said and does not stop the others. Compare ratios of one run: absolute figures belong to the machine.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks import crowd, floor, idle, relay, saturation, stored, stream
from benchmarks.processes import SERVER_CPUS
from benchmarks.results import RESULTS, Found, Goal, Options, keep, machine
from benchmarks.systems import RELAYS, SYSTEMS
from tests.mongo_servers.servers import CANDIDATES, NotHereError

PARTS: Final[dict[str, tuple[str, Callable[[Options], Awaitable[Found]]]]] = {
    "relay": ("latency and CPU of a delta, against relays", relay.measure),
    "saturation": ("how many deltas one core takes", saturation.measure),
    "floor": ("latency against CPU by the floor of the flush", floor.measure),
    "sockets": ("idle sockets, and many that come again at once", crowd.measure),
    "stored": ("history, joins and searches in a large database", stored.measure),
    "idle": ("start, and a server at rest", idle.measure),
    "stream": ("memory while very many deltas go through", stream.measure),
}

SERVERS: Final = {candidate.name: candidate for candidate in CANDIDATES}
"""Servers by others that speak MongoDB's protocol, by name."""


def main() -> int:
    """Measure; the exit code is 1 where a part failed."""
    chosen = _arguments()
    with _store(chosen.store) as (store, on):
        return _measure(chosen, replace(_options(chosen), store=store, on=on))


def _measure(chosen: argparse.Namespace, options: Options) -> int:
    parts = [name for name in PARTS if not chosen.only or name in chosen.only.split(",")]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pinned = f"the server alone on core {min(SERVER_CPUS)}" if SERVER_CPUS else "nobody pinned"
    print(
        f"{machine()}; {pinned}; {'quick' if options.is_quick else 'full'} form{options.on}: {', '.join(parts)}",
        flush=True,
    )
    failed = [name for name in parts if not _run(name, chosen.results, options)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    print(f"kept in {chosen.results}/results.md")
    return 1 if failed else 0


@contextmanager
def _store(name: str | None) -> Iterator[tuple[str | None, str]]:
    """The address of what `--store` names, and what it is in words; a server of tests/mongo_servers runs meanwhile."""
    candidate = SERVERS.get(name or "")
    if candidate is None:
        yield name, ", on MongoDB" if name else ""
        return
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder, ExitStack() as running:
        try:
            address = running.enter_context(candidate.running(Path(folder)))
        except NotHereError as reason:
            sys.exit(f"{candidate.title} cannot be had here: {reason}")
        yield address, f", on {candidate.title}"


def _run(name: str, results: Path, options: Options) -> bool:
    title, measure = PARTS[name]
    print(f"\n{name}: {title}", flush=True)
    began = time.monotonic()
    try:
        found = asyncio.run(_awaited(measure(options)))
    except Exception:
        traceback.print_exc()
        return False
    keep(results, name, found, options)
    for goal in found.goals:
        _tell_goal(goal)
    print(f"  {name} took {time.monotonic() - began:.0f} s", flush=True)
    return True


async def _awaited(work: Awaitable[Found]) -> Found:
    return await work


def _tell_goal(goal: Goal) -> None:
    sign = "at least" if goal.at_least else "at most"
    mark = "ok  " if goal.is_met else "MISS"
    print(f"  {mark} {goal.what}: {goal.found:,.3g} {goal.unit} ({sign} {goal.most:,.3g})")


def _options(chosen: argparse.Namespace) -> Options:
    quick = chosen.quick
    return Options(
        rounds=chosen.rounds or (1 if quick else 5),
        seconds=chosen.seconds or (2.0 if quick else 5.0),
        warm_up_s=0.7 if quick else 2.0,
        is_quick=quick,
        systems=tuple(chosen.systems.split(",")) if chosen.systems else _systems(),
        messages=chosen.messages or (20_000 if quick else 1_000_000),
        deltas=chosen.deltas or (100_000 if quick else 1_000_000),
        sockets=chosen.sockets or (500 if quick else 5000),
        folder=chosen.keep,
        tell=lambda text: print(text, flush=True),
    )


def _systems() -> tuple[str, ...]:
    """All, or those that need no packages of npm where these are not installed."""
    if (RELAYS / "node_modules").exists():
        return SYSTEMS
    print(f"Without Node's relays: run `npm install --no-package-lock` in {RELAYS}", file=sys.stderr)
    return tuple(name for name in SYSTEMS if name not in ("node", "origin"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="parts:\n" + "\n".join(f"  {name:<12} {title}" for name, (title, _) in PARTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="PARTS", help="such as relay,floor [default: all]")
    parser.add_argument("--quick", action="store_true", help="about two minutes, to see that it works")
    parser.add_argument("--rounds", type=int, help="[default: 5, quick 1]")
    parser.add_argument("--seconds", type=float, help="of each round [default: 5, quick 2]")
    parser.add_argument("--systems", help=f"of {','.join(SYSTEMS)} [default: all]")
    parser.add_argument(
        "--store",
        metavar="STORE",
        help=f"instead of SQLite: mongodb://..., where a database of its own is made, or one of {', '.join(SERVERS)}",
    )
    parser.add_argument("--messages", type=int, help="of the large database [default: 1000000, quick 20000]")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where it is made, and found by the next run")
    parser.add_argument("--deltas", type=int, help="of the long stream [default: 1000000, quick 100000]")
    parser.add_argument("--sockets", type=int, help="[default: 5000, quick 500]; a fifth of them come again at once")
    parser.add_argument(
        "--results", type=Path, help="where results go [default: benchmarks/results, with --store below it]"
    )
    chosen = parser.parse_args()
    unknown = set((chosen.only or "").split(",")) - {"", *PARTS}
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; accepted: {', '.join(PARTS)}")
    if chosen.store and chosen.store not in SERVERS and not chosen.store.startswith(("mongodb://", "mongodb+srv://")):
        parser.error(f"--store {chosen.store}: accepted are mongodb://... and {', '.join(SERVERS)}")
    chosen.results = chosen.results or (RESULTS / "mongodb" if chosen.store else RESULTS)
    return chosen


if __name__ == "__main__":
    sys.exit(main())
