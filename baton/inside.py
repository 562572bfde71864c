"""The bridge inside the server's process: made of the server's settings, agents and store."""

import asyncio
import logging
import os
import platform
from collections.abc import Sequence

from baton.agents.options import AgentOptions
from baton.agents.registry import Offers, load_agents
from baton.bridge.hub import Hub
from baton.bridge.local import LocalBridge, LocalProfile
from baton.bridge.page import LocalPage
from baton.core.errors import NotFound
from baton.core.events import BridgePresence
from baton.core.frames import Workspace
from baton.core.models import Attachment
from baton.core.ports import Clock, Store
from baton.settings import Settings

logger = logging.getLogger(__name__)


def make_local_bridge(settings: Settings, hub: Hub, store: Store, clock: Clock) -> LocalBridge:
    """The bridge, not started."""

    async def read_attachment(attachment: Attachment) -> bytes:
        content = await store.attachment_content(attachment.id)
        if content is None:
            raise NotFound(f"The attachment {attachment.filename} is gone")
        return content

    folders = [str(folder) for folder in settings.workspaces]
    options = AgentOptions(environment=settings.agent_environment, default_working_directory=folders[0])
    agents = load_agents(settings.agents or None, options, settings.agent_settings)
    return LocalBridge(
        hub,
        agents,
        Offers(agents.values()),
        profile=LocalProfile(
            working_directory=folders[0],
            hostname=platform.node(),
            workspaces=tuple(Workspace(path=f, name=os.path.basename(f) or f) for f in folders),
            allow_bypass=settings.allow_bypass,
            max_concurrent=settings.max_concurrent_requests,
        ),
        clock=clock,
        limits=settings.limits,
        read_attachment=read_attachment,
    )


async def presence_of(hub: Hub, local: LocalBridge | None) -> Sequence[BridgePresence]:
    """Who runs agents, once the bridge in this process has said hello; at most 10 s."""
    if local is not None:
        try:
            async with asyncio.timeout(10):
                await local.connected()
        except TimeoutError:
            logger.warning("the in-process bridge takes long", extra={"action": "bridge.slow"})
    return hub.presence()


def make_local_page(settings: Settings, local: LocalBridge | None) -> LocalPage | None:
    """The health page of the bridge in this process; None where it has none, or the server has its port."""
    if local is None or settings.bridge_port is None or settings.bridge_port == settings.port:
        return None
    return LocalPage(lambda: local.facts(settings.origin), settings.bridge_port)
