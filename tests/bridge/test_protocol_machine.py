"""Whatever a link does, and whoever crashes: every frame counts exactly once, and in order.

The store is a list per run. What the server has taken in and not committed is lost when it crashes, what a bridge
has in memory when that crashes; the link drops, repeats, reorders, and is cut at any time.
"""

from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from baton.bridge.outbox import lost_frame
from baton.bridge.protocol import BridgeEnd, BridgeState, LinkState, ServerEnd, Verdict
from baton.core.errors import PeerViolation
from baton.core.frames import (
    FINAL_FRAMES,
    Abort,
    Aborted,
    Ack,
    BridgeFrame,
    Complete,
    Execute,
    Failed,
    Hello,
    RunFrame,
    RunResult,
    ServerFrame,
    Started,
    Stream,
    Welcome,
)
from baton.core.ids import BridgeId, ConversationId, RequestId
from baton.core.limits import Limits
from baton.core.stream import TextDelta
from baton.testing.links import Faults, FaultyLink

LIMITS = Limits(bridge_window_bytes=1500)
HELLO = Hello(protocol=1, bridge_id=BridgeId("b"), instance_id="i")
NO_FAULTS = Faults()
FAULTS = Faults(drop=0.03, duplicate=0.1, reorder=0.03)


@dataclass
class StoredRun:
    """One run as the server knows it: `taken` is lost in a crash behind `on_disk` frames."""

    taken: list[RunFrame] = field(default_factory=list)
    on_disk: int = 0

    @property
    def is_open(self) -> bool:
        return not any(isinstance(frame, FINAL_FRAMES) for frame in self.taken[: self.on_disk])

    @property
    def text(self) -> str:
        """What is on disk; each delta must begin where the one before ended."""
        text = ""
        for frame in self.taken[: self.on_disk]:
            for event in frame.events if isinstance(frame, Stream) else ():
                assert isinstance(event, TextDelta)
                assert event.offset == len(text), "a delta is doubled or missing"
                text += event.text
        return text


class Server:
    """Intake and store in one: takes frames in, commits them when told to, and acknowledges what it committed."""

    def __init__(self) -> None:
        self.runs: dict[RequestId, StoredRun] = {}
        self.end: ServerEnd | None = None
        self.link: FaultyLink | None = None

    def last_seq(self, request_id: RequestId) -> int | None:
        run = self.runs.get(request_id)
        return len(run.taken) if run is not None and run.is_open else None

    def receive(self, frame: BridgeFrame) -> None:
        assert self.end is not None
        if isinstance(frame, Hello):
            self.greet(frame)
        elif isinstance(frame, RunFrame):
            self.take(self.end.take(frame, self.last_seq(frame.request_id), 1), frame)
        self.acknowledge()

    def take(self, verdict: Verdict, frame: RunFrame) -> None:
        if verdict is Verdict.ACCEPTED:
            self.runs[frame.request_id].taken.append(frame)

    def greet(self, hello: Hello) -> None:
        assert self.end is not None
        self.end.greet(hello)
        self.commit()
        named = {run.request_id for run in hello.runs}
        for request_id, run in self.runs.items():
            if run.is_open and run.taken and request_id not in named:
                self._lose(request_id, run)
        acks = {request_id: run.on_disk for request_id, run in self.runs.items() if run.is_open or request_id in named}
        self._send(self.end.welcome("epoch", acks))
        for request_id, run in self.runs.items():
            if run.is_open and request_id not in named:
                self._send(execute(request_id))
            elif not run.is_open and request_id in named:
                self._send(Abort(request_id=request_id))

    def dispatch(self, request_id: RequestId) -> None:
        self.runs[request_id] = StoredRun()
        if self.end is not None and self.end.state is LinkState.OPEN:
            self._send(execute(request_id))

    def commit(self) -> None:
        acks = {}
        for request_id, run in self.runs.items():
            if run.on_disk < len(run.taken):
                run.on_disk = len(run.taken)
                acks[request_id] = run.on_disk
        if self.end is not None:
            self.end.acknowledge(acks)
            self.acknowledge()

    def crash(self) -> None:
        for run in self.runs.values():
            del run.taken[run.on_disk :]

    def acknowledge(self) -> None:
        ack = None if self.end is None else self.end.owed()
        if ack is not None:
            self._send(ack)

    def _lose(self, request_id: RequestId, run: StoredRun) -> None:
        run.taken.append(lost_frame(request_id))
        run.on_disk = len(run.taken)

    def _send(self, frame: ServerFrame) -> None:
        assert self.link is not None
        self.link.send_to_bridge([frame])


