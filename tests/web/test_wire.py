"""How events and errors are said: the names and fields of docs/protocol.md, held one by one."""

import dataclasses
import typing
from typing import Any

import pytest

from baton.core import errors, events
from baton.core.ids import BridgeId, ConversationId, MessageId, ProjectId, PromptId, RequestId, UserId
from baton.core.lifecycle import IllegalMove
from baton.core.models import ConversationState, Failure, PermissionMode, Usage
from baton.core.stream import MessageStarted, TextDelta
from baton.testing import samples
from baton.web import wire

CONVERSATION = ConversationId("65f0c0ffee0123456789abcd")
PROJECT = ProjectId("65f0c0ffee0123456789abce")
R = RequestId("r")
M = MessageId("65f0c0ffee0123456789abcf")
P = PromptId("65f0c0ffee0123456789abd0")

ROOM: list[tuple[Any, str, set[str]]] = [
    (events.MessageChanged(samples.message(CONVERSATION)), "chat:message", {"message"}),
    (events.Streamed(R, M, ()), "chat:stream-response", {"requestId", "messageId", "events"}),
    (events.RunChanged(samples.run(CONVERSATION)), "chat:run", {"run"}),
    (
        events.RunCompleted(R, M, "s", Usage(), 0.5, 20),
        "chat:message-complete",
        {"requestId", "messageId", "sessionId", "usage", "costUsd", "durationMs"},
    ),
    (events.RunFailed(R, Failure("agent_failed", "no")), "chat:error", {"requestId", "error"}),
    (events.RunAborted(R), "chat:aborted", {"requestId"}),
    (events.SessionChanged("s"), "chat:session-id-available", {"sessionId"}),
    (events.PromptOpened(samples.prompt(CONVERSATION, R)), "interactive_prompt", {"prompt"}),
    (events.PromptResolved(samples.prompt(CONVERSATION, R)), "prompt:resolved", {"prompt"}),
    (events.ModeChanged(PermissionMode.ACCEPT_EDITS, "anna"), "permission_mode_changed", {"mode", "by"}),
]
EVERYWHERE: list[tuple[Any, str, set[str]]] = [
    (
        events.StateChanged(
            CONVERSATION, PROJECT, "T", ConversationState.AWAITING_INPUT, 2, samples.START, 9, samples.ANNA
        ),
        "conversation:state",
        {"conversationId", "projectId", "title", "state", "pendingPrompts", "updatedAt", "seq"},
    ),
    (
        events.ConversationCreated(samples.conversation()),
        "chat:conversation-created",
        {"conversationId", "conversation"},
    ),
    (events.ConversationUpdated(samples.conversation()), "conversation:updated", {"conversationId", "conversation"}),
    (events.ConversationSeen(UserId("anna"), CONVERSATION, 7), "conversation:seen", {"conversationId", "seq"}),
    (events.ProjectUpdated(samples.project()), "project:updated", {"project"}),
    (events.ProjectDeleted(PROJECT), "project:deleted", {"projectId"}),
    (
        events.ConversationDeleted(CONVERSATION, None, samples.ANNA),
        "conversation:deleted",
        {"conversationId", "projectId"},
    ),
    (
        events.PromptEscalated(CONVERSATION, P, 1, "Bash", "HIGH", None, samples.ANNA),
        "permission_escalation",
        {"conversationId", "promptId", "stage", "toolName", "riskLevel", "deadline"},
    ),
    (events.BridgesChanged((events.BridgePresence(id=BridgeId("b"), name="b"),)), "bridge:status", {"bridges"}),
    (events.ServerDraining(5), "server:draining", {"reconnectAfterMs"}),
]


def test_every_event_of_the_core_has_its_example_here() -> None:
    assert {type(told) for told, *_ in ROOM} == set(typing.get_args(events.RoomPayload))
    assert {type(told) for told, *_ in EVERYWHERE} == set(typing.get_args(events.GlobalEvent))
    assert {name for _, name, _ in ROOM + EVERYWHERE} | {"chat:resync"} == wire.SERVER_EVENTS


