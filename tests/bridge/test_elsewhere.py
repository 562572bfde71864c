"""A bridge that meets another server than its runs belong to: nothing of them is said there, nothing is lost."""

from dataclasses import replace

import pytest

from baton.bridge.protocol import BridgeEnd
from baton.core.frames import (
    Abort,
    Ack,
    BridgeFrame,
    Complete,
    Execute,
    Failed,
    Hello,
    KnownRun,
    RunResult,
    Stream,
    Welcome,
)
from baton.core.ids import BridgeId, ConversationId, RequestId
from baton.core.stream import TextDelta

R = RequestId("r")
HELLO = Hello(protocol=1, bridge_id=BridgeId("b"), instance_id="i")
EXECUTE = Execute(request_id=R, conversation_id=ConversationId("c" * 24), message="go", agent="demo")
COMPLETE = Complete(request_id=R, seq=0, result=RunResult())


def text(said: str, at: int = 0) -> Stream:
    return Stream(request_id=R, seq=0, events=(TextDelta("m", 0, at, said),))


def welcome(**acks: int) -> Welcome:
    return Welcome(
        epoch="e", heartbeat_s=20, window=1000, max_frame_bytes=5000, acks={RequestId(k): v for k, v in acks.items()}
    )


def elsewhere(**acks: int) -> Welcome:
    """The welcome of a server with another database."""
    return replace(welcome(**acks), epoch="other")


@pytest.fixture
def bridge() -> BridgeEnd:
    """A run has begun, for the first server."""
    end = BridgeEnd()
    greet(end)
    end.receive(welcome())
    assert end.receive(EXECUTE) == (EXECUTE,)
    return end


def greet(bridge: BridgeEnd) -> Hello:
    """A new link, up to and with its hello."""
    bridge.disconnected()
    bridge.connected(HELLO)
    [hello] = bridge.take()
    assert isinstance(hello, Hello)
    return hello


def met_again(bridge: BridgeEnd) -> list[BridgeFrame]:
    """What the first server is sent when it is back."""
    greet(bridge)
    bridge.receive(welcome())
    return bridge.take()


def said(frames: list[BridgeFrame]) -> list[tuple[int, str]]:
    """Numbers and texts of stream frames."""
    return [
        (frame.seq, "".join(event.text for event in frame.events if isinstance(event, TextDelta)))
        for frame in frames
        if isinstance(frame, Stream)
    ]


def test_another_server_hears_nothing_of_a_run_but_its_name(bridge: BridgeEnd) -> None:
    bridge.say(text("a"))
    assert greet(bridge).runs == (KnownRun(request_id=R, last_seq=0, epoch="e"),)
    bridge.receive(elsewhere())
    bridge.say(text("b", 1))
    assert bridge.take() == []
    assert (bridge.undelivered, bridge.elsewhere) == (0, 1)


def test_another_server_can_neither_acknowledge_nor_end_a_run(bridge: BridgeEnd) -> None:
    bridge.say(text("a"))
    assert said(bridge.take()) == [(1, "a")]
    greet(bridge)
    bridge.receive(elsewhere(r=1))
    bridge.receive(Ack(acks={R: 1}))
    assert bridge.receive(Abort(request_id=R)) == ()
    assert said(met_again(bridge)) == [(1, "a")]


def test_what_was_said_while_another_server_was_here_comes_when_its_own_is_back(bridge: BridgeEnd) -> None:
    greet(bridge)
    bridge.receive(elsewhere())
    bridge.say(text("a"))
    bridge.say(COMPLETE)
    assert bridge.say(text("late", 1)) is False
    frames = met_again(bridge)
    assert said(frames) == [(1, "a")]
    assert isinstance(frames[-1], Complete)
    assert bridge.elsewhere == 0


def test_a_name_that_two_servers_use_works_for_the_first_and_is_refused_to_the_second(bridge: BridgeEnd) -> None:
    bridge.say(text("a"))
    greet(bridge)
    bridge.receive(elsewhere())
    assert bridge.receive(EXECUTE) == ()
    [frame] = bridge.take()
    assert isinstance(frame, Failed)
    assert (frame.seq, frame.error.code) == (1, "bridge_lost")
    assert said(met_again(bridge)) == [(1, "a")]
