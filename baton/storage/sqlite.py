"""The store in one file on disk: SQLite from the standard library, nothing to set up.

One thread writes, a few read; the event loop never waits for the disk. How rows look is in `sqlite_rows`, what is
written in `sqlite_commit`, what is read in `sqlite_reads`, `sqlite_permissions` and `sqlite_search`; this class only
joins them.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from baton.core.errors import BatonError, ConfigError, StoreUnavailable
from baton.core.ids import (
    AttachmentId,
    BridgeId,
    ConversationId,
    MessageId,
    ProjectId,
    PromptId,
    RequestId,
    TokenId,
    UserId,
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
from baton.core.ports import Clock, Store
from baton.core.series import Bucket, Span
from baton.core.stored import (
    Change,
    ConversationFilter,
    EncodedJson,
    LaneState,
    Outcome,
    Page,
    Refused,
    SearchHit,
    StoreCounts,
    StoredChanges,
    StoredMessage,
    Swept,
)
from baton.core.tokens import ApiToken, Login
from baton.schemas.codec import iso
from baton.storage import sqlite_cleaning as cleaning
from baton.storage import sqlite_commit as writes
from baton.storage import sqlite_marks as marks
from baton.storage import sqlite_permissions as permissions
from baton.storage import sqlite_reads as reads
from baton.storage import sqlite_search, sqlite_series, sqlite_tokens
from baton.storage.migrate import CURE, discover, pending
from baton.storage.sqlite_connection import OnStatement, check_library, check_place, connect, explain
from baton.storage.sqlite_lease import FileLease
from baton.storage.sqlite_migrate import read_ledger
from baton.storage.sqlite_readers import Readers
from baton.storage.sqlite_rows import Encoded, audit_row, document, encode_change, grant_row
from baton.storage.sqlite_uses import fill_uses
from baton.storage.sqlite_writer import WriteBounds, Writer

_MAX_WAITING_READS = 10_000


class SqliteStore(Store):
    """Implements core.ports.Store on the file `path`, which `baton db migrate` has made.

    `on_statement` is told each SQL statement. Two objects may be open on one file, in one process or in two;
    the lease says which of them serves.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        reader_threads: int = 3,
        bounds: WriteBounds | None = None,
        on_statement: OnStatement | None = None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._lease = FileLease(path)
        self._writer = Writer(path, partial(connect, path, on_statement=on_statement), bounds or WriteBounds())
        self._readers = Readers(
            path,
            partial(connect, path, reads_only=True, on_statement=on_statement),
            threads=reader_threads,
            max_waiting=_MAX_WAITING_READS,
        )

    # --- life

    async def open(self) -> None:
        """See the port. Raises ConfigError also where the file is missing, damaged or cannot be written."""
        check_library()
        check_place(self._path, must_exist=True)
        try:
            await self._writer.start()
        except sqlite3.Error as error:
            raise ConfigError(explain(self._path, error)) from error
        try:
            missing = pending(discover(), await self._writer.run(read_ledger))
            if missing:
                raise ConfigError(f"The database {self._path} lacks migrations, from {missing[0].name}: {CURE}")
            await self._writer.run(writes.touch_probe)
        except StoreUnavailable as error:
            await self.close()
            raise ConfigError(error.message) from error
        except BatonError:
            await self.close()
            raise

    async def close(self) -> None:
        """See the port. Readers first: the last to close folds the write-ahead log into the file."""
        await self._readers.close()
        await self._writer.stop()
        self._lease.release()

    async def acquire_lease(self, holder: str) -> bool:
        """See the port."""
        return self._lease.acquire(holder)

    async def renew_lease(self) -> None:
        """See the port: the lock needs no renewal, but may have been taken away."""
        self._lease.check()

    async def epoch(self) -> str:
        """See the port."""
        return await self._readers.run(reads.read_meta, "epoch")

    async def repair(self) -> int:
        """See the port: transactions leave nothing half done, but a version before may have."""
        now = iso(self._clock.now())
        await self._writer.run(lambda db: fill_uses(db, now))
        return 0

    # --- conversations

    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """See the port."""
        if not changes:
            return []
        encoded = [_encoded(change) for change in changes]
        size_bytes = sum(one.size_bytes for one in encoded if not isinstance(one, Refused))
        return await self._writer.run(
            lambda db: writes.apply_changes(db, encoded), size_bytes=size_bytes, holds_caller=True
        )

    async def open_conversations(self) -> Sequence[ConversationId]:
        """See the port."""
        return await self._readers.run(reads.list_open_conversations)

    async def load_lane(self, conversation_id: ConversationId) -> LaneState | None:
        """See the port."""
        return await self._readers.run(reads.load_lane, conversation_id)

    async def changes_after(self, conversation_id: ConversationId, after: int, limit: int) -> StoredChanges:
        """See the port."""
        return await self._readers.run(reads.read_changes, conversation_id, after, limit)

    async def history(
        self,
        conversation_id: ConversationId,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> Sequence[StoredMessage]:
        """See the port."""
        return await self._readers.run(reads.read_history, conversation_id, before, after, limit)

    async def message(self, message_id: MessageId) -> Message | None:
        """See the port."""
        return await self._readers.run(reads.read_message, message_id)

    async def run(self, request_id: RequestId) -> Run | None:
        """See the port."""
        return await self._readers.run(reads.read_run, request_id)

    async def runs(
        self, statuses: frozenset[RunStatus], limit: int = 1000, *, user_id: UserId | None = None
    ) -> Sequence[Run]:
        """See the port."""
        return await self._readers.run(reads.list_runs, tuple(statuses), limit, user_id)

    async def runs_of(
        self, conversation_id: ConversationId, request_ids: Sequence[RequestId]
    ) -> Mapping[RequestId, EncodedJson]:
        """See the port."""
        if not request_ids:
            return {}
        return await self._readers.run(reads.read_runs_of, conversation_id, tuple(request_ids))

    async def prompt(self, prompt_id: PromptId) -> Prompt | None:
        """See the port."""
        return await self._readers.run(reads.read_prompt, prompt_id)

    async def prompts(
        self,
        status: PromptStatus | None = None,
        conversation_id: ConversationId | None = None,
        limit: int = 1000,
        *,
        user_id: UserId | None = None,
    ) -> Sequence[Prompt]:
        """See the port."""
        return await self._readers.run(reads.list_prompts, status, conversation_id, limit, user_id)

    async def conversation(self, conversation_id: ConversationId) -> Conversation | None:
        """See the port."""
        return await self._readers.run(reads.read_conversation, conversation_id)

    async def conversations(
        self, where: ConversationFilter, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Conversation]:
        """See the port."""
        position = None if cursor is None else reads.decode_conversation_cursor(cursor)
        return await self._readers.run(reads.list_conversations, where, position, limit)

    async def note_seen(self, user_id: UserId, conversation_id: ConversationId, seq: int) -> bool:
        """See the port."""
        return await self._writer.run(lambda db: marks.note_seen(db, user_id, conversation_id, seq))

    async def seen(self, user_id: UserId, conversation_ids: Sequence[ConversationId]) -> Mapping[ConversationId, int]:
        """See the port."""
        if not conversation_ids:
            return {}
        return await self._readers.run(marks.read_seen, user_id, tuple(conversation_ids))

    async def purge_conversation(self, conversation_id: ConversationId) -> None:
        """See the port. In steps; cut short, the conversation is still there, and can be purged again."""
        while await self._writer.run(partial(writes.purge_some_messages, conversation_id=conversation_id)):
            pass
        await self._writer.run(partial(writes.purge_rest, conversation_id=conversation_id, now=iso(self._clock.now())))

    # --- permissions

    async def standing_grants(self, limit: int = 100_000) -> Sequence[Grant]:
        """See the port."""
        return await self._readers.run(permissions.list_standing_grants, limit)

    async def grants(
        self,
        conversation_id: ConversationId,
        project_id: ProjectId | None,
        limit: int = 1000,
        *,
        user_id: UserId | None = None,
    ) -> Sequence[Grant]:
        """See the port."""
        return await self._readers.run(permissions.list_grants, conversation_id, project_id, user_id, limit)

    async def grant(self, grant_id: GrantId) -> Grant | None:
        """See the port."""
        return await self._readers.run(permissions.read_grant, grant_id)

    async def audit(
        self,
        *,
        conversation_id: ConversationId | None = None,
        user_id: UserId | None = None,
        action: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[AuditEntry]:
        """See the port."""
        where = {"conversationId": conversation_id, "userId": user_id, "action": action}
        position = None if cursor is None else permissions.decode_audit_cursor(cursor)
        return await self._readers.run(permissions.list_audit, where, position, limit)

    async def append_to_audit(self, entry: AuditEntry) -> None:
        """See the port."""
        row = audit_row(entry)
        await self._writer.run(lambda db: writes.append_to_audit(db, row))

    async def remove_old_audit(self, before: datetime, limit: int) -> Swept:
        """See the port."""
        return await self._writer.run(lambda db: permissions.remove_old_audit(db, iso(before), limit))

    # --- beside conversations

    async def put_project(self, project: Project) -> None:
        """See the port."""
        row = (project.id, iso(project.created_at), document(project))
        await self._writer.run(lambda db: writes.put_project(db, row))

    async def project(self, project_id: ProjectId) -> Project | None:
        """See the port."""
        return await self._readers.run(reads.read_project, project_id)

    async def projects(self, limit: int = 1000) -> Sequence[Project]:
        """See the port."""
        return await self._readers.run(reads.list_projects, limit)

    async def delete_project(self, project_id: ProjectId) -> bool:
        """See the port."""
        return await self._writer.run(lambda db: writes.delete_project(db, project_id))

    async def put_attachment(
        self, attachment: Attachment, content: bytes, *, used_by: ConversationId | None = None
    ) -> None:
        """See the port."""
        created_at = None if attachment.created_at is None else iso(attachment.created_at)
        row = (attachment.id, created_at, document(attachment), content)
        now = iso(self._clock.now())
        await self._writer.run(lambda db: cleaning.put_attachment(db, row, used_by, now), size_bytes=len(content))

    async def attachment(self, attachment_id: AttachmentId) -> Attachment | None:
        """See the port."""
        return await self._readers.run(reads.read_attachment, attachment_id)

    async def is_used_by(self, attachment_id: AttachmentId, user_id: UserId) -> bool:
        """See the port."""
        return await self._readers.run(reads.is_used_by, attachment_id, user_id)

    async def attachment_content(self, attachment_id: AttachmentId) -> bytes | None:
        """See the port."""
        return await self._readers.run(reads.read_attachment_content, attachment_id)

    async def search(
        self,
        words: str,
        *,
        project_id: ProjectId | None = None,
        user_id: UserId | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> Page[SearchHit]:
        """See the port. Of what was typed, the first 32 words count."""
        position = sqlite_search.SearchPosition() if cursor is None else sqlite_search.decode_search_cursor(cursor)
        expression = sqlite_search.match_expression(words)
        if not expression:
            return Page(items=(), next=None)
        return await self._readers.run(sqlite_search.search, expression, project_id, user_id, position, limit)

    async def put_grant(self, grant: Grant) -> None:
        """See the port."""
        row = grant_row(grant)
        await self._writer.run(lambda db: writes.put_grant(db, row))

    async def bypassing(self, limit: int = 10_000) -> Sequence[ConversationId]:
        """See the port."""
        return await self._readers.run(permissions.list_bypassing, limit)

    async def note_alive(self, at: datetime) -> None:
        """See the port."""
        await self._writer.run(lambda db: writes.note_alive(db, iso(at)))

    async def alive_at(self) -> datetime | None:
        """See the port."""
        return await self._readers.run(permissions.read_alive_at)

    async def counts(self) -> StoreCounts:
        """See the port."""
        return await self._readers.run(reads.read_counts)

    async def series(self, span: Span) -> Sequence[Bucket]:
        """See the port."""
        return await self._readers.run(sqlite_series.read_series, span)

    async def probe(self) -> tuple[float, float]:
        """See the port."""
        begun = self._clock.monotonic()
        await self._writer.run(writes.touch_probe)
        written = self._clock.monotonic()
        await self._readers.run(reads.read_meta, "probe")
        return (written - begun) * 1000, (self._clock.monotonic() - written) * 1000

    # --- tokens of the API

    async def add_token(self, token: ApiToken) -> bool:
        """See the port."""
        row = (token.id, token.digest, iso(token.created_at), document(token))
        return await self._writer.run(lambda db: sqlite_tokens.add(db, row))

    async def token(self, token_id: TokenId) -> ApiToken | None:
        """See the port."""
        return await self._readers.run(sqlite_tokens.read, token_id)

    async def tokens(self, limit: int = 1000) -> Sequence[ApiToken]:
        """See the port."""
        return await self._readers.run(sqlite_tokens.read_newest, limit)

    async def live_tokens(self) -> Sequence[ApiToken]:
        """See the port."""
        return await self._readers.run(sqlite_tokens.read_live)

    async def bind_token(self, token_id: TokenId, bridge_id: BridgeId) -> ApiToken | None:
        """See the port."""
        return await self._writer.run(partial(sqlite_tokens.bind, token_id=token_id, bridge_id=bridge_id))

    async def revoke_token(self, token_id: TokenId, at: datetime) -> ApiToken | None:
        """See the port."""
        return await self._writer.run(partial(sqlite_tokens.revoke, token_id=token_id, at=at))

    async def note_token_use(self, used_at: Mapping[TokenId, datetime]) -> None:
        """See the port."""
        if used_at:
            await self._writer.run(partial(sqlite_tokens.note_use, used_at=used_at))

    async def add_login(self, login: Login) -> None:
        """See the port."""
        row = (login.id, iso(login.created_at), document(login))
        await self._writer.run(lambda db: sqlite_tokens.add_login(db, row))

    async def logins(self, limit: int = 20_000) -> Sequence[Login]:
        """See the port."""
        return await self._readers.run(sqlite_tokens.read_logins, limit)

    async def remove_logins(self, ids: Sequence[str]) -> None:
        """See the port."""
        if ids:
            await self._writer.run(partial(sqlite_tokens.remove_logins, ids=ids))

    # --- what nothing needs any more

    async def use_attachments(
        self, conversation_id: ConversationId, attachment_ids: Sequence[AttachmentId]
    ) -> Sequence[AttachmentId]:
        """See the port."""
        now = iso(self._clock.now())
        return await self._writer.run(lambda db: cleaning.use_attachments(db, conversation_id, attachment_ids, now))

    async def remove_unused_attachments(self, before: datetime, limit: int) -> Swept:
        """See the port."""
        return await self._writer.run(lambda db: cleaning.judge_attachments(db, iso(before), limit))

    async def remove_stray_content(self, before: datetime, limit: int, after: str | None = None) -> Swept:
        """See the port: an attachment and its bytes are one row."""
        return Swept(looked_at=0, removed=0)

    async def remove_ended_journals(self, limit: int, after: str | None = None) -> Swept:
        """See the port."""
        return await self._writer.run(lambda db: cleaning.remove_ended_journals(db, limit, after))

    async def unchanged_conversations(
        self, status: ConversationStatus, before: datetime, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Conversation]:
        """See the port."""
        position = None if cursor is None else cleaning.decode_unchanged_cursor(cursor)
        return await self._readers.run(cleaning.list_unchanged, status, iso(before), position, limit)


def _encoded(change: Change) -> Encoded | Refused:
    try:
        return encode_change(change)
    except (TypeError, ValueError):  # orjson's for lone surrogates and numbers beyond 64 bits
        return Refused("it holds a value that cannot be stored")
