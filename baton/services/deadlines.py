"""What happens when time passes: aborts that nobody answered, queues that nobody serves, bridges that stay away.

Every deadline is stored with its run and shown; `sweep` acts on those that have passed, and on everything else that
is due (`expiry`). It is idempotent, and one item's failure does not stop the others'.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from baton.core.errors import Unavailable
from baton.core.frames import Abort
from baton.core.ids import BridgeId, RequestId
from baton.core.limits import Limits
from baton.core.models import Failure, Run, RunStatus
from baton.core.ports import BridgeLink, Clock
from baton.services.dispatch import Dispatcher
from baton.services.endings import end_run
from baton.services.expiry import Expiry
from baton.services.lanes import Lanes
from baton.services.outages import Outages
from baton.services.silence import SILENT

logger = logging.getLogger(__name__)

_AWAY_REASON = "The bridge is away; the run goes on when it is back"


class Deadlines:
    """See the module."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        link: BridgeLink,
        dispatcher: Dispatcher,
        expiry: Expiry,
        outages: Outages,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._lanes = lanes
        self._expiry = expiry
        self._outages = outages
        self._link = link
        self._dispatcher = dispatcher
        self._clock = clock
        self._limits = limits
        self._gone_since: dict[BridgeId, float] = {}

    async def resume(self) -> None:
        """At a start: the time in which no server was there does not count."""
        await self._outages.resume()

    async def sweep(self) -> int:
        """Act on everything that has passed; on how much. Raises StoreUnavailable, LeaseLost."""
        self._outages.look()
        await self._lanes.writes.look_again()
        await self._outages.tick()
        # Also remembers what the lanes have forgotten, and misses nobody who waits, whatever woke nobody up.
        await self._dispatcher.advance_all()
        self._gone_since = {name: at for name, at in self._gone_since.items() if not self._link.is_connected(name)}
        touched = 0
        for live in list(self._lanes.open_runs()):
            act = self._due(live.run)
            if act is None:
                continue
            try:
                await act(live.run)
                touched += 1
            except Unavailable:
                raise
            except Exception:  # one run's failure must not stop the others (job item)
                logger.exception("sweep failed", extra={"action": "jobs.failed", "requestId": live.run.request_id})
        return touched + await self._expiry.sweep()

    def _due(self, run: Run) -> Callable[[Run], Awaitable[None]] | None:
        now = self._clock.now()
        if self._abort_is_due(run, now):
            return self._end_aborted
        if run.status is RunStatus.QUEUED:
            return self._end_undispatched if _has_passed(run.deadline_at, now) else None
        if run.bridge_id is None:
            return None
        if self._link.is_connected(run.bridge_id) and run.status in SILENT and not run.away:
            return self._end_stuck if _has_passed(run.deadline_at, now) else None
        if not self._is_gone(run.bridge_id):
            return None
        if run.away:
            return self._end_lost if _has_passed(run.deadline_at, now) else None
        return self._set_away

    def _abort_is_due(self, run: Run, now: datetime) -> bool:
        if run.abort_requested_at is None:
            return False
        return now >= run.abort_requested_at + timedelta(seconds=self._limits.abort_grace_s)

    def _is_gone(self, bridge_id: BridgeId) -> bool:
        """Whether a bridge has been without a link for so long that its runs show as away."""
        if self._link.is_connected(bridge_id):
            return False
        since = self._gone_since.setdefault(bridge_id, self._clock.monotonic())
        return self._clock.monotonic() - since >= self._limits.away_after_s

    async def _end_aborted(self, run: Run) -> None:
        await self._end(run, RunStatus.ABORTED, None)

    async def _end_undispatched(self, run: Run) -> None:
        reason = run.deadline_reason or "No bridge service connected"
        message = f"Nobody took the message in time: {reason}. Start a bridge, then retry."
        await self._end(run, RunStatus.FAILED, Failure("dispatch_timeout", message, retryable=True))

    async def _end_lost(self, run: Run) -> None:
        hours = self._limits.away_timeout_s / 3600
        message = f"The bridge {run.bridge_id} did not come back within {hours:g} hours; what was said is kept."
        await self._end(run, RunStatus.FAILED, Failure("bridge_lost", message, retryable=True))

    async def _end_stuck(self, run: Run) -> None:
        reason = run.deadline_reason or "The agent has said nothing"
        message = f"{reason}, and its bridge knows of nothing that it waits for. What was said is kept; retry to go on."
        await self._end(run, RunStatus.FAILED, Failure("stream_stuck", message, retryable=True), tells_bridge=True)

    async def _set_away(self, run: Run) -> None:
        async with self._lanes.turn(run.conversation_id) as memory:
            live = memory.runs.get(run.request_id)
            if live is None or live.run.away or run.bridge_id is None or self._link.is_connected(run.bridge_id):
                return
            draft = self._lanes.draft(memory)
            deadline = draft.now + timedelta(seconds=self._limits.away_timeout_s)
            draft.move_run(live, replace(live.run, away=True, deadline_at=deadline, deadline_reason=_AWAY_REASON))
            await self._lanes.commit(draft)

    async def _end(self, run: Run, to: RunStatus, error: Failure | None, *, tells_bridge: bool = False) -> None:
        async with self._lanes.turn(run.conversation_id) as memory:
            live = memory.runs.get(run.request_id)
            # Between the look and the turn somebody may have extended, dispatched or ended it.
            if live is None or live.run.deadline_at != run.deadline_at or live.run.status is not run.status:
                return
            draft = self._lanes.draft(memory)
            if tells_bridge and run.bridge_id is not None:
                draft.send(run.bridge_id, Abort(request_id=run.request_id))
            end_run(draft, live, to, error=error)
            self._dispatcher.advance(draft)
            await self._lanes.commit(draft)
        logger.warning(
            "deadline passed",
            extra={"action": f"run.{to}", "requestId": RequestId(run.request_id), "code": error and error.code},
        )


def _has_passed(deadline: datetime | None, now: datetime) -> bool:
    return deadline is not None and deadline <= now
