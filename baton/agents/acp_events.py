"""What an ACP agent says during a turn, as stream events. Pure: session updates in, events out, no I/O.

The protocol (agentclientprotocol.com, version 1) has no messages, only chunks; some agents name the message of each.
Where they do not, a message ends where the agent speaks again after a tool call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from acp import schema
from pydantic import ValidationError

from baton.agents.acp_tools import (
    Content,
    input_of,
    kind_name_of,
    kind_of,
    own_name_of,
    result_of,
    text_of,
    title_of,
)
from baton.core.ids import new_object_id
from baton.core.models import PlanEntry
from baton.core.stream import (
    MessageDone,
    MessageStarted,
    Notice,
    PlanUpdated,
    StreamEvent,
    TextDelta,
    TextDone,
    ThinkingDelta,
    ThinkingDone,
    ToolDone,
    ToolInput,
    ToolProgress,
    ToolStarted,
)
from baton.core.text import Json, clean_json, clean_text, utf16_length

MESSAGE_MAX_CHARS: Final = 1 << 20
"""Past it a new message begins: an agent may never stop, and what it said in a message is held until its end."""
MESSAGE_MAX_BLOCKS: Final = 500
TURN_MAX_TOOLS: Final = 10_000
PROGRESS_MAX_CHARS: Final = 256 << 10
"""Shown of the output of one running tool; its result is shown whole."""

_FINAL: Final = ("completed", "failed")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of text of the agent. Not cleaned: half a character may stand at its end."""

    kind: str
    """text or thinking"""
    text: str
    message_id: str | None = None
    parent: str | None = None
    """The tool call of the sub-agent that speaks."""


Update = (
    Chunk
    | schema.ToolCallStart
    | schema.ToolCallProgress
    | schema.AgentPlanUpdate
    | schema.AgentPlanContentUpdate
    | schema.AvailableCommandsUpdate
    | schema.CurrentModeUpdate
    | schema.ConfigOptionUpdate
    | schema.UsageUpdate
)
"""Those of the protocol that say something to a person, or change what is known of the session."""

_CHUNKS: Final = {"agent_message_chunk": "text", "agent_thought_chunk": "thinking"}
_MODELS: Final[dict[str, type[Any]]] = {
    "tool_call": schema.ToolCallStart,
    "tool_call_update": schema.ToolCallProgress,
    "plan": schema.AgentPlanUpdate,
    "plan_update": schema.AgentPlanContentUpdate,
    "available_commands_update": schema.AvailableCommandsUpdate,
    "current_mode_update": schema.CurrentModeUpdate,
    "config_option_update": schema.ConfigOptionUpdate,
    "usage_update": schema.UsageUpdate,
}


def read_update(raw: object) -> Update | None:
    """The `update` of a session/update; None for one that is malformed, of a later version, or not for people."""
    if not isinstance(raw, Mapping):
        return None
    name = str(raw.get("sessionUpdate"))
    if name in _CHUNKS:
        return _read_chunk(_CHUNKS[name], raw)
    model = _MODELS.get(name)
    if model is None:
        return None
    try:
        update: Update = model.model_validate(clean_json(raw))
    except ValidationError:
        return None
    return update


def _read_chunk(kind: str, raw: Mapping[str, Any]) -> Chunk | None:
    """Read by hand: it is most of what comes, and the package's models refuse half a character."""
    text = text_of(raw.get("content"))
    message_id = raw.get("messageId")
    parent = meta_of(raw).get("parentToolUseId")
    return Chunk(
        kind,
        text,
        message_id if isinstance(message_id, str) else None,
        parent if isinstance(parent, str) else None,
    )


