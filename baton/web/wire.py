"""How things are said to browsers: events by name and payload, errors in their one shape, snapshots as answers.

Names and fields are those of docs/protocol.md sections 1, 2 and 4. Knows no sockets; REST says errors through it too.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from aiohttp import hdrs, web

from baton.core import events
from baton.core.errors import AlreadyResolved, BatonError, RateLimited
from baton.core.models import Prompt, Run
from baton.schemas.codec import dump_event, iso, to_wire
from baton.services.snapshots import Snapshot

logger = logging.getLogger(__name__)

Payload = dict[str, Any]

HTTP_STATUS: Final[Mapping[str, int]] = {
    "invalid_payload": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "already_resolved": 409,
    "too_large": 413,
    "rate_limited": 429,
    "internal": 500,
    "bridge_lost": 502,
    "agent_failed": 502,
    "agent_missing": 502,
    "agent_not_logged_in": 502,
    "stream_stuck": 502,
    "dispatch_timeout": 502,
    "prompt_timeout": 502,
    "spool_full": 502,
    "no_bridge": 503,
    "store_unavailable": 503,
    "overloaded": 503,
    "draining": 503,
}
"""Every code that a client can see, and REST's status for it."""


# --- errors ----------------------------------------------------------------------------------------------------


def is_internal(error: BaseException) -> bool:
    """Whether the fault is Baton's own: its text is for the log, the client gets an incident id."""
    return not isinstance(error, BatonError) or error.code == "internal" or error.code not in HTTP_STATUS


def http_status(error: BaseException) -> int:
    """REST's status for this error."""
    return 500 if is_internal(error) or not isinstance(error, BatonError) else HTTP_STATUS[error.code]


def error_headers(error: BaseException) -> dict[str, str]:
    """Headers that belong to the error where it is said over HTTP."""
    return {hdrs.RETRY_AFTER: str(error.retry_after_s)} if isinstance(error, RateLimited) else {}


def refusal(error: BatonError) -> web.Response:
    """The error as a response, for what stands outside REST's own error shaping."""
    return web.Response(
        status=http_status(error),
        body=encode(error_body(error)),
        headers=error_headers(error),
        content_type="application/json",
        charset="utf-8",
    )


def error_body(error: BaseException) -> Payload:
    """The error as every transport says it. A fault of our own is logged here, under the incident id it gets.

    A lost race carries its winner as `prompt` or `run`.
    """
    if is_internal(error) or not isinstance(error, BatonError):
        return _internal_body(error)
    said: Payload = {"code": error.code, "message": error.message, "retryable": error.retryable}
    if error.fields is not None:
        said["fields"] = dict(error.fields)
    body: Payload = {"ok": False, "error": said}
    if isinstance(error, AlreadyResolved):
        body |= _winner(error.winner)
    return body


def _internal_body(error: BaseException) -> Payload:
    incident = secrets.token_hex(6)
    logger.error("❌ internal error", extra={"action": "internal_error", "incident": incident}, exc_info=error)
    text = "Something went wrong inside Baton; its log says more under this incident"
    return {
        "ok": False,
        "error": {"code": "internal", "message": text, "retryable": False, "incident": incident},
    }


def _winner(winner: object) -> Payload:
    if isinstance(winner, Prompt):
        return {"prompt": to_wire(winner)}
    return {"run": to_wire(winner)} if isinstance(winner, Run) else {}


# --- events ----------------------------------------------------------------------------------------------------


def wire_event(event: events.Event) -> tuple[str, Payload]:
    """The event's name on the wire, and its payload."""
    if isinstance(event, events.RoomEvent):
        name, build = _ROOM_EVENTS[type(event.payload)]
        order = {"conversationId": event.conversation_id, "seq": event.seq, "prevSeq": event.prev_seq}
        return name, order | build(event.payload)
    name, build = _GLOBAL_EVENTS[type(event)]
    return name, build(event)


def queue_body(queue: events.Queue) -> Payload:
    """A conversation's queue."""
    said: Payload = {"paused": queue.paused, "runs": [to_wire(run) for run in queue.runs]}
    return said if queue.reason is None else said | {"reason": queue.reason}


def _message(told: events.MessageChanged) -> Payload:
    return {"message": to_wire(told.message)}


def _stream(told: events.Streamed) -> Payload:
    said = [dump_event(event) for event in told.events]
    return {"requestId": told.request_id, "messageId": told.message_id, "events": said}


def _run(told: events.RunChanged) -> Payload:
    said: Payload = {"run": to_wire(told.run)}
    return said if told.queue is None else said | {"queue": queue_body(told.queue)}


