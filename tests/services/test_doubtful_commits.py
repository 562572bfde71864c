"""Commits of which the store cannot say whether they were stored: what is on disk is told and sent, once."""

import pytest

from baton.core.commands import PatchConversation, RespondPrompt, SendMessage
from baton.core.errors import StoreUnavailable
from baton.core.events import (
    ConversationCreated,
    ConversationUpdated,
    PromptOpened,
    PromptResolved,
    RunChanged,
    Streamed,
)
from baton.core.frames import Abort, Execute, PermissionRequest, PermissionResponse, PromptAsked, RunResult
from baton.core.ids import RequestId
from baton.core.limits import Limits
from baton.core.models import Conversation, Prompt, PromptResponse, PromptStatus, PromptType, RunStatus
from baton.core.stream import TextDelta
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from baton.testing.stores import FaultyStore
from tests.services.harness import ANNA, Server

R1, R2 = RequestId("r1"), RequestId("r2")
SENT_OUT = [RunStatus.QUEUED, RunStatus.DISPATCHED]


@pytest.fixture
def faulty(store: SqliteStore) -> FaultyStore:
    """A store whose answers can get lost."""
    return FaultyStore(store)


@pytest.fixture
async def server(faulty: FaultyStore) -> Server:
    """On that store."""
    return Server(faulty, limits=Limits(), clock=FakeClock(), epoch=await faulty.epoch())


def statuses(server: Server, request_id: RequestId) -> list[RunStatus]:
    """What browsers were told of a run, in order."""
    return [told.run.status for told in server.browser.told(RunChanged) if told.run.request_id == request_id]


def executed(server: Server) -> list[RequestId]:
    """What the bridge was asked to do."""
    return [frame.request_id for frame in server.bridge.of(Execute)]


async def begun(server: Server) -> Conversation:
    """A run that has begun."""
    conversation = await server.conversation()
    await server.send(conversation)
    server.start("r1")
    await server.intake.flush()
    return conversation


async def opened_prompt(server: Server) -> Prompt:
    """Anna's agent asks."""
    question = PromptAsked(prompt_id="p", type=PromptType.TOOL_PERMISSION, title="May I?")
    server.frame(PermissionRequest(request_id=R1, seq=server.next_seq("r1"), prompt=question))
    await server.intake.flush()
    (prompt,) = await server.store.prompts(PromptStatus.PENDING)
    return prompt


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_message_reaches_the_bridge_if_and_only_if_it_is_stored(
    server: Server, faulty: FaultyStore, is_stored: bool
) -> None:
    conversation = await server.conversation()
    faulty.fail(after_write=is_stored)
    with pytest.raises(StoreUnavailable):
        await server.send(conversation)
    assert executed(server) == []
    await server.tick(1)
    assert executed(server) == ([R1] if is_stored else [])
    assert statuses(server, R1) == (SENT_OUT if is_stored else [])
    # Whoever was told that it failed sends the same again.
    assert (await server.send(conversation)).status == "dispatched"
    await server.tick(1)
    assert executed(server) == [R1]
    assert statuses(server, R1) == SENT_OUT


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_new_conversation_comes_into_the_lists_if_and_only_if_it_is_stored(
    server: Server, faulty: FaultyStore, is_stored: bool
) -> None:
    faulty.fail(after_write=is_stored)
    with pytest.raises(StoreUnavailable):
        await server.conversation()
    await server.tick(1)
    assert len([event for event in server.browser.events if isinstance(event, ConversationCreated)]) == is_stored


@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_change_without_a_number_is_told_if_and_only_if_it_is_stored(
    server: Server, faulty: FaultyStore, is_stored: bool
) -> None:
    conversation = await server.conversation()
    await server.tick(1)
    faulty.fail(after_write=is_stored)
    with pytest.raises(StoreUnavailable):
        await server.conversations.patch(ANNA, conversation.id, PatchConversation(title="New"))
    await server.tick(1)
    told = [event.conversation.title for event in server.browser.events if isinstance(event, ConversationUpdated)]
    assert told == (["New"] if is_stored else [])


async def test_what_an_agent_said_is_shown_once_and_acknowledged(server: Server, faulty: FaultyStore) -> None:
    await begun(server)
    faulty.fail(after_write=True)
    server.say("r1", TextDelta("m", 0, 0, "Fine."))
    with pytest.raises(StoreUnavailable):
        await server.intake.flush()
    assert server.browser.told(Streamed) == []
    await server.intake.flush()
    assert len(server.browser.told(Streamed)) == 1
    assert server.bridge.acks[R1] == 2
    assert server.intake.waiting_frames == 0


async def test_the_next_run_goes_out_when_the_end_of_the_one_before_is_in_doubt(
    server: Server, faulty: FaultyStore
) -> None:
    conversation = await begun(server)
    await server.send(conversation, "r2")
    faulty.fail(after_write=True)
    server.complete("r1", RunResult())
    with pytest.raises(StoreUnavailable):
        await server.intake.flush()
    await server.intake.flush()
    assert statuses(server, R1)[-1] is RunStatus.COMPLETED
    assert statuses(server, R2)[-1] is RunStatus.DISPATCHED
    assert executed(server) == [R1, R2]
    assert server.bridge.load == {R2}


async def test_a_prompt_reaches_somebody(server: Server, faulty: FaultyStore) -> None:
    await begun(server)
    faulty.fail(after_write=True)
    with pytest.raises(StoreUnavailable):
        await opened_prompt(server)
    assert server.browser.told(PromptOpened) == []
    await server.intake.flush()
    assert len(server.browser.told(PromptOpened)) == 1


async def test_an_answer_reaches_the_agent(server: Server, faulty: FaultyStore) -> None:
    await begun(server)
    prompt = await opened_prompt(server)
    faulty.fail(after_write=True)
    answer = RespondPrompt(prompt_id=prompt.id, selected_option="allow_once", response=PromptResponse())
    with pytest.raises(StoreUnavailable):
        await server.prompts.respond(ANNA, answer)
    assert server.bridge.of(PermissionResponse) == []
    await server.tick(1)
    assert len(server.bridge.of(PermissionResponse)) == 1
    assert len(server.browser.told(PromptResolved)) == 1


async def test_a_change_in_doubt_is_told_before_what_comes_after_it(server: Server, faulty: FaultyStore) -> None:
    conversation = await begun(server)
    faulty.fail(after_write=True)
    with pytest.raises(StoreUnavailable):
        await server.runs.abort(ANNA, R1)
    # Whoever comes first, here a message, finds everybody told. (The harness's browser holds that no seq is left out.)
    await server.send(conversation, "r2")
    assert [frame.request_id for frame in server.bridge.of(Abort)] == [R1]
    assert statuses(server, R2) == [RunStatus.QUEUED]


async def test_what_was_not_stored_is_not_told_later_for_what_was_sent_again(
    server: Server, faulty: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baton.services.lanes._IDLE_LANES", 0)  # what is idle is read anew each time
    message = SendMessage(request_id=R1, content="Hello?")
    faulty.fail()
    with pytest.raises(StoreUnavailable):
        await server.runs.send(ANNA, message)
    answer = await server.runs.send(ANNA, message)
    await server.answer()
    server.complete("r1")
    await server.intake.flush()
    told = len(server.browser.events)
    async with server.lanes.turn(answer.conversation_id):
        pass
    assert executed(server) == [R1]
    assert len(server.browser.events) == told
