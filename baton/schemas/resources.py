"""The resources that Baton sends, as marshmallow schemas: what OpenAPI describes and an import is judged by.

They mirror what `schemas.codec.to_wire` writes, field by field; a test holds both together. Nothing is dumped
through them, because that would cost milliseconds per page (docs/decisions).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, validate

from baton.core import events, frames, models, permissions, series, stored, tokens
from baton.core.commands import AccountRole
from baton.core.ids import is_object_id
from baton.schemas.fields import Amount, Flag, Items, JsonValue, Moment, Payload, Text, WholeNumber


class Resource(Payload):
    """A resource: every field is always there, but for those that are left out instead of being null."""

    omitted: ClassVar[frozenset[str]] = frozenset()
    """Names of the fields that are left out where they have no value."""

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Wire name, and `required`."""
        super().on_bind_field(field_name, field_obj)
        field_obj.required = field_name not in self.omitted


class OwnId(fields.String):
    """An id of ours inside a resource: 24 lower-case hex digits."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"pattern": "^[0-9a-f]{24}$"}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not is_object_id(text):
            raise ValidationError("Not an id.")
        return text


class Words(Text):
    """Text of any length."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(most=None, **kwargs)


class Variant(fields.Field[Any]):
    """One of several resources, told apart by their `type`."""

    def __init__(self, variants: Mapping[str, type[Schema]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variants = variants
        self._schemas = {name: schema() for name, schema in variants.items()}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        kind = value.get("type") if isinstance(value, Mapping) else None
        schema = self._schemas.get(kind) if isinstance(kind, str) else None
        if schema is None:
            raise ValidationError({"type": [f"Must be one of: {', '.join(self.variants)}."]})
        return schema.load(value)


class UsageSchema(Resource):
    """Tokens, as counted by the agent."""

    command = models.Usage
    input_tokens = WholeNumber()
    output_tokens = WholeNumber()
    cache_read_tokens = WholeNumber()
    cache_write_tokens = WholeNumber()


class FailureSchema(Resource):
    """Why a run or message failed."""

    command = models.Failure
    code = Words()
    message = Words()
    retryable = Flag()


class TextBlockSchema(Resource):
    """Text."""

    command = models.TextBlock
    type = fields.String(validate=validate.Equal("text"))
    text = Words()


class ThinkingBlockSchema(Resource):
    """What the model thought aloud."""

    command = models.ThinkingBlock
    type = fields.String(validate=validate.Equal("thinking"))
    text = Words()


class ToolUseBlockSchema(Resource):
    """One tool call, with its result once there is one."""

    command = models.ToolUseBlock
    type = fields.String(validate=validate.Equal("tool_use"))
    id = Words()
    name = Words()
    kind = Words()
    title = Words()
    input = JsonValue(allow_none=True)
    status = fields.Enum(models.ToolStatus, by_value=True)
    result = JsonValue(allow_none=True)
    is_error = Flag()
    started_at = Moment(allow_none=True)
    finished_at = Moment(allow_none=True)
    parent_tool_use_id = Words(allow_none=True)
    progress = Words()
    attachment = OwnId(allow_none=True)


BLOCKS: Mapping[str, type[Schema]] = {
    "text": TextBlockSchema,
    "thinking": ThinkingBlockSchema,
    "tool_use": ToolUseBlockSchema,
}


class AttachmentSchema(Resource):
    """A file that came with a message, or what a tool returned beyond a message's share."""

    command = models.Attachment
    id = OwnId()
    filename = Words()
    mime_type = Words()
    size_bytes = WholeNumber()
    url = Words()


class MessageSchema(Resource):
    """One message. `blocks` is the truth; `content` is the text of its text blocks."""

    command = models.Message
    id = OwnId()
    conversation_id = OwnId()
    project_id = OwnId(allow_none=True)
    request_id = Words(allow_none=True)
    ordinal = WholeNumber()
    seq = WholeNumber()
    role = fields.Enum(models.Role, by_value=True)
    status = fields.Enum(models.MessageStatus, by_value=True)
    content = Words()
    blocks = Items(Variant(BLOCKS), most=None)
    attachments = Items(fields.Nested(AttachmentSchema), most=None)
    type = Words()
    claude_data = JsonValue()
    claude_message_id = Words(allow_none=True)
    model = Words(allow_none=True)
    session_id = Words(allow_none=True)
    usage = fields.Nested(UsageSchema, allow_none=True)
    error = fields.Nested(FailureSchema, allow_none=True)
    parent_tool_use_id = Words(allow_none=True)
    timestamp = Moment()
    created_at = Moment()
    updated_at = Moment()


class ConversationSchema(Resource):
    """One thread with one agent."""

    command = models.Conversation
    id = OwnId()
    project_id = OwnId(allow_none=True)
    user_id = Words()
    title = Words()
    status = fields.Enum(models.ConversationStatus, by_value=True)
    agent = Words(allow_none=True)
    model = Words(allow_none=True)
    permission_mode = fields.Enum(models.PermissionMode, by_value=True)
    bridge_id = Words(allow_none=True)
    working_directory = Words(allow_none=True)
    claude_session_id = Words(allow_none=True)
    seq = WholeNumber()
    state = fields.Enum(models.ConversationState, by_value=True)
    usage = fields.Nested(UsageSchema)
    cost_usd = Amount()
    bypass_until = Moment(allow_none=True)
    created_at = Moment()
    updated_at = Moment()


class PlanEntrySchema(Resource):
    """One line of the agent's to-do list."""

    command = models.PlanEntry
    text = Words()
    status = Words()


class RunNoticeSchema(Resource):
    """Something about a run that a person should know."""

    command = models.RunNotice
    level = Words()
    text = Words()


class RunSchema(Resource):
    """One user message being answered by an agent."""

    request_id = Words()
    conversation_id = OwnId()
    seq = WholeNumber()
    status = fields.Enum(models.RunStatus, by_value=True)
    bridge_id = Words(allow_none=True)
    agent = Words(allow_none=True)
    model = Words(allow_none=True)
    message_ids = Items(OwnId(), most=None)
    queued_at = Moment()
    dispatched_at = Moment(allow_none=True)
    started_at = Moment(allow_none=True)
    last_event_at = Moment(allow_none=True)
    abort_requested_at = Moment(allow_none=True)
    deadline_at = Moment(allow_none=True)
    deadline_reason = Words(allow_none=True)
    finished_at = Moment(allow_none=True)
    away = Flag()
    origin = fields.String(validate=validate.OneOf(["user", "background"]))
    usage = fields.Nested(UsageSchema)
    cost_usd = Amount()
    plan = Items(fields.Nested(PlanEntrySchema), most=None)
    notices = Items(fields.Nested(RunNoticeSchema), most=None)
    error = fields.Nested(FailureSchema, allow_none=True)


class PromptOptionSchema(Resource):
    """One way to answer a prompt."""

    command = models.PromptOption
    id = Words()
    label = Words()
    kind = Words()
    style = Words()


class QuestionOptionSchema(Resource):
    """One choice of a question."""

    command = models.QuestionOption
    omitted = frozenset({"description", "preview"})
    label = Words()
    description = Words()
    preview = Words()


class QuestionSchema(Resource):
    """One question of a prompt of the type `question`."""

    command = models.Question
    omitted = frozenset({"header"})
    id = Words()
    question = Words()
    header = Words()
    multi_select = Flag()
    options = Items(fields.Nested(QuestionOptionSchema), most=None)


class PromptResponseSchema(Resource):
    """What was answered beside the option."""

    command = models.PromptResponse
    message = Words(allow_none=True)
    input = JsonValue(allow_none=True)
    answers = JsonValue(allow_none=True)


class DecisionSchema(Resource):
    """What the rules say about one tool call, and why."""

    command = permissions.Decision
    outcome = fields.Enum(permissions.Outcome, by_value=True)
    rule = fields.Enum(permissions.Rule, by_value=True)
    reason = Words()
    risk = fields.Enum(permissions.Risk, by_value=True)
    grant_id = OwnId(allow_none=True)


class PromptSchema(Resource):
    """A question of the agent to a person."""

    id = OwnId()
    conversation_id = OwnId()
    project_id = OwnId(allow_none=True)
    request_id = Words()
    seq = WholeNumber()
    session_id = Words(allow_none=True)
    type = fields.Enum(models.PromptType, by_value=True)
    title = Words()
    message = Words()
    tool_name = Words(allow_none=True)
    tool_use_id = Words(allow_none=True)
    risk_level = Words()
    decision = fields.Nested(DecisionSchema, allow_none=True)
    input = JsonValue(allow_none=True)
    options = Items(fields.Nested(PromptOptionSchema), most=None)
    questions = Items(fields.Nested(QuestionSchema), most=None)
    editable = Flag()
    status = fields.Enum(models.PromptStatus, by_value=True)
    selected_option = Words(allow_none=True)
    response = fields.Nested(PromptResponseSchema, allow_none=True)
    auto_handler = Words(allow_none=True)
    answered_by = Words(allow_none=True)
    stage = WholeNumber()
    timeout_at = Moment(allow_none=True)
    seen_at = Moment(allow_none=True)
    delivered_at = Moment(allow_none=True)
    created_at = Moment()
    responded_at = Moment(allow_none=True)


class GrantSchema(Resource):
    """A standing answer: calls of this tool (with this input, where a pattern is set) need no asking."""

    command = permissions.Grant
    id = OwnId()
    scope = fields.Enum(permissions.GrantScope, by_value=True)
    conversation_id = OwnId(allow_none=True)
    project_id = OwnId(allow_none=True)
    tool_name = Words()
    pattern = Words(allow_none=True)
    effect = fields.Enum(permissions.GrantEffect, by_value=True)
    status = fields.Enum(permissions.GrantStatus, by_value=True)
    expires_at = Moment(allow_none=True)
    created_by = Words(allow_none=True)
    created_at = Moment()
    revoked_at = Moment(allow_none=True)
    user_id = Words(allow_none=True)


class AuditEntrySchema(Resource):
    """A decision that was taken, by a rule or by a person, or something else that somebody did."""

    command = permissions.AuditEntry
    id = OwnId()
    created_at = Moment()
    action = Words()
    conversation_id = OwnId(allow_none=True)
    project_id = OwnId(allow_none=True)
    request_id = Words(allow_none=True)
    prompt_id = OwnId(allow_none=True)
    type = Words()
    tool_name = Words(allow_none=True)
    risk_level = Words()
    outcome = Words()
    handler = Words()
    rule = Words(allow_none=True)
    reason = Words()
    grant_id = OwnId(allow_none=True)
    user_id = Words(allow_none=True)
    role = Words(allow_none=True)
    address = Words(allow_none=True)
    token_id = OwnId(allow_none=True)
    subject = Words(allow_none=True)
    selected_option = Words(allow_none=True)
    input_digest = Words()
    latency_ms = WholeNumber()


class BucketSchema(Resource):
    """What ended in a stretch of time. The latencies are those of the `answers` of people, null without any."""

    command = series.Bucket
    start_at = Moment()
    runs = fields.Dict(keys=fields.String(), values=WholeNumber())
    usage = fields.Nested(UsageSchema)
    cost_usd = Amount()
    prompts = fields.Dict(keys=fields.String(), values=WholeNumber())
    answers = WholeNumber()
    median_latency_ms = WholeNumber(allow_none=True)
    p95_latency_ms = WholeNumber(allow_none=True)


class ProjectSchema(Resource):
    """A named folder of conversations."""

    command = models.Project
    id = OwnId()
    name = Words()
    working_directory = Words(allow_none=True)
    user_id = Words()
    created_at = Moment()
    updated_at = Moment()


class QueueSchema(Resource):
    """The runs that wait behind a conversation's active one, in order."""

    paused = Flag()
    reason = Words(allow_none=True)
    runs = Items(fields.Nested(RunSchema), most=None)


class AgentSchema(Resource):
    """An agent that a bridge can run, or why it cannot now."""

    omitted = frozenset({"reason"})
    id = Words()
    title = Words()
    available = Flag()
    reason = Words()
    models = Items(Words(), most=None)
    modes = Items(Words(), most=None)


class WorkspaceSchema(Resource):
    """A folder that a bridge lets agents work in."""

    path = Words()
    name = Words()


class BridgeSchema(Resource):
    """One bridge as lists show it."""

    id = Words()
    name = Words()
    hostname = Words()
    version = Words()
    connected = Flag()
    in_process = Flag()
    agents = Items(fields.Nested(AgentSchema), most=None)
    workspaces = Items(fields.Nested(WorkspaceSchema), most=None)
    max_concurrent_requests = WholeNumber()
    active = WholeNumber()
    queued = WholeNumber()
    allow_bypass = Flag()
    connected_at = Moment(allow_none=True)
    last_seen_at = Moment(allow_none=True)


class SearchHitSchema(Resource):
    """A message or title that holds all words; matches in `snippet` stand between U+E000 and U+E001."""

    conversation_id = OwnId()
    project_id = OwnId(allow_none=True)
    title = Words()
    message_id = OwnId(allow_none=True)
    role = Words(allow_none=True)
    snippet = Words()
    created_at = Moment()


class ApiTokenSchema(Resource):
    """A token, without its text. `createdBy` is null where files or settings of the server give it."""

    id = OwnId()
    name = Words()
    role = fields.Enum(AccountRole, by_value=True)
    bridge_id = Words(allow_none=True)
    created_at = Moment()
    created_by = Words(allow_none=True)
    last_used_at = Moment(allow_none=True)
    expires_at = Moment(allow_none=True)
    revoked_at = Moment(allow_none=True)


MIRRORED: Mapping[type, type[Resource]] = {
    models.Usage: UsageSchema,
    models.Failure: FailureSchema,
    models.TextBlock: TextBlockSchema,
    models.ThinkingBlock: ThinkingBlockSchema,
    models.ToolUseBlock: ToolUseBlockSchema,
    models.Attachment: AttachmentSchema,
    models.Message: MessageSchema,
    models.Conversation: ConversationSchema,
    models.Run: RunSchema,
    models.PromptOption: PromptOptionSchema,
    models.QuestionOption: QuestionOptionSchema,
    models.Question: QuestionSchema,
    models.PromptResponse: PromptResponseSchema,
    models.Prompt: PromptSchema,
    permissions.Decision: DecisionSchema,
    permissions.Grant: GrantSchema,
    permissions.AuditEntry: AuditEntrySchema,
    models.Project: ProjectSchema,
    series.Bucket: BucketSchema,
    events.Queue: QueueSchema,
    events.BridgePresence: BridgeSchema,
    frames.AgentOffer: AgentSchema,
    frames.Workspace: WorkspaceSchema,
    stored.SearchHit: SearchHitSchema,
    tokens.ApiToken: ApiTokenSchema,
}
"""Which class of the core each resource mirrors."""
