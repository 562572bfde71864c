"""Many sockets: what an idle one holds, and a thousand that come again at once while streams go on."""

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from benchmarks.processes import Child, resident_mib
from benchmarks.results import Found, Goal, Options, Table
from benchmarks.systems import Load, baton_streaming, begin_run, serving

STREAMS = Load(20, 50, 1)
_TIMEOUT_S = 300.0
_SETTLE_S = 2.0


async def measure(options: Options) -> Found:
    """Memory first, on a server of its own; then the return."""
    returning = options.sockets // 5
    idle = await _idle(options.sockets, options)
    back = await _return(returning, options)
    return Found(tables=(*idle.tables, *back.tables), goals=(*idle.goals, *back.goals))


async def _idle(sockets: int, options: Options) -> Found:
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        async with asyncio.timeout(_TIMEOUT_S), serving("baton", Path(folder), options.store) as (server, url, tokens):
            room = await asyncio.to_thread(begin_run, url, tokens["admin"])
            before = resident_mib(server.pid)
            crowd = {"url": url, "token": tokens["admin"], "rooms": [room], "sockets": sockets}
            async with Child.load("crowd", crowd) as watchers:
                await watchers.told("ready", timeout_s=_TIMEOUT_S)
                await asyncio.sleep(_SETTLE_S)
                after = resident_mib(server.pid)
    each_kib = (after - before) * 1024 / sockets
    options.tell(f"  {sockets:,} idle sockets: {each_kib:.1f} KiB each ({before:.0f} to {after:.0f} MiB)")
    rows = ((f"{sockets:,} idle sockets", f"{each_kib:.1f} KiB each", f"{before:.0f} to {after:.0f} MiB"),)
    table = Table(
        "sockets", "Sockets that only listen, of clients that offer deflate", ("", "memory", "resident"), rows
    )
    return Found(tables=(table,), goals=(Goal(f"{sockets:,} idle sockets: memory of each", 45, each_kib, "KiB"),))


async def _return(sockets: int, options: Options) -> Found:
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        async with asyncio.timeout(_TIMEOUT_S), serving("baton", Path(folder), options.store) as (server, url, tokens):
            async with baton_streaming(server, url, tokens, STREAMS) as under_way:
                await under_way.go()
                crowd = {"url": url, "token": tokens["admin"], "rooms": under_way.rooms, "sockets": sockets}
                async with Child.load("crowd", crowd) as watchers:
                    await watchers.told("ready", timeout_s=_TIMEOUT_S)
                    await asyncio.sleep(_SETTLE_S)
                    calm = await _stream_ms(under_way.watchers, asyncio.sleep(options.seconds))
                    busy = await _stream_ms(under_way.watchers, _come_again(watchers))
    back, calm_ms, busy_ms = busy[1], calm[0], busy[0]
    options.tell(
        f"  {sockets:,} come again at once: half live within {back['median_s']:.2f} s, all within "
        f"{back['last_s']:.2f} s; streams meanwhile p99 {busy_ms:.0f} ms (before: {calm_ms:.1f} ms)"
    )
    columns = ("", "half live within", "all within", "p99 of 20 x 50 deltas/s meanwhile", "and before")
    row = (
        f"{sockets:,} at once",
        f"{back['median_s']:.2f} s",
        f"{back['last_s']:.2f} s",
        f"{busy_ms:.0f} ms",
        f"{calm_ms:.1f} ms",
    )
    table = Table("return", "Sockets that are cut and come again, each joining with its `after`", columns, (row,))
    goals = (
        Goal(f"{sockets:,} sockets come again at once: all live within", 5, back["last_s"], "s"),
        Goal(f"{sockets:,} sockets come again at once: p99 of the streams meanwhile", 200, busy_ms, "ms"),
    )
    return Found(tables=(table,), goals=goals)


async def _come_again(crowd: Child) -> dict[str, float]:
    await crowd.tell("again")
    return await crowd.told("live", timeout_s=_TIMEOUT_S)


async def _stream_ms(watchers: Child, work: Awaitable[Any]) -> tuple[float, Any]:
    """The streams' p99 while `work` is done, and what came of it."""
    await watchers.tell("begin")
    found = await work
    await watchers.tell("end")
    told = await watchers.told("count")
    return told["p99_ms"], found
