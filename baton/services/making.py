"""How a new conversation looks, whoever makes it: a send, conversation:create, a fork, an import."""

from datetime import datetime, timedelta
from typing import Final

from baton.core.commands import CreateConversation, Identity
from baton.core.ids import ConversationId
from baton.core.models import Conversation, PermissionMode

_TITLE_CHARS: Final = 80


def title_of(content: str) -> str:
    """The first line that says something, cut at a word where it is long."""
    line = next((line.strip() for line in content.splitlines() if line.strip()), "New conversation")
    if len(line) <= _TITLE_CHARS:
        return line
    cut = line[:_TITLE_CHARS].rsplit(" ", 1)[0] or line[:_TITLE_CHARS]
    return f"{cut}…"


def new_conversation(
    who: Identity, command: CreateConversation, conversation_id: ConversationId, at: datetime, bypass_s: float
) -> Conversation:
    """An empty conversation; it gets its title from its first message if it has none.

    `bypass_s`: how long `bypassPermissions` lasts, where it begins in that mode.
    """
    is_bypass = command.permission_mode is PermissionMode.BYPASS
    return Conversation(
        id=conversation_id,
        project_id=command.project_id,
        user_id=who.user_id,
        title=command.title or "",
        agent=command.agent,
        model=command.model,
        permission_mode=command.permission_mode or PermissionMode.DEFAULT,
        bypass_until=at + timedelta(seconds=bypass_s) if is_bypass else None,
        bridge_id=command.bridge_id,
        working_directory=command.working_directory,
        created_at=at,
        updated_at=at,
    )
