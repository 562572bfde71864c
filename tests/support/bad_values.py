"""Every client event of docs/protocol.md section 2.1 with its fields, and for each kind of field what it is not.

Written from the document, so that the code is held against it. `!` marks what is required.
"""

from collections.abc import Iterator
from typing import Any

NOBODY = "0" * 24
"""An id that nothing has."""

EVENTS: dict[str, dict[str, str]] = {
    "join-conversation": {"conversationId": "id!", "after": "whole", "epoch": "text"},
    "leave-conversation": {"conversationId": "id!"},
    "join-project": {"projectId": "id!"},
    "leave-project": {"projectId": "id!"},
    "chat:send-message": {
        "requestId": "text!",
        "content": "text!",
        "conversationId": "id",
        "projectId": "id",
        "sessionId": "text",
        "attachments": "ids",
        "agent": "text",
        "model": "text",
        "permissionMode": "mode",
        "workingDirectory": "text",
        "allowedTools": "texts",
        "bridgeId": "text",
    },
    "chat:abort": {"requestId": "text!"},
    "chat:retry": {"requestId": "text!", "newRequestId": "text!"},
    "chat:extend": {"requestId": "text!", "seconds": "seconds!"},
    "chat:queue-update": {"requestId": "text!", "content": "text!"},
    "chat:queue-remove": {"requestId": "text!"},
    "chat:queue-move": {"requestId": "text!", "position": "place!"},
    "chat:queue-resume": {"conversationId": "id!"},
    "conversation:create": {
        "requestId": "text",
        "projectId": "id",
        "title": "text",
        "agent": "text",
        "model": "text",
        "permissionMode": "mode",
        "workingDirectory": "text",
        "bridgeId": "text",
    },
    "conversation:check": {"conversationId": "id!"},
    "conversation:seen": {"conversationId": "id!", "seq": "whole!"},
    "permission:respond": {
        "promptId": "id!",
        "selectedOption": "text!",
        "message": "text",
        "input": "object",
        "answers": "answers",
    },
    "prompt:seen": {"promptId": "id!"},
    "prompt:extend": {"promptId": "id!", "seconds": "seconds!"},
    "permission:get-mode": {"conversationId": "id!"},
    "permission:set-mode": {"conversationId": "id!", "mode": "mode!"},
    "bridge:list": {},
    "bridge:files": {"conversationId": "id", "bridgeId": "text", "query": "text", "path": "text", "limit": "place"},
    "bridge:commands": {"conversationId": "id!"},
    "latency:ping": {"sentAt": "time"},
}

_RIGHT: dict[str, Any] = {"id": NOBODY, "text": "x", "whole": 0, "place": 1, "seconds": 60, "mode": "plan"}
_NO_TEXT: list[Any] = [5, 1.5, True, [], {}, ["x"], {"$ne": None}]
_NO_NUMBER: list[Any] = ["1", "", True, [], {}, 1.5, -1, 2**53, 2**63, -(2**70), 10**400]

WRONG: dict[str, list[Any]] = {
    "id": _NO_TEXT,
    "text": _NO_TEXT,
    "whole": _NO_NUMBER,
    "place": [*_NO_NUMBER, 0],
    "seconds": [*_NO_NUMBER, 0, 10**9],
    "mode": [*_NO_TEXT, "", "sudo", "Default"],
    "ids": ["x", 5, {}, [5], [None], [[]], [{"$gt": ""}], [NOBODY] * 100],
    "texts": ["x", 5, {}, [5], [None], [[]], [""], ["x"] * 1000],
    "object": ["x", 5, True, ["x"]],
    "answers": ["x", 5, True, ["x"], {"q": 5}, {"q": [5]}, {"q": {}}],
    "time": [True, [], {}, "x" * 101],
}

BARE = frozenset({"join-conversation", "leave-conversation", "join-project", "leave-project"})
"""Events whose payload may be the id alone."""


def right(event: str) -> dict[str, Any]:
    """A payload with which nothing is wrong but that it is about nobody."""
    payload = {name: _RIGHT[kind.rstrip("!")] for name, kind in EVENTS[event].items() if kind.endswith("!")}
    return {"conversationId": NOBODY} if event == "bridge:files" else payload


def wrong(event: str) -> Iterator[tuple[Any, str]]:
    """Payloads with one thing wrong, and the field that it is wrong with."""
    sound = right(event)
    for payload in (5, 1.5, True, [], ["x"], *(() if event in BARE else ("x", ""))):
        yield payload, "payload"
    yield {**sound, "surprise": 1}, "surprise"
    yield {**sound, "__proto__": {}}, "__proto__"
    for name, kind in EVENTS[event].items():
        if kind.endswith("!"):
            yield {key: value for key, value in sound.items() if key != name}, name
            yield {**sound, name: None}, name
        for value in WRONG[kind.rstrip("!")]:
            yield {**sound, name: value}, name


