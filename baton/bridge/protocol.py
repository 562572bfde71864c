"""The rules of the bridge wire, for both of its ends, without I/O: frames go in, frames come out.

`ServerEnd` is the server's half of one link, `BridgeEnd` the bridge's half of all its links. Neither reads a clock
(times are passed in), waits, or knows a socket; `hub`, `endpoint` and the bridge programs do that around them.
The wire is described in docs/protocol.md section 5. Held by a state machine test over a link that drops, repeats,
reorders and cuts (tests/bridge/test_protocol_machine.py).
"""

import itertools
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final, TypeAlias

from baton.bridge.heartbeat import Beat, Heartbeat
from baton.bridge.kept import BufferFull, Leftover, Spool
from baton.bridge.outbox import Outbox, lost_frame
from baton.core.errors import PeerViolation
from baton.core.frames import (
    FINAL_FRAMES,
    PROTOCOL_VERSION,
    Abort,
    Ack,
    BridgeFrame,
    BridgeStatus,
    Execute,
    Failed,
    Hello,
    PermissionResponse,
    Ping,
    Pong,
    Rpc,
    RpcResult,
    RunFrame,
    ServerFrame,
    SetMode,
    Started,
    Welcome,
)
from baton.core.ids import RequestId
from baton.core.limits import MEBI, Limits
from baton.core.text import Json
from baton.schemas.bridge import CLOSE_BAD_FRAME, CLOSE_VERSION

CLOSE_REPLACED: Final = 1001
"""By a newer link of the same process of the same bridge."""
CLOSE_TAKEN: Final = 4409
"""By another process that has the same bridgeId: this one must stop."""
CLOSE_CREDENTIAL: Final = 4401
CLOSE_DRAINING: Final = 1012

_REMEMBERED_RUNS: Final = 10_000
"""Ended runs whose ids a bridge keeps, so that none is worked on twice; hello names none of them."""


# --- the server's end --------------------------------------------------------------------------------------------


class LinkState(Enum):
    """EXPECTING_HELLO -> GREETING (hello came, the services are asked) -> OPEN (welcome sent) -> CLOSED."""

    EXPECTING_HELLO = auto()
    GREETING = auto()
    OPEN = auto()
    CLOSED = auto()


class Verdict(Enum):
    """What a numbered frame came to. ACCEPTED is to be taken in; of the others the ack is already seen to."""

    ACCEPTED = auto()
    DUPLICATE = auto()
    DROPPED = auto()


@dataclass(slots=True)
class _Inbound:
    """What this link has brought of one open run."""

    taken: int
    stored: int
    is_background: bool = False
    """The services have been told of it, and have not opened it yet."""
    final: int | None = None
    beyond: int = 0
    """The greatest number that came after the final frame."""
    sizes: deque[tuple[int, int]] = field(default_factory=deque)
    """Number and bytes of each frame that is not on disk yet."""


