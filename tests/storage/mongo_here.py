"""The MongoDB of this run of the tests: the server that BATON_TEST_MONGO_URI names, else a mock."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient

from baton.core.ids import new_object_id

SERVER = os.environ.get("BATON_TEST_MONGO_URI")
URI = SERVER or "mongodb://mock"


@asynccontextmanager
async def mongo_here() -> AsyncIterator[tuple[Any, str]]:
    """A client, and the name of a database of the test's own, which is dropped afterwards."""
    client: Any = AsyncMongoMockClient() if SERVER is None else AsyncIOMotorClient(SERVER)
    name = "baton_test_" + new_object_id()
    try:
        yield client, name
        await client.drop_database(name)
    finally:
        client.close()
