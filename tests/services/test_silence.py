"""A silent run: its bridge is asked what it waits for, and nothing that works is ever called stuck."""

import pytest

from baton.core.events import RunChanged
from baton.core.frames import Abort
from baton.core.ids import RequestId
from baton.core.limits import Limits
from baton.core.models import Run, RunStatus
from baton.core.stream import TextDelta
from baton.core.text import Json
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from tests.services.harness import ANNA, Server

R1 = RequestId("r1")


async def a_run(server: Server) -> None:
    await server.send(await server.conversation())
    server.start("r1")
    await server.intake.flush()


async def pass_time(server: Server, seconds: float) -> None:
    """With both sweeps in each round."""
    while seconds > 0:
        await server.leap(min(9.0, seconds))
        await server.silence.sweep()
        seconds -= 9.0


async def now_of(server: Server) -> Run:
    return await server.runs.get(ANNA, R1)


def waits_for(what: str, age_s: float = 1000.0) -> Json:
    return {"waitsFor": what, "lastEventAgeS": age_s, "tools": []}


@pytest.mark.parametrize("what", ["tool", "person", "queue", "end"])
async def test_a_run_that_waits_for_something_is_not_stuck_however_long(server: Server, what: str) -> None:
    await a_run(server)
    server.bridge.status = waits_for(what)
    await pass_time(server, 3600)
    run = await now_of(server)
    assert (run.status, run.deadline_at) == (RunStatus.RUNNING, None)


async def test_a_run_that_its_bridge_knows_nothing_of_gets_a_deadline_that_is_shown_and_then_fails(
    server: Server,
) -> None:
    await a_run(server)
    await pass_time(server, 170)
    assert (await now_of(server)).deadline_at is None
    await pass_time(server, 30)
    run = await now_of(server)
    assert run.deadline_at is not None
    assert run.deadline_reason == "The agent has said nothing for 3 minutes"
    await pass_time(server, 150)
    run = await now_of(server)
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert (run.error.code, run.error.retryable) == ("stream_stuck", True)
    assert server.bridge.of(Abort) == [Abort(request_id=R1)]


async def test_a_clock_that_is_set_back_hides_no_silence_and_makes_none(server: Server) -> None:
    await a_run(server)
    server.clock.jump(-7200)
    server.bridge.status = waits_for("nothing", age_s=5)
    await pass_time(server, 9)
    assert (await now_of(server)).deadline_at is None
    server.bridge.status = waits_for("nothing")
    await pass_time(server, 9)
    assert (await now_of(server)).deadline_at is not None


async def test_a_model_that_says_nothing_is_given_longer(server: Server) -> None:
    await a_run(server)
    server.bridge.status = waits_for("model")
    await pass_time(server, 180 + 880)
    assert (await now_of(server)).status is RunStatus.RUNNING
    await pass_time(server, 60)
    assert (await now_of(server)).status is RunStatus.FAILED


async def test_a_sign_of_life_takes_the_deadline_away(server: Server) -> None:
    await a_run(server)
    await pass_time(server, 200)
    assert (await now_of(server)).deadline_at is not None
    server.say("r1", TextDelta("m", 0, 0, "Here"))
    await server.intake.flush()
    run = await now_of(server)
    assert (run.deadline_at, run.deadline_reason) == (None, None)
    told = server.browser.told(RunChanged)[-1]
    assert isinstance(told, RunChanged)
    assert told.run.deadline_at is None
    await pass_time(server, 150)
    assert (await now_of(server)).status is RunStatus.RUNNING


async def test_what_begins_to_wait_for_a_tool_loses_its_deadline(server: Server) -> None:
    await a_run(server)
    await pass_time(server, 200)
    server.bridge.status = waits_for("tool")
    await pass_time(server, 10)
    assert (await now_of(server)).deadline_at is None


async def test_a_person_can_extend_it(server: Server) -> None:
    await a_run(server)
    await pass_time(server, 200)
    await server.runs.extend(ANNA, R1, 600)
    await pass_time(server, 500)
    assert (await now_of(server)).status is RunStatus.RUNNING
    await pass_time(server, 250)
    assert (await now_of(server)).status is RunStatus.FAILED


async def test_a_bridge_that_heard_its_agent_a_moment_ago_is_believed(server: Server) -> None:
    await a_run(server)
    server.bridge.status = waits_for("model", age_s=1.0)
    await pass_time(server, 3600)
    assert (await now_of(server)).deadline_at is None


async def test_without_its_bridge_a_run_is_away_and_not_stuck(server: Server) -> None:
    await a_run(server)
    await pass_time(server, 200)
    server.bridge.connected = False
    await pass_time(server, 600)
    run = await now_of(server)
    assert (run.status, run.away) == (RunStatus.RUNNING, True)


async def test_nobody_looks_where_that_is_turned_off(store: SqliteStore) -> None:
    server = Server(store, limits=Limits(stuck_after_s=0), clock=FakeClock(), epoch="e")
    await a_run(server)
    await pass_time(server, 3600)
    assert (await now_of(server)).deadline_at is None


@pytest.mark.parametrize("answer", [{}, {"waitsFor": 7}, {"lastEventAgeS": "long"}, [], "?"])
async def test_an_answer_that_says_nothing_counts_as_silence(server: Server, answer: Json) -> None:
    await a_run(server)
    server.bridge.status = answer
    await pass_time(server, 400)
    assert (await now_of(server)).status is RunStatus.FAILED
