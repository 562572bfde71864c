"""The bridge wire as JSON: what golden frames mean, what goes there and back, and what is refused how."""

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given, settings

from baton.core import frames, models, stream
from baton.core.errors import PeerViolation
from baton.core.frames import BridgeFrame, RunFrame, ServerFrame
from baton.core.ids import RequestId
from baton.core.limits import Limits
from baton.core.stream import STREAM_EVENT_TYPES, TextDelta
from baton.schemas import bridge, bridge_parts
from baton.schemas.bridge import RefusedFrame, dump_frame, load_bridge_frame, load_server_frame

GOLDEN = Path(__file__).parent.parent / "golden" / "bridge"
LIMITS = Limits()


def from_bridge(frame: object) -> BridgeFrame:
    return load_bridge_frame(orjson.dumps(frame), LIMITS)


def delta(**changes: object) -> dict[str, object]:
    return {"type": "text.delta", "messageId": "m", "block": 0, "offset": 0, "text": "hi", **changes}


def stream_frame(*events: object, **changes: object) -> dict[str, object]:
    return {"type": "claude:stream", "requestId": "r", "seq": 1, "events": list(events), **changes}


# --- golden frames -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_a_golden_frame_is_read_and_written_as_it_stands(path: Path) -> None:
    written = json.loads(path.read_text())
    load = load_bridge_frame if path.name.startswith("bridge.") else load_server_frame
    frame = load(path.read_bytes(), LIMITS)
    assert frames.FRAME_TYPES[type(frame)] == written["type"]
    assert json.loads(dump_frame(frame)) == written


def test_every_type_of_frame_and_event_has_a_golden_one() -> None:
    golden = [json.loads(path.read_text()) for path in GOLDEN.glob("*.json")]
    assert {frame["type"] for frame in golden} == set(frames.FRAME_TYPES.values())
    events = {event["type"] for frame in golden for event in frame.get("events", ())}
    assert events == set(STREAM_EVENT_TYPES.values())


# --- there and back ----------------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)
keys = ids.filter(lambda key: "\0" not in key)  # a NUL in a key goes (docs/protocol.md, section 4)
counts = st.integers(0, 2**63 - 1)
jsons = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4), inner, max_size=3
        )
    ),
    max_leaves=6,
)
usages = st.builds(models.Usage, counts, counts, counts, counts)
numbered = {"request_id": ids.map(RequestId), "seq": st.integers(1, 2**63 - 1)}
blocks = {"message_id": ids, "block": st.integers(0, 100_000)}
events = st.one_of(
    st.builds(stream.TextDelta, ids, st.integers(0, 100_000), counts, words),
    st.builds(stream.ThinkingDelta, ids, st.integers(0, 100_000), counts, words),
    st.builds(stream.MessageStarted, message_id=ids, model=st.none() | words, parent_tool_use_id=st.none() | words),
    st.builds(stream.TextDone, **blocks, text=words),
    st.builds(stream.ToolStarted, **blocks, id=words, name=words, kind=st.just("edit"), title=words),
    st.builds(stream.ToolInput, **blocks, id=words, input=jsons),
    st.builds(stream.ToolProgress, message_id=ids, id=words, text=words),
    st.builds(stream.ToolDone, message_id=ids, id=words, result=jsons, is_error=st.booleans()),
    st.builds(
        stream.MessageDone,
        message_id=ids,
        claude_data=st.dictionaries(keys, jsons, max_size=2),
        usage=st.none() | usages,
    ),
    st.builds(stream.UsageUpdated, usage=usages),
    st.builds(stream.Notice, level=st.just("error"), text=words),
)
run_frames = st.one_of(
    st.builds(frames.Stream, **numbered, events=st.lists(events, max_size=4).map(tuple)),
    st.builds(frames.Started, **numbered, session_id=st.none() | words),
    st.builds(
        frames.PermissionRequest,
        **numbered,
        prompt=st.builds(
            frames.PromptAsked,
            prompt_id=ids,
            type=st.sampled_from(models.PromptType),
            title=words,
            input=jsons,
            options=st.lists(st.builds(models.PromptOption, id=ids, label=words), max_size=2).map(tuple),
        ),
    ),
    st.builds(
        frames.Complete,
        **numbered,
        result=st.builds(frames.RunResult, usage=usages, cost_usd=st.floats(0, 1e9), duration_ms=counts),
    ),
    st.builds(frames.Failed, **numbered, error=st.builds(models.Failure, ids, words, st.booleans())),
)
server_frames = st.one_of(
    st.builds(frames.Ack, acks=st.dictionaries(keys.map(RequestId), counts, max_size=4)),
    st.builds(
        frames.PermissionResponse,
        request_id=ids.map(RequestId),
        prompt_id=ids,
        selected_option=ids,
        input=jsons,
        answers=jsons,
    ),
    st.builds(frames.SetMode, request_id=ids.map(RequestId), mode=st.sampled_from(models.PermissionMode)),
    st.builds(frames.Rpc, id=ids, method=ids, params=jsons),
)


