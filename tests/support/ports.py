"""Ports for servers that are started, ended and started again while much else goes on beside them."""

import os
import socket
from collections import deque
from contextlib import suppress
from pathlib import Path
from random import sample
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST: Final = 10_000
_KEPT: Final = 200
_marks: Final[deque[int]] = deque()
"""Descriptors, the oldest first; the system closes them with the process."""


def free_port() -> int:
    """A port that nobody listens on, and nobody gets meanwhile: not this process, nor another that asks this.

    The system's own choice (port 0) is one that it also gives to connections that go out, so that a server that is
    away for a second may find its port taken. The port is marked as given by the UDP port of the same number, as long
    as the process lives or until it has asked for many others.
    """
    ports = range(_FIRST, _first_outgoing())
    for port in sample(ports, len(ports)):
        mark = socket.socket(type=socket.SOCK_DGRAM)
        with suppress(OSError), socket.socket() as probe:
            mark.bind(("127.0.0.1", port))
            probe.bind(("127.0.0.1", port))
            _marks.append(mark.detach())
            _forget(_KEPT)
            return port
        mark.close()
    raise OSError(f"no port from {ports.start} to {ports.stop - 1} is free")


def _forget(kept: int) -> None:
    while len(_marks) > kept:
        os.close(_marks.popleft())


def _first_outgoing() -> int:
    """The lowest port that connections which go out are given."""
    try:
        return int(_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        return 32_768
