"""What the Claude Code agent offers where something that it needs is not there. Needs neither SDK nor program."""

import subprocess
import sys
from pathlib import Path

import pytest

from baton.agents.claude import ClaudeAgent
from baton.agents.options import AgentOptions
from baton.core.errors import AgentFailed
from baton.core.frames import Execute
from baton.core.ids import ConversationId, RequestId
from tests.support.recording_turn import RecordingTurn

TASK = Execute(request_id=RequestId("r"), conversation_id=ConversationId("c"), message="hello", agent="claude")


@pytest.fixture
def without_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "claude_agent_sdk", None)


def agent(folder: Path, **environment: str) -> ClaudeAgent:
    return ClaudeAgent(AgentOptions(environment=environment, default_working_directory=str(folder)))


@pytest.mark.usefixtures("without_sdk")
async def test_without_the_sdk_the_offer_names_what_to_install(tmp_path: Path) -> None:
    offer = await agent(tmp_path, ANTHROPIC_API_KEY="x").offer()

    assert not offer.available
    assert offer.reason is not None
    assert "pip install 'baton-agents[claude]'" in offer.reason


@pytest.mark.usefixtures("without_sdk")
async def test_without_the_sdk_a_run_fails_as_missing(tmp_path: Path) -> None:
    with pytest.raises(AgentFailed, match="pip install") as failed:
        await agent(tmp_path).run(TASK, RecordingTurn())

    assert failed.value.code == "agent_missing"


async def test_a_login_makes_the_agent_available(tmp_path: Path) -> None:
    pytest.importorskip("claude_agent_sdk", reason="the extra `claude` is not installed")

    assert (await agent(tmp_path, ANTHROPIC_API_KEY="x").offer()).available


def test_the_module_is_imported_without_the_sdk() -> None:
    code = "import sys; sys.modules['claude_agent_sdk'] = None; import baton.agents.claude"

    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_agent_does_not_import_the_sdk() -> None:
    code = "import sys, baton.agents.claude; assert 'claude_agent_sdk' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True)
