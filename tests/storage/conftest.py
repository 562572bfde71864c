"""Databases for the tests of stores; and the contract's asserts say what they compared, as a test module's do."""

import asyncio
import shutil
from pathlib import Path

import pytest

pytest.register_assert_rewrite(
    "baton.testing.store_contract",
    "baton.testing.store_machine",
    "baton.testing.store_rules_cleaning",
    "baton.testing.store_rules_commit",
    "baton.testing.store_rules_lists",
    "baton.testing.store_rules_permissions",
    "baton.testing.store_rules_read",
    "baton.testing.store_rules_search",
    "baton.testing.store_rules_tokens",
)

from baton.storage.sqlite_migrate import migrate_sqlite  # noqa: E402 - after the rewriting is asked for
from baton.testing.clock import FakeClock  # noqa: E402


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
