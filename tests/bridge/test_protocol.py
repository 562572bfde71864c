"""Each event in, frames out: the rules of the bridge wire, one at a time."""

import pytest

from baton.bridge.heartbeat import Beat, Heartbeat
from baton.bridge.kept import BufferFull
from baton.bridge.protocol import BridgeEnd, BridgeState, LinkState, ServerEnd, Verdict
from baton.core.errors import PeerViolation, TooLarge
from baton.core.frames import (
    Abort,
    Aborted,
    Ack,
    BridgeFrame,
    BridgeStatus,
    Complete,
    Execute,
    Failed,
    Hello,
    KnownRun,
    PermissionApplied,
    PermissionRequest,
    PermissionResponse,
    Ping,
    Pong,
    PromptAsked,
    Rpc,
    RpcResult,
    RunFrame,
    RunResult,
    Started,
    Stream,
    Welcome,
)
from baton.core.ids import BridgeId, ConversationId, RequestId
from baton.core.limits import Limits
from baton.core.models import Failure, PromptType
from baton.core.stream import Notice, TextDelta, ThinkingDelta, ToolProgress
from baton.schemas.bridge import dump_frame

R = RequestId("r")
CONVERSATION = ConversationId("c" * 24)
HELLO = Hello(protocol=1, bridge_id=BridgeId("b"), instance_id="i")


def text(
    seq: int = 0, at: int = 0, said: str = "hi", *, run: RequestId = R, message: str = "m", block: int = 0
) -> Stream:
    return Stream(request_id=run, seq=seq, events=(TextDelta(message, block, at, said),))


def complete(seq: int = 0) -> Complete:
    return Complete(request_id=R, seq=seq, result=RunResult())


def execute(run: RequestId = R) -> Execute:
    return Execute(request_id=run, conversation_id=CONVERSATION, message="go", agent="demo")


def welcome(**acks: int) -> Welcome:
    return Welcome(
        epoch="e", heartbeat_s=20, window=1000, max_frame_bytes=5000, acks={RequestId(k): v for k, v in acks.items()}
    )


# --- the server's end --------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> ServerEnd:
    end = ServerEnd(Limits(), now=0)
    end.greet(HELLO)
    end.welcome("e", {})
    return end


def owed(end: ServerEnd) -> dict[str, int]:
    ack = end.owed()
    return {} if ack is None else {str(run): seq for run, seq in ack.acks.items()}


def test_welcome_says_where_each_run_stands_and_what_the_limits_are() -> None:
    end = ServerEnd(Limits(heartbeat_s=7, bridge_window_bytes=8, bridge_frame_max_bytes=9), now=0)
    end.greet(HELLO)
    assert end.welcome("e", {R: 3}) == Welcome(epoch="e", heartbeat_s=7, window=8, max_frame_bytes=9, acks={R: 3})
    assert end.state is LinkState.OPEN


def test_another_version_is_not_spoken() -> None:
    with pytest.raises(PeerViolation) as caught:
        ServerEnd(Limits(), now=0).greet(Hello(protocol=2, bridge_id=BridgeId("b"), instance_id="i"))
    assert caught.value.close_code == 4426


def test_a_second_hello_ends_the_link(server: ServerEnd) -> None:
    with pytest.raises(PeerViolation) as caught:
        server.greet(HELLO)
    assert caught.value.close_code == 4400


def test_a_numbered_frame_before_welcome_ends_the_link() -> None:
    end = ServerEnd(Limits(), now=0)
    end.greet(HELLO)
    with pytest.raises(PeerViolation):
        end.take(text(1), last=0)


def test_frames_of_a_run_are_accepted_in_order(server: ServerEnd) -> None:
    assert [server.take(text(seq), last=seq - 1) for seq in (1, 2, 3)] == [Verdict.ACCEPTED] * 3
    assert owed(server) == {}, "nothing is acknowledged before it is on disk"


def test_numbering_goes_on_from_what_is_on_disk(server: ServerEnd) -> None:
    assert server.take(text(8), last=7) is Verdict.ACCEPTED


@pytest.mark.parametrize("seq", [2, 3, 100])
def test_a_gap_ends_the_link(server: ServerEnd, seq: int) -> None:
    with pytest.raises(PeerViolation) as caught:
        server.take(text(seq), last=0)
    assert caught.value.close_code == 4400


def test_a_repeated_frame_that_is_on_disk_is_acknowledged_again(server: ServerEnd) -> None:
    server.take(text(1), last=0)
    server.acknowledge({R: 1})
    assert owed(server) == {"r": 1}
    assert server.take(text(1), last=1) is Verdict.DUPLICATE
    assert owed(server) == {"r": 1}


