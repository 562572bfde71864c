"""Sends the next run of a conversation to a bridge, or says why it waits.

The decision is drafted together with what made it possible (a send, the end of the run before, a bridge that
arrived), so that the run is on disk as dispatched before a bridge hears of it.
"""

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta

from baton.core import lifecycle
from baton.core.errors import NotFound, Unavailable
from baton.core.events import MessageChanged
from baton.core.frames import Execute
from baton.core.ids import ConversationId
from baton.core.limits import Limits
from baton.core.models import Conversation, MessageStatus, Run, RunStatus
from baton.core.ports import BridgeChoice, BridgeLink, Clock
from baton.services.drafts import Draft
from baton.services.judging import agent_mode, mode_of
from baton.services.lanes import Lanes
from baton.services.memory import LiveRun, Memory

logger = logging.getLogger(__name__)


class Dispatcher:
    """Decides when and where queued runs go out."""

    def __init__(self, lanes: Lanes, link: BridgeLink, clock: Clock, limits: Limits) -> None:
        self._lanes = lanes
        self._link = link
        self._clock = clock
        self._limits = limits
        self._room = asyncio.Event()
        self.is_draining = False
        lanes.capacity_freed = self._room.set

    async def run(self) -> None:
        """Whenever a bridge has room again, give it to those that wait. For ever; ends by cancellation."""
        while True:
            await self._room.wait()
            self._room.clear()
            try:
                await self.advance_all()
            except Unavailable as error:
                # The sweep comes back to those that wait (services.deadlines).
                logger.warning(
                    "store is away, runs wait", extra={"action": "store.unavailable", "reason": error.message}
                )

    def advance(self, draft: Draft) -> None:
        """Draft the dispatch of the head of the queue, if the conversation's place at an agent is free."""
        memory = draft.memory
        queued = memory.queued()
        is_free = memory.active() is None and not memory.conversation.queue_paused
        for waiting in queued[1:] if is_free else queued:
            _end_deadline(draft, waiting)
        if not is_free or not queued:
            return
        head = queued[0]
        choice = self.choose(memory.conversation, head.run)
        if self.is_draining or choice.bridge_id is None or choice.reason is not None:
            reason = choice.reason or "The server is restarting"
            self._wait(draft, head, reason, has_deadline=not (choice.is_busy or self.is_draining))
            return
        self._dispatch(draft, head, choice)

    def choose(self, conversation: Conversation, run: Run) -> BridgeChoice:
        """Where the run would go now: what was asked, else the conversation's own bridge and agent."""
        return self._link.choose(
            agent=run.request.agent or conversation.agent,
            bridge_id=run.request.bridge_id or conversation.bridge_id,
            working_directory=run.request.working_directory or conversation.working_directory,
        )

    async def advance_all(self) -> None:
        """Give every waiting conversation its chance, the longest waiting first. Raises Unavailable."""
        await self._lanes.remember()
        for conversation_id in self._waiting():
            try:
                await self.advance_one(conversation_id)
            except NotFound:
                continue
            except Unavailable:
                raise
            except Exception:  # one conversation's failure must not stop the others (job item)
                logger.exception(
                    "dispatch failed", extra={"action": "run.dispatch_failed", "conversationId": conversation_id}
                )

    async def advance_one(self, conversation_id: ConversationId) -> None:
        """Send out what can go in one conversation."""
        async with self._lanes.turn(conversation_id) as memory:
            queued = memory.queued()
            if not queued or memory.active() is not None or memory.conversation.queue_paused:
                return
            draft = self._lanes.draft(memory)
            self.advance(draft)
            if not draft.is_bare:
                await self._lanes.commit(draft)

    def _waiting(self) -> list[ConversationId]:
        heads: list[tuple[datetime, ConversationId]] = []
        for conversation_id in self._lanes.conversations_with_open_runs():
            memory = self._lanes.peek(conversation_id)
            if memory is not None and memory.active() is None and memory.queued() and self._is_news(memory):
                heads.append((memory.queued()[0].run.queued_at, conversation_id))
        return [conversation_id for _, conversation_id in sorted(heads)]

    def _is_news(self, memory: Memory) -> bool:
        """Whether its head could go out now, or waits for another reason than it says. Spares most their turns."""
        head = memory.queued()[0].run
        if self.is_draining or memory.conversation.queue_paused:
            return False
        reason = self.choose(memory.conversation, head).reason
        return reason is None or reason != head.deadline_reason

    def _wait(self, draft: Draft, head: LiveRun, reason: str, *, has_deadline: bool) -> None:
        """Say why the head of a queue cannot go out; without a bridge it waits under a deadline that is shown."""
        deadline = None
        if has_deadline:
            deadline = head.run.deadline_at or draft.now + timedelta(seconds=self._limits.queue_timeout_s)
        if (head.run.deadline_reason, head.run.deadline_at) != (reason, deadline):
            draft.move_run(head, replace(head.run, deadline_at=deadline, deadline_reason=reason), with_queue=True)

    def _dispatch(self, draft: Draft, head: LiveRun, choice: BridgeChoice) -> None:
        assert choice.bridge_id is not None, "a run is dispatched to a bridge"
        self._settle_user_message(draft, head)
        run = lifecycle.move_run(head.run, RunStatus.DISPATCHED, draft.now)
        conversation = draft.memory.conversation
        draft.store_conversation(
            replace(
                conversation,
                bridge_id=conversation.bridge_id or choice.bridge_id,
                agent=conversation.agent or choice.agent,
            )
        )
        run = replace(
            run,
            bridge_id=choice.bridge_id,
            agent=choice.agent,
            model=run.request.model or conversation.model,
            folder=run.request.working_directory or conversation.working_directory or choice.folder,
        )
        draft.move_run(head, run, with_queue=True)
        draft.send(choice.bridge_id, execute_frame(draft.memory, head.run))

    def _settle_user_message(self, draft: Draft, head: LiveRun) -> None:
        """The message that asked has left the queue: it is no longer `sending`."""
        message = head.run.user_message
        if message is None or message.status is not MessageStatus.SENDING:
            return
        seq = draft.next_seq()
        sent = replace(message, status=MessageStatus.COMPLETED, seq=seq, updated_at=draft.now)
        draft.store_message(sent)
        head.run = replace(head.run, user_message=sent)
        draft.tell(MessageChanged(sent), seq)


def _end_deadline(draft: Draft, waiting: LiveRun) -> None:
    """Only the head of a queue has one, and only while nothing but a bridge is missing."""
    run = waiting.run
    if run.deadline_at is not None or run.deadline_reason is not None:
        draft.move_run(waiting, replace(run, deadline_at=None, deadline_reason=None))


def execute_frame(memory: Memory, run: Run) -> Execute:
    """What the bridge is asked to do; made from what is stored, so that it can be said again after a restart."""
    conversation, request = memory.conversation, run.request
    assert run.agent is not None, "a dispatched run has its agent"
    named = request.working_directory or conversation.working_directory
    return Execute(
        request_id=run.request_id,
        conversation_id=conversation.id,
        message=request.content,
        blocks=request.blocks,
        attachments=request.attachments,
        session_id=request.session_id or conversation.claude_session_id,
        fork=conversation.fork_session and request.session_id is None,
        agent=run.agent,
        model=run.model,
        # In a mode in which it asks; and what is allowed without asking (`allowedTools`, grants) is decided here.
        permission_mode=agent_mode(mode_of(memory, run)),
        # As it was first sent, also where the conversation has another one by now: so its calls are judged (`judging`).
        working_directory=named and (run.folder or named),
    )
