"""A bridge's end whose frames do not fit into memory, or outlive their process: they wait in the spool, in order."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from baton.bridge.kept import BufferFull
from baton.bridge.outbox import lost_frame
from baton.bridge.protocol import BridgeEnd
from baton.bridge.spool import SpoolFolder
from baton.core.frames import (
    FINAL_FRAMES,
    Abort,
    Ack,
    BridgeFrame,
    Complete,
    Execute,
    Failed,
    Hello,
    KnownRun,
    PermissionCancel,
    RunFrame,
    RunResult,
    Started,
    Stream,
    Welcome,
)
from baton.core.ids import BridgeId, ConversationId, RequestId
from baton.core.stream import TextDelta
from baton.testing.clock import FakeClock

R = RequestId("r")
HELLO = Hello(protocol=1, bridge_id=BridgeId("b"), instance_id="i")
EXECUTE = Execute(request_id=R, conversation_id=ConversationId("c" * 24), message="go", agent="demo")


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[SpoolFolder]:
    made = SpoolFolder(tmp_path / "spool", FakeClock(), max_bytes=100_000_000)
    yield made
    made.close()


class Bench:
    """A bridge's end on a spool, and the server's side of its links, by hand."""

    def __init__(self, spool: SpoolFolder, buffer_bytes: int = 2000) -> None:
        self.spool = spool
        self.end = BridgeEnd(buffer_bytes=buffer_bytes, known=spool.known(), leftovers=spool.leftovers(), spool=spool)

    def connect(self, acks: dict[RequestId, int] | None = None, window: int = 1 << 20) -> list[BridgeFrame]:
        """A new link, and what comes over it at first, hello included."""
        self.end.disconnected()
        self.end.connected(HELLO)
        frames = self.end.take()
        welcome = Welcome(epoch="e", heartbeat_s=20, window=window, max_frame_bytes=1 << 24, acks=acks or {})
        self.end.receive(welcome)
        return frames + self.end.take()

    def execute(self) -> None:
        """The run has begun, and its first frame is on the server's disk."""
        assert self.end.receive(EXECUTE) == (EXECUTE,)
        self.end.say(Started(request_id=R, seq=0))
        assert [frame.seq for frame in self.end.take() if isinstance(frame, RunFrame)] == [1]
        self.end.receive(Ack(acks={R: 1}))

    def say(self, said: str, offset: int = 0) -> None:
        self.end.say(Stream(request_id=R, seq=0, events=(TextDelta("m", 0, offset, said),)))


async def working(spool: SpoolFolder) -> Bench:
    """A bench with a run under way and no link."""
    bench = Bench(spool)
    bench.connect()
    bench.execute()
    await spool.record(R)
    bench.end.disconnected()
    return bench


def numbered(frames: list[BridgeFrame]) -> list[int]:
    return [frame.seq for frame in frames if isinstance(frame, RunFrame)]


def texts(frames: list[BridgeFrame]) -> str:
    events = [event for frame in frames if isinstance(frame, Stream) for event in frame.events]
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_ten_thousand_frames_said_without_a_link_arrive_in_order(spool: SpoolFolder) -> None:
    bench = await working(spool)
    for number in range(5000):
        bench.say(f"{number},")
        bench.end.say(PermissionCancel(request_id=R, seq=0, prompt_id="p"))  # so that texts do not grow together
    frames = bench.connect({R: 1}, window=10_000)
    while len(frames) < 10_001:
        seq = numbered(frames)[-1]
        bench.end.receive(Ack(acks={R: seq}))
        frames += bench.end.take()
    assert numbered(frames) == list(range(2, 10_002))
    assert texts(frames) == "".join(f"{number}," for number in range(5000))


async def test_what_memory_has_no_room_for_waits_on_disk(spool: SpoolFolder) -> None:
    bench = await working(spool)
    for _ in range(100):
        bench.say("x" * 1000)
    assert spool.size_bytes > 90_000
    bench.connect({R: 1})
    bench.end.receive(Ack(acks={R: 1000}))
    assert spool.size_bytes == 0


async def test_without_need_nothing_goes_to_disk(spool: SpoolFolder) -> None:
    bench = Bench(spool)
    bench.connect()
    bench.execute()
    for number in range(50):
        bench.say("x" * 100)
        bench.end.take()
        bench.end.receive(Ack(acks={R: 2 + number}))
    assert spool.size_bytes == 0


