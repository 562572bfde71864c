"""One process of an ACP agent with one session in it: started, spoken to one turn at a time, stopped, ended.

agent-client-protocol gives the JSON-RPC connection and the models; what is said is read by `acp_events`, what is
asked by `acp_prompts`. Nothing of the person's files or terminals is served: an agent works with its own tools.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from acp import PROTOCOL_VERSION, RequestError, schema
from acp.connection import Connection
from acp.meta import AGENT_METHODS, CLIENT_METHODS
from pydantic import BaseModel, ValidationError

from baton import __version__
from baton.agents.acp_events import Translation, Update, read_update
from baton.agents.acp_forms import read_form
from baton.agents.acp_login import login_cure
from baton.agents.acp_modes import Choice, config_choice, is_planning, mode_choice, wanted_mode
from baton.agents.acp_process import AgentProcess
from baton.agents.acp_prompts import TurnPrompts, permission_for
from baton.agents.claude_environment import without_secrets
from baton.core.errors import AgentFailed
from baton.core.models import PermissionMode
from baton.core.ports import Turn
from baton.core.stream import ModeUpdated
from baton.core.text import Json, clean_json, clean_text

logger = logging.getLogger(__name__)

ABORT_TIMEOUT_S: Final = 6.0
"""How long a cancelled turn may take to end before the process is killed; the port allows 8 s in all."""
SETTING_TIMEOUT_S: Final = 20.0
"""How long the agent may take to change its mode or model."""
_AUTH_REQUIRED: Final = -32000
_UNKNOWN_SESSION: Final = frozenset({-32002, -32602, -32603})
"""What agents answer where they cannot go on with a session: no such resource, bad parameter, internal error."""
_CAPABILITIES: Final = {
    "fs": {"readTextFile": False, "writeTextFile": False},
    "terminal": False,
    "elicitation": {"form": {}},
}

Answer = TypeVar("Answer", bound=BaseModel)


class SessionUnknown(AgentFailed):
    """The agent cannot go on with the session that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPlan:
    """What a process is started for."""

    command: tuple[str, ...]
    folder: str
    resume: str | None = None
    fork: bool = False
    model: str | None = None
    mode: PermissionMode = PermissionMode.DEFAULT


@dataclass(slots=True, eq=False)
class _ActiveTurn:
    turn: Turn
    prompts: TurnPrompts
    translation: Translation = field(default_factory=Translation)


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """How a turn ended."""

    response: schema.PromptResponse
    was_stopped: bool
    """A person ended it with an answer."""
    cost_usd: float


