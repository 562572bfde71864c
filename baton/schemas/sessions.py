"""What a bridge answers when it is asked for an agent's own sessions: foreign input, judged here.

`sessions.list` and `sessions.read` of the bridge wire (docs/protocol.md section 5).
"""

from dataclasses import dataclass
from datetime import datetime

from marshmallow import EXCLUDE, fields

from baton.core.models import Block, Role, Usage
from baton.schemas.fields import Items, Moment, Payload, Text, WholeNumber
from baton.schemas.resources import BLOCKS, UsageSchema, Variant

MAX_MESSAGES = 1000
MAX_BLOCKS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSession:
    """One session that an agent keeps itself."""

    session_id: str
    title: str
    working_directory: str
    started_at: datetime | None
    updated_at: datetime | None
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldMessage:
    """One message of such a session."""

    role: Role
    at: datetime | None
    id: str | None
    model: str | None
    usage: Usage | None
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionList:
    """A page of sessions, and the cursor of the next one."""

    sessions: tuple[AgentSession, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPage:
    """A page of one session's messages, and the cursor of the next one."""

    session: AgentSession
    messages: tuple[ToldMessage, ...]
    next: str | None


class _Answer(Payload):
    """A newer bridge may say more."""

    class Meta:
        unknown = EXCLUDE


class AgentSessionSchema(_Answer):
    """One session."""

    command = AgentSession
    session_id = Text(least=1, required=True)
    title = Text(most=None, required=True)
    working_directory = Text(most=None, required=True)
    started_at = Moment(required=True, allow_none=True)
    updated_at = Moment(required=True, allow_none=True)
    size_bytes = WholeNumber(required=True)


class ToldMessageSchema(_Answer):
    """One message."""

    command = ToldMessage
    role = fields.Enum(Role, by_value=True, required=True)
    at = Moment(required=True, allow_none=True)
    id = Text(required=True, allow_none=True)
    model = Text(required=True, allow_none=True)
    usage = fields.Nested(UsageSchema, required=True, allow_none=True)
    blocks = Items(Variant(BLOCKS), most=MAX_BLOCKS, required=True)


class SessionListSchema(_Answer):
    """A page of sessions."""

    command = SessionList
    sessions = Items(fields.Nested(AgentSessionSchema), most=MAX_MESSAGES, required=True)
    next = Text(required=True, allow_none=True)


class SessionPageSchema(_Answer):
    """A page of messages."""

    command = SessionPage
    session = fields.Nested(AgentSessionSchema, required=True)
    messages = Items(fields.Nested(ToldMessageSchema), most=MAX_MESSAGES, required=True)
    next = Text(required=True, allow_none=True)
