"""The client that other tests watch through: what it shows must not depend on how busy the machine is."""

import asyncio
import json
from typing import Any, cast

from tests.support.node_client import NodeClient

SNAPSHOT = {
    "ok": True,
    "epoch": "e",
    "conversation": {"id": "c"},
    "messages": [],
    "prompts": [],
    "runs": [{"requestId": "r", "status": "running"}],
    "seq": 4,
    "truncated": False,
}


class Process:
    """A Node process that a test speaks for."""

    def __init__(self) -> None:
        self.stdin = self
        self.stdout = asyncio.StreamReader()

    def write(self, line: bytes) -> None: ...

    async def drain(self) -> None: ...

    def tell(self, *told: dict[str, Any]) -> None:
        """All of it in one piece, as a pipe gives it to a reader that was kept waiting."""
        self.stdout.feed_data(b"".join(json.dumps(line).encode() + b"\n" for line in told))
        self.stdout.feed_eof()


def run_event(seq: int, status: str, conversation_id: str = "c") -> dict[str, Any]:
    run = {"requestId": "r", "status": status}
    payload = {"conversationId": conversation_id, "seq": seq, "prevSeq": seq - 1, "run": run}
    return {"event": "chat:run", "payload": payload}


async def test_events_that_are_read_together_with_the_join_follow_on_from_its_snapshot() -> None:
    process = Process()
    client = NodeClient(cast(asyncio.subprocess.Process, process))
    joining = asyncio.ensure_future(client.join("c"))
    await asyncio.sleep(0)  # one turn, in which the join is sent
    process.tell({"ack": 1, "answer": SNAPSHOT}, run_event(5, "awaiting_input"), run_event(6, "failed"))
    await client.read()
    await joining
    assert client.view.runs["r"]["status"] == "failed"
    assert client.view.gaps == 0


async def test_events_of_a_conversation_that_was_shown_before_do_not_count() -> None:
    process = Process()
    client = NodeClient(cast(asyncio.subprocess.Process, process))
    client.view.take_snapshot({**SNAPSHOT, "conversation": {"id": "before"}, "seq": 4}, is_resume=False)
    client.view.take_snapshot(SNAPSHOT, is_resume=False)
    process.tell(run_event(7, "completed", "before"))
    await client.read()
    assert client.view.runs["r"]["status"] == "running"
    assert client.view.gaps == 0
