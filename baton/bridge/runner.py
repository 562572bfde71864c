"""The part of a bridge that runs agents: what the server tells it in, a run's frames out through an outbox.

The same for the bridge inside the server and for `baton bridge`; what differs is the outbox (where frames go), the
ledger (how a requestId is written down so that it never works twice) and how attachments are read. It must not
know sockets, JSON, or which agents there are.
"""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, runtime_checkable

from baton.bridge.calls import Calls
from baton.bridge.cleaning import cleaned
from baton.bridge.files import Folders
from baton.bridge.line import Line
from baton.bridge.tasks import Tasks
from baton.bridge.turn import Play, ReadAttachment, RunOutbox, TurnPort
from baton.core.errors import AgentFailed, BatonError, InvalidRequest
from baton.core.frames import (
    Abort,
    Aborted,
    BridgeStatus,
    Complete,
    Execute,
    Failed,
    PermissionResponse,
    Rpc,
    RpcResult,
    RunFrame,
    RunResult,
    ServerFrame,
    SetMode,
    Started,
)
from baton.core.ids import RequestId, new_object_id
from baton.core.limits import Limits
from baton.core.models import Failure, PermissionMode
from baton.core.ports import Agent, Clock
from baton.core.text import Json, clean_text

logger = logging.getLogger(__name__)

ABORT_GRACE_S: Final = 8.0
"""How long an agent may take to end after an abort; below the server's own `abort_grace_s`, so that this end wins."""
CLOSE_GRACE_S: Final = 2.0
"""The same at shutdown, where agents have 5 s more to end their child processes."""
AGENT_CLOSE_S: Final = 5.0
_FRAME_ROOM_BYTES: Final = 64 << 10
"""More than a frame has beside an event."""
_REMEMBERED_RUNS: Final = 10_000
_MESSAGE_CHARS: Final = 4000
_STOPPED: Final = Failure("bridge_lost", "The bridge was stopped while the agent worked", retryable=True)
_RUN_BEFORE: Final = "An earlier process of this bridge had started this run; it is not started twice"


class Outbox(RunOutbox, Protocol):
    """Where everything goes that a bridge says (`bridge.protocol.BridgeEnd`, and whoever empties it)."""

    def reply(self, frame: RpcResult | BridgeStatus) -> None:
        """Send a frame that has no number. Never waits; dropped while there is no link."""
        ...

    def begin_background(self, request_id: RequestId) -> None:
        """A run that an agent began by itself is said from now on; a Started that says so is its first frame."""
        ...


class Ledger(Protocol):
    """Remembers, past the death of this process, which runs have been started."""

    async def record(self, request_id: RequestId) -> bool:
        """Write it down; True once that is durable, False where it stood there already.

        Called after `Started` was handed to the outbox and before the agent starts.
        """
        ...


@runtime_checkable
class SwitchesMode(Protocol):
    """An agent that can change the permission mode of a run that it works on."""

    async def set_mode(self, request_id: RequestId, mode: PermissionMode) -> None:
        """The run's mode is now this one; a run that it does not work on is ignored."""
        ...


@dataclass(slots=True, eq=False)
class _Work:
    """One run, from Execute to its final frame. `stopped`: what it ends as, once somebody stopped it.

    `play`: what is done in it where no Execute asked for it; `task` is then that of the run in which it began.
    """

    task: Execute
    turn: TurnPort
    play: Play | None = None
    job: "asyncio.Task[RunResult] | None" = None
    stopped: RunFrame | None = None