def meta_of(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What Claude Code's adapter adds to an update."""
    meta = raw.get("_meta")
    own = meta.get("claudeCode") if isinstance(meta, Mapping) else None
    return own if isinstance(own, Mapping) else {}


@dataclass(slots=True)
class _Block:
    """Text or thinking of a message that is being said."""

    index: int
    kind: str
    pieces: list[str] = field(default_factory=list)
    length: int = 0
    """UTF-16 units said so far."""
    held: str = ""
    """Half a character that waits for its other half."""


@dataclass(slots=True)
class _Spoken:
    """One message of the agent."""

    id: str
    agents_id: str | None
    open: _Block | None = None
    """The last block, where it is text or thinking and may go on."""
    block_count: int = 0
    chars: int = 0
    has_tools: bool = False
    parts: "list[Json | Tool]" = field(default_factory=list)
    """What it came to, in order: whole text and thinking, and its tool calls."""

    def is_ended_by(self, chunk: Chunk) -> bool:
        """Whether this chunk belongs to another message."""
        if self.chars > MESSAGE_MAX_CHARS or self.block_count >= MESSAGE_MAX_BLOCKS:
            return True
        if chunk.message_id is not None and self.agents_id is not None:
            return chunk.message_id != self.agents_id
        return self.has_tools


@dataclass(slots=True)
class Tool:
    """A tool call as far as it is known."""

    id: str
    message_id: str
    block: int
    own_name: str | None = None
    """What the agent's program calls it, where that is known."""
    acp_kind: str | None = None
    """Its kind as the protocol has it."""
    title: str = ""
    status: str = "pending"
    input: Json = None
    is_told: bool = False
    shown: str = ""
    """Output that was shown while it ran."""
    content: Content = ()
    raw_output: Json = None

    @property
    def name(self) -> str:
        """What it is called for people."""
        return self.own_name or kind_name_of(self.acp_kind)


class Translation:
    """One turn.

    1. Every delta starts where the one before it in its block ended.
    2. After `finish` every message is done.
    """

    def __init__(self) -> None:
        self._spoken: dict[str | None, _Spoken] = {}
        """The message that goes on, by the sub-agent's tool call; None: the agent itself."""
        self._tools: dict[str, Tool] = {}
        self._out: list[StreamEvent] = []

    def take(self, update: Update) -> list[StreamEvent]:
        """What this update says, in order; nothing for those that say nothing to people."""
        match update:
            case Chunk():
                self._take_chunk(update)
            case schema.ToolCallStart() | schema.ToolCallProgress():
                self.take_tool(update)
            case schema.AgentPlanUpdate():
                self._say(PlanUpdated(entries=_plan(update.entries)))
            case schema.AgentPlanContentUpdate(plan=schema.PlanUpdateItems() as plan):
                self._say(PlanUpdated(entries=_plan(plan.entries)))
        return self.said()

    def take_tool(self, call: schema.ToolCall | schema.ToolCallUpdate) -> None:
        """What an update, or a question about it, says of a tool call; `said` has the events."""
        tool = self._tools.get(call.tool_call_id) or self._begin_tool(call)
        if tool is None or tool.status in _FINAL:
            return
        self._name_tool(tool, call)
        self._note_output(tool, call)
        tool.status = call.status or tool.status
        if tool.status in _FINAL:
            result = result_of(tool.content, tool.raw_output)
            is_error = tool.status == "failed"
            self._say(ToolDone(message_id=tool.message_id, id=tool.id, result=result, is_error=is_error))
            tool.content, tool.raw_output, tool.shown = (), None, ""

    def finish(self) -> list[StreamEvent]:
        """The turn is over: nothing more is said in any message."""
        for parent in list(self._spoken):
            self._end(parent)
        return self.said()

    def tool(self, tool_use_id: str) -> Tool | None:
        """What is known of a tool call."""
        return self._tools.get(tool_use_id)

    def said(self) -> list[StreamEvent]:
        """The events since the last time."""
        said, self._out = self._out, []
        return said

    def _say(self, *events: StreamEvent) -> None:
        self._out.extend(events)

    # --- text --------------------------------------------------------------------------------------------------

    def _take_chunk(self, chunk: Chunk) -> None:
        if not chunk.text:
            return
        spoken = self._spoken.get(chunk.parent)
        if spoken is not None and spoken.is_ended_by(chunk):
            self._end(chunk.parent)
            spoken = None
        spoken = spoken or self._begin(chunk.parent, chunk.message_id)
        spoken.agents_id = spoken.agents_id or chunk.message_id
        block = spoken.open
        if block is None or block.kind != chunk.kind:
            self._end_block(spoken)
            block = spoken.open = _Block(spoken.block_count, chunk.kind)
            spoken.block_count += 1
        self._say_text(spoken, block, chunk.text)

    def _say_text(self, spoken: _Spoken, block: _Block, text: str) -> None:
        spoken.chars += len(text)
        text = block.held + text
        block.held = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        text = clean_text(text[:-1] if block.held else text)
        if text:
            delta = TextDelta if block.kind == "text" else ThinkingDelta
            self._say(delta(spoken.id, block.index, block.length, text))
            block.pieces.append(text)
            block.length += utf16_length(text)

    def _end_block(self, spoken: _Spoken) -> None:
        block, spoken.open = spoken.open, None
        if block is None:
            return
        text = "".join(block.pieces) + clean_text(block.held)
        if block.kind == "text":
            self._say(TextDone(message_id=spoken.id, block=block.index, text=text))
            spoken.parts.append({"type": "text", "text": text})
        else:
            self._say(ThinkingDone(message_id=spoken.id, block=block.index, text=text))
            spoken.parts.append({"type": "thinking", "thinking": text})

    # --- tools -------------------------------------------------------------------------------------------------

    def _begin_tool(self, call: schema.ToolCall | schema.ToolCallUpdate) -> Tool | None:
        if len(self._tools) >= TURN_MAX_TOOLS:
            return None
        if len(self._tools) == TURN_MAX_TOOLS - 1:
            self._say(Notice(level="warning", text="The agent makes too many tool calls; further ones are not shown"))
        parent = _parent_of(call)
        spoken = self._spoken.get(parent)
        if spoken is not None and spoken.block_count >= MESSAGE_MAX_BLOCKS:
            self._end(parent)
            spoken = None
        spoken = spoken or self._begin(parent, None)
        self._end_block(spoken)
        tool = self._tools[call.tool_call_id] = Tool(call.tool_call_id, spoken.id, spoken.block_count)
        spoken.block_count += 1
        spoken.has_tools = True
        spoken.parts.append(tool)
        return tool

    def _name_tool(self, tool: Tool, call: schema.ToolCall | schema.ToolCallUpdate) -> None:
        """Its name, kind, title and input, told again where they have changed."""
        before = (tool.name, tool.acp_kind, tool.title)
        tool.own_name = own_name_of(call) or tool.own_name
        tool.acp_kind = call.kind or tool.acp_kind
        tool.title = title_of(call.title) or tool.title
        if before != (tool.name, tool.acp_kind, tool.title) or not tool.is_told:
            tool.is_told = True
            self._say(
                ToolStarted(
                    message_id=tool.message_id,
                    block=tool.block,
                    id=tool.id,
                    name=tool.name,
                    kind=kind_of(tool.acp_kind),
                    title=tool.title,
                )
            )
        given = input_of(call)
        if given is not None and given != tool.input:
            tool.input = given
            self._say(ToolInput(message_id=tool.message_id, block=tool.block, id=tool.id, input=given))

    def _note_output(self, tool: Tool, call: schema.ToolCall | schema.ToolCallUpdate) -> None:
        if call.raw_output is not None:
            tool.raw_output = clean_json(call.raw_output)
        if call.content is None:
            return
        tool.content = tuple(call.content)
        text = result_of(tool.content, None)
        if (call.status or tool.status) != "in_progress" or not isinstance(text, str) or text == tool.shown:
            return
        # The protocol gives all output each time; told is what is new.
        more = text[len(tool.shown) :] if text.startswith(tool.shown) else "\n" + text
        if len(tool.shown) + len(more) <= PROGRESS_MAX_CHARS:
            tool.shown = text
            self._say(ToolProgress(message_id=tool.message_id, id=tool.id, text=more))

    # --- messages ----------------------------------------------------------------------------------------------

    def _begin(self, parent: str | None, agents_id: str | None) -> _Spoken:
        spoken = self._spoken[parent] = _Spoken(new_object_id(), agents_id)
        self._say(MessageStarted(message_id=spoken.id, parent_tool_use_id=parent))
        return spoken

    def _end(self, parent: str | None) -> None:
        spoken = self._spoken.pop(parent)
        self._end_block(spoken)
        self._say(MessageDone(message_id=spoken.id, claude_data=_data(spoken)))


def _data(spoken: _Spoken) -> Json:
    content: list[Json] = [
        {"type": "tool_use", "id": part.id, "name": part.name, "input": part.input} if isinstance(part, Tool) else part
        for part in spoken.parts
    ]
    return {"id": spoken.agents_id or spoken.id, "role": "assistant", "content": content}


def _parent_of(call: schema.ToolCall | schema.ToolCallUpdate) -> str | None:
    parent = meta_of({"_meta": call.field_meta}).get("parentToolUseId")
    return parent if isinstance(parent, str) else None


def _plan(entries: list[schema.PlanEntry]) -> tuple[PlanEntry, ...]:
    return tuple(PlanEntry(text=clean_text(entry.content), status=entry.status) for entry in entries)