def test_a_repeated_frame_that_is_not_on_disk_yet_waits_for_its_ack(server: ServerEnd) -> None:
    server.take(text(1), last=0)
    assert server.take(text(1), last=1) is Verdict.DUPLICATE
    assert owed(server) == {}


def test_a_frame_from_before_this_link_is_acknowledged_again(server: ServerEnd) -> None:
    assert server.take(text(2), last=5) is Verdict.DUPLICATE
    assert owed(server) == {"r": 5}


def test_a_frame_of_an_unknown_or_ended_run_is_acknowledged_and_dropped(server: ServerEnd) -> None:
    assert server.take(text(9), last=None) is Verdict.DROPPED
    assert owed(server) == {"r": 9}


def test_a_frame_after_the_final_one_is_acknowledged_with_it_and_not_before(server: ServerEnd) -> None:
    server.take(complete(1), last=0)
    assert server.take(text(2), last=1) is Verdict.DROPPED
    assert owed(server) == {}, "an ack of 2 would cover the final frame, which is not on disk"
    server.acknowledge({R: 1})
    assert owed(server) == {"r": 2}


def test_a_run_that_the_server_ended_meanwhile_is_dropped(server: ServerEnd) -> None:
    server.take(text(1), last=0)
    assert server.take(text(2), last=None) is Verdict.DROPPED
    assert owed(server) == {"r": 2}


def test_the_first_frame_of_a_background_run_is_accepted_though_nobody_knows_it(server: ServerEnd) -> None:
    started = Started(request_id=R, seq=1, conversation_id=CONVERSATION, origin="background")
    assert server.take(started, last=None) is Verdict.ACCEPTED
    assert server.take(text(2), last=None) is Verdict.ACCEPTED, "the services may not have opened it yet"
    assert server.take(text(3), last=2) is Verdict.ACCEPTED
    assert server.take(text(4), last=None) is Verdict.DROPPED, "opened, and ended since"


def test_acks_of_one_turn_leave_as_one_frame_with_the_greatest_numbers(server: ServerEnd) -> None:
    server.acknowledge({R: 4, RequestId("s"): 1})
    server.acknowledge({R: 3})
    server.acknowledge({RequestId("s"): 2})
    assert owed(server) == {"r": 4, "s": 2}
    assert owed(server) == {}


def test_bytes_count_until_they_are_on_disk(server: ServerEnd) -> None:
    server.take(text(1), last=0, size=100)
    server.take(text(2), last=1, size=50)
    assert server.unstored_bytes == 150
    server.acknowledge({R: 1})
    assert server.unstored_bytes == 50
    server.release(R)
    assert server.unstored_bytes == 0


def test_a_closed_end_owes_nothing(server: ServerEnd) -> None:
    server.take(text(9), last=None)
    server.close()
    server.acknowledge({R: 1})
    assert server.owed() is None


def test_questions_have_ids_of_their_own(server: ServerEnd) -> None:
    assert server.ask("echo", None).id != server.ask("echo", None).id


# --- heartbeats --------------------------------------------------------------------------------------------------


def test_a_ping_is_due_each_heartbeat() -> None:
    heartbeat = Heartbeat(20, now=0)
    beats = []
    for now in (10, 20, 40, 60):
        heartbeat.hear()
        beats.append(heartbeat.tick(now))
    assert beats == [Beat.QUIET, Beat.PING, Beat.PING, Beat.PING]


def test_two_silent_heartbeats_are_death() -> None:
    heartbeat = Heartbeat(20, now=0)
    heartbeat.hear()
    assert [heartbeat.tick(now) for now in (20, 40, 60)] == [Beat.PING, Beat.PING, Beat.DEAD]


def test_time_in_which_this_process_slept_is_not_the_others_silence() -> None:
    heartbeat = Heartbeat(20, now=0)
    assert heartbeat.tick(20) is Beat.PING
    assert heartbeat.tick(5000) is Beat.PING
    assert heartbeat.tick(5020) is Beat.PING
    assert heartbeat.tick(5040) is Beat.DEAD


# --- the bridge's end --------------------------------------------------------------------------------------------


def opened(bridge: BridgeEnd, **acks: int) -> BridgeEnd:
    """A fresh link up to and with the welcome."""
    bridge.connected(HELLO)
    bridge.take()
    bridge.receive(welcome(**acks))
    return bridge


@pytest.fixture
def bridge() -> BridgeEnd:
    end = opened(BridgeEnd())
    end.receive(execute())
    return end