async def test_a_window_that_is_full_does_not_have_a_frame_read_again_and_again(
    spool: SpoolFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await working(spool)
    for _ in range(10):
        bench.say("x" * 1500)
    reads: list[int] = []
    real = spool.read

    def read(request_id: RequestId, seq: int) -> RunFrame:
        reads.append(seq)
        return real(request_id, seq)

    monkeypatch.setattr(spool, "read", read)
    sent = numbered(bench.connect({R: 1}, window=2000))
    for _ in range(5):
        assert bench.end.take() == []
    assert reads == sent


async def test_past_the_spools_cap_the_run_is_refused_and_still_ends(tmp_path: Path) -> None:
    spool = SpoolFolder(tmp_path / "small", FakeClock(), max_bytes=20_000)
    bench = await working(spool)
    with pytest.raises(BufferFull) as refused:
        say_much(bench)
    assert refused.value.code == "spool_full"
    assert bench.end.say(lost_frame(R))
    frames = bench.connect({R: 1})
    assert numbered(frames) == list(range(2, 2 + len(numbered(frames))))
    assert isinstance(frames[-1], Failed)
    spool.close()


def say_much(bench: Bench) -> None:
    for _ in range(100):
        bench.say("x" * 1000)


async def test_a_frame_that_cannot_be_read_back_ends_the_run_there(spool: SpoolFolder) -> None:
    bench = await working(spool)
    for _ in range(10):
        bench.say("x" * 1500)
    bench.end.spill()
    path = next((spool.folder / "frames").iterdir())
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    frames = bench.connect({R: 1})
    assert numbered(frames) == list(range(2, 2 + len(numbered(frames))))
    assert 3 < len(frames) < 10
    assert isinstance(frames[-1], Failed)
    assert frames[-1].error.code == "bridge_lost"
    assert not bench.end.is_working(R)
    bench.end.receive(Ack(acks={R: numbered(frames)[-1]}))
    assert bench.end.undelivered == 0
    assert spool.size_bytes == 0


# --- over the death of the process -------------------------------------------------------------------------------


async def test_after_a_crash_what_is_left_is_sent_and_then_the_end(spool: SpoolFolder) -> None:
    bench = await working(spool)
    bench.say("kept ")
    bench.end.spill()
    bench.say("lost", offset=5)
    bench = Bench(reopened(spool))
    hello, *frames = bench.connect({R: 1})
    assert isinstance(hello, Hello)
    assert hello.runs == (KnownRun(request_id=R, last_seq=2, epoch="e"),)
    assert numbered(frames) == [2, 3]
    assert texts(frames) == "kept "
    assert isinstance(frames[-1], Failed)
    assert frames[-1].error.code == "bridge_lost"
    bench.spool.close()


async def test_what_the_server_has_of_lost_memory_is_not_counted_again(spool: SpoolFolder) -> None:
    await working(spool)
    bench = Bench(reopened(spool))
    bench.end.spill()  # as every second without a link: the end must not take a number that was used
    frames = bench.connect({R: 7})
    assert numbered(frames) == [8]
    bench.end.receive(Ack(acks={R: 8}))
    assert bench.end.undelivered == 0
    bench.spool.close()


async def test_a_run_that_ended_before_the_crash_arrives_as_it_ended(spool: SpoolFolder) -> None:
    bench = await working(spool)
    bench.say("whole")
    bench.end.say(Complete(request_id=R, seq=0, result=RunResult()))
    bench.end.spill()
    bench = Bench(reopened(spool))
    frames = bench.connect({R: 1})
    assert texts(frames) == "whole"
    assert isinstance(frames[-1], Complete)
    bench.spool.close()


async def test_a_run_of_before_the_crash_never_works_again(spool: SpoolFolder) -> None:
    await working(spool)
    bench = Bench(reopened(spool))
    bench.connect({R: 1})
    assert bench.end.receive(EXECUTE) == ()
    bench.end.receive(Ack(acks={R: 2}))
    assert bench.end.receive(EXECUTE) == ()
    assert [type(frame) for frame in bench.end.take()] == [Failed]
    bench.spool.close()


async def test_a_run_that_the_server_has_given_up_leaves_nothing(spool: SpoolFolder) -> None:
    bench = await working(spool)
    bench.say("kept")
    bench.end.spill()
    bench = Bench(reopened(spool))
    frames = bench.connect({R: 2})  # what it answers for a run that it does not know: all acknowledged, and an abort
    assert bench.end.receive(Abort(request_id=R)) == ()
    assert [type(frame) for frame in frames[1:]] == [Failed]
    bench.end.receive(Ack(acks={R: numbered(frames)[-1]}))
    assert bench.end.undelivered == 0
    assert bench.spool.size_bytes == 0
    bench.spool.close()


async def test_a_run_that_an_agent_began_by_itself_while_away_is_told_from_its_beginning(spool: SpoolFolder) -> None:
    own = RequestId("own")
    bench = Bench(spool)
    bench.end.begin_background(own)
    begun = Started(request_id=own, seq=0, conversation_id=ConversationId("c" * 24), origin="background")
    bench.end.say(begun)
    bench.end.spill()
    told_at_once = bench.connect()
    bench = Bench(reopened(spool))
    told_after_a_crash = bench.connect()
    for hello, started, *_ in (told_at_once, told_after_a_crash):
        assert isinstance(hello, Hello)
        assert [(run.request_id, run.origin) for run in hello.runs] == [(own, "background")]
        assert isinstance(started, Started)
        assert started.seq == 1
    assert isinstance(told_after_a_crash[-1], FINAL_FRAMES)
    bench.spool.close()


def reopened(spool: SpoolFolder) -> SpoolFolder:
    """The spool as the next process opens it. Closing writes nothing, so a crash leaves no less."""
    spool.close()
    return SpoolFolder(spool.folder, FakeClock())
