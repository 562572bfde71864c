"""`baton db restore`: a database, or one conversation, as a backup or an export has it.

What is to be is made whole beside what is there and takes its place at once; what was there is kept. Where a store has
no such moment (MongoDB), what is there is backed up first.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final

from baton.clock import SystemClock
from baton.core.errors import BatonError, Conflict, InvalidRequest, NotFound, Unavailable
from baton.core.ids import ConversationId, new_object_id
from baton.core.ports import Store
from baton.core.records import Kind, Records
from baton.core.stored import Change, Committed
from baton.credentials import prepare_folder
from baton.db_backup import default_folder, digest_of, digest_path, make_backup, stamp
from baton.db_transfer import listed, read_whole, reading, require_id, tell_filled
from baton.keeping import Progress, Tell, open_records, owned_database
from baton.services.archive import Filled, Incoming, fill, from_file, from_records
from baton.services.mending import settle
from baton.services.renaming import Renaming, belongs_to
from baton.settings import Settings
from baton.storage.sqlite import SqliteStore
from baton.storage.sqlite_backup import check_copy, copy_database, is_sqlite, put_in_place
from baton.storage.sqlite_lease import FileLease
from baton.storage.sqlite_migrate import migrate_sqlite
from baton.storage.sqlite_records import sqlite_records

Confirm = Callable[[str], bool]
"""Asks a person; whether they said yes."""

PAUSED: Final = "Restored from a backup; resume the queue to send what waited"
"""Why the queue of a restored conversation waits: nothing is sent to an agent again without somebody saying so."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the records come from: a file of lines, or the records of a copy of a database."""

    file: BinaryIO | None = None
    records: Records | None = None
    unreadable: list[str] | None = None
    total: int = 0
    project_id: str | None = None

    async def stream(self, conversation_id: str | None = None) -> AsyncGenerator[Incoming]:
        """All records, or those of one conversation."""
        if self.records is not None:
            unreadable = self.unreadable if self.unreadable is not None else []
            async for incoming in from_records(self.records, unreadable, conversation_id=conversation_id):
                yield incoming
            return
        assert self.file is not None, "it is the one or the other"
        self.file.seek(0)
        async for incoming in from_file(self.file):
            if conversation_id is None or belongs_to(incoming, conversation_id, self.project_id):
                yield incoming


async def restore(
    settings: Settings, tell: Tell, confirm: Confirm, *, source: str, conversation_id: str | None = None
) -> bool:
    """Whether everything of the file was taken. Raises what stands in the way; then nothing was changed."""
    require_id(conversation_id)
    path = Path(source)
    if conversation_id is None and settings.sqlite_path is not None:
        return await _replace_sqlite(settings, settings.sqlite_path, tell, confirm, path)
    async with _opened(path, conversation_id) as opened, owned_database(settings) as store:
        if conversation_id is not None:
            return await _restore_one(settings, store, tell, opened, ConversationId(conversation_id))
        return await _replace_mongo(settings, store, tell, confirm, opened)


@asynccontextmanager
async def _opened(path: Path, conversation_id: str | None) -> AsyncIterator[_Source]:
    """The source, read and found good. Raises InvalidRequest, ConfigError, NotFound."""
    missing = NotFound(f"{path} has no conversation {conversation_id}")
    if not is_sqlite(path):
        with reading(path) as file:
            contents = read_whole(file, path, conversation_id)
            if conversation_id is not None and contents.wanted is None:
                raise missing
            project_id = (contents.wanted or {}).get("projectId")
            yield _Source(file=file, total=contents.counts.total(), project_id=project_id)
        return
    # Of a copy, because it may have to be migrated, and a backup stays as it is.
    with TemporaryDirectory(prefix="baton-restore-") as folder:
        copy = Path(folder) / "copy.sqlite3"
        await _copy_good(path, copy)
        async with sqlite_records(copy, clock=SystemClock()) as records:
            if conversation_id is not None and not await records.has(Kind.CONVERSATION, conversation_id):
                raise missing
            yield _Source(records=records, unreadable=[], total=sum((await records.counts()).values()))


async def _copy_good(path: Path, copy: Path) -> None:
    """A copy of a backup, up to date. Raises InvalidRequest where the backup is not as it was written."""
    digest = digest_path(path)
    if digest.exists() and digest.read_text(encoding="ascii", errors="replace").split()[:1] != [digest_of(path)]:
        raise InvalidRequest(f"{path} is not as it was written ({digest.name} says so); nothing was changed")
    await check_copy(path)
    with Progress(sys.stderr, "💾 copying pages:") as progress:
        await copy_database(path, copy, progress.of)
    await migrate_sqlite(copy, clock=SystemClock())


# --- everything ------------------------------------------------------------------------------------------------


async def _replace_sqlite(settings: Settings, path: Path, tell: Tell, confirm: Confirm, source: Path) -> bool:
    if path.parent == settings.data:
        prepare_folder(settings.data)
    lease = FileLease(path)
    if not lease.acquire("baton db restore"):
        raise Unavailable("A server has the database: stop it first, and start it again afterwards")
    made = path.with_name(f".{path.name}.restoring")
    _remove(made)
    try:
        is_complete = await _make(tell, source, made)
        there = await _held(path)
        if there and not confirm(f"{settings.store_label} {there}. Replace it by {source}?"):
            tell("nothing was changed")
            return False
        kept = path.with_name(f"{path.name}.before-restore-{stamp(SystemClock().now())}")
        if await put_in_place(made, path, kept):
            tell(f"what was there is {kept}")
    finally:
        _remove(made)
        lease.release()
    tell(f"✅ restored {path}")
    return is_complete


