"""Runs and prompts have one final state, whoever races."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from baton.core import lifecycle
from baton.core.errors import AlreadyResolved
from baton.core.ids import BridgeId, ConversationId, RequestId, UserId
from baton.core.models import Failure, Prompt, PromptResponse, PromptStatus, Run, RunStatus
from baton.testing import samples
from baton.testing.samples import START

CONVERSATION = ConversationId("c" * 24)
FAILURE = Failure("agent_failed", "It failed")


def a_run(**fields: Any) -> Run:
    return samples.run(CONVERSATION, **fields)


def a_prompt(**fields: Any) -> Prompt:
    return samples.prompt(CONVERSATION, RequestId("r"), **fields)


def moved(run: Run, to: RunStatus) -> Run:
    return lifecycle.move_run(run, to, START, FAILURE if to is RunStatus.FAILED else None)


@given(st.lists(st.sampled_from(list(RunStatus)), max_size=12))
def test_whatever_is_tried_a_run_ends_once_and_stays_ended(moves: list[RunStatus]) -> None:
    run = a_run(status=RunStatus.QUEUED)
    final: Run | None = None
    winners: list[object] = []
    for to in moves:
        try:
            run = moved(run, to)
        except lifecycle.IllegalMove:
            continue
        except AlreadyResolved as error:
            winners.append(error.winner)
            continue
        assert final is None
        if lifecycle.is_final(run):
            final = run
            assert run.finished_at == START
            assert (run.error is not None) == (run.status is RunStatus.FAILED)
    assert all(winner is final for winner in winners)


@pytest.mark.parametrize("to", [RunStatus.RUNNING, RunStatus.AWAITING_INPUT, RunStatus.COMPLETED])
def test_a_queued_run_cannot_skip_its_dispatch(to: RunStatus) -> None:
    with pytest.raises(lifecycle.IllegalMove):
        moved(a_run(status=RunStatus.QUEUED), to)


def test_an_error_belongs_to_failed_runs_only() -> None:
    run = a_run(status=RunStatus.RUNNING)
    with pytest.raises(lifecycle.IllegalMove):
        lifecycle.move_run(run, RunStatus.FAILED, START)
    with pytest.raises(lifecycle.IllegalMove):
        lifecycle.move_run(run, RunStatus.COMPLETED, START, FAILURE)


def test_going_back_to_the_queue_forgets_the_bridge() -> None:
    run = replace(a_run(status=RunStatus.DISPATCHED), bridge_id=BridgeId("b"), dispatched_at=START)
    queued = lifecycle.move_run(run, RunStatus.QUEUED, START)
    assert (queued.bridge_id, queued.dispatched_at) == (None, None)


def test_a_late_answer_is_told_who_won() -> None:
    prompt = a_prompt(status=PromptStatus.PENDING)
    answered = lifecycle.answer_prompt(
        prompt, "deny", PromptResponse(), by=UserId("first"), handler="user_selection", at=START
    )
    with pytest.raises(AlreadyResolved) as late:
        lifecycle.answer_prompt(
            answered, "allow_once", PromptResponse(), by=UserId("second"), handler="user_selection", at=START
        )
    assert late.value.winner is answered
    with pytest.raises(AlreadyResolved):
        lifecycle.end_prompt(answered, PromptStatus.TIMEOUT, handler="timeout", at=START)


def test_timeout_is_a_state_of_its_own() -> None:
    ended = lifecycle.end_prompt(a_prompt(), PromptStatus.TIMEOUT, handler="timeout", at=START)
    assert (ended.status, ended.selected_option) == (PromptStatus.TIMEOUT, None)


def test_the_first_delivery_of_an_answer_counts() -> None:
    delivered = lifecycle.deliver_prompt(a_prompt(), START)
    assert lifecycle.deliver_prompt(delivered, samples.at(60)).delivered_at == START


class PromptAndRun(RuleBasedStateMachine):
    """A run and a prompt of it, moved by whoever comes: people, rules, timers, aborts, ends, a bridge that is back."""

    def __init__(self) -> None:
        super().__init__()
        self.run = a_run(status=RunStatus.QUEUED)
        self.prompt = a_prompt(status=PromptStatus.PENDING)
        self.run_end: Run | None = None
        self.prompt_end: Prompt | None = None
        self.minute = 0

    def _now(self) -> datetime:
        self.minute += 1
        return samples.at(60 * self.minute)

    @rule(to=st.sampled_from(list(RunStatus)))
    def move(self, to: RunStatus) -> None:
        try:
            self.run = lifecycle.move_run(self.run, to, self._now(), FAILURE if to is RunStatus.FAILED else None)
        except lifecycle.IllegalMove:
            assert self.run_end is None
        except AlreadyResolved as late:
            assert late.winner is self.run_end is not None  # noqa: PT017 - that nothing is raised is right too
        if lifecycle.is_final(self.run) and self.run_end is None:
            self.run_end = self.run

    @rule(option=st.sampled_from(["allow_once", "deny"]), by=st.sampled_from(["anna", None]))
    def answer(self, option: str, by: str | None) -> None:
        self._end(
            lambda: lifecycle.answer_prompt(
                self.prompt, option, PromptResponse(), by=by and UserId(by), handler="mode", at=self._now()
            )
        )

    @rule(status=st.sampled_from(list(PromptStatus)), handler=st.sampled_from(["timeout", "cleanup", "run_ended"]))
    def end(self, status: PromptStatus, handler: str) -> None:
        self._end(lambda: lifecycle.end_prompt(self.prompt, status, handler=handler, at=self._now()))

    def _end(self, ending: Callable[[], Prompt]) -> None:
        try:
            self.prompt = self.prompt_end = ending()
        except lifecycle.IllegalMove:
            assert self.prompt_end is None
        except AlreadyResolved as late:
            assert late.winner is self.prompt  # noqa: PT017 - as above
            assert self.prompt_end is not None

    @rule()
    def deliver(self) -> None:
        before = self.prompt.delivered_at
        self.prompt = lifecycle.deliver_prompt(self.prompt, self._now())
        assert self.prompt.delivered_at == (before or self.prompt.delivered_at)

    @invariant()
    def an_end_stays_as_it_was(self) -> None:
        assert self.run_end in (None, self.run)
        assert (self.run.finished_at is not None) == lifecycle.is_final(self.run)
        assert (self.run.error is not None) == (self.run.status is RunStatus.FAILED)
        assert (self.prompt.status is PromptStatus.PENDING) == (self.prompt_end is None)
        if self.prompt_end is not None:
            assert replace(self.prompt, delivered_at=None) == replace(self.prompt_end, delivered_at=None)
            assert (self.prompt.selected_option is not None) == (self.prompt.status is PromptStatus.ANSWERED)


TestPromptAndRun = PromptAndRun.TestCase
TestPromptAndRun.settings = settings(max_examples=100, stateful_step_count=20, deadline=None, database=None)
