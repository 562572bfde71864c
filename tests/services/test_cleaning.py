"""The clean-up: what nothing needs goes, what somebody may still want stays, and no failure stops the rest."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from baton.core.commands import ForkConversation, RetryRun, SendMessage
from baton.core.errors import LeaseLost, NotFound, StoreUnavailable
from baton.core.events import ConversationDeleted
from baton.core.ids import AttachmentId, ConversationId, RequestId
from baton.core.limits import Limits
from baton.core.models import Attachment, Conversation, ConversationStatus
from baton.core.ports import Store
from baton.core.stored import Change, Swept
from baton.core.stream import ToolDone, ToolStarted
from baton.services.attachments import Attachments
from baton.services.cleaning import MOST_FAILURES, Cleaning
from baton.storage.sqlite import SqliteStore
from baton.testing import samples
from baton.testing.clock import FakeClock
from baton.testing.store_rules_cleaning import is_there
from baton.testing.store_rules_commit import commit_one
from baton.testing.stores import StoreInFront
from tests.services.harness import ANNA, Server, opened

DAY_S = 24 * 3600.0


class World:
    """One server's services and its clean-up, on a store that has the same clock."""

    def __init__(self, store: Store, clock: FakeClock, limits: Limits) -> None:
        self.store = store
        self.clock = clock
        self.server = Server(store, limits=limits, clock=clock, epoch="e")
        self.conversations = self.server.conversations
        self.cleaning = Cleaning(store=store, conversations=self.conversations, clock=clock, limits=limits)

    async def upload(self) -> Attachment:
        """A file that nobody has sent yet."""
        attachments = Attachments(store=self.store, clock=self.clock, limits=Limits())
        return await attachments.add(ANNA, filename="a.txt", mime_type="text/plain", content=b"1234")

    async def send(self, attachment: Attachment, to: Conversation | None = None, name: str = "r1") -> ConversationId:
        """A message with a file; its conversation."""
        command = SendMessage(
            request_id=RequestId(name),
            content="see",
            conversation_id=to.id if to else None,
            attachments=(attachment.id,),
        )
        return (await self.server.runs.send(ANNA, command)).conversation_id

    async def bin(self, conversation_id: ConversationId) -> None:
        await self.conversations.delete(ANNA, conversation_id)

    async def clean_after(self, days: float) -> dict[str, int]:
        """Let days pass, then clean up; what has gone."""
        self.clock.advance(days * DAY_S)
        return {name: count for name, count in (await self.cleaning.clean_up()).items() if count}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    """The real store, on the test's own clock."""
    async with opened(path, clock) as store:
        yield store


@pytest.fixture
def world(store: SqliteStore, clock: FakeClock) -> World:
    return World(store, clock, Limits())


async def exists(world: World, conversation_id: ConversationId) -> bool:
    return await world.store.conversation(conversation_id) is not None


# --- the bin -----------------------------------------------------------------------------------------------------


async def test_a_deleted_conversation_is_removed_after_its_days_and_not_before(world: World) -> None:
    conversation = await world.server.conversation()
    await world.bin(conversation.id)
    assert await world.clean_after(29.9) == {}
    assert await exists(world, conversation.id)
    assert await world.clean_after(0.2) == {"purged": 1}
    assert not await exists(world, conversation.id)
    assert await world.clean_after(1) == {}


async def test_a_send_to_what_was_removed_is_answered_as_before(world: World) -> None:
    conversation = await world.server.conversation()
    answer = await world.server.send(conversation)
    await world.bin(conversation.id)
    await world.clean_after(31)
    assert await world.server.send(conversation) == answer
    with pytest.raises(NotFound):
        await world.server.send(conversation, "another")


async def test_what_was_restored_is_not_removed(world: World) -> None:
    conversation = await world.server.conversation()
    await world.bin(conversation.id)
    await world.conversations.restore(ANNA, conversation.id)
    assert await world.clean_after(31) == {}
    assert await exists(world, conversation.id)


