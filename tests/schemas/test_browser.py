"""What a browser may send, and what is said about what it may not."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton.core import commands
from baton.core.errors import InvalidRequest, NotFound, TooLarge
from baton.core.limits import Limits
from baton.core.models import PermissionMode, PromptResponse
from baton.schemas import browser
from baton.schemas.browser import EVENTS, load_event

ID: Any = "65f0c0ffee0123456789abcd"
R: Any = "r"
LIMITS = Limits()

VALID: dict[str, tuple[object, object]] = {
    "join-conversation": (
        {"conversationId": ID, "after": 7, "epoch": "e"},
        commands.JoinConversation(conversation_id=ID, after=7, epoch="e"),
    ),
    "leave-conversation": ({"conversationId": ID}, ID),
    "join-project": ({"projectId": ID}, ID),
    "leave-project": (ID, ID),
    "chat:send-message": (
        {"requestId": "r", "content": "hi", "conversationId": ID, "attachments": [ID], "permissionMode": "plan"},
        commands.SendMessage(
            request_id=R, content="hi", conversation_id=ID, attachments=(ID,), permission_mode=PermissionMode.PLAN
        ),
    ),
    "chat:abort": ({"requestId": "r"}, "r"),
    "chat:retry": ({"requestId": "r", "newRequestId": "r"}, commands.RetryRun(request_id=R, new_request_id=R)),
    "chat:extend": ({"requestId": "r", "seconds": 60}, browser.ExtendRun(R, 60)),
    "chat:queue-update": ({"requestId": "r", "content": "x"}, commands.UpdateQueued(request_id=R, content="x")),
    "chat:queue-remove": ({"requestId": "r"}, "r"),
    "chat:queue-move": ({"requestId": "r", "position": 1}, commands.MoveQueued(request_id=R, position=1)),
    "chat:queue-resume": ({"conversationId": ID}, ID),
    "conversation:create": ({"title": "T", "agent": "demo"}, commands.CreateConversation(title="T", agent="demo")),
    "conversation:check": ({"conversationId": ID}, ID),
    "conversation:seen": ({"conversationId": ID, "seq": 3}, browser.SeenConversation(ID, 3)),
    "permission:respond": (
        {"promptId": ID, "selectedOption": "deny", "message": "no", "answers": {"q": ["a"]}},
        commands.RespondPrompt(
            prompt_id=ID, selected_option="deny", response=PromptResponse(message="no", answers={"q": ["a"]})
        ),
    ),
    "prompt:seen": ({"promptId": ID}, ID),
    "prompt:extend": ({"promptId": ID, "seconds": 60}, browser.ExtendPrompt(ID, 60)),
    "permission:get-mode": ({"conversationId": ID}, ID),
    "permission:set-mode": ({"conversationId": ID, "mode": "interactive"}, browser.SetMode(ID, PermissionMode.DEFAULT)),
    "bridge:list": ({}, {}),
    "bridge:files": (
        {"conversationId": ID, "query": "a", "limit": 5},
        browser.ListFiles(conversation_id=ID, query="a", limit=5),
    ),
    "bridge:commands": ({"conversationId": ID}, ID),
    "latency:ping": ({"sentAt": 12.5}, browser.Ping(12.5)),
}


def test_every_event_has_an_example_here() -> None:
    assert VALID.keys() == EVENTS.keys()


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_a_valid_payload_becomes_its_command(event: str) -> None:
    raw, command = VALID[event]
    assert load_event(event, raw, LIMITS) == command


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_an_unknown_field_is_refused_by_name(event: str) -> None:
    raw = VALID[event][0]
    raw = {"projectId": ID} if isinstance(raw, str) else raw
    assert isinstance(raw, dict)
    with pytest.raises(InvalidRequest) as refused:
        load_event(event, {**raw, "surprise": 1}, LIMITS)
    assert refused.value.fields is not None
    assert set(refused.value.fields) == {"surprise"}


@pytest.mark.parametrize("event", sorted(EVENTS))
@pytest.mark.parametrize("raw", [[], 5, True, ["x"], b"bytes"])
def test_a_payload_that_is_no_object_is_refused(event: str, raw: object) -> None:
    with pytest.raises(InvalidRequest):
        load_event(event, raw, LIMITS)


def test_each_missing_and_each_wrong_field_is_named() -> None:
    with pytest.raises(InvalidRequest) as refused:
        load_event("chat:extend", {"requestId": 7, "seconds": "soon"}, LIMITS)
    assert refused.value.fields is not None
    assert set(refused.value.fields) == {"requestId", "seconds"}
    with pytest.raises(InvalidRequest) as refused:
        load_event("chat:extend", None, LIMITS)
    assert refused.value.fields is not None
    assert set(refused.value.fields) == {"requestId", "seconds"}


@pytest.mark.parametrize("event", ["join-conversation", "leave-conversation", "join-project", "leave-project"])
def test_rooms_are_joined_and_left_by_a_bare_id_too(event: str) -> None:
    loaded = load_event(event, ID, LIMITS)
    assert ID in (loaded, getattr(loaded, "conversation_id", None))


@pytest.mark.parametrize(("event", "field"), [("join-conversation", "conversationId"), ("prompt:seen", "promptId")])
@pytest.mark.parametrize("malformed", ["", "nope", "65f0c0ffee0123456789abcz", ID + "0"])
def test_a_malformed_id_is_something_that_is_not_there(event: str, field: str, malformed: str) -> None:
    with pytest.raises(NotFound):
        load_event(event, {field: malformed}, LIMITS)


def test_an_id_of_the_wrong_type_is_an_invalid_payload() -> None:
    with pytest.raises(InvalidRequest) as refused:
        load_event("prompt:seen", {"promptId": 65}, LIMITS)
    assert refused.value.code == "invalid_payload"


def test_a_send_goes_to_a_conversation_or_a_project_but_not_to_both() -> None:
    with pytest.raises(InvalidRequest) as refused:
        load_event(
            "chat:send-message", {"requestId": "r", "content": "x", "conversationId": ID, "projectId": ID}, LIMITS
        )
    assert refused.value.fields is not None
    assert set(refused.value.fields) == {"projectId"}
    assert load_event("chat:send-message", {"requestId": "r", "content": "x"}, LIMITS).conversation_id is None


def test_a_send_says_something_or_carries_something() -> None:
    with pytest.raises(InvalidRequest):
        load_event("chat:send-message", {"requestId": "r", "content": " \n"}, LIMITS)
    assert load_event("chat:send-message", {"requestId": "r", "content": "", "attachments": [ID]}, LIMITS)


def test_null_is_absent() -> None:
    loaded = load_event(
        "chat:send-message", {"requestId": "r", "content": "x", "attachments": None, "agent": None}, LIMITS
    )
    assert loaded == commands.SendMessage(request_id=R, content="x")


@pytest.mark.parametrize("event", ["chat:send-message", "chat:queue-update"])
def test_content_over_its_limit_is_too_large(event: str) -> None:
    limits = Limits(content_max_chars=10)
    assert load_event(event, {"requestId": "r", "content": "x" * 10}, limits)
    with pytest.raises(TooLarge, match="content_max_chars"):
        load_event(event, {"requestId": "r", "content": "x" * 11}, limits)


def test_an_answer_to_a_prompt_is_bounded_too() -> None:
    with pytest.raises(TooLarge, match="message_max_bytes"):
        load_event(
            "permission:respond",
            {"promptId": ID, "selectedOption": "o", "input": {"x": "x" * 99}},
            Limits(message_max_bytes=90),
        )


@pytest.mark.parametrize(
    "wrong",
    [{"input": "ls"}, {"input": ["ls"]}, {"answers": "Yes"}, {"answers": {"q": 1}}, {"answers": {"q": ["a", None]}}],
)
def test_an_answer_of_another_shape_is_refused_and_not_passed_over(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        load_event("permission:respond", {"promptId": ID, "selectedOption": "o", **wrong}, LIMITS)
    assert set(refused.value.fields or {}) == set(wrong)


def test_lone_surrogates_become_replacement_characters() -> None:
    loaded = load_event("chat:send-message", {"requestId": "r\ud800", "content": "a\udc00b"}, LIMITS)
    assert (loaded.request_id, loaded.content) == ("r\ufffd", "a\ufffdb")


def test_numbers_beyond_64_bits_become_strings_in_free_json() -> None:
    loaded = load_event("permission:respond", {"promptId": ID, "selectedOption": "o", "input": {"n\0": 2**70}}, LIMITS)
    assert loaded.response.input == {"n": str(2**70)}


@pytest.mark.parametrize("position", [0, -1, 2**63, 1.5, True, "1"])
def test_a_position_is_a_whole_number_from_one(position: object) -> None:
    with pytest.raises(InvalidRequest):
        load_event("chat:queue-move", {"requestId": "r", "position": position}, LIMITS)


@pytest.mark.parametrize("request_id", ["", "x" * 101, None, 5])
def test_a_request_id_is_1_to_100_characters(request_id: object) -> None:
    with pytest.raises(InvalidRequest):
        load_event("chat:abort", {"requestId": request_id}, LIMITS)


def test_a_ping_may_carry_a_time_of_any_kind_but_no_structure() -> None:
    assert load_event("latency:ping", {}, LIMITS) == browser.Ping(None)
    assert load_event("latency:ping", {"sentAt": "now"}, LIMITS) == browser.Ping("now")
    for bad in ({"a": 1}, "x" * 101):
        with pytest.raises(InvalidRequest):
            load_event("latency:ping", {"sentAt": bad}, LIMITS)


def test_files_are_looked_for_somewhere() -> None:
    with pytest.raises(InvalidRequest):
        load_event("bridge:files", {"query": "x"}, LIMITS)


def test_an_unknown_event_is_an_invalid_payload() -> None:
    with pytest.raises(InvalidRequest):
        load_event("connect", {}, LIMITS)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(EVENTS)), anything)
def test_no_payload_raises_anything_but_an_error_of_ours(event: str, raw: object) -> None:
    with contextlib.suppress(InvalidRequest):
        load_event(event, raw, LIMITS)
