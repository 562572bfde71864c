"""The real processes of a round, the wires between them, and when each of them was not there."""

import asyncio
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tests.faults.suite.evidence import Absence, Crash, Line, read_log
from tests.faults.suite.person import Person
from tests.faults.suite.plan import CRITICAL_S, AgentName, Fault, Round, Script, Shape
from tests.support.bridge_process import BridgeProcess, bridge_process
from tests.support.server_process import ServerProcess
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

SCRIBE: Final = Path(__file__).with_name("scribe.py")
TOKEN: Final = "token-of-the-admin-0123456789abcdef"
BRIDGE_TOKEN: Final = "token-of-the-bridges-0123456789abcdef"
SOON_S: Final = 10
DISK_MB: Final = 48
LITTLE_BYTES: Final = 16 << 10
"""What the system holds for a browser that reads slowly: so the server notices soon."""
_CLOCK: Final = Path(__file__).with_name("clock")
_CLOCK_FAULTS: Final = frozenset({Fault.CLOCK_FORWARD, Fault.CLOCK_BACK})


@dataclass
class World:
    """Everything of one round that runs."""

    folder: Path
    round: Round
    wire: TcpProxy
    """Between bridges and whoever serves."""
    disk: "SmallDisk | None"
    has_clock: bool
    """Whether the servers' clock is set by the round."""
    servers: AsyncExitStack
    people: list[Person] = field(default_factory=list)
    bridge: BridgeProcess | None = None
    waiting: ServerProcess | None = None
    absences: list[Absence] = field(default_factory=list)
    crashes: list[Crash] = field(default_factory=list)
    left_out: set[Fault] = field(default_factory=set)
    """What this machine cannot play."""
    serving: ServerProcess = field(init=False)
    _busy: dict[str, asyncio.Lock] = field(default_factory=dict)

    # --- what is known of it ---

    @property
    def data(self) -> Path:
        """The servers' data folder, as it can be read from here."""
        return self.folder / "data" if self.disk is None else self.disk.seen

    @property
    def host(self) -> str:
        """Under which name the servers are known."""
        return f"127.0.0.1:{self.wire.port}"

    def agent_log(self) -> list[Line]:
        """What the scribes have written down."""
        return read_log(self.folder / "scribe.log")

    def server_log(self) -> str:
        """Of all server processes."""
        return (self.folder / "server.log").read_text()

    def starts(self) -> list[str]:
        """The requestIds of agents' turns that were started, once for each time."""
        marker = "action=run.started requestId="
        log = self.bridge.log if self.bridge is not None else self.server_log()
        return [line.split(marker)[1].split()[0] for line in log.splitlines() if marker in line]

    def busy(self, part: str) -> asyncio.Lock:
        """One fault of a part at a time."""
        return self._busy.setdefault(part, asyncio.Lock())

    @contextmanager
    def absent(self, who: str, how: str) -> Iterator[None]:
        """Note for how long somebody is not there."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.absences.append(Absence(who, how, began, time.monotonic()))

    # --- servers ---

    async def new_server(self) -> ServerProcess:
        """One more on the same data; it lives when this returns."""
        wrapped_in = () if self.disk is None else self.disk.prefix(self.folder)
        server = ServerProcess(self.folder / "data", wrapped_in, **self._settings())
        self.servers.push_async_callback(server.stop)
        await server.start_waiting()
        return server

    async def start(self) -> None:
        """The processes, ready."""
        self.serving = await self.new_server()
        await self.serving.until("/health/ready", 200)
        self.route()
        if self.round.shape is Shape.PAIR:
            self.waiting = await self.new_server()

    async def replace_server(self, down_s: float) -> None:
        """Bring a server again after the one has ended: the one that waits, or the same after so long."""
        if self.waiting is None:
            await asyncio.sleep(down_s)
            await self.serving.start()
        else:
            self.serving, self.waiting = self.waiting, None
            self.route()
            await self.serving.until("/health/ready", 200)

    async def let_one_wait(self) -> None:
        """Where two servers belong to the round, and one has taken over: another one for the next time."""
        if self.round.shape is Shape.PAIR and self.waiting is None:
            self.waiting = await self.new_server()

    async def until_streaming(self) -> None:
        """Return once somebody is shown more of an answer, or soon: a fault in the middle of nothing finds nothing."""
        least = {person.witness.name: person.witness.deltas + 3 for person in self.people}
        await self._until_any(lambda person: person.witness.deltas >= least[person.witness.name])

    async def until_deadline(self) -> None:
        """Return once somebody sees a question that nobody will answer, or soon, where the round asks one."""
        if any(send.script is Script.CRITICAL for send in self.round.sends):
            await self._until_any(Person.sees_deadline)

    async def _until_any(self, is_so: Callable[[Person], bool]) -> None:
        waits = [asyncio.create_task(person.until(partial(is_so, person))) for person in self.people]
        try:
            await asyncio.wait(waits, timeout=SOON_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def route(self) -> None:
        """Everybody's way is to the server that serves."""
        for wire in (self.wire, *(person.wire for person in self.people)):
            wire.target_port = self.serving.port

    def set_clock(self, offset_s: float) -> None:
        """Let the servers' wall clock be so far off."""
        target = self.folder / "clock"
        fresh = target.with_suffix(".new")
        fresh.write_text(f"{offset_s:+.0f}\n")
        fresh.replace(target)

    def _settings(self) -> dict[str, str]:
        settings = {
            "PUBLIC_URL": self.wire.url,
            "BATON_ADMIN_TOKEN": TOKEN,
            "BATON_BRIDGE_TOKEN": BRIDGE_TOKEN,
            "BATON_BRIDGE": "local" if self.round.shape is Shape.INSIDE else "none",
            "BATON_HEARTBEAT_S": "2",
            "BATON_AWAY_AFTER_S": "3",
            "BATON_ABORT_GRACE_S": "3",
            "BATON_BACKLOG_MAX_BYTES": str(128 << 10),
            "BATON_PROMPT_TIMEOUTS_S": f"CRITICAL={CRITICAL_S}",
            "BATON_PROMPT_STAGES_S": "1,2",
        }
        if self.round.shape is Shape.INSIDE:
            settings |= self.agents()
        if self.has_clock:
            folders = [str(_CLOCK), *filter(None, [os.environ.get("PYTHONPATH")])]
            settings |= {"PYTHONPATH": os.pathsep.join(folders), "FAULTS_CLOCK": str(self.folder / "clock")}
        return settings

    def agents(self) -> dict[str, str]:
        """The variables of a process that has a bridge in it."""
        command = shlex.join([sys.executable, "-IS", str(SCRIBE), str(self.folder / "scribe.log")])
        return {
            "BATON_AGENTS": ",".join(AgentName),
            "BATON_ACP": f"scribe={command}",
            "BATON_MAX_CONCURRENT_REQUESTS": "10",
        }