@settings(max_examples=150, deadline=None)
@given(run_frames)
def test_a_bridges_frame_comes_back_as_it_was(frame: RunFrame) -> None:
    assert load_bridge_frame(dump_frame(frame), LIMITS) == frame


@settings(max_examples=75, deadline=None)
@given(server_frames)
def test_a_servers_frame_comes_back_as_it_was(frame: ServerFrame) -> None:
    assert load_server_frame(dump_frame(frame), LIMITS) == frame


# --- the short way of deltas ---------------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2**63 + 1), st.floats(), st.text(max_size=3), st.lists(jsons, max_size=2)
)
odd_deltas = st.fixed_dictionaries(
    {"type": st.sampled_from(["text.delta", "thinking.delta", "text.done", "notice", "", None])},
    optional={
        "messageId": st.one_of(ids, scalars, st.just("x" * 101)),
        "block": st.one_of(st.integers(-1, 100_001), scalars),
        "offset": st.one_of(counts, scalars),
        "text": st.one_of(words, scalars),
        "level": scalars,
    },
)
"""Deltas, nearly deltas, and what only looks like one."""
odd_streams = st.fixed_dictionaries(
    {"type": st.just("claude:stream")},
    optional={
        "requestId": st.one_of(ids, scalars, st.just("x" * 101)),
        "seq": st.one_of(counts, scalars),
        "events": st.one_of(st.lists(st.one_of(odd_deltas, scalars), max_size=3), scalars),
    },
)


def judged(frame: dict[str, object]) -> object:
    """What becomes of the frame: its value, or why it was refused."""
    try:
        return load_bridge_frame(json.dumps(frame), LIMITS)
    except (PeerViolation, RefusedFrame) as refused:
        return type(refused), str(refused)


@settings(max_examples=300, deadline=None)
@given(odd_streams)
def test_the_short_way_of_deltas_judges_as_the_schema_does(frame: dict[str, object]) -> None:
    quickly = judged(frame)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bridge, "_load_deltas", lambda _: None)
        patch.setattr(bridge_parts, "load_delta", lambda _: None)
        assert quickly == judged(frame)


def test_more_deltas_than_a_list_may_hold_are_refused_on_the_short_way_too() -> None:
    with pytest.raises(RefusedFrame):
        load_bridge_frame(orjson.dumps(stream_frame(*[delta()] * (bridge_parts.MAX_ITEMS + 1))), LIMITS)


