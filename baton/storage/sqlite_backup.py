"""A copy of a database file that is consistent while a server writes, and whether a copy is a good one."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from baton.core.errors import ConfigError, Conflict, InvalidRequest, Unavailable
from baton.storage.sqlite_connection import connect, explain

MAGIC: Final = b"SQLite format 3\x00"
_PAGES_AT_ONCE: Final = 2000
"""8 MB; between steps others get their turn."""


async def copy_database(source: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    """Copy through SQLite's online backup into `target`, which must not be there; then it is one file, on the disk.

    `progress` is told pages done and pages in all. Raises Unavailable; what was begun of `target` is the caller's.
    """
    await asyncio.to_thread(_copy, source, target, progress)


def _copy(source: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    try:
        with closing(connect(source, reads_only=True)) as reading, closing(connect(target, create=True)) as writing:
            # One transaction holds the moment: without it, each write of a server would begin the copy anew.
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
            reading.backup(
                writing, pages=_PAGES_AT_ONCE, progress=lambda _, left, total: progress(total - left, total), sleep=0
            )
            reading.execute("COMMIT")
            # Not the write-ahead log that the original has: a backup is one file.
            writing.execute("PRAGMA journal_mode = DELETE").fetchone()
        sync(target)
        sync(target.parent)
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", -1) & 0xFF
        is_of_target = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
        raise Unavailable(explain(target if is_of_target else source, error)) from error
    except OSError as error:
        raise Unavailable(f"{target} could not be written: {error.strerror}") from error


async def check_copy(path: Path) -> None:
    """Read the whole file. Raises InvalidRequest where it is damaged, or no database of Baton."""
    await asyncio.to_thread(_check, path)


def _check(path: Path) -> None:
    try:
        with closing(connect(path, reads_only=True)) as connection:
            said = [row[0].decode() for row in connection.execute("PRAGMA integrity_check(3)")]
            connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    except sqlite3.Error as error:
        raise InvalidRequest(f"{path} is damaged, or no database of Baton: name another backup") from error
    # SQLite itself reads zeros where the last page is cut short, and finds nothing wrong with them.
    if said != ["ok"] or path.stat().st_size % page_bytes:
        raise InvalidRequest(f"{path} is damaged: name another backup")


async def put_in_place(made: Path, path: Path, keep_as: Path) -> bool:
    """Make `made` the database `path`, at once; whether there was one, which is `keep_as` now.

    The caller has the lease. Raises Conflict where another program has it open: what that has not written back would
    be lost, or come back.
    """
    return await asyncio.to_thread(_put_in_place, made, path, keep_as)


def _put_in_place(made: Path, path: Path, keep_as: Path) -> bool:
    was_there = path.exists()
    try:
        if was_there:
            _fold(path)
            os.link(path, keep_as)
        os.replace(made, path)
        sync(path.parent)
    except OSError as error:
        raise ConfigError(f"{path} could not be replaced: {error.strerror}; it is as it was") from error
    return was_there


def _fold(path: Path) -> None:
    """The write-ahead log into the file, and away with it."""
    try:
        with closing(connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        # Damaged, perhaps: then it is kept as it stands, with its log.
        log = path.with_name(path.name + "-wal")
        if log.exists():
            shutil.move(log, path.with_name(path.name + ".damaged-wal"))
    if path.with_name(path.name + "-wal").exists():
        raise Conflict(f"Another program has {path} open: end it")


def is_sqlite(path: Path) -> bool:
    """Whether the file begins as a database does. Raises ConfigError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def sync(path: Path) -> None:
    """What was written to the file, or the names in the folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
