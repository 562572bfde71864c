"""ACP agents as processes: the package's own agent side, and a scripted one that breaks every rule."""

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("acp", reason="the extra `acp` is not installed")

from baton.agents import acp_process, acp_session
from baton.core.errors import AgentFailed, TooLarge
from baton.core.frames import PromptAsked
from baton.core.ids import RequestId
from baton.core.models import PermissionMode, PromptType, Usage
from baton.core.ports import PromptAnswer
from baton.core.stream import MessageDone, ModeUpdated, Notice, SessionUpdated, TextDelta, ToolInput, ToolStarted
from tests.support import acp_fixtures
from tests.support.acp_fixtures import MakeAgent, aborted, children, has_spoken, run, until_gone
from tests.support.recording_turn import RecordingTurn, choosing
from tests.support.scripted_agents import execute

# pytest finds fixtures by the names of the module that uses them.
make_agent, work = acp_fixtures.make_agent, acp_fixtures.work


# --- turns ---------------------------------------------------------------------------------------------------------


async def test_the_packages_own_side_of_an_agent_is_understood(make_agent: MakeAgent) -> None:
    agent, turn = make_agent(script="acp_echo_agent.py"), RecordingTurn()

    result = await run(agent, turn, "grüße 🌍")

    assert turn.joined_deltas(TextDelta) == turn.text() == "grüße 🌍"
    assert [event.session_id for event in turn.of(SessionUpdated)] == [result.session_id]
    assert (result.outcome, len(turn.of(MessageDone))) == ("completed", 1)


async def test_one_process_takes_the_next_message_too(make_agent: MakeAgent) -> None:
    agent, first, second = make_agent(), RecordingTurn(), RecordingTurn()
    session = (await run(agent, first, "say one")).session_id

    result = await run(agent, second, "say two", session)

    assert (result.session_id, second.text(), len(children())) == (session, "two ", 1)
    assert second.of(SessionUpdated) == [], "it is known already"


async def test_an_idle_process_ends_and_the_session_goes_on(make_agent: MakeAgent) -> None:
    is_time = asyncio.Event()
    agent = make_agent("--resume", sleep=lambda _: _waited(is_time))
    session = (await run(agent, RecordingTurn(), "say one")).session_id
    is_time.set()
    while children():
        await asyncio.sleep(0.01)  # the end of a process of which nobody else is told

    turn = RecordingTurn()
    result = await run(agent, turn, "say two", session)

    assert (result.session_id, turn.text(), turn.of(Notice)) == (session, "two ", [])


async def _waited(event: asyncio.Event) -> None:
    await event.wait()


async def test_a_loaded_session_does_not_say_its_history_again(make_agent: MakeAgent) -> None:
    turn = RecordingTurn()

    await run(make_agent("--load"), turn, "say new", "an-old-session")

    assert (turn.text(), turn.of(SessionUpdated), turn.of(Notice)) == ("new ", [], [])


@pytest.mark.parametrize("options", [(), ("--resume", "--unknown")], ids=["not announced", "not known"])
async def test_a_session_that_cannot_go_on_begins_anew_and_says_so(
    make_agent: MakeAgent, options: tuple[str, ...]
) -> None:
    turn = RecordingTurn()

    result = await run(make_agent(*options), turn, "say new", "an-old-session")

    assert result.session_id != "an-old-session"
    assert "does not know what was said before" in turn.of(Notice)[0].text


async def test_a_fork_is_another_session(make_agent: MakeAgent) -> None:
    turn = RecordingTurn()

    result = await run(make_agent("--fork"), turn, "say new", "the-first", fork=True)

    assert (result.session_id, turn.of(Notice)) == ("the-first-fork", [])


async def test_sessions_of_one_agent_do_not_wait_for_each_other(make_agent: MakeAgent) -> None:
    agent, waiting, other = make_agent(), RecordingTurn(), RecordingTurn()
    running = asyncio.ensure_future(run(agent, waiting, "wait"))
    await waiting.until(has_spoken)

    await run(agent, other, "say something")

    assert other.text() == "something "
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_usage_and_cost_are_those_of_the_turn(make_agent: MakeAgent) -> None:
    agent = make_agent()
    first = await run(agent, RecordingTurn(), "usage 0.25")

    second = await run(agent, RecordingTurn(), "usage 0.75", first.session_id)

    assert (first.cost_usd, second.cost_usd) == (0.25, 0.5), "agents tell the sum of a session"
    assert second.usage == Usage(7, 5, 3, 0)


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [("end_turn", "completed"), ("max_tokens", "max_tokens"), ("refusal", "refused"), ("cancelled", "completed")],
)
async def test_each_reason_to_stop_has_its_outcome(make_agent: MakeAgent, reason: str, outcome: str) -> None:
    assert (await run(make_agent(), RecordingTurn(), f"end {reason}")).outcome == outcome


