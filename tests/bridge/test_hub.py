"""The hub between links and services, without sockets."""

import asyncio
from dataclasses import dataclass

import pytest

from baton.bridge.hub import Hub, Session
from baton.core.errors import AgentFailed, NoBridge, PeerViolation, StoreUnavailable, Unavailable
from baton.core.frames import (
    Abort,
    Ack,
    AgentOffer,
    BridgeStatus,
    Complete,
    Execute,
    Failed,
    KnownRun,
    Ping,
    Pong,
    Rpc,
    RpcResult,
    RunResult,
    Started,
    Stream,
    Welcome,
)
from baton.core.ids import BridgeId, ConversationId, RequestId
from baton.core.limits import Limits
from baton.core.models import Failure
from baton.core.stream import TextDelta
from baton.schemas.bridge import RefusedFrame
from baton.testing.clock import FakeClock
from tests.support.bridges import CLAUDE, DEMO, FakeIntake, FakeLink, FakePublisher, hello

B = BridgeId("b")
R = RequestId("r")
LIMITS = Limits()


@dataclass
class Setup:
    """A hub with its services."""

    hub: Hub
    intake: FakeIntake
    publisher: FakePublisher
    clock: FakeClock

    async def connect(self, bridge_id: str = "b", **fields: object) -> tuple[Session, FakeLink]:
        link = FakeLink()
        return await self.hub.connect(hello(bridge_id, **fields), link), link  # type: ignore[arg-type]


@pytest.fixture
def setup() -> Setup:
    clock = FakeClock()
    hub = Hub(clock, LIMITS, epoch="epoch")
    intake, publisher = FakeIntake(hub), FakePublisher()
    hub.attach(intake, publisher)
    return Setup(hub, intake, publisher, clock)


def text(seq: int) -> Stream:
    return Stream(request_id=R, seq=seq, events=(TextDelta("m", 0, 0, "x"),))


def execute(request_id: str = "r") -> Execute:
    return Execute(
        request_id=RequestId(request_id), conversation_id=ConversationId("c" * 24), message="go", agent="claude"
    )


async def turn() -> None:
    """Let what is due in this turn of the loop happen."""
    await asyncio.sleep(0)


# --- coming and going --------------------------------------------------------------------------------------------


async def test_a_bridge_gets_its_welcome_and_then_what_should_be(setup: Setup) -> None:
    setup.intake.on_disk = {R: 3}
    setup.intake.expected = (execute("new"), Abort(request_id=R))
    _, link = await setup.connect(runs=(KnownRun(request_id=R, last_seq=5, prompts=("p",)),))
    welcome, *frames = link.sent
    assert isinstance(welcome, Welcome)
    assert (welcome.epoch, welcome.acks, welcome.window) == ("epoch", {R: 3}, LIMITS.bridge_window_bytes)
    assert frames == [execute("new"), Abort(request_id=R)]
    assert setup.intake.known["b"] == {R: (5, ("p",))}
    assert setup.intake.told == ["settle b", "greet b", "arrived b"]


async def test_what_belongs_to_another_server_is_not_spoken_of(setup: Setup) -> None:
    runs = (KnownRun(request_id=R, last_seq=5, epoch="other"), KnownRun(request_id=RequestId("s"), last_seq=1))
    await setup.connect(runs=runs)
    assert setup.intake.known["b"] == {RequestId("s"): (1, ())}


async def test_a_background_run_is_spoken_of_once_its_first_frame_is_here(setup: Setup) -> None:
    begun = KnownRun(request_id=R, last_seq=3, epoch="epoch", origin="background")
    await setup.connect(runs=(begun,))
    assert setup.intake.known["b"] == {}, "it would be aborted as unknown"
    setup.intake.on_disk = {R: 1}
    await setup.connect(runs=(begun,))
    assert setup.intake.known["b"] == {R: (3, ())}, "it would be ended as lost"


async def test_the_epoch_may_be_asked_for_when_it_is_needed() -> None:
    async def epoch() -> str:
        return "later"

    hub = Hub(FakeClock(), LIMITS, epoch=epoch)
    hub.attach(FakeIntake(hub), FakePublisher())
    link = FakeLink()
    await hub.connect(hello(), link)
    assert isinstance(link.sent[0], Welcome)
    assert link.sent[0].epoch == "later"


async def test_another_version_is_not_welcomed(setup: Setup) -> None:
    with pytest.raises(PeerViolation) as caught:
        await setup.hub.connect(hello().__class__(protocol=2, bridge_id=B, instance_id="i"), FakeLink())
    assert caught.value.close_code == 4426
    assert setup.intake.told == []


