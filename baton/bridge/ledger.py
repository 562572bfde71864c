"""Which runs a bridge has started, and which of them it is done with: written down before an agent starts.

One file of records: whose it is, then `start` and `done` of each run. It is what makes a requestId work at most once
over any number of crashes. It must not know frames.
"""

import asyncio
import logging
import os
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from baton.bridge.records import Appender, scan, sync_folder
from baton.core.errors import AgentFailed
from baton.core.ids import BridgeId, RequestId
from baton.core.ports import Clock

logger = logging.getLogger(__name__)

KEPT: Final = timedelta(days=7)
"""How long a run that is done stays known. One that is not stays until it is."""
_TIDIED_EVERY: Final = timedelta(days=1)


@dataclass(slots=True)
class _Entry:
    started_at: float
    is_done: bool = False
    epoch: str | None = None


class LedgerFile:
    """Implements `bridge.runner.Ledger` on a file of its own, which nobody else may write at the same time.

    Raises ConfigError where the file is of another version.
    """

    def __init__(self, path: Path, clock: Clock, *, name: str) -> None:
        """`name` is what a new bridge's id begins with."""
        self._path = path
        self._clock = clock
        self._entries: dict[RequestId, _Entry] = {}
        bridge_id, size = self._load()
        self._file = Appender(path, size)
        self._lock = asyncio.Lock()
        """Held while the file is synced or written anew: neither must meet the other."""
        self.bridge_id = bridge_id or BridgeId(f"{name}-{secrets.token_hex(4)}")
        """Made at the first start, the same ever after."""
        self._tidied_at = clock.now()
        self._tidy()

    # --- asking --------------------------------------------------------------------------------------------------

    def open_runs(self) -> tuple[RequestId, ...]:
        """Started, and not done with."""
        return tuple(request_id for request_id, entry in self._entries.items() if not entry.is_done)

    def done_runs(self) -> tuple[RequestId, ...]:
        """Done with in the last days, the oldest first."""
        return tuple(request_id for request_id, entry in self._entries.items() if entry.is_done)

    def epoch_of(self, request_id: RequestId) -> str | None:
        """Which database's history the run belongs to; None: not known."""
        entry = self._entries.get(request_id)
        return None if entry is None else entry.epoch

    # --- writing -------------------------------------------------------------------------------------------------

    async def record(self, request_id: RequestId, *, epoch: str | None = None) -> bool:
        """Write down that the run starts: True once that is on the disk, False where it stood there already.

        `epoch`: see `epoch_of`.
        Raises AgentFailed `spool_full` where it cannot be written: what is not written down must not start.
        """
        if request_id in self._entries:
            return False
        now = self._clock.now()
        entry = self._entries[request_id] = _Entry(now.timestamp(), epoch=epoch)
        try:
            self._file.append([_start(request_id, entry)])
            async with self._lock:
                await asyncio.to_thread(self._file.sync)
                if now - self._tidied_at > _TIDIED_EVERY:
                    self._tidy()
        except OSError as error:
            raise AgentFailed(
                f"The bridge cannot write to {self._path.parent}: {error.strerror}", code="spool_full", retryable=True
            ) from error
        return True

    def finish(self, request_id: RequestId) -> None:
        """The run is done with. Not synced: where a crash loses it, the server refuses what comes of it."""
        entry = self._entries.get(request_id)
        if entry is None or entry.is_done:
            return
        entry.is_done = True
        try:
            self._file.append([_done(request_id)])
        except OSError as error:
            logger.warning("the ledger cannot be written", extra={"action": "bridge.ledger", "error": error.strerror})

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    # --- the file ------------------------------------------------------------------------------------------------

    def _load(self) -> tuple[BridgeId | None, int]:
        """Take in what the file says; whose it is, and how much of it is sound."""
        bridge_id, size = None, 0
        for record in scan(self._path) if self._path.exists() else ():
            said: dict[str, Any] = orjson.loads(record.payload)
            size = record.offset + record.size
            if "bridge" in said:
                bridge_id = BridgeId(said["bridge"])
            elif "start" in said:
                self._entries[RequestId(said["start"])] = _Entry(said["at"], epoch=said.get("epoch"))
            elif (entry := self._entries.get(RequestId(said.get("done", "")))) is not None:
                entry.is_done = True
        return bridge_id, size

    def _tidy(self) -> None:
        """Write the file anew, without what is forgotten by now. In one step: a crash leaves the old one or the new."""
        now = self._tidied_at = self._clock.now()
        self._entries = {
            request_id: entry for request_id, entry in self._entries.items() if not _is_forgotten(entry, now)
        }
        draft = self._path.with_name(self._path.name + ".new")
        file = Appender(draft)
        try:
            file.append(self._records())
            file.sync()
            os.replace(draft, self._path)
            sync_folder(self._path.parent)
        except OSError:
            file.close()
            raise
        self._file.close()
        self._file = file

    def _records(self) -> list[bytes]:
        records = [orjson.dumps({"bridge": self.bridge_id})]
        for request_id, entry in self._entries.items():
            records.append(_start(request_id, entry))
            if entry.is_done:
                records.append(_done(request_id))
        return records


def _is_forgotten(entry: _Entry, now: datetime) -> bool:
    return entry.is_done and now.timestamp() - entry.started_at > KEPT.total_seconds()


def _start(request_id: RequestId, entry: _Entry) -> bytes:
    epoch = {} if entry.epoch is None else {"epoch": entry.epoch}
    return orjson.dumps({"start": request_id, "at": entry.started_at, **epoch})


def _done(request_id: RequestId) -> bytes:
    return orjson.dumps({"done": request_id})
