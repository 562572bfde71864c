"""An owner for a bridge's background tasks: none is forgotten, each error is logged, `close` ends them."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, Final, TypeVar

from baton.core.ports import Clock

Value = TypeVar("Value")

CLOSE_S: Final = 1.0
"""How long `close` waits for tasks that do not end when cancelled."""

logger = logging.getLogger(__name__)


class Tasks:
    """Starts tasks and keeps them until they end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Let it run beside; an error that it ends with is logged."""
        self.watch(work, name=name).add_done_callback(_log_error)

    def watch(self, work: Coroutine[Any, Any, Value], *, name: str) -> "asyncio.Task[Value]":
        """Let it run beside; its result and error are the caller's."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def within(self, seconds: float, tasks: Iterable["asyncio.Task[Any]"]) -> None:
        """Return when all these are done, or after `seconds`. Cancels nothing; their errors are theirs."""
        timer = asyncio.get_running_loop().create_task(self._clock.sleep(seconds), name="time limit")
        try:
            waiting = {task for task in tasks if not task.done()}
            while waiting and not timer.done():
                await asyncio.wait({timer, *waiting}, return_when=asyncio.FIRST_COMPLETED)
                waiting = {task for task in waiting if not task.done()}
        finally:
            timer.cancel()
            await asyncio.wait({timer})

    async def close(self) -> None:
        """Cancel all that still run, and wait at most a second for them. Idempotent."""
        for task in self._running:
            task.cancel()
        await self.within(CLOSE_S, list(self._running))


def _log_error(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error(
            "a background task failed",
            extra={"action": "task.failed", "task": task.get_name(), "error": type(error).__name__},
            exc_info=error,
        )
