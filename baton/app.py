"""Wires one server: the only place that knows all parts. Two of them can live in one process."""

import asyncio
import logging
import os
import platform
import secrets
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from aiohttp import web

from baton import __version__
from baton.agents.options import AgentOptions
from baton.agents.registry import Offers, load_agents
from baton.bridge.endpoint import BridgeEndpoint
from baton.bridge.hub import Hub
from baton.bridge.local import LocalBridge, LocalProfile
from baton.clock import SystemClock
from baton.core.errors import NotFound
from baton.core.events import BridgePresence
from baton.core.frames import Workspace
from baton.core.ids import TokenId
from baton.core.models import Attachment
from baton.core.ports import Clock, Store
from baton.credentials import Credentials
from baton.database import bring_up_to_date, make_store
from baton.jobs import FIRST_CLEAN_UP_S, RENEW_EVERY_S, SILENCE_EVERY_S, SWEEP_EVERY_S, TOKENS_EVERY_S, JobRecord, Jobs
from baton.services.catalog import Services, build_services
from baton.services.recovery import recover
from baton.services.silence import SILENT
from baton.serving import PRESENCE
from baton.settings import Settings
from baton.web.access import Access
from baton.web.fanout import Fanout
from baton.web.gate import Gate
from baton.web.page import find_built_page
from baton.web.rest import setup_rest
from baton.web.rest.health import HealthFacts, JobFacts
from baton.web.sockets import SocketServer

logger = logging.getLogger(__name__)

SERVER: Final[web.AppKey["Server"]] = web.AppKey("server")
_TAKE_OVER_EVERY_S: Final = 1.0
_LOCAL_CLOSE_S: Final = 4.0
_LAST_FLUSH_S: Final = 1.0


def create_app(
    settings: Settings, credentials: Credentials, *, clock: Clock | None = None, store: Store | None = None
) -> web.Application:
    """One server as an aiohttp application; it starts and stops with it.

    `clock` and `store` are for tests; a given store is opened here but must be migrated already.
    """
    app = web.Application(client_max_size=settings.limits.payload_max_bytes)
    server = Server(settings, credentials, clock or SystemClock(), store)
    app[SERVER] = server
    app[PRESENCE] = server.presence
    server.attach(app)
    return app


