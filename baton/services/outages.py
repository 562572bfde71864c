"""Time in which nobody could have answered (server down, machine asleep, a clock that jumped) does not count.

The store holds up to when a server was at work while something had a deadline; what passed since then is added to all
deadlines. Within one process the same is seen between two rounds of the sweep.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from baton.core.errors import LeaseLost, NotFound, Unavailable
from baton.core.ids import ConversationId
from baton.core.models import Prompt, Run
from baton.core.ports import Clock, Store
from baton.services.drafts import Draft
from baton.services.lanes import Lanes
from baton.services.watching import store_pending

logger = logging.getLogger(__name__)

_ROUND_S: Final = 10.0
"""Longer than this no round of the sweep takes: what is beyond it, nobody was there."""
_TOLERANCE_S: Final = 2.0
_NOTE_EVERY_S: Final = 10.0


class Outages:
    """See the module."""

    def __init__(self, *, store: Store, lanes: Lanes, clock: Clock) -> None:
        self._store = store
        self._lanes = lanes
        self._clock = clock
        self._wall = clock.now()
        self._monotonic = clock.monotonic()
        self._noted: float | None = None

    async def resume(self) -> None:
        """At a start, before anybody is let in: move all deadlines by the time in which no server was there."""
        alive_at = await self._store.alive_at()
        now = self._clock.now()
        if alive_at is not None and now - alive_at > timedelta(seconds=_TOLERANCE_S):
            await self._shift(lambda since: now - max(since, alive_at))
        await self._note()
        self._begin_round()

    async def tick(self) -> None:
        """Once per round of the sweep: move all deadlines by what passed without counting. Raises Unavailable."""
        counted = min(self._clock.monotonic() - self._monotonic, _ROUND_S)
        drift = self._clock.now() - self._wall - timedelta(seconds=counted)
        self._begin_round()
        if abs(drift) > timedelta(seconds=_TOLERANCE_S):
            logger.warning(
                "time passed that does not count", extra={"action": "clock.gap", "seconds": drift.total_seconds()}
            )
            await self._shift(lambda _: drift)
            self._noted = None
        is_due = self._noted is None or self._clock.monotonic() - self._noted >= _NOTE_EVERY_S
        if is_due and self._has_deadlines():
            await self._note()

    def _begin_round(self) -> None:
        self._wall, self._monotonic = self._clock.now(), self._clock.monotonic()

    async def _note(self) -> None:
        await self._store.note_alive(self._clock.now())
        self._noted = self._clock.monotonic()

    def _has_deadlines(self) -> bool:
        if any(live.deadline_at is not None for live in self._lanes.open_runs()):
            return True
        return any(prompt.timeout_at or prompt.stage_at for prompt in self._lanes.pending_prompts())

    async def _shift(self, by: Callable[[datetime], timedelta]) -> None:
        """`by`: how much, for something that waits since then."""
        for conversation_id in self._lanes.conversations_with_open_runs():
            try:
                await self._shift_one(conversation_id, by)
            except NotFound:
                continue
            except (Unavailable, LeaseLost):
                raise
            except Exception:  # one conversation's failure must not stop the others (job item)
                logger.exception(
                    "deadlines could not be moved", extra={"action": "jobs.failed", "conversationId": conversation_id}
                )

    async def _shift_one(self, conversation_id: ConversationId, by: Callable[[datetime], timedelta]) -> None:
        async with self._lanes.turn(conversation_id) as memory:
            draft = self._lanes.draft(memory)
            for live in list(memory.runs.values()):
                if live.run.deadline_at is not None:
                    moved = live.run.deadline_at + by(_waits_since(live.run))
                    draft.move_run(live, replace(live.run, deadline_at=moved))
            for prompt in memory.pending_prompts():
                _shift_prompt(draft, prompt, by(prompt.created_at))
            if not draft.is_bare:
                await self._lanes.commit(draft)


def _waits_since(run: Run) -> datetime:
    """Its deadline was set no earlier than this."""
    return max(at for at in (run.queued_at, run.dispatched_at, run.last_event_at) if at is not None)


def _shift_prompt(draft: Draft, prompt: Prompt, by: timedelta) -> None:
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
