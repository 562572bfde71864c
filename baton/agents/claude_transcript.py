"""The lines of one of Claude Code's own session files, as messages for people. Pure; needs no SDK.

Seen in files of Claude Code 2.0 to 2.1: one JSON object per line; each content block of an answer has a line of its
own, and those of one answer share `message.id`; a tool's result is a `user` line, and comes before the next answer.
What is said in sub-agents (`isSidechain`) and what Claude Code tells its model (`isMeta`) is not for people.
Everything else is told in the order of the file, also what the person later went back behind.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from baton.agents.claude_tools import kind_of, result_of, title_of
from baton.core.text import Json, clean_json, clean_text

TEXT_MAX_CHARS: Final = 256 << 10
INPUT_MAX_CHARS: Final = 64 << 10
MESSAGE_MAX_CHARS: Final = 1 << 20
"""Of all blocks of one message; what would be more is left out, and a line says so."""
MAX_BLOCKS: Final = 1000
_CUT: Final = "\n[cut here by the import]"

_COMMAND: Final = re.compile(r"<command-name>(.*?)</command-name>", re.DOTALL)
_ARGUMENTS: Final = re.compile(r"<command-args>(.*?)</command-args>", re.DOTALL)
_REMINDER: Final = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_OUTPUT: Final = re.compile(r"<local-command-std(?:out|err)>(.*?)</local-command-std(?:out|err)>", re.DOTALL)
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_INTERRUPTED: Final = "[Request interrupted by user"
_NOTIFICATION: Final = "<task-notification>"
"""Of a task in the background: Claude Code tells it to its model, in the person's name."""


@dataclass(slots=True)
class Told:
    """One message as it was told. `blocks` are as on Baton's wire."""

    role: str
    at: str | None
    blocks: list[dict[str, Json]] = field(default_factory=list)
    id: str | None = None
    model: str | None = None
    usage: dict[str, int] | None = None
    size: int = 0

    def add(self, block: dict[str, Json], size: int) -> None:
        """One more block, as long as the message may grow."""
        if self.size + size > MESSAGE_MAX_CHARS or len(self.blocks) >= MAX_BLOCKS:
            if self.size <= MESSAGE_MAX_CHARS:
                self.blocks.append({"type": "text", "text": _CUT.strip()})
                self.size = MESSAGE_MAX_CHARS + 1
            return
        self.size += size
        self.blocks.append(block)

    def as_json(self) -> dict[str, Json]:
        """As `sessions.read` answers it."""
        return {
            "role": self.role,
            "at": self.at,
            "id": self.id,
            "model": self.model,
            "usage": dict(self.usage) if self.usage is not None else None,
            "blocks": list(self.blocks),
        }


class Transcript:
    """Lines in, messages out: `take` returns what is complete by now, `finish` the rest."""

    def __init__(self) -> None:
        self._open: Told | None = None
        """The answer that may go on."""

    @property
    def is_between(self) -> bool:
        """Whether no message is under way."""
        return self._open is None

    def begins_message(self, entry: Mapping[str, Any]) -> bool:
        """Whether this line is the first of another message than the one under way."""
        if not _is_told(entry):
            return False
        if entry.get("type") == "assistant":
            return self._open is None or self._open.id != _message(entry).get("id")
        return bool(_prompt_of(entry))

    def take(self, entry: Mapping[str, Any]) -> list[Told]:
        """One line. Those that say nothing to people change nothing."""
        if not _is_told(entry):
            return []
        done = self.finish() if self.begins_message(entry) else []
        if entry.get("type") == "assistant":
            self._take_answer(entry)
        elif entry.get("type") == "user":
            self._take_results(entry)
        return [*done, *_prompt_of(entry)]

    def finish(self) -> list[Told]:
        """There is no more of the message under way."""
        told, self._open = self._open, None
        return [told] if told is not None and told.blocks else []

    def _take_answer(self, entry: Mapping[str, Any]) -> None:
        message = _message(entry)
        told = self._open = self._open or Told("assistant", _text_or_none(entry.get("timestamp")))
        told.id = _text_or_none(message.get("id"))
        model = _text_or_none(message.get("model"))
        told.model = None if model == "<synthetic>" else model
        told.usage = _usage(message.get("usage")) or told.usage
        for raw in _blocks(message.get("content")):
            block = _answer_block(raw)
            if block is not None:
                told.add(block, len(json.dumps(block, ensure_ascii=False)))

    def _take_results(self, entry: Mapping[str, Any]) -> None:
        for raw in _blocks(_message(entry).get("content")):
            if raw.get("type") == "tool_result" and self._open is not None:
                _set_result(self._open, raw)


def _is_told(entry: Mapping[str, Any]) -> bool:
    return not entry.get("isSidechain") and not entry.get("isMeta")