def said(frames: list[BridgeFrame]) -> list[tuple[int, str]]:
    """Numbers and texts of stream frames."""
    return [
        (frame.seq, "".join(event.text for event in frame.events if isinstance(event, TextDelta)))
        for frame in frames
        if isinstance(frame, Stream)
    ]


def test_hello_is_said_first_and_nothing_else_before_welcome() -> None:
    bridge = BridgeEnd()
    bridge.connected(HELLO)
    assert bridge.take() == [HELLO]
    assert bridge.take() == []
    assert bridge.state is BridgeState.GREETING


def test_the_server_must_welcome_first_and_once() -> None:
    bridge = BridgeEnd()
    bridge.connected(HELLO)
    with pytest.raises(PeerViolation):
        bridge.receive(Ping(t=1))
    bridge.receive(welcome())
    with pytest.raises(PeerViolation):
        bridge.receive(welcome())


def test_an_execute_is_worked_on_once(bridge: BridgeEnd) -> None:
    assert bridge.receive(execute(RequestId("s"))) == (execute(RequestId("s")),)
    assert bridge.receive(execute(RequestId("s"))) == ()


def test_frames_are_numbered_from_one_per_run(bridge: BridgeEnd) -> None:
    bridge.receive(execute(RequestId("s")))
    bridge.say(Started(request_id=R, seq=0))
    bridge.say(Started(request_id=RequestId("s"), seq=0))
    bridge.say(complete())
    frames = [(frame.request_id, frame.seq) for frame in bridge.take() if isinstance(frame, RunFrame)]
    assert sorted(frames) == [("r", 1), ("r", 2), ("s", 1)]


def test_what_finds_the_link_free_leaves_as_it_was_said(bridge: BridgeEnd) -> None:
    for at, word in enumerate("abc"):
        bridge.say(text(at=at, said=word))
        assert said(bridge.take()) == [(at + 1, word)]


def test_what_waits_grows_together() -> None:
    bridge = opened(BridgeEnd())
    bridge.receive(execute())
    bridge.disconnected()
    for at, word in enumerate("abc"):
        bridge.say(text(at=at, said=word))
    opened(bridge)
    assert bridge.take() == [text(1, 0, "abc")]


@pytest.mark.parametrize(
    "second",
    [
        TextDelta("m", 0, 3, "b"),
        TextDelta("m", 1, 1, "b"),
        TextDelta("n", 0, 1, "b"),
        ThinkingDelta("m", 0, 1, "b"),
        ToolProgress(message_id="m", id="t", text="b"),
    ],
    ids=["gap", "other block", "other message", "thinking", "no delta"],
)
def test_only_deltas_that_follow_on_grow_together(
    bridge: BridgeEnd, second: TextDelta | ThinkingDelta | ToolProgress
) -> None:
    first = TextDelta("m", 0, 0, "a")
    bridge.say(Stream(request_id=R, seq=0, events=(first,)))
    bridge.say(Stream(request_id=R, seq=0, events=(second,)))
    assert bridge.take() == [Stream(request_id=R, seq=1, events=(first, second))]


def test_growing_counts_offsets_as_javascript_does(bridge: BridgeEnd) -> None:
    bridge.say(text(at=0, said="🌉"))
    bridge.say(text(at=2, said="b"))
    bridge.say(text(at=3, said="c"))
    assert bridge.take() == [text(1, 0, "🌉bc")]


def test_a_prompt_stays_between_what_was_said_before_and_after_it(bridge: BridgeEnd) -> None:
    asked = PermissionRequest(
        request_id=R, seq=0, prompt=PromptAsked(prompt_id="p", type=PromptType.QUESTION, title="?")
    )
    bridge.say(text(at=0, said="a"))
    bridge.say(asked)
    bridge.say(text(at=1, said="b"))
    kinds = [(type(frame), frame.seq) for frame in bridge.take() if isinstance(frame, RunFrame)]
    assert kinds == [(Stream, 1), (PermissionRequest, 2), (Stream, 3)]


def test_everything_is_kept_until_it_is_on_disk_and_sent_again_unchanged(bridge: BridgeEnd) -> None:
    sent = []
    for at, word in enumerate("abc"):
        bridge.say(text(at=at, said=word))
        sent += bridge.take()
    bridge.receive(Ack(acks={R: 1}))
    bridge.disconnected()
    opened(bridge, r=1)
    assert bridge.take() == sent[1:]


