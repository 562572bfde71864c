"""Sending, aborting, retrying and queueing: what a person does with runs.

Every verb is one turn of the conversation's lane. Sends are idempotent by the store's constraint on requestId: the
stored answer is given again to the same payload of the same owner, and a conflict to anything else.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from baton.core import lifecycle
from baton.core.commands import CreateConversation, Identity, MoveQueued, RetryRun, SendMessage, UpdateQueued
from baton.core.errors import (
    AlreadyResolved,
    Conflict,
    Draining,
    InvalidRequest,
    NotFound,
    Overloaded,
)
from baton.core.events import ConversationCreated, MessageChanged, Queue, RunChanged
from baton.core.frames import Abort
from baton.core.ids import (
    ConversationId,
    MessageId,
    RequestId,
    derived_object_id,
    new_object_id,
)
from baton.core.limits import Limits
from baton.core.models import (
    Attachment,
    ConversationStatus,
    Message,
    MessageStatus,
    PermissionMode,
    Role,
    Run,
    RunRequest,
    RunStatus,
    SendAnswer,
    TextBlock,
)
from baton.core.permissions import Action
from baton.core.ports import BridgeLink, Store
from baton.services.attachments import Attachments
from baton.services.dispatch import Dispatcher
from baton.services.drafts import Draft
from baton.services.endings import end_run
from baton.services.judging import Judge, check_allowed_tools
from baton.services.lanes import LaneConflict, Lanes, RequestKnown
from baton.services.making import new_conversation, title_of
from baton.services.memory import LiveRun, Memory
from baton.services.modes import check_bypass
from baton.services.ownership import Ownership, seen_by
from baton.services.trail import Trail

logger = logging.getLogger(__name__)

MAX_EXTENSION_S = 7 * 24 * 3600
_NO_RUN = "There is no such run"


@dataclass(frozen=True, slots=True)
class ResetCounts:
    """What `reset_active` ended."""

    runs: int
    prompts: int


class Runs:
    """See the module."""

    def __init__(
        self,
        *,
        store: Store,
        lanes: Lanes,
        ownership: Ownership,
        trail: Trail,
        link: BridgeLink,
        dispatcher: Dispatcher,
        judge: Judge,
        attachments: Attachments,
        limits: Limits,
    ) -> None:
        self._ownership = ownership
        self._trail = trail
        self._files = attachments
        self._judge = judge
        self._store = store
        self._lanes = lanes
        self._link = link
        self._dispatcher = dispatcher
        self._limits = limits

    # --- sending -----------------------------------------------------------------------------------------------

    async def send(self, who: Identity, command: SendMessage) -> SendAnswer:
        """Store the message and its run, and dispatch it if it can go now.

        Raises Conflict (the requestId is known with another payload or owner), NotFound (conversation, project,
        attachment), Overloaded (the queue is full), TooLarge, Draining.
        """
        return await self._send(who, command, digest=payload_digest(command), first=False)

    async def retry(self, who: Identity, command: RetryRun) -> SendAnswer:
        """Ask again what a failed or aborted run was asked; it goes before everything that waits.

        Raises Conflict for a run that is open or completed, NotFound, and what `send` raises.
        """
        run = await self.get(who, command.request_id)
        if run.status not in (RunStatus.FAILED, RunStatus.ABORTED):
            raise Conflict(f"Only a failed or aborted run can be retried; this one is {run.status}")
        if run.origin == "background":
            raise Conflict("The agent began this run by itself; there is no message to send again")
        request = run.request
        again = SendMessage(
            request_id=command.new_request_id,
            content=request.content,
            conversation_id=run.conversation_id,
            attachments=tuple(attachment.id for attachment in request.attachments),
            agent=request.agent,
            model=request.model,
            # Its hour began with the first try, or with the conversation; to ask again must not begin another.
            permission_mode=None if request.permission_mode is PermissionMode.BYPASS else request.permission_mode,
            working_directory=request.working_directory,
            allowed_tools=request.allowed_tools,
            bridge_id=request.bridge_id,
        )
        digest = _digest(["retry", command.request_id, command.new_request_id])
        return await self._send(who, again, digest=digest, first=True)

    async def _send(self, who: Identity, command: SendMessage, *, digest: str, first: bool) -> SendAnswer:
        known = await self._store.run(command.request_id)
        if known is not None:
            return _same_answer(who, known, digest)
        if self._dispatcher.is_draining:
            raise Draining("The server is restarting; send again in a moment")
        check_allowed_tools(command.allowed_tools, self._lanes.now())
        if command.conversation_id is not None:
            await self._ownership.check(who, command.conversation_id)
        attachments = await self._attachments(who, command, command.conversation_id or _made_by(who, command))
        try:
            if command.conversation_id is None:
                return await self._send_to_new(who, command, attachments, digest)
            return await self._send_to(who, command.conversation_id, command, attachments, digest, first=first)
        except RequestKnown:
            stored = await self._store.run(command.request_id)
            if stored is None:
                raise Conflict("A conversation was made with this requestId, but nothing was sent in it") from None
            return _same_answer(who, stored, digest)

    async def _send_to(
        self,
        who: Identity,
        conversation_id: ConversationId,
        command: SendMessage,
        attachments: tuple[Attachment, ...],
        digest: str,
        *,
        first: bool,
    ) -> SendAnswer:
        async with self._lanes.turn(conversation_id) as memory:
            if memory.conversation.status is ConversationStatus.DELETED:
                raise NotFound("The conversation is deleted; restore it to go on")
            check_bypass(self._judge, command.permission_mode, command.bridge_id or memory.conversation.bridge_id)
            if len(memory.queued()) >= self._limits.queue_max_runs:
                raise Overloaded(
                    f"The queue is full ({self._limits.queue_max_runs} messages wait); remove some or wait"
                )
            draft = self._lanes.draft(memory)
            if first and memory.conversation.queue_paused:
                _clear_pause(draft)
            return await self._add_run(draft, who, command, attachments, digest, first=first)

    async def _send_to_new(
        self, who: Identity, command: SendMessage, attachments: tuple[Attachment, ...], digest: str
    ) -> SendAnswer:
        project = None
        if command.project_id is not None:
            project = await self._store.project(command.project_id)
            if project is None:
                raise NotFound("There is no such project")
        create = CreateConversation(
            request_id=command.request_id,
            project_id=command.project_id,
            agent=command.agent,
            model=command.model,
            permission_mode=command.permission_mode,
            working_directory=command.working_directory or (project.working_directory if project else None),
            bridge_id=command.bridge_id,
        )
        check_bypass(self._judge, command.permission_mode, command.bridge_id)
        made_by = _made_by(who, command)
        conversation = new_conversation(who, create, made_by, self._lanes.now(), self._limits.bypass_s)
        async with self._lanes.new(conversation) as memory:
            draft = self._lanes.draft(memory)
            draft.is_new = True
            return await self._add_run(draft, who, command, attachments, digest, first=False)

    async def _add_run(
        self,
        draft: Draft,
        who: Identity,
        command: SendMessage,
        attachments: tuple[Attachment, ...],
        digest: str,
        *,
        first: bool,
    ) -> SendAnswer:
        memory = draft.memory
        conversation = memory.conversation
        if not conversation.title:
            draft.store_conversation(replace(conversation, title=title_of(command.content)))
        if command.session_id is not None and command.session_id != conversation.claude_session_id:
            draft.store_conversation(replace(memory.conversation, claude_session_id=command.session_id))
        message = _user_message(draft, command, attachments)
        seq = draft.next_seq()
        run = Run(
            request_id=command.request_id,
            conversation_id=conversation.id,
            seq=seq,
            status=RunStatus.QUEUED,
            agent=command.agent or conversation.agent,
            model=command.model or conversation.model,
            message_ids=(message.id,),
            queued_at=draft.now,
            user_id=who.user_id,
            digest=digest,
            request=_request_of(command, attachments),
            position=_position(memory, first=first),
            user_message=message,
        )
        live = LiveRun(run, self._lanes.new_transcript(memory, run), command.session_id)
        memory.runs[run.request_id] = live
        memory.sort_queue()
        draft.store_message(message)
        draft.tell(MessageChanged(message), message.seq)
        draft.tell(RunChanged(run, memory.queue()), seq)
        self._dispatcher.advance(draft)
        answer = _answer(memory, live)
        live.run = replace(live.run, answer=answer)
        draft.add_run(live.run)
        if draft.is_new:
            draft.tell_all(ConversationCreated(memory.conversation))
        await self._lanes.commit(draft)
        logger.info(
            "message taken",
            extra={
                "action": "chat.sent",
                "requestId": run.request_id,
                "conversationId": conversation.id,
                "status": answer.status,
            },
        )
        return answer

    async def _attachments(
        self, who: Identity, command: SendMessage, conversation_id: ConversationId
    ) -> tuple[Attachment, ...]:
        """What is to be sent along, noted as used: from here on none of them is cleaned up."""
        for attachment_id in command.attachments:
            # Before any is noted: to use another's file would make it one's own.
            if not await self._files.sees(who, attachment_id):
                raise NotFound(f"There is no attachment {attachment_id}; upload it again")
        gone = await self._store.use_attachments(conversation_id, command.attachments) if command.attachments else ()
        found = []
        for attachment_id in command.attachments:
            attachment = None if attachment_id in gone else await self._store.attachment(attachment_id)
            if attachment is None:
                raise NotFound(f"There is no attachment {attachment_id}; upload it again")
            found.append(attachment)
        return tuple(found)

    # --- one run -----------------------------------------------------------------------------------------------

    async def get(self, who: Identity, request_id: RequestId) -> Run:
        """The run as stored. Raises NotFound."""
        run = await self._store.run(request_id)
        if run is None or not await self._ownership.sees(who, run.conversation_id):
            raise NotFound(_NO_RUN)
        return run

    async def active(self, who: Identity) -> Sequence[Run]:
        """The open runs of their conversations, as stored, oldest first."""
        return await self._store.runs(frozenset(lifecycle.OPEN_RUN), user_id=seen_by(who))

    async def abort(self, who: Identity, request_id: RequestId) -> Run:
        """End a run: at once where it waits or its bridge is away, else the bridge ends it within the grace.

        Raises AlreadyResolved (with the run) once it has its final state, NotFound.
        """
        async with self._lanes.turn(await self._conversation_of(who, request_id)) as memory:
            live = await self._open_run(memory, request_id)
            run = live.run
            is_reachable = run.bridge_id is not None and self._link.is_connected(run.bridge_id)
            draft = self._lanes.draft(memory)
            if run.status is not RunStatus.QUEUED and is_reachable:
                if run.abort_requested_at is not None:
                    return run
                assert run.bridge_id is not None, "an active run has its bridge"
                draft.move_run(live, replace(run, abort_requested_at=draft.now))
                draft.send(run.bridge_id, Abort(request_id=request_id))
            else:
                end_run(draft, live, RunStatus.ABORTED)
                self._dispatcher.advance(draft)
            await self._lanes.commit(draft)
            logger.info("abort asked", extra={"action": "chat.abort", "requestId": request_id})
            return live.run

    async def extend(self, who: Identity, request_id: RequestId, seconds: float) -> Run:
        """Move the run's deadline. Raises Conflict where it has none, InvalidRequest for an absurd time."""
        if not 0 < seconds <= MAX_EXTENSION_S:
            raise InvalidRequest(
                f"seconds must be above 0 and at most {MAX_EXTENSION_S}", fields={"seconds": ["Out of range."]}
            )
        async with self._lanes.turn(await self._conversation_of(who, request_id)) as memory:
            live = await self._open_run(memory, request_id)
            if live.run.deadline_at is None:
                raise Conflict("The run has no deadline to move")
            draft = self._lanes.draft(memory)
            draft.move_run(live, replace(live.run, deadline_at=live.run.deadline_at + timedelta(seconds=seconds)))
            await self._lanes.commit(draft)
            return live.run

    # --- the queue ---------------------------------------------------------------------------------------------

    async def queue_update(self, who: Identity, command: UpdateQueued) -> Queue:
        """Change what a waiting run asks. Raises Conflict once it has gone out."""
        async with self._lanes.turn(await self._conversation_of(who, command.request_id)) as memory:
            live = await self._waiting_run(memory, command.request_id)
            draft = self._lanes.draft(memory)
            message = live.run.user_message
            assert message is not None, "a waiting run carries its message"
            seq = draft.next_seq()
            blocks = (TextBlock(command.content),)
            changed = replace(
                message,
                content=command.content,
                blocks=blocks,
                claude_data={"content": [{"type": "text", "text": command.content}]},
                seq=seq,
                updated_at=draft.now,
            )
            draft.store_message(changed)
            draft.tell(MessageChanged(changed), seq)
            request = replace(live.run.request, content=command.content, blocks=blocks)
            draft.move_run(live, replace(live.run, request=request, user_message=changed), with_queue=True)
            await self._lanes.commit(draft)
            return memory.queue()

    async def queue_remove(self, who: Identity, request_id: RequestId) -> Queue:
        """Take a waiting run out; it ends as aborted. Raises Conflict once it has gone out."""
        async with self._lanes.turn(await self._conversation_of(who, request_id)) as memory:
            live = await self._waiting_run(memory, request_id)
            draft = self._lanes.draft(memory)
            end_run(draft, live, RunStatus.ABORTED)
            if not memory.queued():
                _clear_pause(draft)
            self._dispatcher.advance(draft)
            await self._lanes.commit(draft)
            return memory.queue()

    async def queue_move(self, who: Identity, command: MoveQueued) -> Queue:
        """Give a waiting run another place; a position past the end means the end."""
        async with self._lanes.turn(await self._conversation_of(who, command.request_id)) as memory:
            live = await self._waiting_run(memory, command.request_id)
            others = [other for other in memory.queued() if other is not live]
            index = min(command.position - 1, len(others))
            draft = self._lanes.draft(memory)
            if not _slip_in(live, others[:index], others[index:]):
                _renumber(draft, [*others[:index], live, *others[index:]])
            memory.sort_queue()
            head_changed = replace(live.run, deadline_at=None, deadline_reason=None)
            draft.move_run(live, head_changed, with_queue=True)
            self._dispatcher.advance(draft)
            await self._lanes.commit(draft)
            return memory.queue()

    async def queue_resume(self, who: Identity, conversation_id: ConversationId) -> Queue:
        """Let a paused queue go on; nothing changes where it is not paused."""
        async with self._ownership.turn(who, conversation_id) as memory:
            if not memory.conversation.queue_paused:
                return memory.queue()
            draft = self._lanes.draft(memory)
            _clear_pause(draft)
            queued = memory.queued()
            if queued:
                draft.move_run(queued[0], queued[0].run, with_queue=True)
            self._dispatcher.advance(draft)
            await self._lanes.commit(draft)
            return memory.queue()

    # --- all of them -------------------------------------------------------------------------------------------

    async def reset_active(self, who: Identity) -> ResetCounts:
        """End every open run of their conversations as aborted, and every pending prompt as cancelled by clean-up."""
        runs = prompts = 0
        await self._lanes.remember()
        for conversation_id in self._lanes.conversations_with_open_runs():
            if not await self._ownership.sees(who, conversation_id):
                continue
            try:
                counts = await self._reset(conversation_id)
            except LaneConflict:
                # Somebody has changed it in the store, and the lane has been read anew since.
                counts = await self._reset(conversation_id)
            runs, prompts = runs + counts.runs, prompts + counts.prompts
        await self._trail.note(who, Action.RUNS_RESET, subject=f"{runs} runs, {prompts} prompts")
        logger.info("active runs reset", extra={"action": "chat.reset", "runs": runs, "prompts": prompts})
        return ResetCounts(runs, prompts)

    async def _reset(self, conversation_id: ConversationId) -> ResetCounts:
        async with self._lanes.turn(conversation_id) as memory:
            prompts = len(memory.pending_prompts())
            draft = self._lanes.draft(memory)
            runs = end_open_runs(draft)
            if runs:
                await self._lanes.commit(draft)
            return ResetCounts(runs, prompts)

    # --- finding -----------------------------------------------------------------------------------------------

    async def _conversation_of(self, who: Identity, request_id: RequestId) -> ConversationId:
        """Where the run is open. Raises NotFound, also for another's run, and AlreadyResolved."""
        place = self._lanes.places.of(request_id)
        if place is not None:
            await self._ownership.check(who, place.conversation_id, _NO_RUN)
            return place.conversation_id
        run = await self.get(who, request_id)
        if lifecycle.is_final(run):
            raise AlreadyResolved(f"The run has already ended as {run.status}", winner=run)
        return run.conversation_id

    async def _open_run(self, memory: Memory, request_id: RequestId) -> LiveRun:
        live = memory.runs.get(request_id)
        if live is None:
            run = await self._store.run(request_id)
            assert run is not None, "the run was found before the turn"
            raise AlreadyResolved(f"The run has already ended as {run.status}", winner=run)
        return live

    async def _waiting_run(self, memory: Memory, request_id: RequestId) -> LiveRun:
        live = await self._open_run(memory, request_id)
        if live.run.status is not RunStatus.QUEUED:
            raise Conflict("The message has left the queue; abort its run instead")
        return live


