"""What the image and a Procfile host start, run here as they would: same commands, same environment, not root."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from mongomock_motor import AsyncMongoMockClient

from baton.cli import main
from baton.storage import mongo_connection
from tests.support.ports import free_port
from tests.support.server_process import server_process

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
SOMEBODY = 1000
START_S = 60


def of_image(instruction: str) -> list[str]:
    """The last such command of the Dockerfile, in its list form."""
    *_, last = re.findall(rf"^ *{instruction} (\[.*\])$", DOCKERFILE, flags=re.M)
    command: list[str] = json.loads(last)
    return command


def runnable(command: Sequence[str]) -> list[str]:
    """The same command with the programs of this environment."""
    program, *arguments = command
    known = {"python": [sys.executable], "baton": [sys.executable, "-m", "baton"]}
    return [*known[program], *arguments]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """What a container or a dyno has, and nothing of the person who tests."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "BATON_DATA": str(folder / "data"),
        "BATON_AGENTS": "demo",
        "BATON_BRIDGE_PORT": "none",
        **more,
    }


def run(command: Sequence[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        runnable(command),
        cwd=folder,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )


@contextmanager
def started(
    command: Sequence[str], folder: Path, *, prefix: Sequence[str] = (), **more: str
) -> Iterator[subprocess.Popen[str]]:
    """The command as a process that answers at `/health`, and ends as platforms end it."""
    port = more.setdefault("PORT", str(free_port()))
    with subprocess.Popen(
        [*prefix, *runnable(command)],
        cwd=folder,
        env=environment(folder, **more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            until_healthy(process, port)
            yield process
            process.send_signal(signal.SIGTERM)
            _, logged = process.communicate(timeout=30)
            assert process.returncode == 0, logged
        finally:
            process.kill()


def until_healthy(process: subprocess.Popen[str], port: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/health", timeout=5) as answer:
                assert answer.status == 200
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)  # a process that starts can only be asked again
    raise AssertionError("it never served")


# --- the image ---------------------------------------------------------------------------------------------------


async def test_the_health_checks_follow_the_server(tmp_path: Path) -> None:
    in_compose = COMPOSE["services"]["backend"]["healthcheck"]["test"][1:]
    async with server_process(tmp_path / "server") as server:
        port = str(server.port)
        checks = [of_image("CMD"), [word.replace("3001", port) for word in in_compose]]
        # The last `CMD [...]` is what the container runs: the health check's stands before it.
        checks[0] = json.loads(re.findall(r"HEALTHCHECK .*\\\n +CMD (\[.*\])", DOCKERFILE)[0])
        for check in checks:
            assert run(check, tmp_path, PORT=port).returncode == 0, check
        await server.stop()
        for check in checks:
            assert run(check, tmp_path, PORT=port).returncode != 0, check


def as_somebody() -> list[str]:
    """What starts a program as uid 1000, where we are root; it may read this checkout, which can be root's alone."""
    if os.geteuid() != 0:
        return []
    setpriv = ["setpriv", "--reuid", str(SOMEBODY), "--regid", str(SOMEBODY), "--clear-groups"]
    setpriv += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    if shutil.which("setpriv") is None or subprocess.run([*setpriv, "true"], check=False).returncode:
        pytest.skip("root cannot become somebody else here")
    return setpriv


def test_the_command_of_the_image_serves_as_nobody_special(tmp_path: Path) -> None:
    prefix = as_somebody()
    with tempfile.TemporaryDirectory(dir="/tmp") as made:  # pytest's own folders are their owner's only
        folder = Path(made)
        if prefix:
            os.chown(folder, SOMEBODY, SOMEBODY)
        with started(of_image("CMD"), folder, prefix=prefix) as process:
            told = Path(f"/proc/{process.pid}/status")
            if prefix and told.exists():
                (uids,) = re.findall(r"^Uid:\t(.*)$", told.read_text(), flags=re.M)
                assert set(uids.split()) == {str(SOMEBODY)}
        files = {path.name: path.stat() for path in (folder / "data").iterdir()}
        assert {"admin.token", "bridge.token", "baton.sqlite3"} <= set(files)
        assert {stat.st_mode & 0o077 for stat in files.values()} == {0}, "its owner's only"


# --- Procfile ----------------------------------------------------------------------------------------------------


def test_the_web_process_serves_where_the_platform_says(tmp_path: Path) -> None:
    with started(shlex.split(PROCFILE["web"]), tmp_path):
        pass


def test_the_release_brings_the_database_up_to_date_before_the_web_process_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client: Any = AsyncMongoMockClient()
    monkeypatch.setattr(mongo_connection, "AsyncIOMotorClient", lambda *_, **__: client)
    # The mock's own default database is not one that can be awaited.
    monkeypatch.setattr(type(client), "get_default_database", lambda self, name: self[name], raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONGODB_URI", "mongodb://db.example/baton")
    program, *arguments = shlex.split(PROCFILE["release"])
    assert program == "baton"
    assert main(arguments) == 0
    assert "ran 0001_" in capsys.readouterr().out
    assert main(arguments) == 0, "with each release"
    assert "ran 0001_" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [], "nothing is kept on a disk that does not last"


def test_a_release_whose_database_does_not_answer_fails_and_says_so(tmp_path: Path) -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/baton?serverSelectionTimeoutMS=500"
    done = run(shlex.split(PROCFILE["release"]), tmp_path, MONGODB_URI=uri)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "does not answer" in done.stderr


def test_the_web_process_keeps_nothing_on_a_disk_that_does_not_last(tmp_path: Path) -> None:
    done = run(shlex.split(PROCFILE["web"]), tmp_path, DYNO="web.1", PORT=str(free_port()))
    assert done.returncode != 0
    assert "is lost with the dyno" in done.stderr
