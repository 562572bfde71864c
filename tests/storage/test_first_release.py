"""A database of the first release opens in this one, with all that was in it; and is then as if it was made today."""

import gzip
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from bson import json_util

from baton.core.errors import ConfigError
from baton.core.models import PromptStatus, RunStatus
from baton.core.ports import Store
from baton.core.records import Records
from baton.core.stored import Committed, ConversationFilter
from baton.services.integrity import look
from baton.storage.migrate import discover, migrate
from baton.storage.mongo import MongoStore
from baton.storage.mongo_migrations import MongoMigrations
from baton.storage.mongo_records import mongo_records
from baton.storage.sqlite import SqliteStore
from baton.storage.sqlite_migrate import migrate_sqlite
from baton.storage.sqlite_records import sqlite_records
from baton.testing import samples
from baton.testing.clock import FakeClock
from tests.storage.mongo_here import URI, mongo_here

FOLDER = Path(__file__).with_name("first_release")
NAMES = [migration.name for migration in discover()]


class Database(Protocol):
    """One database of either store."""

    async def migrate(self) -> list[str]:
        """Bring it up to date; the names of the steps run."""
        ...

    async def shape(self) -> object:
        """Everything but the data: tables, indexes, triggers."""
        ...

    def store(self) -> Store: ...

    def records(self) -> AbstractAsyncContextManager[Records]: ...


@dataclass(frozen=True)
class SqliteFile:
    """A Database."""

    path: Path

    async def migrate(self) -> list[str]:
        return await migrate_sqlite(self.path, clock=FakeClock())

    async def shape(self) -> object:
        connection = sqlite3.connect(self.path)
        found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        columns = [
            connection.execute(f"PRAGMA table_info({name})").fetchall() for kind, name, *_ in found if kind == "table"
        ]
        connection.close()
        return found, columns

    def store(self) -> Store:
        return SqliteStore(self.path, clock=FakeClock())

    def records(self) -> AbstractAsyncContextManager[Records]:
        return sqlite_records(self.path, clock=FakeClock())


@dataclass(frozen=True)
class MongoDatabase:
    """A Database."""

    client: Any
    name: str

    async def migrate(self) -> list[str]:
        return await migrate(MongoMigrations(self.client[self.name], FakeClock()))

    async def shape(self) -> object:
        database = self.client[self.name]
        indexes: dict[str, Any] = {}
        for name in await database.list_collection_names():
            found = (await database[name].index_information()).values()
            indexes[name] = sorted((str(index["key"]), bool(index.get("unique"))) for index in found)
        return {name: keys for name, keys in indexes.items() if len(keys) > 1}

    def store(self) -> Store:
        return MongoStore(URI, clock=FakeClock(), database=self.name, client=self.client)

    def records(self) -> AbstractAsyncContextManager[Records]:
        return mongo_records(URI, clock=FakeClock(), database=self.name, client=self.client)


@asynccontextmanager
async def of_sqlite(folder: Path) -> AsyncIterator[tuple[Database, Database]]:
    """A database of the first release, and one that is not there yet."""
    old = folder / "old.sqlite3"
    old.write_bytes(gzip.decompress((FOLDER / "sqlite.gz").read_bytes()))
    yield SqliteFile(old), SqliteFile(folder / "fresh.sqlite3")


@asynccontextmanager
async def of_mongo(folder: Path) -> AsyncIterator[tuple[Database, Database]]:
    """The same in MongoDB."""
    async with mongo_here() as (client, name), mongo_here() as (other, fresh):
        for line in (FOLDER / "mongo.jsonl").read_text(encoding="utf-8").splitlines():
            one = json_util.loads(line)
            collection = client[name][one["collection"]]
            if "index" in one:
                await collection.create_index([tuple(key) for key in one["index"]], unique=one["unique"])
            else:
                await collection.insert_one(one["document"])
        yield MongoDatabase(client, name), MongoDatabase(other, fresh)


@pytest.fixture(params=[of_sqlite, of_mongo])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Database, Database]]:
    async with request.param(tmp_path) as databases:
        yield databases


async def test_a_database_of_the_first_release_is_refused_until_it_is_migrated(both: tuple[Database, Database]) -> None:
    old, _ = both
    with pytest.raises(ConfigError, match=f"{NAMES[1]}.*baton db migrate"):
        await old.store().open()
    assert await old.migrate() == NAMES[1:]
    assert await old.migrate() == []


async def test_a_migrated_database_has_the_shape_of_a_fresh_one(both: tuple[Database, Database]) -> None:
    old, fresh = both
    await old.migrate()
    await fresh.migrate()
    assert await old.shape() == await fresh.shape()


async def test_everything_that_was_in_it_is_there(both: tuple[Database, Database]) -> None:
    old, _ = both
    await old.migrate()
    store = old.store()
    await store.open()
    assert await store.acquire_lease("test")
    await store.repair()
    by_title = {one.title: one for one in (await store.conversations(ConversationFilter())).items}
    assert set(by_title) == {"Grüße from before", "Under way", "Waits"}
    done = by_title["Grüße from before"]
    question, answer = await store.history(done.id)
    assert json.loads(question.json)["content"] == "What was asked before"
    (file,) = json.loads(answer.json)["attachments"]
    assert await store.attachment_content(file["id"]) == b"old bytes " * 200
    assert [hit.conversation_id for hit in (await store.search("answer release")).items] == [done.id]
    assert [project.name for project in await store.projects()] == ["Zürich"]
    assert (await store.counts()).runs["completed"] == 1
    assert len(await store.runs(frozenset({RunStatus.RUNNING, RunStatus.AWAITING_INPUT}))) == 2
    (waits,) = await store.prompts(PromptStatus.PENDING)
    assert waits.conversation_id == by_title["Waits"].id
    lane = await store.load_lane(by_title["Under way"].id)
    assert lane is not None
    assert [row.seq for row in lane.journal] == [2]
    assert await store.commit([samples.send(samples.conversation(), is_new=True)]) == [Committed()]
    assert (await store.remove_unused_attachments(samples.at(10**9), 100)).removed == 0, "it is used"
    await store.close()


async def test_a_migrated_database_fits_together(both: tuple[Database, Database]) -> None:
    old, _ = both
    await old.migrate()
    store = old.store()
    await store.open()
    await store.repair()
    await store.close()
    async with old.records() as records:
        findings = await look(records, lambda _: None)
    assert [(finding.code, finding.ids) for finding in findings] == []
