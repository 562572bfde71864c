"""How each type of prompt may be answered, where its agent names no options of its own.

The ids are the wire's (docs/protocol.md section 4); the kinds are those of the Agent Client Protocol.
"""

from typing import Final

from baton.core.models import PromptOption, PromptType

TOOL_OPTIONS: Final = (
    PromptOption(id="allow_once", label="Allow once", kind="allow_once", style="primary"),
    PromptOption(id="allow_session", label="Allow in this conversation", kind="allow_always"),
    PromptOption(id="allow_always", label="Always allow", kind="allow_always"),
    PromptOption(id="deny", label="Deny", kind="reject_once", style="danger"),
    PromptOption(id="deny_stop", label="Deny and stop", kind="reject_once", style="danger"),
)
PLAN_OPTIONS: Final = (
    PromptOption(id="accept_edits", label="Accept, and accept edits", kind="allow_always", style="primary"),
    PromptOption(id="accept_default", label="Accept, and ask before edits", kind="allow_once"),
    PromptOption(id="edit", label="Accept with changes", kind="allow_once"),
    PromptOption(id="reject", label="Keep planning", kind="reject_once", style="danger"),
)
QUESTION_OPTIONS: Final = (
    PromptOption(id="answer", label="Send answers", kind="allow_once", style="primary"),
    PromptOption(id="deny", label="Do not answer", kind="reject_once"),
)
DEFAULT_OPTIONS: Final = {
    PromptType.TOOL_PERMISSION: TOOL_OPTIONS,
    PromptType.PLAN_REVIEW: PLAN_OPTIONS,
    PromptType.QUESTION: QUESTION_OPTIONS,
}
