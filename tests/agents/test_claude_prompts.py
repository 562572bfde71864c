"""Prompts and answers of Claude Code, without any process."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="the extra `claude` is not installed")

from claude_agent_sdk import types as sdk

from baton.agents.claude_prompts import Decision, TurnPrompts, prompt_for, result_for
from baton.core.frames import PromptAsked
from baton.core.models import PromptType
from baton.core.ports import PromptAnswer
from tests.support.recording_turn import RecordingTurn, choosing

BASH = {"command": "rm -r build"}
ASKED = {
    "questions": [
        {"question": "Which?", "header": "H", "multiSelect": False, "options": [{"label": "A", "description": "d"}]},
        {"question": "And?", "multiSelect": True, "options": []},
    ]
}


def context(**fields: Any) -> sdk.ToolPermissionContext:
    return sdk.ToolPermissionContext(tool_use_id="t1", **fields)


def decided(tool: str, tool_input: dict[str, Any], **answer: Any) -> Decision:
    return result_for(prompt_for(tool, tool_input, context()), tool_input, PromptAnswer(**answer))


def allowed(decision: Decision) -> dict[str, Any]:
    assert isinstance(decision.result, sdk.PermissionResultAllow)
    assert decision.result.updated_input is not None
    return decision.result.updated_input


def denied(decision: Decision) -> sdk.PermissionResultDeny:
    assert isinstance(decision.result, sdk.PermissionResultDeny)
    return decision.result


def test_a_tool_prompt_says_what_and_why() -> None:
    prompt = prompt_for("Bash", BASH, context(description="Clean up", blocked_path="/etc"))

    assert (prompt.type, prompt.title) == (PromptType.TOOL_PERMISSION, "Bash: rm -r build")
    assert prompt.message == "Clean up\nIt reaches /etc"
    assert (prompt.tool_use_id, prompt.input) == ("t1", BASH)


@pytest.mark.parametrize("option", ["deny", "timeout", "something_else"])
def test_every_option_that_does_not_allow_denies(option: str) -> None:
    decision = decided("Bash", BASH, selected_option=option, message="because")

    assert (denied(decision).message, denied(decision).interrupt, decision.stops) == ("because", False, False)


def test_deny_and_stop_interrupts() -> None:
    decision = decided("Bash", BASH, selected_option="deny_stop")

    assert denied(decision).interrupt
    assert decision.stops


def test_deny_and_stop_with_a_reason_leaves_the_interrupt_to_the_session_because_it_would_lose_the_reason() -> None:
    decision = decided("Bash", BASH, selected_option="deny_stop", message="not on a Friday")

    assert (denied(decision).message, denied(decision).interrupt) == ("not on a Friday", False)
    assert decision.stops


@pytest.mark.parametrize("option", ["allow_once", "allow_session", "allow_always"])
def test_what_claude_code_suggests_to_allow_from_now_on_is_never_handed_back(option: str) -> None:
    decision = decided("Bash", BASH, selected_option=option)

    assert isinstance(decision.result, sdk.PermissionResultAllow)
    assert decision.result.updated_permissions is None


def test_answers_are_handed_over_by_the_text_of_the_question() -> None:
    decision = decided(
        "AskUserQuestion", ASKED, selected_option="answer", answers={"q1": "A", "q2": ["x", "y"], "q9": "?"}
    )

    assert allowed(decision) == {**ASKED, "answers": {"Which?": "A", "And?": "x, y"}}


def test_a_bare_message_answers_a_single_question() -> None:
    single = {"questions": ASKED["questions"][:1]}

    decision = decided("AskUserQuestion", single, selected_option="answer", message="neither")

    assert allowed(decision)["answers"] == {"Which?": "neither"}


def test_no_answer_at_all_is_a_denial() -> None:
    assert "did not want to answer" in denied(decided("AskUserQuestion", ASKED, selected_option="answer")).message


@pytest.mark.parametrize(("option", "mode"), [("accept_edits", "acceptEdits"), ("accept_default", "default")])
def test_an_accepted_plan_tells_the_mode(option: str, mode: str) -> None:
    decision = decided("ExitPlanMode", {"plan": "1."}, selected_option=option)

    assert (allowed(decision), decision.mode) == ({"plan": "1."}, mode)


def test_editing_a_plan_without_a_new_text_asks_for_another_one() -> None:
    decision = decided("ExitPlanMode", {"plan": "1."}, selected_option="edit", message="shorter")

    assert (denied(decision).message, decision.mode) == ("shorter", None)


async def test_a_plan_that_claude_code_left_out_is_taken_from_the_call() -> None:
    turn = RecordingTurn(answer=choosing("accept_default"))
    prompts = TurnPrompts(turn, lambda tool_use_id: {"plan": f"of {tool_use_id}"})

    await prompts.decide("ExitPlanMode", {}, context())

    assert turn.asked[0].message == "of t1"


async def test_when_the_turn_ends_an_open_question_is_taken_back_without_an_answer() -> None:
    turn = RecordingTurn()
    prompts = TurnPrompts(turn, lambda _: {})
    asking = asyncio.ensure_future(prompts.decide("Bash", dict(BASH), context()))
    await turn.until(lambda turn: bool(turn.asked))

    prompts.close()

    assert await asking is None
    assert len(turn.taken_back) == 1


async def test_a_question_that_claude_code_takes_back_is_cancelled() -> None:
    turn = RecordingTurn()
    asking = asyncio.ensure_future(TurnPrompts(turn, lambda _: {}).decide("Bash", dict(BASH), context()))
    await turn.until(lambda turn: bool(turn.asked))

    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
    assert len(turn.taken_back) == 1


def test_two_prompts_never_share_an_id() -> None:
    first: PromptAsked = prompt_for("Bash", BASH, context())

    assert first.prompt_id != prompt_for("Bash", BASH, context()).prompt_id
