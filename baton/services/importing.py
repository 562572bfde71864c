"""From an exported conversation to what the store is to write: new ids, one order, nothing left open.

Pure: no store, no clock. What a document says about its own ids, users, sessions and bridges is not believed; what
was said, when, and how it ended is kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeVar

import orjson

from baton.core.commands import Identity
from baton.core.errors import InvalidRequest, TooLarge
from baton.core.ids import (
    AttachmentId,
    ConversationId,
    MessageId,
    ProjectId,
    PromptId,
    RequestId,
    is_object_id,
    new_object_id,
)
from baton.core.lifecycle import FINAL_RUN, end_prompt
from baton.core.models import (
    Attachment,
    Block,
    Conversation,
    ConversationState,
    ConversationStatus,
    Message,
    MessageStatus,
    PermissionMode,
    Prompt,
    PromptStatus,
    Role,
    Run,
    RunRequest,
    RunStatus,
    ToolUseBlock,
)
from baton.core.stored import Change, PromptMove
from baton.core.text import Json
from baton.schemas.codec import to_document
from baton.schemas.transfer import Document, StoredFile
from baton.services.attachments import safe_filename, safe_mime_type
from baton.services.spill import attachment_url

_BATCH_ITEMS: Final = 50
_BATCH_BYTES: Final = 4 << 20

Item = TypeVar("Item")


@dataclass(slots=True)
class _NewIds:
    """One new id for each old one."""

    ids: dict[str, str] = field(default_factory=dict)

    def of(self, old: str) -> str:
        return self.ids.setdefault(old, new_object_id())


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What is to be written: files first, then the changes in their order."""

    conversation: Conversation
    """As it is once everything is written."""
    files: tuple[StoredFile, ...]
    changes: tuple[Change, ...]


def plan_import(
    document: Document, who: Identity, *, project_id: ProjectId | None, at: datetime, most_bytes: int
) -> Import:
    """The new conversation. Until its last change it is in the bin, so that half of one is never seen.

    Raises InvalidRequest for parts that contradict each other, TooLarge for one over `most_bytes`.
    """
    return _Planner(document, who, project_id, at, most_bytes).plan()


