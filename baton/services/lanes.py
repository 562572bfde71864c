"""Lanes: each conversation's one order of changes.

A lane keeps in memory what its conversation's open runs need, gives out `seq` and `ordinal`, and makes every change
in the same three steps: build a `Draft`, commit it, publish it. Nothing outside sees a state that is not on disk,
because everybody, readers of live messages too, works inside `Lanes.turn`. A change that fails leaves memory ahead
of the disk; the lane then forgets everything and reads itself anew at its next turn. If it finds the change on disk
all the same (the store was lost before it could say so), the change is told and sent then.

It must not know what the changes mean: that is what `runs`, `intake`, `prompts` and `conversations` are for.
"""

import asyncio
import contextlib
import itertools
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from baton.core import activity
from baton.core.errors import Conflict, LeaseLost, NotFound, StoreUnavailable, Unavailable
from baton.core.events import Event
from baton.core.ids import ConversationId, MessageId, new_object_id
from baton.core.limits import Limits
from baton.core.models import Conversation, Prompt, PromptStatus, Run
from baton.core.ports import BridgeLink, Clock, Publisher, Store
from baton.core.stored import (
    Committed,
    JournalRow,
    Known,
    LaneState,
    Lost,
    Outcome,
)
from baton.core.tally import Tally
from baton.core.transcript import Transcript
from baton.services.drafts import Draft
from baton.services.memory import LiveRun, Memory
from baton.services.news import log_news
from baton.services.places import Places
from baton.services.postponing import postpone
from baton.services.standing import StandingGrants
from baton.services.writes import Writes

logger = logging.getLogger(__name__)

_REMEMBERED_AT_ONCE = 16
_IDLE_LANES = 1000
"""Lanes without open runs that stay in memory, because their conversations were used last."""


class RequestKnown(Exception):
    """The commit found the requestId, or the new conversation, stored already: not an error, the answer is there."""


class LaneConflict(Conflict):
    """Somebody else's write came first; nothing was stored."""


class Lane:
    """One conversation's place in memory. `memory` may be touched only inside `Lanes.turn`."""

    __slots__ = ("conversation_id", "is_ahead", "lock", "memory", "users")

    def __init__(self, conversation_id: ConversationId) -> None:
        self.conversation_id = conversation_id
        self.lock = asyncio.Lock()
        self.memory: Memory | None = None
        self.is_ahead = False
        """A draft was begun that is not on disk: memory may know more than it."""
        self.users = 0


