"""How a run ends, whoever ends it: the bridge's final frame, an abort, a lost bridge, a deleted conversation.

One function, so that every ending leaves the same: messages final, prompts closed, queue paused where it must be,
one of the three endings told, the next run sent out.
"""

from dataclasses import replace

from baton.core import lifecycle
from baton.core.events import (
    MessageChanged,
    PromptResolved,
    RunAborted,
    RunCompleted,
    RunFailed,
    SessionChanged,
)
from baton.core.frames import RunResult
from baton.core.models import Failure, Message, MessageStatus, PromptStatus, Run, RunStatus
from baton.core.transcript import LiveMessage
from baton.services.drafts import Draft
from baton.services.memory import LiveRun

ALL_ROWS = 2**62
"""A bridge seq beyond every real one: all journal rows of a run."""

_PAUSE_REASON = {
    RunStatus.FAILED: "The run before failed; resume the queue or retry that run",
    RunStatus.ABORTED: "The run before was aborted; resume the queue or retry that run",
}


def end_run(
    draft: Draft,
    live: LiveRun,
    to: RunStatus,
    *,
    error: Failure | None = None,
    result: RunResult | None = None,
    prompt_handler: str = "run_ended",
) -> None:
    """Draft the end of a run. `result` only where it completed, `error` only where it failed."""
    was_queued = live.run.status is RunStatus.QUEUED
    ended = lifecycle.move_run(live.run, to, draft.now, error)
    if result is not None:
        ended = replace(ended, usage=result.usage, cost_usd=result.cost_usd)
        change_session(draft, live, result.session_id)
    _end_messages(draft, live, ended)
    _end_prompts(draft, live, prompt_handler)
    _count(draft, ended)
    if was_queued:
        _end_user_message(draft, ended)
        # Taken out of the queue it leaves nothing to show; that nobody took it in time is a failure like any other.
        draft.last_ended = to if to is RunStatus.FAILED else RunStatus.COMPLETED
    else:
        draft.last_ended = to
        _pause_behind(draft, ended)
        if ended.bridge_id is not None:
            draft.released.append((ended.bridge_id, ended.request_id))
    draft.trim_journal(ended.request_id, ALL_ROWS)
    draft.move_run(live, replace(ended, user_message=None), with_queue=True)
    _tell_ending(draft, live, ended, result)


def change_session(draft: Draft, live: LiveRun, session_id: str | None) -> None:
    """The conversation resumes with this session from now on; told only when it is another one."""
    if not session_id:
        return
    live.session_id = session_id
    conversation = draft.memory.conversation
    if conversation.claude_session_id == session_id and not conversation.fork_session:
        return
    draft.store_conversation(replace(conversation, claude_session_id=session_id, fork_session=False))
    draft.tell(SessionChanged(session_id))


def store_live_message(draft: Draft, live: LiveRun, message: LiveMessage, *, error: Failure | None = None) -> Message:
    """Draft a message's document as it is now, contained in it all frames up to the run's bridge seq."""
    stored = replace(
        live.transcript.message(message, session_id=live.session_id, at=draft.now, error=error),
        covers_bridge_seq=live.run.bridge_seq,
    )
    draft.store_message(stored)
    message.first_row = None
    return stored


def _end_messages(draft: Draft, live: LiveRun, ended: Run) -> None:
    """Everything that was still open takes the run's ending; tools that cannot answer any more have failed."""
    for message in live.transcript.live():
        had_tools = message.end_tools(draft.now)
        if message.is_done and not had_tools and message.first_row is None:
            continue
        if not message.is_done:
            message.status = lifecycle.ended_message_status(ended)
        message.seq = draft.next_seq()
        failed = message.status is MessageStatus.FAILED
        stored = store_live_message(draft, live, message, error=ended.error if failed else None)
        draft.tell(MessageChanged(stored), message.seq)


def _end_user_message(draft: Draft, ended: Run) -> None:
    """A message that never left the queue says so, instead of hanging as `sending`."""
    if ended.user_message is None:
        return
    seq = draft.next_seq()
    status = lifecycle.ended_message_status(ended)
    message = replace(ended.user_message, status=status, error=ended.error, seq=seq, updated_at=draft.now)
    draft.store_message(message)
    draft.tell(MessageChanged(message), seq)


def _end_prompts(draft: Draft, live: LiveRun, handler: str) -> None:
    _tell_ended_by_hand(draft, live)
    for prompt in draft.memory.pending_prompts(live.run.request_id):
        seq = draft.next_seq()
        closed = lifecycle.end_prompt(prompt, PromptStatus.CANCELLED, handler=handler, at=draft.now)
        draft.store_prompt(replace(closed, seq=seq), PromptStatus.PENDING)
        draft.tell(PromptResolved(draft.memory.prompts[prompt.id]), seq)
    for prompt in list(draft.memory.prompts.values()):
        if prompt.request_id == live.run.request_id:
            del draft.memory.prompts[prompt.id]


def _tell_ended_by_hand(draft: Draft, live: LiveRun) -> None:
    """Prompts that somebody ended in the store, where nobody notes when: their end is told, and on record."""
    for prompt in list(draft.memory.prompts.values()):
        if prompt.request_id != live.run.request_id or prompt.responded_at is not None:
            continue
        if prompt.status is PromptStatus.PENDING:
            continue
        seq = draft.next_seq()
        handler = prompt.auto_handler or "cleanup"
        # As this server knew it, so that its end goes into the audit like any other.
        draft.memory.prompts[prompt.id] = replace(prompt, status=PromptStatus.PENDING)
        draft.store_prompt(replace(prompt, seq=seq, responded_at=draft.now, auto_handler=handler), prompt.status)
        draft.tell(PromptResolved(draft.memory.prompts[prompt.id]), seq)


def _count(draft: Draft, ended: Run) -> None:
    conversation = draft.memory.conversation
    draft.store_conversation(
        replace(
            conversation,
            usage=conversation.usage + ended.usage,
            cost_usd=round(conversation.cost_usd + ended.cost_usd, 9),
        )
    )


def _pause_behind(draft: Draft, ended: Run) -> None:
    """A run that failed or was aborted while active pauses the queue behind it, if there is one."""
    reason = _PAUSE_REASON.get(ended.status)
    if reason is not None and draft.memory.queued():
        draft.store_conversation(replace(draft.memory.conversation, queue_paused=True, queue_reason=reason))


def _tell_ending(draft: Draft, live: LiveRun, ended: Run, result: RunResult | None) -> None:
    last_message = ended.message_ids[-1] if ended.message_ids else None
    if ended.status is RunStatus.COMPLETED:
        done = result or RunResult()
        draft.tell(
            RunCompleted(ended.request_id, last_message, live.session_id, ended.usage, ended.cost_usd, done.duration_ms)
        )
    elif ended.status is RunStatus.FAILED:
        assert ended.error is not None, "a failed run carries its error"
        draft.tell(RunFailed(ended.request_id, ended.error))
    else:
        draft.tell(RunAborted(ended.request_id))
