"""A driver that is told to end takes along what it has started."""

import asyncio
import signal


def end_on_sigterm() -> None:
    """Let SIGTERM, and SIGINT also where a shell has it ignored, cancel the task that calls this."""
    task = asyncio.current_task()
    assert task is not None, "called by a coroutine"
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
