"""What a question of an agent becomes: a document with its end already, where a rule decides, else one that waits.

A prompt that waits has its deadline from the start; `expiry` acts on it.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from baton.core import lifecycle
from baton.core.events import PromptOpened
from baton.core.frames import PromptAsked
from baton.core.ids import PromptId, new_object_id
from baton.core.limits import Limits
from baton.core.models import Prompt, PromptStatus, PromptType, RunStatus
from baton.core.permissions import Decision, Risk
from baton.core.prompt_options import DEFAULT_OPTIONS
from baton.services.answering import answer_by_rule, response_frame, settle_answer
from baton.services.drafts import Draft
from baton.services.judging import Judge
from baton.services.memory import LiveRun


class Asking:
    """Opens prompts, and looks again at those that wait when the rules have changed."""

    def __init__(self, judge: Judge, limits: Limits) -> None:
        self._judge = judge
        self._limits = limits

    def open(self, draft: Draft, live: LiveRun, asked: PromptAsked) -> None:
        """Draft the prompt of a question."""
        decision = self._judge.decide(draft.memory, live, asked, draft.now)
        prompt = _new_prompt(draft, live, asked, decision)
        prompt = replace(prompt, options=self._judge.options(draft.memory, live, prompt))
        answered = self._by_rule(draft, live, prompt, decision)
        if answered is not None:
            settle_answer(draft, live, answered, None)
            return
        prompt = replace(
            prompt,
            seq=draft.next_seq(),
            timeout_at=_after(draft.now, self._limits.prompt_timeout_of(prompt.risk_level, prompt.type)),
            stage_at=next_stage_at(prompt, self._limits),
        )
        draft.store_prompt(prompt, None)
        draft.tell(PromptOpened(prompt), prompt.seq)
        if live.status is not RunStatus.AWAITING_INPUT:
            draft.move_run(live, lifecycle.move_run(live.run, RunStatus.AWAITING_INPUT, draft.now))

    def ask_again(self, draft: Draft, live: LiveRun, prompt: Prompt) -> None:
        """The agent asks what it has asked: it waits for the answer, which it may have missed."""
        if prompt.status is PromptStatus.ANSWERED and live.run.bridge_id is not None:
            draft.send(live.run.bridge_id, response_frame(prompt))

    def look_again(self, draft: Draft) -> None:
        """Draft the answers to what waits in the conversation and is now decided by a rule (a grant, another mode)."""
        for prompt in draft.memory.pending_prompts():
            live = draft.memory.runs[prompt.request_id]
            decision = self._judge.decide(draft.memory, live, prompt, draft.now, drafted=draft.grants)
            answered = self._by_rule(draft, live, prompt, decision)
            if answered is not None:
                settle_answer(draft, live, answered, PromptStatus.PENDING)

    def _by_rule(self, draft: Draft, live: LiveRun, prompt: Prompt, decision: Decision | None) -> Prompt | None:
        """The prompt with its end, where a rule decides. Nothing is allowed to a run that somebody has stopped."""
        if decision is None or live.run.abort_requested_at is not None:
            return None
        return answer_by_rule(prompt, decision, draft)


def is_same_question(prompt: Prompt, asked: PromptAsked) -> bool:
    """Whether this is what the prompt stands for, and not something new under the same id."""
    if prompt.status is PromptStatus.CANCELLED:
        return False
    return (prompt.type, prompt.title, prompt.message, prompt.tool_name, prompt.tool_use_id) == (
        asked.type,
        asked.title,
        asked.message,
        asked.tool_name,
        asked.tool_use_id,
    ) and (prompt.input, prompt.questions) == (asked.input, asked.questions)


def next_stage_at(prompt: Prompt, limits: Limits) -> datetime | None:
    """When a prompt in its stage tells louder next; None: it tells as loud as it can."""
    if prompt.stage >= len(limits.prompt_stages_s):
        return None
    passed = limits.prompt_stages_s[prompt.stage - 1] if prompt.stage else 0.0
    began = prompt.stage_at or prompt.created_at
    return began + timedelta(seconds=limits.prompt_stages_s[prompt.stage] - passed)


def _after(now: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=seconds)


def _new_prompt(draft: Draft, live: LiveRun, asked: PromptAsked, decision: Decision | None) -> Prompt:
    return Prompt(
        id=PromptId(new_object_id()),
        conversation_id=live.run.conversation_id,
        project_id=draft.memory.conversation.project_id,
        request_id=live.run.request_id,
        seq=0,
        session_id=live.session_id,
        type=asked.type,
        title=asked.title,
        message=asked.message,
        tool_name=asked.tool_name,
        tool_use_id=asked.tool_use_id,
        risk_level=decision.risk.value if decision is not None else _told_risk(asked),
        input=asked.input,
        options=asked.options or DEFAULT_OPTIONS[asked.type],
        questions=asked.questions,
        editable=asked.editable is not False,
        decision=decision,
        created_at=draft.now,
        bridge_prompt_id=asked.prompt_id,
    )


def _told_risk(asked: PromptAsked) -> str:
    """As the bridge says, if it says it in our words; a question or a plan runs nothing."""
    if asked.risk and asked.risk.upper() in list(Risk):
        return asked.risk.upper()
    return Risk.HIGH.value if asked.type is PromptType.TOOL_PERMISSION else Risk.LOW.value
