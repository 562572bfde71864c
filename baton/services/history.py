"""An agent's own sessions as conversations: which there are on a bridge, and one of them, brought in to go on with.

Read page by page and written page by page, so that a session of any size takes little memory. What a bridge answers
is judged before any of it is stored.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import orjson

from baton.core.commands import Identity, ImportSession
from baton.core.errors import AgentFailed, Conflict, InvalidRequest, NoBridge, NotFound
from baton.core.events import ConversationCreated
from baton.core.ids import (
    MAX_FOREIGN_ID_LENGTH,
    BridgeId,
    ConversationId,
    MessageId,
    ProjectId,
    UserId,
    new_object_id,
)
from baton.core.limits import Limits
from baton.core.models import (
    Block,
    Conversation,
    ConversationStatus,
    Message,
    MessageStatus,
    Role,
    TextBlock,
    ToolUseBlock,
    Usage,
)
from baton.core.ports import BridgeLink, Clock, Publisher, Store
from baton.core.stored import Change, Committed, ConversationFilter
from baton.core.text import Json
from baton.core.transcript import content_of
from baton.schemas.codec import to_document
from baton.schemas.fields import Payload, load
from baton.schemas.sessions import (
    AgentSession,
    SessionList,
    SessionListSchema,
    SessionPage,
    SessionPageSchema,
    ToldMessage,
)
from baton.services.making import title_of
from baton.services.ownership import seen_by

logger = logging.getLogger(__name__)

AGENT: Final = "claude"
"""Whose sessions these are."""
CALL_TIMEOUT_S: Final = 30.0
"""For one page of a large session on a slow disk."""
PAGE_MESSAGES: Final = 200

ReadPage = Callable[[str | None], Awaitable[SessionPage]]
"""The page at this cursor (None: the first). Raises NotFound where there is no such session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The conversation, and whether it was made just now."""

    conversation: Conversation
    is_new: bool
    message_count: int


class SessionImporter:
    """Makes conversations of sessions, from wherever they are read."""

    def __init__(self, *, store: Store, publisher: Publisher, clock: Clock, limits: Limits) -> None:
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._limits = limits
        self._importing: set[tuple[UserId, str]] = set()

    async def bring_in(
        self,
        who: Identity,
        session_id: str,
        read: ReadPage,
        *,
        bridge_id: BridgeId | None = None,
        project_id: ProjectId | None = None,
    ) -> Imported:
        """The session as a conversation whose next run goes on with it; the one of theirs that has it, where one does.

        All or nothing as far as anybody can see. `bridge_id` None: any bridge may go on with it. Raises what `read`
        raises, Conflict while they are importing it, NotFound where nothing was said.
        """
        where = ConversationFilter(session_id=session_id, user_id=seen_by(who))
        known = await self._store.conversations(where, limit=1)
        if known.items:
            return Imported(conversation=known.items[0], is_new=False, message_count=known.items[0].ordinal)
        importing = (who.user_id, session_id)
        if importing in self._importing:
            raise Conflict("This session is being imported")
        self._importing.add(importing)
        try:
            first = await read(None)
            writing = _Writing(
                self._store, self._limits, _empty(who, first.session, bridge_id, project_id, self._clock)
            )
            conversation = await writing.write(_pages(first, read))
        finally:
            self._importing.discard(importing)
        self._publisher.publish([ConversationCreated(conversation)])
        logger.info(
            "💾 session imported",
            extra={
                "action": "session.imported",
                "conversationId": conversation.id,
                "sessionId": session_id,
                "messages": conversation.ordinal,
            },
        )
        return Imported(conversation=conversation, is_new=True, message_count=conversation.ordinal)


class History:
    """See the module."""

    def __init__(self, *, store: Store, publisher: Publisher, link: BridgeLink, clock: Clock, limits: Limits) -> None:
        self._store = store
        self._link = link
        self._importer = SessionImporter(store=store, publisher=publisher, clock=clock, limits=limits)

    async def sessions(
        self,
        who: Identity,
        *,
        bridge_id: BridgeId | None,
        working_directory: str | None,
        cursor: str | None,
        limit: int | None,
    ) -> SessionList:
        """A page of Claude's own sessions of a folder, without those that another user's conversation goes on in.

        Raises NoBridge, AgentFailed, Unavailable.
        """
        params: Json = {"agent": AGENT, "workingDirectory": working_directory, "cursor": cursor, "limit": limit}
        answer = await self._link.call(self._bridge(bridge_id), "sessions.list", params, CALL_TIMEOUT_S)
        found: SessionList = _judged(SessionListSchema(), answer)
        if who.is_admin:
            return found
        theirs = [session for session in found.sessions if not await self._is_anothers(who, session.session_id)]
        return replace(found, sessions=tuple(theirs))

    async def import_session(self, who: Identity, command: ImportSession) -> Imported:
        """The session as a conversation whose next run goes on with it; the one that has it already, where one does.

        All or nothing as far as anybody can see. Raises NoBridge, NotFound, Conflict while it is being imported.
        """
        bridge_id = self._bridge(command.bridge_id)

        async def read(cursor: str | None) -> SessionPage:
            params: Json = {
                "agent": AGENT,
                "workingDirectory": command.working_directory,
                "sessionId": command.session_id,
                "cursor": cursor,
                "limit": PAGE_MESSAGES,
            }
            answer = await self._link.call(bridge_id, "sessions.read", params, CALL_TIMEOUT_S)
            # In a thread, so that streams go on while megabytes are judged.
            page: SessionPage = await asyncio.to_thread(_judged, SessionPageSchema(), answer)
            return page

        if await self._is_anothers(who, command.session_id):
            raise NotFound("There is no such session")
        project_id = command.project_id
        if project_id is not None and await self._store.project(project_id) is None:
            raise NotFound("There is no such project")
        return await self._importer.bring_in(who, command.session_id, read, bridge_id=bridge_id, project_id=project_id)

    async def _is_anothers(self, who: Identity, session_id: str) -> bool:
        """Whether other users' conversations go on in this session, and none of theirs."""
        for user_id in (seen_by(who), None):
            where = ConversationFilter(session_id=session_id, user_id=user_id)
            if (await self._store.conversations(where, limit=1)).items:
                return user_id is None and not who.is_admin
        return False

    def _bridge(self, asked: BridgeId | None) -> BridgeId:
        connected = [bridge.id for bridge in self._link.presence() if bridge.connected]
        if asked is not None:
            if asked not in connected:
                raise NoBridge(f"The bridge {asked} is not connected")
            return asked
        if len(connected) > 1:
            raise InvalidRequest("Several bridges are connected: name one", fields={"bridgeId": ["Missing."]})
        if not connected:
            raise NoBridge
        return connected[0]


