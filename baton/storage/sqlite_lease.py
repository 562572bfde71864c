"""One serving process per database file: a lock of the operating system, which dies with its holder."""

import fcntl
import os
from pathlib import Path

from baton.core.errors import ConfigError, LeaseLost


class FileLease:
    """An exclusive lock on `<database>.lock`. The lock of a killed process is free at once.

    `flock` and not `lockf`: it belongs to the open file, so two stores of one process exclude each other too.
    The file stays when the lease ends: who removed it could remove the next holder's.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None
        self._inode: int | None = None

    def acquire(self, holder: str) -> bool:
        """Whether this object holds the lease now; the holder's name is written into the file, for people."""
        if self._descriptor is not None:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"The lock file {self._path} cannot be written: allow writing to its folder") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        os.truncate(descriptor, 0)
        os.write(descriptor, holder.encode("utf-8", "replace"))
        self._descriptor = descriptor
        self._inode = _inode(self._database)
        return True

    def check(self) -> None:
        """Raise LeaseLost where the lease is not held, or the lock or the database was replaced by another file."""
        if self._descriptor is None:
            raise LeaseLost("This process does not hold the database")
        if _inode(self._path) != os.fstat(self._descriptor).st_ino:
            raise LeaseLost(f"The lock file {self._path} was removed: another process may own the database")
        if _inode(self._database) != self._inode:
            raise LeaseLost(f"The database {self._database} was replaced by another file")

    def release(self) -> None:
        """Let go. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