class _Planner:
    def __init__(
        self, document: Document, who: Identity, project_id: ProjectId | None, at: datetime, most_bytes: int
    ) -> None:
        self._document = document
        self._who = who
        self._project_id = project_id
        self._at = at
        self._most_bytes = most_bytes
        self._id = ConversationId(new_object_id())
        self._messages = _NewIds()
        self._requests = _NewIds()
        self._gone = _NewIds()
        self._files = {file.attachment.id: _new_file(file, who, at) for file in document.files}
        self._seq = 0

    def plan(self) -> Import:
        messages = [self._message(old, ordinal) for ordinal, old in enumerate(self._document.messages, 1)]
        asked = {message.request_id: message for message in reversed(messages) if message.role is Role.USER}
        runs = [self._run(old, asked.get(RequestId(self._requests.of(old.request_id)))) for old in self._document.runs]
        prompts = [self._prompt(old) for old in self._document.prompts]
        changes = tuple(self._changes(messages, runs, prompts))
        whole = changes[-1].conversation
        assert whole is not None, "the last change makes the conversation visible"
        return Import(conversation=whole, files=tuple(self._files.values()), changes=changes)

    # --- values ---

    def _conversation(self, ordinal: int) -> Conversation:
        """Without session, bridge and bypass: those were another server's, or another conversation's."""
        old = self._document.conversation
        is_failed = old.state is ConversationState.FAILED
        return replace(
            old,
            id=self._id,
            project_id=self._project_id,
            user_id=self._who.user_id,
            status=ConversationStatus.ACTIVE if old.status is ConversationStatus.DELETED else old.status,
            permission_mode=_imported_mode(old.permission_mode),
            bypass_until=None,
            bridge_id=None,
            claude_session_id=None,
            state=ConversationState.FAILED if is_failed else ConversationState.IDLE,
            seq=self._next_seq(),
            ordinal=ordinal,
        )

    def _message(self, old: Message, ordinal: int) -> Message:
        return replace(
            old,
            id=MessageId(self._messages.of(old.id)),
            conversation_id=self._id,
            project_id=self._project_id,
            request_id=None if old.request_id is None else RequestId(self._requests.of(old.request_id)),
            ordinal=ordinal,
            seq=self._next_seq(),
            status=_final_status(old),
            blocks=tuple(self._block(block) for block in old.blocks),
            attachments=tuple(self._attachment(attachment) for attachment in old.attachments),
        )

    def _run(self, old: Run, asked: Message | None) -> Run:
        if (old.status is RunStatus.FAILED) != (old.error is not None):
            raise _contradiction("runs", "A run has an error exactly when it failed.")
        is_final = old.status in FINAL_RUN
        return replace(
            old,
            request_id=RequestId(self._requests.of(old.request_id)),
            conversation_id=self._id,
            seq=self._next_seq(),
            status=old.status if is_final else RunStatus.ABORTED,
            message_ids=tuple(MessageId(self._messages.of(name)) for name in old.message_ids),
            deadline_at=None,
            deadline_reason=None,
            finished_at=old.finished_at or self._document.conversation.updated_at,
            away=False,
            user_id=self._who.user_id,
            digest="imported",
            request=_request(old, asked),
        )

    def _prompt(self, old: Prompt) -> Prompt:
        new_id = PromptId(new_object_id())
        new = replace(
            old,
            id=new_id,
            conversation_id=self._id,
            project_id=self._project_id,
            request_id=RequestId(self._requests.of(old.request_id)),
            seq=self._next_seq(),
            timeout_at=None,
            # The grant stayed where it was given, and here its id names nothing.
            decision=None if old.decision is None else replace(old.decision, grant_id=None),
            bridge_prompt_id=new_id,
        )
        if new.status is not PromptStatus.PENDING:
            return new
        return end_prompt(new, PromptStatus.CANCELLED, handler="cleanup", at=self._document.conversation.updated_at)

    def _block(self, block: Block) -> Block:
        if not isinstance(block, ToolUseBlock):
            return block
        attachment = None if block.attachment is None else self._attachment_id(AttachmentId(block.attachment))
        return replace(block, attachment=attachment, input=self._tool_input(block.input))

    def _tool_input(self, raw: Json) -> Json:
        """A tool's input, with the new id where the old one names the attachment that holds its whole."""
        named = _spilled_input(raw)
        if named is None or not isinstance(raw, dict):
            return raw
        return {**raw, "attachment": self._attachment_id(named)}

    def _attachment(self, old: Attachment) -> Attachment:
        """The file as it will be stored; one that was gone already stays listed, and stays gone."""
        if old.id not in self._files:
            self._files[old.id] = _new_file(StoredFile(old, None), self._who, self._at)
        return self._files[old.id].attachment

    def _attachment_id(self, old: AttachmentId) -> AttachmentId:
        return self._files[old].attachment.id if old in self._files else AttachmentId(self._gone.of(old))

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    # --- changes ---

    def _changes(self, messages: Sequence[Message], runs: Sequence[Run], prompts: Sequence[Prompt]) -> Iterator[Change]:
        """Bounded ones: the conversation in the bin, messages, runs, prompts, then the conversation as it is."""
        whole = self._conversation(len(messages))
        self._size_of(whole)
        binned = replace(whole, status=ConversationStatus.DELETED, deleted_at=self._at)
        yield Change(conversation_id=self._id, conversation=binned, is_new=True)
        for some in self._batches(messages):
            yield Change(conversation_id=self._id, conversation=binned, messages=tuple(some))
        for run in runs:
            self._size_of(run)
            yield Change(conversation_id=self._id, conversation=binned, new_run=run)
        for asked in self._batches(prompts):
            moves = tuple(PromptMove(prompt=prompt, expect=None) for prompt in asked)
            yield Change(conversation_id=self._id, conversation=binned, prompts=moves)
        yield Change(conversation_id=self._id, conversation=whole)

    def _batches(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        """The items in order, in groups that are bounded in number and bytes."""
        batch: list[Item] = []
        size = 0
        for item in items:
            own = self._size_of(item)
            if batch and (len(batch) == _BATCH_ITEMS or size + own > _BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += own
        if batch:
            yield batch

    def _size_of(self, value: object) -> int:
        """Bytes of the document that it is stored as. Raises TooLarge."""
        size = len(orjson.dumps(to_document(value)))
        if size > self._most_bytes:
            raise TooLarge(f"One {type(value).__name__} has more than {self._most_bytes} bytes (message_max_bytes)")
        return size


def _new_file(file: StoredFile, who: Identity, at: datetime) -> StoredFile:
    new_id = AttachmentId(new_object_id())
    old = file.attachment
    new = Attachment(
        id=new_id,
        filename=safe_filename(old.filename),
        mime_type=safe_mime_type(old.mime_type),
        size_bytes=old.size_bytes,
        url=attachment_url(new_id),
        user_id=who.user_id,
        created_at=at,
    )
    return StoredFile(new, file.content)


def _final_status(message: Message) -> MessageStatus:
    """Nothing goes on in an imported conversation: what was under way when it was exported has been cut."""
    if message.status is MessageStatus.SENDING:
        return MessageStatus.COMPLETED
    return MessageStatus.ABORTED if message.status is MessageStatus.STREAMING else message.status


def _imported_mode(mode: PermissionMode) -> PermissionMode:
    """A document cannot switch the questions off."""
    return PermissionMode.DEFAULT if mode is PermissionMode.BYPASS else mode


def _request(run: Run, asked: Message | None) -> RunRequest:
    """What a retry would ask again."""
    if asked is None:
        return RunRequest(content="", agent=run.agent, model=run.model)
    return RunRequest(
        content=asked.content,
        blocks=asked.blocks,
        attachments=asked.attachments,
        agent=run.agent,
        model=run.model,
    )


def _contradiction(part: str, text: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid: {part}", fields={part: [text]})


def named_attachments(message: Message) -> Iterator[AttachmentId]:
    """Every attachment that a message leads to: its own, and where its tools' inputs and results are whole."""
    yield from (attachment.id for attachment in message.attachments)
    for block in message.blocks:
        if isinstance(block, ToolUseBlock):
            if block.attachment is not None:
                yield AttachmentId(block.attachment)
            spilled = _spilled_input(block.input)
            if spilled is not None:
                yield spilled


def _spilled_input(raw: Json) -> AttachmentId | None:
    """The attachment that holds the whole of a tool's input (`services.spill`)."""
    if isinstance(raw, dict) and raw.keys() == {"cut", "attachment"} and is_object_id(raw["attachment"]):
        return AttachmentId(str(raw["attachment"]))
    return None
