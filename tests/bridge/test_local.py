"""The bridge in the server's own process, through the real hub: `baton.bridge.local`."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from baton.bridge.hub import Hub
from baton.bridge.local import LOCAL_BRIDGE, LocalBridge, LocalProfile
from baton.bridge.profile import REFRESH_S
from baton.core.errors import StoreUnavailable
from baton.core.events import BridgesChanged, Event
from baton.core.frames import (
    FINAL_FRAMES,
    PROTOCOL_VERSION,
    Abort,
    Aborted,
    AgentOffer,
    Complete,
    Execute,
    Failed,
    Hello,
    PermissionApplied,
    PermissionRequest,
    PermissionResponse,
    PromptAsked,
    RunFrame,
    RunResult,
    ServerFrame,
    Started,
    Stream,
)
from baton.core.ids import BridgeId, RequestId
from baton.core.limits import Limits
from baton.core.models import Attachment, PromptType
from baton.core.ports import Expected, Turn
from baton.core.stream import TextDelta
from baton.testing.clock import FakeClock
from tests.support.scripted_agents import ScriptedAgent, execute


class Intake:
    """Services that take every frame of the runs that a test opened, and acknowledge them while `acknowledges`."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.frames: list[RunFrame] = []
        self.greetings: list[Mapping[RequestId, tuple[int, tuple[str, ...]]]] = []
        self.departures = 0
        self.open: dict[RequestId, int] = {}
        self.expected: tuple[ServerFrame, ...] = ()
        self.acknowledges = True
        self.greet_error: Exception | None = None
        self.receive_error: Exception | None = None
        self._changed = asyncio.Event()

    async def greet(self, bridge_id: BridgeId, *, known: Mapping[RequestId, tuple[int, tuple[str, ...]]]) -> Expected:
        self.greetings.append(known)
        self._changed.set()
        if self.greet_error is not None:
            raise self.greet_error
        return Expected(acks=dict(self.open), frames=self.expected)

    def last_seq(self, request_id: RequestId) -> int | None:
        return self.open.get(request_id)

    def receive(self, bridge_id: BridgeId, frame: RunFrame) -> None:
        self._changed.set()
        if self.receive_error is not None:
            error, self.receive_error = self.receive_error, None
            raise error
        self.frames.append(frame)
        self.open[frame.request_id] = frame.seq
        if self.acknowledges:
            self.hub.acknowledge(bridge_id, {frame.request_id: frame.seq})

    async def arrived(self, bridge_id: BridgeId) -> None: ...

    def flush_rest_s(self) -> float:
        return 0.0

    async def settle(self, bridge_id: BridgeId) -> None: ...

    async def departed(self, bridge_id: BridgeId) -> None:
        self.departures += 1
        self._changed.set()

    async def until_greeted(self, times: int) -> None:
        while len(self.greetings) < times:
            await self._next()

    async def until_said(self, kind: type[RunFrame] | tuple[type[RunFrame], ...]) -> RunFrame:
        while not any(isinstance(frame, kind) for frame in self.frames):
            await self._next()
        return next(frame for frame in self.frames if isinstance(frame, kind))

    async def _next(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def acknowledge_all(self) -> None:
        """What was held back."""
        self.acknowledges = True
        self.hub.acknowledge(LOCAL_BRIDGE, dict(self.open))


class Publisher:
    def __init__(self) -> None:
        self.bridges: list[BridgesChanged] = []
        self._changed = asyncio.Event()

    def publish(self, events: Sequence[Event]) -> None:
        self.bridges.extend(event for event in events if isinstance(event, BridgesChanged))
        self._changed.set()

    async def until_offered(self, *offers: AgentOffer) -> None:
        while not self.bridges or not self.bridges[-1].bridges or self.bridges[-1].bridges[0].agents != offers:
            self._changed.clear()
            await self._changed.wait()


class FakeOffers:
    """What agents offer, as the test says; counts how often they were asked."""

    def __init__(self) -> None:
        self.current: tuple[AgentOffer, ...] = ()
        self.next: tuple[AgentOffer, ...] = (AgentOffer(id="scripted", title="Scripted"),)
        self.asked = 0

    async def refresh(self) -> tuple[AgentOffer, ...]:
        self.asked += 1
        self.current = self.next
        return self.current


class Bench:
    """A hub, what stands behind it, and a local bridge with one scripted agent."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.agent = ScriptedAgent()
        self.offers = FakeOffers()
        self.publisher = Publisher()
        self.hub = Hub(self.clock, Limits(), epoch="e1")
        self.intake = Intake(self.hub)
        self.hub.attach(self.intake, self.publisher)
        self.bridge = LocalBridge(
            self.hub,
            {"scripted": self.agent},
            self.offers,
            profile=LocalProfile(working_directory=str(folder), hostname="here"),
            clock=self.clock,
            limits=Limits(),
            read_attachment=self._read,
        )

    async def _read(self, attachment: Attachment) -> bytes:
        return b""

    async def connect(self) -> None:
        await self.bridge.start()
        await self.bridge.connected()

    def send(self, frame: ServerFrame) -> None:
        self.hub.send(LOCAL_BRIDGE, frame)

    def execute(self, task: Execute) -> None:
        self.intake.open[task.request_id] = 0
        self.send(task)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.bridge.close()


async def test_the_bridge_says_hello_with_what_its_agents_offer(bench: Bench) -> None:
    await bench.connect()
    (presence,) = bench.hub.presence()
    assert (presence.id, presence.in_process, presence.hostname) == ("local", True, "here")
    assert presence.agents == (AgentOffer(id="scripted", title="Scripted"),)
    assert bench.intake.greetings == [{}]


async def test_each_bridge_is_another_instance(tmp_path: Path, bench: Bench) -> None:
    assert bench.bridge.instance_id != Bench(tmp_path).bridge.instance_id


async def test_a_run_goes_through_the_hub_from_execute_to_its_final_frame(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        turn.emit(TextDelta("m", 0, 0, "hi"))
        return RunResult(session_id="s")

    bench.agent.play = play
    await bench.connect()
    bench.execute(execute())
    await bench.intake.until_said(Complete)
    assert [(type(frame), frame.seq) for frame in bench.intake.frames] == [(Started, 1), (Stream, 2), (Complete, 3)]


async def test_runs_that_the_server_expects_begin_with_the_welcome(bench: Bench) -> None:
    task = execute()
    bench.intake.open[task.request_id] = 0
    bench.intake.expected = (task,)
    await bench.connect()
    assert isinstance(await bench.intake.until_said(FINAL_FRAMES), Complete)


async def test_an_agent_starts_only_when_the_start_of_its_run_is_on_disk(bench: Bench) -> None:
    bench.intake.acknowledges = False
    await bench.connect()
    bench.execute(execute())
    await bench.intake.until_said(Started)
    for _ in range(20):  # turns of the loop, in which nothing may happen
        await asyncio.sleep(0)
    assert not bench.agent.tasks
    bench.intake.acknowledge_all()
    await bench.intake.until_said(Complete)


async def test_while_nothing_is_on_disk_what_is_said_grows_together(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        bench.intake.acknowledges = False
        turn.emit(TextDelta("m", 0, 0, "x" * Limits().bridge_window_bytes))
        for number in range(1000):
            turn.emit(TextDelta("m", 1, number, "y"))
            if number % 10 == 0:
                await asyncio.sleep(0)
        bench.intake.acknowledge_all()
        return RunResult()

    bench.agent.play = play
    await bench.connect()
    bench.execute(execute())
    await bench.intake.until_said(Complete)
    events = [event for frame in bench.intake.frames if isinstance(frame, Stream) for event in frame.events]
    grown = [event for event in events if isinstance(event, TextDelta) and event.block == 1]
    assert "".join(event.text for event in grown) == "y" * 1000
    assert len(grown) < 10


async def test_a_prompt_is_answered_through_the_hub(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        answer = await turn.ask(PromptAsked(prompt_id="p", type=PromptType.TOOL_PERMISSION, title="May I?"))
        turn.emit(TextDelta("m", 0, 0, answer.selected_option))
        return RunResult()

    bench.agent.play = play
    await bench.connect()
    bench.execute(execute())
    await bench.intake.until_said(PermissionRequest)
    bench.send(PermissionResponse(request_id=RequestId("r1"), prompt_id="p", selected_option="deny"))
    await bench.intake.until_said(Complete)
    assert [type(frame) for frame in bench.intake.frames][2:] == [PermissionApplied, Stream, Complete]


async def test_abort_goes_through_the_hub(bench: Bench) -> None:
    bench.agent.play = for_ever
    await bench.connect()
    bench.execute(execute())
    await bench.agent.started.wait()
    bench.send(Abort(request_id=RequestId("r1")))
    assert isinstance(await bench.intake.until_said(FINAL_FRAMES), Aborted)


async def test_the_server_can_ask_the_bridge(bench: Bench) -> None:
    await bench.connect()
    assert await bench.hub.call(LOCAL_BRIDGE, "echo", {"a": 1}, timeout_s=5) == {"a": 1}


async def for_ever(task: Execute, turn: Turn) -> RunResult:
    await asyncio.Event().wait()
    return RunResult()


# --- when something fails ----------------------------------------------------------------------------------------


async def test_a_fault_of_the_server_breaks_the_link_and_the_run_goes_on_over_the_next(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def play(task: Execute, turn: Turn) -> RunResult:
        turn.emit(TextDelta("m", 0, 0, "one "))
        await go_on.wait()
        turn.emit(TextDelta("m", 0, 4, "two"))
        return RunResult()

    bench.agent.play = play
    await bench.connect()
    bench.execute(execute())
    await bench.intake.until_said(Started)
    bench.intake.receive_error = RuntimeError("a mistake in the services")
    await bench.clock.until_sleeping(2)
    assert bench.intake.departures == 1
    bench.clock.advance(1)
    await bench.intake.until_greeted(2)
    go_on.set()
    await bench.intake.until_said(Complete)
    assert list(bench.intake.greetings[1]) == ["r1"]
    assert [frame.seq for frame in bench.intake.frames] == list(range(1, len(bench.intake.frames) + 1))
    events = [event for frame in bench.intake.frames if isinstance(frame, Stream) for event in frame.events]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "one two"


async def test_a_store_that_is_away_at_hello_is_tried_again_ever_more_slowly(bench: Bench) -> None:
    bench.intake.greet_error = StoreUnavailable("not there")
    await bench.bridge.start()
    await bench.intake.until_greeted(1)
    await bench.clock.run_for(0.9)
    assert len(bench.intake.greetings) == 1
    await bench.clock.run_for(0.1)
    assert len(bench.intake.greetings) == 2
    await bench.clock.run_for(1.9)
    assert len(bench.intake.greetings) == 2
    bench.intake.greet_error = None
    await bench.clock.run_for(0.1)
    await bench.bridge.connected()


async def test_a_bridge_whose_place_is_taken_by_another_process_stops(bench: Bench) -> None:
    class OtherLink:
        in_process = True
        buffered_bytes = 0

        def send(self, frame: ServerFrame) -> None: ...

        def close(self, code: int, reason: str) -> None: ...

    await bench.connect()
    other = Hello(protocol=PROTOCOL_VERSION, bridge_id=LOCAL_BRIDGE, instance_id="other")
    session = await bench.hub.connect(other, OtherLink())
    await bench.clock.run_for(60)
    assert len(bench.intake.greetings) == 2
    await bench.hub.disconnect(session)


# --- offers ------------------------------------------------------------------------------------------------------


async def test_agents_are_asked_again_while_one_is_not_available(bench: Bench) -> None:
    missing = AgentOffer(id="scripted", title="Scripted", available=False, reason="not logged in")
    bench.offers.next = (missing,)
    await bench.connect()
    await bench.publisher.until_offered(missing)
    there = AgentOffer(id="scripted", title="Scripted")
    bench.offers.next = (there,)
    await bench.clock.run_for(REFRESH_S)
    await bench.publisher.until_offered(there)
    asked = bench.offers.asked
    await bench.clock.run_for(3 * REFRESH_S)
    assert bench.offers.asked == asked


async def test_a_run_that_finds_no_agent_has_the_agents_asked_again(bench: Bench) -> None:
    await bench.connect()
    gone = AgentOffer(id="scripted", title="Scripted", available=False, reason="gone")
    bench.offers.next = (gone,)
    bench.execute(execute(agent="nobody"))
    await bench.publisher.until_offered(gone)


# --- close -------------------------------------------------------------------------------------------------------


async def test_close_ends_runs_as_lost_sees_that_stored_and_leaves_the_hub(bench: Bench) -> None:
    bench.agent.play = for_ever
    await bench.connect()
    bench.execute(execute())
    await bench.agent.started.wait()
    await bench.bridge.close()
    final = bench.intake.frames[-1]
    assert isinstance(final, Failed)
    assert final.error.code == "bridge_lost"
    assert bench.hub.presence() == ()
    assert (bench.agent.closed, bench.intake.departures) == (1, 1)


async def test_close_does_not_wait_for_ever_for_a_store_that_takes_nothing(bench: Bench) -> None:
    bench.agent.play = for_ever
    await bench.connect()
    bench.execute(execute())
    await bench.agent.started.wait()
    bench.intake.acknowledges = False
    closing = asyncio.ensure_future(bench.bridge.close())
    await bench.intake.until_said(Failed)
    before = bench.clock.monotonic()
    while not closing.done():
        await bench.clock.run_for(0.5)
    assert bench.clock.monotonic() - before <= 4


async def test_close_before_start_and_close_twice_are_harmless(bench: Bench) -> None:
    await bench.bridge.close()
    await bench.bridge.close()
    assert bench.agent.closed == 1
