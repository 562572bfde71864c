"""Claude Code's questions, as prompts, and people's answers, as permission results.

`prompt_for` and `result_for` are pure; `TurnPrompts` asks, for one turn. Claude Code sets no time limit to an answer.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from claude_agent_sdk import types as sdk

from baton.agents.claude_tools import title_of
from baton.core.frames import PromptAsked
from baton.core.ids import new_object_id
from baton.core.models import PromptType, Question, QuestionOption
from baton.core.ports import PromptAnswer, Turn
from baton.core.prompt_options import PLAN_OPTIONS, QUESTION_OPTIONS, TOOL_OPTIONS
from baton.core.stream import ModeUpdated
from baton.core.text import Json, clean_json, clean_text

logger = logging.getLogger(__name__)


_DENIED: Final = "The person denied this."
_UNANSWERED: Final = "The person did not want to answer. Go on without, or say what you need."
_NOT_ACCEPTED: Final = "The person did not accept the plan. Ask what should be different, or improve it."

ToolInput = Mapping[str, Any]


# --- asking --------------------------------------------------------------------------------------------------------


def prompt_for(tool: str, tool_input: ToolInput, context: sdk.ToolPermissionContext) -> PromptAsked:
    """The prompt that this call of `can_use_tool` comes to."""
    if tool == "AskUserQuestion":
        return _question_prompt(tool_input, context)
    if tool == "ExitPlanMode":
        return _plan_prompt(tool_input, context)
    title = context.title or ": ".join(part for part in (tool, title_of(tool_input)) if part)
    return PromptAsked(
        prompt_id=new_object_id(),
        type=PromptType.TOOL_PERMISSION,
        title=clean_text(title),
        message=clean_text(_why(context)),
        tool_name=tool,
        tool_use_id=context.tool_use_id,
        input=clean_json(tool_input),
        options=TOOL_OPTIONS,
    )


def _why(context: sdk.ToolPermissionContext) -> str:
    blocked = f"It reaches {context.blocked_path}" if context.blocked_path else None
    return "\n".join(part for part in (context.description, context.decision_reason, blocked) if part)


def _plan_prompt(tool_input: ToolInput, context: sdk.ToolPermissionContext) -> PromptAsked:
    return PromptAsked(
        prompt_id=new_object_id(),
        type=PromptType.PLAN_REVIEW,
        title="Claude has a plan",
        message=clean_text(str(tool_input.get("plan", ""))),
        tool_name="ExitPlanMode",
        tool_use_id=context.tool_use_id,
        input=clean_json(tool_input),
        options=PLAN_OPTIONS,
    )


def _question_prompt(tool_input: ToolInput, context: sdk.ToolPermissionContext) -> PromptAsked:
    questions = tuple(_question(name, raw) for name, raw in _asked(tool_input))
    return PromptAsked(
        prompt_id=new_object_id(),
        type=PromptType.QUESTION,
        title=questions[0].question if len(questions) == 1 else f"Claude has {len(questions)} questions",
        tool_name="AskUserQuestion",
        tool_use_id=context.tool_use_id,
        input=clean_json(tool_input),
        options=QUESTION_OPTIONS,
        questions=questions,
    )


def _asked(tool_input: ToolInput) -> list[tuple[str, Mapping[str, Any]]]:
    """Each question with the id that it gets: q1, q2, ..."""
    raw = tool_input.get("questions")
    questions = [item for item in raw if isinstance(item, Mapping)] if isinstance(raw, list) else []
    return [(f"q{number}", question) for number, question in enumerate(questions, 1)]


def _question(name: str, raw: Mapping[str, Any]) -> Question:
    options = [item for item in raw.get("options") or [] if isinstance(item, Mapping)]
    return Question(
        id=name,
        question=clean_text(str(raw.get("question", ""))),
        header=_text_or_none(raw.get("header")),
        multi_select=bool(raw.get("multiSelect")),
        options=tuple(
            QuestionOption(
                label=clean_text(str(option.get("label", ""))),
                description=_text_or_none(option.get("description")),
                preview=_text_or_none(option.get("preview")),
            )
            for option in options
        ),
    )


def _text_or_none(value: object) -> str | None:
    return clean_text(value) if isinstance(value, str) and value else None


# --- answering -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decision:
    """What Claude Code is told, and what follows from it for the turn."""

    result: sdk.PermissionResult
    stops: bool = False
    """The person ended the turn with this answer."""
    mode: str | None = None
    """The mode that the conversation is in from now on."""


def result_for(prompt: PromptAsked, tool_input: ToolInput, answer: PromptAnswer) -> Decision:
    """The decision that this answer comes to. An option that is not known counts as a denial.

    What Claude Code suggests to allow from now on is never handed back: what lasts is decided, and recorded, by the
    server, which says each time that this call is allowed.
    """
    if prompt.type is PromptType.QUESTION:
        return _question_result(tool_input, answer)
    if prompt.type is PromptType.PLAN_REVIEW:
        return _plan_result(tool_input, answer)
    if answer.selected_option in ("allow_once", "allow_session", "allow_always"):
        changed = answer.input if isinstance(answer.input, dict) else dict(tool_input)
        return Decision(sdk.PermissionResultAllow(updated_input=changed))
    return _refusal(answer, _DENIED)


def _refusal(answer: PromptAnswer, otherwise: str) -> Decision:
    """No, with the reason. A denial that interrupts loses its message, and the model hears that the person wanted
    nothing of it: where there is a reason, the session interrupts once the model's side has it (`ClaudeSession`).
    """
    stops = answer.selected_option == "deny_stop"
    interrupts = stops and not answer.message
    return Decision(sdk.PermissionResultDeny(message=answer.message or otherwise, interrupt=interrupts), stops=stops)


def _plan_result(tool_input: ToolInput, answer: PromptAnswer) -> Decision:
    option = answer.selected_option
    plan = answer.input.get("plan") if isinstance(answer.input, dict) else None
    accepted = option in ("accept_edits", "accept_default") or (option == "edit" and isinstance(plan, str))
    if not accepted:
        # `edit` with nothing but a message is a wish for another plan.
        return Decision(sdk.PermissionResultDeny(message=answer.message or _NOT_ACCEPTED))
    changed = {**tool_input, "plan": plan} if isinstance(plan, str) else dict(tool_input)
    # Claude Code itself goes on in `default`: which edits need no asking is decided, and recorded, by the server.
    mode = "acceptEdits" if option == "accept_edits" else "default"
    return Decision(sdk.PermissionResultAllow(updated_input=changed), mode=mode)


def _question_result(tool_input: ToolInput, answer: PromptAnswer) -> Decision:
    answers = _answers(tool_input, answer)
    if answer.selected_option in ("deny", "deny_stop") or not answers:
        return _refusal(answer, _UNANSWERED)
    return Decision(sdk.PermissionResultAllow(updated_input={**tool_input, "answers": answers}))


def _answers(tool_input: ToolInput, answer: PromptAnswer) -> dict[str, str]:
    """By the question's text, as Claude Code wants them. A bare message answers a single question."""
    given = answer.answers if isinstance(answer.answers, dict) else {}
    asked = _asked(tool_input)
    if not given and answer.message and len(asked) == 1:
        given = {asked[0][0]: answer.message}
    texts = {str(raw.get("question", "")): _joined(given.get(name)) for name, raw in asked}
    return {question: text for question, text in texts.items() if text}


