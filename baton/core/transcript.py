"""The messages of one run while the agent still speaks: stream events in, whole messages out.

Pure state without I/O. The same `Transcript` is fed live by the bridge's frames and, after a crash, by the
journal, so that both give the same messages. It must not know the store, the browser or the clock.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from baton.core import stream
from baton.core.ids import ConversationId, MessageId, ProjectId, RequestId
from baton.core.models import (
    Block,
    Failure,
    Message,
    MessageStatus,
    Role,
    TextBlock,
    ThinkingBlock,
    ToolStatus,
    ToolUseBlock,
    Usage,
)
from baton.core.stream import StreamEvent
from baton.core.text import Json, utf16_length

MAX_BLOCKS: Final = 2000
"""Blocks of one message; an agent that names more is broken or hostile."""

_TRUNCATED = "\n[cut here: the message is over its limit]"


class _Growing:
    """Text that grows by deltas: kept in pieces, because joining at each delta would be quadratic."""

    __slots__ = ("is_cut", "length", "pieces", "thinking")

    def __init__(self, *, thinking: bool, text: str = "") -> None:
        self.thinking = thinking
        self.pieces = [text] if text else []
        self.length = utf16_length(text)
        self.is_cut = False

    def text(self) -> str:
        """The whole; joined pieces replace the pieces."""
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    def block(self) -> Block:
        return ThinkingBlock(self.text()) if self.thinking else TextBlock(self.text())


_Slot = _Growing | ToolUseBlock


@dataclass(slots=True, kw_only=True)
class LiveMessage:
    """One message of the agent, as far as it has been said."""

    id: MessageId
    ordinal: int
    claude_message_id: str | None
    started_at: datetime
    model: str | None = None
    parent_tool_use_id: str | None = None
    seq: int = 0
    status: MessageStatus = MessageStatus.STREAMING
    claude_data: Json = field(default_factory=dict)
    usage: Usage | None = None
    size: int = 0
    """Characters so far, against the message's limit."""
    first_row: int | None = None
    """The bridge seq of the oldest journal row that holds something of it which no document contains."""
    slots: list[_Slot | None] = field(default_factory=list)
    progress: dict[int, list[str]] = field(default_factory=dict)
    """Output of running tools so far, in pieces, by slot."""

    @property
    def is_done(self) -> bool:
        """Final but for the results of its tools."""
        return self.status is not MessageStatus.STREAMING

    def has_running_tools(self) -> bool:
        """Whether a result may still come."""
        return any(isinstance(slot, ToolUseBlock) and slot.status is ToolStatus.RUNNING for slot in self.slots)

    def blocks(self) -> tuple[Block, ...]:
        """The blocks so far; an index that nothing was said of is left out."""
        blocks: list[Block] = []
        for index, slot in enumerate(self.slots):
            if isinstance(slot, ToolUseBlock):
                pieces = self.progress.get(index)
                blocks.append(replace(slot, progress="".join(pieces)) if pieces else slot)
            elif slot is not None and slot.pieces:
                blocks.append(slot.block())
        return tuple(blocks)

    def end_tools(self, at: datetime) -> bool:
        """Mark tools that will never answer as failed; whether there were any."""
        ended = False
        for index, slot in enumerate(self.slots):
            if isinstance(slot, ToolUseBlock) and slot.status is ToolStatus.RUNNING:
                self.slots[index] = replace(slot, status=ToolStatus.FAILED, is_error=True, finished_at=at)
                ended = True
        return ended


def content_of(blocks: Iterable[Block], status: MessageStatus) -> str:
    """The `content` of a message: its text; without any, one line per tool use, or a line that says what it is."""
    blocks = tuple(blocks)
    text = "\n\n".join(block.text for block in blocks if isinstance(block, TextBlock) and block.text.strip())
    if text:
        return text
    tools = [f"[{block.name}] {block.title}".rstrip() for block in blocks if isinstance(block, ToolUseBlock)]
    if tools:
        return "\n".join(tools)
    if any(isinstance(block, ThinkingBlock) for block in blocks):
        return "[thinking]"
    if status in (MessageStatus.ABORTED, MessageStatus.FAILED, MessageStatus.DISCARDED):
        return f"[{status} before it said anything]"
    return "[empty]"


