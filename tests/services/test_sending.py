"""Sends are stored, answered once, and dispatched one at a time."""

import asyncio
from dataclasses import replace

import pytest

from baton.core.commands import MoveQueued, RetryRun, SendMessage, UpdateQueued
from baton.core.errors import AlreadyResolved, Conflict, Draining, NotFound, Overloaded
from baton.core.events import MessageChanged, RunAborted, RunChanged, RunCompleted, RunFailed
from baton.core.frames import Abort, Aborted, Execute, Failed
from baton.core.ids import ConversationId, ProjectId, RequestId
from baton.core.limits import Limits
from baton.core.models import ConversationState, Failure, MessageStatus, RunStatus
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from tests.services.harness import ANNA, BEN, Server

R1, R2, R3 = RequestId("r1"), RequestId("r2"), RequestId("r3")


async def test_a_send_is_stored_and_goes_out(server: Server) -> None:
    conversation = await server.conversation()
    answer = await server.send(conversation, content="Fix the fence\nplease")
    (execute,) = server.bridge.of(Execute)
    assert isinstance(execute, Execute)
    assert (answer.status, execute.message, execute.agent) == ("dispatched", "Fix the fence\nplease", "demo")
    stored = await server.store.message(answer.message_id)
    assert stored is not None
    assert (stored.content, stored.status) == ("Fix the fence\nplease", MessageStatus.COMPLETED)
    assert (await server.conversations.get(ANNA, conversation.id)).title == "Fix the fence"


async def test_the_same_request_gets_the_same_answer_and_no_second_run(server: Server) -> None:
    conversation = await server.conversation()
    first = await server.send(conversation)
    assert await server.send(conversation) == first
    assert len(server.bridge.of(Execute)) == 1


async def test_two_of_the_same_request_at_once_make_one_run(server: Server) -> None:
    conversation = await server.conversation()
    answers = await asyncio.gather(*[server.send(conversation) for _ in range(5)])
    assert len(set(answers)) == 1
    assert len(server.bridge.of(Execute)) == 1


async def test_a_send_without_a_conversation_makes_one_and_only_one(server: Server) -> None:
    command = SendMessage(request_id=R1, content="Hello?")
    answers = await asyncio.gather(*[server.runs.send(ANNA, command) for _ in range(3)])
    assert len({answer.conversation_id for answer in answers}) == 1
    assert await server.conversations.exists(ANNA, answers[0].conversation_id)


@pytest.mark.parametrize("who", [ANNA, BEN])
async def test_a_known_request_with_another_payload_or_owner_is_a_conflict(server: Server, who: object) -> None:
    conversation = await server.conversation()
    await server.send(conversation)
    content = "Something else" if who is ANNA else "Hello?"
    with pytest.raises(Conflict):
        await server.runs.send(
            BEN if who is BEN else ANNA,
            SendMessage(request_id=R1, content=content, conversation_id=conversation.id),
        )


async def test_the_answer_outlives_a_restart_an_edit_and_the_deletion(server: Server, store: SqliteStore) -> None:
    conversation = await server.conversation()
    await server.send(conversation, "r0")
    first = await server.send(conversation, "r1")
    await server.runs.queue_update(ANNA, UpdateQueued(request_id=R1, content="changed"))
    assert await server.send(conversation, "r1") == first
    again = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
    await again.recover()
    assert await again.send(conversation, "r1") == first
    await again.conversations.delete(ANNA, conversation.id)
    assert await again.send(conversation, "r1") == first
    await store.purge_conversation(conversation.id)
    assert await again.send(conversation, "r1") == first


@pytest.mark.parametrize(
    "command",
    [
        SendMessage(request_id=R1, content="x", conversation_id=ConversationId("0" * 24)),
        SendMessage(request_id=R1, content="x", project_id=ProjectId("0" * 24)),
    ],
)
async def test_a_send_to_what_is_not_there_leaves_nothing(server: Server, command: SendMessage) -> None:
    with pytest.raises(NotFound):
        await server.runs.send(ANNA, command)
    with pytest.raises(NotFound):
        await server.runs.get(ANNA, R1)


async def test_a_deleted_conversation_takes_no_message(server: Server) -> None:
    conversation = await server.conversation()
    await server.conversations.delete(ANNA, conversation.id)
    with pytest.raises(NotFound):
        await server.send(conversation)


async def test_a_draining_server_takes_no_message_but_answers_known_ones(server: Server) -> None:
    conversation = await server.conversation()
    first = await server.send(conversation)
    server.dispatcher.is_draining = True
    assert await server.send(conversation) == first
    with pytest.raises(Draining):
        await server.send(conversation, "r2")


