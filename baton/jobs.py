"""Everything that runs by itself, as named jobs of one aiojobs scheduler: flush, dispatch, sweeps, lease.

Jobs know when, services know what. A job that fails is logged, counted and goes on; only a lost lease ends the server.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import aiojobs

from baton.core.errors import LeaseLost, StoreUnavailable
from baton.core.ports import Clock

logger = logging.getLogger(__name__)

RENEW_EVERY_S: Final = 5.0
FAILURES_TOLD: Final = 3
"""Rounds of a job that have failed one after the other until /health tells."""
LATE_S: Final = 60.0
"""How long a round may be overdue, beside three times its interval, until /health tells."""
_CLOSE_JOB_S: Final = 1.0


@dataclass(slots=True, kw_only=True)
class JobRecord:
    """What is known of one job since the start of the process. Not stored."""

    name: str
    every_s: float | None
    """None: it lasts as long as the server, and has one round."""
    due_at: float
    """Monotonic: when its next round begins, or the present one began."""
    runs: int = 0
    """Rounds that have begun."""
    failures: int = 0
    failures_in_row: int = 0
    last_success_at: datetime | None = None
    last_duration_s: float | None = None
    has_ended: bool = False
    """It will not run again, although the server goes on. Never set where that is as it should be."""

    def trouble(self, now: float) -> str | None:
        """What is wrong with it, in words that name it; None: nothing."""
        if self.has_ended:
            return f"{self.name} has ended"
        if self.failures_in_row >= FAILURES_TOLD:
            return f"{self.name} failed {self.failures_in_row} times in a row"
        if self.every_s is not None and now - self.due_at > LATE_S + 3 * self.every_s:
            return f"{self.name} is {now - self.due_at:.0f} s late"
        return None


class Jobs:
    """The jobs of one server. `start` them once; `stop` the periodic ones first, then `close` ends all.

    A name is a job's identity: to begin one that is under way does nothing, so that whoever begins several may fail
    in between and try again.
    """

    def __init__(self, clock: Clock, *, on_lease_lost: Callable[[], None]) -> None:
        self._clock = clock
        self._on_lease_lost = on_lease_lost
        self._scheduler: aiojobs.Scheduler | None = None
        self._jobs: dict[str, aiojobs.Job[None]] = {}
        self._records: dict[str, JobRecord] = {}
        self._is_stopping = False

    @property
    def is_running(self) -> bool:
        """Whether jobs are under way; for /health."""
        return self._scheduler is not None and not self._scheduler.closed

    @property
    def records(self) -> tuple[JobRecord, ...]:
        """Of every job that was begun, in that order."""
        return tuple(self._records.values())

    def troubles(self) -> tuple[str, ...]:
        """What is wrong with which job, in words; empty where nothing is."""
        if self._is_stopping:
            return ()
        now = self._clock.monotonic()
        return tuple(trouble for record in self.records if (trouble := record.trouble(now)) is not None)

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Make the scheduler. To be called in the loop that the jobs run in."""
        # The time to close is named because aiojobs' own, 0.1 s, is less than a write to a busy disk takes.
        self._scheduler = aiojobs.Scheduler(
            limit=None, close_timeout=_CLOSE_JOB_S, exception_handler=_failed_outside_of_rounds
        )

    async def spawn(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run something that lasts as long as the server."""
        record = JobRecord(name=name, every_s=None, due_at=self._clock.monotonic())
        await self._begin(record, lambda: self._last(record, work))

    async def every(
        self, seconds: float, name: str, work: Callable[[], Awaitable[object]], *, first_s: float | None = None
    ) -> None:
        """Do `work` again and again, `seconds` apart, whatever it raises; the first time after `first_s`."""

        async def never_done() -> bool:
            await work()
            return False

        await self.until_done(seconds, name, never_done, first_s=first_s)

    async def until_done(
        self, seconds: float, name: str, work: Callable[[], Awaitable[bool]], *, first_s: float | None = None
    ) -> None:
        """As `every`, until `work` says that it is done."""
        wait_s = seconds if first_s is None else first_s
        record = JobRecord(name=name, every_s=seconds, due_at=self._clock.monotonic() + wait_s)
        await self._begin(record, lambda: self._repeat(record, seconds, work, wait_s))

    async def stop(self) -> None:
        """End the periodic jobs, and begin none any more: nothing is timed out by a server that is leaving.

        Idempotent; at most a second, for all of them together.
        """
        self._is_stopping = True
        periodic = [
            self._jobs.pop(name) for name, record in self._records.items() if record.every_s and name in self._jobs
        ]
        await asyncio.gather(*(_close(job) for job in periodic))

    async def close(self) -> None:
        """End all jobs. Idempotent; at most a second for the periodic ones, and another for the rest."""
        await self.stop()
        if self._scheduler is not None:
            await self._scheduler.close()

    # --- rounds ------------------------------------------------------------------------------------------------

    async def _begin(self, record: JobRecord, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        assert self._scheduler is not None, "jobs are begun after start"
        known = self._jobs.get(record.name)
        if self._is_stopping or (known is not None and not known.closed):
            return
        self._records[record.name] = record
        self._jobs[record.name] = await self._scheduler.spawn(work(), name=record.name)

    async def _last(self, record: JobRecord, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        record.runs += 1
        try:
            await work()
        except Exception:
            record.failures += 1
            raise
        finally:
            # Nobody asks any more where it ends with the server (`troubles`).
            record.has_ended = True

    async def _repeat(
        self, record: JobRecord, seconds: float, work: Callable[[], Awaitable[bool]], wait_s: float
    ) -> None:
        while True:
            await self._clock.sleep(wait_s)
            try:
                if await self._round(record, work):
                    del self._records[record.name]
                    return
            except LeaseLost:
                logger.error("another process owns the database", extra={"action": "store.lease_lost"})
                record.has_ended = True
                self._on_lease_lost()
                return
            wait_s = seconds
            record.due_at = self._clock.monotonic() + wait_s

    async def _round(self, record: JobRecord, work: Callable[[], Awaitable[bool]]) -> bool:
        """Do it once and write down how it went; whether it is done. Raises LeaseLost."""
        record.runs += 1
        began = self._clock.monotonic()
        try:
            is_done = await work()
        except LeaseLost:
            raise
        except StoreUnavailable as error:
            logger.warning(
                "store is away", extra={"action": "store.unavailable", "job": record.name, "reason": error.message}
            )
        except Exception:  # a job's round must not end the job (job item)
            logger.exception("job failed", extra={"action": "jobs.failed", "job": record.name})
        else:
            record.failures_in_row = 0
            record.last_success_at = self._clock.now()
            record.last_duration_s = self._clock.monotonic() - began
            return is_done
        record.failures += 1
        record.failures_in_row += 1
        record.last_duration_s = self._clock.monotonic() - began
        return False


async def _close(job: "aiojobs.Job[None]") -> None:
    try:
        await job.close(timeout=_CLOSE_JOB_S)
    except TimeoutError:
        # Waited for no longer: what it was writing, the next start mends.
        logger.warning("job does not end", extra={"action": "jobs.stuck", "job": job.get_name()})
    except Exception:  # a stop goes on whatever one job's last words are
        logger.exception("job ended by an error", extra={"action": "jobs.failed", "job": job.get_name()})


def _failed_outside_of_rounds(scheduler: aiojobs.Scheduler, context: dict[str, Any]) -> None:
    job = context.get("job")
    logger.error(
        "job ended by an error",
        extra={"action": "jobs.failed", "job": job.get_name() if isinstance(job, aiojobs.Job) else str(job)},
        exc_info=context.get("exception"),
    )
