"""The store on MongoDB: the contract, on mongomock, and on a real server where BATON_TEST_MONGO_URI names one."""

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient

from baton.core.ids import new_object_id
from baton.storage.migrate import migrate
from baton.storage.mongo import MongoStore, mongo_migrations
from baton.testing.clock import FakeClock
from baton.testing.store_contract import Connect, StoreContract

SERVER = os.environ.get("BATON_TEST_MONGO_URI")


class TestMongomock(StoreContract):
    """What can be seen without a server: everything but the server's own ways."""

    @pytest.fixture
    async def connect(self) -> Connect:
        client: Any = AsyncMongoMockClient()
        clock = FakeClock()
        async with mongo_migrations("mongodb://mock", clock=clock, database="baton", client=client) as target:
            await migrate(target)
        return lambda: MongoStore("mongodb://mock", clock=clock, database="baton", client=client)


@pytest.mark.mongo
class TestServer(StoreContract):
    """The same on a server, in a database of its own that is dropped afterwards."""

    __test__ = SERVER is not None

    @pytest.fixture
    async def connect(self) -> AsyncIterator[Connect]:
        uri, clock = str(SERVER), FakeClock()
        name = "baton_test_" + new_object_id()
        async with mongo_migrations(uri, clock=clock, database=name) as target:
            await migrate(target)
        yield lambda: MongoStore(uri, clock=clock, database=name)
        client: AsyncIOMotorClient[dict[str, object]] = AsyncIOMotorClient(uri)
        await client.drop_database(name)
        client.close()
