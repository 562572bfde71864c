"""Runs that an agent began by itself: admitted where they belong, stored, shown, and ended like any other."""

import asyncio

import orjson
import pytest

from baton.core.commands import RetryRun
from baton.core.errors import Conflict, StoreUnavailable
from baton.core.events import RunChanged, RunCompleted, StateChanged, Streamed
from baton.core.frames import Abort, Aborted, Complete, Execute, PermissionRequest, PromptAsked, RunResult, Started
from baton.core.ids import BridgeId, ConversationId, RequestId
from baton.core.limits import Limits
from baton.core.models import Conversation, ConversationState, PromptType, RunStatus, Usage
from baton.core.stored import Change, Outcome
from baton.core.stream import MessageDone, TextDelta, TextDone
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from baton.testing.stores import HeldStore
from tests.services.harness import ANNA, LOCAL, Server

BG = RequestId("background-1")


async def a_conversation_on_the_bridge(server: Server) -> Conversation:
    """One run of it has completed."""
    conversation = await server.conversation()
    await server.send(conversation)
    await server.answer()
    server.complete("r1")
    await server.intake.flush()
    return conversation


def begin(server: Server, conversation_id: str, request_id: str = BG) -> None:
    """The agent begins a run by itself; not flushed yet."""
    server.frame(
        Started(
            request_id=RequestId(request_id),
            seq=1,
            session_id="s1",
            conversation_id=ConversationId(conversation_id),
            origin="background",
        )
    )


async def test_a_run_that_the_agent_began_is_stored_shown_and_ended_like_any_other(server: Server) -> None:
    conversation = await a_conversation_on_the_bridge(server)

    begin(server, conversation.id)
    server.say(BG, TextDelta("m", 0, 0, "It is done."))
    await server.intake.flush()
    shown = server.browser.told(Streamed)[-1]
    assert isinstance(shown, Streamed)
    assert shown.request_id == BG
    running = await server.runs.get(ANNA, BG)
    assert (running.status, running.origin, running.bridge_id) == (RunStatus.RUNNING, "background", LOCAL)
    assert running.user_id == conversation.user_id
    assert server.bridge.acks[BG] == 2

    server.say(BG, TextDone(message_id="m", block=0, text="It is done."), MessageDone(message_id="m"))
    server.complete(BG, RunResult(session_id="s2", usage=Usage(output_tokens=7), cost_usd=0.5))
    await server.intake.flush()

    snapshot = await server.join(conversation)
    assert orjson.loads(snapshot.messages[-1])["content"] == "It is done."
    assert snapshot.conversation.claude_session_id == "s2"
    assert snapshot.conversation.usage.output_tokens == 7
    ended = await server.runs.get(ANNA, BG)
    assert (ended.status, len(ended.message_ids)) == (RunStatus.COMPLETED, 1)
    completed = server.browser.told(RunCompleted)[-1]
    assert isinstance(completed, RunCompleted)
    assert completed.request_id == BG
    assert server.intake.last_seq(BG) is None


async def test_it_is_on_disk_before_anybody_hears_of_it(store: SqliteStore) -> None:
    held = HeldStore(store)
    server = Server(held, limits=Limits(), clock=FakeClock(), epoch="e")
    conversation = await a_conversation_on_the_bridge(server)
    before = len(server.browser.events)
    held.hold()
    begin(server, conversation.id)
    flush = asyncio.ensure_future(server.intake.flush())
    await held.reached.wait()

    server.say(BG, TextDelta("m", 0, 0, "one "))
    assert len(server.browser.events) == before
    assert BG not in server.bridge.acks
    held.release()
    await flush
    server.say(BG, TextDelta("m", 0, 4, "two"))
    await server.intake.flush()

    streamed = [told for told in server.browser.told(Streamed) if isinstance(told, Streamed) and told.request_id == BG]
    deltas = [event for told in streamed for event in told.events if isinstance(event, TextDelta)]
    assert [delta.text for delta in deltas] == ["one ", "two"]
    assert server.bridge.acks[BG] == 3


async def test_what_is_sent_meanwhile_waits_for_its_end(server: Server) -> None:
    conversation = await a_conversation_on_the_bridge(server)
    begin(server, conversation.id)
    await server.intake.flush()

    answer = await server.send(conversation, "r2")
    assert answer.status == "queued"
    server.complete(BG)
    await server.intake.flush()

    assert [frame.request_id for frame in server.bridge.of(Execute) if isinstance(frame, Execute)] == ["r1", "r2"]


