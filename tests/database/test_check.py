"""`baton db check`: every planted fault is found, told with its ids, and mended where that is safe and only there."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from baton.cli import main
from baton.services.integrity import MEANINGS, look
from baton.services.mending import mend
from baton.testing.clock import FakeClock
from tests.support.full_store import World, dump, fill, mongo_world, opened, sqlite_world
from tests.support.shell import Shell

NOBODY = "f" * 24
_DOC = "UPDATE {table} SET doc = json_set(doc, '$.{field}', {value})"

SQLITE_FAULTS = {
    "message_without_content": _DOC.format(table="messages", field="content", value="''")
    + " WHERE role = 'user' AND requestId = 'r-1'",
    "message_without_data": _DOC.format(table="messages", field="claudeData", value="json('null')")
    + " WHERE role = 'assistant'",
    "message_misfiled": _DOC.format(table="messages", field="conversationId", value=f"'{NOBODY}'")
    + " WHERE role = 'assistant'",
    "message_orphan": f"UPDATE messages SET conversationId = '{NOBODY}' WHERE role = 'assistant'",
    "run_orphan": f"UPDATE runs SET conversationId = '{NOBODY}' WHERE requestId = 'r-1'",
    "prompt_orphan": f"UPDATE interactive_prompts SET conversationId = '{NOBODY}'",
    "journal_orphan": f"UPDATE run_journal SET conversationId = '{NOBODY}', requestId = 'r-9'",
    "journal_ended": "UPDATE run_journal SET requestId = 'r-1'",
    "prompt_of_ended_run": "UPDATE interactive_prompts SET status = 'pending', "
    "doc = json_set(doc, '$.status', 'pending')",
    "run_of_deleted": _DOC.format(table="conversations", field="status", value="'deleted'")
    + ", status = 'deleted' WHERE json_extract(doc, '$.state') = 'queued'",
    "state_wrong": _DOC.format(table="conversations", field="state", value="'idle'"),
    "seq_behind": _DOC.format(table="conversations", field="seq", value="1")
    + ", seq = 1 WHERE json_extract(doc, '$.state') = 'idle'",
    "ordinal_behind": _DOC.format(table="conversations", field="ordinal", value="0"),
    "ordinal_twice": "UPDATE messages SET ordinal = 1, doc = json_set(doc, '$.ordinal', 1)",
    "attachment_missing": "DELETE FROM attachments",
    "unreadable": "UPDATE projects SET doc = '{'",
    "index_missing": "DROP INDEX messages_seq",
    "count_wrong": "UPDATE tallies SET count = count + 7 WHERE kind = 'messages'",
    "migration_missing": "DELETE FROM schema_migrations WHERE version = 4;"
    "DROP TABLE attachment_uses; DROP TABLE attachments_in_doubt",
}


def damage(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA foreign_keys = OFF;" + statement)
    connection.close()


async def shell_on_full(tmp_path: Path) -> Shell:
    (tmp_path / "data").mkdir(mode=0o700)
    world = await sqlite_world(tmp_path / "data" / "baton.sqlite3")
    async with opened(world) as store:
        await fill(store)
    return Shell(tmp_path, {})


@pytest.mark.parametrize("code", SQLITE_FAULTS)
def test_a_planted_fault_is_found_and_mended_where_it_is_safe(
    tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(shell_on_full(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATON_DATA", str(tmp_path / "data"))
    damage(tmp_path / "data" / "baton.sqlite3", SQLITE_FAULTS[code])
    assert main(["db", "check", "--json"]) == 1
    told = {finding["code"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert set(told) == {code}
    assert told[code]["count"] >= 1
    assert told[code]["ids"]
    is_mended = MEANINGS[code].is_mended
    assert main(["db", "check", "--repair"]) == (0 if is_mended else 1)
    assert ("✅ mended " + code in capsys.readouterr().out) is is_mended
    assert main(["db", "check"]) == (0 if is_mended else 1)
    assert (f"❌ {code}" in capsys.readouterr().out) is not is_mended


async def test_a_healthy_database_of_every_kind_is_healthy(tmp_path: Path) -> None:
    shell = await shell_on_full(tmp_path)
    said = await shell.baton("db", "check")
    assert said.code == 0, said.out
    assert said.out.endswith("✅ healthy\n")
    assert said.err == ""


async def test_a_repair_removes_nothing_that_was_written(tmp_path: Path) -> None:
    shell = await shell_on_full(tmp_path)
    path = tmp_path / "data" / "baton.sqlite3"
    for code in ("message_orphan", "prompt_orphan", "ordinal_twice"):
        damage(path, SQLITE_FAULTS[code])
    world = await sqlite_world(path)
    before = await dump(world)
    assert (await shell.baton("db", "check", "--repair")).code == 1
    after = await dump(world)
    for kind in ("message", "prompt", "run", "grant", "audit", "token"):
        assert after[kind] == before[kind]


async def test_a_damaged_file_is_told_with_the_cure(tmp_path: Path) -> None:
    shell = await shell_on_full(tmp_path)
    path = tmp_path / "data" / "baton.sqlite3"
    content = bytearray(path.read_bytes())
    content[8192:40960] = b"\xee" * 32768
    path.write_bytes(content)
    said = await shell.baton("db", "check")
    assert said.code == 1
    assert "baton db restore" in said.out + said.err


async def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "baton.sqlite3").write_bytes(b"a diary" * 1000)
    said = await Shell(tmp_path, {}).baton("db", "check")
    assert said.code == 1
    assert "no SQLite database" in said.out + said.err


async def test_while_a_server_has_the_database_it_is_looked_at_and_not_repaired(tmp_path: Path) -> None:
    shell = await shell_on_full(tmp_path)
    path = tmp_path / "data" / "baton.sqlite3"
    damage(path, SQLITE_FAULTS["message_without_data"])
    async with opened(await sqlite_world(path)):
        looked = await shell.baton("db", "check")
        refused = await shell.baton("db", "check", "--repair")
    assert looked.code == 1
    assert "message_without_data (1)" in looked.out
    assert refused.code == 1
    assert "stop it first" in refused.err


# --- MongoDB ----------------------------------------------------------------------------------------------------

Plant = Callable[[Any], Any]
MONGO_FAULTS: dict[str, Plant] = {
    "message_without_content": lambda of: of["messages"].update_one({"ordinal": 1}, {"$set": {"content": ""}}),
    "message_without_data": lambda of: of["messages"].update_one({"ordinal": 2}, {"$set": {"claudeData": None}}),
    "message_without_conversation": lambda of: of["messages"].update_one(
        {"ordinal": 2}, {"$unset": {"conversationId": 1}}
    ),
    "message_orphan": lambda of: of["messages"].update_one({"ordinal": 2}, {"$set": {"conversationId": ObjectId()}}),
    "run_orphan": lambda of: of["runs"].update_one({"requestId": "r-1"}, {"$set": {"conversationId": ObjectId()}}),
    "prompt_orphan": lambda of: of["interactive_prompts"].update_one({}, {"$set": {"conversationId": ObjectId()}}),
    "journal_orphan": lambda of: of["run_journal"].update_one(
        {}, {"$set": {"conversationId": ObjectId(), "requestId": "r-9"}}
    ),
    "journal_ended": lambda of: of["run_journal"].update_one({}, {"$set": {"requestId": "r-1"}}),
    "prompt_of_ended_run": lambda of: of["interactive_prompts"].update_one({}, {"$set": {"status": "pending"}}),
    "state_wrong": lambda of: of["conversations"].update_one({"state": "queued"}, {"$set": {"state": "idle"}}),
    "seq_behind": lambda of: of["conversations"].update_one({"state": "idle"}, {"$set": {"seq": 1}}),
    "ordinal_behind": lambda of: of["conversations"].update_one({"state": "idle"}, {"$set": {"ordinal": 0}}),
    "ordinal_twice": lambda of: of["messages"].update_one({"ordinal": 2}, {"$set": {"ordinal": 1}}),
    "attachment_missing": lambda of: of["attachments.files"].delete_many({}),
    "attachment_torn": lambda of: of["attachments.chunks"].delete_one({}),
    "unreadable": lambda of: of["projects"].update_one({}, {"$unset": {"name": 1}}),
    "index_missing": lambda of: of["messages"].drop_index([("conversationId", 1), ("seq", 1)]),
    "change_unfinished": lambda of: of["pending_changes"].insert_one(
        {"_id": ObjectId(), "changeId": ObjectId(), "number": 0, "of": 2, "term": 0}
    ),
}


async def found_in(world: World) -> list[str]:
    async with world.records() as records:
        return [finding.code for finding in await look(records, lambda _: None)]


@pytest.mark.parametrize("code", MONGO_FAULTS)
async def test_the_same_fault_is_found_in_mongodb(code: str) -> None:
    world = await mongo_world()
    async with opened(world) as store:
        await fill(store)
    assert await found_in(world) == []
    await MONGO_FAULTS[code](world.client["baton"])
    assert await found_in(world) == [code]
    async with opened(world) as store, world.records() as records:
        await mend(await look(records, lambda _: None), records=records, store=store, clock=FakeClock())
    assert await found_in(world) == ([] if MEANINGS[code].is_mended else [code])


def test_every_finding_is_planted_in_some_store() -> None:
    assert set(MEANINGS) - set(SQLITE_FAULTS) - set(MONGO_FAULTS) == {"file_damaged"}
