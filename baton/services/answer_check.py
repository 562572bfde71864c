"""Whether a person's answer fits its prompt. Pure; what does not fit is refused, and the prompt stays as it was."""

from collections.abc import Mapping
from typing import Final, NoReturn

from baton.core.commands import RespondPrompt
from baton.core.errors import InvalidRequest
from baton.core.models import Prompt, PromptResponse, PromptType, Question
from baton.core.text import Json

_NEEDED: Final = frozenset(
    {
        "command",
        "content",
        "file_path",
        "new_string",
        "notebook_path",
        "old_string",
        "pattern",
        "prompt",
        "query",
        "url",
    }
)
"""Fields that every tool which has them needs."""


def check_answer(prompt: Prompt, command: RespondPrompt) -> None:
    """Raises InvalidRequest, with the field that does not fit."""
    offered = [option.id for option in prompt.options]
    option = command.selected_option
    if option not in offered:
        _refuse(f"This prompt does not offer {option!r}", "selectedOption", f"Must be one of: {', '.join(offered)}.")
    accepts = option.startswith(("allow", "accept", "answer")) or option == "edit"
    if command.response.input is not None:
        _check_input(prompt, command.response.input, accepts=accepts)
    if prompt.type is PromptType.QUESTION:
        _check_answers(prompt, command.response, accepts=accepts)
    elif command.response.answers is not None:
        _refuse("This prompt asks no questions", "answers", "Only for prompts of the type question.")
    if option == "edit" and changed_plan(command.response) is None and not command.response.message:
        _refuse("A changed plan, or a message, must come with this option", "input", "Must hold `plan`, a text.")


def changed_plan(response: PromptResponse | None) -> str | None:
    """The plan as the person changed it."""
    changed = response.input if response is not None else None
    plan = changed.get("plan") if isinstance(changed, dict) else None
    return plan if isinstance(plan, str) else None


def _check_input(prompt: Prompt, changed: Json, *, accepts: bool) -> None:
    if not isinstance(changed, dict):
        _refuse("A changed input does not fit", "input", "Must be an object.")
    if not accepts:
        _refuse("A changed input goes with an answer that allows", "input", "Not with this option.")
    if not prompt.editable:
        _refuse("This agent cannot take a changed input", "input", "Not for this prompt.")
    if prompt.type is PromptType.QUESTION:
        _refuse("Questions are answered by `answers`", "input", "Not for prompts of the type question.")
    if prompt.type is PromptType.PLAN_REVIEW:
        if changed.keys() != {"plan"} or not isinstance(changed["plan"], str):
            _refuse("A changed plan does not fit", "input", "Must be {plan: text}.")
        return
    _check_same_shape(prompt.input, changed)


def _check_same_shape(original: Json, changed: Mapping[str, Json]) -> None:
    """What the tool cannot do without stays, and everything keeps its kind of value.

    A field more or less may be right: which a tool takes beside is known to nobody here, and it says so itself.
    """
    known = original if isinstance(original, dict) else {}
    for name, value in known.items():
        if name in _NEEDED and name not in changed:
            _refuse("The changed input does not fit the tool", "input", f"Lacks the field {name!r}.")
        if name in changed and value is not None and _kind(value) != _kind(changed[name]):
            _refuse("The changed input does not fit the tool", "input", f"{name!r} must be {_kind(value)}.")


def _kind(value: Json) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    names: dict[type, str] = {str: "a text", list: "a list", dict: "an object"}
    return names.get(type(value), "null")


def _check_answers(prompt: Prompt, response: PromptResponse, *, accepts: bool) -> None:
    answers = response.answers
    if answers is None:
        if accepts and not response.message:
            _refuse("There is no answer", "answers", "Must answer the questions, or a message must.")
        return
    if not isinstance(answers, dict):
        _refuse("The answers do not fit", "answers", "Must be an object: question id to answer.")
    questions = {question.id: question for question in prompt.questions}
    unknown = sorted(set(answers) - set(questions))
    if unknown:
        _refuse("Answers to questions that were not asked", "answers", f"Unknown: {', '.join(unknown)}.")
    for name, answer in answers.items():
        _check_one(questions[name], answer)


def _check_one(question: Question, answer: Json) -> None:
    is_list = isinstance(answer, list)
    texts = answer if isinstance(answer, list) else [answer]
    if not all(isinstance(text, str) for text in texts):
        _refuse("An answer does not fit", "answers", f"{question.id}: must be a label, labels or free text.")
    if is_list and not question.multi_select and len(texts) > 1:
        _refuse("An answer does not fit", "answers", f"{question.id}: takes one answer.")


def _refuse(message: str, field: str, why: str) -> NoReturn:
    raise InvalidRequest(message, fields={field: [why]})
