"""What a bridge keeps on disk: it survives crashes, cuts and full disks, and says so where it cannot."""

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from baton.bridge import records
from baton.bridge.kept import BufferFull, Leftover, Numbered, SpoolDamaged
from baton.bridge.spool import SpoolFolder, spool_path
from baton.core.errors import AgentFailed, ConfigError
from baton.core.frames import Complete, Failed, PermissionCancel, RunFrame, RunResult, Started, Stream
from baton.core.ids import ConversationId, RequestId
from baton.core.models import Failure
from baton.core.stream import TextDelta, ToolDone
from baton.schemas.bridge import dump_frame
from baton.testing.clock import FakeClock

R = RequestId("r")


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[SpoolFolder]:
    made = SpoolFolder(tmp_path / "spool", FakeClock())
    yield made
    made.close()


@contextmanager
def after_a_crash(spool: SpoolFolder, clock: FakeClock | None = None) -> Iterator[SpoolFolder]:
    """The spool as the next process finds it: nothing was closed, a lock dies with its process."""
    copy = spool.folder.with_name(spool.folder.name + "+")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(spool.folder, copy)
    found = SpoolFolder(copy, clock or FakeClock())
    try:
        yield found
    finally:
        found.close()


def numbered(frame: RunFrame) -> Numbered:
    return Numbered(frame.seq, len(dump_frame(frame)), frame)


def text(seq: int, said: str = "hi", request_id: RequestId = R) -> Stream:
    return Stream(request_id=request_id, seq=seq, events=(TextDelta("m", 0, 0, said),))


def keep(spool: SpoolFolder, *frames: RunFrame) -> None:
    spool.keep(frames[0].request_id, [numbered(frame) for frame in frames])


def frame_files(spool: SpoolFolder) -> list[Path]:
    return sorted((spool.folder / "frames").iterdir())


def seqs(leftover: Leftover) -> list[int]:
    return [frame.seq for frame in leftover.frames]


# --- frames ------------------------------------------------------------------------------------------------------


async def test_what_was_kept_is_read_back_unchanged(spool: SpoolFolder) -> None:
    said: list[RunFrame] = [
        Started(request_id=R, seq=1, session_id="s"),
        text(2, 'line\nfeed, "quotes", \x00 and 🌉'),
        Stream(
            request_id=R, seq=3, events=(ToolDone(message_id="m", id="t", result={"a": [1, None]}, is_error=False),)
        ),
        PermissionCancel(request_id=R, seq=4, prompt_id="p"),
        Failed(request_id=R, seq=5, error=Failure("agent_failed", "why", retryable=True)),
    ]
    keep(spool, *said[:2])
    keep(spool, *said[2:])
    assert [spool.read(R, frame.seq) for frame in said] == said
    with after_a_crash(spool) as found:
        (leftover,) = found.leftovers()
        assert [frame.bytes for frame in leftover.frames] == [len(dump_frame(frame)) for frame in said]
        assert [found.read(R, seq) for seq in seqs(leftover)] == said


async def test_a_request_id_may_be_any_text(spool: SpoolFolder) -> None:
    strange = RequestId("../🌉\n" + "x" * 90)
    keep(spool, text(1, request_id=strange))
    with after_a_crash(spool) as found:
        assert [leftover.request_id for leftover in found.leftovers()] == [strange]


