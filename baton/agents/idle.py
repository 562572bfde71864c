"""Agent processes that wait for their session's next message: kept for a while, the longest waiting ended first.

It must not know what kind of agent a process runs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Session(Protocol):
    """One process with one session in it."""

    @property
    def session_id(self) -> str: ...

    @property
    def is_alive(self) -> bool: ...

    async def close(self) -> None:
        """End it. Idempotent and bounded."""
        ...


Kept = TypeVar("Kept", bound=Session)


@dataclass(slots=True, eq=False)
class _Held(Generic[Kept]):
    session: Kept
    closing: "asyncio.Task[None] | None" = None
    is_ending: bool = False
    """Its end has begun. Not to be read off the process: that may have died by itself, of which nobody is told."""


class IdleSessions(Generic[Kept]):
    """Sessions by id. Whoever takes one has it alone; two processes of one session never live side by side.

    One that `is_busy` (something goes on in it without anybody) is not ended for waiting, nor counted among `most`.
    """

    def __init__(
        self,
        *,
        idle_s: float,
        most: int,
        sleep: Callable[[float], Awaitable[None]],
        is_busy: Callable[[Kept], bool] = lambda session: False,
    ) -> None:
        self._idle_s = idle_s
        self._most = most
        self._sleep = sleep
        self._is_busy = is_busy
        self._held: dict[str, _Held[Kept]] = {}
        """The longest waiting first."""

    async def take(self, session_id: str) -> Kept | None:
        """The process that waits for this session, if any; it may have died meanwhile.

        Returns only after one that was being ended has ended. Cancelled, the process is ended.
        """
        held = self._held.pop(session_id, None)
        if held is None:
            return None
        try:
            await _call_off(held)
        except asyncio.CancelledError:
            await held.session.close()
            raise
        return held.session

    async def keep(self, session: Kept) -> None:
        """Let it wait, and end those that are too many."""
        held = self._held[session.session_id] = _Held(session)
        held.closing = asyncio.create_task(self._end_later(held), name=f"idle agent {session.session_id}")
        resting = [name for name, held in self._held.items() if not self._is_busy(held.session)]
        for name in resting[: max(0, len(resting) - self._most)]:
            oldest = self._held.pop(name, None)
            if oldest is not None:
                await _end_now(oldest)

    async def close(self) -> None:
        """End all that wait."""
        held, self._held = list(self._held.values()), {}
        await asyncio.gather(*(_end_now(waiting) for waiting in held))

    async def _end_later(self, held: _Held[Kept]) -> None:
        await self._sleep(self._idle_s)
        while self._is_busy(held.session):
            await self._sleep(self._idle_s)
        held.is_ending = True
        # It stays listed until it has ended: whoever wants its session has to wait for that.
        await held.session.close()
        if self._held.get(held.session.session_id) is held:
            del self._held[held.session.session_id]


async def _call_off(held: _Held[Kept]) -> None:
    """Call off the end that was set for later; where it has begun, wait for it."""
    if held.closing is None:
        return
    if not held.is_ending:
        held.closing.cancel()
    await asyncio.wait({held.closing})


async def _end_now(held: _Held[Kept]) -> None:
    await _call_off(held)
    await held.session.close()
