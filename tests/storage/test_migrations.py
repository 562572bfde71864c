"""Migrations: found in order, run once, all or nothing, told before they are done."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import baton
from baton.core.commands import AccountRole
from baton.core.errors import ConfigError
from baton.core.ids import ProjectId, UserId, new_object_id
from baton.core.models import PromptStatus, RunStatus, Usage
from baton.core.permissions import GrantScope, revoke
from baton.core.series import BucketWidth, Span
from baton.core.stored import Change, Committed, ConversationFilter, PromptMove
from baton.schemas.codec import iso, to_document
from baton.storage import migrate as migrations
from baton.storage.sqlite import SqliteStore
from baton.storage.sqlite_migrate import SqliteTarget, migrate_sqlite
from baton.storage.sqlite_rows import message_row
from baton.testing import samples
from baton.testing.clock import FakeClock
from baton.testing.samples import START
from baton.testing.store_rules_search import said

CHECKOUT = Path(baton.__file__).resolve().parent.parent / "migrations"
NAMES = [migration.name for migration in migrations.discover()]


def query(path: Path, text: str) -> Sequence[tuple[object, ...]]:
    """Rows of the file, read apart from the store."""
    connection = sqlite3.connect(path)
    rows = connection.execute(text).fetchall()
    connection.close()
    return rows


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of migrations of the test's own, beginning with the real ones."""
    folder = tmp_path / "steps"
    shutil.copytree(CHECKOUT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrations, "migrations_folder", lambda: folder)
    return folder


def test_the_first_migration_is_found() -> None:
    found = migrations.discover()
    assert found[0].name == "0001_initial"
    assert [migration.version for migration in found] == sorted(migration.version for migration in found)


def test_each_migration_has_a_function_for_each_store() -> None:
    for migration in migrations.discover():
        assert callable(migration.module.sqlite)
        assert asyncio.iscoroutinefunction(migration.module.mongo)


def test_other_files_are_no_migrations(steps: Path) -> None:
    (steps / "0900_notes.txt").write_text("no")
    (steps / "draft_0003.py").write_text("no")
    assert [migration.name for migration in migrations.discover()] == NAMES


