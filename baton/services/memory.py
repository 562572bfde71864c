"""What a lane keeps in memory: its conversation's document, the open runs, their prompts and live messages.

What every delta moves (`seq`, `ordinal`, `bridge_seq`, `last_event_at`) counts on its own, and the frozen documents
follow when somebody asks for them: to build them anew for each delta was a quarter of the event loop's work for it
(benchmarks/relay.py). It must not know how changes are stored or told.
"""

from dataclasses import replace
from datetime import datetime

from baton.core import lifecycle
from baton.core.events import Queue
from baton.core.ids import ConversationId, MessageId, PromptId, RequestId
from baton.core.models import Conversation, ConversationState, Prompt, PromptStatus, Run, RunStatus
from baton.core.transcript import Transcript


class LiveRun:
    """An open run and what its agent has said so far. Each frame moves `bridge_seq` and `last_event_at` only."""

    __slots__ = ("_run", "bridge_seq", "last_event_at", "session_id", "transcript")

    def __init__(self, run: Run, transcript: Transcript, session_id: str | None = None) -> None:
        self._run = run
        self.bridge_seq = run.bridge_seq
        self.last_event_at = run.last_event_at
        self.transcript = transcript
        self.session_id = session_id

    @property
    def run(self) -> Run:
        """The run's document, as of the last frame taken in."""
        run = self._run
        if run.bridge_seq != self.bridge_seq or run.last_event_at != self.last_event_at:
            run = self._run = replace(run, bridge_seq=self.bridge_seq, last_event_at=self.last_event_at)
        return run

    @run.setter
    def run(self, run: Run) -> None:
        self._run = run
        self.bridge_seq = run.bridge_seq
        self.last_event_at = run.last_event_at

    @property
    def request_id(self) -> RequestId:
        """The run's, without its document being built."""
        return self._run.request_id

    @property
    def status(self) -> RunStatus:
        """The run's, without its document being built."""
        return self._run.status

    @property
    def deadline_at(self) -> datetime | None:
        """The run's, without its document being built."""
        return self._run.deadline_at

    @property
    def message_ids(self) -> tuple[MessageId, ...]:
        """The run's, without its document being built."""
        return self._run.message_ids


class Memory:
    """What a lane knows of its conversation: always what is on disk, except inside a turn.

    Each delta moves `seq`, each new message `ordinal`; of the document, they are ahead.
    """

    __slots__ = ("_conversation", "ordinal", "prompts", "runs", "seq")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self.seq = conversation.seq
        self.ordinal = conversation.ordinal
        self.runs: dict[RequestId, LiveRun] = {}
        """The open ones, in queue order."""
        self.prompts: dict[PromptId, Prompt] = {}
        """Those of the open runs."""

    @property
    def conversation(self) -> Conversation:
        """The conversation's document, as of the last change."""
        conversation = self._conversation
        if conversation.seq != self.seq or conversation.ordinal != self.ordinal:
            conversation = self._conversation = replace(conversation, seq=self.seq, ordinal=self.ordinal)
        return conversation

    @conversation.setter
    def conversation(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self.seq = conversation.seq
        self.ordinal = conversation.ordinal

    @property
    def conversation_id(self) -> ConversationId:
        """The conversation's, without its document being built."""
        return self._conversation.id

    @property
    def state(self) -> ConversationState:
        """The conversation's, without its document being built."""
        return self._conversation.state

    @property
    def updated_at(self) -> datetime:
        """The conversation's, without its document being built."""
        return self._conversation.updated_at

    def next_ordinal(self) -> int:
        """The place of a new message in the history."""
        self.ordinal += 1
        return self.ordinal

    def active(self) -> LiveRun | None:
        """The run that holds the conversation's one place at an agent."""
        return next((live for live in self.runs.values() if lifecycle.is_active(live.run)), None)

    def queued(self) -> list[LiveRun]:
        """The runs that wait, in order."""
        return [live for live in self.runs.values() if live.run.status is RunStatus.QUEUED]

    def pending_prompts(self, request_id: RequestId | None = None) -> list[Prompt]:
        """Prompts that wait for an answer: of one run, or all."""
        if not self.prompts:
            return []  # nearly always, and asked with each flush of each run
        return [
            prompt
            for prompt in self.prompts.values()
            if prompt.status is PromptStatus.PENDING and request_id in (None, prompt.request_id)
        ]

    def asked(self, request_id: RequestId, bridge_prompt_id: str) -> Prompt | None:
        """The prompt that a bridge means by its own id: of several that it asked under one id, the newest."""
        meant = [
            prompt
            for prompt in self.prompts.values()
            if prompt.request_id == request_id and prompt.bridge_prompt_id == bridge_prompt_id
        ]
        # Not by its time, which a clock that is set back gives out twice.
        return max(meant, key=lambda prompt: prompt.seq, default=None)

    def queue(self) -> Queue:
        """What stands behind the active run, as it is told."""
        return Queue(
            paused=self.conversation.queue_paused,
            reason=self.conversation.queue_reason,
            runs=tuple(live.run for live in self.queued()),
        )

    def sort_queue(self) -> None:
        """Bring the open runs into the order of their positions."""
        self.runs = dict(sorted(self.runs.items(), key=lambda item: item[1].run.position))
