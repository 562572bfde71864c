"""One order of changes per conversation: whoever is cancelled, refused or late, nobody loses a number or a turn."""

import asyncio
import threading

import orjson
import pytest

from baton.core.commands import MoveQueued, RespondPrompt, SendMessage
from baton.core.errors import BatonError, NotFound, StoreUnavailable
from baton.core.events import Queue, RunChanged
from baton.core.frames import Execute, PermissionRequest, PromptAsked, SetMode
from baton.core.ids import ConversationId, RequestId, new_object_id
from baton.core.limits import Limits
from baton.core.models import (
    ConversationState,
    PermissionMode,
    PromptResponse,
    PromptStatus,
    PromptType,
    RunStatus,
)
from baton.core.stored import LaneState
from baton.core.stream import TextDelta
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from baton.testing.stores import FaultyStore, HeldStore, StoreInFront, StumblingStore
from tests.services.harness import ANNA, LOCAL, Server

R1, R2, R3 = RequestId("r1"), RequestId("r2"), RequestId("r3")


class CountingStore(StoreInFront):
    """Counts how often lanes are read, and may be slow to give one."""

    def __init__(self, behind: SqliteStore) -> None:
        super().__init__(behind)
        self.loads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load_lane(self, conversation_id: ConversationId) -> LaneState | None:
        self.loads += 1
        await self.gate.wait()
        return await super().load_lane(conversation_id)


# --- who is cancelled ------------------------------------------------------------------------------------------


async def test_a_cancelled_change_that_is_stored_all_the_same_leaves_no_number_twice(store: SqliteStore) -> None:
    server = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
    conversation = await server.conversation()
    disk_is_free = threading.Event()
    blocking = asyncio.ensure_future(store._writer.run(lambda _: disk_is_free.wait(5)))
    cancelled = asyncio.ensure_future(server.send(conversation, "r1"))
    for _ in range(20):
        await asyncio.sleep(0.001)  # until the change has been handed to the writing thread
    cancelled.cancel()
    following = asyncio.ensure_future(server.send(conversation, "r2"))
    for _ in range(20):
        await asyncio.sleep(0.001)  # until the one that follows has had every chance to go ahead
    disk_is_free.set()
    await blocking
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await following
    snapshot = await server.join(conversation)
    runs = [orjson.loads(run) for run in snapshot.runs]
    seqs = [run["seq"] for run in runs]
    assert len(set(seqs)) == len(seqs) == 2
    assert [run["status"] for run in runs].count(RunStatus.DISPATCHED) == 1
    messages = await store.history(conversation.id)
    assert [message.ordinal for message in messages] == [1, 2]


@pytest.mark.parametrize("after_write", [False, True])
async def test_a_run_that_is_stored_as_dispatched_is_sent_also_where_the_link_that_asked_for_it_is_replaced(
    store: SqliteStore, after_write: bool
) -> None:
    held = HeldStore(store)
    server = Server(held, limits=Limits(), clock=FakeClock(), epoch="e")
    server.bridge.connected = False
    conversation = await server.conversation()
    await server.send(conversation, "r1")
    server.bridge.connected = True
    held.hold(after_write=after_write)
    arriving = asyncio.ensure_future(server.intake.arrived(LOCAL))
    await held.reached.wait()
    arriving.cancel()
    await asyncio.sleep(0)
    held.release()
    with pytest.raises(asyncio.CancelledError):
        await arriving
    assert [frame.request_id for frame in server.bridge.of(Execute)] == [R1]
    (dispatched,) = [told.run for told in server.browser.told(RunChanged) if told.run.status is RunStatus.DISPATCHED]
    assert dispatched == await store.run(R1)


async def test_a_change_whose_caller_is_cancelled_twice_is_read_anew(store: SqliteStore) -> None:
    held = HeldStore(store)
    server = Server(held, limits=Limits(), clock=FakeClock(), epoch="e")
    conversation = await server.conversation()
    held.hold()
    sending = asyncio.ensure_future(server.send(conversation, "r1"))
    await held.reached.wait()
    for _ in range(2):
        sending.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await sending
    held.release()
    await server.send(conversation, "r2")
    assert [frame.request_id for frame in server.bridge.of(Execute)] == [R2]


