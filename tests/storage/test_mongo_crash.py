"""The process dies, or the server stops answering, between any two writes of a commit: what is left is all or nothing.

Each case commits with a client that fails from the n-th write on, for every n, then looks at the whole database
through a new store. On a real server as well, where BATON_TEST_MONGO_URI names one.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pytest
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import AutoReconnect, BulkWriteError

from baton.core.errors import LeaseLost, StoreUnavailable
from baton.core.ids import ConversationId, PromptId, new_object_id
from baton.core.lifecycle import OPEN_RUN
from baton.core.models import Conversation, PromptStatus, Run, RunStatus
from baton.core.permissions import revoke
from baton.core.stored import Change, Committed, JournalTrim, Known, Lost, PromptMove, Refused, RunMove
from baton.storage import mongo_commit, mongo_pending
from baton.storage.migrate import migrate
from baton.storage.mongo import COLLECTIONS, MongoStore, mongo_migrations
from baton.testing import samples
from baton.testing.clock import FakeClock
from tests.storage.mongo_watcher import WRITES, Call, WatchedClient, Watcher

SERVER = os.environ.get("BATON_TEST_MONGO_URI")
URI = SERVER or "mongodb://mock"

Dump: TypeAlias = dict[str, list[dict[str, Any]]]


ASKED = PromptId("0" * 24)
STANDING = samples.grant()
NOTED = samples.audit_entry(ConversationId(new_object_id()))


class Died(Exception):
    """The process is no more: no call after this one reaches the server."""


class Failing:
    """Lets some writes pass once armed, then fails every call (a process that died) or every write (a server)."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self._left: int | None = None
        self.writes = 0

    def arm(self, passing: int) -> None:
        """From now on, let so many writes pass."""
        self._left = passing

    def heal(self) -> None:
        """From now on, let everything pass."""
        self._left = None

    async def __call__(self, call: Call) -> None:
        is_write = call.method in WRITES
        if self._left is not None and self._left <= 0 and (is_write or isinstance(self._error, Died)):
            raise self._error
        self.writes += is_write
        if self._left is not None and is_write:
            self._left -= 1


@dataclass(slots=True)
class Place:
    """One database, and stores on it."""

    client: Any
    name: str
    clock: FakeClock

    async def store(self, watcher: Watcher | None = None, clock: FakeClock | None = None) -> MongoStore:
        """A new open store; a process of its own as far as the database can tell."""
        client = self.client if watcher is None else WatchedClient(self.client, watcher)
        store = MongoStore(URI, clock=clock or self.clock, database=self.name, client=client)
        await store.open()
        return store

    async def begin_with(self, changes: Sequence[Change]) -> None:
        """Empty it, then commit these."""
        for name in COLLECTIONS:
            await self.client[self.name][name].delete_many({})
        store = await self.store()
        assert await store.commit(changes) == [Committed()] * len(changes)
        await store.close()

    async def dump(self) -> Dump:
        """Every document that is served, without the keys of journal rows, which differ between two attempts."""
        found: Dump = {}
        for name in COLLECTIONS:
            if name not in ("pending_changes", "leases", "meta"):
                documents = [document async for document in self.client[self.name][name].find({})]
                found[name] = sorted(documents, key=lambda document: (document.get("seq", 0), str(document["_id"])))
        for row in found["run_journal"]:
            del row["_id"]
        return found

    async def pending(self) -> int:
        """How many parts of changes are announced."""
        return int(await self.client[self.name]["pending_changes"].count_documents({}))


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    client: Any = AsyncMongoMockClient() if SERVER is None else AsyncIOMotorClient(URI)
    place = Place(client, "baton_test_" + new_object_id(), FakeClock())
    async with mongo_migrations(URI, clock=place.clock, database=place.name, client=client) as target:
        await migrate(target)
    yield place
    await client.drop_database(place.name)
    client.close()


# --- what is committed -----------------------------------------------------------------------------------------


def _send(conversation: Conversation, run: Run) -> list[Change]:
    return [samples.send(conversation)]


