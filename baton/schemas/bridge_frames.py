"""Every frame of the bridge wire as a marshmallow schema, by its `type`.

What the fields mean stands at the classes of `core.frames`; how strict they are, at `bridge_parts`. Which failure
of which frame ends a link or a run is decided in `bridge`.
"""

from typing import Any, Final

from marshmallow import ValidationError, fields, validates_schema

from baton.core import frames, models
from baton.core.ids import is_object_id
from baton.schemas.bridge_parts import (
    Amount,
    AttachmentPart,
    BlockField,
    Count,
    Events,
    Flag,
    ForeignId,
    OneOf,
    Part,
    UsagePart,
    Words,
    several,
)
from baton.schemas.fields import JsonValue, Mode

# --- frames of a bridge ------------------------------------------------------------------------------------------


class FailurePart(Part):
    command = models.Failure
    code = ForeignId(required=True)
    message = Words(required=True)
    retryable = Flag(load_default=None)


class AgentPart(Part):
    command = frames.AgentOffer
    id = ForeignId(required=True)
    title = Words(required=True)
    available = Flag(load_default=None)
    reason = Words(load_default=None)
    models = several(Words())
    modes = several(Words())


class WorkspacePart(Part):
    command = frames.Workspace
    path = Words(required=True)
    name = Words(required=True)


class KnownRunPart(Part):
    command = frames.KnownRun
    request_id = ForeignId(required=True)
    last_seq = Count(required=True)
    prompts = several(ForeignId())
    epoch = Words(load_default=None)
    origin = Words(load_default=None)


class HelloPart(Part):
    command = frames.Hello
    protocol = Count(required=True)
    bridge_id = ForeignId(required=True)
    instance_id = ForeignId(required=True)
    name = Words(load_default=None)
    version = Words(load_default=None)
    hostname = Words(load_default=None)
    agents = several(AgentPart)
    max_concurrent_requests = Count(load_default=None)
    workspaces = several(WorkspacePart)
    allow_bypass = Flag(load_default=None)
    runs = several(KnownRunPart)


class BridgeStatusPart(Part):
    command = frames.BridgeStatus
    agents = several(AgentPart)
    active = Count(load_default=None)
    queued = Count(load_default=None)


class RpcResultPart(Part):
    command = frames.RpcResult
    id = ForeignId(required=True)
    ok = Flag(required=True)
    result = JsonValue(load_default=None)
    error = fields.Nested(FailurePart, load_default=None)


class PongPart(Part):
    command = frames.Pong
    t = Amount(required=True)


class NumberedPart(Part):
    """What every numbered frame has."""

    request_id = ForeignId(required=True)
    seq = Count(least=1, required=True)


class StartedPart(NumberedPart):
    command = frames.Started
    session_id = Words(load_default=None)
    conversation_id = Words(load_default=None)
    origin = OneOf(frozenset({"user", "background"}), load_default=None)

    @validates_schema
    def check_background(self, loaded: dict[str, Any], **_: object) -> None:
        """A turn that the agent began by itself has no other way to say where it belongs."""
        if loaded.get("origin") == "background" and not is_object_id(loaded.get("conversation_id")):
            raise ValidationError("Must be the conversation's id.", "conversationId")


class StreamPart(NumberedPart):
    command = frames.Stream
    events = Events(required=True)


class PromptOptionPart(Part):
    command = models.PromptOption
    id = ForeignId(required=True)
    label = Words(required=True)
    kind = Words(load_default=None)
    style = Words(load_default=None)


class QuestionOptionPart(Part):
    command = models.QuestionOption
    label = Words(required=True)
    description = Words(load_default=None)
    preview = Words(load_default=None)


class QuestionPart(Part):
    command = models.Question
    id = ForeignId(required=True)
    question = Words(required=True)
    header = Words(load_default=None)
    multi_select = Flag(load_default=None)
    options = several(QuestionOptionPart)


