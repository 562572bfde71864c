"""The objects around the resources in REST answers, for OpenAPI and for the tests that hold answers to it."""

from typing import Any

from marshmallow import fields, validate

from baton.core.commands import AccountRole
from baton.core.models import PermissionMode
from baton.core.series import BucketWidth
from baton.schemas.fields import Amount, Flag, Items, Moment, WholeNumber
from baton.schemas.resources import (
    ApiTokenSchema,
    AttachmentSchema,
    AuditEntrySchema,
    BridgeSchema,
    BucketSchema,
    ConversationSchema,
    GrantSchema,
    MessageSchema,
    OwnId,
    ProjectSchema,
    PromptSchema,
    Resource,
    RunSchema,
    SearchHitSchema,
    Words,
)


def _one(resource: type[Resource], **kwargs: Any) -> fields.Nested:
    return fields.Nested(resource, **kwargs)


def _many(resource: type[Resource]) -> Items:
    return Items(fields.Nested(resource), most=None)


def _counts() -> fields.Dict:
    return fields.Dict(keys=fields.String(), values=WholeNumber())


class DoneAnswer(Resource):
    """It is done."""

    ok = fields.Boolean(validate=validate.Equal(True), metadata={"enum": [True]})


class ConversationAnswer(DoneAnswer):
    """One conversation."""

    conversation = _one(ConversationSchema)


class ConversationsAnswer(DoneAnswer):
    """A page of conversations; `next` is the cursor of the next one, null at the end. `seen`: up to which seq whoever
    asks has seen each; what they never looked at is not in it."""

    conversations = _many(ConversationSchema)
    seen = _counts()
    next = Words(allow_none=True)


class MessagesAnswer(DoneAnswer):
    """A page of messages by ordinal, and their runs; `next` is where the next page of the same direction begins, null
    at the end."""

    messages = _many(MessageSchema)
    runs = _many(RunSchema)
    next = WholeNumber(allow_none=True)


class SentAnswer(DoneAnswer):
    """What became of a message that was sent. `run` is null where the run has been deleted since."""

    omitted = frozenset({"position", "reason"})
    request_id = Words()
    conversation_id = OwnId()
    message_id = OwnId()
    status = fields.String(validate=validate.OneOf(["dispatched", "queued"]))
    position = WholeNumber()
    reason = Words()
    run = _one(RunSchema, allow_none=True)


class RunAnswer(DoneAnswer):
    """One run."""

    run = _one(RunSchema)


class RunsAnswer(DoneAnswer):
    """Runs, oldest first."""

    runs = _many(RunSchema)


class PromptAnswer(DoneAnswer):
    """One prompt."""

    prompt = _one(PromptSchema)


class PromptsAnswer(DoneAnswer):
    """Prompts, newest first."""

    prompts = _many(PromptSchema)


class GrantAnswer(DoneAnswer):
    """One grant."""

    permission = _one(GrantSchema)


class GrantsAnswer(DoneAnswer):
    """Grants, newest first."""

    permissions = _many(GrantSchema)


class AuditAnswer(DoneAnswer):
    """What was decided and done, newest first. `next`: the cursor of the page that follows; null at the end."""

    entries = _many(AuditEntrySchema)
    next = Words(allow_none=True)


class ModeAnswer(DoneAnswer):
    """A conversation's permission mode."""

    mode = fields.Enum(PermissionMode, by_value=True)


class ProjectAnswer(DoneAnswer):
    """One project."""

    project = _one(ProjectSchema)


class ProjectsAnswer(DoneAnswer):
    """Projects, newest first."""

    projects = _many(ProjectSchema)


class AttachmentAnswer(DoneAnswer):
    """One attachment."""

    attachment = _one(AttachmentSchema)


class BridgesAnswer(DoneAnswer):
    """The bridges that are connected, or were a moment ago."""

    bridges = _many(BridgeSchema)


class SearchAnswer(DoneAnswer):
    """A page of hits, newest first; `next` is the cursor of the next one, null at the end."""

    results = _many(SearchHitSchema)
    next = Words(allow_none=True)


class StatsAnswer(DoneAnswer):
    """How many there are of each status; decisions by `<outcome>/<handler>`."""

    messages = _counts()
    runs = _counts()
    prompts = _counts()
    conversations = _counts()
    decisions = _counts()


