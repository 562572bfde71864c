"""What an ACP agent tells of a tool call, for people: kind, name, title, input and result. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from acp import schema

from baton.core.text import Json, clean_json, clean_text

TITLE_MAX_CHARS: Final = 120

ToolContent = schema.ContentToolCallContent | schema.FileEditToolCallContent | schema.TerminalToolCallContent
Content = Sequence[ToolContent]

_KINDS: Final = {
    "read": ("read", "Read"),
    "edit": ("edit", "Edit"),
    "delete": ("edit", "Delete"),
    "move": ("edit", "Move"),
    "search": ("search", "Search"),
    "execute": ("execute", "Run"),
    "think": ("think", "Think"),
    "fetch": ("fetch", "Fetch"),
    "switch_mode": ("think", "Switch mode"),
}
"""The protocol's kinds: ours, and the name that is shown, because the protocol's tools have none."""


def kind_of(kind: str | None) -> str:
    """read, edit, execute, search, fetch, think or other."""
    return _KINDS[kind][0] if kind in _KINDS else "other"


def own_name_of(call: schema.ToolCall | schema.ToolCallUpdate) -> str | None:
    """The name that the agent's program gives the tool, where it tells it; the protocol itself has none."""
    own = (call.field_meta or {}).get("claudeCode")
    named = own.get("toolName") if isinstance(own, Mapping) else None
    return clean_text(named) if isinstance(named, str) and named else None


def kind_name_of(kind: str | None) -> str:
    """What a tool of this kind is called where nothing else is known."""
    return _KINDS[kind][1] if kind in _KINDS else "Tool"


def title_of(title: str | None) -> str:
    """The title as one short line."""
    lines = clean_text(title or "").strip().splitlines() or [""]
    if len(lines[0]) > TITLE_MAX_CHARS or len(lines) > 1:
        return lines[0][: TITLE_MAX_CHARS - 1] + "…"
    return lines[0]


def input_of(call: schema.ToolCall | schema.ToolCallUpdate) -> Json:
    """The tool's input: as the agent gives it, else the edit that it shows; None where this update has neither."""
    if call.raw_input not in (None, {}):
        return clean_json(call.raw_input)
    for item in call.content or ():
        if isinstance(item, schema.FileEditToolCallContent):
            return {"path": item.path, "oldText": item.old_text, "newText": item.new_text}
    return None


def result_of(content: Content, raw_output: Json) -> Json:
    """What a tool returned: text where it is nothing but text, else JSON; the raw output where there is no content."""
    if not content:
        return raw_output if raw_output is not None else ""
    if all(isinstance(item, schema.ContentToolCallContent) for item in content):
        blocks = [item.content for item in content if isinstance(item, schema.ContentToolCallContent)]
        if all(isinstance(block, schema.TextContentBlock) for block in blocks):
            return "\n".join(block.text for block in blocks if isinstance(block, schema.TextContentBlock))
    return clean_json([item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in content])


def text_of(block: object) -> str:
    """A content block of a message, as the protocol has it in JSON, as text."""
    if not isinstance(block, Mapping):
        return ""
    match block.get("type"):
        case "text":
            return _text(block.get("text"))
        case "image" | "audio":
            return f"[{block['type']}: {_text(block.get('mimeType'))}]"
        case "resource_link":
            return f"[{_text(block.get('title')) or _text(block.get('name'))}]({_text(block.get('uri'))})"
        case "resource":
            return _resource(block.get("resource"))
    return ""


def _resource(resource: Any) -> str:
    if not isinstance(resource, Mapping):
        return ""
    return _text(resource.get("text")) or f"[{_text(resource.get('uri'))}]"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