class Runner:
    """Runs agents for one bridge. `receive` takes frames; `close` ends everything.

    1. A requestId works at most once.
    2. Each run that was taken up has exactly one final frame, after everything that its agent said, unless it still
       waited when the runner was closed: the server then sends it again to the next process.
    3. One run at a time per conversation and per agent session, at most `max_concurrent` in all; others wait in order.
    """

    def __init__(
        self,
        agents: Mapping[str, Agent],
        outbox: Outbox,
        *,
        ledger: Ledger,
        clock: Clock,
        limits: Limits,
        read_attachment: ReadAttachment,
        folders: Folders,
        max_concurrent: int = 5,
        on_agent_failure: Callable[[str], None] = lambda code: None,
    ) -> None:
        """`on_agent_failure` is told the code of each failed run: one may mean that an agent is available no more."""
        self._agents = agents
        self._outbox = outbox
        self._ledger = ledger
        self._clock = clock
        self._limits = limits
        self._read_attachment = read_attachment
        self._folders = folders
        self._on_agent_failure = on_agent_failure
        self._line = Line(max_concurrent)
        self._works: dict[RequestId, _Work] = {}
        self._ended: OrderedDict[RequestId, None] = OrderedDict()
        self._tasks = Tasks(clock)
        self._calls = Calls(agents, folders, run_status=self._run_status, timeout_s=limits.rpc_timeout_s)
        self._told_queued = 0
        self._is_closing = False
        self._is_closed = False
        self._close_lock = asyncio.Lock()

    # --- what comes in -------------------------------------------------------------------------------------------

    def receive(self, frame: ServerFrame) -> None:
        """Take a frame of the server. Never waits; frames that are the link's own business are ignored."""
        match frame:
            case Execute():
                self._take_up(frame)
            case Abort():
                self._abort(frame.request_id)
            case PermissionResponse():
                if work := self._works.get(frame.request_id):
                    work.turn.answer(frame)
            case SetMode():
                self._set_mode(frame)
            case Rpc():
                self._tasks.start(self._answer(frame), name=f"rpc {frame.method}")
            case _:
                pass

    @property
    def load(self) -> tuple[int, int]:
        """How many runs work, and how many wait."""
        return len(self._line.active), len(self._line.waiting)

    async def end_runs(self) -> None:
        """Take no more runs, and end those that were started as `bridge_lost`. Idempotent; at most 2 s."""
        self._is_closing = True
        for request_id in self._line.waiting:
            self._forget(self._works[request_id])
        for work in list(self._works.values()):
            self._stop(work, _failed(work, _STOPPED))
        await self._tasks.within(CLOSE_GRACE_S, [work.job for work in self._works.values() if work.job])
        for work in list(self._works.values()):
            self._give_up(work)

    async def close(self) -> None:
        """End every run, and every agent. Idempotent; at most 8 s, of which agents have 5."""
        async with self._close_lock:
            if self._is_closed:
                return
            self._is_closed = True
            try:
                await self.end_runs()
                agents = self._agents.values()
                closing = [self._tasks.watch(agent.close(), name=f"close {agent.id}") for agent in agents]
                await self._tasks.within(AGENT_CLOSE_S, closing)
            finally:
                await self._tasks.close()

    # --- runs ----------------------------------------------------------------------------------------------------

    def _take_up(self, task: Execute) -> None:
        request_id = task.request_id
        if self._is_closing or request_id in self._works or request_id in self._ended:
            logger.debug("claude:execute came again", extra={"action": "run.known", "requestId": request_id})
            return
        self._join(task)

    def _begin_background(self, begun_in: Execute, play: Play) -> None:
        """An agent goes on by itself: a run under an id of our own, in its conversation's order."""
        if not self._is_closing:
            self._join(replace(begun_in, request_id=RequestId(f"background-{new_object_id()}")), play)

    def _join(self, task: Execute, play: Play | None = None) -> None:
        """Stand in line."""
        request_id = task.request_id
        turn = TurnPort(
            request_id,
            self._outbox,
            read_attachment=self._read_attachment,
            clock=self._clock,
            on_refused=lambda error: self._refuse(request_id, error),
            on_session=lambda session_id: self._line.claim(request_id, _session_key(task.agent, session_id)),
            on_background=lambda play: self._begin_background(task, play),
            event_max_bytes=self._limits.bridge_frame_max_bytes - _FRAME_ROOM_BYTES,
        )
        self._works[request_id] = _Work(task, turn, play)
        keys = [f"conversation {task.conversation_id}"]
        if task.session_id:
            keys.append(_session_key(task.agent, task.session_id))
        self._line.join(request_id, keys)
        self._advance()

    def _advance(self) -> None:
        """Start who may start, and tell how many wait: of what works the server keeps count itself."""
        admitted = () if self._is_closing else self._line.admit()
        for request_id in admitted:
            work = self._works[request_id]
            work.job = self._tasks.watch(self._play(work), name=f"run {request_id}")
            work.job.add_done_callback(partial(self._job_ended, work))
        active, queued = self.load
        if queued != self._told_queued:
            self._told_queued = queued
            self._outbox.reply(BridgeStatus(active=active, queued=queued))

    async def _play(self, work: _Work) -> RunResult:
        task = work.task
        if work.play is not None:
            return await self._play_background(task, work.turn, work.play)
        agent = self._agents.get(task.agent)
        if agent is None:
            raise AgentFailed(f"This bridge has no agent named {task.agent!r}", code="agent_missing")
        try:
            directory = await asyncio.to_thread(self._folders.working_directory, task.working_directory)
        except InvalidRequest as error:
            raise AgentFailed(error.message) from error
        session_id = None if task.fork else task.session_id
        self._outbox.say(Started(request_id=task.request_id, seq=0, session_id=session_id))
        if not await self._ledger.record(task.request_id):
            raise AgentFailed(_RUN_BEFORE, code="bridge_lost", retryable=True)
        logger.info(
            "📡 claude:execute: an agent starts",
            extra={"action": "run.started", "requestId": task.request_id, "agent": task.agent},
        )
        return await agent.run(replace(task, working_directory=str(directory)), work.turn)

    async def _play_background(self, task: Execute, turn: TurnPort, play: Play) -> RunResult:
        self._outbox.begin_background(task.request_id)
        started = Started(request_id=task.request_id, seq=0, conversation_id=task.conversation_id, origin="background")
        self._outbox.say(started)
        logger.info(
            "📡 an agent goes on by itself",
            extra={"action": "run.background", "requestId": task.request_id, "agent": task.agent},
        )
        # The ledger keeps work from being done twice; this has begun before anybody could write it down.
        return await play(turn)

    def _job_ended(self, work: _Work, job: "asyncio.Task[RunResult]") -> None:
        """The agent's task is over, however: say so. A done callback, so that no way out of the task is missed."""
        if work.turn.is_ended:
            logger.info("an agent that was given up on has ended", extra=_about(work, "run.late_end"))
            _ = job.cancelled() or job.exception()  # looked at, so that asyncio does not report it as forgotten
            return
        error = None if job.cancelled() else job.exception()
        if work.stopped is not None:
            self._end(work, work.stopped)
        elif job.cancelled():
            self._end(work, _failed(work, Failure("agent_failed", "The agent cancelled its own run")))
        elif error is None:
            self._end(work, Complete(request_id=work.task.request_id, seq=0, result=cleaned(job.result())))
        else:
            failure = _run_failure(error) if isinstance(error, BatonError) else _incident(work, error)
            self._end(work, _failed(work, failure))
            self._on_agent_failure(failure.code)

    def _end(self, work: _Work, final: RunFrame) -> None:
        """Send the final frame, once, and let the next run in."""
        work.turn.end(final)
        self._forget(work)
        self._ended[work.task.request_id] = None
        if len(self._ended) > _REMEMBERED_RUNS:
            self._ended.popitem(last=False)
        logger.info("📡 claude:stream has ended", extra={**_about(work, "run.ended"), "frame": type(final).__name__})
        self._advance()

    def _forget(self, work: _Work) -> None:
        self._line.leave(work.task.request_id)
        self._works.pop(work.task.request_id, None)

    # --- stopping ------------------------------------------------------------------------------------------------

    def _abort(self, request_id: RequestId) -> None:
        work = self._works.get(request_id)
        if work is None:
            logger.debug("abort of a run that is not here", extra={"action": "abort.unknown", "requestId": request_id})
        elif work.job is None:
            self._end(work, _aborted(work))
        elif work.stopped is None:
            self._stop(work, _aborted(work))
            self._tasks.start(self._give_up_later(work), name=f"abort {request_id}")

    def _refuse(self, request_id: RequestId, error: BatonError) -> None:
        """The outbox takes no more of what the agent says."""
        work = self._works.get(request_id)
        if work is not None and work.stopped is None:
            self._stop(work, _failed(work, _run_failure(error)))
            self._tasks.start(self._give_up_later(work), name=f"refused {request_id}")

    def _stop(self, work: _Work, final: RunFrame) -> None:
        """End the agent's task; the run ends as `final`, whatever the agent makes of it. The first stop counts."""
        work.stopped = work.stopped or final
        if work.job is not None:
            work.job.cancel()

    async def _give_up_later(self, work: _Work) -> None:
        assert work.job is not None, "only a run that was started can be given up on"
        await self._tasks.within(ABORT_GRACE_S, [work.job])
        self._give_up(work)

    def _give_up(self, work: _Work) -> None:
        """End the run without its agent, which goes on being cancelled and is waited for no longer."""
        if work.turn.is_ended or work.stopped is None:
            return
        logger.warning("❌ an agent did not end when told to", extra=_about(work, "run.given_up"))
        self._end(work, work.stopped)

    # --- what else the server tells ------------------------------------------------------------------------------

    async def _answer(self, rpc: Rpc) -> None:
        self._outbox.reply(await self._calls.answer(rpc))

    def _run_status(self, request_id: RequestId) -> Json:
        work = self._works.get(request_id)
        if work is None:
            return None
        waits_for = work.turn.waits_for() if work.stopped is None else "end"
        return {
            "waitsFor": "queue" if work.job is None else waits_for,
            "lastEventAgeS": round(work.turn.idle_s(), 3),
            "tools": list(work.turn.running_tools()),
        }

    def _set_mode(self, frame: SetMode) -> None:
        """Agents that can are told; for the others the server's own judgement is what counts."""
        work = self._works.get(frame.request_id)
        if work is None:
            return
        work.task = replace(work.task, permission_mode=frame.mode)
        agent = self._agents.get(work.task.agent)
        if work.job is not None and isinstance(agent, SwitchesMode):
            self._tasks.start(agent.set_mode(frame.request_id, frame.mode), name=f"mode {frame.request_id}")