async def test_what_is_released_gives_its_room_back(spool: SpoolFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baton.bridge.frame_files.SEGMENT_BYTES", 1000)
    for seq in range(1, 41):
        keep(spool, text(seq, "x" * 100))
    before = spool.size_bytes
    assert before == sum(path.stat().st_size for path in frame_files(spool))
    assert len(frame_files(spool)) > 3
    spool.release(R, 30)
    assert spool.size_bytes < before / 2
    assert spool.read(R, 31) == text(31, "x" * 100)
    spool.release(R, 40)
    assert spool.size_bytes == 0
    assert frame_files(spool) == []


async def test_a_frame_that_was_released_is_not_had_any_more(spool: SpoolFolder) -> None:
    keep(spool, text(1), text(2))
    spool.release(R, 1)
    with pytest.raises(SpoolDamaged):
        spool.read(R, 1)


async def test_a_run_that_was_ended_is_told_from_one_that_was_not(spool: SpoolFolder) -> None:
    keep(spool, text(1), Complete(request_id=R, seq=2, result=RunResult()))
    keep(spool, text(1, request_id=RequestId("other")))
    with after_a_crash(spool) as found:
        assert {leftover.request_id: leftover.is_ended for leftover in found.leftovers()} == {R: True, "other": False}


async def test_a_run_that_the_agent_began_itself_is_known_as_such_while_its_first_frame_is_there(
    spool: SpoolFolder,
) -> None:
    begun = Started(request_id=R, seq=1, conversation_id=ConversationId("c" * 24), origin="background")
    keep(spool, begun, text(2))
    with after_a_crash(spool) as found:
        assert [leftover.is_background for leftover in found.leftovers()] == [True]


async def test_a_crash_may_cut_the_last_record_anywhere(spool: SpoolFolder) -> None:
    keep(spool, text(1), text(2))
    (path,) = frame_files(spool)
    whole = path.read_bytes()
    begins = whole.rindex(b"\n", 0, -1) + 1
    for size in range(begins, len(whole)):
        path.write_bytes(whole[:size])
        with after_a_crash(spool) as found:
            (leftover,) = found.leftovers()
            assert seqs(leftover) == [1]
            keep(found, text(2, "anew"))
            assert found.read(R, 2) == text(2, "anew")


async def test_behind_a_damaged_record_nothing_is_believed(spool: SpoolFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baton.bridge.frame_files.SEGMENT_BYTES", 300)
    for seq in range(1, 21):
        keep(spool, text(seq, "x" * 50))
    damaged = frame_files(spool)[1]
    content = bytearray(damaged.read_bytes())
    content[-5] ^= 1
    damaged.write_bytes(content)
    with after_a_crash(spool) as found:
        (leftover,) = found.leftovers()
        assert seqs(leftover) == list(range(1, 1 + len(leftover.frames)))
        assert 0 < len(leftover.frames) < 20
        for seq in seqs(leftover):
            assert found.read(R, seq) == text(seq, "x" * 50)


async def test_a_file_that_was_begun_and_not_filled_is_nothing(spool: SpoolFolder) -> None:
    (spool.folder / "frames" / f"{'0' * 24}-000001.frames").write_bytes(records.HEADER[:7])
    with after_a_crash(spool) as found:
        assert found.leftovers() == ()
        assert frame_files(found) == []


async def test_a_file_that_changes_under_it_is_noticed(spool: SpoolFolder) -> None:
    keep(spool, text(1))
    (path,) = frame_files(spool)
    path.write_bytes(path.read_bytes().replace(b"hi", b"ho"))
    with pytest.raises(SpoolDamaged):
        spool.read(R, 1)


# --- full --------------------------------------------------------------------------------------------------------


async def test_a_full_spool_takes_nothing_until_something_is_released(tmp_path: Path) -> None:
    spool = SpoolFolder(tmp_path / "spool", FakeClock(), max_bytes=2000)
    keep(spool, text(1, "x" * 1500))
    with pytest.raises(BufferFull) as full:
        keep(spool, text(2, "x" * 1500))
    assert (full.value.code, full.value.retryable) == ("spool_full", True)
    assert spool.read(R, 1) == text(1, "x" * 1500)
    spool.release(R, 1)
    keep(spool, text(2, "x" * 1500))
    spool.close()


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes the disk still takes, in the list's first place."""
    room = [0]
    real = os.pwrite

    def pwrite(descriptor: int, content: bytes, offset: int) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(descriptor, content[: room[0]], offset)
        room[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", pwrite)
    return room


async def test_a_full_disk_refuses_the_frame_and_spoils_nothing(spool: SpoolFolder, full_disk: list[int]) -> None:
    full_disk[0] = 10_000
    keep(spool, text(1))
    full_disk[0] = 40
    with pytest.raises(BufferFull, match="No space left"):
        keep(spool, text(2), text(3))
    full_disk[0] = 10_000
    keep(spool, text(2, "later"))
    with after_a_crash(spool) as found:
        assert [found.read(R, seq) for seq in seqs(found.leftovers()[0])] == [text(1), text(2, "later")]


async def test_what_cannot_be_written_down_does_not_start(spool: SpoolFolder, full_disk: list[int]) -> None:
    with pytest.raises(AgentFailed, match="No space left") as refused:
        await spool.record(R)
    assert refused.value.code == "spool_full"


# --- whose they are ----------------------------------------------------------------------------------------------


async def test_whose_a_run_is_stays_known_also_of_one_that_is_in_no_ledger(spool: SpoolFolder) -> None:
    own = RequestId("own")
    await spool.record(R, epoch="one")
    spool.keep(own, [numbered(text(1, request_id=own))], epoch="other")
    with after_a_crash(spool) as found:
        assert {leftover.request_id: leftover.epoch for leftover in found.leftovers()} == {R: "one", own: "other"}
        with after_a_crash(found) as again:
            assert {leftover.request_id: leftover.epoch for leftover in again.leftovers()} == {R: "one", own: "other"}


# --- which runs were started -------------------------------------------------------------------------------------


async def test_a_run_starts_once_over_any_number_of_crashes(spool: SpoolFolder) -> None:
    assert await spool.record(R)
    assert not await spool.record(R)
    with after_a_crash(spool) as second:
        assert not await second.record(R)
        with after_a_crash(second) as third:
            assert not await third.record(R)
            assert [leftover.request_id for leftover in third.leftovers()] == [R]


async def test_a_start_is_on_the_disk_itself_before_it_counts(
    spool: SpoolFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_synced = threading.Event()
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def sync(appender: records.Appender) -> None:
        loop.call_soon_threadsafe(asked.set)
        is_synced.wait()

    monkeypatch.setattr(records.Appender, "sync", sync)
    recording = asyncio.ensure_future(spool.record(R))
    await asked.wait()
    assert not recording.done()
    is_synced.set()
    assert await recording


async def test_a_run_that_is_done_is_known_and_leaves_nothing_to_say(spool: SpoolFolder) -> None:
    await spool.record(R)
    keep(spool, text(1))
    spool.finish(R)
    spool.finish(R)
    with after_a_crash(spool) as found:
        assert found.known() == (R,)
        assert found.leftovers() == ()
        assert not await found.record(R)


async def test_the_end_of_a_run_that_a_crash_kept_from_the_files_is_made_up_for(spool: SpoolFolder) -> None:
    await spool.record(R)
    keep(spool, text(1))
    (path,) = frame_files(spool)
    kept = path.read_bytes()
    spool.finish(R)
    path.write_bytes(kept)
    with after_a_crash(spool) as found:
        assert found.leftovers() == ()
        assert frame_files(found) == []


async def test_runs_that_are_done_are_forgotten_after_seven_days_and_open_ones_never(tmp_path: Path) -> None:
    clock = FakeClock()
    spool = SpoolFolder(tmp_path / "spool", clock)
    await spool.record(R)
    await spool.record(RequestId("open"))
    spool.finish(R)
    clock.advance(timedelta(days=6, hours=23).total_seconds())
    with after_a_crash(spool, clock) as found:
        assert found.known() == (R,)
    clock.advance(3601)
    with after_a_crash(spool, clock) as found:
        assert found.known() == ()
        assert [leftover.request_id for leftover in found.leftovers()] == ["open"]
    spool.close()


async def test_a_bridge_that_runs_for_weeks_forgets_as_well(tmp_path: Path) -> None:
    clock = FakeClock()
    spool = SpoolFolder(tmp_path / "spool", clock)
    for day in range(30):
        await spool.record(RequestId(f"r{day}"))
        spool.finish(RequestId(f"r{day}"))
        clock.advance(86_401)
    assert (spool.folder / "runs").read_bytes().count(b'"start"') <= 9
    assert spool.known()[-1] == "r29"
    spool.close()


# --- the folder --------------------------------------------------------------------------------------------------


async def test_a_bridge_keeps_its_name_over_restarts(tmp_path: Path) -> None:
    first = SpoolFolder(tmp_path / "spool", FakeClock(), name="Anna's Laptop")
    assert first.bridge_id.startswith("anna-s-laptop-")
    with after_a_crash(first) as found:
        assert found.bridge_id == first.bridge_id
    other = SpoolFolder(tmp_path / "other", FakeClock(), name="Anna's Laptop")
    assert other.bridge_id != first.bridge_id
    first.close()
    other.close()


async def test_a_second_bridge_on_the_same_spool_is_refused_and_told_who_has_it(spool: SpoolFolder) -> None:
    with pytest.raises(ConfigError, match=rf"process {os.getpid()}\).*--name"):
        SpoolFolder(spool.folder, FakeClock())
    spool.close()
    SpoolFolder(spool.folder, FakeClock()).close()


@pytest.mark.parametrize("name", ["runs", f"frames/{'0' * 24}-000001.frames"])
async def test_files_of_another_version_are_refused_with_the_cure(spool: SpoolFolder, name: str) -> None:
    (spool.folder / name).write_bytes(b"baton-spool 2\nwhatever\n")
    with pytest.raises(ConfigError, match=r"another version.*format 2.*remove the folder"):
        with after_a_crash(spool):
            pass


async def test_a_file_that_is_not_ours_is_refused(spool: SpoolFolder) -> None:
    (spool.folder / "runs").write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(ConfigError, match="not a file of baton's"):
        with after_a_crash(spool):
            pass


async def test_a_start_that_is_refused_lets_go_of_the_lock(spool: SpoolFolder) -> None:
    spool.close()
    runs = spool.folder / "runs"
    sound = runs.read_bytes()
    runs.write_bytes(b"baton-spool 9\n")
    with pytest.raises(ConfigError):
        SpoolFolder(spool.folder, FakeClock())
    runs.write_bytes(sound)
    SpoolFolder(spool.folder, FakeClock()).close()


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="BATON_DATA"):
        SpoolFolder(tmp_path / "file" / "spool", FakeClock())


def test_names_become_folders_that_every_system_takes(tmp_path: Path) -> None:
    assert spool_path(tmp_path, "../Anna's / Mac") == tmp_path / "bridges" / "anna-s-mac"
    assert spool_path(tmp_path, "🌉") == tmp_path / "bridges" / "bridge"
