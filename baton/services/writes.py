"""The one way to the store's `commit`, for single changes and for the flush: watched, and timed."""

from collections.abc import Sequence

from baton.core.errors import Unavailable
from baton.core.ports import Clock, Store
from baton.core.stored import Change, Outcome
from baton.core.tally import Tally


class Writes:
    """See the module."""

    def __init__(self, store: Store, clock: Clock, tally: Tally) -> None:
        self._store = store
        self._clock = clock
        self._tally = tally
        self.is_ok = True
        """Whether the last write worked, as far as the store is concerned; for /health."""

    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """core.ports.Store.commit."""
        began = self._clock.monotonic()
        try:
            outcomes = await self._store.commit(changes)
        except Unavailable:
            self.is_ok = False
            self._tally.write_failures += 1
            raise
        self.is_ok = True
        self._tally.write_s.add(self._clock.monotonic() - began)
        return outcomes

    async def look_again(self) -> None:
        """Where the last write failed, see whether the store is back. Raises StoreUnavailable while it is not."""
        if not self.is_ok:
            await self._store.probe()
            self.is_ok = True
