"""A few threads that read, each with its own connection. In WAL mode none of them ever waits for the writer."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from baton.core.errors import Overloaded, StoreUnavailable
from baton.storage.sqlite_connection import unavailable

Result = TypeVar("Result")
Values = ParamSpec("Values")


class Readers:
    """Runs queries, each in a transaction of its own, so that all it reads is of one moment."""

    def __init__(
        self, path: Path, connect: Callable[[], sqlite3.Connection], *, threads: int, max_waiting: int
    ) -> None:
        self._path = path
        self._connect = connect
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="baton-sqlite-reader")
        self._own = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._max_waiting = max_waiting
        self._waiting = 0
        self._is_open = True

    async def run(
        self,
        query: Callable[Concatenate[sqlite3.Connection, Values], Result],
        *args: Values.args,
        **kwargs: Values.kwargs,
    ) -> Result:
        """The query's result. Raises StoreUnavailable, and Overloaded where too many reads wait already."""
        self._check_open()
        if self._waiting >= self._max_waiting:
            raise Overloaded("Too many reads wait for the database: try again in a moment")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, lambda: self._run(lambda connection: query(connection, *args, **kwargs))
            )
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Break off what is being read, refuse what waits, close the connections. Idempotent."""
        self._is_open = False
        for connection in self._connections:
            connection.interrupt()
        # What waits is not cancelled: to its callers that would look as if they themselves were.
        await asyncio.to_thread(self._executor.shutdown)
        while self._connections:
            self._connections.pop().close()

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable(f"The database {self._path} is closed")

    def _run(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        self._check_open()
        try:
            connection = self._connection()
            connection.execute("BEGIN")
            try:
                return query(connection)
            finally:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise unavailable(self._path, error) from error

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._connect()
            self._own.connection = connection
            self._connections.append(connection)
        return connection
