"""What one run has said and the server does not have on disk yet. Pure state: no link, no clock.

A frame is first *waiting* (without a number, and deltas behind it may grow together), then *numbered* (it never
changes any more), then gone, when an ack covers it. A link that breaks only means that numbered frames are due
again. It must not know how frames travel, nor whether there is a link.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import orjson

from baton.core.errors import AgentFailed, TooLarge
from baton.core.frames import (
    FINAL_FRAMES,
    Failed,
    KnownRun,
    PermissionApplied,
    PermissionCancel,
    PermissionRequest,
    RunFrame,
    Stream,
)
from baton.core.ids import RequestId
from baton.core.limits import MEBI
from baton.core.models import Failure
from baton.core.stream import StreamEvent, TextDelta, ThinkingDelta
from baton.core.text import utf16_length
from baton.schemas.bridge import dump_frame
from baton.schemas.codec import dump_event

GATHER_BYTES: Final = 64 << 10
"""About how much waits in one frame before the next is begun: small against any window."""

_FRAME_OVERHEAD_BYTES: Final = 1024
"""More than a stream frame has beside its events."""


class BufferFull(AgentFailed):
    """The server has not taken what the agent said for so long that the run's buffer is full."""

    code = "spool_full"
    retryable = True


@dataclass(slots=True)
class _Growing:
    """Deltas of one block that follow on from each other, in pieces: joining each time would be quadratic."""

    first: TextDelta | ThinkingDelta
    pieces: list[str]
    end: int
    """The offset at which the next one must begin."""

    def event(self) -> StreamEvent:
        return type(self.first)(self.first.message_id, self.first.block, self.first.offset, "".join(self.pieces))


@dataclass(slots=True)
class _Gathering:
    """A stream frame that waits and may still grow."""

    events: list[StreamEvent | _Growing] = field(default_factory=list)
    bytes: int = 0

    def take(self, event: StreamEvent, size: int) -> None:
        self.bytes += size
        last = self.events[-1] if self.events else None
        if isinstance(event, (TextDelta, ThinkingDelta)) and last is not None:
            growing = _growing(last, event)
            if growing is not None:
                growing.pieces.append(event.text)
                growing.end += utf16_length(event.text)
                self.events[-1] = growing
                return
        self.events.append(event)

    def frame(self, request_id: RequestId, seq: int) -> Stream:
        events = tuple(event.event() if type(event) is _Growing else event for event in self.events)
        return Stream(request_id=request_id, seq=seq, events=events)  # type: ignore[arg-type]  # no _Growing is left


def _growing(last: StreamEvent | _Growing, event: TextDelta | ThinkingDelta) -> _Growing | None:
    """`last` as something that `event` can be appended to; None where it does not follow on from it."""
    if isinstance(last, _Growing):
        first, end = last.first, last.end
    elif isinstance(last, (TextDelta, ThinkingDelta)):
        first, end = last, last.offset + utf16_length(last.text)
    else:
        return None
    if type(first) is not type(event) or end != event.offset:
        return None
    if (first.message_id, first.block) != (event.message_id, event.block):
        return None
    return last if isinstance(last, _Growing) else _Growing(first, [first.text], end)


_Waiting: TypeAlias = _Gathering | RunFrame


@dataclass(frozen=True, slots=True)
class Numbered:
    """A frame that has its number, and its size as JSON in bytes."""

    frame: RunFrame
    bytes: int