@dataclass(frozen=True, slots=True)
class Taken:
    """What one event came to: what to show and journal, and what it did to its message."""

    shown: tuple[StreamEvent, ...] = ()
    """To the browser, with the server's ids."""
    journalled: tuple[StreamEvent, ...] = ()
    message: LiveMessage | None = None
    replaces: bool = False
    """The message must be shown whole, because no delta says what happened."""
    finishes: bool = False
    """The message is to be stored whole."""


_NOTHING: Final = Taken()


class Transcript:
    """All messages of one run.

    `new_message` gives the id and ordinal of a message that begins. Messages that are final leave the memory
    (`close`), only their ids stay, so that what comes late for them is recognised and dropped.
    """

    def __init__(
        self,
        *,
        conversation_id: ConversationId,
        project_id: ProjectId | None,
        request_id: RequestId,
        new_message: Callable[[], tuple[MessageId, int]],
        max_chars: int,
    ) -> None:
        self._conversation_id = conversation_id
        self._project_id = project_id
        self._request_id = request_id
        self._new_message = new_message
        self._max_chars = max_chars
        self._live: dict[str, LiveMessage] = {}
        self._closed: set[str] = set()
        self._takers: dict[type, Callable[..., Taken]] = {
            stream.MessageStarted: self._started,
            stream.TextDelta: self._delta,
            stream.ThinkingDelta: self._delta,
            stream.TextDone: self._whole,
            stream.ThinkingDone: self._whole,
            stream.ToolStarted: self._tool_started,
            stream.ToolInput: self._tool_input,
            stream.ToolProgress: self._tool_progress,
            stream.ToolDone: self._tool_done,
            stream.MessageDone: self._done,
            stream.MessageDiscarded: self._discarded,
        }

    def live(self) -> list[LiveMessage]:
        """Messages in memory, by ordinal."""
        return list(self._live.values())

    def take(self, event: StreamEvent, at: datetime) -> Taken:
        """Apply one event of the bridge. Events without a message come back as they are."""
        taker = self._takers.get(type(event))
        if taker is None:
            return Taken(shown=(event,), journalled=(event,))
        name: str = event.message_id  # type: ignore[union-attr]  # every event in the table has one
        if name in self._live:
            return taker(self._live[name], event, at)
        if name in self._closed or isinstance(event, stream.MessageDiscarded):
            return _NOTHING
        if isinstance(event, stream.MessageStarted):
            return self._begin(event, at)
        # An agent may forget to announce a message: it begins with the first thing said in it.
        begun = self._begin(stream.MessageStarted(message_id=name), at)
        taken = taker(self._live[name], event, at)
        return replace(
            taken,
            shown=begun.shown + taken.shown,
            journalled=begun.journalled + taken.journalled,
            message=self._live[name],
        )

    def restore(self, message: Message) -> None:
        """A stored message of this run, after a restart."""
        name = message.claude_message_id or message.id
        if not any(isinstance(b, ToolUseBlock) and b.status is ToolStatus.RUNNING for b in message.blocks):
            self._closed.add(name)
            return
        live = LiveMessage(
            id=message.id,
            ordinal=message.ordinal,
            claude_message_id=message.claude_message_id,
            started_at=message.created_at,
            model=message.model,
            parent_tool_use_id=message.parent_tool_use_id,
            seq=message.seq,
            status=message.status,
            claude_data=message.claude_data,
            usage=message.usage,
            slots=[_slot_of(block) for block in message.blocks],
            progress={
                index: [block.progress]
                for index, block in enumerate(message.blocks)
                if isinstance(block, ToolUseBlock) and block.progress
            },
        )
        self._live[name] = live

    def replay(self, event: StreamEvent, at: datetime, *, seq: int, bridge_seq: int) -> None:
        """Apply a journalled event, which carries the server's message id."""
        message_id: str | None = getattr(event, "message_id", None)
        if message_id is None:
            return
        if isinstance(event, stream.MessageStarted):
            self._begin_again(event, at)
        found = next(((name, live) for name, live in self._live.items() if live.id == message_id), None)
        if found is None:
            return
        name, live = found
        self.take(replace(event, message_id=name), at)  # type: ignore[arg-type]  # all events with messages have it
        live.seq = max(live.seq, seq)
        live.first_row = bridge_seq if live.first_row is None else live.first_row

    def _begin_again(self, event: stream.MessageStarted, at: datetime) -> None:
        name = event.claude_message_id or event.message_id
        if name not in self._live and name not in self._closed:
            assert event.ordinal is not None, "the journal keeps a message's ordinal"
            self._live[name] = _live_message(MessageId(event.message_id), event.ordinal, name, event, at)

    def close(self, live: LiveMessage) -> None:
        """Forget a message that is stored and will not change again."""
        name = live.claude_message_id or live.id
        if self._live.pop(name, None) is not None:
            self._closed.add(name)

    def message(
        self, live: LiveMessage, *, session_id: str | None, at: datetime, error: Failure | None = None
    ) -> Message:
        """The whole message as it is now."""
        blocks = live.blocks()
        return Message(
            id=live.id,
            conversation_id=self._conversation_id,
            project_id=self._project_id,
            request_id=self._request_id,
            ordinal=live.ordinal,
            seq=live.seq,
            role=Role.ASSISTANT,
            status=live.status,
            content=content_of(blocks, live.status),
            blocks=blocks,
            claude_data=live.claude_data if live.claude_data is not None else {},
            claude_message_id=live.claude_message_id,
            model=live.model,
            session_id=session_id,
            usage=live.usage,
            error=error,
            parent_tool_use_id=live.parent_tool_use_id,
            timestamp=live.started_at,
            created_at=live.started_at,
            updated_at=at,
        )

    # --- one function per kind of event ----------------------------------------------------------------------

    def _begin(self, event: stream.MessageStarted, at: datetime) -> Taken:
        message_id, ordinal = self._new_message()
        name = event.message_id
        live = self._live[name] = _live_message(message_id, ordinal, name, event, at)
        return _same(replace(event, message_id=message_id, claude_message_id=name, ordinal=ordinal), live)

    def _started(self, live: LiveMessage, event: stream.MessageStarted, at: datetime) -> Taken:
        return _NOTHING

    def _delta(self, live: LiveMessage, event: stream.TextDelta | stream.ThinkingDelta, at: datetime) -> Taken:
        if live.is_done:
            return _NOTHING
        slot = self._growing(live, event.block, thinking=type(event) is stream.ThinkingDelta)
        # An offset that is not where the text ends means that deltas are missing: what follows would be shown
        # in the wrong place. The block's `done` brings the truth.
        if slot is None or slot.is_cut or event.offset != slot.length or not event.text:
            return _NOTHING
        if live.size + len(event.text) > self._max_chars:
            return self._cut(live, slot, event)
        slot.pieces.append(event.text)
        slot.length += utf16_length(event.text)
        live.size += len(event.text)
        return _same(type(event)(live.id, event.block, event.offset, event.text), live)

    def _cut(self, live: LiveMessage, slot: _Growing, event: stream.TextDelta | stream.ThinkingDelta) -> Taken:
        slot.is_cut = True
        slot.pieces.append(_TRUNCATED)
        shown = type(event)(live.id, event.block, slot.length, _TRUNCATED)
        slot.length += len(_TRUNCATED)
        return _same(shown, live)

    def _whole(self, live: LiveMessage, event: stream.TextDone | stream.ThinkingDone, at: datetime) -> Taken:
        if live.is_done:
            return _NOTHING
        slot = self._growing(live, event.block, thinking=type(event) is stream.ThinkingDone)
        if slot is None or slot.is_cut or slot.text() == event.text:
            return _NOTHING
        text = event.text
        room = self._max_chars - (live.size - len(slot.text()))
        if len(text) > room:
            text, slot.is_cut = text[: max(room, 0)] + _TRUNCATED, True
        live.size += len(text) - len(slot.text())
        slot.pieces, slot.length = [text], utf16_length(text)
        return Taken(journalled=(replace(event, message_id=live.id),), message=live, replaces=True)

    def _tool_started(self, live: LiveMessage, event: stream.ToolStarted, at: datetime) -> Taken:
        if live.is_done or not self._reserve(live, event.block):
            return _NOTHING
        slot = live.slots[event.block]
        if isinstance(slot, ToolUseBlock) and slot.id == event.id:
            # Said again once the agent knows more of it: its title comes from an input that streams.
            live.slots[event.block] = replace(slot, name=event.name, kind=event.kind, title=event.title)
            return _same(replace(event, message_id=live.id), live)
        if slot is not None:
            return _NOTHING
        live.slots[event.block] = ToolUseBlock(
            id=event.id,
            name=event.name,
            kind=event.kind,
            title=event.title,
            started_at=at,
            parent_tool_use_id=live.parent_tool_use_id,
        )
        return _same(replace(event, message_id=live.id), live)

    def _tool_input(self, live: LiveMessage, event: stream.ToolInput, at: datetime) -> Taken:
        found = _tool(live, event.id)
        if found is None:
            return _NOTHING
        index, tool = found
        live.slots[index] = replace(tool, input=event.input)
        return self._tool_changed(live, replace(event, message_id=live.id, block=index))

    def _tool_progress(self, live: LiveMessage, event: stream.ToolProgress, at: datetime) -> Taken:
        found = _tool(live, event.id)
        if found is None or found[1].status is not ToolStatus.RUNNING or not event.text:
            return _NOTHING
        index = found[0]
        if live.size + len(event.text) > self._max_chars:
            return _NOTHING
        live.size += len(event.text)
        live.progress.setdefault(index, []).append(event.text)
        return _same(replace(event, message_id=live.id, block=index), live)

    def _tool_done(self, live: LiveMessage, event: stream.ToolDone, at: datetime) -> Taken:
        found = _tool(live, event.id)
        if found is None or found[1].status is not ToolStatus.RUNNING:
            return _NOTHING
        index, tool = found
        live.slots[index] = replace(
            tool,
            status=ToolStatus.FAILED if event.is_error else ToolStatus.COMPLETED,
            result=event.result,
            is_error=event.is_error,
            attachment=event.attachment,
            finished_at=at,
        )
        live.progress.pop(index, None)
        return self._tool_changed(live, replace(event, message_id=live.id, block=index))

    def _tool_changed(self, live: LiveMessage, shown: StreamEvent) -> Taken:
        # A finished message is stored anew with times that no delta carries: it is shown whole, so that a page which
        # followed and one which comes later hold the same.
        return Taken(shown=(shown,), journalled=(shown,), message=live, replaces=live.is_done, finishes=live.is_done)

    def _done(self, live: LiveMessage, event: stream.MessageDone, at: datetime) -> Taken:
        if live.is_done:
            return _NOTHING
        live.status = MessageStatus.COMPLETED
        live.claude_data = event.claude_data if event.claude_data is not None else {}
        live.usage = event.usage or live.usage
        live.model = event.model or live.model
        return Taken(message=live, replaces=True, finishes=True)

    def _discarded(self, live: LiveMessage, event: stream.MessageDiscarded, at: datetime) -> Taken:
        live.status = MessageStatus.DISCARDED
        live.end_tools(at)
        shown = (replace(event, message_id=live.id),)
        return Taken(shown=shown, journalled=shown, message=live, finishes=True)

    def _growing(self, live: LiveMessage, index: int, *, thinking: bool) -> _Growing | None:
        if not self._reserve(live, index):
            return None
        slot = live.slots[index]
        if slot is None:
            slot = live.slots[index] = _Growing(thinking=thinking)
        return slot if isinstance(slot, _Growing) and slot.thinking == thinking else None

    def _reserve(self, live: LiveMessage, index: int) -> bool:
        if index >= MAX_BLOCKS:
            return False
        while len(live.slots) <= index:
            live.slots.append(None)
        return True


def _same(event: StreamEvent, live: LiveMessage) -> Taken:
    return Taken(shown=(event,), journalled=(event,), message=live)


def _tool(live: LiveMessage, tool_id: str) -> tuple[int, ToolUseBlock] | None:
    for index, slot in enumerate(live.slots):
        if isinstance(slot, ToolUseBlock) and slot.id == tool_id:
            return index, slot
    return None


def _live_message(
    message_id: MessageId, ordinal: int, name: str, event: stream.MessageStarted, at: datetime
) -> LiveMessage:
    return LiveMessage(
        id=message_id,
        ordinal=ordinal,
        claude_message_id=name,
        started_at=at,
        model=event.model,
        parent_tool_use_id=event.parent_tool_use_id,
    )


def _slot_of(block: Block) -> _Slot:
    if isinstance(block, ToolUseBlock):
        return block
    return _Growing(thinking=isinstance(block, ThinkingBlock), text=block.text)
