"""Claude Code as an agent: which process serves which session, for how long, and what a turn came to.

Needs the extra `claude` (claude-agent-sdk, which brings Claude Code's program). It is imported when first used, so
that this module can be, and the agent can say what is missing, where it is not installed. See docs/agents.md.
"""

import asyncio
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from baton.agents.options import AgentOptions
from baton.core.errors import AgentFailed, ConfigError
from baton.core.frames import AgentOffer, Execute, RunResult
from baton.core.models import PermissionMode
from baton.core.ports import Turn
from baton.core.stream import Notice
from baton.core.text import Json, clean_json

if TYPE_CHECKING:
    from baton.agents.claude_results import Costs
    from baton.agents.claude_session import ClaudeSession, SessionPlan

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


@dataclass(slots=True)
class _Held:
    """A process that waits for its session's next message."""

    session: "ClaudeSession"
    closing: "asyncio.Task[None] | None" = None


class ClaudeAgent:
    """Runs turns of Claude Code, one process per session, kept for a while for the next message.

    Settings: `model` (where a run names none), `program` (another Claude Code than the SDK's own), `idle_s`,
    `trust_folders` ("1": the folder's own settings, hooks and CLAUDE.md are loaded too).
    """

    id = "claude"
    title = "Claude Code"

    def __init__(self, options: AgentOptions) -> None:
        self._options = options
        self._idle_s = _seconds(options.settings, "idle_s", IDLE_S)
        self._waiting: dict[str, _Held] = {}
        """By session id, the longest waiting first."""
        self._working: set[ClaudeSession] = set()
        self._costs: Costs | None = None
        self._info: Mapping[str, Any] = {}
        """What a process last said of itself: commands and models."""
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
            models=tuple(model["id"] for model in self._models()),
            modes=_MODES,
        )

    async def run(self, task: Execute, turn: Turn) -> RunResult:
        """One turn. Raises AgentFailed with agent_failed, agent_missing or agent_not_logged_in."""
        program = await asyncio.to_thread(self._program)
        content = content_of(task.message, [(item, await turn.read_attachment(item)) for item in task.attachments])
        session = await self._session_for(task, turn, program)
        try:
            return await self._turn(session, task, turn, content)
        finally:
            await self._keep_or_close(session)

    async def commands(self, working_directory: str | None) -> Json:
        """Slash commands and models, as the process that was started last told them; empty before the first run."""
        commands = [
            {
                "name": command.get("name"),
                "description": command.get("description"),
                "argumentHint": command.get("argumentHint"),
            }
            for command in self._info.get("commands") or []
        ]
        return clean_json({"commands": commands, "models": self._models()})

    async def close(self) -> None:
        """End every process, working or waiting. At most 5 s."""
        self._is_closed = True
        held, self._waiting = list(self._waiting.values()), {}
        working = [session.close() for session in self._working]
        await asyncio.gather(*working, *(_end_now(waiting) for waiting in held))

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

    def _models(self) -> list[dict[str, str]]:
        return [
            {
                "id": str(model["value"]),
                "title": str(model.get("displayName") or model["value"]),
                "description": str(model.get("description") or ""),
            }
            for model in self._info.get("models") or []
            if model.get("value")
        ]

    # --- sessions ----------------------------------------------------------------------------------------------

    async def _session_for(self, task: Execute, turn: Turn, program: str) -> "ClaudeSession":
        """The process that goes on with this session, or a new one; it counts as working from here on."""
        from baton.agents.claude_session import SessionUnknown

        plan = self._plan(task)
        kept = await self._take_waiting(task, plan)
        if kept is not None:
            return kept
        try:
            return await self._open(plan, program)
        except SessionUnknown:
            turn.emit(Notice(level="warning", text=_CONTEXT_LOST))
            return await self._open(replace(plan, resume=None, fork=False, session_id=str(uuid.uuid4())), program)

    def _plan(self, task: Execute) -> "SessionPlan":
        from baton.agents.claude_session import SessionPlan

        folder = task.working_directory or self._options.default_working_directory
        if not Path(folder).is_dir():
            raise AgentFailed(f"The folder {folder} is not there, or is no folder")
        forks = task.fork and task.session_id is not None
        return SessionPlan(
            session_id=task.session_id if task.session_id is not None and not forks else str(uuid.uuid4()),
            resume=task.session_id,
            fork=forks,
            working_directory=folder,
            model=task.model or self._options.settings.get("model"),
            mode="plan" if task.permission_mode is PermissionMode.PLAN else "default",
            allowed_tools=task.allowed_tools,
        )

    async def _take_waiting(self, task: Execute, plan: "SessionPlan") -> "ClaudeSession | None":
        """The process that waits for this session, made ready for this turn; one that does not fit is ended."""
        held = self._waiting.pop(plan.session_id, None)
        if held is None:
            return None
        session = held.session
        self._working.add(session)
        try:
            await _stop_closing(held)
            if session.is_alive and _fits(session.plan, plan):
                await session.use(plan.model, plan.mode)
                return session
        except AgentFailed:
            logger.warning("claude is replaced", extra={"action": "claude.replaced", "sessionId": plan.session_id})
        except BaseException:
            await self._end(session)
            raise
        await self._end(session)
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
        self._info = session.info or self._info
        if plan.resume is None or plan.fork:
            self._ledger().begin(plan.session_id, fork_of=plan.resume)
        return session

    async def _keep_or_close(self, session: "ClaudeSession") -> None:
        """After a turn: wait for the next one, for a while, or end a process that cannot take one."""
        if not session.is_alive or self._is_closed:
            await self._end(session)
            return
        self._working.discard(session)
        held = self._waiting[session.session_id] = _Held(session)
        held.closing = asyncio.create_task(self._close_later(held), name=f"claude-idle-{session.session_id}")
        while len(self._waiting) > MAX_IDLE:
            await self._close_oldest()

    async def _close_later(self, held: _Held) -> None:
        await self._options.sleep(self._idle_s)
        # It stays listed until it has ended: two processes in one session would lose what one of them says.
        await self._end(held.session)
        if self._waiting.get(held.session.session_id) is held:
            del self._waiting[held.session.session_id]

    async def _close_oldest(self) -> None:
        oldest = self._waiting.pop(next(iter(self._waiting)))
        await _stop_closing(oldest)
        await self._end(oldest.session)

    async def _end(self, session: "ClaudeSession") -> None:
        try:
            await session.close()
        finally:
            self._working.discard(session)

    # --- turns -------------------------------------------------------------------------------------------------

    async def _turn(
        self, session: "ClaudeSession", task: Execute, turn: Turn, content: str | list[dict[str, Any]]
    ) -> RunResult:
        from baton.agents.claude_events import Translation
        from baton.agents.claude_results import failure_of, run_result

        translation = Translation(task.session_id)
        try:
            ended = await session.turn(content, turn, translation)
        finally:
            session.after(translation)
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


def _fits(running: "SessionPlan", asked: "SessionPlan") -> bool:
    """Whether the running process can serve what is asked; model and mode can be changed while it runs."""
    same_place = running.working_directory == asked.working_directory
    return same_place and running.allowed_tools == asked.allowed_tools and not asked.fork


async def _stop_closing(held: _Held) -> None:
    """Call off the end that was set for later; where it has begun, wait for it."""
    if held.closing is None:
        return
    if held.session.is_alive:
        held.closing.cancel()
    await asyncio.wait({held.closing})


async def _end_now(held: _Held) -> None:
    await _stop_closing(held)
    await held.session.close()


def _seconds(settings: Mapping[str, str], name: str, default: float) -> float:
    text = settings.get(name)
    try:
        seconds = float(text) if text is not None else default
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ConfigError(f"BATON_CLAUDE_{name.upper()} is {text!r}; accepted: seconds, 0 or more")
    return seconds
