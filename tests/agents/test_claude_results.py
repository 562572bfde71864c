"""What a turn of Claude Code comes to: outcome, failure and cost."""

from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="the extra `claude` is not installed")

from claude_agent_sdk import types as sdk

from baton.agents.claude_results import Costs, failure_of, run_result
from baton.core.models import Usage

TOKENS = {"input_tokens": 10, "output_tokens": 2}


def result(session_id: str = "s", cost: float = 0.0, **fields: Any) -> sdk.ResultMessage:
    return sdk.ResultMessage(
        **{
            "subtype": "success",
            "duration_ms": 7,
            "duration_api_ms": 5,
            "is_error": False,
            "num_turns": 1,
            "session_id": session_id,
            "total_cost_usd": cost,
            "usage": TOKENS,
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("stop_reason", "outcome"),
    [("end_turn", "completed"), (None, "completed"), ("max_tokens", "max_tokens"), ("refusal", "refused")],
)
def test_the_outcome_is_why_the_model_stopped(stop_reason: str | None, outcome: str) -> None:
    ended = run_result(result(stop_reason=stop_reason), 0.5)

    assert (ended.outcome, ended.cost_usd, ended.usage) == (outcome, 0.5, Usage(10, 2))


def test_a_turn_that_ended_well_did_not_fail() -> None:
    assert failure_of(result(), None) is None


@pytest.mark.parametrize(
    ("fields", "error", "code", "retryable"),
    [
        ({"api_error_status": 529, "result": "API Error: 529"}, "unknown", "agent_failed", True),
        ({"api_error_status": 400, "result": "API Error: 400"}, "invalid_request", "agent_failed", False),
        ({"api_error_status": 401}, None, "agent_not_logged_in", False),
        ({"result": "Not logged in"}, "authentication_failed", "agent_not_logged_in", False),
        ({"subtype": "error_during_execution", "errors": ["boom"]}, None, "agent_failed", False),
    ],
)
def test_each_failure_has_its_code(fields: dict[str, Any], error: str | None, code: str, retryable: bool) -> None:
    failure = failure_of(result(is_error=True, **fields), error)

    assert failure is not None
    assert (failure.code, failure.retryable) == (code, retryable)


def test_each_turn_has_its_own_cost() -> None:
    costs = Costs()
    costs.begin("s")

    assert [costs.of(result(cost=total)) for total in (1.0, 1.5, 3.5)] == pytest.approx([1.0, 0.5, 2.0])


def test_a_turn_that_had_no_result_is_paid_with_the_next() -> None:
    costs = Costs()
    costs.begin("s")
    costs.of(result(cost=1.0))

    assert costs.of(result(cost=4.0)) == pytest.approx(3.0)


def test_after_a_restart_the_sessions_sum_is_shared_out_by_tokens() -> None:
    of_session = {"claude-x": {"inputTokens": 30, "outputTokens": 6}}

    assert Costs().of(result(cost=3.0, model_usage=of_session)) == pytest.approx(1.0)


def test_a_fork_does_not_pay_for_the_past() -> None:
    costs = Costs()
    costs.begin("s")
    costs.of(result(cost=2.0))
    costs.begin("fork", fork_of="s")

    assert costs.of(result("fork", cost=2.5)) == pytest.approx(0.5)


def test_a_sum_that_begins_anew_is_taken_as_it_is() -> None:
    costs = Costs()
    costs.begin("s")
    costs.of(result(cost=2.0))

    assert costs.of(result(cost=0.25)) == pytest.approx(0.25)
