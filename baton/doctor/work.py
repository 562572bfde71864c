"""What is stored and what is under way: the probe of the database, sessions, runs that do not move, open prompts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from shlex import quote
from typing import Any, Final

from baton.core.errors import BatonError, Unavailable
from baton.doctor.findings import Area, Finding, Notes
from baton.doctor.patient import Patient

_PROBE_S: Final = 8.0
"""The server waits up to ten seconds for a bridge that does not answer; to know that it is slow, this is enough."""
_SLOW_MS: Final = 250.0
_LAG_MS: Final = 100.0
_PATIENCE: Final = timedelta(minutes=10)
"""How long a prompt waits before it is told of."""
_SHOWN: Final = 5
"""Of many alike so many are told one by one."""


# --- messages ----------------------------------------------------------------------------------------------------


async def check_messages(patient: Patient) -> list[Finding]:
    """One durable write and one read, made by the server now; the migrations; what has failed before."""
    notes = Notes(Area.MESSAGES)
    await _probe(notes, patient)
    stats = (await patient.ask("/api/stats")).said
    failed = int((stats.get("messages") or {}).get("failed") or 0)
    if failed:
        notes.note(
            "failed messages",
            f"{failed} messages have failed since the beginning",
            why="their text up to there is kept; their runs can be retried",
            cure=asking(patient, "/api/stats"),
        )
    return notes.findings


async def _probe(notes: Notes, patient: Patient) -> None:
    try:
        reply = await patient.ask("/api/chat/test-latency", "POST", timeout_s=_PROBE_S)
    except Unavailable as error:
        _tell_unstored(notes, error.message)
        return
    if reply.status != 200:
        _tell_unstored(notes, _text_of(reply.said) or f"status {reply.status}")
        return
    write_ms, read_ms = float(reply.said["storeWriteMs"]), float(reply.said["storeReadMs"])
    told = f"a durable write takes {write_ms:.1f} ms, a read {read_ms:.1f} ms"
    if max(write_ms, read_ms) > _SLOW_MS:
        notes.problem(
            "database",
            told,
            why="everything is stored before it is shown: so late is all that people see",
            cure="baton db check",
        )
    else:
        notes.ok("database", told)
    lag_ms = float(reply.said["loopLagMs"])
    if lag_ms > _LAG_MS:
        notes.note("event loop", f"the server's event loop is {lag_ms:.0f} ms late", why="it has too much to do")


def _tell_unstored(notes: Notes, reason: str) -> None:
    notes.problem(
        "database",
        f"the server could not write and read its database: {reason}",
        why="nothing is stored, so no message is taken",
        cure="baton db check",
    )


async def check_migrations(patient: Patient) -> list[Finding]:
    """What `baton db migrate` would do; looked at from here, so only where the database is this machine's."""
    from baton.clock import SystemClock
    from baton.database import bring_up_to_date

    notes = Notes(Area.MESSAGES)
    path = patient.settings.sqlite_path
    if path is not None and not path.exists():
        notes.note("migrations", f"there is no database {path} yet: the first start makes it")
        return notes.findings
    try:
        names = await bring_up_to_date(patient.settings, SystemClock(), dry_run=True)
    except BatonError as error:
        notes.problem(
            "migrations",
            error.message,
            why="a server cannot use the database like that",
            cure="baton db check",
        )
        return notes.findings
    if names:
        notes.problem(
            "migrations",
            f"the database has not had {', '.join(names)}",
            why="a server on MongoDB does not start before it has",
            cure="baton db migrate",
        )
    else:
        notes.ok("migrations", f"{patient.settings.store_label} is up to date")
    return notes.findings


# --- sessions ----------------------------------------------------------------------------------------------------


async def check_sessions(patient: Patient) -> list[Finding]:
    """Of the conversations used last: sessions that two of them share, and bridges that hold one and are gone."""
    notes = Notes(Area.SESSIONS)
    conversations = _list(await patient.ask("/api/chat/conversations?limit=200"), "conversations")
    bridges = _list(await patient.ask("/api/bridges"), "bridges")
    here = {bridge["id"] for bridge in bridges if bridge.get("connected")}
    by_session: dict[str, list[str]] = {}
    for conversation in conversations:
        if conversation.get("claudeSessionId"):
            by_session.setdefault(str(conversation["claudeSessionId"]), []).append(str(conversation["id"]))
    for session, sharers in by_session.items():
        if len(sharers) > 1:
            notes.problem(
                "shared session",
                f"the conversations {', '.join(sharers)} share the session {session}",
                why="each would hear what was said in the other",
                cure=asking(patient, f"/api/chat/conversations/{sharers[0]}/session", "DELETE"),
            )
    away = [item for item in conversations if item.get("bridgeId") and item["bridgeId"] not in here]
    for bridge_id in dict.fromkeys(str(item["bridgeId"]) for item in away):
        held = [item for item in away if item["bridgeId"] == bridge_id]
        waits = [item for item in held if item.get("state") in ("queued", "running", "awaiting_input")]
        tell = notes.problem if waits else notes.note
        tell(
            "bridge of a session",
            f"{len(held)} conversations have their session on the bridge {bridge_id}, which is not connected",
            why=f"their messages wait for it ({len(waits)} do now)",
            cure=f"baton bridge --backend {quote(patient.url)}",
        )
    notes.ok("sessions", f"{len(by_session)} of the newest {len(conversations)} conversations have one")
    return notes.findings


