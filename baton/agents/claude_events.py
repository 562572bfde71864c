"""What Claude Code says, as stream events. Pure: SDK messages in, events out, no I/O.

Measured on Claude Code 2.1.330: one `StreamEvent` per event of the API; before a block's stop comes an
`AssistantMessage` that holds just this block, whole; several of them share a `message_id`. A message that the API
breaks off ends with a stop too, but without a stop reason and without its last block's `AssistantMessage`.
Sub-agents do not stream: their messages come whole, with `parent_tool_use_id`, and never say when one is over.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from claude_agent_sdk import types as sdk

from baton.agents.claude_tools import kind_of, plan_of, result_of, title_of
from baton.core.models import Usage
from baton.core.stream import (
    MessageDiscarded,
    MessageDone,
    MessageStarted,
    ModeUpdated,
    Notice,
    PlanUpdated,
    SessionUpdated,
    StreamEvent,
    TextDelta,
    TextDone,
    ThinkingDelta,
    ThinkingDone,
    ToolDone,
    ToolInput,
    ToolProgress,
    ToolStarted,
    UsageUpdated,
)
from baton.core.text import Json, clean_json, clean_text, utf16_length

_SHOWN_BLOCKS: Final = {"text": "text", "thinking": "thinking", "tool_use": "tool", "server_tool_use": "tool"}


@dataclass(slots=True)
class _Block:
    """One block of a message that is being said."""

    index: int
    """Its place among the blocks that are shown; the API counts some that are not."""
    kind: str
    tool_id: str = ""
    length: int = 0
    """UTF-16 units said so far."""
    held: str = ""
    """A high surrogate that waits for its other half."""
    is_whole: bool = False


@dataclass(slots=True)
class _Spoken:
    """One message of the agent."""

    id: str
    model: str | None
    parent: str | None = None
    streams: bool = True
    blocks: list[_Block] = field(default_factory=list)
    by_api_index: dict[int, _Block] = field(default_factory=dict)
    content: list[Json] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    stop_reason: str | None = None

    def new_block(self, kind: str, tool_id: str = "") -> _Block:
        block = _Block(len(self.blocks), kind, tool_id)
        self.blocks.append(block)
        return block

    def open_block(self, kind: str, tool_id: str = "") -> _Block | None:
        """The block that a whole one of this kind completes: the first that is not whole yet."""
        fitting = (b for b in self.blocks if b.kind == kind and not b.is_whole and b.tool_id == tool_id)
        return next(fitting, None)

    @property
    def is_kept(self) -> bool:
        """Whether Claude Code keeps it in the conversation: it ended well, or got a text or a tool call out whole."""
        ended = self.stop_reason is not None or not self.streams
        return ended or any(block.is_whole and block.kind != "thinking" for block in self.blocks)


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A tool call that has no result yet."""

    name: str
    input: Mapping[str, Any]
    parent: str | None


def usage_of(raw: Mapping[str, Any] | None) -> Usage:
    """Tokens as the API counts them."""
    raw = raw or {}
    return Usage(
        input_tokens=raw.get("input_tokens") or 0,
        output_tokens=raw.get("output_tokens") or 0,
        cache_read_tokens=raw.get("cache_read_input_tokens") or 0,
        cache_write_tokens=raw.get("cache_creation_input_tokens") or 0,
    )