class SmallDisk:
    """A disk of some megabytes for the servers' data, in a namespace that outlives them.

    No privilege is needed, and nothing is left behind: the mount ends with the process that holds the namespace.
    """

    def __init__(self, holder: asyncio.subprocess.Process, data: Path) -> None:
        self._holder = holder
        self.seen = Path(f"/proc/{holder.pid}/root{data}")

    def prefix(self, folder: Path) -> list[str]:
        """A command line that becomes another one, which sees the disk."""
        enter = ["nsenter", f"--target={self._holder.pid}", "--user", "--mount", "--preserve-credentials"]
        return [*enter, "sh", "-c", 'cd "$0" && exec "$@"', str(folder)]

    def fill(self) -> None:
        """Leave not a byte."""
        with (self.seen / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                return

    def make_room(self) -> None:
        """Undo `fill`."""
        (self.seen / "filler").unlink(missing_ok=True)


@asynccontextmanager
async def _small_disk(data: Path) -> AsyncIterator[SmallDisk | None]:
    """None where this machine allows none."""
    data.mkdir(parents=True)
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        yield None
        return
    script = f'mount -t tmpfs -o size={DISK_MB}m,mode=700 none "{data}" && echo ready && exec sleep infinity'
    holder = await asyncio.create_subprocess_exec(
        *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert holder.stdout is not None, "it is a pipe"
        is_there = await holder.stdout.readline() == b"ready\n"
        yield SmallDisk(holder, data) if is_there else None
    finally:
        if holder.returncode is None:
            holder.send_signal(signal.SIGKILL)
        await holder.wait()


@asynccontextmanager
async def world(folder: Path, round_: Round) -> AsyncIterator[World]:
    """The processes of a round, with its people connecting; all ended at the end."""
    folder.mkdir(parents=True)
    has_clock = bool(round_.faults & _CLOCK_FAULTS)
    async with AsyncExitStack() as stack:
        disk = None
        if Fault.FULL_DISK in round_.faults:
            disk = await stack.enter_async_context(_small_disk(folder / "data"))
        wire = await stack.enter_async_context(tcp_proxy())
        made = World(folder, round_, wire, disk, has_clock, await stack.enter_async_context(AsyncExitStack()))
        made.set_clock(0)
        await made.start()
        if round_.shape is not Shape.INSIDE:
            bridge = bridge_process(folder / "bridge", wire.url, BRIDGE_TOKEN, **made.agents())
            made.bridge = await stack.enter_async_context(bridge)
            await made.bridge.until_connected()
        for number in range(round_.people):
            own = await stack.enter_async_context(tcp_proxy(buffer_bytes=LITTLE_BYTES))
            made.people.append(Person(f"tab {number}", own, made.host, TOKEN))
        made.route()
        yield made
