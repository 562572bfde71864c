"""A link between the two ends of the bridge wire that fails on purpose, in memory, driven by hand.

What is sent waits until the test delivers it (that is the delay); on its way it may be dropped, repeated or
overtaken, and the link may be cut with all that is under way. The same seed fails in the same way.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from baton.core.frames import BridgeFrame, ServerFrame

Frame = TypeVar("Frame")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often a frame meets with what, from 0 to 1."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0


class _Direction(Generic[Frame]):
    """Frames under way to one side."""

    def __init__(self, faults: Faults, random_: random.Random) -> None:
        self.faults = faults
        self.under_way: deque[Frame] = deque()
        self._random = random_

    def send(self, frame: Frame) -> None:
        if self._happens(self.faults.drop):
            return
        self.under_way.append(frame)
        if self._happens(self.faults.duplicate):
            self.under_way.append(frame)
        if len(self.under_way) > 1 and self._happens(self.faults.reorder):
            self.under_way[-1], self.under_way[-2] = self.under_way[-2], self.under_way[-1]

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance


class FaultyLink:
    """Joins a server's end and a bridge's end; `to_server` and `to_bridge` take what arrives.

    A receiver may send, and may cut the link, while it takes a frame. After `cut` nothing is sent and nothing
    arrives; a new link is a new object.
    """

    def __init__(
        self,
        *,
        to_server: Callable[[BridgeFrame], None],
        to_bridge: Callable[[ServerFrame], None],
        faults: Faults | None = None,
        seed: int = 0,
    ) -> None:
        random_ = random.Random(seed)  # noqa: S311  # to repeat a failure, not to hide anything
        faults = faults or Faults()
        self.is_cut = False
        self._server: _Direction[BridgeFrame] = _Direction(faults, random_)
        self._bridge: _Direction[ServerFrame] = _Direction(faults, random_)
        self._to_server = to_server
        self._to_bridge = to_bridge

    def send_to_server(self, frames: Iterable[BridgeFrame]) -> None:
        """What the bridge sends, in order."""
        for frame in frames:
            if not self.is_cut:
                self._server.send(frame)

    def send_to_bridge(self, frames: Iterable[ServerFrame]) -> None:
        """What the server sends, in order."""
        for frame in frames:
            if not self.is_cut:
                self._bridge.send(frame)

    def deliver_to_server(self, count: int | None = None) -> int:
        """Let at most `count` frames (None: all, also those sent meanwhile) arrive; how many did."""
        return self._deliver(self._server.under_way, self._to_server, count)

    def deliver_to_bridge(self, count: int | None = None) -> int:
        """As `deliver_to_server`, the other way."""
        return self._deliver(self._bridge.under_way, self._to_bridge, count)

    def deliver_all(self) -> None:
        """Let everything arrive, both ways, until nothing is under way."""
        while self.deliver_to_server() + self.deliver_to_bridge():
            pass

    def cut(self) -> None:
        """End the link; what is under way never arrives. Idempotent."""
        self.is_cut = True
        self._server.under_way.clear()
        self._bridge.under_way.clear()

    def _deliver(self, under_way: deque[Frame], take: Callable[[Frame], None], count: int | None) -> int:
        arrived = 0
        while under_way and (count is None or arrived < count):
            take(under_way.popleft())
            arrived += 1
        return arrived
