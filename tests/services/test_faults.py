"""Whatever fails inside one step, the steps after it go on: no loop ends, no run hangs, nothing is done by half."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from baton.core import stream
from baton.core.commands import ForkConversation
from baton.core.errors import Overloaded, StoreUnavailable
from baton.core.events import ConversationCreated, ConversationDeleted
from baton.core.frames import Execute, Started
from baton.core.ids import BridgeId, ConversationId, RequestId
from baton.core.limits import Limits
from baton.core.models import Attachment, ConversationStatus, RunStatus
from baton.core.stored import Change, ConversationFilter, Outcome
from baton.core.stream import MessageDone, TextDelta, ToolDone, ToolStarted
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from baton.testing.stores import FaultyStore, HeldStore, StoreInFront, StumblingStore
from tests.services.harness import ANNA, Server

R1, R2 = RequestId("r1"), RequestId("r2")
SOON_S = 5.0
HUGE = "x" * 1_000_000


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator["asyncio.Future[None]"]:
    """A loop that is under way; ended afterwards."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


# --- loops go on -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [Overloaded("full"), StoreUnavailable("away"), RuntimeError("nobody thought of it")], ids=str
)
async def test_no_failure_of_one_flush_ends_the_flushing(store: SqliteStore, error: Exception) -> None:
    stumbling = StumblingStore(store)
    server = Server(stumbling, limits=Limits(), clock=FakeClock(), epoch="e")
    await server.send(await server.conversation())
    async with running(server.intake.run()):
        stumbling.raises = [error, error]
        server.start("r1")
        async with asyncio.timeout(SOON_S):
            while R1 not in server.bridge.acks:
                server.clock.advance(0.1)
                await asyncio.sleep(0)
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.RUNNING


@pytest.mark.parametrize(
    "error", [Overloaded("full"), StoreUnavailable("away"), RuntimeError("nobody thought of it")], ids=str
)
async def test_no_failure_of_one_dispatch_ends_the_dispatching(store: SqliteStore, error: Exception) -> None:
    stumbling = StumblingStore(store)
    server = Server(stumbling, limits=Limits(), clock=FakeClock(), epoch="e")
    server.bridge.connected = False
    await server.send(await server.conversation())
    server.bridge.connected = True
    async with running(server.dispatcher.run()) as dispatching:
        stumbling.raises = [error]
        server.lanes.capacity_freed()
        async with asyncio.timeout(SOON_S):
            while (await server.runs.get(ANNA, R1)).status is not RunStatus.DISPATCHED:
                if not stumbling.raises:
                    await server.deadlines.sweep()
        assert not dispatching.done()


# --- a run that cannot be taken in -----------------------------------------------------------------------------


