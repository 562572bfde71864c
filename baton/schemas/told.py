"""What browsers are told over Socket.IO, as marshmallow schemas: the page's types are made from them.

One schema per acknowledgement and per event of docs/protocol.md sections 2.1 and 2.2. Nothing is dumped through
them (`web.wire` and `web.sockets` write plain dicts, which is faster); a test holds what those write to these.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from marshmallow import fields

from baton.core import models, stream
from baton.schemas.answers import (
    BridgesAnswer,
    ConversationAnswer,
    DoneAnswer,
    ModeAnswer,
    PromptAnswer,
    RunAnswer,
    SentAnswer,
)
from baton.schemas.codec import camel
from baton.schemas.fields import Amount, Flag, Items, JsonValue, Moment, WholeNumber
from baton.schemas.resources import (
    BridgeSchema,
    ConversationSchema,
    FailureSchema,
    MessageSchema,
    OwnId,
    ProjectSchema,
    PromptSchema,
    QueueSchema,
    Resource,
    RunSchema,
    UsageSchema,
    Words,
)


class StreamEventField(fields.Field[Any]):
    """One of the values of `core.stream`, as `schemas.codec.dump_event` writes it; checked for its fields alone."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        kind = value.get("type") if isinstance(value, Mapping) else None
        known = _STREAM_FIELDS.get(kind) if isinstance(kind, str) else None
        if known is None or not value.keys() <= known:
            raise self.make_error("validator_failed")
        return value


_STREAM_FIELDS: Final = {
    name: {"type", *(camel(field.name) for field in dataclasses.fields(cls))}
    for cls, name in stream.STREAM_EVENT_TYPES.items()
}


# --- acknowledgements ------------------------------------------------------------------------------------------


class ToldQueueSchema(QueueSchema):
    """A conversation's queue. `reason` is there where it is paused."""

    omitted = frozenset({"reason"})


class SnapshotAnswer(DoneAnswer):
    """A conversation as it is, or what of it has changed."""

    epoch = Words()
    seq = WholeNumber()
    conversation = fields.Nested(ConversationSchema)
    messages = Items(fields.Nested(MessageSchema), most=None)
    runs = Items(fields.Nested(RunSchema), most=None)
    prompts = Items(fields.Nested(PromptSchema), most=None)
    queue = fields.Nested(ToldQueueSchema)
    truncated = Flag()


class DispatchedAnswer(SentAnswer):
    """What became of a message that was sent over the socket: `run` stays away."""

    omitted = SentAnswer.omitted | {"run"}


class QueueAnswer(DoneAnswer):
    """A queue."""

    queue = fields.Nested(ToldQueueSchema)


class ExistsAnswer(DoneAnswer):
    """Whether there is such a conversation."""

    exists = Flag()


class FileSchema(Resource):
    """A file or folder below a working directory."""

    path = Words()
    type = Words()
    size = WholeNumber(allow_none=True)


class FilesAnswer(DoneAnswer):
    """Files, best first."""

    files = Items(fields.Nested(FileSchema), most=None)


class CommandSchema(Resource):
    """A slash command of an agent."""

    omitted = frozenset({"description", "argument_hint"})
    name = Words()
    description = Words(allow_none=True)
    argument_hint = Words(allow_none=True)


class CommandsAnswer(DoneAnswer):
    """What an agent offers beside messages."""

    commands = Items(fields.Nested(CommandSchema), most=None)
    models = Items(Words(), most=None)


class PongAnswer(DoneAnswer):
    """The client's own time as it gave it, the server's, and how long the store took for one write."""

    sent_at = JsonValue(allow_none=True)
    received_at = Moment()
    stored_ms = Amount()


ANSWERS: Final[Mapping[str, type[Resource]]] = {
    "join-conversation": SnapshotAnswer,
    "leave-conversation": DoneAnswer,
    "join-project": DoneAnswer,
    "leave-project": DoneAnswer,
    "chat:send-message": DispatchedAnswer,
    "chat:abort": RunAnswer,
    "chat:retry": DispatchedAnswer,
    "chat:extend": RunAnswer,
    "chat:queue-update": QueueAnswer,
    "chat:queue-remove": QueueAnswer,
    "chat:queue-move": QueueAnswer,
    "chat:queue-resume": QueueAnswer,
    "conversation:create": ConversationAnswer,
    "conversation:check": ExistsAnswer,
    "conversation:seen": DoneAnswer,
    "permission:respond": PromptAnswer,
    "prompt:seen": PromptAnswer,
    "prompt:extend": PromptAnswer,
    "permission:get-mode": ModeAnswer,
    "permission:set-mode": ModeAnswer,
    "bridge:list": BridgesAnswer,
    "bridge:files": FilesAnswer,
    "bridge:commands": CommandsAnswer,
    "latency:ping": PongAnswer,
}
"""The acknowledgement of each event of `schemas.browser.EVENTS`, when it is not refused."""


# --- events of a conversation's room ---------------------------------------------------------------------------


