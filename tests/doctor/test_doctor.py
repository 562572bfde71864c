"""`baton doctor` from outside: with and without a server and a bridge, as people and as scripts call it."""

import asyncio
import json
import shlex
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from baton.cli import build_parser
from tests.support.bridge_process import bridge_process
from tests.support.in_process import Running, running_server
from tests.support.ports import free_port
from tests.support.shell import Said, Shell

LIMIT_S = 15


def shell(folder: Path, port: int, **environment: str) -> Shell:
    """Where no bridge of somebody else's is met, and no log of theirs."""
    own = {"PORT": str(port), "BATON_BRIDGE_PORT": "none", "BATON_BRIDGE_LOG_FILE": str(folder / "bridge.log")}
    return Shell(folder, {**own, "BATON_AGENTS": "demo", **environment})


def found(said: Said) -> dict[str, dict[str, Any]]:
    """Findings by `area: check`; the worst of each."""
    order = ("ok", "note", "skipped", "problem")
    findings = json.loads(said.out)["findings"]
    findings.sort(key=lambda finding: order.index(finding["level"]))
    return {f"{finding['area']}: {finding['check']}": finding for finding in findings}


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as running:
        yield running


async def test_all_well_is_exit_code_0_and_looks_at_every_family(running: Running, tmp_path: Path) -> None:
    began = time.monotonic()
    said = await shell(tmp_path, running.server.settings.port).baton("doctor", "--json")
    assert said.code == 0, said.out
    assert time.monotonic() - began < LIMIT_S
    findings = found(said)
    assert {name: finding["level"] for name, finding in findings.items()} == {
        "set-up: settings": "ok",
        "set-up: versions": "ok",
        "set-up: programs": "ok",
        "set-up: data folder": "ok",
        "set-up: disk space": "ok",
        "set-up: log file": "ok",
        "server: address": "ok",
        "server: health": "ok",
        "server: token": "ok",
        "server: origin": "ok",
        "bridge: connected": "ok",
        "bridge: agents": "ok",
        "bridge: page": "skipped",
        "messages: migrations": "ok",
        "messages: database": "ok",
        "websocket: websocket": "ok",
        "websocket: polling": "ok",
        "sessions: sessions": "ok",
        "streaming: runs": "ok",
        "permissions: prompts": "ok",
    }
    assert json.loads(said.out)["status"] == "ok"
    assert running.token not in said.out


async def test_without_a_server_it_says_so_with_the_command_that_starts_one(tmp_path: Path) -> None:
    port = free_port()
    said = await shell(tmp_path, port).baton("doctor", "--json")
    assert said.code == 1
    absent = found(said)["server: address"]
    assert absent["what"].startswith(f"no server is running at http://localhost:{port}")
    assert absent["cure"] == f"baton serve --port {port}"
    assert found(said)["streaming: all"]["level"] == "skipped"
    assert found(said)["bridge: agents"]["level"] == "ok", "agents are asked here where no server can tell"


async def test_as_text_each_problem_has_its_why_and_its_cure(tmp_path: Path) -> None:
    said = await shell(tmp_path, free_port()).baton("doctor")
    assert said.code == 1
    lines = said.out.splitlines()
    (at,) = [index for index, line in enumerate(lines) if "❌ address" in line]
    assert lines[at + 1].strip().startswith("why:")
    assert lines[at + 2].strip().startswith("cure: baton serve")
    assert lines[-1] == "1 problem; each `cure` is one command."


@pytest.mark.parametrize(
    "options", [["--port", "banana"], ["--url", "localhost"], ["--url", "http://a:b@localhost"], ["--nothing-like-it"]]
)
async def test_a_wrong_argument_is_exit_code_2(tmp_path: Path, options: list[str]) -> None:
    said = await shell(tmp_path, free_port()).baton("doctor", *options)
    assert said.code == 2
    assert said.out == ""


async def test_a_wrong_setting_is_found_and_the_others_still_count(running: Running, tmp_path: Path) -> None:
    port = running.server.settings.port
    said = await shell(tmp_path, port, BATON_PROT="1", LOG_LEVEL="LOUD").baton("doctor", "--json")
    assert said.code == 1
    problems = [item for item in json.loads(said.out)["findings"] if item["level"] == "problem"]
    assert [(item["check"], item["cure"]) for item in problems] == [
        ("settings", "unset LOG_LEVEL"),
        ("settings", "unset BATON_PROT"),
    ]
    assert found(said)["server: token"]["level"] == "ok", "PORT and BATON_DATA have counted"


