"""What the server says to browsers is what `schemas.told` describes, so that the page's types are true."""

from typing import Any

import orjson
import pytest

from baton.core.events import Queue, RoomEvent, RunChanged, Streamed
from baton.core.stream import STREAM_EVENT_TYPES
from baton.schemas import told
from baton.schemas.codec import to_wire_json
from baton.schemas.fields import load
from baton.services.snapshots import Snapshot
from baton.testing import samples
from baton.web import wire
from tests.support.samples import full, sparse
from tests.web.test_wire import CONVERSATION, EVERYWHERE, ROOM, R


def test_every_event_is_described() -> None:
    assert told.ROOM_EVENTS.keys() | told.GLOBAL_EVENTS.keys() == wire.SERVER_EVENTS


@pytest.mark.parametrize(("event", "name", "_"), ROOM, ids=[name for _, name, _ in ROOM])
def test_an_event_of_a_conversation_is_as_described(event: Any, name: str, _: object) -> None:
    assert load(told.ROOM_EVENTS[name](), _sent(wire.wire_event(RoomEvent(CONVERSATION, 7, 5, event))[1]))


@pytest.mark.parametrize(("event", "name", "_"), EVERYWHERE, ids=[name for _, name, _ in EVERYWHERE])
def test_an_event_for_everybody_is_as_described(event: Any, name: str, _: object) -> None:
    assert load(told.GLOBAL_EVENTS[name](), _sent(wire.wire_event(event)[1]))


@pytest.mark.parametrize("make", [full, sparse])
@pytest.mark.parametrize("cls", STREAM_EVENT_TYPES)
def test_a_stream_event_has_the_fields_that_are_described(cls: type, make: Any) -> None:
    streamed = Streamed(R, None, (make(cls),))
    assert load(told.StreamToldSchema(), _sent(wire.wire_event(RoomEvent(CONVERSATION, 7, 5, streamed))[1]))


@pytest.mark.parametrize("reason", [None, "A run failed"])
def test_a_queue_is_as_described(reason: str | None) -> None:
    run = samples.run(CONVERSATION)
    changed = RunChanged(run, Queue(paused=reason is not None, reason=reason, runs=(run,)))
    assert load(told.RunToldSchema(), _sent(wire.wire_event(RoomEvent(CONVERSATION, 7, 5, changed))[1]))


def test_a_snapshot_is_as_described() -> None:
    snapshot = Snapshot(
        epoch="e",
        seq=3,
        conversation=samples.conversation(),
        messages=(),
        runs=(to_wire_json(samples.run(CONVERSATION)),),
        prompts=(samples.prompt(CONVERSATION, R),),
        queue=Queue(paused=False, reason=None, runs=()),
        truncated=False,
    )
    assert load(told.SnapshotAnswer(), {"ok": True, **_sent(wire.snapshot_body(snapshot))})


def _sent(payload: object) -> Any:
    return orjson.loads(wire.encode(payload))