class SeriesAnswer(DoneAnswer):
    """Buckets without a gap, the earliest first, also empty ones; `until` is the end of the last."""

    since = Moment()
    until = Moment()
    bucket = fields.Enum(BucketWidth, by_value=True)
    buckets = _many(BucketSchema)


class LatencyAnswer(DoneAnswer):
    """What one round through each part takes now; `bridgeRoundTripMs` is null without a bridge."""

    store_write_ms = Amount()
    store_read_ms = Amount()
    bridge_round_trip_ms = Amount(allow_none=True)
    loop_lag_ms = Amount()


class ResetAnswer(DoneAnswer):
    """How many runs were ended as aborted, and how many prompts as cancelled."""

    runs = WholeNumber()
    prompts = WholeNumber()


class ClearedAnswer(DoneAnswer):
    """How many conversations will start a new session with their next run."""

    cleared = WholeNumber()


class IdentityAnswer(DoneAnswer):
    """Who the credential says you are."""

    user_id = Words()
    role = fields.Enum(AccountRole, by_value=True)


class ConnectionsSchema(Resource):
    """How many are connected, and how many conversations are watched."""

    sockets = WholeNumber()
    conversations = WholeNumber()
    bridges = WholeNumber()


class ServicesSchema(Resource):
    """`ok` or `down` for each part; jobs can be `degraded: ` and what is wrong with which."""

    store = Words()
    bridge = Words()
    jobs = Words()
    frontend = Words()


class RunCountsSchema(Resource):
    """Runs that have not ended."""

    active = WholeNumber()
    queued = WholeNumber()
    away = WholeNumber()
    stuck = WholeNumber()


class PromptCountsSchema(Resource):
    """Prompts that wait for a person."""

    pending = WholeNumber()


class HealthAnswer(Resource):
    """How the server is."""

    status = fields.String(validate=validate.OneOf(["ok", "degraded", "down"]))
    version = Words()
    uptime_s = Amount()
    connections = _one(ConnectionsSchema)
    services = _one(ServicesSchema)
    runs = _one(RunCountsSchema)
    prompts = _one(PromptCountsSchema)


class ReadinessAnswer(Resource):
    """Whether the process lives, or takes requests."""

    status = fields.String(validate=validate.OneOf(["ok", "down"]))


class ErrorSchema(Resource):
    """What is wrong. `fields` names each wrong field; `incident` is what the log names an internal error by."""

    omitted = frozenset({"wrong_fields", "incident"})
    code = Words()
    message = Words()
    retryable = Flag()
    wrong_fields = fields.Dict(keys=fields.String(), values=fields.List(fields.String()), data_key="fields")
    incident = Words()


class ErrorAnswer(Resource):
    """The one error shape. `already_resolved` carries the winner: the prompt or the run as it ended."""

    omitted = frozenset({"prompt", "run"})
    ok = fields.Boolean(validate=validate.Equal(False), metadata={"enum": [False]})
    error = _one(ErrorSchema)
    prompt = _one(PromptSchema)
    run = _one(RunSchema)


class AgentSessionResource(Resource):
    """A session that an agent keeps itself, on the machine of its bridge."""

    session_id = Words()
    title = Words()
    working_directory = Words()
    started_at = Moment(allow_none=True)
    updated_at = Moment(allow_none=True)
    size_bytes = WholeNumber()


class SessionsAnswer(DoneAnswer):
    """A page of sessions, the newest first; `next` is the cursor of the next one, null at the end."""

    sessions = _many(AgentSessionResource)
    next = Words(allow_none=True)


class ImportedAnswer(DoneAnswer):
    """The conversation of a session, and whether it was made just now."""

    conversation = _one(ConversationSchema)
    is_new = Flag()
    message_count = WholeNumber()


class TokensAnswer(DoneAnswer):
    """Tokens, newest first."""

    tokens = _many(ApiTokenSchema)


class TokenAnswer(DoneAnswer):
    """One token."""

    token = _one(ApiTokenSchema)


class NewTokenAnswer(TokenAnswer):
    """A token that was just made. `secret` is its text, which is told this once and kept nowhere."""

    secret = Words()
