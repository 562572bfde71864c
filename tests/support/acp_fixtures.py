"""What tests of ACP agents need: agents made of a script, and a look at the processes."""

import asyncio
import dataclasses
import os
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from baton.agents.acp import AcpAgent
from baton.agents.options import AgentOptions
from baton.core.frames import RunResult
from baton.core.ids import new_object_id
from baton.core.stream import TextDelta
from tests.support.recording_turn import RecordingTurn
from tests.support.scripted_agents import execute

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parent.parent
MakeAgent = Callable[..., AcpAgent]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
async def make_agent(work: Path) -> AsyncIterator[MakeAgent]:
    """Makes agents of a script and its options; at the end all are closed, and no process of theirs may be left."""
    agents: list[AcpAgent] = []

    def make(
        *arguments: str,
        script: str = "acp_scripted_agent.py",
        environment: dict[str, str] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        **settings: str,
    ) -> AcpAgent:
        command = shlex.join([sys.executable, "-I" if "echo" in script else "-IS", str(SUPPORT / script), *arguments])
        options = AgentOptions(
            environment={"PATH": os.environ["PATH"]} if environment is None else environment,
            default_working_directory=str(work),
            settings={"name": "acp:scripted", "command": command, **settings},
            sleep=sleep,
        )
        agents.append(AcpAgent(options))
        return agents[-1]

    yield make
    await asyncio.gather(*(agent.close() for agent in agents))
    assert children() == [], "an agent left a process behind"


def children() -> list[int]:
    """Processes of agents that this process has started and that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z" and int(parent) == os.getpid() and b"agent" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


async def until_gone(process: int) -> None:
    """Return when it has ended. It is somebody else's child: nobody tells us, so it is looked for."""
    async with asyncio.timeout(5):
        while _is_running(process):
            await asyncio.sleep(0.01)


def _is_running(process: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def has_spoken(turn: RecordingTurn) -> bool:
    """Whether it has said anything."""
    return bool(turn.of(TextDelta))


async def run(
    agent: AcpAgent, turn: RecordingTurn, message: str, session_id: str | None = None, **rest: object
) -> RunResult:
    """One turn, which must end within 20 s."""
    async with asyncio.timeout(20):
        task = execute(new_object_id(), message, session_id=session_id, agent="acp:scripted")
        return await agent.run(dataclasses.replace(task, **rest), turn)  # type: ignore[arg-type]


async def aborted(agent: AcpAgent, turn: RecordingTurn, message: str, when: Callable[[RecordingTurn], bool]) -> None:
    """Run, and abort as soon as `when` is so."""
    running = asyncio.ensure_future(agent.run(execute(message=message, agent="acp:scripted"), turn))
    await turn.until(when)
    running.cancel()
    async with asyncio.timeout(8):
        with pytest.raises(asyncio.CancelledError):
            await running
