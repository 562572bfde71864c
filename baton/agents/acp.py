"""Any agent that speaks the Agent Client Protocol, named `acp:<name>` and started by a command from the settings.

Needs the extra `acp` (agent-client-protocol). It is imported when first used, so that this module can be, and the
agent can say what is missing, where it is not installed. See docs/acp.md.
"""

import asyncio
import logging
import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from baton.agents.idle import IdleSessions
from baton.agents.options import AgentOptions
from baton.core.errors import AgentFailed, ConfigError
from baton.core.frames import AgentOffer, Execute, RunResult
from baton.core.ids import RequestId
from baton.core.models import PermissionMode, Usage
from baton.core.ports import Turn
from baton.core.stream import Notice, SessionUpdated
from baton.core.text import Json, clean_json

if TYPE_CHECKING:
    from acp import schema

    from baton.agents.acp_session import AcpSession, SessionPlan, TurnEnd

logger = logging.getLogger(__name__)

IDLE_S: Final = 300.0
"""How long a process is kept for a session's next message."""
MAX_IDLE: Final = 4
START_TIMEOUT_S: Final = 60.0
"""From the start of the process until the session is ready; one that is fetched first may take long."""
PROBE_TIMEOUT_S: Final = 6.0
"""The same where it is only asked whether it is logged in by now; the port allows 10 s, and its end takes some."""
_MODES: Final = ("default", "plan")
_INSTALL_CURE: Final = "ACP agents need agent-client-protocol: pip install 'baton-agents[acp]'"
_OUTCOMES: Final = {"max_tokens": "max_tokens", "refusal": "refused"}
_NOTICES: Final = {
    "max_turn_requests": "The agent stopped because it may ask its model no more often in one turn",
    "cancelled": "The agent stopped by itself",
}


class AcpAgent:
    """Runs turns of one ACP agent, one process per session, kept for a while for the next message.

    Settings: `command` (needed; as a shell would split it), `title`, `model` (where a run names none), `idle_s`,
    `start_timeout_s`.
    """

    id = "acp"

    def __init__(self, options: AgentOptions) -> None:
        settings = options.settings
        self._options = options
        self._command = _command(settings)
        self.title = settings.get("title") or settings.get("name", "acp").removeprefix("acp:")
        self._start_timeout_s = _seconds(settings, "start_timeout_s", START_TIMEOUT_S)
        self._waiting: IdleSessions[AcpSession] = IdleSessions(
            idle_s=_seconds(settings, "idle_s", IDLE_S), most=MAX_IDLE, sleep=options.sleep
        )
        self._working: set[AcpSession] = set()
        self._runs: dict[RequestId, AcpSession] = {}
        self._needs_login: str | None = None
        """What the agent said when it last wanted a login."""
        self._known: AcpSession | None = None
        """The session that was used last: what it says of commands and models is offered."""
        self._is_closed = False

    # --- the port ----------------------------------------------------------------------------------------------

    async def offer(self) -> AgentOffer:
        """Available where its program is found; one that wanted a login is started to see whether it still does."""
        reason = await asyncio.to_thread(self._obstacle)
        if reason is None and self._needs_login is not None:
            await self._probe()
            reason = self._needs_login
        models = self._known.models if self._known is not None else None
        return AgentOffer(
            id=self.id,
            title=self.title,
            available=reason is None,
            reason=reason,
            models=tuple(value for value, _ in models.values) if models is not None else (),
            modes=_MODES,
        )

    async def run(self, task: Execute, turn: Turn) -> RunResult:
        """One turn. Raises AgentFailed with agent_failed, agent_missing or agent_not_logged_in."""
        from baton.agents.acp_content import content_of

        began = time.monotonic()
        files = [(item, await turn.read_attachment(item)) for item in task.attachments]
        try:
            session = await self._session_for(task, turn)
            self._runs[task.request_id] = session
            try:
                ended = await session.turn(content_of(task.message, files, session.takes), turn)
            finally:
                del self._runs[task.request_id]
                await self._keep_or_close(session)
        except AgentFailed as failed:
            if failed.code == "agent_not_logged_in":
                self._needs_login = failed.message
            raise
        return replace(_result(session, ended, turn), duration_ms=round((time.monotonic() - began) * 1000), num_turns=1)

    async def set_mode(self, request_id: RequestId, mode: PermissionMode) -> None:
        """The run goes on in this mode: in `plan` the agent plans, if it can; otherwise it asks. Raises AgentFailed."""
        session = self._runs.get(request_id)
        if session is not None:
            await session.use(None, mode)

    async def commands(self, working_directory: str | None) -> Json:
        """Slash commands and models, as a session last told them; empty before the first run."""
        if self._known is None:
            return {"commands": [], "models": []}
        models = self._known.models
        return clean_json(
            {
                "commands": [_command_json(command) for command in self._known.commands],
                "models": [{"id": value, "title": title} for value, title in models.values] if models else [],
            }
        )

    async def close(self) -> None:
        """End every process, working or waiting. At most 5 s."""
        self._is_closed = True
        await asyncio.gather(self._waiting.close(), *(session.close() for session in self._working))

    # --- what it needs -----------------------------------------------------------------------------------------

    def _obstacle(self) -> str | None:
        if find_spec("acp") is None:
            return _INSTALL_CURE
        from baton.agents.acp_process import find_program

        if find_program(self._command[0], self._options.environment) is None:
            return f"The program {self._command[0]!r} is not installed here"
        return None

    async def _probe(self) -> None:
        """Start a session, say nothing, end it: forget the login that was needed where it is needed no more."""
        from baton.agents.acp_session import AcpSession, SessionPlan

        plan = SessionPlan(command=self._command, folder=self._options.default_working_directory)
        session = AcpSession(plan, self._options.environment, self.title)
        self._working.add(session)
        try:
            await session.open(PROBE_TIMEOUT_S)
            self._needs_login = None
        except AgentFailed as failed:
            if failed.code == "agent_not_logged_in":
                self._needs_login = failed.message
        finally:
            await self._end(session)

    # --- sessions ----------------------------------------------------------------------------------------------

    async def _session_for(self, task: Execute, turn: Turn) -> "AcpSession":
        """The process that goes on with this session, or a new one; it counts as working from here on."""
        obstacle = await asyncio.to_thread(self._obstacle)
        if obstacle is not None:
            raise AgentFailed(obstacle, code="agent_missing")
        from baton.agents.acp_session import SessionUnknown

        plan = self._plan(task)
        session = await self._take_waiting(task, plan)
        if session is None:
            try:
                session = await self._open(plan)
            except SessionUnknown as unknown:
                logger.warning("an ACP session is lost", extra={"action": "acp.session_lost"})
                turn.emit(Notice(level="warning", text=_context_lost(unknown)))
                session = await self._open(replace(plan, resume=None, fork=False))
        self._known = session
        if session.session_id != task.session_id:
            turn.emit(SessionUpdated(session_id=session.session_id))
        return session

    def _plan(self, task: Execute) -> "SessionPlan":
        from baton.agents.acp_session import SessionPlan

        folder = task.working_directory or self._options.default_working_directory
        if not Path(folder).is_dir():
            raise AgentFailed(f"The folder {folder} is not there, or is no folder")
        return SessionPlan(
            command=self._command,
            folder=folder,
            resume=task.session_id,
            fork=task.fork and task.session_id is not None,
            model=task.model or self._options.settings.get("model"),
            mode=task.permission_mode,
        )

    async def _take_waiting(self, task: Execute, plan: "SessionPlan") -> "AcpSession | None":
        """The process that waits for this session, made ready for this turn; one that does not fit is ended."""
        if task.session_id is None or plan.fork:
            return None
        session = await self._waiting.take(task.session_id)
        if session is None:
            return None
        self._working.add(session)
        try:
            if session.is_alive and session.plan.folder == plan.folder:
                await session.use(plan.model, plan.mode)
                return session
        except BaseException:
            await self._end(session)
            raise
        await self._end(session)
        return None

    async def _open(self, plan: "SessionPlan") -> "AcpSession":
        from baton.agents.acp_session import AcpSession

        if self._is_closed:
            raise AgentFailed("The bridge is shutting down", code="bridge_lost", retryable=True)
        session = AcpSession(plan, self._options.environment, self.title)
        self._working.add(session)
        try:
            await session.open(self._start_timeout_s)
        except BaseException:
            await self._end(session)
            raise
        self.title = self._options.settings.get("title") or session.title
        self._needs_login = None
        return session

    async def _keep_or_close(self, session: "AcpSession") -> None:
        """After a turn: wait for the next one, for a while, or end a process that cannot take one."""
        if not session.is_alive or self._is_closed:
            await self._end(session)
            return
        self._working.discard(session)
        await self._waiting.keep(session)

    async def _end(self, session: "AcpSession") -> None:
        try:
            await session.close()
        finally:
            self._working.discard(session)


