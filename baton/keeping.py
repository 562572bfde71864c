"""A database for a command that looks after it: its records, and where it writes, its lease for as long as it takes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, TextIO

from baton.clock import SystemClock
from baton.core.errors import ConfigError, LeaseLost, Unavailable
from baton.core.ports import Store
from baton.core.records import Records
from baton.database import free_database
from baton.settings import Settings
from baton.status_line import StatusLine

Tell = Callable[[str], None]

_RENEW_S: Final = 5.0
_DRAW_S: Final = 0.2


class Progress:
    """A count on a line of the terminal; nothing where there is none. Used as `integrity.Progress`."""

    def __init__(self, terminal: TextIO, what: str, total: int | None = None) -> None:
        self._line = StatusLine(terminal)
        self._what = what
        self._total = total
        self._begun = time.monotonic()
        self._drawn = self._begun

    def __call__(self, count: int) -> None:
        now = time.monotonic()
        if not self._line.is_shown or now - self._drawn < _DRAW_S:
            return
        self._drawn = now
        of_all = f" of {self._total:,} ({100 * count // max(self._total, count, 1)} %)" if self._total else ""
        speed = count / max(now - self._begun, 0.001)
        self._line.show(f"{self._what} {count:,}{of_all} · {speed:,.0f} a second")

    def of(self, count: int, total: int) -> None:
        """The same, where the total is told with each count."""
        self._total = total
        self(count)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._line.end()


def require_database(settings: Settings) -> None:
    """Raise ConfigError where there is no database file yet."""
    if settings.sqlite_path is not None and not settings.sqlite_path.exists():
        raise ConfigError("There is no database there yet: `baton serve` makes it, and so does `baton db migrate`")


def open_records(settings: Settings) -> AbstractAsyncContextManager[Records]:
    """The records of the database that the settings name."""
    if settings.sqlite_path is not None:
        from baton.storage.sqlite_records import sqlite_records

        return sqlite_records(settings.sqlite_path, clock=SystemClock())
    from baton.storage.mongo_records import mongo_records

    return mongo_records(settings.store_url, clock=SystemClock())


@asynccontextmanager
async def owned_database(settings: Settings) -> AsyncIterator[Store]:
    """The database with its lease, kept. Raises Unavailable, with the cure, where a server has it."""
    async with free_database(settings) as store:
        if store is None:
            raise Unavailable("A server has the database: stop it first, and start it again afterwards")
        async with keep_lease(store):
            yield store


@asynccontextmanager
async def keep_lease(store: Store) -> AsyncIterator[None]:
    """Renews the lease while the work inside goes on. Raises LeaseLost, and cancels the work, where it is lost."""
    work = asyncio.current_task()
    assert work is not None, "the commands are tasks"
    lost: list[LeaseLost] = []

    async def renew() -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            try:
                await store.renew_lease()
            except LeaseLost as error:
                lost.append(error)
                work.cancel()
                return

    keeper = asyncio.create_task(renew(), name="lease keeper")
    try:
        yield
    except asyncio.CancelledError:
        if lost:
            work.uncancel()
            raise lost[0] from None
        raise
    finally:
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(keeper, return_exceptions=True)
