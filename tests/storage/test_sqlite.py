"""The SQLite store: the contract, and what only a file on disk can do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from baton.testing.store_contract import StoreContract


class TestSqlite(StoreContract):
    """The contract, held by the adapter."""

    @pytest.fixture
    def connect(self, sqlite_path: Path) -> Callable[[], SqliteStore]:
        return lambda: SqliteStore(sqlite_path, clock=FakeClock())
