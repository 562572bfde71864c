"""The server itself: is it there, is it a Baton, of this version, well, and does it take this machine's token?"""

import asyncio
from collections.abc import Mapping
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

from baton import __version__
from baton.core.errors import Unavailable
from baton.doctor.findings import Area, Finding, Notes
from baton.doctor.machine import is_taken
from baton.doctor.patient import Patient


async def check_address(patient: Patient) -> list[Finding]:
    """Find the server, and note its /health in the patient; without one, say how to start it."""
    notes = Notes(Area.SERVER)
    if not urlsplit(patient.url).port and patient.is_here and patient.settings.port == 0:
        notes.skipped("address", "PORT=0 takes a free port: name the server with --url")
        return notes.findings
    try:
        reply = await patient.ask("/health")
    except Unavailable as error:
        await _tell_absent(notes, patient, error.message)
        return notes.findings
    if reply.status == 403:
        notes.problem(
            "address",
            f"the server refuses requests for {patient.url} (403): that is not its address",
            why="people and bridges that use this address are refused too",
            cure=f"PUBLIC_URL={quote(patient.url)} baton serve",
        )
    elif "services" not in reply.said or "runs" not in reply.said:
        notes.problem(
            "address",
            f"what answers at {patient.url} is no Baton server",
            why="the server's port is taken by another program",
            cure=f"baton serve --port {_other(patient.settings.port)}",
        )
    else:
        patient.health = reply.said
        notes.ok("address", f"{patient.url} answers")
    return notes.findings


async def _tell_absent(notes: Notes, patient: Patient, reason: str) -> None:
    if not patient.is_here:
        notes.problem(
            "address",
            f"nobody answers at {patient.url} ({reason})",
            why="nothing of Baton works without its server",
            cure=f"curl -v {quote(patient.url + '/health/live')}",
        )
    elif await asyncio.to_thread(is_taken, patient.settings.port):
        notes.problem(
            "address",
            f"something listens on port {patient.settings.port}, and does not answer ({reason})",
            why="a server that hangs, or another program, has the port",
            cure=f"baton serve --port {_other(patient.settings.port)}",
        )
    else:
        notes.problem(
            "address",
            f"no server is running at {patient.url} ({reason})",
            why="nothing of Baton works without it; what is stored is kept",
            cure="baton serve" if patient.settings.port == 3001 else f"baton serve --port {patient.settings.port}",
        )


def _other(port: int) -> int:
    return port + 1 if port < 65535 else 3001


async def check_server(patient: Patient) -> list[Finding]:
    """Its health, its version, this machine's token, and the names and pages that it lets in."""
    assert patient.health is not None, "asked once it has answered"
    notes = Notes(Area.SERVER)
    _health(notes, patient, patient.health)
    if patient.health.get("version") != __version__:
        notes.problem(
            "version",
            f"the server is Baton {patient.health.get('version')}, this command {__version__}",
            why="an update counts from the next start of the server on: stop it, then start it again",
            cure="baton serve" if patient.is_here else "docker compose up --detach --build",
        )
    await _token(notes, patient)
    await _names(notes, patient)
    return notes.findings


def _health(notes: Notes, patient: Patient, health: Mapping[str, Any]) -> None:
    services = health["services"]
    if health.get("status") != "down":
        notes.ok("health", f"{health.get('status')}, up for {float(health.get('uptimeS', 0)):.0f} s")
    elif services.get("store") != "ok":
        notes.problem(
            "health",
            "the server is down: its database does not work",
            why="nothing is stored, so nothing is taken or shown",
            cure="baton db check",
        )
    else:
        notes.problem(
            "health",
            "the server is down: it starts, stops, or waits for another server to leave the database",
            why="one database has one server at a time; this one takes over when the other has gone",
            cure="ps auxww | grep '[b]aton serve'",
        )
    if services.get("jobs") != "ok":
        notes.problem(
            "jobs",
            f"a job of the server does not work: {services.get('jobs')}",
            why="deadlines, clean-up and delivery depend on the jobs; the log tells which error",
            cure=f"curl -fsS {quote(patient.url + '/health')}",
        )


async def _token(notes: Notes, patient: Patient) -> None:
    reply = await patient.ask("/api/me")
    if reply.status == 200:
        role = reply.said.get("role")
        notes.ok("token", f"this machine's token is good, role {role}" if patient.token else "none is needed here")
        return
    if patient.token_trouble is not None:
        what = patient.token_trouble
    elif patient.token is None:
        what = f"there is no token of this server's in {patient.settings.data}"
    else:
        what = f"the server refuses the token of {patient.settings.data} ({reply.status}): it has another data folder"
    notes.problem(
        "token",
        what,
        why="without the server's token nothing else can be looked at; it is in the server's own data folder",
        cure="docker compose exec backend baton doctor" if patient.token_trouble is None else "baton token show",
    )


async def _names(notes: Notes, patient: Patient) -> None:
    """That the server takes the address that people use, and the page that may connect."""
    settings = patient.settings
    if not patient.is_here:
        return
    if settings.public_url is not None:
        reply = await patient.ask("/health/live", headers={"Host": urlsplit(settings.public_url).netloc})
        if reply.status == 403:
            notes.problem(
                "host",
                f"the running server refuses requests for {settings.public_url}",
                why="it was started with another PUBLIC_URL, so people are refused",
                cure=f"PUBLIC_URL={quote(settings.public_url)} baton serve",
            )
        else:
            notes.ok("host", f"requests for {settings.public_url} are taken")
    reply = await patient.ask("/health/live", headers={"Origin": settings.client_url})
    if reply.status == 403:
        notes.problem(
            "origin",
            f"the running server refuses pages of {settings.client_url} (cors)",
            why="it was started with another CLIENT_URL: a page served there cannot connect",
            cure=f"CLIENT_URL={quote(settings.client_url)} baton serve",
        )
    else:
        notes.ok("origin", f"pages of {settings.client_url} may connect (cors)")
