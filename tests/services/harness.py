"""The services on a real SQLite file, with a bridge that the test plays and browsers that only listen."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from baton.core.commands import AccountRole, CreateConversation, Identity, JoinConversation, SendMessage
from baton.core.errors import AgentFailed, NoBridge
from baton.core.events import BridgePresence, Event, RoomEvent, RoomPayload
from baton.core.frames import Complete, Execute, RunFrame, RunResult, ServerFrame, Started, Stream, Workspace
from baton.core.ids import BridgeId, ConversationId, RequestId, UserId
from baton.core.limits import Limits
from baton.core.models import Conversation, SendAnswer
from baton.core.ports import BridgeChoice, Store
from baton.core.stream import StreamEvent, TextDelta
from baton.core.text import Json
from baton.services.catalog import build_services
from baton.services.recovery import recover
from baton.services.snapshots import Snapshot
from baton.storage.sqlite import SqliteStore
from baton.storage.sqlite_migrate import migrate_sqlite
from baton.testing.clock import FakeClock

ANNA = Identity(UserId("anna"), AccountRole.USER)
BEN = Identity(UserId("ben"), AccountRole.USER)
ROOT = Identity(UserId("root"), AccountRole.ADMIN)
LOCAL = BridgeId("local")


class Browser:
    """Listens to everything, and holds that events of a conversation come in order without a gap."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._seqs: dict[ConversationId, int] = {}

    def publish(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, RoomEvent):
                assert event.seq == event.prev_seq + 1
                assert self._seqs.get(event.conversation_id, event.prev_seq) == event.prev_seq, "a gap in the order"
                self._seqs[event.conversation_id] = event.seq
        self.events.extend(events)

    def told(self, *kinds: type) -> list[RoomPayload]:
        """Payloads of these kinds, in order; all without kinds."""
        payloads = [event.payload for event in self.events if isinstance(event, RoomEvent)]
        return [payload for payload in payloads if not kinds or isinstance(payload, kinds)]


class Bridge:
    """core.ports.BridgeLink of one bridge `local`, whose agent is the test."""

    def __init__(self) -> None:
        self.connected = True
        self.capacity = 5
        self.sent: list[ServerFrame] = []
        self.acks: dict[RequestId, int] = {}
        self.load: set[RequestId] = set()
        self.allow_bypass = False
        self.workspaces = (Workspace(path="/work", name="work"),)
        self.status: Json = None
        """What `run.status` answers; None: that it does not know the run."""

    def choose(self, *, agent: str | None, bridge_id: BridgeId | None, working_directory: str | None) -> BridgeChoice:
        if not self.connected:
            return BridgeChoice(bridge_id=None, agent=None, reason="No bridge service connected")
        if len(self.load) >= self.capacity:
            return BridgeChoice(bridge_id=None, agent=None, reason="The bridge is full", is_busy=True)
        folder = self.workspaces[0].path if self.workspaces else None
        return BridgeChoice(bridge_id=LOCAL, agent=agent or "demo", folder=folder)

    def is_connected(self, bridge_id: BridgeId) -> bool:
        return self.connected

    def send(self, bridge_id: BridgeId, frame: ServerFrame) -> None:
        self.sent.append(frame)
        if isinstance(frame, Execute):
            self.load.add(frame.request_id)

    def acknowledge(self, bridge_id: BridgeId, acks: Mapping[RequestId, int]) -> None:
        self.acks.update(acks)

    def release(self, bridge_id: BridgeId, request_id: RequestId) -> None:
        self.load.discard(request_id)

    def presence(self) -> tuple[BridgePresence, ...]:
        return (
            BridgePresence(
                id=LOCAL,
                name="local",
                connected=self.connected,
                allow_bypass=self.allow_bypass,
                workspaces=self.workspaces,
            ),
        )

    async def call(self, bridge_id: BridgeId, method: str, params: Json, timeout_s: float) -> Json:
        if not self.connected:
            raise NoBridge
        if method == "run.status":
            if self.status is None:
                raise AgentFailed("This bridge does not work on that run", code="not_found")
            return self.status
        return {"method": method}

    def of(self, kind: type) -> list[ServerFrame]:
        """What was sent of one kind."""
        return [frame for frame in self.sent if isinstance(frame, kind)]