class Server:
    """The parts of one server, and the order in which they start and stop."""

    def __init__(self, settings: Settings, credentials: Credentials, clock: Clock, store: Store | None) -> None:
        self.settings = settings
        self.clock = clock
        limits = settings.limits
        self._is_own_store = store is None
        self.store = store or make_store(settings, clock)
        self.gate = Gate()
        self.fanout = Fanout(limits)
        self.hub = Hub(clock, limits, epoch=self.store.epoch)
        self.services: Services = build_services(
            store=self.store,
            publisher=self.fanout,
            link=self.hub,
            clock=clock,
            limits=limits,
            given_tokens=credentials.digests,
        )
        self.hub.attach(self.services.intake, self.fanout)
        self.access = Access(
            self.services.tokens,
            host=settings.host,
            port=settings.port,
            public_url=settings.public_url,
            client_origins=[settings.client_url],
            auth_enabled=settings.auth,
        )
        self.sockets = SocketServer(
            self.services, self.fanout, self.access, limits, clock, transports=settings.transports
        )
        self.endpoint = BridgeEndpoint(
            self.hub,
            self.access.authorize_bridge,
            limits,
            clock,
            bind=self.services.tokens.bind if settings.auth else None,
        )
        self.services.tokens.on_ended = self._end_token
        self.local = self._local_bridge() if settings.bridge == "local" else None
        self.jobs = Jobs(clock, on_lease_lost=self.lease_lost)
        self.stop_process: Callable[[], None] = lambda: signal.raise_signal(signal.SIGTERM)
        """Ends the process when another one owns the database; tests replace it."""
        self._started_at = clock.monotonic()
        self._holder = f"{platform.node()}:{os.getpid()}:{secrets.token_hex(4)}"

    def attach(self, app: web.Application) -> None:
        """Hang everything into the application. Shutdown hooks run in the order given here."""
        self.access.attach(app)
        self.gate.attach(app)
        app.on_startup.append(self._start)
        app.on_shutdown.append(self._drain)
        self.sockets.attach(app)
        self.endpoint.attach(app)
        setup_rest(
            app,
            self.services,
            self.access,
            version=__version__,
            health=self.health,
            limits=self.settings.limits,
            built_page=find_built_page(),
        )
        app.on_cleanup.append(self._close)

    async def presence(self) -> Sequence[BridgePresence]:
        """Who runs agents, once the in-process bridge has said hello; at most 10 s."""
        if self.local is not None and self.gate.is_open:
            try:
                async with asyncio.timeout(10):
                    await self.local.connected()
            except TimeoutError:
                logger.warning("the in-process bridge takes long", extra={"action": "bridge.slow"})
        return self.hub.presence()

    async def health(self) -> HealthFacts:
        """What /health is judged from; touches no store."""
        runs = [live.run for live in self.services.lanes.open_runs()]
        return HealthFacts(
            uptime_s=round(self.clock.monotonic() - self._started_at, 1),
            is_store_ok=self.services.lanes.writes.is_ok,
            are_jobs_ok=self.jobs.is_running,
            job_troubles=self.jobs.troubles(),
            jobs=tuple(_facts_of(record) for record in self.jobs.records),
            is_ready=self.gate.is_open,
            sockets=self.fanout.socket_count,
            conversations=self.fanout.conversation_count,
            bridges=sum(bridge.connected for bridge in self.hub.presence()),
            active=sum(run.status not in ("queued",) for run in runs),
            queued=sum(run.status == "queued" for run in runs),
            away=sum(run.away for run in runs),
            stuck=sum(run.status in SILENT and run.deadline_at is not None and not run.away for run in runs),
            pending_prompts=len(self.services.lanes.pending_prompts()),
        )

    def lease_lost(self) -> None:
        """Another process owns the database: publish and acknowledge nothing more, and leave."""
        self.gate.drain()
        self.stop_process()

    async def _end_token(self, token_id: TokenId) -> None:
        """What came in with it goes: links of bridges, whose runs then wait as `away`, and browsers' sockets."""
        self.endpoint.end_token(token_id)
        await self.sockets.end_token(token_id)

    # --- start -------------------------------------------------------------------------------------------------

    async def _start(self, _: web.Application) -> None:
        if self._is_own_store and (self.settings.sqlite_path is not None or self.settings.migrate):
            await bring_up_to_date(self.settings, self.clock)
        await self.store.open()
        await self.services.tokens.load()
        await self.jobs.start()
        if not await self._take_over():
            logger.warning("another process owns the database: waiting", extra={"action": "store.lease_waits"})
            await self.jobs.until_done(_TAKE_OVER_EVERY_S, "take-over", self._take_over)

    async def _take_over(self) -> bool:
        """Serve, if the database is free; whether it is ours."""
        if self.gate.is_open:
            return True
        if not await self.store.acquire_lease(self._holder):
            return False
        services = self.services
        # First of all: to recover may take longer than a lease lasts.
        await self.jobs.every(RENEW_EVERY_S, "lease", self.store.renew_lease)
        services.snapshots.epoch = await self.store.epoch()
        await services.tokens.adopt()
        await recover(self.store, services.lanes)
        await services.deadlines.resume()
        services.intake.on_lease_lost = self.lease_lost
        await self.jobs.spawn("flush", services.intake.run)
        await self.jobs.spawn("dispatch", services.dispatcher.run)
        await self.jobs.every(SWEEP_EVERY_S, "deadlines", services.deadlines.sweep)
        await self.jobs.every(SILENCE_EVERY_S, "silence", services.silence.sweep)
        await self.jobs.every(TOKENS_EVERY_S, "tokens", services.tokens.sweep)
        every_s = self.settings.limits.clean_up_every_s
        first_s = min(every_s, FIRST_CLEAN_UP_S)
        await self.jobs.every(every_s, "clean-up", services.cleaning.clean_up, first_s=first_s)
        if self.local is not None:
            await self.local.start()
        self.gate.open()
        logger.info("✅ ready", extra={"action": "server.ready", "store": self.settings.store_label})
        return True

    def _local_bridge(self) -> LocalBridge:
        settings = self.settings
        folders = [str(folder) for folder in settings.workspaces]
        options = AgentOptions(environment=settings.agent_environment, default_working_directory=folders[0])
        agents = load_agents(settings.agents or None, options, settings.agent_settings)
        return LocalBridge(
            self.hub,
            agents,
            Offers(agents.values()),
            profile=LocalProfile(
                working_directory=folders[0],
                hostname=platform.node(),
                workspaces=tuple(Workspace(path=f, name=os.path.basename(f) or f) for f in folders),
                allow_bypass=settings.allow_bypass,
                max_concurrent=settings.max_concurrent_requests,
            ),
            clock=self.clock,
            limits=settings.limits,
            read_attachment=self._read_attachment,
        )

    async def _read_attachment(self, attachment: Attachment) -> bytes:
        content = await self.store.attachment_content(attachment.id)
        if content is None:
            raise NotFound(f"The attachment {attachment.filename} is gone")
        return content

    # --- stop --------------------------------------------------------------------------------------------------

    async def _drain(self, _: web.Application) -> None:
        """Take no new work, end what runs inside this process, see it stored; bounded."""
        self.gate.drain()
        self.services.dispatcher.is_draining = True
        await self.jobs.stop()
        if self.local is not None:
            await _within(_LOCAL_CLOSE_S, self.local.close())

    async def _close(self, _: web.Application) -> None:
        await _within(_LAST_FLUSH_S, self.services.intake.flush())
        await self.jobs.close()
        await self.store.close()


def _facts_of(record: JobRecord) -> JobFacts:
    return JobFacts(
        name=record.name,
        runs=record.runs,
        failures=record.failures,
        last_success_at=record.last_success_at,
        last_duration_s=record.last_duration_s,
    )


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """Do what can be done in time; what cannot is found and ended by the next start."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except Exception:  # a stop goes on whatever one part does
        logger.warning("stopped without waiting further", extra={"action": "server.stopping"}, exc_info=True)
