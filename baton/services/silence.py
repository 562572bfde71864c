"""Runs of which nothing is heard: their bridge is asked what they wait for, before anybody calls them stuck.

A tool that works for ten minutes, or a person who thinks, is not stuck. Where nobody can say what is waited for, the
run gets a deadline that is shown and can be extended; the first sign of life takes it away (`absorb`), and `deadlines`
acts on it.
"""

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from baton.core.errors import AgentFailed, BatonError, NotFound
from baton.core.ids import BridgeId
from baton.core.limits import Limits
from baton.core.models import Run, RunStatus
from baton.core.ports import BridgeLink, Clock
from baton.core.text import Json
from baton.services.lanes import Lanes
from baton.services.memory import LiveRun

logger = logging.getLogger(__name__)

SILENT: Final = (RunStatus.DISPATCHED, RunStatus.RUNNING)
_BUSY: Final = ("tool", "person", "queue", "end")
"""What a bridge may say that a run waits for, and that is no silence of the agent's."""
_AT_ONCE: Final = 16
"""Bridges asked at the same moment."""


class Silence:
    """See the module."""

    def __init__(self, *, lanes: Lanes, link: BridgeLink, clock: Clock, limits: Limits) -> None:
        self._lanes = lanes
        self._link = link
        self._clock = clock
        self._limits = limits
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def sweep(self) -> int:
        """Look at every silent run; at how many. Idempotent."""
        if not self._limits.stuck_after_s:
            return 0
        silent = [live.run for live in list(self._lanes.open_runs()) if self._is_silent(live)]
        async with asyncio.TaskGroup() as tasks:
            for run in silent:
                tasks.create_task(self._look(run), name=f"silence {run.request_id}")
        return len(silent)

    def _is_silent(self, live: LiveRun) -> bool:
        if live.status not in SILENT or live.run.abort_requested_at is not None or live.run.away:
            return False
        heard = live.last_event_at or live.run.dispatched_at
        return heard is not None and self._may_be_silent(heard)

    def _may_be_silent(self, heard: datetime) -> bool:
        """Also where it was heard in a time that is still to come, before the clock was set back: its bridge knows."""
        age_s = (self._clock.now() - heard).total_seconds()
        return age_s >= self._limits.stuck_after_s or age_s < -1

    async def _look(self, run: Run) -> None:
        assert run.bridge_id is not None, "a run that was dispatched has its bridge"
        async with self._slots:
            try:
                waits_for, age_s = await self._ask(run, run.bridge_id)
                is_silent = waits_for not in _BUSY and age_s >= self._limits.stuck_after_s
                grace_s = self._limits.model_grace_s if waits_for == "model" else self._limits.stuck_grace_s
                await self._note(run, grace_s if is_silent else None)
            except NotFound:
                return
            except BatonError as error:
                # A bridge that does not answer is found by its heartbeat; a store that is away by the next write.
                logger.debug(
                    "a silent run could not be asked about",
                    extra={"action": "run.unasked", "requestId": run.request_id, "code": error.code},
                )

    async def _ask(self, run: Run, bridge_id: BridgeId) -> tuple[str, float]:
        """What the run waits for, and for how many seconds its agent has said nothing."""
        try:
            answer: Json = await self._link.call(
                bridge_id, "run.status", {"requestId": run.request_id}, self._limits.rpc_timeout_s
            )
        except AgentFailed as error:
            if error.code != NotFound.code:
                raise
            return "nothing", float("inf")
        told = answer if isinstance(answer, dict) else {}
        age = told.get("lastEventAgeS")
        return str(told.get("waitsFor")), float(age) if isinstance(age, (int, float)) else float("inf")

    async def _note(self, run: Run, grace_s: float | None) -> None:
        """Give the run a deadline, or take it away, if it is still as silent as it was."""
        async with self._lanes.turn(run.conversation_id) as memory:
            live = memory.runs.get(run.request_id)
            if live is None or live.status is not run.status or live.last_event_at != run.last_event_at:
                return
            if (live.deadline_at is not None) == (grace_s is not None) or live.run.away:
                return
            draft = self._lanes.draft(memory)
            deadline, reason = None, None
            if grace_s is not None:
                silent = live.last_event_at or live.run.dispatched_at or draft.now
                minutes = max(1, round((draft.now - silent).total_seconds() / 60))
                deadline = draft.now + timedelta(seconds=grace_s)
                reason = f"The agent has said nothing for {minutes} minutes"
            draft.move_run(live, replace(live.run, deadline_at=deadline, deadline_reason=reason))
            await self._lanes.commit(draft)
