"""`baton bridge` as a process of its own: started, killed, stopped and started again on the same data."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.ports import free_port

START_S = 120


class BridgeProcess:
    """One bridge on one data folder, with the demo agent, which comes back quickly."""

    def __init__(self, folder: Path, url: str, token: str, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._environment = {
            "BATON_BACKEND_URL": url,
            "BATON_BRIDGE_TOKEN": token,
            "BATON_BRIDGE_PORT": str(self.port),
            "BATON_BRIDGE_NAME": "laptop",
            "BATON_BRIDGE_LOG_FILE": str(folder / "bridge.log"),
            "BATON_DATA": str(folder / "data"),
            "BATON_AGENTS": "demo",
            "BATON_WORKSPACE": str(folder),
            "BATON_RECONNECTION_DELAY": "50",
            **environment,
        }
        self._process: asyncio.subprocess.Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, "it was started"
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has logged."""
        return (self.folder / "bridge.log").read_text()

    @property
    def starts(self) -> list[str]:
        """The requestIds of the runs that its processes have worked on, one for each time that an agent was started.

        From the log and not from the ledger, which tells of a run that was started twice only once.
        """
        return re.findall(r"action=run\.started requestId=(\S+)", self.log)

    @property
    def peak_bytes(self) -> int:
        """The most memory that its process has had; without its children."""
        assert self._process is not None, "it was started"
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    def take_token(self, token: str) -> None:
        """What its next process comes with."""
        self._environment["BATON_BRIDGE_TOKEN"] = token

    async def start(self) -> None:
        """Start, and return once it answers on its page."""
        await self._spawn()
        await self.until(lambda health: True)

    async def refused(self) -> int:
        """Try to start; the exit code with which it ends."""
        await self._spawn()
        async with asyncio.timeout(START_S):
            return await self.wait()

    async def _spawn(self) -> None:
        errors = (self.folder / "bridge.err").open("ab")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "baton",
                "bridge",
                stdout=errors,
                stderr=errors,
                cwd=self.folder,
                env=inherited | self._environment,
            )
        finally:
            errors.close()

    async def until(self, is_true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What its page says, once that is as wanted."""
        async with asyncio.timeout(START_S), aiohttp.ClientSession() as session:
            while True:
                health = await self._health(session)
                if health is not None and is_true(health):
                    return health
                assert self._process is not None, "it was started"
                assert self._process.returncode is None, (self.folder / "bridge.err").read_text()[-3000:]
                await asyncio.sleep(0.02)  # a process can only be asked again

    async def until_connected(self) -> None:
        """Return once it has a link."""
        await self.until(lambda health: health["link"]["state"] == "connected")

    async def kill(self) -> None:
        """SIGKILL, as a crash or the loss of power."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> int:
        """SIGTERM; the exit code."""
        return await self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: it does nothing at all, and its sockets stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    async def wait(self) -> int:
        """Its exit code, once it has ended by itself."""
        assert self._process is not None, "it was started"
        return await self._process.wait()

    async def stop(self) -> None:
        """End it if it still runs."""
        if self._process is not None and self._process.returncode is None:
            await self.kill()

    async def _end(self, number: int) -> int:
        self._signal(number)
        return await self.wait()

    def _signal(self, number: int) -> None:
        assert self._process is not None, "it was started"
        os.kill(self._process.pid, number)

    async def _health(self, session: aiohttp.ClientSession) -> dict[str, Any] | None:
        try:
            async with session.get(f"http://127.0.0.1:{self.port}/health") as response:
                health: dict[str, Any] = await response.json()
                return health
        except aiohttp.ClientError:
            return None


@asynccontextmanager
async def bridge_process(folder: Path, url: str, token: str, **environment: str) -> AsyncIterator[BridgeProcess]:
    """A running bridge below `folder`, ended at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    bridge = BridgeProcess(folder, url, token, **environment)
    try:
        await bridge.start()
        yield bridge
    finally:
        await bridge.stop()