def test_the_welcomes_ack_counts_where_the_ack_frame_was_lost(bridge: BridgeEnd) -> None:
    bridge.say(text(said="a"))
    bridge.take()
    bridge.disconnected()
    opened(bridge, r=1)
    assert bridge.take() == []
    bridge.say(text(at=1, said="b"))
    assert said(bridge.take()) == [(2, "b")]


def test_numbering_goes_on_from_the_servers_ack_where_that_is_greater() -> None:
    bridge = opened(BridgeEnd(), r=7)
    bridge.receive(execute())
    bridge.say(text(said="a"))
    assert said(bridge.take()) == [(8, "a")]


def test_hello_names_runs_and_open_prompts_until_the_end_is_on_disk(bridge: BridgeEnd) -> None:
    for prompt_id in ("p", "q"):
        prompt = PromptAsked(prompt_id=prompt_id, type=PromptType.QUESTION, title="?")
        bridge.say(PermissionRequest(request_id=R, seq=0, prompt=prompt))
    bridge.say(PermissionApplied(request_id=R, seq=0, prompt_id="p"))
    bridge.take()
    bridge.disconnected()
    bridge.connected(HELLO)
    hello = bridge.take()[0]
    assert isinstance(hello, Hello)
    assert hello.runs == (KnownRun(request_id=R, last_seq=3, prompts=("q",), epoch="e"),)


def test_a_run_is_forgotten_when_its_end_is_on_disk_but_never_worked_on_again(bridge: BridgeEnd) -> None:
    bridge.say(complete())
    bridge.take()
    bridge.receive(Ack(acks={R: 1}))
    bridge.disconnected()
    bridge.connected(HELLO)
    assert bridge.take() == [HELLO]
    bridge.receive(welcome(r=1))
    assert bridge.receive(execute()) == ()
    [frame] = bridge.take()
    assert isinstance(frame, Failed)
    assert (frame.seq, frame.error.code) == (2, "bridge_lost")


def test_a_run_of_an_earlier_process_is_reported_lost_and_not_worked_on() -> None:
    bridge = opened(BridgeEnd(known=[R]), r=4)
    assert bridge.receive(execute()) == ()
    [frame] = bridge.take()
    assert isinstance(frame, Failed)
    assert (frame.seq, frame.error.code) == (5, "bridge_lost")


def test_a_server_that_went_back_behind_its_ack_ends_the_run_and_its_agent(bridge: BridgeEnd) -> None:
    for at in range(3):
        bridge.say(text(at=at, said="x"))
        bridge.take()
    bridge.receive(Ack(acks={R: 3}))
    bridge.disconnected()
    bridge.connected(HELLO)
    bridge.take()
    assert bridge.receive(welcome(r=1)) == (Abort(request_id=R),)
    [frame] = bridge.take()
    assert isinstance(frame, Failed)
    assert (frame.seq, frame.error.code) == (2, "bridge_lost")
    assert bridge.say(text()) is False


def test_a_run_the_server_does_not_know_is_sent_all_the_same(bridge: BridgeEnd) -> None:
    bridge.say(complete())
    bridge.take()
    bridge.disconnected()
    opened(bridge)
    assert bridge.take() == [complete(1)], "the server acknowledges and drops it"


def test_nothing_is_said_after_the_final_frame(bridge: BridgeEnd) -> None:
    assert bridge.say(Aborted(request_id=R, seq=0))
    assert not bridge.say(text())
    assert len(bridge.take()) == 1


def test_answers_and_aborts_reach_the_owner_while_the_run_lives(bridge: BridgeEnd) -> None:
    answer = PermissionResponse(request_id=R, prompt_id="p", selected_option="allow_once")
    assert bridge.receive(answer) == (answer,)
    assert bridge.receive(Abort(request_id=R)) == (Abort(request_id=R),)
    bridge.say(complete())
    assert bridge.receive(Abort(request_id=R)) == ()
    assert bridge.receive(Abort(request_id=RequestId("unknown"))) == ()


def test_a_ping_is_answered_and_a_question_handed_on(bridge: BridgeEnd) -> None:
    assert bridge.receive(Ping(t=5)) == ()
    assert bridge.take() == [Pong(t=5)]
    question = Rpc(id="1", method="echo")
    assert bridge.receive(question) == (question,)
    bridge.reply(RpcResult(id="1", ok=True))
    assert bridge.take() == [RpcResult(id="1", ok=True)]


def test_a_status_without_a_link_is_dropped(bridge: BridgeEnd) -> None:
    bridge.disconnected()
    bridge.reply(BridgeStatus())
    opened(bridge)
    assert bridge.take() == []


