"""What one run has said and the server does not have on disk yet. No link, no clock.

A frame is first *waiting* (without a number, and deltas behind it may grow together), then *numbered* (it never
changes any more), then gone, when an ack covers it. A link that breaks only means that numbered frames are due
again. Where there is a spool, the oldest of them may lie in it and not in memory: always a beginning of what is
kept, so that what is left of it after a crash has no gap. It must not know how frames travel, nor whether there is
a link.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import orjson

from baton.bridge.kept import BufferFull, Leftover, Numbered, Spool, SpoolDamaged
from baton.core.errors import TooLarge
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


class Outbox:
    """The frames of one run, in order, until they are on disk.

    1. Numbers grow by one and are given once; nothing that has one changes.
    2. Nothing is forgotten before an ack covers it, or the run is severed.
    3. In memory are at most `buffer_bytes`, one frame excepted and the final one: when there would be more, all that
       is there goes to the spool. Without one, or when it is full, `say` turns away what is more.
    """

    def __init__(
        self,
        request_id: RequestId,
        *,
        last_seq: int = 0,
        buffer_bytes: int = MEBI,
        is_background: bool = False,
        spool: Spool | None = None,
        epoch: str | None = None,
    ) -> None:
        self.request_id = request_id
        self.epoch = epoch
        """The history that the run belongs to: no other server is to hear of it. None: not known."""
        self.last_seq = last_seq
        self.acked = last_seq
        self.held_bytes = 0
        self.is_ended = False
        """The final frame has been said."""
        self._is_background = is_background
        self._may_number = True
        """False while the server may have frames of an earlier process with numbers that are not known here."""
        self._spool = spool
        self._buffer_bytes = buffer_bytes
        self._waiting: deque[_Waiting] = deque()
        self._due: deque[Numbered] = deque()
        """Numbered, and not sent on this link."""
        self._sent: deque[Numbered] = deque()
        """Numbered, and sent on this link; always below those due."""
        self._prompts: dict[str, None] = {}

    @classmethod
    def of_leftover(cls, leftover: Leftover, spool: Spool, *, buffer_bytes: int = MEBI) -> "Outbox":
        """The outbox of a run whose agent died with an earlier process: what is left of it, and then its end."""
        frames = leftover.frames
        # What that process had in memory alone is lost, but may have been sent: only welcome tells what is next.
        outbox = cls(
            leftover.request_id,
            buffer_bytes=buffer_bytes,
            is_background=leftover.is_background,
            spool=spool,
            epoch=leftover.epoch,
        )
        outbox._may_number = False
        if frames:
            outbox.last_seq, outbox.acked = frames[-1].seq, frames[0].seq - 1
            outbox._due.extend(frames)
        outbox.is_ended = leftover.is_ended
        if not leftover.is_ended:
            outbox.say(lost_frame(leftover.request_id), MEBI)
        return outbox

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
        if not self.held_bytes or self.held_bytes + size <= self._buffer_bytes:
            return
        if self._spool is None:
            raise BufferFull(f"The server has not taken what the agent said; {self._buffer_bytes} bytes wait")
        self.spill()

    def spill(self) -> None:
        """Put all that memory holds into the spool, if there is one; it waits there. Raises BufferFull."""
        if self._spool is None or not self._may_number:
            return
        while self._waiting:
            self._due.append(self._number(self._waiting.popleft()))
        sent, due = _in_memory(self._sent), _in_memory(self._due)
        if sent or due:
            self._spool.keep(self.request_id, sent + due, epoch=self.epoch)
            for queue, kept in ((self._sent, sent), (self._due, due)):
                for index, numbered in enumerate(kept, start=-len(kept)):
                    queue[index] = Numbered(numbered.seq, numbered.bytes, None)
            self.held_bytes = 0

    # --- out -----------------------------------------------------------------------------------------------------

    def due_bytes(self) -> int | None:
        """The size of the next frame to send on this link, which is numbered now if it was not; None: there is none."""
        if not self._due and self._waiting:
            self._due.append(self._number(self._waiting.popleft()))
        return self._due[0].bytes if self._due else None

    def send(self) -> tuple[RunFrame, int]:
        """The frame that is due, with its size; it counts as sent on this link from now on."""
        due = self._due.popleft()
        frame = due.frame
        if frame is None:
            try:
                frame = self._read(due.seq)
            except SpoolDamaged:
                due, frame = self._break_off(due.seq)
        self._sent.append(due)
        return frame, due.bytes

    def _read(self, seq: int) -> RunFrame:
        assert self._spool is not None, "what is not in memory is in the spool"
        return self._spool.read(self.request_id, seq)

    def _break_off(self, seq: int) -> tuple[Numbered, RunFrame]:
        """What comes from this number on is lost: the run ends there. Its end, under that number."""
        self._restart_at(seq - 1)
        lost = self._number(self._waiting.popleft())
        assert lost.frame is not None, "what was just said is in memory"
        return lost, lost.frame

    def has_more(self) -> bool:
        """Whether anything waits to be sent on this link."""
        return bool(self._due or self._waiting)

    def _number(self, waiting: _Waiting) -> Numbered:
        self.last_seq += 1
        if isinstance(waiting, _Gathering):
            frame: RunFrame = waiting.frame(self.request_id, self.last_seq)
            size = len(dump_frame(frame))
            self.held_bytes += size - waiting.bytes
            return Numbered(self.last_seq, size, frame)
        before = len(dump_frame(waiting))
        frame = replace(waiting, seq=self.last_seq)
        size = len(dump_frame(frame))
        self.held_bytes += size - before
        return Numbered(self.last_seq, size, frame)

    # --- acks and links ------------------------------------------------------------------------------------------

    def acknowledge(self, seq: int) -> int:
        """Forget what is on disk; how many bytes that were sent on this link are no longer in flight."""
        landed = sum(numbered.bytes for numbered in self._drop(self._sent, seq))
        self._drop(self._due, seq)
        self.acked = max(self.acked, min(seq, self.last_seq))
        return landed

    def _drop(self, queue: deque[Numbered], seq: int) -> list[Numbered]:
        """Take out of the queue what is not above `seq`."""
        dropped: list[Numbered] = []
        while queue and queue[0].seq <= seq:
            dropped.append(queue.popleft())
        self.held_bytes -= sum(numbered.bytes for numbered in dropped if numbered.frame is not None)
        if self._spool is not None and any(numbered.frame is None for numbered in dropped):
            self._spool.release(self.request_id, seq)
        return dropped

    def rewind(self) -> None:
        """The link is gone: all that has a number is due again."""
        self._due.extendleft(reversed(self._sent))
        self._sent.clear()

    def resume(self, ack: int | None) -> bool:
        """Go on after what the server has; None: it knows nothing of the run, and will drop what comes.

        False: the server has gone back behind what it had acknowledged (a database restored from a backup). The
        frames in between are gone, so the run ends here with `bridge_lost`, under the number that is next there.
        """
        self._may_number = True
        if ack is None:
            return True
        if ack < self.acked:
            if self._spool is not None:
                self._spool.release(self.request_id, self.last_seq)
            self._sent.clear()
            self.acked = ack
            self._restart_at(ack)
            return False
        self.last_seq = max(self.last_seq, ack)
        self.acknowledge(ack)
        return True

    def _restart_at(self, seq: int) -> None:
        """Nothing above `seq` is to be had any more: the run ends behind it."""
        self._waiting.clear()
        self._due.clear()
        self._prompts.clear()
        self.held_bytes = sum(numbered.bytes for numbered in self._sent if numbered.frame is not None)
        self.last_seq = seq
        self.is_ended = False
        self.say(lost_frame(self.request_id), MEBI)

    @property
    def is_done(self) -> bool:
        """The run has ended and all of it is on disk."""
        return self.is_ended and not self._sent and not self._due and not self._waiting

    def known(self) -> KnownRun:
        """What hello says of it. Of a background run whose first frame is not acknowledged, the server may know
        nothing: it must neither ask for its end nor take it as lost."""
        is_new = self._is_background and not self.acked
        return KnownRun(
            request_id=self.request_id,
            last_seq=self.last_seq,
            prompts=tuple(self._prompts),
            epoch=self.epoch,
            origin="background" if is_new else None,
        )


def _in_memory(queue: deque[Numbered]) -> list[Numbered]:
    """Those of the queue that are not in the spool, which are its last ones."""
    held: list[Numbered] = []
    for numbered in reversed(queue):
        if numbered.frame is None:
            break
        held.append(numbered)
    held.reverse()
    return held


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
