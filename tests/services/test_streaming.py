"""What a bridge says is stored, then shown, then acknowledged; and is the same after any crash."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from baton.core.commands import RespondPrompt
from baton.core.errors import AlreadyResolved, InvalidRequest, StoreUnavailable
from baton.core.events import (
    MessageChanged,
    ModeChanged,
    PromptOpened,
    PromptResolved,
    RoomEvent,
    RunCompleted,
    SessionChanged,
    Streamed,
)
from baton.core.frames import Abort, Execute, PermissionRequest, PermissionResponse, PromptAsked, RunResult
from baton.core.ids import RequestId
from baton.core.limits import Limits
from baton.core.models import MessageStatus, PromptResponse, PromptStatus, PromptType, RunStatus, Usage
from baton.core.stored import Change, Outcome
from baton.core.stream import (
    MessageDone,
    ModeUpdated,
    TextDelta,
    TextDone,
    ToolDone,
    ToolInput,
    ToolProgress,
    ToolStarted,
)
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from baton.testing.stores import HeldStore
from tests.services.harness import ANNA, LOCAL, ROOT, Server, opened

R1 = RequestId("r1")


async def a_run(server: Server) -> None:
    await server.send(await server.conversation())
    server.start("r1")
    await server.intake.flush()


def texts(server: Server) -> str:
    return "".join(
        event.text
        for payload in server.browser.told(Streamed)
        if isinstance(payload, Streamed)
        for event in payload.events
        if isinstance(event, TextDelta)
    )


async def test_deltas_are_shown_and_acknowledged(server: Server) -> None:
    await a_run(server)
    server.say("r1", TextDelta("m", 0, 0, "Hel"))
    server.say("r1", TextDelta("m", 0, 3, "lo"))
    await server.intake.flush()
    assert texts(server) == "Hello"
    assert server.bridge.acks[R1] == 3


async def test_nothing_is_shown_or_acknowledged_before_it_is_on_disk(store: SqliteStore) -> None:
    held = HeldStore(store)
    server = Server(held, limits=Limits(), clock=FakeClock(), epoch="e")
    await a_run(server)
    before = len(server.browser.events), dict(server.bridge.acks)
    held.hold()
    server.say("r1", TextDelta("m", 0, 0, "secret"))
    flush = asyncio.ensure_future(server.intake.flush())
    await held.reached.wait()
    assert (len(server.browser.events), dict(server.bridge.acks)) == before
    held.release()
    await flush
    assert texts(server) == "secret"
    assert server.bridge.acks[R1] == 2


async def test_many_frames_are_one_commit_and_one_envelope(store: SqliteStore) -> None:
    counting = CountingStore(store)
    server = Server(counting, limits=Limits(), clock=FakeClock(), epoch="e")
    await a_run(server)
    counting.calls = 0
    for number in range(100):
        server.say("r1", TextDelta("m", 0, number, "x"))
    await server.intake.flush()
    assert counting.calls == 1
    assert len(server.browser.told(Streamed)) == 1


class CountingStore:
    """Counts commits."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.calls = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        self.calls += 1
        return await self._store.commit(changes)


async def test_a_finished_message_is_stored_whole_and_leaves_the_journal(server: Server) -> None:
    await a_run(server)
    server.say("r1", TextDelta("m", 0, 0, "Half"))
    await server.intake.flush()
    server.say("r1", TextDone(message_id="m", block=0, text="Half and half"), MessageDone(message_id="m"))
    await server.intake.flush()
    (changed,) = [
        event.message
        for event in server.browser.told(MessageChanged)
        if isinstance(event, MessageChanged)
        and event.message.status is MessageStatus.COMPLETED
        and event.message.role == "assistant"
    ]
    stored = await server.store.message(changed.id)
    assert stored is not None
    assert (stored.content, stored.covers_bridge_seq) == ("Half and half", 3)
    server.complete("r1")
    await server.intake.flush()
    state = await server.store.load_lane(stored.conversation_id)
    assert state is not None
    assert state.journal == ()


async def test_a_tool_result_comes_after_its_message_and_is_stored_in_it(server: Server) -> None:
    await a_run(server)
    server.say(
        "r1",
        ToolStarted(message_id="m", block=0, id="t", name="Bash", kind="execute", title="ls"),
        ToolInput(message_id="m", block=0, id="t", input={"command": "ls"}),
        MessageDone(message_id="m"),
    )
    await server.intake.flush()
    server.say("r1", ToolProgress(message_id="m", id="t", text="a.txt"))
    await server.intake.flush()
    server.say("r1", ToolDone(message_id="m", id="t", result="a.txt b.txt"))
    await server.intake.flush()
    run = await server.runs.get(ANNA, R1)
    message = await server.store.message(run.message_ids[1])
    assert message is not None
    assert message.content == "[Bash] ls"
    assert getattr(message.blocks[0], "result", None) == "a.txt b.txt"


