"""The bridge wire as JSON: bytes to frames of `core.frames` and back, in both directions.

What comes in is judged by marshmallow, except frames of nothing but deltas, which are nearly all frames and are
judged by hand (`bridge_parts.load_delta`). Two ways to fail, because they end differently:

- PeerViolation: no JSON object, unknown type, too large (1009), or a numbered frame that does not even say which
  run and number it is. The link is closed; the bridge may come again.
- RefusedFrame: a numbered frame whose body is wrong. The run fails and the frame is acknowledged, since
  otherwise it would come back with each reconnect.

Forward compatibility: fields this version does not know are ignored, null counts as absent. Text is cleaned before
anything counts offsets: lone surrogates become U+FFFD, integers beyond 64 bits text, NUL in keys goes, and NaN,
which is no JSON but what several encoders write, becomes null. Raises nothing else.
"""

import json
import re
from typing import Any, Final

import orjson
from marshmallow import ValidationError

from baton.core import frames
from baton.core.errors import BatonError, PeerViolation
from baton.core.frames import BridgeFrame, RunFrame, ServerFrame, Stream
from baton.core.ids import MAX_FOREIGN_ID_LENGTH, RequestId
from baton.core.limits import Limits
from baton.core.models import Failure
from baton.core.text import clean_json, clean_text, whole_number
from baton.schemas.bridge_frames import NUMBERED, SERVER, UNNUMBERED
from baton.schemas.bridge_parts import MAX_COUNT, MAX_ITEMS, Part, load_delta
from baton.schemas.codec import dump_event, to_wire

CLOSE_BAD_FRAME: Final = 4400
CLOSE_TOO_LARGE: Final = 1009
CLOSE_VERSION: Final = 4426

_MAX_REASON_CHARS = 300
_LONG_NUMBER = re.compile(rb"[0-9]{19}")


class RefusedFrame(BatonError):
    """A numbered frame that parses but whose body is wrong: its run fails with `error`, the frame counts."""

    code = "agent_failed"

    def __init__(self, request_id: RequestId, seq: int, error: Failure) -> None:
        super().__init__(error.message)
        self.request_id = request_id
        self.seq = seq
        self.error = error


def load_bridge_frame(raw: bytes | str, limits: Limits) -> BridgeFrame:
    """The frame that a bridge sent. Raises PeerViolation or RefusedFrame: see the module."""
    encoded = raw if isinstance(raw, bytes) else clean_text(raw).encode()
    frame = _parse(encoded, limits.bridge_frame_max_bytes)
    if frame.get("type") == "claude:stream":
        deltas = _load_deltas(frame)
        if deltas is not None:
            return deltas
    return _judge(_with_long_numbers(frame, encoded))


def load_server_frame(raw: bytes | str, limits: Limits) -> ServerFrame:
    """The frame that a server sent. Raises PeerViolation."""
    encoded = raw if isinstance(raw, bytes) else clean_text(raw).encode()
    frame = _with_long_numbers(_parse(encoded, limits.bridge_frame_max_bytes), encoded)
    loaded: ServerFrame = _load_unnumbered(SERVER, frame)
    return loaded


def dump_frame(frame: BridgeFrame | ServerFrame) -> bytes:
    """The frame as UTF-8 JSON, ready for a text frame."""
    body: dict[str, Any]
    if type(frame) is Stream:
        events = [dump_event(event) for event in frame.events]
        body = {"type": "claude:stream", "requestId": frame.request_id, "seq": frame.seq, "events": events}
    elif type(frame) is frames.Ack:
        body = {"type": "ack", "acks": frame.acks}
    else:
        body = {"type": frames.FRAME_TYPES[type(frame)], **to_wire(frame)}
    try:
        return orjson.dumps(body)
    except TypeError:
        # What an agent in this process said has not been through `load_bridge_frame`: it may hold lone
        # surrogates, integers beyond 64 bits or keys that are no text, which orjson refuses.
        return orjson.dumps(clean_json(body))


def _parse(raw: bytes, max_bytes: int) -> dict[str, Any]:
    if len(raw) > max_bytes:
        raise PeerViolation(f"A frame is larger than {max_bytes} bytes", close_code=CLOSE_TOO_LARGE)
    try:
        frame = orjson.loads(raw)
    except orjson.JSONDecodeError:
        frame = _parse_leniently(raw)
    if type(frame) is not dict:
        raise PeerViolation("A frame must be a JSON object", close_code=CLOSE_BAD_FRAME)
    return frame


