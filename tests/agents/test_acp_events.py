"""What an ACP agent says, as stream events: `baton.agents.acp_events`."""

from typing import Any

import pytest

pytest.importorskip("acp", reason="the extra `acp` is not installed")

from baton.agents import acp_events
from baton.agents.acp_events import Chunk, Translation, read_update
from baton.core.models import PlanEntry
from baton.core.stream import (
    MessageDone,
    MessageStarted,
    PlanUpdated,
    StreamEvent,
    TextDelta,
    TextDone,
    ThinkingDelta,
    ThinkingDone,
    ToolDone,
    ToolInput,
    ToolProgress,
    ToolStarted,
)


def said(*updates: dict[str, Any]) -> list[StreamEvent]:
    """All events of a turn with these updates."""
    translation = Translation()
    events: list[StreamEvent] = []
    for raw in updates:
        update = read_update(raw)
        assert update is not None, raw
        events += translation.take(update)
    return [*events, *translation.finish()]


def of(kind: type[Any], events: list[StreamEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def text(words: str, message: str | None = None, *, thought: bool = False, **meta: Any) -> dict[str, Any]:
    kind = "agent_thought_chunk" if thought else "agent_message_chunk"
    chunk: dict[str, Any] = {"sessionUpdate": kind, "content": {"type": "text", "text": words}}
    if message is not None:
        chunk["messageId"] = message
    return chunk | ({"_meta": {"claudeCode": meta}} if meta else {})


def tool(name: str = "t1", **rest: Any) -> dict[str, Any]:
    return {"sessionUpdate": "tool_call", "toolCallId": name, "title": "Look", **rest}


def more(name: str = "t1", **rest: Any) -> dict[str, Any]:
    return {"sessionUpdate": "tool_call_update", "toolCallId": name, **rest}


def output(words: str) -> list[dict[str, Any]]:
    return [{"type": "content", "content": {"type": "text", "text": words}}]


# --- text ----------------------------------------------------------------------------------------------------------


def test_chunks_join_to_one_block_with_offsets_as_javascript_counts() -> None:
    events = said(text("a🌍"), text("b"))
    assert [(event.offset, event.text) for event in of(TextDelta, events)] == [(0, "a🌍"), (3, "b")]
    assert [event.text for event in of(TextDone, events)] == ["a🌍b"]


def test_a_character_that_is_cut_in_two_comes_whole() -> None:
    events = said(text("a\ud83c"), text("\udf0db"))
    assert [event.text for event in of(TextDelta, events)] == ["a", "🌍b"]
    assert [event.text for event in of(TextDone, events)] == ["a🌍b"]


def test_half_a_character_at_the_end_is_replaced() -> None:
    assert [event.text for event in of(TextDone, said(text("a\ud83c")))] == ["a\ufffd"]


def test_thinking_and_text_are_blocks_of_one_message() -> None:
    events = said(text("hm", thought=True), text("so"), text("hm again", thought=True))
    assert len(of(MessageStarted, events)) == 1
    assert [(event.block, event.text) for event in of(ThinkingDone, events)] == [(0, "hm"), (2, "hm again")]
    assert [(event.block, event.offset) for event in of(ThinkingDelta, events)] == [(0, 0), (2, 0)]
    assert [(event.block, event.text) for event in of(TextDone, events)] == [(1, "so")]


def test_another_message_of_the_agent_is_another_message() -> None:
    events = said(text("one", "m1"), text("still", "m1"), text("two", "m2"))
    assert [event.text for event in of(TextDone, events)] == ["onestill", "two"]
    assert [event.claude_data["id"] for event in of(MessageDone, events)] == ["m1", "m2"]


def test_without_names_a_message_ends_where_the_agent_speaks_after_a_tool() -> None:
    events = said(text("first"), tool("t1"), tool("t2"), text("then"))
    assert len(of(MessageStarted, events)) == 2
    assert [(event.message_id, event.block) for event in of(ToolStarted, events)] == [
        (of(TextDone, events)[0].message_id, 1),
        (of(TextDone, events)[0].message_id, 2),
    ]


def test_a_sub_agent_speaks_in_messages_of_its_own() -> None:
    events = said(text("I", "m1"), text("sub", "m2", parentToolUseId="t1"), text(" go on", "m1"))
    assert [event.parent_tool_use_id for event in of(MessageStarted, events)] == [None, "t1"]
    assert sorted(event.text for event in of(TextDone, events)) == ["I go on", "sub"]


def test_a_message_that_does_not_end_is_continued_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acp_events, "MESSAGE_MAX_CHARS", 10)
    events = said(*[text("1234567", "m1")] * 4)
    assert [event.text for event in of(TextDone, events)] == ["1234567" * 2] * 2


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ({"type": "image", "mimeType": "image/png", "data": "AAAA"}, "[image: image/png]"),
        ({"type": "resource_link", "name": "a.txt", "uri": "file:///a.txt"}, "[a.txt](file:///a.txt)"),
        ({"type": "resource", "resource": {"uri": "file:///a", "text": "inside"}}, "inside"),
        ({"type": "resource", "resource": {"uri": "file:///a", "blob": "AA"}}, "[file:///a]"),
    ],
)
def test_what_is_no_text_has_a_line_that_says_so(content: dict[str, Any], shown: str) -> None:
    assert [event.text for event in of(TextDone, said(text("") | {"content": content}))] == [shown]


