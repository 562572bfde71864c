"""From the command to a healthy server, and what one costs that has nothing to do."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.processes import baton_server, cpu_s, resident_mib
from benchmarks.results import Found, Goal, Options, Table
from benchmarks.systems import store_settings

_SETTLE_S = 3.0


async def measure(options: Options) -> Found:
    """A first start on an empty folder and a later one, several times; then one that idles."""
    first, later = [], []
    await _warm_up(options)
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
            settings = store_settings(options.store)
            first.append(await _start_s(Path(folder), settings))
            later.append(await _start_s(Path(folder), settings))
        options.tell(f"  start {number + 1}: {first[-1]:.2f} s on an empty folder, {later[-1]:.2f} s again")
    memory_mib, core = await _idle(options)
    options.tell(f"  idle: {memory_mib:.0f} MiB, {core:.2%} of a core")
    rows = (
        ("first start to a healthy `/health`, empty folder", _spread(first)),
        ("later starts", _spread(later)),
        ("memory of an idle server with its own bridge", f"{memory_mib:.0f} MiB"),
        ("its CPU", f"{core:.2%} of a core"),
    )
    return Found(
        tables=(Table("idle", "Start and rest", ("", "median, and range"), rows),),
        goals=(
            Goal("start to healthy", 0.8, statistics.median(first), "s"),
            Goal("idle server: memory", 80, memory_mib, "MiB"),
            Goal("idle server: CPU", 0.5, core * 100, "% of a core"),
        ),
    )


async def _warm_up(options: Options) -> None:
    """Compiles what is not yet, and brings all of it into the system's memory."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        await _start_s(Path(folder), store_settings(options.store))


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


async def _start_s(folder: Path, settings: dict[str, str]) -> float:
    began = time.monotonic()
    async with baton_server(folder, **settings):
        return time.monotonic() - began


async def _idle(options: Options) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        async with baton_server(Path(folder), **store_settings(options.store)) as (server, _, _):
            await asyncio.sleep(_SETTLE_S)
            before, seconds = cpu_s(server.pid), 4 * options.seconds
            await asyncio.sleep(seconds)
            return resident_mib(server.pid), (cpu_s(server.pid) - before) / seconds
