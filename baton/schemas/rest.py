"""What a REST request may carry: one schema per body and per query string of docs/protocol.md section 3.

Requests that Socket.IO knows too use that event's schema (`schemas.browser`). An id that stands in the path is
put into the body by the route before it is judged, where the body has a field of that name.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marshmallow import INCLUDE, ValidationError, fields, post_load, validates_schema

from baton.core import commands
from baton.core.commands import AccountRole
from baton.core.ids import BridgeId, ConversationId, ProjectId, UserId, new_object_id
from baton.core.models import ConversationStatus, PermissionMode, PromptStatus
from baton.core.permissions import Action, GrantEffect, GrantScope
from baton.core.series import BucketWidth
from baton.core.stored import ConversationFilter
from baton.core.tokens import CreateToken
from baton.schemas.browser import SendMessageSchema
from baton.schemas.fields import Flag, Mode, Moment, Name, ObjectId, Path, Payload, RequestName, Text, WholeNumber

MAX_CONVERSATIONS = 200
MAX_MESSAGES = 500
MAX_HITS = 100
MAX_ENTRIES = 1000
MAX_PATTERN_CHARS = 500
_MAX_CURSOR_LENGTH = 500
_MAX_TOKEN_LENGTH = 512
MAX_TOKEN_NAME_LENGTH = 100
MAX_TOKEN_DAYS = 3650
_DIGITS = re.compile(r"[0-9]{1,15}\Z", re.ASCII)


class QueryNumber(fields.Integer):
    """A whole number in a query string, from `least` to `most`: ASCII digits and nothing else."""

    def __init__(self, *, least: int = 0, most: int = 10**15, **kwargs: Any) -> None:
        super().__init__(metadata={"minimum": least, "maximum": most}, **kwargs)
        self.least, self.most = least, most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not isinstance(value, str) or not _DIGITS.match(value) or not self.least <= int(value) <= self.most:
            raise ValidationError(f"Must be a whole number from {self.least} to {self.most}.")
        return int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationsQuery:
    """Which conversations, and which page of them."""

    where: ConversationFilter
    cursor: str | None
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """Which messages: below the ordinal `before` or above `after`; neither: the newest."""

    before: int | None = None
    after: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """What to look for, and where."""

    q: str
    project_id: ProjectId | None = None
    next: str | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsQuery:
    """Which of an agent's own sessions."""

    bridge_id: BridgeId | None = None
    working_directory: str | None = None
    next: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesQuery:
    """From when to when, in buckets of which width."""

    since: datetime | None = None
    until: datetime | None = None
    bucket: BucketWidth = BucketWidth.HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which entries of the audit."""

    conversation_id: ConversationId | None = None
    user_id: UserId | None = None
    action: Action | None = None
    next: str | None = None
    limit: int = 100


class ConversationsQuerySchema(Payload):
    """`GET /api/chat/conversations`."""

    project_id = ObjectId("project")
    status = fields.Enum(ConversationStatus, by_value=True)
    session_id = Name()
    user_id = Name()
    next = Text(most=_MAX_CURSOR_LENGTH)
    limit = QueryNumber(least=1, most=MAX_CONVERSATIONS)

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> ConversationsQuery:
        """The filter, and the page."""
        cursor, limit = loaded.pop("next", None), loaded.pop("limit", 50)
        return ConversationsQuery(where=ConversationFilter(**loaded), cursor=cursor, limit=limit)


class HistoryQuerySchema(Payload):
    """`GET .../messages`."""

    command = HistoryQuery
    before = QueryNumber()
    after = QueryNumber()
    limit = QueryNumber(least=1, most=MAX_MESSAGES)

    @validates_schema
    def check(self, loaded: dict[str, Any], **_: object) -> None:
        """One direction."""
        if "before" in loaded and "after" in loaded:
            raise ValidationError("Give before or after, not both.", "after")


class SearchQuerySchema(Payload):
    """`GET /api/chat/search`."""

    command = SearchQuery
    q = Name(required=True)
    project_id = ObjectId("project")
    next = Text(most=_MAX_CURSOR_LENGTH)
    limit = QueryNumber(least=1, most=MAX_HITS)


class ExportQuerySchema(Payload):
    """`GET .../export`."""

    format = fields.String(load_default="json", metadata={"enum": ["json", "md"]})

    @validates_schema
    def check(self, loaded: dict[str, Any], **_: object) -> None:
        """A format that there is."""
        if loaded["format"] not in ("json", "md"):
            raise ValidationError("Must be one of: json, md.", "format")


class SessionsQuerySchema(Payload):
    """`GET /api/bridges/sessions`."""

    command = SessionsQuery
    bridge_id = Name()
    working_directory = Path()
    next = Text(most=_MAX_CURSOR_LENGTH)
    limit = QueryNumber(least=1, most=MAX_CONVERSATIONS)


class ImportSessionSchema(Payload):
    """`POST /api/bridges/sessions/import`."""

    command = commands.ImportSession
    session_id = Name(required=True)
    bridge_id = Name(allow_none=True)
    working_directory = Path(allow_none=True)
    project_id = ObjectId("project", allow_none=True)


class RunsQuerySchema(Payload):
    """`GET /api/chat/runs`: only those that have not ended can be listed."""

    status = fields.String(load_default="active", metadata={"enum": ["active"]})

    @validates_schema
    def check(self, loaded: dict[str, Any], **_: object) -> None:
        """The one list that there is."""
        if loaded["status"] != "active":
            raise ValidationError("Must be one of: active.", "status")


class PromptsQuerySchema(Payload):
    """`GET /api/chat/prompts`."""

    status = fields.Enum(PromptStatus, by_value=True, load_default=None)


class CreateGrantSchema(Payload):
    """`POST .../{id}/permissions`."""

    command = commands.CreateGrant
    tool_name = Name(required=True)
    pattern = Text(allow_none=True, most=MAX_PATTERN_CHARS)
    scope = fields.Enum(GrantScope, by_value=True)
    effect = fields.Enum(GrantEffect, by_value=True)
    expires_at = Moment(allow_none=True)


class CreateWideGrantSchema(Payload):
    """`POST /api/permissions`."""

    command = commands.CreateWideGrant
    tool_name = Name(required=True)
    pattern = Text(allow_none=True, most=MAX_PATTERN_CHARS)
    project_id = ObjectId("project", allow_none=True)
    effect = fields.Enum(GrantEffect, by_value=True)
    expires_at = Moment(allow_none=True)


class AuditQuerySchema(Payload):
    """`GET /api/audit`."""

    command = AuditQuery
    conversation_id = ObjectId("conversation")
    user_id = Name()
    action = fields.Enum(Action, by_value=True)
    next = Text(most=_MAX_CURSOR_LENGTH)
    limit = QueryNumber(least=1, most=MAX_ENTRIES)


class SeriesQuerySchema(Payload):
    """`GET /api/stats/series`."""

    command = SeriesQuery
    since = Moment()
    until = Moment()
    bucket = fields.Enum(BucketWidth, by_value=True)


class SendBodySchema(SendMessageSchema):
    """`POST .../messages`: as `chat:send-message`; without a requestId, each request is a new one."""

    class Meta(Payload.Meta):
        exclude = ("project_id",)

    request_id = RequestName(load_default=new_object_id)


class PatchConversationSchema(Payload):
    """`PATCH /api/chat/conversations/{conversationId}`: what is absent stays; null takes a value away."""

    command = commands.PatchConversation
    title = Text()
    project_id = ObjectId("project", allow_none=True)
    agent = Name(allow_none=True)
    model = Name(allow_none=True)
    working_directory = Path(allow_none=True)
    bridge_id = Name(allow_none=True)


class ForkConversationSchema(Payload):
    """`POST .../fork`."""

    command = commands.ForkConversation
    conversation_id = ObjectId("conversation", required=True)
    at_message_id = ObjectId("message", allow_none=True)


class SessionBodySchema(Payload):
    """`PUT .../session`."""

    claude_session_id = Name(required=True)


class ModeBodySchema(Payload):
    """`POST .../permission-mode`: `mode`, or `permissionMode` for the same; gives the PermissionMode."""

    mode = Mode()
    permission_mode = Mode()

    @validates_schema
    def check(self, loaded: dict[str, Any], **_: object) -> None:
        """One mode."""
        if len(set(loaded.values())) != 1:
            raise ValidationError("Give one mode.", "mode")

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> PermissionMode:
        """The mode, whichever name it came under."""
        mode: PermissionMode = next(iter(loaded.values()))
        return mode


class CreateProjectSchema(Payload):
    """`POST /api/projects`."""

    command = commands.CreateProject
    name = Name(required=True)
    working_directory = Path(allow_none=True)


class PatchProjectSchema(Payload):
    """`PATCH /api/projects/{projectId}`: what is absent stays; null takes the folder away."""

    command = commands.PatchProject
    name = Name()
    working_directory = Path(allow_none=True)


class LoginSchema(Payload):
    """`POST /api/login`."""

    token = Text(required=True, least=1, most=_MAX_TOKEN_LENGTH)


class UploadSchema(Payload):
    """`POST /api/attachments`: a form; read by the route itself, described here. What else is in it is passed over."""

    class Meta:
        unknown = INCLUDE

    file = fields.Raw(required=True, metadata={"type": "string", "format": "binary"})


class TokenName(Name):
    """What a person calls a token: 1 to 100 characters, none of which moves a terminal's cursor."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        name = super()._deserialize(value, attr, data, **kwargs)
        if not name.isprintable() or len(name) > MAX_TOKEN_NAME_LENGTH:
            raise ValidationError(f"Must be 1 to {MAX_TOKEN_NAME_LENGTH} printable characters.")
        return name


class CreateTokenSchema(Payload):
    """`POST /api/tokens`."""

    command = CreateToken
    name = TokenName(required=True)
    role = fields.Enum(AccountRole, by_value=True, required=True)
    expires_in_days = WholeNumber(least=1, most=MAX_TOKEN_DAYS, allow_none=True)
    same_user = Flag()
