"""Databases from before uses of attachments were kept: the first repair finds the uses in what is stored.

And what only MongoDB can be left with: bytes whose attachment never came, or has gone.
"""

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mongomock_motor import AsyncMongoMockClient
from pymongo.errors import AutoReconnect

from baton.core.errors import StoreUnavailable
from baton.core.ids import new_object_id
from baton.core.models import Attachment, ToolUseBlock
from baton.core.ports import Store
from baton.core.stored import Change
from baton.core.stream import ToolDone
from baton.storage.migrate import migrate
from baton.storage.mongo import MongoStore, mongo_migrations
from baton.storage.sqlite import SqliteStore
from baton.testing import samples
from baton.testing.clock import FakeClock
from baton.testing.store_rules_cleaning import LATER, is_there, put, remove_all_unused
from baton.testing.store_rules_commit import commit_one, started
from tests.storage.mongo_watcher import WRITES, Call, WatchedClient

URI = "mongodb://mock"


async def filled(store: Store) -> tuple[dict[str, Attachment], Attachment]:
    """Attachments by the place in which a conversation names them, and one that nothing names."""
    sent, result, tool_input, live = [await put(store) for _ in range(4)]
    conversation, run = await started(store)
    blocks = (
        ToolUseBlock(id="a", name="Bash", result="cut", attachment=result.id),
        ToolUseBlock(id="b", name="Write", input={"cut": "x", "attachment": tool_input.id}),
    )
    lines = (
        samples.message(conversation.id, ordinal=2, seq=2, attachments=(sent,)),
        samples.message(conversation.id, ordinal=3, seq=3, blocks=blocks),
    )
    grown = replace(conversation, seq=3, ordinal=3)
    await commit_one(store, Change(conversation_id=conversation.id, conversation=grown, messages=lines))
    row = samples.journal_row(
        conversation.id,
        run.request_id,
        seq=4,
        events=(ToolDone(message_id="m", id="t", result="cut", attachment=live.id),),
    )
    await commit_one(store, Change(conversation_id=conversation.id, journal=row))
    named = {"sent": sent, "result of a tool": result, "input of a tool": tool_input, "in the journal": live}
    return named, await put(store)


async def assert_uses_are_found(store: Store, named: dict[str, Attachment], upload: Attachment) -> None:
    assert await remove_all_unused(store) == 1
    assert not await is_there(store, upload)
    for place, attachment in named.items():
        assert await is_there(store, attachment), place


async def test_uses_are_found_in_a_file(sqlite_path: Path) -> None:
    store = SqliteStore(sqlite_path, clock=FakeClock())
    await store.open()
    named, upload = await filled(store)
    connection = sqlite3.connect(sqlite_path)
    connection.executescript("DELETE FROM attachment_uses; DELETE FROM attachments_in_doubt;")
    connection.close()
    assert await remove_all_unused(store) == 0, "before the repair nothing is known, and nothing goes"
    for _ in range(2):
        await store.repair()
    await assert_uses_are_found(store, named, upload)
    await store.close()


async def test_large_files_are_removed_some_at_a_time(sqlite_path: Path) -> None:
    store = SqliteStore(sqlite_path, clock=FakeClock())
    await store.open()
    for _ in range(4):
        await store.put_attachment(samples.attachment(), bytes(5 << 20))
    first = await store.remove_unused_attachments(LATER, 10)
    assert (first.looked_at, first.removed, first.next is None) == (2, 2, False)
    rest = await store.remove_unused_attachments(LATER, 10)
    assert (rest.looked_at, rest.removed, rest.next) == (2, 2, None)
    await store.close()


class Dying:
    """Fails every write after the first so many, once a test has said how many."""

    left: int | None = None

    async def __call__(self, call: Call) -> None:
        if self.left is None or call.method not in WRITES:
            return
        if self.left == 0:
            raise AutoReconnect("gone")
        self.left -= 1


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    client: Any = AsyncMongoMockClient()
    async with mongo_migrations(URI, clock=FakeClock(), database="baton", client=client) as target:
        await migrate(target)
    yield client
    client.close()


async def opened(client: Any) -> MongoStore:
    store = MongoStore(URI, clock=FakeClock(), database="baton", client=client)
    await store.open()
    return store


async def test_uses_are_found_in_mongodb(client: Any) -> None:
    store = await opened(client)
    named, upload = await filled(store)
    await client["baton"]["attachments.files"].update_many({}, {"$unset": {"usedBy": 1, "inDoubtSince": 1}})
    assert await remove_all_unused(store) == 0, "before the repair nothing is known, and nothing goes"
    for _ in range(2):
        await store.repair()
    await assert_uses_are_found(store, named, upload)
    await store.close()


