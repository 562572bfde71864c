"""Connections to the database file, and what its failures mean in words.

No driver's message leaves the adapter: each failure names the file and the cure.
"""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from baton.core.errors import ConfigError, StoreUnavailable
from baton.storage.migrate import CURE

OnStatement: TypeAlias = Callable[[str], None]
"""Told each statement that is run, with its values; for tests and for looking closely."""

_OLDEST = (3, 35)
"""The first to know the statements used here (several ON CONFLICT clauses without a target)."""

_BUSY_TIMEOUT_S = 5.0
"""How long a statement waits for another program (a backup, a shell) that holds the file locked."""

_PRAGMAS = (
    # FULL: each commit is on the disk when it returns, also on macOS, where fsync alone does not reach the platter.
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -32768",
    # After a burst the write-ahead log gives its room back.
    "PRAGMA journal_size_limit = 67108864",
)

_CURES: Final[dict[int, str]] = {
    sqlite3.SQLITE_FULL: "The disk of the database {path} is full: make room, nothing else is needed",
    sqlite3.SQLITE_READONLY: "The database {path} cannot be written: allow writing to it and to its folder",
    sqlite3.SQLITE_PERM: "The database {path} cannot be written: allow writing to it and to its folder",
    sqlite3.SQLITE_CANTOPEN: "The database {path} cannot be opened: allow reading and writing it and its folder",
    sqlite3.SQLITE_IOERR: "The disk of the database {path} does not read or write: check the disk",
    sqlite3.SQLITE_CORRUPT: "The database {path} is damaged: restore a backup with `baton db restore`",
    sqlite3.SQLITE_NOTADB: "{path} is no SQLite database: name another file in BATON_STORE, or restore a backup",
    sqlite3.SQLITE_BUSY: "Another program keeps the database {path} locked: end it",
    sqlite3.SQLITE_LOCKED: "Another program keeps the database {path} locked: end it",
    sqlite3.SQLITE_ERROR: "The database {path} does not have the shape that this version of Baton needs: restore it "
    "from a backup with `baton db restore`",
}
_ELSE = "The database {path} did not take or give what was asked"


def connect(
    path: Path, *, create: bool = False, reads_only: bool = False, on_statement: OnStatement | None = None
) -> sqlite3.Connection:
    """A connection in autocommit mode that any thread may use, one at a time.

    With `create`, the file is made where there is none. One that `reads_only` gives text columns as UTF-8 bytes, so
    that stored JSON is served as it stands.
    Raises sqlite3.Error, and with `create` OSError.
    """
    if create:
        # Made here and not by SQLite, so that nobody else on the machine can read it; its -wal and -shm take after it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        _prepare(connection, reads_only=reads_only)
    except sqlite3.Error:
        connection.close()
        raise
    if on_statement is not None:
        connection.set_trace_callback(on_statement)
    return connection


def _prepare(connection: sqlite3.Connection, *, reads_only: bool) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    if reads_only:
        connection.execute("PRAGMA query_only = ON")
        connection.text_factory = bytes
    else:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()


def check_library() -> None:
    """Raise ConfigError where the SQLite that came with this Python lacks what the store needs."""
    cure = "use a Python that was built with a newer SQLite (those of python.org are), or MongoDB"
    if sqlite3.sqlite_version_info < _OLDEST:
        raise ConfigError(f"SQLite {sqlite3.sqlite_version} is older than {'.'.join(map(str, _OLDEST))}: {cure}")
    trial = sqlite3.connect(":memory:")
    try:
        trial.execute("CREATE VIRTUAL TABLE trial USING fts5(word)")
    except sqlite3.OperationalError as error:
        raise ConfigError(f"This SQLite has no full-text search (FTS5): {cure}") from error
    finally:
        trial.close()


def check_place(path: Path, *, must_exist: bool) -> None:
    """Raise ConfigError where there cannot be a database at `path`, or, with `must_exist`, there is none."""
    if path.is_dir():
        raise ConfigError(f"The database {path} is a folder: name a file in BATON_STORE")
    if not path.parent.is_dir():
        raise ConfigError(f"The folder {path.parent} of the database does not exist: create it, or change BATON_STORE")
    if must_exist and not path.exists():
        raise ConfigError(f"There is no database {path} yet: {CURE}")


def explain(path: Path, error: sqlite3.Error) -> str:
    """What went wrong with the file and what to do about it."""
    # A mistake in the use of the driver has no code; the low byte of others is the family.
    code = getattr(error, "sqlite_errorcode", -1)
    return _CURES.get(code & 0xFF if code >= 0 else -1, _ELSE).format(path=path)


def unavailable(path: Path, error: sqlite3.Error) -> StoreUnavailable:
    """The driver's error as the port's."""
    return StoreUnavailable(explain(path, error))