class AcpSession:
    """`turn` calls never overlap. `title` names the agent in error texts."""

    def __init__(self, plan: SessionPlan, environment: Mapping[str, str], title: str) -> None:
        self.plan = plan
        self.title = title
        self.session_id = ""
        self.commands: tuple[schema.AvailableCommand, ...] = ()
        self.models: Choice | None = None
        self.modes: Choice | None = None
        self.takes = schema.PromptCapabilities()
        """What may stand in a message beside text."""
        self._environment = environment
        self._process: AgentProcess | None = None
        self._connection: Connection | None = None
        self._hello: schema.InitializeResponse | None = None
        self._mode: str | None = None
        self._active: _ActiveTurn | None = None
        self._cost_usd: float | None = 0.0
        """Of the session so far, as the agent last said; None: it went on with one whose past is not known."""
        self._is_broken = False

    @property
    def is_alive(self) -> bool:
        """Whether it can take another turn."""
        process = self._process
        return process is not None and process.fault is None and not process.has_ended and not self._is_broken

    @property
    def process_id(self) -> int | None:
        """Of the agent, once it has started."""
        return self._process.pid if self._process is not None else None

    # --- life --------------------------------------------------------------------------------------------------

    async def open(self, timeout_s: float) -> None:
        """Start the process and the session. Raises AgentFailed; SessionUnknown where it was to go on with one.

        Cancelled or failed, it has to be closed all the same.
        """
        self._process = await AgentProcess.start(self.plan.command, self._environment, self.plan.folder)
        self._connection = Connection(self._serve, self._process)
        try:
            async with asyncio.timeout(timeout_s):
                await self._initialize()
                await self._enter_session()
                await self.use(self.plan.model, self.plan.mode)
        except TimeoutError:
            raise self._failed(f"did not get ready within {timeout_s:g} s", retryable=True) from None
        logger.info("an ACP agent has started", extra={"action": "acp.started", "sessionId": self.session_id})

    async def use(self, model: str | None, mode: PermissionMode) -> None:
        """Have the next turn run with these, as far as the agent has them. Raises AgentFailed."""
        wanted = wanted_mode(self.modes, mode)
        if wanted is not None and wanted != self._mode:
            # Noted first: the agent may tell of the change before it answers.
            before, self._mode = self._mode, wanted
            try:
                await self._choose(self.modes, wanted)
            except AgentFailed:
                self._mode = before
                raise
        if model is not None and self.models is not None and self.models.first_of([model]) is None:
            raise AgentFailed(f"{self.title} has no model named {model!r}")
        if model is not None and self.models is not None and model != self.models.current:
            await self._choose(self.models, model)

    async def close(self) -> None:
        """End the process and all that it has started. At most 5 s; idempotent."""
        process, connection = self._process, self._connection
        if process is None or connection is None:
            return
        self._is_broken = True
        try:
            await process.end()
        finally:
            # After the process: its last answers still find who waits for them.
            await connection.close()
        logger.info("an ACP agent has ended", extra={"action": "acp.ended", "sessionId": self.session_id})

    # --- turns -------------------------------------------------------------------------------------------------

    async def turn(self, content: list[dict[str, Any]], turn: Turn) -> TurnEnd:
        """Say `content` and wait for the end of the turn; everything said meanwhile is emitted.

        Raises AgentFailed. Cancelled, it has the agent cancel the turn and waits for its end; where that takes longer
        than ABORT_TIMEOUT_S, the process is killed.
        """
        assert self._active is None, "turns of one session never overlap"
        active = self._active = _ActiveTurn(turn, TurnPrompts(turn))
        before = self._cost_usd
        params = {"sessionId": self.session_id, "prompt": content}
        asking = asyncio.create_task(
            self._ask("session_prompt", params, schema.PromptResponse), name=f"acp turn {self.session_id}"
        )
        try:
            response = await asyncio.shield(asking)
        except asyncio.CancelledError:
            await self._stop(active, asking)
            raise
        finally:
            self._active = None
            active.prompts.close()
        turn.emit(*active.translation.finish())
        cost = 0.0 if before is None or self._cost_usd is None else max(0.0, self._cost_usd - before)
        return TurnEnd(response, active.prompts.was_stopped, cost)

    async def _stop(self, active: _ActiveTurn, asking: "asyncio.Task[schema.PromptResponse]") -> None:
        """Cancel the turn and wait for its end; kill the process where it does not end it."""
        try:
            active.prompts.close()
            async with asyncio.timeout(ABORT_TIMEOUT_S):
                await self._cancel_turn()
                await asyncio.wait({asking})
        except TimeoutError:
            logger.warning("an ACP agent did not stop", extra={"action": "acp.killed", "sessionId": self.session_id})
        finally:
            if not asking.done():
                self._kill()
                asking.cancel()
                await asyncio.wait({asking})
            if not asking.cancelled():
                asking.exception()  # looked at, so that nobody complains about it

    async def _cancel_turn(self) -> None:
        assert self._connection is not None, "the session is open"
        with suppress(ConnectionError):
            await self._connection.send_notification(AGENT_METHODS["session_cancel"], {"sessionId": self.session_id})

    def _kill(self) -> None:
        self._is_broken = True
        if self._process is not None:
            self._process.kill()

    # --- what we ask of the agent ------------------------------------------------------------------------------

    async def _initialize(self) -> None:
        hello = {
            "protocolVersion": PROTOCOL_VERSION,
            "clientCapabilities": _CAPABILITIES,
            "clientInfo": {"name": "baton", "title": "Baton", "version": __version__},
        }
        self._hello = await self._ask("initialize", hello, schema.InitializeResponse)
        if self._hello.protocol_version != PROTOCOL_VERSION:
            spoken = f"speaks version {self._hello.protocol_version} of the Agent Client Protocol"
            raise self._failed(f"{spoken}, Baton speaks {PROTOCOL_VERSION}")
        if self._hello.agent_info is not None:
            self.title = clean_text(self._hello.agent_info.title or self.title)
        self.takes = self._can.prompt_capabilities or self.takes

    @property
    def _can(self) -> schema.AgentCapabilities:
        return (self._hello.agent_capabilities if self._hello else None) or schema.AgentCapabilities()

    async def _enter_session(self) -> None:
        where: dict[str, Any] = {"cwd": self.plan.folder, "mcpServers": []}
        resume = self.plan.resume
        if resume is None:
            self._entered(await self._ask("session_new", where, schema.NewSessionResponse))
            return
        self._cost_usd = None
        try:
            await self._continue_session(where | {"sessionId": resume})
        except RequestRefused as refused:
            if refused.number not in _UNKNOWN_SESSION:
                raise
            raise SessionUnknown(refused.message) from refused

    async def _continue_session(self, where: dict[str, Any]) -> None:
        can = self._can.session_capabilities or schema.SessionCapabilities()
        self.session_id = where["sessionId"]
        if self.plan.fork:
            if can.fork is None:
                raise SessionUnknown(f"{self.title} cannot fork a session")
            self._entered(await self._ask("session_fork", where, schema.ForkSessionResponse))
        elif can.resume is not None:
            self._entered(await self._ask("session_resume", where, schema.ResumeSessionResponse))
        elif self._can.load_session:
            # It tells the whole history again; there is no turn yet that it could get into.
            self._entered(await self._ask("session_load", where, schema.LoadSessionResponse))
        else:
            raise SessionUnknown(f"{self.title} cannot go on with an earlier session")

    def _entered(
        self,
        response: schema.NewSessionResponse
        | schema.ForkSessionResponse
        | schema.ResumeSessionResponse
        | schema.LoadSessionResponse,
    ) -> None:
        if isinstance(response, (schema.NewSessionResponse, schema.ForkSessionResponse)):
            self.session_id = response.session_id
        self.modes = mode_choice(response.modes, response.config_options)
        self.models = config_choice(response.config_options, "model")
        self._mode = self.modes.current if self.modes is not None else None

    async def _choose(self, choice: Choice | None, value: str) -> None:
        assert choice is not None, "only what is there is chosen"
        where = {"sessionId": self.session_id}
        if choice.config_id is None:
            asking: Awaitable[BaseModel] = self._ask(
                "session_set_mode", where | {"modeId": value}, schema.SetSessionModeResponse
            )
        else:
            params = where | {"configId": choice.config_id, "value": value}
            asking = self._ask("session_set_config_option", params, schema.SetSessionConfigOptionResponse)
        try:
            async with asyncio.timeout(SETTING_TIMEOUT_S):
                await asking
        except TimeoutError:
            raise self._failed(f"did not take {value!r} within {SETTING_TIMEOUT_S:g} s", retryable=True) from None

    async def _ask(self, method: str, params: Mapping[str, Any], model: type[Answer]) -> Answer:
        """One call. Raises AgentFailed, with the agent's own words, for everything that goes wrong in it."""
        assert self._connection is not None, "the session is open"
        assert self._process is not None, "the session is open"
        try:
            raw = await self._connection.send_request(AGENT_METHODS[method], params)
            return model.model_validate(clean_json(raw) if raw is not None else {})
        except RequestError as error:
            raise self._refused(error) from error
        except ConnectionError as error:
            self._is_broken = True
            raise self._failed(await self._process.death(), retryable=True) from error
        except ValidationError as error:
            # Its text holds what the agent said.
            raise self._failed(f"answered {AGENT_METHODS[method]} with what the protocol does not have") from error

    def _failed(self, what: str, *, retryable: bool = False) -> AgentFailed:
        return AgentFailed(f"{self.title} {what}", retryable=retryable)

    def _refused(self, error: RequestError) -> AgentFailed:
        if error.code == _AUTH_REQUIRED:
            methods = self._hello.auth_methods if self._hello else None
            return AgentFailed(login_cure(self.title, methods or (), self.plan.command), code="agent_not_logged_in")
        text = without_secrets(clean_text(_words_of(error)), self._environment)[:500]
        return RequestRefused(f"{self.title} could not do it: {text}", error.code)

    # --- what the agent asks and says --------------------------------------------------------------------------

    async def _serve(self, method: str, params: Any, is_notification: bool) -> Any:
        if is_notification:
            if method == CLIENT_METHODS["session_update"]:
                await self._hear(params)
            return None
        if method == CLIENT_METHODS["session_request_permission"]:
            return await self._permit(params)
        if method == CLIENT_METHODS["elicitation_create"]:
            return await self._fill_in(params)
        raise RequestError.method_not_found(method)

    async def _hear(self, params: object) -> None:
        if not isinstance(params, Mapping) or params.get("sessionId") != self.session_id:
            return
        update = read_update(params.get("update"))
        if update is None:
            return
        active = self._active
        if active is not None:
            active.turn.emit(*active.translation.take(update))
        await self._note(update)

    async def _note(self, update: Update) -> None:
        """What the update changes in what is known of the session."""
        match update:
            case schema.AvailableCommandsUpdate():
                self.commands = tuple(update.available_commands)
            case schema.CurrentModeUpdate():
                await self._mode_is(update.current_mode_id)
            case schema.ConfigOptionUpdate():
                self.models = config_choice(update.config_options, "model") or self.models
                mode = config_choice(update.config_options, "mode")
                if mode is not None:
                    await self._mode_is(mode.current)
            case schema.UsageUpdate(cost=schema.Cost(currency="USD") as cost):
                self._cost_usd = cost.amount

    async def _mode_is(self, mode: str) -> None:
        """The agent changed its mode. One in which it asks less than it was told to is taken back."""
        before, self._mode = self._mode, mode
        active = self._active
        if mode == before or active is None:
            return
        asking = wanted_mode(self.modes, PermissionMode.DEFAULT)
        if is_planning(mode):
            active.turn.emit(ModeUpdated(mode=PermissionMode.PLAN.value))
            return
        if is_planning(before) and not active.prompts.has_decided_mode:
            active.turn.emit(ModeUpdated(mode=PermissionMode.DEFAULT.value))
        if asking is not None and mode != asking:
            with suppress(AgentFailed):
                await self._choose(self.modes, asking)

    async def _permit(self, params: object) -> dict[str, Any]:
        try:
            request = schema.RequestPermissionRequest.model_validate(clean_json(params))
        except ValidationError:
            raise RequestError.invalid_params() from None
        active = self._active
        if active is None or request.session_id != self.session_id:
            return {"outcome": {"outcome": "cancelled"}}
        active.translation.take_tool(request.tool_call)
        active.turn.emit(*active.translation.said())
        known = active.translation.tool(request.tool_call.tool_call_id)
        was_stopped = active.prompts.was_stopped
        result = await active.prompts.permit(permission_for(request.tool_call, request.options, known))
        if active.prompts.was_stopped and not was_stopped:
            await self._cancel_turn()
        return result

    async def _fill_in(self, params: object) -> dict[str, Any]:
        read = read_form(params)
        active = self._active
        if read is None or active is None or read[1] != self.session_id:
            return {"action": "cancel"}
        form, _, tool_use_id = read
        return await active.prompts.fill_in(form, tool_use_id)


class RequestRefused(AgentFailed):
    """The agent answered a call with an error of its own; `number` is its JSON-RPC code."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


def _words_of(error: RequestError) -> str:
    """What the agent says of its error: the message, and the details that some put beside it."""
    details: Json = error.data
    if isinstance(details, dict):
        details = details.get("details") or details.get("message") or ""
    text = details if isinstance(details, str) else json.dumps(details) if details else ""
    return f"{error}: {text}" if text and text not in str(error) else str(error)
