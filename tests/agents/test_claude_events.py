"""SDK messages to stream events, as recorded from Claude Code 2.1.330, without any process."""

from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="the extra `claude` is not installed")

from claude_agent_sdk import types as sdk
from hypothesis import given
from hypothesis import strategies as st

from baton.agents.claude_events import Translation
from baton.core.models import PlanEntry, Usage
from baton.core.stream import (
    MessageDiscarded,
    MessageDone,
    MessageStarted,
    ModeUpdated,
    Notice,
    PlanUpdated,
    SessionUpdated,
    StreamEvent,
    TextDelta,
    TextDone,
    ThinkingDelta,
    ThinkingDone,
    ToolDone,
    ToolInput,
    ToolProgress,
    ToolStarted,
    UsageUpdated,
)
from baton.core.text import Json, utf16_length

USAGE: dict[str, Json] = {
    "input_tokens": 10,
    "output_tokens": 5,
    "cache_read_input_tokens": 3,
    "cache_creation_input_tokens": 2,
}


# --- what the SDK says ---------------------------------------------------------------------------------------------


def api(kind: str, **fields: Any) -> sdk.StreamEvent:
    return sdk.StreamEvent(uuid="u", session_id="s", event={"type": kind, **fields})


def begins(message_id: str = "m1") -> sdk.StreamEvent:
    return api("message_start", message={"id": message_id, "model": "claude-x", "usage": {**USAGE, "output_tokens": 1}})


def block(index: int, kind: str, **fields: Any) -> sdk.StreamEvent:
    return api("content_block_start", index=index, content_block={"type": kind, **fields})


def delta(index: int, text: str) -> sdk.StreamEvent:
    return api("content_block_delta", index=index, delta={"type": "text_delta", "text": text})


def thought(index: int, text: str) -> sdk.StreamEvent:
    return api("content_block_delta", index=index, delta={"type": "thinking_delta", "thinking": text})


def whole(*content: sdk.ContentBlock, message_id: str | None = "m1", parent: str | None = None) -> sdk.AssistantMessage:
    return sdk.AssistantMessage(
        content=list(content), model="claude-x", message_id=message_id, parent_tool_use_id=parent, usage=USAGE
    )


def ends(stop_reason: str | None = "end_turn") -> list[object]:
    """The end of a message; one that was broken off has no reason, and no delta of its own."""
    told = [api("message_delta", delta={"stop_reason": stop_reason}, usage={"output_tokens": 5})] if stop_reason else []
    return [*told, api("message_stop")]


def tool_result(tool_use_id: str, content: object, *, is_error: bool | None = None) -> sdk.UserMessage:
    return sdk.UserMessage(content=[sdk.ToolResultBlock(tool_use_id, content, is_error)])  # type: ignore[arg-type]


def system(subtype: str, **data: Any) -> sdk.SystemMessage:
    return sdk.SystemMessage(subtype=subtype, data=data)


def spoken(*messages: object, finished: bool = False) -> list[StreamEvent]:
    translation = Translation("s")
    events = [event for message in messages for event in translation.take(message)]
    return events + (translation.finish() if finished else [])


def of(events: list[StreamEvent], *kinds: type) -> list[StreamEvent]:
    return [event for event in events if isinstance(event, kinds)]


# --- text and thinking ---------------------------------------------------------------------------------------------


def test_a_text_message_is_started_said_and_done() -> None:
    text = sdk.TextBlock("hello world")
    events = spoken(begins(), block(0, "text"), delta(0, "hello "), delta(0, "world"), whole(text), *ends())

    assert events == [
        MessageStarted(message_id="m1", model="claude-x"),
        TextDelta("m1", 0, 0, "hello "),
        TextDelta("m1", 0, 6, "world"),
        TextDone(message_id="m1", block=0, text="hello world"),
        MessageDone(
            message_id="m1",
            claude_data={
                "id": "m1",
                "role": "assistant",
                "model": "claude-x",
                "content": [{"type": "text", "text": "hello world"}],
                "stop_reason": "end_turn",
                "usage": USAGE,
            },
            usage=Usage(10, 5, 3, 2),
            model="claude-x",
            stop_reason="end_turn",
        ),
        UsageUpdated(usage=Usage(10, 5, 3, 2)),
    ]


def test_blocks_that_nobody_sees_take_no_index() -> None:
    events = spoken(
        begins(),
        block(0, "redacted_thinking", data="x"),
        block(1, "thinking"),
        thought(1, "hm"),
        whole(sdk.ThinkingBlock("hm", "sig")),
        block(2, "text"),
        delta(2, "so"),
        whole(sdk.TextBlock("so")),
    )

    assert of(events, ThinkingDelta, ThinkingDone, TextDelta, TextDone) == [
        ThinkingDelta("m1", 0, 0, "hm"),
        ThinkingDone(message_id="m1", block=0, text="hm"),
        TextDelta("m1", 1, 0, "so"),
        TextDone(message_id="m1", block=1, text="so"),
    ]


