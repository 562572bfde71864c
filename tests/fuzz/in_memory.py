"""Mutants against the parsers, the schemas and the services of this very process: nothing is on a wire.

Each round has services of its own on a fresh database, so that what mutants are entitled to make does not count as a
leak; at its end the database is examined as `baton db check` does it. What nobody thought of shows as an answer
`internal`, as a line of level ERROR, or as the exception itself.
"""

import asyncio
import contextlib
import gc
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from socketio import packet as socket_packet

from baton.bridge.hub import Hub, Session
from baton.core.commands import AccountRole, CreateConversation, Identity, SendMessage
from baton.core.errors import PeerViolation
from baton.core.frames import FINAL_FRAMES, AgentOffer, Hello, KnownRun, Rpc, RpcResult, RunFrame, ServerFrame
from baton.core.ids import BridgeId, ConversationId, RequestId, UserId
from baton.core.limits import Limits
from baton.db_check import check
from baton.schemas.bridge import RefusedFrame, load_bridge_frame
from baton.services.catalog import Services, build_services
from baton.services.recovery import recover
from baton.settings import Settings
from baton.testing.clock import FakeClock
from baton.web.access import Access
from baton.web.engine import Connection
from baton.web.fanout import Fanout
from baton.web.packets import BadPacket, Frame, parse_packet
from baton.web.sockets import SocketServer
from baton.web.wire import HTTP_STATUS
from tests.fuzz.corpus import sound_events, sound_frames, sound_stream_events
from tests.fuzz.mutation import Mutator
from tests.fuzz.report import Footprint, Report
from tests.services.harness import opened

ROUND_MALFORMED = 25_000
ROUND_RUNS = 600
RUNS_AT_ONCE = 12
FLUSH_EVERY = 40
MOST_GROWTH = 1.05
"""Of Python's objects, over all rounds: what a round leaves behind would add up."""
LIMITS = Limits(commands_per_minute=0)
ADMIN = Identity(UserId("admin"), AccountRole.ADMIN)
BRIDGE = BridgeId("ext")
CLOSE_CODES = frozenset({1009, 4400, 4426})
SAID_CODES = frozenset(HTTP_STATUS) - {"internal"}


class FuzzedBadlyError(AssertionError):
    """A mutant did what none may do."""


class _Tab(Connection):
    """A browser's socket that keeps the last answer."""

    last: Frame | None = None

    def transmit(self, frames: Sequence[Frame]) -> None:
        """Events: nobody looks at them."""

    def answer(self, frame: Frame) -> None:
        self.last = frame


class _Wire:
    """A bridge's link: answers what it is asked, and forgets the rest."""

    in_process = False
    buffered_bytes = 0

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.session: Session | None = None

    def send(self, frame: ServerFrame) -> None:
        if isinstance(frame, Rpc) and self.session is not None:
            answer = RpcResult(id=frame.id, ok=True, result={"files": [], "commands": [], "models": []})
            asyncio.get_running_loop().call_soon(self._hub.receive, self.session, answer)

    def close(self, code: int, reason: str) -> None:
        """It has no other side."""


