"""Very many deltas through one process, to see what they leave behind: memory must be flat."""

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.processes import Child, resident_mib
from benchmarks.results import Chart, Found, Goal, Line, Options, Table
from benchmarks.systems import Load, streaming

LOAD = Load(100, 10, 1, per_frame=10)
"""10,000 deltas a second in merged frames."""
MESSAGE_DELTAS = 2000
_LOOKS = 40
_LONG = 1_000_000
_FLAT_BYTES = 2.0
"""Per delta, over the second half: below what one object of each would hold."""


async def measure(options: Options) -> Found:
    """Stream, look at the memory from time to time, compare the second half's begin and end."""
    timeout_s = 120 + 3 * options.deltas / LOAD.deltas_s
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        async with asyncio.timeout(timeout_s):
            more = {"message_deltas": MESSAGE_DELTAS, "deltas": options.deltas}
            async with streaming("baton", Path(folder), LOAD, options.store, **more) as under_way:
                began = time.monotonic()
                await under_way.go()
                seen = await _look(under_way.server, under_way.producer, timeout_s, options)
                seconds = time.monotonic() - began
    half = [point for point in seen if point[0] >= options.deltas / 2]
    slope = _slope(half) * (1 << 20)
    options.tell(f"  {options.deltas:,} deltas in {seconds:.0f} s: {seen[-1][1]:.1f} MiB, {slope:.2f} bytes per delta")
    row = (
        f"{options.deltas:,}",
        f"{options.deltas / seconds:,.0f}",
        f"{half[0][1]:.1f} MiB",
        f"{half[-1][1]:.1f} MiB",
        f"{slope:.2f} bytes",
    )
    columns = ("deltas", "a second", "resident at half", "at the end", "growth per delta, second half")
    line = Line("resident", tuple(seen))
    chart = Chart("stream-memory", "Memory while deltas go through one process", "deltas", "MiB", (line,))
    return Found(
        tables=(Table("stream", "Deltas through one process", columns, (row,)),),
        goals=_goals(options.deltas, slope),
        charts=() if options.is_quick else (chart,),
    )


def _goals(deltas: int, slope: float) -> tuple[Goal, ...]:
    """None of a short stream: the store's page cache still fills, which has a bound."""
    if deltas < _LONG:
        return ()
    return (Goal(f"{deltas:,} deltas: memory per delta, second half", _FLAT_BYTES, slope, "bytes"),)


async def _look(server: Child, producer: Child, timeout_s: float, options: Options) -> list[tuple[float, float]]:
    """(deltas, MiB) from time to time, until all were said."""
    done = asyncio.ensure_future(producer.told("spoken", timeout_s=timeout_s))
    gap_s = options.deltas / LOAD.deltas_s / _LOOKS
    began = time.monotonic()
    seen = []
    while not done.done():
        await asyncio.wait({done}, timeout=gap_s)
        deltas = min((time.monotonic() - began) * LOAD.deltas_s, options.deltas)
        seen.append((deltas, resident_mib(server.pid)))
        if len(seen) % 10 == 0:
            options.tell(f"  {deltas:,.0f} deltas: {seen[-1][1]:.1f} MiB")
    await done
    return seen


def _slope(points: list[tuple[float, float]]) -> float:
    """Of the straight line that fits best."""
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0
