"""One process of Claude Code: started, spoken to one turn at a time, stopped, and ended without an orphan.

Its output is read at once for its whole life, because the SDK stops reading after about a hundred messages that
nobody took, and then hangs. Nothing is kept waiting: a turn's messages are translated and emitted as they come
(`Turn.emit` never waits).

What is said between turns is kept for the next one. It comes from work in the background: a command or a sub-agent
that was left running, and whose end makes Claude Code begin a turn by itself, or that asks a person meanwhile. Both
are told to `on_background`, whose answer is to have `follow` called.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import claude_agent_sdk as sdk

from baton.agents.claude_environment import LAUNCHER, child_environment, inherited_names, launch_environment
from baton.agents.claude_events import OpenCall, Translation
from baton.agents.claude_failures import process_failure
from baton.agents.claude_prompts import TurnPrompts
from baton.agents.processes import kill_tree
from baton.core.errors import AgentFailed
from baton.core.ports import Turn

logger = logging.getLogger(__name__)

CliMode = Literal["default", "plan"]

MAX_FRAME_BYTES: Final = 64 << 20
"""One message of Claude Code; with the SDK's default of 1 MiB one large tool result ends the process."""
ABORT_TIMEOUT_S: Final = 6.0
"""How long an interrupted turn may take to end before the process is killed; the port allows 8 s in all."""
CLOSE_TIMEOUT_S: Final = 2.0
"""How long it may take to write its session file after its input ended; then it is killed."""
REAP_TIMEOUT_S: Final = 1.0
"""How long a process that was killed, or interrupted for its end, may take."""
_INTERRUPT_AGAIN_S: Final = 1.0
_HEARD_TIMEOUT_S: Final = 1.0
"""How long an interrupt waits for the reason of a refusal to be taken down; some ten milliseconds is usual."""
_KEPT_BETWEEN_TURNS: Final = 10_000
_KEPT_DELTAS: Final = 1000
_OVER: Final = "The turn is over; nobody can be asked any more."
_STDERR_LINES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPlan:
    """What a process is started for. Those of its properties that cannot change later decide whether it is reused."""

    session_id: str
    """Of the session that it will be in: of a new one, chosen by us."""
    resume: str | None = None
    fork: bool = False
    working_directory: str
    model: str | None = None
    mode: CliMode = "default"


@dataclass(slots=True)
class _ActiveTurn:
    """A turn under way. Without a `prompt_id` it was not we who began it."""

    prompt_id: str | None
    turn: Turn
    translation: Translation
    prompts: TurnPrompts
    result: "asyncio.Future[sdk.ResultMessage | None]"
    """None: something in the background has only asked, and has its answer."""
    is_speaking: bool = False
    """The model has said something in it, so that a result will come."""
    is_stopped: bool = False
    """It was aborted."""

    stopping: "asyncio.Task[None] | None" = None
    """Ends it after an answer that was to end it."""

    @property
    def is_only_asking(self) -> bool:
        """Something in the background asks in it, and the model is silent."""
        return self.prompt_id is None and not self.is_speaking

    def take(self, message: object) -> None:
        self.prompts.note(message)
        self.is_speaking = self.is_speaking or _is_speech(message)
        self.turn.emit(*self.translation.take(message))
        if isinstance(message, sdk.ResultMessage) and self._is_ended_by(message) and not self.result.done():
            self.result.set_result(message)

    def _is_ended_by(self, result: sdk.ResultMessage) -> bool:
        """Whether it ends this turn, and not one that Claude Code began by itself before it."""
        if self.prompt_id is None or self.prompt_id in (result.user_message_uuids or ()):
            return True
        return result.origin is None or result.origin["kind"] != "task-notification"


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """How a turn ended, as Claude Code tells it."""

    result: sdk.ResultMessage | None
    """None: something in the background has asked a person, and that was all."""
    error: str | None
    """What it said of itself instead of an answer."""
    was_stopped: bool
    """A person ended it with an answer."""