class ServerEnd:
    """The server's half of one link.

    1. A numbered frame is accepted once, and only as the next of its run; a gap is a PeerViolation.
    2. An ack covers only what is on disk, or will never be wanted: a frame after the final one is acknowledged
       with it and not before, because an ack covers everything below it.
    3. Frames of runs that are not open (`last` is None) are acknowledged at once and dropped.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self.state = LinkState.EXPECTING_HELLO
        self.unstored_bytes = 0
        """Received and not on disk; a bridge that keeps to its window keeps this below it."""
        self.owed_bytes = 0
        """On disk, and the bridge has not been told yet."""
        self._limits = limits
        self._heartbeat = Heartbeat(limits.heartbeat_s, now)
        self._inbound: dict[RequestId, _Inbound] = {}
        self._acks: dict[RequestId, int] = {}
        self._rpc_ids = itertools.count(1)

    # --- the life of the link ------------------------------------------------------------------------------------

    def greet(self, hello: Hello) -> None:
        """The bridge's first frame. Raises PeerViolation where its version is not spoken, or it is not the first."""
        if self.state is not LinkState.EXPECTING_HELLO:
            raise PeerViolation("hello comes once, and first", close_code=CLOSE_BAD_FRAME)
        if hello.protocol != PROTOCOL_VERSION:
            text = f"Version {hello.protocol} is not spoken here, only {PROTOCOL_VERSION}"
            raise PeerViolation(text, close_code=CLOSE_VERSION)
        self.state = LinkState.GREETING

    def welcome(self, epoch: str, acks: Mapping[RequestId, int]) -> Welcome:
        """The answer to hello; from now on numbered frames count."""
        assert self.state is LinkState.GREETING, "welcome answers hello"
        self.state = LinkState.OPEN
        return Welcome(
            epoch=epoch,
            heartbeat_s=self._limits.heartbeat_s,
            window=self._limits.bridge_window_bytes,
            max_frame_bytes=self._limits.bridge_frame_max_bytes,
            acks=dict(acks),
        )

    def close(self) -> None:
        """Nothing counts any more. Idempotent."""
        self.state = LinkState.CLOSED
        self._inbound.clear()
        self._acks.clear()
        self.unstored_bytes = 0

    def hear(self) -> None:
        """A frame came, of any kind."""
        self._heartbeat.was_heard = True

    @property
    def was_heard(self) -> bool:
        """A frame came since the last `tick`."""
        return self._heartbeat.was_heard

    def tick(self, now: float) -> Beat:
        """Look at the clock, once per heartbeat: PING is to be sent, DEAD to be closed."""
        return self._heartbeat.tick(now)

    # --- numbered frames -----------------------------------------------------------------------------------------

    def take(self, frame: RunFrame, last: int | None, size: int = 0) -> Verdict:
        """Judge a numbered frame of `size` bytes. `last`: the run's last number taken in; None: it is not open.

        Raises PeerViolation for a gap, and for a frame before welcome.
        """
        if self.state is not LinkState.OPEN:
            raise PeerViolation("Numbered frames come after welcome", close_code=CLOSE_BAD_FRAME)
        request_id, seq = frame.request_id, frame.seq
        run = self._inbound.get(request_id)
        if run is None:
            if last is None and not _opens_background(frame):
                self._owe(request_id, seq)
                return Verdict.DROPPED
            run = self._inbound[request_id] = _Inbound(last or 0, last or 0, is_background=last is None)
        elif last is None and not run.is_background and run.final is None:
            # Ended by the server meanwhile: no ack of the services will come for it any more.
            self.forget(request_id)
            self._owe(request_id, seq)
            return Verdict.DROPPED
        run.is_background = run.is_background and last is None
        if run.final is not None and seq > run.final:
            run.beyond = max(run.beyond, seq)
            return Verdict.DROPPED
        if seq <= run.taken:
            if seq <= run.stored:
                self._owe(request_id, run.stored)
            return Verdict.DUPLICATE
        if seq != run.taken + 1:
            text = f"Frame {seq} of a run came after frame {run.taken}"
            raise PeerViolation(text, close_code=CLOSE_BAD_FRAME)
        self._accept(run, frame, size)
        return Verdict.ACCEPTED

    def _accept(self, run: _Inbound, frame: RunFrame, size: int) -> None:
        run.taken = frame.seq
        run.sizes.append((frame.seq, size))
        self.unstored_bytes += size
        if isinstance(frame, FINAL_FRAMES):
            run.final = frame.seq

    def acknowledge(self, acks: Mapping[RequestId, int]) -> None:
        """Frames up to these numbers are on disk, or dropped for good."""
        for request_id, seq in acks.items():
            run = self._inbound.get(request_id)
            self._owe(request_id, seq if run is None else self._store(request_id, run, seq))

    def _store(self, request_id: RequestId, run: _Inbound, seq: int) -> int:
        """Note what is on disk; up to where an ack may go."""
        run.stored = max(run.stored, seq)
        while run.sizes and run.sizes[0][0] <= seq:
            size = run.sizes.popleft()[1]
            self.unstored_bytes -= size
            self.owed_bytes += size
        if run.final is None or seq < run.final:
            return seq
        self.forget(request_id)
        return max(seq, run.beyond)

    def forget(self, request_id: RequestId) -> None:
        """The run has ended: what still comes of it is dropped. Idempotent."""
        run = self._inbound.pop(request_id, None)
        if run is not None:
            self.unstored_bytes -= sum(size for _, size in run.sizes)

    def release(self, request_id: RequestId) -> None:
        """The services have ended the run. Where its final frame was taken, that one's ack does the rest."""
        run = self._inbound.get(request_id)
        if run is not None and run.final is None:
            self.forget(request_id)

    def _owe(self, request_id: RequestId, seq: int) -> None:
        if self.state is not LinkState.CLOSED:
            self._acks[request_id] = max(seq, self._acks.get(request_id, 0))

    def owed(self) -> Ack | None:
        """All acks that are due, as one frame; None: none is, or the welcome has not gone out."""
        if not self._acks or self.state is not LinkState.OPEN:
            return None
        acks, self._acks = self._acks, {}
        self.owed_bytes = 0
        return Ack(acks=acks)

    # --- questions -----------------------------------------------------------------------------------------------

    def ask(self, method: str, params: Json) -> Rpc:
        """A question to the bridge, under an id that this link has not used."""
        return Rpc(id=str(next(self._rpc_ids)), method=method, params=params)


