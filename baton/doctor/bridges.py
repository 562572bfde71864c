"""Bridges: is one connected, can its agents work, and how does the page of the one on this machine look?"""

import asyncio
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any, Final

from baton.agents.claude_environment import INSTALL_CURE, LOGIN_CURE
from baton.agents.options import AgentOptions
from baton.agents.registry import Offers, load_agents
from baton.bridge.spool import spool_path
from baton.core.errors import Unavailable
from baton.doctor.findings import Area, Finding, Notes
from baton.doctor.patient import Patient

_OFFER_S: Final = 6.0
_SPOOL_HIGH: Final = 0.8
_REFUSED_CODE: Final = 4401
_SCRIPTED: Final = "demo"
"""Always there, and no model: an agent that can work is another one."""


async def check_bridges(patient: Patient) -> list[Finding]:
    """What the server says of its bridges."""
    notes = Notes(Area.BRIDGE)
    reply = await patient.ask("/api/bridges")
    if reply.status != 200:
        if not patient.health or patient.health["services"].get("bridge") != "ok":
            _tell_none(notes, patient)
        else:
            notes.ok("connected", "a bridge is connected")
            notes.skipped("agents", "only who brings the server's token is told of agents")
        return notes.findings
    connected = [bridge for bridge in reply.said["bridges"] if bridge.get("connected")]
    gone = [bridge for bridge in reply.said["bridges"] if not bridge.get("connected")]
    if not connected:
        _tell_none(notes, patient)
    else:
        notes.ok("connected", ", ".join(f"{bridge['name']!r}" for bridge in connected))
        _agents(notes, [agent for bridge in connected for agent in bridge["agents"]])
    for bridge in connected:
        if bridge.get("version") not in (None, "", patient.health and patient.health.get("version")):
            notes.note(
                "version",
                f"the bridge {bridge['name']!r} is Baton {bridge['version']}, another one than the server",
                why="an update counts from its next start on; its runs end with that",
                cure="baton --version",
            )
    for bridge in gone:
        notes.note(
            "connected",
            f"the bridge {bridge['name']!r} has gone (last seen {bridge.get('lastSeenAt')})",
            why="its runs wait for it, and so do the conversations that began there",
            cure=_start(patient, f" --name {quote(str(bridge['name']))}"),
        )
    return notes.findings


def _tell_none(notes: Notes, patient: Patient) -> None:
    notes.problem(
        "connected",
        "No bridge service connected",
        why="messages wait in their queue, and fail with dispatch_timeout",
        cure=_start(patient),
    )


def _start(patient: Patient, options: str = "") -> str:
    return f"baton bridge --backend {quote(patient.url)}{options}"


def _agents(notes: Notes, agents: Sequence[Mapping[str, Any]], *, where: str = "") -> None:
    """A problem only where nothing but the scripted agent can work, and not where only that was asked for."""
    can_work = [str(agent["id"]) for agent in agents if agent.get("available")]
    cannot = {
        str(agent["id"]): str(agent.get("reason") or "no reason given") for agent in agents if not agent["available"]
    }
    if can_work:
        notes.ok("agents", ", ".join(dict.fromkeys(can_work)) + where)
    has_real = any(name != _SCRIPTED for name in can_work)
    for name, reason in cannot.items():
        tell = notes.note if has_real else notes.problem
        tell(
            "agents",
            f"{name} is not available: {reason}",
            why="conversations with it fail" + ("" if has_real else ", and no other model is there"),
            cure=_agent_cure(name, reason),
        )


def _agent_cure(name: str, reason: str) -> str:
    if reason.startswith(INSTALL_CURE):
        return "pip install 'baton-agents[claude]'"
    if reason.startswith(LOGIN_CURE):
        return "claude setup-token"
    return f"baton bridge --debug --agent {quote(name)}"


async def check_agents_here(patient: Patient) -> list[Finding]:
    """Ask the agents themselves, where no server and no bridge can tell. Starts none of them but for their offer."""
    notes = Notes(Area.BRIDGE)
    folder = str(patient.settings.workspaces[0])
    options = AgentOptions(environment=patient.settings.agent_environment, default_working_directory=folder)
    agents = load_agents(patient.settings.agents or None, options, patient.settings.agent_settings)
    try:
        offers = await Offers(agents.values(), timeout_s=_OFFER_S).refresh()
    finally:
        await asyncio.gather(*(agent.close() for agent in agents.values()))
    said = [{"id": offer.id, "available": offer.available, "reason": offer.reason} for offer in offers]
    _agents(notes, said, where=" (asked here, because no server tells)")
    return notes.findings


async def check_page(patient: Patient) -> list[Finding]:
    """The health page of the bridge on this machine, where there is one."""
    notes = Notes(Area.BRIDGE)
    url = patient.page_url
    if url is None:
        notes.skipped("page", "the settings name no port of a bridge's page")
        return notes.findings
    try:
        reply = await patient.ask("/health", url=url)
    except Unavailable as error:
        notes.note("page", f"no bridge's page at {url}/health ({error.message}): none runs here, or on another port")
        return notes.findings
    said = reply.said
    if "link" not in said or "spool" not in said:
        port = patient.settings.bridge_port or 8080
        notes.note(
            "page",
            f"what answers at {url} is no bridge's page",
            why="another program has the port, and a bridge of yours does not start there",
            cure=f"baton bridge --port {port + 1 if port < 65535 else 8080}",
        )
        return notes.findings
    _link(notes, patient, url, said)
    _spool(notes, patient, said)
    if patient.health is None:
        _agents(notes, said["agents"])
    return notes.findings


def _link(notes: Notes, patient: Patient, url: str, said: Mapping[str, Any]) -> None:
    link = said["link"]
    if link.get("state") == "connected":
        notes.ok("page", f"{url}/health: {said.get('name')!r} is connected to {link.get('server')}")
        return
    name = str(said.get("name"))
    is_refused = link.get("code") == _REFUSED_CODE
    notes.problem(
        "page",
        f"the bridge {name!r} has no link to {link.get('server')}: {link.get('reason') or link.get('state')}",
        why="what its agents say waits on this machine until there is one",
        cure=f"baton token create --role bridge --name {quote(name)}"
        if is_refused
        else f"baton doctor --url {quote(str(link.get('server')))}",
    )


def _spool(notes: Notes, patient: Patient, said: Mapping[str, Any]) -> None:
    held, most = int(said["spool"].get("bytes") or 0), int(said["spool"].get("maxBytes") or 0)
    if most and held >= _SPOOL_HIGH * most:
        notes.problem(
            "spool",
            f"{held} of {most} bytes wait in the spool for the server",
            why="when it is full, runs that say more fail with spool_full",
            cure=f"baton bridge --spool-max-bytes {2 * most}",
        )
    elif most:
        notes.ok("spool", f"{held} of {most} bytes")
    elsewhere = int((said.get("runs") or {}).get("elsewhere") or 0)
    if elsewhere:
        folder = spool_path(patient.bridge.data, str(said.get("name")))
        notes.note(
            "spool",
            f"{elsewhere} runs wait for a server with another database",
            why="they are delivered when the bridge meets that one again, and take room until then",
            cure=f"du -sh {quote(str(folder))}",
        )