class _Rooms:
    """One round: a server's services, a browser that is let in, a bridge that is connected."""

    def __init__(self, services: Services, hub: Hub, sockets: SocketServer, mutator: Mutator, epoch: str) -> None:
        self.services = services
        self.clock = services.clock
        self._hub = hub
        self._sockets = sockets
        self._mutator = mutator
        self._epoch = epoch
        self._tab = _Tab(sockets._library.engine, "tab")
        sockets.welcome("tab", self._tab, ADMIN)
        self._conversations: list[ConversationId] = []
        self._events: list[tuple[str, Any]] = []
        self._frames = sound_frames() + sound_stream_events()
        self._session: Session | None = None
        self._seqs: dict[RequestId, int] = {}
        """The last number of each run that goes on."""
        self._begun = 0

    async def begin(self) -> None:
        """Somebody has conversations, and the bridge is here."""
        for _ in range(RUNS_AT_ONCE):
            made = await self.services.conversations.create(ADMIN, CreateConversation())
            self._conversations.append(made.id)
        self._events = sound_events(self._conversations)
        await self._connect()

    async def end(self) -> None:
        """Everything that was said is on disk, and the bridge has gone."""
        await self.services.intake.flush()
        if self._session is not None:
            await self._hub.disconnect(self._session)
        self._sockets.forget("tab", self._tab.sid, "over")
        await self.services.intake.flush()

    # --- a browser's events ---

    async def event(self) -> str:
        """What one mutant of an event came to."""
        name, payload = self._mutator.random.choice(self._events)
        if self._mutator.random.random() < 0.75:
            packet = "21" + json.dumps([name, self._mutator.value(payload)])
        else:
            packet = self._mutator.text("21" + json.dumps([name, payload]))
        try:
            return await self._said(packet)
        except Exception as error:
            raise FuzzedBadlyError(f"the event {packet[:2000]!r}") from error

    async def _said(self, text: str) -> str:
        try:
            packet = parse_packet(text)
        except BadPacket:
            return "ended"
        if packet.packet_type not in (socket_packet.EVENT, socket_packet.BINARY_EVENT):
            return "unheard"
        is_binary = packet.packet_type == socket_packet.BINARY_EVENT
        self._tab.last = None
        await self._sockets.receive(
            self._tab.sid, packet.id, [packet.data[0], None, None] if is_binary else packet.data
        )
        if packet.id is None:
            return "unasked"
        assert self._tab.last is not None, "it was not answered"
        return judged(self._tab.last.encode())

    # --- a bridge's frames ---

    async def frame(self) -> str:
        """What one mutant of a frame came to."""
        raw, request_id = await self._mutated_frame()
        try:
            outcome = await self._received(raw)
        except Exception as error:
            raise FuzzedBadlyError(f"the frame {raw[:2000]!r}") from error
        if request_id in self._seqs and self._hub_has_ended(request_id):
            del self._seqs[request_id]
        return outcome

    async def _mutated_frame(self) -> tuple[bytes, RequestId]:
        frame = self._mutator.random.choice(self._frames)
        request_id = RequestId("nobody")
        if "requestId" in frame:
            request_id = await self._some_run()
            frame = {**frame, "requestId": request_id, "seq": self._seqs.get(request_id, 0) + 1}
        chance = self._mutator.random.random()
        if chance < 0.7:
            wrong = self._mutator.value(frame)
            if isinstance(wrong, dict) and chance < 0.6 and "requestId" in frame:
                # Not lost on its number: the rest of it gets looked at.
                wrong |= {name: frame[name] for name in ("type", "requestId", "seq")}
            return json.dumps(wrong).encode(), request_id
        text = json.dumps(frame)
        if chance < 0.9:
            return self._mutator.text(text).encode("utf-8", "surrogatepass"), request_id
        return self._mutator.bytes(text.encode()), request_id

    async def _received(self, raw: bytes) -> str:
        """As `bridge.endpoint` takes it in."""
        assert self._session is not None, "begin comes first"
        try:
            frame = load_bridge_frame(raw, LIMITS)
        except PeerViolation as violation:
            return await self._ended(violation)
        except RefusedFrame as refused:
            return await self._counted(refused.request_id, refused.seq, refused, len(raw))
        if not isinstance(frame, RunFrame):
            try:
                self._hub.receive(self._session, frame, len(raw))
            except PeerViolation as violation:
                return await self._ended(violation)
            return "taken"
        return await self._counted(frame.request_id, frame.seq, frame, len(raw))

    async def _counted(self, request_id: RequestId, seq: int, frame: RunFrame | RefusedFrame, size: int) -> str:
        assert self._session is not None, "begin comes first"
        try:
            if isinstance(frame, RefusedFrame):
                self._hub.refuse(self._session, frame, size)
            else:
                self._hub.receive(self._session, frame, size)
        except PeerViolation as violation:
            return await self._ended(violation)
        if self._seqs.get(request_id) == seq - 1:
            self._seqs[request_id] = seq
            if isinstance(frame, (RefusedFrame, *FINAL_FRAMES)):
                del self._seqs[request_id]
        return "refused" if isinstance(frame, RefusedFrame) else "taken"

    async def _ended(self, violation: PeerViolation) -> str:
        """The link is closed, and the bridge comes again: now and then, because that takes long."""
        assert violation.close_code in CLOSE_CODES, violation.close_code
        if self._mutator.random.random() < 0.02:
            assert self._session is not None, "begin comes first"
            await self._hub.disconnect(self._session)
            await self._connect()
        return "ended"

    async def _connect(self) -> None:
        link = _Wire(self._hub)
        known = tuple(KnownRun(request_id=name, last_seq=seq, epoch=self._epoch) for name, seq in self._seqs.items())
        hello = Hello(
            protocol=1,
            bridge_id=BRIDGE,
            instance_id="i",
            agents=(AgentOffer(id="ext", title="Of somebody else"),),
            max_concurrent_requests=10 * ROUND_RUNS,
            runs=known,
        )
        # A welcome waits for the flush of what came before; the job that flushes does not run here.
        async with asyncio.TaskGroup() as tasks:
            connecting = tasks.create_task(self._hub.connect(hello, link), name="connect")
            while not connecting.done():
                await self.services.intake.flush()
                await asyncio.sleep(0)
        self._session = link.session = connecting.result()

    async def _some_run(self) -> RequestId:
        """One that goes on; a new one where there are few, until the round has had its share."""
        if len(self._seqs) < RUNS_AT_ONCE and self._begun < ROUND_RUNS:
            self._begun += 1
            name = RequestId(f"run-{self._begun}")
            made = await self.services.conversations.create(ADMIN, CreateConversation())
            await self.services.runs.send(
                ADMIN, SendMessage(request_id=name, content="go", agent="ext", conversation_id=made.id)
            )
            self._seqs[name] = 0
        return self._mutator.random.choice(list(self._seqs)) if self._seqs else RequestId("run-1")

    def _hub_has_ended(self, request_id: RequestId) -> bool:
        return self.services.intake.last_seq(request_id) is None