class Server:
    """One server's services. `store` may be wrapped to hold or break commits."""

    def __init__(self, store: Store, *, limits: Limits, clock: FakeClock, epoch: str) -> None:
        self.store = store
        self.clock = clock
        self.browser = Browser()
        self.bridge = Bridge()
        self.services = build_services(
            store=store, publisher=self.browser, link=self.bridge, clock=clock, limits=limits
        )
        self.services.snapshots.epoch = epoch
        self.lanes = self.services.lanes
        self.dispatcher = self.services.dispatcher
        self.intake = self.services.intake
        self.runs = self.services.runs
        self.prompts = self.services.prompts
        self.permissions = self.services.permissions
        self.conversations = self.services.conversations
        self.snapshots = self.services.snapshots
        self.deadlines = self.services.deadlines
        self.silence = self.services.silence
        self.bridges = self.services.bridges
        self._bridge_seqs: dict[RequestId, int] = {}

    async def recover(self) -> None:
        """What a start does before anybody is let in."""
        await recover(self.store, self.lanes)
        await self.deadlines.resume()

    async def tick(self, seconds: float, *, round_s: float = 1.0) -> None:
        """Time passes, with a sweep in each round, as the jobs make them."""
        while seconds > 0:
            self.clock.advance(min(round_s, seconds))
            await self.deadlines.sweep()
            seconds -= round_s

    async def leap(self, seconds: float) -> None:
        """Much time passes, with sweeps just often enough that the server counts as there."""
        await self.tick(seconds, round_s=9.0)

    async def conversation(self) -> Conversation:
        """A new one."""
        return await self.conversations.create(ANNA, CreateConversation())

    async def send(self, to: Conversation, request_id: str = "r1", content: str = "Hello?") -> SendAnswer:
        """Anna's message."""
        return await self.runs.send(
            ANNA, SendMessage(request_id=RequestId(request_id), content=content, conversation_id=to.id)
        )

    def say(self, request_id: str, *events: StreamEvent) -> None:
        """The agent says something; not flushed yet."""
        name = RequestId(request_id)
        self.frame(Stream(request_id=name, seq=self.next_seq(request_id), events=events))

    def start(self, request_id: str) -> None:
        """The agent takes the run up; not flushed yet."""
        self.frame(Started(request_id=RequestId(request_id), seq=self.next_seq(request_id), session_id="s1"))

    def complete(self, request_id: str, result: RunResult | None = None) -> None:
        """The agent finishes; not flushed yet."""
        name = RequestId(request_id)
        self.frame(Complete(request_id=name, seq=self.next_seq(request_id), result=result or RunResult()))

    def frame(self, frame: RunFrame) -> None:
        """One frame, as the hub hands it in."""
        self.intake.receive(LOCAL, frame)

    def next_seq(self, request_id: str) -> int:
        """The number of the run's next frame."""
        name = RequestId(request_id)
        self._bridge_seqs[name] = max(self._bridge_seqs.get(name, 0), self.intake.last_seq(name) or 0) + 1
        return self._bridge_seqs[name]

    async def answer(self, request_id: str = "r1", text: str = "Fine.") -> None:
        """A whole answer in one delta, flushed."""
        self.start(request_id)
        self.say(request_id, TextDelta(f"m-{request_id}", 0, 0, text))
        await self.intake.flush()

    async def join(self, to: Conversation, after: int | None = None, epoch: str | None = None) -> Snapshot:
        """What Anna sees."""
        return await self.snapshots.snapshot(ANNA, JoinConversation(conversation_id=to.id, after=after, epoch=epoch))


@asynccontextmanager
async def opened(path: Path, clock: FakeClock | None = None) -> AsyncIterator[SqliteStore]:
    """A migrated SQLite store at `path`; without a clock, time stands still for it."""
    clock = clock or FakeClock()
    await migrate_sqlite(path, clock=clock)
    store = SqliteStore(path, clock=clock)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