async def test_commands_and_models_are_known_after_a_turn(make_agent: MakeAgent) -> None:
    agent = make_agent("--models", "big,small")
    assert await agent.commands(None) == {"commands": [], "models": []}
    await run(agent, RecordingTurn(), "say it")

    assert await agent.commands(None) == {
        "commands": [{"name": "review", "description": "Look at it", "argumentHint": "file"}],
        "models": [{"id": "big", "title": "Big"}, {"id": "small", "title": "Small"}],
    }
    assert (await agent.offer()).models == ("big", "small")


# --- modes and models ----------------------------------------------------------------------------------------------


async def test_an_agent_that_starts_in_a_mode_of_its_own_is_told_to_ask(make_agent: MakeAgent) -> None:
    turn = RecordingTurn()
    await run(make_agent("--modes", "auto,default,plan"), turn, "modes")
    assert turn.text() == "mode=default model=never set"


async def test_plan_mode_is_passed_on_and_a_model_is_chosen(make_agent: MakeAgent) -> None:
    turn = RecordingTurn()
    agent = make_agent("--modes", "default,plan", "--models", "big,small")
    await run(agent, turn, "modes", permission_mode=PermissionMode.PLAN, model="small")
    assert turn.text() == "mode=plan model=small"


async def test_a_mode_in_which_nothing_is_asked_is_never_passed_on(make_agent: MakeAgent) -> None:
    turn = RecordingTurn()
    agent = make_agent("--modes", "default,bypassPermissions")
    await run(agent, turn, "modes", permission_mode=PermissionMode.BYPASS)
    assert turn.text() == "mode=never set model=never set", "it is in `default` from the start"


async def test_an_agent_that_takes_itself_a_freer_mode_is_put_back(make_agent: MakeAgent) -> None:
    turn = RecordingTurn()
    await run(make_agent("--modes", "default,yolo"), turn, "mode yolo")
    assert turn.text() == "session/set_mode default"
    assert turn.of(ModeUpdated) == []


async def test_a_mode_that_is_set_while_it_works_reaches_the_agent(make_agent: MakeAgent) -> None:
    agent, turn = make_agent("--modes", "default,plan"), RecordingTurn()
    task = execute(message="await-mode", agent="acp:scripted")
    running = asyncio.ensure_future(agent.run(task, turn))
    await turn.until(has_spoken)

    await agent.set_mode(task.request_id, PermissionMode.PLAN)

    await running
    assert turn.text() == "ready, then plan"
    assert turn.of(ModeUpdated) == [], "whoever set it knows it"
    await agent.set_mode(RequestId("of no run"), PermissionMode.PLAN)


async def test_an_unknown_model_is_named(make_agent: MakeAgent) -> None:
    with pytest.raises(AgentFailed, match="no model named 'huge'"):
        await run(make_agent("--models", "big,small"), RecordingTurn(), "say it", model="huge")


# --- questions -----------------------------------------------------------------------------------------------------


async def test_a_permission_is_asked_with_the_agents_options_and_answered_with_them(make_agent: MakeAgent) -> None:
    turn = RecordingTurn(answer=choosing("allow_always"))

    await run(make_agent(), turn, "permission allow_once allow_always reject_once")

    (asked,) = turn.asked
    assert (asked.type, asked.title, asked.tool_name, asked.tool_use_id, asked.input) == (
        PromptType.TOOL_PERMISSION,
        "rm -r build",
        "Run",
        "call-1",
        {"command": "rm"},
    )
    assert [option.id for option in asked.options] == ["allow_once", "allow_always", "deny", "deny_stop"]
    assert json.loads(turn.text()) == {"outcome": {"outcome": "selected", "optionId": "the-1"}}
    assert [event.kind for event in turn.of(ToolStarted)] == ["execute"], "what is asked about is shown"
    assert [event.input for event in turn.of(ToolInput)] == [{"command": "rm"}]


async def test_deny_and_stop_refuses_and_cancels_the_turn(make_agent: MakeAgent) -> None:
    turn = RecordingTurn(answer=choosing("deny_stop"))
    result = await run(make_agent(), turn, "permission allow_once reject_once")
    assert json.loads(turn.text()) == {"outcome": {"outcome": "selected", "optionId": "the-1"}}
    assert result.outcome == "completed"


