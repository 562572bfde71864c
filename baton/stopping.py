"""How a process of Baton's is told to stop: once cleanly and within a time, twice at once."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

logger = logging.getLogger(__name__)

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def on_stop_signal(stop: Callable[[], None], limit_s: float) -> None:
    """Call `stop` at the first SIGTERM or SIGINT; from then on the process has `limit_s` to end by itself."""
    loop = asyncio.get_running_loop()

    def stop_once() -> None:
        logger.info("stopping", extra={"action": "server.stopping"})
        restore_signals()
        _start_watchdog(limit_s)
        stop()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop_once)


def restore_signals() -> None:
    """From here on a signal ends the process at once: the system's own way, which no blocked loop can delay."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)


def _start_watchdog(limit_s: float) -> None:
    """End the process if the stop takes too long. A thread, because what hangs may be the loop or its executor."""

    def give_up() -> None:
        logger.error("stop took too long, leaving as after a crash", extra={"action": "server.gave_up"})
        os._exit(1)

    watchdog = threading.Timer(limit_s * 0.95, give_up)
    watchdog.daemon = True
    watchdog.start()


async def within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """Do what can be done in time; what cannot is found and ended by the next start."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except Exception:  # a stop goes on whatever one part does
        logger.warning("stopped without waiting further", extra={"action": "server.stopping"}, exc_info=True)
