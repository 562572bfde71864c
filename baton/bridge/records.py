"""Append-only files of records that a crash can cut, but not confuse.

A first line names the format and its version; then one record per line, each with a checksum, so that a record that
was only half written is seen as such. What a record means is its owner's business; it holds no line feed.
"""

import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from baton.core.errors import ConfigError

VERSION: Final = 1
_FORMAT: Final = b"baton-spool "
HEADER: Final = b"%b%d\n" % (_FORMAT, VERSION)
_CHECKSUM_CHARS: Final = 9
"""Eight hex digits and a space."""
_MAX_LINE_BYTES: Final = 64 << 20
"""More than any record has: a damaged file must not be read into memory as one line."""


@dataclass(frozen=True, slots=True)
class Record:
    """A sound record, and where its line lies in the file."""

    offset: int
    size: int
    payload: bytes


def line(payload: bytes) -> bytes:
    """The record as it stands in a file."""
    return b"%08x %b\n" % (zlib.crc32(payload), payload)


def payload_of(encoded: bytes) -> bytes | None:
    """What a line holds; None: it is cut or damaged."""
    payload = encoded[_CHECKSUM_CHARS:-1]
    return payload if line(payload) == encoded else None


def scan(path: Path) -> Iterator[Record]:
    """The file's records, up to the first that is not sound. Raises ConfigError where the format is not this one."""
    with path.open("rb") as file:
        if not _has_header(path, file.readline(len(HEADER) + 20)):
            return
        offset = file.tell()
        while encoded := file.readline(_MAX_LINE_BYTES):
            payload = payload_of(encoded)
            if payload is None:
                return
            yield Record(offset, len(encoded), payload)
            offset += len(encoded)


def _has_header(path: Path, found: bytes) -> bool:
    """False: the file was cut before its first line was whole, so nothing can be in it."""
    if found == HEADER:
        return True
    if HEADER.startswith(found):
        return False
    if found.startswith(_FORMAT):
        version = found.removeprefix(_FORMAT).strip().decode(errors="replace")[:20]
        raise ConfigError(
            f"{path} was written by another version of baton (format {version}, this one has {VERSION}): "
            f"run that version until it has delivered everything, or remove the folder {path.parent}"
        )
    raise ConfigError(f"{path} is not a file of baton's: remove it, or choose another data folder")


class Appender:
    """The writing end of one file. A record that could not be written whole leaves no trace.

    Opened at `size` bytes, behind which everything is cut off; 0: a new file is begun.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.size = size
        try:
            os.ftruncate(self._descriptor, size)
            if size == 0:
                self._write(HEADER)
        except OSError:
            os.close(self._descriptor)
            raise

    def append(self, payloads: Iterable[bytes]) -> list[tuple[int, int]]:
        """Write the records, all or none; offset and size of each line. Raises OSError (the disk is full)."""
        lines = [line(payload) for payload in payloads]
        offset = self.size
        self._write(b"".join(lines))
        places = []
        for encoded in lines:
            places.append((offset, len(encoded)))
            offset += len(encoded)
        return places

    def sync(self) -> None:
        """Return when all that was written is on the disk itself. Blocks: not for the event loop."""
        if sys.platform == "darwin":  # pragma: no cover  # fsync alone does not reach the platter there
            import fcntl

            fcntl.fcntl(self._descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _write(self, encoded: bytes) -> None:
        written = 0
        try:
            while written < len(encoded):
                written += os.pwrite(self._descriptor, encoded[written:], self.size + written)
        except OSError:
            # The next record must not follow half a one.
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += written


def sync_folder(folder: Path) -> None:
    """Return when new names in the folder are on the disk. Blocks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
