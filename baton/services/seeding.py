"""Conversations to look at and to measure with, each marked in its title. Pure: no store, no clock.

They look as the demo agent's do: text, a tool call, a failed turn. A large one comes message by message, so that a
million of them are never in memory.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from baton.core.ids import ConversationId, MessageId, RequestId, UserId, new_object_id
from baton.core.models import (
    Block,
    Conversation,
    Failure,
    Message,
    MessageStatus,
    Role,
    Run,
    RunRequest,
    RunStatus,
    TextBlock,
    ToolStatus,
    ToolUseBlock,
)
from baton.core.records import Kind
from baton.services.archive import Incoming

MARK: Final = "[demo] "
"""What every title begins with."""

_OWNER: Final = UserId("admin")
_TURN: Final = timedelta(seconds=30)
_WORDS: Final = [
    "the",
    "garden",
    "gate",
    "opens",
    "onto",
    "a",
    "path",
    "of",
    "slow",
    "green",
    "water",
    "where",
    "herons",
    "wait",
    "for",
    "morning",
]
_TURNS: Final[tuple[tuple[str, tuple[tuple[str, str], ...]], ...]] = (
    ("Hello", (("Hello!", "Hello. I am a demo: what I say was written beforehand."),)),
    (
        "A plan for the garden",
        (
            ("What should I plant in March?", "Broad beans, peas and onions.\n\n- sow thinly\n- water well"),
            ("And in April?", "Carrots and beetroot; keep fleece at hand for late frosts."),
        ),
    ),
    ("Code with a tool", (("/demo tool", "```python\nprint('hello')\n```"), ("Thank you", "You are welcome."))),
    ("A turn that failed", (("/demo fail", "I began, and then"),)),
)


def demo_conversations(at: datetime) -> Iterator[Incoming]:
    """Some small ones: each conversation before what it holds."""
    for number, (title, turns) in enumerate(_TURNS):
        begun = at - timedelta(hours=len(_TURNS) - number)
        is_failed = title.endswith("failed")
        one = _Seeded(title, begun)
        yield one.conversation(2 * len(turns), len(turns))
        for turn, (asked, said) in enumerate(turns):
            yield from one.turn(turn, asked, said, uses_tool=asked == "/demo tool", is_failed=is_failed)


def large_conversation(messages: int, at: datetime) -> Iterator[Incoming]:
    """One with so many messages, half of them a person's."""
    one = _Seeded(f"{messages:,} messages", at - messages * _TURN)
    yield one.conversation(messages, 0)
    for ordinal in range(1, messages + 1):
        start = ordinal % len(_WORDS)
        text = " ".join([*_WORDS[start:], *_WORDS[:start]]) + f" ({ordinal})"
        yield Incoming(Kind.MESSAGE, one.message(ordinal, text, None))


class _Seeded:
    def __init__(self, title: str, begun: datetime) -> None:
        self._id = ConversationId(new_object_id())
        self._title = MARK + title
        self._begun = begun

    def conversation(self, messages: int, runs: int) -> Incoming:
        value = Conversation(
            id=self._id,
            user_id=_OWNER,
            title=self._title,
            agent="demo",
            seq=messages + runs,
            ordinal=messages,
            created_at=self._begun,
            updated_at=self._begun + messages * _TURN,
        )
        return Incoming(Kind.CONVERSATION, value)

    def turn(self, turn: int, asked: str, said: str, *, uses_tool: bool, is_failed: bool) -> Iterator[Incoming]:
        request_id = RequestId("demo-" + new_object_id())
        question = self.message(2 * turn + 1, asked, request_id)
        status = MessageStatus.FAILED if is_failed else MessageStatus.COMPLETED
        blocks = (self._tool(),) if uses_tool else ()
        answer = self.message(2 * turn + 2, said, request_id, status=status, blocks=blocks)
        yield Incoming(Kind.MESSAGE, question)
        yield Incoming(Kind.MESSAGE, answer)
        failure = Failure("agent_failed", "The demo agent fails when it is asked to")
        run = Run(
            request_id=request_id,
            conversation_id=self._id,
            seq=2 * turn + 3,
            status=RunStatus.FAILED if is_failed else RunStatus.COMPLETED,
            agent="demo",
            message_ids=(question.id, answer.id),
            queued_at=question.created_at,
            started_at=question.created_at,
            finished_at=answer.created_at,
            error=failure if is_failed else None,
            user_id=_OWNER,
            request=RunRequest(content=asked),
        )
        yield Incoming(Kind.RUN, run)

    def message(
        self, ordinal: int, text: str, request_id: RequestId | None, *, blocks: tuple[Block, ...] = (), **fields: Any
    ) -> Message:
        at = self._begun + ordinal * _TURN
        return Message(
            id=MessageId(new_object_id()),
            conversation_id=self._id,
            request_id=request_id,
            ordinal=ordinal,
            seq=ordinal,
            role=Role.USER if ordinal % 2 else Role.ASSISTANT,
            content=text,
            blocks=(*blocks, TextBlock(text)),
            timestamp=at,
            created_at=at,
            updated_at=at,
            **{"status": MessageStatus.COMPLETED, **fields},
        )

    def _tool(self) -> ToolUseBlock:
        return ToolUseBlock(
            id="demo-tool",
            name="Read",
            kind="read",
            title="README.md",
            input={"path": "README.md"},
            status=ToolStatus.COMPLETED,
            result="# A garden",
        )
