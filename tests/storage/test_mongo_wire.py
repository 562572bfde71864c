"""The driver and a server that fails it in every way: cut, late, unwilling, full, too old. Nothing is lost, nothing is
half done, the error says what it is, and the store heals when the server does.

The server is `tests.support.wire_server`: the real driver speaks to it over TCP.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from baton.core.errors import ConfigError, StoreUnavailable
from baton.core.stored import Change, Committed
from baton.storage.migrate import discover, migrate
from baton.storage.mongo import MongoStore, mongo_migrations
from baton.storage.mongo_connection import disconnect
from baton.storage.mongo_shape import missing_indexes
from baton.testing import samples
from baton.testing.clock import FakeClock
from tests.storage import mongo_stories
from tests.storage.mongo_stories import Place, Story, prepared
from tests.support.wire_server import WRITES, Fault, WireServer, wire_server

LATE_MS = 150
"""How long the driver waits for an answer."""
Make: TypeAlias = Callable[[], Fault]


def refusal(code: int, name: str) -> dict[str, Any]:
    """The whole command is refused."""
    return {"ok": 0.0, "code": code, "codeName": name, "errmsg": "host.internal:27017 tells a secret"}


FAULTS: dict[str, tuple[Make, str]] = {
    "cut in the middle of an answer": (lambda: Fault(is_carried_out=True, cut_after=20), "should"),
    "cut before anything was done": (lambda: Fault(cut_after=0), "should"),
    "an answer that comes too late": (lambda: Fault(is_carried_out=True, hold=asyncio.Event()), "in time"),
    "no primary any more": (lambda: Fault(reply=refusal(10107, "NotWritablePrimary")), "no primary"),
    "steps down": (lambda: Fault(reply=refusal(189, "PrimarySteppedDown")), "no primary"),
    "shuts down": (lambda: Fault(reply=refusal(91, "ShutdownInProgress")), "about to stop"),
    "read-only": (lambda: Fault(reply=refusal(13, "Unauthorized")), "rights"),
    "a full disk": (lambda: Fault(reply=refusal(14031, "OutOfDiskSpace")), "full"),
    "a full disk, told of the document": (
        lambda: Fault(reply={"n": 0, "writeErrors": [{"index": 0, "code": 14031, "errmsg": "no space"}]}),
        "full",
    ),
    "not confirmed by the majority": (
        lambda: Fault(
            is_carried_out=True,
            reply={"writeConcernError": {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "timed out"}},
        ),
        "confirm",
    ),
}
"""Each way to fail, and a word of what is said then."""


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    async with wire_server() as server:
        yield server


def uri(server: WireServer, **options: object) -> str:
    """Its address, for a driver that gives up soon."""
    waits = {"serverSelectionTimeoutMS": 5_000, "connectTimeoutMS": 5_000} | options
    return f"mongodb://{server.address}/baton?" + "&".join(f"{name}={value}" for name, value in waits.items())


@pytest.fixture
async def place(server: WireServer) -> AsyncIterator[Place]:
    async with mongo_migrations(uri(server), clock=FakeClock(), database="baton") as target:
        await migrate(target)
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(uri(server))
    yield Place(client, "baton", FakeClock())
    await disconnect(client)


async def opened(server: WireServer, **options: object) -> MongoStore:
    """A store with a driver of its own."""
    store = MongoStore(uri(server, **options), clock=FakeClock(), database="baton")
    await store.open()
    return store


def row_story() -> Story:
    """A bare journal row: the hot path."""
    before, conversation, run = prepared()
    row = samples.journal_row(conversation.id, run.request_id, seq=7, bridge_seq=6)
    return before, [Change(conversation_id=conversation.id, journal=row)]


def story_of(case: mongo_stories.Case) -> Story:
    before, conversation, run = prepared()
    return before, case(conversation, run)


STORIES: dict[str, Callable[[], Story]] = {
    "row": row_story,
    **{case.__name__: lambda case=case: story_of(case) for case in mongo_stories.CASES},  # type: ignore[misc]
}


async def writes_of(server: WireServer, place: Place, story: Story) -> tuple[Any, Any, int]:
    """The database before, the database after, and how many commands write in between."""
    await place.begin_with(story[0])
    before = await place.dump()
    store = await place.store()
    server.commands.clear()
    assert await store.commit(story[1]) == [Committed()] * len(story[1])
    writes = sum(next(iter(command)) in WRITES for command in server.commands)
    await store.close()
    return before, await place.dump(), writes


# --- a commit that fails ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("case", ["row", "end"])
async def test_a_commit_that_fails_is_all_or_nothing_once_the_server_is_back(
    server: WireServer, place: Place, case: str, fault: str
) -> None:
    make, word = FAULTS[fault]
    story = STORIES[case]()
    before, after, writes = await writes_of(server, place, story)
    for passing in range(writes):
        await place.begin_with(story[0])
        store = await opened(server, socketTimeoutMS=LATE_MS if make().hold else 10_000)
        one = make()
        one.after = passing
        server.faults = [one]
        with pytest.raises(StoreUnavailable) as caught:
            await store.commit(story[1])
        assert one.hits == 1
        assert caught.value.retryable
        assert word in caught.value.message, caught.value.message
        assert "secret" not in caught.value.message
        server.heal()
        assert await store.load_lane(story[1][0].conversation_id) is not None
        assert await place.dump() in (before, after), f"half written at write {passing} of {writes}"
        assert await place.pending() == 0
        later = samples.send(samples.conversation(), is_new=True)
        assert await store.commit([later]) == [Committed()], "it has healed"
        await store.close()


async def test_a_disk_that_is_full_for_long_ends_no_run_and_loses_no_announced_change(
    server: WireServer, place: Place
) -> None:
    story = STORIES["end"]()
    _, after, _ = await writes_of(server, place, story)
    await place.begin_with(story[0])
    store, successor = await opened(server), await opened(server)
    full = {"n": 0, "writeErrors": [{"index": 0, "code": 14031, "errmsg": "no space"}]}
    server.faults = [Fault(after=1, times=None, reply=full)]
    with pytest.raises(StoreUnavailable, match="full"):
        await store.commit(story[1])
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="full"):
            await store.load_lane(story[1][0].conversation_id)
    with pytest.raises(StoreUnavailable, match="full"):
        await successor.repair()
    await store.close()
    server.heal()
    assert await successor.repair() == 1
    assert await place.dump() == after
    await successor.close()


# --- the driver repeats a write --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["row", "send", "end", "question", "answer"])
async def test_a_write_that_the_driver_repeats_counts_once(server: WireServer, place: Place, case: str) -> None:
    story = STORIES[case]()
    _, after, writes = await writes_of(server, place, story)
    server.be_primary()
    for passing in range(writes):
        await place.begin_with(story[0])
        store = await opened(server)
        lost = Fault(is_carried_out=True, cut_after=0, after=passing)
        server.faults = [lost]
        try:
            assert await store.commit(story[1]) == [Committed()] * len(story[1])
        except StoreUnavailable:
            # What removes many is not repeated by the driver: the announcement sees to it.
            await store.load_lane(story[1][0].conversation_id)
        assert lost.hits == 1
        assert await place.dump() == after, f"at write {passing} of {writes}"
        assert await place.pending() == 0
        await store.close()


async def test_a_token_whose_insert_was_repeated_is_made(server: WireServer, place: Place) -> None:
    server.be_primary()
    store = await opened(server)
    server.faults = [Fault(commands=("insert",), is_carried_out=True, cut_after=0)]
    token = samples.api_token()
    assert await store.add_token(token)
    assert await store.token(token.id) == token
    assert not await store.add_token(samples.api_token(digest=token.digest))
    await store.close()


# --- reads, lease, attachments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [name for name in FAULTS if "document" not in name and "confirmed" not in name])
async def test_a_read_that_fails_says_so_and_works_again(server: WireServer, place: Place, fault: str) -> None:
    make, word = FAULTS[fault]
    store = await opened(server, socketTimeoutMS=LATE_MS if make().hold else 10_000)
    for verb in (store.projects, store.counts, store.open_conversations, store.live_tokens):
        one = make()
        one.commands, one.times = ("find", "aggregate"), None
        server.faults = [one]
        with pytest.raises(StoreUnavailable, match=word):
            await verb()
        server.heal()
        await verb()
    await store.close()


async def test_a_lease_is_kept_over_a_server_that_was_away(server: WireServer, place: Place) -> None:
    store = await opened(server)
    assert await store.acquire_lease("first")
    server.faults = [Fault(times=None, cut_after=0)]
    with pytest.raises(StoreUnavailable):
        await store.renew_lease()
    server.heal()
    await store.renew_lease()
    assert await store.acquire_lease("first")
    await store.close()


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_attachment_that_is_cut_short_is_not_there_and_can_be_put_again(
    server: WireServer, place: Place, fault: str
) -> None:
    make, _ = FAULTS[fault]
    store = await opened(server, socketTimeoutMS=LATE_MS if make().hold else 10_000)
    content = bytes(range(256)) * 6_000
    for passing in range(4):  # two kinds of what was there are removed, then chunks and file are written
        attachment = samples.attachment(size_bytes=len(content))
        one = make()
        one.after = passing
        server.faults = [one]
        with pytest.raises(StoreUnavailable):
            await store.put_attachment(attachment, content)
        server.heal()
        assert await store.attachment_content(attachment.id) in (None, content)
        await store.put_attachment(attachment, content)
        assert await store.attachment(attachment.id) == attachment
        assert await store.attachment_content(attachment.id) == content
    await store.close()


# --- connecting ------------------------------------------------------------------------------------------------


async def test_a_server_that_is_too_old_is_refused_with_the_version_that_is_needed(server: WireServer) -> None:
    server.hello["maxWireVersion"] = 6
    with pytest.raises(ConfigError, match=r"4\.4 or newer"):
        await MongoStore(uri(server), clock=FakeClock()).open()


async def test_a_server_that_comes_back_too_old_is_told_and_goes_on_when_it_is_the_right_one_again(
    server: WireServer, place: Place
) -> None:
    store = await opened(server, heartbeatFrequencyMS=500)
    server.hello["maxWireVersion"] = 6
    server.cut()
    async with asyncio.timeout(30):
        while (said := await failure_of(store)) is None or "4.4" not in said:
            await asyncio.sleep(0.05)  # the driver looks at it from time to time
        del server.hello["maxWireVersion"]
        while await failure_of(store) is not None:
            await asyncio.sleep(0.05)
    await store.close()


async def failure_of(store: MongoStore) -> str | None:
    """What a read says; None: it works."""
    try:
        await store.projects()
    except StoreUnavailable as error:
        return error.message
    return None


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda: Fault(commands=("ping",), times=None, hold=asyncio.Event()), "does not answer"),
        (lambda: Fault(commands=("ping",), times=None, cut_after=0), "does not answer"),
        (lambda: Fault(times=None, reply=refusal(10107, "NotWritablePrimary")), "replica set"),
        (lambda: Fault(times=None, reply=refusal(13, "Unauthorized")), "rights"),
        (lambda: Fault(times=None, reply=refusal(14031, "OutOfDiskSpace")), "full"),
    ],
    ids=["slow", "cut", "no primary", "read-only", "full"],
)
async def test_what_is_wrong_at_the_start_is_named_with_its_cure(
    server: WireServer, place: Place, fault: Make, said: str
) -> None:
    server.faults = [fault()]
    with pytest.raises(ConfigError, match=said) as caught:
        await MongoStore(uri(server, socketTimeoutMS=LATE_MS), clock=FakeClock()).open()
    assert "secret" not in caught.value.message
    server.heal()
    store = await opened(server)
    await store.close()


async def test_closing_does_not_wait_for_a_server_that_hangs_and_blocks_nobody(
    server: WireServer, place: Place
) -> None:
    server.be_primary()
    store = await opened(server)
    await store.projects()
    server.faults = [Fault(commands=("endSessions",), times=None, hold=asyncio.Event())]
    closing = asyncio.ensure_future(store.close())
    turns = 0
    while not closing.done():
        await asyncio.sleep(0.01)
        turns += 1
    await closing
    assert turns > 10, "meanwhile the event loop served others"


# --- migrations ------------------------------------------------------------------------------------------------


async def test_a_migration_that_fails_half_way_says_so_and_is_gone_on_with(server: WireServer) -> None:
    async def bring_up_to_date() -> list[str]:
        async with mongo_migrations(uri(server), clock=FakeClock(), database="baton") as target:
            return await migrate(target)

    for passing in (0, 7, 20):
        server.faults = [Fault(commands=("createIndexes",), after=passing, reply=refusal(14031, "OutOfDiskSpace"))]
        with pytest.raises(ConfigError, match=r"0001_initial was not finished: .*full.*goes on with it"):
            await bring_up_to_date()
        with pytest.raises(ConfigError, match="0001_initial"):
            await MongoStore(uri(server), clock=FakeClock(), database="baton").open()
        server.heal()
    assert len(await bring_up_to_date()) == len(discover())
    assert await bring_up_to_date() == []
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(uri(server))
    assert await missing_indexes(client["baton"]) == []
    await disconnect(client)


# --- connections are counted -----------------------------------------------------------------------------------


async def test_connections_are_counted_from_their_opening_to_their_end(server: WireServer, place: Place) -> None:
    store = await opened(server, maxPoolSize=1, waitQueueTimeoutMS=100)
    pool = store.pool
    await store.projects()
    assert (pool.opened, pool.idle, pool.in_use, pool.waiting) == (1, 1, 0, 0)
    assert sum(pool.checkout_s.counts) >= 3
    held = Fault(commands=("find",), is_carried_out=True, hold=asyncio.Event())
    server.faults = [held]
    reading = asyncio.ensure_future(store.projects())
    async with asyncio.timeout(30):
        while pool.in_use != 1 or not held.hits:
            await asyncio.sleep(0.01)  # the driver's thread tells nobody
    with pytest.raises(StoreUnavailable, match="in use"):
        await store.projects()
    assert set(pool.checkout_failures) == {"timeout"}
    server.heal()
    await reading
    server.faults = [Fault(cut_after=0)]
    with pytest.raises(StoreUnavailable):
        await store.put_project(samples.project())
    await store.projects()
    assert pool.closed["error"] == 1
    assert pool.opened == 2
    await store.close()
    async with asyncio.timeout(30):
        while pool.idle or pool.in_use:
            await asyncio.sleep(0.01)
    assert (pool.in_use, pool.waiting) == (0, 0)