def _set_result(told: Told, raw: Mapping[str, Any]) -> None:
    name = raw.get("tool_use_id")
    block = next((block for block in told.blocks if block.get("id") == name and block["type"] == "tool_use"), None)
    if block is None:
        return
    result = result_of(_without_pictures(raw.get("content")))
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    room = min(TEXT_MAX_CHARS, max(0, MESSAGE_MAX_CHARS - told.size))
    told.size += min(len(text), room)
    block["result"] = result if len(text) <= room else text[:room] + _CUT
    block["isError"] = bool(raw.get("is_error"))
    block["status"] = "failed" if raw.get("is_error") else "completed"


def _answer_block(raw: Mapping[str, Any]) -> dict[str, Json] | None:
    match raw.get("type"):
        case "text" if raw.get("text"):
            return {"type": "text", "text": _cut(raw["text"], TEXT_MAX_CHARS)}
        case "thinking" if raw.get("thinking"):
            return {"type": "thinking", "text": _cut(raw["thinking"], TEXT_MAX_CHARS)}
        case "tool_use" | "server_tool_use":
            return _tool_block(raw)
    return None


def _tool_block(raw: Mapping[str, Any]) -> dict[str, Json]:
    given = raw.get("input") if isinstance(raw.get("input"), Mapping) else {}
    name = clean_text(str(raw.get("name", "")))
    text = json.dumps(given, ensure_ascii=False, default=str)
    return {
        "type": "tool_use",
        "id": clean_text(str(raw.get("id", ""))),
        "name": name,
        "kind": kind_of(name),
        "title": title_of(given or {}),
        "input": clean_json(given) if len(text) <= INPUT_MAX_CHARS else {"cut": clean_text(text[:INPUT_MAX_CHARS])},
        # One that never got its result did not end well.
        "status": "failed",
        "result": None,
        "isError": False,
        "startedAt": None,
        "finishedAt": None,
        "parentToolUseId": None,
        "progress": "",
        "attachment": None,
    }


def _prompt_of(entry: Mapping[str, Any]) -> list[Told]:
    """What a person, or Claude Code itself, says in this line; nothing for a line with results."""
    content = _message(entry).get("content") if entry.get("type") == "user" else _queued(entry)
    at = _text_or_none(entry.get("timestamp"))
    text = _prompt_text(content)
    if not text:
        return []
    role, shown = _who_says(text, is_summary=bool(entry.get("isCompactSummary")))
    if not shown or shown.startswith(_NOTIFICATION):
        return []
    return [
        Told(role, at, [{"type": "text", "text": _cut(shown, TEXT_MAX_CHARS)}], id=_text_or_none(entry.get("uuid")))
    ]


def _queued(entry: Mapping[str, Any]) -> Any:
    """What was sent while a turn was under way."""
    attached = entry.get("attachment")
    is_queued = isinstance(attached, Mapping) and attached.get("type") == "queued_command"
    return attached.get("prompt") if is_queued and isinstance(attached, Mapping) else None


def _who_says(text: str, *, is_summary: bool) -> tuple[str, str]:
    """The role, and the text without Claude Code's own marks."""
    text = _REMINDER.sub("", text)
    command = _COMMAND.search(text)
    output = _OUTPUT.search(text)
    if is_summary:
        return "system", text.strip()
    if command is not None:
        arguments = _ARGUMENTS.search(text)
        return "user", f"{command[1].strip()} {arguments[1].strip() if arguments else ''}".strip()
    if output is not None:
        return "system", _ANSI.sub("", output[1]).strip()
    return ("system" if text.startswith(_INTERRUPTED) else "user"), text.strip()


def _prompt_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    texts = [_shown(block) for block in _blocks(content) if block.get("type") != "tool_result"]
    return "\n\n".join(text for text in texts if text)


def _shown(block: Mapping[str, Any]) -> str:
    match block.get("type"):
        case "text":
            return str(block.get("text", ""))
        case "image":
            return "[a picture, not imported]"
        case "document":
            return f"[the document {block.get('title') or ''}, not imported]".replace(" ,", ",")
    return ""


def _without_pictures(content: Any) -> Any:
    """A tool's result without the bytes of its pictures."""
    if not isinstance(content, list):
        return content
    return [
        {"type": "text", "text": _shown(item)} if isinstance(item, Mapping) and item.get("type") == "image" else item
        for item in content
    ]


def _blocks(content: Any) -> Iterable[Mapping[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []


def _message(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    message = entry.get("message")
    return message if isinstance(message, Mapping) else {}


def _usage(raw: Any) -> dict[str, int] | None:
    if not isinstance(raw, Mapping):
        return None
    names = {
        "inputTokens": "input_tokens",
        "outputTokens": "output_tokens",
        "cacheReadTokens": "cache_read_input_tokens",
        "cacheWriteTokens": "cache_creation_input_tokens",
    }
    return {ours: _count(raw.get(theirs)) for ours, theirs in names.items()}


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0


def _cut(text: object, most: int) -> str:
    text = clean_text(str(text))
    return text if len(text) <= most else text[:most] + _CUT


def _text_or_none(value: object) -> str | None:
    return clean_text(value)[:200] if isinstance(value, str) and value else None
