"""Processes of a benchmark: started, steered by lines, measured from /proc, ended."""

import asyncio
import ctypes
import json
import os
import signal
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.support.ports import free_port

_CPUS: Final = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
SERVER_CPUS: Final = frozenset(_CPUS[-1:]) if len(_CPUS) > 1 else frozenset()
"""The core that the server has for itself, where there is more than one; empty: nobody is pinned."""
LOAD_CPUS: Final = frozenset(_CPUS[:-1]) if len(_CPUS) > 1 else frozenset()
_NOT_HANDED_ON: Final = ("BATON_", "PYTHONDONTWRITEBYTECODE")
"""What begins with these says how somebody else's Baton or Python is set up."""
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


def cpu_s(pid: int) -> float:
    """CPU seconds that the threads of a process have used, in user and kernel: the scheduler's own nanoseconds.

    The ticks of /proc/<pid>/stat are a hundredth of a second, which is some percent of a short round.
    """
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def peak_mib(pid: int) -> float:
    """The most memory that a process has had resident."""
    return _status_mib(pid, "VmHWM")


def resident_mib(pid: int) -> float:
    """The memory that a process has resident now."""
    return _status_mib(pid, "VmRSS")


def _status_mib(pid: int, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def disk_sync_ms(times: int = 50) -> list[float]:
    """What the disk below the temporary folder takes to keep 16 KiB, about what one commit of a stream writes."""
    taken_ms = []
    with tempfile.TemporaryFile(prefix="baton-bench-") as file:
        for _ in range(times):
            file.seek(0)
            file.write(os.urandom(16 << 10))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken_ms.append((time.perf_counter() - began) * 1000)
            time.sleep(0.002)
    return taken_ms


def summary(times_ms: list[float]) -> str:
    """Median and 99th percentile, in words."""
    return f"median {statistics.median(times_ms):.2f} ms, p99 {sorted(times_ms)[int(len(times_ms) * 0.99)]:.2f} ms"


async def until_healthy(url: str, timeout_s: float = 30, every_s: float = 0.02) -> None:
    """Return once `url` answers 200."""
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(_is_healthy, url):
            await asyncio.sleep(every_s)


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


class Child:
    """A child process that says JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @classmethod
    @asynccontextmanager
    async def run(
        cls,
        command: Sequence[str],
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
        *,
        cpus: frozenset[int] = LOAD_CPUS,
    ) -> AsyncIterator["Child"]:
        """Run a command on these cores; ended with SIGTERM, after 10 s with SIGKILL, and with this process."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_DEBUG") else asyncio.subprocess.DEVNULL,
            env=environment,
            cwd=cwd,
            preexec_fn=lambda: _settle_in(cpus),
        )
        try:
            yield cls(process)
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), 10)
                except TimeoutError:
                    process.kill()
                    await process.wait()

    @classmethod
    def load(cls, part: str, options: dict[str, Any]) -> Any:
        """A part of benchmarks/load.py."""
        return cls.run([sys.executable, "-m", "benchmarks.load", part, json.dumps(options)])

    async def told(self, key: str, timeout_s: float = 60) -> dict[str, Any]:
        """The next line that has this key."""
        assert self._process.stdout is not None, "it is a pipe"
        async with asyncio.timeout(timeout_s):
            while line := await self._process.stdout.readline():
                try:
                    told: dict[str, Any] = json.loads(line)
                except ValueError:
                    continue
                if key in told:
                    return told
        raise RuntimeError(f"the process ended before it said {key!r}")

    async def tell(self, line: str) -> None:
        """Steer it."""
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()


def _settle_in(cpus: frozenset[int]) -> None:
    """In the child: take these cores, and end when the benchmark does, however that ends."""
    if cpus:
        os.sched_setaffinity(0, cpus)
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@asynccontextmanager
async def baton_server(folder: Path, **environment: str) -> AsyncIterator[tuple[Child, str, dict[str, str]]]:
    """`baton serve` on a database of its own: the process, its address, its tokens by role.

    `BENCH_SOURCE` names another checkout whose Baton is measured instead of this one's. Its modules stay compiled, as
    those of an installed Baton are.
    """
    port = free_port()
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(_NOT_HANDED_ON)},
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "BATON_DATA": str(folder / "data"),
        "BATON_AGENTS": "demo",
        "BATON_BRIDGE_PORT": "none",
        "BATON_REST_PER_MINUTE": "0",
        "BATON_REST_PER_MINUTE_OF_ADDRESS": "0",
        "BATON_COMMANDS_PER_MINUTE": "0",
        "BATON_CONNECTS_PER_MINUTE": "0",
        "LOG_LEVEL": "WARNING",
        "PYTHONPATH": os.environ.get("BENCH_SOURCE", str(Path(__file__).parents[1])),
        **environment,
    }
    async with Child.run([sys.executable, "-m", "baton", "serve"], variables, folder, cpus=SERVER_CPUS) as server:
        url = f"http://127.0.0.1:{port}"
        await until_healthy(f"{url}/health/ready", every_s=0.005)
        tokens = {role: (folder / "data" / f"{role}.token").read_text().strip() for role in ("admin", "bridge")}
        yield server, url, tokens
