"""Takes in what bridges say: keeps it in order, writes it in groups, then shows and acknowledges it.

The flush is self-clocking: while one commit is on its way to disk, frames of all runs gather; the next commit takes
them all in one call. A conversation whose lane is in use is left out and comes with the next flush, so that nobody
waits for anybody. When the store is away the frames stay here, unacknowledged, and the bridges keep them too.
"""

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from baton.core import lifecycle
from baton.core.errors import LeaseLost, Unavailable
from baton.core.events import Event, RunChanged
from baton.core.frames import Abort, RunFrame, ServerFrame, SetMode, Stream
from baton.core.ids import BridgeId, ConversationId, RequestId
from baton.core.limits import Limits
from baton.core.models import Failure, PromptStatus, RunStatus
from baton.core.ports import BridgeLink, Clock, Expected, Store
from baton.core.stored import Committed, Lost, Outcome
from baton.core.stream import DELTAS
from baton.services.absorb import Absorber
from baton.services.answering import PROMPT_TIMEOUT, refusal_frame, response_frame, unanswered_reason
from baton.services.asking import Asking
from baton.services.background import BackgroundRuns
from baton.services.dispatch import Dispatcher, execute_frame
from baton.services.drafts import Draft
from baton.services.endings import end_run
from baton.services.judging import agent_mode
from baton.services.lanes import Lane, Lanes
from baton.services.memory import LiveRun, Memory
from baton.services.spill import spill_large_results

logger = logging.getLogger(__name__)

_BACK_OFF_S = (0.1, 0.3, 1.0)
"""Waits between tries while the store is away: streams are live again that soon after it is back."""

LOST = Failure(
    "bridge_lost",
    "The bridge that ran this has lost it (it was restarted). What was said is kept; send again to go on.",
    retryable=True,
)


@dataclass(slots=True)
class _Inbox:
    """What a bridge has said of one run and is not on disk. Gone with its last frame."""

    conversation_id: ConversationId
    request_id: RequestId
    bridge_id: BridgeId
    received: int
    frames: list[RunFrame] = field(default_factory=list)
    has_documents: bool = False
    """Among these frames is more than deltas: what may be too large to stand in a message."""
    was_lost: bool = False
    """A change of it met what somebody else had written (a prompt ended by hand): it is drafted anew, once."""


@dataclass(slots=True)
class _Work:
    """One run's part of a flush."""

    lane: Lane
    inbox: _Inbox
    draft: Draft
    taken: int
    """Frames of the inbox that this draft contains."""
    last_seq: int