def end_open_runs(draft: Draft) -> int:
    """Draft the end of every open run of the conversation, as aborted, prompts by clean-up; how many there were."""
    running = list(draft.memory.runs.values())
    for live in running:
        if live.run.bridge_id is not None and live.run.status is not RunStatus.QUEUED:
            draft.send(live.run.bridge_id, Abort(request_id=live.run.request_id))
        end_run(draft, live, RunStatus.ABORTED, prompt_handler="cleanup")
    if running:
        _clear_pause(draft)
    return len(running)


def payload_digest(command: SendMessage) -> str:
    """Names the payload of a send: equal for equal payloads, whatever order their fields came in."""
    return _digest(
        [
            command.content,
            command.conversation_id,
            command.project_id,
            command.session_id,
            list(command.attachments),
            command.agent,
            command.model,
            command.permission_mode,
            command.working_directory,
            list(command.allowed_tools),
            command.bridge_id,
        ]
    )


def _made_by(who: Identity, command: SendMessage) -> ConversationId:
    """The conversation that this send makes. `conversation:create` with the same requestId is another thing."""
    return ConversationId(derived_object_id("send", who.user_id, command.request_id))


def _digest(parts: list[object]) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()


def _same_answer(who: Identity, run: Run, digest: str) -> SendAnswer:
    if run.user_id != who.user_id or run.digest != digest or run.answer is None:
        raise Conflict("This requestId is known with another payload or owner; use a new one for a new message")
    return run.answer


