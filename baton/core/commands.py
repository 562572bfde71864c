"""What a person asks for, validated: `schemas` makes these, `services` carries them out.

`Unset` marks a property that a patch leaves as it is, because None can be a value.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import Final

from baton.core.ids import (
    AttachmentId,
    BridgeId,
    ConversationId,
    MessageId,
    ProjectId,
    PromptId,
    RequestId,
    TokenId,
    UserId,
)
from baton.core.models import PermissionMode, PromptResponse
from baton.core.permissions import GrantEffect, GrantScope


class AccountRole(StrEnum):
    """What a credential may do. `bridge` may only be a bridge."""

    USER = "user"
    BRIDGE = "bridge"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: the name on the credential, and its role."""

    user_id: UserId
    role: AccountRole
    token_id: TokenId | None = None
    """The token that says so; None: nobody needs one here."""
    bridge_id: BridgeId | None = None
    """Of the role bridge: the one bridge that the token is bound to, if it was used already."""
    address: str | None = field(default=None, compare=False)
    """Where from, for the audit; None: from this machine, without a request."""

    login_id: str | None = field(default=None, compare=False)
    """The login whose cookie came with it; None: the token itself did."""

    @property
    def is_admin(self) -> bool:
        """Whether it sees what is others', and speaks for everybody."""
        return self.role is AccountRole.ADMIN


class _Unset(Enum):
    UNSET = "unset"


Unset = _Unset
UNSET: Final = _Unset.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMessage:
    """Ask an agent. Without a conversation a new one is made, in the project if one is named."""

    request_id: RequestId
    content: str
    conversation_id: ConversationId | None = None
    project_id: ProjectId | None = None
    session_id: str | None = None
    attachments: tuple[AttachmentId, ...] = ()
    agent: str | None = None
    model: str | None = None
    permission_mode: PermissionMode | None = None
    working_directory: str | None = None
    allowed_tools: tuple[str, ...] = ()
    bridge_id: BridgeId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRun:
    """Ask again what a failed or aborted run was asked, under a new requestId."""

    request_id: RequestId
    new_request_id: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateConversation:
    """Make an empty conversation. With a requestId, the same one again gives the same conversation."""

    request_id: RequestId | None = None
    project_id: ProjectId | None = None
    title: str | None = None
    agent: str | None = None
    model: str | None = None
    permission_mode: PermissionMode | None = None
    working_directory: str | None = None
    bridge_id: BridgeId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchConversation:
    """Change properties of a conversation."""

    title: str | Unset = UNSET
    project_id: ProjectId | None | Unset = UNSET
    agent: str | None | Unset = UNSET
    model: str | None | Unset = UNSET
    working_directory: str | None | Unset = UNSET
    bridge_id: BridgeId | None | Unset = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinConversation:
    """Watch a conversation; `after` and `epoch` name what the client already has."""

    conversation_id: ConversationId
    after: int | None = None
    epoch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateQueued:
    """Change the text of a run that still waits in its queue."""

    request_id: RequestId
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveQueued:
    """Give a waiting run another place in its queue; 1 is next."""

    request_id: RequestId
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RespondPrompt:
    """Answer a prompt with one of its options."""

    prompt_id: PromptId
    selected_option: str
    response: PromptResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateGrant:
    """Allow or deny the calls of a tool from now on. `pattern`: only those whose input it means."""

    tool_name: str
    pattern: str | None = None
    scope: GrantScope = GrantScope.CONVERSATION
    effect: GrantEffect = GrantEffect.ALLOW
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateWideGrant:
    """The same in every conversation of a project, or in all there are (`project_id` None)."""

    tool_name: str
    pattern: str | None = None
    project_id: ProjectId | None = None
    effect: GrantEffect = GrantEffect.ALLOW
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateProject:
    """Make a project."""

    name: str
    working_directory: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchProject:
    """Change properties of a project."""

    name: str | Unset = UNSET
    working_directory: str | None | Unset = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkConversation:
    """Copy a conversation up to and with a message (None: all of it); the copy's first run forks the session."""

    conversation_id: ConversationId
    at_message_id: MessageId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSession:
    """Make a conversation of a session that an agent keeps itself, on its bridge's machine."""

    session_id: str
    bridge_id: BridgeId | None = None
    """None: the one bridge that is connected."""
    working_directory: str | None = None
    project_id: ProjectId | None = None
