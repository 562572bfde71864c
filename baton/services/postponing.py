"""Moves what a conversation has of deadlines, where time has passed that does not count, or a clock was set."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from baton.core.events import ConversationUpdated
from baton.core.models import Prompt, Run
from baton.services.drafts import Draft
from baton.services.watching import store_pending


def postpone(draft: Draft, by: Callable[[datetime], timedelta]) -> None:
    """Draft all of them anew. `by`: how much, for something that waits since then."""
    for live in list(draft.memory.runs.values()):
        run = live.run
        if run.deadline_at is not None:
            run = replace(run, deadline_at=run.deadline_at + by(_waits_since(run)))
        if run.abort_requested_at is not None:
            # Its agent is given so much longer to end it by itself.
            run = replace(run, abort_requested_at=run.abort_requested_at + by(run.abort_requested_at))
        if run is not live.run:
            draft.move_run(live, run)
    for prompt in draft.memory.pending_prompts():
        _postpone_prompt(draft, prompt, by(prompt.created_at))
    _keep_bypass_short(draft, by)


def _keep_bypass_short(draft: Draft, by: Callable[[datetime], timedelta]) -> None:
    """What nobody saw gives no more of `bypassPermissions`, and a clock that was set back neither."""
    until = draft.memory.conversation.bypass_until
    if until is not None and (moved := by(until)) < timedelta():
        draft.store_conversation(replace(draft.memory.conversation, bypass_until=until + moved))
        draft.tell_all(ConversationUpdated(draft.memory.conversation))


def _waits_since(run: Run) -> datetime:
    """Its deadline was set no earlier than this."""
    return max(at for at in (run.queued_at, run.dispatched_at, run.last_event_at) if at is not None)


def _postpone_prompt(draft: Draft, prompt: Prompt, by: timedelta) -> None:
    if prompt.timeout_at is None and prompt.stage_at is None:
        return
    moved = replace(
        prompt,
        timeout_at=prompt.timeout_at and prompt.timeout_at + by,
        stage_at=prompt.stage_at and prompt.stage_at + by,
        # Who looked at it has gone with the server, or has slept too: what was left of that look stays added.
        seen_until=None,
    )
    store_pending(draft, moved)