class PromptPart(Part):
    command = frames.PromptAsked
    prompt_id = ForeignId(required=True)
    type = fields.Enum(models.PromptType, by_value=True, required=True)
    title = Words(required=True)
    message = Words(load_default=None)
    tool_name = Words(load_default=None)
    tool_use_id = Words(load_default=None)
    input = JsonValue(load_default=None)
    options = several(PromptOptionPart)
    questions = several(QuestionPart)
    risk = Words(load_default=None)
    editable = Flag(load_default=None)


class PermissionRequestPart(NumberedPart):
    command = frames.PermissionRequest
    prompt = fields.Nested(PromptPart, required=True)


class PermissionAppliedPart(NumberedPart):
    command = frames.PermissionApplied
    prompt_id = ForeignId(required=True)


class PermissionCancelPart(NumberedPart):
    command = frames.PermissionCancel
    prompt_id = ForeignId(required=True)


class ResultPart(Part):
    command = frames.RunResult
    outcome = OneOf(frozenset({"completed", "max_tokens", "refused"}), load_default=None)
    session_id = Words(load_default=None)
    usage = fields.Nested(UsagePart, load_default=None)
    cost_usd = Amount(load_default=None)
    duration_ms = Count(load_default=None)
    num_turns = Count(load_default=None)


class CompletePart(NumberedPart):
    command = frames.Complete
    result = fields.Nested(ResultPart, required=True)


class FailedPart(NumberedPart):
    command = frames.Failed
    error = fields.Nested(FailurePart, required=True)


class AbortedPart(NumberedPart):
    command = frames.Aborted


# --- frames of a server ------------------------------------------------------------------------------------------


class WelcomePart(Part):
    command = frames.Welcome
    epoch = Words(required=True)
    heartbeat_s = Amount(required=True)
    window = Count(least=1, required=True)
    max_frame_bytes = Count(least=1, required=True)
    acks = fields.Dict(keys=Words(), values=Count(), required=True)


class ExecutePart(Part):
    command = frames.Execute
    request_id = ForeignId(required=True)
    conversation_id = Words(required=True)
    message = Words(required=True)
    blocks = several(BlockField())
    attachments = several(AttachmentPart)
    session_id = Words(load_default=None)
    fork = Flag(load_default=None)
    agent = ForeignId(required=True)
    model = Words(load_default=None)
    permission_mode = Mode(load_default=None)
    working_directory = Words(load_default=None)
    allowed_tools = several(Words())
    project_name = Words(load_default=None)


class AbortPart(Part):
    command = frames.Abort
    request_id = ForeignId(required=True)


class PermissionResponsePart(Part):
    command = frames.PermissionResponse
    request_id = ForeignId(required=True)
    prompt_id = ForeignId(required=True)
    selected_option = ForeignId(required=True)
    message = Words(load_default=None)
    input = JsonValue(load_default=None)
    answers = JsonValue(load_default=None)


class SetModePart(Part):
    command = frames.SetMode
    request_id = ForeignId(required=True)
    mode = Mode(required=True)


class RpcPart(Part):
    command = frames.Rpc
    id = ForeignId(required=True)
    method = ForeignId(required=True)
    params = JsonValue(load_default=None)


class PingPart(Part):
    command = frames.Ping
    t = Amount(required=True)


class AckPart(Part):
    command = frames.Ack
    acks = fields.Dict(keys=Words(), values=Count(), required=True)


def _by_type(*parts: type[Part]) -> dict[str, Part]:
    return {frames.FRAME_TYPES[part.command]: part() for part in parts if part.command is not None}


NUMBERED: Final = _by_type(
    StartedPart,
    StreamPart,
    PermissionRequestPart,
    PermissionAppliedPart,
    PermissionCancelPart,
    CompletePart,
    FailedPart,
    AbortedPart,
)
UNNUMBERED: Final = _by_type(HelloPart, BridgeStatusPart, RpcResultPart, PongPart)
SERVER: Final = _by_type(
    WelcomePart, ExecutePart, AbortPart, PermissionResponsePart, SetModePart, RpcPart, PingPart, AckPart
)
