"""What only a file on disk can do: fill up, be read-only, be damaged, be locked, outlive a killed process."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from baton.core.errors import ConfigError, LeaseLost, Overloaded, StoreUnavailable
from baton.core.ids import (
    AttachmentId,
    BridgeId,
    ConversationId,
    MessageId,
    ProjectId,
    RequestId,
    UserId,
    new_object_id,
)
from baton.core.lifecycle import OPEN_RUN
from baton.core.models import Conversation, ConversationStatus, PromptStatus
from baton.core.series import BucketWidth, Span
from baton.core.stored import Change, Committed, ConversationFilter, Refused
from baton.storage.sqlite import SqliteStore
from baton.storage.sqlite_migrate import migrate_sqlite
from baton.storage.sqlite_writer import WriteBounds
from baton.testing import samples
from baton.testing.clock import FakeClock
from baton.testing.store_rules_commit import commit_one, journal_of, row_of, started
from baton.testing.store_rules_lists import listed
from baton.testing.store_rules_search import said


@pytest.fixture
def path(sqlite_path: Path) -> Path:
    """An empty database."""
    return sqlite_path


@pytest.fixture
def statements() -> list[str]:
    """Every statement that `store` runs."""
    return []


@pytest.fixture
async def store(path: Path, statements: list[str]) -> AsyncIterator[SqliteStore]:
    """An open store."""
    store = SqliteStore(path, clock=FakeClock(), on_statement=statements.append)
    await store.open()
    yield store
    await store.close()


def limit_pages(store: SqliteStore, extra: int | None) -> Awaitable[None]:
    """Make the disk as good as full: SQLite raises the same error at this limit. None: there is room again."""

    def limit(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {2**30 if extra is None else pages + extra}").fetchone()

    return store._writer.run(limit)


# --- what cannot be opened


async def opening_fails(path: Path) -> str:
    """The message of the ConfigError."""
    store = SqliteStore(path, clock=FakeClock())
    with pytest.raises(ConfigError) as caught:
        await store.open()
    await store.close()
    return caught.value.message


async def test_a_missing_folder_is_named_with_the_cure(tmp_path: Path) -> None:
    message = await opening_fails(tmp_path / "nowhere" / "baton.sqlite3")
    assert str(tmp_path / "nowhere") in message
    assert "create it" in message


async def test_a_missing_database_asks_for_the_migration_and_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "baton.sqlite3"
    assert "baton db migrate" in await opening_fails(path)
    assert not path.exists()


async def test_a_folder_is_no_database(tmp_path: Path) -> None:
    assert "is a folder" in await opening_fails(tmp_path)


async def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "baton.sqlite3"
    path.write_bytes(b"this is a letter, not a database" * 200)
    message = await opening_fails(path)
    assert str(path) in message
    assert "no SQLite database" in message
    assert path.read_bytes().startswith(b"this is a letter")


async def test_a_damaged_database_names_the_backup(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:3000] = b"\xff" * 2900
    path.write_bytes(content)
    assert "baton db restore" in await opening_fails(path)


async def test_a_database_without_migrations_asks_for_them(tmp_path: Path) -> None:
    path = tmp_path / "baton.sqlite3"
    sqlite3.connect(path).close()
    assert "baton db migrate" in await opening_fails(path)


async def test_a_database_of_a_newer_version_is_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, '9999_future', '')")
    connection.close()
    assert "9999" in await opening_fails(path)


OPEN_READ_ONLY = """
import asyncio, os, sys
from pathlib import Path
from baton.clock import SystemClock
from baton.core.errors import ConfigError
from baton.storage.sqlite import SqliteStore

async def main():
    if os.getuid() == 0:
        # The administrator may write everywhere: go on as an ordinary account.
        os.setuid(65534)
    store = SqliteStore(Path(sys.argv[1]), clock=SystemClock())
    try:
        await store.open()
    except ConfigError as error:
        print(error.message)
    await store.close()

asyncio.run(main())
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account of this machine may enter (pytest's own is its owner's alone)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