def _result(session: "AcpSession", ended: "TurnEnd", turn: Turn) -> RunResult:
    reason = ended.response.stop_reason
    notice = None if ended.was_stopped else _NOTICES.get(reason)
    if notice is not None:
        turn.emit(Notice(level="info", text=notice))
    return RunResult(
        outcome=_OUTCOMES.get(reason, "completed"),
        session_id=session.session_id,
        usage=_usage(ended.response.usage),
        cost_usd=ended.cost_usd,
    )


def _usage(usage: "schema.Usage | None") -> Usage:
    if usage is None:
        return Usage()
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens + (usage.thought_tokens or 0),
        cache_read_tokens=usage.cached_read_tokens or 0,
        cache_write_tokens=usage.cached_write_tokens or 0,
    )


def _command_json(command: "schema.AvailableCommand") -> dict[str, str | None]:
    hint = command.input.root.hint if command.input is not None else None
    return {"name": command.name, "description": command.description, "argumentHint": hint}


def _context_lost(unknown: AgentFailed) -> str:
    return (
        f"The agent starts a new session and does not know what was said before: {unknown.message}. "
        "What is shown here is kept."
    )


def _command(settings: Mapping[str, str]) -> tuple[str, ...]:
    text, name = settings.get("command", ""), settings.get("name", "acp:<name>")
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigError(f"The command of {name} cannot be read ({error}): {text}") from error
    if not words:
        raise ConfigError(f"No command is set for the agent {name}: BATON_ACP={name.removeprefix('acp:')}=COMMAND")
    return words


def _seconds(settings: Mapping[str, str], name: str, default: float) -> float:
    text = settings.get(name)
    try:
        seconds = float(text) if text is not None else default
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"{settings.get('name', 'acp')}: {name} is {text!r}; accepted: seconds, 0 or more")
    return seconds