# --- streaming ---------------------------------------------------------------------------------------------------


async def check_runs(patient: Patient) -> list[Finding]:
    """Runs that have not ended: those that are away, silent, or wait for long."""
    notes = Notes(Area.STREAMING)
    runs = _list(await patient.ask("/api/chat/runs?status=active"), "runs")
    troubled = [(run, trouble) for run in runs if (trouble := _trouble(run, patient)) is not None]
    for run, (what, why) in troubled[:_SHOWN]:
        cure = (
            f"baton bridge --backend {quote(patient.url)}"
            if run.get("away")
            else asking(patient, f"/api/chat/runs/{run['requestId']}/abort", "POST")
        )
        notes.problem("runs", f"the run {run['requestId']} {what}", why=why, cure=cure)
    if len(troubled) > _SHOWN:
        notes.problem(
            "runs",
            f"{len(troubled) - _SHOWN} further runs are like that",
            why="all of them can be ended at once",
            cure=asking(patient, "/api/chat/conversations/reset-active", "POST"),
        )
    if not troubled:
        notes.ok("runs", f"{len(runs)} under way, none of them stuck or away")
    return notes.findings


def _trouble(run: Mapping[str, Any], patient: Patient) -> tuple[str, str] | None:
    """What is wrong with it, and why that matters; None: nothing."""
    limits = patient.settings.limits
    if run.get("away"):
        return f"is away: its bridge {run.get('bridgeId')} is not connected", "it goes on there, and is not seen here"
    if run.get("status") == "queued":
        if _age(run.get("queuedAt")) > timedelta(seconds=limits.queue_timeout_s):
            return "waits in its queue for long", "the queue is paused, or no bridge may take it"
        return None
    if run.get("status") == "awaiting_input":
        return None  # told of with the prompts
    if run.get("deadlineAt") is not None:
        return (
            f"is stuck: nothing came from its agent, and it ends at {run['deadlineAt']}",
            str(run.get("deadlineReason") or "its agent waits for nothing that is known"),
        )
    return None


# --- permissions -------------------------------------------------------------------------------------------------


async def check_prompts(patient: Patient) -> list[Finding]:
    """Questions that wait for long, and what has timed out before."""
    notes = Notes(Area.PERMISSIONS)
    prompts = _list(await patient.ask("/api/chat/prompts?status=pending"), "prompts")
    long = [prompt for prompt in prompts if _age(prompt.get("createdAt")) > _PATIENCE]
    for prompt in long[:_SHOWN]:
        minutes = _age(prompt.get("createdAt")).total_seconds() / 60
        notes.problem(
            "prompts",
            f"the prompt {prompt['id']} in {prompt['conversationId']} waits for {minutes:.0f} minutes",
            why=f"its run does nothing until somebody answers (it ends at {prompt.get('timeoutAt') or 'no time'})",
            cure=asking(patient, f"/api/chat/prompts/{prompt['id']}"),
        )
    if len(long) > _SHOWN:
        notes.problem(
            "prompts",
            f"{len(long) - _SHOWN} further prompts wait as long",
            why="all of them can be ended at once, with their runs",
            cure=asking(patient, "/api/chat/conversations/reset-active", "POST"),
        )
    if not long:
        notes.ok("prompts", f"{len(prompts)} wait, none for longer than {_PATIENCE.seconds // 60} minutes")
    counted = ((await patient.ask("/api/stats")).said.get("prompts") or {}).get("timeout")
    if counted:
        notes.note(
            "timeouts",
            f"{counted} prompts have ended without an answer since the beginning",
            why="their runs have failed; BATON_PROMPT_TIMEOUT_S says how long one waits",
            cure=asking(patient, "/api/chat/prompts?status=timeout"),
        )
    return notes.findings


# --- shared ------------------------------------------------------------------------------------------------------


def asking(patient: Patient, path: str, method: str = "GET") -> str:
    """The request as a command. The token is fetched by the shell that runs it, so it stands nowhere."""
    header = '-H "Authorization: Bearer $(baton token show)" ' if patient.settings.auth else ""
    verb = "" if method == "GET" else f"-X {method} "
    return f"curl -fsS {header}{verb}{quote(patient.url + path)}"


def _list(reply: Any, name: str) -> Sequence[Mapping[str, Any]]:
    if reply.status != 200:
        raise Unavailable(_text_of(reply.said) or f"status {reply.status}")
    found: Sequence[Mapping[str, Any]] = reply.said[name]
    return found


def _text_of(said: Mapping[str, Any]) -> str | None:
    error = said.get("error")
    return str(error.get("message")) if isinstance(error, dict) else None


def _age(at: object) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(str(at)) if at else timedelta()
