"""Which runs may work now: in order, one per conversation and agent session, at most so many at once.

Pure state without I/O, and without knowing what a run is beyond its name and what it must have for itself.
"""

from collections.abc import Iterable

from baton.core.ids import RequestId


class Line:
    """Runs that wait and runs that work, each with its keys (its conversation, its session)."""

    def __init__(self, max_active: int) -> None:
        assert max_active > 0, "a bridge that may run nothing is of no use"
        self._max_active = max_active
        self._waiting: dict[RequestId, frozenset[str]] = {}
        self._active: dict[RequestId, frozenset[str]] = {}

    @property
    def waiting(self) -> tuple[RequestId, ...]:
        """In order."""
        return tuple(self._waiting)

    @property
    def active(self) -> tuple[RequestId, ...]:
        """In the order of their start."""
        return tuple(self._active)

    def join(self, request_id: RequestId, keys: Iterable[str]) -> None:
        """Wait at the end of the line."""
        self._waiting[request_id] = frozenset(keys)

    def admit(self) -> list[RequestId]:
        """Those who may start now; they count as active from here on.

        A run waits while an active one, or one that waits before it, has a key of its own.
        """
        taken = frozenset[str]().union(*self._active.values())
        admitted: list[RequestId] = []
        for request_id, keys in self._waiting.items():
            if len(self._active) + len(admitted) >= self._max_active:
                break
            if not keys & taken:
                admitted.append(request_id)
            taken |= keys
        for request_id in admitted:
            self._active[request_id] = self._waiting.pop(request_id)
        return admitted

    def claim(self, request_id: RequestId, key: str) -> None:
        """An active run has one more key from now on: it learnt its session."""
        if request_id in self._active:
            self._active[request_id] |= {key}

    def leave(self, request_id: RequestId) -> None:
        """The run has ended, or waits no longer."""
        self._waiting.pop(request_id, None)
        self._active.pop(request_id, None)
