"""What one browser was told and showed, kept so that it can be held against what agents said and what is stored."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.support.page_view import PageView

Json = dict[str, Any]
ENDINGS = ("chat:message-complete", "chat:error", "chat:aborted")
FINAL = ("completed", "failed", "aborted")


class Screen(PageView):
    """A page's view of one conversation that remembers what it ever showed, and everything that did not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[tuple[str, int], str] = {}
        """The longest text of each message's block."""
        self.misfits: list[str] = []

    def take(self, step: Any) -> None:
        """One thing that it is told."""
        if "snapshot" in step:
            self._judge_snapshot(step["snapshot"], step["after"])
        needed, before = self.needs_join, self.seq
        super().take(step)
        if "event" in step and self.needs_join and not needed and step["event"] != "chat:resync":
            payload = step["payload"]
            self.misfits.append(
                f"{step['event']} {payload['prevSeq']}..{payload['seq']} did not fit what was shown at {before}"
            )
        self._keep(step)

    def _judge_snapshot(self, snapshot: Json, after: int | None) -> None:
        if after and snapshot["epoch"] == self.epoch and snapshot["seq"] < after:
            self.misfits.append(f"the server went back from {after} to {snapshot['seq']}")

    def _keep(self, step: Any) -> None:
        changed = _named(step)
        for name in self.messages if changed is None else changed & self.messages.keys():
            message = self.messages[name]
            for place, block in enumerate(message["blocks"]):
                self._keep_text((name, place), block.get("text", ""), message["status"])

    def _keep_text(self, key: tuple[str, int], text: str, status: str) -> None:
        before = self.shown.get(key, "")
        if not text.startswith(before) and status != "discarded":
            self.misfits.append(f"of {key} {before[-40:]!r} was shown, and then {text[-40:]!r}")
        if len(text) >= len(before):
            self.shown[key] = text


def _named(step: Any) -> set[str] | None:
    """The messages that a step can have changed; None: any of them."""
    if "event" not in step:
        return None
    payload = step["payload"]
    if step["event"] == "chat:message":
        return {payload["message"]["id"]}
    if step["event"] == "chat:stream-response":
        return {event["messageId"] for event in payload["events"] if "messageId" in event}
    return set()


@dataclass(slots=True)
class Witness:
    """One browser over the whole round, through all its connections and reloads."""

    name: str
    endings: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Of each run, the endings that it was told as events."""
    finals: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Of each run, every final state that it was told."""
    outcomes: defaultdict[str, set[tuple[str, str | None]]] = field(default_factory=lambda: defaultdict(set))
    """Of each prompt, every end that it was told: status and option."""
    shown: dict[tuple[str, int], str] = field(default_factory=dict)
    misfits: list[str] = field(default_factory=list)
    screens: dict[str, Screen] = field(default_factory=dict)
    connects: int = 0
    resyncs: int = 0
    deltas: int = 0
    """Envelopes of what streams."""

    def take(self, name: str, payload: Any) -> None:
        """One event of the server."""
        self.resyncs += name == "chat:resync"
        self.deltas += name == "chat:stream-response"
        screen = self.screens.get(payload.get("conversationId", "")) if isinstance(payload, dict) else None
        if screen is None:
            return
        if name in ENDINGS and screen.is_joined and payload["seq"] > screen.seq:
            self.endings[payload["requestId"]].append(name)
        screen.take({"event": name, "payload": payload})
        self._note(screen)

    def take_snapshot(self, conversation_id: str, snapshot: Json, after: int | None) -> None:
        """The answer to a join."""
        screen = self.screens[conversation_id]
        screen.take({"snapshot": snapshot, "after": after})
        self._note(screen)

    def lose(self) -> None:
        """The connection is gone."""
        for screen in self.screens.values():
            screen.take({"lost": True})

    def reload(self) -> None:
        """The page is opened anew: what it showed is kept here, and nothing of it there."""
        for conversation_id, screen in self.screens.items():
            self._put_aside(screen)
            self.screens[conversation_id] = Screen()

    def all_shown(self) -> dict[tuple[str, int], str]:
        """The longest text that was ever shown of each block."""
        for screen in self.screens.values():
            self._put_aside(screen)
        return self.shown

    def all_misfits(self) -> list[str]:
        """Everything that did not fit."""
        return [*self.misfits, *(misfit for screen in self.screens.values() for misfit in screen.misfits)]

    def _put_aside(self, screen: Screen) -> None:
        for key, text in screen.shown.items():
            if len(text) >= len(self.shown.get(key, "")):
                self.shown[key] = text
        self.misfits += screen.misfits
        screen.misfits = []

    def _note(self, screen: Screen) -> None:
        for run in screen.runs.values():
            if run["status"] in FINAL:
                self.finals[run["requestId"]].add(run["status"])
        for prompt in screen.prompts.values():
            if prompt["status"] != "pending":
                self.outcomes[prompt["id"]].add((prompt["status"], prompt["selectedOption"]))
