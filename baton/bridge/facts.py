"""How a bridge is, for its health page and its status line. Values only: who looks, and where, is not known here."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from baton.core.frames import AgentOffer


class LinkState(StrEnum):
    """CONNECTING -> CONNECTED -> WAITING -> CONNECTING ..., until STOPPED."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatus:
    """How the link is, for people and for the health page."""

    state: LinkState = LinkState.CONNECTING
    since: datetime
    tries: int = 0
    """Since the last good connection."""
    text: str = ""
    """Why there is none."""
    code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeFacts:
    """How a bridge is, for its health page and its status line."""

    name: str
    bridge_id: str
    url: str
    link: LinkStatus
    agents: tuple[AgentOffer, ...]
    active: int
    queued: int
    undelivered: int
    """Runs that the server does not have whole yet: those that work, and those that wait for the link."""
    elsewhere: int
    """Runs of another server, which are kept until it is met again."""
    spool_bytes: int
    spool_max_bytes: int
    """0: it has none."""
    uptime_s: float
