"""What a browser may ask over Socket.IO: one schema per event of docs/protocol.md section 2.1.

`load_event` turns a raw payload into a frozen command of the core, or into one of the small values below where
the core needs none. Knows nothing of sockets; REST uses the same schemas for the same requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from marshmallow import ValidationError, post_load, validates_schema

from baton.core import commands
from baton.core.errors import InvalidRequest, TooLarge
from baton.core.ids import MAX_FOREIGN_ID_LENGTH, BridgeId, ConversationId, PromptId, RequestId
from baton.core.limits import Limits
from baton.core.models import PermissionMode, PromptResponse
from baton.core.text import Json
from baton.schemas import fields
from baton.schemas.fields import (
    Items,
    JsonObject,
    JsonValue,
    Mode,
    Name,
    ObjectId,
    Path,
    Payload,
    RequestName,
    Text,
    WholeNumber,
)

MAX_ATTACHMENTS: Final = 20
"""Attachments of one message."""

MAX_TOOLS: Final = 200
"""Names in `allowedTools`."""

MAX_EXTENSION_S: Final = 7 * 24 * 3600
"""The furthest that one call moves a deadline: a week."""

MAX_FILES: Final = 1000
"""Entries of one answer to `bridge:files`."""

_MAX_RESPONSE_CHARS = 100_000


@dataclass(frozen=True, slots=True)
class ExtendRun:
    """Move a run's deadline by this many seconds."""

    request_id: RequestId
    seconds: int


@dataclass(frozen=True, slots=True)
class ExtendPrompt:
    """Move a prompt's deadline by this many seconds."""

    prompt_id: PromptId
    seconds: int


@dataclass(frozen=True, slots=True)
class SeenConversation:
    """The person has seen the conversation up to this seq."""

    conversation_id: ConversationId
    seq: int


@dataclass(frozen=True, slots=True)
class SetMode:
    """Change a conversation's permission mode."""

    conversation_id: ConversationId
    mode: PermissionMode


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFiles:
    """Find files below the working directory of a conversation, or of a bridge's first workspace."""

    conversation_id: ConversationId | None = None
    bridge_id: BridgeId | None = None
    query: str | None = None
    path: str | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Ping:
    """Whatever the client calls its own time; it comes back as it was."""

    sent_at: Json


class EventPayload(Payload):
    """The payload of one event. JavaScript sends null for what it leaves out: null is absent."""

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> Any:
        """The command of the fields that have a value."""
        given = {name: value for name, value in loaded.items() if value is not None}
        return given if self.command is None else self.command(**given)


class OneValue(EventPayload):
    """A payload of one required field; `load` gives its bare value."""

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> Any:
        """The value itself."""
        (value,) = loaded.values()
        return value


class OfConversation(OneValue):
    """`{conversationId}` -> ConversationId."""

    conversation_id = ObjectId("conversation", required=True)


class OfProject(OneValue):
    """`{projectId}` -> ProjectId."""

    project_id = ObjectId("project", required=True)


class OfPrompt(OneValue):
    """`{promptId}` -> PromptId."""

    prompt_id = ObjectId("prompt", required=True)


class OfRequest(OneValue):
    """`{requestId}` -> RequestId."""

    request_id = RequestName(required=True)


class Nothing(EventPayload):
    """`{}`."""


class JoinConversationSchema(EventPayload):
    """`join-conversation`."""

    command = commands.JoinConversation
    conversation_id = ObjectId("conversation", required=True)
    after = WholeNumber(allow_none=True)
    epoch = Text(most=MAX_FOREIGN_ID_LENGTH, allow_none=True)


class AgentChoice(EventPayload):
    """What a message and a new conversation both say about who shall work, and how."""

    agent = Name(allow_none=True)
    model = Name(allow_none=True)
    permission_mode = Mode(allow_none=True)
    working_directory = Path(allow_none=True)
    bridge_id = Name(allow_none=True)


