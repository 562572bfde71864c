"""A server's services on a fresh SQLite file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from baton.core.limits import Limits
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from tests.services.harness import Server, opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "baton.sqlite3"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """The real store."""
    async with opened(path) as store:
        yield store


@pytest.fixture
async def server(store: SqliteStore) -> Server:
    """Services that were just started."""
    return Server(store, limits=Limits(), clock=FakeClock(), epoch=await store.epoch())
