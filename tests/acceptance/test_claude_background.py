"""The real Claude Code program against a fake API: what it goes on with when its run is over."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("claude_agent_sdk", reason="the extra `claude` is not installed")

from baton.agents.claude import ClaudeAgent
from baton.core.errors import AgentFailed
from baton.core.frames import PromptAsked, RunResult
from baton.core.ports import PromptAnswer
from baton.core.stream import MessageDone, MessageStarted, Notice, TextDelta, ToolDone
from tests.support import claude_fixtures
from tests.support.claude_fixtures import MakeAgent, children, run, wait_for_end
from tests.support.fake_messages_api import FakeMessagesApi, Reply, Text
from tests.support.recording_turn import RecordingTurn, choosing

# pytest finds fixtures by the names of the module that uses them.
api, environment = claude_fixtures.api, claude_fixtures.environment
make_agent, work = claude_fixtures.make_agent, claude_fixtures.work


async def background(turn: RecordingTurn, number: int = 1) -> "tuple[RecordingTurn, asyncio.Task[RunResult]]":
    """The run that the agent began by itself, once there is one."""
    await turn.until(lambda turn: len(turn.background) >= number)
    return turn.background[number - 1]


def a_command(work: Path) -> str:
    """A command that ends when somebody has opened the pipe."""
    os.mkfifo(work / "pipe")
    return "later echo $$ > shell.pid; cat pipe"


async def opened(work: Path) -> int:
    """The pipe of `a_command`, once that runs."""
    async with asyncio.timeout(20):
        return await asyncio.to_thread(os.open, work / "pipe", os.O_WRONLY)


async def end_command(work: Path) -> None:
    os.close(await opened(work))


async def test_what_ends_in_the_background_begins_a_run_of_its_own(
    make_agent: MakeAgent, api: FakeMessagesApi, work: Path
) -> None:
    agent, turn = make_agent(), RecordingTurn(answer=choosing("allow_once"))
    first = await run(agent, turn, a_command(work))
    assert turn.background == []
    said_before = len(turn.events)

    await end_command(work)
    later, going_on = await background(turn)
    result = await going_on

    assert later.text().startswith("It is done: Background command")
    assert later.joined_deltas(TextDelta) == later.text()
    assert len(later.of(MessageDone)) == 1
    assert (result.outcome, result.session_id) == ("completed", first.session_id)
    assert result.usage.output_tokens == 5
    assert result.cost_usd == pytest.approx(first.cost_usd / 2)
    assert len(turn.events) == said_before, "the run before it has ended"

    process = children()
    await run(agent, RecordingTurn(), "text after", first.session_id)
    assert children() == process
    assert api.requests[-1].says("It is done")


async def test_sub_agents_that_outlive_their_run_ask_in_one_of_their_own(make_agent: MakeAgent, work: Path) -> None:
    def answer(prompt: PromptAsked) -> PromptAnswer:
        allow = isinstance(prompt.input, dict) and prompt.input["command"] == "touch a.txt"
        return PromptAnswer(selected_option="allow_once" if allow else "deny")

    agent, turn = make_agent(), RecordingTurn(answer=answer)
    await run(agent, turn, "agents touch a.txt | touch b.txt")
    number = 0
    while len(answered_tools(turn)) < 2:
        number += 1
        await (await background(turn, number))[1]
    await ended(agent, turn)

    assert [path.name for path in work.iterdir()] == ["a.txt"]
    asked = [prompt.input for each in turns(turn) for prompt in each.asked]
    assert sorted(str(found["command"]) for found in asked if isinstance(found, dict)) == ["touch a.txt", "touch b.txt"]
    parents = {event.parent_tool_use_id for each in turns(turn) for event in each.of(MessageStarted)}
    assert len(parents - {None}) == 2


def turns(turn: RecordingTurn) -> list[RecordingTurn]:
    return [turn, *(later for later, _ in turn.background)]


def answered_tools(turn: RecordingTurn) -> list[ToolDone]:
    """The tool calls that a person was asked for and that have ended."""
    asked = {prompt.tool_use_id for each in turns(turn) for prompt in each.asked}
    return [event for each in turns(turn) for event in each.of(ToolDone) if event.id in asked]


async def ended(agent: ClaudeAgent, turn: RecordingTurn) -> None:
    """The agent is closed, and what it went on with has ended."""
    await agent.close()
    await asyncio.gather(*(going_on for _, going_on in turn.background), return_exceptions=True)


async def test_aborting_what_it_goes_on_with_leaves_the_session_usable(
    make_agent: MakeAgent, api: FakeMessagesApi, work: Path
) -> None:
    api.script("notified", Reply(parts=(Text("word " * 4000),), pause_s=0.01))
    agent, turn = make_agent(), RecordingTurn(answer=choosing("allow_once"))
    first = await run(agent, turn, a_command(work))
    await end_command(work)
    later, going_on = await background(turn)
    await later.until(lambda turn: len(turn.of(TextDelta)) > 5)

    going_on.cancel()
    async with asyncio.timeout(8):
        with pytest.raises(asyncio.CancelledError):
            await going_on

    after = RecordingTurn()
    await run(agent, after, "text after", first.session_id)
    assert after.text() == "after"
    assert len(children()) == 1


async def test_aborting_a_question_from_the_background_denies_it(
    make_agent: MakeAgent, api: FakeMessagesApi, work: Path
) -> None:
    agent, turn = make_agent(), RecordingTurn()
    asked = asyncio.create_task(run(agent, turn, "agents touch a.txt | echo"))
    while not asked.done() or not any(each.asked for each in turns(turn)):
        await asyncio.sleep(0.01)  # in which run it asks first is Claude Code's affair
    await asked
    later, going_on = await background(turn)
    await later.until(lambda turn: bool(turn.asked))

    going_on.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going_on

    async with asyncio.timeout(10):
        while not any("nobody can be asked" in told for request in api.requests for told in request.tool_results):
            await asyncio.sleep(0.01)  # what the sub-agent is told reaches the API next
    await ended(agent, turn)
    assert later.taken_back == [prompt.prompt_id for prompt in later.asked]
    assert not (work / "a.txt").exists()


async def test_a_process_with_work_in_the_background_is_not_ended_for_being_idle(
    make_agent: MakeAgent, work: Path
) -> None:
    naps: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def sleep(seconds: float) -> None:
        over = asyncio.Event()
        naps.put_nowait(over)
        await over.wait()

    turn = RecordingTurn(answer=choosing("allow_once"))
    await run(make_agent(sleep), turn, a_command(work))
    pipe = await opened(work)
    (process,) = children()

    (await naps.get()).set()
    over = await naps.get()  # it takes another nap instead of ending the process

    assert children() == [process]
    os.close(pipe)
    await (await background(turn))[1]
    over.set()
    (await naps.get()).set()
    await asyncio.to_thread(wait_for_end, process)


async def test_a_message_that_needs_another_process_says_that_the_background_ends_with_this_one(
    make_agent: MakeAgent, work: Path
) -> None:
    agent, turn, after = make_agent(), RecordingTurn(answer=choosing("allow_once")), RecordingTurn()
    first = await run(agent, turn, a_command(work))
    pipe = await opened(work)
    shell = int((work / "shell.pid").read_text())

    elsewhere = work / "elsewhere"
    elsewhere.mkdir()
    await run(agent, after, "text after", first.session_id, working_directory=str(elsewhere))

    ended = next(notice for notice in after.of(Notice) if "background" in notice.text)
    assert ended.level == "warning"
    await asyncio.to_thread(wait_for_end, shell)
    os.close(pipe)


async def test_closing_ends_what_was_left_in_the_background(make_agent: MakeAgent, work: Path) -> None:
    agent, turn = make_agent(), RecordingTurn(answer=choosing("allow_once"))
    await run(agent, turn, a_command(work))
    pipe = await opened(work)
    shell = int((work / "shell.pid").read_text())

    async with asyncio.timeout(5):
        await agent.close()

    await asyncio.to_thread(wait_for_end, shell)
    os.close(pipe)


async def test_a_process_that_dies_with_its_work_fails_what_it_went_on_with(
    make_agent: MakeAgent, api: FakeMessagesApi, work: Path
) -> None:
    api.script("notified", Reply(parts=(Text("word " * 4000),), pause_s=0.01))
    agent, turn = make_agent(), RecordingTurn(answer=choosing("allow_once"))
    await run(agent, turn, a_command(work))
    await end_command(work)
    later, going_on = await background(turn)
    await later.until(lambda turn: len(turn.of(TextDelta)) > 5)

    os.kill(children()[0], 9)

    with pytest.raises(AgentFailed, match="signal 9"):
        await going_on


_BRIDGE = """
import asyncio, json, sys
from baton.agents.claude import ClaudeAgent
from baton.agents.options import AgentOptions
from baton.core.frames import Execute
from baton.core.ports import PromptAnswer

class Turn:
    def emit(self, *events):
        pass
    async def ask(self, prompt):
        return PromptAnswer(selected_option="allow_once")

async def main():
    agent = ClaudeAgent(AgentOptions(environment=json.loads(sys.argv[1]), default_working_directory=sys.argv[2]))
    await agent.run(Execute(request_id="r", conversation_id="c", message=sys.argv[3], agent="claude"), Turn())
    print("the run is over", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_work_in_the_background_does_not_outlive_a_killed_bridge(environment: dict[str, str], work: Path) -> None:
    bridge = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _BRIDGE,
        json.dumps(environment),
        str(work),
        a_command(work),
        stdout=asyncio.subprocess.PIPE,
    )
    assert bridge.stdout is not None
    async with asyncio.timeout(20):
        await bridge.stdout.readline()
    pipe = await opened(work)
    shell = int((work / "shell.pid").read_text())
    (program,) = children(of=bridge.pid)

    bridge.kill()
    await bridge.communicate()

    await asyncio.to_thread(wait_for_end, program)
    await asyncio.to_thread(wait_for_end, shell)
    os.close(pipe)