def _session_key(agent: str, session_id: str) -> str:
    return f"session {agent} {session_id}"


def _about(work: _Work, action: str) -> dict[str, object]:
    return {
        "action": action,
        "requestId": work.task.request_id,
        "conversationId": work.task.conversation_id,
        "agent": work.task.agent,
    }


def _aborted(work: _Work) -> Aborted:
    return Aborted(request_id=work.task.request_id, seq=0)


def _failed(work: _Work, failure: Failure) -> Failed:
    return Failed(request_id=work.task.request_id, seq=0, error=failure)


def _failure_of(error: BatonError) -> Failure:
    return Failure(error.code, clean_text(error.message[:_MESSAGE_CHARS]), error.retryable)


def _run_failure(error: BatonError) -> Failure:
    """A run fails with an agent's code; an error of another family that an agent let through has none."""
    failure = _failure_of(error)
    return failure if isinstance(error, AgentFailed) else replace(failure, code=AgentFailed.code)


def _incident(work: _Work, error: BaseException) -> Failure:
    """What is told of an agent's mistake: a name to look for in the log, and nothing of its inside."""
    incident = secrets.token_hex(6)
    logger.error(
        "❌ an agent raised what no agent may raise",
        extra={**_about(work, "run.agent_raised"), "incident": incident, "error": type(error).__name__},
        exc_info=error,
    )
    return Failure("agent_failed", f"The agent failed with a mistake of its own (incident {incident})")