@pytest.mark.parametrize(("told", "name", "fields"), ROOM, ids=[name for _, name, _ in ROOM])
def test_an_event_of_a_conversation_has_its_place_in_the_order(told: Any, name: str, fields: set[str]) -> None:
    said, payload = wire.wire_event(events.RoomEvent(CONVERSATION, 7, 5, told))
    assert said == name
    assert payload.keys() == {"conversationId", "seq", "prevSeq"} | fields
    assert (payload["conversationId"], payload["seq"], payload["prevSeq"]) == (CONVERSATION, 7, 5)
    assert wire.encode(payload)


@pytest.mark.parametrize(("told", "name", "fields"), EVERYWHERE, ids=[name for _, name, _ in EVERYWHERE])
def test_an_event_for_everybody_stands_outside_that_order(told: Any, name: str, fields: set[str]) -> None:
    said, payload = wire.wire_event(told)
    assert said == name
    assert payload.keys() == fields
    assert wire.encode(payload)


def test_deltas_are_said_as_the_contract_spells_them() -> None:
    said = events.Streamed(
        R, M, (MessageStarted(message_id=M, model="demo"), TextDelta(message_id=M, block=0, offset=3, text="hi"))
    )
    _, payload = wire.wire_event(events.RoomEvent(CONVERSATION, 2, 1, said))
    assert payload["events"] == [
        {"type": "message.started", "messageId": M, "model": "demo"},
        {"type": "text.delta", "messageId": M, "block": 0, "offset": 3, "text": "hi"},
    ]


def test_a_run_is_told_with_its_queue_where_that_changed_and_never_with_what_is_internal() -> None:
    run = samples.run(CONVERSATION)
    queue = events.Queue(paused=True, reason="The run failed", runs=(run,))
    _, payload = wire.wire_event(events.RoomEvent(CONVERSATION, 2, 1, events.RunChanged(run, queue)))
    assert payload["queue"] == {"paused": True, "reason": "The run failed", "runs": [payload["run"]]}
    assert not {"request", "userMessage", "digest", "userId", "answer"} & payload["run"].keys()
    assert "reason" not in wire.queue_body(dataclasses.replace(queue, paused=False, reason=None))


# --- errors ----------------------------------------------------------------------------------------------------


def test_an_error_has_the_one_shape() -> None:
    refused = errors.InvalidRequest("Invalid: content", fields={"content": ["Missing."]})
    assert wire.error_body(refused) == {
        "ok": False,
        "error": {
            "code": "invalid_payload",
            "message": "Invalid: content",
            "retryable": False,
            "fields": {"content": ["Missing."]},
        },
    }
    assert wire.error_body(errors.NoBridge())["error"] == {
        "code": "no_bridge",
        "message": "No bridge service connected",
        "retryable": True,
    }


@pytest.mark.parametrize(
    ("error", "status"),
    [(errors.InvalidRequest(""), 400), (errors.Unauthenticated(""), 401), (errors.Forbidden(""), 403),
     (errors.NotFound(""), 404), (errors.Conflict(""), 409), (errors.AlreadyResolved("", winner=None), 409),
     (errors.TooLarge(""), 413), (errors.InvalidRequest("", code="rate_limited"), 429), (errors.NoBridge(), 503),
     (errors.AgentFailed(""), 502), (errors.AgentFailed("", code="bridge_lost"), 502),
     (errors.StoreUnavailable(""), 503), (errors.LeaseLost(""), 503), (errors.Overloaded(""), 503),
     (errors.Draining(""), 503), (RuntimeError(""), 500), (IllegalMove(""), 500), (errors.ConfigError(""), 500)],
)  # fmt: skip
def test_each_error_has_its_status(error: Exception, status: int) -> None:
    assert wire.http_status(error) == status


@pytest.mark.parametrize("error", [RuntimeError("secret"), IllegalMove("secret"), errors.ConfigError("secret")])
def test_a_fault_of_our_own_says_nothing_but_an_incident_that_the_log_explains(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    said = wire.error_body(error)["error"]
    assert said["code"] == "internal"
    assert "secret" not in str(said)
    (record,) = caplog.records
    assert record.__dict__["incident"] == said["incident"]
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_lost_race_carries_its_winner() -> None:
    prompt, run = samples.prompt(CONVERSATION, R), samples.run(CONVERSATION)
    assert wire.error_body(errors.AlreadyResolved("", winner=prompt))["prompt"]["id"] == prompt.id
    assert wire.error_body(errors.AlreadyResolved("", winner=run))["run"]["requestId"] == run.request_id
