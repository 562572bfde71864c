"""What has a time of its own beside runs: prompts (stages, deadlines), grants, and `bypassPermissions`.

Each is due by what is stored with it, so that a restart forgets none and a second round does nothing twice. A prompt
whose time is over is no denial: it ends as `timeout`, the agent hears why and is stopped, the run fails.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from baton.core import lifecycle
from baton.core.errors import LeaseLost, Unavailable
from baton.core.events import PromptEscalated, PromptResolved
from baton.core.frames import Abort
from baton.core.ids import ConversationId, PromptId
from baton.core.limits import Limits
from baton.core.models import Failure, PermissionMode, Prompt, PromptStatus, Run, RunStatus
from baton.core.permissions import Grant, expire
from baton.core.ports import Clock, Store
from baton.services.answering import PROMPT_TIMEOUT, go_on, refusal_frame, response_frame, unanswered_reason
from baton.services.asking import next_stage_at
from baton.services.dispatch import Dispatcher
from baton.services.drafts import Draft
from baton.services.endings import end_run
from baton.services.lanes import Lanes
from baton.services.memory import LiveRun
from baton.services.modes import end_bypass
from baton.services.watching import Watchers, held_until, store_pending

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 10.0
"""How often the store is asked whether somebody ended prompts by hand."""
_MOST_PENDING = 1000


class Expiry:
    """See the module. `sweep` acts on everything that is due; it is idempotent."""

    def __init__(
        self, *, store: Store, lanes: Lanes, dispatcher: Dispatcher, watchers: Watchers, clock: Clock, limits: Limits
    ) -> None:
        self._store = store
        self._lanes = lanes
        self._dispatcher = dispatcher
        self._watchers = watchers
        self._clock = clock
        self._limits = limits
        self._looked_at = clock.monotonic()

    async def sweep(self) -> int:
        """Act on what is due; on how much. Raises Unavailable."""
        now = self._clock.now()
        works: list[Callable[[], Awaitable[None]]] = []
        works += [
            _later(self._prompt_due, prompt) for prompt in self._lanes.pending_prompts() if self._is_due(prompt, now)
        ]
        works += [
            _later(self._grant_due, grant) for grant in self._lanes.standing.all() if _has_passed(grant.expires_at, now)
        ]
        works += [_later(self._bypass_due, name) for name, at in self._lanes.bypassing.items() if at <= now]
        works += [_later(self._ended_by_hand, prompt) for prompt in await self._missing()]
        works += [_later(self._adopt_ended, run) for run in self._to_be_adopted()]
        for work in works:
            await _isolated(work)
        self._forget_looks()
        return len(works)

    # --- prompts -----------------------------------------------------------------------------------------------

    def _is_due(self, prompt: Prompt, now: datetime) -> bool:
        return self._is_let_go(prompt, now) or _has_passed(prompt.timeout_at, now) or _has_passed(prompt.stage_at, now)

    def _is_let_go(self, prompt: Prompt, now: datetime) -> bool:
        """Whether those who looked at it have gone before their time."""
        if prompt.seen_until is None or prompt.seen_until <= now:
            return False
        held = self._watchers.held_until(prompt.id)
        return held is None or held < prompt.seen_until

    async def _prompt_due(self, known: Prompt) -> None:
        async with self._lanes.turn(known.conversation_id) as memory:
            prompt = memory.prompts.get(known.id)
            if prompt is None or prompt.status is not PromptStatus.PENDING:
                return
            draft = self._lanes.draft(memory)
            if self._is_let_go(prompt, draft.now):
                prompt = store_pending(draft, held_until(prompt, self._watchers.held_until(prompt.id), draft.now))
            if _has_passed(prompt.timeout_at, draft.now):
                self._time_out(draft, memory.runs[prompt.request_id], prompt)
            elif _has_passed(prompt.stage_at, draft.now):
                self._tell_louder(draft, prompt)
            if not draft.is_bare:
                await self._lanes.commit(draft)

    def _tell_louder(self, draft: Draft, prompt: Prompt) -> None:
        raised = prompt
        while _has_passed(raised.stage_at, draft.now):
            following = next_stage_at(replace(raised, stage=raised.stage + 1), self._limits)
            raised = replace(raised, stage=raised.stage + 1, stage_at=following)
        stored = store_pending(draft, raised)
        draft.tell_all(
            PromptEscalated(
                stored.conversation_id,
                stored.id,
                stored.stage,
                stored.tool_name,
                stored.risk_level,
                stored.timeout_at,
                draft.memory.conversation.user_id,
            )
        )
        logger.info("prompt waits", extra={"action": "prompt.escalated", "promptId": stored.id, "stage": stored.stage})

    def _time_out(self, draft: Draft, live: LiveRun, prompt: Prompt) -> None:
        ended = lifecycle.end_prompt(prompt, PromptStatus.TIMEOUT, handler="timeout", at=draft.now)
        self._end_unanswered(draft, live, ended, PromptStatus.PENDING)

    def _end_unanswered(self, draft: Draft, live: LiveRun, ended: Prompt, expect: PromptStatus) -> None:
        """The prompt ends, its agent hears why and stops, its run fails."""
        reason = unanswered_reason(ended)
        seq = draft.next_seq()
        stored = replace(ended, seq=seq)
        draft.store_prompt(stored, expect)
        draft.tell(PromptResolved(stored), seq)
        bridge_id = live.run.bridge_id
        refusal = refusal_frame(stored, reason)
        if bridge_id is not None and refusal is not None:
            draft.send(bridge_id, refusal)
        if bridge_id is not None:
            draft.send(bridge_id, Abort(request_id=live.request_id))
        end_run(draft, live, RunStatus.FAILED, error=Failure(PROMPT_TIMEOUT, f"{reason}. Retry to be asked again."))
        self._dispatcher.advance(draft)
        logger.warning(
            "prompt ended without an answer",
            extra={"action": f"prompt.{stored.status}", "promptId": stored.id, "requestId": stored.request_id},
        )

    # --- ended by hand -----------------------------------------------------------------------------------------

    async def _missing(self) -> list[Prompt]:
        """Prompts that wait here and not in the store: somebody ended them there (docs/permissions.md)."""
        waiting = self._lanes.pending_prompts()
        if not waiting or self._clock.monotonic() - self._looked_at < _LOOK_EVERY_S:
            return []
        self._looked_at = self._clock.monotonic()
        stored = await self._store.prompts(PromptStatus.PENDING, limit=_MOST_PENDING)
        if len(stored) == _MOST_PENDING:
            return []
        there = {prompt.id for prompt in stored}
        return [prompt for prompt in waiting if prompt.id not in there]

    async def _ended_by_hand(self, known: Prompt) -> None:
        async with self._lanes.turn(known.conversation_id) as memory:
            prompt, stored = memory.prompts.get(known.id), await self._store.prompt(known.id)
            if prompt is None or prompt.status is not PromptStatus.PENDING or stored is None:
                return
            if stored.status is PromptStatus.PENDING:
                return
            draft = self._lanes.draft(memory)
            self._adopt(draft, memory.runs[stored.request_id], stored)
            await self._lanes.commit(draft)

    def _to_be_adopted(self) -> list[Run]:
        """Runs of prompts that somebody ended in the store, and that this server has read anew since then.

        It was started again, or an answer met what had been ended there. And runs that wait for a person whom no
        prompt asks, whatever became of it.
        """
        asking = {prompt.request_id for prompt in self._lanes.pending_prompts()}
        ended = {prompt.request_id for prompt in self._lanes.ended_prompts() if _was_ended_by_hand(prompt)}
        return [
            live.run
            for live in self._lanes.open_runs()
            if live.request_id in ended or (live.status is RunStatus.AWAITING_INPUT and live.request_id not in asking)
        ]

    async def _adopt_ended(self, run: Run) -> None:
        async with self._lanes.turn(run.conversation_id) as memory:
            live = memory.runs.get(run.request_id)
            if live is None:
                return
            draft = self._lanes.draft(memory)
            ended = _ended_by_hand(prompt for prompt in memory.prompts.values() if prompt.request_id == run.request_id)
            if ended is not None:
                # As this server knew it, so that its end goes into the audit like any other.
                memory.prompts[ended.id] = replace(ended, status=PromptStatus.PENDING)
                self._adopt(draft, live, ended)
            go_on(draft, live)
            if not draft.is_bare:
                await self._lanes.commit(draft)

    def _adopt(self, draft: Draft, live: LiveRun, stored: Prompt) -> None:
        """Do what belongs to the end of a prompt that somebody gave it in the store."""
        ended = replace(
            stored, responded_at=stored.responded_at or draft.now, auto_handler=stored.auto_handler or "cleanup"
        )
        if ended.status is not PromptStatus.ANSWERED or ended.selected_option is None:
            self._end_unanswered(draft, live, ended, stored.status)
            return
        seq = draft.next_seq()
        draft.store_prompt(replace(ended, seq=seq), stored.status)
        draft.tell(PromptResolved(replace(ended, seq=seq)), seq)
        go_on(draft, live)
        if live.run.bridge_id is not None:
            draft.send(live.run.bridge_id, response_frame(ended))

    # --- grants and modes --------------------------------------------------------------------------------------

    async def _grant_due(self, grant: Grant) -> None:
        ended = expire(grant)
        await self._store.put_grant(ended)
        self._lanes.standing.note([ended])

    async def _bypass_due(self, conversation_id: ConversationId) -> None:
        async with self._lanes.turn(conversation_id) as memory:
            conversation = memory.conversation
            is_over = _has_passed(conversation.bypass_until, self._clock.now())
            if conversation.permission_mode is not PermissionMode.BYPASS or not is_over:
                self._lanes.note_bypass(conversation)
                return
            draft = self._lanes.draft(memory)
            end_bypass(draft)
            await self._lanes.commit(draft)

    def _forget_looks(self) -> None:
        pending: set[PromptId] = {prompt.id for prompt in self._lanes.pending_prompts()}
        for prompt_id in self._watchers.prompts():
            if prompt_id not in pending:
                self._watchers.forget(prompt_id)


def _was_ended_by_hand(prompt: Prompt) -> bool:
    """Whether a prompt of a run that goes on was ended in the store: a server notes when it ended, and ends the run of
    one that timed out with it.
    """
    is_ended = prompt.status is not PromptStatus.PENDING
    return prompt.status is PromptStatus.TIMEOUT or (is_ended and prompt.responded_at is None)


def _ended_by_hand(prompts: Iterable[Prompt]) -> Prompt | None:
    """One that ended so; of several first one that nobody answered, because that ends the run."""
    found = [prompt for prompt in prompts if _was_ended_by_hand(prompt)]
    return min(found, key=lambda prompt: prompt.status is PromptStatus.ANSWERED, default=None)


async def _isolated(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except (Unavailable, LeaseLost):
        raise
    except Exception:  # one item's failure must not stop the others (job item)
        logger.exception("what was due could not be done", extra={"action": "jobs.failed"})


def _later(act: "Callable[[Any], Awaitable[None]]", item: object) -> Callable[[], Awaitable[None]]:
    return lambda: act(item)


def _has_passed(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now