def _completed(told: events.RunCompleted) -> Payload:
    return {
        "requestId": told.request_id,
        "messageId": told.message_id,
        "sessionId": told.session_id,
        "usage": to_wire(told.usage),
        "costUsd": told.cost_usd,
        "durationMs": told.duration_ms,
    }


def _failed(told: events.RunFailed) -> Payload:
    return {"requestId": told.request_id, "error": to_wire(told.error)}


def _prompt(told: events.PromptOpened | events.PromptResolved) -> Payload:
    return {"prompt": to_wire(told.prompt)}


def _state(told: events.StateChanged) -> Payload:
    return {
        "conversationId": told.conversation_id,
        "projectId": told.project_id,
        "title": told.title,
        "state": told.state.value,
        "pendingPrompts": told.pending_prompts,
        "updatedAt": iso(told.updated_at),
        "seq": told.seq,
    }


def _conversation(told: events.ConversationCreated | events.ConversationUpdated) -> Payload:
    return {"conversationId": told.conversation.id, "conversation": to_wire(told.conversation)}


def _escalated(told: events.PromptEscalated) -> Payload:
    return {
        "conversationId": told.conversation_id,
        "promptId": told.prompt_id,
        "stage": told.stage,
        "toolName": told.tool_name,
        "riskLevel": told.risk_level,
        "deadline": None if told.deadline is None else iso(told.deadline),
    }


_Saying = tuple[str, Callable[[Any], Payload]]

_ROOM_EVENTS: Final[Mapping[type, _Saying]] = {
    events.MessageChanged: ("chat:message", _message),
    events.Streamed: ("chat:stream-response", _stream),
    events.RunChanged: ("chat:run", _run),
    events.RunCompleted: ("chat:message-complete", _completed),
    events.RunFailed: ("chat:error", _failed),
    events.RunAborted: ("chat:aborted", lambda told: {"requestId": told.request_id}),
    events.SessionChanged: ("chat:session-id-available", lambda told: {"sessionId": told.session_id}),
    events.PromptOpened: ("interactive_prompt", _prompt),
    events.PromptResolved: ("prompt:resolved", _prompt),
    events.ModeChanged: ("permission_mode_changed", lambda told: {"mode": told.mode.value, "by": told.by}),
}

_GLOBAL_EVENTS: Final[Mapping[type, _Saying]] = {
    events.StateChanged: ("conversation:state", _state),
    events.ConversationCreated: ("chat:conversation-created", _conversation),
    events.ConversationUpdated: ("conversation:updated", _conversation),
    events.ConversationDeleted: (
        "conversation:deleted",
        lambda told: {"conversationId": told.conversation_id, "projectId": told.project_id},
    ),
    events.ConversationSeen: (
        "conversation:seen",
        lambda told: {"conversationId": told.conversation_id, "seq": told.seq},
    ),
    events.ProjectUpdated: ("project:updated", lambda told: {"project": to_wire(told.project)}),
    events.ProjectDeleted: ("project:deleted", lambda told: {"projectId": told.project_id}),
    events.PromptEscalated: ("permission_escalation", _escalated),
    events.BridgesChanged: ("bridge:status", lambda told: {"bridges": [to_wire(bridge) for bridge in told.bridges]}),
    events.ServerDraining: ("server:draining", lambda told: {"reconnectAfterMs": told.reconnect_after_ms}),
}

RESYNC: Final = "chat:resync"
"""Sent by the fan-out itself, because it is about one socket and not about a conversation."""

SERVER_EVENTS: Final = frozenset(name for name, _ in [*_ROOM_EVENTS.values(), *_GLOBAL_EVENTS.values()]) | {RESYNC}
"""Every event that a client may get: docs/protocol.md is held against this."""


# --- answers ---------------------------------------------------------------------------------------------------


def snapshot_body(snapshot: Snapshot) -> Payload:
    """The answer to a join; stored messages and runs pass through as the JSON they are. To be written with `encode`."""
    return {
        "epoch": snapshot.epoch,
        "seq": snapshot.seq,
        "conversation": to_wire(snapshot.conversation),
        "messages": [orjson.Fragment(message) for message in snapshot.messages],
        "runs": [orjson.Fragment(run) for run in snapshot.runs],
        "prompts": [to_wire(prompt) for prompt in snapshot.prompts],
        "queue": queue_body(snapshot.queue),
        "truncated": snapshot.truncated,
    }


def encode(value: object) -> bytes:
    """`value` as JSON; `orjson.Fragment`s in it are taken as they are."""
    return orjson.dumps(value)