def _first_send(conversation: Conversation, run: Run) -> list[Change]:
    return [samples.send(samples.conversation(), is_new=True)]


def _import(conversation: Conversation, run: Run) -> list[Change]:
    new = samples.conversation(seq=5, ordinal=5)
    lines = tuple(samples.message(new.id, ordinal=n, seq=n) for n in range(1, 6))
    return [Change(conversation_id=new.id, conversation=new, is_new=True, messages=lines)]


def _end(conversation: Conversation, run: Run) -> list[Change]:
    ended = replace(run, status=RunStatus.COMPLETED, seq=9, bridge_seq=3, user_message=None)
    spoken = tuple(
        samples.message(conversation.id, request_id=run.request_id, ordinal=n, seq=9, covers_bridge_seq=3)
        for n in (2, 3)
    )
    prompt = samples.prompt(conversation.id, run.request_id, id=ASKED, seq=4)
    return [
        Change(
            conversation_id=conversation.id,
            conversation=replace(conversation, seq=9, ordinal=3),
            runs=(RunMove(run=ended, expect=OPEN_RUN),),
            messages=spoken,
            prompts=(
                PromptMove(prompt=replace(prompt, status=PromptStatus.CANCELLED, seq=9), expect=PromptStatus.PENDING),
            ),
            trims=(JournalTrim(request_id=run.request_id, up_to_bridge_seq=3),),
        )
    ]


def _question(conversation: Conversation, run: Run) -> list[Change]:
    prompt = samples.prompt(conversation.id, run.request_id, seq=7)
    waiting = replace(run, status=RunStatus.AWAITING_INPUT, seq=7, bridge_seq=4)
    return [
        Change(
            conversation_id=conversation.id,
            conversation=replace(conversation, seq=7),
            runs=(RunMove(run=waiting, expect=frozenset({run.status})),),
            prompts=(PromptMove(prompt=prompt, expect=None),),
            journal=samples.journal_row(conversation.id, run.request_id, seq=7, bridge_seq=4),
        )
    ]


def _messages_only(conversation: Conversation, run: Run) -> list[Change]:
    spoken = samples.message(conversation.id, request_id=run.request_id, ordinal=2, seq=5, covers_bridge_seq=2)
    changed = replace(conversation, seq=5, ordinal=2)
    return [Change(conversation_id=conversation.id, conversation=changed, messages=(spoken,))]


def _answer(conversation: Conversation, run: Run) -> list[Change]:
    prompt = samples.prompt(conversation.id, run.request_id, id=ASKED, seq=4)
    answered = replace(prompt, status=PromptStatus.ANSWERED, selected_option="allow_always", seq=5)
    entries = [samples.audit_entry(conversation.id, request_id=run.request_id, prompt_id=ASKED) for _ in range(2)]
    return [
        Change(
            conversation_id=conversation.id,
            conversation=replace(conversation, seq=5),
            runs=(RunMove(run=replace(run, seq=5), expect=OPEN_RUN),),
            prompts=(PromptMove(prompt=answered, expect=PromptStatus.PENDING),),
            grants=(samples.grant(conversation.id), samples.grant(), revoke(STANDING, samples.at(5))),
            audit=tuple(entries),
        )
    ]


def _revoke(conversation: Conversation, run: Run) -> list[Change]:
    grants = (revoke(STANDING, samples.at(5)),)
    return [Change(conversation_id=conversation.id, conversation=replace(conversation, seq=5), grants=grants)]


CASES = [_send, _first_send, _import, _end, _question, _messages_only, _answer, _revoke]
Case: TypeAlias = Callable[[Conversation, Run], list[Change]]


def prepared() -> tuple[list[Change], Conversation, Run]:
    """A running run with rows in the journal, a pending prompt, a grant and a noted decision: what every case finds."""
    send = samples.send(samples.conversation(), is_new=True, status=RunStatus.RUNNING)
    assert send.conversation is not None
    assert send.new_run is not None
    conversation, run = replace(send.conversation, seq=4), send.new_run
    rows = [samples.journal_row(conversation.id, run.request_id, seq=seq, bridge_seq=seq - 1) for seq in (2, 3)]
    asked = PromptMove(prompt=samples.prompt(conversation.id, run.request_id, id=ASKED, seq=4), expect=None)
    changes = [
        send,
        *(Change(conversation_id=conversation.id, journal=row) for row in rows),
        Change(
            conversation_id=conversation.id,
            conversation=conversation,
            prompts=(asked,),
            grants=(STANDING,),
            audit=(NOTED,),
        ),
    ]
    return changes, conversation, run


