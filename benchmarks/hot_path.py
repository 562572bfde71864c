"""What the server's own code costs per delta: frames as bytes in, bytes to watchers out, without sockets and disk.

`python -m benchmarks.hot_path [--profile]`. The least of many rounds, which a busy machine disturbs little: to see
whether a change of the code helps. What it costs with all around it is measured by `python -m benchmarks`.
"""

import argparse
import asyncio
import cProfile
import json
import pstats
import tempfile
import time
from pathlib import Path
from typing import Any

from baton.bridge.hub import Hub
from baton.clock import SystemClock
from baton.core.commands import AccountRole, CreateConversation, Identity, SendMessage
from baton.core.frames import AgentOffer, Hello, ServerFrame
from baton.core.ids import BridgeId, ConversationId, RequestId, UserId
from baton.core.limits import Limits
from baton.core.stored import Committed
from baton.schemas.bridge import dump_frame, load_bridge_frame
from baton.services.catalog import build_services
from baton.storage.sqlite import SqliteStore
from baton.storage.sqlite_migrate import migrate_sqlite
from baton.web.engine import Connection
from baton.web.fanout import Fanout

_SOMEBODY = Identity(UserId("bench"), AccountRole.USER)
_BRIDGE = BridgeId("load")
_ROUNDS = 25
_FLUSHES = 100


class _Link:
    """A bridge's link that encodes what it is sent."""

    in_process = False
    buffered_bytes = 0

    def send(self, frame: ServerFrame) -> None:
        """As a socket does, but for the write."""
        dump_frame(frame)

    def close(self, code: int, reason: str) -> None:
        """Nothing to close."""


class _Queue:
    size_bytes = 0


class _Transport:
    """One that takes everything and writes nowhere."""

    written = 0

    def write(self, data: bytes) -> None:
        """Count it."""
        self.written += len(data)

    def is_closing(self) -> bool:
        """Never."""
        return False

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0


class _Watcher(Connection):
    """A connection that is idle and upgraded, without its socket."""

    def __init__(self) -> None:
        self.closed = False
        self.queue = _Queue()
        self._transport = self._idle = _Transport()
        self._websocket = _Transport()
        self._websocket.closed = False
        self._answered_bytes = 0


class _Stage:
    """One server's inside with runs under way."""

    def __init__(self, store: SqliteStore, runs: int, per_frame: int) -> None:
        self.limits = Limits()
        clock = SystemClock()
        self.store = store
        self.fanout = Fanout(self.limits)
        self.hub = Hub(clock, self.limits, epoch="bench")
        self.services = build_services(
            store=store, publisher=self.fanout, link=self.hub, clock=clock, limits=self.limits
        )
        self.hub.attach(self.services.intake, self.fanout)
        self._runs = runs
        self._per_frame = per_frame
        self._seqs: dict[str, int] = {}
        self._offsets: dict[str, int] = {}
        self._session: Any = None

    async def begin(self) -> None:
        """A conversation, a run and a watcher each."""
        hello = Hello(
            protocol=1,
            bridge_id=_BRIDGE,
            instance_id="load",
            agents=(AgentOffer(id="load", title="Load"),),
            max_concurrent_requests=1000,
        )
        self._session = await self.hub.connect(hello, _Link())
        for number in range(self._runs):
            conversation = await self.services.conversations.create(_SOMEBODY, CreateConversation(agent="load"))
            command = SendMessage(
                request_id=RequestId(f"load-{number}"), content="go", conversation_id=ConversationId(conversation.id)
            )
            await self.services.runs.send(_SOMEBODY, command)
            watcher: Any = _Watcher()
            self.fanout.add(f"sid-{number}", watcher, _SOMEBODY)
            member = self.fanout.enter(f"sid-{number}", conversation.id)
            assert member is not None, "it was added"
            member.held = None
            self._seqs[f"load-{number}"] = 0

    def frames(self, flushes: int, per_flush: int) -> list[list[bytes]]:
        """What the bridge says, as it comes off the wire, by flush."""
        names = list(self._seqs)
        return [
            [self._frame(names[(flush * per_flush + number) % len(names)]) for number in range(per_flush)]
            for flush in range(flushes)
        ]

    def _frame(self, run: str) -> bytes:
        self._seqs[run] += 1
        events = []
        for _ in range(self._per_frame):
            offset = self._offsets.get(run, 0)
            text = "@1234567890123456@ word "
            self._offsets[run] = offset + len(text)
            events.append({"type": "text.delta", "messageId": "m0", "block": 0, "offset": offset, "text": text})
        body = {"type": "claude:stream", "events": events, "requestId": run, "seq": self._seqs[run]}
        return json.dumps(body).encode()

    async def take(self, said: list[list[bytes]]) -> None:
        """All of it, flush by flush."""
        receive, session, limits, flush = self.hub.receive, self._session, self.limits, self.services.intake.flush
        for frames in said:
            for raw in frames:
                receive(session, load_bridge_frame(raw, limits), len(raw))
            await flush()


async def measure(
    runs: int,
    per_flush: int,
    per_frame: int,
    profile: cProfile.Profile | None = None,
    *,
    flushes: int = _FLUSHES,
    rounds: int = _ROUNDS,
) -> float:
    """Microseconds of CPU per delta, in the best of the rounds."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        path = Path(folder) / "baton.sqlite3"
        await migrate_sqlite(path, clock=SystemClock())
        store = SqliteStore(path, clock=SystemClock())
        await store.open()
        stage = _Stage(store, runs, per_frame)
        await stage.begin()

        async def written(operation: object, **_: object) -> list[Committed]:
            return [Committed()] * per_flush

        write, store._writer.run = store._writer.run, written  # type: ignore[assignment,method-assign]
        least = float("inf")
        for _ in range(rounds):
            said = stage.frames(flushes, per_flush)
            if profile is not None:
                profile.enable()
            began = time.process_time()
            await stage.take(said)
            took_s = time.process_time() - began
            if profile is not None:
                profile.disable()
            least = min(least, took_s / (flushes * per_flush * per_frame))
        store._writer.run = write  # type: ignore[method-assign]
        await store.close()
    return least * 1e6


_CASES = {
    "20 conversations, 5 deltas a flush": (20, 5, 1),
    "100 conversations, 50 deltas a flush": (100, 50, 1),
    "100 conversations, 10 frames of 10 deltas a flush": (100, 10, 10),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    chosen = parser.parse_args()
    for name, case in _CASES.items():
        profile = cProfile.Profile() if chosen.profile else None
        print(f"{name}: {asyncio.run(measure(*case, profile)):.2f} us per delta")
        if profile is not None:
            pstats.Stats(profile).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    main()