async def test_a_wrong_line_in_dotenv_is_found(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BATON_ATUH=off\n")
    said = await shell(tmp_path, free_port()).baton("doctor", "--json")
    assert found(said)["set-up: settings"]["what"].startswith("BATON_ATUH (in .env)")


async def test_what_others_can_read_is_found_with_its_cure(running: Running, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "admin.token").chmod(0o644)
    said = await shell(tmp_path, running.server.settings.port).baton("doctor", "--json")
    (data / "admin.token").chmod(0o600)
    data.chmod(0o755)
    opened = await shell(tmp_path, running.server.settings.port).baton("doctor", "--json")
    data.chmod(0o700)
    assert found(said)["set-up: token files"]["cure"] == f"chmod 600 {data / 'admin.token'}"
    assert found(said)["server: token"]["level"] == "problem", "it may not be used either"
    assert found(opened)["set-up: data folder"]["cure"] == f"chmod 700 {data}"


async def test_a_log_file_that_no_bridge_could_write_is_found(tmp_path: Path) -> None:
    (tmp_path / "bridge.log").symlink_to(tmp_path / "elsewhere")
    said = await shell(tmp_path, free_port()).baton("doctor", "--json")
    assert "it is a link" in found(said)["set-up: log file"]["what"]


async def test_a_token_that_the_server_does_not_take_is_found(running: Running, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    port = running.server.settings.port
    wrong = "wrong-token-0123456789abcdef"
    said = await shell(other, port, BATON_ADMIN_TOKEN=wrong).baton("doctor", "--json")
    assert said.code == 1
    assert "refuses the token" in found(said)["server: token"]["what"]
    assert found(said)["websocket: websocket"]["level"] == "problem"
    assert wrong not in said.out


async def test_a_server_without_a_bridge_is_found(tmp_path: Path) -> None:
    async with running_server(tmp_path, bridge="none") as running:
        port = running.server.settings.port
        said = await shell(tmp_path, port).baton("doctor", "--json")
        brief = await shell(tmp_path, port).baton("doctor", "--brief")
    finding = found(said)["bridge: connected"]
    assert (said.code, finding["what"]) == (1, "No bridge service connected")
    assert finding["cure"] == f"baton bridge --backend http://localhost:{port}"
    assert brief.code == 1
    assert f"✅ Backend:  http://localhost:{port}\n" in brief.out
    assert "❌ Bridge:   0 connected" in brief.out


async def test_the_page_of_a_bridge_on_this_machine_is_looked_at(running: Running, tmp_path: Path) -> None:
    async with bridge_process(tmp_path / "bridge", running.url, running.bridge_token) as bridge:
        await bridge.until_connected()
        port = running.server.settings.port
        said = await shell(tmp_path, port, BATON_BRIDGE_PORT=str(bridge.port)).baton("doctor", "--json")
    assert said.code == 0, said.out
    assert f"'laptop' is connected to {running.url}" in found(said)["bridge: page"]["what"]
    assert found(said)["bridge: connected"]["what"] == "'This server', 'laptop'"
    assert found(said)["bridge: spool"]["level"] == "ok"


async def test_a_bridge_whose_token_is_refused_is_found_with_the_command_for_a_new_one(
    running: Running, tmp_path: Path
) -> None:
    async with bridge_process(tmp_path / "bridge", running.url, "token-of-nobody-0123456789") as bridge:
        await bridge.until(lambda health: health["link"]["code"] == 4401)
        port = running.server.settings.port
        said = await shell(tmp_path, port, BATON_BRIDGE_PORT=str(bridge.port)).baton("doctor", "--json")
    finding = found(said)["bridge: page"]
    assert finding["level"] == "problem"
    assert finding["cure"] == "baton token create --role bridge --name laptop"


async def test_another_program_on_the_port_is_found(tmp_path: Path) -> None:
    async def be_rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(be_rude, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        said = await shell(tmp_path, port).baton("doctor", "--json")
    assert said.code == 1
    assert found(said)["server: address"]["cure"] == f"baton serve --port {port + 1}"


async def test_a_server_that_hangs_is_found_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        said = await shell(tmp_path, port).baton("doctor", "--json")
        assert time.monotonic() - began < LIMIT_S
    assert "does not answer" in found(said)["server: address"]["what"]


async def test_every_cure_that_is_a_command_of_ours_is_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    said = await shell(tmp_path, free_port(), BATON_XX="1", BATON_AGENTS="nobody").baton("doctor", "--json")
    cures = [item["cure"] for item in json.loads(said.out)["findings"] if item["cure"]]
    ours = [shlex.split(cure)[1:] for cure in cures if cure.startswith("baton ")]
    assert ours
    for arguments in ours:
        build_parser().parse_args(arguments)


async def test_a_program_that_an_agent_needs_and_that_is_not_here_is_found(tmp_path: Path) -> None:
    said = await shell(tmp_path, free_port(), BATON_ACP="gemini=no-such-program --acp").baton("doctor", "--json")
    problem = found(said)["set-up: programs"]
    assert problem["level"] == "problem"
    assert "'no-such-program', which is not on PATH" in problem["what"]
