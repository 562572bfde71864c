"""Everything that runs by itself, as named jobs of one aiojobs scheduler: flush, dispatch, sweeps, lease.

Jobs know when, services know what. A job that fails is logged and goes on; only a lost lease ends the server.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import aiojobs

from baton.core.errors import LeaseLost, StoreUnavailable
from baton.core.ports import Clock

logger = logging.getLogger(__name__)

SWEEP_EVERY_S: Final = 1.0
RENEW_EVERY_S: Final = 5.0
FIRST_CLEAN_UP_S: Final = 300.0
"""After a start people and bridges come back first."""
_CLOSE_JOB_S: Final = 1.0


class Jobs:
    """The jobs of one server. `start` them once; `stop` the periodic ones first, then `close` ends all."""

    def __init__(self, clock: Clock, *, on_lease_lost: Callable[[], None]) -> None:
        self._clock = clock
        self._on_lease_lost = on_lease_lost
        self._scheduler: aiojobs.Scheduler | None = None
        self._periodic: list[aiojobs.Job[None]] = []
        self.failures: dict[str, int] = {}
        """How often each job's work has failed since the start."""

    @property
    def is_running(self) -> bool:
        """Whether jobs are under way; for /health."""
        return self._scheduler is not None and not self._scheduler.closed

    async def start(self) -> None:
        """Make the scheduler. To be called in the loop that the jobs run in."""
        self._scheduler = aiojobs.Scheduler(limit=None, wait_timeout=_CLOSE_JOB_S, exception_handler=self._failed)

    async def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run something that lasts as long as the server."""
        assert self._scheduler is not None, "jobs are spawned after start"
        await self._scheduler.spawn(work, name=name)

    async def every(
        self, seconds: float, name: str, work: Callable[[], Awaitable[object]], *, first_s: float | None = None
    ) -> None:
        """Do `work` again and again, `seconds` apart, whatever it raises; the first time after `first_s`."""
        assert self._scheduler is not None, "jobs are spawned after start"
        rounds = self._repeat(seconds, name, work, seconds if first_s is None else first_s)
        self._periodic.append(await self._scheduler.spawn(rounds, name=name))

    async def stop(self) -> None:
        """End the periodic jobs: nothing is timed out by a server that is leaving. Idempotent."""
        while self._periodic:
            # One that does not end in time is waited for no longer: what it was writing, the next start mends.
            with contextlib.suppress(TimeoutError):
                await self._periodic.pop().close(timeout=_CLOSE_JOB_S)

    async def close(self) -> None:
        """End all jobs. Idempotent; each has a second to end."""
        await self.stop()
        if self._scheduler is not None:
            await self._scheduler.close()

    async def _repeat(self, seconds: float, name: str, work: Callable[[], Awaitable[object]], wait_s: float) -> None:
        while True:
            await self._clock.sleep(wait_s)
            wait_s = seconds
            try:
                await work()
            except LeaseLost:
                logger.error("another process owns the database", extra={"action": "store.lease_lost"})
                self._on_lease_lost()
                return
            except StoreUnavailable as error:
                self.failures[name] = self.failures.get(name, 0) + 1
                logger.warning(
                    "store is away", extra={"action": "store.unavailable", "job": name, "reason": error.message}
                )
            except Exception:  # a job's round must not end the job (job item)
                self.failures[name] = self.failures.get(name, 0) + 1
                logger.exception("job failed", extra={"action": "jobs.failed", "job": name})

    def _failed(self, scheduler: aiojobs.Scheduler, context: dict[str, Any]) -> None:
        logger.error(
            "job ended by an error",
            extra={"action": "jobs.failed", "job": str(context.get("job"))},
            exc_info=context.get("exception"),
        )
