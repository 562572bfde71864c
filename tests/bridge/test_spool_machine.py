"""As test_protocol_machine, with a spool: whoever crashes, and wherever, every frame counts once and in order.

Memory is small, so that most frames go through files. A crash of the bridge loses what was in memory alone, and may
cut the last file; what is left is delivered, and the run ends, once.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import initialize, rule

from baton.bridge.outbox import GATHER_BYTES
from baton.bridge.protocol import BridgeEnd
from baton.bridge.spool import SpoolFolder
from baton.core.frames import Started, Stream
from baton.core.ids import RequestId
from baton.core.stream import TextDelta
from baton.testing.clock import FakeClock
from baton.testing.links import Faults
from tests.bridge.test_protocol_machine import FAULTS, NO_FAULTS, BridgeMachine

MEMORY_BYTES = 600


class SpoolMachine(BridgeMachine):
    """The bridge of the other machine, on disk."""

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.spool = SpoolFolder(self.folder, FakeClock())
        super().begin(seed)

    def next_bridge(self) -> BridgeEnd:
        leftovers = self.spool.leftovers()
        return BridgeEnd(buffer_bytes=MEMORY_BYTES, known=self.spool.known(), leftovers=leftovers, spool=self.spool)

    @rule(really=st.integers(0, 3))
    def bridge_crashes(self, really: int) -> None:
        if really == 0:
            self.crash(cut_bytes=0)

    def crash(self, cut_bytes: int) -> None:
        self.cut()
        self.spool.close()  # writes nothing: what counts is written when it is said
        self.cut_newest_file(cut_bytes)
        self.spool = SpoolFolder(self.folder, FakeClock())
        self.bridge = self.next_bridge()
        self.alive.clear()

    def cut_newest_file(self, cut_bytes: int) -> None:
        """As if the last write of frames had not been whole."""
        paths = sorted((self.folder / "frames").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        if paths and cut_bytes:
            content = paths[-1].read_bytes()
            paths[-1].write_bytes(content[: max(0, len(content) - cut_bytes)])

    @rule()
    def spill(self) -> None:
        """What the bridge does every second without a link."""
        self.bridge.spill()

    @rule(
        count=st.integers(1, 30),
        finished=st.integers(0, 2),
        spills=st.booleans(),
        cut_bytes=st.sampled_from([None, None, 0, 0, 1, 30]),
    )
    def work_while_the_server_is_away(self, count: int, finished: int, spills: bool, cut_bytes: int | None) -> None:
        """Agents say more than memory holds, some end; perhaps the bridge crashes then."""
        self.cut()
        for request_id in sorted(self.alive):
            for _ in range(count):
                delta = TextDelta("m", 0, len(self.said[request_id]), "x" * 40)
                self.said[request_id] += delta.text
                assert self.bridge.say(Stream(request_id=request_id, seq=0, events=(delta,)))
        for request_id in sorted(self.alive)[:finished]:
            self.complete(request_id)
        if spills:
            self.bridge.spill()
        if cut_bytes is not None:
            self.crash(cut_bytes)

    @rule(faults=st.sampled_from([FAULTS, NO_FAULTS]), rounds=st.integers(1, 20))
    def come_back(self, faults: Faults, rounds: int) -> None:
        """A new link that carries something, and new work."""
        self.ask()
        self.connect(faults)
        for _ in range(rounds):
            self.carry(2, True, 2)

    def start(self, request_id: RequestId) -> None:
        if request_id not in self.alive and self.bridge.is_working(request_id) and request_id in self.started:
            raise AssertionError("a known requestId never works again")
        self.started.add(request_id)
        self.alive.add(request_id)
        self.said[request_id] = ""
        self.bridge.say(Started(request_id=request_id, seq=0))
        assert asyncio.run(self.spool.record(request_id, epoch=self.bridge.epoch_of(request_id)))

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            if hasattr(self, "server"):
                super().teardown()
                assert self.bridge.undelivered == 0
                assert self.spool.size_bytes == 0
                assert list((self.folder / "frames").iterdir()) == []
        finally:
            self.spool.close()
            shutil.rmtree(self.folder)


def test_memory_is_smaller_than_what_gathers_in_one_frame() -> None:
    assert MEMORY_BYTES < GATHER_BYTES, "or the machine would hardly use its spool"


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