class SendMessageSchema(AgentChoice):
    """`chat:send-message`, and the body of REST's send."""

    command = commands.SendMessage
    request_id = RequestName(required=True)
    content = Text(required=True, most=None)
    """Its limit is a setting: `load`."""
    conversation_id = ObjectId("conversation", allow_none=True)
    project_id = ObjectId("project", allow_none=True)
    session_id = Name(allow_none=True)
    attachments = Items(ObjectId("attachment"), most=MAX_ATTACHMENTS, allow_none=True)
    allowed_tools = Items(Name(), most=MAX_TOOLS, allow_none=True)

    @validates_schema
    def check(self, loaded: dict[str, Any], **_: object) -> None:
        """One place to go, and something to say."""
        if loaded.get("conversation_id") and loaded.get("project_id"):
            raise ValidationError("Give conversationId or projectId, not both.", "projectId")
        if not loaded["content"].strip() and not loaded.get("attachments"):
            raise ValidationError("Must not be blank.", "content")


class RetryRunSchema(EventPayload):
    """`chat:retry`."""

    command = commands.RetryRun
    request_id = RequestName(required=True)
    new_request_id = RequestName(required=True)


class ExtendRunSchema(EventPayload):
    """`chat:extend`."""

    command = ExtendRun
    request_id = RequestName(required=True)
    seconds = WholeNumber(required=True, least=1, most=MAX_EXTENSION_S)


class UpdateQueuedSchema(EventPayload):
    """`chat:queue-update`."""

    command = commands.UpdateQueued
    request_id = RequestName(required=True)
    content = Text(required=True, least=1, most=None)


class MoveQueuedSchema(EventPayload):
    """`chat:queue-move`."""

    command = commands.MoveQueued
    request_id = RequestName(required=True)
    position = WholeNumber(required=True, least=1)


class CreateConversationSchema(AgentChoice):
    """`conversation:create`, and REST's body for it."""

    command = commands.CreateConversation
    request_id = RequestName(allow_none=True)
    project_id = ObjectId("project", allow_none=True)
    title = Text(allow_none=True)


class SeenConversationSchema(EventPayload):
    """`conversation:seen`."""

    command = SeenConversation
    conversation_id = ObjectId("conversation", required=True)
    seq = WholeNumber(required=True)


class Answers(JsonObject):
    """`{<question id>: label, [labels] or free text}`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Json]:
        answers = super()._deserialize(value, attr, data, **kwargs)
        for answer in answers.values():
            texts = answer if isinstance(answer, list) else [answer]
            if not all(isinstance(text, str) for text in texts):
                raise ValidationError("Must hold a text, or a list of texts, for each question.")
        return answers


class RespondPromptSchema(EventPayload):
    """`permission:respond`, and REST's body for it (with the promptId of the path)."""

    prompt_id = ObjectId("prompt", required=True)
    selected_option = RequestName(required=True)
    message = Text(most=_MAX_RESPONSE_CHARS, allow_none=True)
    input = JsonObject(allow_none=True)
    answers = Answers(allow_none=True)

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> commands.RespondPrompt:
        """The option, and beside it what else was answered."""
        prompt_id, option = loaded.pop("prompt_id"), loaded.pop("selected_option")
        return commands.RespondPrompt(prompt_id=prompt_id, selected_option=option, response=PromptResponse(**loaded))


class ExtendPromptSchema(EventPayload):
    """`prompt:extend`."""

    command = ExtendPrompt
    prompt_id = ObjectId("prompt", required=True)
    seconds = WholeNumber(required=True, least=1, most=MAX_EXTENSION_S)


class SetModeSchema(EventPayload):
    """`permission:set-mode`."""

    command = SetMode
    conversation_id = ObjectId("conversation", required=True)
    mode = Mode(required=True)


class ListFilesSchema(EventPayload):
    """`bridge:files`."""

    command = ListFiles
    conversation_id = ObjectId("conversation", allow_none=True)
    bridge_id = Name(allow_none=True)
    query = Text(allow_none=True)
    path = Path(allow_none=True)
    limit = WholeNumber(least=1, most=MAX_FILES, allow_none=True)

    @validates_schema
    def check(self, loaded: dict[str, Any], **_: object) -> None:
        """One place to look in."""
        if bool(loaded.get("conversation_id")) == bool(loaded.get("bridge_id")):
            raise ValidationError("Give one of conversationId and bridgeId.", "conversationId")


