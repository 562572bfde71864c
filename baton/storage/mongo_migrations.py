"""The ledger and the lock of migrations in a MongoDB. The steps themselves are in `migrations/`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pymongo.errors import PyMongoError

from baton.core.errors import ConfigError
from baton.core.ids import new_object_id
from baton.core.ports import Clock
from baton.storage.migrate import CURE, Migration, discover, pending
from baton.storage.mongo_errors import explain
from baton.storage.mongo_lease import LEASE_S, Lease

logger = logging.getLogger(__name__)

_MAX_STEPS = 10_000
_RETRY_S = 1.0


class MongoMigrations:
    """Implements storage.migrate.MigrationTarget."""

    def __init__(self, database: Any, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def applied(self) -> Mapping[int, str]:
        """The ledger, by version."""
        found = self._database["schema_migrations"].find({}).sort([("_id", 1)]).limit(_MAX_STEPS)
        return {int(document["_id"]): str(document["name"]) async for document in found}

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the lock, which is a lease: one that dies in the middle keeps others out for its length only."""
        lease = Lease(self._database["leases"], "migrations", self._clock)
        holder = new_object_id()
        if not await lease.acquire(holder):
            logger.info("Another process migrates the database; waiting", extra={"action": "migrate_wait"})
            while not await lease.acquire(holder):
                await self._clock.sleep(_RETRY_S)
        keeper = asyncio.create_task(self._keep(lease), name="migration lock")
        try:
            yield
        finally:
            keeper.cancel()
            # Whatever ended the keeper before us is no reason to fail: each step may run twice.
            await asyncio.gather(keeper, return_exceptions=True)
            await lease.release()

    async def apply(self, migration: Migration) -> None:
        """Run one step and record it. One that was cut short runs again: each only adds what is not there."""
        try:
            await migration.module.mongo(self._database)
            entry = {"_id": migration.version, "name": migration.name, "appliedAt": self._clock.now()}
            await self._database["schema_migrations"].replace_one({"_id": migration.version}, entry, upsert=True)
        except PyMongoError as exc:
            raise ConfigError(
                f"Migration {migration.name} was not finished: {explain(exc)}. What it has done is kept and harms "
                "nobody; `baton db migrate` goes on with it"
            ) from exc

    async def check(self) -> None:
        """Raises ConfigError, with the cure, where steps are missing or not ours."""
        missing = pending(discover(), await self.applied())
        if missing:
            raise ConfigError(f"The database has not had migration {missing[0].name}: {CURE}")

    async def _keep(self, lease: Lease) -> None:
        while True:
            await self._clock.sleep(LEASE_S / 3)
            await lease.renew()