def test_two_migrations_of_one_number_are_refused(steps: Path) -> None:
    (steps / "0001_other.py").write_text("")
    with pytest.raises(ConfigError, match="0001"):
        migrations.discover()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the package, as if it was installed from a wheel."""
    package = tmp_path / "site-packages" / "baton"
    package.mkdir(parents=True)
    monkeypatch.setattr(baton, "__file__", str(package / "__init__.py"))
    return package


def test_migrations_of_an_installed_package_are_inside_it(installed: Path) -> None:
    shutil.copytree(CHECKOUT, installed / "migrations")
    assert migrations.migrations_folder() == installed / "migrations"


def test_migrations_of_another_project_are_not_ours(installed: Path) -> None:
    shutil.copytree(CHECKOUT, installed.parent / "migrations")
    with pytest.raises(ConfigError, match="install Baton again"):
        migrations.discover()


async def test_a_new_database_gets_every_migration_once(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    clock = FakeClock()
    assert await migrate_sqlite(path, clock=clock) == NAMES
    assert await migrate_sqlite(path, clock=clock) == []
    ledger = query(path, "SELECT version, name, appliedAt FROM schema_migrations")
    assert ledger[0] == (1, "0001_initial", START.strftime("%Y-%m-%dT%H:%M:%S.000Z"))


async def test_a_dry_run_names_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    assert await migrate_sqlite(path, clock=FakeClock(), dry_run=True) == NAMES
    assert not path.exists()
    await migrate_sqlite(path, clock=FakeClock())
    assert await migrate_sqlite(path, clock=FakeClock(), dry_run=True) == []


async def test_a_later_migration_is_run_alone(tmp_path: Path, steps: Path) -> None:
    path = tmp_path / "new.sqlite3"
    await migrate_sqlite(path, clock=FakeClock())
    (steps / "0900_more.py").write_text("def sqlite(connection):\n    connection.execute('CREATE TABLE more (a)')\n")
    assert await migrate_sqlite(path, clock=FakeClock(), dry_run=True) == ["0900_more"]
    assert await migrate_sqlite(path, clock=FakeClock()) == ["0900_more"]
    assert query(path, "SELECT count(*) FROM more") == [(0,)]


async def test_a_store_refuses_to_open_before_a_later_migration_was_run(tmp_path: Path, steps: Path) -> None:
    path = tmp_path / "new.sqlite3"
    await migrate_sqlite(path, clock=FakeClock())
    (steps / "0900_more.py").write_text("def sqlite(connection):\n    pass\n")
    store = SqliteStore(path, clock=FakeClock())
    with pytest.raises(ConfigError, match=r"0900_more.*baton db migrate"):
        await store.open()


async def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, steps: Path) -> None:
    path = tmp_path / "new.sqlite3"
    (steps / "0900_bad.py").write_text(
        "def sqlite(connection):\n    connection.execute('CREATE TABLE half (a)')\n    connection.execute('nonsense')\n"
    )
    with pytest.raises(ConfigError, match="0900_bad failed, and everything is as it was before"):
        await migrate_sqlite(path, clock=FakeClock())
    assert query(path, "SELECT name FROM sqlite_master") == []


async def test_two_that_migrate_at_once_do_it_once(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    done = await asyncio.gather(*(migrate_sqlite(path, clock=FakeClock()) for _ in range(3)))
    assert sorted(done) == [[], [], NAMES]


async def test_the_ledger_is_read_without_making_one(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    sqlite3.connect(path).close()
    assert await SqliteTarget(path, FakeClock()).applied() == {}
    assert query(path, "SELECT name FROM sqlite_master") == []


async def test_a_place_where_no_database_can_be_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere" / "new.sqlite3"):
        with pytest.raises(ConfigError, match=str(path.parent)):
            await migrate_sqlite(path, clock=FakeClock())


async def test_a_database_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    await migrate_sqlite(path, clock=FakeClock())
    assert path.stat().st_mode & 0o777 == 0o600


async def test_each_database_has_an_epoch_of_its_own(tmp_path: Path) -> None:
    epochs = set()
    for name in ("one", "two"):
        await migrate_sqlite(tmp_path / name, clock=FakeClock())
        epochs.add(query(tmp_path / name, "SELECT value FROM meta WHERE key = 'epoch'")[0])
    assert len(epochs) == 2


# --- 0002_permissions


@pytest.fixture
async def first_shape(tmp_path: Path, steps: Path) -> Path:
    """A database that has had the first migration only."""
    later = [path for path in steps.glob("0*.py") if not path.name.startswith("0001")]
    kept = [(path, path.read_text()) for path in later]
    for path in later:
        path.unlink()
    await migrate_sqlite(tmp_path / "old.sqlite3", clock=FakeClock())
    for path, text in kept:
        path.write_text(text)
    return tmp_path / "old.sqlite3"


def insert(path: Path, table: str, **columns: object) -> None:
    """One row, written apart from the store."""
    connection = sqlite3.connect(path)
    with connection:
        marks = ", ".join("?" * len(columns))
        connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", list(columns.values()))
    connection.close()


def old_document(value: object, *unknown: str) -> str:
    """The document as a version before wrote it, which did not know these fields."""
    return json.dumps({name: kept for name, kept in to_document(value).items() if name not in unknown})


async def test_conversations_and_prompts_of_the_first_shape_are_read_and_written(first_shape: Path) -> None:
    conversation = samples.conversation(seq=2)
    prompt = samples.prompt(conversation.id, samples.new_request_id(), seq=2)
    insert(
        first_shape,
        "conversations",
        pk=1,
        id=conversation.id,
        status="active",
        seq=2,
        createdAt=iso(START),
        updatedAt=iso(START),
        doc=old_document(conversation, "bypassUntil", "modeBefore"),
    )
    insert(
        first_shape,
        "interactive_prompts",
        id=prompt.id,
        conversationId=conversation.id,
        requestId=prompt.request_id,
        status="pending",
        seq=2,
        createdAt=iso(START),
        doc=old_document(prompt, "decision", "stageAt", "seenUntil"),
    )
    await migrate_sqlite(first_shape, clock=FakeClock())
    store = SqliteStore(first_shape, clock=FakeClock())
    await store.open()
    assert await store.conversation(conversation.id) == conversation
    assert await store.prompt(prompt.id) == prompt
    answered = replace(prompt, status=PromptStatus.ANSWERED, seen_until=samples.at(9))
    grant, entry = samples.grant(conversation.id), samples.audit_entry(conversation.id)
    change = Change(
        conversation_id=conversation.id,
        conversation=replace(conversation, bypass_until=samples.at(60)),
        prompts=(PromptMove(prompt=answered, expect=PromptStatus.PENDING),),
        grants=(grant,),
        audit=(entry,),
    )
    assert await store.commit([change]) == [Committed()]
    assert await store.conversation(conversation.id) == change.conversation
    assert await store.prompt(prompt.id) == answered
    assert list(await store.standing_grants()) == [grant]
    assert (await store.audit()).items == (entry,)
    await store.close()


async def test_grants_and_entries_of_the_first_shape_are_found_and_counted(first_shape: Path) -> None:
    project_id = samples.project().id
    conversation = samples.conversation(project_id=project_id)
    grants = [
        samples.grant(created_at=samples.at(1)),
        samples.grant(scope=GrantScope.PROJECT, project_id=project_id, created_at=samples.at(2)),
        revoke(samples.grant(created_at=samples.at(3)), samples.at(4)),
    ]
    entries = [samples.audit_entry(conversation.id, handler=handler) for handler in ("grant", "grant", "mode")]
    for grant in grants:
        columns = {"id": grant.id, "scope": grant.scope.value, "toolName": grant.tool_name}
        insert(first_shape, "conversation_permissions", **columns, doc=old_document(grant))
    for entry in entries:
        insert(first_shape, "audit_log", id=entry.id, createdAt=iso(entry.created_at), doc=old_document(entry))
    await migrate_sqlite(first_shape, clock=FakeClock())
    store = SqliteStore(first_shape, clock=FakeClock())
    await store.open()
    assert list(await store.standing_grants()) == grants[:2]
    assert list(await store.grants(conversation.id, project_id)) == grants[::-1]
    assert {entry.id for entry in (await store.audit(conversation_id=conversation.id)).items} == {
        entry.id for entry in entries
    }
    assert (await store.counts()).decisions == {"allow/grant": 2, "allow/mode": 1}
    await store.close()


async def test_a_grant_that_reaches_further_does_not_hold_its_conversation(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    await migrate_sqlite(path, clock=FakeClock())
    store = SqliteStore(path, clock=FakeClock())
    await store.open()
    conversation = samples.conversation()
    grant = samples.grant(conversation.id, scope=GrantScope.ALL)
    change = Change(conversation_id=conversation.id, conversation=conversation, is_new=True, grants=(grant,))
    assert await store.commit([change]) == [Committed()]
    assert query(path, "SELECT conversationId, status FROM conversation_permissions") == [(None, "granted")]
    assert await store.grant(grant.id) == grant
    await store.close()


# --- 0005_series


async def test_runs_that_ended_before_are_in_the_series_and_those_of_a_version_beside_it(first_shape: Path) -> None:
    def insert_ended(minutes: float) -> None:
        run = samples.run(samples.conversation().id, status=RunStatus.COMPLETED, usage=Usage(output_tokens=7))
        ended = replace(run, finished_at=START + timedelta(minutes=minutes), cost_usd=0.5)
        columns = {"conversationId": run.conversation_id, "status": "completed", "seq": 1, "position": 0.0}
        document = old_document(ended)
        insert(first_shape, "runs", requestId=run.request_id, **columns, queuedAt=iso(START), doc=document)

    insert_ended(5)
    await migrate_sqlite(first_shape, clock=FakeClock())
    insert_ended(90)
    store = SqliteStore(first_shape, clock=FakeClock())
    await store.open()
    told = await store.series(Span(since=START, width=BucketWidth.HOUR, count=2))
    assert [(dict(bucket.runs), bucket.usage.output_tokens, bucket.cost_usd) for bucket in told] == [
        ({"completed": 1}, 7, 0.5),
        ({"completed": 1}, 7, 0.5),
    ]
    await store.close()


# --- 0006_owners_and_audit


async def test_what_was_there_before_owners_is_found_by_its_user(first_shape: Path) -> None:
    anna, ben = UserId("anna"), UserId("ben \N{SNOWMAN}")
    made = {user: samples.conversation(user_id=user, title=f"{user} plum") for user in (anna, ben)}
    for number, (user, conversation) in enumerate(made.items(), 1):
        about = {"conversationId": conversation.id, "status": "pending", "seq": 1}
        insert(
            first_shape,
            "conversations",
            pk=number,
            id=conversation.id,
            status="active",
            seq=1,
            createdAt=iso(START),
            updatedAt=iso(START),
            doc=json.dumps(to_document(conversation)),
        )
        message = samples.message(conversation.id, content=f"{user} pear\0 \\u0000")
        *columns, _, doc = message_row(message)
        names = ("id", "conversationId", "requestId", "role", "status", "ordinal", "seq")
        names += ("sessionId", "createdAt", "coversBridgeSeq")
        insert(first_shape, "messages", pk=number, **dict(zip(names, columns, strict=True)), doc=doc)
        prompt = samples.prompt(conversation.id, samples.new_request_id())
        insert(
            first_shape,
            "interactive_prompts",
            id=prompt.id,
            requestId=prompt.request_id,
            createdAt=iso(START),
            doc=json.dumps(to_document(prompt)),
            **about,
        )
    await migrate_sqlite(first_shape, clock=FakeClock())
    store = SqliteStore(first_shape, clock=FakeClock())
    await store.open()
    for user, conversation in made.items():
        for word in ("pear", "plum"):
            hits = (await store.search(word, user_id=user)).items
            assert [hit.conversation_id for hit in hits] == [conversation.id]
            assert len((await store.search(word)).items) == 2
        listed = (await store.conversations(ConversationFilter(user_id=user))).items
        assert [one.id for one in listed] == [conversation.id]
        assert [one.conversation_id for one in await store.prompts(user_id=user)] == [conversation.id]
    for conversation in made.values():
        await store.purge_conversation(conversation.id)
    assert (await store.search("pear")).items == ()
    await store._writer.run(lambda db: db.execute("INSERT INTO messages_fts (messages_fts) VALUES ('integrity-check')"))
    await store.close()


async def test_wide_grants_from_before_are_bound_to_those_who_have_only_been_users(first_shape: Path) -> None:
    roles = {"anna": ["user", "user"], "root": ["admin"], "both": ["user", "admin"]}
    for name in roles:
        for role in roles[name]:
            token = samples.api_token(name=name, role=AccountRole(role))
            columns = {"id": token.id, "digest": token.digest, "createdAt": iso(START)}
            insert(first_shape, "api_tokens", **columns, doc=json.dumps(to_document(token)))
        for scope in ("all", "conversation"):
            grant = samples.grant(created_by=UserId(name), scope=GrantScope(scope))
            insert(
                first_shape,
                "conversation_permissions",
                id=grant.id,
                scope=scope,
                toolName="Bash",
                doc=old_document(grant, "userId"),
            )
    await migrate_sqlite(first_shape, clock=FakeClock())
    store = SqliteStore(first_shape, clock=FakeClock())
    await store.open()
    bound = {(grant.created_by, grant.scope.value): grant.user_id for grant in await store.standing_grants()}
    assert {key: user for key, user in bound.items() if user is not None} == {("anna", "all"): "anna"}
    assert len(bound) == 6
    await store.close()


# --- 0008_search_in_project


async def test_messages_from_before_the_index_of_projects_are_found_in_theirs(steps: Path, tmp_path: Path) -> None:
    last = steps / "0008_search_in_project.py"
    text = last.read_text()
    last.unlink()
    path, clock = tmp_path / "old.sqlite3", FakeClock()
    await migrate_sqlite(path, clock=clock)
    store = SqliteStore(path, clock=clock)
    await store.open()
    home, other = ProjectId(new_object_id()), ProjectId(new_object_id())
    stayed, moved = await said(store, "pear", project_id=home), await said(store, "pear", project_id=other)
    await store.commit([Change(conversation_id=moved.id, conversation=replace(moved, project_id=home))])
    await store.close()

    last.write_text(text)
    assert await migrate_sqlite(path, clock=clock) == ["0008_search_in_project"]
    store = SqliteStore(path, clock=clock)
    await store.open()
    found = {hit.conversation_id for hit in (await store.search("pear", project_id=home)).items}
    assert found == {stayed.id, moved.id}
    assert (await store.search("pear", project_id=other)).items == ()
    await store.close()