def test_offsets_count_utf16_units() -> None:
    events = spoken(begins(), block(0, "text"), delta(0, "a🌍"), delta(0, "b"))

    assert of(events, TextDelta)[-1] == TextDelta("m1", 0, 3, "b")


def test_a_pair_of_surrogates_that_comes_in_halves_is_not_split() -> None:
    events = spoken(begins(), block(0, "text"), delta(0, "a\ud83c"), delta(0, "\udf0db"))

    assert of(events, TextDelta) == [TextDelta("m1", 0, 0, "a"), TextDelta("m1", 0, 1, "🌍b")]


@given(st.lists(st.text(st.characters(exclude_categories=[]), max_size=6), max_size=12))
def test_each_delta_starts_where_the_one_before_it_ended(pieces: list[str]) -> None:
    events = spoken(begins(), block(0, "text"), *(delta(0, piece) for piece in pieces))

    length = 0
    for event in of(events, TextDelta):
        assert isinstance(event, TextDelta)
        assert event.offset == length
        event.text.encode("utf-8")
        length += utf16_length(event.text)


# --- tools ---------------------------------------------------------------------------------------------------------


def test_a_tool_call_is_told_when_it_begins_when_its_input_is_whole_and_when_it_ends() -> None:
    call = sdk.ToolUseBlock("t1", "Bash", {"command": "ls -la\nrm x"})
    events = spoken(
        begins(), block(0, "tool_use", id="t1", name="Bash"), whole(call), *ends("tool_use"), tool_result("t1", "files")
    )

    assert of(events, ToolStarted, ToolInput, ToolDone) == [
        ToolStarted(message_id="m1", block=0, id="t1", name="Bash", kind="execute", title=""),
        ToolStarted(message_id="m1", block=0, id="t1", name="Bash", kind="execute", title="ls -la…"),
        ToolInput(message_id="m1", block=0, id="t1", input={"command": "ls -la\nrm x"}),
        ToolDone(message_id="m1", id="t1", result="files", is_error=False),
    ]


@pytest.mark.parametrize(
    ("content", "result"),
    [
        (None, ""),
        ("one\ud800", "one�"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([{"type": "image", "source": {"n": 2**70}}], [{"type": "image", "source": {"n": str(2**70)}}]),
    ],
)
def test_a_result_is_text_where_it_is_text_and_else_json(content: object, result: object) -> None:
    events = spoken(begins(), whole(sdk.ToolUseBlock("t1", "Read", {})), tool_result("t1", content, is_error=True))

    assert of(events, ToolDone) == [ToolDone(message_id="m1", id="t1", result=result, is_error=True)]  # type: ignore[arg-type]


def test_a_result_of_a_tool_that_nobody_knows_is_not_told() -> None:
    assert of(spoken(tool_result("t9", "x")), ToolDone) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Read", "read"),
        ("Write", "edit"),
        ("Bash", "execute"),
        ("Grep", "search"),
        ("WebFetch", "fetch"),
        ("TodoWrite", "think"),
        ("Agent", "task"),
        ("mcp__db__query", "other"),
    ],
)
def test_each_tool_has_its_kind(name: str, kind: str) -> None:
    (started,) = of(spoken(begins(), block(0, "tool_use", id="t", name=name)), ToolStarted)

    assert isinstance(started, ToolStarted)
    assert started.kind == kind


def test_the_to_do_list_is_also_a_plan() -> None:
    todos = [{"content": "First", "status": "completed"}, {"content": "Second", "status": "in_progress"}]
    events = spoken(begins(), whole(sdk.ToolUseBlock("t1", "TodoWrite", {"todos": todos})))

    assert of(events, PlanUpdated) == [
        PlanUpdated(
            entries=(PlanEntry(text="First", status="completed"), PlanEntry(text="Second", status="in_progress"))
        )
    ]


def test_a_tool_that_the_api_ran_by_itself_has_its_result() -> None:
    events = spoken(
        begins(),
        block(0, "server_tool_use", id="t1", name="web_search"),
        block(1, "web_search_tool_result", tool_use_id="t1", content=[{"type": "web_search_result", "url": "u"}]),
    )

    assert of(events, ToolDone) == [
        ToolDone(message_id="m1", id="t1", result=[{"type": "web_search_result", "url": "u"}])
    ]


# --- sub-agents ----------------------------------------------------------------------------------------------------


def test_a_sub_agents_messages_name_their_parent_and_end_with_its_result() -> None:
    call = sdk.ToolUseBlock("t1", "Agent", {"description": "look"})
    run = sdk.ToolUseBlock("t2", "Bash", {"command": "ls"})
    events = spoken(
        begins(),
        whole(call),
        *ends("tool_use"),
        whole(sdk.TextBlock("I look"), message_id="m2", parent="t1"),
        whole(run, message_id="m2", parent="t1"),
        whole(sdk.TextBlock("found"), message_id="m3", parent="t1"),
        tool_result("t1", "found"),
    )

    assert [event for event in of(events, MessageStarted) if event != events[0]] == [
        MessageStarted(message_id="m2", model="claude-x", parent_tool_use_id="t1"),
        MessageStarted(message_id="m3", model="claude-x", parent_tool_use_id="t1"),
    ]
    assert [getattr(event, "message_id", None) for event in of(events, MessageDone)] == ["m1", "m2", "m3"]
    assert isinstance(events[-1], ToolDone)
    assert [event.block for event in of(events, ToolInput) if isinstance(event, ToolInput)] == [0, 1]