async def test_a_read_only_database_is_named_with_the_cure(open_folder: Path) -> None:
    path = open_folder / "baton.sqlite3"
    await migrate_sqlite(path, clock=FakeClock())
    path.chmod(0o444)
    open_folder.chmod(0o555)
    child = subprocess.run(
        [sys.executable, "-c", OPEN_READ_ONLY, str(path)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        timeout=60,
    )
    assert child.stderr == ""
    assert str(path) in child.stdout
    assert "allow" in child.stdout


# --- while it runs


async def test_a_full_disk_is_told_stores_nothing_and_heals(store: SqliteStore, path: Path) -> None:
    _, run = await started(store)
    await limit_pages(store, 4)
    large = samples.send(samples.conversation(), is_new=True, content="x" * 200_000)
    with pytest.raises(StoreUnavailable) as caught:
        await store.commit([large])
    assert str(path) in caught.value.message
    assert "full" in caught.value.message
    assert await store.conversation(large.conversation_id) is None
    assert await commit_one(store, row_of(run, 2)) == Committed()
    await limit_pages(store, None)
    assert await commit_one(store, large) == Committed()
    assert await store.conversation(large.conversation_id) == large.conversation


async def test_one_that_does_not_fit_sinks_no_other_of_its_group(store: SqliteStore) -> None:
    _, run = await started(store)
    await limit_pages(store, 4)
    attachment = samples.attachment()
    large = asyncio.ensure_future(store.put_attachment(attachment, bytes(200_000)))
    small = asyncio.ensure_future(commit_one(store, row_of(run, 2)))
    with pytest.raises(StoreUnavailable):
        await large
    assert await small == Committed()
    assert await store.attachment(attachment.id) is None


async def test_messages_of_failures_carry_no_text_of_the_driver(store: SqliteStore) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("SELECT secret FROM nowhere")

    with pytest.raises(StoreUnavailable) as caught:
        await store._writer.run(fail)
    assert "nowhere" not in caught.value.message


async def test_a_mistake_in_an_operation_reaches_its_caller_and_the_writer_goes_on(store: SqliteStore) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store._writer.run(fail)
    await started(store)


async def test_a_database_locked_by_another_program_is_told(store: SqliteStore, path: Path) -> None:
    # Inside a transaction the timeout holds from the next one on.
    await store._writer.run(lambda db: db.execute("PRAGMA busy_timeout = 1").fetchone())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable) as caught:
        await store.put_project(samples.project())
    other.close()
    assert "locked" in caught.value.message
    await store.put_project(samples.project())


async def test_many_commits_at_once_share_transactions(store: SqliteStore, statements: list[str]) -> None:
    runs = [(await started(store))[1] for _ in range(40)]
    statements.clear()
    outcomes = await asyncio.gather(*(commit_one(store, row_of(run, 2)) for run in runs))
    assert outcomes == [Committed()] * 40
    assert sum(statement == "COMMIT" for statement in statements) < 20


async def test_many_journal_rows_of_a_call_are_one_statement(store: SqliteStore, statements: list[str]) -> None:
    runs = [(await started(store))[1] for _ in range(20)]
    statements.clear()
    await store.commit([row_of(run, 2) for run in runs])
    assert sum("run_journal" in statement for statement in statements) == 1


async def test_a_row_of_no_conversation_is_refused(store: SqliteStore) -> None:
    stray = samples.run(samples.conversation().id)
    assert isinstance(await commit_one(store, row_of(stray, 2)), Refused)
    change = Change(conversation_id=stray.conversation_id, conversation=samples.conversation(id=stray.conversation_id))
    assert isinstance(await commit_one(store, change), Refused)
    assert await store.conversation(stray.conversation_id) is None


async def test_a_cancelled_caller_harms_nobody(store: SqliteStore) -> None:
    _, run = await started(store)
    commits = [asyncio.ensure_future(commit_one(store, row_of(run, seq))) for seq in range(2, 6)]
    await asyncio.sleep(0)
    commits[1].cancel()
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert [outcomes[0], *outcomes[2:]] == [Committed()] * 3
    assert store._writer._waiting == 0


async def test_a_cancelled_caller_is_held_until_its_write_has_ended(store: SqliteStore) -> None:
    _, run = await started(store)
    disk_is_free = threading.Event()
    blocking = asyncio.ensure_future(store._writer.run(lambda _: disk_is_free.wait(5)))
    once, twice = (asyncio.ensure_future(commit_one(store, row_of(run, seq))) for seq in (2, 3))
    for cancelled in ((once, twice), (twice,)):
        await asyncio.sleep(0)
        for commit in cancelled:
            commit.cancel()
    await asyncio.wait({twice})
    assert (once.done(), twice.cancelled()) == (False, True)
    disk_is_free.set()
    await blocking
    with pytest.raises(asyncio.CancelledError):
        await once
    assert [row.seq for row in await journal_of(store, run.conversation_id)] == [2, 3]