async def _make(tell: Tell, source: Path, made: Path) -> bool:
    """The database to be, whole; whether everything of the source is in it."""
    clock = SystemClock()
    filled = Filled()
    if is_sqlite(source):
        await _copy_good(source, made)
    else:
        with reading(source) as file:
            total = read_whole(file, source).counts.total()
            await migrate_sqlite(made, clock=clock)
            async with sqlite_records(made, clock=clock) as records:
                filled = await _fill(records, _Source(file=file, total=total).stream(), total)
        tell_filled(tell, filled)
    async with sqlite_records(made, clock=clock) as records:
        await records.renew_epoch()
    store = SqliteStore(made, clock=clock)
    await store.open()
    try:
        async with sqlite_records(made, clock=clock) as records:
            await _settle(records, store)
        await _pause_queues(store, tell)
    finally:
        await store.close()
    return not filled.refused


async def _held(path: Path) -> str | None:
    """What there is to be replaced, in words; None: nothing."""
    if not await asyncio.to_thread(path.exists):
        return None
    try:
        async with sqlite_records(path, clock=SystemClock()) as records:
            count = sum((await records.counts()).values())
    except BatonError:
        return "cannot be read"
    return f"holds {count} records" if count else None


async def _replace_mongo(settings: Settings, store: Store, tell: Tell, confirm: Confirm, source: _Source) -> bool:
    from baton.storage.mongo_records import mongo_records

    clock = SystemClock()
    async with mongo_records(settings.store_url, clock=clock) as records:
        there = sum((await records.counts()).values())
        if there:
            if not confirm(f"{settings.store_label} holds {there} records. Replace all of them?"):
                tell("nothing was changed")
                return False
            kept = await make_backup(settings, clock, default_folder(settings))
            tell(f"what was there is {kept}")
            await records.empty()
        filled = await _fill(records, source.stream(), source.total)
        await records.renew_epoch()
        await _settle(records, store)
    await _pause_queues(store, tell)
    tell_filled(tell, filled)
    _tell_unreadable(tell, source)
    tell(f"✅ restored {settings.store_label}")
    return not filled.refused and not source.unreadable


async def _fill(records: Records, stream: AsyncIterator[Incoming], total: int) -> Filled:
    with Progress(sys.stderr, "💾 restoring records:", total) as progress:
        return await fill(records, stream, progress)


async def _settle(records: Records, store: Store, conversation_id: ConversationId | None = None) -> None:
    with Progress(sys.stderr, "💾 looking at records:") as progress:
        await settle(records, store, SystemClock(), progress, conversation_id)


# --- one conversation ------------------------------------------------------------------------------------------


async def _restore_one(
    settings: Settings, store: Store, tell: Tell, source: _Source, conversation_id: ConversationId
) -> bool:
    async with open_records(settings) as records:
        is_there = await records.has(Kind.CONVERSATION, conversation_id)
        target = ConversationId(new_object_id()) if is_there else conversation_id
        await records.forget_runs(conversation_id)
        renaming = Renaming(conversation_id, target) if is_there else None
        filled = await _fill(records, _of_one(source, conversation_id, target, renaming), 0)
    async with open_records(settings) as records:
        await _settle(records, store, target)
    await _pause_queues(store, tell, target)
    tell_filled(tell, filled)
    _tell_unreadable(tell, source)
    tell(f"✅ restored the conversation {target}" + (", beside the one that is there" if is_there else ""))
    return not filled.refused and not source.unreadable


async def _of_one(
    source: _Source, conversation_id: ConversationId, target: ConversationId, renaming: Renaming | None
) -> AsyncGenerator[Incoming]:
    async for incoming in source.stream(conversation_id):
        mine = replace(incoming, used_by=(target,)) if incoming.kind is Kind.ATTACHMENT else incoming
        moved = renaming.apply(mine) if renaming else mine
        if moved is not None:
            yield moved


def _tell_unreadable(tell: Tell, source: _Source) -> None:
    if source.unreadable:
        tell(f"❌ {len(source.unreadable)} records of the backup cannot be read: {listed(source.unreadable)}")


# --- what is not done again ------------------------------------------------------------------------------------


async def _pause_queues(store: Store, tell: Tell, only: ConversationId | None = None) -> None:
    """What waited when the backup was made waits on, until a person lets it go."""
    paused = 0
    for conversation_id in [only] if only else await store.open_conversations():
        lane = await store.load_lane(conversation_id)
        if lane is None or not lane.runs:
            continue
        changed = replace(lane.conversation, seq=lane.conversation.seq + 1, queue_paused=True, queue_reason=PAUSED)
        (outcome,) = await store.commit([Change(conversation_id=conversation_id, conversation=changed)])
        if not isinstance(outcome, Committed):
            raise Conflict(f"The queue of the conversation {conversation_id} could not be paused")
        paused += 1
    if paused:
        tell(f"paused the queues of {paused} conversations in which messages were waiting or being answered")


def _remove(made: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal", ".lock"):
        made.with_name(made.name + ending).unlink(missing_ok=True)
