"""Prompts tell louder, wait while somebody looks, and end at their deadline in a state of their own."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from baton.core.commands import SendMessage
from baton.core.errors import AlreadyResolved, Conflict, InvalidRequest, LeaseLost, StoreUnavailable
from baton.core.events import PromptEscalated, PromptOpened, PromptResolved, RunFailed
from baton.core.frames import Abort, PermissionResponse
from baton.core.ids import ConversationId, RequestId
from baton.core.limits import Limits
from baton.core.models import Prompt, PromptOption, PromptStatus, RunStatus
from baton.core.models import PromptType as Type
from baton.core.stored import Change, Outcome, PromptMove
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from baton.testing.stores import StoreInFront, StumblingStore
from tests.services.harness import ANNA, LOCAL, Server
from tests.services.test_judging import a_run, ask, bash, respond, told_agent

R1 = RequestId("r1")
HALF_AN_HOUR = 1800.0


def stages(server: Server) -> list[int]:
    return [event.stage for event in server.browser.events if isinstance(event, PromptEscalated)]


async def now_of(server: Server, prompt: Prompt) -> Prompt:
    return await server.prompts.get(ANNA, prompt.id)


# --- stages ------------------------------------------------------------------------------------------------------


async def test_a_prompt_tells_louder_after_half_a_minute_a_minute_and_two(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    for at, told in ((29, []), (31, [1]), (59, [1]), (61, [1, 2]), (119, [1, 2]), (121, [1, 2, 3]), (600, [1, 2, 3])):
        await server.tick(at - (server.clock.now() - prompt.created_at).total_seconds())
        assert stages(server) == told
    escalation = next(event for event in server.browser.events if isinstance(event, PromptEscalated))
    assert (escalation.prompt_id, escalation.tool_name, escalation.deadline) == (prompt.id, "Bash", prompt.timeout_at)
    assert (await now_of(server, prompt)).stage == 3


async def test_a_stage_is_told_once_also_across_a_restart(server: Server, store: SqliteStore) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    await server.tick(31)
    again = Server(store, limits=Limits(), clock=server.clock, epoch="e")
    await again.recover()
    await again.tick(10)
    assert stages(again) == []
    await again.tick(20)
    assert stages(again) == [2]
    assert (await now_of(again, prompt)).stage == 2


# --- deadlines ---------------------------------------------------------------------------------------------------


async def test_nobody_answers_in_time_and_the_agent_hears_why_and_is_stopped(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    assert prompt.timeout_at == prompt.created_at + timedelta(seconds=HALF_AN_HOUR)
    await server.leap(HALF_AN_HOUR + 1)
    ended = await now_of(server, prompt)
    assert (ended.status, ended.auto_handler, ended.selected_option) == (PromptStatus.TIMEOUT, "timeout", None)
    ((_, option, message),) = told_agent(server)
    assert option == "deny_stop"
    assert message is not None
    assert "Nobody answered" in message
    assert [type(frame) for frame in server.bridge.sent[-2:]] == [PermissionResponse, Abort]
    run = await server.runs.get(ANNA, R1)
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert run.error.code == "prompt_timeout"
    assert len(server.browser.told(PromptResolved)) == 1
    assert len(server.browser.told(RunFailed)) == 1
    (entry,) = (await server.store.audit()).items
    assert (entry.outcome, entry.handler) == ("timeout", "timeout")


@pytest.mark.parametrize(
    ("kind", "offered", "told"),
    [
        (Type.TOOL_PERMISSION, {"allow_once": "allow_once", "deny": "reject_once"}, "deny"),
        (Type.TOOL_PERMISSION, {"go": "allow_once", "agent:never": "reject_always"}, "agent:never"),
        (Type.TOOL_PERMISSION, {"allow_once": "allow_once"}, None),
        (Type.PLAN_REVIEW, {}, "reject"),
        (Type.PLAN_REVIEW, {"accept_default": "allow_once", "agent:no": "reject_once"}, "agent:no"),
        (Type.QUESTION, {}, "deny"),
    ],
)
async def test_an_agent_hears_why_in_its_own_words_and_one_that_knows_none_is_only_stopped(
    store: SqliteStore, kind: Type, offered: dict[str, str], told: str | None
) -> None:
    server = Server(store, limits=Limits(prompt_timeout_s=60), clock=FakeClock(), epoch="e")
    await a_run(server)
    options = tuple(PromptOption(id=name, label=name, kind=kind) for name, kind in offered.items())
    await ask(server, "Thing", type=kind, options=options)
    await server.leap(61)
    assert [option for _, option, _ in told_agent(server)] == ([] if told is None else [told])
    assert isinstance(server.bridge.sent[-1], Abort)


async def test_the_late_answer_is_told_that_time_won(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    await server.leap(HALF_AN_HOUR + 1)
    with pytest.raises(AlreadyResolved) as late:
        await respond(server, prompt, "allow_once")
    assert isinstance(late.value.winner, Prompt)
    assert late.value.winner.status is PromptStatus.TIMEOUT


async def test_another_prompt_of_the_run_ends_with_it(server: Server) -> None:
    await a_run(server)
    first = await bash(server, "npm test")
    await server.leap(100)
    second = await bash(server, "npm publish", "p2")
    await server.leap(HALF_AN_HOUR - 99)
    assert (await now_of(server, first)).status is PromptStatus.TIMEOUT
    ended = await now_of(server, second)
    assert (ended.status, ended.auto_handler) == (PromptStatus.CANCELLED, "run_ended")


async def test_risk_and_type_have_deadlines_of_their_own(store: SqliteStore) -> None:
    limits = Limits(prompt_timeouts_s={"CRITICAL": 60.0, "question": 0.0})
    server = Server(store, limits=limits, clock=FakeClock(), epoch="e")
    await a_run(server)
    critical, high = await bash(server, "rm -rf ~"), await bash(server, "npm test", "p2")
    question = await ask(server, "AskUserQuestion", "p3", type=Type.QUESTION)
    assert critical.timeout_at == critical.created_at + timedelta(seconds=60)
    assert high.timeout_at == high.created_at + timedelta(seconds=HALF_AN_HOUR)
    assert question.timeout_at is None


async def test_an_extension_moves_the_deadline_and_is_told(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    extended = await server.prompts.extend(ANNA, prompt.id, 600)
    assert prompt.timeout_at is not None
    assert extended.timeout_at == prompt.timeout_at + timedelta(seconds=600)
    last = server.browser.told(PromptOpened)[-1]
    assert isinstance(last, PromptOpened)
    assert last.prompt.timeout_at == extended.timeout_at
    await server.leap(HALF_AN_HOUR + 300)
    assert (await now_of(server, prompt)).status is PromptStatus.PENDING
    await server.leap(301)
    assert (await now_of(server, prompt)).status is PromptStatus.TIMEOUT


@pytest.mark.parametrize("seconds", [0, -1, 8 * 24 * 3600, float("inf"), float("nan")])
async def test_an_absurd_extension_is_refused_and_changes_nothing(server: Server, seconds: float) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    with pytest.raises(InvalidRequest):
        await server.prompts.extend(ANNA, prompt.id, seconds)
    assert await now_of(server, prompt) == prompt


async def test_extensions_do_not_add_up_beyond_a_week(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    for _ in range(3):
        extended = await server.prompts.extend(ANNA, prompt.id, 7 * 24 * 3600)
    assert extended.timeout_at == server.clock.now() + timedelta(days=7)


async def test_one_that_waits_for_ever_has_nothing_to_extend(store: SqliteStore) -> None:
    server = Server(store, limits=Limits(prompt_timeout_s=0), clock=FakeClock(), epoch="e")
    await a_run(server)
    prompt = await bash(server, "npm test")
    assert prompt.timeout_at is None
    with pytest.raises(Conflict):
        await server.prompts.extend(ANNA, prompt.id, 60)


async def test_a_prompt_whose_end_cannot_be_stored_is_ended_by_a_later_round(store: SqliteStore) -> None:
    failing = _Failing(store)
    server = Server(failing, limits=Limits(), clock=FakeClock(), epoch="e")
    await a_run(server)
    prompt = await bash(server, "npm test")
    await server.leap(HALF_AN_HOUR - 5)
    failing.is_away = True
    server.clock.advance(6)
    with pytest.raises(StoreUnavailable):
        await server.deadlines.sweep()
    assert told_agent(server) == []
    failing.is_away = False
    await server.leap(20)
    assert (await now_of(server, prompt)).status is PromptStatus.TIMEOUT
    assert len(told_agent(server)) == 1


class _Failing(StoreInFront):
    """A store that may be away."""

    is_away = False

    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        if self.is_away:
            raise StoreUnavailable("away")
        return await super().commit(changes)


# --- looking -----------------------------------------------------------------------------------------------------


async def test_a_look_holds_the_deadline_up_for_a_minute(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    assert prompt.timeout_at is not None
    seen = await server.prompts.seen(ANNA, prompt.id, "tab")
    assert seen.seen_at == server.clock.now()
    assert seen.timeout_at == prompt.timeout_at + timedelta(seconds=60)
    await server.leap(30)
    again = await server.prompts.seen(ANNA, prompt.id, "tab")
    assert again.timeout_at == prompt.timeout_at + timedelta(seconds=90)
    assert stages(server) == [], "who looks need not be told louder"


async def test_a_look_ends_with_its_socket(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    assert prompt.timeout_at is not None
    await server.prompts.seen(ANNA, prompt.id, "tab")
    await server.tick(10)
    server.prompts.watchers.let_go("tab")
    await server.deadlines.sweep()
    assert (await now_of(server, prompt)).timeout_at == prompt.timeout_at + timedelta(seconds=10)


async def test_of_two_who_look_the_one_that_stays_holds_it_up(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    assert prompt.timeout_at is not None
    await server.prompts.seen(ANNA, prompt.id, "first")
    await server.tick(20)
    await server.prompts.seen(ANNA, prompt.id, "second")
    server.prompts.watchers.let_go("second")
    await server.deadlines.sweep()
    assert (await now_of(server, prompt)).timeout_at == prompt.timeout_at + timedelta(seconds=60)
    server.prompts.watchers.let_go("first")
    await server.deadlines.sweep()
    assert (await now_of(server, prompt)).timeout_at == prompt.timeout_at + timedelta(seconds=20)


async def test_looks_at_what_has_ended_are_forgotten(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    await server.prompts.seen(ANNA, prompt.id, "tab")
    await respond(server, prompt, "deny")
    await server.deadlines.sweep()
    assert server.prompts.watchers.prompts() == []


# --- time that does not count ------------------------------------------------------------------------------------


async def test_time_without_a_server_does_not_count(server: Server, store: SqliteStore) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    await server.tick(20)
    server.clock.advance(3600)
    again = Server(store, limits=Limits(), clock=server.clock, epoch="e")
    await again.recover()
    await again.deadlines.sweep()
    waits = await now_of(again, prompt)
    assert waits.status is PromptStatus.PENDING
    assert waits.timeout_at is not None
    left = (waits.timeout_at - again.clock.now()).total_seconds()
    assert HALF_AN_HOUR - 20 <= left <= HALF_AN_HOUR, "what passed before the server died may count in part"
    assert stages(again) == []


async def test_a_server_that_never_noted_anything_moves_nothing(server: Server, store: SqliteStore) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    again = Server(store, limits=Limits(), clock=server.clock, epoch="e")
    await again.recover()
    assert (await now_of(again, prompt)).timeout_at == prompt.timeout_at


async def test_a_prompt_that_came_after_the_last_note_is_moved_by_its_own_time_only(
    server: Server, store: SqliteStore
) -> None:
    await store.note_alive(server.clock.now())
    server.clock.advance(24 * 3600)
    await a_run(server)
    prompt = await bash(server, "npm test")
    server.clock.advance(60)
    again = Server(store, limits=Limits(), clock=server.clock, epoch="e")
    await again.recover()
    assert prompt.timeout_at is not None
    assert (await now_of(again, prompt)).timeout_at == prompt.timeout_at + timedelta(seconds=60)


@pytest.mark.parametrize("jump", [7200, -7200])
async def test_a_clock_that_jumps_ends_nothing_and_gives_nothing(server: Server, jump: float) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    await server.tick(5)
    server.clock.jump(jump)
    await server.tick(5)
    waits = await now_of(server, prompt)
    assert waits.timeout_at is not None
    assert waits.status is PromptStatus.PENDING
    left = (waits.timeout_at - server.clock.now()).total_seconds()
    assert abs(left - (HALF_AN_HOUR - 10)) <= 1


@pytest.mark.parametrize("jump", [7200, -7200])
async def test_what_gets_its_deadline_after_a_jump_that_nobody_has_seen_keeps_its_time(
    server: Server, jump: float
) -> None:
    await a_run(server)
    server.clock.jump(jump)
    prompt = await bash(server, "npm test")
    server.bridge.connected = False
    other = await server.conversation()
    await server.send(other, "r2")
    await server.tick(1)
    waits, queued = await now_of(server, prompt), await server.runs.get(ANNA, RequestId("r2"))
    assert (waits.status, queued.status) == (PromptStatus.PENDING, RunStatus.QUEUED)
    for deadline, whole in ((waits.timeout_at, HALF_AN_HOUR), (queued.deadline_at, Limits().queue_timeout_s)):
        assert deadline is not None
        assert abs((deadline - server.clock.now()).total_seconds() - (whole - 1)) <= 1


@pytest.mark.parametrize("jump", [7200, -7200])
async def test_an_abort_that_nobody_answers_ends_its_run_after_its_time_also_where_the_clock_jumps(
    server: Server, jump: float
) -> None:
    await a_run(server)
    await server.runs.abort(ANNA, R1)
    server.clock.jump(jump)
    await server.tick(Limits().abort_grace_s - 1)
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.RUNNING
    await server.tick(2)
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.ABORTED


async def test_a_conversation_that_memory_has_lost_just_then_is_moved_too(store: SqliteStore) -> None:
    stumbling = StumblingStore(store)
    server = Server(stumbling, limits=Limits(), clock=FakeClock(), epoch="e")
    conversation = await a_run(server)
    prompt = await bash(server, "npm test")
    await server.tick(5)
    stumbling.raises = [LeaseLost("of no matter")]
    with pytest.raises(LeaseLost):
        await server.send(conversation, "r2")
    server.clock.jump(-7200)
    await server.tick(5)
    waits = await now_of(server, prompt)
    assert waits.timeout_at is not None
    assert abs((waits.timeout_at - server.clock.now()).total_seconds() - (HALF_AN_HOUR - 10)) <= 1


async def test_a_jump_while_the_store_is_away_is_not_forgotten(store: SqliteStore) -> None:
    stumbling = StumblingStore(store)
    server = Server(stumbling, limits=Limits(), clock=FakeClock(), epoch="e")
    await a_run(server)
    prompt = await bash(server, "npm test")
    await server.tick(5)
    server.clock.jump(7200)
    stumbling.raises = [StoreUnavailable("away"), StoreUnavailable("away")]
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await server.tick(1)
        server.clock.jump(60)
    await server.tick(3)
    waits = await now_of(server, prompt)
    assert waits.status is PromptStatus.PENDING
    assert waits.timeout_at is not None
    assert abs((waits.timeout_at - server.clock.now()).total_seconds() - (HALF_AN_HOUR - 10)) <= 1


async def test_an_answer_that_comes_before_the_move_is_stored_ends_its_prompt(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    server.clock.jump(7200)
    server.lanes.postpone(timedelta(hours=2))
    await respond(server, prompt, "allow_once")
    await server.tick(1)
    assert (await now_of(server, prompt)).status is PromptStatus.ANSWERED


async def test_a_server_that_is_away_after_its_clock_was_set_back_takes_no_time_from_anybody(
    server: Server, store: SqliteStore
) -> None:
    conversation = await a_run(server)
    prompt = await bash(server, "npm test")
    await server.tick(5)
    server.clock.jump(-7200)
    await server.tick(5)
    server.clock.advance(600)
    again = Server(store, limits=Limits(), clock=server.clock, epoch="e")
    await again.recover()
    await again.tick(1)
    waits = await now_of(again, prompt)
    assert (waits.status, waits.conversation_id) == (PromptStatus.PENDING, conversation.id)
    assert waits.timeout_at is not None
    assert HALF_AN_HOUR - 12 <= (waits.timeout_at - server.clock.now()).total_seconds() <= HALF_AN_HOUR + 1


async def test_a_clock_that_is_set_back_while_no_server_is_there_makes_nobody_wait_for_it(
    server: Server, store: SqliteStore
) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    await server.tick(5)
    server.clock.jump(-7200)
    again = Server(store, limits=Limits(), clock=server.clock, epoch="e")
    await again.recover()
    await again.tick(1)
    waits = await now_of(again, prompt)
    assert waits.status is PromptStatus.PENDING
    assert waits.timeout_at is not None
    assert HALF_AN_HOUR - 12 <= (waits.timeout_at - server.clock.now()).total_seconds() <= HALF_AN_HOUR + 1


async def test_a_machine_that_slept_counts_only_what_it_was_awake(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    await server.tick(5)
    server.clock.advance(6 * 3600)
    await server.tick(1)
    waits = await now_of(server, prompt)
    assert waits.status is PromptStatus.PENDING
    assert waits.timeout_at is not None
    assert (waits.timeout_at - server.clock.now()).total_seconds() > HALF_AN_HOUR - 20


async def test_a_queue_without_a_bridge_waits_its_time_also_over_an_outage(server: Server, store: SqliteStore) -> None:
    server.bridge.connected = False
    conversation = await server.conversation()
    await server.send(conversation)
    await server.tick(10)
    server.clock.advance(3600)
    again = Server(store, limits=Limits(), clock=server.clock, epoch="e")
    again.bridge.connected = False
    await again.recover()
    await again.deadlines.sweep()
    assert (await again.runs.get(ANNA, R1)).status is RunStatus.QUEUED
    await again.leap(300)
    run = await again.runs.get(ANNA, R1)
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert run.error.code == "dispatch_timeout"


async def test_nothing_is_noted_while_nothing_has_a_deadline(server: Server) -> None:
    await server.tick(30)
    assert await server.store.alive_at() is None


# --- ended by hand -----------------------------------------------------------------------------------------------


async def end_by_hand(server: Server, prompt: Prompt, **change: Any) -> None:
    """As the statement of docs/permissions.md does, or with this `change`: behind the server's back."""
    ended = replace(prompt, **{"status": PromptStatus.TIMEOUT, "auto_handler": "cleanup", **change})
    conversation = await server.store.conversation(prompt.conversation_id)
    move = PromptMove(prompt=ended, expect=PromptStatus.PENDING)
    await server.store.commit(
        [Change(conversation_id=ConversationId(prompt.conversation_id), conversation=conversation, prompts=(move,))]
    )


