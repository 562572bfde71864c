"""A lease on a MongoDB database: at most one process has it, and one that dies lets go of it by doing nothing.

The document says who holds it and until when, by the clock of the machine that holds it: clocks of machines that
share a database must agree within a few seconds, as NTP keeps them. `term` counts holders; what a holder writes can
be told by it from what an earlier one wrote late. Knows nothing of what is guarded.
"""

from datetime import timedelta
from typing import Any

from pymongo.errors import DuplicateKeyError

from baton.core.errors import LeaseLost
from baton.core.ports import Clock
from baton.storage.mongo_documents import equal

LEASE_S = 15.0
"""How long a lease is good without being renewed."""


class Lease:
    """One named lease, as one process sees it."""

    def __init__(self, collection: Any, name: str, clock: Clock) -> None:
        self._collection = collection
        self._name = name
        self._clock = clock
        self._holder: str | None = None
        self._good_until = 0.0
        self.term = 0
        """The number of the holder that we are; of the latest one while we are none."""

    async def look(self) -> None:
        """Learn the present term."""
        document = await self._collection.find_one({"_id": self._name})
        self.term = int(document["term"]) if document else 0

    async def acquire(self, holder: str) -> bool:
        """Take it where it is free, run out, or ours already; whether that worked. Never waits."""
        asked_at = self._clock.monotonic()
        now = self._clock.now()
        fields = {"holder": holder, "expiresAt": now + timedelta(seconds=LEASE_S)}
        free = {"$or": [{"holder": equal(holder)}, {"holder": None}, {"expiresAt": {"$lte": now}}]}
        taken = await self._collection.update_one({"_id": self._name, **free}, {"$set": fields, "$inc": {"term": 1}})
        if not taken.matched_count and not await self._create(fields):
            return False
        await self.look()
        self._holder = holder
        self._good_until = asked_at + LEASE_S
        return True

    async def _create(self, fields: dict[str, Any]) -> bool:
        try:
            await self._collection.insert_one({"_id": self._name, **fields, "term": 1})
        except DuplicateKeyError:
            return False
        return True

    async def renew(self) -> None:
        """Keep it for another LEASE_S. Raises LeaseLost where another has it, or nobody asked for it."""
        if self._holder is None:
            raise LeaseLost("This process does not hold the lease of the database")
        asked_at = self._clock.monotonic()
        expires_at = self._clock.now() + timedelta(seconds=LEASE_S)
        renewed = await self._collection.update_one(self._ours(), {"$set": {"expiresAt": expires_at}})
        if not renewed.matched_count:
            raise LeaseLost("Another process has taken over the database")
        self._good_until = asked_at + LEASE_S

    async def check(self) -> None:
        """Cheap where the lease is good by our own clock; where it may have run out, renew it. Raises LeaseLost.

        One who never asked for the lease (a tool, a test) may pass.
        """
        if self._holder is not None and self._clock.monotonic() >= self._good_until:
            await self.renew()

    async def confirm(self) -> None:
        """Ask the server whether it is still ours, if it ever was. Raises LeaseLost."""
        if self._holder is not None:
            await self.renew()

    async def release(self) -> None:
        """Let go; harmless where it is not ours. The document stays, because it counts the terms."""
        if self._holder is not None:
            await self._collection.update_one(self._ours(), {"$set": {"holder": None}})
            self._holder = None

    def _ours(self) -> dict[str, Any]:
        return {"_id": self._name, "holder": equal(self._holder), "term": self.term}
