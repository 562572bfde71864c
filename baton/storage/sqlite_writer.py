"""The one thread that writes. Everything queued while it was busy goes into its next transaction (group commit).

One fsync then serves all callers of the moment, and the rate of commits adjusts itself to the disk.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from baton.core.errors import Overloaded, StoreUnavailable
from baton.storage.sqlite_connection import unavailable

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
Operation: TypeAlias = Callable[[sqlite3.Connection], Result]
"""What is done inside the transaction. It may be run twice (see `_run_group`): it has no other effects."""


@dataclass(frozen=True, slots=True)
class WriteBounds:
    """What may wait for the disk, including what is being written."""

    max_operations: int = 10_000
    max_bytes: int = 256 << 20


@dataclass(slots=True)
class _Job:
    operation: Operation[Any]
    future: asyncio.Future[Any]
    size_bytes: int
    ended: asyncio.Future[None] | None = None
    """What a cancelled caller waits for."""


@dataclass(frozen=True, slots=True)
class _Settled:
    job: _Job
    result: object = None
    error: BaseException | None = None


class Writer:
    """Runs operations in order, many in one transaction; each alone succeeds or leaves nothing.

    1. `run` returns when the operation is on disk.
    2. An operation that raises sinks no other of its group.
    3. A cancelled caller's operation is carried out all the same. The caller goes at once; with `holds_caller` not
       before it has ended, unless it is cancelled a second time.
    4. What does not fit into the bounds is refused with Overloaded, at once.
    """

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection], bounds: WriteBounds) -> None:
        self._path = path
        self._connect = connect
        self._bounds = bounds
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting = 0
        self._waiting_bytes = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None
        self._is_open = False

    async def start(self) -> None:
        """Start the thread and connect. Raises what connecting raises."""
        self._loop = asyncio.get_running_loop()
        connected: asyncio.Future[None] = self._loop.create_future()
        self._ended = self._loop.create_future()
        self._thread = threading.Thread(target=self._serve, args=(connected,), name="baton-sqlite-writer", daemon=True)
        self._thread.start()
        await connected
        self._is_open = True

    async def run(self, operation: Operation[Result], *, size_bytes: int = 0, holds_caller: bool = False) -> Result:
        """Carry the operation out and return its result. The order of calls is the order of effects."""
        if not self._is_open or self._loop is None:
            raise StoreUnavailable(f"The database {self._path} is closed")
        if self._waiting >= self._bounds.max_operations or (
            self._waiting and self._waiting_bytes + size_bytes > self._bounds.max_bytes
        ):
            raise Overloaded("Too much waits to be written to the database: try again in a moment")
        job = _Job(operation, self._loop.create_future(), size_bytes)
        self._waiting += 1
        self._waiting_bytes += size_bytes
        self._queue.put(job)
        try:
            result: Result = await job.future
        except asyncio.CancelledError:
            if holds_caller and job.future.cancelled():
                job.ended = self._loop.create_future()
                await job.ended
            raise
        return result

    async def stop(self) -> None:
        """Write what is queued, close the connection, end the thread. Idempotent."""
        if self._is_open:
            self._is_open = False
            self._queue.put(None)
        if self._ended is not None:
            # Shielded: of two callers that wait for the end, one may be cancelled.
            await asyncio.shield(self._ended)

    # --- on the thread

    def _serve(self, connected: asyncio.Future[None]) -> None:
        assert self._ended is not None, "start() made it"
        try:
            connection = self._connect()
        except BaseException as error:  # noqa: BLE001 - not judged here: handed to whoever called start()
            self._tell(_fail, connected, error)
            self._tell(_succeed, self._ended)
            return
        self._tell(_succeed, connected)
        is_serving = True
        while is_serving:
            group, is_serving = self._gather()
            if group and not self._tell(self._resolve, self._run_group(connection, group)):
                break
        connection.close()
        self._tell(_succeed, self._ended)

    def _gather(self) -> tuple[list[_Job], bool]:
        """Everything that is queued, waiting for the first; and whether more may come."""
        group: list[_Job] = []
        job = self._queue.get()
        while job is not None:
            group.append(job)
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _run_group(self, connection: sqlite3.Connection, group: Sequence[_Job]) -> list[_Settled]:
        """One transaction for all; where anything fails, one for each, so that nobody pays for another's failure."""
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            # Nobody's own failure (another program holds the lock), and the next would wait as long again.
            return [_Settled(job, error=self._translated(error)) for job in group]
        try:
            settled = [_Settled(job, result=job.operation(connection)) for job in group]
            connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - as in any executor, the caller gets it, and the thread lives on
            self._roll_back(connection)
            if len(group) > 1:
                return [one for job in group for one in self._run_group(connection, [job])]
            return [_Settled(group[0], error=self._translated(error))]
        return settled

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        # Some failures (a full disk) have already ended the transaction.
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                logger.warning("the database refused to roll back", extra={"action": "store_rollback"})

    def _translated(self, error: BaseException) -> BaseException:
        if not isinstance(error, sqlite3.Error):
            return error
        translated = unavailable(self._path, error)
        translated.__cause__ = error
        logger.warning("a write to the database failed", extra={"action": "store_write", "reason": translated.message})
        return translated

    def _tell(self, told: Callable[..., None], *values: object) -> bool:
        """Call on the loop; False where the loop is gone and nobody can hear."""
        assert self._loop is not None, "start() set it"
        try:
            self._loop.call_soon_threadsafe(told, *values)
        except RuntimeError:
            return False
        return True

    # --- on the loop

    def _resolve(self, settled: Sequence[_Settled]) -> None:
        for one in settled:
            self._waiting -= 1
            self._waiting_bytes -= one.job.size_bytes
            if one.error is not None:
                _fail(one.job.future, one.error)
            elif not one.job.future.done():
                one.job.future.set_result(one.result)
            if one.job.ended is not None:
                _succeed(one.job.ended)


def _succeed(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
