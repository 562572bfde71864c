"""What processes hold, looked at from outside: /proc, /metrics, the health page, and the database file, read only."""

import csv
import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from tests.faults.soak.trend import Limit

CACHE_MIB: Final = 32
"""What SQLite's page cache may hold for the writer (`storage/sqlite_connection.py`): it fills as the database grows."""
LIMITS: Final = {
    "server memory MiB": Limit(share=0.10, amount=8 + CACHE_MIB),
    "memory beside the page cache MiB": Limit(share=0.10, amount=8),
    "server threads": Limit(share=0, amount=2),
    "server files": Limit(share=0.1, amount=6),
    "server sockets": Limit(share=0.1, amount=6),
    "server tasks": Limit(share=0.1, amount=10),
    "server connections": Limit(share=0.1, amount=4),
    "journal rows": Limit(share=0.5, amount=200),
    "write-ahead log MiB": Limit(share=0.5, amount=4),
    "bridge memory MiB": Limit(share=0.10, amount=8),
    "bridge threads": Limit(share=0, amount=2),
    "bridge files": Limit(share=0.1, amount=6),
    "bridge spool KiB": Limit(share=0.5, amount=256),
}
"""What is sampled, and how much of it is no growth."""

Sample = dict[str, float]


@dataclass(frozen=True, slots=True)
class Subject:
    """The processes that are looked at; they live as long as the soak does."""

    server_pid: int
    bridge_pid: int
    url: str
    token: str
    bridge_url: str
    database: Path


async def sample(session: aiohttp.ClientSession, subject: Subject, *, began: float) -> Sample:
    """Everything of LIMITS, now; `minutes` since the beginning."""
    headers = {"Authorization": f"Bearer {subject.token}"}
    async with session.get(f"{subject.url}/metrics", headers=headers) as response:
        metrics = await response.text()
    async with session.get(f"{subject.bridge_url}/health") as response:
        bridge = await response.json()
    server_files = _open_files(subject.server_pid)
    wal = subject.database.with_name(subject.database.name + "-wal")
    memory_mib = _status(subject.server_pid, "VmRSS") / 1024
    return {
        "minutes": (time.monotonic() - began) / 60,
        "server memory MiB": memory_mib,
        "memory beside the page cache MiB": memory_mib - min(CACHE_MIB, _mib(subject.database)),
        "server threads": _status(subject.server_pid, "Threads"),
        "server files": len(server_files),
        "server sockets": sum(file.startswith("socket:") for file in server_files),
        "server tasks": _metric(metrics, "baton_tasks"),
        "server connections": _metric(metrics, 'baton_connections{kind="sockets"}'),
        "journal rows": _journal_rows(subject.database),
        "write-ahead log MiB": _mib(wal),
        "bridge memory MiB": _status(subject.bridge_pid, "VmRSS") / 1024,
        "bridge threads": _status(subject.bridge_pid, "Threads"),
        "bridge files": len(_open_files(subject.bridge_pid)),
        "bridge spool KiB": bridge["spool"]["bytes"] / 1024,
    }


def write_csv(path: Path, samples: Sequence[Sample]) -> None:
    """All samples, one a line."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["minutes", *LIMITS])
        writer.writeheader()
        writer.writerows({name: round(value, 3) for name, value in one.items()} for one in samples)


def _mib(path: Path) -> float:
    return path.stat().st_size / (1 << 20) if path.exists() else 0.0


def _status(pid: int, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return float(status.split(f"{field}:")[1].split()[0])


def _open_files(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except FileNotFoundError:  # closed while it was looked at
            continue
    return found


def _metric(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found is not None, f"/metrics has no {name}"
    return float(found[1])


def _journal_rows(database: Path) -> float:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        return float(opened.execute("SELECT count(*) FROM run_journal").fetchone()[0])