async def test_a_cancelled_change_that_fails_is_raised_nowhere_else(store: SqliteStore) -> None:
    stumbling = StumblingStore(store)
    held = HeldStore(stumbling)
    server = Server(held, limits=Limits(), clock=FakeClock(), epoch="e")
    conversation = await server.conversation()
    held.hold()
    stumbling.raises = [StoreUnavailable("away")]
    sending = asyncio.ensure_future(server.send(conversation, "r1"))
    await held.reached.wait()
    sending.cancel()
    await asyncio.sleep(0)
    held.release()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert (await server.send(conversation, "r1")).status == "dispatched"


# --- who is refused --------------------------------------------------------------------------------------------


async def test_a_refused_request_does_not_make_the_lane_be_read_anew(store: SqliteStore) -> None:
    counting = CountingStore(store)
    server = Server(counting, limits=Limits(queue_max_runs=1), clock=FakeClock(), epoch="e")
    conversation = await server.conversation()
    for name in ("r1", "r2"):
        await server.send(conversation, name)
    counting.loads = 0
    for _ in range(5):
        with pytest.raises(BatonError):
            await server.send(conversation, "r3")
    server.start("r1")
    await server.intake.flush()
    assert counting.loads == 0


async def test_conversations_that_are_not_there_cost_the_stream_nothing(store: SqliteStore) -> None:
    counting = CountingStore(store)
    server = Server(counting, limits=Limits(), clock=FakeClock(), epoch="e")
    for _ in range(10):
        with pytest.raises(NotFound):
            await server.runs.queue_resume(ANNA, ConversationId(new_object_id()))
    counting.loads = 0
    await server.intake.flush()
    assert counting.loads == 0


# --- who is forgotten ------------------------------------------------------------------------------------------


async def test_who_waits_gets_its_turn_also_after_a_failed_change(store: SqliteStore) -> None:
    faulty = FaultyStore(store)
    server = Server(faulty, limits=Limits(), clock=FakeClock(), epoch="e")
    server.bridge.connected = False
    conversation = await server.conversation()
    await server.send(conversation, "r1")
    faulty.fail()
    with pytest.raises(StoreUnavailable):
        await server.send(conversation, "r2")
    server.bridge.connected = True
    await server.dispatcher.advance_all()
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.DISPATCHED


async def test_the_sweep_finds_who_waits_whatever_nobody_told_it(server: Server) -> None:
    server.bridge.connected = False
    await server.send(await server.conversation())
    server.bridge.connected = True
    await server.deadlines.sweep()
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.DISPATCHED


async def test_of_two_that_remember_at_once_neither_goes_on_before_all_is_known(store: SqliteStore) -> None:
    counting = CountingStore(store)
    faulty = FaultyStore(counting)
    server = Server(faulty, limits=Limits(), clock=FakeClock(), epoch="e")
    conversation = await server.conversation()
    await server.send(conversation)
    faulty.fail()
    with pytest.raises(StoreUnavailable):
        await server.runs.abort(ANNA, R1)
    counting.gate.clear()
    first = asyncio.ensure_future(server.lanes.remember())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(server.lanes.remember())
    await asyncio.sleep(0)
    assert not second.done()
    counting.gate.set()
    await second
    assert [live.run.request_id for live in server.lanes.open_runs()] == ["r1"]
    await first


