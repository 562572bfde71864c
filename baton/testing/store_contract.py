"""The one contract that every store is held to: what `core.ports.Store` promises, one rule per test.

An adapter's test module says `class TestSqlite(StoreContract)` and provides the fixture `connect`: a callable
that makes a new store object, not yet opened, always on the same database, which is migrated, and empty when
the test begins. What else may stand in the database is the adapter's; the rules use fresh ids.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeAlias

import pytest

from baton.core.ports import Store
from baton.testing import samples
from baton.testing.store_machine import CommitMachine, run_machine
from baton.testing.store_rules_cleaning import CleaningRules
from baton.testing.store_rules_commit import CommitRules
from baton.testing.store_rules_lists import ListRules
from baton.testing.store_rules_marks import MarkRules
from baton.testing.store_rules_owners import OwnerRules
from baton.testing.store_rules_permissions import PermissionRules
from baton.testing.store_rules_read import ReadRules
from baton.testing.store_rules_search import SearchRules
from baton.testing.store_rules_series import SeriesRules
from baton.testing.store_rules_tokens import TokenRules

Connect: TypeAlias = Callable[[], Store]


class StoreContract(
    CommitRules,
    ReadRules,
    ListRules,
    SearchRules,
    OwnerRules,
    PermissionRules,
    SeriesRules,
    TokenRules,
    MarkRules,
    CleaningRules,
):
    """Every rule of the port. Subclass it in a test module and provide `connect`."""

    @pytest.fixture
    def connect(self) -> Iterator[Connect]:
        """To be provided by the adapter: see the module."""
        pytest.fail("an adapter's test class provides the fixture `connect`")

    @pytest.fixture
    async def store(self, connect: Connect) -> AsyncIterator[Store]:
        """An open store."""
        store = connect()
        await store.open()
        yield store
        await store.close()

    async def test_what_was_written_is_there_after_a_restart(self, store: Store, connect: Connect) -> None:
        await self.check_restart(store, connect)

    async def test_closing_twice_is_harmless(self, connect: Connect) -> None:
        store = connect()
        await store.open()
        await store.close()
        await store.close()

    async def test_one_process_holds_the_lease(self, store: Store, connect: Connect) -> None:
        other = connect()
        await other.open()
        assert await store.acquire_lease("first")
        assert not await other.acquire_lease("second")
        await store.renew_lease()
        await other.close()

    async def test_the_lease_is_free_once_its_holder_closed(self, store: Store, connect: Connect) -> None:
        holder = connect()
        await holder.open()
        assert await holder.acquire_lease("first")
        await holder.close()
        assert await store.acquire_lease("second")
        await store.renew_lease()

    async def test_the_holder_may_acquire_its_lease_again(self, store: Store) -> None:
        assert await store.acquire_lease("first")
        assert await store.acquire_lease("first")

    async def test_the_epoch_outlives_a_restart(self, store: Store, connect: Connect) -> None:
        before = await store.epoch()
        await store.close()
        again = connect()
        await again.open()
        after = await again.epoch()
        await again.close()
        assert before
        assert after == before

    async def test_what_was_noted_of_a_server_at_work_outlives_it(self, store: Store, connect: Connect) -> None:
        await store.note_alive(samples.at(5.678))
        await store.close()
        again = connect()
        await again.open()
        noted = await again.alive_at()
        await again.close()
        assert noted == samples.at(5.678)

    async def test_a_probe_measures_a_write_and_a_read(self, store: Store) -> None:
        write_ms, read_ms = await store.probe()
        assert write_ms >= 0
        assert read_ms >= 0

    def test_commit_behaves_like_a_simple_model(self, connect: Connect) -> None:
        class Machine(CommitMachine):
            make_store = staticmethod(connect)

        run_machine(Machine)
