"""Making, listing, changing and deleting conversations."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from baton.core.commands import (
    UNSET,
    CreateConversation,
    ForkConversation,
    Identity,
    PatchConversation,
)
from baton.core.errors import Conflict, Draining, NotFound
from baton.core.events import (
    ConversationCreated,
    ConversationDeleted,
    ConversationUpdated,
    SessionChanged,
)
from baton.core.ids import AttachmentId, ConversationId, MessageId, ProjectId, derived_object_id, new_object_id
from baton.core.limits import Limits
from baton.core.models import (
    Conversation,
    ConversationStatus,
    Message,
    MessageStatus,
    PermissionMode,
)
from baton.core.permissions import Action
from baton.core.ports import Store
from baton.core.stored import ConversationFilter, Page
from baton.services.asking import Asking
from baton.services.dispatch import Dispatcher
from baton.services.drafts import Draft
from baton.services.importing import named_attachments
from baton.services.judging import Judge
from baton.services.lanes import Lanes, RequestKnown
from baton.services.making import new_conversation
from baton.services.memory import Memory
from baton.services.modes import change_mode, check_bypass, lasting_mode
from baton.services.ownership import Ownership, owns, seen_by
from baton.services.runs import end_open_runs
from baton.services.trail import Trail

logger = logging.getLogger(__name__)

_COPY_BATCH: Final = 200
_LIST_LIMIT: Final = 1000


class Conversations:
    """See the module."""

    def __init__(
        self,
        *,
        store: Store,
        lanes: Lanes,
        ownership: Ownership,
        trail: Trail,
        dispatcher: Dispatcher,
        judge: Judge,
        asking: Asking,
        limits: Limits,
    ) -> None:
        self._ownership = ownership
        self._trail = trail
        self._store = store
        self._lanes = lanes
        self._dispatcher = dispatcher
        self._judge = judge
        self._asking = asking
        self._limits = limits

    # --- reading -----------------------------------------------------------------------------------------------

    async def get(self, who: Identity, conversation_id: ConversationId) -> Conversation:
        """The conversation, deleted ones too. Raises NotFound."""
        if self._lanes.peek(conversation_id) is not None:
            # The seq of one that streams moves with its journal, not with its document; and what is being written
            # at this moment must not be told.
            async with self._ownership.turn(who, conversation_id) as memory:
                return memory.conversation
        return await self._ownership.conversation(who, conversation_id)

    async def page(
        self, who: Identity, where: ConversationFilter, *, cursor: str | None, limit: int
    ) -> Page[Conversation]:
        """Theirs, most recently updated first; of another user there are none. Raises InvalidRequest for a cursor that
        is not ours."""
        if where.user_id is not None and not owns(who, where.user_id):
            return Page(items=(), next=None)
        mine = replace(where, user_id=where.user_id or seen_by(who))
        return await self._store.conversations(mine, cursor=cursor, limit=limit)

    async def exists(self, who: Identity, conversation_id: ConversationId) -> bool:
        """Whether it can be joined."""
        conversation = await self._store.conversation(conversation_id)
        is_theirs = self._ownership.is_theirs(who, conversation)
        return is_theirs and conversation is not None and conversation.status is not ConversationStatus.DELETED

    # --- making ------------------------------------------------------------------------------------------------

    async def create(self, who: Identity, command: CreateConversation) -> Conversation:
        """An empty conversation; the same requestId again gives the same one. Raises NotFound for the project."""
        if self._dispatcher.is_draining:
            raise Draining("The server is restarting; try again in a moment")
        await self._check_project(command.project_id)
        conversation_id = ConversationId(
            derived_object_id("create", who.user_id, command.request_id) if command.request_id else new_object_id()
        )
        check_bypass(self._judge, command.permission_mode, command.bridge_id)
        conversation = new_conversation(who, command, conversation_id, self._lanes.now(), self._limits.bypass_s)
        try:
            return await self._make(conversation)
        except RequestKnown:
            stored = await self.get(who, conversation_id)
            if not _is_same_creation(stored, conversation):
                raise Conflict("This requestId made another conversation; use a new one") from None
            return stored

    async def fork(self, who: Identity, command: ForkConversation) -> Conversation:
        """A copy up to and with a message; its first run forks the agent's session. Raises NotFound."""
        source = await self.get(who, command.conversation_id)
        last_ordinal = await self._ordinal_of(command)
        now = self._lanes.now()
        copy = replace(
            new_conversation(who, CreateConversation(), ConversationId(new_object_id()), now, self._limits.bypass_s),
            # In the bin until it is whole, so that half of one is never seen.
            status=ConversationStatus.DELETED,
            deleted_at=now,
            project_id=source.project_id,
            title=f"{source.title} (fork)" if source.title else "",
            agent=source.agent,
            model=source.model,
            permission_mode=lasting_mode(source),
            bridge_id=source.bridge_id,
            working_directory=source.working_directory,
            claude_session_id=source.claude_session_id,
            fork_session=source.claude_session_id is not None,
        )
        await self._make(copy)
        await self._copy_messages(source.id, copy.id, last_ordinal)
        async with self._lanes.turn(copy.id) as memory:
            draft = self._lanes.draft(memory)
            draft.store_conversation(replace(memory.conversation, status=ConversationStatus.ACTIVE, deleted_at=None))
            draft.tell_all(ConversationCreated(memory.conversation))
            await self._lanes.commit(draft)
            return memory.conversation

    async def _make(self, conversation: Conversation) -> Conversation:
        async with self._lanes.new(conversation) as memory:
            draft = self._lanes.draft(memory)
            draft.is_new = True
            draft.store_conversation()
            if conversation.status is ConversationStatus.ACTIVE:
                draft.tell_all(ConversationCreated(conversation))
            await self._lanes.commit(draft)
            return memory.conversation

    async def _ordinal_of(self, command: ForkConversation) -> int | None:
        if command.at_message_id is None:
            return None
        message = await self._store.message(command.at_message_id)
        if message is None or message.conversation_id != command.conversation_id:
            raise NotFound("There is no such message in this conversation")
        return message.ordinal

    async def _copy_messages(self, source: ConversationId, target: ConversationId, last_ordinal: int | None) -> None:
        after = 0
        while True:
            page = await self._store.history(source, after=after, limit=_COPY_BATCH)
            wanted = [stored for stored in page if last_ordinal is None or stored.ordinal <= last_ordinal]
            originals = [await self._store.message(stored.id) for stored in wanted]
            await self._store.use_attachments(target, _attachments_of(originals))
            async with self._lanes.turn(target) as memory:
                draft = self._lanes.draft(memory)
                for original in originals:
                    if original is not None and original.status is not MessageStatus.SENDING:
                        draft.store_message(_copy_of(original, draft))
                draft.store_conversation()
                await self._lanes.commit(draft)
            if len(wanted) < _COPY_BATCH:
                return
            after = wanted[-1].ordinal

    # --- changing ----------------------------------------------------------------------------------------------

    async def patch(self, who: Identity, conversation_id: ConversationId, command: PatchConversation) -> Conversation:
        """Change properties. Raises NotFound (also for the project)."""
        changes = {
            name: value
            for name in ("title", "project_id", "agent", "model", "working_directory", "bridge_id")
            if (value := getattr(command, name)) is not UNSET
        }
        await self._check_project(changes.get("project_id"))
        async with self._ownership.turn(who, conversation_id) as memory:
            _check_not_deleted(memory)
            return await self._store_changed(memory, replace(memory.conversation, **changes))

    async def archive(self, who: Identity, conversation_id: ConversationId) -> Conversation:
        """Out of the list, still there. Raises NotFound."""
        async with self._ownership.turn(who, conversation_id) as memory:
            _check_not_deleted(memory)
            return await self._store_changed(memory, replace(memory.conversation, status=ConversationStatus.ARCHIVED))

    async def restore(self, who: Identity, conversation_id: ConversationId) -> Conversation:
        """Back from the archive or the bin. Raises NotFound once it is gone for good."""
        async with self._ownership.turn(who, conversation_id) as memory:
            restored = replace(memory.conversation, status=ConversationStatus.ACTIVE, deleted_at=None)
            return await self._store_changed(memory, restored, by=who)

    async def delete(self, who: Identity, conversation_id: ConversationId) -> Conversation:
        """Into the bin, from which it can be restored for 30 days; its open runs end as aborted. Raises NotFound."""
        async with self._ownership.turn(who, conversation_id) as memory:
            if memory.conversation.status is not ConversationStatus.DELETED:
                await self._put_into_bin(memory, who)
            return memory.conversation

    async def retire(self, conversation_id: ConversationId, *, unchanged_since: datetime) -> bool:
        """Into the bin, where nothing runs and nothing has changed since then; whether it went. Raises NotFound."""
        async with self._lanes.turn(conversation_id) as memory:
            conversation = memory.conversation
            is_deleted = conversation.status is ConversationStatus.DELETED
            if is_deleted or memory.runs or conversation.updated_at > unchanged_since:
                return False
            await self._put_into_bin(memory, None)
            return True

    async def purge(self, conversation_id: ConversationId, *, deleted_by: datetime) -> bool:
        """Remove for good what has been in the bin since then; whether it went. Raises NotFound.

        Holds the lane to the end: who restores it meanwhile gets NotFound, and who came before keeps all of it.
        """
        async with self._lanes.turn(conversation_id) as memory:
            conversation = memory.conversation
            if conversation.status is not ConversationStatus.DELETED:
                return False
            if (conversation.deleted_at or conversation.updated_at) > deleted_by:
                return False
            await self._lanes.purge(memory)
        logger.info("conversation purged", extra={"action": "conversation.purged", "conversationId": conversation_id})
        return True

    async def _put_into_bin(self, memory: Memory, who: Identity | None) -> None:
        """`who` deletes it; None: nobody has touched it for so long that the server does."""
        conversation_id = memory.conversation_id
        draft = self._lanes.draft(memory)
        end_open_runs(draft)
        draft.store_conversation(replace(memory.conversation, status=ConversationStatus.DELETED, deleted_at=draft.now))
        conversation = memory.conversation
        draft.tell_all(ConversationDeleted(conversation_id, conversation.project_id, conversation.user_id))
        draft.note(self._trail.entry(who, Action.CONVERSATION_DELETED, conversation=conversation))
        await self._lanes.commit(draft)
        logger.info("conversation deleted", extra={"action": "conversation.deleted", "conversationId": conversation_id})

    # --- session and mode --------------------------------------------------------------------------------------

    async def set_session(self, who: Identity, conversation_id: ConversationId, session_id: str | None) -> Conversation:
        """The session the next run resumes; None: it starts a new one, the history stays. Raises NotFound."""
        async with self._ownership.turn(who, conversation_id) as memory:
            _check_not_deleted(memory)
            if memory.conversation.claude_session_id == session_id:
                return memory.conversation
            draft = self._lanes.draft(memory)
            draft.store_conversation(replace(memory.conversation, claude_session_id=session_id, fork_session=False))
            draft.tell(SessionChanged(session_id))
            await self._lanes.commit(draft)
            return memory.conversation

    async def clear_sessions(self, who: Identity) -> int:
        """The next run of each of theirs starts a new session; how many had one."""
        cleared = 0
        for status in (ConversationStatus.ACTIVE, ConversationStatus.ARCHIVED):
            cursor: str | None = None
            while True:
                page = await self.page(who, ConversationFilter(status=status), cursor=cursor, limit=200)
                for conversation in page.items:
                    if conversation.claude_session_id is not None:
                        await self.set_session(who, conversation.id, None)
                        cleared += 1
                cursor = page.next
                if cursor is None:
                    break
        await self._trail.note(who, Action.SESSIONS_CLEARED, subject=str(cleared))
        return cleared

    async def mode(self, who: Identity, conversation_id: ConversationId) -> PermissionMode:
        """Raises NotFound."""
        return (await self.get(who, conversation_id)).permission_mode

    async def set_mode(self, who: Identity, conversation_id: ConversationId, mode: PermissionMode) -> PermissionMode:
        """Store it, tell the room and the running agent, and answer what waits and is decided by it.

        `bypassPermissions` lasts for `bypass_s`; asked for again, it lasts that long from now. Raises NotFound,
        Conflict where the bridge does not allow it.
        """
        async with self._ownership.turn(who, conversation_id) as memory:
            _check_not_deleted(memory)
            is_bypass = mode is PermissionMode.BYPASS
            if is_bypass:
                check_bypass(self._judge, mode, memory.conversation.bridge_id)
            active = memory.active()
            is_same = active is None or active.run.request.permission_mode in (None, mode)
            if memory.conversation.permission_mode is mode and is_same and not is_bypass:
                return mode
            draft = self._lanes.draft(memory)
            until = draft.now + timedelta(seconds=self._limits.bypass_s) if is_bypass else None
            change_mode(draft, mode, by=who.user_id, bypass_until=until)
            draft.note(
                self._trail.entry(who, Action.MODE_CHANGED, conversation=memory.conversation, subject=mode.value)
            )
            self._asking.look_again(draft)
            await self._lanes.commit(draft)
            return mode

    # --- parts -------------------------------------------------------------------------------------------------

    async def _store_changed(self, memory: Memory, changed: Conversation, by: Identity | None = None) -> Conversation:
        """`by`: who brings it back, where that is what changes."""
        if changed == memory.conversation:
            return changed
        draft = self._lanes.draft(memory)
        if by is not None:
            draft.note(self._trail.entry(by, Action.CONVERSATION_RESTORED, conversation=changed))
        draft.store_conversation(replace(changed, updated_at=draft.now))
        draft.tell_all(ConversationUpdated(memory.conversation))
        # In another project other grants reach it: what waits may need no person there.
        self._asking.look_again(draft)
        self._dispatcher.advance(draft)
        await self._lanes.commit(draft)
        return memory.conversation

    async def _check_project(self, project_id: ProjectId | None) -> None:
        if project_id is not None and await self._store.project(project_id) is None:
            raise NotFound("There is no such project")


def _check_not_deleted(memory: Memory) -> None:
    if memory.conversation.status is ConversationStatus.DELETED:
        raise NotFound("The conversation is deleted; restore it to go on")


def _is_same_creation(stored: Conversation, asked: Conversation) -> bool:
    """Whether the same creation was asked: what may have changed since does not count."""
    return (stored.project_id, stored.user_id) == (asked.project_id, asked.user_id)


def _attachments_of(messages: Sequence[Message | None]) -> list[AttachmentId]:
    named = {name: None for message in messages if message is not None for name in named_attachments(message)}
    return list(named)


def _copy_of(original: Message, draft: Draft) -> Message:
    return replace(
        original,
        id=MessageId(new_object_id()),
        conversation_id=draft.memory.conversation.id,
        request_id=None,
        ordinal=draft.next_ordinal(),
        seq=draft.next_seq(),
        covers_bridge_seq=0,
        updated_at=draft.now,
    )