@pytest.mark.parametrize("written", range(6))
async def test_a_search_for_uses_that_is_cut_short_is_done_again(client: Any, written: int) -> None:
    store = await opened(client)
    named, upload = await filled(store)
    await client["baton"]["attachments.files"].update_many({}, {"$unset": {"usedBy": 1, "inDoubtSince": 1}})
    dying = Dying()
    broken = await opened(WatchedClient(client, dying))
    dying.left = written
    with pytest.raises(StoreUnavailable):
        await broken.repair()
    await broken.close()
    await store.repair()
    await assert_uses_are_found(store, named, upload)
    await store.close()


async def test_an_attachment_of_a_server_of_the_version_before_stays(client: Any) -> None:
    store = await opened(client)
    upload = await put(store)
    await client["baton"]["attachments.files"].update_many({}, {"$unset": {"usedBy": 1, "inDoubtSince": 1}})
    assert await remove_all_unused(store) == 0
    conversation, _ = await started(store)
    assert list(await store.use_attachments(conversation.id, [upload.id])) == []
    assert await is_there(store, upload)
    await store.close()


async def cut_short(client: Any) -> None:
    """An upload of which only the bytes arrived."""

    async def fail(call: Call) -> None:
        if (call.collection, call.method) == ("attachments.files", "insert_one"):
            raise AutoReconnect("gone")

    broken = await opened(WatchedClient(client, fail))
    with pytest.raises(StoreUnavailable):
        await broken.put_attachment(samples.attachment(id=new_object_id()), b"1234")
    await broken.close()


async def test_bytes_of_uploads_that_were_cut_short_are_found_whatever_lies_between(client: Any) -> None:
    store = await opened(client)
    kept = []
    for _ in range(3):
        kept.append(await put(store))
        await cut_short(client)
    assert await client["baton"]["attachments.chunks"].count_documents({}) == 6
    removed, after, calls = 0, None, 0
    while calls == 0 or after is not None:
        swept = await store.remove_stray_content(LATER, 2, after)
        removed, after, calls = removed + swept.removed, swept.next, calls + 1
    assert (removed, calls > 2) == (3, True)
    assert [await is_there(store, attachment) for attachment in kept] == [True] * 3
    assert await client["baton"]["attachments.chunks"].count_documents({}) == 3
    await store.close()


async def test_an_upload_under_way_is_left_alone(client: Any) -> None:
    store = await opened(client)
    await cut_short(client)
    assert (await store.remove_stray_content(samples.START, 10)).removed == 0
    await store.close()


async def test_a_removal_that_is_cut_short_is_finished_later(client: Any) -> None:
    async def fail(call: Call) -> None:
        if (call.collection, call.method) == ("attachments.chunks", "delete_many"):
            raise AutoReconnect("gone")

    store = await opened(client)
    upload = await put(store)
    broken = await opened(WatchedClient(client, fail))
    with pytest.raises(StoreUnavailable):
        await broken.remove_unused_attachments(LATER, 10)
    await broken.close()
    assert await store.attachment(upload.id) is None
    assert (await store.remove_stray_content(LATER, 10)).removed == 1
    await store.close()


async def test_a_use_that_is_noted_while_it_is_judged_keeps_the_attachment(client: Any) -> None:
    later = FakeClock(samples.at(60))
    other = MongoStore(URI, clock=later, database="baton", client=client)
    await other.open()
    conversation, _ = await started(other)
    upload = await put(await opened(client))
    noted = []

    async def note(call: Call) -> None:
        if (call.collection, call.method) == ("attachments.files", "delete_one") and not noted:
            noted.append(await other.use_attachments(conversation.id, [upload.id]))

    judge = await opened(WatchedClient(client, note))
    assert (await judge.remove_unused_attachments(samples.at(1), 10)).removed == 0
    assert noted == [[]]
    assert await is_there(other, upload)
    await judge.close()
    await other.close()


# --- a purge that is cut short -----------------------------------------------------------------------------------


PURGE_WRITES = 9
"""Of one purge; the last but one frees the attachments, the last removes the conversation."""


@pytest.mark.parametrize("written", range(PURGE_WRITES))
async def test_a_purge_that_is_cut_short_frees_attachments_last_and_can_be_repeated(client: Any, written: int) -> None:
    store = await opened(client)
    conversation, _ = await started(store)
    kept = await put(store, used_by=conversation.id)
    dying = Dying()
    broken = await opened(WatchedClient(client, dying))
    dying.left = written
    with pytest.raises(StoreUnavailable):
        await broken.purge_conversation(conversation.id)
    await broken.close()
    assert await store.conversation(conversation.id) is not None
    await remove_all_unused(store)
    assert await is_there(store, kept) == (written < PURGE_WRITES - 1)
    await store.purge_conversation(conversation.id)
    await remove_all_unused(store)
    assert not await is_there(store, kept)
    assert await store.conversation(conversation.id) is None
    await store.close()
