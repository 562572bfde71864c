"""Frames that are kept until the server has them, as outboxes and spools hand them to each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from baton.core.errors import AgentFailed
from baton.core.frames import RunFrame
from baton.core.ids import RequestId


class BufferFull(AgentFailed):
    """The server has not taken what the agent said for so long that nothing more can be kept."""

    code = "spool_full"
    retryable = True


class SpoolDamaged(AgentFailed):
    """A frame that was in the spool cannot be had from it any more."""

    code = "bridge_lost"
    retryable = True


@dataclass(frozen=True, slots=True)
class Numbered:
    """A frame that has its number, and its size as JSON in bytes. `frame` None: it lies in the spool."""

    seq: int
    bytes: int
    frame: RunFrame | None


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a spool still holds of a run that an earlier process had: frames without a gap, all of them in the spool.

    `is_ended`: the last of them is the run's final one. `is_background`: the agent began the run by itself, and its
    first frame is still here, so that the server need not know of it. `epoch`: whose run it is, see `Spool.keep`.
    """

    request_id: RequestId
    frames: tuple[Numbered, ...] = ()
    is_ended: bool = False
    is_background: bool = False
    epoch: str | None = None


class Spool(Protocol):
    """Keeps frames that memory has no room for, past the death of this process.

    1. What `keep` took, `read` gives unchanged, until `release` covers it or the run is finished.
    2. Nothing waits: a call is a few system calls on files that the operating system caches.
    """

    def keep(self, request_id: RequestId, frames: Sequence[Numbered], *, epoch: str | None = None) -> None:
        """Take the run's next frames, all of them or none. Raises BufferFull.

        `epoch`: the history of a database that the run belongs to, and that alone may have them; None: not known.
        """
        ...

    def read(self, request_id: RequestId, seq: int) -> RunFrame:
        """A frame that was kept. Raises SpoolDamaged."""
        ...

    def release(self, request_id: RequestId, seq: int) -> None:
        """Frames up to this number are not wanted any more."""
        ...

    def finish(self, request_id: RequestId) -> None:
        """The run has ended, and nothing of it is wanted any more. Idempotent."""
        ...
