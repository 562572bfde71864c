"""The database that the settings name: which adapter that is, bringing it up to date, and looking at it.

The adapters are imported when they are chosen, because a MongoDB driver takes longer to import than a start may.
"""

import os
import platform
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from baton.clock import SystemClock
from baton.core.ports import Clock, Store
from baton.credentials import prepare_folder
from baton.settings import Settings
from baton.storage.migrate import MigrationTarget, status
from baton.storage.migrate import migrate as run_migrations


def make_store(settings: Settings, clock: Clock) -> Store:
    """The store, not opened yet."""
    if settings.sqlite_path is not None:
        from baton.storage.sqlite import SqliteStore

        return SqliteStore(settings.sqlite_path, clock=clock)
    from baton.storage.mongo import MongoStore

    return MongoStore(settings.store_url, clock=clock)


@asynccontextmanager
async def free_database(settings: Settings) -> AsyncIterator[Store | None]:
    """The database with its lease, for a command that writes; None: a server has it, and must be asked."""
    clock = SystemClock()
    if settings.sqlite_path is not None:
        await bring_up_to_date(settings, clock)
    store = make_store(settings, clock)
    await store.open()
    try:
        holder = f"{platform.node()}:{os.getpid()}:{secrets.token_hex(4)}"
        yield store if await store.acquire_lease(holder) else None
    finally:
        await store.close()


async def bring_up_to_date(settings: Settings, clock: Clock, *, dry_run: bool = False) -> list[str]:
    """Run the migrations that the database has not had; the names of those run (or, dry, to run).

    Raises ConfigError where the database cannot be reached or written, or is newer than this version.
    """
    async with _migration_target(settings, clock) as target:
        return await run_migrations(target, dry_run=dry_run)


@asynccontextmanager
async def _migration_target(settings: Settings, clock: Clock) -> AsyncIterator[MigrationTarget]:
    if settings.sqlite_path is not None:
        from baton.storage.sqlite_migrate import sqlite_migrations

        if settings.sqlite_path.parent == settings.data:
            prepare_folder(settings.data)
        with sqlite_migrations(settings.sqlite_path, clock=clock) as target:
            yield target
        return
    from baton.storage.mongo import mongo_migrations

    async with mongo_migrations(settings.store_url, clock=clock) as target:
        yield target


async def tell_status(settings: Settings, tell: Callable[[str], None]) -> None:
    """`baton db migrate --status`: which steps the database has had. Writes nothing, and makes no database."""
    tell(settings.store_label)
    async with _migration_target(settings, SystemClock()) as target:
        for name, is_applied in await status(target):
            tell(f"{'has had' if is_applied else 'LACKS  '} {name}")


async def migrate(settings: Settings, tell: Callable[[str], None], *, dry_run: bool = False) -> None:
    """`baton db migrate`. Safe to run again, and beside a server of the version before."""
    tell(settings.store_label)
    names = await bring_up_to_date(settings, SystemClock(), dry_run=dry_run)
    for name in names:
        tell(f"{'would run' if dry_run else 'ran'} {name}")
    if not names:
        tell("up to date")