def _judged(schema: Payload, answer: object) -> Any:
    """What the schema makes of a bridge's answer. Raises AgentFailed: the person who asked did nothing wrong."""
    try:
        return load(schema, answer)
    except InvalidRequest as invalid:
        wrong = ", ".join(sorted(map(str, invalid.fields or ())))
        raise AgentFailed(f"The bridge answered with what the protocol does not have: {wrong}"[:500]) from invalid


async def _pages(first: SessionPage, read: ReadPage) -> AsyncIterator[SessionPage]:
    page = first
    yield page
    while page.next is not None:
        before = page.next
        page = await read(before)
        if page.next == before:
            raise Conflict("The bridge gives the same page again and again")
        yield page


def _empty(
    who: Identity, session: AgentSession, bridge_id: BridgeId | None, project_id: ProjectId | None, clock: Clock
) -> Conversation:
    """The conversation before its first message; in the bin until it is whole."""
    now = clock.now()
    return Conversation(
        id=ConversationId(new_object_id()),
        project_id=project_id,
        user_id=who.user_id,
        title=title_of(session.title) if session.title else "",
        status=ConversationStatus.DELETED,
        deleted_at=now,
        agent=AGENT,
        bridge_id=bridge_id,
        working_directory=session.working_directory,
        claude_session_id=session.session_id,
        seq=1,
        created_at=session.started_at or now,
        updated_at=session.updated_at or now,
    )


