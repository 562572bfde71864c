"""Trying out tokens becomes slow; everybody else notices nothing."""

from baton.testing.clock import FakeClock
from baton.web.guesses import FORGOTTEN_AFTER_S, LONGEST_WAIT_S, Guesses

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


class World:
    """A server that knows one token, and its clock."""

    def __init__(self, free: int = 3, most: int = 1000) -> None:
        self.clock = FakeClock()
        self.guesses = Guesses(free, self.clock, most)

    def try_one(self, token: str, address: str = HERE) -> bool:
        """Whether the token was looked at."""
        if self.guesses.wait_s(address, token):
            return False
        (self.guesses.right if token == "right" else self.guesses.wrong)(address, token)
        return True

    def try_many(self, count: int, address: str = HERE) -> int:
        """How many of so many different wrong ones were looked at."""
        return sum(self.try_one(f"wrong {number} {self.clock.monotonic()}", address) for number in range(count))


def test_a_few_wrong_ones_cost_nothing() -> None:
    assert World(free=3).try_many(3) == 3


def test_then_each_costs_twice_the_wait_of_the_one_before() -> None:
    world, waits = World(free=3), []
    world.try_many(3)
    for number in range(12):
        waits.append(world.guesses.wait_s(HERE, "next"))
        world.clock.advance(waits[-1])
        assert world.try_one(f"guess {number}")
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_a_day_of_guessing_tries_a_few_hundred() -> None:
    world, looked_at = World(free=20), 0
    for _ in range(24 * 3600):
        looked_at += world.try_many(2)
        world.clock.advance(1)
    assert looked_at < 350


def test_a_refused_guess_makes_the_wait_no_longer() -> None:
    world = World()
    world.try_many(1000)
    world.clock.advance(1)
    assert world.try_one("right")


def test_elsewhere_nobody_waits() -> None:
    world = World()
    world.try_many(1000)
    assert not world.try_one("right"), "it may be a guess like the others"
    assert world.try_one("right", ELSEWHERE)


def test_a_token_that_was_right_there_before_is_let_through() -> None:
    world = World()
    assert world.try_one("right")
    world.try_many(1000)
    assert world.try_one("right")


def test_being_right_does_not_make_guessing_free() -> None:
    world = World()
    assert world.try_one("right")
    assert sum(world.try_many(1) + 0 * world.try_one("right") for _ in range(100)) == 3


def test_one_stale_token_locks_out_nobody_but_itself() -> None:
    world = World(free=3)
    assert sum(world.try_one("revoked") for _ in range(100)) == 3
    assert world.try_one("right")


def test_a_token_that_is_revoked_is_a_wrong_one_from_then_on() -> None:
    world = World(free=3)
    world.guesses.right(HERE, "revoked")
    assert sum(world.try_one("revoked") for _ in range(100)) == 3


def test_after_a_while_nothing_is_held_against_it() -> None:
    world = World()
    world.try_many(1000)
    world.clock.advance(FORGOTTEN_AFTER_S + 1)
    assert world.try_many(1000) == 3


def test_no_wait_is_longer_than_the_longest_however_many_there_were() -> None:
    world = World()
    for number in range(2000):
        world.guesses.wrong(HERE, f"in flight {number}")
    assert world.guesses.wait_s(HERE, "next") == LONGEST_WAIT_S


def test_thousands_of_addresses_and_tokens_take_bounded_memory() -> None:
    world = World(most=100)
    for number in range(5000):
        world.guesses.wrong(f"10.0.{number // 256}.{number % 256}", "wrong")
        world.guesses.right(HERE, f"right {number}")
        world.guesses.wrong(HERE, f"wrong {number}")
    assert len(world.guesses) == 200


def test_zero_never_waits() -> None:
    world = World(free=0)
    assert world.try_many(1000) == 1000
    assert len(world.guesses) == 0


def test_what_is_no_utf_8_is_a_token_like_others() -> None:
    assert World().try_one("\udc80")