async def test_a_prompt_that_somebody_ended_in_the_database_is_ended_here_too(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    await end_by_hand(server, prompt)
    await server.tick(11)
    ((_, option, message),) = told_agent(server)
    assert option == "deny_stop"
    assert message is not None
    assert "by hand" in message
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.FAILED
    (told,) = server.browser.told(PromptResolved)
    assert isinstance(told, PromptResolved)
    assert (told.prompt.status, told.prompt.auto_handler) == (PromptStatus.TIMEOUT, "cleanup")


async def test_a_prompt_that_was_ended_by_hand_while_no_server_was_there_strands_no_run(
    server: Server, store: SqliteStore
) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    await end_by_hand(server, prompt)
    again = Server(store, limits=Limits(), clock=server.clock, epoch="e")
    await again.recover()
    await again.tick(1)
    run = await again.runs.get(ANNA, R1)
    assert run.error is not None
    assert (run.status, run.error.code) == (RunStatus.FAILED, "prompt_timeout")
    assert [type(frame) for frame in again.bridge.sent] == [PermissionResponse, Abort]
    (entry,) = (await store.audit()).items
    assert (entry.outcome, entry.handler) == ("timeout", "cleanup")


async def test_of_two_prompts_the_one_that_was_ended_by_hand_before_a_restart_is_ended_too(
    server: Server, store: SqliteStore
) -> None:
    await a_run(server)
    first, second = await bash(server, "npm test"), await bash(server, "npm publish", "p2")
    await end_by_hand(server, first, status=PromptStatus.ANSWERED, selected_option="deny")
    again = Server(store, limits=Limits(), clock=server.clock, epoch="e")
    await again.recover()
    await again.tick(1)
    assert (await again.runs.get(ANNA, R1)).status is RunStatus.AWAITING_INPUT
    assert (await now_of(again, first)).responded_at is not None
    await end_by_hand(again, second)
    third = Server(store, limits=Limits(), clock=server.clock, epoch="e")
    await third.recover()
    await third.tick(1)
    assert (await third.runs.get(ANNA, R1)).status is RunStatus.FAILED
    assert len((await store.audit()).items) == 2


async def test_an_answer_to_what_was_ended_by_hand_is_told_who_won_and_the_run_ends(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    await end_by_hand(server, prompt)
    for _ in range(2):
        with pytest.raises(AlreadyResolved) as late:
            await respond(server, prompt, "allow_once")
        assert isinstance(late.value.winner, Prompt)
        assert late.value.winner.status is PromptStatus.TIMEOUT
    await server.tick(1)
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.FAILED
    assert [option for _, option, _ in told_agent(server)] == ["deny_stop"]


async def test_a_prompt_that_was_answered_by_hand_lets_its_run_go_on(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    await end_by_hand(server, prompt, status=PromptStatus.ANSWERED, selected_option="allow_once")
    await server.tick(11)
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.RUNNING
    assert [option for _, option, _ in told_agent(server)] == ["allow_once"]


async def test_a_run_ends_as_its_agent_says_also_where_its_prompt_was_ended_by_hand_just_before(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    await end_by_hand(server, prompt)
    server.complete("r1")
    await server.intake.flush()
    await server.intake.flush()
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.COMPLETED
    (told,) = server.browser.told(PromptResolved)
    assert isinstance(told, PromptResolved)
    assert (told.prompt.status, told.prompt.auto_handler) == (PromptStatus.TIMEOUT, "cleanup")
    (entry,) = (await server.store.audit()).items
    assert (entry.outcome, entry.handler) == ("timeout", "cleanup")


async def test_a_clean_up_of_all_ends_runs_whose_prompts_were_ended_by_hand_just_before(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "npm test")
    await end_by_hand(server, prompt)
    counts = await server.runs.reset_active(ANNA)
    assert (counts.runs, counts.prompts) == (1, 0)
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.ABORTED
    assert len(server.browser.told(PromptResolved)) == 1


# --- greeting ----------------------------------------------------------------------------------------------------


async def test_a_bridge_that_missed_the_end_of_a_prompt_is_told_why_and_to_abort(server: Server) -> None:
    await a_run(server)
    await bash(server, "npm test")
    await server.leap(HALF_AN_HOUR + 1)
    expected = await server.intake.greet(LOCAL, known={R1: (2, ("p1",))})
    refusal, abort = expected.frames
    assert isinstance(refusal, PermissionResponse)
    assert (refusal.prompt_id, refusal.selected_option) == ("p1", "deny_stop")
    assert "Nobody answered in time (30 minutes)" in (refusal.message or "")
    assert isinstance(abort, Abort)
    expected = await server.intake.greet(LOCAL, known={R1: (2, ())})
    assert [type(frame) for frame in expected.frames] == [Abort], "it does not ask any more"


async def test_after_a_timeout_the_conversation_takes_the_next_message(server: Server) -> None:
    conversation = await a_run(server)
    await bash(server, "npm test")
    await server.leap(HALF_AN_HOUR + 1)
    server.bridge.load.clear()
    await server.runs.send(
        ANNA, SendMessage(request_id=RequestId("r2"), content="again", conversation_id=conversation.id)
    )
    assert (await server.runs.get(ANNA, RequestId("r2"))).status is RunStatus.DISPATCHED