@pytest.fixture(params=CASES, ids=lambda case: case.__name__.strip("_"))
def story(request: pytest.FixtureRequest) -> tuple[list[Change], list[Change]]:
    """What is there, and what is committed then."""
    before, conversation, run = prepared()
    return before, request.param(conversation, run)


async def states_of(place: Place, story: tuple[list[Change], list[Change]]) -> tuple[Dump, Dump, int]:
    """The database before, the database after, and how many writes lie between."""
    before, changes = story
    await place.begin_with(before)
    state_before = await place.dump()
    counting = Failing(Died())
    store = await place.store(counting)
    counting.writes = 0
    assert await store.commit(changes) == [Committed()] * len(changes)
    writes = counting.writes
    await store.close()
    return state_before, await place.dump(), writes


async def test_a_process_that_dies_between_two_writes_leaves_all_or_nothing(
    place: Place, story: tuple[list[Change], list[Change]]
) -> None:
    state_before, state_after, writes = await states_of(place, story)
    seen = set()
    for survived in range(writes + 1):
        await place.begin_with(story[0])
        failing = Failing(Died())
        doomed = await place.store(failing)
        failing.arm(survived)
        with contextlib.suppress(Died):
            await doomed.commit(story[1])
        successor = await place.store()
        await successor.repair()
        state = await place.dump()
        assert state in (state_before, state_after), f"half written after {survived} of {writes} writes"
        assert await place.pending() == 0
        assert await successor.repair() == 0, "a second repair has nothing to do"
        seen.add(state == state_after)
        if state == state_before:
            assert await successor.commit(story[1]) == [Committed()] * len(story[1])
        elif story[1][0].journal is None:
            assert set(await successor.commit(story[1])) <= {Committed(), Known(), Lost()}
        assert await place.dump() == state_after
        await successor.close()
    assert seen == {False, True}


async def test_a_server_that_fails_between_two_writes_leaves_all_or_nothing_to_the_next_turn(
    place: Place, story: tuple[list[Change], list[Change]]
) -> None:
    state_before, state_after, writes = await states_of(place, story)
    for survived in range(writes):
        await place.begin_with(story[0])
        failing = Failing(AutoReconnect("gone"))
        store = await place.store(failing)
        failing.arm(survived)
        with pytest.raises(StoreUnavailable):
            await store.commit(story[1])
        failing.heal()
        await store.load_lane(story[1][0].conversation_id)
        assert await place.dump() in (state_before, state_after), f"half written after {survived} of {writes} writes"
        assert await place.pending() == 0
        await store.close()


async def test_the_commit_of_a_caller_that_is_cancelled_is_finished(place: Place) -> None:
    before, conversation, run = prepared()
    changes = _end(conversation, run)
    _, state_after, _ = await states_of(place, (before, changes))
    await place.begin_with(before)
    reached, let_go = asyncio.Event(), asyncio.Event()

    async def hold(call: Call) -> None:
        if call.method == "replace_one" and call.collection == "runs":
            reached.set()
            await let_go.wait()

    store = await place.store(hold)
    commit = asyncio.ensure_future(store.commit(changes))
    await reached.wait()
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    let_go.set()
    await store.close()
    assert (await place.pending(), await place.dump()) == (0, state_after)