async def test_a_cancelled_caller_of_anything_but_a_commit_goes_at_once(store: SqliteStore) -> None:
    disk_is_free = threading.Event()
    blocking = asyncio.ensure_future(store._writer.run(lambda _: disk_is_free.wait(5)))
    await asyncio.sleep(0)  # until it is queued
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await store.probe()
    assert not blocking.done(), "a question with a deadline does not wait for a disk that hangs"
    disk_is_free.set()
    await blocking


async def test_what_is_queued_is_written_before_the_store_closes(store: SqliteStore, path: Path) -> None:
    _, run = await started(store)
    commits = [asyncio.ensure_future(commit_one(store, row_of(run, seq))) for seq in range(2, 50)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*commits) == [Committed()] * 48


async def test_a_closed_store_says_so(store: SqliteStore) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.projects()
    with pytest.raises(StoreUnavailable):
        await store.put_project(samples.project())


@pytest.mark.parametrize("bounds", [WriteBounds(max_operations=3), WriteBounds(max_bytes=35)])
async def test_more_writes_than_may_wait_are_refused_at_once(path: Path, bounds: WriteBounds) -> None:
    store = SqliteStore(path, clock=FakeClock(), bounds=bounds)
    await store.open()
    puts = [asyncio.ensure_future(store.put_attachment(samples.attachment(), b"x" * 10)) for _ in range(5)]
    results = await asyncio.gather(*puts, return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * 3 + [Overloaded] * 2
    await store.put_attachment(samples.attachment(), b"x" * 50)
    await store.close()


async def test_readers_do_not_wait_for_the_writer(store: SqliteStore) -> None:
    conversation, _ = await started(store)
    loop = asyncio.get_running_loop()
    entered, release = asyncio.Event(), asyncio.Event()

    def write_slowly(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE meta SET value = 'slow' WHERE key = 'probe'")
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(timeout=30)

    writing = asyncio.ensure_future(store._writer.run(write_slowly))
    await entered.wait()
    assert await store.conversation(conversation.id) == conversation
    release.set()
    await writing


# --- the lease


async def test_a_lease_whose_lock_file_was_removed_is_lost(store: SqliteStore, path: Path) -> None:
    assert await store.acquire_lease("first")
    path.with_name(path.name + ".lock").unlink()
    with pytest.raises(LeaseLost):
        await store.renew_lease()


async def test_a_lease_on_a_database_that_was_replaced_is_lost(store: SqliteStore, path: Path) -> None:
    assert await store.acquire_lease("first")
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)
    with pytest.raises(LeaseLost):
        await store.renew_lease()


async def test_without_a_lease_there_is_nothing_to_renew(store: SqliteStore) -> None:
    with pytest.raises(LeaseLost):
        await store.renew_lease()


# --- kill -9

WRITE_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from baton.clock import SystemClock
from baton.core.stored import Change, Committed
from baton.storage.sqlite import SqliteStore
from baton.testing import samples

async def write(store, lane):
    send = samples.send(samples.conversation(), is_new=True)
    assert await store.commit([send]) == [Committed()]
    for seq in range(2, 1_000_000):
        row = samples.journal_row(send.conversation_id, send.new_run.request_id, seq=seq)
        assert await store.commit([Change(conversation_id=send.conversation_id, journal=row)]) == [Committed()]
        sys.stdout.write(f"{send.conversation_id} {seq}\\n")
        sys.stdout.flush()

async def main():
    store = SqliteStore(Path(sys.argv[1]), clock=SystemClock())
    await store.open()
    assert await store.acquire_lease("child")
    await asyncio.gather(*(write(store, lane) for lane in range(4)))

asyncio.run(main())
"""


async def test_a_killed_process_has_lost_nothing_that_it_acknowledged(store: SqliteStore, path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(200)]
    os.kill(child.pid, signal.SIGKILL)
    lines += child.stdout.read().splitlines()
    child.stdout.close()
    child.wait()
    last: dict[str, int] = {}
    for line in lines:
        # The very last line may be cut by the kill.
        if len(words := line.split()) == 2 and len(words[0]) == 24:
            last[words[0]] = max(int(words[1]), last.get(words[0], 0))
    assert len(last) == 4
    for conversation_id, seq in last.items():
        lane = await store.load_lane(ConversationId(conversation_id))
        assert lane is not None
        assert [row.seq for row in lane.journal][: seq - 1] == list(range(2, seq + 1))
    assert await store.acquire_lease("after the kill")


# --- the index of words


async def test_the_full_text_index_stays_in_step_with_the_documents(store: SqliteStore) -> None:
    conversation, _ = await started(store, title="first \0 title")
    for seq, content in enumerate(["draft \0 one", "draft two \\u0000", "final \U0001f44b"], start=2):
        message = samples.message(conversation.id, id=MessageId("a" * 24), seq=seq, content=content)
        changed = replace(conversation, seq=seq, title=f"title {seq}")
        await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, messages=(message,)))

    def check(connection: sqlite3.Connection) -> None:
        for table in ("messages_fts", "conversations_fts"):
            connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('integrity-check', 1)")
        (found,) = connection.execute("PRAGMA integrity_check").fetchone()
        assert found == "ok"

    await store._writer.run(check)
    await store.purge_conversation(conversation.id)
    await store._writer.run(check)


async def test_a_moved_conversation_is_found_in_its_new_project_only(store: SqliteStore) -> None:
    old, new = ProjectId(new_object_id()), ProjectId(new_object_id())
    moved = await said(store, "cherry one", project_id=old)
    stays = await said(store, "cherry two", project_id=old)

    async def found(project_id: ProjectId) -> set[str]:
        return {hit.conversation_id for hit in (await store.search("cherry", project_id=project_id)).items}

    assert (await found(old), await found(new)) == ({moved.id, stays.id}, set())
    for there, elsewhere in ((new, old), (old, new), (new, old)):
        changed = replace(moved, project_id=there)
        await commit_one(store, Change(conversation_id=moved.id, conversation=changed))
        assert moved.id in await found(there)
        assert moved.id not in await found(elsewhere)


async def test_a_message_said_after_a_move_is_found_where_its_conversation_is(store: SqliteStore) -> None:
    old, new = ProjectId(new_object_id()), ProjectId(new_object_id())
    conversation = replace(await said(store, "plum", project_id=old), project_id=new, seq=2, ordinal=2)
    late = samples.message(conversation.id, content="damson", ordinal=2, seq=2, project_id=new)
    await commit_one(store, Change(conversation_id=conversation.id, conversation=conversation, messages=(late,)))
    for word in ("plum", "damson"):
        assert len((await store.search(word, project_id=new)).items) == 1
        assert (await store.search(word, project_id=old)).items == ()


async def test_a_search_in_a_small_project_does_not_look_at_what_others_hold(store: SqliteStore, path: Path) -> None:
    """Work is counted in steps of SQLite's machine, which are the same on every machine."""
    home = ProjectId(new_object_id())
    await said(store, "quince at home", project_id=home)

    async def steps() -> int:
        reading = SqliteStore(path, clock=FakeClock(), reader_threads=1)
        await reading.open()
        counted = 0

        def count() -> int:
            nonlocal counted
            counted += 1
            return 0

        await reading._readers.run(lambda connection: connection.set_progress_handler(count, 1))
        page = await reading.search("quince", project_id=home)
        await reading.close()
        assert len(page.items) == 1
        return counted

    few = await steps()
    await said(store, *(f"quince elsewhere {number}" for number in range(2000)))
    assert await steps() - few < 2000, "less than one for each of them"


# --- indexes

TINY = ("tallies", "schema_migrations", "sqlite_master", "json_each", "CONSTANT ROW", "runs_open")
"""What may be scanned: a few rows each; `runs_open` holds the open runs only, and all of them are asked for."""


async def exercise(store: SqliteStore) -> None:
    """Every verb once, with each of its filters."""
    conversation, run = await started(store, project_id=samples.project().id, claude_session_id="s")
    await commit_one(store, row_of(run, 2))
    lanes = (store.load_lane(conversation.id), store.open_conversations(), store.counts(), store.probe())
    await asyncio.gather(*lanes)
    for after in (0, 1):
        await store.changes_after(conversation.id, after, 10)
    for before, beyond in ((None, None), (5, None), (None, 0), (5, 0)):
        await store.history(conversation.id, before=before, after=beyond)
    await store.runs_of(conversation.id, [run.request_id, RequestId("unknown")])
    await exercise_lists(store, conversation.project_id)
    await exercise_permissions(store, conversation)
    await store.message(run.message_ids[0])
    await store.put_attachment(attachment := samples.attachment(), b"x")
    await store.attachment(attachment.id)
    await store.attachment_content(AttachmentId(new_object_id()))
    await store.is_used_by(attachment.id, samples.ANNA)
    await exercise_cleaning(store, conversation.id, attachment.id)
    await store.put_project(project := samples.project())
    await store.project(project.id)
    await store.delete_project(project.id)
    await exercise_tokens(store)
    await store.note_seen(UserId("anna"), conversation.id, 1)
    await store.seen(UserId("anna"), [conversation.id])
    await store.series(Span(since=samples.START, width=BucketWidth.DAY, count=2))
    await store.purge_conversation(conversation.id)


async def exercise_permissions(store: SqliteStore, conversation: Conversation) -> None:
    """Grants, the audit, and when a server was at work."""
    grant, entries = samples.grant(conversation.id), tuple(samples.audit_entry(conversation.id) for _ in range(2))
    change = Change(conversation_id=conversation.id, conversation=conversation, grants=(grant,), audit=entries)
    await commit_one(store, change)
    await store.grant(grant.id)
    await store.standing_grants()
    for user_id, conversation_id, action in product((None, samples.ANNA), (None, conversation.id), (None, "login")):
        await store.grants(conversation.id, conversation.project_id, user_id=user_id)
        wanted = {"user_id": user_id, "conversation_id": conversation_id, "action": action}
        page = await store.audit(**wanted, limit=1)
        await store.audit(**wanted, limit=1, cursor=page.next)
    await store.append_to_audit(samples.audit_entry(conversation.id))
    await store.remove_old_audit(samples.START, 10)
    await store.note_alive(samples.START)
    await store.alive_at()


async def exercise_tokens(store: SqliteStore) -> None:
    """Every verb of tokens."""
    await store.add_token(token := samples.api_token())
    await store.bind_token(token.id, BridgeId("b"))
    await store.revoke_token(token.id, samples.START)
    await store.note_token_use({token.id: samples.START})
    await asyncio.gather(store.token(token.id), store.tokens(), store.live_tokens())


async def exercise_cleaning(store: SqliteStore, conversation_id: ConversationId, attachment_id: AttachmentId) -> None:
    """What looks for things that nothing needs any more."""
    await store.put_attachment(samples.attachment(), b"y", used_by=conversation_id)
    await store.put_attachment(samples.attachment(), b"z")
    await store.use_attachments(conversation_id, [attachment_id])
    await store.remove_unused_attachments(samples.at(10**9), 10)
    await store.remove_ended_journals(10)
    await listed(store)
    page = await store.unchanged_conversations(ConversationStatus.ACTIVE, samples.at(10**9), limit=1)
    await store.unchanged_conversations(ConversationStatus.ACTIVE, samples.at(10**9), limit=1, cursor=page.next)


async def exercise_lists(store: SqliteStore, project_id: ProjectId | None) -> None:
    """Every combination of filters."""
    await store.projects()
    for user_id in (None, samples.ANNA):
        await store.runs(OPEN_RUN, user_id=user_id)
        for status in (None, PromptStatus.PENDING):
            for conversation_id in (None, samples.conversation().id):
                await store.prompts(status, conversation_id, user_id=user_id)
        for listed_project in (None, project_id):
            await store.search("hello", project_id=listed_project, user_id=user_id)
            for status_of, session in product((None, *ConversationStatus), (None, "s")):
                where = ConversationFilter(
                    project_id=listed_project, status=status_of, session_id=session, user_id=user_id
                )
                page = await store.conversations(where, limit=1)
                await store.conversations(where, limit=1, cursor=page.next)


async def test_every_query_uses_an_index(store: SqliteStore, statements: list[str], path: Path) -> None:
    await exercise(store)
    connection = sqlite3.connect(path)
    words = ("SELECT", "INSERT", "UPDATE", "DELETE")
    # With 'main'. before their tables come the full-text module's own statements.
    planned = {text for text in statements if text.lstrip().startswith(words) and "'main'." not in text}
    steps = [(step, text) for text in planned for *_, step in connection.execute("EXPLAIN QUERY PLAN " + text)]
    connection.close()
    assert len(planned) > 40
    assert [(step, text) for step, text in steps if is_unlimited(step, text)] == []


def is_unlimited(step: str, text: str) -> bool:
    """Whether this step of a plan looks at more rows than it has to give."""
    if "USE TEMP B-TREE FOR ORDER BY" in step:
        return True
    if "SCAN" not in step or any(name in step for name in TINY):
        return False
    in_order_of_an_index = "USING INDEX" in step and "LIMIT" in text
    by_words = "VIRTUAL TABLE INDEX" in step and not step.endswith("VIRTUAL TABLE INDEX 0:")
    return not in_order_of_an_index and not by_words
