"""What an idle socket holds, and what a long stream leaves behind. `python -m benchmarks.memory`"""

import argparse
import asyncio
import tempfile
from pathlib import Path

from benchmarks.processes import Child, baton_server, resident_mib
from benchmarks.relay import begin_run

CONVERSATIONS = 20
RATE = 250
"""Deltas a second in each conversation: ten minutes of fast typing in two."""
MESSAGE_DELTAS = 200
_LOOKS = 5


async def measure(sockets: int = 1000, seconds: float = 120) -> None:
    """Print both."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        async with baton_server(Path(folder), BATON_BRIDGE="none") as (server, url, tokens):
            await _stream(server, url, tokens, seconds)
            await _idle(server, url, tokens, sockets)


async def _stream(server: Child, url: str, tokens: dict[str, str], seconds: float) -> None:
    options = {
        "url": url,
        "token": tokens["bridge"],
        "runs": CONVERSATIONS,
        "rate": RATE,
        "message_deltas": MESSAGE_DELTAS,
    }
    async with Child.load("bridge", options) as bridge:
        await bridge.told("connected")
        rooms = [await asyncio.to_thread(begin_run, url, tokens["admin"]) for _ in range(CONVERSATIONS)]
        await bridge.told("ready")
        watch = {"kind": "socketio", "url": url, "rooms": rooms, "per_room": 1, "token": tokens["admin"]}
        async with Child.load("watch", watch) as watchers:
            await watchers.told("ready")
            await bridge.tell("go")
            await watchers.tell("begin")
            seen = []
            for _ in range(_LOOKS):
                await asyncio.sleep(seconds / _LOOKS)
                seen.append(resident_mib(server.pid))
            await watchers.tell("end")
            count = (await watchers.told("count"))["count"]
    print(f"{count:,} deltas in {seconds:g} s: resident {', '.join(f'{mib:.1f}' for mib in seen)} MiB")
    # Until then the store's page cache fills, which has a bound.
    grown = (seen[-1] - seen[2]) * (1 << 20) / (count * 2 / _LOOKS)
    print(f"  over the last two fifths: {grown:.1f} bytes per delta")


async def _idle(server: Child, url: str, tokens: dict[str, str], sockets: int) -> None:
    room = await asyncio.to_thread(begin_run, url, tokens["admin"])
    watch = {"kind": "socketio", "url": url, "rooms": [room], "per_room": sockets, "token": tokens["admin"]}
    before = resident_mib(server.pid)
    async with Child.load("watch", watch) as watchers:
        await watchers.told("ready")
        await asyncio.sleep(1)
        after = resident_mib(server.pid)
        each_kib = (after - before) * 1024 / sockets
        print(f"{sockets} idle sockets: {each_kib:.1f} KiB each ({before:.0f} to {after:.0f} MiB)")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=120, help="of the stream [default: 120]")
    options = parser.parse_args()
    asyncio.run(measure(options.sockets, options.seconds))


if __name__ == "__main__":
    main()