# --- the link ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"hello"',
        b"\xff\xfe",
        b"[" * 2000 + b"]" * 2000,
        b"{}",
        b'{"type": null}',
        b'{"type": ["claude:stream"]}',
        b'{"type": "claude:unknown", "requestId": "r", "seq": 1}',
        b'{"type": "claude:execute", "requestId": "r"}',
        b'{"type": "claude:stream"}',
        b'{"type": "claude:stream", "requestId": "r", "events": []}',
        b'{"type": "claude:stream", "requestId": "r", "seq": 0, "events": []}',
        b'{"type": "claude:stream", "requestId": "r", "seq": true, "events": []}',
        b'{"type": "claude:stream", "requestId": "r", "seq": 1.0, "events": []}',
        b'{"type": "claude:stream", "requestId": "r", "seq": 9223372036854775808, "events": []}',
        b'{"type": "claude:stream", "requestId": "", "seq": 1, "events": []}',
        b'{"type": "claude:stream", "requestId": 7, "seq": 1, "events": []}',
        b'{"type": "claude:stream", "requestId": "' + b"x" * 101 + b'", "seq": 1, "events": []}',
        b'{"type": "hello", "bridgeId": "b", "instanceId": "i"}',
        b'{"type": "hello", "protocol": 1, "bridgeId": "", "instanceId": "i"}',
        b'{"type": "hello", "protocol": 1, "bridgeId": "b", "instanceId": "i", "runs": [{"requestId": "r"}]}',
        b'{"type": "pong", "t": "now"}',
    ],
    ids=lambda raw: raw[:60].decode(errors="replace"),
)
def test_a_frame_that_says_nothing_usable_ends_the_link(raw: bytes) -> None:
    with pytest.raises(PeerViolation) as caught:
        load_bridge_frame(raw, LIMITS)
    assert caught.value.close_code == 4400


def test_a_frame_over_the_limit_ends_the_link_as_too_large() -> None:
    raw = orjson.dumps(stream_frame(delta(text="x" * 100)))
    load_bridge_frame(raw, Limits(bridge_frame_max_bytes=len(raw)))
    with pytest.raises(PeerViolation) as caught:
        load_bridge_frame(raw, Limits(bridge_frame_max_bytes=len(raw) - 1))
    assert caught.value.close_code == 1009


def test_another_versions_hello_is_refused_before_its_shape_is_judged() -> None:
    with pytest.raises(PeerViolation) as caught:
        from_bridge({"type": "hello", "protocol": 2, "whoAmI": {}})
    assert caught.value.close_code == 4426


def test_a_servers_frame_of_no_known_type_ends_the_link() -> None:
    with pytest.raises(PeerViolation):
        load_server_frame(b'{"type": "claude:started", "requestId": "r", "seq": 1}', LIMITS)


# --- the run fails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (delta(messageId=""), "events.0.messageId"),
        (delta(messageId="x" * 101), "events.0.messageId"),
        (delta(messageId=None), "events.0.messageId"),
        (delta(block=-1), "events.0.block"),
        (delta(block=1_000_000_000), "events.0.block"),
        (delta(block=True), "events.0.block"),
        (delta(offset="0"), "events.0.offset"),
        (delta(offset=1.5), "events.0.offset"),
        (delta(offset=2**63), "events.0.offset"),
        (delta(text=None), "events.0.text"),
        (delta(text=["hi"]), "events.0.text"),
        ({"type": "text.deltas"}, "events.0.type"),
        ({"messageId": "m"}, "events.0.type"),
        ("hi", "events.0"),
        (None, "events.0"),
        ({"type": "tool.done", "messageId": "m", "id": "t", "isError": "no"}, "events.0.isError"),
        ({"type": "usage.updated", "usage": {"inputTokens": -1}}, "events.0.usage.inputTokens"),
        ({"type": "tool.input", "messageId": "m", "block": 0, "id": "t"}, "events.0.input"),
    ],
)
def test_a_wrong_event_fails_the_run_and_names_the_field(event: object, named: str) -> None:
    with pytest.raises(RefusedFrame) as caught:
        from_bridge(stream_frame(event, seq=7))
    assert (caught.value.request_id, caught.value.seq, caught.value.error.code) == ("r", 7, "agent_failed")
    assert named in caught.value.error.message


@pytest.mark.parametrize(
    "frame",
    [
        stream_frame(events=None),
        stream_frame(events={"0": delta()}),
        {"type": "claude:started", "requestId": "r", "seq": 1, "origin": "moon"},
        {"type": "claude:started", "requestId": "r", "seq": 1, "origin": "background", "conversationId": "no id"},
        {"type": "claude:complete", "requestId": "r", "seq": 1},
        {"type": "claude:complete", "requestId": "r", "seq": 1, "result": {"outcome": "victory"}},
        {"type": "claude:complete", "requestId": "r", "seq": 1, "result": {"costUsd": -1}},
        {"type": "claude:error", "requestId": "r", "seq": 1, "error": "died"},
        {
            "type": "permission:request",
            "requestId": "r",
            "seq": 1,
            "prompt": {"promptId": "p", "type": "?", "title": ""},
        },
        {"type": "permission:applied", "requestId": "r", "seq": 1},
    ],
)
def test_a_numbered_frame_with_a_wrong_body_fails_its_run(frame: dict[str, object]) -> None:
    with pytest.raises(RefusedFrame):
        from_bridge(frame)


