"""The bridges that are connected, as services see them (`core.ports.BridgeLink`), and as their links see services.

One `Session` per link, whatever carries it: a WebSocket (`endpoint`) or this very process (`local`). The rules of
the wire are `protocol.ServerEnd`'s; here they meet the services (`core.ports.RunIntake`), the load, and presence.
It must not know sockets, JSON or the store.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, cast

from baton.bridge.choice import choose_bridge
from baton.bridge.heartbeat import Beat
from baton.bridge.protocol import CLOSE_REPLACED, CLOSE_TAKEN, LinkState, ServerEnd, Verdict
from baton.core.errors import AgentFailed, NoBridge, PeerViolation, Unavailable
from baton.core.events import BridgePresence, BridgesChanged
from baton.core.frames import (
    FINAL_FRAMES,
    Abort,
    AgentOffer,
    BridgeFrame,
    BridgeStatus,
    Execute,
    Failed,
    Hello,
    KnownRun,
    Ping,
    Pong,
    RpcResult,
    RunFrame,
    ServerFrame,
    Started,
)
from baton.core.ids import BridgeId, RequestId
from baton.core.limits import Limits
from baton.core.ports import BridgeChoice, Clock, Expected, Publisher, RunIntake
from baton.core.text import Json
from baton.schemas.bridge import CLOSE_BAD_FRAME, RefusedFrame

logger = logging.getLogger(__name__)

Epoch = str | Callable[[], Awaitable[str]]

ACK_GAP_S: Final = 0.05
"""Between two acks of one link, where the bridge's window is far from full: an ack lets it forget frames and send
more, which can wait, and a write to its socket costs as much as a delta."""


class Link(Protocol):
    """One connection to a bridge, of whatever kind.

    1. `send` never waits and never raises; frames arrive in order, or the link ends.
    2. `close` never waits, is idempotent, and nothing is sent after it.
    """

    @property
    def in_process(self) -> bool:
        """Whether the bridge is part of this process."""
        ...

    @property
    def buffered_bytes(self) -> int:
        """What was sent and has not left this process yet."""
        ...

    def send(self, frame: ServerFrame) -> None: ...

    def close(self, code: int, reason: str) -> None: ...


@dataclass(slots=True, eq=False)
class Session:
    """One link of one bridge, from its hello on."""

    hello: Hello
    link: Link
    end: ServerEnd
    connected_at: datetime
    last_seen_at: datetime
    agents: tuple[AgentOffer, ...]
    queued: int = 0
    load: set[RequestId] = field(default_factory=set)
    """Runs that were dispatched to it and have not ended."""
    calls: dict[str, asyncio.Future[RpcResult]] = field(default_factory=dict)
    held: list[ServerFrame] = field(default_factory=list)
    """What services said while it was greeted: goes out behind the welcome."""
    has_room: asyncio.Event = field(default_factory=asyncio.Event)
    """Clear while so much of it is not on disk that no more should be read."""
    acks_due: asyncio.Handle | None = None
    """What will send them."""
    acked_at: float = -math.inf

    @property
    def bridge_id(self) -> BridgeId:
        """Whose link this is."""
        return self.hello.bridge_id

    @property
    def is_open(self) -> bool:
        """It was welcomed and its link still counts."""
        return self.end.state is LinkState.OPEN


@dataclass(slots=True)
class _Seat:
    """The place of one bridgeId. The lock orders what services are told of it: greet, arrived, departed."""

    session: Session | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Hub:
    """Every connected bridge. Implements `core.ports.BridgeLink`; links call connect, receive, disconnect.

    `epoch` names the history of the database for the welcome: the text, or something that is awaited for it.
    `attach` must come before the first link.
    """

    def __init__(self, clock: Clock, limits: Limits, *, epoch: Epoch = "") -> None:
        self._clock = clock
        self._limits = limits
        self._epoch = epoch
        self._seats: dict[BridgeId, _Seat] = {}
        self._intake: RunIntake | None = None
        self._publisher: Publisher | None = None
        self._is_presence_due = False

    def attach(self, intake: RunIntake, publisher: Publisher) -> None:
        """Say who takes in frames and who tells of presence (they need the hub to be made)."""
        self._intake = intake
        self._publisher = publisher

    # --- for links -----------------------------------------------------------------------------------------------

    async def connect(self, hello: Hello, link: Link) -> Session:
        """Take a bridge in: when this returns it has its welcome and what goes with it.

        An older link of the same bridge is closed, and all that was read from it settled, before the welcome.
        Raises PeerViolation where the version is not spoken, where the name is that of the in-process bridge, or
        where a newer link replaced this one meanwhile;
        whatever the services raise passes. If it raises or is cancelled, the bridge is not connected.
        """
        now = self._clock.now()
        end = ServerEnd(self._limits, self._clock.monotonic())
        end.greet(hello)
        session = Session(hello, link, end, connected_at=now, last_seen_at=now, agents=hello.agents)
        session.has_room.set()
        seat = self._seats.setdefault(hello.bridge_id, _Seat())
        if seat.session is not None and seat.session.link.in_process and not link.in_process:
            # It could not come back: its process is this one. A name in use must not end a server's own agents.
            raise PeerViolation(f"The server itself is the bridge {hello.bridge_id}", close_code=CLOSE_TAKEN)
        self._seat(seat, session)
        is_welcome = False
        try:
            async with seat.lock:
                await self._greet(session)
            is_welcome = True
        finally:
            if not is_welcome:
                await self.disconnect(session)
        return session

    def receive(self, session: Session, frame: BridgeFrame, size: int = 0) -> None:
        """Take in a frame of `size` bytes. Never waits. Frames of a link that counts no more are ignored.

        Raises PeerViolation where the bridge broke the wire contract; its link is then to be closed with that code.
        """
        end = session.end
        if end.state is LinkState.CLOSED:
            return
        end.hear()
        if type(frame) in _UNNUMBERED:
            self._receive_unnumbered(session, frame)
            return
        assert self._intake is not None, "attach comes before the first link"
        numbered = cast(RunFrame, frame)
        verdict = end.take(numbered, self._intake.last_seq(numbered.request_id), size)
        if verdict is not Verdict.ACCEPTED:
            self._acknowledge_soon(session)
            return
        if end.unstored_bytes > 2 * self._limits.bridge_window_bytes:
            session.has_room.clear()
        if isinstance(numbered, FINAL_FRAMES):
            self._unload(session, numbered.request_id)
        elif isinstance(numbered, Started) and numbered.origin == "background":
            self._load(session, numbered.request_id)
        self._intake.receive(session.bridge_id, numbered)

    def flush_rest_s(self) -> float:
        """Seconds until what is received now can be written; at most 0: at once."""
        assert self._intake is not None, "attach comes before the first link"
        return self._intake.flush_rest_s()

    def refuse(self, session: Session, refused: RefusedFrame, size: int = 0) -> None:
        """A numbered frame whose body is wrong: its run fails, the frame counts, the bridge is told to stop.

        Raises PeerViolation as `receive` does.
        """
        failed = Failed(request_id=refused.request_id, seq=refused.seq, error=refused.error)
        self.receive(session, failed, size)
        if session.is_open:
            session.link.send(Abort(request_id=refused.request_id))
        logger.warning(
            "🌉 bridge frame refused",
            extra={
                "action": "bridge.refused",
                "bridgeId": session.bridge_id,
                "requestId": refused.request_id,
                "reason": refused.message,
            },
        )

    def beat(self, session: Session) -> None:
        """Ping, or close what has been silent for two heartbeats. To be called once per `heartbeat_s`."""
        was_heard = session.end.was_heard
        if was_heard:
            session.last_seen_at = self._clock.now()
        beat = session.end.tick(self._clock.monotonic())
        if beat is Beat.DEAD:
            session.link.close(CLOSE_BAD_FRAME, "Nothing was heard for two heartbeats")
        elif beat is Beat.PING and session.is_open:
            session.link.send(Ping(t=self._clock.now().timestamp()))

    async def disconnect(self, session: Session) -> None:
        """The link is gone. Idempotent; services are told unless another link has taken its place."""
        assert self._intake is not None, "attach comes before the first link"
        bridge_id = session.bridge_id
        self._end(session)
        seat = self._seats.get(bridge_id)
        if seat is None or seat.session is not session:
            return
        seat.session = None
        self._presence_changed()
        logger.info("🌉 bridge disconnected", extra={"action": "bridge.disconnected", "bridgeId": bridge_id})
        async with seat.lock:
            if self._session(bridge_id) is None:
                await self._intake.departed(bridge_id)
        if self._session(bridge_id) is None and not seat.lock.locked():
            self._seats.pop(bridge_id, None)

    # --- for services (core.ports.BridgeLink) --------------------------------------------------------------------

    def choose(self, *, agent: str | None, bridge_id: BridgeId | None, working_directory: str | None) -> BridgeChoice:
        """Where a run can go now, or why it cannot: see `choice.choose_bridge`."""
        return choose_bridge(self.presence(), agent=agent, bridge_id=bridge_id, working_directory=working_directory)

    def is_connected(self, bridge_id: BridgeId) -> bool:
        """It has its welcome, and its link counts."""
        return self._open_session(bridge_id) is not None

    def send(self, bridge_id: BridgeId, frame: ServerFrame) -> None:
        """Never waits, never raises. Dropped for a bridge that is gone: the next welcome says anew what should be."""
        session = self._session(bridge_id)
        if session is None:
            return
        if session.is_open:
            self._send(session, frame)
        elif session.end.state is LinkState.GREETING:
            session.held.append(frame)

    def acknowledge(self, bridge_id: BridgeId, acks: Mapping[RequestId, int]) -> None:
        """Frames are on disk, or dropped for good. All acks of one turn of the loop leave as one frame."""
        session = self._session(bridge_id)
        if session is None:
            return
        session.end.acknowledge(acks)
        if session.end.unstored_bytes <= self._limits.bridge_window_bytes:
            session.has_room.set()
        self._acknowledge_soon(session)

    def release(self, bridge_id: BridgeId, request_id: RequestId) -> None:
        """The run has ended: it is no load any more, and what still comes of it is dropped."""
        session = self._session(bridge_id)
        if session is not None:
            session.end.release(request_id)
            self._unload(session, request_id)

    def presence(self) -> tuple[BridgePresence, ...]:
        """The connected bridges, the longest connected first."""
        sessions = [seat.session for seat in self._seats.values() if seat.session is not None and seat.session.is_open]
        return tuple(_presence(session) for session in sorted(sessions, key=lambda session: session.connected_at))

    async def call(self, bridge_id: BridgeId, method: str, params: Json, timeout_s: float) -> Json:
        """Ask a bridge. Raises NoBridge (not there, or it leaves), AgentFailed (its error), Unavailable (timeout)."""
        session = self._open_session(bridge_id)
        if session is None:
            raise NoBridge(f"Bridge {bridge_id} is not connected") if self.presence() else NoBridge()
        rpc = session.end.ask(method, params)
        answer: asyncio.Future[RpcResult] = asyncio.get_running_loop().create_future()
        session.calls[rpc.id] = answer
        session.link.send(rpc)
        try:
            async with asyncio.timeout(timeout_s):
                result = await answer
        except TimeoutError:
            text = f"Bridge {bridge_id} did not answer {method} within {timeout_s:g} s"
            raise Unavailable(text, code=NoBridge.code) from None
        finally:
            session.calls.pop(rpc.id, None)
        if result.ok:
            return result.result
        if result.error is None:
            raise AgentFailed(f"Bridge {bridge_id} could not answer {method}")
        raise AgentFailed(result.error.message, code=result.error.code, retryable=result.error.retryable)

    # --- inside --------------------------------------------------------------------------------------------------

    def _seat(self, seat: _Seat, session: Session) -> None:
        """Put the session in its bridge's place; whoever sat there must go."""
        older, seat.session = seat.session, session
        if older is None:
            return
        if older.hello.instance_id == session.hello.instance_id:
            older.link.close(CLOSE_REPLACED, "A newer link of this bridge replaced this one")
        else:
            older.link.close(CLOSE_TAKEN, "Another process is this bridge now")
        self._end(older)
        self._presence_changed()
        logger.info(
            "🌉 bridge replaced",
            extra={
                "action": "bridge.replaced",
                "bridgeId": session.bridge_id,
                "instanceId": session.hello.instance_id,
            },
        )

    async def _greet(self, session: Session) -> None:
        assert self._intake is not None, "attach comes before the first link"
        bridge_id = session.bridge_id
        await self._intake.settle(bridge_id)
        self._check_seated(session)
        epoch = self._epoch if isinstance(self._epoch, str) else await self._epoch()
        known = {run.request_id: (run.last_seq, run.prompts) for run in session.hello.runs if self._knows(run, epoch)}
        expected = await self._intake.greet(bridge_id, known=known)
        self._check_seated(session)
        self._welcome(session, epoch, expected)
        await self._intake.arrived(bridge_id)

    def _knows(self, run: KnownRun, epoch: str) -> bool:
        """Whether there is anything to say of it: not of another server's, nor of one whose first frame will tell."""
        assert self._intake is not None, "attach comes before the first link"
        is_ours = run.epoch in (None, epoch)
        return is_ours and (run.origin != "background" or self._intake.last_seq(run.request_id) is not None)

    def _check_seated(self, session: Session) -> None:
        if session.end.state is LinkState.CLOSED:
            raise PeerViolation("A newer link replaced this one", close_code=CLOSE_REPLACED)

    def _welcome(self, session: Session, epoch: str, expected: Expected) -> None:
        assert self._intake is not None, "attach comes before the first link"
        session.link.send(session.end.welcome(epoch, expected.acks))
        session.load = {run for run in expected.acks if self._intake.last_seq(run) is not None}
        held, session.held = session.held, []
        for frame in (*expected.frames, *held):
            self._send(session, frame)
        self._acknowledge_soon(session)
        self._presence_changed()
        logger.info(
            "🌉 bridge connected",
            extra={
                "action": "bridge.connected",
                "bridgeId": session.bridge_id,
                "instanceId": session.hello.instance_id,
                "agents": [offer.id for offer in session.agents if offer.available],
                "runs": len(session.hello.runs),
            },
        )

    def _end(self, session: Session) -> None:
        """Nothing of this session counts any more. Idempotent."""
        session.end.close()
        session.held.clear()
        session.load.clear()
        session.has_room.set()
        if session.acks_due is not None:
            session.acks_due.cancel()
            session.acks_due = None
        for answer in session.calls.values():
            if not answer.done():
                answer.set_exception(NoBridge(f"Bridge {session.bridge_id} left before it answered"))

    def _session(self, bridge_id: BridgeId) -> Session | None:
        seat = self._seats.get(bridge_id)
        return None if seat is None else seat.session

    def _open_session(self, bridge_id: BridgeId) -> Session | None:
        session = self._session(bridge_id)
        return session if session is not None and session.is_open else None

    def _send(self, session: Session, frame: ServerFrame) -> None:
        if isinstance(frame, Execute):
            self._load(session, frame.request_id)
        session.link.send(frame)

    def _load(self, session: Session, request_id: RequestId) -> None:
        if request_id not in session.load:
            session.load.add(request_id)
            self._presence_changed()

    def _unload(self, session: Session, request_id: RequestId) -> None:
        if request_id in session.load:
            session.load.discard(request_id)
            self._presence_changed()

    def _receive_unnumbered(self, session: Session, frame: BridgeFrame) -> None:
        match frame:
            case Hello():
                session.end.greet(frame)
            case BridgeStatus():
                session.agents = frame.agents or session.agents
                session.queued = frame.queued
                self._presence_changed()
            case RpcResult():
                answer = session.calls.get(frame.id)
                if answer is not None and not answer.done():
                    answer.set_result(frame)
            case _:
                assert isinstance(frame, Pong), "every other frame has a number"

    def _acknowledge_soon(self, session: Session) -> None:
        """All acks of one turn of the loop leave as one frame; of a busy link, those of `ACK_GAP_S`."""
        due = session.acks_due
        is_urgent = 4 * session.end.owed_bytes > self._limits.bridge_window_bytes
        if due is not None:
            if not is_urgent or not isinstance(due, asyncio.TimerHandle):
                return
            due.cancel()
        loop = asyncio.get_running_loop()
        wait_s = session.acked_at + ACK_GAP_S - loop.time()
        if is_urgent or wait_s <= 0:
            session.acks_due = loop.call_soon(self._acknowledge_now, session)
        else:
            session.acks_due = loop.call_later(wait_s, self._acknowledge_now, session)

    def _acknowledge_now(self, session: Session) -> None:
        session.acks_due = None
        ack = session.end.owed()
        if ack is not None:
            session.acked_at = asyncio.get_running_loop().time()
            session.link.send(ack)

    def _presence_changed(self) -> None:
        """Tell of presence once per turn of the loop, however much changed in it."""
        if not self._is_presence_due:
            self._is_presence_due = True
            asyncio.get_running_loop().call_soon(self._publish_presence)

    def _publish_presence(self) -> None:
        self._is_presence_due = False
        if self._publisher is not None:
            self._publisher.publish((BridgesChanged(self.presence()),))


_UNNUMBERED = frozenset({Hello, BridgeStatus, RpcResult, Pong})


def _presence(session: Session) -> BridgePresence:
    hello = session.hello
    return BridgePresence(
        id=hello.bridge_id,
        name=hello.name or hello.bridge_id,
        hostname=hello.hostname,
        version=hello.version,
        in_process=session.link.in_process,
        agents=session.agents,
        workspaces=hello.workspaces,
        max_concurrent_requests=hello.max_concurrent_requests,
        active=len(session.load),
        queued=session.queued,
        allow_bypass=hello.allow_bypass,
        connected_at=session.connected_at,
        last_seen_at=session.last_seen_at,
    )
