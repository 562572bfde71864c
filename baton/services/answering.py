"""What a prompt's end comes to, for its run and its agent: drafted alike whoever answered, a person, a rule or a timer.

Of what lasts (always, in this conversation, accept edits) the agent hears nothing: it is told to do this once, and
asks again, because what needs no asking is decided and recorded here.
"""

from dataclasses import replace
from typing import Final

from baton.core import lifecycle
from baton.core.events import PromptResolved
from baton.core.frames import PermissionResponse
from baton.core.models import Prompt, PromptResponse, PromptStatus, PromptType, RunStatus
from baton.core.permissions import Decision, Outcome
from baton.services.drafts import Draft
from baton.services.memory import LiveRun
from baton.services.policy import handler_of, option_for

_ONCE: Final = {"allow_session": "allow_once", "allow_always": "allow_once", "accept_edits": "accept_default"}
PROMPT_TIMEOUT: Final = "prompt_timeout"
"""The code that a run fails with when nobody has answered its prompt."""
_REFUSALS: Final = {
    PromptType.TOOL_PERMISSION: ("deny_stop", "deny"),
    PromptType.PLAN_REVIEW: ("reject",),
    PromptType.QUESTION: ("deny_stop", "deny"),
}


def response_frame(prompt: Prompt) -> PermissionResponse:
    """The answer to a prompt as the bridge hears it."""
    assert prompt.selected_option is not None, "an answered prompt has its option"
    response = prompt.response or PromptResponse()
    return _frame(prompt, _for_agent(prompt, prompt.selected_option), response)


def refusal_frame(prompt: Prompt, reason: str) -> PermissionResponse | None:
    """That nobody allowed it, and why, so that the agent does not ask for ever; None where it takes no refusal."""
    offered = [option.id for option in prompt.options]
    named = [name for name in _REFUSALS[prompt.type] if name in offered]
    meant = [option.id for option in prompt.options if option.kind.startswith("reject")]
    for name in (*named, *meant):
        return _frame(prompt, name, PromptResponse(message=reason))
    return None


def unanswered_reason(prompt: Prompt) -> str:
    """Why a prompt that has ended as `timeout` has no answer, for its agent and for people."""
    if prompt.auto_handler != "timeout" or prompt.responded_at is None:
        return f"It was ended by hand: {prompt.title}"
    waited_s = max(0, round((prompt.responded_at - prompt.created_at).total_seconds()))  # a clock may be set back
    waited = f"{waited_s} s" if waited_s < 120 else f"{round(waited_s / 60)} minutes"
    return f"Nobody answered in time ({waited}): {prompt.title}"


def answer_by_rule(prompt: Prompt, decision: Decision, draft: Draft) -> Prompt | None:
    """The prompt as this decision answers it; None where a person is asked, or the agent offers no such answer."""
    option = option_for(prompt.options, decision.outcome)
    if option is None:
        return None
    denied = decision.outcome is Outcome.DENY
    response = PromptResponse(message=f"Denied by a rule: {decision.reason}" if denied else None)
    return lifecycle.answer_prompt(
        replace(prompt, decision=decision),
        option,
        response,
        by=None,
        handler=handler_of(decision),
        at=draft.now,
    )


def settle_answer(draft: Draft, live: LiveRun, answered: Prompt, expect: PromptStatus | None) -> Prompt:
    """Draft the answer: stored, told to every tab, sent to the agent, and the run goes on. The prompt as stored."""
    seq = draft.next_seq()
    stored = replace(answered, seq=seq)
    draft.store_prompt(stored, expect)
    draft.tell(PromptResolved(stored), seq)
    go_on(draft, live)
    if live.run.bridge_id is not None:
        draft.send(live.run.bridge_id, response_frame(stored))
    return stored


def go_on(draft: Draft, live: LiveRun) -> None:
    """A run waits for people as long as any of its prompts does."""
    if live.status is RunStatus.AWAITING_INPUT and not draft.memory.pending_prompts(live.request_id):
        draft.move_run(live, lifecycle.move_run(live.run, RunStatus.RUNNING, draft.now))


def _for_agent(prompt: Prompt, option: str) -> str:
    once = _ONCE.get(option)
    return once if once is not None and any(offered.id == once for offered in prompt.options) else option


def _frame(prompt: Prompt, option: str, response: PromptResponse) -> PermissionResponse:
    return PermissionResponse(
        request_id=prompt.request_id,
        prompt_id=prompt.bridge_prompt_id,
        selected_option=option,
        message=response.message,
        input=response.input,
        answers=response.answers,
    )
