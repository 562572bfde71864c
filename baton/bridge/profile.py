"""What a bridge says of itself, and how it keeps that true while agents come and go. For bridges of every kind."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from baton import __version__
from baton.core.frames import PROTOCOL_VERSION, AgentOffer, Hello, Workspace
from baton.core.ids import BridgeId
from baton.core.ports import Clock

REFRESH_S: Final = 60.0
"""How often agents that are not available are asked again."""
_MEANS_UNAVAILABLE: Final = frozenset({"agent_missing", "agent_not_logged_in"})


class Offers(Protocol):
    """What the agents offer, as last asked (`agents.registry.Offers`)."""

    current: tuple[AgentOffer, ...]

    async def refresh(self) -> tuple[AgentOffer, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a bridge says of itself. `working_directory`: absolute, for runs that name none."""

    bridge_id: BridgeId
    working_directory: str
    name: str = ""
    hostname: str = ""
    workspaces: tuple[Workspace, ...] = ()
    """Where agents may work; empty: in any folder of this machine."""
    allow_bypass: bool = False
    max_concurrent: int = 5

    def hello(self, instance_id: str, agents: tuple[AgentOffer, ...]) -> Hello:
        """The first frame of a link, but for the runs."""
        return Hello(
            protocol=PROTOCOL_VERSION,
            bridge_id=self.bridge_id,
            instance_id=instance_id,
            name=self.name,
            version=__version__,
            hostname=self.hostname,
            agents=agents,
            max_concurrent_requests=self.max_concurrent,
            workspaces=self.workspaces,
            allow_bypass=self.allow_bypass,
        )


class OfferWatch:
    """Asks the agents again when one may have come or gone, and tells when anything has changed."""

    def __init__(self, offers: Offers, clock: Clock, changed: Callable[[], None]) -> None:
        self._offers = offers
        self._clock = clock
        self._changed = changed
        self._is_due = asyncio.Event()

    def note_failure(self, code: str) -> None:
        """A run failed with this code."""
        if code in _MEANS_UNAVAILABLE:
            self._is_due.set()

    async def run(self) -> None:
        """Do so for ever."""
        while True:
            await self._due()
            self._is_due.clear()
            before = self._offers.current
            if await self._offers.refresh() != before:
                self._changed()

    async def _due(self) -> None:
        """Return when a failure was noted; after a while also where an agent is not available."""
        while not self._is_due.is_set():
            async with asyncio.TaskGroup() as tasks:
                timer = tasks.create_task(self._clock.sleep(REFRESH_S), name="offers: timer")
                noted = tasks.create_task(self._is_due.wait(), name="offers: noted")
                await asyncio.wait((timer, noted), return_when=asyncio.FIRST_COMPLETED)
                timer.cancel()
                noted.cancel()
            if not all(offer.available for offer in self._offers.current):
                return
