"""Claude Code as an agent: which process serves which session, for how long, and what a turn came to.

Needs the extra `claude` (claude-agent-sdk, which brings Claude Code's program). It is imported when first used, so
that this module can be, and the agent can say what is missing, where it is not installed. See docs/agents.md.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from baton.agents.claude_content import content_of
from baton.agents.claude_environment import (
    INSTALL_CURE,
    LOGIN_CURE,
    find_program,
    is_logged_in,
    is_sdk_installed,
)
from baton.agents.claude_history import list_sessions, read_session
from baton.agents.idle import IdleSessions
from baton.agents.options import AgentOptions
from baton.core.errors import AgentFailed, ConfigError
from baton.core.frames import AgentOffer, Execute, RunResult
from baton.core.ids import RequestId
from baton.core.models import PermissionMode
from baton.core.ports import Turn
from baton.core.stream import Notice
from baton.core.text import Json, clean_json

if TYPE_CHECKING:
    from baton.agents.claude_events import Translation
    from baton.agents.claude_results import Costs
    from baton.agents.claude_session import ClaudeSession, CliMode, SessionPlan, TurnEnd

logger = logging.getLogger(__name__)

IDLE_S: Final = 300.0
"""How long a process is kept for a session's next message; it takes 170 to 280 MB."""
MAX_IDLE: Final = 4
"""Processes kept for later; the one that has waited longest goes first."""
_MODES: Final = ("default", "plan")
_CONTEXT_LOST: Final = (
    "Claude Code no longer has this conversation's session, so it starts a new one and does not know what was said "
    "before. What is shown here is kept."
)
_BACKGROUND_LOST: Final = "Claude Code was started anew; what it had left running in the background was ended."


