"""`kill -9` of a bridge at every kind of moment: no run works twice, what was said is kept, its session goes on."""

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from baton.core.ids import derived_object_id
from tests.support.node_client import node_client
from tests.support.recording_turn import choosing
from tests.support.remote_world import World, expected, world

STORY = "/demo markdown words=3000 rate=300"
LONG_STORY = "/demo markdown words=12000 rate=600"
"""Ten and twenty seconds: not over before the kill on any machine."""
SHORT_STORY = "/demo markdown words=30 rate=300"


@dataclass(frozen=True, slots=True)
class Moment:
    """`reach` returns when the bridge is to be killed; `ends`: how the run may end then."""

    content: str
    reach: Callable[[World, str], Awaitable[None]]
    ends: tuple[str, ...] = ("failed",)
    prepare: Callable[[World], None] = lambda w: None
    """Done before the message is sent."""


# --- moments -----------------------------------------------------------------------------------------------------


async def at_once(w: World, request_id: str) -> None:
    """As soon as the message was sent."""


def shown(events: int) -> Callable[[World, str], Awaitable[None]]:
    """So many events later."""
    return lambda w, request_id: w.until_shown(events, request_id)


def told(event: str) -> Callable[[World, str], Awaitable[None]]:
    """When an event of this type was shown."""

    async def reach(w: World, request_id: str) -> None:
        await w.anna.until(
            lambda: any(
                said["type"] == event
                for payload in w.anna.payloads("chat:stream-response")
                if payload["requestId"] == request_id
                for said in payload["events"]
            )
        )

    return reach


async def in_the_second_message(w: World, request_id: str) -> None:
    """When its first message is whole and a further one has begun."""
    await w.anna.until(lambda: len({message for message, _ in w.blocks(request_id)}) > 2)


async def the_last_word(w: World, request_id: str) -> None:
    """When everything was shown but the end."""
    whole = await expected(SHORT_STORY)
    await w.anna.until(lambda: w.text(request_id) == whole)


async def asked(w: World, request_id: str) -> None:
    """While a question waits for somebody."""
    await w.anna.until(lambda: bool(w.pending()))


async def answer(w: World) -> None:
    """Allow what is asked for."""
    (prompt,) = w.pending()
    answered = await w.anna.emit("permission:respond", {"promptId": prompt["id"], "selectedOption": "allow_once"})
    assert answered["ok"], answered


async def answered(w: World, request_id: str) -> None:
    """Right after somebody answered."""
    await asked(w, request_id)
    await answer(w)


async def went_on_unheard(w: World, request_id: str) -> None:
    """When it has heard the answer, and nothing that it said of it has left the machine."""
    await asked(w, request_id)
    w.wire.hold_upstream()
    await answer(w)
    await over(w, request_id)


async def begun(w: World, request_id: str) -> None:
    """While the agent works, of which the server knows nothing; it hears of it after the death."""
    await w.bridge.until(lambda health: request_id in w.bridge.starts)


async def begun_unheard(w: World, request_id: str) -> None:
    """The same; what was said is lost with the machine."""
    await begun(w, request_id)
    w.wire.take_down()


async def over(w: World, request_id: str) -> None:
    """When the agent has ended, and nobody has heard it; that is lost with the machine."""
    await w.bridge.until(lambda health: health["runs"] == {"active": 0, "queued": 0, "undelivered": 1, "elsewhere": 0})
    w.wire.take_down()


async def over_unacknowledged(w: World, request_id: str) -> None:
    """When the server has the end of the run, and the bridge does not know that."""
    await w.until_shown(1, request_id)
    w.wire.hold_downstream()
    await w.until_ended(request_id, "completed")


async def abort_unheard(w: World, request_id: str) -> None:
    """When somebody has asked for an abort, of which the bridge does not know."""
    await w.until_shown(3, request_id)
    w.wire.hold_downstream()
    asked_for = await w.anna.emit("chat:abort", {"requestId": request_id})
    assert asked_for["ok"], asked_for


async def just_offline(w: World, request_id: str) -> None:
    """When the link is gone, and what is said is in memory alone."""
    await w.until_shown(3, request_id)
    w.wire.take_down()
    await w.bridge.until(lambda health: health["link"]["state"] != "connected")


async def offline(w: World, request_id: str) -> None:
    """While what it says goes to its disk alone."""
    await w.until_shown(3, request_id)
    w.wire.take_down()
    await w.bridge.until(lambda health: health["spool"]["bytes"] > 2000)


async def delivering(w: World, request_id: str) -> None:
    """While it delivers what it gathered offline; a part of it arrives."""
    await w.until_shown(3, request_id)
    w.wire.take_down()
    await w.bridge.until(lambda health: health["spool"]["bytes"] > 6000)
    w.wire.hold_upstream(after=6500)
    w.wire.bring_up()
    await w.until_shown(1, request_id)


async def killed_before_it_was_back(w: World, request_id: str) -> None:
    """When the process that follows a killed one has no link yet."""
    await w.until_shown(3, request_id)
    w.wire.take_down()
    await w.bridge.kill()
    await w.bridge.start()


