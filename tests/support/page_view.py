"""The page's rules for one conversation once more, in Python: what a client must hold after each thing it was told.

The sister of `ui/src/state/thread.ts`, written from docs/protocol.md on its own, so that the golden files of
tests/golden/page are judged twice. Plain and slow; `tests.support.view` is the smaller one that whole tests use.
"""

import copy
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def utf16_length(text: str) -> int:
    """What JavaScript calls the length."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


class Misfit(Exception):
    """An event does not fit what is here: something is missing."""


class PageView:
    """One open conversation."""

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.seq = 0
        self.is_joined = False
        self.needs_join = True
        self.has_older = False
        self.messages: dict[str, Json] = {}
        self.runs: dict[str, Json] = {}
        self.prompts: dict[str, Json] = {}
        self.queue: Json = {"paused": False, "runs": []}

    def take(self, step: Mapping[str, Any]) -> None:
        """One step of a golden file."""
        if "event" in step:
            self._take_event(step["event"], step["payload"])
        elif "snapshot" in step:
            self._take_snapshot(step["snapshot"], step["after"])
        elif "older" in step:
            self._take_older(step["older"], step["before"])
        else:
            assert step == {"lost": True}, "a step that is known"
            self.is_joined, self.needs_join = False, True

    def shown(self) -> Json:
        """What `expected` of a golden file names."""
        ordered = sorted(self.messages.values(), key=lambda message: message["ordinal"])
        return {
            "epoch": self.epoch,
            "seq": self.seq,
            "isJoined": self.is_joined,
            "needsJoin": self.needs_join,
            "hasOlder": self.has_older,
            "messages": [_shown_message(message) for message in ordered],
            "runs": {name: _shown_run(run) for name, run in sorted(self.runs.items())},
            "prompts": {name: prompt["status"] for name, prompt in sorted(self.prompts.items())},
            "queue": [run["requestId"] for run in self.queue["runs"]],
        }

    # --- snapshots and pages ---

    def _take_snapshot(self, snapshot: Json, after: int | None) -> None:
        is_whole = not after or snapshot["truncated"] or snapshot["epoch"] != self.epoch or snapshot["seq"] < after
        if is_whole:
            self._clear(keep_ended=snapshot["epoch"] == self.epoch)
        elif snapshot["seq"] < self.seq:
            self.is_joined = True
            return
        self.epoch, self.seq, self.queue = snapshot["epoch"], snapshot["seq"], snapshot["queue"]
        self.is_joined, self.needs_join = True, False
        self._take_runs(snapshot["runs"])
        self.prompts |= {prompt["id"]: prompt for prompt in snapshot["prompts"]}
        self._take_messages(snapshot["messages"])
        if is_whole:
            self.has_older = (self._floor() or 0) > 1

    def _clear(self, *, keep_ended: bool) -> None:
        ended = ("completed", "failed", "aborted")
        self.messages, self.has_older = {}, False
        self.runs = {name: run for name, run in self.runs.items() if keep_ended and run["status"] in ended}
        self.prompts = {name: p for name, p in self.prompts.items() if keep_ended and p["status"] != "pending"}

    def _take_older(self, page: Json, before: int | None) -> None:
        if before != self._floor():
            return
        self.has_older = False
        self._take_runs(page["runs"])
        self._take_messages(page["messages"])
        self.has_older = page["next"] is not None

    def _take_messages(self, messages: list[Json]) -> None:
        floor = self._floor() if self.has_older else None
        for message in messages:
            known = self.messages.get(message["id"])
            is_reachable = floor is None or message["ordinal"] >= floor
            if is_reachable if known is None else message["seq"] > known["seq"]:
                self.messages[message["id"]] = copy.deepcopy(message)

    def _take_runs(self, runs: list[Json]) -> None:
        for run in runs:
            if run["seq"] >= self.runs.get(run["requestId"], {"seq": 0})["seq"]:
                self.runs[run["requestId"]] = copy.deepcopy(run)

    def _floor(self) -> int | None:
        return min((message["ordinal"] for message in self.messages.values()), default=None)

    # --- events ---

    def _take_event(self, name: str, payload: Json) -> None:
        if name == "chat:resync":
            self.is_joined, self.needs_join = False, True
        if "prevSeq" not in payload or not self.is_joined or payload["seq"] <= self.seq:
            return
        if payload["prevSeq"] != self.seq:
            self.needs_join = True
            return
        before = copy.deepcopy(self.messages)
        try:
            self._apply(name, payload)
            self.seq = payload["seq"]
        except Misfit:
            self.messages, self.needs_join = before, True

    def _apply(self, name: str, payload: Json) -> None:
        if name == "chat:message":
            self._take_messages([payload["message"]])
        elif name == "chat:stream-response":
            self._stream(payload)
        elif name == "chat:run":
            self._take_runs([payload["run"]])
            self.queue = payload.get("queue", self.queue)
        elif name in ("interactive_prompt", "prompt:resolved"):
            self.prompts[payload["prompt"]["id"]] = payload["prompt"]

    def _stream(self, payload: Json) -> None:
        older = {name for name, message in self.messages.items() if message["seq"] < payload["seq"]}
        run = self.runs.get(payload["requestId"])
        if run is not None and run["seq"] < payload["seq"]:
            for event in payload["events"]:
                _hear(run, event, payload["seq"])
        for event in payload["events"]:
            name = event.get("messageId")
            if event["type"] == "message.started" and name not in self.messages:
                self.messages[name] = _begun(event)
                older.add(name)
            if name in older:
                _grow(self.messages[name], event)
                self.messages[name]["seq"] = payload["seq"]


def _hear(run: Json, event: Json, seq: int) -> None:
    """What the agent says of the run itself."""
    if event["type"] == "usage.updated":
        run.update(seq=seq, usage=event["usage"])
    elif event["type"] == "plan.updated":
        run.update(seq=seq, plan=event["entries"])
    elif event["type"] == "notice":
        notice = {"level": event["level"], "text": event["text"]}
        run.update(seq=seq, notices=[*run["notices"], notice][-20:])


def _begun(event: Json) -> Json:
    return {
        "id": event["messageId"],
        "ordinal": event["ordinal"],
        "seq": 0,
        "role": "assistant",
        "status": "streaming",
        "blocks": [],
    }


def _grow(message: Json, event: Json) -> None:
    kind = event["type"]
    if kind in ("text.delta", "thinking.delta"):
        _append(message["blocks"], event, kind.removesuffix(".delta"))
    elif kind == "tool.started":
        _start_tool(message["blocks"], event)
    elif kind.startswith("tool."):
        _change_tool(message["blocks"], event)
    elif kind == "message.discarded":
        message["status"] = "discarded"
        for block in message["blocks"]:
            if block.get("status") == "running":
                block.update(status="failed", isError=True)


def _append(blocks: list[Json], event: Json, kind: str) -> None:
    index, offset = event["block"], event["offset"]
    if index == len(blocks) and offset == 0:
        blocks.append({"type": kind, "text": ""})
    if index >= len(blocks) or blocks[index]["type"] != kind:
        raise Misfit
    units = blocks[index]["text"].encode("utf-16-le")
    if offset > len(units) // 2:
        raise Misfit
    if offset < len(units) // 2:
        if not units[2 * offset :].startswith(event["text"].encode("utf-16-le")):
            raise Misfit
        return
    blocks[index]["text"] += event["text"]


def _start_tool(blocks: list[Json], event: Json) -> None:
    told = {name: event[name] for name in ("id", "name", "kind", "title")}
    for block in blocks:
        if block.get("id") == event["id"]:
            block.update(told)
            return
    if event["block"] != len(blocks):
        raise Misfit
    new = {"input": None, "status": "running", "result": None, "isError": False, "progress": ""}
    blocks.append({"type": "tool_use", **told, **new})


def _change_tool(blocks: list[Json], event: Json) -> None:
    tool = next((block for block in blocks if block.get("id") == event["id"]), None)
    if tool is None:
        raise Misfit
    if event["type"] == "tool.input":
        tool["input"] = event["input"]
    elif event["type"] == "tool.progress":
        tool["progress"] += event["text"]
    else:
        status = "failed" if event["isError"] else "completed"
        tool.update(status=status, result=event["result"], isError=event["isError"], progress="")


def _shown_run(run: Json) -> Json:
    return {name: run[name] for name in ("status", "usage", "plan", "notices", "finishedAt")}


def _shown_message(message: Json) -> Json:
    told = {name: message[name] for name in ("id", "ordinal", "seq", "role", "status")}
    return told | {"blocks": [_shown_block(block) for block in message["blocks"]]}


def _shown_block(block: Json) -> Json:
    names = ("type", "text") if block["type"] != "tool_use" else _TOOL_FIELDS
    return {name: block[name] for name in names}


_TOOL_FIELDS = ("type", "id", "name", "title", "input", "status", "result", "isError", "progress")
