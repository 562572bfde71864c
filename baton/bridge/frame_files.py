"""Frames of runs in files: what `bridge.kept.Spool` keeps, one row of segment files per run.

A segment is deleted when nothing in it is wanted any more; nothing is ever copied to make room. In memory is where
each frame lies, not what it says. It must not know which runs there are, nor why a frame is kept.
"""

import hashlib
import logging
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import orjson

from baton.bridge.kept import BufferFull, Leftover, Numbered, SpoolDamaged
from baton.bridge.records import Appender, Record, payload_of, scan
from baton.core.errors import BatonError
from baton.core.frames import FINAL_FRAMES, FRAME_TYPES, RunFrame
from baton.core.ids import RequestId
from baton.core.limits import MEBI, Limits
from baton.schemas.bridge import dump_frame, load_bridge_frame

logger = logging.getLogger(__name__)

SEGMENT_BYTES: Final = 8 * MEBI
_SUFFIX: Final = ".frames"
_FINAL_TYPES: Final = frozenset(FRAME_TYPES[final] for final in FINAL_FRAMES)
_NO_LIMIT: Final = Limits(bridge_frame_max_bytes=1 << 40)
"""What was let out once is let in again, whatever the limits are now."""


@dataclass(slots=True, eq=False)
class _Segment:
    """One file. `last_seq`: of the newest frame in it."""

    path: Path
    size: int
    last_seq: int = 0


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a frame's line lies."""

    segment: _Segment
    offset: int
    size: int


@dataclass(slots=True)
class _Row:
    """The segments of one run, and where each frame that is still wanted lies in them."""

    segments: deque[_Segment] = field(default_factory=deque)
    places: OrderedDict[int, _Place] = field(default_factory=OrderedDict)
    """By number, in order."""
    last_seq: int = 0
    next_number: int = 1

    def put(self, seq: int, place: _Place) -> None:
        """The frame of this number lies there; what had it or a later one before counts no more."""
        while self.places and self.last_seq >= seq:
            self.places.popitem()
            self.last_seq = next(reversed(self.places), 0)
        self.places[seq] = place
        self.last_seq = seq


