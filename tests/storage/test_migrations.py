"""Migrations: found in order, run once, all or nothing, told before they are done."""

import asyncio
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

import baton
from baton.core.errors import ConfigError
from baton.storage import migrate as migrations
from baton.storage.sqlite import SqliteStore
from baton.storage.sqlite_migrate import SqliteTarget, migrate_sqlite
from baton.testing.clock import FakeClock
from baton.testing.samples import START

CHECKOUT = Path(baton.__file__).resolve().parent.parent / "migrations"
NAMES = [migration.name for migration in migrations.discover()]


def query(path: Path, text: str) -> Sequence[tuple[object, ...]]:
    """Rows of the file, read apart from the store."""
    connection = sqlite3.connect(path)
    rows = connection.execute(text).fetchall()
    connection.close()
    return rows


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of migrations of the test's own, beginning with the real ones."""
    folder = tmp_path / "steps"
    shutil.copytree(CHECKOUT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrations, "migrations_folder", lambda: folder)
    return folder


def test_the_first_migration_is_found() -> None:
    found = migrations.discover()
    assert found[0].name == "0001_initial"
    assert [migration.version for migration in found] == sorted(migration.version for migration in found)


def test_each_migration_has_a_function_for_each_store() -> None:
    for migration in migrations.discover():
        assert callable(migration.module.sqlite)
        assert asyncio.iscoroutinefunction(migration.module.mongo)


def test_other_files_are_no_migrations(steps: Path) -> None:
    (steps / "0002_notes.txt").write_text("no")
    (steps / "draft_0003.py").write_text("no")
    assert [migration.name for migration in migrations.discover()] == NAMES


def test_two_migrations_of_one_number_are_refused(steps: Path) -> None:
    (steps / "0001_other.py").write_text("")
    with pytest.raises(ConfigError, match="0001"):
        migrations.discover()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the package, as if it was installed from a wheel."""
    package = tmp_path / "site-packages" / "baton"
    package.mkdir(parents=True)
    monkeypatch.setattr(baton, "__file__", str(package / "__init__.py"))
    return package


def test_migrations_of_an_installed_package_are_inside_it(installed: Path) -> None:
    shutil.copytree(CHECKOUT, installed / "migrations")
    assert migrations.migrations_folder() == installed / "migrations"


def test_migrations_of_another_project_are_not_ours(installed: Path) -> None:
    shutil.copytree(CHECKOUT, installed.parent / "migrations")
    with pytest.raises(ConfigError, match="install Baton again"):
        migrations.discover()


async def test_a_new_database_gets_every_migration_once(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    clock = FakeClock()
    assert await migrate_sqlite(path, clock=clock) == NAMES
    assert await migrate_sqlite(path, clock=clock) == []
    ledger = query(path, "SELECT version, name, appliedAt FROM schema_migrations")
    assert ledger[0] == (1, "0001_initial", START.strftime("%Y-%m-%dT%H:%M:%S.000Z"))


async def test_a_dry_run_names_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    assert await migrate_sqlite(path, clock=FakeClock(), dry_run=True) == NAMES
    assert not path.exists()
    await migrate_sqlite(path, clock=FakeClock())
    assert await migrate_sqlite(path, clock=FakeClock(), dry_run=True) == []


async def test_a_later_migration_is_run_alone(tmp_path: Path, steps: Path) -> None:
    path = tmp_path / "new.sqlite3"
    await migrate_sqlite(path, clock=FakeClock())
    (steps / "0002_more.py").write_text("def sqlite(connection):\n    connection.execute('CREATE TABLE more (a)')\n")
    assert await migrate_sqlite(path, clock=FakeClock(), dry_run=True) == ["0002_more"]
    assert await migrate_sqlite(path, clock=FakeClock()) == ["0002_more"]
    assert query(path, "SELECT count(*) FROM more") == [(0,)]


async def test_a_store_refuses_to_open_before_a_later_migration_was_run(tmp_path: Path, steps: Path) -> None:
    path = tmp_path / "new.sqlite3"
    await migrate_sqlite(path, clock=FakeClock())
    (steps / "0002_more.py").write_text("def sqlite(connection):\n    pass\n")
    store = SqliteStore(path, clock=FakeClock())
    with pytest.raises(ConfigError, match=r"0002_more.*baton db migrate"):
        await store.open()


async def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, steps: Path) -> None:
    path = tmp_path / "new.sqlite3"
    (steps / "0002_bad.py").write_text(
        "def sqlite(connection):\n    connection.execute('CREATE TABLE half (a)')\n    connection.execute('nonsense')\n"
    )
    with pytest.raises(ConfigError):
        await migrate_sqlite(path, clock=FakeClock())
    assert query(path, "SELECT name FROM sqlite_master") == []


async def test_two_that_migrate_at_once_do_it_once(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    done = await asyncio.gather(*(migrate_sqlite(path, clock=FakeClock()) for _ in range(3)))
    assert sorted(done) == [[], [], NAMES]


async def test_the_ledger_is_read_without_making_one(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    sqlite3.connect(path).close()
    assert await SqliteTarget(path, FakeClock()).applied() == {}
    assert query(path, "SELECT name FROM sqlite_master") == []


async def test_a_place_where_no_database_can_be_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere" / "new.sqlite3"):
        with pytest.raises(ConfigError, match=str(path.parent)):
            await migrate_sqlite(path, clock=FakeClock())


async def test_a_database_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    await migrate_sqlite(path, clock=FakeClock())
    assert path.stat().st_mode & 0o777 == 0o600


async def test_each_database_has_an_epoch_of_its_own(tmp_path: Path) -> None:
    epochs = set()
    for name in ("one", "two"):
        await migrate_sqlite(tmp_path / name, clock=FakeClock())
        epochs.add(query(tmp_path / name, "SELECT value FROM meta WHERE key = 'epoch'")[0])
    assert len(epochs) == 2
