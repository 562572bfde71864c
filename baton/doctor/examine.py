"""The whole examination, bounded in time: what does not depend on each other is looked at together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from baton import __version__
from baton.bridge_settings import BridgeSettings
from baton.core.errors import BatonError
from baton.doctor.bridges import check_agents_here, check_bridges, check_page
from baton.doctor.findings import Area, Finding, Notes, Report, in_order
from baton.doctor.machine import check_machine
from baton.doctor.patient import Patient, open_patient
from baton.doctor.redaction import Redactor
from baton.doctor.server import check_address, check_server
from baton.doctor.sockets import check_sockets
from baton.doctor.work import check_messages, check_migrations, check_prompts, check_runs, check_sessions
from baton.settings import Settings

CHECK_S: Final = 9.0
"""How long one check may take. At most one stands before all others, /health, which has `patient.ASK_S`."""

Check: TypeAlias = Callable[[Patient], Awaitable[list[Finding]]]

_OF_A_SERVER: Final[Sequence[tuple[Area, Check]]] = (
    (Area.SERVER, check_server),
    (Area.BRIDGE, check_bridges),
    (Area.MESSAGES, check_messages),
    (Area.WEBSOCKET, check_sockets),
    (Area.SESSIONS, check_sessions),
    (Area.STREAMING, check_runs),
    (Area.PERMISSIONS, check_prompts),
)


async def examine(
    settings: Settings, bridge: BridgeSettings, *, url: str | None = None, wrong_settings: Sequence[str] = ()
) -> Report:
    """Look at everything that can be looked at; at most 14 s. Raises nothing of what it meets."""
    async with open_patient(settings, bridge, url) as patient:
        found = _settings_findings(wrong_settings)
        found += await _within(Area.SERVER, check_address, patient)
        checks: list[tuple[Area, Check]] = [(Area.SETUP, _machine), (Area.BRIDGE, check_page)]
        if patient.is_here:
            checks.append((Area.MESSAGES, check_migrations))
        if patient.health is not None:
            checks += _OF_A_SERVER
        else:
            found += _not_looked_at()
            checks += [(Area.BRIDGE, check_agents_here)] if patient.is_here else []
        for findings in await asyncio.gather(*(_within(area, check, patient) for area, check in checks)):
            found += findings
        hide = Redactor((patient.token, settings.admin_token, settings.bridge_token, bridge.token))
        return Report(url=patient.url, version=__version__, findings=hide.findings(in_order(found)))


async def _machine(patient: Patient) -> list[Finding]:
    return await asyncio.to_thread(check_machine, patient)


async def _within(area: Area, check: Check, patient: Patient) -> list[Finding]:
    """One check's findings; that it took too long, or could not understand what it was told, is one too."""
    notes = Notes(area)
    name = check.__name__.removeprefix("check_").removeprefix("_").replace("_", " ")
    try:
        async with asyncio.timeout(CHECK_S):
            return await check(patient)
    except TimeoutError:
        reason = f"it took longer than {CHECK_S:g} s"
    except BatonError as error:
        reason = error.message
    # A server of another version, or something before it, may answer anything; the other checks go on.
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"the server said something that this version does not understand ({type(error).__name__})"
    if area is Area.SERVER:
        notes.problem(name, reason, why="the server does not answer as it should", cure="baton --version")
    else:
        notes.skipped(name, f"could not be looked at: {reason}")
    return notes.findings


def _settings_findings(wrong: Sequence[str]) -> list[Finding]:
    notes = Notes(Area.SETUP)
    for line in wrong:
        name = line.partition("=")[0].partition(":")[0].partition(" ")[0]
        notes.problem(
            "settings",
            line,
            why="a server does not start with it; what follows was looked at with the defaults",
            cure="baton serve --help" if not name.isidentifier() else f"unset {name}",
        )
    if not wrong:
        notes.ok("settings", "all can be read")
    return notes.findings


def _not_looked_at() -> list[Finding]:
    areas = (Area.WEBSOCKET, Area.SESSIONS, Area.STREAMING, Area.PERMISSIONS)
    notes = [Notes(area) for area in areas]
    for note in notes:
        note.skipped("all", "can be looked at only while a server runs")
    return [finding for note in notes for finding in note.findings]