class Lanes:
    """All lanes of the one process that owns the database."""

    def __init__(self, store: Store, publisher: Publisher, link: BridgeLink, clock: Clock, limits: Limits) -> None:
        self._store = store
        self._publisher = publisher
        self._link = link
        self._clock = clock
        self._limits = limits
        self._lanes: OrderedDict[ConversationId, Lane] = OrderedDict()
        self._forgotten: set[ConversationId] = set()
        self._doubtful: dict[ConversationId, Draft] = {}
        """Changes of which the store has not said whether they are on disk."""
        self._late: dict[ConversationId, timedelta] = {}
        """Conversations whose deadlines are still to be moved, and by how much."""
        self.places = Places()
        self.standing = StandingGrants()
        self.bypassing: dict[ConversationId, datetime] = {}
        """Conversations in `bypassPermissions`, and until when."""
        self.tally = Tally()
        self.writes = Writes(store, clock, self.tally)
        self.released: Callable[[ConversationId], None] = lambda conversation_id: None
        """Called when a lane becomes free, for those that do not wait in line (the stream's flush)."""
        self.capacity_freed: Callable[[], None] = lambda: None
        """Called when a bridge has room again, for those that wait for room."""

    # --- turns -------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def turn(self, conversation_id: ConversationId) -> AsyncIterator[Memory]:
        """Hold the conversation's lane, alone. Raises NotFound where there is no such conversation."""
        lane = self._enter(conversation_id)
        try:
            async with lane.lock:
                memory = await self._loaded(lane)
                try:
                    if conversation_id in self._late:
                        await self._postpone(memory)
                    yield memory
                except BaseException:
                    if lane.is_ahead:
                        self._forget(lane)
                    raise
        finally:
            self._leave(lane)

    @contextlib.asynccontextmanager
    async def new(self, conversation: Conversation) -> AsyncIterator[Memory]:
        """Hold the lane of a conversation that is being made; raises RequestKnown if it is there already."""
        lane = self._enter(conversation.id)
        try:
            async with lane.lock:
                if lane.memory is not None or await self._store.conversation(conversation.id) is not None:
                    raise RequestKnown
                lane.memory = Memory(conversation)
                try:
                    yield lane.memory
                except BaseException:
                    self._forget(lane)
                    raise
        finally:
            self._leave(lane)

    def try_enter(self, conversation_id: ConversationId) -> Lane | None:
        """The lane, held, if it is free this instant and in memory; else None. `leave` gives it back.

        For the flush, which takes many lanes at once and must never wait for one.
        """
        lane = self._lanes.get(conversation_id)
        if lane is None or lane.users or lane.memory is None or conversation_id in self._late:
            return None
        lane.users = 1
        return lane

    async def hold(self, lane: Lane) -> None:
        """Take the lock of a lane from `try_enter`: nobody else has it, so this does not wait."""
        await lane.lock.acquire()

    def leave(self, lane: Lane, *, forget: bool) -> None:
        """Give back a lane from `try_enter` and `hold`; `forget` when its change is not on disk."""
        if forget:
            self._forget(lane)
        lane.lock.release()
        self._leave(lane)

    def _enter(self, conversation_id: ConversationId) -> Lane:
        lane = self._lanes.get(conversation_id)
        if lane is None:
            lane = self._lanes[conversation_id] = Lane(conversation_id)
        lane.users += 1
        self._lanes.move_to_end(conversation_id)
        return lane

    def _leave(self, lane: Lane) -> None:
        lane.users -= 1
        if lane.users == 0:
            if lane.memory is None:
                self._lanes.pop(lane.conversation_id, None)
            self.released(lane.conversation_id)
        if len(self._lanes) > _IDLE_LANES:
            self._evict()

    def _forget(self, lane: Lane) -> None:
        """What was drafted is not on disk, and memory is ahead of it. Reading anew is always right."""
        lane.memory, lane.is_ahead = None, False
        self._forgotten.add(lane.conversation_id)

    def _evict(self) -> None:
        """Forget the lanes used longest ago, as far as nobody needs them."""
        for conversation_id, lane in list(self._lanes.items()):
            if len(self._lanes) <= _IDLE_LANES:
                return
            if not lane.users and (lane.memory is None or not lane.memory.runs):
                del self._lanes[conversation_id]

    # --- committing --------------------------------------------------------------------------------------------

    def draft(self, memory: Memory, now: datetime | None = None) -> Draft:
        """Begin a change, as of `now` (None: this moment); the caller holds the lane."""
        self._lanes[memory.conversation_id].is_ahead = True
        return Draft(memory, now or self._clock.now())

    async def commit(self, draft: Draft) -> None:
        """Store the draft, then tell and send what belongs to it.

        Raises RequestKnown and LaneConflict, with which nothing is stored, and StoreUnavailable; nothing is told then.
        A caller that is cancelled meanwhile (its browser or bridge is gone) is held until all of it is done: nothing
        would tell a bridge of a run that is stored as dispatched, and nobody that its state has changed.
        """
        committing = asyncio.create_task(self._commit(draft), name="commit of a lane")
        try:
            await asyncio.shield(committing)
        except asyncio.CancelledError:
            await _ended(committing)
            raise

    async def _commit(self, draft: Draft) -> None:
        (outcome,) = await self.write([draft])
        raise_unless_committed(outcome)
        self._show(draft)

    async def write(self, drafts: Sequence[Draft]) -> Sequence[Outcome]:
        """Hand drafts of different lanes to the store. Raises StoreUnavailable; the lanes are to be forgotten then.

        What is raised leaves open which of them are on disk (a link to the database may go after it has stored them):
        those that are will be told and sent when their lanes have been read anew.
        """
        try:
            return await self.writes.commit([draft.change() for draft in drafts])
        except BaseException:
            self._doubtful.update((draft.memory.conversation_id, draft) for draft in drafts)
            raise

    def _show(self, draft: Draft) -> None:
        """The draft is on disk: now it counts, is told and sent."""
        self.settle(draft)
        self._publisher.publish([*draft.events, *draft.late_events])
        self.send_frames(draft)

    def _show_doubtful(self, memory: Memory) -> None:
        """The lane has been read: what was in doubt is there, or is not."""
        draft = self._doubtful.pop(memory.conversation_id, None)
        if draft is None or not draft.is_in(memory):
            return
        logger.warning(
            "a change was stored although the store could not say so",
            extra={"action": "store.doubt_resolved", "conversationId": memory.conversation_id},
        )
        self._show(draft)

    async def purge(self, memory: Memory) -> None:
        """Remove the conversation for good; the caller holds its lane, which after that finds it gone.

        Raises StoreUnavailable; then some of it may be left, and it can be purged again.
        """
        try:
            await self._store.purge_conversation(memory.conversation_id)
        finally:
            self._forget(self._lanes[memory.conversation_id])

    def settle(self, draft: Draft) -> None:
        """The draft is on disk: memory is not ahead of it, and its runs stand where the draft left them."""
        self._lanes[draft.memory.conversation_id].is_ahead = False
        self._doubtful.pop(draft.memory.conversation_id, None)
        if draft.is_bare:
            self.places.note((), draft.journal)
        else:
            self.places.note(draft.stored_runs(), draft.journal)
            self.standing.note(draft.grants)
            self.tally.note(draft.stored_runs(), draft.ended_prompts())
            self.note_bypass(draft.memory.conversation)

    def note_bypass(self, conversation: Conversation) -> None:
        """The conversation is on disk as it is here: until when, if at all, its agent need not ask."""
        if conversation.bypass_until is None:
            self.bypassing.pop(conversation.id, None)
        else:
            self.bypassing[conversation.id] = conversation.bypass_until

    def now(self) -> datetime:
        """The clock's time, for documents that are made before a draft is."""
        return self._clock.now()

    def publish(self, events: Sequence[Event]) -> None:
        """Tell what is on disk already, or belongs to no document."""
        self._publisher.publish(events)

    def send_frames(self, draft: Draft) -> None:
        """Tell the bridges what the committed draft holds for them, and the log what is new in it."""
        if not draft.is_bare:
            log_news(draft)
        for bridge_id, frame in draft.frames:
            self._link.send(bridge_id, frame)
        for bridge_id, request_id in draft.released:
            self._link.release(bridge_id, request_id)
        if draft.released:
            self.capacity_freed()

    # --- deadlines ---------------------------------------------------------------------------------------------

    def postpone(self, by: timedelta) -> None:
        """Move every deadline there is by so much: each conversation's before anybody's next turn in it."""
        in_use = [name for name, lane in self._lanes.items() if lane.users or (lane.memory and lane.memory.runs)]
        for conversation_id in {*in_use, *self._forgotten, *self.bypassing}:
            self._late[conversation_id] = self._late.get(conversation_id, timedelta()) + by

    async def store_postponed(self) -> None:
        """Move those deadlines whose conversations nobody has had a turn in. Raises Unavailable, LeaseLost."""
        for conversation_id in list(self._late):
            try:
                async with self.turn(conversation_id):
                    pass
            except NotFound:
                self._late.pop(conversation_id, None)
            except (Unavailable, LeaseLost):
                raise
            except Exception:  # one conversation's failure must not stop the others (job item)
                logger.exception(
                    "deadlines could not be moved", extra={"action": "jobs.failed", "conversationId": conversation_id}
                )

    async def _postpone(self, memory: Memory) -> None:
        by = self._late[memory.conversation_id]
        draft = self.draft(memory)
        postpone(draft, lambda _: by)
        if draft.is_bare:
            self.settle(draft)
        else:
            await self.commit(draft)
        # While it was stored, more may have been added.
        left = self._late.pop(memory.conversation_id) - by
        if left:
            self._late[memory.conversation_id] = left

    # --- what all lanes hold -----------------------------------------------------------------------------------

    async def remember(self) -> None:
        """Read anew what failed changes made the lanes forget, so that `open_runs` is whole again.

        Several at once: after an outage of the store that is every lane that streams, and all of them wait.
        """
        while self._forgotten:
            some = list(itertools.islice(self._forgotten, _REMEMBERED_AT_ONCE))
            for failure in await asyncio.gather(*map(self._remember_one, some), return_exceptions=True):
                if failure is not None:
                    raise failure

    async def _remember_one(self, conversation_id: ConversationId) -> None:
        # Taken off the list only once it is back: of two that remember at once, neither may go on before.
        with contextlib.suppress(NotFound):
            async with self.turn(conversation_id):
                pass
        self._forgotten.discard(conversation_id)

    def open_runs(self) -> Iterator[LiveRun]:
        """Every open run of the process; lanes with open runs stay in memory."""
        for lane in list(self._lanes.values()):
            if lane.memory is not None:
                yield from list(lane.memory.runs.values())

    def conversations_with_open_runs(self) -> list[ConversationId]:
        """Their ids, as of now."""
        return [i for i, lane in self._lanes.items() if lane.memory is not None and lane.memory.runs]

    def pending_prompts(self) -> list[Prompt]:
        """Prompts that wait for a person, in all conversations, as of now."""
        memories = [lane.memory for lane in self._lanes.values() if lane.memory is not None]
        return [prompt for memory in memories for prompt in memory.pending_prompts()]

    def ended_prompts(self) -> list[Prompt]:
        """Prompts of open runs that wait no longer, in all conversations, as of now."""
        memories = [lane.memory for lane in self._lanes.values() if lane.memory is not None]
        prompts = [prompt for memory in memories for prompt in memory.prompts.values()]
        return [prompt for prompt in prompts if prompt.status is not PromptStatus.PENDING]

    def peek(self, conversation_id: ConversationId) -> Memory | None:
        """What is in memory of a conversation, without a turn: for counts and hints only, never for decisions."""
        lane = self._lanes.get(conversation_id)
        return lane.memory if lane is not None else None

    # --- loading -----------------------------------------------------------------------------------------------

    async def _loaded(self, lane: Lane) -> Memory:
        if lane.memory is None:
            state = await self._store.load_lane(lane.conversation_id)
            if state is None:
                self._doubtful.pop(lane.conversation_id, None)
                raise NotFound("There is no such conversation")
            lane.memory = self._restored(state)
            self._show_doubtful(lane.memory)
        return lane.memory

    def new_transcript(self, memory: Memory, run: Run) -> Transcript:
        """An empty transcript for a run of this lane."""

        def new_message() -> tuple[MessageId, int]:
            return MessageId(new_object_id()), memory.next_ordinal()

        return Transcript(
            conversation_id=run.conversation_id,
            project_id=memory.conversation.project_id,
            request_id=run.request_id,
            new_message=new_message,
            max_chars=self._limits.message_max_bytes // 4,
        )

    def _restored(self, state: LaneState) -> Memory:
        """Memory from disk: the documents first, then what the journal says beyond them."""
        memory = Memory(state.conversation)
        for run in state.runs:
            memory.runs[run.request_id] = LiveRun(run, self.new_transcript(memory, run), run.request.session_id)
        memory.sort_queue()
        memory.prompts = {prompt.id: prompt for prompt in state.prompts}
        covers: dict[MessageId, int] = {}
        for message in state.messages:
            covers[message.id] = message.covers_bridge_seq
            live = memory.runs.get(message.request_id) if message.request_id else None
            if live is not None:
                live.transcript.restore(message)
        for row in state.journal:
            _replay(memory, row, covers)
        ordinals = [message.ordinal for live in memory.runs.values() for message in live.transcript.live()]
        memory.ordinal = max([memory.ordinal, *ordinals])
        self.places.note(live.run for live in memory.runs.values())
        return memory


