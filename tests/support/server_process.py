"""`baton serve` as a process of its own: started, killed and started again on the same data."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.support.ports import free_port

START_S = 120


class ServerProcess:
    """One server on one data folder. The port stays the same over restarts, as clients expect.

    `wrapped_in`: a command line that becomes the server's process.
    """

    def __init__(self, data: Path, wrapped_in: Sequence[str] = (), **environment: str) -> None:
        self.data = data
        self._wrapped_in = wrapped_in
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data / "baton.sqlite3"

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, "it runs"
        return self._process.pid

    def token(self, role: str = "admin") -> str:
        """What the first start made."""
        return (self.data / f"{role}.token").read_text().strip()

    async def start(self) -> None:
        """Start, and return when it is ready."""
        await self.start_waiting()
        await self.until("/health/ready", 200)

    async def start_waiting(self) -> None:
        """Start, and return when it lives: ready it may not be before another server has left the database."""
        log = (self.data.parent / "server.log").open("ab")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._wrapped_in,
                sys.executable,
                "-m",
                "baton",
                "serve",
                stdout=log,
                stderr=log,
                cwd=self.data.parent,
                env=self._variables(),
            )
        finally:
            log.close()
        await self.until("/health/live", 200)

    async def until(self, path: str, status: int) -> None:
        """Return once this page answers with this status."""
        assert self._process is not None, "it was started"
        async with asyncio.timeout(START_S), aiohttp.ClientSession() as session:
            while await self._status(session, path) != status:
                assert self._process.returncode is None, (self.data.parent / "server.log").read_text()[-3000:]
                await asyncio.sleep(0.02)  # a process that starts can only be asked again

    async def status(self, path: str) -> int | None:
        """With which status this page answers now; None: nobody answers."""
        async with aiohttp.ClientSession() as session:
            return await self._status(session, path)

    async def kill(self) -> None:
        """SIGKILL, as a crash or the loss of power."""
        assert self._process is not None, "it runs"
        os.kill(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def terminate(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None, "it runs"
        os.kill(self._process.pid, signal.SIGTERM)
        return await self._process.wait()

    async def stop(self) -> None:
        """End it if it still runs."""
        if self._process is not None and self._process.returncode is None:
            await self.kill()

    def _variables(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
        return inherited | {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "BATON_DATA": str(self.data),
            "BATON_AGENTS": "demo",
            "BATON_BRIDGE_PORT": "none",
            "BATON_WORKSPACE": str(self.data.parent),
            "LOG_LEVEL": "INFO",
            **self._environment,
        }

    async def _status(self, session: aiohttp.ClientSession, path: str) -> int | None:
        try:
            async with session.get(self.url + path) as response:
                return response.status
        except aiohttp.ClientError:
            return None


@asynccontextmanager
async def server_process(folder: Path, **environment: str) -> AsyncIterator[ServerProcess]:
    """A running server below `folder`, ended at the end."""
    server = ServerProcess(folder / "data", **environment)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
