"""Jobs: each repeats whatever happens, says how it is, and ends when it is told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from baton.core.errors import LeaseLost, StoreUnavailable
from baton.jobs import FAILURES_TOLD, LATE_S, JobRecord, Jobs
from baton.testing.clock import FakeClock


class Work:
    """What a job does: counted, and as bad as a test wants it."""

    def __init__(self) -> None:
        self.rounds = 0
        self.error: Exception | None = None
        self.is_done = False

    async def __call__(self) -> bool:
        self.rounds += 1
        if self.error is not None:
            raise self.error
        return self.is_done


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def lost() -> list[str]:
    return []


@pytest.fixture
async def jobs(clock: FakeClock, lost: list[str]) -> AsyncIterator[Jobs]:
    jobs = Jobs(clock, on_lease_lost=lambda: lost.append("lost"))
    await jobs.start()
    yield jobs
    await jobs.close()


@pytest.fixture
def work() -> Work:
    return Work()


def record(jobs: Jobs) -> JobRecord:
    """Of the only job."""
    (one,) = jobs.records
    return one


async def test_a_job_is_done_again_and_again(jobs: Jobs, clock: FakeClock, work: Work) -> None:
    await jobs.every(10, "sweep", work)
    await clock.run_for(9)
    assert work.rounds == 0
    await clock.run_for(22)
    assert work.rounds == 3
    assert (record(jobs).runs, record(jobs).failures) == (3, 0)


async def test_the_first_round_can_come_sooner(jobs: Jobs, clock: FakeClock, work: Work) -> None:
    await jobs.every(100, "sweep", work, first_s=1)
    await clock.run_for(1)
    assert work.rounds == 1
    await clock.run_for(99)
    assert work.rounds == 1
    await clock.run_for(1)
    assert work.rounds == 2


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), ValueError("nobody thought of it")])
async def test_a_failed_round_is_counted_and_the_job_goes_on(
    jobs: Jobs, clock: FakeClock, work: Work, error: Exception
) -> None:
    work.error = error
    await jobs.every(1, "sweep", work)
    await clock.run_for(2)
    work.error = None
    await clock.run_for(1)
    assert (record(jobs).runs, record(jobs).failures, record(jobs).failures_in_row) == (3, 2, 0)
    assert record(jobs).last_success_at == clock.now()


async def test_how_long_a_round_took_is_kept(jobs: Jobs, clock: FakeClock) -> None:
    async def slow() -> None:
        await clock.sleep(4)

    await jobs.every(10, "slow", slow)
    await clock.run_for(14)
    assert record(jobs).last_duration_s == 4


async def test_some_failures_one_after_the_other_are_a_trouble_that_a_success_ends(
    jobs: Jobs, clock: FakeClock, work: Work
) -> None:
    work.error = ValueError("nobody thought of it")
    await jobs.every(1, "sweep", work)
    await clock.run_for(FAILURES_TOLD - 1)
    assert jobs.troubles() == ()
    await clock.run_for(1)
    assert jobs.troubles() == (f"sweep failed {FAILURES_TOLD} times in a row",)
    work.error = None
    await clock.run_for(1)
    assert jobs.troubles() == ()


async def test_a_round_that_does_not_end_is_a_trouble(jobs: Jobs, clock: FakeClock) -> None:
    stuck = asyncio.Event()

    async def wait() -> None:
        await stuck.wait()

    await jobs.every(1, "sweep", wait)
    await clock.run_for(1 + 3 + LATE_S)
    assert jobs.troubles() == ()
    await clock.run_for(1)
    assert jobs.troubles() == (f"sweep is {LATE_S + 4:.0f} s late",)
    stuck.set()
    await clock.run_for(0)
    assert jobs.troubles() == ()


async def test_a_job_with_a_long_interval_is_not_late_between_its_rounds(
    jobs: Jobs, clock: FakeClock, work: Work
) -> None:
    await jobs.every(3600, "clean-up", work)
    await clock.run_for(3500)
    assert jobs.troubles() == ()


async def test_a_job_that_should_last_and_has_ended_is_a_trouble(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("nobody thought of it")

    await jobs.spawn("flush", fail)
    while not record(jobs).has_ended:
        await asyncio.sleep(0)
    assert jobs.troubles() == ("flush has ended",)
    assert (record(jobs).runs, record(jobs).failures) == (1, 1)
    await asyncio.sleep(0)
    assert [entry.__dict__["job"] for entry in caplog.records] == ["flush"]


async def test_a_job_ends_when_it_says_that_it_is_done(jobs: Jobs, clock: FakeClock, work: Work) -> None:
    await jobs.until_done(1, "take-over", work)
    await clock.run_for(2)
    work.is_done = True
    await clock.run_for(5)
    assert work.rounds == 3
    assert jobs.records == ()
    assert jobs.troubles() == ()


async def test_a_name_that_is_under_way_is_not_begun_twice(jobs: Jobs, clock: FakeClock, work: Work) -> None:
    for _ in range(3):
        await jobs.every(1, "sweep", work)
    await clock.run_for(1)
    assert work.rounds == 1


async def test_a_lost_lease_ends_the_job_and_is_told_once(
    jobs: Jobs, clock: FakeClock, work: Work, lost: list[str]
) -> None:
    work.error = LeaseLost("another one")
    await jobs.every(1, "lease", work)
    await clock.run_for(5)
    assert (work.rounds, lost) == (1, ["lost"])


async def test_after_a_stop_nothing_periodic_happens_or_begins(jobs: Jobs, clock: FakeClock, work: Work) -> None:
    await jobs.every(1, "sweep", work)
    await jobs.stop()
    await jobs.every(1, "late", work)
    await clock.run_for(5)
    assert work.rounds == 0
    await jobs.stop()


async def test_what_lasts_goes_on_after_a_stop_until_the_close(jobs: Jobs) -> None:
    ended = asyncio.Event()

    async def last() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await jobs.spawn("flush", last)
    await asyncio.sleep(0)
    await jobs.stop()
    assert not ended.is_set()
    await jobs.close()
    assert ended.is_set()
    assert not jobs.is_running
    assert jobs.troubles() == ()


async def test_a_job_that_fails_while_it_is_closed_stops_no_stop(jobs: Jobs, clock: FakeClock) -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("last words") from None

    await jobs.every(1, "bad", stubborn)
    await clock.run_for(1)
    await jobs.stop()
