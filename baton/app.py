"""Wires one server: the only place that knows all parts. Two of them can live in one process."""

import logging
import os
import platform
import secrets
import signal
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import web

from baton import __version__
from baton.bridge.endpoint import BridgeEndpoint
from baton.bridge.hub import Hub
from baton.clock import SystemClock
from baton.core.events import BridgePresence
from baton.core.ids import TokenId
from baton.core.ports import Clock, Pooled, Store
from baton.core.tally import PoolTally
from baton.credentials import Credentials
from baton.database import bring_up_to_date, make_store
from baton.facts import health_facts
from baton.inside import make_local_bridge, make_local_page, presence_of
from baton.jobs import RENEW_EVERY_S, Jobs
from baton.rounds import start_rounds
from baton.services.catalog import Services, build_services
from baton.services.recovery import recover
from baton.serving import PRESENCE
from baton.settings import Settings
from baton.stopping import within
from baton.web.access import Access
from baton.web.fanout import Fanout
from baton.web.gate import Gate
from baton.web.page import find_built_page
from baton.web.rest import Metrics, setup_rest
from baton.web.rest.health import HealthFacts
from baton.web.rest.numbers import Numbers
from baton.web.sockets import SocketServer
from baton.web.throttle import Throttle

logger = logging.getLogger(__name__)

SERVER: Final[web.AppKey["Server"]] = web.AppKey("server")
_TAKE_OVER_EVERY_S: Final = 1.0
_PAGE_EVERY_S: Final = 10.0
_LOCAL_CLOSE_S: Final = 4.0
_LAST_FLUSH_S: Final = 1.0
_PAGE_CLOSE_S: Final = 1.0


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
            self.services.logins,
            host=settings.host,
            port=settings.port,
            public_url=settings.public_url,
            client_origins=[settings.client_url],
            names=settings.host_names,
            auth_enabled=settings.auth,
            throttle=Throttle(limits, clock, settings.trusted_proxy),
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
        self.services.logins.on_ended = self.sockets.end_login
        self.local = make_local_bridge(settings, self.hub, self.store, clock) if settings.bridge == "local" else None
        self.page = make_local_page(settings, self.local)
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
        metrics = Metrics()
        pool = self.store.pool if isinstance(self.store, Pooled) else PoolTally()
        metrics.registry.register(Numbers(self.services, self.fanout, self.sockets, self.access.throttle, pool))
        setup_rest(
            app,
            self.services,
            self.access,
            version=__version__,
            health=self.health,
            limits=self.settings.limits,
            metrics=metrics,
            built_page=find_built_page(),
        )
        app.on_cleanup.append(self._close)

    async def presence(self) -> Sequence[BridgePresence]:
        """Who runs agents, once the in-process bridge has said hello; at most 10 s."""
        return await presence_of(self.hub, self.local if self.gate.is_open else None)

    async def health(self) -> HealthFacts:
        """What /health is judged from; touches no store."""
        return health_facts(
            self.services,
            self.fanout,
            self.jobs,
            uptime_s=self.clock.monotonic() - self._started_at,
            is_ready=self.gate.is_open,
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
        origins = [self.settings.origin, self.settings.client_url]
        logger.info("cors: pages of these origins may connect", extra={"action": "cors.allowed", "origins": origins})
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
        await services.logins.load()
        await recover(self.store, services.lanes)
        await services.deadlines.resume()
        services.intake.on_lease_lost = self.lease_lost
        await start_rounds(self.jobs, services, self.access.throttle, self.settings.limits)
        if self.local is not None:
            await self.local.start()
        if self.page is not None:
            await self.page.open()
            await self.jobs.every(_PAGE_EVERY_S, "bridge page", self.page.open)
        self.gate.open()
        logger.info("✅ ready", extra={"action": "server.ready", "store": self.settings.store_label})
        return True

    # --- stop --------------------------------------------------------------------------------------------------

    async def _drain(self, _: web.Application) -> None:
        """Take no new work, end what runs inside this process, see it stored; bounded."""
        self.gate.drain()
        self.services.dispatcher.is_draining = True
        await self.jobs.stop()
        if self.local is not None:
            await within(_LOCAL_CLOSE_S, self.local.close())
        if self.page is not None:
            await within(_PAGE_CLOSE_S, self.page.close())

    async def _close(self, _: web.Application) -> None:
        await within(_LAST_FLUSH_S, self.services.intake.flush())
        await self.jobs.close()
        await self.store.close()