def say_nonsense(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame at which the taking in itself breaks."""
    monkeypatch.setattr(stream, "MessageDiscarded", object)
    server.frame(BrokenFrame(R1, server.next_seq("r1")))  # type: ignore[arg-type]  # that is what is wrong with it


class BrokenFrame:
    """No frame that anybody knows."""

    def __init__(self, request_id: RequestId, seq: int) -> None:
        self.request_id = request_id
        self.seq = seq


async def started(server: Server, request_id: str = "r1") -> None:
    await server.send(await server.conversation(), request_id)
    server.start(request_id)
    await server.intake.flush()


async def test_a_run_whose_frames_cannot_be_taken_in_fails_at_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(server)
    say_nonsense(server, monkeypatch)
    await server.intake.flush()
    run = await server.runs.get(ANNA, R1)
    assert run.error is not None
    assert (run.status, run.error.code) == (RunStatus.FAILED, "internal")


async def test_a_run_that_must_fail_fails_also_when_the_store_was_away_at_first(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = FaultyStore(store)
    server = Server(faulty, limits=Limits(), clock=FakeClock(), epoch="e")
    await started(server)
    faulty.fail()
    say_nonsense(server, monkeypatch)
    with pytest.raises(StoreUnavailable):
        await server.intake.flush()
    await server.intake.flush()
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.FAILED


async def test_one_run_that_cannot_be_taken_in_stops_no_other(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    await started(server, "r1")
    await started(server, "r2")
    say_nonsense(server, monkeypatch)
    server.say("r2", TextDelta("m", 0, 0, "Fine."))
    await server.intake.flush()
    assert server.bridge.acks[R2] == 2
    assert (await server.runs.get(ANNA, R2)).status is RunStatus.RUNNING


class BrokenShelf(StoreInFront):
    """Takes no attachment, and not because it is away."""

    async def put_attachment(
        self, attachment: Attachment, content: bytes, *, used_by: ConversationId | None = None
    ) -> None:
        raise ValueError("nobody thought of it")


async def test_a_run_whose_results_cannot_be_put_aside_fails_and_stops_no_other(store: SqliteStore) -> None:
    server = Server(BrokenShelf(store), limits=Limits(), clock=FakeClock(), epoch="e")
    await started(server, "r1")
    await started(server, "r2")
    server.say(
        "r1", ToolStarted(message_id="m", block=0, id="t", name="Bash"), ToolDone(message_id="m", id="t", result=HUGE)
    )
    server.say("r2", TextDelta("m", 0, 0, "Fine."))
    await server.intake.flush()
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.FAILED
    assert server.bridge.acks[R2] == 2


# --- nothing by half -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing_commit", [1, 2])
async def test_a_deletion_that_is_not_stored_has_not_ended_the_runs(store: SqliteStore, failing_commit: int) -> None:
    server = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
    conversation = await server.conversation()
    await server.send(conversation)
    breaking = Server(FailAt(store, failing_commit), limits=Limits(), clock=FakeClock(), epoch="e")
    await breaking.recover()
    try:
        deleted = await breaking.conversations.delete(ANNA, conversation.id)
    except StoreUnavailable:
        assert (await breaking.runs.get(ANNA, R1)).status is RunStatus.DISPATCHED
    else:
        assert deleted.status is ConversationStatus.DELETED
        assert (await breaking.runs.get(ANNA, R1)).status is RunStatus.ABORTED
        assert [type(event) for event in breaking.browser.events][-1] is ConversationDeleted


class FailAt(StoreInFront):
    """The commit of this number, counted from 1, finds a full disk."""

    def __init__(self, behind: StoreInFront | SqliteStore, number: int) -> None:
        super().__init__(behind)
        self._left = number

    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        self._left -= 1
        if self._left == 0:
            raise StoreUnavailable("The disk is full (a test says so)")
        return await super().commit(changes)


@pytest.mark.parametrize("failing_commit", range(1, 5))
async def test_half_a_fork_is_never_seen(
    store: SqliteStore, failing_commit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baton.services.conversations._COPY_BATCH", 2)
    server = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
    source = await server.conversation()
    for number in range(3):
        await server.send(source, f"r{number}")
    await server.runs.reset_active(ANNA)
    breaking = Server(FailAt(store, failing_commit), limits=Limits(), clock=FakeClock(), epoch="e")
    try:
        await breaking.conversations.fork(ANNA, ForkConversation(conversation_id=source.id))
    except StoreUnavailable:
        listed = await store.conversations(ConversationFilter())
        assert [conversation.id for conversation in listed.items] == [source.id]
        assert not [event for event in breaking.browser.events if isinstance(event, ConversationCreated)]
    else:
        pytest.fail("the fork was to fail")


async def test_a_fork_is_told_once_it_is_whole(server: Server) -> None:
    source = await server.conversation()
    await server.send(source)
    await server.answer()
    server.say("r1", MessageDone(message_id="m-r1"))
    server.complete("r1")
    await server.intake.flush()
    copy = await server.conversations.fork(ANNA, ForkConversation(conversation_id=source.id))
    assert copy.status is ConversationStatus.ACTIVE
    created = [event for event in server.browser.events if isinstance(event, ConversationCreated)]
    assert [event.conversation.id for event in created] == [source.id, copy.id]
    assert len((await server.join(copy)).messages) == 2


# --- bridges apart ---------------------------------------------------------------------------------------------


OTHER = BridgeId("other")


async def test_a_bridge_says_nothing_in_another_bridges_run(server: Server) -> None:
    await started(server)
    server.intake.receive(OTHER, Started(request_id=R1, seq=2, session_id="stolen"))
    await server.intake.flush()
    server.say("r1", TextDelta("m", 0, 0, "Mine."))
    await server.intake.flush()
    conversation = await server.conversations.get(ANNA, (await server.runs.get(ANNA, R1)).conversation_id)
    assert conversation.claude_session_id == "s1"
    assert server.bridge.acks[R1] == 2


async def test_a_bridge_says_nothing_in_a_run_that_waits(server: Server) -> None:
    server.bridge.connected = False
    await server.send(await server.conversation())
    server.bridge.connected = True
    server.intake.receive(OTHER, Started(request_id=R1, seq=1, session_id="stolen"))
    await server.intake.flush()
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.QUEUED


async def test_a_bridge_that_names_another_bridges_run_is_told_to_stop_it(server: Server) -> None:
    await started(server)
    expected = await server.intake.greet(OTHER, known={R1: (7, ())})
    assert [type(frame).__name__ for frame in expected.frames] == ["Abort"]
    assert expected.acks == {R1: 7}
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.RUNNING


async def test_a_run_that_the_server_has_ended_is_not_open_any_more(server: Server) -> None:
    await started(server)
    server.bridge.connected = False
    await server.runs.abort(ANNA, R1)
    assert server.intake.last_seq(R1) is None


async def test_a_bridge_that_says_hello_while_its_run_is_being_aborted_hears_of_it(store: SqliteStore) -> None:
    held = HeldStore(store)
    server = Server(held, limits=Limits(), clock=FakeClock(), epoch="e")
    await started(server)
    server.bridge.connected = False
    held.hold()
    aborting = asyncio.ensure_future(server.runs.abort(ANNA, R1))
    await held.reached.wait()
    greeting: asyncio.Future[Any] = asyncio.ensure_future(server.intake.greet(BridgeId("local"), known={R1: (1, ())}))
    await asyncio.sleep(0)
    held.release()
    await aborting
    expected = await greeting
    assert [type(frame).__name__ for frame in expected.frames] == ["Abort"]
    assert expected.acks[R1] >= 1
    assert not server.bridge.of(Execute)[1:]
