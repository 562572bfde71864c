"""Stores that fail, hold or die at a moment a test chooses, in front of a real one."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from baton.core.errors import StoreUnavailable
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
from baton.core.ports import Store
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
from baton.core.tokens import ApiToken, Login


class StoreInFront(Store):
    """Hands every verb on to the store behind it; subclasses change what they are about."""

    def __init__(self, behind: Store) -> None:
        self.behind = behind

    async def open(self) -> None:
        await self.behind.open()

    async def close(self) -> None:
        await self.behind.close()

    async def acquire_lease(self, holder: str) -> bool:
        return await self.behind.acquire_lease(holder)

    async def renew_lease(self) -> None:
        await self.behind.renew_lease()

    async def epoch(self) -> str:
        return await self.behind.epoch()

    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        return await self.behind.commit(changes)

    async def repair(self) -> int:
        return await self.behind.repair()

    async def open_conversations(self) -> Sequence[ConversationId]:
        return await self.behind.open_conversations()

    async def load_lane(self, conversation_id: ConversationId) -> LaneState | None:
        return await self.behind.load_lane(conversation_id)

    async def changes_after(self, conversation_id: ConversationId, after: int, limit: int) -> StoredChanges:
        return await self.behind.changes_after(conversation_id, after, limit)

    async def history(
        self,
        conversation_id: ConversationId,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> Sequence[StoredMessage]:
        return await self.behind.history(conversation_id, before=before, after=after, limit=limit)

    async def message(self, message_id: MessageId) -> Message | None:
        return await self.behind.message(message_id)

    async def run(self, request_id: RequestId) -> Run | None:
        return await self.behind.run(request_id)

    async def runs(
        self, statuses: frozenset[RunStatus], limit: int = 1000, *, user_id: UserId | None = None
    ) -> Sequence[Run]:
        return await self.behind.runs(statuses, limit, user_id=user_id)

    async def runs_of(
        self, conversation_id: ConversationId, request_ids: Sequence[RequestId]
    ) -> Mapping[RequestId, EncodedJson]:
        return await self.behind.runs_of(conversation_id, request_ids)

    async def prompt(self, prompt_id: PromptId) -> Prompt | None:
        return await self.behind.prompt(prompt_id)

    async def prompts(
        self,
        status: PromptStatus | None = None,
        conversation_id: ConversationId | None = None,
        limit: int = 1000,
        *,
        user_id: UserId | None = None,
    ) -> Sequence[Prompt]:
        return await self.behind.prompts(status, conversation_id, limit, user_id=user_id)

    async def conversation(self, conversation_id: ConversationId) -> Conversation | None:
        return await self.behind.conversation(conversation_id)

    async def conversations(
        self, where: ConversationFilter, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Conversation]:
        return await self.behind.conversations(where, cursor=cursor, limit=limit)

    async def note_seen(self, user_id: UserId, conversation_id: ConversationId, seq: int) -> bool:
        return await self.behind.note_seen(user_id, conversation_id, seq)

    async def seen(self, user_id: UserId, conversation_ids: Sequence[ConversationId]) -> Mapping[ConversationId, int]:
        return await self.behind.seen(user_id, conversation_ids)

    async def purge_conversation(self, conversation_id: ConversationId) -> None:
        await self.behind.purge_conversation(conversation_id)

    async def standing_grants(self, limit: int = 100_000) -> Sequence[Grant]:
        return await self.behind.standing_grants(limit)

    async def grants(
        self,
        conversation_id: ConversationId,
        project_id: ProjectId | None,
        limit: int = 1000,
        *,
        user_id: UserId | None = None,
    ) -> Sequence[Grant]:
        return await self.behind.grants(conversation_id, project_id, limit, user_id=user_id)

    async def grant(self, grant_id: GrantId) -> Grant | None:
        return await self.behind.grant(grant_id)

    async def audit(
        self,
        *,
        conversation_id: ConversationId | None = None,
        user_id: UserId | None = None,
        action: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[AuditEntry]:
        return await self.behind.audit(
            conversation_id=conversation_id, user_id=user_id, action=action, cursor=cursor, limit=limit
        )

    async def append_to_audit(self, entry: AuditEntry) -> None:
        await self.behind.append_to_audit(entry)

    async def remove_old_audit(self, before: datetime, limit: int) -> Swept:
        return await self.behind.remove_old_audit(before, limit)

    async def put_grant(self, grant: Grant) -> None:
        await self.behind.put_grant(grant)

    async def bypassing(self, limit: int = 10_000) -> Sequence[ConversationId]:
        return await self.behind.bypassing(limit)

    async def note_alive(self, at: datetime) -> None:
        await self.behind.note_alive(at)

    async def alive_at(self) -> datetime | None:
        return await self.behind.alive_at()

    async def put_project(self, project: Project) -> None:
        await self.behind.put_project(project)

    async def project(self, project_id: ProjectId) -> Project | None:
        return await self.behind.project(project_id)

    async def projects(self, limit: int = 1000) -> Sequence[Project]:
        return await self.behind.projects(limit)

    async def delete_project(self, project_id: ProjectId) -> bool:
        return await self.behind.delete_project(project_id)

    async def put_attachment(
        self, attachment: Attachment, content: bytes, *, used_by: ConversationId | None = None
    ) -> None:
        await self.behind.put_attachment(attachment, content, used_by=used_by)

    async def attachment(self, attachment_id: AttachmentId) -> Attachment | None:
        return await self.behind.attachment(attachment_id)

    async def is_used_by(self, attachment_id: AttachmentId, user_id: UserId) -> bool:
        return await self.behind.is_used_by(attachment_id, user_id)

    async def attachment_content(self, attachment_id: AttachmentId) -> bytes | None:
        return await self.behind.attachment_content(attachment_id)

    async def search(
        self,
        words: str,
        *,
        project_id: ProjectId | None = None,
        user_id: UserId | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> Page[SearchHit]:
        return await self.behind.search(words, project_id=project_id, user_id=user_id, cursor=cursor, limit=limit)

    async def counts(self) -> StoreCounts:
        return await self.behind.counts()

    async def series(self, span: Span) -> Sequence[Bucket]:
        return await self.behind.series(span)

    async def probe(self) -> tuple[float, float]:
        return await self.behind.probe()

    async def add_token(self, token: ApiToken) -> bool:
        return await self.behind.add_token(token)

    async def token(self, token_id: TokenId) -> ApiToken | None:
        return await self.behind.token(token_id)

    async def tokens(self, limit: int = 1000) -> Sequence[ApiToken]:
        return await self.behind.tokens(limit)

    async def live_tokens(self) -> Sequence[ApiToken]:
        return await self.behind.live_tokens()

    async def bind_token(self, token_id: TokenId, bridge_id: BridgeId) -> ApiToken | None:
        return await self.behind.bind_token(token_id, bridge_id)

    async def revoke_token(self, token_id: TokenId, at: datetime) -> ApiToken | None:
        return await self.behind.revoke_token(token_id, at)

    async def note_token_use(self, used_at: Mapping[TokenId, datetime]) -> None:
        await self.behind.note_token_use(used_at)

    async def add_login(self, login: Login) -> None:
        await self.behind.add_login(login)

    async def logins(self, limit: int = 20_000) -> Sequence[Login]:
        return await self.behind.logins(limit)

    async def remove_logins(self, ids: Sequence[str]) -> None:
        await self.behind.remove_logins(ids)

    async def use_attachments(
        self, conversation_id: ConversationId, attachment_ids: Sequence[AttachmentId]
    ) -> Sequence[AttachmentId]:
        return await self.behind.use_attachments(conversation_id, attachment_ids)

    async def remove_unused_attachments(self, before: datetime, limit: int) -> Swept:
        return await self.behind.remove_unused_attachments(before, limit)

    async def remove_stray_content(self, before: datetime, limit: int, after: str | None = None) -> Swept:
        return await self.behind.remove_stray_content(before, limit, after)

    async def remove_ended_journals(self, limit: int, after: str | None = None) -> Swept:
        return await self.behind.remove_ended_journals(limit, after)

    async def unchanged_conversations(
        self, status: ConversationStatus, before: datetime, *, cursor: str | None = None, limit: int = 50
    ) -> Page[Conversation]:
        return await self.behind.unchanged_conversations(status, before, cursor=cursor, limit=limit)


class HeldStore(StoreInFront):
    """Stops at a failpoint in `commit`: before the write, or after it and before the caller learns of it.

    `reached` is set when a commit stands there; `held` are the changes of the last one. Many commits may be held
    at once; on `release` they go on in the order in which they came.
    """

    def __init__(self, behind: Store) -> None:
        super().__init__(behind)
        self.reached = asyncio.Event()
        self.held: Sequence[Change] = ()
        self._gate = asyncio.Event()
        self._gate.set()
        self._is_after_write = False

    def hold(self, *, after_write: bool = False) -> None:
        """Hold every commit from now on."""
        self._is_after_write = after_write
        self.reached.clear()
        self._gate.clear()

    def release(self) -> None:
        """Let those that are held, and later ones, go on."""
        self._gate.set()

    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        if not self._is_after_write:
            await self._pass_gate(changes)
        outcomes = await self.behind.commit(changes)
        if self._is_after_write:
            await self._pass_gate(changes)
        return outcomes

    async def _pass_gate(self, changes: Sequence[Change]) -> None:
        if not self._gate.is_set():
            self.held = changes
            self.reached.set()
            await self._gate.wait()


class SimulatedCrashError(Exception):
    """The process died here, as far as the store is concerned: no later commit reaches the disk either."""


class StumblingStore(StoreInFront):
    """Raises these in its next commits, one each."""

    def __init__(self, behind: Store) -> None:
        super().__init__(behind)
        self.raises: list[Exception] = []

    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        if self.raises:
            raise self.raises.pop(0)
        return await super().commit(changes)


class FaultyStore(StoreInFront):
    """Fails some commits, as a full disk does, or dies at one of them, as a killed process does.

    `commits` counts all calls, so that a test can first watch a scenario and then crash at each of its commits.
    """

    def __init__(self, behind: Store) -> None:
        super().__init__(behind)
        self.commits = 0
        self.is_dead = False
        self._failures = 0
        self._stores_failures = False
        self._crash_at: int | None = None
        self._is_after_write = False

    def fail(self, times: int = 1, *, after_write: bool = False) -> None:
        """The next so many commits raise StoreUnavailable: nothing is stored, or (`after_write`) all of it is."""
        self._failures = times
        self._stores_failures = after_write

    def crash_at(self, number: int, *, after_write: bool = False) -> None:
        """Die at the commit of this number, counted from 1 and from the making of this object."""
        self._crash_at = number
        self._is_after_write = after_write

    async def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        self.commits += 1
        if self.is_dead:
            raise SimulatedCrashError
        if self._failures > 0:
            self._failures -= 1
            if self._stores_failures:
                await self.behind.commit(changes)
            raise StoreUnavailable("The disk is full (a test says so)")
        if self.commits != self._crash_at:
            return await self.behind.commit(changes)
        self.is_dead = True
        if self._is_after_write:
            await self.behind.commit(changes)
        raise SimulatedCrashError
