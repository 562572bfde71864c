"""Databases for the tests of stores."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from baton.storage.sqlite_migrate import migrate_sqlite
from baton.testing.clock import FakeClock
from tests.storage.mongo_deviations import DEVIATIONS, RACES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is known to fail on the server that is tested must fail: once it passes, its line goes."""
    server = os.environ.get("BATON_TEST_MONGO_SERVER", "")
    for item in items:
        name = item.nodeid.partition("::")[2]
        for known, is_strict in ((DEVIATIONS, True), (RACES, False)):
            if name in known.get(server, {}):
                item.add_marker(pytest.mark.xfail(reason=known[server][name], strict=is_strict))


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
