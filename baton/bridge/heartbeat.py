"""Whether the other side of a bridge link is still there. Pure: times are passed in, nothing is sent."""

from enum import Enum, auto


class Beat(Enum):
    """What a look at the clock came to."""

    QUIET = auto()
    PING = auto()
    DEAD = auto()


class Heartbeat:
    """Whether the other side is there: it is dead after two heartbeats without a frame from it.

    Time in which this process did not look (it was stopped, or the machine slept) is not the other's silence: what
    came meanwhile has not been read yet.
    """

    def __init__(self, heartbeat_s: float, now: float) -> None:
        self.heartbeat_s = heartbeat_s
        self._looked_at = self._heard_at = self._pinged_at = now
        self.was_heard = False
        """A frame came since the last look."""

    def hear(self) -> None:
        """A frame came. Only notes it, so that no frame costs a look at the clock."""
        self.was_heard = True

    def tick(self, now: float) -> Beat:
        """Look at the clock; to be called once per heartbeat."""
        was_absent = now - self._looked_at > 1.5 * self.heartbeat_s
        if self.was_heard or was_absent:
            self._heard_at = now
        self.was_heard = False
        self._looked_at = now
        if now - self._heard_at >= 2 * self.heartbeat_s:
            return Beat.DEAD
        if now - self._pinged_at >= self.heartbeat_s:
            self._pinged_at = now
            return Beat.PING
        return Beat.QUIET
