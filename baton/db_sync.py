"""`baton db sync`: the database has the migrations, indexes and counts that this version needs; says what it did."""

from baton.clock import SystemClock
from baton.database import bring_up_to_date
from baton.keeping import Tell, open_records
from baton.settings import Settings


async def sync(settings: Settings, tell: Tell) -> None:
    """Safe to run again, and beside a server; it may wait for the disk while a large index is made."""
    tell(settings.store_label)
    done = [f"ran {name}" for name in await bring_up_to_date(settings, SystemClock())]
    async with open_records(settings) as records:
        done += await records.shape()
    for line in done or ["in line already"]:
        tell(line)
