"""A busy bridge is read in strides, a quiet one at once, and nobody is left unread."""

import asyncio

import pytest

from baton.bridge.pace import LEAD, Pace

STRIDE_S = 0.02
LONG_S = 3600.0


class Transport(asyncio.ReadTransport):
    """Only knows whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = True

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


def at_once() -> float:
    """What is received now can be written now."""
    return 0.0


async def until_read(transport: Transport) -> None:
    async with asyncio.timeout(30):
        while not transport.is_read:
            await asyncio.sleep(0.001)


async def test_a_frame_alone_does_not_stop_the_reading() -> None:
    transport = Transport()
    Pace(transport, LONG_S, at_once).rest()
    assert transport.is_read


async def test_frames_that_follow_each_other_closely_stop_it_for_a_stride() -> None:
    transport = Transport()
    pace = Pace(transport, STRIDE_S, at_once)
    pace.rest()
    pace.rest()
    assert not transport.is_read
    await until_read(transport)


async def test_without_a_floor_everything_is_read_as_it_comes() -> None:
    transport = Transport()
    pace = Pace(transport, 0.0, at_once)
    for _ in range(5):
        pace.rest()
    assert transport.is_read


async def test_while_nobody_takes_what_is_read_the_end_of_a_stride_does_not_go_on() -> None:
    transport = Transport()
    pace = Pace(transport, STRIDE_S, at_once)
    pace.rest()
    pace.rest()
    pace.hold()
    await asyncio.sleep(5 * STRIDE_S)
    assert not transport.is_read
    pace.go_on()
    await until_read(transport)


async def test_at_the_end_everything_is_read_at_once() -> None:
    transport = Transport()
    pace = Pace(transport, LONG_S, at_once)
    pace.rest()
    pace.rest()
    pace.end()
    assert transport.is_read


@pytest.mark.parametrize(("rest", "due"), [(-1.0, 1.0), (0.0, 1.0), (0.3, 1.0), (0.6, 0.6), (0.9, 0.9)])
async def test_what_comes_next_is_read_just_before_the_flush_that_can_write_it(rest: float, due: float) -> None:
    """Read just behind it, every frame would wait for a whole flush more. In parts of the floor."""
    pace = Pace(Transport(), LONG_S, lambda: rest * LONG_S)
    pace.rest()
    pace.rest()
    assert pace._resting is not None
    wait_s = pace._resting.when() - asyncio.get_running_loop().time()
    pace.end()
    assert wait_s / LONG_S == pytest.approx(due - LEAD, abs=0.01)
