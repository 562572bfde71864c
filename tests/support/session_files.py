"""Session files as Claude Code writes them, for tests of their import."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SESSION = "abcdef01-2222-4333-8444-555555555555"


class SessionFile:
    """One session of `folder`, below a Claude configuration folder. Lines are written as they are added."""

    def __init__(self, config: Path, folder: Path, session_id: str = SESSION) -> None:
        name = "".join(char if char.isascii() and char.isalnum() else "-" for char in str(folder))
        if len(name) > 200:
            name = name[:200] + "-1abcde"  # Claude Code's own hash of the name
        self.path = config / "projects" / name / f"{session_id}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.session_id = session_id
        self.count = 0

    def add(self, **entry: Any) -> None:
        """One line, with what every line has."""
        self.count += 1
        common = {
            "uuid": f"uuid-{self.count}",
            "timestamp": f"2026-01-02T03:04:{self.count % 60:02d}.000Z",
            "cwd": str(self.folder),
            "sessionId": self.session_id,
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**common, **entry}, separators=(",", ":")) + "\n")

    def person(self, content: object, **rest: Any) -> None:
        """Something that a person said."""
        self.add(type="user", message={"role": "user", "content": content}, **rest)

    def claude(self, *blocks: Mapping[str, Any], name: str = "msg_1", **rest: Any) -> None:
        """An answer, one line per block."""
        for block in blocks:
            message = {
                "id": name,
                "role": "assistant",
                "model": "claude-x",
                "content": [block],
                "usage": {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 5},
            }
            self.add(type="assistant", message=message, **rest)

    def result(self, tool: str, content: object, *, is_error: bool = False) -> None:
        """What a tool returned."""
        block = {"type": "tool_result", "tool_use_id": tool, "content": content, "is_error": is_error}
        self.person([block])

    def noise(self, size: int = 100) -> None:
        """A line that says nothing to people."""
        self.add(type="api-request-blob", message={"role": "user", "content": "x" * size})


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def tool(name: str, tool_name: str = "Bash", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": name, "name": tool_name, "input": given}


def all_pages(read: Any, limit: int) -> Iterable[dict[str, Any]]:
    """Every message, read in pages of at most `limit`."""
    cursor = None
    while True:
        page = read(cursor, limit)
        assert len(page["messages"]) <= limit
        yield from page["messages"]
        cursor = page["next"]
        if cursor is None:
            return