class PingSchema(EventPayload):
    """`latency:ping`."""

    sent_at = JsonValue(allow_none=True)

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> Ping:
        """The client's time, if it gave one."""
        sent_at = loaded.get("sent_at")
        if sent_at is not None and (isinstance(sent_at, bool) or not isinstance(sent_at, (int, float, str))):
            raise ValidationError("Must be a number or a string.", "sentAt")
        if isinstance(sent_at, str) and len(sent_at) > MAX_FOREIGN_ID_LENGTH:
            raise ValidationError(f"Longer than maximum length {MAX_FOREIGN_ID_LENGTH}.", "sentAt")
        return Ping(sent_at)


EVENTS: Final[Mapping[str, Payload]] = {
    "join-conversation": JoinConversationSchema(),
    "leave-conversation": OfConversation(),
    "join-project": OfProject(),
    "leave-project": OfProject(),
    "chat:send-message": SendMessageSchema(),
    "chat:abort": OfRequest(),
    "chat:retry": RetryRunSchema(),
    "chat:extend": ExtendRunSchema(),
    "chat:queue-update": UpdateQueuedSchema(),
    "chat:queue-remove": OfRequest(),
    "chat:queue-move": MoveQueuedSchema(),
    "chat:queue-resume": OfConversation(),
    "conversation:create": CreateConversationSchema(),
    "conversation:check": OfConversation(),
    "conversation:seen": SeenConversationSchema(),
    "permission:respond": RespondPromptSchema(),
    "prompt:seen": OfPrompt(),
    "prompt:extend": ExtendPromptSchema(),
    "permission:get-mode": OfConversation(),
    "permission:set-mode": SetModeSchema(),
    "bridge:list": Nothing(),
    "bridge:files": ListFilesSchema(),
    "bridge:commands": OfConversation(),
    "latency:ping": PingSchema(),
}
"""Every event that a client may send. Read only; schemas keep nothing between loads."""

BARE_STRINGS: Final[Mapping[str, str]] = {
    "join-conversation": "conversationId",
    "leave-conversation": "conversationId",
    "join-project": "projectId",
    "leave-project": "projectId",
}
"""Events whose payload may be the id as a string, and the field that it stands for."""


def load_event(name: str, raw: object, limits: Limits) -> Any:
    """The command that the payload `raw` of the event `name` asks for; None as payload is an empty object.

    Raises InvalidRequest (an unknown event, or `fields` with what is wrong), NotFound (a malformed id) or TooLarge.
    """
    schema = EVENTS.get(name)
    if schema is None:
        raise InvalidRequest("There is no such event", fields={"event": ["Unknown event."]})
    if isinstance(raw, str) and name in BARE_STRINGS:
        raw = {BARE_STRINGS[name]: raw}
    return load(schema, {} if raw is None else raw, limits)


def load(schema: Payload, raw: object, limits: Limits) -> Any:
    """What `schema` makes of `raw`, within the limits. Raises as `load_event` does."""
    try:
        loaded = fields.load(schema, raw)
    except RecursionError:
        raise InvalidRequest("The payload is nested too deeply", fields={"payload": ["Nested too deeply."]}) from None
    _check_sizes(loaded, limits)
    return loaded


def _check_sizes(command: object, limits: Limits) -> None:
    content = getattr(command, "content", "")
    if len(content) > limits.content_max_chars:
        raise TooLarge(f"The content has more than {limits.content_max_chars} characters (content_max_chars)")
    if isinstance(command, commands.RespondPrompt):
        size = len(orjson.dumps([command.response.input, command.response.answers]))
        if size > limits.message_max_bytes:
            raise TooLarge(f"input and answers have more than {limits.message_max_bytes} bytes (message_max_bytes)")
