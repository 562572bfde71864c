"""A bridge's answers to the server's questions (`rpc`). Each has a deadline, and one wrong call harms no other."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from baton.bridge.files import Folders
from baton.core.errors import BatonError, InvalidRequest, NotFound, Overloaded, Unavailable
from baton.core.frames import Rpc, RpcResult
from baton.core.ids import RequestId
from baton.core.models import Failure
from baton.core.ports import Agent, KeepsSessions
from baton.core.text import Json, clean_json, clean_text

logger = logging.getLogger(__name__)

MAX_CALLS: Final = 32
"""Calls that are answered at the same time; more are refused."""
_SESSIONS_OF: Final = "claude"


class Calls:
    """Answers `echo`, `run.status`, `files.list`, `files.read`, `commands`, `sessions.list` and `sessions.read`
    (docs/protocol.md section 5).

    `run_status` gives what is known of a run, or None where this bridge does not work on it.
    """

    def __init__(
        self,
        agents: Mapping[str, Agent],
        folders: Folders,
        *,
        run_status: Callable[[RequestId], Json],
        timeout_s: float,
    ) -> None:
        self._agents = agents
        self._folders = folders
        self._run_status = run_status
        self._timeout_s = timeout_s
        self._open = 0
        self._methods: dict[str, Callable[[Json], Coroutine[Any, Any, Json]]] = {
            "echo": self._echo,
            "run.status": self._status,
            "files.list": lambda params: asyncio.to_thread(self._folders.list, params),
            "files.read": lambda params: asyncio.to_thread(self._folders.read, params),
            "commands": self._commands,
            "sessions.list": self._sessions,
            "sessions.read": self._session,
        }

    async def answer(self, rpc: Rpc) -> RpcResult:
        """The one answer, whatever happens."""
        self._open += 1
        try:
            if self._open > MAX_CALLS:
                raise Overloaded("The bridge answers too many calls at once")
            method = self._methods.get(rpc.method)
            if method is None:
                raise NotFound(f"This bridge knows no method {rpc.method!r}")
            async with asyncio.timeout(self._timeout_s):
                return RpcResult(id=rpc.id, ok=True, result=clean_json(await method(rpc.params)))
        except TimeoutError:
            return _refused(rpc, Unavailable("The bridge took too long to answer", code="overloaded"))
        except BatonError as error:
            return _refused(rpc, error)
        # A job item: one call's mistake must not end the bridge, and its caller must not wait in vain.
        except Exception:
            logger.exception("an rpc failed", extra={"action": "rpc.failed", "method": rpc.method})
            return _refused(rpc, BatonError("The bridge failed to answer"))
        finally:
            self._open -= 1

    async def _echo(self, params: Json) -> Json:
        return params

    async def _status(self, params: Json) -> Json:
        """`{waitsFor: queue, model, tool, person or end, lastEventAgeS, tools}` of `{requestId}`."""
        status = self._run_status(RequestId(_text(params, "requestId") or ""))
        if status is None:
            raise NotFound("This bridge does not work on that run")
        return status

    async def _commands(self, params: Json) -> Json:
        """What an agent knows, of `{agent?, workingDirectory?}`."""
        name = _text(params, "agent") or next(iter(self._agents), "")
        return await self._agent(name).commands(_text(params, "workingDirectory"))

    async def _sessions(self, params: Json) -> Json:
        """The sessions that an agent (`claude` where none is named) keeps itself, of `{agent?, workingDirectory?}`."""
        keeper, folder = await self._keeper(params)
        return await keeper.list_sessions(folder, cursor=_text(params, "cursor"), limit=_limit(params))

    async def _session(self, params: Json) -> Json:
        """What was said in one of them, of `{agent?, workingDirectory?, sessionId, cursor?, limit?}`."""
        keeper, folder = await self._keeper(params)
        session_id = _text(params, "sessionId") or ""
        return await keeper.read_session(folder, session_id, cursor=_text(params, "cursor"), limit=_limit(params))

    async def _keeper(self, params: Json) -> tuple[KeepsSessions, str]:
        """Who keeps the sessions, and the folder that they are of, which must be one to work in."""
        name = _text(params, "agent") or _SESSIONS_OF
        agent = self._agent(name)
        if not isinstance(agent, KeepsSessions):
            raise NotFound(f"The agent {name!r} keeps no sessions that can be listed")
        asked = _text(params, "workingDirectory")
        return agent, str(await asyncio.to_thread(self._folders.working_directory, asked))

    def _agent(self, name: str) -> Agent:
        agent = self._agents.get(name)
        if agent is None:
            raise NotFound(f"This bridge has no agent named {name!r}")
        return agent


def _refused(rpc: Rpc, error: BatonError) -> RpcResult:
    return RpcResult(id=rpc.id, ok=False, error=Failure(error.code, clean_text(error.message), error.retryable))


def _text(params: Json, name: str) -> str | None:
    value = params.get(name) if isinstance(params, dict) else None
    return value if isinstance(value, str) else None


def _limit(params: Json) -> int | None:
    value = params.get("limit") if isinstance(params, dict) else None
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise InvalidRequest("limit must be a positive number", fields={"limit": "not a positive number"})
    return value