async def test_a_run_that_was_dispatched_at_the_same_moment_goes_on_behind_it(server: Server) -> None:
    conversation = await a_conversation_on_the_bridge(server)
    await server.send(conversation, "r2")
    begin(server, conversation.id)
    await server.intake.flush()
    server.complete(BG)
    await server.intake.flush()

    await server.answer("r2")
    server.complete("r2")
    await server.intake.flush()

    assert (await server.runs.get(ANNA, RequestId("r2"))).status is RunStatus.COMPLETED
    states = [event.state for event in server.browser.events if isinstance(event, StateChanged)]
    assert states[-1] is ConversationState.IDLE


async def test_a_question_from_the_background_waits_for_a_person(server: Server) -> None:
    conversation = await a_conversation_on_the_bridge(server)
    begin(server, conversation.id)
    asked = PromptAsked(prompt_id="p", type=PromptType.TOOL_PERMISSION, title="May I?")
    server.frame(PermissionRequest(request_id=BG, seq=server.next_seq(BG), prompt=asked))
    await server.intake.flush()

    assert (await server.runs.get(ANNA, BG)).status is RunStatus.AWAITING_INPUT
    (prompt,) = await server.prompts.pending(ANNA, conversation.id)
    assert prompt.request_id == BG


async def test_it_can_be_aborted_and_not_be_sent_again(server: Server) -> None:
    conversation = await a_conversation_on_the_bridge(server)
    begin(server, conversation.id)
    await server.intake.flush()

    await server.runs.abort(ANNA, BG)
    assert server.bridge.sent[-1] == Abort(request_id=BG)
    server.frame(Aborted(request_id=BG, seq=server.next_seq(BG)))
    await server.intake.flush()

    assert (await server.runs.get(ANNA, BG)).status is RunStatus.ABORTED
    with pytest.raises(Conflict, match="by itself"):
        await server.runs.retry(ANNA, RetryRun(request_id=BG, new_request_id=RequestId("again")))


@pytest.mark.parametrize("where", ["another bridge's", "unknown", "deleted"])
async def test_one_that_does_not_belong_there_is_turned_away_and_told_to_end(server: Server, where: str) -> None:
    conversation = await a_conversation_on_the_bridge(server)
    bridge_id, conversation_id = LOCAL, conversation.id
    if where == "another bridge's":
        bridge_id = BridgeId("other")
    elif where == "unknown":
        conversation_id = ConversationId("f" * 24)
    else:
        await server.conversations.delete(ANNA, conversation.id)
    told = len(server.browser.told(RunChanged))

    started = Started(request_id=BG, seq=1, conversation_id=conversation_id, origin="background")
    server.intake.receive(bridge_id, started)
    server.intake.receive(bridge_id, Complete(request_id=BG, seq=2, result=RunResult()))
    await server.intake.flush()

    assert await server.store.run(BG) is None
    assert len(server.browser.told(RunChanged)) == told
    assert server.bridge.acks[BG] == 2
    assert server.bridge.sent[-1] == Abort(request_id=BG)
    assert server.intake.last_seq(BG) is None


async def test_one_that_has_ended_is_not_opened_again(server: Server) -> None:
    conversation = await a_conversation_on_the_bridge(server)
    begin(server, conversation.id)
    server.complete(BG)
    await server.intake.flush()
    before = await server.store.run(BG)

    begin(server, conversation.id)
    await server.intake.flush()

    assert await server.store.run(BG) == before
    await server.send(conversation, "r2")
    await server.answer("r2")
    assert (await server.runs.get(ANNA, RequestId("r2"))).status is RunStatus.RUNNING


async def test_its_frames_wait_while_the_store_is_away(store: SqliteStore) -> None:
    class Away(HeldStore):
        is_away = False

        async def commit(self, changes: "list[Change]") -> "list[Outcome]":  # type: ignore[override]
            if self.is_away:
                raise StoreUnavailable("away")
            return list(await super().commit(changes))

    away = Away(store)
    server = Server(away, limits=Limits(), clock=FakeClock(), epoch="e")
    conversation = await a_conversation_on_the_bridge(server)
    away.is_away = True
    begin(server, conversation.id)
    server.say(BG, TextDelta("m", 0, 0, "late"))
    with pytest.raises(StoreUnavailable):
        await server.intake.flush()
    assert server.intake.last_seq(BG) == 2
    assert BG not in server.bridge.acks

    away.is_away = False
    await server.intake.flush()

    assert server.bridge.acks[BG] == 2
    assert (await server.runs.get(ANNA, BG)).status is RunStatus.RUNNING


async def test_it_ends_as_lost_when_its_bridge_comes_back_without_it(server: Server) -> None:
    conversation = await a_conversation_on_the_bridge(server)
    begin(server, conversation.id)
    await server.intake.flush()

    expected = await server.intake.greet(LOCAL, known={})

    assert expected.frames == ()
    run = await server.runs.get(ANNA, BG)
    assert run.error is not None
    assert (run.status, run.error.code) == (RunStatus.FAILED, "bridge_lost")