async def test_what_an_agent_sent_of_a_message_does_not_make_it_larger_than_messages_are(server: Server) -> None:
    await a_run(server)
    server.say("r1", TextDelta("m", 0, 0, "Hi"), MessageDone(message_id="m", claude_data={"x": "y" * 8_000_000}))
    await server.intake.flush()
    run = await server.runs.get(ANNA, R1)
    message = await server.store.message(run.message_ids[1])
    assert message is not None
    assert message.content == "Hi"
    assert len(orjson.dumps(message.claude_data)) < Limits().message_max_bytes


async def test_a_huge_result_becomes_an_attachment(server: Server) -> None:
    await a_run(server)
    huge = "x" * 1_000_000
    server.say(
        "r1",
        ToolStarted(message_id="m", block=0, id="t", name="Bash"),
        MessageDone(message_id="m"),
        ToolDone(message_id="m", id="t", result=huge),
    )
    await server.intake.flush()
    run = await server.runs.get(ANNA, R1)
    message = await server.store.message(run.message_ids[1])
    assert message is not None
    attachment = getattr(message.blocks[0], "attachment", None)
    assert attachment is not None
    assert await server.store.attachment_content(attachment) == huge.encode()
    assert len(str(getattr(message.blocks[0], "result", ""))) < 300_000


async def test_a_mode_that_the_agent_changes_is_kept_and_told(server: Server) -> None:
    await a_run(server)
    server.say("r1", ModeUpdated(mode="plan"), ModeUpdated(mode="plan"), ModeUpdated(mode="?"))
    await server.intake.flush()
    assert [told.mode for told in server.browser.told(ModeChanged) if isinstance(told, ModeChanged)] == ["plan"]
    run = await server.runs.get(ANNA, R1)
    assert await server.conversations.mode(ANNA, run.conversation_id) == "plan"


async def test_the_end_comes_once_after_all_messages(server: Server) -> None:
    await a_run(server)
    server.say("r1", TextDelta("m", 0, 0, "Done"))
    server.complete("r1", RunResult(usage=Usage(input_tokens=3, output_tokens=5), cost_usd=0.25, session_id="s2"))
    await server.intake.flush()
    kinds = [type(payload) for payload in server.browser.told()]
    assert kinds.count(RunCompleted) == 1
    assert kinds.index(RunCompleted) > max(i for i, kind in enumerate(kinds) if kind is MessageChanged)
    run = await server.runs.get(ANNA, R1)
    assert (run.status, run.usage.output_tokens, run.cost_usd) == (RunStatus.COMPLETED, 5, 0.25)
    conversation = await server.conversations.get(ANNA, run.conversation_id)
    assert (conversation.claude_session_id, conversation.usage.input_tokens) == ("s2", 3)
    assert [p.session_id for p in server.browser.told(SessionChanged) if isinstance(p, SessionChanged)] == ["s1", "s2"]


async def test_frames_after_the_end_are_dropped_and_acknowledged(server: Server) -> None:
    await a_run(server)
    server.complete("r1")
    await server.intake.flush()
    told = len(server.browser.events)
    assert server.intake.last_seq(R1) is None
    server.say("r1", TextDelta("m", 0, 0, "late"))
    await server.intake.flush()
    assert len(server.browser.events) == told


async def test_while_the_store_is_away_frames_wait_and_then_come_in_order(store: SqliteStore) -> None:
    breaking = BreakingStore(store)
    server = Server(breaking, limits=Limits(), clock=FakeClock(), epoch="e")
    await a_run(server)
    breaking.failures = 2
    server.say("r1", TextDelta("m", 0, 0, "one "))
    with pytest.raises(StoreUnavailable):
        await server.intake.flush()
    server.say("r1", TextDelta("m", 0, 4, "two"))
    with pytest.raises(StoreUnavailable):
        await server.intake.flush()
    assert texts(server) == ""
    await server.intake.flush()
    assert texts(server) == "one two"
    assert server.bridge.acks[R1] == 3


