"""One change of a conversation in the making: what is stored, told and sent together, or not at all.

Drafting changes the lane's memory, which is ahead of the disk until `Lanes.commit`. It must not know who drafts, nor
why.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from baton.core import lifecycle
from baton.core.events import Event, RoomEvent, RoomPayload, RunChanged, StateChanged
from baton.core.frames import ServerFrame
from baton.core.ids import BridgeId, MessageId, PromptId, RequestId, new_object_id
from baton.core.models import (
    Conversation,
    ConversationStatus,
    Message,
    Prompt,
    PromptStatus,
    Run,
    RunStatus,
)
from baton.core.permissions import AuditEntry, Grant, GrantId
from baton.core.stored import (
    Change,
    JournalRow,
    JournalTrim,
    PromptMove,
    RunMove,
)
from baton.services.audit import entry_for
from baton.services.memory import LiveRun, Memory


class Draft:
    """One change in the making: documents to store, events to tell, frames to send; gives out seq and ordinal.

    The memory is changed while drafting and is ahead of the disk until the commit.
    """

    def __init__(self, memory: Memory, now: datetime) -> None:
        self.memory = memory
        self.now = now
        self.is_new = False
        self.new_run: Run | None = None
        self.last_ended: RunStatus | None = None
        """How the last run that held the agent's place ended, if one did in this change."""
        self.journal: JournalRow | None = None
        self.frames: list[tuple[BridgeId, ServerFrame]] = []
        self.released: list[tuple[BridgeId, RequestId]] = []
        self.events: list[Event] = []
        self.late_events: list[Event] = []
        self._conversation: Conversation | None = None
        self._runs: dict[RequestId, RunMove] = {}
        self._messages: dict[MessageId, Message] = {}
        self._prompts: dict[PromptId, PromptMove] = {}
        self._trims: list[JournalTrim] = []
        self._grants: dict[GrantId, Grant] = {}
        self._audit: dict[PromptId, AuditEntry] = {}
        self._deeds: list[AuditEntry] = []
        self._state_before = (memory.state, len(memory.pending_prompts()))
        self._seq_before = memory.seq
        self._updated_before = memory.updated_at

    # --- numbers -----------------------------------------------------------------------------------------------

    def next_seq(self) -> int:
        """The seq of the next change; the documents that change with it carry it."""
        self.memory.seq += 1
        return self.memory.seq

    def next_ordinal(self) -> int:
        """The place of a new message in the history."""
        return self.memory.next_ordinal()

    def new_message(self) -> tuple[MessageId, int]:
        """Id and ordinal of a message that begins."""
        return MessageId(new_object_id()), self.next_ordinal()

    # --- what is stored ----------------------------------------------------------------------------------------

    def store_conversation(self, conversation: Conversation | None = None) -> None:
        """Store the conversation's document with this change (its seq and ordinal are the last given out)."""
        if conversation is not None:
            self.memory.conversation = conversation
        self._conversation = self.memory.conversation

    def store_run(self, run: Run, expect: Iterable[RunStatus]) -> None:
        """Store a run whole, if it is on disk with one of these statuses."""
        known = self._runs.get(run.request_id)
        self._runs[run.request_id] = RunMove(run=run, expect=known.expect if known else frozenset(expect))
        self.memory.runs[run.request_id].run = run
        self.store_conversation()

    def add_run(self, run: Run) -> None:
        """Store a run that is not on disk yet, as it stands at the end of this draft."""
        self._runs.pop(run.request_id, None)
        self.new_run = run
        self.store_conversation()

    def store_message(self, message: Message) -> None:
        """Store a message whole."""
        self._messages[message.id] = message
        self.store_conversation()

    def store_prompt(self, prompt: Prompt, expect: PromptStatus | None) -> None:
        """Store a prompt whole, if it is on disk with this status (None: is not there); its end goes into the audit."""
        known, before = self._prompts.get(prompt.id), self.memory.prompts.get(prompt.id)
        self._prompts[prompt.id] = PromptMove(prompt=prompt, expect=known.expect if known else expect)
        self.memory.prompts[prompt.id] = prompt
        ends_here = before is None or before.status is PromptStatus.PENDING
        if ends_here and prompt.status is not PromptStatus.PENDING:
            self._audit[prompt.id] = entry_for(prompt, prompt.decision)
        self.store_conversation()

    def store_grant(self, grant: Grant) -> None:
        """Store a grant whole; it counts once the change is on disk."""
        self._grants[grant.id] = grant
        self.store_conversation()

    def note(self, entry: AuditEntry) -> None:
        """Enter into the audit what a person does with this change."""
        self._deeds.append(entry)

    @property
    def grants(self) -> tuple[Grant, ...]:
        """The grants that this change stores."""
        return tuple(self._grants.values())

    def trim_journal(self, request_id: RequestId, up_to_bridge_seq: int) -> None:
        """Journal rows up to here are contained in documents."""
        if up_to_bridge_seq > 0:
            self._trims.append(JournalTrim(request_id=request_id, up_to_bridge_seq=up_to_bridge_seq))

    def stores_message(self, message_id: str) -> bool:
        """Whether this change stores that message whole."""
        return message_id in self._messages

    def stored_runs(self) -> list[Run]:
        """The runs that this change stores."""
        runs = [move.run for move in self._runs.values()]
        return runs if self.new_run is None else [self.new_run, *runs]

    def ended_prompts(self) -> list[Prompt]:
        """The prompts that end with this change, or came with their end."""
        return [self._prompts[prompt_id].prompt for prompt_id in self._audit]

    @property
    def is_bare(self) -> bool:
        """Whether there is nothing to store beside a journal row."""
        return self._conversation is None

    def is_in(self, stored: Memory) -> bool:
        """Whether what is on disk holds this change. One that cannot be found there again counts as not stored."""
        if self.is_new:
            return True
        if self.memory.seq > self._seq_before:
            return stored.seq >= self.memory.seq
        return self._updated_before != self.memory.updated_at == stored.updated_at

    # --- what is told ------------------------------------------------------------------------------------------

    def tell(self, payload: RoomPayload, seq: int | None = None) -> None:
        """Tell the room; in the order of the calls. `seq`: the one taken for the documents, else a new one."""
        number = self.next_seq() if seq is None else seq
        self.events.append(RoomEvent(self.memory.conversation_id, number, number - 1, payload))

    def tell_all(self, event: Event) -> None:
        """Tell everybody who may see the conversation, after the room."""
        self.late_events.append(event)

    def move_run(self, live: LiveRun, run: Run, *, with_queue: bool = False) -> None:
        """Store a run that has changed and tell it, with the queue where that changed too."""
        before = live.run.status
        seq = self.next_seq()
        self.store_run(replace(run, seq=seq), {before})
        if lifecycle.is_final(live.run):
            del self.memory.runs[live.run.request_id]
        self.tell(RunChanged(live.run, self.memory.queue() if with_queue else None), seq)

    def send(self, bridge_id: BridgeId, frame: ServerFrame) -> None:
        """Send to a bridge once the change is on disk."""
        self.frames.append((bridge_id, frame))

    # --- the result --------------------------------------------------------------------------------------------

    def change(self) -> Change:
        """The change to commit. To be called once, when everything is drafted."""
        memory = self.memory
        if self._conversation is None:
            return Change(conversation_id=memory.conversation_id, journal=self.journal)
        self._refresh_state()
        return Change(
            conversation_id=memory.conversation_id,
            conversation=memory.conversation,
            is_new=self.is_new,
            new_run=self.new_run,
            runs=tuple(self._runs.values()),
            messages=tuple(self._messages.values()),
            prompts=tuple(self._prompts.values()),
            journal=self.journal,
            trims=tuple(self._trims),
            grants=self.grants,
            audit=(*self._audit.values(), *self._deeds),
        )

    def _refresh_state(self) -> None:
        memory = self.memory
        active = memory.active()
        queued = memory.queued()
        head = active.run if active else (queued[0].run if queued else None)
        if head is not None or self.last_ended is not None:
            state = lifecycle.conversation_state(head, self.last_ended)
        else:
            state = memory.state
        memory.conversation = replace(memory.conversation, state=state, updated_at=self.now)
        pending = len(memory.pending_prompts())
        conversation = memory.conversation
        # What is in the bin is told as deleted, and then no more: it would come back into people's lists.
        is_listed = conversation.status is not ConversationStatus.DELETED
        if is_listed and (self._state_before != (state, pending) or self.new_run is not None):
            self.late_events.append(
                StateChanged(
                    conversation_id=conversation.id,
                    project_id=conversation.project_id,
                    title=conversation.title,
                    state=state,
                    pending_prompts=pending,
                    updated_at=self.now,
                    seq=conversation.seq,
                    user_id=conversation.user_id,
                )
            )
