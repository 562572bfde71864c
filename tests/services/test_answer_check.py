"""Whether an answer fits its prompt: what does not is refused with the field that is wrong."""

from typing import Any

import pytest

from baton.core.commands import RespondPrompt
from baton.core.errors import InvalidRequest
from baton.core.ids import ConversationId, RequestId, new_object_id
from baton.core.models import PromptResponse, Question, QuestionOption
from baton.core.models import PromptType as Type
from baton.core.prompt_options import DEFAULT_OPTIONS
from baton.services.answer_check import check_answer
from baton.testing import samples

BASH = {"command": "ls", "description": "List", "timeout": 5, "run_in_background": False, "env": None}
PLAN = {"plan": "1."}
QUESTIONS = (
    Question(id="q1", question="Which?", options=(QuestionOption(label="A"),)),
    Question(id="q2", question="And?", multi_select=True),
)


def check(kind: Type, option: str, *, editable: bool = True, **response: Any) -> None:
    asked = {Type.TOOL_PERMISSION: BASH, Type.PLAN_REVIEW: PLAN, Type.QUESTION: None}[kind]
    prompt = samples.prompt(
        ConversationId(new_object_id()),
        RequestId("r"),
        type=kind,
        input=asked,
        options=DEFAULT_OPTIONS[kind],
        questions=QUESTIONS if kind is Type.QUESTION else (),
        editable=editable,
    )
    check_answer(
        prompt, RespondPrompt(prompt_id=prompt.id, selected_option=option, response=PromptResponse(**response))
    )


@pytest.mark.parametrize(
    ("kind", "option", "response"),
    [
        (Type.TOOL_PERMISSION, "allow_once", {}),
        (Type.TOOL_PERMISSION, "allow_once", {"input": {**BASH, "command": "ls -la"}}),
        (Type.TOOL_PERMISSION, "allow_always", {"input": {"command": "ls -la"}}),
        (Type.TOOL_PERMISSION, "allow_once", {"input": {**BASH, "env": {"A": "b"}, "sandbox": True}}),
        (Type.TOOL_PERMISSION, "deny_stop", {"message": "no"}),
        (Type.PLAN_REVIEW, "edit", {"input": {"plan": "2."}}),
        (Type.PLAN_REVIEW, "edit", {"message": "shorter"}),
        (Type.PLAN_REVIEW, "accept_edits", {"input": {"plan": "2."}}),
        (Type.PLAN_REVIEW, "reject", {"message": "no"}),
        (Type.QUESTION, "answer", {"answers": {"q1": "A", "q2": ["x", "y"]}}),
        (Type.QUESTION, "answer", {"answers": {"q1": "something else"}}),
        (Type.QUESTION, "answer", {"answers": {"q1": ["A"], "q2": "x"}}),
        (Type.QUESTION, "answer", {"message": "neither"}),
        (Type.QUESTION, "deny", {}),
    ],
)
def test_what_fits_passes(kind: Type, option: str, response: dict[str, Any]) -> None:
    check(kind, option, **response)


@pytest.mark.parametrize(
    ("kind", "option", "response", "field"),
    [
        (Type.TOOL_PERMISSION, "sudo", {}, "selectedOption"),
        (Type.TOOL_PERMISSION, "answer", {}, "selectedOption"),
        (Type.TOOL_PERMISSION, "allow_once", {"input": "ls"}, "input"),
        (Type.TOOL_PERMISSION, "allow_once", {"input": []}, "input"),
        (Type.TOOL_PERMISSION, "allow_once", {"input": {"description": "x"}}, "input"),
        (Type.TOOL_PERMISSION, "allow_once", {"input": {**BASH, "command": ["ls"]}}, "input"),
        (Type.TOOL_PERMISSION, "allow_once", {"input": {**BASH, "command": None}}, "input"),
        (Type.TOOL_PERMISSION, "allow_once", {"input": {**BASH, "timeout": "5"}}, "input"),
        (Type.TOOL_PERMISSION, "allow_once", {"input": {**BASH, "run_in_background": 1}}, "input"),
        (Type.TOOL_PERMISSION, "deny", {"input": BASH}, "input"),
        (Type.TOOL_PERMISSION, "allow_once", {"answers": {"q1": "A"}}, "answers"),
        (Type.PLAN_REVIEW, "edit", {}, "input"),
        (Type.PLAN_REVIEW, "edit", {"input": {"plan": 2}}, "input"),
        (Type.PLAN_REVIEW, "edit", {"input": {"plan": "2.", "more": 1}}, "input"),
        (Type.PLAN_REVIEW, "reject", {"input": {"plan": "2."}}, "input"),
        (Type.QUESTION, "answer", {}, "answers"),
        (Type.QUESTION, "answer", {"answers": ["A"]}, "answers"),
        (Type.QUESTION, "answer", {"answers": {"q9": "A"}}, "answers"),
        (Type.QUESTION, "answer", {"answers": {"q1": 1}}, "answers"),
        (Type.QUESTION, "answer", {"answers": {"q1": ["A", "B"]}}, "answers"),
        (Type.QUESTION, "answer", {"answers": {"q2": ["x", None]}}, "answers"),
        (Type.QUESTION, "answer", {"input": {"x": 1}, "message": "x"}, "input"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(
    kind: Type, option: str, response: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check(kind, option, **response)
    assert list(refused.value.fields or {}) == [field]


def test_an_agent_that_cannot_take_a_changed_input_is_not_given_one() -> None:
    check(Type.TOOL_PERMISSION, "allow_once", editable=False)
    with pytest.raises(InvalidRequest):
        check(Type.TOOL_PERMISSION, "allow_once", editable=False, input=BASH)
