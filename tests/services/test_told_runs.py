"""What is told of runs: with their messages, and what the agent says of the run itself."""

from pathlib import Path
from typing import Any

import orjson

from baton.core.activity import MAX_CHARS, MAX_NOTICES, MAX_PLAN_ENTRIES
from baton.core.events import RunChanged, Streamed
from baton.core.frames import RunResult
from baton.core.ids import RequestId
from baton.core.limits import Limits
from baton.core.models import Conversation, PlanEntry, Usage
from baton.core.stream import MessageDone, Notice, PlanUpdated, TextDelta, UsageUpdated
from baton.schemas.codec import to_wire
from baton.services.snapshots import Snapshot
from baton.testing.clock import FakeClock
from tests.services.harness import ANNA, Server, opened

PLAN = PlanUpdated(entries=(PlanEntry(text="Dig", status="in_progress"), PlanEntry(text="Plant", status="pending")))
BUSY = Notice(level="warning", text="The API is busy")
SO_FAR = UsageUpdated(usage=Usage(input_tokens=7, output_tokens=3))
TOLD = {
    "plan": [{"text": "Dig", "status": "in_progress"}, {"text": "Plant", "status": "pending"}],
    "notices": [{"level": "warning", "text": "The API is busy"}],
    "usage": {"inputTokens": 7, "outputTokens": 3, "cacheReadTokens": 0, "cacheWriteTokens": 0},
}


def runs_of(snapshot: Snapshot) -> dict[str, Any]:
    """By requestId."""
    return {run["requestId"]: run for run in map(orjson.loads, snapshot.runs)}


def kept(run: dict[str, Any]) -> dict[str, Any]:
    """What the agent said of the run."""
    return {name: run[name] for name in TOLD}


async def ended(server: Server, conversation: Conversation, name: str, text: str = "Fine.") -> None:
    """A run that has completed, with a message of the agent."""
    await server.send(conversation, name)
    await server.answer(name, text)
    server.say(name, MessageDone(message_id=f"m-{name}"))
    server.complete(name, RunResult(usage=Usage(input_tokens=5), cost_usd=0.25))
    await server.intake.flush()


# --- with their messages


async def test_a_snapshot_holds_the_ended_runs_of_its_messages(server: Server) -> None:
    conversation = await server.conversation()
    for name in ("r1", "r2"):
        await ended(server, conversation, name)
    told = runs_of(await server.join(conversation))
    assert list(told) == ["r1", "r2"]
    assert told["r2"] == orjson.loads(orjson.dumps(to_wire(await server.runs.get(ANNA, RequestId("r2")))))
    assert (told["r1"]["usage"]["inputTokens"], told["r1"]["costUsd"]) == (5, 0.25)


async def test_a_snapshot_of_changes_holds_the_runs_of_what_changed_only(server: Server) -> None:
    conversation = await server.conversation()
    await ended(server, conversation, "r1")
    before = await server.join(conversation)
    await ended(server, conversation, "r2")
    assert list(runs_of(await server.join(conversation, before.seq, before.epoch))) == ["r2"]


async def test_a_page_of_history_holds_the_runs_of_its_messages(server: Server) -> None:
    conversation = await server.conversation()
    for name in ("r1", "r2", "r3"):
        await ended(server, conversation, name)
    page = await server.snapshots.history(ANNA, conversation.id, before=5, after=None, limit=2)
    assert [orjson.loads(run)["requestId"] for run in page.runs] == ["r2"]


async def test_a_page_holds_an_open_run_as_it_is_now(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation)
    server.start("r1")
    server.say("r1", TextDelta("m1", 0, 0, "One"), SO_FAR)
    await server.intake.flush()
    page = await server.snapshots.history(ANNA, conversation.id, before=None, after=None, limit=10)
    assert [orjson.loads(run)["usage"]["outputTokens"] for run in page.runs] == [3]


async def test_the_limit_of_a_snapshot_counts_the_runs_of_its_messages(store: Any) -> None:
    server = Server(store, limits=Limits(snapshot_max_bytes=20_000), clock=FakeClock(), epoch="e")
    conversation = await server.conversation()
    for number in range(1, 31):
        await ended(server, conversation, f"r{number}")
    snapshot = await server.join(conversation)
    size = sum(len(part) for part in (*snapshot.messages, *snapshot.runs))
    assert snapshot.truncated
    assert 10_000 < size <= 20_000
    named = {orjson.loads(message)["requestId"] for message in snapshot.messages}
    assert runs_of(snapshot).keys() == named