def test_a_refusal_never_repeats_what_was_said() -> None:
    with pytest.raises(RefusedFrame) as caught:
        from_bridge(stream_frame(delta(offset="my secret")))
    assert "secret" not in caught.value.error.message


# --- tolerance and cleaning --------------------------------------------------------------------------------------


def test_unknown_fields_are_ignored_everywhere() -> None:
    plain = from_bridge(stream_frame(delta(), {"type": "notice", "level": "info", "text": "x"}))
    loaded = from_bridge(stream_frame(delta(new=1), {"type": "notice", "level": "info", "text": "x", "new": 1}, new=1))
    assert loaded == plain


def test_null_counts_as_absent() -> None:
    frame = from_bridge(
        {"type": "claude:complete", "requestId": "r", "seq": 1, "result": {"usage": None, "costUsd": None}}
    )
    assert frame == frames.Complete(request_id=RequestId("r"), seq=1, result=frames.RunResult())


def test_an_unknown_kind_of_tool_and_level_of_notice_are_taken_for_the_plain_ones() -> None:
    loaded = from_bridge(
        stream_frame(
            {"type": "tool.started", "messageId": "m", "block": 0, "id": "t", "name": "X", "kind": "teleport"},
            {"type": "notice", "level": "alarming", "text": "x"},
        )
    )
    assert isinstance(loaded, frames.Stream)
    assert [getattr(event, "kind", None) or getattr(event, "level", None) for event in loaded.events] == [
        "other",
        "info",
    ]


def test_lone_surrogates_become_replacement_characters() -> None:
    raw = orjson.dumps(stream_frame(delta(text="TEXT"))).replace(b"TEXT", rb"a\ud800b\ud83c\udf09")
    loaded = load_bridge_frame(raw, LIMITS)
    assert isinstance(loaded, frames.Stream)
    assert loaded.events == (TextDelta("m", 0, 0, "a\ufffdb🌉"),)


def tool_result(raw: bytes) -> Any:
    frame = load_bridge_frame(
        b'{"type":"claude:stream","requestId":"r","seq":1,"events":[{"type":"tool.done","messageId":"m","id":"t","result":'
        + raw
        + b"}]}",
        LIMITS,
    )
    assert isinstance(frame, frames.Stream)
    event = frame.events[0]
    assert isinstance(event, stream.ToolDone)
    return event.result


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (b"123456789012345678901234567890", "123456789012345678901234567890"),
        (b"9223372036854775808", "9223372036854775808"),
        (b"-9223372036854775809", "-9223372036854775809"),
        (b"9223372036854775807", 9223372036854775807),
        (b"1" * 5000, "1" * 5000),
        (rb'{"a\u0000b": 1}', {"ab": 1}),
        (rb'"a\u0000b"', "a\0b"),
        (b"NaN", None),
        (b"[1e999, -Infinity]", [None, None]),
        (rb'{"\ud800": "\udfff"}', {"\ufffd": "\ufffd"}),
    ],
)
def test_what_stores_cannot_hold_is_cleaned(raw: bytes, clean: object) -> None:
    assert tool_result(raw) == clean


def test_deep_nesting_becomes_text() -> None:
    assert isinstance(json.dumps(tool_result(b"[" * 500 + b"]" * 500)), str)


def test_a_delta_that_is_judged_by_hand_is_judged_as_the_schema_does() -> None:
    notice = {"type": "notice", "level": "info", "text": ""}
    fast, slow = from_bridge(stream_frame(delta())), from_bridge(stream_frame(delta(), notice))
    assert isinstance(fast, frames.Stream)
    assert isinstance(slow, frames.Stream)
    assert fast.events == slow.events[:1]


def test_text_frames_are_read_from_str_too() -> None:
    assert load_bridge_frame('{"type": "pong", "t": 1}', LIMITS) == frames.Pong(t=1.0)
