"""Stream events in, whole messages out: live and replayed from the journal alike."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton.core import stream
from baton.core.ids import ConversationId, MessageId, RequestId
from baton.core.models import Message, MessageStatus, TextBlock, ToolStatus, ToolUseBlock
from baton.core.stream import StreamEvent
from baton.core.text import utf16_length
from baton.core.transcript import Taken, Transcript
from baton.testing.samples import START


def transcript(max_chars: int = 1000, first_ordinal: int = 1) -> Transcript:
    numbers = itertools.count(first_ordinal)

    def new_message() -> tuple[MessageId, int]:
        number = next(numbers)
        return MessageId(f"{number:024x}"), number

    return Transcript(
        conversation_id=ConversationId("c" * 24),
        project_id=None,
        request_id=RequestId("r"),
        new_message=new_message,
        max_chars=max_chars,
    )


def take(script: Transcript, *events: StreamEvent) -> list[Taken]:
    return [script.take(event, START) for event in events]


def whole(script: Transcript) -> list[Message]:
    return [script.message(live, session_id=None, at=START) for live in script.live()]


def test_deltas_join_to_the_text() -> None:
    script = transcript()
    take(script, stream.TextDelta("m", 0, 0, "Hello "), stream.TextDelta("m", 0, 6, "there"))
    (message,) = whole(script)
    assert (message.content, message.blocks) == ("Hello there", (TextBlock("Hello there"),))
    assert message.claude_message_id == "m"


def test_a_message_that_nobody_announced_is_announced_for_the_journal() -> None:
    (taken,) = take(transcript(), stream.TextDelta("m", 0, 0, "Hi"))
    started, delta = taken.journalled
    assert isinstance(started, stream.MessageStarted)
    assert (started.claude_message_id, started.ordinal) == ("m", 1)
    assert isinstance(delta, stream.TextDelta)
    assert delta.message_id == started.message_id == f"{1:024x}"


def test_a_delta_in_the_wrong_place_is_not_shown_and_the_whole_text_mends_it() -> None:
    script = transcript()
    first, wrong, done = take(
        script,
        stream.TextDelta("m", 0, 0, "ab"),
        stream.TextDelta("m", 0, 9, "zz"),
        stream.TextDone(message_id="m", block=0, text="ab and zz"),
    )
    assert first.shown
    assert not wrong.shown
    assert done.replaces
    assert whole(script)[0].content == "ab and zz"


def test_the_same_whole_text_changes_nothing() -> None:
    script = transcript()
    *_, done = take(script, stream.TextDelta("m", 0, 0, "ab"), stream.TextDone(message_id="m", block=0, text="ab"))
    assert done == Taken()


def test_a_tool_keeps_its_input_progress_and_result() -> None:
    script = transcript()
    take(
        script,
        stream.ToolStarted(message_id="m", block=0, id="t", name="Bash", kind="execute", title="ls"),
        stream.ToolInput(message_id="m", block=0, id="t", input={"command": "ls"}),
        stream.MessageDone(message_id="m"),
        stream.ToolProgress(message_id="m", id="t", text="a\n"),
        stream.ToolProgress(message_id="m", id="t", text="b\n"),
    )
    (running,) = whole(script)
    assert isinstance(running.blocks[0], ToolUseBlock)
    assert (running.blocks[0].progress, running.blocks[0].status) == ("a\nb\n", ToolStatus.RUNNING)
    (done,) = take(script, stream.ToolDone(message_id="m", id="t", result="a b"))
    assert done.finishes
    tool = whole(script)[0].blocks[0]
    assert isinstance(tool, ToolUseBlock)
    assert (tool.result, tool.status, tool.progress, tool.input) == ("a b", ToolStatus.COMPLETED, "", {"command": "ls"})
    assert whole(script)[0].content == "[Bash] ls"


def test_a_tool_that_is_announced_again_gets_its_title() -> None:
    script = transcript()
    take(
        script,
        stream.ToolStarted(message_id="m", block=0, id="t", name="Bash"),
        stream.ToolStarted(message_id="m", block=0, id="t", name="Bash", kind="execute", title="ls -la"),
    )
    assert whole(script)[0].content == "[Bash] ls -la"


def test_a_tool_answers_once() -> None:
    script = transcript()
    take(script, stream.ToolStarted(message_id="m", block=0, id="t", name="Bash"))
    first, second = take(
        script,
        stream.ToolDone(message_id="m", id="t", result="1"),
        stream.ToolDone(message_id="m", id="t", result="2"),
    )
    assert first.shown
    assert not second.shown


def test_a_discarded_message_is_kept_as_discarded() -> None:
    script = transcript()
    *_, taken = take(script, stream.TextDelta("m", 0, 0, "oops"), stream.MessageDiscarded(message_id="m"))
    assert taken.finishes
    assert [(m.status, m.content) for m in whole(script)] == [(MessageStatus.DISCARDED, "oops")]


@pytest.mark.parametrize(
    ("events", "content"),
    [
        ([stream.ThinkingDelta("m", 0, 0, "hm")], "[thinking]"),
        ([stream.MessageStarted(message_id="m"), stream.MessageDone(message_id="m")], "[empty]"),
        ([stream.TextDelta("m", 0, 0, "a"), stream.TextDelta("m", 2, 0, "b")], "a\n\nb"),
    ],
)
def test_content_is_never_empty(events: list[StreamEvent], content: str) -> None:
    script = transcript()
    take(script, *events)
    assert whole(script)[0].content == content


def test_what_is_over_the_limit_is_cut_and_says_so() -> None:
    script = transcript(max_chars=10)
    take(
        script,
        stream.TextDelta("m", 0, 0, "0123456789"),
        stream.TextDelta("m", 0, 10, "x"),
        stream.TextDelta("m", 0, 11, "y"),
    )
    content = whole(script)[0].content
    assert content.startswith("0123456789\n[cut here")
    assert "y" not in content.removeprefix("0123456789\n[cut here: the message is over its limit]")


def test_a_hostile_block_number_takes_no_memory() -> None:
    script = transcript()
    (taken,) = take(script, stream.TextDelta("m", 10**9, 0, "x"))
    assert len(script.live()[0].slots) == 0
    assert [type(event) for event in taken.shown] == [stream.MessageStarted]


def events_of(pieces: list[tuple[str, int, str]]) -> list[StreamEvent]:
    """Deltas of messages and blocks, with right offsets."""
    lengths: dict[tuple[str, int], int] = {}
    events: list[StreamEvent] = []
    for name, block, text in pieces:
        offset = lengths.get((name, block), 0)
        events.append(stream.TextDelta(name, block, offset, text))
        lengths[name, block] = offset + utf16_length(text)
    return events


pieces = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.text(min_size=1, max_size=5)), min_size=1, max_size=30
)


@given(pieces)
def test_replaying_the_journal_gives_the_same_messages(parts: list[tuple[str, int, str]]) -> None:
    live = transcript()
    journal: list[StreamEvent] = []
    for event in events_of(parts):
        journal.extend(live.take(event, START).journalled)
    again = transcript(first_ordinal=1000)
    for number, event in enumerate(journal, 1):
        again.replay(event, START, seq=number, bridge_seq=number)
    strip = [(m.id, m.ordinal, m.content, m.blocks, m.claude_message_id) for m in whole(live)]
    assert [(m.id, m.ordinal, m.content, m.blocks, m.claude_message_id) for m in whole(again)] == strip


@given(pieces)
def test_what_is_shown_joins_to_what_is_stored(parts: list[tuple[str, int, str]]) -> None:
    script = transcript()
    shown: dict[tuple[str, int], str] = {}
    for event in events_of(parts):
        for told in script.take(event, START).shown:
            if isinstance(told, stream.TextDelta):
                key = (told.message_id, told.block)
                assert told.offset == utf16_length(shown.get(key, ""))
                shown[key] = shown.get(key, "") + told.text
    for message in whole(script):
        texts = [block.text for block in message.blocks if isinstance(block, TextBlock)]
        assert texts == [shown[key] for key in sorted(shown) if key[0] == message.id]