class Outbox:
    """The frames of one run, in order, until they are on disk.

    1. Numbers grow by one and are given once; nothing that has one changes.
    2. Nothing is forgotten before an ack covers it, or the run is severed.
    3. In memory are at most `buffer_bytes`, one frame excepted and the final one. `say` is the one place that
       turns away what is more: a spool file takes it there, and `due` would read it back.
    """

    def __init__(
        self, request_id: RequestId, *, last_seq: int = 0, buffer_bytes: int = MEBI, is_background: bool = False
    ) -> None:
        self.request_id = request_id
        self.last_seq = last_seq
        self.acked = last_seq
        self.held_bytes = 0
        self.is_ended = False
        """The final frame has been said."""
        self._is_background = is_background
        self._buffer_bytes = buffer_bytes
        self._waiting: deque[_Waiting] = deque()
        self._due: deque[Numbered] = deque()
        """Numbered, and not sent on this link."""
        self._sent: deque[Numbered] = deque()
        """Numbered, and sent on this link; always below those due."""
        self._prompts: dict[str, None] = {}

    # --- in ------------------------------------------------------------------------------------------------------

    def say(self, frame: RunFrame, max_frame_bytes: int) -> bool:
        """Keep a frame, whose own seq is ignored. False: the run has its final frame, nothing counts any more.

        Raises BufferFull (see 3) and TooLarge, for a frame that no link would take; it was not kept then.
        """
        if self.is_ended:
            return False
        if isinstance(frame, Stream):
            self._say_events(frame.events, max_frame_bytes)
        else:
            self._say_frame(frame, max_frame_bytes)
        return True

    def _say_events(self, events: tuple[StreamEvent, ...], max_frame_bytes: int) -> None:
        sizes = [_event_bytes(event) for event in events]
        if any(size > max_frame_bytes - _FRAME_OVERHEAD_BYTES for size in sizes):
            raise TooLarge(f"An event is larger than a frame may be ({max_frame_bytes} bytes)")
        self._make_room(sum(sizes))
        for event, size in zip(events, sizes, strict=True):
            last = self._waiting[-1] if self._waiting else None
            if not isinstance(last, _Gathering) or last.bytes + size > GATHER_BYTES:
                last = _Gathering()
                self._waiting.append(last)
            last.take(event, size)
            self.held_bytes += size

    def _say_frame(self, frame: RunFrame, max_frame_bytes: int) -> None:
        size = len(dump_frame(frame))
        if size > max_frame_bytes:
            raise TooLarge(f"A frame is larger than {max_frame_bytes} bytes")
        self.is_ended = isinstance(frame, FINAL_FRAMES)
        if not self.is_ended:
            self._make_room(size)
        if isinstance(frame, PermissionRequest):
            self._prompts[frame.prompt.prompt_id] = None
        elif isinstance(frame, (PermissionApplied, PermissionCancel)):
            self._prompts.pop(frame.prompt_id, None)
        self._waiting.append(frame)
        self.held_bytes += size

    def _make_room(self, size: int) -> None:
        if self.held_bytes and self.held_bytes + size > self._buffer_bytes:
            raise BufferFull(f"The server has not taken what the agent said; {self._buffer_bytes} bytes wait")

    # --- out -----------------------------------------------------------------------------------------------------

    def due(self) -> Numbered | None:
        """The next frame to send on this link, numbered now if it was not; None: there is none."""
        if not self._due and self._waiting:
            self._due.append(self._number(self._waiting.popleft()))
        return self._due[0] if self._due else None

    def mark_sent(self) -> None:
        """The frame that is due was sent."""
        assert self._due, "only a frame that was due can have been sent"
        self._sent.append(self._due.popleft())

    def has_more(self) -> bool:
        """Whether anything waits to be sent on this link."""
        return bool(self._due or self._waiting)

    def _number(self, waiting: _Waiting) -> Numbered:
        self.last_seq += 1
        if isinstance(waiting, _Gathering):
            frame: RunFrame = waiting.frame(self.request_id, self.last_seq)
            size = len(dump_frame(frame))
            self.held_bytes += size - waiting.bytes
            return Numbered(frame, size)
        before = len(dump_frame(waiting))
        frame = replace(waiting, seq=self.last_seq)
        size = len(dump_frame(frame))
        self.held_bytes += size - before
        return Numbered(frame, size)

    # --- acks and links ------------------------------------------------------------------------------------------

    def acknowledge(self, seq: int) -> int:
        """Forget what is on disk; how many bytes that were sent on this link are no longer in flight."""
        landed = 0
        while self._sent and self._sent[0].frame.seq <= seq:
            size = self._sent.popleft().bytes
            landed += size
            self.held_bytes -= size
        while self._due and self._due[0].frame.seq <= seq:
            self.held_bytes -= self._due.popleft().bytes
        self.acked = max(self.acked, min(seq, self.last_seq))
        return landed

    def rewind(self) -> None:
        """The link is gone: all that has a number is due again."""
        self._due.extendleft(reversed(self._sent))
        self._sent.clear()

    def resume(self, ack: int | None) -> bool:
        """Go on after what the server has; None: it knows nothing of the run, and will drop what comes.

        False: the server has gone back behind what it had acknowledged (a database restored from a backup). The
        frames in between are gone, so the run ends here with `bridge_lost`, under the number that is next there.
        """
        if ack is None:
            return True
        if ack < self.acked:
            self._sever(ack)
            return False
        self.last_seq = max(self.last_seq, ack)
        self.acknowledge(ack)
        return True

    def _sever(self, ack: int) -> None:
        for queue in (self._waiting, self._due, self._sent):
            queue.clear()
        self.held_bytes = 0
        self._prompts.clear()
        self.last_seq = self.acked = ack
        self.is_ended = False
        self.say(lost_frame(self.request_id), MEBI)

    @property
    def is_done(self) -> bool:
        """The run has ended and all of it is on disk."""
        return self.is_ended and not self._sent and not self._due and not self._waiting

    def known(self) -> KnownRun | None:
        """What hello says of it. None for a background run of which nothing was ever sent: the server cannot know
        it, would ask for its end, and is to hear of it from its first frame."""
        if self._is_background and self.last_seq == 0:
            return None
        return KnownRun(request_id=self.request_id, last_seq=self.last_seq, prompts=tuple(self._prompts))


def lost_frame(request_id: RequestId) -> Failed:
    """The end of a run that no agent works on any more."""
    return Failed(request_id=request_id, seq=0, error=Failure("bridge_lost", "The bridge lost the run", retryable=True))


def _event_bytes(event: StreamEvent) -> int:
    """About its size as JSON; exact but for escapes where it is a delta, which are most."""
    if type(event) is TextDelta or type(event) is ThinkingDelta:
        text = event.text
        return 90 + len(event.message_id) + (len(text) if text.isascii() else 3 * len(text))
    try:
        return len(orjson.dumps(dump_event(event)))
    except TypeError:
        # What orjson refuses is cleaned by `dump_frame`; a frame of it alone tells the size.
        return len(dump_frame(Stream(request_id=RequestId(""), seq=0, events=(event,))))
