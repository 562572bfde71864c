"""Every question that the contract makes the store ask is limited and has an index that answers it."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from mongomock_motor import AsyncMongoMockClient
from motor.motor_asyncio import AsyncIOMotorClient

from baton.core.ids import (
    AttachmentId,
    BridgeId,
    ConversationId,
    MessageId,
    ProjectId,
    PromptId,
    RequestId,
    TokenId,
    new_object_id,
)
from baton.core.models import ConversationStatus, PromptStatus, RunStatus
from baton.core.permissions import GrantId
from baton.core.ports import Store
from baton.core.series import BucketWidth, Span
from baton.core.stored import Change, Committed, ConversationFilter, Known, Refused
from baton.storage.migrate import migrate
from baton.storage.mongo import MongoStore, mongo_migrations
from baton.testing import samples
from baton.testing.clock import FakeClock
from baton.testing.store_contract import Connect, StoreContract
from baton.testing.store_rules_owners import login
from tests.storage.mongo_watcher import READS, WRITES, Call, WatchedClient

URI = "mongodb://mock"
Keys: TypeAlias = Sequence[tuple[str, int]]

RESIDUAL = {
    ("messages", "projectId"): "a word of a search picks few",
    ("conversations", "projectId"): "a word of a search, or a session, picks few",
    ("conversations", "userId"): "of one session, which few conversations have",
    ("conversations", "status"): "of a project's conversations few are in the bin",
    ("conversations", "updatedAt"): "the cursor of a list that an index orders",
    ("messages", "role"): "a run has few messages",
    ("runs", "userMessage"): "few runs are open",
    ("leases", "holder"): "one document",
    ("leases", "term"): "one document",
    ("leases", "expiresAt"): "one document",
    ("runs", "status"): "one document, or the runs of one conversation that is purged",
    ("interactive_prompts", "status"): "one document",
    ("api_tokens", "bridgeId"): "one document",
    ("api_tokens", "revokedAt"): "one document",
    ("attachments.files", "inDoubtSince"): "one document",
    **{
        ("audit_log", name): "beside another filter that an index serves; admins alone ask"
        for name in ("userId", "action", "conversationId")
    },
    **{
        (name, "ownerId"): "of one conversation, once after the update to a version that keeps owners"
        for name in ("messages", "runs", "interactive_prompts")
    },
    **{
        (name, field): "looked through once, in the order of its ids, after the update to a version that keeps uses"
        for name, fields in {
            "messages": ("attachments.0", "blocks.attachment", "blocks.input.attachment"),
            "run_journal": ("events.attachment", "events.input.attachment"),
        }.items()
        for field in fields
    },
}
"""Conditions that are looked at in the documents that an index has picked, and why those are few."""


def equalities(where: Mapping[str, Any]) -> set[str]:
    """The fields that the filter pins to values."""
    return {
        name
        for name, value in where.items()
        if not name.startswith("$")
        and (not isinstance(value, dict) or not set(value).isdisjoint({"$eq", "$in", "$all"}))
    }


def conditions(where: Mapping[str, Any]) -> set[str]:
    """Every field that the filter looks at."""
    found: set[str] = set()
    for name, value in where.items():
        if name in {"$or", "$and"}:
            found |= {field for part in value for field in conditions(part)}
        else:
            found.add(name)
    return found


def is_served(collection: str, where: Mapping[str, Any], sort: Keys, index: Keys) -> bool:
    """Whether this index finds the documents and gives them in this order, by the rule equality, sort, range."""
    pinned = equalities(where)
    used = 0
    while used < len(index) and index[used][0] in pinned:
        used += 1
    order = [(name, way) for name, way in sort if name not in {name for name, _ in index[:used]}]
    following = list(index[used : used + len(order)])
    if order and following not in (order, [(name, -way) for name, way in order]):
        return False
    reach = used + len(order) if order else used + 1
    if used == 0 and not order and not (index and index[0][0] in conditions(where)):
        return False
    left = conditions(where) - {name for name, _ in index[:reach]} - {"_id"}
    return all((collection, name) in RESIDUAL for name in left)


def complaint(call: Call, indexes: Mapping[str, Sequence[Keys]]) -> str | None:
    """What is wrong with a call; None where nothing is."""
    if call.filter is None:
        return None
    if call.method in READS and call.limit < 1:
        return f"{call.collection}.{call.method} {call.filter}: no limit"
    known = [*indexes.get(call.collection, ()), [("_id", 1)]]
    if not any(is_served(call.collection, call.filter, call.sort, index) for index in known):
        return f"{call.collection}.{call.method} {call.filter} sort {call.sort}: no index"
    return None


class TestQueries(StoreContract):
    """The contract once more, for what it makes the store say to the server."""

    @pytest.fixture
    async def connect(self) -> AsyncIterator[Connect]:
        calls: list[Call] = []

        async def write_down(call: Call) -> None:
            calls.append(call)

        client: Any = AsyncMongoMockClient()
        clock = FakeClock()
        async with mongo_migrations(URI, clock=clock, database="baton", client=client) as target:
            await migrate(target)
        watched = WatchedClient(client, write_down)
        yield lambda: MongoStore(URI, clock=clock, database="baton", client=watched)
        indexes = await indexes_of(client["baton"])
        complaints = {text for call in calls if (text := complaint(call, indexes))}
        assert calls, "nothing was watched"
        assert not complaints, "\n".join(sorted(complaints))


async def indexes_of(database: Any) -> dict[str, list[Keys]]:
    """The keys of every index, by collection."""
    return {
        name: [entry["key"] for entry in (await database[name].index_information()).values()]
        for name in await database.list_collection_names()
    }


NOW = samples.START
ID = new_object_id()
"""Of nothing: what a verb asks the server does not depend on whether it is there."""
VERBS: Mapping[str, Callable[[MongoStore], Awaitable[object]]] = {
    "open": lambda store: store.open(),
    "close": lambda store: store.close(),
    "acquire_lease": lambda store: store.acquire_lease("h"),
    "renew_lease": lambda store: store.renew_lease(),
    "epoch": lambda store: store.epoch(),
    "commit": lambda store: store.commit([samples.send(samples.conversation(), is_new=True)]),
    "repair": lambda store: store.repair(),
    "open_conversations": lambda store: store.open_conversations(),
    "load_lane": lambda store: load_some_lane(store),
    "changes_after": lambda store: store.changes_after(ConversationId(ID), 5, 10),
    "history": lambda store: store.history(ConversationId(ID), before=9, after=2),
    "message": lambda store: store.message(MessageId(ID)),
    "run": lambda store: store.run(RequestId("r")),
    "runs_of": lambda store: store.runs_of(ConversationId(ID), [RequestId("r")]),
    "runs": lambda store: store.runs(frozenset(RunStatus)),
    "prompt": lambda store: store.prompt(PromptId(ID)),
    "prompts": lambda store: store.prompts(PromptStatus.PENDING, ConversationId(ID)),
    "conversation": lambda store: store.conversation(ConversationId(ID)),
    "conversations": lambda store: store.conversations(ConversationFilter(project_id=ProjectId(ID))),
    "note_seen": lambda store: store.note_seen(samples.ANNA, ConversationId(ID), 3),
    "seen": lambda store: store.seen(samples.ANNA, [ConversationId(ID)]),
    "purge_conversation": lambda store: store.purge_conversation(ConversationId(ID)),
    "standing_grants": lambda store: store.standing_grants(),
    "grants": lambda store: store.grants(ConversationId(ID), ProjectId(ID)),
    "grant": lambda store: store.grant(GrantId(ID)),
    "put_grant": lambda store: store.put_grant(samples.grant()),
    "audit": lambda store: store.audit(conversation_id=ConversationId(ID)),
    "append_to_audit": lambda store: store.append_to_audit(samples.audit_entry(ConversationId(ID))),
    "remove_old_audit": lambda store: store.remove_old_audit(NOW, 10),
    "bypassing": lambda store: store.bypassing(),
    "note_alive": lambda store: store.note_alive(NOW),
    "alive_at": lambda store: store.alive_at(),
    "put_project": lambda store: store.put_project(samples.project()),
    "project": lambda store: store.project(ProjectId(ID)),
    "projects": lambda store: store.projects(),
    "delete_project": lambda store: store.delete_project(ProjectId(ID)),
    "put_attachment": lambda store: store.put_attachment(samples.attachment(), b"1234"),
    "attachment": lambda store: store.attachment(AttachmentId(ID)),
    "is_used_by": lambda store: store.is_used_by(AttachmentId(ID), samples.ANNA),
    "attachment_content": lambda store: store.attachment_content(AttachmentId(ID)),
    "search": lambda store: store.search("some words", project_id=ProjectId(ID)),
    "series": lambda store: store.series(Span(since=NOW, width=BucketWidth.HOUR, count=2)),
    "counts": lambda store: store.counts(),
    "probe": lambda store: store.probe(),
    "add_token": lambda store: store.add_token(samples.api_token()),
    "token": lambda store: store.token(TokenId(ID)),
    "tokens": lambda store: store.tokens(),
    "live_tokens": lambda store: store.live_tokens(),
    "bind_token": lambda store: store.bind_token(TokenId(ID), BridgeId("b")),
    "revoke_token": lambda store: store.revoke_token(TokenId(ID), NOW),
    "note_token_use": lambda store: store.note_token_use({TokenId(ID): NOW}),
    "add_login": lambda store: store.add_login(login()),
    "logins": lambda store: store.logins(),
    "remove_logins": lambda store: store.remove_logins([login().id]),
    "use_attachments": lambda store: store.use_attachments(ConversationId(ID), [AttachmentId(ID)]),
    "remove_unused_attachments": lambda store: store.remove_unused_attachments(NOW, 10),
    "remove_stray_content": lambda store: store.remove_stray_content(NOW, 10),
    "remove_ended_journals": lambda store: store.remove_ended_journals(10),
    "unchanged_conversations": lambda store: store.unchanged_conversations(ConversationStatus.ACTIVE, NOW),
}
"""Every verb of the port, once."""


async def load_some_lane(store: MongoStore) -> None:
    """A lane with everything in it."""
    send = samples.send(samples.conversation(), is_new=True, status=RunStatus.RUNNING)
    await store.commit([send])
    assert await store.load_lane(send.conversation_id) is not None


def test_every_verb_of_the_port_is_in_the_list() -> None:
    assert set(VERBS) == {name for name in vars(Store) if not name.startswith("_")}


@pytest.mark.parametrize("verb", VERBS)
async def test_every_verb_asks_only_what_an_index_answers(verb: str) -> None:
    calls: list[Call] = []

    async def write_down(call: Call) -> None:
        calls.append(call)

    client: Any = AsyncMongoMockClient()
    async with mongo_migrations(URI, clock=FakeClock(), database="baton", client=client) as target:
        await migrate(target)
    store = MongoStore(URI, clock=FakeClock(), database="baton", client=WatchedClient(client, write_down))
    await store.open()
    await store.acquire_lease("h")
    if verb not in ("open", "close"):
        calls.clear()
    await VERBS[verb](store)
    indexes = await indexes_of(client["baton"])
    assert calls, "nothing was watched"
    assert [text for call in calls if (text := complaint(call, indexes))] == []
    await store.close()


@pytest.mark.parametrize(
    ("where", "sort", "index"),
    [
        ({"a": 1}, [], [("b", 1), ("a", 1)]),
        ({}, [("b", -1)], [("a", 1), ("b", -1)]),
        ({"a": {"$gt": 1}}, [("b", 1)], [("a", 1), ("b", 1)]),
        ({"a": 1}, [("b", 1), ("c", -1)], [("a", 1), ("b", 1), ("c", 1)]),
        ({"a": 1, "z": 2}, [], [("a", 1)]),
    ],
)
def test_the_rule_of_indexes_sees_what_none_serves(where: dict[str, Any], sort: Keys, index: Keys) -> None:
    assert not is_served("messages", where, sort, index)


async def test_a_read_without_limit_is_seen() -> None:
    assert complaint(Call("messages", "find", ({"_id": 1},)), {}) is not None


def test_reads_and_writes_are_told_apart() -> None:
    assert not READS & WRITES


OPERATORS: list[Any] = [{"$gt": ""}, {"$ne": None}, {"$regex": ".*"}, {"$where": "true"}, ["$gt"], '{"$gt": ""}', "$ne"]


@pytest.fixture
async def store() -> AsyncIterator[MongoStore]:
    """With one conversation and one project in it; on a real server where BATON_TEST_MONGO_URI names one."""
    server = os.environ.get("BATON_TEST_MONGO_URI")
    client: Any = AsyncMongoMockClient() if server is None else AsyncIOMotorClient(server)
    clock, name = FakeClock(), "baton_test_" + new_object_id()
    async with mongo_migrations(URI, clock=clock, database=name, client=client) as target:
        await migrate(target)
    store = MongoStore(URI, clock=clock, database=name, client=client)
    await store.open()
    await store.commit([samples.send(samples.conversation(claude_session_id="session"), is_new=True)])
    await store.put_project(samples.project())
    yield store
    await store.close()
    await client.drop_database(name)
    client.close()


@pytest.mark.parametrize("value", OPERATORS, ids=repr)
async def test_an_operator_in_the_place_of_a_value_finds_nothing(store: MongoStore, value: Any) -> None:
    assert await store.run(value) is None
    assert await store.conversation(value) is None
    assert await store.message(value) is None
    assert await store.prompt(value) is None
    assert await store.project(value) is None
    assert await store.attachment(value) is None
    assert await store.attachment_content(value) is None
    assert await store.load_lane(value) is None
    assert list(await store.history(value)) == []
    assert (await store.changes_after(value, 0, 10)).messages == ()
    assert list(await store.prompts(conversation_id=value)) == []
    assert not await store.delete_project(value)
    assert await store.grant(value) is None
    assert list(await store.grants(value, value)) == []
    assert (await store.audit(conversation_id=value)).items == ()
    assert await store.token(value) is None
    assert await store.bind_token(value, BridgeId("b")) is None
    assert await store.revoke_token(value, samples.START) is None
    await store.purge_conversation(value)
    assert (await store.counts()).messages["completed"] == 1


@pytest.mark.parametrize("value", OPERATORS, ids=repr)
async def test_an_operator_in_a_filter_lists_nothing(store: MongoStore, value: Any) -> None:
    assert (await store.conversations(ConversationFilter(session_id=value))).items == ()
    assert (await store.conversations(ConversationFilter(project_id=value))).items == ()
    assert (await store.search("hello", project_id=value)).items == ()
    assert list(await store.grants(samples.conversation().id, value)) == []


@pytest.mark.parametrize("value", [value for value in OPERATORS if not isinstance(value, str)], ids=repr)
async def test_an_operator_is_not_stored_as_an_id(store: MongoStore, value: Any) -> None:
    conversation = samples.conversation()
    bad_request = samples.send(conversation, is_new=True, request_id=value)
    bad_id = Change(conversation_id=value, conversation=conversation, is_new=True)
    bad_grant = Change(
        conversation_id=conversation.id, conversation=conversation, is_new=True, grants=(samples.grant(id=value),)
    )
    bad_entry = replace(bad_grant, grants=(), audit=(samples.audit_entry(conversation.id, prompt_id=value),))
    for change in (bad_request, bad_id, bad_grant, bad_entry):
        (outcome,) = await store.commit([change])
        assert isinstance(outcome, Refused)
    assert await store.conversation(conversation.id) is None


@pytest.mark.parametrize("text", ['{"$gt": ""}', "$ne", "$where", "a.b"])
async def test_a_request_named_like_an_operator_is_a_request(store: MongoStore, text: str) -> None:
    send = samples.send(samples.conversation(), is_new=True, request_id=text, content=text)
    assert await store.commit([send]) == [Committed()]
    assert await store.commit([send]) == [Known()]
    assert await store.run(RequestId(text)) == send.new_run


async def test_limits_below_one_list_nothing(store: MongoStore) -> None:
    # To the driver, 0 means no limit.
    assert list(await store.runs(frozenset(RunStatus), limit=0)) == []
    assert list(await store.prompts(PromptStatus.PENDING, limit=0)) == []
    assert list(await store.projects(limit=0)) == []
    assert list(await store.standing_grants(limit=0)) == []
    assert list(await store.grants(samples.conversation().id, None, limit=0)) == []
    assert list(await store.tokens(limit=0)) == []
    assert list(await store.history(samples.conversation().id, limit=0)) == []
    assert (await store.search("hello", limit=0)).items == ()
    assert len(await store.runs(frozenset(RunStatus))) == 1
