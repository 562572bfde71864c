"""Databases for the tests of stores."""

import asyncio
import shutil
from pathlib import Path

import pytest

from baton.storage.sqlite_migrate import migrate_sqlite
from baton.testing.clock import FakeClock


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that was migrated, to be copied: the steps take longer than most tests."""
    path = tmp_path_factory.mktemp("sqlite") / "empty.sqlite3"
    asyncio.run(migrate_sqlite(path, clock=FakeClock()))
    return path


@pytest.fixture
def sqlite_path(tmp_path: Path, empty_sqlite: Path) -> Path:
    """An empty database of the test's own."""
    return Path(shutil.copy(empty_sqlite, tmp_path / "baton.sqlite3"))
