"""Agents whose every step a test decides, and an outbox that keeps what they say."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from baton.core.frames import (
    FINAL_FRAMES,
    AgentOffer,
    BridgeStatus,
    Execute,
    RpcResult,
    RunFrame,
    RunResult,
    Stream,
)
from baton.core.ids import ConversationId, RequestId, new_object_id
from baton.core.ports import Turn
from baton.core.stream import StreamEvent
from baton.core.text import Json

Play = Callable[[Execute, Turn], Awaitable[RunResult]]


async def finish_at_once(task: Execute, turn: Turn) -> RunResult:
    """Says nothing and completes."""
    return RunResult()


class ScriptedAgent:
    """An agent that does what the test gave it (`play`), and counts."""

    def __init__(self, play: Play = finish_at_once, *, name: str = "scripted") -> None:
        self.id = name
        self.title = name.title()
        self.play = play
        self.tasks: list[Execute] = []
        self.working = 0
        self.most_working = 0
        self.closed = 0
        self.started = asyncio.Event()

    async def offer(self) -> AgentOffer:
        return AgentOffer(id=self.id, title=self.title)

    async def run(self, task: Execute, turn: Turn) -> RunResult:
        self.tasks.append(task)
        self.working += 1
        self.most_working = max(self.working, self.most_working)
        self.started.set()
        try:
            return await self.play(task, turn)
        finally:
            self.working -= 1

    async def commands(self, working_directory: str | None) -> Json:
        return {"commands": [], "models": [self.id]}

    async def close(self) -> None:
        self.closed += 1


class RecordingOutbox:
    """Numbers frames as a bridge's end does, keeps them, and lets a test wait for them."""

    def __init__(self) -> None:
        self.frames: list[RunFrame] = []
        self.replies: list[RpcResult | BridgeStatus] = []
        self.background: list[RequestId] = []
        """Runs that agents began by themselves."""
        self.refusal: Exception | None = None
        """What the next stream frame is refused with."""
        self._changed = asyncio.Event()

    def say(self, frame: RunFrame) -> bool:
        if self.refusal is not None and isinstance(frame, Stream):
            raise self.refusal
        seq = 1 + sum(1 for said in self.frames if said.request_id == frame.request_id)
        self.frames.append(replace(frame, seq=seq))
        self._changed.set()
        return True

    def begin_background(self, request_id: RequestId) -> None:
        self.background.append(request_id)

    def reply(self, frame: RpcResult | BridgeStatus) -> None:
        self.replies.append(frame)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition is true; it is looked at whenever something is said."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def until_final(self, request_id: str) -> RunFrame:
        """The run's final frame, once it was said."""
        await self.until(lambda: any(isinstance(frame, FINAL_FRAMES) for frame in self.of(request_id)))
        return self.of(request_id)[-1]

    async def until_said(self, kind: type[RunFrame]) -> RunFrame:
        """The first frame of this kind, once it was said."""
        await self.until(lambda: any(isinstance(frame, kind) for frame in self.frames))
        return next(frame for frame in self.frames if isinstance(frame, kind))

    def of(self, request_id: str) -> list[RunFrame]:
        return [frame for frame in self.frames if frame.request_id == request_id]

    def events(self, request_id: str) -> list[StreamEvent]:
        return [event for frame in self.of(request_id) if isinstance(frame, Stream) for event in frame.events]


def execute(
    request_id: str = "r1",
    message: str = "hello",
    *,
    agent: str = "scripted",
    conversation_id: str | None = None,
    session_id: str | None = None,
    working_directory: str | None = None,
) -> Execute:
    """An Execute; without a conversation, one of its own."""
    return Execute(
        request_id=RequestId(request_id),
        conversation_id=ConversationId(conversation_id or new_object_id()),
        message=message,
        agent=agent,
        session_id=session_id,
        working_directory=working_directory,
    )
