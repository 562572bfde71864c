"""Time in which nobody could have answered (server down, machine asleep, a clock that jumped) does not count.

The store holds up to when a server was at work while something had a deadline; what passed since then is added to all
deadlines. Within one process the same is seen between two rounds of the sweep; until then nobody sees the jump
(`steady`), and after it every conversation's deadlines are moved before anybody else has a turn in it (`lanes`).
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from baton.core.errors import LeaseLost, NotFound, Unavailable
from baton.core.ports import Store
from baton.services.lanes import Lanes
from baton.services.postponing import postpone
from baton.services.steady import SteadyClock

logger = logging.getLogger(__name__)

_ROUND_S: Final = 10.0
"""Longer than this no round of the sweep takes: what is beyond it, nobody was there."""
_TOLERANCE_S: Final = 2.0
_NOTE_EVERY_S: Final = 10.0


class Outages:
    """See the module."""

    def __init__(self, *, store: Store, lanes: Lanes, clock: SteadyClock) -> None:
        self._store = store
        self._lanes = lanes
        self._clock = clock
        self._looked_at = clock.monotonic()
        self._noted: float | None = None

    async def resume(self) -> None:
        """At a start, before anybody is let in: move all deadlines by the time in which no server was there."""
        alive_at = await self._store.alive_at()
        self._clock.catch_up()
        now = self._clock.now()
        if alive_at is not None and abs(now - alive_at) > timedelta(seconds=_TOLERANCE_S):
            # What waits since a time that is still to come has it from before the clock was set back.
            await self._shift(lambda since: now - (since if alive_at <= since <= now else alive_at))
        await self._note()
        self._looked_at = self._clock.monotonic()

    def look(self) -> None:
        """Once per round of the sweep, before anything is judged: what has passed since the last one without counting?

        What got its deadline between the end of a standstill and this look is postponed with the rest.
        """
        now = self._clock.monotonic()
        stood_still = max(0.0, now - self._looked_at - _ROUND_S)
        drift = self._clock.catch_up() + timedelta(seconds=stood_still)
        self._looked_at = now
        if abs(drift) > timedelta(seconds=_TOLERANCE_S):
            logger.warning(
                "time passed that does not count", extra={"action": "clock.gap", "seconds": drift.total_seconds()}
            )
            self._lanes.postpone(drift)
            self._noted = None

    async def tick(self) -> None:
        """After each look: store what it has moved, and that a server is at work. Raises Unavailable."""
        await self._lanes.store_postponed()
        is_due = self._noted is None or self._clock.monotonic() - self._noted >= _NOTE_EVERY_S
        if is_due and self._has_deadlines():
            await self._note()

    async def _note(self) -> None:
        await self._store.note_alive(self._clock.now())
        self._noted = self._clock.monotonic()

    def _has_deadlines(self) -> bool:
        if self._lanes.bypassing or any(live.deadline_at is not None for live in self._lanes.open_runs()):
            return True
        return any(prompt.timeout_at or prompt.stage_at for prompt in self._lanes.pending_prompts())

    async def _shift(self, by: Callable[[datetime], timedelta]) -> None:
        """`by`: how much, for something that waits since then."""
        for conversation_id in {*self._lanes.conversations_with_open_runs(), *self._lanes.bypassing}:
            try:
                async with self._lanes.turn(conversation_id) as memory:
                    draft = self._lanes.draft(memory)
                    postpone(draft, by)
                    if not draft.is_bare:
                        await self._lanes.commit(draft)
            except NotFound:
                continue
            except (Unavailable, LeaseLost):
                raise
            except Exception:  # one conversation's failure must not stop the others (job item)
                logger.exception(
                    "deadlines could not be moved", extra={"action": "jobs.failed", "conversationId": conversation_id}
                )