def _request_of(command: SendMessage, attachments: tuple[Attachment, ...]) -> RunRequest:
    return RunRequest(
        content=command.content,
        blocks=(TextBlock(command.content),),
        attachments=attachments,
        session_id=command.session_id,
        agent=command.agent,
        model=command.model,
        permission_mode=command.permission_mode,
        working_directory=command.working_directory,
        allowed_tools=command.allowed_tools,
        bridge_id=command.bridge_id,
    )


def _user_message(draft: Draft, command: SendMessage, attachments: tuple[Attachment, ...]) -> Message:
    conversation = draft.memory.conversation
    return Message(
        id=MessageId(new_object_id()),
        conversation_id=conversation.id,
        project_id=conversation.project_id,
        request_id=command.request_id,
        ordinal=draft.next_ordinal(),
        seq=draft.next_seq(),
        role=Role.USER,
        status=MessageStatus.SENDING,
        content=command.content,
        blocks=(TextBlock(command.content),),
        attachments=attachments,
        claude_data={"content": [{"type": "text", "text": command.content}]},
        session_id=conversation.claude_session_id,
        timestamp=draft.now,
        created_at=draft.now,
        updated_at=draft.now,
    )


def _answer(memory: Memory, live: LiveRun) -> SendAnswer:
    run = live.run
    assert run.user_message is not None, "a run that is being sent carries its message"
    if run.status is not RunStatus.QUEUED:
        return SendAnswer(
            request_id=run.request_id,
            conversation_id=run.conversation_id,
            message_id=run.user_message.id,
            status="dispatched",
        )
    queued = [other.run.request_id for other in memory.queued()]
    paused = memory.conversation.queue_reason if memory.conversation.queue_paused else None
    return SendAnswer(
        request_id=run.request_id,
        conversation_id=run.conversation_id,
        message_id=run.user_message.id,
        status="queued",
        position=queued.index(run.request_id) + 1,
        reason=paused or run.deadline_reason or "Another message is being answered",
    )


