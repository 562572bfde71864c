"""`baton bridge` as a person meets it: its settings, what it prints, how it refuses, how it stops."""

import asyncio
import io
import logging
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from baton.bridge.facts import BridgeFacts, LinkState, LinkStatus
from baton.cli import main
from baton.core.errors import ConfigError
from baton.core.frames import AgentOffer
from baton.core.limits import Limits
from baton.settings import bridge_table, load_bridge
from baton.status_line import StatusLine, status_text
from tests.support.bridge_process import BridgeProcess, bridge_process
from tests.support.fake_server import FakeServer, close_with, fake_server

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("baton")
    handlers, levels = list(root.handlers), (root.level, own.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])
    logging.captureWarnings(False)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


# --- settings ----------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_guide() -> None:
    settings = load_bridge(environ={}, dotenv=None)
    assert settings.backend == "http://localhost:3001"
    assert settings.port == 8080
    assert settings.websocket_timeout == 30_000
    assert settings.reconnection_delay == 1000
    assert settings.reconnection_attempts == 0
    assert settings.max_concurrent == 5
    assert settings.message_buffer_size == 1024 * 1024
    assert settings.spool_max_bytes == 1 << 30
    assert settings.log_file == Path("/tmp/bridge-service.log")
    assert settings.workspaces == (Path.cwd(),)
    assert settings.name
    assert settings.limits == Limits()


def test_options_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("BATON_BACKEND_URL=http://a.example\nBATON_BRIDGE_NAME=file\nBATON_RECONNECTION_DELAY=7\n")
    environ = {"BATON_BRIDGE_NAME": "environment", "BATON_RECONNECTION_DELAY": "8"}
    settings = load_bridge({"reconnection_delay": "9"}, environ=environ, dotenv=file)
    assert (settings.backend, settings.name, settings.reconnection_delay) == ("http://a.example", "environment", 9)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("https://b.example/", "https://b.example"),
        ("ws://localhost:3001", "http://localhost:3001"),
        ("wss://b.example", "https://b.example"),
    ],
)
def test_the_servers_address_may_be_that_of_its_socket(said: str, meant: str) -> None:
    assert load_bridge({"backend": said}, environ={}, dotenv=None).backend == meant


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backend", "b.example"),
        ("backend", "https://b.example/path"),
        ("port", "70000"),
        ("max_concurrent", "0"),
        ("websocket_timeout", "30s"),
        ("reconnection_attempts", "-1"),
        ("workspace", "/no/such/folder"),
        ("name", " \t"),
        ("token", "short"),
    ],
)
def test_values_that_are_refused(name: str, value: str) -> None:
    if not value.strip():
        assert load_bridge({name: value}, environ={}, dotenv=None).name, "an empty text counts as not set"
        return
    with pytest.raises(ConfigError, match=f"^--{name.replace('_', '-')}="):
        load_bridge({name: value}, environ={}, dotenv=None)


def test_what_only_the_server_reads_is_no_mistake_and_what_nobody_reads_is() -> None:
    load_bridge(environ={"BATON_STORE": "sqlite:///x", "BATON_BRIDGE": "none"}, dotenv=None)
    with pytest.raises(ConfigError, match="did you mean BATON_BACKEND_URL"):
        load_bridge(environ={"BATON_BACKEND": "http://x.example"}, dotenv=None)


def test_the_token_stands_in_no_text() -> None:
    assert "t" * 30 not in repr(load_bridge({"token": "t" * 30}, environ={}, dotenv=None))


# --- the command -------------------------------------------------------------------------------------------------


def test_the_help_names_every_option_variable_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bridge", "--help"])
    said = "".join(capsys.readouterr().out.split())  # lines are broken anywhere
    for setting in bridge_table():
        assert setting.option in said
        assert setting.variable in said, setting.variable
        assert "".join(setting.default.split()) in said, setting.variable


def test_wrong_options_are_one_text_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bridge", "--port", "many", "--backend", "nowhere"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 2


def test_a_log_file_that_cannot_be_written_is_refused_with_the_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bridge", "--log-file", str(tmp_path / "no" / "such.log"), "--data", str(tmp_path / "data")]) == 2
    assert "choose another with --log-file" in capsys.readouterr().err


def test_a_port_that_is_taken_is_refused_with_the_cure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ["--port", str(port), "--data", str(tmp_path / "data"), "--log-file", "none"]
        assert main(["bridge", *options]) == 2
    assert f"baton bridge --port {port + 1}" in capsys.readouterr().err


# --- the process -------------------------------------------------------------------------------------------------


