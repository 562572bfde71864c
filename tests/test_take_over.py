"""Within one process: a server that waits for the database, and stumbles while it takes over."""

import asyncio
from collections import Counter
from pathlib import Path

import aiohttp

from baton.core.errors import StoreUnavailable
from baton.core.ports import Store
from baton.testing.stores import StoreInFront
from tests.support.in_process import Running, running_server


class Overlap(StoreInFront):
    """The database is another's at first; then it is ours, and its repair fails once."""

    def __init__(self, behind: Store) -> None:
        super().__init__(behind)
        self.asked = 0
        self.repairs = 0
        self.served = asyncio.Event()

    async def acquire_lease(self, holder: str) -> bool:
        self.asked += 1
        return self.asked > 1 and await self.behind.acquire_lease(holder)

    async def repair(self) -> int:
        self.repairs += 1
        if self.repairs == 1:
            raise StoreUnavailable("not yet")
        self.served.set()
        return await self.behind.repair()


async def status(running: Running, page: str) -> int:
    """What this page answers."""
    async with aiohttp.ClientSession() as session, session.get(running.url + page) as response:
        return response.status


async def test_a_take_over_that_fails_on_the_way_is_tried_again_and_begins_every_job_once(tmp_path: Path) -> None:
    stores: list[Overlap] = []

    def wrap(store: Store) -> Store:
        stores.append(Overlap(store))
        return stores[-1]

    async with running_server(tmp_path, wrap=wrap, bridge="none") as running:
        assert await status(running, "/health/live") == 200
        assert await status(running, "/health/ready") == 503
        assert await status(running, "/api/projects") == 503
        await stores[0].served.wait()
        while not running.server.gate.is_open:
            await asyncio.sleep(0)
        assert await status(running, "/health/ready") == 200
        names = Counter(task.get_name() for task in asyncio.all_tasks())
        for name in ("flush", "dispatch", "deadlines", "lease", "clean-up"):
            assert names[name] == 1, name
        while "take-over" in [record.name for record in running.server.jobs.records]:
            await asyncio.sleep(0)
        assert running.server.jobs.troubles() == ()
