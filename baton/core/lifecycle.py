"""The state machines of Run and Prompt, as pure functions. Every change of a status goes through here.

A move that the machine does not know raises `IllegalMove`; a move out of a final state raises `AlreadyResolved`
with the winner, because that is a race that somebody lost and not a mistake.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

from baton.core.errors import AlreadyResolved, BatonError
from baton.core.ids import UserId
from baton.core.models import (
    ConversationState,
    Failure,
    MessageStatus,
    Prompt,
    PromptResponse,
    PromptStatus,
    Run,
    RunStatus,
)

FINAL_RUN: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.ABORTED})
ACTIVE_RUN: Final = frozenset({RunStatus.DISPATCHED, RunStatus.RUNNING, RunStatus.AWAITING_INPUT})
OPEN_RUN: Final = ACTIVE_RUN | {RunStatus.QUEUED}

_RUN_MOVES: Final[dict[RunStatus, frozenset[RunStatus]]] = {
    RunStatus.QUEUED: frozenset({RunStatus.DISPATCHED, RunStatus.FAILED, RunStatus.ABORTED}),
    RunStatus.DISPATCHED: frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.AWAITING_INPUT}) | FINAL_RUN,
    RunStatus.RUNNING: frozenset({RunStatus.AWAITING_INPUT}) | FINAL_RUN,
    RunStatus.AWAITING_INPUT: frozenset({RunStatus.RUNNING}) | FINAL_RUN,
}


class IllegalMove(BatonError):
    """A status change that no path of the machine allows: a mistake in Baton."""

    code = "internal"


def is_final(run: Run) -> bool:
    """Whether the run has its one final state."""
    return run.status in FINAL_RUN


def is_active(run: Run) -> bool:
    """Whether the run holds its conversation's one place at an agent."""
    return run.status in ACTIVE_RUN


def move_run(run: Run, to: RunStatus, at: datetime, error: Failure | None = None) -> Run:
    """The run in its new status, with the times and the error that belong to it.

    A failed run must carry its error; only a failed one may. Raises AlreadyResolved out of a final state.
    """
    if run.status in FINAL_RUN:
        raise AlreadyResolved(f"The run has already ended as {run.status}", winner=run)
    if to not in _RUN_MOVES[run.status]:
        raise IllegalMove(f"run {run.status} -> {to}")
    if (error is not None) != (to is RunStatus.FAILED):
        raise IllegalMove("a run carries an error exactly when it failed")
    moved = replace(run, status=to, error=error)
    if to is RunStatus.DISPATCHED:
        return replace(moved, dispatched_at=at, deadline_at=None, deadline_reason=None)
    if to in FINAL_RUN:
        return replace(moved, finished_at=at, deadline_at=None, deadline_reason=None, away=False)
    if to is RunStatus.QUEUED:
        return replace(moved, dispatched_at=None, bridge_id=None)
    return replace(moved, started_at=run.started_at or at)


def ended_message_status(run: Run) -> MessageStatus:
    """What the run's unfinished messages become when it ends."""
    return {
        RunStatus.COMPLETED: MessageStatus.COMPLETED,
        RunStatus.FAILED: MessageStatus.FAILED,
        RunStatus.ABORTED: MessageStatus.ABORTED,
    }[run.status]


def conversation_state(head: Run | None, last_ended: RunStatus | None) -> ConversationState:
    """What lists show: from the conversation's active or first queued run, else from how the last one ended."""
    if head is None:
        return ConversationState.FAILED if last_ended is RunStatus.FAILED else ConversationState.IDLE
    if head.status is RunStatus.AWAITING_INPUT:
        return ConversationState.AWAITING_INPUT
    return ConversationState.QUEUED if head.status is RunStatus.QUEUED else ConversationState.RUNNING


def answer_prompt(
    prompt: Prompt, option: str, response: PromptResponse, *, by: UserId | None, handler: str, at: datetime
) -> Prompt:
    """The prompt as answered. Raises AlreadyResolved with the winner when it has its end state."""
    _check_pending(prompt)
    return replace(
        prompt,
        status=PromptStatus.ANSWERED,
        selected_option=option,
        response=response,
        answered_by=by,
        auto_handler=handler,
        responded_at=at,
    )


def end_prompt(prompt: Prompt, status: PromptStatus, *, handler: str, at: datetime) -> Prompt:
    """The prompt as timed out or cancelled. Raises AlreadyResolved with the winner when it has its end state."""
    _check_pending(prompt)
    if status not in (PromptStatus.TIMEOUT, PromptStatus.CANCELLED):
        raise IllegalMove(f"prompt {prompt.status} -> {status}")
    return replace(prompt, status=status, auto_handler=handler, responded_at=at)


def deliver_prompt(prompt: Prompt, at: datetime) -> Prompt:
    """The prompt as applied by the agent; the first delivery counts."""
    return prompt if prompt.delivered_at is not None else replace(prompt, delivered_at=at)


def _check_pending(prompt: Prompt) -> None:
    if prompt.status is not PromptStatus.PENDING:
        raise AlreadyResolved(f"The prompt has already ended as {prompt.status}", winner=prompt)