async def test_an_abort_takes_the_question_back_and_the_session_goes_on(make_agent: MakeAgent) -> None:
    agent, turn = make_agent(), RecordingTurn()
    await aborted(agent, turn, "permission allow_once", lambda turn: bool(turn.asked))

    assert turn.taken_back == [turn.asked[0].prompt_id]
    assert json.loads(turn.joined_deltas(TextDelta)) == {"outcome": {"outcome": "cancelled"}}
    session = turn.of(SessionUpdated)[0].session_id
    second = RecordingTurn()
    assert (await run(agent, second, "say more", session)).session_id == session
    assert second.text() == "more "


async def test_an_agent_that_asks_without_end_is_told_that_it_was_cancelled(make_agent: MakeAgent) -> None:
    turn = RecordingTurn()
    running = asyncio.ensure_future(run(make_agent(), turn, "many-permissions 40"))
    await turn.until(lambda turn: len(turn.asked) == 32)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(turn.asked) == 32


async def test_a_plan_is_a_prompt_of_its_own_and_ends_plan_mode_as_the_person_says(make_agent: MakeAgent) -> None:
    turn = RecordingTurn(answer=choosing("accept_edits"))

    await run(make_agent("--modes", "default,plan"), turn, "plan-review")

    (asked,) = turn.asked
    assert (asked.type, asked.message) == (PromptType.PLAN_REVIEW, "1. Do it.")
    assert [option.id for option in asked.options] == ["accept_edits", "accept_default", "reject"]
    assert json.loads(turn.text())["outcome"]["optionId"] == "default", "the agent itself goes on asking"
    assert [event.mode for event in turn.of(ModeUpdated)] == ["plan", "acceptEdits"]


async def test_a_form_is_a_question_with_typed_answers(make_agent: MakeAgent) -> None:
    def answer(prompt: PromptAsked) -> PromptAnswer:
        return PromptAnswer(selected_option="answer", answers={"q1": "blue", "q2": "12"})

    turn = RecordingTurn(answer=answer)
    await run(make_agent(), turn, "form")

    (asked,) = turn.asked
    assert asked.type is PromptType.QUESTION
    assert [question.question for question in asked.questions] == ["Which colour?", "How many?"]
    assert json.loads(turn.text()) == {"action": "accept", "content": {"colour": "blue", "count": 12}}


async def test_files_of_the_person_are_not_served(make_agent: MakeAgent) -> None:
    turn = RecordingTurn()
    await run(make_agent(), turn, "read-file /etc/passwd")
    assert turn.text() == "-32601", "there is no such method"


# --- what its process gets -----------------------------------------------------------------------------------------


