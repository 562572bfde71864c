"""The queries of the old guide run in mongosh as they stand, on the data as Baton writes it, and tell the truth."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from baton.core.ids import ConversationId
from baton.storage.migrate import migrate
from baton.storage.mongo import MongoStore
from baton.storage.mongo_migrations import MongoMigrations
from baton.testing.clock import FakeClock
from tests.storage.mongo_here import SERVER, URI, mongo_here
from tests.support.full_store import fill
from tests.support.mongosh import Query, queries

ROOT = Path(__file__).parents[2]
SEED = Path(__file__).with_name("seed_queries.js").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def expressions(script: str) -> list[str]:
    """Those of a script that has them between blank lines."""
    blocks = re.split(r"\n\s*\n", script)
    texts = ["\n".join(line for line in block.splitlines() if not line.startswith("//")) for block in blocks]
    return [text.strip() for text in texts if text.strip()]


def plain(text: str) -> str:
    """An expression without the white space that does not count."""
    return re.sub(r"\s+", "", text)


OF_THE_GUIDE = expressions(SEED)
OF_THE_PAGE = [
    line
    for block in re.findall(r"^```javascript\n(.*?)^```", PAGE, flags=re.M | re.S)
    for line in block.splitlines()
    if line.startswith("db.")
]
FOUND = {
    "db.messages.countDocuments()": 3,
    "db.conversations.find().count()": 2,
    'db.messages.find({status: "failed"})': 0,
    "db.messages.find({conversationId: {$exists: false}})": 0,
    "db.conversations.find({claudeSessionId: {$ne: null}})": 1,
    "db.conversations.find({}, {claudeSessionId: 1, updatedAt: 1}).sort({updatedAt: -1})": 2,
    'db.interactive_prompts.find({status: "pending"})': 0,
    'db.conversation_permissions.find({status: "granted"})': 2,
    'db.interactive_prompts.find({status: "timeout"})': 1,
}
"""How much some of them find in the filled database."""


@pytest.fixture
async def filled() -> AsyncIterator[tuple[Any, ConversationId]]:
    """A database with a record of every kind, and the conversation that has most of them."""
    async with mongo_here() as (client, name):
        clock = FakeClock()
        await migrate(MongoMigrations(client[name], clock))
        store = MongoStore(URI, clock=clock, database=name, client=client)
        await store.open()
        first = await fill(store)
        await store.close()
        yield client[name], first


def asked(texts: list[str], conversation: ConversationId) -> list[Query]:
    """The expressions, with the id that a person types instead of the dots."""
    return queries([text.replace('ObjectId("...")', f'ObjectId("{conversation}")') for text in texts])


async def test_every_query_of_the_guide_runs(filled: tuple[Any, ConversationId]) -> None:
    database, conversation = filled
    for text, query in zip(OF_THE_GUIDE, asked(OF_THE_GUIDE, conversation), strict=True):
        if query.is_command:
            continue
        answer = await query.run(database)
        if text in FOUND:
            assert (answer if isinstance(answer, int) else len(answer)) == FOUND[text], text


@pytest.mark.skipif(SERVER is None, reason="asks the server itself: needs BATON_TEST_MONGO_URI")
@pytest.mark.parametrize("text", [text for text in OF_THE_GUIDE if re.match(r"db\.(run|server|\w+\.explain)", text)])
async def test_every_command_of_the_guide_runs(filled: tuple[Any, ConversationId], text: str) -> None:
    database, conversation = filled
    (query,) = asked([text], conversation)
    assert query.is_command
    assert (await query.run(database))["ok"] == 1


async def test_the_integrity_query_finds_nothing_in_a_healthy_database(filled: tuple[Any, ConversationId]) -> None:
    database, conversation = filled
    (text,) = [text for text in OF_THE_GUIDE if "claudeData" in text]
    (query,) = asked([text], conversation)
    assert await query.run(database) == []
    await database["messages"].update_one({"role": "assistant"}, {"$set": {"content": ""}})
    assert len(await query.run(database)) == 1, "and finds what is unsound"


async def test_an_index_that_the_guide_makes_is_there_already(filled: tuple[Any, ConversationId]) -> None:
    database, conversation = filled
    texts = [text for text in OF_THE_GUIDE if "createIndex" in text]
    assert len(texts) == 3
    before = {name: await database[name].index_information() for name in ("messages", "conversations")}
    for query in asked(texts, conversation):
        (keys,) = query.calls[0][1]
        wanted = list(keys.items())
        known = [list(index["key"])[: len(wanted)] for index in before[str(query.collection)].values()]
        assert [(name, int(way)) for name, way in wanted] in [[(n, int(w)) for n, w in key] for key in known]


def test_our_own_page_has_every_query_of_the_guide() -> None:
    """All but those that make indexes, which `baton db migrate` does, and one that its text asks of containers."""
    ours = {plain(text) for text in OF_THE_PAGE}
    elsewhere = {plain(text) for text in OF_THE_GUIDE if "createIndex" in text or "connectionStatus" in text}
    assert {plain(text) for text in OF_THE_GUIDE} - elsewhere == ours
