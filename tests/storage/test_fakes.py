"""The fakes that other tests stand on: the clock that is moved, the stores that hold, fail and die."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from baton.clock import SystemClock
from baton.core.errors import StoreUnavailable
from baton.core.ports import Store
from baton.core.stored import Committed
from baton.storage.sqlite import SqliteStore
from baton.testing import samples
from baton.testing.clock import FakeClock
from baton.testing.stores import FaultyStore, HeldStore, SimulatedCrashError


@pytest.fixture
async def store(sqlite_path: Path) -> AsyncIterator[Store]:
    """A real store."""
    store = SqliteStore(sqlite_path, clock=FakeClock())
    await store.open()
    yield store
    await store.close()


async def test_a_sleeper_wakes_when_its_time_has_come() -> None:
    clock = FakeClock()
    sleeper = asyncio.ensure_future(clock.sleep(5))
    await clock.until_sleeping()
    clock.advance(4.9)
    await asyncio.sleep(0)
    assert not sleeper.done()
    clock.advance(0.2)
    await sleeper
    assert clock.now() == samples.at(5.1)


async def test_a_loop_runs_each_of_its_rounds() -> None:
    clock, rounds = FakeClock(), []

    async def tick() -> None:
        while True:
            await clock.sleep(1)
            rounds.append(clock.monotonic())

    loop = asyncio.ensure_future(tick())
    await clock.run_for(3.5)
    assert [moment - rounds[0] for moment in rounds] == [0, 1, 2]
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    assert clock.sleeping == 0


async def test_a_jump_of_the_wall_clock_wakes_nobody() -> None:
    clock = FakeClock()
    before = clock.monotonic()
    clock.jump(3600)
    assert clock.now() == samples.at(3600)
    assert clock.monotonic() == before


async def test_the_real_clock_is_aware_and_cut_to_milliseconds() -> None:
    clock = SystemClock()
    assert clock.now().utcoffset() is not None
    assert clock.now().microsecond % 1000 == 0
    before = clock.monotonic()
    await clock.sleep(0)
    assert clock.monotonic() >= before


@pytest.mark.parametrize("after_write", [False, True])
async def test_a_held_commit_waits_on_the_side_of_the_write_that_was_asked_for(store: Store, after_write: bool) -> None:
    held = HeldStore(store)
    held.hold(after_write=after_write)
    change = samples.send(samples.conversation(), is_new=True)
    commit = asyncio.ensure_future(held.commit([change]))
    await held.reached.wait()
    assert (await store.conversation(change.conversation_id) is not None) is after_write
    assert list(held.held) == [change]
    held.release()
    assert await commit == [Committed()]


async def test_a_faulty_store_fails_as_often_as_asked(store: Store) -> None:
    faulty = FaultyStore(store)
    faulty.fail(times=1)
    change = samples.send(samples.conversation(), is_new=True)
    with pytest.raises(StoreUnavailable):
        await faulty.commit([change])
    assert await faulty.commit([change]) == [Committed()]


@pytest.mark.parametrize("after_write", [False, True])
async def test_a_dead_store_writes_nothing_more(store: Store, after_write: bool) -> None:
    faulty = FaultyStore(store)
    faulty.crash_at(2, after_write=after_write)
    sends = [samples.send(samples.conversation(), is_new=True) for _ in range(3)]
    assert await faulty.commit(sends[:1]) == [Committed()]
    for send in sends[1:]:
        with pytest.raises(SimulatedCrashError):
            await faulty.commit([send])
    stored = [await store.conversation(send.conversation_id) is not None for send in sends]
    assert stored == [True, after_write, False]
