"""Answering prompts: one winner, whoever races, because the store moves a prompt only out of `pending`."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from baton.core import lifecycle
from baton.core.commands import Identity, RespondPrompt
from baton.core.errors import AlreadyResolved, Conflict, InvalidRequest, NotFound
from baton.core.ids import ConversationId, PromptId
from baton.core.limits import Limits
from baton.core.models import PermissionMode, Prompt, PromptStatus, PromptType
from baton.core.ports import Store
from baton.services.answer_check import changed_plan, check_answer
from baton.services.answering import settle_answer
from baton.services.asking import Asking
from baton.services.drafts import Draft
from baton.services.judging import Judge, mode_of
from baton.services.lanes import LaneConflict, Lanes
from baton.services.memory import LiveRun, Memory
from baton.services.modes import change_mode
from baton.services.ownership import Ownership, seen_by
from baton.services.watching import Watchers, held_until, store_pending

logger = logging.getLogger(__name__)

MAX_EXTENSION_S: Final = 7 * 24 * 3600
_MODE_AFTER_PLAN: Final[Mapping[str, PermissionMode]] = {
    "accept_edits": PermissionMode.ACCEPT_EDITS,
    "accept_default": PermissionMode.DEFAULT,
    "edit": PermissionMode.DEFAULT,
}


class Prompts:
    """See the module."""

    def __init__(
        self, *, store: Store, lanes: Lanes, ownership: Ownership, judge: Judge, asking: Asking, limits: Limits
    ) -> None:
        self._ownership = ownership
        self._store = store
        self._lanes = lanes
        self._judge = judge
        self._asking = asking
        self._limits = limits
        self.watchers = Watchers()

    async def get(self, who: Identity, prompt_id: PromptId) -> Prompt:
        """The prompt as stored. Raises NotFound."""
        prompt = await self._store.prompt(prompt_id)
        if prompt is None or not await self._ownership.sees(who, prompt.conversation_id):
            raise NotFound("There is no such prompt")
        return prompt

    async def pending(self, who: Identity, conversation_id: ConversationId) -> Sequence[Prompt]:
        """What waits for an answer in one conversation, newest first. Raises NotFound."""
        await self._ownership.conversation(who, conversation_id)
        return await self._store.prompts(PromptStatus.PENDING, conversation_id)

    async def page(self, who: Identity, status: PromptStatus | None) -> Sequence[Prompt]:
        """Prompts of all their conversations, newest first, at most 1,000."""
        return await self._store.prompts(status, user_id=seen_by(who))

    async def respond(self, who: Identity, command: RespondPrompt) -> Prompt:
        """Answer it: stored, told to every tab, sent to the agent; with what the answer leaves (grants, a mode).

        Raises AlreadyResolved (with the winner), InvalidRequest (an option that is not offered, an answer or input
        that does not fit), NotFound.
        """
        known = await self.get(who, command.prompt_id)
        async with self._lanes.turn(known.conversation_id) as memory:
            prompt = await self._current(memory, known.id)
            check_answer(prompt, command)
            draft = self._lanes.draft(memory)
            live = memory.runs[prompt.request_id]
            answered = lifecycle.answer_prompt(
                prompt,
                command.selected_option,
                command.response,
                by=who.user_id,
                handler="user_selection",
                at=draft.now,
            )
            answered = settle_answer(draft, live, answered, PromptStatus.PENDING)
            self._leave_behind(draft, live, answered, who)
            await self._commit(draft, answered.id)
            logger.info(
                "prompt answered",
                extra={"action": "prompt.answered", "promptId": answered.id, "option": answered.selected_option},
            )
            return answered

    async def _commit(self, draft: Draft, prompt_id: PromptId) -> None:
        """Raises AlreadyResolved where the prompt was ended in the store itself, which memory did not know."""
        try:
            await self._lanes.commit(draft)
        except LaneConflict:
            stored = await self._store.prompt(prompt_id)
            if stored is None or stored.status is PromptStatus.PENDING:
                raise
            raise _has_ended(stored) from None

    def _leave_behind(self, draft: Draft, live: LiveRun, answered: Prompt, who: Identity) -> None:
        """What an answer changes beyond this one question; others that wait may be decided by it too."""
        memory, option = draft.memory, answered.selected_option or ""
        mode = _mode_after(answered)
        if mode is not None and (memory.conversation.permission_mode, mode_of(memory, live.run)) != (mode, mode):
            change_mode(draft, mode, by=who.user_id)
        said = _as_changed(answered)
        for grant in self._judge.lasting_grants(memory, live, said, option, by=who, now=draft.now):
            draft.store_grant(grant)
        self._asking.look_again(draft)

    async def seen(self, who: Identity, prompt_id: PromptId, holder: str) -> Prompt:
        """Somebody looks at it: its deadline stands still for `seen_lease_s`, or until `holder` is gone."""
        known = await self.get(who, prompt_id)
        async with self._lanes.turn(known.conversation_id) as memory:
            prompt = await self._current(memory, prompt_id)
            draft = self._lanes.draft(memory)
            until = draft.now + timedelta(seconds=self._limits.seen_lease_s)
            stored = store_pending(draft, held_until(replace(prompt, seen_at=draft.now), until, draft.now))
            await self._commit(draft, prompt_id)
            self.watchers.look(prompt_id, holder, until)
            return stored

    async def extend(self, who: Identity, prompt_id: PromptId, seconds: float) -> Prompt:
        """Move its deadline. Raises Conflict where it has none, InvalidRequest for an absurd time."""
        if not 0 < seconds <= MAX_EXTENSION_S:
            raise InvalidRequest(
                f"seconds must be above 0 and at most {MAX_EXTENSION_S}", fields={"seconds": ["Out of range."]}
            )
        known = await self.get(who, prompt_id)
        async with self._lanes.turn(known.conversation_id) as memory:
            prompt = await self._current(memory, prompt_id)
            if prompt.timeout_at is None:
                raise Conflict("The prompt has no deadline: it waits until somebody answers")
            draft = self._lanes.draft(memory)
            latest = draft.now + timedelta(seconds=MAX_EXTENSION_S)
            moved = min(prompt.timeout_at + timedelta(seconds=seconds), latest)
            stored = store_pending(draft, replace(prompt, timeout_at=moved))
            await self._commit(draft, prompt_id)
            return stored

    async def _current(self, memory: Memory, prompt_id: PromptId) -> Prompt:
        """The prompt as of this turn. Raises AlreadyResolved where it has its end state."""
        prompt = memory.prompts.get(prompt_id)
        if prompt is None:
            # Not among the open runs' prompts: its run has ended, and the prompt with it.
            prompt = await self._store.prompt(prompt_id)
            assert prompt is not None, "the prompt was found before the turn"
        if prompt.status is not PromptStatus.PENDING:
            raise _has_ended(prompt)
        return prompt


def _has_ended(prompt: Prompt) -> AlreadyResolved:
    return AlreadyResolved(f"The prompt has already ended as {prompt.status}", winner=prompt)


def _mode_after(answered: Prompt) -> PermissionMode | None:
    """The mode that a plan's answer leads to; None where it was not accepted, or was no plan."""
    if answered.type is not PromptType.PLAN_REVIEW:
        return None
    if answered.selected_option == "edit" and changed_plan(answered.response) is None:
        return None
    return _MODE_AFTER_PLAN.get(answered.selected_option or "")


def _as_changed(answered: Prompt) -> Prompt:
    """The call as the person changed it, where they did: what lasts is about that."""
    changed = answered.response.input if answered.response is not None else None
    return answered if changed is None else replace(answered, input=changed)
