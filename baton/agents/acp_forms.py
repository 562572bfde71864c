"""Forms that an ACP agent wants filled in (elicitation/create), as questions, and the answers as form content. Pure.

Claude Code's adapter gives each choice a second field for the person's own words, named `<field>_custom`; the two are
one question here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from acp import schema
from pydantic import TypeAdapter, ValidationError

from baton.core.frames import PromptAsked
from baton.core.ids import new_object_id
from baton.core.models import PromptOption, PromptType, Question, QuestionOption
from baton.core.ports import PromptAnswer
from baton.core.text import Json, clean_json, clean_text

QUESTION_OPTIONS: Final = (
    PromptOption(id="answer", label="Send answers", kind="allow_once", style="primary"),
    PromptOption(id="deny", label="Do not answer", kind="reject_once"),
)

_CUSTOM: Final = "_custom"
_PREVIEW: Final = "_claude/askUserQuestionOption"
_YES_NO: Final = (("Yes", True), ("No", False))
_TRUE: Final = frozenset({"yes", "true", "1", "on"})


@dataclass(frozen=True, slots=True)
class FormField:
    """One question of a form. `values`: what each label stands for."""

    name: str
    question: Question
    kind: str
    """string, number, integer, boolean or array"""
    values: Mapping[str, Any]
    custom: str | None = None
    """The field for the person's own words beside this one."""


@dataclass(frozen=True, slots=True)
class Form:
    """Everything that is asked at once."""

    message: str
    fields: tuple[FormField, ...]


_REQUEST: Final[TypeAdapter[Any]] = TypeAdapter(schema.CreateElicitationRequest)


def read_form(params: object) -> tuple[Form, str | None, str | None] | None:
    """The form, its session and its tool call; None where it is no form that we can show."""
    try:
        request = _REQUEST.validate_python(clean_json(params))
    except ValidationError:
        return None
    if not isinstance(request, schema.CreateFormSessionElicitationRequest):
        return None
    properties = request.requested_schema.properties or {}
    shown = [name for name in properties if not _is_companion(name, properties)]
    fields = [
        _field(number, name, properties[name], request.message, is_only=len(shown) == 1, has=properties)
        for number, name in enumerate(shown, 1)
    ]
    return Form(clean_text(request.message), tuple(fields)), request.session_id, request.tool_call_id


def _is_companion(name: str, properties: Mapping[str, object]) -> bool:
    return name.endswith(_CUSTOM) and name.removesuffix(_CUSTOM) in properties


def _field(number: int, name: str, asked: Any, message: str, *, is_only: bool, has: Mapping[str, object]) -> FormField:
    kind = str(asked.type)
    choices = _choices(asked)
    title, description = getattr(asked, "title", None), getattr(asked, "description", None)
    text = description or (message if is_only else None) or title or name
    question = Question(
        id=f"q{number}",
        question=clean_text(text),
        header=clean_text(title) if title and title != text else None,
        multi_select=kind == "array",
        options=tuple(option for option, _ in choices),
    )
    custom = name + _CUSTOM
    values = {option.label: value for option, value in choices}
    return FormField(name, question, kind, values, custom if custom in has else None)


def _choices(asked: Any) -> list[tuple[QuestionOption, Any]]:
    if asked.type == "boolean":
        return [(QuestionOption(label=label), value) for label, value in _YES_NO]
    source = getattr(asked, "items", None) or asked
    titled = getattr(source, "one_of", None) or getattr(source, "any_of", None)
    if titled:
        return [(_titled(option), option.const) for option in titled]
    return [(QuestionOption(label=clean_text(value)), value) for value in getattr(source, "enum", None) or ()]


def _titled(option: schema.EnumOption) -> QuestionOption:
    extra = (option.field_meta or {}).get(_PREVIEW)
    preview = extra.get("preview") if isinstance(extra, Mapping) else None
    return QuestionOption(
        label=clean_text(option.title or option.const),
        description=clean_text(option.description) if option.description else None,
        preview=clean_text(preview) if isinstance(preview, str) else None,
    )


def form_prompt(form: Form, tool_use_id: str | None) -> PromptAsked:
    """The prompt that the form comes to."""
    questions = tuple(item.question for item in form.fields)
    return PromptAsked(
        prompt_id=new_object_id(),
        type=PromptType.QUESTION,
        title=questions[0].question if len(questions) == 1 else form.message,
        message=form.message if len(questions) == 1 and questions[0].question != form.message else "",
        tool_use_id=tool_use_id,
        options=QUESTION_OPTIONS,
        questions=questions,
    )


def form_answer(form: Form, answer: PromptAnswer) -> dict[str, Any] | None:
    """The content of the filled in form; None where the person did not answer. A bare message answers one question."""
    given = answer.answers if isinstance(answer.answers, dict) else {}
    if not given and answer.message and len(form.fields) == 1:
        given = {form.fields[0].question.id: answer.message}
    if answer.selected_option in ("deny", "deny_stop"):
        return None
    content: dict[str, Any] = {}
    for item in form.fields:
        content |= _filled(item, given.get(item.question.id))
    # A form without questions is a thing to agree to.
    return content if content or not form.fields else None


def _filled(item: FormField, value: Json) -> dict[str, Any]:
    texts = [str(text) for text in (value if isinstance(value, list) else [value]) if text not in (None, "")]
    chosen = [item.values[text] for text in texts if text in item.values]
    own = [text for text in texts if text not in item.values]
    filled: dict[str, Any] = {}
    if item.custom is not None and own:
        filled[item.custom] = ", ".join(own)
        own = []
    if item.kind == "array":
        return {**filled, item.name: [*chosen, *own]} if chosen or own else filled
    picked = (chosen or [_typed(item.kind, text) for text in own[:1]])[:1]
    return filled if not picked or picked[0] is None else {**filled, item.name: picked[0]}


def _typed(kind: str, text: str) -> str | int | float | bool | None:
    """A person's own words as what the field wants; None where they are not."""
    try:
        match kind:
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "boolean":
                return text.strip().lower() in _TRUE
    except ValueError:
        return None
    return text