async def test_a_second_message_waits_and_goes_out_when_the_first_is_answered(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation, "r1")
    answer = await server.send(conversation, "r2", "And this?")
    assert (answer.status, answer.position) == ("queued", 1)
    waiting = await server.store.message(answer.message_id)
    assert waiting is not None
    assert waiting.status is MessageStatus.SENDING
    await server.answer("r1")
    server.complete("r1")
    await server.intake.flush()
    assert [frame.request_id for frame in server.bridge.of(Execute) if isinstance(frame, Execute)] == ["r1", "r2"]
    sent = await server.store.message(answer.message_id)
    assert sent is not None
    assert sent.status is MessageStatus.COMPLETED


async def test_the_queue_can_be_moved_and_thinned_out(server: Server) -> None:
    conversation = await server.conversation()
    for name in ("r0", "r1", "r2", "r3"):
        await server.send(conversation, name)
    queue = await server.runs.queue_move(ANNA, MoveQueued(request_id=R3, position=1))
    assert [run.request_id for run in queue.runs] == ["r3", "r1", "r2"]
    queue = await server.runs.queue_move(ANNA, MoveQueued(request_id=R3, position=99))
    assert [run.request_id for run in queue.runs] == ["r1", "r2", "r3"]
    queue = await server.runs.queue_remove(ANNA, R2)
    assert [run.request_id for run in queue.runs] == ["r1", "r3"]
    assert not queue.paused
    removed = await server.runs.get(ANNA, R2)
    assert removed.status is RunStatus.ABORTED
    message = await server.store.message(removed.message_ids[0])
    assert message is not None
    assert message.status is MessageStatus.ABORTED


async def test_the_order_of_the_queue_outlives_a_restart(server: Server, store: SqliteStore) -> None:
    conversation = await server.conversation()
    for name in ("r0", "r1", "r2", "r3"):
        await server.send(conversation, name)
    await server.runs.queue_move(ANNA, MoveQueued(request_id=R3, position=1))
    again = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
    await again.recover()
    assert [run.request_id for run in (await again.join(conversation)).queue.runs] == ["r3", "r1", "r2"]


async def test_what_has_gone_out_cannot_be_changed_in_the_queue(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation, "r1")
    with pytest.raises(Conflict):
        await server.runs.queue_update(ANNA, UpdateQueued(request_id=R1, content="late"))


async def test_a_full_queue_says_so(store: SqliteStore) -> None:
    server = Server(store, limits=replace(Limits(), queue_max_runs=1), clock=FakeClock(), epoch="e")
    conversation = await server.conversation()
    await server.send(conversation, "r1")
    await server.send(conversation, "r2")
    with pytest.raises(Overloaded):
        await server.send(conversation, "r3")
    assert (await server.send(conversation, "r2")).status == "queued"


async def test_a_failed_run_pauses_the_queue_and_a_retry_goes_first(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation, "r1")
    await server.send(conversation, "r2")
    server.frame(Failed(request_id=R1, seq=1, error=Failure("agent_failed", "It broke")))
    await server.intake.flush()
    snapshot = await server.join(conversation)
    assert snapshot.queue.paused
    assert len(server.bridge.of(Execute)) == 1
    assert [type(event) for event in server.browser.told(RunFailed, RunAborted, RunCompleted)] == [RunFailed]
    answer = await server.runs.retry(ANNA, RetryRun(request_id=R1, new_request_id=R3))
    assert answer.status == "dispatched"
    assert await server.runs.retry(ANNA, RetryRun(request_id=R1, new_request_id=R3)) == answer
    queue = (await server.join(conversation)).queue
    assert ([run.request_id for run in queue.runs], queue.paused) == (["r2"], False)


async def test_a_paused_queue_is_joined_and_resumed(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation, "r1")
    await server.send(conversation, "r2")
    server.frame(Aborted(request_id=R1, seq=1))
    await server.intake.flush()
    assert (await server.send(conversation, "r3")).position == 2
    queue = await server.runs.queue_resume(ANNA, conversation.id)
    assert (queue.paused, [run.request_id for run in queue.runs]) == (False, ["r3"])


async def test_only_what_failed_or_was_aborted_can_be_retried(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation, "r1")
    with pytest.raises(Conflict):
        await server.runs.retry(ANNA, RetryRun(request_id=R1, new_request_id=R2))
    with pytest.raises(NotFound):
        await server.runs.retry(ANNA, RetryRun(request_id=RequestId("nobody"), new_request_id=R2))