class SlowPurge(StoreInFront):
    """Stands still in the middle of a purge."""

    def __init__(self, behind: Store) -> None:
        super().__init__(behind)
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def purge_conversation(self, conversation_id: ConversationId) -> None:
        self.reached.set()
        await self.go_on.wait()
        await self.behind.purge_conversation(conversation_id)


async def test_a_restore_in_the_middle_of_a_purge_finds_nothing_and_never_half(
    store: SqliteStore, clock: FakeClock
) -> None:
    slow = SlowPurge(store)
    world = World(slow, clock, Limits())
    conversation = await world.server.conversation()
    await world.bin(conversation.id)
    clock.advance(31 * DAY_S)
    cleaning = asyncio.ensure_future(world.cleaning.clean_up())
    await slow.reached.wait()
    restoring = asyncio.ensure_future(world.conversations.restore(ANNA, conversation.id))
    slow.go_on.set()
    await cleaning
    with pytest.raises(NotFound):
        await restoring
    assert not await exists(world, conversation.id)


class RestoredMeanwhile(StoreInFront):
    """Somebody restores the conversation between the clean-up's look and its turn."""

    restore: Any = None

    async def unchanged_conversations(self, *args: Any, **options: Any) -> Any:
        page = await self.behind.unchanged_conversations(*args, **options)
        for conversation in page.items:
            await self.restore(ANNA, conversation.id)
        return page


async def test_a_restore_just_before_a_purge_keeps_everything(store: SqliteStore, clock: FakeClock) -> None:
    front = RestoredMeanwhile(store)
    world = World(front, clock, Limits())
    front.restore = world.conversations.restore
    upload = await world.upload()
    conversation_id = await world.send(upload)
    await world.bin(conversation_id)
    assert await world.clean_after(31) == {}
    restored = await store.conversation(conversation_id)
    assert restored is not None
    assert restored.status is ConversationStatus.ACTIVE
    assert len(await store.history(conversation_id)) == 1
    assert await is_there(store, upload)


async def test_one_that_cannot_be_removed_stops_no_other_and_is_told(store: SqliteStore, clock: FakeClock) -> None:
    class Stubborn(StoreInFront):
        keeps: ConversationId | None = None

        async def purge_conversation(self, conversation_id: ConversationId) -> None:
            if conversation_id == self.keeps:
                raise ValueError("nobody thought of it")
            await self.behind.purge_conversation(conversation_id)

    front = Stubborn(store)
    world = World(front, clock, Limits())
    made = [await world.server.conversation() for _ in range(3)]
    for conversation in made:
        await world.bin(conversation.id)
    upload = await world.upload()
    front.keeps = made[0].id
    clock.advance(31 * DAY_S)
    with pytest.raises(ExceptionGroup) as raised:
        await world.cleaning.clean_up()
    assert [str(error) for error in raised.value.exceptions] == ["nobody thought of it"]
    assert [await exists(world, conversation.id) for conversation in made] == [True, False, False]
    assert not await is_there(store, upload)
    front.keeps = None
    assert await world.clean_after(0) == {"purged": 1}


async def test_a_store_that_is_away_is_not_asked_for_ever(store: SqliteStore, clock: FakeClock) -> None:
    class Away(StoreInFront):
        asked = 0

        async def purge_conversation(self, conversation_id: ConversationId) -> None:
            self.asked += 1
            raise StoreUnavailable("gone")

    front = Away(store)
    world = World(front, clock, Limits())
    for _ in range(MOST_FAILURES + 5):
        await world.bin((await world.server.conversation()).id)
    clock.advance(31 * DAY_S)
    with pytest.raises(ExceptionGroup):
        await world.cleaning.clean_up()
    assert front.asked == MOST_FAILURES