async def _ended(task: "asyncio.Task[None]") -> None:
    """Wait for its end, whatever that is; a caller that is cancelled once more takes it along."""
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not task.cancelled():
        task.exception()  # nobody is left to be told of it, and the lane is read anew


def _replay(memory: Memory, row: JournalRow, covers: dict[MessageId, int]) -> None:
    live = memory.runs.get(row.request_id)
    if live is None:
        return
    if row.bridge_seq > live.bridge_seq:
        # Else the run's own document holds it.
        for event in row.events:
            told = activity.told(live.run, event)
            if told is not live.run:
                live.run = replace(told, seq=max(told.seq, row.seq))
    for event in row.events:
        message_id = getattr(event, "message_id", None)
        if message_id is None or covers.get(message_id, 0) < row.bridge_seq:
            live.transcript.replay(event, row.at, seq=row.seq, bridge_seq=row.bridge_seq)
        if message_id is not None and message_id not in live.message_ids:
            live.run = replace(live.run, message_ids=(*live.message_ids, message_id))
    live.bridge_seq = max(live.bridge_seq, row.bridge_seq)
    live.last_event_at = row.at


def raise_unless_committed(outcome: Outcome) -> None:
    """Turn an outcome into what the caller of one change expects."""
    if isinstance(outcome, Committed):
        return
    if isinstance(outcome, Known):
        raise RequestKnown
    if isinstance(outcome, Lost):
        raise LaneConflict("This was changed at the same moment by somebody else; look again")
    raise StoreUnavailable(f"The change could not be stored: {outcome.reason}", retryable=False)
