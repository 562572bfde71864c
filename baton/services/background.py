"""Runs that agents began by themselves: nobody sent them, so they are stored here when their first frame comes.

A frame that opens one may come while its conversation's lane is in use or not in memory, and the intake must not wait
for that: its frames stay here until the run is on disk, and then go the way of all frames.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from baton.core import lifecycle
from baton.core.errors import NotFound
from baton.core.events import RunChanged
from baton.core.frames import Abort, RunFrame, Started
from baton.core.ids import BridgeId, ConversationId, RequestId
from baton.core.models import ConversationStatus, Run, RunRequest, RunStatus
from baton.core.ports import BridgeLink
from baton.services.drafts import Draft
from baton.services.lanes import Lanes, RequestKnown
from baton.services.memory import LiveRun

logger = logging.getLogger(__name__)

ORIGIN = "background"


@dataclass(slots=True)
class _Opening:
    """A run that is not on disk, and what its bridge has said of it."""

    bridge_id: BridgeId
    conversation_id: ConversationId
    frames: list[RunFrame] = field(default_factory=list)


class BackgroundRuns:
    """Opens them. A bridge may do so only in a conversation that is on it."""

    def __init__(self, lanes: Lanes, link: BridgeLink) -> None:
        self._lanes = lanes
        self._link = link
        self._opening: dict[RequestId, _Opening] = {}

    @property
    def is_opening(self) -> bool:
        """Whether any waits to be stored."""
        return bool(self._opening)

    def take(self, bridge_id: BridgeId, frame: RunFrame) -> bool:
        """Keep a frame that opens such a run, or of one that is not open yet; whether it was one."""
        opening = self._opening.get(frame.request_id)
        if opening is None and _opens(frame):
            assert isinstance(frame, Started), "nothing else opens a run"
            assert frame.conversation_id is not None, "it names where it belongs"
            opening = self._opening[frame.request_id] = _Opening(bridge_id, frame.conversation_id)
        if opening is None or opening.bridge_id != bridge_id:
            return False
        opening.frames.append(frame)
        return True

    def last_seq(self, request_id: RequestId) -> int | None:
        """The last frame kept here; None: it is not one that is being opened."""
        opening = self._opening.get(request_id)
        return None if opening is None else opening.frames[-1].seq

    def holds(self, bridge_id: BridgeId) -> bool:
        """Whether frames of this bridge wait here."""
        return any(opening.bridge_id == bridge_id for opening in self._opening.values())

    async def open(self, hand_on: Callable[[BridgeId, RunFrame], None]) -> None:
        """Store the runs and hand on their frames. Raises StoreUnavailable; what is left is opened by the next call."""
        for request_id, opening in list(self._opening.items()):
            is_open = await self._open_one(request_id, opening)
            # From here on nothing is awaited: no later frame can overtake those that were kept.
            del self._opening[request_id]
            if is_open:
                for frame in opening.frames:
                    hand_on(opening.bridge_id, frame)
            else:
                self._turn_away(request_id, opening)

    async def _open_one(self, request_id: RequestId, opening: _Opening) -> bool:
        try:
            async with self._lanes.turn(opening.conversation_id) as memory:
                conversation = memory.conversation
                is_deleted = conversation.status is ConversationStatus.DELETED
                if is_deleted or conversation.bridge_id != opening.bridge_id:
                    return False
                draft = self._lanes.draft(memory)
                self._add_run(draft, request_id, opening.bridge_id)
                await self._lanes.commit(draft)
        except (NotFound, RequestKnown):
            return False
        return True

    def _add_run(self, draft: Draft, request_id: RequestId, bridge_id: BridgeId) -> None:
        """It runs already, and before everything that waits: what was dispatched meanwhile waits at the bridge."""
        memory, seq = draft.memory, draft.next_seq()
        conversation = memory.conversation
        dispatched = Run(
            request_id=request_id,
            conversation_id=conversation.id,
            seq=seq,
            status=RunStatus.DISPATCHED,
            bridge_id=bridge_id,
            agent=conversation.agent,
            model=conversation.model,
            queued_at=draft.now,
            dispatched_at=draft.now,
            origin=ORIGIN,
            user_id=conversation.user_id,
            request=RunRequest(content=""),
            position=min((live.run.position for live in memory.runs.values()), default=2.0) - 1.0,
        )
        run = lifecycle.move_run(dispatched, RunStatus.RUNNING, draft.now)
        memory.runs[request_id] = LiveRun(run, self._lanes.new_transcript(memory, run), conversation.claude_session_id)
        memory.sort_queue()
        draft.add_run(run)
        draft.tell(RunChanged(run), seq)
        logger.info("an agent goes on by itself", extra={"action": "run.background", "requestId": request_id})

    def _turn_away(self, request_id: RequestId, opening: _Opening) -> None:
        """Nothing of it is wanted: the bridge is to end it, and hears no more of it."""
        logger.warning(
            "a run of an agent's own was turned away",
            extra={"action": "run.refused", "requestId": request_id, "bridgeId": opening.bridge_id},
        )
        self._link.acknowledge(opening.bridge_id, {request_id: opening.frames[-1].seq})
        self._link.send(opening.bridge_id, Abort(request_id=request_id))
        self._link.release(opening.bridge_id, request_id)


def _opens(frame: RunFrame) -> bool:
    return isinstance(frame, Started) and frame.origin == ORIGIN and frame.conversation_id is not None
