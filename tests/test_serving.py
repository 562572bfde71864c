"""How a server process starts and stops: real processes, real signals, real ports."""

import asyncio
import itertools
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from baton.core.commands import AccountRole
from baton.core.errors import ConfigError
from baton.credentials import read_token
from baton.serving import ACCEPTS_PER_TURN, bind, listen
from baton.settings import Settings
from baton.welcome import agents_text, welcome_text

ROOT = Path(__file__).parent.parent


@contextmanager
def server(data: Path, *behaviours: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.support.stub_server", str(data), *behaviours]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_until(process: "subprocess.Popen[str]", pattern: str) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if re.search(pattern, line):
            return said
    raise AssertionError(f"{pattern} was never said:\n{said}{process.stderr.read() if process.stderr else ''}")


def test_it_says_where_it_is_with_its_token_and_which_agents_it_has(tmp_path: Path) -> None:
    with server(tmp_path / "data") as process:
        said = read_until(process, "claude: not here")
        address = re.search(r"http://localhost:(\d+)/\?token=(\S+)", said)
        assert address is not None
        assert address[2] == read_token(tmp_path / "data", AccountRole.ADMIN)
        assert "demo (Demo agent)" in said
        assert "Log in with `claude`." in said
        assert f"SQLite, {tmp_path}/data/baton.sqlite3" in said
        with urllib.request.urlopen(f"http://127.0.0.1:{address[1]}/") as answer:
            assert answer.read() == b"here"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with server(tmp_path / "data") as process:
        read_until(process, "not here")
        process.send_signal(number)
        _, logged = process.communicate(timeout=10)
        assert process.returncode == 0, logged
        assert "server stopped" in logged


def test_a_signal_while_it_starts_stops_it_too(tmp_path: Path) -> None:
    with server(tmp_path / "data", "slow-start") as process:
        read_until(process, "waiting")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
        assert process.returncode == 0


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with server(tmp_path / "data", "slow-stop") as process:
        read_until(process, "not here")
        process.send_signal(signal.SIGTERM)
        read_until(process, "waiting")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=5)
        assert process.returncode == -signal.SIGTERM


def test_a_stop_that_hangs_is_given_up_even_where_the_event_loop_is_blocked(tmp_path: Path) -> None:
    with server(tmp_path / "data", "blocked-stop") as process:
        read_until(process, "not here")
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=10)
        assert process.returncode == 1
        assert "stop took too long" in logged


def test_a_port_in_use_is_refused_with_the_cure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"PORT={port}: another program listens there.*--port {port + 1}"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["203.0.113.1", "x" * 64])
def test_an_address_that_is_not_ours_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=f"HOST={host}"):
        bind(host, 0)


def test_every_address_of_a_name_gets_the_same_port() -> None:
    sockets = bind("localhost", 0)
    try:
        assert len({bound.getsockname()[1] for bound in sockets}) == 1
    finally:
        for bound in sockets:
            bound.close()


def test_nobody_can_connect_before_the_application_is_ready() -> None:
    (bound,) = bind("127.0.0.1", 0)
    with bound, pytest.raises(ConnectionRefusedError):
        socket.create_connection(bound.getsockname(), timeout=5)


async def test_many_connections_at_once_are_taken_a_few_per_turn_and_none_is_refused() -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    assert runner.server is not None
    (bound,) = bind("127.0.0.1", 0)
    with bound:
        await listen(runner, bound)
        clients = [socket.create_connection(bound.getsockname(), timeout=5) for _ in range(200)]
        taken = [0]
        while taken[-1] < len(clients):
            await asyncio.sleep(0)  # one turn of the loop
            taken.append(len(runner.server.connections))
        for client in clients:
            client.close()
        await runner.cleanup()
    assert max(after - before for before, after in itertools.pairwise(taken)) <= ACCEPTS_PER_TURN + 1


def test_without_tokens_the_text_says_so_and_names_none(tmp_path: Path) -> None:
    text = welcome_text(Settings(data=tmp_path, auth=False), None)
    assert "BATON_AUTH=off" in text
    assert "?token" not in text
    assert "Bearer" not in text


def test_a_server_for_others_without_its_public_name_is_warned_about(tmp_path: Path) -> None:
    assert "set PUBLIC_URL" in welcome_text(Settings(data=tmp_path, host="0.0.0.0"), "t")
    assert "PUBLIC_URL" not in welcome_text(
        Settings(data=tmp_path, host="0.0.0.0", public_url="https://b.example"), "t"
    )


def test_without_a_bridge_inside_the_text_says_where_agents_come_from(tmp_path: Path) -> None:
    assert "/bridge" in agents_text(Settings(data=tmp_path, bridge="none"), ())
