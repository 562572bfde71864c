"""What Claude Code's tools are, for people: their kind, one line about a call, and the to-do list. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from baton.core.models import PlanEntry
from baton.core.text import Json, clean_json, clean_text

TITLE_MAX_CHARS: Final = 120

_KINDS: Final[dict[str, str]] = {
    "Read": "read",
    "NotebookRead": "read",
    "LS": "read",
    "Edit": "edit",
    "MultiEdit": "edit",
    "Write": "edit",
    "NotebookEdit": "edit",
    "Bash": "execute",
    "BashOutput": "execute",
    "KillShell": "execute",
    "Monitor": "execute",
    "code_execution": "execute",
    "bash_code_execution": "execute",
    "Grep": "search",
    "Glob": "search",
    "ToolSearch": "search",
    "WebSearch": "search",
    "web_search": "search",
    "WebFetch": "fetch",
    "web_fetch": "fetch",
    "TodoWrite": "think",
    "EnterPlanMode": "think",
    "ExitPlanMode": "think",
    "Task": "task",
    "Agent": "task",
    "Workflow": "task",
}
_TELLING: Final = (
    "command",
    "file_path",
    "notebook_path",
    "pattern",
    "path",
    "url",
    "query",
    "description",
    "skill",
    "prompt",
    "subject",
)
"""The input that says most about a call, the first that is there."""


def kind_of(name: str) -> str:
    """read, edit, execute, search, fetch, think, task or other; an MCP server's tools are `other`."""
    return _KINDS.get(name, "other")


def title_of(tool_input: Mapping[str, Any]) -> str:
    """One short line about a call, without the tool's name; empty where its input says nothing short."""
    for name in _TELLING:
        value = tool_input.get(name)
        if isinstance(value, str) and value.strip():
            return _one_line(value)
    questions = tool_input.get("questions")
    if isinstance(questions, list) and questions and isinstance(questions[0], Mapping):
        return _one_line(str(questions[0].get("question", "")))
    return ""


def _one_line(text: str) -> str:
    lines = clean_text(text).strip().splitlines() or [""]
    line = lines[0]
    if len(line) > TITLE_MAX_CHARS or len(lines) > 1:
        return line[: TITLE_MAX_CHARS - 1] + "…"
    return line


def plan_of(name: str, tool_input: Mapping[str, Any]) -> tuple[PlanEntry, ...] | None:
    """The to-do list that this call sets; None for every other call."""
    todos = tool_input.get("todos")
    if name != "TodoWrite" or not isinstance(todos, list):
        return None
    return tuple(
        PlanEntry(text=clean_text(str(todo.get("content", ""))), status=str(todo.get("status", "pending")))
        for todo in todos
        if isinstance(todo, Mapping)
    )


def result_of(content: object) -> Json:
    """What a tool returned: text where it is nothing but text, else JSON."""
    if isinstance(content, list) and all(_is_text(item) for item in content):
        return clean_text("\n".join(item["text"] for item in content))
    return clean_json(content) if content is not None else ""


def _is_text(item: object) -> bool:
    return isinstance(item, Mapping) and item.get("type") == "text" and isinstance(item.get("text"), str)