def test_a_sub_agents_progress_is_its_tool_calls() -> None:
    progress = sdk.TaskProgressMessage(
        subtype="task_progress",
        data={},
        task_id="a",
        description="Running ls",
        usage={"total_tokens": 1, "tool_uses": 1, "duration_ms": 1},
        uuid="u",
        session_id="s",
        tool_use_id="t1",
    )

    events = spoken(begins(), whole(sdk.ToolUseBlock("t1", "Agent", {})), progress)

    assert events[-1] == ToolProgress(message_id="m1", id="t1", text="Running ls\n")


# --- what goes wrong -----------------------------------------------------------------------------------------------


def test_a_message_that_the_api_broke_off_is_taken_back_when_it_comes_again() -> None:
    events = spoken(
        begins(),
        block(0, "text"),
        delta(0, "lost"),
        *ends(None),
        whole(sdk.TextBlock("back"), message_id="m2"),
        finished=True,
    )

    assert of(events, MessageDiscarded, MessageDone, TextDone)[:2] == [
        MessageDiscarded(message_id="m1"),
        TextDone(message_id="m2", block=0, text="back"),
    ]
    assert [getattr(event, "message_id", None) for event in of(events, MessageDone)] == ["m2"]


def test_a_broken_message_whose_tool_ran_is_kept() -> None:
    call = sdk.ToolUseBlock("t1", "Bash", {"command": "ls"})
    events = spoken(begins(), block(0, "tool_use", id="t1", name="Bash"), whole(call), *ends(None), begins("m2"))

    assert of(events, MessageDiscarded) == []
    assert len(of(events, MessageDone)) == 1


def test_a_message_that_was_broken_off_at_the_end_stays_open() -> None:
    events = spoken(begins(), block(0, "text"), delta(0, "half"), whole(sdk.TextBlock("half")), *ends(None))

    assert of(events, MessageDone, MessageDiscarded) == []


def test_a_retry_is_a_notice() -> None:
    retry = system("api_retry", attempt=1, max_retries=10, retry_delay_ms=618, error_status=529)

    assert spoken(retry) == [
        Notice(level="warning", text="Claude's API answered 529; trying again in 0.6 s (1 of 10)"),
    ]


def test_what_claude_code_says_instead_of_an_answer_is_no_message() -> None:
    translation = Translation()
    said = sdk.AssistantMessage(
        content=[sdk.TextBlock("Not logged in")], model="<synthetic>", error="authentication_failed"
    )

    assert translation.take(said) == []
    assert translation.error == "authentication_failed"


# --- between turns -----------------------------------------------------------------------------------------------


def test_the_result_of_a_call_of_an_earlier_turn_comes_with_that_call_in_a_message_of_its_own() -> None:
    before = Translation("s")
    before.take(whole(sdk.ToolUseBlock("t1", "Bash", {"command": "ls"}), parent="a1"))
    after = Translation("s", before.open_calls)

    events = after.take(tool_result("t1", "a.txt"))

    (begun,) = of(events, MessageStarted)
    assert isinstance(begun, MessageStarted)
    assert begun.parent_tool_use_id == "a1"
    assert of(events, ToolStarted, ToolInput, ToolDone) == [
        ToolStarted(message_id=begun.message_id, block=0, id="t1", name="Bash", kind="execute", title="ls"),
        ToolInput(message_id=begun.message_id, block=0, id="t1", input={"command": "ls"}),
        ToolDone(message_id=begun.message_id, id="t1", result="a.txt"),
    ]
    assert len(of(events, MessageDone)) == 1
    assert after.take(tool_result("t1", "again")) != events
    assert after.open_calls == {}


def test_a_call_with_its_result_is_open_no_longer() -> None:
    translation = Translation("s")
    translation.take(whole(sdk.ToolUseBlock("t1", "Bash", {"command": "ls"}), sdk.ToolUseBlock("t2", "Read", {})))
    translation.take(tool_result("t1", "a.txt"))

    assert list(translation.open_calls) == ["t2"]


# --- sessions and modes --------------------------------------------------------------------------------------------


def test_a_session_is_told_when_it_changes() -> None:
    events = spoken(system("init", session_id="s"), system("init", session_id="s2"), system("init", session_id="s2"))

    assert events == [SessionUpdated(session_id="s2")]


def test_only_the_way_into_plan_mode_is_told_here() -> None:
    translation = Translation()

    assert translation.take(system("status", permissionMode="plan")) == [ModeUpdated(mode="plan")]
    assert translation.take(system("status", permissionMode="default")) == []
    assert translation.mode == "default"


def test_unknown_messages_say_nothing() -> None:
    assert spoken(system("something_new", x=1), api("something_new"), object()) == []
