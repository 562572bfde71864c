"""A conversation as Markdown that people can read anywhere. Pure text; knows no store.

What people and agents wrote stays as it is, but cannot reach beyond its own message: open code fences are closed,
and what tools say stands in fences longer than any run of backticks inside.
"""

import html
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from baton.core.models import (
    Attachment,
    Block,
    Conversation,
    Message,
    MessageStatus,
    Role,
    TextBlock,
    ThinkingBlock,
    ToolStatus,
    ToolUseBlock,
)
from baton.core.text import Json

_SPEAKERS: Final = {Role.USER: "User", Role.ASSISTANT: "Assistant", Role.SYSTEM: "System"}
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_BACKTICKS: Final = re.compile(r"`+")


def conversation_head(conversation: Conversation) -> str:
    """Title and what is known about the conversation."""
    facts = {
        "Conversation": f"`{conversation.id}`",
        "Agent": _inline(conversation.agent),
        "Model": _inline(conversation.model),
        "Working directory": _inline(conversation.working_directory),
        "Created": _time(conversation.created_at),
        "Last change": _time(conversation.updated_at),
    }
    lines = [f"- {name}: {value}" for name, value in facts.items() if value]
    return f"# {_one_line(conversation.title) or 'Conversation'}\n\n" + "\n".join(lines) + "\n"


def message_section(message: Message) -> str:
    """One message with its tools and attachments; nothing for one that the agent took back."""
    if message.status is MessageStatus.DISCARDED:
        return ""
    parts = [_heading(message), *(_block(block) for block in message.blocks)]
    if not message.blocks and message.content:
        parts.append(close_fences(message.content))
    if message.attachments:
        parts.append("\n".join(_attachment(attachment) for attachment in message.attachments))
    if message.error is not None:
        parts.append(f"> **{_inline(message.error.code)}**: {_one_line(message.error.message)}")
    return "\n" + "\n\n".join(part.rstrip("\n") for part in ["---", *parts]) + "\n"


def close_fences(text: str) -> str:
    """The text, with its last code fence closed if it is open (CommonMark 0.31, section 4.5)."""
    fence: str | None = None
    for line in text.splitlines():
        found = _FENCE.match(line)
        if found is None:
            continue
        marks, rest = found.groups()
        if fence is None:
            fence = marks if marks[0] == "~" or "`" not in rest else None
        elif marks[0] == fence[0] and len(marks) >= len(fence) and not rest.strip():
            fence = None
    return text if fence is None else f"{text}\n{fence}"


def fenced(text: str, language: str = "") -> str:
    """The text as a code block that nothing in it can end."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _heading(message: Message) -> str:
    speaker = _SPEAKERS[message.role]
    model = f" ({_inline(message.model)})" if message.model else ""
    status = "" if message.status is MessageStatus.COMPLETED else f", {message.status}"
    return f"## {speaker}{model}, {_time(message.timestamp)}{status}"


def _block(block: Block) -> str:
    if isinstance(block, TextBlock):
        return close_fences(block.text)
    if isinstance(block, ThinkingBlock):
        return _details("Thinking", [fenced(block.text, "text")])
    return _details(_tool_summary(block), list(_tool_parts(block)))


def _tool_summary(block: ToolUseBlock) -> str:
    title = f" {block.title}" if block.title else ""
    status = {ToolStatus.RUNNING: "not finished", ToolStatus.FAILED: "failed"}.get(block.status)
    return f"[{block.name}]{title}" + (f" ({status})" if status else "")


def _tool_parts(block: ToolUseBlock) -> Iterator[str]:
    if block.input is not None:
        yield "Input:"
        yield fenced(_as_text(block.input), "" if isinstance(block.input, str) else "json")
    if block.result is not None:
        yield "Error:" if block.is_error else "Result:"
        yield fenced(_as_text(block.result), "" if isinstance(block.result, str) else "json")
    elif block.progress:
        yield "Output so far:"
        yield fenced(block.progress)
    if block.attachment is not None:
        yield f"The whole result is the attachment `{block.attachment}`."


def _details(summary: str, parts: list[str]) -> str:
    # Blank lines around the parts: without them Markdown inside an HTML element is not Markdown.
    head = f"<details>\n<summary>{html.escape(_one_line(summary))}</summary>"
    return "\n\n".join([head, *parts, "</details>"])


def _attachment(attachment: Attachment) -> str:
    size = f"{attachment.size_bytes:,} bytes"
    return f"- Attachment: {_inline(attachment.filename)} ({_inline(attachment.mime_type)}, {size})"


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def _inline(text: str | None) -> str:
    """Text inside a line as code, so that nothing in it is Markdown; empty for None."""
    if not text:
        return ""
    line = _one_line(text)
    longest = max((len(run) for run in _BACKTICKS.findall(line)), default=0)
    marks = "`" * (longest + 1)
    return f"{marks} {line} {marks}" if longest else f"{marks}{line}{marks}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
