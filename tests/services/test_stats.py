"""Series over time: which buckets are asked of the store, and which questions make no sense."""

from datetime import UTC, datetime, timedelta

import pytest

from baton.core.commands import AccountRole, Identity
from baton.core.errors import Forbidden, InvalidRequest
from baton.core.ids import UserId
from baton.core.series import BucketWidth, percentile
from baton.services.stats import MAX_BUCKETS, Stats
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from tests.services.harness import ANNA

HOUR, DAY = BucketWidth.HOUR, BucketWidth.DAY
ADMIN = Identity(UserId("root"), AccountRole.ADMIN)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def stats(store: SqliteStore, clock: FakeClock) -> Stats:
    return Stats(store=store, clock=clock)


@pytest.mark.parametrize(("width", "count"), [(HOUR, 24), (DAY, 30)])
async def test_without_a_span_whole_buckets_up_to_now_are_told(
    stats: Stats, clock: FakeClock, width: BucketWidth, count: int
) -> None:
    span, buckets = await stats.series(ADMIN, since=None, until=None, width=width)
    assert len(buckets) == span.count == count
    assert span.start_of(count - 1) <= clock.now() < span.until
    assert (span.since.minute, span.since.second) == (0, 0)
    assert width is HOUR or span.since.hour == 0


async def test_buckets_begin_at_since_and_the_last_holds_until(stats: Stats) -> None:
    since = datetime(2026, 1, 1, 13, 30, 0, 999_000, tzinfo=UTC)
    span, buckets = await stats.series(ADMIN, since=since, until=since + timedelta(hours=2, minutes=1), width=HOUR)
    assert [bucket.start_at.isoformat()[11:] for bucket in buckets] == [
        "13:30:00+00:00",
        "14:30:00+00:00",
        "15:30:00+00:00",
    ]
    assert span.until == datetime(2026, 1, 1, 16, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "until", "field"),
    [
        (timedelta(0), timedelta(0), "since"),
        (timedelta(hours=1), timedelta(0), "since"),
        (timedelta(hours=-MAX_BUCKETS, minutes=-1), timedelta(0), "since"),
        (timedelta(days=-700_000), timedelta(0), "since"),
        (timedelta(0), timedelta(days=1, seconds=1), "until"),
        (timedelta(0), timedelta(days=2_900_000), "until"),
    ],
)
async def test_a_span_that_makes_no_sense_is_refused(
    stats: Stats, clock: FakeClock, since: timedelta, until: timedelta, field: str
) -> None:
    now = clock.now()
    with pytest.raises(InvalidRequest) as refused:
        await stats.series(ADMIN, since=now + since, until=now + until, width=HOUR)
    assert list(refused.value.fields or {}) == [field]


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([7], 95, 7),
        ([1, 2, 3, 4], 50, 2),
        ([1, 2, 3], 50, 2),
        (list(range(1, 101)), 95, 95),
        (list(range(1, 22)), 95, 20),
    ],
)
def test_a_percentile_is_a_value_that_was_there(values: list[int], percent: int, expected: int | None) -> None:
    assert percentile(values, percent) == expected


async def test_what_happened_over_time_is_for_admins(stats: Stats) -> None:
    with pytest.raises(Forbidden):
        await stats.series(ANNA, since=None, until=None, width=HOUR)
