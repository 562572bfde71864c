"""`baton debug-info`: what is in the archive, and above all what is not."""

import json
import stat
import tarfile
from pathlib import Path

import pytest

from baton.doctor.redaction import Redactor
from tests.support.bridge_process import bridge_process
from tests.support.in_process import running_server
from tests.support.ports import free_port
from tests.support.shell import Shell
from tests.support.talking import talked

SPOKEN = "the-words-that-somebody-wrote"
PLANTED = {
    "BATON_ADMIN_TOKEN": None,
    "BATON_CLAUDE_MODEL": "planted-model-secret",
    "BATON_ACP": "gemini=gemini --api-key planted-acp-secret",
    "ANTHROPIC_API_KEY": "sk-ant-planted-environment-secret",
    "PLANTED_VARIABLE": "planted-environment",
    "BATON_BACKEND_URL": None,
}
LOGGED = [
    "Traceback (most recent call last): planted-traceback",
    "2026-01-01T12:00:00.000Z WARNING a library says planted-by-a-library",
    "2026-01-01T12:00:00.000Z INFO    🌉 connected action=bridge.connected url=https://planted-user:planted-word@host",
    '2026-01-01T12:00:00.000Z INFO    🌉 said action=bridge.closed reason="token=planted-token-in-a-log"',
]
PARTS = {
    *("doctor.txt", "doctor.json", "versions.json", "settings.json", "health.json", "bridge.json"),
    *("metrics.txt", "migrations.json", "counts.json", "bridge.log"),
}


def read(archive: Path) -> dict[str, str]:
    """Text by name."""
    with tarfile.open(archive) as tar:
        return {member.name.split("/")[1]: tar.extractfile(member).read().decode() for member in tar}  # type: ignore[union-attr]


async def test_the_archive_tells_how_it_is_and_nothing_of_what_was_said_or_is_secret(tmp_path: Path) -> None:
    environment = {name: value for name, value in PLANTED.items() if value is not None}
    async with running_server(tmp_path) as running:
        await talked(running, SPOKEN)
        async with bridge_process(tmp_path / "bridge", running.url, running.bridge_token) as bridge:
            await bridge.until_connected()
            log = tmp_path / "bridge" / "bridge.log"
            with log.open("a") as file:
                file.write("\n".join([*LOGGED, running.token]) + "\n")
            port = running.server.settings.port
            environment |= {"PORT": str(port), "BATON_BRIDGE_PORT": str(bridge.port), "BATON_BRIDGE_LOG_FILE": str(log)}
            said = await Shell(tmp_path, environment).baton("debug-info", "it.tar.gz")
        secrets = [running.token, running.bridge_token]
    assert said.code == 0, said.err
    parts = read(tmp_path / "it.tar.gz")
    everything = "\n".join(parts.values()) + said.out + said.err
    assert set(parts) == PARTS
    for secret in [*secrets, SPOKEN, "planted"]:
        assert secret not in everything, secret
    assert json.loads(parts["health.json"])["status"] == "ok"
    assert json.loads(parts["bridge.json"])["link"]["state"] == "connected"
    assert json.loads(parts["counts.json"])["messages"]["completed"] == 2
    assert "baton_up 1.0" in parts["metrics.txt"]
    assert json.loads(parts["settings.json"])["serve"]["BATON_ACP"] == "set"
    assert "action=bridge.connected" in parts["bridge.log"]
    assert json.loads(parts["doctor.json"])["url"] == f"http://localhost:{port}"
    assert stat.S_IMODE((tmp_path / "it.tar.gz").stat().st_mode) == 0o600
    assert str(tmp_path / "it.tar.gz") in said.out
    for name in PARTS:
        assert name in said.out


async def test_without_a_server_it_collects_the_rest(tmp_path: Path) -> None:
    quiet = {"PORT": str(free_port()), "BATON_BRIDGE_PORT": "0", "BATON_BRIDGE_LOG_FILE": str(tmp_path / "no.log")}
    said = await Shell(tmp_path, {**quiet, "BATON_AGENTS": "demo"}).baton("debug-info")
    assert said.code == 0, said.err
    (archive,) = tmp_path.glob("baton-debug-*.tar.gz")
    parts = read(archive)
    assert set(parts) == PARTS
    assert json.loads(parts["counts.json"]) == {"missing": "no server answers"}


async def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "it.tar.gz").write_text("mine")
    said = await Shell(tmp_path, {"PORT": str(free_port())}).baton("debug-info", "it.tar.gz")
    assert said.code == 2
    assert (tmp_path / "it.tar.gz").read_text() == "mine"


async def test_of_a_long_log_the_last_500_lines_are_taken(tmp_path: Path) -> None:
    line = "2026-01-01T12:00:00.000Z INFO    🌉 connected action=bridge.connected number={}\n"
    (tmp_path / "bridge.log").write_text("".join(line.format(number) for number in range(2000)))
    quiet = {"PORT": str(free_port()), "BATON_BRIDGE_LOG_FILE": str(tmp_path / "bridge.log"), "BATON_AGENTS": "demo"}
    await Shell(tmp_path, quiet).baton("debug-info", "it.tar.gz")
    lines = read(tmp_path / "it.tar.gz")["bridge.log"].splitlines()
    assert (len(lines), lines[0][-4:], lines[-1][-4:]) == (500, "1500", "1999")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abc.def", "abc.def"),
        ("mongodb://user:word@host/db", "word"),
        ("refused: token=abcdef, try again", "abcdef"),
        ('{"api_key": "abcdef"}', "abcdef"),
        ("it says sk-ant-api03-abcdef012345", "abcdef"),
        ("known-token-of-this-machine", "known-token"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, secret: str) -> None:
    cleaned = Redactor(["known-token-of-this-machine"]).text(text)
    assert secret not in cleaned
    assert "[hidden]" in cleaned