async def test_no_bridge_is_said_and_the_message_goes_out_when_one_comes(server: Server) -> None:
    server.bridge.connected = False
    conversation = await server.conversation()
    answer = await server.send(conversation)
    assert (answer.status, answer.reason) == ("queued", "No bridge service connected")
    assert (await server.runs.get(ANNA, R1)).deadline_reason == "No bridge service connected"
    server.bridge.connected = True
    await server.intake.arrived(answer.conversation_id)  # type: ignore[arg-type]  # any name will do
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.DISPATCHED


async def test_nobody_takes_the_message_until_its_deadline(server: Server) -> None:
    server.bridge.connected = False
    conversation = await server.conversation()
    await server.send(conversation)
    await server.leap(200)
    await server.runs.extend(ANNA, R1, 200)
    await server.leap(200)
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.QUEUED
    await server.leap(101)
    run = await server.runs.get(ANNA, R1)
    assert run.error is not None
    assert (run.status, run.error.code) == (RunStatus.FAILED, "dispatch_timeout")


async def test_a_full_bridge_is_waited_for_without_a_deadline(server: Server) -> None:
    server.bridge.capacity = 1
    one, two = await server.conversation(), await server.conversation()
    await server.send(one, "r1")
    assert (await server.send(two, "r2")).reason == "The bridge is full"
    await server.leap(10_000)
    assert (await server.runs.get(ANNA, R2)).status is RunStatus.QUEUED
    await server.answer("r1")
    server.complete("r1")
    await server.intake.flush()
    await server.dispatcher.advance_all()
    assert (await server.runs.get(ANNA, R2)).status is RunStatus.DISPATCHED


async def test_a_waiting_run_is_aborted_at_once(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation, "r1")
    await server.send(conversation, "r2")
    assert (await server.runs.abort(ANNA, R2)).status is RunStatus.ABORTED
    assert not (await server.join(conversation)).queue.paused


async def test_an_abort_is_asked_once_and_the_bridge_ends_the_run(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation)
    await server.answer()
    assert (await server.runs.abort(ANNA, R1)).abort_requested_at is not None
    await server.runs.abort(ANNA, R1)
    assert len(server.bridge.of(Abort)) == 1
    server.frame(Aborted(request_id=R1, seq=server.next_seq("r1")))
    await server.intake.flush()
    message = await server.store.message((await server.runs.get(ANNA, R1)).message_ids[1])
    assert message is not None
    assert (message.status, message.content) == (MessageStatus.ABORTED, "Fine.")
    with pytest.raises(AlreadyResolved):
        await server.runs.abort(ANNA, R1)
    assert len(server.browser.told(RunAborted)) == 1


async def test_an_abort_that_nobody_answers_ends_after_its_grace(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation)
    await server.runs.abort(ANNA, R1)
    server.clock.advance(9)
    await server.deadlines.sweep()
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.DISPATCHED
    server.clock.advance(2)
    await server.deadlines.sweep()
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.ABORTED


async def test_an_abort_ends_at_once_where_the_bridge_is_away(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation)
    server.bridge.connected = False
    assert (await server.runs.abort(ANNA, R1)).status is RunStatus.ABORTED


async def test_a_bridge_that_stays_away_is_shown_and_given_up_at_its_deadline(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation)
    server.bridge.connected = False
    await server.deadlines.sweep()
    await server.leap(31)
    run = await server.runs.get(ANNA, R1)
    assert run.away
    assert run.deadline_at is not None
    await server.leap(24 * 3600 + 1)
    run = await server.runs.get(ANNA, R1)
    assert run.error is not None
    assert run.error.code == "bridge_lost"


async def test_reset_active_ends_everything_that_is_open(server: Server) -> None:
    one, two = await server.conversation(), await server.conversation()
    await server.send(one, "r1")
    await server.send(one, "r2")
    await server.send(two, "r3")
    assert (await server.runs.reset_active(ANNA)).runs == 3
    assert await server.runs.active(ANNA) == []
    assert (await server.conversations.get(ANNA, one.id)).state is ConversationState.IDLE


async def test_every_change_of_a_run_is_told_once(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation)
    await server.answer()
    server.complete("r1")
    await server.intake.flush()
    told = [event.run.status for event in server.browser.told(RunChanged) if isinstance(event, RunChanged)]
    assert told == [RunStatus.QUEUED, RunStatus.DISPATCHED, RunStatus.RUNNING, RunStatus.COMPLETED]
    changed = [event for event in server.browser.told(MessageChanged) if isinstance(event, MessageChanged)]
    assert changed[-1].message.content == "Fine."
