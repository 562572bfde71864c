"""The store on MongoDB, and on servers that speak its language, through motor.

Works the same on a standalone server, a replica set and a shard router: no transactions, no change streams; what
must be unique is an `_id` or has a plain unique index. Every write is durable (`w=majority, j=true`), every read
goes to the primary (`mongo_connection`).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo.errors import DuplicateKeyError, PyMongoError

from baton.core.errors import StoreUnavailable
from baton.core.ids import (
    AttachmentId,
    ConversationId,
    MessageId,
    ProjectId,
    PromptId,
    RequestId,
    UserId,
    new_object_id,
)
from baton.core.models import (
    Attachment,
    Conversation,
    ConversationStatus,
    Message,
    Project,
    Prompt,
    PromptStatus,
    Run,
    RunStatus,
)
from baton.core.permissions import AuditEntry, Grant, GrantId
from baton.core.ports import Clock
from baton.core.series import Bucket, Span
from baton.core.stored import (
    Change,
    ConversationFilter,
    EncodedJson,
    LaneState,
    Outcome,
    Page,
    SearchHit,
    StoreCounts,
    StoredChanges,
    StoredMessage,
    Swept,
)
from baton.core.tally import PoolTally
from baton.storage.migrate import MigrationTarget
from baton.storage.mongo_accounts import AccountVerbs
from baton.storage.mongo_attachments import Attachments
from baton.storage.mongo_cleaning import Cleaning
from baton.storage.mongo_commit import Committer
from baton.storage.mongo_connection import connect, database_of, disconnect, durable, host_of, reachable
from baton.storage.mongo_documents import (
    Document,
    aware,
    dump_audit_entry,
    dump_grant,
    dump_project,
    load_project,
    object_id,
)
from baton.storage.mongo_lease import Lease
from baton.storage.mongo_marks import Marks
from baton.storage.mongo_migrations import MongoMigrations
from baton.storage.mongo_owners import fill_owners
from baton.storage.mongo_paging import newest_first
from baton.storage.mongo_permissions import PermissionReads
from baton.storage.mongo_reads import Reads
from baton.storage.mongo_search import Search
from baton.storage.mongo_series import SeriesReads
from baton.storage.mongo_tokens import Logins, Tokens
from baton.storage.mongo_translation import translated as _translated
from baton.storage.mongo_uses import fill_uses

logger = logging.getLogger(__name__)

COLLECTIONS = (
    "projects",
    "conversations",
    "messages",
    "runs",
    "run_journal",
    "interactive_prompts",
    "conversation_permissions",
    "conversation_reads",
    "audit_log",
    "attachments.files",
    "attachments.chunks",
    "api_tokens",
    "logins",
    "pending_changes",
    "leases",
    "meta",
)
"""Those that the store itself reads and writes; `schema_migrations` is the migrations'."""

_RELEASE_S = 2.0


@dataclass(frozen=True, slots=True)
class _Open:
    """What an open store works with."""

    of: dict[str, Any]
    lease: Lease
    committer: Committer
    reads: Reads
    permissions: PermissionReads
    search: Search
    series: SeriesReads
    attachments: Attachments
    tokens: Tokens
    logins: Logins
    marks: Marks
    cleaning: Cleaning


