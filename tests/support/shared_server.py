"""One `baton serve` for many tests, without an event loop of its own: started once, looked at from outside."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.ports import free_port

START_S = 30
TOKEN = "token-of-the-admin-0123456789abcdef"
BRIDGE_TOKEN = "token-of-the-bridges-0123456789abcdef"
TABLES = ("conversations", "messages", "runs", "run_journal", "interactive_prompts", "projects", "attachments")


class SharedServer:
    """A process on the data folder `folder/data`. `wrapped_in`: a command line that starts the server's."""

    def __init__(self, folder: Path, wrapped_in: Sequence[str] = (), **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [*wrapped_in, sys.executable, "-m", "baton", "serve"]
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    # --- life ---

    def start(self, *, until: str = "ready") -> None:
        """Start, and return when `/health/<until>` says 200."""
        with self.log_path.open("ab") as log, (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=log, cwd=self.folder, env=self._variables()
            )
        self.wait_until(until)

    def wait_until(self, state: str) -> None:
        """Return when `/health/<state>` says 200."""
        deadline = time.monotonic() + START_S
        while self.health(state) != 200:
            assert self._process is not None, "it was started"
            assert self._process.poll() is None, self.log[-3000:]
            assert time.monotonic() < deadline, f"never {state}: {self.log[-3000:]}"
            time.sleep(0.02)  # a process that starts can only be asked again

    def health(self, state: str) -> int | None:
        """The status of `/health/<state>`; None: nobody listens yet."""
        try:
            with urllib.request.urlopen(f"{self.url}/health/{state}", timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return None

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None, "it was started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._process is not None, "it was started"
        self._process.wait()

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        assert self._process is not None, "it runs"
        return self._process.wait()

    def stop(self) -> None:
        """End it if it still runs."""
        if self.is_running:
            self.kill()

    def _variables(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
        return inherited | {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "BATON_DATA": str(self.data),
            "BATON_AGENTS": "demo",
            "BATON_BRIDGE_PORT": "none",
            "BATON_WORKSPACE": str(self.folder),
            "BATON_ADMIN_TOKEN": TOKEN,
            "BATON_BRIDGE_TOKEN": BRIDGE_TOKEN,
            "LOG_LEVEL": "DEBUG",
            **self._environment,
        }

    # --- what it leaves behind ---

    @property
    def log_path(self) -> Path:
        """Where its log goes: what it prints for people goes elsewhere."""
        return self.folder / "log"

    @property
    def log(self) -> str:
        """Everything that it has logged so far."""
        return self.log_path.read_text()

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data / "baton.sqlite3"

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the file, as they are on disk."""
        with connected(self.database) as database:
            return database.execute(sql, values).fetchall()

    def counts(self) -> dict[str, int]:
        """How many rows each table has."""
        with connected(self.database) as database:
            return count_rows(database)

    def document(self, table: str, key: str, value: str) -> Any:
        """One stored document."""
        ((document,),) = self.query(f"SELECT doc FROM {table} WHERE {key} = ?", value)
        return json.loads(document)


@contextmanager
def connected(database: Path) -> Iterator[sqlite3.Connection]:
    """The file, read only."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        yield connection
    finally:
        connection.close()


def count_rows(database: sqlite3.Connection) -> dict[str, int]:
    """How many rows each table has."""
    return {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}


@contextmanager
def shared_server(folder: Path, **environment: str) -> Iterator[SharedServer]:
    """A running server, ended at the end."""
    server = SharedServer(folder, **environment)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class SmallDisk:
    """A server whose data folder is a disk of its own, of `size_mb`, that a test can fill.

    The disk is a mount in a namespace of the process, so that nothing is left behind whatever happens, and no
    privilege is needed. `reason_not`: why that cannot be had here; None: it can.
    """

    def __init__(self, folder: Path, size_mb: int) -> None:
        data = folder / "data"
        data.mkdir(parents=True)
        # The working directory is taken anew, because the old one is still what lies below the mount.
        script = f'mount -t tmpfs -o size={size_mb}m,mode=700 none "{data}" && cd "{folder}" && exec "$@"'
        self.server = SharedServer(
            folder, ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh")
        )

    @staticmethod
    def reason_not() -> str | None:
        """Tried, because neither the kernel's settings nor the program's presence tell enough."""
        if shutil.which("unshare") is None:
            return "there is no unshare here: a full disk cannot be played"
        trial = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
        if subprocess.run(trial, capture_output=True, check=False).returncode:
            return "this machine allows no mounts in a namespace: a full disk cannot be played"
        return None

    @property
    def _seen(self) -> Path:
        """The data folder as the server sees it."""
        return Path(f"/proc/{self.server.pid}/root{self.server.data}")

    def fill(self) -> None:
        """Leave not a byte."""
        with (self._seen / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                return

    def make_room(self) -> None:
        """Undo `fill`."""
        (self._seen / "filler").unlink()

    def copy(self, target: Path) -> Path:
        """The database as it is now, where SQLite can open it."""
        target.mkdir()
        for path in self._seen.glob("baton.sqlite3*"):
            shutil.copy(path, target / path.name)
        return target / "baton.sqlite3"
