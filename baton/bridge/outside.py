"""A bridge in a process of its own: agents on this machine for a server elsewhere, through any break.

Joins the runner, the protocol's end, the spool and the link. Runs outlive links; what agents say outlives the
process. It must not know settings, which agents there are, or the terminal.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp

from baton.bridge.attachments import AttachmentReader
from baton.bridge.client import Client, LinkOptions
from baton.bridge.endings import Ending
from baton.bridge.facts import BridgeFacts, LinkState
from baton.bridge.files import Folders
from baton.bridge.profile import Offers, OfferWatch, Profile
from baton.bridge.protocol import BridgeEnd, Instruction
from baton.bridge.runner import Runner
from baton.bridge.spool import SpoolFolder
from baton.bridge.tasks import Tasks
from baton.core.errors import AgentFailed
from baton.core.frames import BridgeStatus, Execute, Failed, Hello, RpcResult, RunFrame
from baton.core.ids import RequestId
from baton.core.limits import MEBI, Limits
from baton.core.models import Failure
from baton.core.ports import Agent, Clock

logger = logging.getLogger(__name__)

SPILL_EVERY_S: Final = 1.0
"""How long what was said and cannot leave may be in memory alone."""
SETTLE_S: Final = 2.0
"""How long `close` waits for the last frames to be acknowledged; what is not is in the spool."""


class OutsideBridge:
    """Runs agents for a server elsewhere. `run` does everything; `close` ends runs and agents.

    Is the runner's outbox and ledger too: what agents say goes to the protocol's end, and the link carries it on.
    The spool is its owner's, and to be closed after this.
    """

    def __init__(
        self,
        agents: Mapping[str, Agent],
        offers: Offers,
        spool: SpoolFolder,
        *,
        profile: Profile,
        link: LinkOptions,
        clock: Clock,
        limits: Limits,
        buffer_bytes: int = MEBI,
    ) -> None:
        self._offers = offers
        self._spool = spool
        self._profile = profile
        self._options = link
        self._clock = clock
        self._began = clock.monotonic()
        self._instance_id = secrets.token_hex(12)
        self._end = BridgeEnd(buffer_bytes=buffer_bytes, known=spool.known(), leftovers=spool.leftovers(), spool=spool)
        self._client = Client(
            self._end,
            link,
            hello=self._hello,
            instruct=self._instruct,
            clock=clock,
            limits=limits,
            on_change=self._note_change,
        )
        self._attachments = AttachmentReader(link, clock, limits)
        self._watch = OfferWatch(offers, clock, self._tell_offers)
        self._tasks = Tasks(clock)
        self._has_settled = asyncio.Event()
        self._runner = Runner(
            agents,
            self,
            ledger=self,
            clock=clock,
            limits=limits,
            read_attachment=self._attachments.read,
            folders=Folders(profile.working_directory, [workspace.path for workspace in profile.workspaces]),
            max_concurrent=profile.max_concurrent,
            on_agent_failure=self._watch.note_failure,
        )
        self._is_closed = False
        self.on_change: Callable[[], None] = lambda: None
        """Called when `facts` may have changed."""

    # --- life ----------------------------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Serve until the server wants no more of this process; why that is. To be called once, `close` after it."""
        await self._offers.refresh()
        async with aiohttp.ClientSession() as session:
            self._attachments.session = session
            self._tasks.start(self._watch.run(), name="bridge: offers")
            self._tasks.start(self._spill_stranded(), name="bridge: spill")
            try:
                return await self._client.run(session)
            finally:
                self._attachments.session = None

    async def end_runs(self) -> None:
        """Take no more runs, end those that work as `bridge_lost`, and see the server take that in, if it is there.

        At most 4 s; to be called while `run` still runs. Idempotent.
        """
        await self._runner.end_runs()
        self._client.wake()
        settled = self._tasks.watch(self._settled(), name="bridge: settle")
        await self._tasks.within(SETTLE_S, [settled])
        settled.cancel()

    async def close(self) -> None:
        """End runs and agents; what the server does not have is in the spool then. Idempotent; at most 9 s."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._runner.close()
        finally:
            self._end.spill()
            await self._tasks.close()

    async def _settled(self) -> None:
        """Return when the server has everything, or there is no link to tell it."""
        while self._end.undelivered and self._client.status.state is LinkState.CONNECTED:
            self._has_settled.clear()
            await self._has_settled.wait()

    async def _spill_stranded(self) -> None:
        while True:
            await self._clock.sleep(SPILL_EVERY_S)
            self._end.spill_stranded()

    # --- the runner's outbox -------------------------------------------------------------------------------------

    def say(self, frame: RunFrame) -> bool:
        """Keep a run's frame until it is on disk. Raises what `BridgeEnd.say` raises."""
        is_kept = self._end.say(frame)
        self._client.wake()
        return is_kept

    def begin_background(self, request_id: RequestId) -> None:
        """An agent began this run by itself."""
        self._end.begin_background(request_id)

    async def record(self, request_id: RequestId) -> bool:
        """Write it down (`bridge.runner.Ledger`), with the server that it is for."""
        return await self._spool.record(request_id, epoch=self._end.epoch_of(request_id))

    def reply(self, frame: RpcResult | BridgeStatus) -> None:
        """Send a frame without a number; dropped while there is no link."""
        self._end.reply(frame)
        self._client.wake()
        self.on_change()

    def _note_change(self) -> None:
        self._has_settled.set()
        self.on_change()

    # --- for the link --------------------------------------------------------------------------------------------

    def _hello(self) -> Hello:
        return self._profile.hello(self._instance_id, self._offers.current)

    def _instruct(self, frame: Instruction) -> None:
        try:
            self._runner.receive(frame)
        # A part of the bridge's read loop: a run that could not even be taken up must not be waited for.
        except Exception:
            logger.exception("the bridge could not take a frame", extra={"action": "bridge.instruct_failed"})
            if isinstance(frame, Execute):
                error = Failure(AgentFailed.code, "The bridge could not take the run up")
                self._end.say(Failed(request_id=frame.request_id, seq=0, error=error))
        self.on_change()

    def _tell_offers(self) -> None:
        active, queued = self._runner.load
        self.reply(BridgeStatus(agents=self._offers.current, active=active, queued=queued))

    # --- for people ----------------------------------------------------------------------------------------------

    def facts(self) -> BridgeFacts:
        """How it is now."""
        active, queued = self._runner.load
        return BridgeFacts(
            name=self._profile.name,
            bridge_id=self._profile.bridge_id,
            url=self._options.url,
            link=self._client.status,
            agents=self._offers.current,
            active=active,
            queued=queued,
            undelivered=self._end.undelivered,
            elsewhere=self._end.elsewhere,
            spool_bytes=self._spool.size_bytes,
            spool_max_bytes=self._spool.max_bytes,
            uptime_s=round(self._clock.monotonic() - self._began, 1),
        )
