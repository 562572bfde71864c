"""Processes that wait for their session's next message: `baton.agents.idle`."""

import asyncio
from dataclasses import dataclass, field

from baton.agents.idle import IdleSessions
from baton.testing.clock import FakeClock


@dataclass(eq=False)
class Fake:
    session_id: str
    is_alive: bool = True
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_end.set()

    async def close(self) -> None:
        self.closing.set()
        self.is_alive = False
        await self.may_end.wait()


def shelf(clock: FakeClock, most: int = 2) -> IdleSessions[Fake]:
    return IdleSessions(idle_s=10, most=most, sleep=clock.sleep)


async def test_a_session_is_taken_once() -> None:
    idle, session = shelf(FakeClock()), Fake("s")
    await idle.keep(session)
    assert await idle.take("s") is session
    assert await idle.take("s") is None
    assert session.is_alive


async def test_after_its_time_it_is_ended() -> None:
    clock, session = FakeClock(), Fake("s")
    idle = shelf(clock)
    await idle.keep(session)
    await clock.run_for(10)
    await session.closing.wait()
    assert await idle.take("s") in (None, session)
    assert not session.is_alive


async def test_who_wants_a_session_that_is_being_ended_waits_for_its_end() -> None:
    clock, session = FakeClock(), Fake("s")
    session.may_end.clear()
    idle = shelf(clock)
    await idle.keep(session)
    await clock.run_for(10)
    await session.closing.wait()

    taking = asyncio.ensure_future(idle.take("s"))
    await asyncio.sleep(0)
    assert not taking.done(), "two processes of one session would lose what one of them says"
    session.may_end.set()

    assert await taking is session


async def test_who_wants_a_session_whose_process_died_while_it_waited_has_it_at_once() -> None:
    idle, session = shelf(FakeClock()), Fake("s")
    await idle.keep(session)
    session.is_alive = False
    async with asyncio.timeout(30):
        assert await idle.take("s") is session


async def test_what_died_while_it_waited_holds_up_no_stop() -> None:
    idle, session = shelf(FakeClock()), Fake("s")
    await idle.keep(session)
    session.is_alive = False
    async with asyncio.timeout(30):
        await idle.close()
    assert session.closing.is_set()


async def test_the_one_that_waited_longest_goes_first() -> None:
    idle = shelf(FakeClock())
    sessions = [Fake(str(number)) for number in range(3)]
    for session in sessions:
        await idle.keep(session)
    assert [session.is_alive for session in sessions] == [False, True, True]
    await idle.close()
    assert [session.is_alive for session in sessions] == [False, False, False]