async def test_a_lost_lease_ends_the_round_at_once(store: SqliteStore, clock: FakeClock) -> None:
    class Overtaken(StoreInFront):
        async def remove_ended_journals(self, limit: int, after: str | None = None) -> Swept:
            raise LeaseLost("another one")

        async def remove_unused_attachments(self, before: datetime, limit: int) -> Swept:
            pytest.fail("the database is another's")

    with pytest.raises(LeaseLost):
        await World(Overtaken(store), clock, Limits()).cleaning.clean_up()


# --- retention ---------------------------------------------------------------------------------------------------


async def test_by_itself_nothing_is_ever_deleted(world: World) -> None:
    conversation = await world.server.conversation()
    assert await world.clean_after(10_000) == {}
    assert await exists(world, conversation.id)


async def test_what_nobody_touched_for_the_days_of_retention_goes_to_the_bin_first(
    store: SqliteStore, clock: FakeClock
) -> None:
    world = World(store, clock, Limits(retention_days=90))
    old = await world.server.conversation()
    archived = await world.conversations.archive(ANNA, (await world.server.conversation()).id)
    clock.advance(60 * DAY_S)
    young = await world.server.conversation()
    assert await world.clean_after(31) == {"retired": 2}
    told = [event.conversation_id for event in world.server.browser.events if isinstance(event, ConversationDeleted)]
    assert sorted(told) == sorted([old.id, archived.id])
    assert (await world.conversations.get(ANNA, young.id)).status is ConversationStatus.ACTIVE
    assert await world.clean_after(29) == {}
    restored = await world.conversations.restore(ANNA, old.id)
    assert restored.status is ConversationStatus.ACTIVE
    assert await world.clean_after(2) == {"purged": 1}, "the other one, and not what was restored"


async def test_a_conversation_with_an_open_run_is_not_retired(store: SqliteStore, clock: FakeClock) -> None:
    world = World(store, clock, Limits(retention_days=1))
    conversation = await world.server.conversation()
    await world.server.send(conversation)
    assert await world.clean_after(2) == {}
    assert (await world.conversations.get(ANNA, conversation.id)).status is ConversationStatus.ACTIVE


# --- attachments -------------------------------------------------------------------------------------------------


async def test_an_upload_that_was_never_sent_goes_after_a_day(world: World) -> None:
    upload = await world.upload()
    assert await world.clean_after(0.9) == {}
    assert await world.clean_after(0.2) == {"attachments": 1}
    assert not await is_there(world.store, upload)


async def test_what_was_sent_stays_as_long_as_its_conversation(world: World) -> None:
    upload = await world.upload()
    conversation_id = await world.send(upload)
    await world.clean_after(400)
    assert await is_there(world.store, upload)
    await world.bin(conversation_id)
    assert await world.clean_after(31) == {"purged": 1}
    assert await world.clean_after(1.1) == {"attachments": 1}
    assert not await is_there(world.store, upload)


async def test_a_use_is_on_disk_before_the_message_that_needs_it(store: SqliteStore, clock: FakeClock) -> None:
    order: list[str] = []

    class Watched(StoreInFront):
        async def use_attachments(self, conversation_id: ConversationId, attachment_ids: Any) -> Any:
            order.append("use")
            return await self.behind.use_attachments(conversation_id, attachment_ids)

        async def commit(self, changes: Any) -> Any:
            order.append("commit")
            return await self.behind.commit(changes)

    world = World(Watched(store), clock, Limits())
    await world.send(await world.upload())
    assert order == ["use", "commit"]


async def test_an_upload_that_was_cleaned_up_cannot_be_sent(world: World) -> None:
    upload = await world.upload()
    await world.clean_after(2)
    with pytest.raises(NotFound, match="upload it again"):
        await world.send(upload)


