"""One server process from its first socket to its last: bind, build, serve, stop. Knows signals, not features."""

import asyncio
import dataclasses
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

from aiohttp import web

from baton.core.commands import AccountRole
from baton.core.errors import ConfigError
from baton.core.events import BridgePresence
from baton.credentials import Credentials, ensure_token, open_credentials, prepare_folder
from baton.settings import Settings
from baton.stopping import on_stop_signal, restore_signals
from baton.web.strict import StrictRunner
from baton.welcome import agents_text, welcome_text

logger = logging.getLogger(__name__)

Build: TypeAlias = Callable[[Settings, Credentials], web.Application]
"""What makes the application; `baton.app.create_app`."""


class Presence(Protocol):
    """Says which bridges there are, once those inside the process have said hello."""

    async def __call__(self) -> Sequence[BridgePresence]:
        """Presence, whole. At most as long as agents may take for their offer (10 s)."""
        ...


PRESENCE: Final[web.AppKey[Presence]] = web.AppKey("presence")
"""Where the application keeps its `Presence`."""

CONNECTION_GRACE_S: Final = 1.0
"""How long open requests may go on after the application has closed its sockets."""

LISTEN_BACKLOG: Final = 1024
"""Connections that may wait in the kernel."""
ACCEPTS_PER_TURN: Final = 4
"""Of these, how many one turn of the loop takes: a thousand browsers that come back at once must not make one long turn
of their handshakes, because streams that are under way need several turns for each delta."""


async def serve(settings: Settings, build: Build, tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then stop within `limits.shutdown_s`; a second signal ends the process at once.

    `tell` gets what people should read. Raises ConfigError where the server cannot start.
    """
    sockets = bind(settings.host, settings.port)
    try:
        settings = dataclasses.replace(settings, port=sockets[0].getsockname()[1])
        runner = StrictRunner(_application(settings, build), access_log=None, shutdown_timeout=CONNECTION_GRACE_S)
        await _run(runner, sockets, settings, tell)
    finally:
        for bound in sockets:
            bound.close()


async def _run(
    runner: web.AppRunner, sockets: Sequence[socket.socket], settings: Settings, tell: Callable[[str], None]
) -> None:
    running = asyncio.timeout(None)  # what a signal ends: its body is cancelled, and only its body
    try:
        async with running:
            loop = asyncio.get_running_loop()
            on_stop_signal(lambda: running.reschedule(loop.time()), settings.limits.shutdown_s)
            await runner.setup()
            for bound in sockets:
                await listen(runner, bound)
            logger.info("server started", extra={"action": "server.started", "port": settings.port})
            await _announce(runner.app, settings, tell)
            await asyncio.Event().wait()
    except TimeoutError:
        if not running.expired():
            raise
    finally:
        restore_signals()
        await runner.cleanup()
        logger.info("server stopped", extra={"action": "server.stopped"})


async def listen(runner: web.BaseRunner, bound: socket.socket) -> None:
    """Let connections in, some at a time."""
    # One number is both for asyncio: how many may wait, and how many it accepts at once. The kernel takes a new one.
    await web.SockSite(runner, bound, backlog=ACCEPTS_PER_TURN).start()
    bound.listen(LISTEN_BACKLOG)


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of `host`, not yet listening. Raises ConfigError with the cure.

    Bound before anything else is opened: a second start by mistake must fail before it touches the database.
    """
    try:
        found = socket.getaddrinfo(host, port or None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # the latter for a name that is none
        raise ConfigError(f"HOST={host}: there is no such address; accepted is one of this machine") from error
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((family, address[0]) for family, *_, address in found):
            sockets.append(_bind_one(family, str(address), port or (sockets[0].getsockname()[1] if sockets else 0)))
    except OSError as error:
        for bound in sockets:
            bound.close()
        raise ConfigError(_bind_problem(error, host, port)) from error
    return sockets


def _bind_one(family: int, address: str, port: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Without it a restart would wait for the old connections' TIME_WAIT to pass.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
    except BaseException:
        bound.close()
        raise
    return bound


def _bind_problem(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"PORT={port}: another program listens there, perhaps another Baton; "
            f"end it, or choose another port: baton serve --port {port + 1 if port < 65535 else 3001}"
        )
    if error.errno == errno.EACCES:
        return f"PORT={port}: not allowed for this user; accepted is a port above 1023"
    return f"HOST={host}: cannot be listened on ({error.strerror}); accepted is an address of this machine"


def _application(settings: Settings, build: Build) -> web.Application:
    prepare_folder(settings.data)
    given = {AccountRole.ADMIN: settings.admin_token, AccountRole.BRIDGE: settings.bridge_token}
    return build(settings, open_credentials(settings.data, given))


async def _announce(app: web.Application, settings: Settings, tell: Callable[[str], None]) -> None:
    token = None
    if settings.auth:
        token = settings.admin_token or ensure_token(settings.data, AccountRole.ADMIN)
    tell(welcome_text(settings, token))
    tell(agents_text(settings, await app[PRESENCE]()))