def test_at_most_a_window_of_bytes_is_in_flight(bridge: BridgeEnd) -> None:
    for at in range(100):
        bridge.say(Stream(request_id=R, seq=0, events=(Notice(level="info", text="x" * 300),)))
        bridge.say(PermissionApplied(request_id=R, seq=0, prompt_id=str(at)))
    first = bridge.take()
    assert sum(len(dump_frame(frame)) for frame in first) == bridge.in_flight_bytes <= 1000
    assert bridge.take() == []
    assert not bridge.has_room
    bridge.receive(Ack(acks={R: len(first)}))
    assert bridge.in_flight_bytes == 0
    assert bridge.take(), "what landed makes room"


def test_a_frame_larger_than_the_window_goes_alone(bridge: BridgeEnd) -> None:
    bridge.say(text(said="x" * 2000))
    bridge.say(complete())
    assert len(bridge.take()) == 1
    bridge.receive(Ack(acks={R: 1}))
    assert bridge.take() == [complete(2)]


def test_control_frames_do_not_wait_for_the_window(bridge: BridgeEnd) -> None:
    bridge.say(text(said="x" * 2000))
    bridge.take()
    bridge.receive(Ping(t=1))
    assert bridge.take() == [Pong(t=1)]


def test_runs_take_turns(bridge: BridgeEnd) -> None:
    other = RequestId("s")
    bridge.receive(execute(other))
    for run in (R, other):
        for at in range(3):
            bridge.say(PermissionApplied(request_id=run, seq=0, prompt_id=str(at)))
    assert [frame.request_id for frame in bridge.take() if isinstance(frame, RunFrame)] == [R, other] * 3


def test_a_full_buffer_is_told_and_a_final_frame_still_fits() -> None:
    bridge = opened(BridgeEnd(buffer_bytes=1000))
    bridge.receive(execute())
    bridge.disconnected()
    bridge.say(text(said="x" * 800))
    with pytest.raises(BufferFull) as caught:
        bridge.say(text(at=800, said="x" * 800))
    assert caught.value.code == "spool_full"
    bridge.say(Failed(request_id=R, seq=0, error=Failure("spool_full", "full")))
    opened(bridge)
    assert said(bridge.take()) == [(1, "x" * 800)], "nothing of what was turned away is sent"


def test_bytes_on_disk_make_room_in_the_buffer() -> None:
    bridge = opened(BridgeEnd(buffer_bytes=1000))
    bridge.receive(execute())
    for at in range(20):
        bridge.say(text(at=800 * at, said="x" * 800))
        assert len(bridge.take()) == 1
        bridge.receive(Ack(acks={R: at + 1}))


def test_a_frame_that_no_server_takes_is_refused_before_it_is_numbered(bridge: BridgeEnd) -> None:
    with pytest.raises(TooLarge):
        bridge.say(text(said="x" * 6000))
    bridge.say(text(said="y"))
    assert said(bridge.take()) == [(1, "y")]


def known_runs(bridge: BridgeEnd) -> tuple[KnownRun, ...]:
    """What its next hello says of its runs."""
    bridge.disconnected()
    bridge.connected(HELLO)
    [hello] = bridge.take()
    assert isinstance(hello, Hello)
    return hello.runs


def test_a_background_run_is_said_to_be_one_until_its_first_frame_is_on_disk() -> None:
    bridge = opened(BridgeEnd())
    bridge.begin_background(R)
    bridge.say(Started(request_id=R, seq=0, conversation_id=CONVERSATION, origin="background"))
    for last_seq in (0, 1):  # also when it was sent: that it arrived is not known
        assert known_runs(bridge) == (KnownRun(request_id=R, last_seq=last_seq, epoch="e", origin="background"),)
        bridge.receive(welcome())
        assert [frame.seq for frame in bridge.take() if isinstance(frame, Started)] == [1]
    bridge.receive(Ack(acks={R: 1}))
    assert known_runs(bridge) == (KnownRun(request_id=R, last_seq=1, epoch="e"),)


def test_a_silent_server_is_noticed() -> None:
    bridge = opened(BridgeEnd())
    assert bridge.heartbeat_s == 20
    assert [bridge.tick(now) for now in (20, 40, 60)] == [Beat.QUIET, Beat.QUIET, Beat.DEAD]


def test_what_an_agent_cannot_say_in_json_is_cleaned_on_the_way(bridge: BridgeEnd) -> None:
    bridge.say(Stream(request_id=R, seq=0, events=(ToolProgress(message_id="m", id="t", text="\ud800"),)))
    [frame] = bridge.take()
    assert b"\xef\xbf\xbd" in dump_frame(frame)
