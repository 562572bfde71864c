"""Ports of servers that tests start: nobody else gets them while their server is away."""

import socket
import subprocess
import sys

import pytest

from tests.support import ports
from tests.support.ports import free_port

_OTHER = "from tests.support.ports import free_port; print(*(free_port() for _ in range(100)))"


def test_a_port_is_given_once_also_to_another_process() -> None:
    mine = {free_port() for _ in range(100)}
    other = subprocess.run([sys.executable, "-c", _OTHER], check=True, capture_output=True, text=True)
    assert len(mine | {int(port) for port in other.stdout.split()}) == 200


def test_no_connection_that_goes_out_is_given_one() -> None:
    lowest = ports._first_outgoing()
    assert all(free_port() < lowest for _ in range(20))


def test_a_port_that_somebody_listens_on_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = free_port(), free_port()
    ports._forget(0)
    monkeypatch.setattr(ports, "sample", lambda *_: [taken, free])
    with socket.create_server(("127.0.0.1", taken)):
        assert free_port() == free
