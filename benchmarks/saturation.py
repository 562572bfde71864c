"""How much one core takes: a hundred conversations, more and more deltas, until latency or order gives way."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import cpu_s
from benchmarks.results import Chart, Found, Goal, Line, Options, Table
from benchmarks.systems import Load, streaming

CONVERSATIONS = 100
P99_MS = 100.0
_SINGLE = (4_000, 6_000, 8_000, 10_000, 12_000, 15_000)
_MERGED = (10_000, 15_000, 20_000, 30_000, 40_000)
PER_FRAME = 10
"""Deltas in a merged frame."""
STEP_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class Step:
    """One offered rate. `lost`: deltas that were sent and did not arrive; `broken`: events out of order."""

    offered: float
    delivered: float
    median_ms: float
    p99_ms: float
    core: float
    lost: int
    broken: int


async def measure(options: Options) -> Found:
    """Both kinds of frames."""
    single = await _ladder("one delta a frame", 1, (8_000,) if options.is_quick else _SINGLE, options)
    merged = await _ladder(
        f"{PER_FRAME} deltas a frame", PER_FRAME, (15_000,) if options.is_quick else _MERGED, options
    )
    ladders = {"one delta a frame": single, f"{PER_FRAME} deltas a frame": merged}
    chart = Chart(
        "saturation",
        f"p99 by offered deltas a second, {CONVERSATIONS} conversations, one core",
        "deltas/s offered",
        "p99, ms",
        tuple(Line(name, tuple((step.offered, step.p99_ms) for step in steps)) for name, steps in ladders.items()),
        limit=P99_MS,
        is_log=True,
    )
    return Found(
        tables=(_table(ladders),),
        goals=(
            *_goals("one delta a frame", 8_000, single),
            *_goals("merged frames", 15_000, merged),
        ),
        charts=() if options.is_quick else (chart,),
    )


async def _ladder(name: str, per_frame: int, rates: tuple[int, ...], options: Options) -> list[Step]:
    steps = []
    for rate in rates:
        step = await _step(Load(CONVERSATIONS, rate / CONVERSATIONS / per_frame, 1, per_frame), options)
        steps.append(step)
        options.tell(
            f"  {name}, {rate:,}/s offered: {step.delivered:,.0f}/s, {step.median_ms:.1f} ms median, "
            f"{step.p99_ms:.1f} ms p99, {step.core:.0%} of a core, {step.lost} lost, {step.broken} out of order"
        )
        if step.p99_ms > 20 * P99_MS:
            break  # it does not get better, and each further step takes long to drain
    return steps


async def _step(load: Load, options: Options) -> Step:
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            more = {"message_deltas": 1000 * load.per_frame}
            async with streaming("baton", Path(folder), load, options.store, checks=True, **more) as under_way:
                await under_way.go()
                await asyncio.sleep(options.warm_up_s)
                before = cpu_s(under_way.server.pid)
                await under_way.watchers.tell("begin")
                await asyncio.sleep(options.seconds)
                core = (cpu_s(under_way.server.pid) - before) / options.seconds
                await under_way.watchers.tell("end")
                told = await under_way.watchers.told("count")
                await under_way.producer.tell("end")
                sent = (await under_way.producer.told("sent"))["sent"]
                await asyncio.sleep(0.5)
                await under_way.watchers.tell("end")
                whole = await under_way.watchers.told("count")
    return Step(
        offered=load.deltas_s,
        delivered=told["count"] / options.seconds,
        median_ms=told["median_ms"] or float("inf"),
        p99_ms=told["p99_ms"] or float("inf"),
        core=core,
        lost=sent - whole["delivered"],
        broken=whole["broken"],
    )


def _table(ladders: dict[str, list[Step]]) -> Table:
    rows = tuple(
        (
            name,
            f"{step.offered:,.0f}",
            f"{step.delivered:,.0f}",
            f"{step.median_ms:.1f} ms",
            f"{step.p99_ms:.1f} ms",
            f"{step.core:.0%}",
            str(step.lost),
            str(step.broken),
        )
        for name, steps in ladders.items()
        for step in steps
    )
    columns = ("", "deltas/s offered", "delivered", "median", "p99", "of a core", "lost", "out of order")
    return Table(
        "saturation", f"{CONVERSATIONS} conversations, one watcher each, the server on one core", columns, rows
    )


def _goals(what: str, rate: int, steps: list[Step]) -> tuple[Goal, ...]:
    good = [step.delivered for step in steps if step.p99_ms < P99_MS and not step.lost and not step.broken]
    return (
        Goal(
            f"{CONVERSATIONS} conversations, {what}: deltas/s with p99 below {P99_MS:g} ms, none lost or out of order",
            # A second is counted by two processes; what is offered arrives to within a hundredth.
            rate * 0.99,
            max(good, default=0.0),
            "a second",
            at_least=True,
        ),
    )
