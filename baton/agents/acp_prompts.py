"""An ACP agent's questions, as prompts, and people's answers, as the protocol wants them.

Building and reading is pure; `TurnPrompts` asks, for one turn. Several questions can be open at once.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from acp import schema

from baton.agents.acp_events import Tool
from baton.agents.acp_forms import Form, form_answer, form_prompt
from baton.agents.acp_tools import input_of, kind_name_of, own_name_of, title_of
from baton.core.errors import BatonError
from baton.core.frames import PromptAsked
from baton.core.ids import new_object_id
from baton.core.models import PermissionMode, PromptOption, PromptType
from baton.core.ports import PromptAnswer, Turn
from baton.core.stream import ModeUpdated
from baton.core.text import Json, clean_json, clean_text

logger = logging.getLogger(__name__)

MAX_OPEN: Final = 32
"""Questions that one turn may have open; an agent that asks more is told that they were cancelled."""

_TOOL_IDS: Final = {"allow_once": "allow_once", "allow_always": "allow_always", "reject_once": "deny"}
_PLAN_IDS: Final = {"allow_once": "accept_default", "reject_once": "reject"}
"""The protocol's kinds of options, by our ids; a second option of a kind keeps the agent's own id."""

_STOP: Final = PromptOption(id="deny_stop", label="Deny and stop", kind="reject_once", style="danger")
_ACCEPT_EDITS: Final = PromptOption(id="accept_edits", label="Accept, and accept edits", kind="allow_always")
_STYLES: Final = {"allow_once": "primary", "reject_once": "danger", "reject_always": "danger"}


@dataclass(frozen=True, slots=True)
class Permission:
    """A question for leave, and which of the agent's options each of ours stands for."""

    prompt: PromptAsked
    choices: Mapping[str, str]
    by_kind: Mapping[str, str]
    """The agent's first option of each kind."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the agent is told (None: cancelled), and what follows for the turn."""

    option_id: str | None
    stops: bool = False
    mode: str | None = None
    """The mode that the conversation is in from now on."""


def permission_for(
    call: schema.ToolCallUpdate,
    options: Sequence[schema.PermissionOption],
    known: Tool | None,
) -> Permission:
    """The prompt that a session/request_permission comes to.

    Of a plan's options those are left out that put the agent into a mode in which it asks less: what needs no asking
    is decided, and recorded, by the server.
    """
    kind = call.kind or (known.acp_kind if known is not None else None)
    is_plan = kind == "switch_mode"
    offered = _asking_ones(options) if is_plan else options
    ours = _PLAN_IDS if is_plan else _TOOL_IDS
    named = [(_unused(ours.get(option.kind), option, offered), option) for option in offered]
    given = input_of(call) or (known.input if known is not None else None)
    shown = [_option(name, option) for name, option in named]
    if is_plan and any(name == "accept_default" for name, _ in named):
        shown.insert(0, _ACCEPT_EDITS)
    elif not is_plan and any(option.kind == "reject_once" for option in offered):
        shown.append(_STOP)
    title = title_of(call.title) or (known.title if known is not None else "")
    name = own_name_of(call) or (known.own_name if known is not None else None) or kind_name_of(kind)
    prompt = PromptAsked(
        prompt_id=new_object_id(),
        type=PromptType.PLAN_REVIEW if is_plan else PromptType.TOOL_PERMISSION,
        title=title or name,
        message=_plan_text(call, given) if is_plan else "",
        tool_name=name,
        tool_use_id=call.tool_call_id,
        input=given,
        options=tuple(shown),
        editable=False,
    )
    by_kind: dict[str, str] = {option.kind: option.option_id for option in reversed(offered)}
    return Permission(prompt, {name: option.option_id for name, option in named}, by_kind)


def _asking_ones(options: Sequence[schema.PermissionOption]) -> Sequence[schema.PermissionOption]:
    """Those of a plan's options after which the agent goes on asking; all where it has none for that."""
    if not any(option.kind == "allow_once" for option in options):
        return options
    return [option for option in options if option.kind != "allow_always"]


def _unused(name: str | None, option: schema.PermissionOption, offered: Sequence[schema.PermissionOption]) -> str:
    """Our id for the first option of a kind; the agent's own for any other."""
    first = next(other for other in offered if other.kind == option.kind)
    return name if name is not None and option is first else f"agent:{option.option_id}"[:100]


