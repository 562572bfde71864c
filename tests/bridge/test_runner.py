"""How a bridge runs agents: `baton.bridge.runner`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from baton.bridge.files import Folders
from baton.bridge.runner import ABORT_GRACE_S, AGENT_CLOSE_S, CLOSE_GRACE_S, Runner
from baton.core.errors import AgentFailed, StoreUnavailable
from baton.core.frames import (
    FINAL_FRAMES,
    Abort,
    Aborted,
    BridgeStatus,
    Complete,
    Execute,
    Failed,
    PermissionApplied,
    PermissionCancel,
    PermissionRequest,
    PermissionResponse,
    PromptAsked,
    Rpc,
    RpcResult,
    RunResult,
    SetMode,
    Started,
    Stream,
)
from baton.core.ids import AttachmentId, RequestId
from baton.core.limits import Limits
from baton.core.models import Attachment, PermissionMode, PromptType, Usage
from baton.core.ports import PromptAnswer, Turn
from baton.core.stream import MessageStarted, Notice, SessionUpdated, TextDelta, TextDone, ToolDone, ToolStarted
from baton.testing.clock import FakeClock
from tests.support.scripted_agents import RecordingOutbox, ScriptedAgent, execute


class HeldLedger:
    """Writes down; a test may hold it, or say that a run stood there before."""

    def __init__(self) -> None:
        self.recorded: list[RequestId] = []
        self.known: set[str] = set()
        self.may_record = asyncio.Event()
        self.may_record.set()

    async def record(self, request_id: RequestId) -> bool:
        await self.may_record.wait()
        self.recorded.append(request_id)
        return request_id not in self.known


@dataclass
class Bench:
    """A runner with one scripted agent, and everything around it."""

    agent: ScriptedAgent
    outbox: RecordingOutbox
    ledger: HeldLedger
    clock: FakeClock
    runner: Runner
    failures: list[str] = field(default_factory=list)

    async def finished(self, task: Execute) -> Complete | Failed | Aborted:
        self.runner.receive(task)
        final = await self.outbox.until_final(task.request_id)
        assert isinstance(final, FINAL_FRAMES)
        return final


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    agent, outbox, ledger, clock = ScriptedAgent(), RecordingOutbox(), HeldLedger(), FakeClock()
    failures: list[str] = []

    async def read(attachment: Attachment) -> bytes:
        return attachment.filename.encode()

    runner = Runner(
        {"scripted": agent},
        outbox,
        ledger=ledger,
        clock=clock,
        limits=Limits(),
        read_attachment=read,
        folders=Folders(str(tmp_path)),
        max_concurrent=2,
        on_agent_failure=failures.append,
    )
    yield Bench(agent, outbox, ledger, clock, runner, failures)
    await runner.close()


def prompt(name: str = "p1") -> PromptAsked:
    return PromptAsked(prompt_id=name, type=PromptType.TOOL_PERMISSION, title="May I?")


async def for_ever(task: Execute, turn: Turn) -> RunResult:
    await asyncio.Event().wait()
    return RunResult()


def stubborn(release: asyncio.Event) -> Callable[[Execute, Turn], Awaitable[RunResult]]:
    """An agent that does not end when it is cancelled."""

    async def play(task: Execute, turn: Turn) -> RunResult:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        turn.emit(Notice(level="info", text="late"))
        return RunResult()

    return play


# --- one run -----------------------------------------------------------------------------------------------------


async def test_a_run_starts_streams_and_completes_in_numbered_frames(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        turn.emit(MessageStarted(message_id="m"), TextDelta("m", 0, 0, "hi"))
        return RunResult(session_id="s", usage=Usage(output_tokens=1))

    bench.agent.play = play
    final = await bench.finished(execute(session_id="s"))
    started, streamed, _ = bench.outbox.of("r1")
    assert isinstance(started, Started)
    assert started.session_id == "s"
    assert isinstance(streamed, Stream)
    assert isinstance(final, Complete)
    assert final.result.usage.output_tokens == 1
    assert [frame.seq for frame in bench.outbox.of("r1")] == [1, 2, 3]


async def test_the_agent_starts_only_when_the_run_is_written_down(bench: Bench) -> None:
    bench.ledger.may_record.clear()
    bench.runner.receive(execute())
    await bench.outbox.until_said(Started)
    assert not bench.agent.tasks
    bench.ledger.may_record.set()
    await bench.outbox.until_final("r1")
    assert len(bench.agent.tasks) == 1


async def test_a_run_that_an_earlier_process_started_is_not_started_again(bench: Bench) -> None:
    bench.ledger.known.add("r1")
    final = await bench.finished(execute())
    assert isinstance(final, Failed)
    assert (final.error.code, final.error.retryable) == ("bridge_lost", True)
    assert not bench.agent.tasks


async def test_the_same_execute_again_works_once_while_it_runs_and_after_it_ended(bench: Bench) -> None:
    task = execute()
    bench.runner.receive(task)
    bench.runner.receive(task)
    await bench.outbox.until_final("r1")
    bench.runner.receive(task)
    await bench.finished(execute("r2"))
    assert [said.request_id for said in bench.agent.tasks] == ["r1", "r2"]


async def test_an_unknown_agent_fails_the_run_as_missing(bench: Bench) -> None:
    final = await bench.finished(execute(agent="nobody"))
    assert isinstance(final, Failed)
    assert final.error.code == "agent_missing"
    assert bench.failures == ["agent_missing"]


async def test_a_working_directory_that_is_not_there_fails_the_run_and_says_so(bench: Bench, tmp_path: Path) -> None:
    final = await bench.finished(execute(working_directory=str(tmp_path / "gone")))
    assert isinstance(final, Failed)
    assert "does not exist" in final.error.message
    assert not bench.agent.tasks


async def test_the_agent_gets_the_real_path_of_its_working_directory(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    await bench.finished(execute(working_directory=str(tmp_path / "link")))
    assert bench.agent.tasks[0].working_directory == str((tmp_path / "real").resolve())


async def test_an_agents_own_failure_keeps_its_code_and_message(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        raise AgentFailed("Log in with `claude`", code="agent_not_logged_in")

    bench.agent.play = play
    final = await bench.finished(execute())
    assert isinstance(final, Failed)
    assert (final.error.code, final.error.message) == ("agent_not_logged_in", "Log in with `claude`")


async def test_an_error_of_another_family_fails_the_run_with_a_code_that_runs_have(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        raise StoreUnavailable("The attachment cannot be read now")

    bench.agent.play = play
    final = await bench.finished(execute())
    assert isinstance(final, Failed)
    assert (final.error.code, final.error.retryable) == ("agent_failed", True)


async def test_a_mistake_of_an_agent_is_told_as_an_incident_without_its_inside(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        turn.emit(TextDelta("m", 0, 0, "so far"))
        raise RuntimeError("inside")

    bench.agent.play = play
    with caplog.at_level(logging.ERROR):
        final = await bench.finished(execute())
    assert isinstance(final, Failed)
    assert final.error.code == "agent_failed"
    assert "inside" not in final.error.message
    incident = caplog.records[0].__dict__["incident"]
    assert incident in final.error.message
    assert bench.outbox.events("r1") == [TextDelta("m", 0, 0, "so far")]


async def test_an_agent_that_cancels_itself_fails(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        raise asyncio.CancelledError

    bench.agent.play = play
    final = await bench.finished(execute())
    assert isinstance(final, Failed)
    assert final.error.code == "agent_failed"


async def test_attachments_are_read_by_what_the_bridge_was_given(bench: Bench) -> None:
    read: list[bytes] = []

    async def play(task: Execute, turn: Turn) -> RunResult:
        attachment = Attachment(
            id=AttachmentId("a"), filename="a.txt", mime_type="text/plain", size_bytes=5, url="/api/attachments/a"
        )
        read.append(await turn.read_attachment(attachment))
        return RunResult()

    bench.agent.play = play
    await bench.finished(execute())
    assert read == [b"a.txt"]


# --- what is said ------------------------------------------------------------------------------------------------


async def said(bench: Bench, *events: object) -> list[object]:
    async def play(task: Execute, turn: Turn) -> RunResult:
        turn.emit(*events)  # type: ignore[arg-type]  # what is tested is what becomes of them
        return RunResult()

    bench.agent.play = play
    await bench.finished(execute())
    return list(bench.outbox.events("r1"))


async def test_what_is_said_in_one_turn_of_the_loop_leaves_as_one_frame(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        for number in range(100):
            turn.emit(TextDelta("m", 0, number, "x"))
        await asyncio.sleep(0)
        turn.emit(TextDelta("m", 0, 100, "y"))
        await asyncio.sleep(0)
        return RunResult()

    bench.agent.play = play
    await bench.finished(execute())
    sizes = [len(frame.events) for frame in bench.outbox.of("r1") if isinstance(frame, Stream)]
    assert sizes == [100, 1]


async def test_offsets_are_counted_in_utf16_whatever_the_agent_counted(bench: Bench) -> None:
    events = await said(bench, TextDelta("m", 0, 7, "a🏃"), TextDelta("m", 1, 7, "other"), TextDelta("m", 0, 7, "b"))
    assert events == [TextDelta("m", 0, 0, "a🏃"), TextDelta("m", 1, 0, "other"), TextDelta("m", 0, 3, "b")]


async def test_a_surrogate_pair_that_was_split_between_deltas_is_put_together(bench: Bench) -> None:
    events = await said(bench, TextDelta("m", 0, 0, "a\ud83c"), TextDelta("m", 0, 2, "\udfc3b"))
    assert events == [TextDelta("m", 0, 0, "a"), TextDelta("m", 0, 1, "🏃b")]


async def test_half_a_pair_that_never_gets_its_other_half_is_replaced(bench: Bench) -> None:
    events = await said(bench, TextDelta("m", 0, 0, "a\ud83c"), TextDelta("m", 0, 2, "b"))
    assert events == [TextDelta("m", 0, 0, "a"), TextDelta("m", 0, 1, "\ufffdb")]


async def test_a_long_delta_leaves_in_pieces_that_follow_on(bench: Bench) -> None:
    text = "".join(f"{number:06} " for number in range(20_000))
    events = [event for event in await said(bench, TextDelta("m", 0, 0, text)) if isinstance(event, TextDelta)]
    assert len(events) > 1
    assert "".join(event.text for event in events) == text
    assert [event.offset for event in events] == [sum(len(e.text) for e in events[:n]) for n in range(len(events))]


async def test_all_text_and_json_is_cleaned(bench: Bench) -> None:
    events = await said(
        bench,
        TextDone(message_id="m", block=0, text="a\ud800"),
        ToolDone(message_id="m", id="t", result={"k\0": ["\udc00", 2**70]}),
    )
    assert events == [
        TextDone(message_id="m", block=0, text="a\ufffd"),
        ToolDone(message_id="m", id="t", result={"k": ["\ufffd", str(2**70)]}),
    ]


async def test_a_result_that_no_frame_can_carry_is_cut_and_says_so(bench: Bench) -> None:
    (event,) = await said(bench, ToolDone(message_id="m", id="t", result={"lines": ["x" * (20 << 20)]}))
    assert isinstance(event, ToolDone)
    assert isinstance(event.result, str)
    assert event.result.startswith('{"lines": ["xxx')
    assert event.result.endswith("[cut here: over the limit of one frame]")


async def test_what_is_said_after_the_end_is_ignored(bench: Bench) -> None:
    turns: list[Turn] = []

    async def play(task: Execute, turn: Turn) -> RunResult:
        turns.append(turn)
        return RunResult()

    bench.agent.play = play
    await bench.finished(execute())
    turns[0].emit(TextDelta("m", 0, 0, "late"))
    await asyncio.sleep(0)
    assert isinstance(bench.outbox.of("r1")[-1], Complete)
    with pytest.raises(AgentFailed):
        await turns[0].ask(prompt())


async def test_a_run_of_which_the_outbox_takes_no_more_fails_with_that_error(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        bench.outbox.refusal = AgentFailed("too much waits", code="spool_full", retryable=True)
        turn.emit(TextDelta("m", 0, 0, "more"))
        await asyncio.Event().wait()
        return RunResult()

    bench.agent.play = play
    final = await bench.finished(execute())
    assert isinstance(final, Failed)
    assert final.error.code == "spool_full"
    assert bench.agent.working == 0


# --- questions ---------------------------------------------------------------------------------------------------


def asking(answers: list[PromptAnswer]) -> Callable[[Execute, Turn], Awaitable[RunResult]]:
    async def play(task: Execute, turn: Turn) -> RunResult:
        turn.emit(TextDelta("m", 0, 0, "before"))
        answers.append(await turn.ask(prompt()))
        turn.emit(TextDelta("m", 0, 6, "after"))
        return RunResult()

    return play


def response(option: str = "allow_once", *, request_id: str = "r1", prompt_id: str = "p1") -> PermissionResponse:
    return PermissionResponse(request_id=RequestId(request_id), prompt_id=prompt_id, selected_option=option)


async def test_a_question_follows_what_was_said_and_its_answer_is_confirmed_before_what_follows(bench: Bench) -> None:
    answers: list[PromptAnswer] = []
    bench.agent.play = asking(answers)
    bench.runner.receive(execute())
    await bench.outbox.until_said(PermissionRequest)
    bench.runner.receive(response("deny_stop"))
    await bench.outbox.until_final("r1")
    kinds = [type(frame) for frame in bench.outbox.of("r1")]
    assert kinds == [Started, Stream, PermissionRequest, PermissionApplied, Stream, Complete]
    assert answers == [PromptAnswer(selected_option="deny_stop")]


async def test_the_first_answer_counts_and_stale_ones_are_dropped(bench: Bench) -> None:
    answers: list[PromptAnswer] = []
    bench.agent.play = asking(answers)
    bench.runner.receive(execute())
    await bench.outbox.until_said(PermissionRequest)
    bench.runner.receive(response(prompt_id="another"))
    bench.runner.receive(response(request_id="another"))
    bench.runner.receive(response("allow_once"))
    bench.runner.receive(response("deny"))
    await bench.outbox.until_final("r1")
    bench.runner.receive(response("deny"))
    assert [answer.selected_option for answer in answers] == ["allow_once"]


async def test_taking_a_question_back_tells_the_server(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        asked = asyncio.ensure_future(turn.ask(prompt()))
        await bench.outbox.until_said(PermissionRequest)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        return RunResult()

    bench.agent.play = play
    await bench.finished(execute())
    assert [type(frame) for frame in bench.outbox.of("r1")][-2:] == [PermissionCancel, Complete]


async def test_a_question_that_is_open_when_the_run_ends_ends_with_it(bench: Bench) -> None:
    asked: list[asyncio.Future[PromptAnswer]] = []

    async def play(task: Execute, turn: Turn) -> RunResult:
        asked.append(asyncio.ensure_future(turn.ask(prompt())))
        await bench.outbox.until_said(PermissionRequest)
        return RunResult()

    bench.agent.play = play
    await bench.finished(execute())
    with pytest.raises(asyncio.CancelledError):
        await asked[0]
    assert isinstance(bench.outbox.of("r1")[-1], Complete)


async def test_a_prompt_id_can_be_asked_once(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        await turn.ask(prompt())
        await turn.ask(prompt())
        return RunResult()

    bench.agent.play = play
    bench.runner.receive(execute())
    await bench.outbox.until_said(PermissionRequest)
    bench.runner.receive(response())
    final = await bench.outbox.until_final("r1")
    assert isinstance(final, Failed)
    assert "asked before" in final.error.message


# --- who may run -------------------------------------------------------------------------------------------------


async def test_runs_of_one_conversation_and_of_one_session_wait_for_each_other_in_order(bench: Bench) -> None:
    for number, (conversation, session) in enumerate([("c1", "s"), ("c2", "s"), ("c2", None)], start=1):
        bench.runner.receive(execute(f"r{number}", conversation_id=conversation, session_id=session))
    for number in (1, 2, 3):
        await bench.outbox.until_final(f"r{number}")
    assert [task.request_id for task in bench.agent.tasks] == ["r1", "r2", "r3"]
    assert bench.agent.most_working == 1


async def test_a_session_that_a_run_learnt_is_its_own_from_then_on(bench: Bench) -> None:
    learnt = asyncio.Event()
    go_on = asyncio.Event()

    async def play(task: Execute, turn: Turn) -> RunResult:
        turn.emit(SessionUpdated(session_id="s"))
        learnt.set()
        await go_on.wait()
        return RunResult()

    bench.agent.play = play
    bench.runner.receive(execute("r1"))
    await learnt.wait()
    bench.runner.receive(execute("r2", session_id="s"))
    assert bench.runner.load == (1, 1)
    go_on.set()
    await bench.outbox.until_final("r2")


async def test_at_most_so_many_run_at_once_and_the_rest_waits_and_is_told(bench: Bench) -> None:
    both = asyncio.Barrier(2)

    async def play(task: Execute, turn: Turn) -> RunResult:
        await both.wait()
        return RunResult()

    bench.agent.play = play
    for number in range(4):
        bench.runner.receive(execute(f"r{number}"))
    assert bench.runner.load == (2, 2)
    assert [reply.queued for reply in bench.outbox.replies if isinstance(reply, BridgeStatus)] == [1, 2]
    for number in range(4):
        await bench.outbox.until_final(f"r{number}")
    assert bench.agent.most_working == 2


# --- abort -------------------------------------------------------------------------------------------------------


async def test_abort_ends_the_agent_and_keeps_what_it_said(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        turn.emit(TextDelta("m", 0, 0, "so far"))
        try:
            await asyncio.Event().wait()
        finally:
            turn.emit(Notice(level="info", text="tidied up"))
        return RunResult()

    bench.agent.play = play
    bench.runner.receive(execute())
    await bench.outbox.until_said(Stream)
    bench.runner.receive(Abort(request_id=RequestId("r1")))
    bench.runner.receive(Abort(request_id=RequestId("r1")))
    assert isinstance(await bench.outbox.until_final("r1"), Aborted)
    assert bench.outbox.events("r1")[-1] == Notice(level="info", text="tidied up")
    assert sum(isinstance(frame, FINAL_FRAMES) for frame in bench.outbox.of("r1")) == 1


async def test_abort_before_the_agent_had_its_first_step_ends_the_run(bench: Bench) -> None:
    bench.runner.receive(execute())
    bench.runner.receive(Abort(request_id=RequestId("r1")))
    assert isinstance(await bench.outbox.until_final("r1"), Aborted)
    assert not bench.agent.tasks


async def test_abort_of_a_run_that_waits_ends_it_at_once_and_the_agent_never_sees_it(bench: Bench) -> None:
    bench.agent.play = for_ever
    bench.runner.receive(execute("r1", conversation_id="c"))
    bench.runner.receive(execute("r2", conversation_id="c"))
    bench.runner.receive(Abort(request_id=RequestId("r2")))
    assert [type(frame) for frame in bench.outbox.of("r2")] == [Aborted]


async def test_abort_of_a_run_that_waits_for_its_ledger_ends_it(bench: Bench) -> None:
    bench.ledger.may_record.clear()
    bench.runner.receive(execute())
    await bench.outbox.until_said(Started)
    bench.runner.receive(Abort(request_id=RequestId("r1")))
    assert isinstance(await bench.outbox.until_final("r1"), Aborted)


async def test_abort_of_an_unknown_run_is_ignored(bench: Bench) -> None:
    bench.runner.receive(Abort(request_id=RequestId("nobody")))
    assert isinstance(await bench.finished(execute()), Complete)
    assert bench.outbox.of("nobody") == []


async def test_an_agent_that_completes_in_spite_of_its_abort_is_aborted(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return RunResult()
        return RunResult()

    bench.agent.play = play
    bench.runner.receive(execute())
    await bench.agent.started.wait()
    bench.runner.receive(Abort(request_id=RequestId("r1")))
    assert isinstance(await bench.outbox.until_final("r1"), Aborted)


async def test_an_agent_that_ignores_its_abort_is_given_up_on_after_the_grace(bench: Bench) -> None:
    release = asyncio.Event()
    bench.agent.play = stubborn(release)
    bench.runner.receive(execute("r1", conversation_id="c"))
    await bench.agent.started.wait()
    bench.runner.receive(Abort(request_id=RequestId("r1")))
    await bench.clock.run_for(ABORT_GRACE_S - 0.1)
    assert not any(isinstance(frame, FINAL_FRAMES) for frame in bench.outbox.of("r1"))
    bench.clock.advance(0.1)
    assert isinstance(await bench.outbox.until_final("r1"), Aborted)
    release.set()
    bench.agent.play = finish
    assert isinstance(await bench.finished(execute("r2", conversation_id="c")), Complete)
    assert isinstance(bench.outbox.of("r1")[-1], Aborted)


async def finish(task: Execute, turn: Turn) -> RunResult:
    return RunResult()


# --- close -------------------------------------------------------------------------------------------------------


async def test_close_ends_started_runs_as_lost_and_says_nothing_of_those_that_wait(bench: Bench) -> None:
    bench.agent.play = for_ever
    bench.runner.receive(execute("r1", conversation_id="c"))
    bench.runner.receive(execute("r2", conversation_id="c"))
    await bench.agent.started.wait()
    await bench.runner.close()
    final = bench.outbox.of("r1")[-1]
    assert isinstance(final, Failed)
    assert (final.error.code, final.error.retryable) == ("bridge_lost", True)
    assert final.error.message == "The bridge was stopped while the agent worked"
    assert bench.outbox.of("r2") == []
    assert bench.agent.closed == 1


async def test_close_twice_closes_once_and_takes_no_more_runs(bench: Bench) -> None:
    await asyncio.gather(bench.runner.close(), bench.runner.close())
    bench.runner.receive(execute())
    await asyncio.sleep(0)
    assert bench.agent.closed == 1
    assert bench.outbox.frames == []


async def test_close_waits_no_longer_than_its_bound_for_agents_that_hang(bench: Bench) -> None:
    release = asyncio.Event()
    bench.agent.play = stubborn(release)
    bench.agent.close = release.wait  # type: ignore[method-assign,assignment]  # hangs as well
    bench.runner.receive(execute())
    await bench.agent.started.wait()
    closing = asyncio.ensure_future(bench.runner.close())
    await bench.clock.run_for(CLOSE_GRACE_S)
    assert isinstance(bench.outbox.of("r1")[-1], Failed)
    await bench.clock.run_for(AGENT_CLOSE_S + 1)
    assert closing.done()
    release.set()
    await closing


# --- questions of the server -------------------------------------------------------------------------------------


async def answered(bench: Bench, method: str, params: object = None) -> RpcResult:
    bench.runner.receive(Rpc(id="1", method=method, params=params))  # type: ignore[arg-type]  # JSON
    await bench.outbox.until(lambda: any(isinstance(reply, RpcResult) for reply in bench.outbox.replies))
    reply = bench.outbox.replies.pop()
    assert isinstance(reply, RpcResult)
    return reply


async def test_echo_answers_its_params(bench: Bench) -> None:
    assert await answered(bench, "echo", {"a": [1]}) == RpcResult(id="1", ok=True, result={"a": [1]})


async def test_an_unknown_method_is_not_found(bench: Bench) -> None:
    result = await answered(bench, "sing")
    assert result.error is not None
    assert (result.ok, result.error.code) == (False, "not_found")


async def test_commands_are_the_agents(bench: Bench) -> None:
    assert (await answered(bench, "commands", {"agent": "scripted"})).result == {
        "commands": [],
        "models": ["scripted"],
    }
    missing = (await answered(bench, "commands", {"agent": "nobody"})).error
    assert missing is not None
    assert missing.code == "not_found"


async def test_a_mistake_while_answering_is_an_answer_too(bench: Bench) -> None:
    async def commands(working_directory: str | None) -> None:
        raise RuntimeError("inside")

    bench.agent.commands = commands  # type: ignore[method-assign]  # raises
    result = await answered(bench, "commands")
    assert result.error is not None
    assert (result.error.code, result.error.message) == ("internal", "The bridge failed to answer")


async def test_run_status_says_what_the_run_waits_for(bench: Bench) -> None:
    async def play(task: Execute, turn: Turn) -> RunResult:
        bench.clock.advance(5)
        await step("model")
        turn.emit(ToolStarted(message_id="m", block=0, id="t", name="Bash"))
        await step("tool")
        turn.emit(ToolDone(message_id="m", id="t", result=""))
        await turn.ask(prompt())
        return RunResult()

    seen: dict[str, object] = {}

    async def step(name: str) -> None:
        seen[name] = (await answered(bench, "run.status", {"requestId": "r1"})).result

    bench.agent.play = play
    bench.runner.receive(execute("r1", conversation_id="c"))
    bench.runner.receive(execute("r2", conversation_id="c"))
    await bench.outbox.until_said(PermissionRequest)
    await step("person")
    assert seen["model"] == {"waitsFor": "model", "lastEventAgeS": 5.0, "tools": []}
    assert seen["tool"] == {"waitsFor": "tool", "lastEventAgeS": 0.0, "tools": ["Bash"]}
    assert seen["person"] == {"waitsFor": "person", "lastEventAgeS": 0.0, "tools": []}
    queued = (await answered(bench, "run.status", {"requestId": "r2"})).result
    assert isinstance(queued, dict)
    assert queued["waitsFor"] == "queue"
    unknown = (await answered(bench, "run.status", {"requestId": "r3"})).error
    assert unknown is not None
    assert unknown.code == "not_found"


async def test_an_agent_that_can_is_told_of_a_new_mode(bench: Bench) -> None:
    told: list[tuple[str, PermissionMode]] = []
    changed = asyncio.Event()

    async def set_mode(request_id: RequestId, mode: PermissionMode) -> None:
        told.append((request_id, mode))
        changed.set()

    bench.agent.set_mode = set_mode  # type: ignore[attr-defined]  # what makes it one that can
    bench.agent.play = for_ever
    bench.runner.receive(execute())
    await bench.agent.started.wait()
    bench.runner.receive(SetMode(request_id=RequestId("r1"), mode=PermissionMode.PLAN))
    bench.runner.receive(SetMode(request_id=RequestId("nobody"), mode=PermissionMode.PLAN))
    await changed.wait()
    assert told == [("r1", PermissionMode.PLAN)]


async def test_a_run_that_waits_starts_in_the_mode_it_was_given_meanwhile(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def play(task: Execute, turn: Turn) -> RunResult:
        await go_on.wait()
        return RunResult()

    bench.agent.play = play
    bench.runner.receive(execute("r1", conversation_id="c"))
    bench.runner.receive(execute("r2", conversation_id="c"))
    bench.runner.receive(SetMode(request_id=RequestId("r2"), mode=PermissionMode.PLAN))
    go_on.set()
    await bench.outbox.until_final("r2")
    assert bench.agent.tasks[1].permission_mode is PermissionMode.PLAN


# --- files -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Main.py").write_text("print('naïve')\n")
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "main").write_text("")
    return tmp_path


async def listed(bench: Bench, **params: object) -> list[object]:
    result = (await answered(bench, "files.list", params)).result
    assert isinstance(result, dict)
    files = result["files"]
    assert isinstance(files, list)
    return [file["path"] if isinstance(file, dict) else file for file in files]


async def test_files_of_a_folder_are_listed_folders_first(bench: Bench, folder: Path) -> None:
    assert (await answered(bench, "files.list", {})).result == {
        "files": [{"path": "src", "type": "directory", "size": 0}, {"path": "a.txt", "type": "file", "size": 1}],
        "truncated": False,
    }
    assert await listed(bench, path="src") == ["src/Main.py"]


async def test_a_query_finds_files_at_any_depth_whatever_their_case(bench: Bench, folder: Path) -> None:
    assert await listed(bench, query="main") == ["src/Main.py"]


async def test_a_limit_truncates_the_list(bench: Bench, folder: Path) -> None:
    result = (await answered(bench, "files.list", {"limit": 1})).result
    assert isinstance(result, dict)
    assert result["truncated"] is True
    assert await listed(bench, limit=1) == ["src"]


async def test_nothing_outside_the_working_directory_is_listed_or_read(bench: Bench, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_text("secret")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "up").symlink_to(tmp_path)
    root = {"workingDirectory": str(inside)}
    assert await listed(bench, **root) == []
    for path in ("link", "../secret", "up/secret", str(tmp_path / "secret")):
        error = (await answered(bench, "files.read", {**root, "path": path})).error
        assert error is not None
        assert error.code == "forbidden"
    listing = (await answered(bench, "files.list", {**root, "path": ".."})).error
    assert listing is not None
    assert listing.code == "forbidden"


async def test_a_file_is_read_as_text_or_as_base64(bench: Bench, folder: Path) -> None:
    (folder / "binary").write_bytes(b"\xff\x00")
    text = (await answered(bench, "files.read", {"path": "src/Main.py"})).result
    assert text == {
        "path": "src/Main.py",
        "size": 16,
        "encoding": "utf-8",
        "content": "print('naïve')\n",
        "truncated": False,
    }
    binary = (await answered(bench, "files.read", {"path": "binary"})).result
    assert isinstance(binary, dict)
    assert (binary["encoding"], binary["content"]) == ("base64", "/wA=")


async def test_a_large_file_is_read_up_to_the_limit_without_a_broken_character(bench: Bench, folder: Path) -> None:
    (folder / "large").write_text("x" * ((1 << 20) - 1) + "é")
    result = (await answered(bench, "files.read", {"path": "large"})).result
    assert isinstance(result, dict)
    assert (result["encoding"], result["truncated"], result["size"]) == ("utf-8", True, (1 << 20) + 1)


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("files.read", {}, "invalid_payload"),
        ("files.read", {"path": 5}, "invalid_payload"),
        ("files.read", {"path": "a\0b"}, "invalid_payload"),
        ("files.read", {"path": "missing"}, "not_found"),
        ("files.list", {"path": "missing"}, "not_found"),
        ("files.list", {"limit": 0}, "invalid_payload"),
        ("files.list", {"workingDirectory": "relative"}, "invalid_payload"),
    ],
)
async def test_wrong_questions_about_files_get_their_code(
    bench: Bench, method: str, params: dict[str, object], code: str
) -> None:
    error = (await answered(bench, method, params)).error
    assert error is not None
    assert error.code == code


def test_only_workspaces_may_be_worked_in_where_there_are_some(tmp_path: Path) -> None:
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    folders = Folders(str(tmp_path / "mine"), [str(tmp_path / "mine")])
    assert folders.working_directory(str(tmp_path / "mine" / "deep")) == (tmp_path / "mine" / "deep").resolve()
    with pytest.raises(Exception, match="workspaces"):
        folders.working_directory(str(tmp_path / "other"))
