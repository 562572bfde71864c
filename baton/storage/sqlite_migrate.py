"""The database file as a target of migrations. A step and its line in the ledger are one transaction."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from baton.core.errors import ConfigError
from baton.core.ports import Clock
from baton.schemas.codec import iso
from baton.storage.migrate import Migration, MigrationTarget, migrate
from baton.storage.sqlite_connection import check_library, check_place, connect, explain

_LEDGER = "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, name TEXT, appliedAt TEXT)"


async def migrate_sqlite(path: Path, *, clock: Clock, dry_run: bool = False) -> list[str]:
    """Bring the file up to date, creating it where there is none; the names of the steps run (or, dry, to run).

    Raises ConfigError where the file cannot be one, cannot be written, or is newer than this version.
    """
    with sqlite_migrations(path, clock=clock) as target:
        return await migrate(target, dry_run=dry_run)


@contextmanager
def sqlite_migrations(path: Path, *, clock: Clock) -> Iterator[MigrationTarget]:
    """The file as something to migrate. Raises ConfigError where it cannot be one, or cannot be read or written."""
    check_library()
    check_place(path, must_exist=False)
    target = SqliteTarget(path, clock)
    try:
        yield target
    except sqlite3.Error as error:
        raise ConfigError(explain(path, error)) from error
    except OSError as error:
        raise ConfigError(f"The database {path} cannot be made: allow writing to {path.parent}") from error
    finally:
        target.close()


def read_ledger(connection: sqlite3.Connection) -> dict[int, str]:
    """Name by version of the steps that the database has had."""
    (exists,) = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'"
    ).fetchone()
    if not exists:
        return {}
    return dict(connection.execute("SELECT version, name FROM schema_migrations").fetchall())


class SqliteTarget(MigrationTarget):
    """A MigrationTarget. The lock is SQLite's own: all steps of one call are one write transaction."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None

    async def applied(self) -> Mapping[int, str]:
        """The ledger; empty where there is no file, and none is made."""
        if self._connection is not None:
            return await asyncio.to_thread(read_ledger, self._connection)
        return await asyncio.to_thread(self._read_apart)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Inside, everything is one transaction, which an error takes back."""
        connection = await asyncio.to_thread(self._begin)
        try:
            yield
        except BaseException:
            # At once and not on a thread: a cancelled task must not wait again.
            connection.execute("ROLLBACK")
            raise
        await asyncio.to_thread(connection.execute, "COMMIT")

    async def apply(self, migration: Migration) -> None:
        """Run one step and record it."""
        assert self._connection is not None, "apply is called inside locked()"
        await asyncio.to_thread(self._apply, self._connection, migration)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read_apart(self) -> dict[int, str]:
        if not self._path.exists():
            return {}
        connection = connect(self._path)
        try:
            return read_ledger(connection)
        finally:
            connection.close()

    def _begin(self) -> sqlite3.Connection:
        self._connection = connect(self._path, create=True)
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def _apply(self, connection: sqlite3.Connection, migration: Migration) -> None:
        try:
            migration.module.sqlite(connection)
            connection.execute(_LEDGER)
            entry = (migration.version, migration.name, iso(self._clock.now()))
            connection.execute("INSERT INTO schema_migrations (version, name, appliedAt) VALUES (?, ?, ?)", entry)
        except sqlite3.Error as error:
            raise ConfigError(
                f"Migration {migration.name} failed, and everything is as it was before: {explain(self._path, error)}"
            ) from error