async def test_lanes_that_an_outage_made_forget_are_read_several_at_once(store: SqliteStore) -> None:
    counting = CountingStore(store)
    faulty = FaultyStore(counting)
    server = Server(faulty, limits=Limits(), clock=FakeClock(), epoch="e")
    for number in range(5):
        await server.send(await server.conversation(), f"r{number}")
    faulty.fail(times=5)
    for number in range(5):
        with pytest.raises(StoreUnavailable):
            await server.runs.abort(ANNA, RequestId(f"r{number}"))
    counting.loads = 0
    counting.gate.clear()
    remembering = asyncio.ensure_future(server.lanes.remember())
    async with asyncio.timeout(30):
        while counting.loads < 5:
            await asyncio.sleep(0)
    counting.gate.set()
    await remembering
    assert {live.request_id for live in server.lanes.open_runs()} == {RequestId(f"r{number}") for number in range(5)}


async def test_a_hello_hears_of_a_run_whose_lane_was_forgotten(store: SqliteStore) -> None:
    faulty = FaultyStore(store)
    server = Server(faulty, limits=Limits(), clock=FakeClock(), epoch="e")
    await server.send(await server.conversation())
    faulty.fail()
    with pytest.raises(StoreUnavailable):
        await server.runs.abort(ANNA, R1)
    expected = await server.intake.greet(LOCAL, known={})
    assert [type(frame) for frame in expected.frames] == [Execute]


# --- what lists and queues show --------------------------------------------------------------------------------


async def test_a_conversation_whose_last_waiting_run_is_taken_out_is_idle(server: Server) -> None:
    server.bridge.connected = False
    conversation = await server.conversation()
    await server.send(conversation)
    assert (await server.conversations.get(ANNA, conversation.id)).state is ConversationState.QUEUED
    await server.runs.queue_remove(ANNA, R1)
    assert (await server.conversations.get(ANNA, conversation.id)).state is ConversationState.IDLE


async def test_a_conversation_whose_message_nobody_took_shows_as_failed(server: Server) -> None:
    server.bridge.connected = False
    conversation = await server.conversation()
    await server.send(conversation)
    await server.leap(301)
    assert (await server.conversations.get(ANNA, conversation.id)).state is ConversationState.FAILED


async def test_only_the_head_of_a_queue_has_a_deadline(server: Server) -> None:
    server.bridge.connected = False
    conversation = await server.conversation()
    await server.send(conversation, "r1")
    await server.send(conversation, "r2")
    queue = await server.runs.queue_move(ANNA, MoveQueued(request_id=R2, position=1))
    assert [run.deadline_at is not None for run in queue.runs] == [True, False]
    await server.leap(301)
    assert (await server.runs.get(ANNA, R2)).status is RunStatus.FAILED
    waiting = await server.runs.get(ANNA, R1)
    assert waiting.status is RunStatus.QUEUED
    assert waiting.deadline_at is not None
    assert waiting.deadline_at > server.clock.now()


async def test_the_deadline_of_who_was_overtaken_does_not_run_on_behind_the_one_that_works(server: Server) -> None:
    server.bridge.connected = False
    conversation = await server.conversation()
    await server.send(conversation, "r1")
    await server.send(conversation, "r2")
    server.bridge.connected = True
    await server.runs.queue_move(ANNA, MoveQueued(request_id=R2, position=1))
    assert (await server.runs.get(ANNA, R2)).status is RunStatus.DISPATCHED
    await server.leap(301)
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.QUEUED


async def test_a_queue_can_be_moved_for_ever(server: Server) -> None:
    conversation = await server.conversation()
    for name in ("r0", "r1", "r2", "r3"):
        await server.send(conversation, name)
    queue: Queue | None = None
    for number in range(120):
        name = (R3, R2)[number % 2]
        queue = await server.runs.queue_move(ANNA, MoveQueued(request_id=name, position=2))
        assert [run.request_id for run in queue.runs][1] == name
    again = Server(server.store, limits=Limits(), clock=FakeClock(), epoch="e")
    await again.recover()
    assert queue is not None
    stored = (await again.join(conversation)).queue
    assert [run.request_id for run in stored.runs] == [run.request_id for run in queue.runs]


# --- memory and disk -------------------------------------------------------------------------------------------