@dataclass(slots=True, eq=False)
class ClaudeSession:
    """One process and the session in it. `turn` calls never overlap."""

    plan: SessionPlan
    environment: Mapping[str, str]
    """Of the child, before what must not reach it is taken away."""
    program: str
    trusts_folder: bool = False
    """Load what lies in the working directory (settings, hooks, CLAUDE.md), and not only what the person set up."""
    session_id: str = ""
    """Of the session that it is in now."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """What the process said of itself at its start: commands, models, its process id."""
    on_background: Callable[[], None] = lambda: None
    """Called when it speaks or asks and no turn is there; not again before the next turn."""
    background_tasks: frozenset[str] = frozenset()
    """Commands and sub-agents that go on between turns."""
    _open_calls: Mapping[str, OpenCall] = field(default_factory=dict)
    _between_turns: deque[object] = field(default_factory=lambda: deque(maxlen=_KEPT_BETWEEN_TURNS))
    _is_muted: bool = False
    """A delta was not kept, so the rest of its block is of no use: its whole text comes at its end."""
    _is_background_due: bool = False
    _askers: int = 0
    """Calls of `can_use_tool` that wait for an answer."""
    _has_turn: asyncio.Event = field(default_factory=asyncio.Event)
    _client: sdk.ClaudeSDKClient | None = None
    _reader: "asyncio.Task[None] | None" = None
    _active: _ActiveTurn | None = None
    _stderr: deque[str] = field(default_factory=lambda: deque(maxlen=_STDERR_LINES))
    _model: str | None = None
    _mode: str = "default"
    _is_killed: bool = False

    def __post_init__(self) -> None:
        self.session_id = self.session_id or self.plan.session_id

    @property
    def is_alive(self) -> bool:
        """Whether it can take another turn."""
        return self._reader is not None and not self._reader.done() and not self._is_killed

    @property
    def is_busy(self) -> bool:
        """Whether something goes on in it between turns, which its end would end."""
        return self.is_alive and (bool(self.background_tasks) or self._is_background_due)

    @property
    def _has_ended(self) -> bool:
        """Whether its output has ended: from then on its process id may be another's."""
        return self._reader is None or (self._reader.done() and not self._reader.cancelled())

    @property
    def process_id(self) -> int | None:
        """Of the child, once it has started."""
        pid = self.info.get("pid")
        return pid if isinstance(pid, int) else None

    async def open(self) -> None:
        """Start the process. Raises AgentFailed, or SessionUnknown where it was to resume.

        Cancelled, it ends what it started, within about 6 s.
        """
        client = sdk.ClaudeSDKClient(self._options())
        await self._call(client.connect())
        self._client = client
        self.info = await client.get_server_info() or {}
        self._model, self._mode = self.plan.model, self.plan.mode
        self._reader = asyncio.create_task(self._read(client), name=f"claude-reader-{self.plan.session_id}")
        self._reader.add_done_callback(self._reader_ended)
        logger.info("claude started", extra={"action": "claude.started", "sessionId": self.plan.session_id})

    async def turn(self, content: str | list[dict[str, Any]], turn: Turn, translation: Translation) -> TurnEnd:
        """Say `content` and wait for the end of the turn; everything said meanwhile is emitted, and before it what
        was said since the last one.

        Raises AgentFailed when the process dies. Cancelled, it interrupts the turn and waits for its end; where
        that takes longer than ABORT_TIMEOUT_S, the process is killed and the session is no longer alive.
        """
        prompt_id = str(uuid.uuid4())
        return await self._run(turn, translation, prompt_id, self._say(prompt_id, content))

    async def follow(self, turn: Turn, translation: Translation) -> TurnEnd:
        """The same for a turn that began by itself: see `on_background`. Nothing is said."""
        return await self._run(turn, translation, None, None)

    async def _run(
        self, turn: Turn, translation: Translation, prompt_id: str | None, saying: Awaitable[None] | None
    ) -> TurnEnd:
        assert self._active is None, "turns of one session never overlap"
        result: asyncio.Future[sdk.ResultMessage | None] = asyncio.get_running_loop().create_future()
        prompts = TurnPrompts(turn, translation.tool_input)
        active = self._active = _ActiveTurn(prompt_id, turn, translation, prompts, result)
        self._is_background_due = False
        self._has_turn.set()
        try:
            while self._between_turns:
                active.take(self._between_turns.popleft())
            if saying is not None:
                await saying
            elif not self.is_alive and not result.done():
                raise self._failure(None)
            self._end_if_only_asked()
            ended = await asyncio.shield(result)
        except asyncio.CancelledError:
            active.is_stopped = True
            await self._stop(active)
            raise
        finally:
            self._active = None
            self._has_turn.clear()
            prompts.close()
            await _cancelled(active.stopping)
            if not result.cancel() and not result.cancelled():
                result.exception()  # looked at, so that nobody complains about it
        return TurnEnd(ended, translation.error, prompts.was_stopped)

    async def use_model(self, model: str | None) -> None:
        """Have the next turn run with this one. Raises AgentFailed."""
        assert self._client is not None, "the session is open"
        if model != self._model:
            await self._call(self._client.set_model(model))
            self._model = model

    async def use_mode(self, mode: CliMode) -> None:
        """Go on in this mode, also in mid-turn. Raises AgentFailed."""
        assert self._client is not None, "the session is open"
        if mode != self._mode:
            await self._call(self._client.set_permission_mode(mode))
            self._mode = mode

    def translation(self, session_id: str | None) -> Translation:
        """For the next turn, whose conversation knows the session under this id."""
        return Translation(session_id, self._open_calls)

    def after(self, translation: Translation) -> None:
        """Take over what changed in a turn: `/clear` begins a new session, an accepted plan ends plan mode."""
        self.session_id = translation.session_id or self.session_id
        self._open_calls = translation.open_calls if self.background_tasks else {}
        self._mode = translation.mode or self._mode

    async def close(self) -> None:
        """End the process, by force where it does not end by itself. At most 5 s; idempotent."""
        client, self._client = self._client, None
        if client is None:
            return
        if self._active is not None:
            # A turn goes on after the end of its input, and is killed then; interrupted, it is written down at once.
            with suppress(TimeoutError, AgentFailed):
                async with asyncio.timeout(REAP_TIMEOUT_S):
                    await self._call(client.interrupt())
        await _cancelled(self._reader)
        ending = asyncio.create_task(client.disconnect(), name=f"claude-close-{self.plan.session_id}")
        try:
            await asyncio.wait({ending}, timeout=CLOSE_TIMEOUT_S)
            if not ending.done():
                self.kill()
                await asyncio.wait({ending}, timeout=REAP_TIMEOUT_S)
        finally:
            if not ending.done():
                self.kill()
            await _cancelled(ending)
        logger.info("claude ended", extra={"action": "claude.ended", "sessionId": self.plan.session_id})

    def kill(self) -> None:
        """End the process, and what its tools have started, at once."""
        if self.process_id is not None and not self._has_ended:
            self._is_killed = True
            kill_tree(self.process_id)

    # --- inside ------------------------------------------------------------------------------------------------

    def _options(self) -> sdk.ClaudeAgentOptions:
        plan, child = self.plan, child_environment(self.environment)
        resumes = plan.resume is not None and not plan.fork
        return sdk.ClaudeAgentOptions(
            cli_path=str(LAUNCHER),
            env=launch_environment(child, self.program, inherited_names()),
            cwd=plan.working_directory,
            model=plan.model,
            permission_mode=plan.mode,
            resume=plan.resume,
            fork_session=plan.fork,
            session_id=None if resumes else plan.session_id,
            # A repository's own settings could run its hooks.
            setting_sources=["user", "project", "local"] if self.trusts_folder else ["user"],
            system_prompt={"type": "preset", "preset": "claude_code"},
            include_partial_messages=True,
            forward_subagent_text=True,
            max_buffer_size=MAX_FRAME_BYTES,
            can_use_tool=self._decide,
            stderr=self._stderr.append,
        )

    async def _decide(
        self, tool: str, tool_input: dict[str, Any], context: sdk.ToolPermissionContext
    ) -> sdk.PermissionResult:
        """Ask in the turn that goes on; in the background, in one that begins for it, as often as it takes."""
        self._askers += 1
        try:
            while True:
                active = await self._turn_to_ask_in()
                decision = await active.prompts.decide(tool, tool_input, context)
                if decision is not None:
                    return self._stopping_if_wanted(active, decision)
                if active.is_stopped or context.agent_id not in self.background_tasks:
                    return sdk.PermissionResultDeny(message=_OVER)
        finally:
            self._askers -= 1
            self._end_if_only_asked()

    def _stopping_if_wanted(self, active: _ActiveTurn, decision: sdk.PermissionResult) -> sdk.PermissionResult:
        """The decision; after one that was to end the turn, that is done once it has reached the model's side."""
        if not active.prompts.was_stopped:
            return decision
        if active.is_only_asking:
            # There is no turn to interrupt but that of whoever asks.
            return replace(decision, interrupt=True) if isinstance(decision, sdk.PermissionResultDeny) else decision
        if active.stopping is None:
            stopping = self._stop(active)
            active.stopping = asyncio.create_task(stopping, name=f"claude-stop-{self.plan.session_id}")
        return decision

    async def _turn_to_ask_in(self) -> _ActiveTurn:
        while self._active is None:
            self._begin_background()
            await self._has_turn.wait()
        return self._active

    def _end_if_only_asked(self) -> None:
        active = self._active
        if active is None or active.prompt_id is not None or active.is_speaking or self._askers:
            return
        if not active.result.done():
            active.result.set_result(None)

    async def _say(self, prompt_id: str, content: str | list[dict[str, Any]]) -> None:
        assert self._client is not None, "the session is open"
        message = {"role": "user", "content": content}

        async def prompt() -> AsyncIterator[dict[str, Any]]:
            yield {"type": "user", "message": message, "parent_tool_use_id": None, "uuid": prompt_id}

        await self._call(self._client.query(prompt()))

    async def _read(self, client: sdk.ClaudeSDKClient) -> None:
        async for message in client.receive_messages():
            self._note(message)
            if self._is_muted and _is_delta(message):
                continue
            if self._active is None:
                self._keep(message)
            else:
                self._active.take(message)

    def _note(self, message: object) -> None:
        if isinstance(message, sdk.SystemMessage) and message.subtype == "background_tasks_changed":
            self.background_tasks = frozenset(task["task_id"] for task in message.data.get("tasks") or ())
        elif self._is_muted and isinstance(message, sdk.StreamEvent) and not _is_delta(message):
            self._is_muted = False  # its block has ended

    def _keep(self, message: object) -> None:
        """Nobody listens: keep it for the next turn, which begins for it where it is speech."""
        if _is_delta(message) and len(self._between_turns) >= _KEPT_DELTAS:
            self._is_muted = True
            return
        self._between_turns.append(message)
        if _is_speech(message):
            self._begin_background()

    def _begin_background(self) -> None:
        if not self._is_background_due:
            self._is_background_due = True
            logger.info("claude goes on", extra={"action": "claude.background", "sessionId": self.session_id})
            self.on_background()

    def _reader_ended(self, reader: "asyncio.Task[None]") -> None:
        """The process has ended, or said what cannot be read: whoever waits for an answer is told."""
        error = None if reader.cancelled() else reader.exception()
        if self._active is not None and not self._active.result.done():
            self._active.result.set_exception(self._failure(error))

    async def _stop(self, active: _ActiveTurn) -> None:
        """Interrupt the turn until it has ended; kill the process where it does not."""
        if active.is_only_asking:
            return  # the model is silent: whoever asks in the background is told that there is no answer
        try:
            async with asyncio.timeout(ABORT_TIMEOUT_S):
                with suppress(TimeoutError):
                    async with asyncio.timeout(_HEARD_TIMEOUT_S):
                        await active.prompts.until_heard()
                while not active.result.done():
                    await self._interrupt()
                    # Asked before the turn had begun, it may be overheard: it is asked again.
                    await asyncio.wait({active.result}, timeout=_INTERRUPT_AGAIN_S)
        except (TimeoutError, AgentFailed):
            logger.warning("claude did not stop", extra={"action": "claude.killed", "sessionId": self.plan.session_id})
        finally:
            if not active.result.done():
                self.kill()
            elif not active.result.cancelled():
                active.result.exception()  # looked at, so that nobody complains about it

    async def _interrupt(self) -> None:
        if self._client is not None and self.is_alive:
            await self._call(self._client.interrupt())

    async def _call(self, call: Awaitable[None]) -> None:
        """A call of the SDK. Raises AgentFailed for everything that goes wrong in it."""
        try:
            await call
        except Exception as error:  # the SDK raises bare Exceptions when a control call fails
            raise self._failure(error) from error

    def _failure(self, error: BaseException | None) -> AgentFailed:
        return process_failure(error, self._stderr, self.environment)


def _is_speech(message: object) -> bool:
    """Whether the model says something in a turn of its own; sub-agents speak also between turns."""
    return isinstance(message, sdk.StreamEvent | sdk.AssistantMessage) and message.parent_tool_use_id is None


def _is_delta(message: object) -> bool:
    return isinstance(message, sdk.StreamEvent) and message.event.get("type") == "content_block_delta"


async def _cancelled(task: "asyncio.Task[None] | None") -> None:
    """Cancel a task and wait until it has ended, whatever it ended with."""
    if task is None:
        return
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # looked at: it was told where it mattered