def judged(ack: str) -> str:
    """What an acknowledgement says; fails where it is not in the one shape, or tells of a fault of ours."""
    (answer,) = json.loads(ack[ack.index("[") :])
    if answer["ok"] is True:
        return "taken"
    error = answer["error"]
    assert error["code"] in SAID_CODES, answer
    assert set(error) <= {"code", "message", "retryable", "fields"}, answer
    assert isinstance(error["message"], str), answer
    assert isinstance(error["retryable"], bool), answer
    return "refused" if error["code"] in ("invalid_payload", "too_large") else "answered"


@asynccontextmanager
async def _rooms(folder: Path, mutator: Mutator) -> AsyncIterator[_Rooms]:
    """Services on a fresh database in `folder`, which must be healthy afterwards."""
    folder.mkdir(mode=0o700)
    clock = FakeClock()
    async with opened(folder / "baton.sqlite3", clock) as store:
        fanout = Fanout(LIMITS)
        hub = Hub(clock, LIMITS, epoch=store.epoch)
        services = build_services(store=store, publisher=fanout, link=hub, clock=clock, limits=LIMITS)
        services.snapshots.epoch = await store.epoch()
        hub.attach(services.intake, fanout)
        await recover(store, services.lanes)
        await services.deadlines.resume()
        access = Access(services.tokens, services.logins, host="127.0.0.1", port=1)
        sockets = SocketServer(services, fanout, access, LIMITS, clock)
        rooms = _Rooms(services, hub, sockets, mutator, services.snapshots.epoch)
        await rooms.begin()
        yield rooms
        await rooms.end()
        await asyncio.sleep(0)  # what the hub has put off to the next turn of the loop
    told: list[str] = []
    assert await check(Settings(data=folder), told.append), "\n".join(told)


class _Errors(logging.Handler):
    """Keeps what is logged as ERROR: somebody would have to act."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextlib.contextmanager
def _quiet() -> Iterator[_Errors]:
    """No log but of errors, which are kept; refusals by the hundred thousand are what is wanted here."""
    errors, log = _Errors(), logging.getLogger("baton")
    level, propagate = log.level, log.propagate
    log.setLevel(logging.ERROR)
    log.propagate = False
    log.addHandler(errors)
    try:
        yield errors
    finally:
        log.removeHandler(errors)
        log.setLevel(level)
        log.propagate = propagate


async def fuzz_in_memory(folder: Path, report: Report) -> None:
    """Rounds until there were as many malformed events and frames as `report` wants. Raises for any harm."""
    mutator = Mutator(report.seed)
    with _quiet() as errors:
        tasks = len(asyncio.all_tasks())
        number = 0
        while not report.is_done:
            number += 1
            async with _rooms(folder / f"round-{number}", mutator) as rooms:
                await _one_round(rooms, report)
            assert errors.lines == [], errors.lines[:3]
            assert len(asyncio.all_tasks()) == tasks, asyncio.all_tasks()
            gc.collect()
            report.blocks.append(sys.getallocatedblocks())
            if report.is_warm and not report.before.threads:
                report.before = Footprint.of()
        report.end(Footprint.of())
    assert report.blocks[-1] < MOST_GROWTH * report.blocks[0], f"objects are left behind: {report.blocks}"


async def _one_round(rooms: _Rooms, report: Report) -> None:
    until = report.malformed + min(ROUND_MALFORMED, report.wanted - report.malformed)
    count = 0
    while report.malformed < until:
        count += 1
        report.add("event", await rooms.event())
        report.add("frame", await rooms.frame())
        if count % FLUSH_EVERY == 0:
            rooms.clock.advance(0.05)  # type: ignore[attr-defined]  # a FakeClock
            await rooms.services.intake.flush()
            report.progress()
