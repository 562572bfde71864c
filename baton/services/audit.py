"""What the audit keeps of a prompt that has ended: who or which rule decided, about what, and how long it took."""

import hashlib
import json
from typing import Final

from baton.core.ids import new_object_id
from baton.core.models import Prompt, PromptStatus, PromptType
from baton.core.permissions import AuditEntry, Decision
from baton.core.text import Json

_PERSON: Final = "user_selection"


def input_digest(value: Json) -> str:
    """The same digest for the same input, whatever the order of its keys; 32 hex digits."""
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def entry_for(prompt: Prompt, decision: Decision | None) -> AuditEntry:
    """The entry of a prompt that has its end state.

    `decision`: what the rules said when the agent asked, also where that was to ask a person; None for plans and
    questions, which no rule is about.
    """
    assert prompt.responded_at is not None, "an ended prompt has the time of its end"
    took = prompt.responded_at - prompt.created_at
    return AuditEntry(
        id=new_object_id(),
        created_at=prompt.responded_at,
        conversation_id=prompt.conversation_id,
        project_id=prompt.project_id,
        request_id=prompt.request_id,
        prompt_id=prompt.id,
        type=prompt.type,
        tool_name=prompt.tool_name,
        risk_level=prompt.risk_level,
        outcome=_outcome(prompt),
        handler=prompt.auto_handler or _PERSON,
        rule=decision.rule if decision else None,
        reason=decision.reason if decision else "",
        grant_id=decision.grant_id if decision else None,
        user_id=prompt.answered_by,
        selected_option=prompt.selected_option,
        input_digest=input_digest(prompt.input),
        latency_ms=max(0, round(took.total_seconds() * 1000)),
    )


def _outcome(prompt: Prompt) -> str:
    if prompt.status is not PromptStatus.ANSWERED:
        return str(prompt.status)
    if prompt.type is not PromptType.TOOL_PERMISSION:
        return "answered"
    return "allow" if (prompt.selected_option or "").startswith("allow") else "deny"
