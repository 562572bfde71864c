"""Answering prompts: one winner, whoever races, because the store moves a prompt only out of `pending`."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from baton.core import lifecycle
from baton.core.commands import Identity, RespondPrompt
from baton.core.errors import AlreadyResolved, Conflict, InvalidRequest, NotFound
from baton.core.events import PromptOpened, PromptResolved
from baton.core.ids import ConversationId, PromptId
from baton.core.models import Prompt, PromptStatus, RunStatus
from baton.core.ports import Store
from baton.services.intake import response_frame
from baton.services.lanes import Draft, Lanes
from baton.services.memory import Memory

logger = logging.getLogger(__name__)

MAX_EXTENSION_S = 7 * 24 * 3600


class Prompts:
    """See the module."""

    def __init__(self, *, store: Store, lanes: Lanes) -> None:
        self._store = store
        self._lanes = lanes

    async def get(self, who: Identity, prompt_id: PromptId) -> Prompt:
        """The prompt as stored. Raises NotFound."""
        prompt = await self._store.prompt(prompt_id)
        if prompt is None:
            raise NotFound("There is no such prompt")
        return prompt

    async def pending(self, who: Identity, conversation_id: ConversationId) -> Sequence[Prompt]:
        """What waits for an answer in one conversation, newest first. Raises NotFound."""
        if await self._store.conversation(conversation_id) is None:
            raise NotFound("There is no such conversation")
        return await self._store.prompts(PromptStatus.PENDING, conversation_id)

    async def page(self, who: Identity, status: PromptStatus | None) -> Sequence[Prompt]:
        """Prompts of all conversations, newest first, at most 1,000."""
        return await self._store.prompts(status)

    async def respond(self, who: Identity, command: RespondPrompt) -> Prompt:
        """Answer it: stored, told to every tab, sent to the agent.

        Raises AlreadyResolved (with the winner), InvalidRequest (an option that is not offered; answers to
        questions that were not asked), NotFound.
        """
        known = await self.get(who, command.prompt_id)
        async with self._lanes.turn(known.conversation_id) as memory:
            prompt = await self._current(memory, known.id)
            _check_answer(prompt, command)
            draft = self._lanes.draft(memory)
            seq = draft.next_seq()
            answered = lifecycle.answer_prompt(
                prompt,
                command.selected_option,
                command.response,
                by=who.user_id,
                handler="user_selection",
                at=draft.now,
            )
            answered = replace(answered, seq=seq)
            draft.store_prompt(answered, PromptStatus.PENDING)
            draft.tell(PromptResolved(answered), seq)
            _run_goes_on(draft, answered)
            run = memory.runs[answered.request_id].run
            if run.bridge_id is not None:
                draft.send(run.bridge_id, response_frame(answered))
            await self._lanes.commit(draft)
            logger.info(
                "prompt answered",
                extra={"action": "prompt.answered", "promptId": answered.id, "option": answered.selected_option},
            )
            return answered

    async def seen(self, who: Identity, prompt_id: PromptId) -> Prompt:
        """Note that somebody looks at it; told so that others know."""
        known = await self.get(who, prompt_id)
        async with self._lanes.turn(known.conversation_id) as memory:
            prompt = await self._current(memory, prompt_id)
            draft = self._lanes.draft(memory)
            return await self._store_open(draft, replace(prompt, seen_at=draft.now))

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
            return await self._store_open(
                draft, replace(prompt, timeout_at=prompt.timeout_at + timedelta(seconds=seconds))
            )

    async def _store_open(self, draft: Draft, prompt: Prompt) -> Prompt:
        seq = draft.next_seq()
        stored = replace(prompt, seq=seq)
        draft.store_prompt(stored, PromptStatus.PENDING)
        draft.tell(PromptOpened(stored), seq)
        await self._lanes.commit(draft)
        return stored

    async def _current(self, memory: Memory, prompt_id: PromptId) -> Prompt:
        """The prompt as of this turn. Raises AlreadyResolved where it has its end state."""
        prompt = memory.prompts.get(prompt_id)
        if prompt is None:
            # Not among the open runs' prompts: its run has ended, and the prompt with it.
            prompt = await self._store.prompt(prompt_id)
            assert prompt is not None, "the prompt was found before the turn"
        if prompt.status is not PromptStatus.PENDING:
            raise AlreadyResolved(f"The prompt has already ended as {prompt.status}", winner=prompt)
        return prompt


def _run_goes_on(draft: Draft, answered: Prompt) -> None:
    """A run waits for people as long as any of its prompts does."""
    live = draft.memory.runs[answered.request_id]
    if live.run.status is RunStatus.AWAITING_INPUT and not draft.memory.pending_prompts(answered.request_id):
        draft.move_run(live, lifecycle.move_run(live.run, RunStatus.RUNNING, draft.now))


def _check_answer(prompt: Prompt, command: RespondPrompt) -> None:
    offered = [option.id for option in prompt.options]
    if command.selected_option not in offered:
        raise InvalidRequest(
            f"This prompt does not offer {command.selected_option!r}",
            fields={"selectedOption": [f"Must be one of: {', '.join(offered)}."]},
        )
    answers = command.response.answers
    if isinstance(answers, dict):
        unknown = sorted(set(answers) - {question.id for question in prompt.questions})
        if unknown:
            raise InvalidRequest(
                "Answers to questions that were not asked", fields={"answers": [f"Unknown: {', '.join(unknown)}."]}
            )
