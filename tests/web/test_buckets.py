"""Token buckets: how many at once, how many later, and in how much memory."""

import pytest

from baton.testing.clock import FakeClock
from baton.web.buckets import Buckets


def taken(buckets: Buckets, name: str, tries: int) -> int:
    """How many of so many tries got one."""
    return sum(buckets.take(name) == 0 for _ in range(tries))


@pytest.mark.parametrize("per_minute", [1, 3, 7, 60, 6000])
def test_so_many_may_come_at_once_and_no_more(per_minute: int) -> None:
    assert taken(Buckets(per_minute, FakeClock()), "anna", per_minute + 10) == per_minute


@pytest.mark.parametrize("per_minute", [1, 3, 7, 60, 6000])
def test_a_minute_fills_it_again(per_minute: int) -> None:
    clock = FakeClock()
    buckets = Buckets(per_minute, clock)
    taken(buckets, "anna", per_minute)
    clock.advance(60)
    assert taken(buckets, "anna", per_minute + 10) == per_minute


def test_half_a_minute_fills_half_of_it() -> None:
    clock = FakeClock()
    buckets = Buckets(60, clock)
    taken(buckets, "anna", 60)
    clock.advance(30)
    assert taken(buckets, "anna", 60) == 30


def test_who_comes_after_the_told_seconds_gets_one() -> None:
    clock = FakeClock()
    buckets = Buckets(7, clock)
    taken(buckets, "anna", 7)
    wait_s = buckets.take("anna")
    assert wait_s == 9, "60 / 7, rounded up"
    clock.advance(wait_s)
    assert buckets.take("anna") == 0


def test_a_refused_try_costs_nothing() -> None:
    clock = FakeClock()
    buckets = Buckets(60, clock)
    taken(buckets, "anna", 1000)
    clock.advance(1)
    assert buckets.take("anna") == 0


def test_one_does_not_empty_the_others() -> None:
    buckets = Buckets(5, FakeClock())
    taken(buckets, "anna", 10)
    assert taken(buckets, "ben", 10) == 5


def test_zero_never_refuses_and_remembers_nobody() -> None:
    buckets = Buckets(0, FakeClock())
    assert taken(buckets, "anna", 10_000) == 10_000
    assert len(buckets) == 0


def test_a_clock_that_was_still_for_days_leaves_one_bucket_full_and_not_more() -> None:
    clock = FakeClock()
    buckets = Buckets(5, clock)
    clock.advance(7 * 24 * 3600)
    assert taken(buckets, "anna", 100) == 5


def test_thousands_of_names_take_bounded_memory() -> None:
    buckets = Buckets(5, FakeClock(), most_names=100)
    for number in range(20_000):
        assert buckets.take(f"10.0.{number // 256}.{number % 256}") == 0
    assert len(buckets) == 100


def test_who_comes_again_and_again_is_not_forgotten_for_others() -> None:
    buckets = Buckets(200, FakeClock(), most_names=10)
    for number in range(200):
        assert buckets.take("anna") == 0
        buckets.take(f"other {number}")
    assert buckets.take("anna") > 0