def _position(memory: Memory, *, first: bool) -> float:
    positions = [live.run.position for live in memory.runs.values()]
    if not positions:
        return 1.0
    waiting = [live.run.position for live in memory.queued()]
    if first and waiting:
        return waiting[0] - 1.0
    return max(positions) + 1.0


def _slip_in(live: LiveRun, before: Sequence[LiveRun], after: Sequence[LiveRun]) -> bool:
    """Give a waiting run a position between its neighbours; False where no number lies between theirs any more."""
    below = before[-1].run.position if before else None
    above = after[0].run.position if after else None
    if below is None and above is None:
        return True
    if below is None or above is None:
        position = above - 1.0 if above is not None else (below or 0.0) + 1.0
    else:
        position = (below + above) / 2
        if not below < position < above:
            return False
    live.run = replace(live.run, position=position)
    return True


def _renumber(draft: Draft, order: Sequence[LiveRun]) -> None:
    """Give all that waits whole numbers again: halves of halves come to an end after some fifty moves."""
    for number, waiting in enumerate(order, 1):
        draft.move_run(waiting, replace(waiting.run, position=float(number)))


def _clear_pause(draft: Draft) -> None:
    conversation = draft.memory.conversation
    if conversation.queue_paused:
        draft.store_conversation(replace(conversation, queue_paused=False, queue_reason=None))
