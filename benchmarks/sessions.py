"""Importing a large session of Claude Code: time, and memory that stays flat. `python -m benchmarks.sessions [MB]`"""

import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from baton.importing import import_claude
from baton.settings import Settings

SESSION = "abcdef01-2222-4333-8444-555555555555"


def measure(megabytes: int = 500) -> None:
    """Write a session file of this size, import it into a fresh database, print time and peak memory."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        root = Path(folder).resolve()
        work = root / "work"
        work.mkdir()
        path = root / "claude" / "projects" / "".join(c if c.isalnum() else "-" for c in str(work)) / f"{SESSION}.jsonl"
        path.parent.mkdir(parents=True)
        _write(path, work, megabytes * 1_000_000)
        (root / "data").mkdir(mode=0o700)
        settings = Settings(data=root / "data", agent_environment={"CLAUDE_CONFIG_DIR": str(root / "claude")})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        asyncio.run(import_claude(settings, print, folder=work, takes_all=True))
        took = time.monotonic() - began
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        size = (root / "data" / "baton.sqlite3").stat().st_size / 1e6
        print(f"\nsessions: {path.stat().st_size / 1e6:.0f} MB in {took:.1f} s, {size:.0f} MB stored")
        print(f"  memory grew by {grown:.0f} MiB")


def _write(path: Path, work: Path, size: int) -> None:
    common = {"cwd": str(work), "sessionId": SESSION, "timestamp": "2026-01-02T03:04:05.678Z"}
    words = "The quick brown fox jumps over the lazy dog. " * 20
    with path.open("w") as file:
        turn = 0
        while file.tell() < size:
            turn += 1
            answer = {"id": f"msg_{turn}", "model": "claude-x", "usage": {"input_tokens": 10, "output_tokens": 20}}
            call = {"type": "tool_use", "id": f"t{turn}", "name": "Bash", "input": {"command": f"run {turn}"}}
            result = {"type": "tool_result", "tool_use_id": f"t{turn}", "content": words * 8}
            entries = (
                {
                    "type": "user",
                    "uuid": f"u{turn}",
                    "message": {"role": "user", "content": f"Question {turn}: {words}"},
                },
                {"type": "api-request-blob", "message": {"content": words * 10}},
                {"type": "assistant", "message": {**answer, "content": [{"type": "text", "text": words}]}},
                {"type": "assistant", "message": {**answer, "content": [call]}},
                {"type": "user", "message": {"role": "user", "content": [result]}},
            )
            file.writelines(json.dumps({**common, **entry}, separators=(",", ":")) + "\n" for entry in entries)


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