async def test_what_a_fork_uses_outlives_its_source(world: World) -> None:
    upload = await world.upload()
    source = await world.send(upload)
    await world.server.answer()
    world.server.complete("r1")
    await world.server.intake.flush()
    fork = await world.conversations.fork(ANNA, ForkConversation(conversation_id=source))
    await world.bin(source)
    assert (await world.clean_after(31))["purged"] == 1
    assert await world.clean_after(2) == {}
    assert await is_there(world.store, upload)
    await world.bin(fork.id)
    await world.clean_after(31)
    assert await world.clean_after(2) == {"attachments": 1}


async def test_a_retry_keeps_what_it_sends_again(world: World) -> None:
    upload = await world.upload()
    await world.send(upload)
    await world.server.runs.reset_active(ANNA)
    await world.clean_after(2)
    await world.server.runs.retry(ANNA, RetryRun(request_id=RequestId("r1"), new_request_id=RequestId("r2")))
    await world.clean_after(2)
    assert await is_there(world.store, upload)


async def test_the_whole_of_a_large_result_stays_as_long_as_its_conversation(
    store: SqliteStore, clock: FakeClock
) -> None:
    world = World(store, clock, Limits(tool_result_max_bytes=10))
    conversation = await world.server.conversation()
    await world.server.send(conversation)
    world.server.start("r1")
    world.server.say(
        "r1",
        ToolStarted(message_id="m", block=0, id="t", name="Bash"),
        ToolDone(message_id="m", id="t", result="x" * 100),
    )
    world.server.complete("r1")
    await world.server.intake.flush()
    [_, said] = [await store.message(one.id) for one in await store.history(conversation.id)]
    assert said is not None
    whole = AttachmentId(said.blocks[0].attachment)  # type: ignore[union-attr, arg-type] - it is the tool's block
    assert await world.clean_after(400) == {}
    assert await store.attachment_content(whole) == b"x" * 100
    await world.bin(conversation.id)
    await world.clean_after(31)
    assert await world.clean_after(2) == {"attachments": 1}


async def test_an_imported_conversation_keeps_its_files(world: World) -> None:
    upload = await world.upload()
    conversation_id = await world.send(upload)
    transfer = world.server.services.transfer
    document = await transfer.export_json(ANNA, conversation_id)
    copy = await transfer.import_document(ANNA, document)
    await world.clean_after(2)
    assert await world.clean_after(400) == {"audit": 1}, "only that it was exported is forgotten"
    [message] = [await world.store.message(one.id) for one in await world.store.history(copy.id)]
    assert message is not None
    assert await is_there(world.store, message.attachments[0])


async def test_a_round_is_bounded_and_the_next_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baton.services.cleaning.MOST_CALLS", 1)
    monkeypatch.setattr("baton.services.cleaning._ATTACHMENTS_AT_ONCE", 10)
    for _ in range(25):
        await world.upload()
    assert await world.clean_after(2) == {"attachments": 10}
    assert await world.clean_after(0) == {"attachments": 10}
    assert await world.clean_after(0) == {"attachments": 5}


# --- journals ----------------------------------------------------------------------------------------------------


async def test_journals_of_ended_runs_go_and_walks_over_many_open_ones_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baton.services.cleaning._RUNS_AT_ONCE", 1)
    monkeypatch.setattr("baton.services.cleaning.MOST_CALLS", 2)
    conversation = await world.server.conversation()
    for seq in range(100, 104):
        row = samples.journal_row(conversation.id, RequestId(f"unknown-{seq}"), seq=seq)
        await commit_one(world.store, Change(conversation_id=conversation.id, journal=row))
    assert await world.clean_after(0) == {"journals": 2}
    assert await world.clean_after(0) == {"journals": 2}
    assert await world.clean_after(0) == {}


async def test_absurd_times_are_taken_for_very_long(store: SqliteStore, clock: FakeClock) -> None:
    limits = Limits(attachment_keep_s=1e300, retention_days=36_500, trash_keep_days=36_500)
    world = World(store, clock, limits)
    upload = await world.upload()
    assert await world.clean_after(1000) == {}
    assert await is_there(store, upload)