# --- what the agent says of the run


async def a_talking_run(server: Server) -> Conversation:
    """A run that is under way, and has told of itself in rows of the journal alone."""
    conversation = await server.conversation()
    await server.send(conversation)
    server.start("r1")
    await server.intake.flush()
    server.say("r1", TextDelta("m1", 0, 0, "One"), PLAN, BUSY)
    await server.intake.flush()
    server.say("r1", SO_FAR)
    await server.intake.flush()
    return conversation


async def test_who_comes_later_is_told_plan_notices_and_tokens(server: Server) -> None:
    conversation = await a_talking_run(server)
    assert kept(runs_of(await server.join(conversation))["r1"]) == TOLD


async def test_who_was_away_is_told_them_because_they_move_the_seq_of_their_run(server: Server) -> None:
    conversation = await a_talking_run(server)
    before = await server.join(conversation)
    assert runs_of(await server.join(conversation, before.seq, before.epoch)) == {}
    server.say("r1", PlanUpdated(entries=()))
    await server.intake.flush()
    told = runs_of(await server.join(conversation, before.seq, before.epoch))
    assert kept(told["r1"]) == TOLD | {"plan": []}


async def test_they_survive_a_restart_in_the_journal(path: Path) -> None:
    async with opened(path) as store:
        conversation = await a_talking_run(Server(store, limits=Limits(), clock=FakeClock(), epoch="e"))
        seq = (await Server(store, limits=Limits(), clock=FakeClock(), epoch="e").join(conversation)).seq
    async with opened(path) as store:
        again = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
        await again.recover()
        run = runs_of(await again.join(conversation))["r1"]
        assert kept(run) == TOLD
        assert run["seq"] <= seq


async def test_a_restart_tells_no_notice_twice_that_the_run_has_stored(path: Path) -> None:
    async with opened(path) as store:
        server = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
        conversation = await a_talking_run(server)
        # The message that is done is stored with the run; the one that goes on keeps the rows of the journal.
        server.say("r1", TextDelta("m2", 0, 0, "Two"), BUSY, MessageDone(message_id="m1"))
        await server.intake.flush()
    async with opened(path) as store:
        again = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
        await again.recover()
        assert len(runs_of(await again.join(conversation))["r1"]["notices"]) == 2


async def test_they_stay_with_the_run_when_it_has_ended(server: Server) -> None:
    conversation = await a_talking_run(server)
    server.complete("r1", RunResult(usage=Usage(input_tokens=9)))
    await server.intake.flush()
    run = runs_of(await server.join(conversation))["r1"]
    assert (run["status"], run["plan"], run["notices"]) == ("completed", TOLD["plan"], TOLD["notices"])
    assert run["usage"]["inputTokens"] == 9
    last = server.browser.told(RunChanged)[-1]
    assert isinstance(last, RunChanged)
    assert orjson.loads(orjson.dumps(to_wire(last.run))) == run


async def test_a_run_stays_small_whatever_its_agent_says(server: Server) -> None:
    conversation = await a_talking_run(server)
    long = "x" * (MAX_CHARS + 1)
    server.say("r1", PlanUpdated(entries=(PlanEntry(text=long, status="pending"),) * (MAX_PLAN_ENTRIES + 1)))
    server.say("r1", *(Notice(level="info", text=f"{number} {long}") for number in range(MAX_NOTICES + 5)))
    await server.intake.flush()
    run = runs_of(await server.join(conversation))["r1"]
    assert (len(run["plan"]), len(run["notices"])) == (MAX_PLAN_ENTRIES, MAX_NOTICES)
    assert [notice["text"][:2].strip() for notice in run["notices"]] == [str(n) for n in range(5, MAX_NOTICES + 5)]
    assert {len(entry["text"]) for entry in run["plan"] + run["notices"]} == {MAX_CHARS}
    told = server.browser.told(Streamed)[-1]
    assert isinstance(told, Streamed)
    assert max(len(event.text) for event in told.events if isinstance(event, Notice)) == MAX_CHARS, "as it is kept"