def _parse_leniently(raw: bytes) -> Any:
    """As the standard library reads it: with lone surrogates, NaN and integers of any size; cleaned."""
    try:
        loaded = json.loads(raw.decode(), parse_int=whole_number, parse_constant=lambda _: None)
        return clean_json(loaded)
    except (ValueError, RecursionError):
        raise PeerViolation("A frame must be JSON", close_code=CLOSE_BAD_FRAME) from None


def _with_long_numbers(frame: dict[str, Any], raw: bytes) -> dict[str, Any]:
    """The frame anew where it may hold an integer beyond 64 bits, of which orjson makes a float."""
    if _LONG_NUMBER.search(raw) is None:
        return frame
    again: dict[str, Any] = _parse_leniently(raw)
    return again


def _load_deltas(frame: dict[str, Any]) -> Stream | None:
    """The frame, if it holds nothing but sound deltas; None: the long way knows what to say of it."""
    request_id, seq, events = frame.get("requestId"), frame.get("seq"), frame.get("events")
    if type(request_id) is not str or not 0 < len(request_id) <= MAX_FOREIGN_ID_LENGTH:
        return None
    if type(seq) is not int or not 0 < seq <= MAX_COUNT or type(events) is not list:
        return None
    if len(events) > MAX_ITEMS:
        return None
    deltas = []
    for raw in events:
        delta = load_delta(raw)
        if delta is None:
            return None
        deltas.append(delta)
    return Stream(request_id=RequestId(request_id), seq=seq, events=tuple(deltas))


def _judge(frame: dict[str, Any]) -> BridgeFrame:
    kind = frame.get("type")
    part = NUMBERED.get(kind) if isinstance(kind, str) else None
    if part is None:
        loaded: BridgeFrame = _load_unnumbered(UNNUMBERED, frame)
        return loaded
    try:
        numbered: RunFrame = part.load(frame)
    except ValidationError as invalid:
        raise _refusal(frame, str(kind), _reason(invalid)) from None
    return numbered


def _refusal(frame: dict[str, Any], kind: str, reason: str) -> RefusedFrame | PeerViolation:
    """What a wrong numbered frame comes to: only one that says which it is can be counted."""
    request_id, seq = frame.get("requestId"), frame.get("seq")
    if type(request_id) is not str or not 0 < len(request_id) <= MAX_FOREIGN_ID_LENGTH:
        return PeerViolation(f"A {kind} frame needs its requestId", close_code=CLOSE_BAD_FRAME)
    if type(seq) is not int or not 0 < seq <= MAX_COUNT:
        return PeerViolation(f"A {kind} frame needs its seq", close_code=CLOSE_BAD_FRAME)
    text = f"The bridge sent a {kind} frame that was refused: {reason}"
    return RefusedFrame(RequestId(request_id), seq, Failure("agent_failed", text))


def _load_unnumbered(parts: dict[str, Part], frame: dict[str, Any]) -> Any:
    kind = frame.get("type")
    part = parts.get(kind) if isinstance(kind, str) else None
    if part is None:
        raise PeerViolation("A frame is of no known type", close_code=CLOSE_BAD_FRAME)
    if kind == "hello":
        _check_version(frame.get("protocol"))
    try:
        return part.load(frame)
    except ValidationError as invalid:
        raise PeerViolation(f"A {kind} frame is wrong: {_reason(invalid)}", close_code=CLOSE_BAD_FRAME) from None


def _check_version(protocol: object) -> None:
    """Before the rest is judged, because another version's hello may look different."""
    if type(protocol) is int and protocol != frames.PROTOCOL_VERSION:
        spoken = frames.PROTOCOL_VERSION
        raise PeerViolation(f"Version {protocol} is not spoken here, only {spoken}", close_code=CLOSE_VERSION)


def _reason(invalid: ValidationError) -> str:
    """What is wrong, by dotted field; names of fields only, never what the frame said."""
    return "; ".join(_flatten(invalid.messages, ""))[:_MAX_REASON_CHARS]


def _flatten(messages: Any, path: str) -> list[str]:
    if isinstance(messages, dict):
        return [line for key, inner in messages.items() for line in _flatten(inner, f"{path}.{key}" if path else key)]
    texts = messages if isinstance(messages, list) else [messages]
    return [f"{path}: {text}" for text in texts]