@dataclass(slots=True)
class _Writing:
    """One import under way. `conversation` is as it is stored, in the bin."""

    store: Store
    limits: Limits
    conversation: Conversation
    _last_at: datetime | None = None
    _usage: Usage = field(default_factory=Usage)

    async def write(self, pages: AsyncIterator[SessionPage]) -> Conversation:
        """Everything, and then the conversation out of the bin; nothing where it does not come to an end."""
        try:
            await self._commit(
                Change(conversation_id=self.conversation.id, conversation=self.conversation, is_new=True)
            )
            async for page in pages:
                await self._add(page)
            if self.conversation.ordinal == 0:
                raise NotFound("Nothing was said in this session")
            return await self._show()
        except BaseException:
            await self.store.purge_conversation(self.conversation.id)
            raise

    async def _add(self, page: SessionPage) -> None:
        messages = tuple(self._message(told, number) for number, told in enumerate(page.messages, 1))
        if not messages:
            return
        before = self.conversation
        self.conversation = replace(
            before,
            seq=before.seq + len(messages),
            ordinal=before.ordinal + len(messages),
            title=before.title or _first_words(messages),
            model=next((message.model for message in reversed(messages) if message.model), before.model),
        )
        await self._commit(
            Change(conversation_id=self.conversation.id, conversation=self.conversation, messages=messages)
        )

    async def _show(self) -> Conversation:
        seq = self.conversation.seq + 1
        # Lists are ordered by it: an old session does not come before what people work on now.
        at = self._last_at or self.conversation.updated_at
        shown = replace(
            self.conversation,
            seq=seq,
            status=ConversationStatus.ACTIVE,
            deleted_at=None,
            usage=self._usage,
            model=None,
            updated_at=at,
        )
        await self._commit(Change(conversation_id=shown.id, conversation=shown))
        return shown

    def _message(self, told: ToldMessage, number: int) -> Message:
        at = self._last_at = told.at or self._last_at or self.conversation.created_at
        self._usage += told.usage or Usage()
        blocks = tuple(_without_attachment(block) for block in told.blocks)
        message = Message(
            id=MessageId(new_object_id()),
            conversation_id=self.conversation.id,
            project_id=self.conversation.project_id,
            ordinal=self.conversation.ordinal + number,
            seq=self.conversation.seq + number,
            role=told.role,
            status=MessageStatus.COMPLETED,
            content=content_of(blocks, MessageStatus.COMPLETED),
            blocks=blocks,
            claude_message_id=told.id if told.id and len(told.id) <= MAX_FOREIGN_ID_LENGTH else None,
            model=told.model,
            session_id=self.conversation.claude_session_id,
            usage=told.usage if told.role is Role.ASSISTANT else None,
            timestamp=at,
            created_at=at,
            updated_at=at,
        )
        size = len(orjson.dumps(to_document(message)))
        if size <= self.limits.message_max_bytes:
            return message
        text = f"[A message of {size} bytes was left out: over the limit of {self.limits.message_max_bytes}]"
        return replace(message, content=text, blocks=(TextBlock(text),))

    async def _commit(self, change: Change) -> None:
        (outcome,) = await self.store.commit([change])
        if not isinstance(outcome, Committed):
            raise Conflict("The session cannot be stored; nothing of it was kept")


def _without_attachment(block: Block) -> Block:
    """A bridge cannot name attachments of ours."""
    return replace(block, attachment=None) if isinstance(block, ToolUseBlock) and block.attachment else block


def _first_words(messages: tuple[Message, ...]) -> str:
    return next((title_of(message.content) for message in messages if message.role is Role.USER), "")
