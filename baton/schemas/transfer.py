"""The document that a conversation is exported as, and how strictly one is read that somebody wants to import.

Version 1: `{format, version, conversation, messages, runs, prompts, attachments}`, all resources as on the wire,
attachments with their content in base64 (null where it was gone).
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

from marshmallow import ValidationError, fields, post_load, validate

from baton.core.ids import UserId
from baton.core.models import Attachment, Conversation, Message, Prompt, Run, RunRequest
from baton.schemas.fields import Items, WholeNumber
from baton.schemas.resources import (
    AttachmentSchema,
    ConversationSchema,
    MessageSchema,
    PromptSchema,
    Resource,
    RunSchema,
)

FORMAT: Final = "baton.conversation"
VERSION: Final = 1

_NOBODY: Final = UserId("")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An attachment with its content; None: the content was gone when it was exported."""

    attachment: Attachment
    content: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An exported conversation. Ids are those of where it comes from; runs and prompts lack what is not shown."""

    conversation: Conversation
    messages: tuple[Message, ...]
    runs: tuple[Run, ...]
    prompts: tuple[Prompt, ...]
    files: tuple[StoredFile, ...]


class Base64(fields.String):
    """Bytes as base64 text."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bytes:  # type: ignore[override]  # loads to bytes
        try:
            return base64.b64decode(super()._deserialize(value, attr, data, **kwargs), validate=True)
        except (binascii.Error, ValueError):
            raise ValidationError("Not base64.") from None


class ExportedRunSchema(RunSchema):
    """A run, with nothing in the fields that are not shown, as also versions before this one exported it."""

    omitted = frozenset({"plan", "notices"})

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> Run:
        """The run; who asked what is filled in by the import."""
        return Run(**loaded, user_id=_NOBODY, request=RunRequest(content=""))


class ExportedConversationSchema(ConversationSchema):
    """A conversation, as also versions before this one exported it."""

    omitted = frozenset({"bypass_until"})


class ExportedPromptSchema(PromptSchema):
    """A prompt, with nothing in the fields that are not shown, as also versions before this one exported it."""

    omitted = frozenset({"decision"})

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> Prompt:
        """The prompt."""
        return Prompt(**loaded, bridge_prompt_id="")


class ExportedFileSchema(AttachmentSchema):
    """An attachment and its content."""

    content = Base64(allow_none=True)

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> StoredFile:
        """The attachment beside its content, with its size as it is."""
        content: bytes | None = loaded.pop("content")
        if content is not None and len(content) != loaded["size_bytes"]:
            raise ValidationError("Differs from the size of the content.", "sizeBytes")
        return StoredFile(Attachment(**loaded), content)


class DocumentSchema(Resource):
    """One exported conversation."""

    format = fields.String(validate=validate.Equal(FORMAT))
    version = WholeNumber(least=VERSION, most=VERSION)
    conversation = fields.Nested(ExportedConversationSchema)
    messages = Items(fields.Nested(MessageSchema), most=None)
    runs = Items(fields.Nested(ExportedRunSchema), most=None)
    prompts = Items(fields.Nested(ExportedPromptSchema), most=None)
    attachments = Items(fields.Nested(ExportedFileSchema), most=None)

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> Document:
        """The document, if its parts fit together."""
        _check_unique([message.id for message in loaded["messages"]], "messages")
        _check_unique([run.request_id for run in loaded["runs"]], "runs")
        _check_unique([prompt.id for prompt in loaded["prompts"]], "prompts")
        _check_unique([file.attachment.id for file in loaded["attachments"]], "attachments")
        return Document(
            conversation=loaded["conversation"],
            messages=loaded["messages"],
            runs=loaded["runs"],
            prompts=loaded["prompts"],
            files=loaded["attachments"],
        )


def _check_unique(names: list[Any], part: str) -> None:
    if len(set(names)) != len(names):
        raise ValidationError("Two of them have the same id.", part)
