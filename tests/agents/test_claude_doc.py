"""docs/agents.md tells the truth: its example runs, its settings and variables are those of the code."""

import re
from pathlib import Path
from typing import Any

from baton.agents import claude, claude_environment
from baton.agents.options import AgentOptions
from baton.core.frames import Execute
from baton.core.ids import ConversationId, RequestId
from baton.core.ports import Agent
from baton.core.stream import TextDelta
from tests.support.recording_turn import RecordingTurn, choosing

DOC = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()


async def test_the_example_agent_works_as_it_stands(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
    module: dict[str, Any] = {}
    exec(example, module)
    agent: Agent = module["EchoAgent"](AgentOptions(environment={}, default_working_directory=str(tmp_path)))
    task = Execute(request_id=RequestId("r"), conversation_id=ConversationId("c"), message="grüß 🌍 dich", agent="echo")
    turn = RecordingTurn(answer=choosing("allow_once"))

    await agent.run(task, turn)

    assert (await agent.offer()).available
    assert turn.joined_deltas(TextDelta) == "grüß 🌍 dich "
    assert turn.of(TextDelta)[-1].offset == 8
    await agent.close()


def test_each_setting_stands_in_the_doc() -> None:
    code = Path(claude.__file__).read_text()
    names = set(re.findall(r'settings(?:\.get\(|, )"(\w+)"', code))

    assert names == {"model", "program", "idle_s", "trust_folders"}
    assert set(re.findall(r"`BATON_CLAUDE_(\w+)` \|", DOC)) == {name.upper() for name in names}


def test_each_variable_that_is_added_to_the_child_stands_in_the_doc() -> None:
    added = claude_environment.child_environment({})

    assert [name for name, value in added.items() if f"`{name}={value}`" not in DOC] == []