async def test_closing_does_not_wait_for_ever_for_a_server_that_hangs(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_commit, "FINISH_S", 0.01)
    before, conversation, run = prepared()
    changes = _end(conversation, run)
    _, state_after, _ = await states_of(place, (before, changes))
    await place.begin_with(before)
    reached = asyncio.Event()

    async def hang(call: Call) -> None:
        if call.method == "replace_one" and call.collection == "runs":
            reached.set()
            await asyncio.Event().wait()

    store = await place.store(hang)
    commit = asyncio.ensure_future(store.commit(changes))
    await reached.wait()
    await store.close()
    with pytest.raises(asyncio.CancelledError):
        await commit
    successor = await place.store()
    assert await successor.repair() == 1
    assert await place.dump() == state_after
    await successor.close()


async def test_a_change_larger_than_one_document_is_announced_in_parts(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_pending, "_PART_BYTES", 500)
    before, conversation, run = prepared()
    story = before, _import(conversation, run)
    state_before, state_after, _ = await states_of(place, story)
    most = 0

    async def count(call: Call) -> None:
        nonlocal most
        most = max(most, await place.pending())

    await place.begin_with(before)
    store = await place.store(count)
    await store.commit(story[1])
    assert most > 1
    assert (await place.pending(), await place.dump()) == (0, state_after)
    await store.close()
    assert state_before != state_after


async def test_a_change_of_which_a_part_is_missing_was_never_begun(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_pending, "_PART_BYTES", 500)
    before, conversation, run = prepared()
    await place.begin_with(before)
    state_before = await place.dump()
    failing = Failing(Died())
    doomed = await place.store(failing)
    failing.arm(1)
    with pytest.raises(Died):
        await doomed.commit(_import(conversation, run))
    await place.client[place.name]["pending_changes"].delete_one({"number": 2})
    assert await place.pending() > 0
    successor = await place.store()
    await successor.repair()
    assert (await place.pending(), await place.dump()) == (0, state_before)
    await successor.close()


async def test_an_entry_of_the_audit_that_is_there_is_not_written_again_after_a_crash(place: Place) -> None:
    before, conversation, _ = prepared()
    await place.begin_with(before)
    failing = Failing(Died())
    doomed = await place.store(failing)
    failing.arm(1)
    forged = replace(NOTED, outcome="deny", user_id=None)
    missing = samples.audit_entry(conversation.id)
    change = Change(conversation_id=conversation.id, conversation=conversation, audit=(forged, missing))
    with pytest.raises(Died):
        await doomed.commit([change])
    successor = await place.store()
    assert await successor.repair() == 1
    assert (await successor.audit(conversation_id=NOTED.conversation_id)).items == (NOTED,)
    assert (await successor.audit(conversation_id=conversation.id)).items == (missing,)
    await successor.close()


async def test_a_change_that_is_overtaken_grants_and_notes_nothing(place: Place) -> None:
    before, conversation, run = prepared()
    await place.begin_with(before)

    async def interfere(call: Call) -> None:
        if call.collection == "pending_changes" and call.method == "insert_many":
            await place.client[place.name]["runs"].update_many({}, {"$set": {"status": "aborted"}})

    store = await place.store(interfere)
    (change,) = _answer(conversation, run)
    assert await store.commit([change]) == [Lost()]
    assert [await store.grant(grant.id) for grant in change.grants] == [None, None, STANDING]
    assert (await store.audit()).items == (NOTED,)
    await store.close()


# --- who else writes -------------------------------------------------------------------------------------------


async def test_one_whose_lease_ran_out_writes_nothing(place: Place) -> None:
    before, conversation, run = prepared()
    await place.begin_with(before)
    old, new = await place.store(), await place.store()
    assert await old.acquire_lease("old")
    place.clock.advance(16)
    assert await new.acquire_lease("new")
    state = await place.dump()
    with pytest.raises(LeaseLost):
        await old.commit(_end(conversation, run))
    with pytest.raises(LeaseLost):
        await old.renew_lease()
    assert await place.dump() == state
    await old.close()
    await new.renew_lease()
    await new.close()


