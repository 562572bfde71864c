"""What the hub and the endpoint are tested against: services that only remember, and a link that only collects."""

import asyncio
from collections.abc import Mapping, Sequence

from baton.core.events import BridgesChanged, Event
from baton.core.frames import FINAL_FRAMES, Ack, AgentOffer, Hello, RunFrame, ServerFrame, Started
from baton.core.ids import BridgeId, RequestId
from baton.core.ports import BridgeLink, Expected

CLAUDE = AgentOffer(id="claude", title="Claude")
DEMO = AgentOffer(id="demo", title="Demo")


class FakeIntake:
    """Implements core.ports.RunIntake. `on_disk` is where each open run stands; frames wait until `commit`.

    `hold` (an event) is what the next greet waits for; `fails` is what it raises. With `commits_at_once` what is
    taken in is on disk by the next turn of the loop.
    """

    def __init__(self, link: BridgeLink) -> None:
        self.link = link
        self.on_disk: dict[RequestId, int] = {}
        self.frames: list[RunFrame] = []
        self.expected: tuple[ServerFrame, ...] = ()
        self.told: list[str] = []
        self.known: dict[str, Mapping[RequestId, tuple[int, tuple[str, ...]]]] = {}
        self.hold: asyncio.Event | None = None
        self.fails: Exception | None = None
        self.commits_at_once = False
        self._taken: dict[RequestId, int] = {}
        self._waiting: dict[RequestId, int] = {}
        self._changed = asyncio.Event()

    def last_seq(self, request_id: RequestId) -> int | None:
        stored = self.on_disk.get(request_id)
        return None if stored is None else self._taken.get(request_id, stored)

    def receive(self, bridge_id: BridgeId, frame: RunFrame) -> None:
        if isinstance(frame, Started) and frame.origin == "background":
            self.on_disk.setdefault(frame.request_id, 0)
        self._taken[frame.request_id] = self._waiting[frame.request_id] = frame.seq
        self.frames.append(frame)
        if self.commits_at_once:
            asyncio.get_running_loop().call_soon(self.commit, bridge_id)
        self._note()

    def commit(self, bridge_id: BridgeId) -> None:
        """Everything taken in so far is on disk; runs with their final frame are ended."""
        acks, self._waiting = self._waiting, {}
        self.on_disk |= acks
        for frame in self.frames:
            if isinstance(frame, FINAL_FRAMES):
                self.on_disk.pop(frame.request_id, None)
        self.link.acknowledge(bridge_id, acks)

    async def greet(self, bridge_id: BridgeId, *, known: Mapping[RequestId, tuple[int, tuple[str, ...]]]) -> Expected:
        self._tell(f"greet {bridge_id}")
        self.known[bridge_id] = known
        if self.hold is not None:
            await self.hold.wait()
        if self.fails is not None:
            raise self.fails
        return Expected(acks=dict(self.on_disk), frames=self.expected)

    async def arrived(self, bridge_id: BridgeId) -> None:
        self._tell(f"arrived {bridge_id}")

    def flush_rest_s(self) -> float:
        return 0.0

    async def settle(self, bridge_id: BridgeId) -> None:
        self._tell(f"settle {bridge_id}")
        self.commit(bridge_id)

    async def departed(self, bridge_id: BridgeId) -> None:
        self._tell(f"departed {bridge_id}")

    async def until_told(self, what: str) -> None:
        """Return when the hub has said this."""
        while what not in self.told:
            self._changed.clear()
            await self._changed.wait()

    async def until_received(self, count: int) -> None:
        """Return when so many frames were taken in."""
        while len(self.frames) < count:
            self._changed.clear()
            await self._changed.wait()

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self._note()

    def _note(self) -> None:
        self._changed.set()


class FakePublisher:
    """Keeps what was published."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def publish(self, events: Sequence[Event]) -> None:
        self.events += events

    def presence(self) -> list[list[str]]:
        """The ids of each BridgesChanged."""
        return [[bridge.id for bridge in event.bridges] for event in self.events if isinstance(event, BridgesChanged)]


class FakeLink:
    """Implements bridge.hub.Link."""

    in_process = False
    buffered_bytes = 0

    def __init__(self) -> None:
        self.sent: list[ServerFrame] = []
        self.closed: tuple[int, str] | None = None

    def send(self, frame: ServerFrame) -> None:
        assert self.closed is None, "nothing is sent on a closed link"
        self.sent.append(frame)

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)

    def acks(self) -> list[dict[str, int]]:
        """The contents of each ack frame."""
        return [{str(run): seq for run, seq in frame.acks.items()} for frame in self.sent if isinstance(frame, Ack)]


def hello(bridge_id: str = "b", *, instance: str = "i", **fields: object) -> Hello:
    """A hello of a bridge that has both agents."""
    fields = {"agents": (CLAUDE, DEMO), **fields}
    return Hello(protocol=1, bridge_id=BridgeId(bridge_id), instance_id=instance, **fields)  # type: ignore[arg-type]
