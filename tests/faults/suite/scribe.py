"""An ACP agent that writes down what it says before it says it: the suite's own account of what agents sent.

On nothing but the standard library; run as a script: `scribe.py LOG`. A message is `REQUEST_ID SCRIPT words=N rate=N`;
the scripts are those of `plan.Script`. Each line of the log is one JSON object with the monotonic time of the machine,
the process, the request, `what` happened, and the text of it.
"""

import json
import os
import select
import sys
import time
from typing import Any

Message = dict[str, Any]
_OPTIONS = [
    {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]
_COMMANDS = {"ask": "rm -r build", "critical": "rm -rf /"}


class Cancelled(Exception):
    """The turn is to stop."""


class Scribe:
    """One agent on stdin and stdout, with one session."""

    def __init__(self, log: str) -> None:
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.buffer = b""
        self.request = ""
        self.session = f"session-{os.getpid()}"
        self.asked = 0

    # --- the wire ---

    def send(self, message: Message) -> None:
        os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def read(self, wait_s: float | None) -> Message | None:
        """The next message; None: none came within the time. Ends with its client."""
        until = None if wait_s is None else time.monotonic() + wait_s
        while b"\n" not in self.buffer:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([0], [], [], left)[0]:
                return None
            piece = os.read(0, 1 << 16)
            if not piece:
                sys.exit(0)
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        message: Message = json.loads(line)
        return message

    def write_down(self, what: str, text: str = "") -> None:
        line = {"at": time.monotonic(), "pid": os.getpid(), "request": self.request, "what": what, "text": text}
        os.write(self.log, json.dumps(line).encode() + b"\n")

    def serve(self) -> None:
        while True:
            message = self.read(None)
            if message is None or "id" not in message:
                continue
            method, name = message["method"], message["id"]
            if method == "session/prompt":
                self.take_turn(name, message["params"])
            elif method == "initialize":
                can = {"sessionCapabilities": {"resume": {}}}
                self.send({"id": name, "result": {"protocolVersion": 1, "agentCapabilities": can}})
            else:
                self.session = message["params"].get("sessionId", self.session)
                self.send({"id": name, "result": {"sessionId": self.session}})

    # --- a turn ---

    def take_turn(self, name: Any, params: Message) -> None:
        self.request, script, *options = str(params["prompt"][-1]["text"]).split()
        given = dict(option.split("=") for option in options)
        self.write_down("begin")
        try:
            self.play(script, int(given["words"]), 0 if script == "burst" else float(given["rate"]))
        except Cancelled:
            self.write_down("cancelled")
            self.send({"id": name, "result": {"stopReason": "cancelled"}})
            return
        if script == "fail":
            self.write_down("failed")
            self.send({"id": name, "error": {"code": -32603, "message": "It was told to fail"}})
            return
        self.write_down("end")
        self.send({"id": name, "result": {"stopReason": "end_turn"}})

    def play(self, script: str, words: int, rate: float) -> None:
        self.speak(0, words // 2, rate)
        if script in _COMMANDS:
            self.ask(_COMMANDS[script])
        self.speak(words // 2, words, rate)

    def speak(self, first: int, last: int, rate: float) -> None:
        for number in range(first, last):
            # What is not ASCII puts offsets in UTF-16 units to the test.
            self.say(f"{self.request[-2:]}w{number}{'🖋' if number % 10 == 0 else ''} ")
            self.pause(1 / rate if rate else 0)

    def say(self, text: str) -> None:
        self.write_down("said", text)
        content = {"type": "text", "text": text}
        self.tell({"sessionUpdate": "agent_message_chunk", "content": content})

    def tell(self, update: Message) -> None:
        self.send({"method": "session/update", "params": {"sessionId": self.session, "update": update}})

    def pause(self, seconds: float) -> None:
        message = self.read(seconds)
        if message is not None and message.get("method") == "session/cancel":
            raise Cancelled

    def ask(self, command: str) -> None:
        self.asked += 1
        name = f"{self.request}-{self.asked}"
        call = {"toolCallId": name, "title": command, "kind": "execute", "rawInput": {"command": command}}
        params = {"sessionId": self.session, "toolCall": call, "options": _OPTIONS}
        self.write_down("asked", command)
        self.send({"id": f"ask-{self.asked}", "method": "session/request_permission", "params": params})
        while True:
            message = self.read(None)
            assert message is not None, "without a limit there is one"
            if message.get("id") == f"ask-{self.asked}":
                outcome = (message.get("result") or {}).get("outcome", {})
                self.write_down("heard", str(outcome.get("optionId") or outcome.get("outcome")))
                return
            if message.get("method") == "session/cancel":
                self.write_down("cancel asked")


if __name__ == "__main__":
    Scribe(sys.argv[1]).serve()
