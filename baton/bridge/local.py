"""The bridge inside the server's own process: the frames of the bridge wire as objects, no socket, no JSON.

It goes through the same hub and the same protocol as every other bridge, so that one path is tested by both. One
supervised task carries frames to and fro; whatever fails in it breaks the link, never the server, and the link
comes again with a hello as any bridge's would.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from baton.bridge.facts import BridgeFacts, LinkState, LinkStatus
from baton.bridge.files import Folders
from baton.bridge.hub import Hub, Session
from baton.bridge.profile import Offers, OfferWatch, Profile
from baton.bridge.protocol import CLOSE_TAKEN, BridgeEnd
from baton.bridge.runner import Runner
from baton.bridge.tasks import Tasks
from baton.bridge.turn import ReadAttachment
from baton.core.errors import AgentFailed
from baton.core.frames import (
    Ack,
    BridgeStatus,
    Execute,
    Failed,
    Hello,
    RpcResult,
    RunFrame,
    ServerFrame,
    Welcome,
)
from baton.core.ids import BridgeId, RequestId
from baton.core.limits import MEBI, Limits
from baton.core.models import Failure
from baton.core.ports import Agent, Clock

logger = logging.getLogger(__name__)

LOCAL_BRIDGE: Final = BridgeId("local")
BUFFER_BYTES: Final = 64 * MEBI
"""What one run may have said and not on disk: there is no spool file in this process."""
_FIRST_RETRY_S: Final = 1.0
_LAST_RETRY_S: Final = 30.0
_SETTLE_S: Final = 2.0
"""How long `close` waits for the last frames to be on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalProfile(Profile):
    """What this bridge says of itself."""

    bridge_id: BridgeId = LOCAL_BRIDGE
    name: str = "This server"


class AckLedger:
    """Remembers what was started in the server's own database: `Started` is there once it is acknowledged.

    A server that dies after that finds the run as running and fails it; one that dies before finds it dispatched,
    and its next process runs it, for the first time.
    """

    def __init__(self) -> None:
        self._waiting: dict[RequestId, asyncio.Future[bool]] = {}

    async def record(self, request_id: RequestId) -> bool:
        """True, once the run's `Started` is on disk."""
        recorded: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = recorded
        try:
            return await recorded
        finally:
            self._waiting.pop(request_id, None)

    def acknowledge(self, acks: Mapping[RequestId, int]) -> None:
        """Frames are on disk: see `core.frames.Ack`."""
        for request_id, seq in acks.items() if self._waiting else ():
            recorded = self._waiting.get(request_id)
            if recorded is not None and seq > 0 and not recorded.done():
                recorded.set_result(True)


class LocalLink:
    """One connection of the bridge to the hub of the same process (`bridge.hub.Link`)."""

    in_process = True
    buffered_bytes = 0

    def __init__(self, wake: asyncio.Event) -> None:
        self._wake = wake
        self.inbox: deque[ServerFrame] = deque()
        self.close_code: int | None = None

    def send(self, frame: ServerFrame) -> None:
        """Hand the frame over; the bridge's task takes it in its next turn."""
        if self.close_code is None:
            self.inbox.append(frame)
            self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """End the link. Idempotent."""
        if self.close_code is None:
            self.close_code = code
            self._wake.set()
            logger.info(
                "🌉 the server closed the local bridge's link",
                extra={"action": "bridge.closed", "code": code, "reason": reason},
            )