def _opens_background(frame: RunFrame) -> bool:
    """Whether it begins a run that the agent started by itself, which the server cannot know yet."""
    return (
        isinstance(frame, Started)
        and frame.seq == 1
        and frame.origin == "background"
        and frame.conversation_id is not None
    )


# --- the bridge's end --------------------------------------------------------------------------------------------


class BridgeState(Enum):
    """DOWN -> GREETING (hello is said) -> OPEN (welcome came) -> DOWN, as often as links come and go."""

    DOWN = auto()
    GREETING = auto()
    OPEN = auto()


Instruction: TypeAlias = Execute | Abort | PermissionResponse | SetMode | Rpc
"""What the owner of a BridgeEnd has to act on."""

ControlFrame: TypeAlias = BridgeStatus | RpcResult | Pong | Hello | Failed


class BridgeEnd:
    """The bridge's half: one for the life of the process, over all its links. Runs outlive links.

    1. Every frame said is kept until it is on disk, and sent in order, without a gap, on as many links as it takes.
    2. At most `window` bytes of numbered frames are in flight; one frame always may be, however large. Frames
       without a number do not wait for the window.
    3. A requestId is worked on at most once, also when it was known to an earlier process: of `leftovers` the
       frames that are left and their end are still due, of `known` nothing is.
    4. Runs take turns, so that one which says much holds up no other.
    5. A run is only ever said to servers of the history (`epoch`) that it was begun under; for others it waits.
    """

    def __init__(
        self,
        *,
        buffer_bytes: int = MEBI,
        known: Iterable[RequestId] = (),
        leftovers: Iterable[Leftover] = (),
        spool: Spool | None = None,
    ) -> None:
        self.state = BridgeState.DOWN
        self.in_flight_bytes = 0
        self._buffer_bytes = buffer_bytes
        self._spool = spool
        self._window = Limits().bridge_window_bytes
        self._max_frame_bytes = Limits().bridge_frame_max_bytes
        self._heartbeat: Heartbeat | None = None
        self._control: deque[ControlFrame] = deque()
        self._runs: dict[RequestId, Outbox] = {}
        self._ended: dict[RequestId, int] = dict.fromkeys(known, 0)
        self._acks: Mapping[RequestId, int] = {}
        """Of the last welcome."""
        self._epoch: str | None = None
        """Of the last welcome."""
        self._ready: dict[RequestId, None] = {}
        """Runs with something to send, in the order of their turns."""
        for leftover in leftovers:
            assert spool is not None, "what is left lies in a spool"
            self._runs[leftover.request_id] = Outbox.of_leftover(leftover, spool, buffer_bytes=buffer_bytes)

    # --- links ---------------------------------------------------------------------------------------------------

    def connected(self, hello: Hello, now: float = 0.0) -> None:
        """A link is up: `hello`, with the runs still known, is what `take` gives first."""
        assert self.state is BridgeState.DOWN, "a bridge has one link at a time"
        self.state = BridgeState.GREETING
        self._heartbeat = Heartbeat(Limits().heartbeat_s, now)
        known = tuple(outbox.known() for outbox in self._runs.values())
        self._control.appendleft(replace(hello, protocol=PROTOCOL_VERSION, runs=known))

    def disconnected(self) -> None:
        """The link is gone: what was in flight is due again, what had no number is not wanted any more. Idempotent."""
        self.state = BridgeState.DOWN
        self.in_flight_bytes = 0
        self._control.clear()
        self._ready.clear()
        for outbox in self._runs.values():
            outbox.rewind()

    def tick(self, now: float) -> Beat:
        """Look at the clock, once per heartbeat: DEAD means that the link is to be closed. The server pings."""
        if self._heartbeat is None or self.state is BridgeState.DOWN:
            return Beat.QUIET
        beat = self._heartbeat.tick(now)
        return beat if beat is Beat.DEAD else Beat.QUIET

    @property
    def heartbeat_s(self) -> float:
        """Seconds between two looks at the clock."""
        return Limits().heartbeat_s if self._heartbeat is None else self._heartbeat.heartbeat_s

    # --- from the server -----------------------------------------------------------------------------------------

    def receive(self, frame: ServerFrame) -> tuple[Instruction, ...]:
        """What the owner has to do; nothing, where this end has seen to it. `take` may have more to send then.

        Raises PeerViolation for a frame before welcome, or a second one.
        """
        assert self.state is not BridgeState.DOWN, "frames come over a link"
        if self._heartbeat is not None:
            self._heartbeat.hear()
        if isinstance(frame, Welcome):
            return self._resume(frame)
        if self.state is not BridgeState.OPEN:
            raise PeerViolation("The server's first frame must be welcome", close_code=CLOSE_BAD_FRAME)
        match frame:
            case Ack():
                self._acknowledge(frame)
            case Ping():
                self._control.append(Pong(t=frame.t))
            case Execute():
                return self._begin(frame)
            case Rpc():
                return (frame,)
            case Abort() | PermissionResponse() | SetMode() if self._works_here(frame.request_id):
                return (frame,)
            case _:
                pass
        return ()

    def _resume(self, welcome: Welcome) -> tuple[Instruction, ...]:
        if self.state is not BridgeState.GREETING:
            raise PeerViolation("welcome comes once, after hello", close_code=CLOSE_BAD_FRAME)
        self.state = BridgeState.OPEN
        self._window = welcome.window
        self._max_frame_bytes = welcome.max_frame_bytes
        self._acks = welcome.acks
        self._epoch = welcome.epoch
        self._ready.clear()
        if self._heartbeat is not None:
            self._heartbeat.heartbeat_s = welcome.heartbeat_s
        severed = []
        for outbox in list(self._runs.values()):
            outbox.epoch = welcome.epoch if outbox.epoch is None else outbox.epoch
            if not self._is_here(outbox):
                continue
            if not outbox.resume(welcome.acks.get(outbox.request_id)):
                severed.append(Abort(request_id=outbox.request_id))
            self._settle(outbox)
        return tuple(severed)

    def _acknowledge(self, ack: Ack) -> None:
        for request_id, seq in ack.acks.items():
            outbox = self._runs.get(request_id)
            if outbox is not None and self._is_here(outbox):
                self.in_flight_bytes -= outbox.acknowledge(seq)
                self._settle(outbox)

    def _settle(self, outbox: Outbox) -> None:
        """Give the run its turn if it has something to send; let go of it if nothing is left of it."""
        if outbox.is_done:
            del self._runs[outbox.request_id]
            self._ready.pop(outbox.request_id, None)
            if self._spool is not None:
                self._spool.finish(outbox.request_id)
            self._remember(outbox.request_id, outbox.last_seq)
        elif outbox.has_more():
            self._ready[outbox.request_id] = None

    def _remember(self, request_id: RequestId, last_seq: int) -> None:
        self._ended[request_id] = last_seq
        if len(self._ended) > _REMEMBERED_RUNS:
            del self._ended[next(iter(self._ended))]

    def _begin(self, execute: Execute) -> tuple[Instruction, ...]:
        request_id = execute.request_id
        if request_id in self._runs:
            if not self._is_here(self._runs[request_id]):
                # A name that another server has used: kept for that one, so that here it only gets its end, each time.
                self._control.append(replace(lost_frame(request_id), seq=self._acks.get(request_id, 0) + 1))
            return ()
        if request_id in self._ended:
            own_last = self._ended.pop(request_id)
            self._open(request_id, self._acks.get(request_id, own_last))
            self.say(lost_frame(request_id))
            return ()
        self._open(request_id, self._acks.get(request_id, 0))
        return (execute,)

    def _open(self, request_id: RequestId, last_seq: int, *, is_background: bool = False) -> None:
        self._runs[request_id] = Outbox(
            request_id,
            last_seq=last_seq,
            buffer_bytes=self._buffer_bytes,
            is_background=is_background,
            spool=self._spool,
            epoch=self._epoch,
        )

    def _is_here(self, outbox: Outbox) -> bool:
        """Whether the server of the last welcome is the one that the run belongs to."""
        return outbox.epoch == self._epoch

    def _works_here(self, request_id: RequestId) -> bool:
        return self.is_working(request_id) and self._is_here(self._runs[request_id])

    # --- from the owner ------------------------------------------------------------------------------------------

    def is_working(self, request_id: RequestId) -> bool:
        """Whether the run is known and has not said its final frame."""
        outbox = self._runs.get(request_id)
        return outbox is not None and not outbox.is_ended

    def begin_background(self, request_id: RequestId) -> None:
        """A run that an agent began by itself; its first frame must be a Started that says so."""
        assert request_id not in self._runs, "a requestId names one run"
        assert request_id not in self._ended, "a requestId is never used again"
        self._open(request_id, 0, is_background=True)

    def say(self, frame: RunFrame) -> bool:
        """Keep the run's next frame; its own seq is ignored, `take` numbers it. False: the run is over, forget it.

        Raises BufferFull, after which the run is to be ended with that error (a final frame is always kept), and
        TooLarge for a frame that the server would not take.
        """
        outbox = self._runs.get(frame.request_id)
        if outbox is None or not outbox.say(frame, self._max_frame_bytes):
            return False
        if self._is_here(outbox):
            self._ready[frame.request_id] = None
        return True

    def epoch_of(self, request_id: RequestId) -> str | None:
        """Which database's history the run belongs to; None: not known, or the run is not."""
        outbox = self._runs.get(request_id)
        return None if outbox is None else outbox.epoch

    def spill(self) -> None:
        """Put all that is kept into the spool, as far as it has room: a crash loses none of it then."""
        self._spill(self._runs.values())

    def spill_stranded(self) -> None:
        """The same for what cannot leave now: all of it while there is no link, what is another server's always."""
        is_open = self.state is BridgeState.OPEN
        self._spill(outbox for outbox in self._runs.values() if not (is_open and self._is_here(outbox)))

    def _spill(self, outboxes: Iterable[Outbox]) -> None:
        for outbox in outboxes:
            with suppress(BufferFull):  # what has no room there stays in memory, until `say` finds that full too
                outbox.spill()

    @property
    def undelivered(self) -> int:
        """Runs of which the server does not have everything on disk yet."""
        return len(self._runs) - self.elsewhere

    @property
    def elsewhere(self) -> int:
        """Runs that wait for another server than the one that was last here."""
        return 0 if self._epoch is None else sum(not self._is_here(outbox) for outbox in self._runs.values())

    def reply(self, frame: BridgeStatus | RpcResult) -> None:
        """Send a frame without a number. Without a link it is dropped: it would be stale by the next one."""
        if self.state is BridgeState.OPEN:
            self._control.append(frame)

    def take(self) -> list[BridgeFrame]:
        """All that may be sent now, in order. To be called after `receive`, `say`, `reply` and `connected`."""
        frames: list[BridgeFrame] = list(self._control)
        self._control.clear()
        if self.state is BridgeState.OPEN:
            self._fill_window(frames)
        return frames

    @property
    def has_room(self) -> bool:
        """Whether what is said now would leave at once."""
        return self.state is BridgeState.OPEN and not self._ready and self.in_flight_bytes < self._window

    def _fill_window(self, frames: list[BridgeFrame]) -> None:
        while self._ready:
            request_id = next(iter(self._ready))
            outbox = self._runs[request_id]
            size = outbox.due_bytes()
            if size is None:
                del self._ready[request_id]
                continue
            if self.in_flight_bytes and self.in_flight_bytes + size > self._window:
                return
            frame, size = outbox.send()
            self.in_flight_bytes += size
            frames.append(frame)
            del self._ready[request_id]
            if outbox.has_more():
                self._ready[request_id] = None