class BreakingStore:
    """Fails commits as often as told."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.failures = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        return await self._store.commit(changes)


# --- resume ----------------------------------------------------------------------------------------------------


async def test_a_client_that_was_away_gets_what_changed(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation)
    await server.answer(text="One ")
    seen = await server.join(conversation)
    server.say("r1", TextDelta("m-r1", 0, 4, "two"))
    await server.intake.flush()
    later = await server.join(conversation, after=seen.seq)
    assert [orjson.loads(message)["content"] for message in later.messages] == ["One two"]
    assert later.seq == seen.seq + 1
    assert (await server.join(conversation, after=later.seq)).messages == ()


@pytest.mark.parametrize(("after", "epoch"), [(3, "another"), (10**9, None)])
async def test_a_client_with_another_past_gets_everything(server: Server, after: int, epoch: str | None) -> None:
    conversation = await server.conversation()
    await server.send(conversation)
    await server.answer()
    snapshot = await server.join(conversation, after=after, epoch=epoch)
    assert len(snapshot.messages) == 2


async def test_too_much_for_one_snapshot_is_truncated_to_the_newest(store: SqliteStore) -> None:
    server = Server(store, limits=Limits(snapshot_max_bytes=3000), clock=FakeClock(), epoch="e")
    conversation = await server.conversation()
    for number in range(10):
        await server.send(conversation, f"r{number}", "x" * 500)
    snapshot = await server.join(conversation)
    assert snapshot.truncated
    assert 0 < len(snapshot.messages) < 10
    newest = orjson.loads(snapshot.messages[-1])
    assert newest["requestId"] == "r9"
    oldest = orjson.loads(snapshot.messages[0])["ordinal"]
    page = await server.snapshots.history(ANNA, conversation.id, before=oldest, after=None, limit=100)
    assert len(page.messages) + len(snapshot.messages) == 10


@pytest.mark.parametrize("seed", range(5))
async def test_a_restart_at_any_moment_changes_nothing_that_was_shown(path: Path, seed: int) -> None:
    """The server dies between any two steps; the bridge goes on and sends again what was not acknowledged."""
    rng = random.Random(seed)
    async with opened(path) as store:
        server = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
        conversation = await server.conversation()
        await server.send(conversation)
        server.start("r1")
        await server.intake.flush()
    frames = story(rng)
    sent = 1
    while sent < len(frames) + 1:
        async with opened(path) as store:
            server = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
            await server.recover()
            shown = {message["id"]: message for message in await history(server, conversation.id)}
            stored = server.intake.last_seq(R1)
            assert stored is not None
            assert stored >= server.bridge.acks.get(R1, 0)
            sent = stored
            for _ in range(rng.randint(1, 5)):
                for events in frames[sent - 1 : sent - 1 + rng.randint(1, 3)]:
                    server.say("r1", *events)
                    sent += 1
                if rng.random() < 0.7:
                    await server.intake.flush()
            for message in await history(server, conversation.id):
                before = shown.get(message["id"])
                if before is not None:
                    assert message["content"].startswith(before["content"]) or message["status"] != "streaming"
                    assert message["ordinal"] == before["ordinal"]
    async with opened(path) as store:
        server = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
        await server.recover()
        sent = server.intake.last_seq(R1) or 0
        for events in frames[sent - 1 :]:
            server.say("r1", *events)
        server.complete("r1")
        await server.intake.flush()
        messages = [m for m in await history(server, conversation.id) if m["role"] == "assistant"]
        assert [message["content"] for message in messages] == [f"message {n}: " + "word " * 5 for n in range(4)]
        assert {message["status"] for message in messages} == {"completed"}


def story(rng: random.Random) -> list[list[TextDelta | TextDone | MessageDone]]:
    """Four messages, word by word."""
    frames: list[list[TextDelta | TextDone | MessageDone]] = []
    for number in range(4):
        text = ""
        for word in [f"message {number}: ", *["word "] * 5]:
            frames.append([TextDelta(f"m{number}", 0, len(text), word)])
            text += word
        frames.append([TextDone(message_id=f"m{number}", block=0, text=text), MessageDone(message_id=f"m{number}")])
    return frames


async def history(server: Server, conversation_id: object) -> list[dict[str, object]]:
    page = await server.snapshots.history(ANNA, conversation_id, before=None, after=None, limit=100)  # type: ignore[arg-type]
    return [orjson.loads(message) for message in page.messages]


# --- prompts ---------------------------------------------------------------------------------------------------


def ask(server: Server, prompt_id: str = "p1") -> None:
    server.frame(
        PermissionRequest(
            request_id=R1,
            seq=server.next_seq("r1"),
            prompt=PromptAsked(prompt_id=prompt_id, type=PromptType.TOOL_PERMISSION, title="Run ls?", tool_name="Bash"),
        )
    )


async def test_a_prompt_is_stored_told_answered_once_and_delivered(server: Server) -> None:
    await a_run(server)
    ask(server)
    await server.intake.flush()
    (opened_prompt,) = server.browser.told(PromptOpened)
    assert isinstance(opened_prompt, PromptOpened)
    prompt = opened_prompt.prompt
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.AWAITING_INPUT
    command = RespondPrompt(prompt_id=prompt.id, selected_option="allow_once", response=PromptResponse())
    results = await asyncio.gather(
        *[server.prompts.respond(who, command) for who in (ANNA, ROOT, ANNA)], return_exceptions=True
    )
    late = [result for result in results if isinstance(result, AlreadyResolved)]
    assert len(late) == 2
    assert all(getattr(error.winner, "answered_by", None) is not None for error in late)
    (response,) = server.bridge.of(PermissionResponse)
    assert isinstance(response, PermissionResponse)
    assert (response.prompt_id, response.selected_option) == ("p1", "allow_once")
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.RUNNING


async def test_an_option_that_is_not_offered_leaves_the_prompt_as_it_is(server: Server) -> None:
    await a_run(server)
    ask(server)
    await server.intake.flush()
    (prompt,) = await server.store.prompts(PromptStatus.PENDING)
    with pytest.raises(InvalidRequest):
        await server.prompts.respond(
            ANNA, RespondPrompt(prompt_id=prompt.id, selected_option="sudo", response=PromptResponse())
        )
    assert (await server.prompts.get(ANNA, prompt.id)).status is PromptStatus.PENDING


async def test_a_prompt_ends_with_its_run(server: Server) -> None:
    await a_run(server)
    ask(server)
    server.complete("r1")
    await server.intake.flush()
    (prompt,) = await server.store.prompts()
    assert (prompt.status, prompt.auto_handler) == (PromptStatus.CANCELLED, "run_ended")
    assert len(server.browser.told(PromptResolved)) == 1


async def test_an_answer_given_while_the_bridge_was_away_comes_with_the_next_welcome(
    server: Server, store: SqliteStore
) -> None:
    await a_run(server)
    ask(server)
    await server.intake.flush()
    (prompt,) = await server.store.prompts(PromptStatus.PENDING)
    again = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
    again.bridge.connected = False
    await again.recover()
    await again.prompts.respond(
        ANNA, RespondPrompt(prompt_id=prompt.id, selected_option="deny", response=PromptResponse(message="no"))
    )
    expected = await again.intake.greet(LOCAL, known={R1: (2, ("p1",))})
    (answer,) = [frame for frame in expected.frames if isinstance(frame, PermissionResponse)]
    assert (answer.selected_option, answer.message, expected.acks[R1]) == ("deny", "no", 2)


# --- hello -----------------------------------------------------------------------------------------------------


async def test_a_bridge_that_has_lost_its_run_fails_it_with_the_text_kept(server: Server, store: SqliteStore) -> None:
    await a_run(server)
    server.say("r1", TextDelta("m", 0, 0, "Half an ans"))
    await server.intake.flush()
    again = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
    await again.recover()
    await again.intake.greet(LOCAL, known={})
    run = await again.runs.get(ANNA, R1)
    assert run.error is not None
    assert (run.status, run.error.code) == (RunStatus.FAILED, "bridge_lost")
    message = await again.store.message(run.message_ids[1])
    assert message is not None
    assert (message.content, message.status) == ("Half an ans", MessageStatus.FAILED)


async def test_what_was_dispatched_and_is_not_known_is_sent_again(server: Server) -> None:
    await server.send(await server.conversation())
    expected = await server.intake.greet(LOCAL, known={})
    assert [type(frame) for frame in expected.frames] == [Execute]
    assert expected.acks == {R1: 0}


async def test_what_the_server_does_not_know_is_aborted(server: Server) -> None:
    other = RequestId("other")
    expected = await server.intake.greet(LOCAL, known={other: (7, ())})
    assert (expected.frames, expected.acks) == ((Abort(request_id=other),), {other: 7})


async def test_events_follow_each_other_without_a_gap(server: Server) -> None:
    await a_run(server)
    for number in range(20):
        server.say("r1", TextDelta("m", 0, number, "x"))
        await server.intake.flush()
    server.complete("r1")
    await server.intake.flush()
    rooms = [event for event in server.browser.events if isinstance(event, RoomEvent)]
    assert [event.seq for event in rooms] == list(range(1, len(rooms) + 1))