def _option(name: str, option: schema.PermissionOption) -> PromptOption:
    return PromptOption(
        id=clean_text(name),
        label=clean_text(option.name)[:200] or name,
        kind=option.kind,
        style=_STYLES.get(option.kind, "default"),
    )


def _plan_text(call: schema.ToolCallUpdate, given: Json) -> str:
    if isinstance(given, dict) and isinstance(given.get("plan"), str):
        return clean_text(str(given["plan"]))
    texts = [
        item.content.text
        for item in call.content or ()
        if isinstance(item, schema.ContentToolCallContent) and isinstance(item.content, schema.TextContentBlock)
    ]
    return clean_text("\n".join(texts))


def decision_for(asked: Permission, answer: PromptAnswer) -> Decision:
    """What this answer comes to. One that is not among the choices counts as what it means; unknown: a denial."""
    option = answer.selected_option
    if option == "accept_edits" and "accept_default" in asked.choices:
        # The agent goes on asking: which edits need no asking is decided by the server.
        return Decision(asked.choices["accept_default"], mode=PermissionMode.ACCEPT_EDITS.value)
    chosen = asked.choices.get(option)
    if chosen is not None:
        left_plan = asked.prompt.type is PromptType.PLAN_REVIEW and option == "accept_default"
        return Decision(chosen, mode=PermissionMode.DEFAULT.value if left_plan else None)
    if option.startswith(("allow", "accept")):
        return Decision(asked.by_kind.get("allow_once") or asked.by_kind.get("allow_always"))
    refusal = asked.by_kind.get("reject_once") or asked.by_kind.get("reject_always")
    return Decision(refusal, stops=option == "deny_stop")


# --- one turn ------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class TurnPrompts:
    """Asks the person behind one turn."""

    turn: Turn
    was_stopped: bool = False
    """The person ended the turn with an answer."""
    has_decided_mode: bool = False
    """An answer said which mode comes after the plan."""
    _is_over: bool = False
    _asking: "dict[asyncio.Task[Any], bool]" = field(default_factory=dict)
    """The calls that wait for an answer; True: taken back by `close`."""

    async def permit(self, asked: Permission) -> dict[str, Any]:
        """The result of a session/request_permission. Cancelling the call takes the question back."""
        answer = await self._ask(asked.prompt)
        decision = Decision(None) if answer is None else decision_for(asked, answer)
        self.was_stopped = self.was_stopped or decision.stops
        if decision.mode is not None:
            self.has_decided_mode = True
            self.turn.emit(ModeUpdated(mode=decision.mode))
        if decision.option_id is None:
            return {"outcome": {"outcome": "cancelled"}}
        return {"outcome": {"outcome": "selected", "optionId": decision.option_id}}

    async def fill_in(self, form: Form, tool_use_id: str | None) -> dict[str, Any]:
        """The result of an elicitation/create."""
        answer = await self._ask(form_prompt(form, tool_use_id))
        if answer is None:
            return {"action": "cancel"}
        self.was_stopped = self.was_stopped or answer.selected_option == "deny_stop"
        content = form_answer(form, answer)
        return {"action": "decline"} if content is None else {"action": "accept", "content": clean_json(content)}

    def close(self) -> None:
        """The turn is over, or is to end: who still asks is told that it was cancelled."""
        self._is_over = True
        for task in self._asking:
            self._asking[task] = True
            task.cancel()

    async def _ask(self, prompt: PromptAsked) -> PromptAnswer | None:
        """The answer; None where the turn ended before there was one."""
        if self._is_over or len(self._asking) >= MAX_OPEN:
            return None
        task = asyncio.current_task()
        assert task is not None, "requests of the agent are answered in tasks"
        self._asking[task] = False
        logger.info("an ACP agent asks", extra={"action": "acp.prompt", "tool": prompt.tool_name, "type": prompt.type})
        try:
            return await self.turn.ask(prompt)
        except asyncio.CancelledError:
            if not self._asking[task]:
                raise
            task.uncancel()  # it was our own `close`, and the agent still waits for its answer
            return None
        except BatonError as error:
            logger.warning("a question could not be asked", extra={"action": "acp.unasked", "code": error.code})
            return None
        finally:
            del self._asking[task]