async def test_nobody_outside_takes_the_place_of_the_in_process_bridge(setup: Setup) -> None:
    inside = FakeLink()
    inside.in_process = True
    await setup.hub.connect(hello("local"), inside)
    with pytest.raises(PeerViolation) as refused:
        await setup.connect("local")
    assert refused.value.close_code == 4409
    assert inside.closed is None
    assert setup.hub.is_connected(BridgeId("local"))


@pytest.mark.parametrize(("instance", "code"), [("i", 1001), ("j", 4409)])
async def test_a_newer_link_replaces_the_older(setup: Setup, instance: str, code: int) -> None:
    older, older_link = await setup.connect()
    newer, _ = await setup.connect(instance=instance)
    assert older_link.closed is not None
    assert older_link.closed[0] == code
    assert not older.is_open
    assert newer.is_open
    await setup.hub.disconnect(older)
    assert "departed b" not in setup.intake.told, "the bridge is still there"
    assert setup.hub.is_connected(B)


async def test_what_was_read_from_the_older_link_is_settled_before_the_welcome(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    older, _ = await setup.connect()
    setup.hub.receive(older, text(1))
    _, link = await setup.connect()
    assert isinstance(link.sent[0], Welcome)
    assert link.sent[0].acks == {R: 1}


async def test_frames_of_a_replaced_link_no_longer_count(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    older, _ = await setup.connect()
    await setup.connect()
    setup.hub.receive(older, text(1))
    assert setup.intake.frames == []


async def test_a_link_that_is_replaced_while_it_is_greeted_gives_up(setup: Setup) -> None:
    setup.intake.hold = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(_raises(setup.connect(instance="i"), PeerViolation))
        await setup.intake.until_told("greet b")
        second = tasks.create_task(setup.connect(instance="j"))
        await turn()
        setup.intake.hold.set()
    await first
    assert (await second)[0].is_open
    assert "departed b" not in setup.intake.told


async def _raises(coroutine: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        await coroutine  # type: ignore[misc]


async def test_what_services_say_while_a_bridge_is_greeted_goes_out_behind_the_welcome(setup: Setup) -> None:
    setup.intake.hold = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        connecting = tasks.create_task(setup.connect())
        await setup.intake.until_told("greet b")
        assert not setup.hub.is_connected(B)
        setup.hub.send(B, Abort(request_id=R))
        setup.intake.hold.set()
    _, link = connecting.result()
    assert [type(frame) for frame in link.sent] == [Welcome, Abort]


async def test_a_bridge_whose_greeting_fails_is_not_connected(setup: Setup) -> None:
    setup.intake.fails = StoreUnavailable("no disk")
    with pytest.raises(StoreUnavailable):
        await setup.connect()
    assert not setup.hub.is_connected(B)
    assert setup.hub.presence() == ()
    assert setup.intake.told[-1] == "departed b"


async def test_services_are_told_once_that_a_bridge_has_gone(setup: Setup) -> None:
    session, _ = await setup.connect()
    await setup.hub.disconnect(session)
    await setup.hub.disconnect(session)
    assert setup.intake.told.count("departed b") == 1
    assert not setup.hub.is_connected(B)


# --- numbered frames ---------------------------------------------------------------------------------------------


async def test_a_frame_is_taken_in_and_acknowledged_when_it_is_on_disk(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    session, link = await setup.connect()
    setup.hub.receive(session, text(1))
    await turn()
    assert setup.intake.frames == [text(1)]
    assert link.acks() == []
    setup.intake.commit(B)
    await turn()
    assert link.acks() == [{"r": 1}]


async def test_acks_of_one_turn_of_the_loop_are_one_frame(setup: Setup) -> None:
    _, link = await setup.connect()
    for seq in range(1, 6):
        setup.hub.acknowledge(B, {R: seq})
    setup.hub.acknowledge(B, {RequestId("s"): 1})
    await turn()
    assert link.acks() == [{"r": 5, "s": 1}]


async def test_acks_that_follow_each_other_closely_wait_and_are_one_frame(setup: Setup) -> None:
    _, link = await setup.connect()
    setup.hub.acknowledge(B, {R: 1})
    await turn()
    for seq in range(2, 6):
        setup.hub.acknowledge(B, {R: seq})
        await turn()
    assert link.acks() == [{"r": 1}]
    async with asyncio.timeout(30):
        while len(link.acks()) < 2:
            await asyncio.sleep(0.01)
    assert link.acks() == [{"r": 1}, {"r": 5}]


async def test_an_ack_does_not_wait_where_much_of_the_window_is_used(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    session, link = await setup.connect()
    for seq, size in ((1, 1), (2, 1), (3, LIMITS.bridge_window_bytes // 2)):
        setup.hub.receive(session, text(seq), size)
        setup.hub.acknowledge(B, {R: seq})
        await turn()
    assert link.acks() == [{"r": 1}, {"r": 3}]


async def test_a_gap_is_a_violation_and_nothing_is_taken_in(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    session, _ = await setup.connect()
    with pytest.raises(PeerViolation) as caught:
        setup.hub.receive(session, text(2))
    assert caught.value.close_code == 4400
    assert setup.intake.frames == []


async def test_frames_of_unknown_runs_are_acknowledged_and_dropped(setup: Setup) -> None:
    session, link = await setup.connect()
    setup.hub.receive(session, text(7))
    await turn()
    assert link.acks() == [{"r": 7}]
    assert setup.intake.frames == []


async def test_a_repeated_frame_is_taken_in_once(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    session, _ = await setup.connect()
    setup.hub.receive(session, text(1))
    setup.hub.receive(session, text(1))
    assert setup.intake.frames == [text(1)]


async def test_a_refused_frame_fails_its_run_counts_and_is_followed_by_an_abort(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    session, link = await setup.connect()
    failure = Failure("agent_failed", "bad")
    setup.hub.refuse(session, RefusedFrame(R, 1, failure))
    setup.hub.receive(session, text(2))
    setup.intake.commit(B)
    await turn()
    assert setup.intake.frames == [Failed(request_id=R, seq=1, error=failure)]
    assert link.sent[1:] == [Abort(request_id=R), Ack(acks={R: 2})]


async def test_a_refused_frame_behind_a_gap_is_a_violation(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    session, _ = await setup.connect()
    with pytest.raises(PeerViolation):
        setup.hub.refuse(session, RefusedFrame(R, 2, Failure("agent_failed", "bad")))


async def test_a_background_run_reaches_the_services(setup: Setup) -> None:
    session, _ = await setup.connect()
    started = Started(request_id=R, seq=1, conversation_id=ConversationId("c" * 24), origin="background")
    setup.hub.receive(session, started)
    setup.hub.receive(session, text(2))
    assert setup.intake.frames == [started, text(2)]


async def test_a_link_with_too_much_that_is_not_on_disk_has_no_room_until_it_is(setup: Setup) -> None:
    setup.intake.on_disk = {R: 0}
    session, _ = await setup.connect()
    setup.hub.receive(session, text(1), 2 * LIMITS.bridge_window_bytes)
    assert session.has_room.is_set()
    setup.hub.receive(session, text(2), 1)
    assert not session.has_room.is_set()
    setup.intake.commit(B)
    assert session.has_room.is_set()


# --- choosing and load -------------------------------------------------------------------------------------------


async def test_nothing_connected_is_said_in_the_contracts_words(setup: Setup) -> None:
    choice = setup.hub.choose(agent=None, bridge_id=None, working_directory=None)
    assert choice.reason == "No bridge service connected"


async def test_runs_spread_over_bridges_by_load(setup: Setup) -> None:
    await setup.connect("a")
    await setup.connect("b")
    chosen = []
    for name in ("1", "2", "3", "4"):
        choice = setup.hub.choose(agent=None, bridge_id=None, working_directory=None)
        assert choice.bridge_id is not None
        setup.hub.send(choice.bridge_id, execute(name))
        chosen.append(choice.bridge_id)
    assert chosen == ["a", "b", "a", "b"]


async def test_a_run_is_load_until_it_is_released_or_final(setup: Setup) -> None:
    session, _ = await setup.connect(max_concurrent_requests=2)
    setup.intake.on_disk = {R: 0}
    setup.hub.send(B, execute("r"))
    setup.hub.send(B, execute("s"))
    setup.hub.send(B, execute("s"))
    assert setup.hub.presence()[0].active == 2
    assert setup.hub.choose(agent=None, bridge_id=None, working_directory=None).bridge_id is None
    setup.hub.release(B, RequestId("s"))
    assert setup.hub.presence()[0].active == 1
    setup.hub.receive(session, Complete(request_id=R, seq=1, result=RunResult()))
    assert setup.hub.presence()[0].active == 0


async def test_load_is_counted_anew_with_each_link(setup: Setup) -> None:
    setup.intake.on_disk = {R: 4}
    setup.intake.expected = (execute("s"),)
    await setup.connect()
    assert setup.hub.presence()[0].active == 2


# --- presence ----------------------------------------------------------------------------------------------------


async def test_every_change_of_presence_is_told_once_per_turn(setup: Setup) -> None:
    session, _ = await setup.connect()
    await turn()
    setup.hub.send(B, execute("r"))
    setup.hub.send(B, execute("s"))
    await turn()
    await setup.hub.disconnect(session)
    await turn()
    assert setup.publisher.presence() == [["b"], ["b"], []]


async def test_presence_shows_what_hello_said_and_the_status_since(setup: Setup) -> None:
    session, _ = await setup.connect(name="Anna's", hostname="laptop", agents=(DEMO,))
    setup.hub.receive(session, BridgeStatus(agents=(CLAUDE, DEMO), active=1, queued=3))
    [bridge] = setup.hub.presence()
    assert (bridge.name, bridge.hostname, bridge.agents, bridge.queued) == ("Anna's", "laptop", (CLAUDE, DEMO), 3)
    assert bridge.connected_at == setup.clock.now()


async def test_a_status_can_take_an_agent_away(setup: Setup) -> None:
    session, _ = await setup.connect()
    gone = AgentOffer(id="claude", title="Claude", available=False, reason="logged out")
    setup.hub.receive(session, BridgeStatus(agents=(gone, DEMO)))
    assert setup.hub.choose(agent=None, bridge_id=None, working_directory=None).agent == "demo"


# --- questions ---------------------------------------------------------------------------------------------------


async def answered(setup: Setup, session: Session, link: FakeLink, **result: object) -> object:
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(setup.hub.call(B, "echo", {"a": 1}, 5))
        await turn()
        rpc = link.sent[-1]
        assert isinstance(rpc, Rpc)
        assert (rpc.method, rpc.params) == ("echo", {"a": 1})
        setup.hub.receive(session, RpcResult(id=rpc.id, **result))  # type: ignore[arg-type]
    return call.result()


async def test_a_question_is_answered(setup: Setup) -> None:
    session, link = await setup.connect()
    assert await answered(setup, session, link, ok=True, result=[1]) == [1]


async def test_a_bridges_error_is_the_callers(setup: Setup) -> None:
    session, link = await setup.connect()
    with pytest.raises(ExceptionGroup) as caught:
        await answered(setup, session, link, ok=False, error=Failure("not_found", "no file", True))
    [error] = caught.value.exceptions
    assert isinstance(error, AgentFailed)
    assert (error.code, error.message, error.retryable) == ("not_found", "no file", True)


async def test_a_question_nobody_answers_ends_at_its_timeout(setup: Setup) -> None:
    session, _ = await setup.connect()
    with pytest.raises(Unavailable, match="did not answer echo"):
        await setup.hub.call(B, "echo", None, 0.001)
    assert session.calls == {}


async def test_a_question_ends_when_its_bridge_leaves(setup: Setup) -> None:
    session, _ = await setup.connect()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(_raises(setup.hub.call(B, "echo", None, 5), NoBridge))
        await turn()
        await setup.hub.disconnect(session)
    await waiting


async def test_nobody_can_be_asked_where_nobody_is(setup: Setup) -> None:
    with pytest.raises(NoBridge) as caught:
        await setup.hub.call(B, "echo", None, 5)
    assert caught.value.message == "No bridge service connected"


async def test_an_answer_nobody_waits_for_is_dropped(setup: Setup) -> None:
    session, _ = await setup.connect()
    setup.hub.receive(session, RpcResult(id="99", ok=True))
    assert session.is_open


# --- sending and heartbeats --------------------------------------------------------------------------------------


async def test_a_frame_for_a_bridge_that_is_gone_is_dropped(setup: Setup) -> None:
    setup.hub.send(B, Abort(request_id=R))
    setup.hub.acknowledge(B, {R: 1})
    setup.hub.release(B, R)
    session, link = await setup.connect()
    await setup.hub.disconnect(session)
    setup.hub.send(B, Abort(request_id=R))
    await turn()
    assert [type(frame) for frame in link.sent] == [Welcome]


async def test_a_bridge_is_pinged_each_heartbeat_and_closed_after_two_silent_ones(setup: Setup) -> None:
    session, link = await setup.connect()
    for _ in range(3):
        setup.clock.advance(LIMITS.heartbeat_s)
        setup.hub.receive(session, Pong(t=0))
        setup.hub.beat(session)
    assert [type(frame) for frame in link.sent] == [Welcome, Ping, Ping, Ping]
    assert setup.hub.presence()[0].last_seen_at == setup.clock.now()
    for _ in range(2):
        setup.clock.advance(LIMITS.heartbeat_s)
        setup.hub.beat(session)
    assert link.closed is not None