class Intake:
    """core.ports.RunIntake. `run` is the flush and belongs to a task that app starts and ends."""

    def __init__(
        self,
        *,
        store: Store,
        lanes: Lanes,
        link: BridgeLink,
        dispatcher: Dispatcher,
        asking: Asking,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._store = store
        self._asking = asking
        self._lanes = lanes
        self._tally = lanes.tally
        self._link = link
        self._dispatcher = dispatcher
        self._clock = clock
        self._limits = limits
        self._background = BackgroundRuns(lanes, link)
        self._inboxes: dict[RequestId, _Inbox] = {}
        self._wake = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._flush_ended: list[asyncio.Future[None]] = []
        self._refused: dict[RequestId, ConversationId] = {}
        self._began = -math.inf
        """When the last flush of `run` did."""
        self.on_lease_lost: Callable[[], None] = lambda: None
        lanes.released = self._lane_released

    # --- RunIntake: frames -------------------------------------------------------------------------------------

    def last_seq(self, request_id: RequestId) -> int | None:
        """See core.ports.RunIntake."""
        if self._background.is_opening and (kept := self._background.last_seq(request_id)) is not None:
            return kept
        place = self._lanes.places.of(request_id)
        if place is None:
            return None
        inbox = self._inboxes.get(request_id)
        return place.bridge_seq if inbox is None else inbox.received

    def receive(self, bridge_id: BridgeId, frame: RunFrame) -> None:
        """See core.ports.RunIntake. A run of another bridge, or of none yet, is as unknown as one that never was."""
        place = self._lanes.places.of(frame.request_id)
        if (place is None or self._background.is_opening) and self._background.take(bridge_id, frame):
            self._wake.set()
            return
        if place is None or place.bridge_id != bridge_id:
            self._link.acknowledge(bridge_id, {frame.request_id: frame.seq})
            return
        inbox = self._inboxes.get(frame.request_id)
        if inbox is None:
            inbox = _Inbox(place.conversation_id, frame.request_id, bridge_id, place.bridge_seq)
            self._inboxes[frame.request_id] = inbox
        if type(frame) is Stream:
            self._tally.deltas_in += len(frame.events)
            if not inbox.has_documents:
                inbox.has_documents = any(type(event) not in DELTAS for event in frame.events)
        inbox.received = frame.seq
        inbox.frames.append(frame)
        self._wake.set()

    def flush_rest_s(self) -> float:
        """See core.ports.RunIntake."""
        return self._began + self._limits.flush_floor_s - self._clock.monotonic()

    async def settle(self, bridge_id: BridgeId) -> None:
        """See core.ports.RunIntake."""
        while self._background.holds(bridge_id) or any(
            inbox.bridge_id == bridge_id for inbox in self._inboxes.values()
        ):
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._flush_ended.append(ended)
            await ended

    @property
    def waiting_frames(self) -> int:
        """Frames that are not on disk yet, for metrics."""
        return sum(len(inbox.frames) for inbox in self._inboxes.values())

    @property
    def waiting_runs(self) -> int:
        """Runs that have such frames."""
        return len(self._inboxes)

    # --- RunIntake: presence -----------------------------------------------------------------------------------

    async def greet(self, bridge_id: BridgeId, *, known: Mapping[RequestId, tuple[int, tuple[str, ...]]]) -> Expected:
        """See core.ports.RunIntake."""
        acks: dict[RequestId, int] = {}
        frames: list[ServerFrame] = []
        places = self._lanes.places
        own = places.at(bridge_id)
        for request_id in known.keys() - dict(own).keys():
            # Ended, unknown, or another bridge's: whatever this one still holds of it is not wanted.
            acks[request_id] = known[request_id][0]
            frames += await self._missed_refusals(request_id, known[request_id][1])
            frames.append(Abort(request_id=request_id))
        for request_id, conversation_id in own:
            frames += await self._expect(conversation_id, request_id, known)
            place = places.of(request_id)
            if place is not None:
                acks[request_id] = place.bridge_seq
            elif request_id in known:
                acks[request_id] = known[request_id][0]
        return Expected(acks=acks, frames=tuple(frames))

    async def arrived(self, bridge_id: BridgeId) -> None:
        """See core.ports.RunIntake."""
        logger.info("bridge takes runs", extra={"action": "bridge.arrived", "bridgeId": bridge_id})
        await self._dispatcher.advance_all()

    async def departed(self, bridge_id: BridgeId) -> None:
        """See core.ports.RunIntake. Runs whose abort was asked end now: nobody is left to answer it."""
        logger.warning("bridge has gone", extra={"action": "bridge.departed", "bridgeId": bridge_id})
        for live in [live for live in self._lanes.open_runs() if live.run.bridge_id == bridge_id]:
            if live.run.abort_requested_at is not None:
                await self.end(live.run.conversation_id, live.run.request_id, RunStatus.ABORTED)

    async def end(
        self, conversation_id: ConversationId, request_id: RequestId, to: RunStatus, error: Failure | None = None
    ) -> None:
        """End an open run from the server's side and send out the next; nothing where it has ended already."""
        async with self._lanes.turn(conversation_id) as memory:
            live = memory.runs.get(request_id)
            if live is None:
                return
            draft = self._lanes.draft(memory)
            end_run(draft, live, to, error=error)
            self._dispatcher.advance(draft)
            await self._lanes.commit(draft)

    async def _expect(
        self,
        conversation_id: ConversationId,
        request_id: RequestId,
        known: Mapping[RequestId, tuple[int, tuple[str, ...]]],
    ) -> list[ServerFrame]:
        """What the bridge should hear of one run; ends it if the bridge has lost it."""
        async with self._lanes.turn(conversation_id) as memory:
            live = memory.runs.get(request_id)
            if live is None:
                # It has ended between the look and the turn.
                return [Abort(request_id=request_id)] if request_id in known else []
            run = live.run
            if request_id in known:
                await self._back_again(memory, live)
                if run.abort_requested_at is not None:
                    return [Abort(request_id=request_id)]
                return self._answers(memory, live, frozenset(known[request_id][1]))
            if run.status is RunStatus.DISPATCHED and run.abort_requested_at is None:
                await self._back_again(memory, live)
                return [execute_frame(memory, run)]
            draft = self._lanes.draft(memory)
            aborted = run.abort_requested_at is not None
            end_run(draft, live, RunStatus.ABORTED if aborted else RunStatus.FAILED, error=None if aborted else LOST)
            self._dispatcher.advance(draft)
            await self._lanes.commit(draft)
            return []

    async def _missed_refusals(self, request_id: RequestId, open_prompts: tuple[str, ...]) -> list[ServerFrame]:
        """Why nobody will answer what the agent still asks in a run that has ended, where time was what ended it."""
        run = await self._store.run(request_id) if open_prompts else None
        if run is None or run.error is None or run.error.code != PROMPT_TIMEOUT:
            return []
        ended = await self._store.prompts(PromptStatus.TIMEOUT, run.conversation_id)
        asked = [p for p in ended if p.request_id == request_id and p.bridge_prompt_id in open_prompts]
        refusals = [refusal_frame(prompt, unanswered_reason(prompt)) for prompt in asked]
        return [frame for frame in refusals if frame is not None]

    async def _back_again(self, memory: Memory, live: LiveRun) -> None:
        if live.run.away:
            draft = self._lanes.draft(memory)
            draft.move_run(live, replace(live.run, away=False, deadline_at=None, deadline_reason=None))
            await self._lanes.commit(draft)

    def _answers(self, memory: Memory, live: LiveRun, open_prompts: frozenset[str]) -> list[ServerFrame]:
        """Answers that the bridge may have missed, and the mode where the run has one of its own."""
        frames: list[ServerFrame] = [
            response_frame(prompt)
            for prompt in memory.prompts.values()
            if prompt.request_id == live.run.request_id
            and prompt.status is PromptStatus.ANSWERED
            and prompt == memory.asked(prompt.request_id, prompt.bridge_prompt_id)
            and (prompt.delivered_at is None or prompt.bridge_prompt_id in open_prompts)
        ]
        mode = live.run.request.permission_mode
        if mode is not None:
            frames.append(SetMode(request_id=live.run.request_id, mode=agent_mode(mode)))
        return frames

    # --- the flush ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Flush for ever. Ends by cancellation, or when the lease is lost."""
        failures = 0
        while True:
            await self._wake.wait()
            # The floor is waited for here and not behind the flush: a lone delta then costs no timer.
            # A small rest of it is not: a timer may take a millisecond more than it was asked for.
            rest_s = self.flush_rest_s()
            if rest_s > self._limits.flush_floor_s / 4:
                await self._clock.sleep(rest_s)
            self._wake.clear()
            self._began = self._clock.monotonic()
            try:
                await self.flush()
                failures = 0
            except LeaseLost:
                logger.error("another process owns the database", extra={"action": "store.lease_lost"})
                self.on_lease_lost()
                return
            except Exception as error:  # noqa: BLE001 - one round's failure must not end the flushing (job item)
                _log_failure(error)
                await self._clock.sleep(_BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)])
                failures += 1
                self._wake.set()

    async def flush(self) -> None:
        """Write everything that waits and whose lane is free, in one commit; then show and acknowledge it."""
        async with self._flushing:
            await self._lanes.remember()
            await self._background.open(self.receive)
            await self._spill()
            works = await self._take_up()
            outcomes: Sequence[Outcome] = ()
            try:
                if works:
                    began = self._clock.monotonic()
                    outcomes = await self._lanes.write([work.draft for work in works])
                    self._show(works, outcomes)
                    self._tally.flush_s.add(self._clock.monotonic() - began)
                    self._tally.flush_frames.add(sum(work.taken for work in works))
            finally:
                for index, work in enumerate(works):
                    committed = index < len(outcomes) and isinstance(outcomes[index], Committed)
                    self._lanes.leave(work.lane, forget=not committed)
                self._tell_flush_ended()
            self._refuse_uncommitted(works, outcomes)
            await self._end_refused()

    async def _spill(self) -> None:
        for inbox in [inbox for inbox in self._inboxes.values() if inbox.has_documents]:
            try:
                most_bytes = self._limits.tool_result_max_bytes
                await spill_large_results(self._store, inbox.frames, most_bytes, used_by=inbox.conversation_id)
                inbox.has_documents = False
            except Unavailable:
                raise
            except Exception:  # as in `_draft`
                logger.exception(
                    "what a tool said could not be put aside",
                    extra={"action": "run.refused", "requestId": inbox.request_id},
                )
                self._refuse(inbox, len(inbox.frames), inbox.frames[-1].seq)

    async def _take_up(self) -> list[_Work]:
        """Hold the free lanes and draft what waits for them."""
        works: list[_Work] = []
        held: set[ConversationId] = set()
        now = self._clock.now()
        for inbox in list(self._inboxes.values()):
            if inbox.conversation_id in held or not inbox.frames:
                continue
            lane = self._lanes.try_enter(inbox.conversation_id)
            if lane is None:
                continue
            await self._lanes.hold(lane)
            held.add(inbox.conversation_id)
            work = self._draft(lane, inbox, now)
            if work is not None:
                works.append(work)
        return works

    def _draft(self, lane: Lane, inbox: _Inbox, now: datetime) -> _Work | None:
        """Draft one run's frames; None (and the lane given back) where nothing of them is wanted."""
        memory = lane.memory
        assert memory is not None, "try_enter gives only lanes in memory"
        taken, last_seq = len(inbox.frames), inbox.frames[-1].seq
        live = memory.runs.get(inbox.request_id)
        frames = [f for f in inbox.frames if f.seq > live.bridge_seq] if live is not None else []
        if live is None or not frames:
            self._drop(inbox, taken, last_seq)
            self._lanes.leave(lane, forget=False)
            return None
        draft = self._lanes.draft(memory, now)
        try:
            absorber = Absorber(draft, live, self._asking)
            absorber.absorb(frames)
            if absorber.ended is not None:
                self._dispatcher.advance(draft)
        except Exception:  # one run's frames that Baton cannot take must not stop the others' (job item)
            logger.exception(
                "frames could not be taken in", extra={"action": "run.refused", "requestId": inbox.request_id}
            )
            self._lanes.leave(lane, forget=True)
            self._refuse(inbox, taken, last_seq)
            return None
        return _Work(lane, inbox, draft, taken, last_seq)

    def _show(self, works: Sequence[_Work], outcomes: Sequence[Outcome]) -> None:
        """Publish, then acknowledge, what is on disk."""
        events: list[Event] = []
        acks: defaultdict[BridgeId, dict[RequestId, int]] = defaultdict(dict)
        for work, outcome in zip(works, outcomes, strict=True):
            if isinstance(outcome, Committed):
                self._lanes.settle(work.draft)
                events += work.draft.events
                events += work.draft.late_events
                acks[work.inbox.bridge_id][work.inbox.request_id] = work.last_seq
                self._taken(work.inbox, work.taken)
        self._lanes.publish(events)
        for bridge_id, seqs in acks.items():
            self._link.acknowledge(bridge_id, seqs)
        for work, outcome in zip(works, outcomes, strict=True):
            if isinstance(outcome, Committed):
                self._lanes.send_frames(work.draft)
                if work.draft.released:
                    _log_ended(work)

    def _taken(self, inbox: _Inbox, count: int) -> None:
        """These frames are done with."""
        del inbox.frames[:count]
        if inbox.frames:
            self._wake.set()
        else:
            del self._inboxes[inbox.request_id]

    def _drop(self, inbox: _Inbox, count: int, last_seq: int) -> None:
        """Frames of a run that has ended, or that are on disk already."""
        self._taken(inbox, count)
        self._link.acknowledge(inbox.bridge_id, {inbox.request_id: last_seq})

    def _refuse(self, inbox: _Inbox, count: int, last_seq: int) -> None:
        """Frames that cannot be stored: gone, so that they do not come back for ever; the flush then ends the run."""
        self._drop(inbox, count, last_seq)
        self._refused[inbox.request_id] = inbox.conversation_id

    def _refuse_uncommitted(self, works: Sequence[_Work], outcomes: Sequence[Outcome]) -> None:
        for work, outcome in zip(works, outcomes, strict=True):
            if isinstance(outcome, Lost) and not work.inbox.was_lost:
                work.inbox.was_lost = True
                self._wake.set()
            elif not isinstance(outcome, Committed):
                logger.error(
                    "a run's change was not stored",
                    extra={"action": "run.refused", "requestId": work.inbox.request_id, "outcome": str(outcome)},
                )
                self._refuse(work.inbox, work.taken, work.last_seq)

    async def _end_refused(self) -> None:
        for request_id, conversation_id in list(self._refused.items()):
            place = self._lanes.places.of(request_id)
            error = Failure("internal", "What the agent said could not be stored; the log says why")
            await self.end(conversation_id, request_id, RunStatus.FAILED, error)
            del self._refused[request_id]
            if place is not None and place.bridge_id is not None:
                self._link.send(place.bridge_id, Abort(request_id=request_id))

    def _lane_released(self, conversation_id: ConversationId) -> None:
        # Whether one of them waits for this very lane is not asked: a flush that finds nothing costs less than to
        # look through all of them for each lane of each flush.
        if self._inboxes:
            self._wake.set()

    def _tell_flush_ended(self) -> None:
        waiting, self._flush_ended = self._flush_ended, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


def _log_failure(error: Exception) -> None:
    if isinstance(error, Unavailable):
        extra = {"action": "store.unavailable", "reason": error.message}
        logger.warning("store is away, frames wait", extra=extra)
    else:
        logger.error("a flush failed", extra={"action": "run.flush_failed"}, exc_info=error)


def _log_ended(work: _Work) -> None:
    for event in work.draft.events:
        payload = getattr(event, "payload", None)
        if isinstance(payload, RunChanged) and lifecycle.is_final(payload.run):
            logger.info(
                "run ended",
                extra={
                    "action": f"run.{payload.run.status}",
                    "requestId": payload.run.request_id,
                    "code": payload.run.error.code if payload.run.error else None,
                },
            )
