"""One `baton bridge` process from its start to its end: wires the bridge, shows how it is, stops it in order."""

import asyncio
import logging
import os
import platform
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from baton import __version__
from baton.agents.options import AgentOptions
from baton.agents.registry import Offers, load_agents
from baton.bridge.client import LinkOptions
from baton.bridge.endings import Ending
from baton.bridge.facts import BridgeFacts
from baton.bridge.outside import OutsideBridge
from baton.bridge.page import HealthPage, bind, why_unbound
from baton.bridge.profile import Profile
from baton.bridge.spool import SpoolFolder, spool_path
from baton.bridge_settings import BridgeSettings
from baton.clock import SystemClock
from baton.core.commands import AccountRole
from baton.core.errors import ConfigError, Unavailable
from baton.core.frames import Workspace
from baton.credentials import prepare_folder, read_token
from baton.stopping import on_stop_signal, restore_signals

logger = logging.getLogger(__name__)

_SHOWN_EVERY_S: Final = 0.1
"""The status line is drawn anew at most so often."""


async def run_bridge(
    settings: BridgeSettings, tell: Callable[[str], None], show: Callable[[BridgeFacts], None]
) -> None:
    """Run a bridge until SIGTERM or SIGINT, then stop within `limits.shutdown_s`; a second signal ends it at once.

    `tell` gets what people should read, `show` how the bridge is whenever that has changed. Raises ConfigError where
    it cannot start, Unavailable where the server wants no more of it.
    """
    prepare_folder(settings.data)
    token = settings.token or read_token(settings.data, AccountRole.BRIDGE)
    page = _bind(settings.port)
    try:
        spool = SpoolFolder(
            spool_path(settings.data, settings.name),
            SystemClock(),
            name=settings.name,
            max_bytes=settings.spool_max_bytes,
        )
        try:
            bridge = make_bridge(settings, spool, token)
            _log_start(settings, spool)
            tell(_welcome(settings, page.getsockname()[1], has_token=token is not None))
            async with _health_page(bridge, page), _shown(bridge, show):
                ending = await _serve(bridge, settings.limits.shutdown_s)
        finally:
            spool.close()
    finally:
        page.close()
    if ending is not None:
        raise Unavailable(ending.text, code="no_bridge")


def make_bridge(settings: BridgeSettings, spool: SpoolFolder, token: str | None) -> OutsideBridge:
    """The bridge that the settings describe, not yet running."""
    folders = [str(folder) for folder in settings.workspaces]
    options = AgentOptions(environment=settings.agent_environment, default_working_directory=folders[0])
    agents = load_agents(settings.agent or None, options, settings.agent_settings)
    return OutsideBridge(
        agents,
        Offers(agents.values()),
        spool,
        profile=Profile(
            bridge_id=spool.bridge_id,
            name=settings.name,
            hostname=platform.node(),
            working_directory=folders[0],
            workspaces=tuple(Workspace(path=folder, name=os.path.basename(folder) or folder) for folder in folders),
            allow_bypass=settings.allow_bypass,
            max_concurrent=settings.max_concurrent,
        ),
        link=LinkOptions(
            url=settings.backend,
            token=token,
            timeout_s=settings.websocket_timeout / 1000,
            first_delay_s=settings.reconnection_delay / 1000,
            max_tries=settings.reconnection_attempts,
        ),
        clock=SystemClock(),
        limits=settings.limits,
        buffer_bytes=settings.message_buffer_size,
    )


async def _serve(bridge: OutsideBridge, limit_s: float) -> Ending | None:
    """Run it until a signal (None) or until the server wants no more of it; then end all runs and agents."""
    is_stopping = asyncio.Event()
    on_stop_signal(is_stopping.set, limit_s)
    try:
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(bridge.run(), name="bridge")
            stopping = tasks.create_task(is_stopping.wait(), name="stop signal")
            await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
            ending = serving.result() if serving.done() else None
            await bridge.end_runs()  # over the link, which therefore goes last
            serving.cancel()
            stopping.cancel()
    finally:
        restore_signals()
        await bridge.close()
    logger.info("the bridge has stopped", extra={"action": "server.stopped"})
    return ending


def _log_start(settings: BridgeSettings, spool: SpoolFolder) -> None:
    """What it runs with that matters when a link breaks: who looks for a timeout in the log finds how long it is."""
    logger.info(
        "🌉 bridge started",
        extra={
            "action": "server.started",
            "bridgeId": spool.bridge_id,
            "url": settings.backend,
            "websocketTimeout": settings.websocket_timeout,
            "reconnectionDelay": settings.reconnection_delay,
            "reconnectionAttempts": settings.reconnection_attempts,
        },
    )


# --- what people see ---------------------------------------------------------------------------------------------


def _welcome(settings: BridgeSettings, port: int, *, has_token: bool) -> str:
    lines = [
        f"Baton {__version__} bridges agents on this machine, as {settings.name!r}, to {settings.backend}",
        f"Folders:  {', '.join(str(folder) for folder in settings.workspaces)}",
        f"Health:   http://localhost:{port}/health",
    ]
    if settings.log_file is not None:
        lines.append(f"Log:      {settings.log_file}")
    if not has_token:
        lines.append(
            "Token:    none; a server that wants one will say so. `baton token create --role bridge --name NAME` makes "
            "it on the server's machine, --token or BATON_BRIDGE_TOKEN gives it here"
        )
    return "\n".join([*lines, "Stop with Ctrl-C.", ""])


@asynccontextmanager
async def _shown(bridge: OutsideBridge, show: Callable[[BridgeFacts], None]) -> AsyncIterator[None]:
    """Have `show` called soon after each change, but not for each frame."""
    loop = asyncio.get_running_loop()
    due: list[asyncio.TimerHandle] = []

    def show_now() -> None:
        due.clear()
        show(bridge.facts())

    def show_soon() -> None:
        if not due:
            due.append(loop.call_later(_SHOWN_EVERY_S, show_now))

    bridge.on_change = show_soon
    try:
        yield
    finally:
        bridge.on_change = lambda: None
        for timer in due:
            timer.cancel()


@asynccontextmanager
async def _health_page(bridge: OutsideBridge, bound: socket.socket) -> AsyncIterator[None]:
    page = HealthPage(bridge.facts)
    try:
        await page.serve(bound)
        yield
    finally:
        await page.close()


def _bind(port: int) -> socket.socket:
    """The health page's socket. Raises ConfigError with the cure."""
    try:
        return bind(port)
    except OSError as error:
        other = port + 1 if port < 65535 else 8080
        raise ConfigError(
            f"--port {port}: the health page cannot be served, {why_unbound(error)}; "
            f"choose another: baton bridge --port {other}"
        ) from error