async def test_nobody_is_told_a_seq_that_is_not_on_disk(store: SqliteStore) -> None:
    held = HeldStore(store)
    server = Server(held, limits=Limits(), clock=FakeClock(), epoch="e")
    conversation = await server.conversation()
    await server.send(conversation)
    server.start("r1")
    await server.intake.flush()
    before = (await server.conversations.get(ANNA, conversation.id)).seq
    held.hold()
    server.say("r1", TextDelta("m", 0, 0, "not yet"))
    flushing = asyncio.ensure_future(server.intake.flush())
    await held.reached.wait()
    asked = asyncio.ensure_future(server.conversations.get(ANNA, conversation.id))
    await asyncio.sleep(0.01)  # long enough for an answer that does not wait for the disk
    if asked.done():
        assert asked.result().seq == before
    held.release()
    await flushing
    assert (await asked).seq in (before, before + 1)


# --- modes -----------------------------------------------------------------------------------------------------


async def run_in(server: Server, mode: PermissionMode | None) -> ConversationId:
    conversation = await server.conversation()
    await server.runs.send(
        ANNA, SendMessage(request_id=R1, content="x", conversation_id=conversation.id, permission_mode=mode)
    )
    server.start("r1")
    await server.intake.flush()
    return conversation.id


async def told_modes(server: Server) -> list[PermissionMode]:
    expected = await server.intake.greet(LOCAL, known={R1: (1, ())})
    return [frame.mode for frame in expected.frames if isinstance(frame, SetMode)]


async def test_a_reconnect_does_not_take_a_run_out_of_the_mode_it_was_sent_in(server: Server) -> None:
    await run_in(server, PermissionMode.PLAN)
    assert set(await told_modes(server)) <= {PermissionMode.PLAN}


async def test_a_mode_that_was_changed_while_the_bridge_was_away_reaches_it(server: Server) -> None:
    conversation_id = await run_in(server, None)
    server.bridge.connected = False
    await server.conversations.set_mode(ANNA, conversation_id, PermissionMode.PLAN)
    assert await told_modes(server) == [PermissionMode.PLAN]


async def test_a_run_that_is_sent_again_to_a_bridge_that_is_back_is_not_away_any_more(server: Server) -> None:
    await server.send(await server.conversation())
    server.bridge.connected = False
    await server.deadlines.sweep()
    server.clock.advance(31)
    await server.deadlines.sweep()
    assert (await server.runs.get(ANNA, R1)).away
    server.bridge.connected = True
    await server.intake.greet(LOCAL, known={})
    run = await server.runs.get(ANNA, R1)
    assert (run.away, run.deadline_at) == (False, None)


async def test_a_bridge_that_leaves_a_second_time_is_not_away_since_the_first(server: Server) -> None:
    await server.send(await server.conversation(), "r1")
    server.bridge.connected = False
    await server.deadlines.sweep()
    await server.runs.abort(ANNA, R1)
    server.bridge.connected = True
    await server.deadlines.sweep()
    await server.send(await server.conversation(), "r2")
    server.clock.advance(3600)
    server.bridge.connected = False
    await server.deadlines.sweep()
    assert not (await server.runs.get(ANNA, R2)).away


# --- answers ---------------------------------------------------------------------------------------------------


async def test_an_answer_that_is_refused_leaves_the_stream_as_it_was(store: SqliteStore) -> None:
    counting = CountingStore(store)
    server = Server(counting, limits=Limits(), clock=FakeClock(), epoch="e")
    await server.send(await server.conversation())
    server.start("r1")
    asked = PromptAsked(prompt_id="p", type=PromptType.TOOL_PERMISSION, title="May I?")
    server.frame(PermissionRequest(request_id=R1, seq=server.next_seq("r1"), prompt=asked))
    await server.intake.flush()
    (prompt,) = await store.prompts(PromptStatus.PENDING)
    counting.loads = 0
    with pytest.raises(BatonError):
        await server.prompts.respond(
            ANNA, RespondPrompt(prompt_id=prompt.id, selected_option="sudo", response=PromptResponse())
        )
    assert counting.loads == 0