class Translation:
    """One turn's messages. `session_id` is the one that is known to whoever gets the events; `open_calls` are those
    of the turns before, by id: a sub-agent in the background goes on between turns.

    1. Every text.delta and thinking.delta starts where the one before it in its block ended.
    2. A message is done, discarded, or left open; it is left open only where the turn did not end well.
    3. A result whose call was said in a turn before comes with that call, in a message of its own.
    """

    def __init__(self, session_id: str | None = None, open_calls: Mapping[str, OpenCall] | None = None) -> None:
        self.session_id = session_id
        self.open_calls = dict(open_calls or {})
        self.error: str | None = None
        """What Claude Code said of itself instead of an answer, for example `authentication_failed`."""
        self.mode: str | None = None
        """Claude Code's own permission mode, once it changed in this turn."""
        self._main: _Spoken | None = None
        self._of_sub_agents: dict[str, _Spoken] = {}
        self._message_of_tool: dict[str, str] = {}
        self._inputs: dict[str, Mapping[str, Any]] = {}
        self._usage = Usage()
        self._out: list[StreamEvent] = []

    def take(self, message: object) -> list[StreamEvent]:
        """What this message says, in order; nothing for those that say nothing to people."""
        match message:
            case sdk.StreamEvent(parent_tool_use_id=None):
                self._take_api_event(message.event)
            case sdk.AssistantMessage():
                self._take_assistant(message)
            case sdk.UserMessage():
                self._take_user(message)
            case sdk.TaskProgressMessage():
                self._take_progress(message)
            case sdk.SystemMessage():
                self._take_system(message)
            case sdk.RateLimitEvent():
                self._take_rate_limit(message)
            case sdk.ConversationResetMessage():
                self._say(Notice(level="info", text="The conversation was cleared; Claude starts anew"))
        return self._said()

    def finish(self) -> list[StreamEvent]:
        """The turn ended well: what is still open is over."""
        self._settle_main()
        for parent in list(self._of_sub_agents):
            self._settle_sub_agent(parent)
        return self._said()

    def tool_input(self, tool_use_id: str | None) -> Mapping[str, Any]:
        """The input of a tool call as the model gave it; empty where it is not known."""
        return self._inputs.get(tool_use_id or "", {})

    def _say(self, *events: StreamEvent) -> None:
        self._out.extend(events)

    def _said(self) -> list[StreamEvent]:
        said, self._out = self._out, []
        return said

    # --- what streams ------------------------------------------------------------------------------------------

    def _take_api_event(self, event: Mapping[str, Any]) -> None:
        take = _API_EVENTS.get(event.get("type", ""))
        if take is not None:
            take(self, event)

    def _message_start(self, event: Mapping[str, Any]) -> None:
        raw = event["message"]
        self._settle_main()
        self._main = self._begin(_Spoken(raw["id"], raw.get("model")))
        self._main.usage = dict(raw.get("usage") or {})

    def _block_start(self, event: Mapping[str, Any]) -> None:
        raw = event["content_block"]
        if self._main is None:
            return
        if raw["type"].endswith("_tool_result"):
            self._tool_done(raw.get("tool_use_id", ""), raw.get("content"), is_error=False)
            return
        kind = _SHOWN_BLOCKS.get(raw["type"])
        if kind is None:
            return
        block = self._main.new_block(kind, raw.get("id", ""))
        self._main.by_api_index[event["index"]] = block
        if kind == "tool":
            self._tool_started(self._main, block, raw["name"])

    def _block_delta(self, event: Mapping[str, Any]) -> None:
        block = self._main.by_api_index.get(event["index"]) if self._main is not None else None
        text = event["delta"].get("text") or event["delta"].get("thinking")
        if self._main is None or block is None or block.kind == "tool" or not text:
            return
        text = block.held + text
        block.held = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        text = clean_text(text[:-1] if block.held else text)
        if text:
            delta = TextDelta if block.kind == "text" else ThinkingDelta
            self._say(delta(self._main.id, block.index, block.length, text))
            block.length += utf16_length(text)

    def _message_delta(self, event: Mapping[str, Any]) -> None:
        if self._main is not None:
            self._main.stop_reason = event["delta"].get("stop_reason")
            self._main.usage |= {name: count for name, count in (event.get("usage") or {}).items() if count is not None}

    def _message_stop(self, event: Mapping[str, Any]) -> None:
        # Without a stop reason it was broken off: what comes next tells whether it is kept.
        if self._main is not None and self._main.stop_reason is not None:
            self._settle_main()

    # --- what comes whole --------------------------------------------------------------------------------------

    def _take_assistant(self, message: sdk.AssistantMessage) -> None:
        if message.error is not None:
            self.error = message.error
            return
        spoken = self._spoken_of(message)
        for block in message.content:
            self._take_block(spoken, block)

    def _spoken_of(self, message: sdk.AssistantMessage) -> _Spoken:
        """The message that this part belongs to; one that did not stream begins with it."""
        parent, name = message.parent_tool_use_id, message.message_id or message.uuid or "unnamed"
        known = self._main if parent is None else self._of_sub_agents.get(parent)
        if known is not None and known.id == name:
            return known
        spoken = _Spoken(name, message.model, parent, streams=False, usage=dict(message.usage or {}))
        spoken.stop_reason = message.stop_reason
        if parent is None:
            self._settle_main()
            self._main = spoken
        else:
            self._settle_sub_agent(parent)
            self._of_sub_agents[parent] = spoken
        return self._begin(spoken)

    def _take_block(self, spoken: _Spoken, block: sdk.ContentBlock) -> None:
        match block:
            case sdk.TextBlock(text=text):
                self._text_whole(spoken, "text", text, {"type": "text", "text": text})
            case sdk.ThinkingBlock(thinking=text, signature=signature):
                raw = {"type": "thinking", "thinking": text, "signature": signature}
                self._text_whole(spoken, "thinking", text, raw)
            case sdk.ToolUseBlock() | sdk.ServerToolUseBlock():
                self._tool_whole(spoken, block)
            case sdk.ToolResultBlock() | sdk.ServerToolResultBlock():
                self._tool_done(block.tool_use_id, block.content, is_error=bool(getattr(block, "is_error", False)))

    def _text_whole(self, spoken: _Spoken, kind: str, text: str, raw: object) -> None:
        block = spoken.open_block(kind) or spoken.new_block(kind)
        block.is_whole = True
        spoken.content.append(clean_json(raw))
        done = TextDone if kind == "text" else ThinkingDone
        self._say(done(message_id=spoken.id, block=block.index, text=clean_text(text)))

    def _tool_whole(self, spoken: _Spoken, call: sdk.ToolUseBlock | sdk.ServerToolUseBlock) -> None:
        block = spoken.open_block("tool", call.id) or spoken.new_block("tool", call.id)
        block.is_whole = True
        self._inputs[call.id] = call.input
        self.open_calls[call.id] = OpenCall(call.name, call.input, spoken.parent)
        spoken.content.append(clean_json({"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}))
        # Said again where it was said before: only now there is a title.
        self._tool_started(spoken, block, call.name, title_of(call.input))
        self._say(ToolInput(message_id=spoken.id, block=block.index, id=call.id, input=clean_json(call.input)))
        plan = plan_of(call.name, call.input)
        if plan is not None:
            self._say(PlanUpdated(entries=plan))

    def _tool_started(self, spoken: _Spoken, block: _Block, name: str, title: str = "") -> None:
        self._message_of_tool[block.tool_id] = spoken.id
        started = ToolStarted(
            message_id=spoken.id, block=block.index, id=block.tool_id, name=name, kind=kind_of(name), title=title
        )
        self._say(started)

    def _take_user(self, message: sdk.UserMessage) -> None:
        if isinstance(message.content, str):
            return
        for block in message.content:
            if isinstance(block, sdk.ToolResultBlock):
                self._tool_done(block.tool_use_id, block.content, is_error=bool(block.is_error))

    def _tool_done(self, tool_use_id: str, content: object, *, is_error: bool) -> None:
        self._settle_sub_agent(tool_use_id)
        call = self.open_calls.pop(tool_use_id, None)
        message_id, again = self._message_of_tool.get(tool_use_id), None
        if message_id is None and call is not None:
            again = self._begin(_Spoken(f"{tool_use_id}-result", None, call.parent, streams=False))
            self._tool_whole(again, sdk.ToolUseBlock(tool_use_id, call.name, dict(call.input)))
            del self.open_calls[tool_use_id]
            message_id = again.id
        if message_id is not None:
            self._say(ToolDone(message_id=message_id, id=tool_use_id, result=result_of(content), is_error=is_error))
        if again is not None:
            self._end(again)

    # --- what Claude Code says of itself -----------------------------------------------------------------------

    def _take_progress(self, message: sdk.TaskProgressMessage) -> None:
        message_id = self._message_of_tool.get(message.tool_use_id or "")
        if message_id is not None and message.tool_use_id is not None:
            text = clean_text(message.description) + "\n"
            self._say(ToolProgress(message_id=message_id, id=message.tool_use_id, text=text))

    def _take_system(self, message: sdk.SystemMessage) -> None:
        data = message.data
        match message.subtype:
            case "init":
                self._session(data.get("session_id"))
            case "api_retry":
                self._settle_main()
                self._say(_retry_notice(data))
            case "status" if isinstance(data.get("permissionMode"), str):
                self._mode_changed(str(data["permissionMode"]))
            case "compact_boundary":
                self._say(Notice(level="info", text="Claude summed up the earlier conversation to make room"))
            case "informational" if data.get("content"):
                self._say(Notice(level="info", text=clean_text(str(data["content"]))))

    def _mode_changed(self, mode: str) -> None:
        self.mode = mode
        # The way out of plan mode is an answer to a prompt, and told with it: only that knows which mode is meant.
        if mode == "plan":
            self._say(ModeUpdated(mode=mode))

    def _session(self, session_id: object) -> None:
        if isinstance(session_id, str) and session_id != self.session_id:
            self.session_id = session_id
            self._say(SessionUpdated(session_id=session_id))

    def _take_rate_limit(self, message: sdk.RateLimitEvent) -> None:
        status = message.rate_limit_info.status
        if status == "allowed_warning":
            self._say(Notice(level="warning", text="The limit of this Claude login is near"))
        elif status == "rejected":
            self._say(Notice(level="warning", text="The limit of this Claude login is reached"))

    # --- beginning and ending ----------------------------------------------------------------------------------

    def _begin(self, spoken: _Spoken) -> _Spoken:
        self._say(MessageStarted(message_id=spoken.id, model=spoken.model, parent_tool_use_id=spoken.parent))
        return spoken

    def _settle_main(self) -> None:
        spoken, self._main = self._main, None
        if spoken is not None:
            self._end(spoken)

    def _settle_sub_agent(self, parent: str) -> None:
        spoken = self._of_sub_agents.pop(parent, None)
        if spoken is not None:
            self._end(spoken)

    def _end(self, spoken: _Spoken) -> None:
        if not spoken.is_kept:
            self._say(MessageDiscarded(message_id=spoken.id))
            return
        usage = usage_of(spoken.usage)
        self._usage += usage
        self._say(
            MessageDone(
                message_id=spoken.id,
                claude_data=_claude_data(spoken),
                usage=usage,
                model=spoken.model,
                stop_reason=spoken.stop_reason,
            ),
            UsageUpdated(usage=self._usage),
        )


def _claude_data(spoken: _Spoken) -> Json:
    return {
        "id": spoken.id,
        "role": "assistant",
        "model": spoken.model,
        "content": spoken.content,
        "stop_reason": spoken.stop_reason,
        "usage": clean_json(spoken.usage),
    }


def _retry_notice(data: Mapping[str, Any]) -> Notice:
    status = data.get("error_status")
    what = f"Claude's API answered {status}" if status else "The connection to Claude's API broke"
    delay_s = (data.get("retry_delay_ms") or 0) / 1000
    return Notice(
        level="warning",
        text=f"{what}; trying again in {delay_s:.1f} s ({data.get('attempt')} of {data.get('max_retries')})",
    )


_API_EVENTS: Final[dict[str, Callable[[Translation, Mapping[str, Any]], None]]] = {
    "message_start": Translation._message_start,
    "content_block_start": Translation._block_start,
    "content_block_delta": Translation._block_delta,
    "message_delta": Translation._message_delta,
    "message_stop": Translation._message_stop,
}
