"""What a bridge keeps on disk: which runs it has started, and frames that the server has not taken yet.

One folder per bridge, used by one process at a time. It survives `kill -9` of the bridge whole, and loss of power
but for the latest frames; a requestId is on the disk itself before its agent starts.
"""

import fcntl
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from baton.bridge.frame_files import FrameFiles
from baton.bridge.kept import Leftover, Numbered
from baton.bridge.ledger import LedgerFile
from baton.core.errors import ConfigError
from baton.core.frames import RunFrame
from baton.core.ids import BridgeId, RequestId
from baton.core.ports import Clock

SPOOL_MAX_BYTES: Final = 1 << 30


class SpoolFolder:
    """Implements `bridge.kept.Spool` and `bridge.runner.Ledger` in a folder, which is made where there is none.

    Opening raises ConfigError, with the cure: another process uses the folder, it is of another version, or it
    cannot be written. To be closed.
    """

    def __init__(self, folder: Path, clock: Clock, *, name: str = "bridge", max_bytes: int = SPOOL_MAX_BYTES) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(folder)
        except OSError as error:
            raise _unusable(folder, error) from error
        try:
            self._ledger = LedgerFile(folder / "runs", clock, name=_slug(name))
            self._frames = FrameFiles(folder / "frames", max_bytes=max_bytes)
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, OSError):
                raise _unusable(folder, error) from error
            raise
        self._is_closed = False

    @property
    def bridge_id(self) -> BridgeId:
        """Whose folder this is: made with it, the same for each process."""
        return self._ledger.bridge_id

    @property
    def size_bytes(self) -> int:
        """What the frames in it take up."""
        return self._frames.size_bytes

    def known(self) -> tuple[RequestId, ...]:
        """Runs that were done with in the last days."""
        return self._ledger.done_runs()

    def leftovers(self) -> tuple[Leftover, ...]:
        """Runs that an earlier process had started, or has frames of, and was not done with. To be asked at the start,
        once."""
        done = frozenset(self._ledger.done_runs())
        open_runs = self._ledger.open_runs()
        found = {run: Leftover(run, epoch=self._ledger.epoch_of(run)) for run in open_runs}
        for leftover in self._frames.leftovers:
            if leftover.request_id in done:
                self._frames.finish(leftover.request_id)
            else:
                found[leftover.request_id] = leftover
        return tuple(found.values())

    def close(self) -> None:
        """Let others have the folder. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._ledger.close()
            os.close(self._lock)

    # --- bridge.runner.Ledger and bridge.kept.Spool ------------------------------------------------------------

    async def record(self, request_id: RequestId, *, epoch: str | None = None) -> bool:
        """See bridge.runner.Ledger; `epoch` as in bridge.kept.Spool."""
        return await self._ledger.record(request_id, epoch=epoch)

    def keep(self, request_id: RequestId, frames: Sequence[Numbered], *, epoch: str | None = None) -> None:
        """See bridge.kept.Spool."""
        self._frames.keep(request_id, frames, epoch=epoch)

    def read(self, request_id: RequestId, seq: int) -> RunFrame:
        """See bridge.kept.Spool."""
        return self._frames.read(request_id, seq)

    def release(self, request_id: RequestId, seq: int) -> None:
        """See bridge.kept.Spool."""
        self._frames.release(request_id, seq)

    def finish(self, request_id: RequestId) -> None:
        """See bridge.kept.Spool."""
        self._ledger.finish(request_id)
        self._frames.finish(request_id)


def _locked(folder: Path) -> int:
    """A descriptor that holds the folder's lock; the system lets go of it when the process dies, however."""
    path = folder / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = ""
        with suppress(OSError):
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise ConfigError(
            f"Another bridge{f' (process {holder})' if holder else ''} uses {folder}: end it, or give this one "
            "another --name"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return descriptor


def _slug(name: str) -> str:
    """The name as the beginning of an id and of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "bridge"


def spool_path(data: Path, name: str) -> Path:
    """Where the bridge of this name keeps its spool."""
    return data / "bridges" / _slug(name)


def _unusable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"The bridge's folder {folder} cannot be used ({error.strerror}); set BATON_DATA to one of yours"
    )
