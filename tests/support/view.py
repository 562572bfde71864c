"""What a page would show of a conversation: a small reducer over snapshot and events (docs/protocol.md)."""

from typing import Any

_OUTSIDE = {
    "conversation:state",
    "chat:conversation-created",
    "conversation:updated",
    "conversation:deleted",
    "project:updated",
    "project:deleted",
    "permission_escalation",
    "bridge:status",
    "server:draining",
    "chat:resync",
}


def utf16(text: str) -> bytes:
    """Text as JavaScript holds it: two bytes per unit of an offset."""
    return text.encode("utf-16-le")


class View:
    """Messages, runs and prompts, as told. `gaps` counts events that did not follow on; `doubled` those in the past."""

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.conversation_id: str | None = None
        """The one that is shown; a client may hear of others that it has joined before."""
        self.seq = 0
        self.is_joined = False
        self.messages: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.prompts: dict[str, dict[str, Any]] = {}
        self.gaps = 0
        self.needs_join = False

    def take_snapshot(self, snapshot: dict[str, Any], *, is_resume: bool) -> None:
        """The acknowledgement of a join."""
        if snapshot["truncated"] or not is_resume or snapshot["epoch"] != self.epoch:
            self.messages.clear()
        self.epoch, self.conversation_id = snapshot["epoch"], snapshot["conversation"]["id"]
        for name, known in (("messages", self.messages), ("prompts", self.prompts)):
            for item in snapshot[name]:
                known[item["id"]] = item
        for run in snapshot["runs"]:
            self.runs[run["requestId"]] = run
        self.seq = snapshot["seq"]
        self.is_joined, self.needs_join = True, False

    def take_event(self, name: str, payload: Any) -> None:
        """One event of the server."""
        if name == "chat:resync":
            self.needs_join = True
        if name in _OUTSIDE or not self.is_joined or payload["conversationId"] != self.conversation_id:
            return
        if payload["seq"] <= self.seq:
            return
        if payload["prevSeq"] != self.seq:
            self.gaps += 1
            self.needs_join = True
            return
        self.seq = payload["seq"]
        if name == "chat:message":
            self.messages[payload["message"]["id"]] = payload["message"]
        elif name == "chat:stream-response":
            for event in payload["events"]:
                self._take_stream(event, payload)
        elif name == "chat:run":
            self.runs[payload["run"]["requestId"]] = payload["run"]
        elif name in ("interactive_prompt", "prompt:resolved"):
            self.prompts[payload["prompt"]["id"]] = payload["prompt"]

    def _take_stream(self, event: dict[str, Any], envelope: dict[str, Any]) -> None:
        if event["type"] == "message.started":
            self.messages[event["messageId"]] = {
                "id": event["messageId"],
                "ordinal": event["ordinal"],
                "seq": envelope["seq"],
                "role": "assistant",
                "status": "streaming",
                "requestId": envelope["requestId"],
                "blocks": [],
                "content": "",
            }
        message = self.messages.get(event.get("messageId"))
        if message is None:
            return
        message["seq"] = envelope["seq"]
        if event["type"] in ("text.delta", "thinking.delta"):
            self._add_text(message, event)
        elif event["type"] == "message.discarded":
            message["status"] = "discarded"

    def _add_text(self, message: dict[str, Any], event: dict[str, Any]) -> None:
        blocks = message["blocks"]
        while len(blocks) <= event["block"]:
            blocks.append({"type": event["type"].removesuffix(".delta"), "text": ""})
        block = blocks[event["block"]]
        assert len(utf16(block["text"])) == 2 * event["offset"], "a delta is doubled or missing"
        block["text"] += event["text"]
        message["content"] = "\n\n".join(b["text"] for b in blocks if b["type"] == "text")

    def texts(self, role: str = "assistant") -> dict[str, str]:
        """Content by message id."""
        return {i: m["content"] for i, m in self.messages.items() if m["role"] == role}
