"""The process dies, or the server stops answering, between any two writes of a commit: what is left is all or nothing.

Each case commits with a client that fails from the n-th write on, for every n, then looks at the whole database
through a new store. On a real server as well, where BATON_TEST_MONGO_URI names one.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import AutoReconnect, BulkWriteError

from baton.core.errors import LeaseLost, StoreUnavailable
from baton.core.ids import new_object_id
from baton.core.models import PromptStatus, RunStatus
from baton.core.stored import Change, Committed, Known, Lost, PromptMove, Refused, RunMove
from baton.storage import mongo_commit, mongo_pending
from baton.storage.migrate import migrate
from baton.storage.mongo import mongo_migrations
from baton.testing import samples
from baton.testing.clock import FakeClock
from tests.storage.mongo_stories import (
    ASKED,
    CASES,
    NOTED,
    STANDING,
    Died,
    Failing,
    Place,
    Story,
    answer,
    end,
    import_lines,
    messages_only,
    prepared,
    states_of,
)
from tests.storage.mongo_watcher import Call

SERVER = os.environ.get("BATON_TEST_MONGO_URI")
URI = SERVER or "mongodb://mock"


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    client: Any = AsyncMongoMockClient() if SERVER is None else AsyncIOMotorClient(URI)
    place = Place(client, "baton_test_" + new_object_id(), FakeClock())
    async with mongo_migrations(URI, clock=place.clock, database=place.name, client=client) as target:
        await migrate(target)
    yield place
    await client.drop_database(place.name)
    client.close()


@pytest.fixture(params=CASES, ids=lambda case: case.__name__)
def story(request: pytest.FixtureRequest) -> Story:
    """What is there, and what is committed then."""
    before, conversation, run = prepared()
    return before, request.param(conversation, run)


async def test_a_process_that_dies_between_two_writes_leaves_all_or_nothing(place: Place, story: Story) -> None:
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
    place: Place, story: Story
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
    changes = end(conversation, run)
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
    for is_held in (True, False):  # cancelled once it waits for the end of the write, cancelled twice it does not
        commit.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert commit.done() is not is_held
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
    changes = end(conversation, run)
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
    story = before, import_lines(conversation, run)
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
        await doomed.commit(import_lines(conversation, run))
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
    (change,) = answer(conversation, run)
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
        await old.commit(end(conversation, run))
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
        await old.commit(end(conversation, run))
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
    (middle,) = messages_only(replace(conversation, seq=5), run)
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