def _joined(value: Json) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return "" if value is None else str(value)


# --- one turn ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TurnPrompts:
    """Asks the person behind one turn. Several questions can be open at once: sub-agents ask side by side.

    `seen_input` gives a tool call's input as the model said it, because Claude Code may hand over less of it.
    """

    turn: Turn
    seen_input: Callable[[str | None], ToolInput]
    was_stopped: bool = False
    """The person ended the turn with an answer."""
    _asking: "dict[asyncio.Task[Any], bool]" = field(default_factory=dict)
    """The calls that wait for an answer; True: taken back by `close`."""
    _unheard: dict[str, asyncio.Event] = field(default_factory=dict)
    """Refused calls of which Claude Code has not said yet what the model is told, by tool_use_id."""

    async def decide(
        self, tool: str, tool_input: dict[str, Any], context: sdk.ToolPermissionContext
    ) -> sdk.PermissionResult | None:
        """What `can_use_tool` answers; None: the turn ended before there was an answer.

        Cancelling the call takes the question back.
        """
        if tool == "ExitPlanMode" and "plan" not in tool_input:
            tool_input = {**tool_input, **self.seen_input(context.tool_use_id)}
        prompt = prompt_for(tool, tool_input, context)
        answer = await self._ask(prompt)
        if answer is None:
            return None
        decision = result_for(prompt, tool_input, answer)
        self.was_stopped = self.was_stopped or decision.stops
        if decision.mode is not None:
            self.turn.emit(ModeUpdated(mode=decision.mode))
        if isinstance(decision.result, sdk.PermissionResultDeny) and context.tool_use_id is not None:
            self._unheard[context.tool_use_id] = asyncio.Event()
        return decision.result

    def note(self, message: object) -> None:
        """Look at what Claude Code says: a refused call's result is what the model hears of the refusal."""
        if not self._unheard or not isinstance(message, sdk.UserMessage) or isinstance(message.content, str):
            return
        for block in message.content:
            if isinstance(block, sdk.ToolResultBlock) and (heard := self._unheard.pop(block.tool_use_id, None)):
                heard.set()

    async def until_heard(self) -> None:
        """Return when Claude Code has taken down every refusal: an interrupt before that would lose its reason."""
        for heard in list(self._unheard.values()):
            await heard.wait()

    def close(self) -> None:
        """The turn is over: who still asks gets no answer in it."""
        for task in self._asking:
            self._asking[task] = True
            task.cancel()

    async def _ask(self, prompt: PromptAsked) -> PromptAnswer | None:
        """The answer; None where the turn ended before there was one."""
        task = asyncio.current_task()
        assert task is not None, "can_use_tool is called in a task"
        self._asking[task] = False
        logger.info("claude asks", extra={"action": "claude.prompt", "tool": prompt.tool_name, "type": prompt.type})
        try:
            return await self.turn.ask(prompt)
        except asyncio.CancelledError:
            if not self._asking[task]:
                raise
            task.uncancel()  # it was our own `close`, and Claude Code still waits for its answer
            return None
        finally:
            del self._asking[task]