NO_EVENTS = (
    "connect",
    "disconnect",
    "disconnecting",
    "connect_error",
    "error",
    "message",
    "newListener",
    "__disconnect_final",
    "chat:message",
    "CHAT:ABORT",
    "*",
    "",
    "\ud800",
    "x" * 100_000,
)
"""Names that no event has; the first are the lifecycle's own."""

NO_PACKETS = (
    "42",
    "421[",
    "421{}",
    "421[]",
    "421[1]",
    "421[null]",
    '421["chat:abort"',
    '421["latency:ping",{"sentAt":NaN}]',
    '421["latency:ping",{"sentAt":Infinity}]',
    '42-1["bridge:list"]',
    '42/x,1["bridge:list"]',
    "44{}",
    "45",
    "47",
    "4x",
    "x",
    "9",
    "",
    "bAAAA",
    "421[" + "[" * 100_000,
)
"""What no Socket.IO 5 client sends: the connection ends."""

NO_JSON = (b"{", b"\xff\xfe", b'{"a":NaN}', b"[" * 100_000, b"{'a':1}", b'{"a":1}}', b"\0")
NO_OBJECTS = (b"[]", b"5", b"null", b'"x"', b"true")

NO_HELLOS: tuple[tuple[Any, int], ...] = (
    ("{", 4400),
    ("[]", 4400),
    ("\0", 4400),
    ({"type": "nonsense"}, 4400),
    ({"type": "pong", "t": 1}, 4400),
    ({"type": "claude:stream", "requestId": "r", "seq": 1, "events": []}, 4400),
    ({"type": "hello"}, 4400),
    ({"type": "hello", "protocol": 2, "bridgeId": "x", "instanceId": "i"}, 4426),
    ({"type": "hello", "protocol": "1", "bridgeId": "x", "instanceId": "i"}, 4400),
    ({"type": "hello", "protocol": 1, "bridgeId": "", "instanceId": "i"}, 4400),
    ({"type": "hello", "protocol": 1, "bridgeId": {"$ne": 1}, "instanceId": "i"}, 4400),
    ({"type": "hello", "protocol": 1, "bridgeId": "x" * 101, "instanceId": "i"}, 4400),
    ({"type": "hello", "protocol": 1, "bridgeId": "x", "instanceId": "i", "runs": {}}, 4400),
    ({"type": "hello", "protocol": 1, "bridgeId": "x", "instanceId": "i", "agents": [{}]}, 4400),
)
"""First frames of a bridge, and the code that each is closed with."""

NO_FRAMES: tuple[tuple[Any, int], ...] = (
    ("{", 4400),
    ("null", 4400),
    (b"{}", 4400),
    ({"type": "nonsense"}, 4400),
    ({"type": 5}, 4400),
    ({"no": "type"}, 4400),
    ({"type": "hello", "protocol": 1, "bridgeId": "ext", "instanceId": "i"}, 4400),
    ({"type": "claude:started", "seq": 1}, 4400),
    ({"type": "claude:started", "requestId": "r"}, 4400),
    ({"type": "claude:started", "requestId": "r", "seq": 0}, 4400),
    ({"type": "claude:started", "requestId": "r", "seq": "1"}, 4400),
    ({"type": "claude:started", "requestId": "r", "seq": 2**70}, 4400),
    ({"type": "bridge:status", "active": -1}, 4400),
    ({"type": "pong", "t": "now"}, 4400),
    ({"type": "rpc:result", "id": 1, "ok": "yes"}, 4400),
)
"""Frames after the welcome, and the code that each is closed with."""

NO_BODIES: tuple[dict[str, Any], ...] = (
    {"type": "claude:started", "sessionId": 5},
    {"type": "claude:stream", "events": {}},
    {"type": "claude:stream", "events": [{"type": "nonsense"}]},
    {"type": "claude:stream", "events": [{"type": "text.delta", "messageId": "m", "block": 0, "text": "x"}]},
    {
        "type": "claude:stream",
        "events": [{"type": "text.delta", "messageId": "m", "block": 2**40, "offset": 0, "text": "x"}],
    },
    {"type": "permission:request", "prompt": {"promptId": "p", "type": "riddle", "title": "?"}},
    {"type": "permission:request"},
    {"type": "permission:applied", "promptId": []},
    {"type": "claude:complete", "result": {"outcome": "splendid"}},
    {"type": "claude:complete"},
    {"type": "claude:error", "error": "broke"},
)
"""Numbered frames that parse, and are refused: their run fails."""
