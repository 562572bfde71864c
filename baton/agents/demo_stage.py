"""How the demo agent's scripts speak: messages, words at a set speed, tools and questions.

Everything derives from the request, so that the same request gives the same ids, texts and offsets.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from baton.core import stream
from baton.core.frames import Execute, PromptAsked
from baton.core.ids import derived_object_id
from baton.core.models import PromptOption, PromptType, Question, Usage
from baton.core.ports import PromptAnswer, Turn
from baton.core.text import Json, clean_text, utf16_length

MODEL: Final = "demo-script"
OPENING: Final = "Demo agent (scripted, not a model): "
"""The first words of every answer, so that nobody takes a script for a model."""

_TICK_S: Final = 0.02
"""The shortest pause: faster speeds say several words per pause, because sleeps are not exact below this."""


@dataclass(slots=True)
class Speech:
    """One message of the script while it is being said."""

    message_id: str
    block: int = -1
    words: int = 0


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool call of the script. No tool is ever run."""

    message_id: str
    id: str
    name: str
    input: Json


@dataclass(slots=True, kw_only=True)
class Stage:
    """What a scenario may do: speak, pause, pretend to use tools, ask."""

    task: Execute
    turn: Turn
    scenario: str
    parameters: Mapping[str, float]
    sleep: Callable[[float], Awaitable[None]]
    recalled: str | None = None
    """What was sent before in this session; None: unknown."""
    usage: Usage = field(default_factory=Usage)
    paused_s: float = 0.0
    _messages: int = 0
    _named: int = 0

    # --- messages ------------------------------------------------------------------------------------------------

    def begin(self, within: Tool | None = None) -> Speech:
        """Start a message; `within` a tool that is a sub-agent, it is that one's."""
        self._messages += 1
        speech = Speech(derived_object_id(self.task.request_id, "message", str(self._messages)))
        parent = None if within is None else within.id
        self.turn.emit(stream.MessageStarted(message_id=speech.message_id, model=MODEL, parent_tool_use_id=parent))
        return speech

    async def say(self, speech: Speech, text: str) -> None:
        """One text block, word by word, at the speed that was asked for."""
        text = await self._speak(speech, text, stream.TextDelta)
        self.turn.emit(stream.TextDone(message_id=speech.message_id, block=speech.block, text=text))

    async def think(self, speech: Speech, text: str) -> None:
        """One thinking block, word by word."""
        text = await self._speak(speech, text, stream.ThinkingDelta)
        self.turn.emit(stream.ThinkingDone(message_id=speech.message_id, block=speech.block, text=text))

    def burst(self, speech: Speech, pieces: Iterable[str]) -> None:
        """One text block as one delta per piece, all at once."""
        speech.block += 1
        offset, said = 0, []
        deltas: list[stream.StreamEvent] = []
        for piece in pieces:
            deltas.append(stream.TextDelta(speech.message_id, speech.block, offset, piece))
            offset += utf16_length(piece)
            said.append(piece)
        text = "".join(said)
        speech.words += len(text.split())
        self.turn.emit(*deltas, stream.TextDone(message_id=speech.message_id, block=speech.block, text=text))

    def finish(self, speech: Speech) -> None:
        """The message is final but for the results of its tools."""
        usage = Usage(input_tokens=len(self.task.message.split()), output_tokens=speech.words)
        self.usage += usage
        self.turn.emit(
            stream.MessageDone(
                message_id=speech.message_id,
                claude_data={
                    "agent": "demo",
                    "scenario": self.scenario,
                    "parameters": {name: _plain(value) for name, value in self.parameters.items()},
                },
                usage=usage,
                model=MODEL,
                stop_reason="end_turn",
            )
        )

    async def tell(self, text: str) -> None:
        """A whole message of one text that opens by saying who speaks."""
        speech = self.begin()
        await self.say(speech, OPENING + text)
        self.finish(speech)

    async def pause(self, seconds: float) -> None:
        """Let time pass."""
        if seconds > 0:
            self.paused_s += seconds
            await self.sleep(seconds)

    async def _speak(self, speech: Speech, text: str, kind: type[stream.TextDelta] | type[stream.ThinkingDelta]) -> str:
        text = clean_text(text)
        speech.block += 1
        offset, due_s = 0, 0.0
        rate = self.parameters["rate"]
        for word in re.findall(r"\s*\S+\s*", text) or [text]:
            self.turn.emit(kind(speech.message_id, speech.block, offset, word))
            offset += utf16_length(word)
            speech.words += 1
            due_s += 1 / rate
            if due_s >= _TICK_S:
                await self.pause(due_s)
                due_s = 0.0
        return text

    # --- tools and questions -------------------------------------------------------------------------------------

    def use(self, speech: Speech, name: str, *, kind: str, title: str, arguments: dict[str, Json]) -> Tool:
        """Begin a pretended tool call with its whole input."""
        speech.block += 1
        tool = Tool(speech.message_id, self._name("tool"), name, arguments)
        self.turn.emit(
            stream.ToolStarted(
                message_id=speech.message_id, block=speech.block, id=tool.id, name=name, kind=kind, title=title
            ),
            stream.ToolInput(message_id=speech.message_id, block=speech.block, id=tool.id, input=tool.input),
        )
        return tool

    def progress(self, tool: Tool, text: str) -> None:
        """More output of a running tool."""
        self.turn.emit(stream.ToolProgress(message_id=tool.message_id, id=tool.id, text=text))

    def result(self, tool: Tool, result: Json, *, is_error: bool = False) -> None:
        """The tool's result."""
        self.turn.emit(stream.ToolDone(message_id=tool.message_id, id=tool.id, result=result, is_error=is_error))

    async def ask(
        self,
        kind: PromptType,
        title: str,
        *,
        options: tuple[PromptOption, ...],
        message: str = "",
        tool: Tool | None = None,
        arguments: Json = None,
        questions: tuple[Question, ...] = (),
    ) -> PromptAnswer:
        """Ask a person and wait for the answer."""
        return await self.turn.ask(
            PromptAsked(
                prompt_id=self._name("prompt"),
                type=kind,
                title=title,
                message=message,
                tool_name=tool.name if tool else None,
                tool_use_id=tool.id if tool else None,
                input=tool.input if tool else arguments,
                options=options,
                questions=questions,
            )
        )

    def _name(self, kind: str) -> str:
        """An id that no other run has, and that the same request gives again."""
        self._named += 1
        return derived_object_id(self.task.request_id, kind, str(self._named))


def _plain(value: float) -> Json:
    return int(value) if value == int(value) else value