async def test_it_connects_with_the_token_of_the_data_folder(server: FakeServer, tmp_path: Path) -> None:
    token = "baton_" + "f" * 30
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "bridge.token").touch(mode=0o600)
    (tmp_path / "data" / "bridge.token").write_text(token + "\n")
    async with bridge_process(tmp_path, server.url, "") as bridge:
        await bridge.until_connected()
        assert server.links[0].request.headers["Authorization"] == f"Bearer {token}"


async def test_it_says_what_it_is_and_stops_when_told_to(server: FakeServer, tmp_path: Path) -> None:
    async with bridge_process(tmp_path, server.url, "t" * 24) as bridge:
        await bridge.until_connected()
        assert await bridge.terminate() == 0
        said = (tmp_path / "bridge.err").read_text()
        assert f"as 'laptop', to {server.url}" in said
        assert f"http://localhost:{bridge.port}/health" in said
        assert "t" * 24 not in said + bridge.log
        assert "🌉 connected to the server" in bridge.log
        assert stat.S_IMODE((tmp_path / "bridge.log").stat().st_mode) == 0o600
        assert server.links[0].socket.close_code == 1000


async def test_where_the_server_wants_no_more_of_it_it_leaves_with_the_reason(
    server: FakeServer, tmp_path: Path
) -> None:
    server.greet = close_with(4426)
    bridge = BridgeProcess(tmp_path, server.url, "t" * 24)
    assert await bridge.refused() == 1
    assert "another version of the bridge wire" in (tmp_path / "bridge.err").read_text()


async def test_a_bridge_without_a_server_waits_for_it_and_says_so(tmp_path: Path) -> None:
    async with bridge_process(tmp_path, "http://127.0.0.1:9", "t" * 24) as bridge:
        health = await bridge.until(lambda health: health["link"]["tries"] > 3)
        assert health["status"] == "degraded"
        assert "cannot be reached" in health["link"]["reason"]
        assert bridge.log.count("no link to the server") == 1, "the same reason is told once"
        assert await bridge.terminate() == 0


# --- the line on a terminal --------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def facts(state: LinkState, text: str = "", **more: object) -> BridgeFacts:
    fields = {"active": 0, "queued": 0, "undelivered": 0, "elsewhere": 0, "spool_bytes": 0, **more}
    return BridgeFacts(
        name="laptop",
        bridge_id="laptop-1",
        url="http://b.example",
        link=LinkStatus(state=state, since=NOW, text=text),
        agents=(AgentOffer(id="claude", title="Claude"), AgentOffer(id="acp:x", title="X", available=False)),
        spool_max_bytes=1 << 30,
        uptime_s=1.0,
        **fields,  # type: ignore[arg-type]  # by name
    )


def test_the_line_tells_the_link_the_runs_what_waits_and_the_agents() -> None:
    connected = status_text(facts(LinkState.CONNECTED, active=2, queued=1))
    assert connected == "🌉 connected to http://b.example · 2 working, 1 waiting · claude"
    away = status_text(facts(LinkState.WAITING, "The server does not answer", active=1, spool_bytes=2_500_000))
    assert away == (
        "🌉 no link to http://b.example · The server does not answer · 1 working · 2.5 MB to be delivered · claude"
    )


def test_the_line_is_rewritten_and_the_log_scrolls_above_it() -> None:
    terminal = Terminal()
    line = StatusLine(terminal)
    line.show("one")
    line.show("one")
    line.show("two")
    line.write("a record\n")
    line.end()
    clear = "\r\x1b[2K"
    assert terminal.getvalue() == f"{clear}one{clear}two{clear}a record\n{clear}two{clear}"


def test_the_line_is_not_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    StatusLine(terminal).show("x" * 100)
    assert terminal.getvalue().count("x") == 37


def test_what_is_no_terminal_gets_the_log_alone() -> None:
    stream = io.StringIO()
    line = StatusLine(stream)
    line.show("a line")
    line.write("a record\n")
    line.end()
    assert stream.getvalue() == "a record\n"


async def test_two_names_are_two_bridges_on_one_data_folder(server: FakeServer, tmp_path: Path) -> None:
    async with bridge_process(tmp_path, server.url, "t" * 24) as first:
        await first.until_connected()
        other = {"BATON_BRIDGE_NAME": "second", "BATON_BRIDGE_LOG_FILE": str(tmp_path / "second.log")}
        async with bridge_process(tmp_path, server.url, "t" * 24, **other) as second:
            await second.until_connected()
            hellos = await asyncio.gather(*(link.until_heard("hello") for link in server.links))
            assert len({hello["bridgeId"] for hello in hellos}) == 2
