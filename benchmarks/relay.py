"""How much a stored, resumable stream costs, against relays that store nothing. `python -m benchmarks.relay`

In one run on one machine, after a warm-up, medians of several rounds: latency from the producer's send to the
watcher's receipt, the server process's CPU per delivered delta, and its peak memory. Baton runs with SQLite (FULL)
and an outside bridge; the others are benchmarks/relays/. Then start-up, and a history page at a million messages.
Compare ratios within one run only: absolute figures belong to the machine.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import history, startup
from benchmarks.processes import Child, baton_server, cpu_s, disk_sync_ms, free_port, peak_mib, summary, until_healthy

RELAYS = Path(__file__).parent / "relays"
SYSTEMS = ("bare", "baton", "stock", "node")
TITLES = {
    "bare": "bare aiohttp WebSocket (stores nothing)",
    "baton": "Baton, SQLite FULL, outside bridge",
    "stock": "python-socketio, stock (stores nothing)",
    "node": "Node socket.io (stores nothing)",
}


@dataclass(frozen=True, slots=True)
class Case:
    """So many conversations, each with so many deltas a second and watchers."""

    conversations: int
    rate: float
    watchers: int

    def __str__(self) -> str:
        return f"{self.conversations} conversations x {self.rate:g} deltas/s x {self.watchers} watcher(s)"


CASES = (Case(20, 50, 1), Case(2, 20, 200))


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured."""

    median_ms: float
    p99_ms: float
    cpu_us: float
    peak_mib: float
    share: float
    """Delivered deltas, of those that were to be delivered."""


async def measure(system: str, case: Case, *, warm_up_s: float, seconds: float) -> Round:
    """One round of one system."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        async with serving(system, Path(folder)) as (server, url, tokens):
            if system == "baton":
                return await _measure_baton(server, url, tokens, case, warm_up_s, seconds)
            rooms = [f"room-{number}" for number in range(case.conversations)]
            kind = "bare" if system == "bare" else "socketio"
            watch = {"kind": kind, "url": url, "rooms": rooms, "per_room": case.watchers}
            async with Child.load("watch", watch) as watchers:
                await watchers.told("ready")
                async with Child.load("produce", {"url": url, "rooms": rooms, "rate": case.rate}) as producer:
                    await producer.told("ready")
                    return await _count(server, watchers, case, warm_up_s, seconds)


async def _measure_baton(
    server: Child, url: str, tokens: dict[str, str], case: Case, warm_up_s: float, seconds: float
) -> Round:
    options = {"url": url, "token": tokens["bridge"], "runs": case.conversations, "rate": case.rate}
    async with Child.load("bridge", options) as bridge:
        await bridge.told("connected")
        rooms = [await asyncio.to_thread(begin_run, url, tokens["admin"]) for _ in range(case.conversations)]
        await bridge.told("ready")
        watch = {"kind": "socketio", "url": url, "rooms": rooms, "per_room": case.watchers, "token": tokens["admin"]}
        async with Child.load("watch", watch) as watchers:
            await watchers.told("ready")
            await bridge.tell("go")
            return await _count(server, watchers, case, warm_up_s, seconds)


def begin_run(url: str, token: str) -> str:
    """A conversation with a run under way; its id."""
    made = _post(f"{url}/api/chat/conversations", token, {"agent": "load"})
    conversation_id: str = made["conversation"]["id"]
    _post(
        f"{url}/api/chat/conversations/{conversation_id}/messages",
        token,
        {"requestId": f"load-{conversation_id}", "content": "go"},
    )
    return conversation_id


def _post(url: str, token: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        url,
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


async def _count(server: Child, watchers: Child, case: Case, warm_up_s: float, seconds: float) -> Round:
    await asyncio.sleep(warm_up_s)
    before = cpu_s(server.pid)
    await watchers.tell("begin")
    await asyncio.sleep(seconds)
    spent = cpu_s(server.pid) - before
    await watchers.tell("end")
    told = await watchers.told("count")
    expected = case.conversations * case.rate * case.watchers * seconds
    return Round(
        median_ms=told["median_ms"],
        p99_ms=told["p99_ms"],
        cpu_us=spent / told["count"] * 1e6,
        peak_mib=peak_mib(server.pid),
        share=told["count"] / expected,
    )


@asynccontextmanager
async def serving(system: str, folder: Path) -> AsyncIterator[tuple[Child, str, dict[str, str]]]:
    """A running server of the system: its process, address and tokens."""
    if system == "baton":
        async with baton_server(folder, BATON_BRIDGE="none") as (server, url, tokens):
            yield server, url, tokens
        return
    port = free_port()
    command = {
        "bare": [sys.executable, str(RELAYS / "bare_aiohttp.py")],
        "stock": [sys.executable, str(RELAYS / "stock_socketio.py")],
        "node": ["node", str(RELAYS / "node_socketio.mjs")],
    }[system]
    async with Child.run([*command, str(port)]) as server:
        url = f"http://127.0.0.1:{port}"
        await until_healthy(f"{url}/health")
        yield server, url, {}


async def compare(case: Case, systems: tuple[str, ...], rounds: int, warm_up_s: float, seconds: float) -> None:
    """All systems in turn, round by round, so that a drift of the machine meets them all; then the table."""
    print(f"\n{case}: medians of {rounds} rounds of {seconds:g} s")
    found: dict[str, list[Round]] = {system: [] for system in systems}
    syncs_ms: list[float] = []
    for _ in range(rounds):
        syncs_ms += await asyncio.to_thread(disk_sync_ms)
        for system in systems:
            found[system].append(await measure(system, case, warm_up_s=warm_up_s, seconds=seconds))
    print(f"{'':42}{'median ms':>10}{'p99 ms':>9}{'CPU us/delta':>14}{'peak MiB':>10}{'delivered':>11}")
    for system in systems:
        rows = found[system]
        print(
            f"{TITLES[system]:42}"
            f"{statistics.median(row.median_ms for row in rows):10.2f}"
            f"{statistics.median(row.p99_ms for row in rows):9.2f}"
            f"{statistics.median(row.cpu_us for row in rows):14.1f}"
            f"{statistics.median(row.peak_mib for row in rows):10.0f}"
            f"{statistics.median(row.share for row in rows):11.1%}"
        )
    print(f"  the disk's own sync, before each round: {summary(syncs_ms)}")
    for other in systems:
        if other != "baton" and "baton" in systems:
            ratios = [a.cpu_us / b.cpu_us for a, b in zip(found["baton"], found[other], strict=True)]
            print(
                f"  CPU of Baton / {TITLES[other]}: median {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round [default: 5]")
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds before each round [default: 2]")
    parser.add_argument("--messages", type=int, default=1_000_000, help="of the history page; 0 leaves it out")
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    options = parser.parse_args()
    systems = tuple(name for name in SYSTEMS if name in options.systems.split(","))
    if "node" in systems and not (RELAYS / "node_modules").exists():
        sys.exit(f"The Node relay needs its packages: run `npm install --no-package-lock` in {RELAYS.name}/")
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, node {shutil.which('node') is not None}")
    for case in CASES:
        asyncio.run(compare(case, systems, options.rounds, options.warm_up, options.seconds))
    asyncio.run(startup.measure(options.rounds))
    if options.messages:
        asyncio.run(history.measure(options.messages))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
