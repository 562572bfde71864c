"""Brings a database to the shape that this version needs, one numbered step at a time.

The steps are files `NNNN_slug.py`, of which each has one function per store; a ledger in the database
(`schema_migrations`) says which it has had. What is particular to a store stands behind `MigrationTarget`.
"""

import importlib.util
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

import baton
from baton.core.errors import ConfigError

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.py\Z")

CURE = "run `baton db migrate`"
"""What every message about missing steps tells to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. `name` is its file's, without the ending: `0001_initial`."""

    version: int
    name: str
    module: ModuleType
    """Has `sqlite(connection)` and `async mongo(database)`."""


class MigrationTarget(Protocol):
    """A database that can be migrated.

    1. Between entering and leaving `locked`, no other process migrates it; entering waits for that.
    2. `apply` runs the step and records it in the ledger. Where a store has no transactions, a step that was
       cut short runs again, from its beginning.
    """

    async def applied(self) -> Mapping[int, str]:
        """The ledger: name by version. Empty where there is no ledger yet; never creates one."""
        ...

    def locked(self) -> AbstractAsyncContextManager[None]:
        """Hold the lock of migrations."""
        ...

    async def apply(self, migration: Migration) -> None:
        """Run one step and record it."""
        ...


async def migrate(target: MigrationTarget, *, dry_run: bool = False) -> list[str]:
    """Run every step that the database has not had, in order; the names of those run.

    With `dry_run`, the names of those that would be run; nothing is written. Raises ConfigError where the
    database is newer than this version of Baton.
    """
    migrations = discover()
    if dry_run:
        return [migration.name for migration in pending(migrations, await target.applied())]
    async with target.locked():
        missing = pending(migrations, await target.applied())
        for migration in missing:
            await target.apply(migration)
    return [migration.name for migration in missing]


async def status(target: MigrationTarget) -> list[tuple[str, bool]]:
    """Every step that this Baton has, in order, and whether the database has had it. Raises as `migrate` does."""
    migrations, applied = discover(), await target.applied()
    pending(migrations, applied)
    return [(migration.name, migration.version in applied) for migration in migrations]


def pending(migrations: Sequence[Migration], applied: Collection[int]) -> list[Migration]:
    """The steps that are not in the ledger. Raises ConfigError where the ledger holds steps that we do not have."""
    unknown = sorted(set(applied) - {migration.version for migration in migrations})
    if unknown:
        raise ConfigError(
            f"The database has had migration {unknown[-1]:04d}, which this version of Baton ({baton.__version__}) "
            "does not know: install the version that wrote it, or a newer one"
        )
    return [migration for migration in migrations if migration.version not in applied]


def discover() -> tuple[Migration, ...]:
    """All steps that came with this Baton, in order. Raises ConfigError where there are none, or two of a number."""
    found: dict[int, Migration] = {}
    for path in sorted(migrations_folder().iterdir()):
        match = _FILE.match(path.name)
        if match is None:
            continue
        version = int(match[1])
        if version in found:
            raise ConfigError(f"Two migrations have the number {version:04d}: {found[version].name} and {path.stem}")
        found[version] = Migration(version, path.stem, _load(path))
    if not found:
        raise ConfigError(f"There are no migrations in {migrations_folder()}: install Baton again")
    return tuple(found[version] for version in sorted(found))


def migrations_folder() -> Path:
    """Where the steps of this Baton are: inside the package where it was installed from a wheel, else, in a checkout
    and in an editable install of one, beside it. Raises ConfigError.
    """
    package = Path(baton.__file__).resolve().parent
    places = [package / "migrations"]
    # Another project's top-level `migrations` may lie beside an installed package: only a checkout has its set-up.
    if (package.parent / "setup.cfg").exists():
        places.append(package.parent / "migrations")
    for folder in places:
        if any(_FILE.match(path.name) for path in folder.glob("*.py")):
            return folder
    raise ConfigError(f"The migrations are missing (looked in {places[-1]}): install Baton again")


def _load(path: Path) -> ModuleType:
    # Their names begin with digits, so that no import statement can name them.
    spec = importlib.util.spec_from_file_location(f"baton_migration_{path.stem}", path)
    assert spec is not None, f"{path} is a Python file"
    assert spec.loader is not None, f"{path} is a Python file"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