@pytest.mark.parametrize(
    "raw",
    [
        None,
        7,
        [],
        {},
        {"sessionUpdate": ["x"]},
        {"sessionUpdate": "of a later version"},
        {"sessionUpdate": "tool_call"},
    ],
)
def test_what_is_malformed_or_unknown_is_no_update(raw: object) -> None:
    assert read_update(raw) is None


@pytest.mark.parametrize("content", [None, "text", {"type": "text", "text": 7}, {"type": "later"}])
def test_a_chunk_without_text_says_nothing(content: object) -> None:
    update = read_update({"sessionUpdate": "agent_message_chunk", "content": content, "messageId": 7})
    assert update == Chunk("text", "")
    assert Translation().take(update) == []


# --- tools ---------------------------------------------------------------------------------------------------------


def test_a_tool_call_is_told_from_its_start_to_its_result() -> None:
    events = said(
        tool(kind="execute", status="pending", rawInput={"command": "ls"}),
        more(status="in_progress", content=output("a\n")),
        more(content=output("a\nb\n")),
        more(status="completed", content=output("a\nb\nc")),
        more(status="in_progress", content=output("too late")),
    )
    assert [(e.name, e.kind, e.title) for e in of(ToolStarted, events)] == [("Run", "execute", "Look")]
    assert [event.input for event in of(ToolInput, events)] == [{"command": "ls"}]
    assert [event.text for event in of(ToolProgress, events)] == ["a\n", "b\n"], "only what is new"
    assert [(event.result, event.is_error) for event in of(ToolDone, events)] == [("a\nb\nc", False)]


def test_a_tool_call_that_was_never_announced_begins_with_its_update() -> None:
    events = said(more("late", title="Late", kind="read", status="failed", rawOutput={"error": "gone"}))
    assert [(event.name, event.title) for event in of(ToolStarted, events)] == [("Read", "Late")]
    assert [(event.result, event.is_error) for event in of(ToolDone, events)] == [({"error": "gone"}, True)]


def test_the_name_that_the_agents_program_gives_a_tool_stays() -> None:
    events = said(
        tool(kind="edit", _meta={"claudeCode": {"toolName": "Write"}}),
        more(kind="edit", title="Write it"),
    )
    assert [(event.name, event.title) for event in of(ToolStarted, events)] == [
        ("Write", "Look"),
        ("Write", "Write it"),
    ]


def test_an_edit_is_input_and_result() -> None:
    diff = {"type": "diff", "path": "/a", "oldText": "1", "newText": "2"}
    events = said(tool(kind="edit", content=[diff]), more(status="completed", content=[diff, *output("done")]))
    assert [event.input for event in of(ToolInput, events)] == [{"path": "/a", "oldText": "1", "newText": "2"}]
    (done,) = of(ToolDone, events)
    assert [item["type"] for item in done.result] == ["diff", "content"]


def test_a_result_for_a_message_that_is_over_still_finds_it() -> None:
    events = said(text("first"), tool(), text("then"), more(status="completed", content=output("ok")))
    (done,) = of(ToolDone, events)
    assert done.message_id == of(TextDone, events)[0].message_id


def test_too_many_tool_calls_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acp_events, "TURN_MAX_TOOLS", 3)
    events = said(*(tool(f"t{number}") for number in range(10)))
    assert len(of(ToolStarted, events)) == 3


def test_a_message_holds_only_so_many_tool_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acp_events, "MESSAGE_MAX_BLOCKS", 4)
    events = said(*(tool(f"t{number}") for number in range(10)))
    assert [event.block for event in of(ToolStarted, events)] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert len(of(MessageDone, events)) == 3


def test_the_message_keeps_what_the_agent_sent_in_its_order() -> None:
    events = said(text("look", "m1"), tool("t1", rawInput={"a": 1}), text("more", "m1"))
    (done,) = of(MessageDone, events)
    assert done.claude_data["content"] == [
        {"type": "text", "text": "look"},
        {"type": "tool_use", "id": "t1", "name": "Tool", "input": {"a": 1}},
        {"type": "text", "text": "more"},
    ]


# --- the rest ------------------------------------------------------------------------------------------------------


def test_a_plan_is_told_whole() -> None:
    entries = [{"content": "First", "priority": "high", "status": "in_progress"}]
    expected = [PlanUpdated(entries=(PlanEntry(text="First", status="in_progress"),))]
    assert said({"sessionUpdate": "plan", "entries": entries}) == expected
    assert (
        said({"sessionUpdate": "plan_update", "plan": {"type": "items", "planId": "p", "entries": entries}}) == expected
    )


def test_what_changes_the_session_only_says_nothing() -> None:
    assert said({"sessionUpdate": "current_mode_update", "currentModeId": "plan"}) == []
    assert said({"sessionUpdate": "usage_update", "used": 1, "size": 2}) == []
