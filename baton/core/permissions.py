"""What may be done without asking, and what was decided: risk, grants, decisions, the audit's entries.

Values and the rules about their own life (in force, expired, revoked, who is reached). How they are applied to a tool
call: `baton.services.policy`. Names as in docs/permissions.md; stored in `conversation_permissions` and `audit_log`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, NewType

from baton.core.errors import AlreadyResolved
from baton.core.ids import ConversationId, ProjectId, PromptId, RequestId, TokenId, UserId

GrantId = NewType("GrantId", str)


class Risk(StrEnum):
    """How bad a tool call can be. Declared from the least to the worst."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"

    @property
    def level(self) -> int:
        """Its place in the order, from 0."""
        return list(Risk).index(self)


def worst(risks: Iterable[Risk]) -> Risk:
    """The worst of them; LOW of none."""
    return max(risks, key=lambda risk: risk.level, default=Risk.LOW)


class GrantScope(StrEnum):
    """Whom a grant reaches: one conversation, the conversations of one project, or all."""

    CONVERSATION = "conversation"
    PROJECT = "project"
    ALL = "all"


class GrantEffect(StrEnum):
    """What a grant does to the calls that it matches."""

    ALLOW = "allow"
    DENY = "deny"


class GrantStatus(StrEnum):
    """Where a grant stands; the last two are final."""

    GRANTED = "granted"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A standing answer of a person: calls of this tool (with this input, where a pattern is set) need no asking.

    `pattern` None: whatever the input. Its language depends on the tool: docs/permissions.md.
    """

    id: GrantId
    scope: GrantScope
    conversation_id: ConversationId | None = None
    project_id: ProjectId | None = None
    tool_name: str
    pattern: str | None = None
    effect: GrantEffect = GrantEffect.ALLOW
    status: GrantStatus = GrantStatus.GRANTED
    expires_at: datetime | None = None
    created_by: UserId | None = None
    created_at: datetime
    revoked_at: datetime | None = None
    user_id: UserId | None = None
    """Whose conversations alone it reaches; None: everybody's, as an admin gave it, or its scope is a conversation."""


def is_in_force(grant: Grant, now: datetime) -> bool:
    """Whether it counts at this moment: an expiry takes effect when it is due, not when somebody notes it."""
    return grant.status is GrantStatus.GRANTED and (grant.expires_at is None or now < grant.expires_at)


def reaches(
    grant: Grant, conversation_id: ConversationId, project_id: ProjectId | None, user_id: UserId | None = None
) -> bool:
    """Whether the grant is meant for this conversation, `user_id`'s. One whose own id is missing reaches nobody."""
    if grant.user_id is not None and grant.user_id != user_id:
        return False
    if grant.scope is GrantScope.ALL:
        return True
    if grant.scope is GrantScope.PROJECT:
        return project_id is not None and grant.project_id == project_id
    return grant.conversation_id == conversation_id


def revoke(grant: Grant, at: datetime) -> Grant:
    """The grant as taken back. Raises AlreadyResolved where it has ended."""
    _check_granted(grant)
    return replace(grant, status=GrantStatus.REVOKED, revoked_at=at)


def expire(grant: Grant) -> Grant:
    """The grant as run out. Raises AlreadyResolved where it has ended."""
    _check_granted(grant)
    return replace(grant, status=GrantStatus.EXPIRED)


def _check_granted(grant: Grant) -> None:
    if grant.status is not GrantStatus.GRANTED:
        raise AlreadyResolved(f"The grant has already ended as {grant.status}", winner=grant)


class Outcome(StrEnum):
    """What becomes of a tool call. `ask`: a person decides."""

    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"


class Rule(StrEnum):
    """Which rule decided, in the order in which they are asked."""

    DENY_GRANT = "deny_grant"
    DENY_UNCLEAR = "deny_unclear"
    """A deny grant may be meant: the call cannot be read well enough to tell."""
    PLAN = "plan"
    ALLOW_GRANT = "allow_grant"
    BYPASS = "bypass"
    ACCEPT_EDITS = "accept_edits"
    READ_ONLY = "read_only"
    ASK = "ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the rules say about one tool call, and why, in words for people."""

    outcome: Outcome
    rule: Rule
    reason: str
    risk: Risk
    grant_id: GrantId | None = None


class Action(StrEnum):
    """What the audit knows of. Only what has happened is entered."""

    PROMPT_DECIDED = "prompt.decided"
    """A question of an agent ended: by a rule, by a person, or because nobody answered."""
    LOGIN = "login"
    LOGIN_FAILED = "login.failed"
    LOGOUT = "logout"
    TOKEN_CREATED = "token.created"  # nosec B105  # noqa: S105 - the name of an action
    TOKEN_REVOKED = "token.revoked"  # nosec B105  # noqa: S105 - the name of an action
    CONVERSATION_DELETED = "conversation.deleted"
    CONVERSATION_RESTORED = "conversation.restored"
    CONVERSATION_EXPORTED = "conversation.exported"
    PROJECT_DELETED = "project.deleted"
    RUNS_RESET = "runs.reset"
    SESSIONS_CLEARED = "sessions.cleared"
    GRANT_GIVEN = "grant.given"
    GRANT_REVOKED = "grant.revoked"
    MODE_CHANGED = "mode.changed"


DECIDED: Final = Action.PROMPT_DECIDED.value

DONE: Final = "done"
"""The outcome of every other action: those that came to nothing are not entered, but for wrong tokens."""

PERSON: Final = "user_selection"
"""The handler of what a person did, as prompts have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Something that was done, never with its content: a decision about a call, of which only a digest is kept, or
    what a person did beside (`services.trail` names the actions)."""

    id: str
    created_at: datetime
    action: str = DECIDED
    conversation_id: ConversationId | None = None
    project_id: ProjectId | None = None
    request_id: RequestId | None = None
    prompt_id: PromptId | None = None
    type: str = ""
    tool_name: str | None = None
    risk_level: str = ""
    outcome: str
    """How it ended: `allow`, `deny`, `answered` (a question or a plan), `timeout`, `cancelled`; else `done`."""
    handler: str = PERSON
    """Who ended it, as the prompt's autoHandler says."""
    rule: str | None = None
    """The rule that decided, or that had a person asked; None for plans and questions."""
    reason: str = ""
    grant_id: GrantId | None = None
    user_id: UserId | None = None
    """The person who answered or did it; None where nobody did, or nobody knows who it was."""
    role: str | None = None
    """That person's at the time; None for decisions."""
    address: str | None = None
    """Where from; None: from the server's own machine, without a request."""
    token_id: TokenId | None = None
    """The token that said who it is."""
    subject: str | None = None
    """What it was done to, beside the conversation: a token's id and name, a mode, a number."""
    selected_option: str | None = None
    input_digest: str = ""
    latency_ms: int = 0
    """From the question to its end."""
