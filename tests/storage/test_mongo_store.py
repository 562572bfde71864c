"""The store on MongoDB apart from the contract: connecting, the lease, migrations, and documents as people see them."""

import asyncio
import os
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from types import ModuleType
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorGridFSBucket
from pymongo.errors import AutoReconnect

from baton.core.commands import AccountRole
from baton.core.errors import ConfigError, InvalidRequest, StoreUnavailable
from baton.core.ids import ConversationId, UserId, new_object_id
from baton.core.lifecycle import OPEN_RUN
from baton.core.models import ConversationStatus, MessageStatus, ToolUseBlock
from baton.core.permissions import DECIDED, Decision, GrantScope, Outcome, Risk, Rule
from baton.core.stored import Change, Committed, PromptMove, Refused
from baton.core.text import Json
from baton.storage import migrate as storage_migrate
from baton.storage import mongo_search
from baton.storage.migrate import CURE, Migration, discover, migrate
from baton.storage.mongo import MongoStore, mongo_migrations
from baton.storage.mongo_connection import host_of
from baton.storage.mongo_documents import (
    dump_audit_entry,
    dump_conversation,
    dump_prompt,
    escape_keys,
    restore_keys,
)
from baton.storage.mongo_migrations import MongoMigrations
from baton.storage.mongo_words import MAX_WORD_LENGTH, MAX_WORDS, fold, snippet, words_of
from baton.testing import samples
from baton.testing.clock import FakeClock
from tests.storage.mongo_watcher import Call, WatchedClient

SERVER = os.environ.get("BATON_TEST_MONGO_URI")
URI = SERVER or "mongodb://mock"
NAMES = [migration.name for migration in discover()]


