"""What the driver tells of its connections, counted for /metrics."""

import threading
from typing import Final

from pymongo.monitoring import (
    ConnectionCheckedInEvent,
    ConnectionCheckedOutEvent,
    ConnectionCheckOutFailedEvent,
    ConnectionCheckOutStartedEvent,
    ConnectionClosedEvent,
    ConnectionCreatedEvent,
    ConnectionPoolListener,
    ConnectionReadyEvent,
    PoolClearedEvent,
    PoolClosedEvent,
    PoolCreatedEvent,
    PoolReadyEvent,
)

from baton.core.tally import PoolTally

_NAMES: Final = {"poolClosed": "pool_closed", "connectionError": "connection_error"}
"""The driver's names of reasons that are not written as labels are."""


class PoolListener(ConnectionPoolListener):
    """Counts into `tally`. The driver calls from the threads in which it works: each call holds a lock."""

    def __init__(self, tally: PoolTally) -> None:
        self._tally = tally
        self._lock = threading.Lock()

    def connection_created(self, event: ConnectionCreatedEvent) -> None:
        """One more is open."""
        with self._lock:
            self._tally.opened += 1

    def connection_closed(self, event: ConnectionClosedEvent) -> None:
        """One less."""
        with self._lock:
            self._tally.closed[_label(event.reason)] += 1

    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None:
        """Somebody waits for one."""
        with self._lock:
            self._tally.waiting += 1

    def connection_checked_out(self, event: ConnectionCheckedOutEvent) -> None:
        """Somebody has got one."""
        with self._lock:
            self._tally.waiting -= 1
            self._tally.in_use += 1
            self._tally.checkout_s.add(event.duration or 0.0)  # an event made by hand may have none

    def connection_check_out_failed(self, event: ConnectionCheckOutFailedEvent) -> None:
        """Somebody got none."""
        with self._lock:
            self._tally.waiting -= 1
            self._tally.checkout_failures[_label(event.reason)] += 1

    def connection_checked_in(self, event: ConnectionCheckedInEvent) -> None:
        """Somebody gave it back."""
        with self._lock:
            self._tally.in_use -= 1

    def pool_cleared(self, event: PoolClearedEvent) -> None:
        """The server failed, and none of its connections is used again."""
        with self._lock:
            self._tally.cleared += 1

    def pool_created(self, event: PoolCreatedEvent) -> None:
        """Not counted."""

    def pool_ready(self, event: PoolReadyEvent) -> None:
        """Not counted."""

    def pool_closed(self, event: PoolClosedEvent) -> None:
        """Not counted."""

    def connection_ready(self, event: ConnectionReadyEvent) -> None:
        """Not counted."""


def _label(reason: str) -> str:
    return _NAMES.get(reason, reason)