MOMENTS: dict[str, list[Moment]] = {
    "before much is said": [
        Moment("/demo markdown words=600 rate=300", at_once, ends=("failed", "completed")),
        Moment(SHORT_STORY, at_once, ends=("completed",), prepare=lambda w: w.wire.hold_downstream()),
        Moment(STORY, begun, prepare=lambda w: w.wire.hold_upstream()),
        Moment(STORY, begun_unheard, prepare=lambda w: w.wire.hold_upstream()),
        Moment(STORY, shown(1)),
        Moment(STORY, shown(2)),
        Moment(STORY, shown(7)),
    ],
    "while it speaks": [
        Moment(STORY, shown(45)),
        Moment("/demo thinking rate=5", told("thinking.delta")),
        Moment("/demo tool steps=100 seconds=10 rate=500", told("tool.progress")),
        Moment("/demo two rate=20", in_the_second_message),
        Moment("/demo discard rate=50", told("message.discarded")),
        Moment("/demo huge size_kb=512", shown(1), ends=("failed", "completed")),
    ],
    "while it asks": [
        Moment("/demo ask rate=500", asked),
        Moment("/demo question rate=500", asked),
        Moment("/demo plan rate=500", asked),
        Moment("/demo ask rate=20", answered),
        Moment("/demo ask rate=500", went_on_unheard),
        Moment(STORY, abort_unheard, ends=("aborted",)),
    ],
    "without a link, and at the end": [
        Moment(STORY, just_offline),
        Moment(STORY, offline),
        Moment(LONG_STORY, delivering),
        Moment(STORY, killed_before_it_was_back),
        Moment(SHORT_STORY, over, prepare=lambda w: w.wire.hold_upstream()),
        Moment(SHORT_STORY, the_last_word, ends=("failed", "completed")),
        Moment(SHORT_STORY, over_unacknowledged, ends=("completed",)),
    ],
}


@pytest.mark.parametrize("when", MOMENTS)
async def test_a_killed_bridge_ends_its_runs_once_with_their_text(when: str, tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for number, moment in enumerate(MOMENTS[when]):
            request_id = f"r{number}"
            moment.prepare(w)
            conversation_id = await w.send(request_id, moment.content)
            await moment.reach(w, request_id)
            before = w.blocks(request_id)
            await w.restart_bridge()
            await check_ended(w, request_id, moment)
            kept = w.blocks(request_id)
            assert all(kept[place].startswith(text) for place, text in before.items())
            if moment.reach in (offline, delivering):
                assert sum(map(len, kept.values())) > sum(map(len, before.values())), "what waited is delivered"
            await check_goes_on(w, request_id, conversation_id)
        check_none_worked_twice(w)
        await w.bridge.until(lambda health: health["runs"]["undelivered"] == 0)


async def check_ended(w: World, request_id: str, moment: Moment) -> None:
    """The run has ended as it may, with a beginning of its text or all of it, and nobody is asked any more."""
    run = await w.until_ended(request_id, *moment.ends)
    whole = await expected(moment.content, choosing("allow_once"))
    if run["status"] == "failed":
        assert run["error"]["code"] == "bridge_lost"
        assert run["error"]["retryable"]
    if run["status"] == "completed":
        assert w.text(request_id) == whole
    assert whole.startswith(w.text(request_id))
    assert w.pending() == []


async def check_goes_on(w: World, request_id: str, conversation_id: str) -> None:
    """The next message is answered; in the same session, if the server knew of it."""
    knew = bool(w.text(request_id))
    await w.send(f"after-{request_id}", "Hello again rate=1000", conversation_id)
    await w.until_ended(f"after-{request_id}", "completed")
    (session,) = {m["sessionId"] for m in w.anna.view.messages.values() if m["requestId"] == f"after-{request_id}"} - {
        None
    }
    if knew:
        assert session == f"demo-{derived_object_id(conversation_id, request_id)}"


def check_none_worked_twice(w: World) -> None:
    assert Counter(w.bridge.starts).most_common(1)[0][1] == 1


async def test_a_killed_bridge_ends_all_its_runs_each_with_its_own_text(tmp_path: Path) -> None:
    async with world(tmp_path) as w, AsyncExitStack() as stack:
        others = [await stack.enter_async_context(node_client(w.server.url, w.server.token())) for _ in range(3)]
        worlds = [w, *(replace(w, anna=other) for other in others)]
        for number, each in enumerate(worlds):
            await each.send(f"r{number}", STORY)
        for number, each in enumerate(worlds):
            await each.until_shown(3, f"r{number}")
        before = [each.blocks(f"r{number}") for number, each in enumerate(worlds)]
        await w.restart_bridge()
        for number, each in enumerate(worlds):
            await check_ended(each, f"r{number}", Moment(STORY, at_once))
            kept = each.blocks(f"r{number}")
            assert all(kept[place].startswith(text) for place, text in before[number].items())
        check_none_worked_twice(w)


async def test_a_run_that_only_waited_at_a_killed_bridge_works_in_its_next_process(tmp_path: Path) -> None:
    async with world(tmp_path) as w, node_client(w.server.url, w.server.token()) as ben:
        other = replace(w, anna=ben)
        await w.send("first", STORY, sessionId="shared")
        await w.until_shown(3, "first")
        # Of one session, therefore one after the other, and both with the bridge already.
        await other.send("second", SHORT_STORY, sessionId="shared")
        await w.bridge.until(
            lambda health: health["runs"] == {"active": 1, "queued": 1, "undelivered": 2, "elsewhere": 0}
        )
        await w.restart_bridge()
        await check_ended(w, "first", Moment(STORY, at_once))
        await check_ended(other, "second", Moment(SHORT_STORY, at_once, ends=("completed",)))
        assert w.bridge.starts == ["first", "second"]


async def test_a_server_and_a_bridge_that_are_killed_together_keep_what_was_shown(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        conversation_id = await w.send("r", STORY)
        await w.until_shown(7, "r")
        await w.bridge.kill()
        before = w.blocks("r")
        await w.restart_server()
        await w.anna.join(conversation_id, after=w.anna.view.seq)
        await w.bridge.start()
        await check_ended(w, "r", Moment(STORY, at_once))
        assert all(w.blocks("r")[place].startswith(text) for place, text in before.items())
        await check_goes_on(w, "r", conversation_id)
        check_none_worked_twice(w)
