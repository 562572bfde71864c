"""How much a stored, resumable stream costs, against relays that store nothing and one that writes each chunk.

All systems in turn, round by round, so that a drift of the machine meets them all. Every watcher of every system gets
the same JSON per delta; latency is from the producer's send to the watcher's receipt, CPU that of the server alone.
"""

import asyncio
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import cpu_s, disk_sync_ms, peak_mib, summary
from benchmarks.results import Found, Goal, Options, Table
from benchmarks.systems import SYSTEMS, TITLES, Load, Streaming, streaming

ROUND_TIMEOUT_S = 120.0
ONE_WATCHER = Load(20, 50, 1)
MANY_WATCHERS = Load(2, 20, 200)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured."""

    median_ms: float
    p99_ms: float
    cpu_us: float
    """Per delivered delta."""
    peak_mib: float
    share: float
    """Delivered deltas, of those that were to be delivered."""


async def measure(options: Options) -> Found:
    """Both cases."""
    one = await _compare("relay-1", ONE_WATCHER, options)
    many = await _compare("relay-200", MANY_WATCHERS, options)
    return Found(tables=(*one.tables, *many.tables), goals=(*one.goals, *many.goals))


async def _compare(key: str, load: Load, options: Options) -> Found:
    systems = tuple(name for name in SYSTEMS if not options.systems or name in options.systems)
    title = f"{load.conversations} conversations x {load.rate:g} deltas/s x {load.watchers} watcher(s)"
    found: dict[str, list[Round]] = {system: [] for system in systems}
    syncs_ms: list[float] = []
    for number in range(options.rounds):
        syncs_ms += await asyncio.to_thread(disk_sync_ms)
        for system in systems:
            measured = await one_round(system, load, options)
            found[system].append(measured)
            options.tell(
                f"  {title}, round {number + 1}, {system:7} {measured.median_ms:6.2f} ms median, "
                f"{measured.p99_ms:6.2f} ms p99, {measured.cpu_us:6.1f} us CPU, {measured.share:.1%} delivered"
            )
    rows = tuple(_row(system, found) for system in systems)
    unit = "CPU per delta" if load.watchers == 1 else "CPU per delivery"
    columns = ("", "median", "p99", unit, "peak memory", "Baton's CPU is")
    table = Table(key, f"{title} (the disk's own sync: {summary(syncs_ms)})", columns, rows)
    return Found(tables=(table,), goals=_goals(load, found))


async def one_round(system: str, load: Load, options: Options, **environment: str) -> Round:
    """One round of one system."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        async with asyncio.timeout(ROUND_TIMEOUT_S):
            async with streaming(system, Path(folder), load, options.store, environment=environment) as under_way:
                await under_way.go()
                return await _count(under_way, load, options)


async def _count(under_way: Streaming, load: Load, options: Options) -> Round:
    await asyncio.sleep(options.warm_up_s)
    pid = under_way.server.pid
    before = cpu_s(pid)
    await under_way.watchers.tell("begin")
    await asyncio.sleep(options.seconds)
    spent = cpu_s(pid) - before
    await under_way.watchers.tell("end")
    told = await under_way.watchers.told("count")
    if not told["count"]:
        raise RuntimeError("no delta was delivered")
    return Round(
        median_ms=told["median_ms"],
        p99_ms=told["p99_ms"],
        cpu_us=spent / told["count"] * 1e6,
        peak_mib=peak_mib(pid),
        share=told["count"] / (load.deltas_s * load.watchers * options.seconds),
    )


def _row(system: str, found: dict[str, list[Round]]) -> tuple[str, ...]:
    rows = found[system]
    return (
        TITLES[system],
        f"{statistics.median(row.median_ms for row in rows):.2f} ms",
        f"{statistics.median(row.p99_ms for row in rows):.1f} ms",
        f"{statistics.median(row.cpu_us for row in rows):.1f} us",
        f"{statistics.median(row.peak_mib for row in rows):.0f} MiB",
        _ratio_text(system, found),
    )


def _ratios(other: str, found: dict[str, list[Round]]) -> list[float]:
    """Baton's CPU over the other's, round by round."""
    return [a.cpu_us / b.cpu_us for a, b in zip(found["baton"], found[other], strict=True)]


def _ratio_text(system: str, found: dict[str, list[Round]]) -> str:
    if system == "baton" or "baton" not in found:
        return ""
    ratios = _ratios(system, found)
    return f"{statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"


def _goals(load: Load, found: dict[str, list[Round]]) -> tuple[Goal, ...]:
    if "baton" not in found:
        return ()
    what = f"{load.conversations} x {load.rate:g}/s x {load.watchers}"
    limits = {"bare": 2.0, "node": 1.0} if load.watchers == 1 else {"bare": 1.3, "node": 1.0}
    goals = [
        Goal(f"{what}: CPU over the {TITLES[other].split(' (')[0]}'s", most, statistics.median(ratios), "times")
        for other, most in limits.items()
        if other in found and (ratios := _ratios(other, found))
    ]
    if load.watchers == 1:
        rows = found["baton"]
        goals.append(Goal(f"{what}: latency, median", 5, statistics.median(row.median_ms for row in rows), "ms"))
        goals.append(Goal(f"{what}: latency, p99", 30, statistics.median(row.p99_ms for row in rows), "ms"))
    return tuple(goals)