class MongoStore(AccountVerbs):
    """Implements core.ports.Store, and core.ports.Pooled.

    `uri` is what a connection needs, `database` overrides the one that it names. `client` is a motor client, or one
    that behaves like it, that belongs to the caller and is not closed.
    """

    def __init__(self, uri: str, *, clock: Clock, database: str | None = None, client: Any = None) -> None:
        self._uri = uri
        self._clock = clock
        self._database_name = database
        self._given_client = client
        self._own_client: Any = None
        self._opened: _Open | None = None
        self.pool = PoolTally()

    # --- life --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """See core.ports.Store; raises ConfigError within some seconds where no server answers."""
        if self._opened is not None:
            return
        client = self._given_client
        if client is None:
            client = self._own_client = connect(self._uri, self.pool)
        try:
            database = database_of(client, self._database_name)
            async with reachable(self._uri):
                await database.command("ping")
                await MongoMigrations(database, self._clock).check()
                self._opened = await self._parts(database)
        except BaseException:
            await self.close()
            raise
        logger.info("💾 The database is open", extra={"action": "store_opened", "host": host_of(self._uri)})

    async def _parts(self, database: Any) -> _Open:
        of = {name: durable(database, name) for name in COLLECTIONS}
        lease = Lease(of["leases"], "server", self._clock)
        await lease.look()
        await _insert_if_missing(of["meta"], {"_id": "epoch", "value": new_object_id()})
        return _Open(
            of=of,
            lease=lease,
            committer=Committer(of, lease),
            reads=Reads(of),
            permissions=PermissionReads(of),
            search=Search(of["messages"], of["conversations"]),
            series=SeriesReads(of),
            attachments=Attachments(of["attachments.files"], of["attachments.chunks"]),
            tokens=Tokens(of["api_tokens"]),
            marks=Marks(of["conversation_reads"]),
            logins=Logins(of["logins"]),
            cleaning=Cleaning(of),
        )

    async def close(self) -> None:
        """See core.ports.Store. At most 8 s, also where the server has stopped answering."""
        opened, self._opened = self._opened, None
        client, self._own_client = self._own_client, None
        try:
            if opened is not None:
                await opened.committer.finish()
                async with asyncio.timeout(_RELEASE_S):
                    await opened.lease.release()
        except (PyMongoError, TimeoutError) as exc:
            # It runs out by itself.
            logger.warning(
                "The lease could not be given back", extra={"action": "store_close", "error": type(exc).__name__}
            )
        finally:
            if client is not None:
                await disconnect(client)

    @property
    def _accounts(self) -> _Open:
        return self._is

    @property
    def _is(self) -> _Open:
        if self._opened is None:
            raise StoreUnavailable("The database is not open")
        return self._opened

    @_translated
    async def acquire_lease(self, holder: str) -> bool:
        """See core.ports.Store."""
        return await self._is.lease.acquire(holder)

    @_translated
    async def renew_lease(self) -> None:
        """See core.ports.Store."""
        await self._is.lease.renew()

    @_translated
    async def epoch(self) -> str:
        """See core.ports.Store."""
        document = await self._is.of["meta"].find_one({"_id": "epoch"})
        if document is None:
            raise StoreUnavailable("The database has lost its epoch: restart", retryable=False)
        return str(document["value"])

    # --- conversations -----------------------------------------------------------------------------------------

    @_translated
    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """See core.ports.Store, and mongo_commit for how."""
        return await self._is.committer.commit(changes)

    @_translated
    async def repair(self) -> int:
        """See core.ports.Store."""
        mended = await self._is.committer.repair()
        await fill_uses(self._is.of, self._clock.now())
        await fill_owners(self._is.of, self._clock.now())
        return mended

    @_translated
    async def open_conversations(self) -> Sequence[ConversationId]:
        """See core.ports.Store."""
        return await self._is.reads.open_conversations()

    @_translated
    async def load_lane(self, conversation_id: ConversationId) -> LaneState | None:
        """See core.ports.Store. A lane is read anew after an error, so what that left is finished first."""
        await self._is.committer.settled()
        key = object_id(conversation_id)
        return None if key is None else await self._is.reads.lane(key)

    @_translated
    async def changes_after(self, conversation_id: ConversationId, after: int, limit: int) -> StoredChanges:
        """See core.ports.Store."""
        key = object_id(conversation_id)
        if key is None:
            return StoredChanges(messages=(), runs=(), prompts=(), has_more=False)
        return await self._is.reads.changes_after(key, after, limit)

    @_translated
    async def history(
        self,
        conversation_id: ConversationId,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> Sequence[StoredMessage]:
        """See core.ports.Store."""
        key = object_id(conversation_id)
        return [] if key is None else await self._is.reads.history(key, before, after, limit)

    @_translated
    async def message(self, message_id: MessageId) -> Message | None:
        """See core.ports.Store."""
        key = object_id(message_id)
        return None if key is None else await self._is.reads.message(key)

    @_translated
    async def run(self, request_id: RequestId) -> Run | None:
        """See core.ports.Store."""
        return await self._is.reads.run(request_id)

    @_translated
    async def runs(
        self, statuses: frozenset[RunStatus], limit: int = 1000, *, user_id: UserId | None = None
    ) -> Sequence[Run]:
        """See core.ports.Store."""
        return await self._is.reads.runs(statuses, limit, user_id)

    @_translated
    async def runs_of(
        self, conversation_id: ConversationId, request_ids: Sequence[RequestId]
    ) -> Mapping[RequestId, EncodedJson]:
        """See core.ports.Store."""
        key = object_id(conversation_id)
        return {} if key is None or not request_ids else await self._is.reads.runs_of(key, request_ids)

    @_translated
    async def prompt(self, prompt_id: PromptId) -> Prompt | None:
        """See core.ports.Store."""
        key = object_id(prompt_id)
        return None if key is None else await self._is.reads.prompt(key)

    @_translated
    async def prompts(
        self,
        status: PromptStatus | None = None,
        conversation_id: ConversationId | None = None,
        limit: int = 1000,
        *,
        user_id: UserId | None = None,
    ) -> Sequence[Prompt]:
        """See core.ports.Store."""
        key = None if conversation_id is None else object_id(conversation_id)
        if conversation_id is not None and key is None:
            return []
        return await self._is.reads.prompts(status, key, limit, user_id)

    @_translated
    async def conversation(self, conversation_id: ConversationId) -> Conversation | None:
        """See core.ports.Store."""
        key = object_id(conversation_id)
        return None if key is None else await self._is.reads.conversation(key)

    @_translated
    async def conversations(
        self, where: ConversationFilter, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Conversation]:
        """See core.ports.Store."""
        return await self._is.reads.conversations(where, cursor, limit)

    @_translated
    async def note_seen(self, user_id: UserId, conversation_id: ConversationId, seq: int) -> bool:
        """See core.ports.Store."""
        key = object_id(conversation_id)
        return key is not None and await self._is.marks.note(user_id, key, seq)

    @_translated
    async def seen(self, user_id: UserId, conversation_ids: Sequence[ConversationId]) -> Mapping[ConversationId, int]:
        """See core.ports.Store."""
        keys = [key for one in conversation_ids if (key := object_id(one)) is not None]
        found = await self._is.marks.seen(user_id, keys) if keys else {}
        return {ConversationId(str(key)): seq for key, seq in found.items()}

    @_translated
    async def purge_conversation(self, conversation_id: ConversationId) -> None:
        """See core.ports.Store."""
        key = object_id(conversation_id)
        if key is not None:
            await self._is.committer.purge(key, self._clock.now())

    # --- permissions -------------------------------------------------------------------------------------------

    @_translated
    async def standing_grants(self, limit: int = 100_000) -> Sequence[Grant]:
        """See core.ports.Store."""
        return await self._is.permissions.standing_grants(limit)

    @_translated
    async def grants(
        self,
        conversation_id: ConversationId,
        project_id: ProjectId | None,
        limit: int = 1000,
        *,
        user_id: UserId | None = None,
    ) -> Sequence[Grant]:
        """See core.ports.Store."""
        key = object_id(conversation_id)
        return [] if key is None else await self._is.permissions.grants(key, object_id(project_id), user_id, limit)

    @_translated
    async def put_grant(self, grant: Grant) -> None:
        """See core.ports.Store."""
        document = dump_grant(grant)
        await self._is.of["conversation_permissions"].replace_one({"_id": document["_id"]}, document, upsert=True)

    @_translated
    async def bypassing(self, limit: int = 10_000) -> Sequence[ConversationId]:
        """See core.ports.Store."""
        # More than a date, and not "not null": every server has an index serve that.
        where = {"bypassUntil": {"$gt": datetime.fromtimestamp(0, UTC)}}
        found = self._is.of["conversations"].find(where, {"_id": True}).limit(limit)
        return [ConversationId(str(document["_id"])) async for document in found]

    @_translated
    async def grant(self, grant_id: GrantId) -> Grant | None:
        """See core.ports.Store."""
        key = object_id(grant_id)
        return None if key is None else await self._is.permissions.grant(key)

    @_translated
    async def audit(
        self,
        *,
        conversation_id: ConversationId | None = None,
        user_id: UserId | None = None,
        action: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[AuditEntry]:
        """See core.ports.Store."""
        key = None if conversation_id is None else object_id(conversation_id)
        if conversation_id is not None and key is None:
            return Page(items=(), next=None)
        wanted = {"conversationId": key, "userId": user_id, "action": action}
        return await self._is.permissions.audit(wanted, cursor, limit)

    @_translated
    async def append_to_audit(self, entry: AuditEntry) -> None:
        """See core.ports.Store."""
        await self._is.permissions.append(dump_audit_entry(entry))

    @_translated
    async def remove_old_audit(self, before: datetime, limit: int) -> Swept:
        """See core.ports.Store."""
        return await self._is.permissions.remove_old(before, limit)

    # --- projects and attachments ------------------------------------------------------------------------------

    @_translated
    async def put_project(self, project: Project) -> None:
        """See core.ports.Store."""
        document = dump_project(project)
        await self._is.of["projects"].replace_one({"_id": document["_id"]}, document, upsert=True)

    @_translated
    async def project(self, project_id: ProjectId) -> Project | None:
        """See core.ports.Store."""
        key = object_id(project_id)
        document = None if key is None else await self._is.of["projects"].find_one({"_id": key})
        return None if document is None else load_project(document)

    @_translated
    async def projects(self, limit: int = 1000) -> Sequence[Project]:
        """See core.ports.Store."""
        if limit < 1:
            return []
        found = self._is.of["projects"].find({}).sort(newest_first("createdAt")).limit(limit)
        return [load_project(document) async for document in found]

    @_translated
    async def delete_project(self, project_id: ProjectId) -> bool:
        """See core.ports.Store."""
        key = object_id(project_id)
        if key is None:
            return False
        deleted = await self._is.of["projects"].delete_one({"_id": key})
        return bool(deleted.deleted_count)

    @_translated
    async def put_attachment(
        self, attachment: Attachment, content: bytes, *, used_by: ConversationId | None = None
    ) -> None:
        """See core.ports.Store."""
        user = None if used_by is None else object_id(used_by)
        await self._is.attachments.put(attachment, content, user, self._clock.now())

    @_translated
    async def attachment(self, attachment_id: AttachmentId) -> Attachment | None:
        """See core.ports.Store."""
        key = object_id(attachment_id)
        return None if key is None else await self._is.attachments.get(key)

    @_translated
    async def is_used_by(self, attachment_id: AttachmentId, user_id: UserId) -> bool:
        """See core.ports.Store."""
        key = object_id(attachment_id)
        return key is not None and await self._is.reads.is_used_by(key, user_id)

    @_translated
    async def attachment_content(self, attachment_id: AttachmentId) -> bytes | None:
        """See core.ports.Store."""
        key = object_id(attachment_id)
        return None if key is None else await self._is.attachments.content(key)

    # --- the whole ---------------------------------------------------------------------------------------------

    @_translated
    async def search(
        self,
        words: str,
        *,
        project_id: ProjectId | None = None,
        user_id: UserId | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> Page[SearchHit]:
        """See core.ports.Store."""
        key = None if project_id is None else object_id(project_id)
        if project_id is not None and key is None:
            return Page(items=(), next=None)
        return await self._is.search.page(words, key, user_id, cursor, limit)

    @_translated
    async def note_alive(self, at: datetime) -> None:
        """See core.ports.Store."""
        await self._is.of["meta"].update_one({"_id": "aliveAt"}, {"$set": {"value": at}}, upsert=True)

    @_translated
    async def alive_at(self) -> datetime | None:
        """See core.ports.Store."""
        document = await self._is.of["meta"].find_one({"_id": "aliveAt"})
        return None if document is None else aware(document["value"])

    @_translated
    async def counts(self) -> StoreCounts:
        """See core.ports.Store."""
        return await self._is.reads.counts(await self._is.permissions.decisions())

    @_translated
    async def series(self, span: Span) -> Sequence[Bucket]:
        """See core.ports.Store."""
        return await self._is.series.series(span)

    @_translated
    async def probe(self) -> tuple[float, float]:
        """See core.ports.Store."""
        meta = self._is.of["meta"]
        began = self._clock.monotonic()
        await meta.update_one({"_id": "probe"}, {"$inc": {"value": 1}}, upsert=True)
        written = self._clock.monotonic()
        await meta.find_one({"_id": "probe"})
        return (written - began) * 1000, (self._clock.monotonic() - written) * 1000

    # --- what nothing needs any more ---------------------------------------------------------------------------

    @_translated
    async def use_attachments(
        self, conversation_id: ConversationId, attachment_ids: Sequence[AttachmentId]
    ) -> Sequence[AttachmentId]:
        """See core.ports.Store."""
        user = object_id(conversation_id)
        missing = []
        for attachment_id in attachment_ids:
            key = object_id(attachment_id)
            if user is None or key is None or not await self._is.attachments.use(user, key, self._clock.now()):
                missing.append(attachment_id)
        return missing

    @_translated
    async def remove_unused_attachments(self, before: datetime, limit: int) -> Swept:
        """See core.ports.Store."""
        return await self._is.attachments.judge(self._is.of["conversations"], before, limit)

    @_translated
    async def remove_stray_content(self, before: datetime, limit: int, after: str | None = None) -> Swept:
        """See core.ports.Store."""
        return await self._is.attachments.remove_strays(before, limit, after)

    @_translated
    async def remove_ended_journals(self, limit: int, after: str | None = None) -> Swept:
        """See core.ports.Store."""
        return await self._is.cleaning.remove_ended_journals(limit, after)

    @_translated
    async def unchanged_conversations(
        self, status: ConversationStatus, before: datetime, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Conversation]:
        """See core.ports.Store."""
        return await self._is.cleaning.unchanged_conversations(status, before, cursor, limit)


# --- connecting ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def mongo_migrations(
    uri: str, *, clock: Clock, database: str | None = None, client: Any = None
) -> AsyncIterator[MigrationTarget]:
    """The database as something to migrate. Raises ConfigError where no server answers."""
    connected = connect(uri) if client is None else client
    try:
        target = database_of(connected, database)
        async with reachable(uri):
            await target.command("ping")
            yield MongoMigrations(target, clock)
    finally:
        if client is None:
            await disconnect(connected)


async def _insert_if_missing(collection: Any, document: Document) -> None:
    try:
        await collection.insert_one(document)
    except DuplicateKeyError:
        return