class RoomEventSchema(Resource):
    """Something in the order of one conversation."""

    conversation_id = OwnId()
    seq = WholeNumber()
    prev_seq = WholeNumber()


class MessageToldSchema(RoomEventSchema):
    """`chat:message`: it replaces what the client had."""

    message = fields.Nested(MessageSchema)


class StreamToldSchema(RoomEventSchema):
    """`chat:stream-response`: all events take effect together."""

    request_id = Words()
    message_id = OwnId(allow_none=True)
    events = Items(StreamEventField(), most=None)


class RunToldSchema(RoomEventSchema):
    """`chat:run`: a run's state; the queue where that changed too."""

    omitted = frozenset({"queue"})
    run = fields.Nested(RunSchema)
    queue = fields.Nested(ToldQueueSchema)


class RunCompletedToldSchema(RoomEventSchema):
    """`chat:message-complete`."""

    request_id = Words()
    message_id = OwnId(allow_none=True)
    session_id = Words(allow_none=True)
    usage = fields.Nested(UsageSchema)
    cost_usd = Amount()
    duration_ms = WholeNumber()


class RunFailedToldSchema(RoomEventSchema):
    """`chat:error`."""

    request_id = Words()
    error = fields.Nested(FailureSchema)


class RunAbortedToldSchema(RoomEventSchema):
    """`chat:aborted`."""

    request_id = Words()


class SessionToldSchema(RoomEventSchema):
    """`chat:session-id-available`."""

    session_id = Words(allow_none=True)


class PromptToldSchema(RoomEventSchema):
    """`interactive_prompt` and `prompt:resolved`."""

    prompt = fields.Nested(PromptSchema)


class ModeToldSchema(RoomEventSchema):
    """`permission_mode_changed`."""

    mode = fields.Enum(models.PermissionMode, by_value=True)
    by = Words()


# --- events outside that order ---------------------------------------------------------------------------------


class ConversationStateToldSchema(Resource):
    """`conversation:state`: for lists, badges and the prompt tray."""

    conversation_id = OwnId()
    project_id = OwnId(allow_none=True)
    title = Words()
    state = fields.Enum(models.ConversationState, by_value=True)
    pending_prompts = WholeNumber()
    updated_at = Moment()
    seq = WholeNumber()


class ConversationToldSchema(Resource):
    """`chat:conversation-created` and `conversation:updated`."""

    conversation_id = OwnId()
    conversation = fields.Nested(ConversationSchema)


class ConversationDeletedToldSchema(Resource):
    """`conversation:deleted`."""

    conversation_id = OwnId()
    project_id = OwnId(allow_none=True)


class ConversationSeenToldSchema(Resource):
    """`conversation:seen`: up to where one has seen it, told to one's own sockets."""

    conversation_id = OwnId()
    seq = WholeNumber()


class ProjectToldSchema(Resource):
    """`project:updated`."""

    project = fields.Nested(ProjectSchema)


class ProjectDeletedToldSchema(Resource):
    """`project:deleted`."""

    project_id = OwnId()


class EscalationToldSchema(Resource):
    """`permission_escalation`: a question waits and nobody answers."""

    conversation_id = OwnId()
    prompt_id = OwnId()
    stage = WholeNumber()
    tool_name = Words(allow_none=True)
    risk_level = Words()
    deadline = Moment(allow_none=True)


class BridgesToldSchema(Resource):
    """`bridge:status`: presence of all bridges."""

    bridges = Items(fields.Nested(BridgeSchema), most=None)


class ResyncToldSchema(Resource):
    """`chat:resync`: join again, but not before this long."""

    conversation_id = OwnId()
    retry_after_ms = WholeNumber()


class DrainingToldSchema(Resource):
    """`server:draining`: the server goes away."""

    reconnect_after_ms = WholeNumber()


ROOM_EVENTS: Final[Mapping[str, type[Resource]]] = {
    "chat:message": MessageToldSchema,
    "chat:stream-response": StreamToldSchema,
    "chat:run": RunToldSchema,
    "chat:message-complete": RunCompletedToldSchema,
    "chat:error": RunFailedToldSchema,
    "chat:aborted": RunAbortedToldSchema,
    "chat:session-id-available": SessionToldSchema,
    "interactive_prompt": PromptToldSchema,
    "prompt:resolved": PromptToldSchema,
    "permission_mode_changed": ModeToldSchema,
}
"""Events with a place in the order of one conversation."""

GLOBAL_EVENTS: Final[Mapping[str, type[Resource]]] = {
    "conversation:state": ConversationStateToldSchema,
    "chat:conversation-created": ConversationToldSchema,
    "conversation:updated": ConversationToldSchema,
    "conversation:deleted": ConversationDeletedToldSchema,
    "conversation:seen": ConversationSeenToldSchema,
    "project:updated": ProjectToldSchema,
    "project:deleted": ProjectDeletedToldSchema,
    "permission_escalation": EscalationToldSchema,
    "bridge:status": BridgesToldSchema,
    "chat:resync": ResyncToldSchema,
    "server:draining": DrainingToldSchema,
}
"""Events outside of any order."""