class LocalBridge:
    """Runs agents inside the server. `start` returns at once; `close` ends every run.

    Is the runner's outbox too: what agents say goes to the protocol's end, and the task carries it on.
    """

    def __init__(
        self,
        hub: Hub,
        agents: Mapping[str, Agent],
        offers: Offers,
        *,
        profile: LocalProfile,
        clock: Clock,
        limits: Limits,
        read_attachment: ReadAttachment,
    ) -> None:
        self._hub = hub
        self._offers = offers
        self._profile = profile
        self._clock = clock
        self._began = clock.monotonic()
        self._status = LinkStatus(since=clock.now())
        self.instance_id = secrets.token_hex(12)
        """Names this process's bridge; another one has another."""
        self._end = BridgeEnd(buffer_bytes=BUFFER_BYTES)
        self._ledger = AckLedger()
        self._tasks = Tasks(clock)
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._connected = asyncio.Event()
        self._watch = OfferWatch(offers, clock, self._tell_offers)
        self._is_closed = False
        self._runner = Runner(
            agents,
            self,
            ledger=self._ledger,
            clock=clock,
            limits=limits,
            read_attachment=read_attachment,
            folders=Folders(profile.working_directory, [workspace.path for workspace in profile.workspaces]),
            max_concurrent=profile.max_concurrent,
            on_agent_failure=self._watch.note_failure,
        )

    # --- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to connect: agents are asked what they offer (at most 10 s), then the hub is greeted."""
        self._tasks.start(self._serve(), name="local bridge")
        self._tasks.start(self._watch.run(), name="local bridge: offers")

    async def connected(self) -> None:
        """Return once the hub has welcomed the bridge."""
        await self._connected.wait()

    async def close(self) -> None:
        """End all runs as `bridge_lost`, see that stored, end the agents, leave the hub.

        Idempotent; at most 9 s, and 4 s until the ends of all runs are stored. Cancelled, it still leaves the hub.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._runner.end_runs()
            await asyncio.gather(self._settle(), self._runner.close())
        finally:
            await self._tasks.close()

    async def _settle(self) -> None:
        """Return when all that was said is on disk, or nobody takes it any more."""
        if self._connected.is_set():
            self._settled.clear()
            self._wake.set()
            settled = self._tasks.watch(self._settled.wait(), name="local bridge: settle")
            await self._tasks.within(_SETTLE_S, [settled])

    # --- the runner's outbox -------------------------------------------------------------------------------------

    def say(self, frame: RunFrame) -> bool:
        """Keep a run's frame until it is on disk. Raises what `BridgeEnd.say` raises."""
        is_kept = self._end.say(frame)
        self._wake.set()
        return is_kept

    def begin_background(self, request_id: RequestId) -> None:
        """An agent began this run by itself."""
        self._end.begin_background(request_id)

    def reply(self, frame: RpcResult | BridgeStatus) -> None:
        """Send a frame without a number; dropped while there is no link."""
        self._end.reply(frame)
        self._wake.set()

    # --- the link ------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Have a link, for ever; end only when another process has taken this bridge's place."""
        await self._offers.refresh()
        retry_s = _FIRST_RETRY_S
        while True:
            code: int | None = None
            try:
                code = await self._live()
                retry_s = _FIRST_RETRY_S
            # The bridge's read loop: a fault in here must not end the server, and a new link may mend it.
            except Exception:
                logger.exception("❌ the local bridge lost its link", extra={"action": "bridge.fault"})
            if code == CLOSE_TAKEN:
                logger.error(
                    "another process has taken the place of the bridge in this one; it stops",
                    extra={"action": "bridge.taken", "bridgeId": self._profile.bridge_id},
                )
                return
            await self._clock.sleep(retry_s)
            retry_s = min(2 * retry_s, _LAST_RETRY_S)

    async def _live(self) -> int:
        """One link, from hello to its end; its close code."""
        link = LocalLink(self._wake)
        session: Session | None = None
        self._end.connected(self._hello(), self._clock.monotonic())
        try:
            hello = self._end.take()[0]
            assert isinstance(hello, Hello), "hello is what an end says first"
            session = await self._hub.connect(hello, link)
            self._connected.set()
            self._become(LinkState.CONNECTED)
            while link.close_code is None:
                self._wake.clear()
                self._exchange(session, link)
                await self._wake.wait()
            return link.close_code
        finally:
            self._connected.clear()
            self._become(LinkState.WAITING)
            self._end.disconnected()
            if session is not None:
                await self._hub.disconnect(session)

    def _exchange(self, session: Session, link: LocalLink) -> None:
        """Take in what the server sent, and give what may be sent now."""
        while link.inbox:
            frame = link.inbox.popleft()
            for instruction in self._end.receive(frame):
                self._instruct(instruction)
            if isinstance(frame, (Ack, Welcome)):
                self._ledger.acknowledge(frame.acks)
        for said in self._end.take():
            self._hub.receive(session, said)
        if self._end.has_room and not self._end.in_flight_bytes:
            self._settled.set()

    def _instruct(self, frame: ServerFrame) -> None:
        try:
            self._runner.receive(frame)
        # As in `_serve`; a run that could not even be taken up must not be waited for.
        except Exception:
            logger.exception("the local bridge could not take a frame", extra={"action": "bridge.instruct_failed"})
            if isinstance(frame, Execute):
                error = Failure(AgentFailed.code, "The bridge could not take the run up")
                self._end.say(Failed(request_id=frame.request_id, seq=0, error=error))

    def _hello(self) -> Hello:
        return self._profile.hello(self.instance_id, self._offers.current)

    def _become(self, state: LinkState) -> None:
        if state is not self._status.state:
            self._status = LinkStatus(state=state, since=self._clock.now())

    def facts(self, url: str) -> BridgeFacts:
        """How it is now; `url`: where the server is that it is part of."""
        active, queued = self._runner.load
        return BridgeFacts(
            name=self._profile.name,
            bridge_id=self._profile.bridge_id,
            url=url,
            link=self._status,
            agents=self._offers.current,
            active=active,
            queued=queued,
            undelivered=self._end.undelivered,
            elsewhere=0,
            spool_bytes=0,
            spool_max_bytes=0,
            uptime_s=round(self._clock.monotonic() - self._began, 1),
        )

    def _tell_offers(self) -> None:
        active, queued = self._runner.load
        self.reply(BridgeStatus(agents=self._offers.current, active=active, queued=queued))