def execute(request_id: RequestId) -> Execute:
    return Execute(request_id=request_id, conversation_id=ConversationId("c" * 24), message="go", agent="demo")


class BridgeMachine(RuleBasedStateMachine):
    """The two ends over a link that fails, against what was said and what is on disk."""

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed: int) -> None:
        self.seed = seed
        self.server = Server()
        self.link: FaultyLink | None = None
        self.said: dict[RequestId, str] = {}
        self.alive: set[RequestId] = set()
        self.started: set[RequestId] = set()
        self.bridge = self.next_bridge()
        self.completed: set[RequestId] = set()
        self.ask()
        self.ask()
        self.connect(faults=NO_FAULTS)
        assert self.link is not None
        self.link.deliver_all()

    def next_bridge(self) -> BridgeEnd:
        """A bridge as a new process makes it."""
        return BridgeEnd(known=self.started)

    # --- the world -----------------------------------------------------------------------------------------------

    @rule()
    def ask(self) -> None:
        if len(self.server.runs) < 6:
            self.server.dispatch(RequestId(f"run-{len(self.server.runs)}"))

    @rule(faults=st.sampled_from([FAULTS, FAULTS, NO_FAULTS]))
    def connect(self, faults: Faults) -> None:
        """A new link; the old one, if there still was one, is cut."""
        self.cut()
        self.seed += 1
        self.link = FaultyLink(to_server=self.at_server, to_bridge=self.at_bridge, faults=faults, seed=self.seed)
        self.server.end, self.server.link = ServerEnd(LIMITS, 0.0), self.link
        self.bridge.connected(HELLO)
        self.flush()

    @rule()
    def cut(self) -> None:
        if self.link is None:
            return
        self.link.cut()
        assert self.server.end is not None
        self.server.end.close()
        self.server.end = self.link = None
        self.bridge.disconnected()

    @rule(rounds=st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=4, max_size=12))
    def work(self, rounds: list[tuple[int, bool, int]]) -> None:
        """Agents speak, some of it arrives, perhaps it is committed, some of what the server says arrives."""
        for to_server, commit, to_bridge in rounds:
            self.speak(["ab", "b" * (1 + to_server), "a"])
            self.carry(to_server, commit, to_bridge)

    @rule(to_server=st.integers(0, 12), commit=st.booleans(), to_bridge=st.integers(0, 6))
    def carry(self, to_server: int, commit: bool, to_bridge: int) -> None:
        if self.link is not None:
            self.link.deliver_to_server(to_server)
        if commit:
            self.server.commit()
        if self.link is not None:
            self.link.deliver_to_bridge(to_bridge)

    @rule()
    def server_crashes(self) -> None:
        self.cut()
        self.server.crash()

    @rule(really=st.integers(0, 9))
    def bridge_crashes(self, really: int) -> None:
        if really == 0:
            self.cut()
            self.bridge = self.next_bridge()
            self.alive.clear()

    @rule()
    def another_server_is_met(self) -> None:
        """It acknowledges and ends all that it hears of, while agents go on: nothing of that counts."""
        self.cut()
        self.bridge.connected(HELLO)
        [hello] = self.bridge.take()
        assert isinstance(hello, Hello)
        everything = {run.request_id: 10_000 for run in hello.runs}
        welcome = Welcome(epoch="another", heartbeat_s=20, window=1 << 20, max_frame_bytes=1 << 20, acks=everything)
        for frame in (welcome, Ack(acks=everything), *(Abort(request_id=run) for run in everything)):
            assert self.bridge.receive(frame) == ()
        self.speak(["ab", "b"])
        assert self.bridge.take() == []
        self.bridge.disconnected()

    # --- the agents ----------------------------------------------------------------------------------------------

    @rule(words=st.lists(st.text("ab", min_size=1, max_size=40), min_size=1, max_size=12))
    def speak(self, words: list[str]) -> None:
        """Every agent says these words; some of them find the link full and grow together."""
        for request_id in sorted(self.alive):
            for word in words:
                delta = TextDelta("m", 0, len(self.said[request_id]), word)
                self.said[request_id] += word
                assert self.bridge.say(Stream(request_id=request_id, seq=0, events=(delta,)))
                if len(word) % 2:
                    self.flush()

    @rule(which=st.integers(0, 5))
    def finish(self, which: int) -> None:
        if which < len(self.alive):
            self.complete(sorted(self.alive)[which])
            self.flush()

    def complete(self, request_id: RequestId) -> None:
        self.alive.discard(request_id)
        self.completed.add(request_id)
        self.bridge.say(Complete(request_id=request_id, seq=0, result=RunResult()))

    # --- what arrives --------------------------------------------------------------------------------------------

    def at_server(self, frame: BridgeFrame) -> None:
        try:
            self.server.receive(frame)
        except PeerViolation:
            self.cut()

    def at_bridge(self, frame: ServerFrame) -> None:
        try:
            instructions = self.bridge.receive(frame)
        except PeerViolation:
            self.cut()
            return
        for instruction in instructions:
            if isinstance(instruction, Execute):
                self.start(instruction.request_id)
            elif isinstance(instruction, Abort):
                self.alive.discard(instruction.request_id)
                self.bridge.say(Aborted(request_id=instruction.request_id, seq=0))
        self.flush()

    def start(self, request_id: RequestId) -> None:
        assert request_id not in self.started, "a known requestId never works again"
        self.started.add(request_id)
        self.alive.add(request_id)
        self.said[request_id] = ""
        self.bridge.say(Started(request_id=request_id, seq=0))

    def flush(self) -> None:
        if self.link is not None:
            self.link.send_to_server(self.bridge.take())

    # --- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def each_frame_counts_once_and_in_order(self) -> None:
        for request_id, run in getattr(self, "server", Server()).runs.items():
            assert [frame.seq for frame in run.taken if not is_lost(frame)] == list(
                range(1, 1 + sum(not is_lost(frame) for frame in run.taken))
            )
            assert self.said.get(request_id, "").startswith(run.text)
            assert sum(isinstance(frame, FINAL_FRAMES) for frame in run.taken) <= 1

    @invariant()
    def the_window_is_kept(self) -> None:
        bridge: BridgeEnd | None = getattr(self, "bridge", None)
        if bridge is not None and bridge.state is BridgeState.OPEN:
            assert bridge.in_flight_bytes <= LIMITS.bridge_window_bytes

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        self.connect(faults=NO_FAULTS)
        self.settle()
        for request_id, run in self.server.runs.items():
            assert not run.is_open, f"{request_id} hangs"
            final = run.taken[-1]
            assert isinstance(final, Complete | Failed), "nobody asked for an abort"
            if isinstance(final, Complete):
                assert run.text == self.said[request_id], "a run that completed has all its text"
                assert request_id in self.completed
        assert self.bridge.in_flight_bytes == 0
        assert not self.bridge.take()

    def settle(self) -> None:
        """A sound link, until nothing moves: runs that start now complete."""
        for _ in range(200):
            assert self.link is not None, "a sound link is not cut"
            self.link.deliver_all()
            self.server.commit()
            for request_id in sorted(self.alive):
                self.complete(request_id)
            self.flush()


def is_lost(frame: Any) -> bool:
    """The server's own end of a run, which has no number of the bridge's."""
    return isinstance(frame, Failed) and frame.seq == 0


TestBridgeMachine = BridgeMachine.TestCase
TestBridgeMachine.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
