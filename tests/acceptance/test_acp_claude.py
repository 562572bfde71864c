"""Claude Code behind its ACP adapter (npm), against the fake Messages API: a real agent of the protocol, whole turns.

The adapter is too large to be a dependency of the tests: it is installed into a temporary folder, without Claude
Code's program, which the extra `claude` brings. Where npm cannot have it, these tests are skipped.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("acp", reason="the extra `acp` is not installed")
pytest.importorskip("claude_agent_sdk", reason="the extra `claude` is not installed")

from baton.agents.acp import AcpAgent
from baton.agents.claude_environment import find_program
from baton.agents.options import AgentOptions
from baton.core.frames import PromptAsked
from baton.core.models import PermissionMode, PromptType
from baton.core.ports import PromptAnswer
from baton.core.stream import MessageStarted, ModeUpdated, PlanUpdated, SessionUpdated, TextDelta, ToolDone, ToolInput
from tests.support.acp_fixtures import aborted, children, run
from tests.support.fake_messages_api import PLAN, FakeMessagesApi
from tests.support.recording_turn import RecordingTurn, choosing

ADAPTER = "@agentclientprotocol/claude-agent-acp"
VERSION = "0.101.0"

MakeAgent = Callable[[], AcpAgent]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The adapter's program."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("adapter")
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent", "--omit=optional"]
    command += ["--prefer-offline", "--fetch-retries=0", "--prefix", str(folder), f"{ADAPTER}@{VERSION}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=100, check=False)
        if done.returncode != 0:
            pytest.skip(f"npm has no {ADAPTER} {VERSION}")
        yield folder / "node_modules" / ADAPTER / "dist" / "index.js"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def agent(adapter: Path, tmp_path: Path) -> AsyncIterator[AcpAgent]:
    """The adapter as an agent, with a home of its own."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    async with FakeMessagesApi() as api:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home),
            "CLAUDE_CONFIG_DIR": str(home / ".claude"),
            "CLAUDE_CODE_EXECUTABLE": find_program({}) or "",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
            "CLAUDE_CODE_MAX_RETRIES": "1",
            "ANTHROPIC_API_KEY": "sk-test-not-a-real-key",
            "ANTHROPIC_BASE_URL": api.url,
        }
        command = shlex.join(["node", str(adapter)])
        settings = {"name": "acp:claude", "command": command}
        options = AgentOptions(environment=environment, default_working_directory=str(work), settings=settings)
        agent = AcpAgent(options)
        yield agent
        await agent.close()
    assert children() == [], "an agent left a process behind"


async def test_text_streams_and_the_session_goes_on_in_a_new_process(agent: AcpAgent) -> None:
    first, second = RecordingTurn(), RecordingTurn()
    result = await run(agent, first, "text grüße 🌍")
    assert first.joined_deltas(TextDelta) == first.text() == "grüße 🌍"
    assert (result.usage.input_tokens, result.usage.output_tokens) == (10, 5)
    assert result.cost_usd > 0
    await agent._waiting.close()  # what the idle time does

    again = await run(agent, second, "text more", result.session_id)

    assert (again.session_id, second.text()) == (result.session_id, "more")


async def test_thinking_and_text_are_one_message(agent: AcpAgent) -> None:
    turn = RecordingTurn()
    await run(agent, turn, "think the answer")
    assert (turn.thinking(), turn.text()) == ("First I think about it.", "the answer")
    assert len(turn.of(MessageStarted)) == 1


async def test_it_is_told_to_ask_and_does_what_it_is_allowed(agent: AcpAgent, tmp_path: Path) -> None:
    turn = RecordingTurn(answer=choosing("allow_once"))

    await run(agent, turn, "write new.txt hello")

    (asked,) = turn.asked
    assert (asked.type, asked.tool_name) == (PromptType.TOOL_PERMISSION, "Write")
    assert [option.id for option in asked.options] == ["allow_once", "allow_always", "deny", "deny_stop"]
    assert (tmp_path / "work" / "new.txt").read_text() == "hello"
    assert [event.is_error for event in turn.of(ToolDone)] == [False]
    assert turn.of(ToolInput)[-1].id == asked.tool_use_id


async def test_what_is_denied_is_not_done(agent: AcpAgent, tmp_path: Path) -> None:
    turn = RecordingTurn(answer=choosing("deny"))
    await run(agent, turn, "write new.txt hello")
    assert not (tmp_path / "work" / "new.txt").exists()
    assert [event.is_error for event in turn.of(ToolDone)] == [True]


async def test_its_questions_are_asked_and_the_answers_arrive(agent: AcpAgent) -> None:
    def answer(prompt: PromptAsked) -> PromptAnswer:
        return PromptAnswer(selected_option="answer", answers={"q1": "Blue", "q2": ["S", "of my own"]})

    turn = RecordingTurn(answer=answer)
    await run(agent, turn, "question")

    (asked,) = turn.asked
    assert [(item.question, item.multi_select) for item in asked.questions] == [
        ("Which colour?", False),
        ("Which sizes?", True),
    ]
    assert '"Which colour?"="Blue", "Which sizes?"="S, of my own"' in turn.text()


async def test_a_plan_is_reviewed_and_ends_plan_mode(agent: AcpAgent) -> None:
    turn = RecordingTurn(answer=choosing("accept_edits"))

    await run(agent, turn, "plan", permission_mode=PermissionMode.PLAN)

    asked = turn.asked[-1]
    assert (asked.type, asked.message, asked.tool_name) == (PromptType.PLAN_REVIEW, PLAN, "ExitPlanMode")
    assert [option.id for option in asked.options] == ["accept_edits", "accept_default", "reject"]
    assert turn.of(ModeUpdated)[-1].mode == "acceptEdits"
    assert "approved your plan" in turn.text()


async def test_a_to_do_list_is_a_plan(agent: AcpAgent) -> None:
    turn = RecordingTurn()
    await run(agent, turn, "todo")
    assert turn.of(PlanUpdated)[-1].entries


async def test_an_abort_ends_the_turn_and_the_session_goes_on(agent: AcpAgent) -> None:
    turn, second = RecordingTurn(), RecordingTurn()
    await aborted(agent, turn, "slow", lambda turn: bool(turn.of(TextDelta)))
    await run(agent, second, "text more", turn.of(SessionUpdated)[0].session_id)
    assert second.text().endswith("more")


async def test_commands_and_models_are_offered(agent: AcpAgent) -> None:
    await run(agent, RecordingTurn(), "text it")
    known = await agent.commands(None)
    assert isinstance(known, dict)
    assert known["commands"]
    assert known["models"]
