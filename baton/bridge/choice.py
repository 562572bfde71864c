"""Which bridge a run goes to, and if none: why, and what would help. Pure, over what lists show of bridges."""

from collections.abc import Sequence

from baton.core.errors import NoBridge
from baton.core.events import BridgePresence
from baton.core.ids import BridgeId
from baton.core.ports import BridgeChoice

_FIRST_AGENT = "claude"
_LAST_AGENT = "demo"


def choose_bridge(
    bridges: Sequence[BridgePresence], *, agent: str | None, bridge_id: BridgeId | None, working_directory: str | None
) -> BridgeChoice:
    """The asked bridge, or the least loaded that has the agent and is not full; else the reason.

    Without an agent the best one that is available anywhere is taken, and a full bridge is waited for rather than
    that a run silently goes to another agent: claude, then any other, the demo agent last.
    """
    if not bridges:
        return BridgeChoice(bridge_id=None, agent=agent, reason=NoBridge().message)
    near = [bridge for bridge in bridges if bridge_id in (None, bridge.id)]
    if not near:
        return _no(agent, f"Bridge {bridge_id} is not connected: start it with `baton bridge`, or choose another")
    allowed = [bridge for bridge in near if _lets_work_in(bridge, working_directory)]
    if not allowed:
        text = f"{_names(near)} lets no agent work in {working_directory}: add that folder to its workspaces"
        return _no(agent, text)
    return _choose_agent(allowed, agent)


def _choose_agent(bridges: Sequence[BridgePresence], agent: str | None) -> BridgeChoice:
    wanted = agent or _best_agent(bridges)
    if wanted is None:
        return _no(None, f"No agent can work on {_names(bridges)}: {_complaints(bridges, None)}")
    able = [bridge for bridge in bridges if _offers(bridge, wanted)]
    if not able:
        return _no(wanted, f"The agent {wanted} cannot work on {_names(bridges)}: {_complaints(bridges, wanted)}")
    free = [bridge for bridge in able if bridge.active < bridge.max_concurrent_requests]
    if not free:
        reason = f"{_names(able)} is busy: the run starts there when another one ends"
        return BridgeChoice(bridge_id=None, agent=wanted, reason=reason, is_busy=True)
    least = min(free, key=lambda bridge: bridge.active)
    folder = least.workspaces[0].path if least.workspaces else None
    return BridgeChoice(bridge_id=least.id, agent=wanted, folder=folder)


def _no(agent: str | None, reason: str) -> BridgeChoice:
    return BridgeChoice(bridge_id=None, agent=agent, reason=reason)


def _best_agent(bridges: Sequence[BridgePresence]) -> str | None:
    available = [offer.id for bridge in bridges for offer in bridge.agents if offer.available]
    return min(available, key=_rank, default=None)


def _rank(agent: str) -> int:
    return {_FIRST_AGENT: 0, _LAST_AGENT: 2}.get(agent, 1)


def _offers(bridge: BridgePresence, agent: str) -> bool:
    return any(offer.id == agent and offer.available for offer in bridge.agents)


def _lets_work_in(bridge: BridgePresence, directory: str | None) -> bool:
    """By name only, to find the right bridge; the bridge itself resolves the path and has the last word."""
    if directory is None or not bridge.workspaces:
        return True
    return any(_is_below(directory, workspace.path) for workspace in bridge.workspaces)


def _is_below(path: str, folder: str) -> bool:
    """Whether `path` is the folder or in it, with either system's separators."""
    inner, outer = path.replace("\\", "/").rstrip("/"), folder.replace("\\", "/").rstrip("/")
    return inner == outer or inner.startswith(outer + "/")


def _names(bridges: Sequence[BridgePresence]) -> str:
    return ", ".join(bridge.name or bridge.id for bridge in bridges)


def _complaints(bridges: Sequence[BridgePresence], agent: str | None) -> str:
    """What the bridges say of the agent (None: of any), or what there is instead."""
    offers = [offer for bridge in bridges for offer in bridge.agents]
    reasons = [offer.reason for offer in offers if offer.reason and not offer.available and agent in (None, offer.id)]
    if reasons:
        return "; ".join(dict.fromkeys(reasons))
    available = sorted({offer.id for offer in offers if offer.available})
    return f"there is {', '.join(available)}" if available else "it offers none"