class ClaudeAgent:
    """Runs turns of Claude Code, one process per session, kept for a while for the next message.

    Settings: `model` (where a run names none), `program` (another Claude Code than the SDK's own), `idle_s`,
    `trust_folders` ("1": the folder's own settings, hooks and CLAUDE.md are loaded too).
    """

    id = "claude"
    title = "Claude Code"

    def __init__(self, options: AgentOptions) -> None:
        self._options = options
        self._waiting: IdleSessions[ClaudeSession] = IdleSessions(
            idle_s=_seconds(options.settings, "idle_s", IDLE_S),
            most=MAX_IDLE,
            sleep=options.sleep,
            is_busy=lambda session: session.is_busy,
        )
        self._working: set[ClaudeSession] = set()
        self._runs: dict[RequestId, ClaudeSession] = {}
        """The processes of the runs that a message asked for."""
        self._costs: Costs | None = None
        self._info: dict[str, Mapping[str, Any]] = {}
        """What a process last said of itself, by its folder: commands and models."""
        self._asking = asyncio.Lock()
        self._is_closed = False

    # --- the port ----------------------------------------------------------------------------------------------

    async def offer(self) -> AgentOffer:
        """Available where program and login are found. Starts nothing."""
        reason = await asyncio.to_thread(self._obstacle)
        return AgentOffer(
            id=self.id,
            title=self.title,
            available=reason is None,
            reason=reason,
            models=tuple(dict.fromkeys(model["id"] for info in self._info.values() for model in _models_of(info))),
            modes=_MODES,
        )

    async def run(self, task: Execute, turn: Turn) -> RunResult:
        """One turn. Raises AgentFailed with agent_failed, agent_missing or agent_not_logged_in."""
        program = await asyncio.to_thread(self._program)
        content = content_of(task.message, [(item, await turn.read_attachment(item)) for item in task.attachments])
        session = await self._session_for(task, turn, program)
        session.on_background = lambda: turn.begin_background(partial(self._go_on, session))
        self._runs[task.request_id] = session
        try:
            translation = session.translation(task.session_id)
            return await self._result_of(session, turn, translation, session.turn(content, turn, translation))
        finally:
            del self._runs[task.request_id]
            await self._keep_or_close(session)

    async def set_mode(self, request_id: RequestId, mode: PermissionMode) -> None:
        """The run goes on in this mode: in `plan` the model only plans. Raises AgentFailed."""
        session = self._runs.get(request_id)
        if session is not None:
            await session.use_mode(_mode_of(mode))

    async def commands(self, working_directory: str | None) -> Json:
        """Slash commands and models, as a process in this folder told them; one is started to ask where none did.

        Raises AgentFailed.
        """
        folder = working_directory or self._options.default_working_directory
        info = await self._info_of(folder)
        commands = [
            {
                "name": command.get("name"),
                "description": command.get("description"),
                "argumentHint": command.get("argumentHint"),
            }
            for command in info.get("commands") or []
        ]
        return clean_json({"commands": commands, "models": _models_of(info)})

    async def list_sessions(self, working_directory: str, *, cursor: str | None, limit: int | None) -> Json:
        """As of `core.ports.KeepsSessions`; needs neither SDK nor program."""
        return await asyncio.to_thread(list_sessions, self._options.environment, working_directory, cursor, limit)

    async def read_session(
        self, working_directory: str, session_id: str, *, cursor: str | None, limit: int | None
    ) -> Json:
        """As of `core.ports.KeepsSessions`."""
        environment = self._options.environment
        return await asyncio.to_thread(read_session, environment, working_directory, session_id, cursor, limit)

    async def close(self) -> None:
        """End every process, working or waiting. At most 5 s."""
        self._is_closed = True
        await asyncio.gather(self._waiting.close(), *(session.close() for session in self._working))

    # --- what it needs -----------------------------------------------------------------------------------------

    def _obstacle(self) -> str | None:
        try:
            self._program()
        except AgentFailed as missing:
            return missing.message
        return None if is_logged_in(self._options.environment) else LOGIN_CURE

    def _program(self) -> str:
        if not is_sdk_installed():
            raise AgentFailed(INSTALL_CURE, code="agent_missing")
        named = self._options.settings.get("program")
        program = find_program(self._options.environment, named)
        if program is None:
            raise AgentFailed(f"{named} cannot be started" if named else INSTALL_CURE, code="agent_missing")
        return program

    async def _info_of(self, folder: str) -> Mapping[str, Any]:
        async with self._asking:
            if folder not in self._info:
                program = await asyncio.to_thread(self._program)
                await self._end(await self._open(self._new_plan(folder), program))
            return self._info[folder]

    # --- sessions ----------------------------------------------------------------------------------------------

    async def _session_for(self, task: Execute, turn: Turn, program: str) -> "ClaudeSession":
        """The process that goes on with this session, or a new one; it counts as working from here on."""
        from baton.agents.claude_failures import SessionUnknown

        plan = self._plan(task)
        kept = await self._take_waiting(plan, turn)
        if kept is not None:
            return kept
        try:
            return await self._open(plan, program)
        except SessionUnknown:
            turn.emit(Notice(level="warning", text=_CONTEXT_LOST))
            return await self._open(replace(plan, resume=None, fork=False, session_id=str(uuid.uuid4())), program)

    def _plan(self, task: Execute) -> "SessionPlan":
        plan = self._new_plan(task.working_directory or self._options.default_working_directory)
        forks = task.fork and task.session_id is not None
        return replace(
            plan,
            session_id=task.session_id if task.session_id is not None and not forks else plan.session_id,
            resume=task.session_id,
            fork=forks,
            model=task.model or plan.model,
            mode=_mode_of(task.permission_mode),
        )

    def _new_plan(self, folder: str) -> "SessionPlan":
        """For a session that is not there yet."""
        from baton.agents.claude_session import SessionPlan

        if not Path(folder).is_dir():
            raise AgentFailed(f"The folder {folder} is not there, or is no folder")
        model = self._options.settings.get("model")
        return SessionPlan(session_id=str(uuid.uuid4()), working_directory=folder, model=model)

    async def _take_waiting(self, plan: "SessionPlan", turn: Turn) -> "ClaudeSession | None":
        """The process that waits for this session, made ready for this turn; one that does not fit is ended."""
        session = await self._waiting.take(plan.session_id)
        if session is None:
            return None
        self._working.add(session)
        try:
            if session.is_alive and _fits(session.plan, plan):
                await session.use_model(plan.model)
                await session.use_mode(plan.mode)
                return session
        except AgentFailed:
            logger.warning("claude is replaced", extra={"action": "claude.replaced", "sessionId": plan.session_id})
        except BaseException:
            await self._end(session)
            raise
        await self._end(session)
        if session.background_tasks:
            turn.emit(Notice(level="warning", text=_BACKGROUND_LOST))
        return None

    async def _open(self, plan: "SessionPlan", program: str) -> "ClaudeSession":
        from baton.agents.claude_session import ClaudeSession

        if self._is_closed:
            raise AgentFailed("The bridge is shutting down", code="bridge_lost", retryable=True)
        trusted = self._options.settings.get("trust_folders", "").lower() in ("1", "true", "yes", "on")
        session = ClaudeSession(plan, self._options.environment, program, trusts_folder=trusted)
        self._working.add(session)
        try:
            await session.open()
        except BaseException:
            await self._end(session)
            raise
        self._info[plan.working_directory] = session.info
        if plan.resume is None or plan.fork:
            self._ledger().begin(plan.session_id, fork_of=plan.resume)
        return session

    async def _keep_or_close(self, session: "ClaudeSession") -> None:
        """After a turn: wait for the next one, for a while, or end a process that cannot take one."""
        if not session.is_alive or self._is_closed:
            await self._end(session)
            return
        self._working.discard(session)
        await self._waiting.keep(session)

    async def _end(self, session: "ClaudeSession") -> None:
        try:
            await session.close()
        finally:
            self._working.discard(session)

    # --- turns -------------------------------------------------------------------------------------------------

    async def _go_on(self, session: "ClaudeSession", turn: Turn) -> RunResult:
        """What the process has begun by itself, in a run of its own."""
        if await self._waiting.take(session.session_id) is not session:
            raise AgentFailed("Claude Code has ended with what it did in the background", retryable=True)
        self._working.add(session)
        try:
            translation = session.translation(session.session_id)
            return await self._result_of(session, turn, translation, session.follow(turn, translation))
        finally:
            await self._keep_or_close(session)

    async def _result_of(
        self, session: "ClaudeSession", turn: Turn, translation: "Translation", playing: Awaitable["TurnEnd"]
    ) -> RunResult:
        """What a turn came to. Raises AgentFailed."""
        from baton.agents.claude_results import failure_of, run_result

        try:
            ended = await playing
        finally:
            session.after(translation)
        if ended.result is None:
            turn.emit(*translation.finish())
            return RunResult(session_id=session.session_id)
        failure = None if ended.was_stopped else failure_of(ended.result, ended.error)
        if failure is None:
            turn.emit(*translation.finish())
            return run_result(ended.result, self._ledger().of(ended.result))
        logger.warning("claude could not finish", extra={"action": "claude.failed", "code": failure.code})
        if failure.code == "agent_not_logged_in":
            await self._end(session)  # a process reads its login once
        raise failure

    def _ledger(self) -> "Costs":
        from baton.agents.claude_results import Costs

        self._costs = self._costs or Costs()
        return self._costs


def _mode_of(mode: PermissionMode) -> "CliMode":
    """Claude Code's own: which edits need no asking is decided, and recorded, by the server."""
    return "plan" if mode is PermissionMode.PLAN else "default"


def _models_of(info: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "id": str(model["value"]),
            "title": str(model.get("displayName") or model["value"]),
            "description": str(model.get("description") or ""),
        }
        for model in info.get("models") or []
        if model.get("value")
    ]


def _fits(running: "SessionPlan", asked: "SessionPlan") -> bool:
    """Whether the running process can serve what is asked; model and mode can be changed while it runs."""
    return running.working_directory == asked.working_directory and not asked.fork


def _seconds(settings: Mapping[str, str], name: str, default: float) -> float:
    text = settings.get(name)
    try:
        seconds = float(text) if text is not None else default
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"BATON_CLAUDE_{name.upper()} is {text!r}; accepted: seconds, 0 or more")
    return seconds
