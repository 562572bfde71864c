"""The quick start of the README, as a new user would try it: the script is run as it stands there."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from baton.core.commands import AccountRole
from baton.credentials import read_token

ROOT = Path(__file__).parent.parent
CLIENTS = ROOT / "tests" / "clients"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server with the demo agent: its address and its data folder."""
    data = tmp_path / "data"
    options = ["--port", "0", "--data", str(data), "--agents", "demo", "--workspace", str(tmp_path)]
    options += ["--bridge-port", "none"]
    command = [sys.executable, "-m", "baton", "serve", *options]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        (tmp_path / "log").open("w+") as log,
        subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            lines = (re.search(r"http://localhost:\d+", line) for line in process.stdout)
            found = next(filter(None, lines), None)
            assert found is not None, (tmp_path / "log").read_text()
            yield found[0], data
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=15)
            assert process.returncode == 0, (tmp_path / "log").read_text()
        finally:
            process.kill()


def script() -> str:
    """The only JavaScript of the README."""
    (code,) = re.findall(r"^```js\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.M | re.S)
    return str(code)


def test_the_script_of_the_quick_start_shows_the_answer_of_the_agent(server: tuple[str, Path], tmp_path: Path) -> None:
    assert (CLIENTS / "node_modules").is_dir(), "run `make test`, which installs the JavaScript client"
    address, data = server
    token = read_token(data, AccountRole.ADMIN)
    assert token is not None
    (tmp_path / "hello.mjs").write_text(script())
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    done = subprocess.run(
        ["node", "hello.mjs", token, "Hello from the README"],
        cwd=tmp_path,
        env={**os.environ, "BATON_URL": address},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo" in done.stdout.lower(), done.stdout + done.stderr


def test_the_script_says_why_it_was_refused(server: tuple[str, Path], tmp_path: Path) -> None:
    (tmp_path / "hello.mjs").write_text(script())
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    done = subprocess.run(
        ["node", "hello.mjs", "no-token-of-anybody"],
        cwd=tmp_path,
        env={**os.environ, "BATON_URL": server[0]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("Refused: "), done.stdout + done.stderr
