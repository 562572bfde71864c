"""Runs that an agent begins by itself, as the runner gives them their place, says them and ends them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from baton.bridge.files import Folders
from baton.bridge.runner import Runner
from baton.core.errors import AgentFailed
from baton.core.frames import Abort, Aborted, Complete, Execute, Failed, RunResult, Started
from baton.core.ids import ConversationId, RequestId
from baton.core.limits import Limits
from baton.core.models import Attachment
from baton.core.ports import Turn
from baton.core.stream import TextDelta
from baton.testing.clock import FakeClock
from tests.support.scripted_agents import RecordingOutbox, ScriptedAgent, execute

C = ConversationId("c" * 24)


def asked(request_id: str) -> Execute:
    """A run of the one conversation."""
    return execute(request_id, conversation_id=C)


class Ledger:
    """Writes nothing down."""

    async def record(self, request_id: RequestId) -> bool:
        return True


@dataclass
class Bench:
    """A runner whose agent lets the test have each of its turns."""

    runner: Runner
    outbox: RecordingOutbox
    turns: list[Turn]
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, request_id: str) -> Turn:
        """A run that has ended, as its agent still knows it."""
        self.runner.receive(asked(request_id))
        await self.outbox.until_final(request_id)
        return self.turns[-1]

    async def speak(self, turn: Turn) -> RunResult:
        """What the agent does by itself, until it may end."""
        turn.emit(TextDelta("m", 0, 0, "by myself"))
        await self.may_end.wait()
        return RunResult(session_id="s2")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async def play(task: Execute, turn: Turn) -> RunResult:
        turns.append(turn)
        return RunResult()

    async def read(attachment: Attachment) -> bytes:
        return b""

    turns: list[Turn] = []
    agent, outbox = ScriptedAgent(play), RecordingOutbox()
    runner = Runner(
        {"scripted": agent},
        outbox,
        ledger=Ledger(),
        clock=FakeClock(),
        limits=Limits(),
        read_attachment=read,
        folders=Folders(str(tmp_path)),
        max_concurrent=2,
    )
    yield Bench(runner, outbox, turns)
    await runner.close()


async def test_it_is_said_from_its_start_to_its_end_under_an_id_of_its_own(bench: Bench) -> None:
    turn = await bench.run("r1")
    bench.may_end.set()

    turn.begin_background(bench.speak)
    await bench.outbox.until(lambda: bool(bench.outbox.background))
    (request_id,) = bench.outbox.background
    final = await bench.outbox.until_final(request_id)

    started = bench.outbox.of(request_id)[0]
    assert isinstance(started, Started)
    assert (started.origin, started.conversation_id) == ("background", C)
    assert [event.text for event in bench.outbox.events(request_id) if isinstance(event, TextDelta)] == ["by myself"]
    assert isinstance(final, Complete)
    assert final.result.session_id == "s2"


async def test_runs_of_its_conversation_wait_for_it_and_it_for_them(bench: Bench) -> None:
    turn = await bench.run("r1")
    turn.begin_background(bench.speak)
    turn.begin_background(bench.speak)
    bench.runner.receive(asked("r2"))
    await bench.outbox.until(lambda: len(bench.outbox.background) == 1)
    assert bench.runner.load == (1, 2)

    bench.may_end.set()
    await bench.outbox.until_final("r2")

    first, second = bench.outbox.background
    order = [frame.request_id for frame in bench.outbox.frames if isinstance(frame, Started)]
    assert order == ["r1", first, second, "r2"]


async def test_abort_cancels_it(bench: Bench) -> None:
    turn = await bench.run("r1")
    turn.begin_background(bench.speak)
    await bench.outbox.until(lambda: bool(bench.outbox.background))

    bench.runner.receive(Abort(request_id=bench.outbox.background[0]))

    assert isinstance(await bench.outbox.until_final(bench.outbox.background[0]), Aborted)


async def test_its_failure_has_the_agents_code(bench: Bench) -> None:
    async def fail(turn: Turn) -> RunResult:
        raise AgentFailed("It died")

    turn = await bench.run("r1")
    turn.begin_background(fail)
    await bench.outbox.until(lambda: bool(bench.outbox.background))

    final = await bench.outbox.until_final(bench.outbox.background[0])
    assert isinstance(final, Failed)
    assert (final.error.code, final.error.message) == ("agent_failed", "It died")


async def test_it_can_begin_another_one(bench: Bench) -> None:
    async def begin_again(turn: Turn) -> RunResult:
        turn.begin_background(bench.speak)
        return RunResult()

    bench.may_end.set()
    turn = await bench.run("r1")
    turn.begin_background(begin_again)
    await bench.outbox.until(lambda: len(bench.outbox.background) == 2)

    assert isinstance(await bench.outbox.until_final(bench.outbox.background[1]), Complete)


async def test_none_begins_when_the_bridge_is_closing(bench: Bench) -> None:
    turn = await bench.run("r1")
    await bench.runner.close()

    turn.begin_background(bench.speak)

    assert bench.runner.load == (0, 0)
    assert bench.outbox.background == []