async def test_the_process_gets_the_given_environment_and_nothing_else(
    make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATON_SECRET", "not for agents")
    turn = RecordingTurn()
    await run(make_agent(environment={"PATH": "/usr/bin:/bin", "EXAMPLE_KEY": "for it"}), turn, "environment")
    added_by_the_shell = {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}
    assert json.loads(turn.text()).keys() - added_by_the_shell == {"PATH", "EXAMPLE_KEY"}


# --- what goes wrong -----------------------------------------------------------------------------------------------


async def test_a_program_that_is_not_there_is_named(make_agent: MakeAgent) -> None:
    agent = make_agent(command="no-such-agent --acp")
    offer = await agent.offer()
    assert (offer.available, offer.reason) == (False, "The program 'no-such-agent' is not installed here")
    with pytest.raises(AgentFailed, match="no-such-agent") as failed:
        await run(agent, RecordingTurn(), "say it")
    assert failed.value.code == "agent_missing"


async def test_a_login_that_is_needed_is_told_with_the_agents_own_methods(make_agent: MakeAgent) -> None:
    agent = make_agent("--login")
    assert (await agent.offer()).available, "nothing is started to find out"
    with pytest.raises(AgentFailed) as failed:
        await run(agent, RecordingTurn(), "say it")
    assert failed.value.code == "agent_not_logged_in"
    assert "Scripted is not logged in" in failed.value.message
    assert "Log in with Example (Opens a browser); Use a key (set EXAMPLE_KEY for the bridge)" in failed.value.message
    offer = await agent.offer()
    assert (offer.available, offer.reason) == (False, failed.value.message)


async def test_an_agent_is_available_again_once_somebody_logged_in(make_agent: MakeAgent, work: Path) -> None:
    agent = make_agent("--login-until", str(work / "logged-in"))
    with pytest.raises(AgentFailed, match="not logged in"):
        await run(agent, RecordingTurn(), "say it")
    assert not (await agent.offer()).available

    (work / "logged-in").touch()

    assert (await agent.offer()).available
    assert children() == [], "the process that looked has ended"


async def test_a_login_that_runs_out_in_a_session_is_told_too(make_agent: MakeAgent) -> None:
    with pytest.raises(AgentFailed) as failed:
        await run(make_agent(), RecordingTurn(), "login")
    assert failed.value.code == "agent_not_logged_in"


async def test_another_version_of_the_protocol_is_named(make_agent: MakeAgent) -> None:
    with pytest.raises(AgentFailed, match="speaks version 2 of the Agent Client Protocol, Baton speaks 1"):
        await run(make_agent("--version", "2"), RecordingTurn(), "say it")


async def test_an_agent_that_never_answers_fails_in_time(make_agent: MakeAgent) -> None:
    with pytest.raises(AgentFailed, match=r"did not get ready within 0\.5 s") as failed:
        await run(make_agent("--mute", start_timeout_s="0.5"), RecordingTurn(), "say it")
    assert failed.value.retryable
    assert children() == []


async def test_an_agent_that_dies_is_told_with_its_last_words(make_agent: MakeAgent) -> None:
    with pytest.raises(AgentFailed) as failed:
        await run(make_agent(), RecordingTurn(), "die")
    assert failed.value.message == "Scripted ended unexpectedly (exit code 7): it all went wrong"
    assert failed.value.retryable


async def test_an_agent_that_is_killed_keeps_what_it_said(make_agent: MakeAgent) -> None:
    turn = RecordingTurn()
    with pytest.raises(AgentFailed, match="signal 9"):
        await run(make_agent(), turn, "kill")
    assert turn.joined_deltas(TextDelta) == "half of "


async def test_what_a_dead_agent_has_started_ends_too(make_agent: MakeAgent, work: Path) -> None:
    with pytest.raises(AgentFailed, match="exit code 3"):
        await run(make_agent(), RecordingTurn(), f"orphan {work / 'pid'}")
    await until_gone(int((work / "pid").read_text()))


@pytest.mark.parametrize("message", ["die", "kill", "garbage 1000", "nonsense", "error no"])
async def test_what_goes_wrong_in_one_session_leaves_the_others_alone(make_agent: MakeAgent, message: str) -> None:
    agent, waiting = make_agent(), RecordingTurn(answer=None)
    running = asyncio.ensure_future(run(agent, waiting, "permission allow_once"))
    await waiting.until(lambda turn: bool(turn.asked))

    with pytest.raises(AgentFailed):
        await run(agent, RecordingTurn(), message)

    after = RecordingTurn()
    await run(agent, after, "say still here")
    assert after.text() == "still here "
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_question_that_cannot_be_asked_is_answered_as_cancelled(make_agent: MakeAgent) -> None:
    def refuse(_: PromptAsked) -> PromptAnswer:
        raise TooLarge("The prompt is larger than a frame")

    turn = RecordingTurn(answer=refuse)
    await run(make_agent(), turn, "permission allow_once")
    assert json.loads(turn.text()) == {"outcome": {"outcome": "cancelled"}}


async def test_an_agents_own_error_is_passed_on(make_agent: MakeAgent) -> None:
    with pytest.raises(AgentFailed, match="could not do it: Internal error: the model is on holiday") as failed:
        await run(make_agent(), RecordingTurn(), "error the model is on holiday")
    assert failed.value.code == "agent_failed"


async def test_secrets_in_an_error_are_not_shown(make_agent: MakeAgent) -> None:
    environment = {"PATH": "/usr/bin:/bin", "EXAMPLE_KEY": "hunter2-hunter2"}
    with pytest.raises(AgentFailed, match="bad key \\[secret\\]"):
        await run(make_agent(environment=environment), RecordingTurn(), "error bad key hunter2-hunter2")


async def test_an_answer_that_the_protocol_does_not_have_fails_the_run(make_agent: MakeAgent) -> None:
    with pytest.raises(AgentFailed, match="answered session/prompt with what the protocol does not have"):
        await run(make_agent(), RecordingTurn(), "nonsense")


async def test_lines_that_are_no_messages_are_skipped(make_agent: MakeAgent) -> None:
    turn = RecordingTurn()
    await run(make_agent("--noise", "20"), turn, "garbage 40")
    assert turn.text() == "before after"


async def test_an_agent_that_writes_only_garbage_fails(make_agent: MakeAgent) -> None:
    with pytest.raises(AgentFailed, match="writes what is no message of the Agent Client Protocol"):
        await run(make_agent(), RecordingTurn(), "garbage 1000")
    assert children() == []


async def test_a_line_that_never_ends_fails_the_run_and_is_not_kept(
    make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acp_process, "MAX_LINE_BYTES", 1 << 20)
    with pytest.raises(AgentFailed, match="one message of more than 1 MiB"):
        await run(make_agent(), RecordingTurn(), "line 100")


async def test_a_flood_is_read_message_by_message(make_agent: MakeAgent) -> None:
    """What it says is bounded behind the turn: the outbox ends a run whose spool is full."""

    class Counting(RecordingTurn):
        chars = 0

        def emit(self, *events: object) -> None:
            self.chars += sum(len(event.text) for event in events if isinstance(event, TextDelta))

    turn = Counting()
    await run(make_agent(), turn, "flood 40")
    assert turn.chars == 40 << 20


async def test_a_turn_ends_once(make_agent: MakeAgent) -> None:
    agent, turn = make_agent(), RecordingTurn()
    result = await run(agent, turn, "twice")
    assert (result.outcome, len(turn.of(MessageDone))) == ("completed", 1)
    second = RecordingTurn()
    assert (await run(agent, second, "say next", result.session_id)).outcome == "completed"
    assert second.text().endswith("next "), "what comes late has no turn's name; it may be the next one's"


# --- aborts and ends -----------------------------------------------------------------------------------------------


async def test_an_aborted_session_goes_on_with_the_next_message(make_agent: MakeAgent) -> None:
    agent, turn = make_agent(), RecordingTurn()
    await aborted(agent, turn, "wait", has_spoken)
    process = children()

    second = RecordingTurn()
    await run(agent, second, "say more", turn.of(SessionUpdated)[0].session_id)

    assert (second.text(), children()) == ("more ", process)


@pytest.mark.parametrize("message", ["hang", "deaf"])
async def test_an_agent_that_does_not_stop_is_killed(
    make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    monkeypatch.setattr(acp_session, "ABORT_TIMEOUT_S", 0.2)
    await aborted(make_agent(), RecordingTurn(), message, has_spoken)
    assert children() == []


async def test_closing_ends_agents_that_work_with_all_that_they_started(make_agent: MakeAgent, work: Path) -> None:
    agent, turn = make_agent(), RecordingTurn()
    running = asyncio.ensure_future(run(agent, turn, f"child {work / 'pid'}"))
    await turn.until(has_spoken)
    child = int((work / "pid").read_text())

    await agent.close()

    with pytest.raises(AgentFailed):
        await running
    assert children() == []
    await until_gone(child)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs the parent's death signal, which Linux has")
async def test_an_agent_ends_with_a_bridge_that_is_killed(work: Path) -> None:
    program = (
        "import asyncio, os, sys\n"
        "from baton.agents.acp import AcpAgent\n"
        "from baton.agents.options import AgentOptions\n"
        "from tests.support.acp_fixtures import children, has_spoken, run\n"
        "from tests.support.recording_turn import RecordingTurn\n"
        "async def main():\n"
        "    settings = {'name': 'acp:scripted', 'command': sys.argv[1]}\n"
        "    agent = AcpAgent(AgentOptions(environment=dict(os.environ), default_working_directory=sys.argv[2],\n"
        "                                  settings=settings))\n"
        "    turn = RecordingTurn()\n"
        "    running = asyncio.ensure_future(run(agent, turn, 'deaf'))\n"
        "    await turn.until(has_spoken)\n"
        "    print(*children(), flush=True)\n"
        "    await running\n"
        "asyncio.run(main())\n"
    )
    command = f"{sys.executable} -IS {acp_fixtures.SUPPORT / 'acp_scripted_agent.py'}"
    bridge = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, command, str(work), stdout=asyncio.subprocess.PIPE, cwd=acp_fixtures.ROOT
    )
    assert bridge.stdout is not None
    async with asyncio.timeout(30):
        (agent,) = (await bridge.stdout.readline()).split()
        bridge.kill()
        await bridge.wait()
    await until_gone(int(agent))


async def test_after_closing_nothing_is_started(make_agent: MakeAgent) -> None:
    agent = make_agent()
    await agent.close()
    with pytest.raises(AgentFailed) as failed:
        await run(agent, RecordingTurn(), "say it")
    assert (failed.value.code, children()) == ("bridge_lost", [])