class Place:
    """One database, migrated."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.name = "baton_test_" + new_object_id()
        self.clock = FakeClock()
        self.database = client[self.name]

    def store(self, client: Any = None) -> MongoStore:
        """A store, not opened."""
        return MongoStore(URI, clock=self.clock, database=self.name, client=client or self.client)


@pytest.fixture
async def bare() -> AsyncIterator[Place]:
    client: Any = AsyncMongoMockClient() if SERVER is None else AsyncIOMotorClient(URI)
    place = Place(client)
    yield place
    await client.drop_database(place.name)
    client.close()


@pytest.fixture
async def place(bare: Place) -> Place:
    await migrate(MongoMigrations(bare.database, bare.clock))
    return bare


@pytest.fixture
async def store(place: Place) -> AsyncIterator[MongoStore]:
    store = place.store()
    await store.open()
    yield store
    await store.close()


# --- connecting ------------------------------------------------------------------------------------------------

ABSENT = "mongodb://anna:sesame@127.0.0.1:1/baton?serverSelectionTimeoutMS=50&connectTimeoutMS=50"


async def test_an_absent_server_is_named_with_the_cure_and_without_the_password() -> None:
    store = MongoStore(ABSENT, clock=FakeClock())
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1 does not answer.*MONGODB_URI") as caught:
        await store.open()
    assert "sesame" not in str(caught.value)
    await store.close()


async def test_migrations_name_an_absent_server_as_well() -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1"):
        async with mongo_migrations(ABSENT, clock=FakeClock()):
            pytest.fail("nothing answers there")


@pytest.mark.parametrize("uri", ["mongodb://anna:sesame@", "mongodb://anna:ses:ame@host:x/", "http://anna:sesame@host"])
async def test_an_address_that_is_none_is_refused_without_the_password(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await MongoStore(uri, clock=FakeClock()).open()
    assert "sesame" not in str(caught.value)
    assert "ses:ame" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("mongodb://localhost:27017", "localhost:27017"),
        ("mongodb://anna:sesame@a:1,b:2/baton?replicaSet=rs", "a:1,b:2"),
        ("mongodb+srv://anna:ses%40me@cluster.example.net", "cluster.example.net"),
        ("mongodb://anna:ses@me/x@host/baton", "host"),
        ("mongodb://host?w=1", "host"),
    ],
)
def test_the_host_of_an_address_is_told_without_credentials(uri: str, host: str) -> None:
    assert host_of(uri) == host


async def test_a_database_that_was_not_migrated_is_refused_with_the_cure(bare: Place) -> None:
    with pytest.raises(ConfigError, match="0001_initial") as caught:
        await bare.store().open()
    assert CURE in str(caught.value)


async def test_a_database_of_a_newer_version_is_refused(place: Place) -> None:
    await place.database["schema_migrations"].insert_one({"_id": 9999, "name": "9999_future"})
    with pytest.raises(ConfigError, match="9999"):
        await place.store().open()


async def test_a_store_that_is_not_open_says_so(place: Place) -> None:
    with pytest.raises(StoreUnavailable):
        await place.store().counts()


async def test_a_drivers_error_is_wrapped_and_its_text_kept_inside(place: Place) -> None:
    async def fail(call: Call) -> None:
        if call.collection == "runs":
            raise AutoReconnect("host.internal:27017 told a secret")

    store = place.store(WatchedClient(place.client, fail))
    await store.open()
    for attempt in (store.run(samples.new_request_id()), store.counts(), store.open_conversations()):
        with pytest.raises(StoreUnavailable) as caught:
            await attempt
        assert isinstance(caught.value.__cause__, AutoReconnect)
        assert "secret" not in str(caught.value)
        assert caught.value.retryable
    await store.close()


async def test_a_closed_connection_does_not_keep_a_store_from_closing(place: Place) -> None:
    is_gone = False

    async def fail(call: Call) -> None:
        if is_gone:
            raise AutoReconnect("gone")

    store = place.store(WatchedClient(place.client, fail))
    await store.open()
    await store.acquire_lease("first")
    is_gone = True
    await store.close()


# --- lease -----------------------------------------------------------------------------------------------------


async def test_a_lease_that_nobody_renews_is_free_after_15_seconds(place: Place, store: MongoStore) -> None:
    holder = place.store()
    await holder.open()
    assert await holder.acquire_lease("first")
    place.clock.advance(14)
    assert not await store.acquire_lease("second")
    await holder.renew_lease()
    place.clock.advance(14)
    assert not await store.acquire_lease("second")
    place.clock.advance(2)
    assert await store.acquire_lease("second")
    await holder.close()
    await store.renew_lease()


async def test_a_late_holder_to_whom_nothing_happened_goes_on(place: Place, store: MongoStore) -> None:
    assert await store.acquire_lease("first")
    place.clock.advance(60)
    assert await store.commit([samples.send(samples.conversation(), is_new=True)]) == [Committed()]
    other = place.store()
    await other.open()
    assert not await other.acquire_lease("second"), "the commit has renewed it"
    await other.close()


# --- migrations ------------------------------------------------------------------------------------------------


async def test_steps_are_written_into_the_ledger_once(place: Place) -> None:
    target = MongoMigrations(place.database, place.clock)
    assert await target.applied() == {migration.version: migration.name for migration in discover()}
    assert await migrate(target) == []


async def test_a_dry_run_writes_nothing(bare: Place) -> None:
    target = MongoMigrations(bare.database, bare.clock)
    assert await migrate(target, dry_run=True) == NAMES
    assert await bare.database.list_collection_names() == []


async def test_a_step_that_was_cut_short_runs_again(place: Place) -> None:
    await place.database["schema_migrations"].delete_many({})
    await place.database["messages"].drop()
    target = MongoMigrations(place.database, place.clock)
    assert await migrate(target) == NAMES
    assert len(await place.database["messages"].index_information()) > 5


async def test_a_second_process_waits_until_the_first_has_migrated(bare: Place) -> None:
    order: list[str] = []
    first, second = (MongoMigrations(bare.database, bare.clock) for _ in range(2))

    async def wait_for_the_lock() -> None:
        async with second.locked():
            order.append("second")

    async with first.locked():
        waiting = asyncio.ensure_future(wait_for_the_lock())
        await bare.clock.until_sleeping(2)  # the first, to renew its lock, and the second, to try again
        await bare.clock.run_for(30)
        order.append("first")
    while not waiting.done():
        await bare.clock.run_for(1)
        await asyncio.sleep(0)
    await waiting
    assert order == ["first", "second"]


async def test_the_error_of_a_step_comes_out_of_the_lock_as_it_is(bare: Place) -> None:
    async def broken(database: Any) -> None:
        raise ConfigError("broken step")

    module = ModuleType("broken")
    module.mongo = broken  # type: ignore[attr-defined]  # a module made by hand
    target = MongoMigrations(bare.database, bare.clock)
    with pytest.raises(ConfigError, match="broken step"):
        async with target.locked():
            await target.apply(Migration(1, "0001_broken", module))
    assert await target.applied() == {}
    async with target.locked():
        pass


async def test_a_database_of_the_first_shape_is_read_counted_and_written(
    bare: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(storage_migrate, "discover", lambda: discover()[:1])
        await migrate(MongoMigrations(bare.database, bare.clock))
    conversation, entry = samples.conversation(), samples.audit_entry(samples.conversation().id)
    prompt = samples.prompt(conversation.id, samples.new_request_id())
    old = {"conversations": dump_conversation(conversation), "interactive_prompts": dump_prompt(prompt)}
    for name, document in (*old.items(), ("audit_log", dump_audit_entry(entry))):
        unknown = ("bypassUntil", "modeBefore", "decision", "stageAt", "seenUntil", "tally")
        await bare.database[name].insert_one({key: kept for key, kept in document.items() if key not in unknown})
    with pytest.raises(ConfigError, match="0002_permissions"):
        await bare.store().open()
    assert await migrate(MongoMigrations(bare.database, bare.clock)) == NAMES[1:]
    store = bare.store()
    await store.open()
    assert await store.conversation(conversation.id) == conversation
    assert await store.prompt(prompt.id) == prompt
    assert (await store.audit()).items == (entry,)
    assert (await store.counts()).decisions == {"allow/user_selection": 1}
    grant = samples.grant(conversation.id)
    change = Change(conversation_id=conversation.id, conversation=conversation, grants=(grant,))
    assert await store.commit([change]) == [Committed()]
    assert list(await store.standing_grants()) == [grant]
    await store.close()


# --- documents, as one sees them in mongosh --------------------------------------------------------------------


async def filled(store: MongoStore) -> Change:
    """A send, an answer in a session, and one that failed."""
    send = samples.send(samples.conversation(project_id=samples.project().id, claude_session_id="session"), is_new=True)
    assert send.conversation is not None
    answer = samples.message(send.conversation_id, ordinal=2, seq=2, session_id="session")
    failed = samples.message(send.conversation_id, ordinal=3, seq=3, status=MessageStatus.FAILED)
    more = Change(
        conversation_id=send.conversation_id,
        conversation=replace(send.conversation, seq=3, ordinal=3),
        messages=(answer, failed),
    )
    assert await store.commit([send, more]) == [Committed(), Committed()]
    return send


async def test_documents_have_object_ids_and_dates(place: Place, store: MongoStore) -> None:
    send = await filled(store)
    conversation = await place.database["conversations"].find_one({})
    message = await place.database["messages"].find_one({"role": "user"})
    run = await place.database["runs"].find_one({})
    key = ObjectId(send.conversation_id)
    assert conversation["_id"] == message["conversationId"] == run["conversationId"] == key
    assert isinstance(conversation["projectId"], ObjectId)
    assert run["messageIds"] == [message["_id"]]
    assert run["answer"]["messageId"] == run["userMessage"]["id"] == message["_id"]
    for moment in (conversation["updatedAt"], message["createdAt"], message["timestamp"], run["queuedAt"]):
        assert isinstance(moment, datetime)


async def test_grants_and_the_audit_are_found_at_the_shell(place: Place, store: MongoStore) -> None:
    conversation = samples.conversation(project_id=samples.project().id)
    grant = samples.grant(scope=GrantScope.PROJECT, project_id=conversation.project_id, expires_at=samples.at(60))
    decision = Decision(outcome=Outcome.ALLOW, rule=Rule.ALLOW_GRANT, reason="", risk=Risk.HIGH, grant_id=grant.id)
    prompt = samples.prompt(conversation.id, samples.new_request_id(), decision=decision)
    entry = samples.audit_entry(conversation.id, prompt_id=prompt.id, grant_id=grant.id)
    change = Change(
        conversation_id=conversation.id,
        conversation=conversation,
        is_new=True,
        prompts=(PromptMove(prompt=prompt, expect=None),),
        grants=(grant,),
        audit=(entry,),
    )
    assert await store.commit([change]) == [Committed()]
    granted = await place.database["conversation_permissions"].find({"status": "granted"}).to_list(10)
    assert [found["_id"] for found in granted] == [ObjectId(grant.id)]
    assert granted[0]["projectId"] == ObjectId(conversation.project_id)
    assert isinstance(granted[0]["expiresAt"], datetime)
    noted = await place.database["audit_log"].find_one({"conversationId": ObjectId(conversation.id)})
    assert (noted["_id"], noted["promptId"], noted["grantId"]) == (
        ObjectId(entry.id),
        ObjectId(prompt.id),
        ObjectId(grant.id),
    )
    assert isinstance(noted["createdAt"], datetime)
    asked = await place.database["interactive_prompts"].find_one({"decision.grantId": ObjectId(grant.id)})
    assert asked["_id"] == ObjectId(prompt.id)


async def test_the_queries_of_the_troubleshooting_guide_tell_the_truth(place: Place, store: MongoStore) -> None:
    send = await filled(store)
    messages = place.database["messages"]

    async def count(where: dict[str, Any]) -> int:
        return int(await messages.count_documents(where))

    unsound = {"$or": [{"content": ""}, {"claudeData": None}, {"conversationId": {"$exists": False}}]}
    assert await count(unsound) == 0
    assert await count({"status": "failed"}) == 1
    assert await count({"sessionId": {"$exists": True}}) == 1
    assert await count({"conversationId": ObjectId(send.conversation_id)}) == 3
    groups = messages.aggregate([{"$group": {"_id": "$status", "count": {"$sum": 1}}}])
    assert {group["_id"]: group["count"] async for group in groups} == {"completed": 2, "failed": 1}
    newest = await messages.find({}).sort([("createdAt", -1)]).limit(5).to_list(5)
    assert newest[0]["role"] == "user", "it was asked a second after the others were made"
    assert await place.database["conversations"].count_documents({"claudeSessionId": {"$ne": None}}) == 1


async def test_keys_that_not_all_servers_take_come_back_as_they_were(place: Place, store: MongoStore) -> None:
    hard: Json = {"$ref": "#/a", "a.b": [{"$set": {"": 1}}], "％": 1, "＄": {"．": None}, "plain": {"x y": 2}}
    conversation = samples.conversation()
    tool = ToolUseBlock(id="t", name="Edit", input=hard, result=hard)
    message = samples.message(conversation.id, blocks=(tool,), claude_data=hard)
    change = Change(conversation_id=conversation.id, conversation=conversation, is_new=True, messages=(message,))
    assert await store.commit([change]) == [Committed()]
    assert await store.message(message.id) == message
    stored = await place.database["messages"].find_one({})
    assert not [key for key in stored["claudeData"] if "$" in key or "." in key]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.dictionaries(st.text("$.％＄．ab_"), inner) | st.lists(inner),
    )
)
def test_every_key_survives_escaping(value: Any) -> None:
    escaped, changed = escape_keys(value)
    assert restore_keys(escaped) == value
    assert changed or escaped == value
    assert "$" not in "".join(keys_in(escaped))
    assert "." not in "".join(keys_in(escaped))


def keys_in(value: Any) -> list[str]:
    """All keys, at any depth."""
    if isinstance(value, dict):
        return [*value, *(key for item in value.values() for key in keys_in(item))]
    return [key for item in value for key in keys_in(item)] if isinstance(value, list) else []


async def test_a_document_over_the_servers_limit_is_refused(store: MongoStore) -> None:
    conversation = samples.conversation()
    message = samples.message(conversation.id, content="x" * (8 << 20))
    change = Change(conversation_id=conversation.id, conversation=conversation, is_new=True, messages=(message,))
    (outcome,) = await store.commit([change])
    assert isinstance(outcome, Refused)
    assert await store.conversation(conversation.id) is None


async def test_a_project_that_cannot_be_stored_is_the_callers_mistake(store: MongoStore) -> None:
    with pytest.raises(InvalidRequest):
        await store.put_project(samples.project(name="\ud800"))
    with pytest.raises(InvalidRequest):
        await store.put_project(samples.project(id="not an id"))


# --- attachments -----------------------------------------------------------------------------------------------


async def test_an_attachment_has_the_layout_of_gridfs(place: Place, store: MongoStore) -> None:
    content = bytes(range(256)) * 12_000
    attachment = samples.attachment(size_bytes=len(content))
    await store.put_attachment(attachment, content)
    file = await place.database["attachments.files"].find_one({"_id": ObjectId(attachment.id)})
    chunks = await place.database["attachments.chunks"].find({}).sort([("n", 1)]).to_list(100)
    assert (file["length"], file["filename"]) == (len(content), attachment.filename)
    assert [chunk["n"] for chunk in chunks] == [0, 1, 2]
    assert [len(chunk["data"]) for chunk in chunks[:-1]] == [file["chunkSize"]] * 2
    assert {chunk["files_id"] for chunk in chunks} == {file["_id"]}


@pytest.mark.skipif(SERVER is None, reason="the driver's GridFS needs a server")
async def test_the_drivers_own_gridfs_reads_an_attachment(place: Place, store: MongoStore) -> None:
    content = bytes(range(256)) * 12_000
    attachment = samples.attachment(size_bytes=len(content))
    await store.put_attachment(attachment, content)
    bucket = AsyncIOMotorGridFSBucket(place.database, bucket_name="attachments")
    stream = await bucket.open_download_stream(ObjectId(attachment.id))
    assert await stream.read() == content


async def test_an_attachment_that_was_cut_short_is_not_there_and_can_be_put_again(place: Place) -> None:
    attachment = samples.attachment()

    async def fail(call: Call) -> None:
        if (call.collection, call.method) == ("attachments.files", "insert_one"):
            raise AutoReconnect("gone")

    broken = place.store(WatchedClient(place.client, fail))
    await broken.open()
    with pytest.raises(StoreUnavailable):
        await broken.put_attachment(attachment, b"1234")
    await broken.close()
    store = place.store()
    await store.open()
    assert await store.attachment(attachment.id) is None
    assert await store.attachment_content(attachment.id) is None
    await store.put_attachment(attachment, b"5678")
    assert await store.attachment_content(attachment.id) == b"5678"
    await store.close()


async def test_an_attachment_that_misses_a_chunk_is_not_handed_out(place: Place, store: MongoStore) -> None:
    attachment = samples.attachment()
    await store.put_attachment(attachment, b"1234")
    await place.database["attachments.chunks"].delete_many({})
    with pytest.raises(StoreUnavailable, match="not complete"):
        await store.attachment_content(attachment.id)


# --- owners ----------------------------------------------------------------------------------------------------


async def test_what_is_there_from_before_owners_is_found_by_its_user_after_the_first_start(store: MongoStore) -> None:
    anna, root = UserId("anna $ne"), UserId("root")
    conversation = samples.conversation(user_id=anna)
    sent = samples.send(conversation, is_new=True, content="pear")
    assert sent.new_run is not None
    prompt = samples.prompt(conversation.id, sent.new_run.request_id)
    await store.commit([replace(sent, prompts=(PromptMove(prompt=prompt, expect=None),))])
    grants = [samples.grant(created_by=name) for name in (anna, root)]
    for name, role, grant in ((anna, AccountRole.USER, grants[0]), (root, AccountRole.ADMIN, grants[1])):
        await store.add_token(samples.api_token(name=name, role=role))
        await store.put_grant(grant)
    await store.append_to_audit(samples.audit_entry(conversation.id, user_id=anna))
    of = store._is.of
    for name in ("messages", "runs", "interactive_prompts"):
        await of[name].update_many({}, {"$unset": {"ownerId": ""}})
    await of["conversation_permissions"].update_many({}, {"$unset": {"userId": ""}})
    await of["audit_log"].update_many({}, {"$unset": {"action": ""}})
    assert (await store.search("pear", user_id=anna)).items == ()
    await store.repair()
    await store.repair()
    assert len((await store.search("pear", user_id=anna)).items) == 1
    assert [run.request_id for run in await store.runs(OPEN_RUN, user_id=anna)] == [sent.new_run.request_id]
    assert [one.id for one in await store.prompts(user_id=anna)] == [prompt.id]
    assert {grant.id: grant.user_id for grant in await store.standing_grants()} == {
        grants[0].id: anna,
        grants[1].id: None,
    }
    assert len((await store.audit(action=DECIDED)).items) == 1


# --- search ----------------------------------------------------------------------------------------------------


async def said(store: MongoStore, content: str, **fields: Any) -> ConversationId:
    """A conversation with one message."""
    conversation = samples.conversation(**fields)
    message = samples.message(conversation.id, content=content)
    change = Change(conversation_id=conversation.id, conversation=conversation, is_new=True, messages=(message,))
    assert await store.commit([change]) == [Committed()]
    return conversation.id


async def test_hits_behind_many_deleted_conversations_are_found(store: MongoStore) -> None:
    visible = await said(store, "needle")
    for _ in range(10):
        await said(store, "needle", status=ConversationStatus.DELETED)
    assert [hit.conversation_id for hit in (await store.search("needle", limit=2)).items] == [visible]


async def test_a_search_past_too_many_deleted_ones_ends_with_a_cursor(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_search, "_ROUNDS", 1)
    visible = await said(store, "needle")
    for _ in range(6):
        await said(store, "needle", status=ConversationStatus.DELETED)
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = await store.search("needle", cursor=cursor, limit=2)
        found += [hit.conversation_id for hit in page.items]
        cursor, pages = page.next, pages + 1
    assert found == [visible]
    assert pages > 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("Hello, hello HELLO", ["hello"]),
        ("don't snake_case a-b", ["don", "t", "snake", "case", "a", "b"]),
        ("Straße İstanbul ﬁne", ["strasse", "istanbul", "fine"]),
        ("cafe\u0301 café", ["cafe"]),
        ("東京 한국어 العربية", ["東京", "한국어", "العربية"]),
        ("x" * 100, ["x" * MAX_WORD_LENGTH]),
    ],
)
def test_words_are_runs_of_letters_and_digits_without_case_and_accents(text: str, words: list[str]) -> None:
    assert words_of(text) == [unicodedata.normalize("NFKD", word) for word in words]


def test_of_a_text_with_very_many_words_the_first_are_indexed() -> None:
    assert len(words_of(" ".join(str(number) for number in range(MAX_WORDS + 100)))) == MAX_WORDS


@given(st.text())
def test_a_folded_word_is_folded(text: str) -> None:
    assert [fold(word) for word in words_of(text)] == words_of(text)


@given(st.text(max_size=600), st.text(max_size=10))
def test_a_snippet_is_a_piece_of_the_text(text: str, word: str) -> None:
    plain = text.replace("\ue000", "").replace("\ue001", "")
    found = snippet(text, words_of(word)).replace("\ue000", "").replace("\ue001", "")
    assert found.strip("…") in plain
    assert len(found) <= 242


def test_marks_in_the_text_itself_are_left_out_of_a_snippet() -> None:
    assert snippet("a \ue000forged\ue001 match", ["match"]) == "a forged \ue000match\ue001"