async def test_what_one_announced_after_its_lease_ran_out_is_never_written(place: Place) -> None:
    before, conversation, run = prepared()
    await place.begin_with(before)
    state_before = await place.dump()
    failing, slow_clock = Failing(Died()), FakeClock()
    old, new = await place.store(failing, slow_clock), await place.store()
    assert await old.acquire_lease("old")
    place.clock.advance(16)
    assert await new.acquire_lease("new")
    await new.repair()
    failing.arm(1)
    with pytest.raises(Died):
        await old.commit(_end(conversation, run))
    assert await place.pending() == 1
    await new.close()
    last = await place.store()
    assert await last.acquire_lease("last")
    await last.repair()
    assert (await place.pending(), await place.dump()) == (0, state_before)
    await last.close()


async def test_an_answer_at_the_shell_between_look_and_write_stands(place: Place) -> None:
    before, conversation, run = prepared()
    await place.begin_with(before)

    async def interfere(call: Call) -> None:
        if call.collection == "pending_changes" and call.method == "insert_many":
            prompts = place.client[place.name]["interactive_prompts"]
            await prompts.update_many({"status": "pending"}, {"$set": {"status": "timeout", "autoHandler": "cleanup"}})

    store = await place.store(interfere)
    asked = await store.prompt(ASKED)
    assert asked is not None
    answered = PromptMove(prompt=replace(asked, status=PromptStatus.ANSWERED), expect=PromptStatus.PENDING)
    moved = RunMove(run=replace(run, status=RunStatus.AWAITING_INPUT), expect=frozenset({RunStatus.RUNNING}))
    change = Change(conversation_id=conversation.id, conversation=conversation, prompts=(answered,), runs=(moved,))
    assert await store.commit([change]) == [Lost()]
    assert (await store.prompt(ASKED)) == replace(asked, status=PromptStatus.TIMEOUT, auto_handler="cleanup")
    assert await store.run(run.request_id) == run
    assert await place.pending() == 0
    await store.close()


async def test_a_user_message_that_a_dump_in_mid_write_left_out_is_put_back(place: Place) -> None:
    before, _, run = prepared()
    await place.begin_with(before)
    state_before = await place.dump()
    await place.client[place.name]["messages"].delete_many({})
    store = await place.store()
    assert await store.repair() == 1
    assert await place.dump() == state_before
    assert await store.repair() == 0
    assert run.user_message is not None
    assert await store.message(run.user_message.id) == run.user_message
    await store.close()


async def test_rows_of_one_conversation_reach_the_disk_in_their_order(place: Place) -> None:
    before, conversation, run = prepared()
    await place.begin_with(before)
    written: list[tuple[str, object]] = []

    async def note(call: Call) -> None:
        if call.collection == "run_journal" and call.method == "insert_many":
            written.append(("rows", [row["seq"] for row in call.args[0]]))
        if call.collection == "conversations" and call.method == "replace_one":
            written.append(("conversation", call.args[1]["seq"]))

    store = await place.store(note)
    row = Change(conversation_id=conversation.id, journal=samples.journal_row(conversation.id, run.request_id, seq=5))
    (middle,) = _messages_only(replace(conversation, seq=5), run)
    last = Change(conversation_id=conversation.id, journal=samples.journal_row(conversation.id, run.request_id, seq=7))
    middle = replace(middle, conversation=replace(conversation, seq=6))
    await store.commit([row, middle, last])
    assert written == [("rows", [5]), ("conversation", 6), ("rows", [7])]
    await store.close()


async def test_a_change_that_the_server_refuses_sinks_no_other(place: Place) -> None:
    before, _, _ = prepared()
    await place.begin_with(before)
    bad, good = (samples.send(samples.conversation(), is_new=True) for _ in range(2))

    async def refuse(call: Call) -> None:
        if call.collection == "pending_changes" and call.method == "insert_many":
            ids = [str(part["conversationId"]) for part in call.args[0]]
            if bad.conversation_id in ids:
                raise BulkWriteError({"writeErrors": [{"index": ids.index(bad.conversation_id), "code": 2}]})

    store = await place.store(refuse)
    refused, committed = await store.commit([bad, good])
    assert isinstance(refused, Refused)
    assert committed == Committed()
    assert await store.conversation(bad.conversation_id) is None
    assert await store.conversation(good.conversation_id) == good.conversation
    assert await place.pending() == 0
    await store.close()