class FrameFiles:
    """Every file of the folder, at most `max_bytes` of them together.

    Opening reads them all, memory stays flat; `leftovers` is what was found. Raises ConfigError where a file is of
    another version, and OSError.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._max_bytes = max_bytes
        self._rows: dict[RequestId, _Row] = {}
        self.size_bytes = 0
        self.leftovers: tuple[Leftover, ...] = tuple(self._load())

    # --- bridge.kept.Spool -------------------------------------------------------------------------------------

    def keep(self, request_id: RequestId, frames: Sequence[Numbered], *, epoch: str | None = None) -> None:
        """See bridge.kept.Spool."""
        payloads = [dump_frame(cast(RunFrame, numbered.frame)) for numbered in frames]
        size = sum(len(payload) + 10 for payload in payloads)
        if self.size_bytes + size > self._max_bytes:
            raise BufferFull(f"The bridge's spool is full: {self._max_bytes} bytes wait for the server")
        row = self._rows.setdefault(request_id, _Row())
        try:
            self._write(_header(request_id, epoch), row, frames, payloads)
        except OSError as error:
            raise BufferFull(f"The bridge cannot write to its spool: {error.strerror}") from error

    def read(self, request_id: RequestId, seq: int) -> RunFrame:
        """See bridge.kept.Spool."""
        row = self._rows.get(request_id)
        place = None if row is None else row.places.get(seq)
        if place is None:
            raise SpoolDamaged("A frame that was in the spool is gone")
        try:
            with place.segment.path.open("rb") as file:
                file.seek(place.offset)
                payload = payload_of(file.read(place.size))
            if payload is None:
                raise SpoolDamaged(f"The spool file {place.segment.path} was damaged")
            return cast(RunFrame, load_bridge_frame(payload, _NO_LIMIT))
        except SpoolDamaged:
            raise
        except (OSError, BatonError) as error:
            raise SpoolDamaged(f"The spool file {place.segment.path} cannot be read") from error

    def release(self, request_id: RequestId, seq: int) -> None:
        """See bridge.kept.Spool. A segment goes with the last frame in it."""
        row = self._rows.get(request_id)
        if row is None:
            return
        while row.places and next(iter(row.places)) <= seq:
            row.places.popitem(last=False)
        while row.segments and row.segments[0].last_seq <= seq:
            self._remove(row.segments.popleft())
        if not row.segments:
            del self._rows[request_id]

    def finish(self, request_id: RequestId) -> None:
        """See bridge.kept.Spool."""
        row = self._rows.pop(request_id, None)
        for segment in row.segments if row is not None else ():
            self._remove(segment)

    # --- files ---------------------------------------------------------------------------------------------------

    def _write(self, header: dict[str, str], row: _Row, frames: Sequence[Numbered], payloads: Sequence[bytes]) -> None:
        segment = row.segments[-1] if row.segments else None
        if segment is None or segment.size > SEGMENT_BYTES:
            segment = _Segment(self._path(header["requestId"], row.next_number), 0)
        before = segment.size
        file = Appender(segment.path, segment.size)
        try:
            if before == 0:
                file.append([orjson.dumps(header)])
            places = file.append(payloads)
        finally:
            segment.size = file.size
            self.size_bytes += file.size - before
            if before == 0:
                row.next_number += 1
                row.segments.append(segment)
            file.close()
        segment.last_seq = frames[-1].seq
        for numbered, (offset, size) in zip(frames, places, strict=True):
            row.put(numbered.seq, _Place(segment, offset, size))

    def _path(self, request_id: str, number: int) -> Path:
        # A requestId may be any text, a file's name not.
        digest = hashlib.blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        return self._folder / f"{digest}-{number:06}{_SUFFIX}"

    def _remove(self, segment: _Segment) -> None:
        self.size_bytes -= segment.size
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("a spool file cannot be removed", extra={"action": "bridge.spool", "error": error.strerror})

    # --- what an earlier process left ----------------------------------------------------------------------------

    def _load(self) -> Iterator[Leftover]:
        rows: dict[str, list[Path]] = {}
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            rows.setdefault(path.name.rpartition("-")[0], []).append(path)
        for paths in rows.values():
            leftover = self._load_row(paths)
            if leftover is not None:
                yield leftover

    def _load_row(self, paths: Sequence[Path]) -> Leftover | None:
        """One run's frames, up to the first that is missing; files without any are removed."""
        loading = _Loading()
        for path in paths:
            loading.read(path)
        row = loading.row
        if loading.request_id is None or not row.places:
            for path in paths:
                path.unlink()
            return None
        self.size_bytes += sum(segment.size for segment in row.segments)
        self._rows[loading.request_id] = row
        frames = tuple(Numbered(seq, loading.sizes[seq], None) for seq in row.places)
        return Leftover(
            loading.request_id,
            frames,
            is_ended=loading.types[row.last_seq] in _FINAL_TYPES,
            is_background=loading.is_background and 1 in row.places,
            epoch=loading.epoch,
        )


def _header(request_id: RequestId, epoch: str | None) -> dict[str, str]:
    """A segment's first record: whose frames it holds."""
    return {"requestId": request_id} | ({} if epoch is None else {"epoch": epoch})


class _Loading:
    """One run's files while they are read. A number that comes again counts as said anew."""

    def __init__(self) -> None:
        self.row = _Row()
        self.request_id: RequestId | None = None
        self.epoch: str | None = None
        self.sizes: dict[int, int] = {}
        self.types: dict[int, str] = {}
        self.is_background = False
        self._has_gap = False

    def read(self, path: Path) -> None:
        """Take in the next file."""
        row = self.row
        segment = _Segment(path, 0)
        row.segments.append(segment)
        row.next_number = int(path.stem.rpartition("-")[2]) + 1
        for record in scan(path):
            body = orjson.loads(record.payload)
            if "seq" not in body:
                self.request_id, self.epoch = RequestId(body["requestId"]), body.get("epoch")
            elif not self._take(segment, record, body):
                return
            segment.size = record.offset + record.size

    def _take(self, segment: _Segment, record: Record, body: dict[str, Any]) -> bool:
        seq: int = body["seq"]
        row = self.row
        self._has_gap = self._has_gap or bool(row.places and seq > row.last_seq + 1)
        if self._has_gap:
            return False
        row.put(seq, _Place(segment, record.offset, record.size))
        segment.last_seq = seq
        self.sizes[seq] = len(record.payload)
        self.types[seq] = body["type"]
        self.is_background = self.is_background or body.get("origin") == "background"
        return True
