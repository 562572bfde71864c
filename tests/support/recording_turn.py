"""A `core.ports.Turn` for tests of agents: keeps what is said, answers what is asked."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from baton.core.frames import PromptAsked, RunResult
from baton.core.models import Attachment
from baton.core.ports import PromptAnswer, Turn
from baton.core.stream import StreamEvent, TextDelta, TextDone, ThinkingDelta, ThinkingDone, ToolDone

Event = TypeVar("Event")

Answer = Callable[[PromptAsked], PromptAnswer]


def choosing(option: str, message: str | None = None) -> Answer:
    """Answer every prompt with this option."""
    return lambda prompt: PromptAnswer(selected_option=option, message=message)


@dataclass(slots=True)
class RecordingTurn:
    """One turn. Without `answer`, prompts stay open until the asking is cancelled."""

    answer: Answer | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    events: list[StreamEvent] = field(default_factory=list)
    asked: list[PromptAsked] = field(default_factory=list)
    taken_back: list[str] = field(default_factory=list)
    background: "list[tuple[RecordingTurn, asyncio.Task[RunResult]]]" = field(default_factory=list)
    """The runs that the agent began by itself. Each answers as this one does, and belongs to the test."""
    _said: asyncio.Event = field(default_factory=asyncio.Event)

    def emit(self, *events: StreamEvent) -> None:
        self.events.extend(events)
        self._said.set()

    async def ask(self, prompt: PromptAsked) -> PromptAnswer:
        self.asked.append(prompt)
        self._said.set()
        if self.answer is not None:
            return self.answer(prompt)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.taken_back.append(prompt.prompt_id)
            raise
        raise AssertionError("nobody sets the event")

    async def read_attachment(self, attachment: Attachment) -> bytes:
        return self.files[attachment.id]

    def begin_background(self, play: Callable[[Turn], Awaitable[RunResult]]) -> None:
        async def run() -> RunResult:
            return await play(turn)

        turn = RecordingTurn(answer=self.answer)
        self.background.append((turn, asyncio.create_task(run())))
        self._said.set()

    async def until(self, is_so: "Callable[[RecordingTurn], bool]") -> None:
        """Return when `is_so` of this turn; looked at after everything that is said or asked."""
        async with asyncio.timeout(20):
            while not is_so(self):
                self._said.clear()
                await self._said.wait()

    def of(self, kind: type[Event]) -> list[Event]:
        """The events of this kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def text(self) -> str:
        """All text, as the final blocks say it."""
        return "\n".join(event.text for event in self.of(TextDone))

    def thinking(self) -> str:
        """All thinking, as the final blocks say it."""
        return "\n".join(event.text for event in self.of(ThinkingDone))

    def joined_deltas(self, kind: type[TextDelta] | type[ThinkingDelta]) -> str:
        """The text that a browser built from deltas alone."""
        return "".join(event.text for event in self.of(kind))

    def result_of(self, tool_use_id: str) -> ToolDone:
        """The result of this tool call."""
        return next(event for event in self.of(ToolDone) if event.id == tool_use_id)
