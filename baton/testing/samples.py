"""Valid values of every model, each field of which a test may override.

A test names only what it is about: `message(content="hello")` is whole in every other respect.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from baton.core.commands import AccountRole
from baton.core.ids import (
    AttachmentId,
    ConversationId,
    MessageId,
    ProjectId,
    PromptId,
    RequestId,
    TokenId,
    UserId,
    new_object_id,
)
from baton.core.models import (
    Attachment,
    Conversation,
    Message,
    MessageStatus,
    Project,
    Prompt,
    PromptOption,
    PromptType,
    Role,
    Run,
    RunRequest,
    RunStatus,
    SendAnswer,
    TextBlock,
)
from baton.core.permissions import AuditEntry, Grant, GrantId, GrantScope
from baton.core.stored import Change, JournalRow
from baton.core.stream import TextDelta
from baton.core.tokens import ApiToken, token_digest

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""When every sample was made, unless it says otherwise."""

ANNA = UserId("anna")


def at(seconds: float) -> datetime:
    """So many seconds after START."""
    return START + timedelta(seconds=seconds)


def new_request_id() -> RequestId:
    """A requestId that no other test uses."""
    return RequestId("request-" + new_object_id())


def project(**fields: Any) -> Project:
    """A project."""
    return Project(
        **{
            "id": ProjectId(new_object_id()),
            "name": "Garden",
            "user_id": ANNA,
            "created_at": START,
            "updated_at": START,
            **fields,
        }
    )


def attachment(**fields: Any) -> Attachment:
    """An attachment of four bytes."""
    attachment_id = AttachmentId(fields.get("id") or new_object_id())
    return Attachment(
        **{
            "id": attachment_id,
            "filename": "notes.txt",
            "mime_type": "text/plain",
            "size_bytes": 4,
            "url": f"/api/attachments/{attachment_id}",
            "user_id": ANNA,
            "created_at": START,
            **fields,
        }
    )


def conversation(**fields: Any) -> Conversation:
    """An idle conversation in which nothing was said yet."""
    return Conversation(
        **{
            "id": ConversationId(new_object_id()),
            "user_id": ANNA,
            "title": "Untitled",
            "created_at": START,
            "updated_at": START,
            **fields,
        }
    )


def message(conversation_id: ConversationId, **fields: Any) -> Message:
    """A completed message of the assistant; `content` also gives its one text block."""
    content = fields.get("content", "Hello.")
    return Message(
        **{
            "id": MessageId(new_object_id()),
            "conversation_id": conversation_id,
            "ordinal": 1,
            "seq": 1,
            "role": Role.ASSISTANT,
            "status": MessageStatus.COMPLETED,
            "content": content,
            "blocks": (TextBlock(content),),
            "timestamp": START,
            "created_at": START,
            "updated_at": START,
            **fields,
        }
    )


def run(conversation_id: ConversationId, **fields: Any) -> Run:
    """A run that waits in its queue."""
    return Run(
        **{
            "request_id": new_request_id(),
            "conversation_id": conversation_id,
            "seq": 1,
            "status": RunStatus.QUEUED,
            "queued_at": START,
            "user_id": ANNA,
            "request": RunRequest(content="Hello?"),
            **fields,
        }
    )


def prompt(conversation_id: ConversationId, request_id: RequestId, **fields: Any) -> Prompt:
    """A pending question whether a tool may run."""
    return Prompt(
        **{
            "id": PromptId(new_object_id()),
            "conversation_id": conversation_id,
            "request_id": request_id,
            "seq": 1,
            "type": PromptType.TOOL_PERMISSION,
            "title": "Run a command?",
            "tool_name": "Bash",
            "input": {"command": "ls"},
            "options": (PromptOption(id="allow_once", label="Allow once"), PromptOption(id="deny", label="Deny")),
            "created_at": START,
            "bridge_prompt_id": "prompt-1",
            **fields,
        }
    )


def grant(conversation_id: ConversationId | None = None, **fields: Any) -> Grant:
    """A grant that is in force: for this conversation, or for all where none is named."""
    return Grant(
        **{
            "id": GrantId(new_object_id()),
            "scope": GrantScope.ALL if conversation_id is None else GrantScope.CONVERSATION,
            "conversation_id": conversation_id,
            "tool_name": "Bash",
            "pattern": "git log*",
            "created_by": ANNA,
            "created_at": START,
            **fields,
        }
    )


def audit_entry(conversation_id: ConversationId, **fields: Any) -> AuditEntry:
    """A person allowed a command."""
    return AuditEntry(
        **{
            "id": new_object_id(),
            "created_at": START,
            "conversation_id": conversation_id,
            "request_id": new_request_id(),
            "prompt_id": PromptId(new_object_id()),
            "type": PromptType.TOOL_PERMISSION.value,
            "tool_name": "Bash",
            "risk_level": "HIGH",
            "outcome": "allow",
            "handler": "user_selection",
            "rule": "ask",
            "user_id": ANNA,
            "selected_option": "allow_once",
            "input_digest": "digest of ls",
            "latency_ms": 1500,
            **fields,
        }
    )


def journal_row(conversation_id: ConversationId, request_id: RequestId, **fields: Any) -> JournalRow:
    """One delta of a run, as journalled. `seq` also gives its bridge seq, unless that is named."""
    seq = fields.get("seq", 1)
    return JournalRow(
        **{
            "conversation_id": conversation_id,
            "request_id": request_id,
            "seq": seq,
            "bridge_seq": seq,
            "events": (TextDelta(new_object_id(), 0, 0, "Hello"),),
            "at": START,
            **fields,
        }
    )


def send(to: Conversation, *, is_new: bool = False, content: str = "Hello?", **run_fields: Any) -> Change:
    """A send as a lane writes it: the next seq and ordinal of `to`, the run with its answer, and the user's message."""
    request_id = run_fields.pop("request_id", None) or new_request_id()
    seq, ordinal = to.seq + 1, to.ordinal + 1
    asked = message(
        to.id,
        request_id=request_id,
        project_id=to.project_id,
        seq=seq,
        ordinal=ordinal,
        role=Role.USER,
        content=content,
        created_at=to.created_at + timedelta(seconds=ordinal),
    )
    answer = SendAnswer(request_id=request_id, conversation_id=to.id, message_id=asked.id, status="queued", position=1)
    fields = {
        "request_id": request_id,
        "seq": seq,
        "digest": "digest of " + content,
        "answer": answer,
        "message_ids": (asked.id,),
        "request": RunRequest(content=content),
        "user_message": asked,
        **run_fields,
    }
    return Change(
        conversation_id=to.id,
        conversation=replace(to, seq=seq, ordinal=ordinal),
        is_new=is_new,
        new_run=run(to.id, **fields),
        messages=(asked,),
    )


def api_token(**fields: Any) -> ApiToken:
    """A token of a bridge that was not used yet."""
    token_id = TokenId(fields.get("id") or new_object_id())
    return ApiToken(
        **{
            "id": token_id,
            "name": f"token-{token_id}",
            "role": AccountRole.BRIDGE,
            "created_at": START,
            "created_by": ANNA,
            "digest": token_digest(f"text of {token_id}"),
            **fields,
        }
    )
