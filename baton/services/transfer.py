"""Conversations out of Baton and in again: exported as JSON or Markdown, imported as JSON.

Exports are made page by page and are never whole in memory; imports are judged whole before anything is written.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any, Final

import orjson

from baton.core.commands import Identity
from baton.core.errors import Conflict
from baton.core.events import ConversationCreated
from baton.core.ids import AttachmentId, ConversationId, RequestId
from baton.core.limits import Limits
from baton.core.models import Attachment, Conversation, Message
from baton.core.permissions import Action
from baton.core.ports import Clock, Publisher, Store
from baton.core.stored import Committed, StoredMessage
from baton.schemas.codec import from_document, to_wire, to_wire_json
from baton.schemas.fields import load
from baton.schemas.transfer import FORMAT, VERSION, Document, DocumentSchema
from baton.services.importing import Import, named_attachments, plan_import
from baton.services.markdown import conversation_head, message_section
from baton.services.ownership import Ownership
from baton.services.trail import Trail

logger = logging.getLogger(__name__)

_PAGE: Final = 20
"""Messages read at once: each can have 4 MiB."""
_MAX_PROMPTS: Final = 10_000
"""Prompts in one export: the newest."""
_CHANGES_AT_ONCE: Final = 20


class Transfer:
    """See the module."""

    def __init__(
        self,
        *,
        store: Store,
        ownership: Ownership,
        trail: Trail,
        publisher: Publisher,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._trail = trail
        self._ownership = ownership
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._limits = limits

    # --- out ---------------------------------------------------------------------------------------------------

    async def stream_json(self, who: Identity, conversation_id: ConversationId) -> AsyncGenerator[bytes]:
        """The document of `schemas.transfer`, piece by piece; the same stored conversation gives the same bytes.

        Raises NotFound before the first piece. What is said while it is read may be in it or not.
        """
        conversation = await self._to_be_exported(who, conversation_id, "json")
        head = f'{{"format":"{FORMAT}","version":{VERSION},"conversation":'
        yield head.encode() + to_wire_json(conversation) + b',"messages":['
        named = _Named()
        async for page in self._pages(conversation_id):
            yield b",".join([b""] * named.has_messages + [message.json for message in page])
            named.note(page)
        async for piece in self._stream_runs(named.requests):
            yield piece
        prompts = await self._store.prompts(conversation_id=conversation_id, limit=_MAX_PROMPTS)
        yield b'],"prompts":[' + b",".join(to_wire_json(prompt) for prompt in reversed(prompts))
        async for piece in self._stream_files(named.attachments):
            yield piece
        yield b"]}\n"

    async def stream_markdown(self, who: Identity, conversation_id: ConversationId) -> AsyncGenerator[bytes]:
        """The conversation for people, piece by piece. Raises NotFound before the first piece."""
        yield conversation_head(await self._to_be_exported(who, conversation_id, "md")).encode()
        async for page in self._pages(conversation_id):
            yield "".join(message_section(_decoded(message)) for message in page).encode()

    async def export_json(self, who: Identity, conversation_id: ConversationId) -> dict[str, Any]:
        """The whole document. Raises NotFound."""
        pieces = [piece async for piece in self.stream_json(who, conversation_id)]
        document: dict[str, Any] = orjson.loads(b"".join(pieces))
        return document

    async def export_markdown(self, who: Identity, conversation_id: ConversationId) -> str:
        """The whole text. Raises NotFound."""
        pieces = [piece async for piece in self.stream_markdown(who, conversation_id)]
        return b"".join(pieces).decode()

    async def _to_be_exported(self, who: Identity, conversation_id: ConversationId, form: str) -> Conversation:
        conversation = await self._ownership.conversation(who, conversation_id)
        # Before the first piece leaves: what was cut short has been read all the same.
        await self._trail.note(who, Action.CONVERSATION_EXPORTED, conversation=conversation, subject=form)
        return conversation

    async def _pages(self, conversation_id: ConversationId) -> AsyncIterator[tuple[StoredMessage, ...]]:
        """All stored messages by ordinal, some at a time."""
        after = 0
        while page := await self._store.history(conversation_id, after=after, limit=_PAGE):
            yield tuple(page)
            after = page[-1].ordinal

    async def _stream_runs(self, requests: Iterable[RequestId]) -> AsyncIterator[bytes]:
        yield b'],"runs":['
        comma = b""
        for request_id in requests:
            run = await self._store.run(request_id)
            if run is not None:
                yield comma + to_wire_json(run)
                comma = b","

    async def _stream_files(self, attachments: Iterable[AttachmentId]) -> AsyncIterator[bytes]:
        yield b'],"attachments":['
        comma = b""
        for attachment_id in attachments:
            attachment = await self._store.attachment(attachment_id)
            if attachment is not None:
                content = await self._store.attachment_content(attachment_id)
                yield comma + await asyncio.to_thread(_file_json, attachment, content)
                comma = b","

    # --- in ----------------------------------------------------------------------------------------------------

    async def import_document(self, who: Identity, document: object) -> Conversation:
        """Make a conversation of an exported document, under new ids.

        All or nothing as far as anybody can see: until its last write it lies in the bin. Raises InvalidRequest
        (`fields`), TooLarge for a message over its limit, Conflict where the store refuses it.
        """
        plan = await self._plan(who, document)
        for file in plan.files:
            if file.content is not None:
                await self._store.put_attachment(file.attachment, file.content, used_by=plan.conversation.id)
        await self._write(plan)
        self._publisher.publish([ConversationCreated(plan.conversation)])
        logger.info(
            "💾 conversation imported",
            extra={"action": "conversation.imported", "conversationId": plan.conversation.id},
        )
        return plan.conversation

    async def _plan(self, who: Identity, raw: object) -> Import:
        # Judging a large document takes a second: in a thread, so that streams go on meanwhile.
        document: Document = await asyncio.to_thread(load, DocumentSchema(), raw)
        project_id = document.conversation.project_id
        if project_id is not None and await self._store.project(project_id) is None:
            project_id = None
        return await asyncio.to_thread(
            plan_import,
            document,
            who,
            project_id=project_id,
            at=self._clock.now(),
            most_bytes=self._limits.message_max_bytes,
        )

    async def _write(self, plan: Import) -> None:
        for start in range(0, len(plan.changes), _CHANGES_AT_ONCE):
            outcomes = await self._store.commit(plan.changes[start : start + _CHANGES_AT_ONCE])
            if not all(isinstance(outcome, Committed) for outcome in outcomes):
                await self._store.purge_conversation(plan.conversation.id)
                raise Conflict("The document cannot be stored; nothing of it was kept")


class _Named:
    """What the messages of an export lead to, each once, in the order of the messages."""

    def __init__(self) -> None:
        self.requests: dict[RequestId, None] = {}
        self.attachments: dict[AttachmentId, None] = {}
        self.has_messages = False

    def note(self, page: Iterable[StoredMessage]) -> None:
        """Add what these messages name."""
        self.has_messages = True
        for stored in page:
            message = _decoded(stored)
            if message.request_id is not None:
                self.requests[message.request_id] = None
            self.attachments.update(dict.fromkeys(named_attachments(message)))


def _decoded(stored: StoredMessage) -> Message:
    return from_document(Message, orjson.loads(stored.json))


def _file_json(attachment: Attachment, content: bytes | None) -> bytes:
    text = None if content is None else base64.b64encode(content).decode("ascii")
    return orjson.dumps({**to_wire(attachment), "content": text})
