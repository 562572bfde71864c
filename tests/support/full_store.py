"""A database with a record of every kind, in a store of either sort; and its records, to compare."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mongomock_motor import AsyncMongoMockClient

from baton.core.ids import ConversationId, RequestId
from baton.core.lifecycle import end_prompt
from baton.core.models import ConversationState, PromptStatus, RunStatus
from baton.core.permissions import GrantScope
from baton.core.ports import Store
from baton.core.records import Kind, Records
from baton.core.stored import Change, PromptMove
from baton.storage.migrate import migrate
from baton.storage.mongo import MongoStore, mongo_migrations
from baton.storage.mongo_records import mongo_records
from baton.storage.sqlite import SqliteStore
from baton.storage.sqlite_migrate import migrate_sqlite
from baton.storage.sqlite_records import sqlite_records
from baton.testing import samples
from baton.testing.clock import FakeClock

MOCK = "mongodb://mock"


@dataclass(frozen=True, slots=True)
class World:
    """One database: its store, and its records."""

    store: Callable[[], Store]
    records: Callable[[], AbstractAsyncContextManager[Records]]
    client: Any = None


async def sqlite_world(path: Path) -> World:
    """A file, migrated."""
    clock = FakeClock()
    await migrate_sqlite(path, clock=clock)
    return World(lambda: SqliteStore(path, clock=clock), lambda: sqlite_records(path, clock=clock))


async def mongo_world() -> World:
    """A mock, migrated."""
    client: Any = AsyncMongoMockClient()
    clock = FakeClock()
    async with mongo_migrations(MOCK, clock=clock, database="baton", client=client) as target:
        await migrate(target)
    return World(
        lambda: MongoStore(MOCK, clock=clock, database="baton", client=client),
        lambda: mongo_records(MOCK, clock=clock, database="baton", client=client),
        client,
    )


@asynccontextmanager
async def opened(world: World) -> AsyncIterator[Store]:
    """Its store, open and with the lease."""
    store = world.store()
    await store.open()
    try:
        assert await store.acquire_lease("test")
        yield store
    finally:
        await store.close()


async def fill(store: Store) -> ConversationId:
    """Two conversations; the first, whose id is given back, with a record of every kind. All of it is healthy."""
    project = samples.project()
    await store.put_project(project)
    first = samples.conversation(project_id=project.id, title="Grüße $.％ \x00 end", claude_session_id="s-1")
    file = samples.attachment(size_bytes=2_000_000)
    await store.put_attachment(file, b"\x00\xff" * 1_000_000, used_by=first.id)
    asked = samples.send(first, is_new=True, request_id="r-1")
    assert asked.conversation is not None
    assert asked.new_run is not None
    (question,) = asked.messages
    run = replace(asked.new_run, status=RunStatus.COMPLETED, seq=3, finished_at=samples.at(9))
    answer = samples.message(
        first.id, ordinal=2, seq=3, request_id=run.request_id, attachments=(file,), claude_data={"a.b": [{"$x": None}]}
    )
    ended = end_prompt(
        samples.prompt(first.id, run.request_id, seq=2), PromptStatus.TIMEOUT, handler="timeout", at=samples.at(5)
    )
    change = replace(
        asked,
        conversation=replace(asked.conversation, seq=3, ordinal=2),
        new_run=run,
        messages=(question, answer),
        prompts=(PromptMove(prompt=ended, expect=None),),
        grants=(samples.grant(first.id), samples.grant(scope=GrantScope.ALL)),
        audit=(samples.audit_entry(first.id),),
    )
    second = samples.conversation(title="Second")
    await store.commit([change, samples.send(second, is_new=True, request_id="r-2")])
    row = samples.journal_row(second.id, RequestId("r-2"), seq=2)
    queued = replace(second, seq=2, ordinal=1, state=ConversationState.QUEUED)
    await store.commit([Change(conversation_id=second.id, conversation=queued, journal=row)])
    await store.add_token(samples.api_token())
    return first.id


async def dump(world: World) -> dict[str, list[dict[str, Any] | None]]:
    """Every record, as it is the same in every store."""
    async with world.records() as records:
        return {kind.value: [record.document async for record in records.scan(kind)] for kind in Kind}
