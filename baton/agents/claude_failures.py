"""What went wrong with Claude Code's process or with a call to it, as the failure that a run has. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

import claude_agent_sdk as sdk

from baton.agents.claude_environment import without_secrets
from baton.core.errors import AgentFailed
from baton.core.text import clean_text

_SHOWN_LINES: Final = 3
_TEXT_CHARS: Final = 500


class SessionUnknown(AgentFailed):
    """Claude Code has no session of the id that was to be resumed."""


def process_failure(error: BaseException | None, stderr: Iterable[str], environment: Mapping[str, str]) -> AgentFailed:
    """The failure that an error of the SDK comes to (None: the process ended, and nobody knows why).

    Its text has the last lines of `stderr`, without anything secret of `environment`.
    """
    if isinstance(error, sdk.ResultError) and any("No conversation found" in text for text in error.errors):
        return SessionUnknown("Claude Code does not know this session any more")
    if isinstance(error, sdk.CLINotFoundError):
        return AgentFailed("Claude Code's program could not be started", code="agent_missing")
    if isinstance(error, sdk.ProcessError):
        what = f"Claude Code ended unexpectedly ({_exit_text(error.exit_code)})"
    elif error is None:
        what = "Claude Code ended unexpectedly"
    else:
        what = f"Claude Code failed: {error}"
    lines = [line.strip() for line in stderr if line.strip()][-_SHOWN_LINES:]
    text = f"{what}: {' / '.join(lines)}" if lines else what
    return AgentFailed(clean_text(without_secrets(text, environment))[:_TEXT_CHARS], retryable=True)


def _exit_text(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
