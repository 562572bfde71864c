"""The real Claude Code program and SDK, against a fake of the Messages API: its process, from start to end."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("claude_agent_sdk", reason="the extra `claude` is not installed")

from baton.core.errors import AgentFailed
from baton.core.stream import MessageDiscarded, MessageDone, Notice, SessionUpdated, TextDelta, TextDone
from tests.support import claude_fixtures
from tests.support.claude_fixtures import MakeAgent, aborted, children, endless_command, run, task, wait_for_end
from tests.support.fake_messages_api import FakeMessagesApi
from tests.support.recording_turn import RecordingTurn, choosing

# pytest finds fixtures by the names of the module that uses them.
api, environment = claude_fixtures.api, claude_fixtures.environment
make_agent, work = claude_fixtures.make_agent, claude_fixtures.work


# --- abort ---------------------------------------------------------------------------------------------------------


async def test_after_an_abort_in_mid_stream_the_session_goes_on(make_agent: MakeAgent, api: FakeMessagesApi) -> None:
    agent, turn = make_agent(), RecordingTurn()
    await aborted(agent, turn, "slow", lambda turn: len(turn.of(TextDelta)) > 5)
    assert turn.of(MessageDone) == [], "a message that was broken off is not done"
    assert turn.of(MessageDiscarded) == []
    (process,) = children()

    result = await run(agent, RecordingTurn(), "text after", turn.of(SessionUpdated)[0].session_id)

    assert result.session_id == turn.of(SessionUpdated)[0].session_id
    assert children() == [process]
    assert api.requests[-1].says("word0 word1"), "what was said before the abort is part of the conversation"


async def test_an_abort_takes_an_open_question_back(make_agent: MakeAgent, work: Path) -> None:
    turn = RecordingTurn()

    await aborted(make_agent(), turn, "bash touch made.txt", lambda turn: bool(turn.asked))

    assert turn.taken_back == [turn.asked[0].prompt_id]
    assert not (work / "made.txt").exists()


async def test_an_abort_ends_a_running_command(make_agent: MakeAgent, work: Path) -> None:
    turn = RecordingTurn(answer=choosing("allow_once"))
    async with endless_command(make_agent(), turn, work) as (running, shell):
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        await asyncio.to_thread(wait_for_end, shell)


async def test_an_abort_that_is_not_heard_kills_the_process_and_the_session_is_resumed(
    make_agent: MakeAgent, api: FakeMessagesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baton.agents.claude_session.ABORT_TIMEOUT_S", 0.2)
    agent, turn = make_agent(), RecordingTurn()
    first = await run(agent, RecordingTurn(), "text the code word is walrus")
    running = asyncio.ensure_future(agent.run(task("slow", first.session_id), turn))
    await turn.until(lambda turn: len(turn.of(TextDelta)) > 5)
    (process,) = children()
    os.kill(process, signal.SIGSTOP)

    running.cancel()
    async with asyncio.timeout(8):
        with pytest.raises(asyncio.CancelledError):
            await running

    assert process not in children()
    await run(agent, RecordingTurn(), "text after", first.session_id)
    assert api.requests[-1].says("the code word is walrus")


async def test_an_abort_before_the_first_word_leaves_the_session_usable(make_agent: MakeAgent) -> None:
    agent, turn = make_agent(), RecordingTurn()
    await aborted(agent, turn, "slow", lambda turn: bool(turn.of(SessionUpdated)))

    after = RecordingTurn()
    await run(agent, after, "text after", turn.of(SessionUpdated)[0].session_id)

    assert after.text() == "after"


async def test_an_abort_while_the_process_starts_leaves_none(make_agent: MakeAgent) -> None:
    running = asyncio.ensure_future(make_agent().run(task("text x"), RecordingTurn()))
    async with asyncio.timeout(10):
        while not children():
            await asyncio.sleep(0)  # the start itself tells nobody
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert children() == []


# --- resume --------------------------------------------------------------------------------------------------------


async def test_another_agent_object_resumes_the_session(make_agent: MakeAgent, api: FakeMessagesApi) -> None:
    before = make_agent()
    first = await run(before, RecordingTurn(), "text the code word is walrus")
    await before.close()

    turn = RecordingTurn()
    second = await run(make_agent(), turn, "text two", first.session_id)

    assert second.session_id == first.session_id
    assert api.requests[-1].says("the code word is walrus")
    assert turn.of(Notice) == []
    assert second.cost_usd == pytest.approx(first.cost_usd, rel=0.1), "the session's earlier cost is not told again"


async def test_a_session_that_is_not_known_any_more_starts_anew_and_says_so(make_agent: MakeAgent) -> None:
    turn = RecordingTurn()

    result = await run(make_agent(), turn, "text fresh", "11111111-2222-4333-8444-555555555555")

    assert turn.text() == "fresh"
    assert result.session_id != "11111111-2222-4333-8444-555555555555"
    assert [event.session_id for event in turn.of(SessionUpdated)] == [result.session_id]
    assert [notice.level for notice in turn.of(Notice)] == ["warning"]


async def test_a_fork_knows_the_past_and_has_a_session_of_its_own(make_agent: MakeAgent, api: FakeMessagesApi) -> None:
    agent = make_agent()
    first = await run(agent, RecordingTurn(), "text the code word is walrus")

    forked = await run(agent, RecordingTurn(), "text two", first.session_id, fork=True)

    assert forked.session_id != first.session_id
    assert api.requests[-1].says("the code word is walrus")


async def test_an_idle_process_ends_and_the_next_message_resumes(make_agent: MakeAgent, api: FakeMessagesApi) -> None:
    naps: list[float] = []
    idle_is_over = asyncio.Event()

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        await idle_is_over.wait()

    agent = make_agent(sleep, idle_s="120")
    first = await run(agent, RecordingTurn(), "text the code word is walrus")
    (process,) = children()
    idle_is_over.set()
    await asyncio.to_thread(wait_for_end, process)
    assert naps == [120.0]

    await run(agent, RecordingTurn(), "text two", first.session_id)

    assert api.requests[-1].says("the code word is walrus")


# --- failures ------------------------------------------------------------------------------------------------------


async def test_a_killed_process_fails_the_run_and_the_session_can_be_resumed(
    make_agent: MakeAgent, api: FakeMessagesApi
) -> None:
    agent, turn = make_agent(), RecordingTurn()
    first = await run(agent, RecordingTurn(), "text the code word is walrus")
    running = asyncio.ensure_future(agent.run(task("slow", first.session_id), turn))
    await turn.until(lambda turn: len(turn.of(TextDelta)) > 5)
    (process,) = children()
    os.kill(process, signal.SIGKILL)

    with pytest.raises(AgentFailed, match="signal 9") as failed:
        await running

    assert failed.value.code == "agent_failed"
    after = RecordingTurn()
    await run(agent, after, "text after", first.session_id)
    assert after.text() == "after"
    assert api.requests[-1].says("the code word is walrus")


@pytest.mark.parametrize("status", [429, 500, 529])
async def test_an_api_that_fails_once_is_told_as_a_notice_and_tried_again(make_agent: MakeAgent, status: int) -> None:
    turn = RecordingTurn()

    await run(make_agent(), turn, f"once {status}")

    (notice,) = turn.of(Notice)
    assert notice.text.startswith(f"Claude's API answered {status}; trying again in")
    assert turn.text() == "back"


async def test_an_api_error_that_stays_fails_the_run_with_its_status(make_agent: MakeAgent) -> None:
    with pytest.raises(AgentFailed, match="529") as failed:
        await run(make_agent(), RecordingTurn(), "status 529")

    assert (failed.value.code, failed.value.retryable) == ("agent_failed", True)


@pytest.mark.parametrize("how", ["broken", "drop"])
async def test_what_a_broken_stream_had_said_is_taken_back(
    make_agent: MakeAgent, api: FakeMessagesApi, how: str
) -> None:
    turn = RecordingTurn()
    api.may_break.clear()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run(make_agent(), turn, f"{how} x"))
        await turn.until(lambda turn: bool(turn.of(TextDelta)))
        api.may_break.set()

    (discarded,) = turn.of(MessageDiscarded)
    assert [event.text for event in turn.of(TextDone)] == ["back"]
    assert all(event.message_id != discarded.message_id for event in turn.of(TextDone))
    assert turn.of(TextDelta)[0].message_id == discarded.message_id


async def test_without_a_login_the_agent_says_how_to_get_one(
    make_agent: MakeAgent, environment: dict[str, str]
) -> None:
    del environment["ANTHROPIC_API_KEY"]
    agent = make_agent()

    offer = await agent.offer()
    with pytest.raises(AgentFailed, match="run `claude` once in a terminal") as failed:
        await run(agent, RecordingTurn(), "text x")

    assert not offer.available
    assert offer.reason is not None
    assert "run `claude` once in a terminal" in offer.reason
    assert failed.value.code == "agent_not_logged_in"
    assert children() == [], "a process that is not logged in is not kept"


async def test_a_key_that_the_api_refuses_is_a_missing_login(make_agent: MakeAgent) -> None:
    with pytest.raises(AgentFailed, match="run `claude` once in a terminal") as failed:
        await run(make_agent(), RecordingTurn(), "status 401")

    assert failed.value.code == "agent_not_logged_in"
    assert children() == []


async def test_a_program_that_says_something_else_fails_the_run_with_what_it_said(
    make_agent: MakeAgent, work: Path
) -> None:
    program = work / "claude"
    program.write_text("#!/bin/sh\necho garbage\necho 'a key: sk-ant-hush-hush' >&2\nexit 3\n")
    program.chmod(0o755)

    with pytest.raises(AgentFailed, match="a key: ") as failed:
        await run(make_agent(program=str(program)), RecordingTurn(), "text x")

    assert failed.value.code == "agent_failed"
    assert "hush" not in failed.value.message


async def test_a_folder_that_is_not_there_is_named(make_agent: MakeAgent, work: Path) -> None:
    with pytest.raises(AgentFailed, match="nowhere"):
        await run(make_agent(), RecordingTurn(), "text x", working_directory=str(work / "nowhere"))


async def test_a_program_that_is_not_there_is_a_missing_agent(make_agent: MakeAgent) -> None:
    agent = make_agent(program="/nowhere/claude")

    offer = await agent.offer()
    with pytest.raises(AgentFailed, match="/nowhere/claude") as failed:
        await run(agent, RecordingTurn(), "text x")

    assert not offer.available
    assert failed.value.code == "agent_missing"


# --- the process ---------------------------------------------------------------------------------------------------


async def test_the_child_gets_the_agents_environment_and_nothing_of_batons(
    make_agent: MakeAgent, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        "BATON_TOKEN": "hush-1",
        "MONGODB_URI": "mongodb://hush-2@localhost",
        "SOMETHING_OF_THE_SERVER": "hush-3",
        "CLAUDE_CODE_SSE_PORT": "hush-4",
        "CLAUDECODE": "1",
        "odd-name.with: things": "hush-5",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    environment |= {"BATON_SESSION": "hush-6", "CLAUDE_CODE_ENTRYPOINT": "hush-7", "EDITOR": "ed"}

    await run(make_agent(), RecordingTurn(), "text x")

    (process,) = children()
    raw = Path(f"/proc/{process}/environ").read_bytes().decode()
    child = dict(entry.split("=", 1) for entry in raw.split("\0") if entry)
    assert "hush" not in raw
    assert not child.keys() & (secrets.keys() - {"odd-name.with: things"})
    assert not [name for name in child if name.startswith("BATON_")]
    expected = environment.keys() - {"BATON_SESSION"}
    of_the_sdk = {"CLAUDE_CODE_ENTRYPOINT", "CLAUDE_AGENT_SDK_VERSION", "CLAUDE_CODE_SDK_READS_SESSION_STATE", "PWD"}
    ours = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"}
    assert expected <= child.keys()
    assert {name for name in child if child[name]} <= expected | of_the_sdk | ours
    assert child["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"


@pytest.mark.parametrize("trusted", [False, True])
async def test_what_lies_in_the_folder_is_loaded_only_where_folders_are_trusted(
    make_agent: MakeAgent, api: FakeMessagesApi, work: Path, trusted: bool
) -> None:
    hook = {"hooks": [{"type": "command", "command": f"touch {work / 'hooked'}"}]}
    (work / ".claude").mkdir()
    (work / ".claude" / "settings.json").write_text(json.dumps({"hooks": {"UserPromptSubmit": [hook]}}))
    (work / "CLAUDE.md").write_text("The house rule is: be brief.")

    await run(make_agent(trust_folders="1" if trusted else "0"), RecordingTurn(), "text x")

    assert (work / "hooked").exists() is trusted
    assert api.requests[-1].says("be brief") is trusted


async def test_clearing_begins_a_new_session_and_the_conversation_goes_on(
    make_agent: MakeAgent, api: FakeMessagesApi
) -> None:
    agent, turn = make_agent(), RecordingTurn()
    first = await run(agent, RecordingTurn(), "text the code word is walrus")

    cleared = await run(agent, turn, "/clear", first.session_id)
    await run(agent, turn, "text after", cleared.session_id)

    assert cleared.session_id != first.session_id
    assert turn.of(SessionUpdated)[-1].session_id == cleared.session_id
    assert not api.requests[-1].says("walrus")
    assert len(children()) == 1


async def test_closing_in_mid_turn_leaves_no_process(make_agent: MakeAgent) -> None:
    agent, turn = make_agent(), RecordingTurn()
    running = asyncio.ensure_future(agent.run(task("slow"), turn))
    await turn.until(lambda turn: len(turn.of(TextDelta)) > 5)

    async with asyncio.timeout(5):
        await agent.close()
    with pytest.raises(AgentFailed):
        await running

    assert children() == []


async def test_a_program_that_does_not_end_is_killed_with_what_its_tools_started(
    make_agent: MakeAgent, work: Path
) -> None:
    agent, turn = make_agent(), RecordingTurn(answer=choosing("allow_once"))
    async with endless_command(agent, turn, work) as (running, shell):
        (process,) = children()
        os.kill(process, signal.SIGSTOP)

        async with asyncio.timeout(5):
            await agent.close()
        with pytest.raises(AgentFailed):
            await running

        await asyncio.to_thread(wait_for_end, shell)


_BRIDGE = """
import asyncio, json, sys
from baton.agents.claude import ClaudeAgent
from baton.agents.options import AgentOptions
from baton.core.frames import Execute
from baton.core.stream import TextDelta

class Turn:
    def emit(self, *events):
        if any(isinstance(event, TextDelta) for event in events):
            print("it speaks", flush=True)

options = AgentOptions(environment=json.loads(sys.argv[1]), default_working_directory=sys.argv[2])
asyncio.run(ClaudeAgent(options).run(
    Execute(request_id="r", conversation_id="c", message="slow", agent="claude"), Turn()))
"""


async def test_the_program_does_not_outlive_a_killed_bridge(environment: dict[str, str], work: Path) -> None:
    bridge = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _BRIDGE, json.dumps(environment), str(work), stdout=asyncio.subprocess.PIPE
    )
    assert bridge.stdout is not None
    async with asyncio.timeout(20):
        await bridge.stdout.readline()
    (program,) = children(of=bridge.pid)

    bridge.kill()
    await bridge.communicate()

    await asyncio.to_thread(wait_for_end, program)
