"""How a turn of Claude Code ended: an outcome, or the failure that it comes to. Pure, but for the cost ledger."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from claude_agent_sdk import types as sdk

from baton.agents.claude_environment import LOGIN_CURE
from baton.agents.claude_events import usage_of
from baton.core.errors import AgentFailed
from baton.core.frames import RunResult
from baton.core.text import clean_text

_OUTCOMES: Final = {"max_tokens": "max_tokens", "refusal": "refused"}
_PASSING: Final = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_LOGIN_ERRORS: Final = frozenset({"authentication_failed", "oauth_org_not_allowed"})
_REMEMBERED_SESSIONS: Final = 10_000
_WEIGHTS: Final = (
    (("input_tokens", "inputTokens"), 1.0),
    (("output_tokens", "outputTokens"), 5.0),
    (("cache_read_input_tokens", "cacheReadInputTokens"), 0.1),
    (("cache_creation_input_tokens", "cacheCreationInputTokens"), 1.25),
)
"""What kinds of tokens cost relative to each other, by Anthropic's price list; only used to share out a known sum."""


class Costs:
    """What each session has cost as far as it was told, because Claude Code reports sums over a session's whole life.

    A turn that fails or is aborted has no result to carry its cost: the session's next one does.
    """

    def __init__(self) -> None:
        self._told: OrderedDict[str, float] = OrderedDict()

    def begin(self, session_id: str, *, fork_of: str | None = None) -> None:
        """A session that has cost nothing yet, or as much as the one it is a fork of."""
        told = 0.0 if fork_of is None else self._told.get(fork_of)
        if told is not None:
            self._remember(session_id, told)

    def of(self, result: sdk.ResultMessage) -> float:
        """US dollars of this turn. The first turn after a restart of Baton is estimated: the session's sum, shared
        out by tokens."""
        total = result.total_cost_usd or 0.0
        told = self._told.get(result.session_id)
        self._remember(result.session_id, total)
        if told is None:
            return total * _share(result)
        # A total below what was told means that Claude Code began to count anew (/clear).
        return total - told if total >= told else total

    def _remember(self, session_id: str, total: float) -> None:
        self._told[session_id] = total
        self._told.move_to_end(session_id)
        if len(self._told) > _REMEMBERED_SESSIONS:
            self._told.popitem(last=False)


def _share(result: sdk.ResultMessage) -> float:
    of_turn = _weigh(result.usage or {})
    of_session = sum(_weigh(usage) for usage in (result.model_usage or {}).values())
    return min(1.0, of_turn / of_session) if of_session else 1.0


def _weigh(usage: Mapping[str, Any]) -> float:
    return sum(weight * float(usage.get(name) or 0) for names, weight in _WEIGHTS for name in names)


def run_result(result: sdk.ResultMessage, cost_usd: float) -> RunResult:
    """The result of a turn that ended well."""
    return RunResult(
        outcome=_OUTCOMES.get(result.stop_reason or "", "completed"),
        session_id=result.session_id,
        usage=usage_of(result.usage),
        cost_usd=cost_usd,
        duration_ms=result.duration_ms,
        num_turns=result.num_turns,
    )


def failure_of(result: sdk.ResultMessage, error: str | None) -> AgentFailed | None:
    """What the turn failed of; None: it did not. `error`: what Claude Code said of itself instead of an answer."""
    if not result.is_error:
        return None
    text = clean_text(result.result or "; ".join(result.errors or ()) or result.subtype)
    if error in _LOGIN_ERRORS or result.api_error_status == 401:
        return AgentFailed(f"{LOGIN_CURE} (it says: {text})", code="agent_not_logged_in")
    status = result.api_error_status
    if status is not None:
        return AgentFailed(f"Claude's API answered {status}: {text}", retryable=status in _PASSING)
    return AgentFailed(f"Claude Code could not finish: {text}", retryable=result.terminal_reason == "api_error")
