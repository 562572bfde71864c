"""What tests of the real Claude Code need: a home of its own, the fake API, and a look at the processes."""

import asyncio
import os
import select
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from baton.agents.claude import ClaudeAgent
from baton.agents.options import AgentOptions
from baton.core.frames import Execute, RunResult
from baton.core.ids import ConversationId, RequestId, new_object_id
from tests.support.fake_messages_api import FakeMessagesApi
from tests.support.recording_turn import RecordingTurn

MakeAgent = Callable[..., ClaudeAgent]


@pytest.fixture
async def api() -> AsyncIterator[FakeMessagesApi]:
    async with FakeMessagesApi() as fake:
        yield fake


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(tmp_path: Path, api: FakeMessagesApi) -> dict[str, str]:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "ANTHROPIC_API_KEY": "sk-test-not-a-real-key",
        "ANTHROPIC_BASE_URL": api.url,
        "CLAUDE_CODE_MAX_RETRIES": "2",
    }


@pytest.fixture
async def make_agent(environment: dict[str, str], work: Path) -> AsyncIterator[MakeAgent]:
    """Makes agents; at the end all are closed, and no process of theirs may be left."""
    agents: list[ClaudeAgent] = []

    def make(sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, **settings: str) -> ClaudeAgent:
        options = AgentOptions(
            environment=environment, default_working_directory=str(work), settings=settings, sleep=sleep
        )
        agents.append(ClaudeAgent(options))
        return agents[-1]

    yield make
    await asyncio.gather(*(agent.close() for agent in agents))
    assert children() == [], "an agent left a process behind"


def children(of: int | None = None) -> list[int]:
    """Claude Code processes that this process (or `of`) has started and that still run."""
    processes = (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
    return [process for process in processes if _is_claude_of(process, of or os.getpid())]


def _is_claude_of(process: int, parent: int) -> bool:
    with suppress(OSError):
        state, its_parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
        started_as = Path(f"/proc/{process}/cmdline").read_bytes()
        return state != "Z" and int(its_parent) == parent and b"stream-json" in started_as
    return False


def task(message: str, session_id: str | None = None, **rest: object) -> Execute:
    return Execute(
        request_id=RequestId(new_object_id()),
        conversation_id=ConversationId(new_object_id()),
        message=message,
        session_id=session_id,
        agent="claude",
        **rest,  # type: ignore[arg-type]
    )


async def run(
    agent: ClaudeAgent, turn: RecordingTurn, message: str, session_id: str | None = None, **rest: object
) -> RunResult:
    async with asyncio.timeout(30):
        return await agent.run(task(message, session_id, **rest), turn)


async def aborted(agent: ClaudeAgent, turn: RecordingTurn, message: str, when: Callable[[RecordingTurn], bool]) -> None:
    """Run, and abort as soon as `when` is so."""
    running = asyncio.ensure_future(agent.run(task(message), turn))
    await turn.until(when)
    running.cancel()
    async with asyncio.timeout(8):
        with pytest.raises(asyncio.CancelledError):
            await running


@asynccontextmanager
async def endless_command(
    agent: ClaudeAgent, turn: RecordingTurn, work: Path
) -> AsyncIterator[tuple["asyncio.Task[RunResult]", int]]:
    """A turn in which a command runs that waits for the end of a pipe, and the process id of its shell."""
    os.mkfifo(work / "pipe")
    running = asyncio.create_task(agent.run(task("bash echo $$ > shell.pid && cat pipe"), turn))
    # Opening its other end returns when the command has opened the pipe.
    async with asyncio.timeout(20):
        pipe = await asyncio.to_thread(os.open, work / "pipe", os.O_WRONLY)
    try:
        yield running, int((work / "shell.pid").read_text())
    finally:
        os.close(pipe)


def wait_for_end(process: int) -> None:
    """Return when it has ended; blocks. It need not be a child of ours."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 10)[0], "the process has not ended"
    finally:
        os.close(descriptor)
