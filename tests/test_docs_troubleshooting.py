"""docs/troubleshooting.md is run: commands against a server and a bridge, containers against docker-compose.yml."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from baton.cli import build_parser
from baton.storage.mongo import COLLECTIONS
from tests.support.bridge_process import bridge_process
from tests.support.server_process import server_process
from tests.support.talking import talked_at

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
BLOCKS = re.findall(r"^```(\S+)([^\n]*)\n(.*?)^```", PAGE, flags=re.M | re.S)
RUN = [text for kind, mark, text in BLOCKS if kind == "bash" and not mark.strip()]
STARTS = [text for kind, mark, text in BLOCKS if (kind, mark.strip()) == ("bash", "starts")]
IN_DOCKER = [text for kind, mark, text in BLOCKS if (kind, mark.strip()) == ("bash", "docker")]
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.M))
"""What `make` can be asked for."""
FOREIGN = ("BATON_", "ARGS", "MAKE", "MFLAGS")
"""Variables of whoever runs the tests, perhaps `make test` itself: they would reach what is run here."""


@dataclass(frozen=True)
class Place:
    """Where a block is run, and what stands in it instead of the defaults."""

    folder: Path
    environment: dict[str, str]
    instead: dict[str, str]

    async def run(self, block: str) -> tuple[int, str]:
        """Exit code and output of a whole block, which ends at the first command that fails."""
        for there, here in self.instead.items():
            block = block.replace(there, here)
        process = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", block,
            cwd=self.folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(errors="replace")


@asynccontextmanager
async def a_place(folder: Path) -> AsyncIterator[Place]:
    """A server and a bridge, one conversation that is done, and one run that is under way."""
    async with server_process(folder, BATON_BRIDGE="none") as server:
        token = server.token("bridge")
        async with bridge_process(folder / "bridge", server.url, token) as bridge:
            await bridge.until_connected()
            conversation = await talked_at(server.url, server.token(), "Hello")
            request = await under_way(server.url, server.token())
            inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
            environment = inherited | {
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "PORT": str(server.port),
                "BATON_DATA": str(server.data),
                "BATON_AGENTS": "demo",
                "BATON_BRIDGE_PORT": str(bridge.port),
                "BATON_BRIDGE_LOG_FILE": str(folder / "bridge" / "bridge.log"),
                "CONVERSATION": conversation,
                "REQUEST": request,
            }
            instead = {
                "localhost:3001": f"localhost:{server.port}",
                "localhost:8080": f"localhost:{bridge.port}",
                "/tmp/bridge-service.log": str(folder / "bridge" / "bridge.log"),
                "scripts/": f"{ROOT}/scripts/",
                "make ": f"make --no-print-directory -C {ROOT} VENV={Path(sys.executable).parent.parent} ",
            }
            yield Place(folder, environment, instead)


async def under_way(url: str, token: str) -> str:
    """The requestId of a run whose agent has asked something."""
    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {token}"}) as http:

        async def ask(method: str, path: str, **body: Any) -> Any:
            async with http.request(method, path, json=body or None) as said:
                return await said.json()

        conversation = (await ask("POST", "/api/chat/conversations"))["conversation"]["id"]
        chat = f"/api/chat/conversations/{conversation}"
        sent = await ask("POST", f"{chat}/messages", content="/demo ask rate=100000")
        async with asyncio.timeout(20):
            while not (await ask("GET", f"{chat}/prompts/pending"))["prompts"]:
                await asyncio.sleep(0.02)  # REST does not tell when something changes
        return str(sent["requestId"])


def test_the_page_has_blocks_of_every_kind() -> None:
    assert all(len(blocks) >= 2 for blocks in (RUN, STARTS, IN_DOCKER))
    assert {kind for kind, _, _ in BLOCKS} <= {"bash", "javascript"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], tuple[int, str]]]:
    """Runs a block in one place for the whole page, as a reader does."""
    with asyncio.Runner() as runner:
        made = a_place(tmp_path_factory.mktemp("place"))
        place = runner.run(made.__aenter__())
        try:
            yield lambda block: runner.run(place.run(block))
        finally:
            runner.run(made.__aexit__(None, None, None))


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.splitlines()[0][:60])
def test_a_block_runs(block: str, run: Callable[[str], tuple[int, str]]) -> None:
    code, out = run(block)
    assert code == 0, out


@pytest.mark.parametrize("line", [line for block in STARTS for line in block.splitlines()])
def test_what_starts_something_is_a_command(line: str) -> None:
    check_command(shlex.split(line))


@pytest.mark.parametrize("line", [line for block in IN_DOCKER for line in block.splitlines()])
def test_what_asks_docker_names_containers_volumes_and_commands_that_there_are(line: str) -> None:
    containers = {f"{COMPOSE['name']}-{service}-1" for service in COMPOSE["services"]}
    volumes = {f"{COMPOSE['name']}_{volume}" for volume in COMPOSE["volumes"]}
    assert set(re.findall(r"\bbaton-\w+-\d+", line)) <= containers
    assert set(re.findall(r"\bbaton_[a-z-]+(?<!dev)\b", line)) <= volumes
    words = shlex.split(line.split(" | ")[0])
    if words[:2] == ["docker", "compose"]:
        assert words[3] in COMPOSE["services"]
        if "baton" in words:
            check_command(words[words.index("baton") :])
    elif words[0] != "docker":
        check_command(words)


def check_command(words: list[str]) -> None:
    """A command of ours, a target of make, or a script that is there."""
    if words[0] == "baton":
        build_parser().parse_args(words[1:])
    elif words[0] == "make":
        assert words[1] in TARGETS, words
    else:
        script = words[1] if words[0] == "bash" else words[0]
        assert (ROOT / script).exists(), words


def test_every_target_and_command_in_the_text_is_there() -> None:
    named = [*re.findall(r"`(make [a-z-]+)", PAGE), *re.findall(r"`(baton (?:db )?[a-z-]+)", PAGE)]
    assert len(named) > 20
    for command in named:
        words = command.split()
        if words[0] == "make":
            assert words[1] in TARGETS, command
        else:
            done = subprocess.run(
                [sys.executable, "-m", "baton", *words[1:], "--help"], capture_output=True, check=False, cwd=ROOT
            )
            assert done.returncode == 0, command


def test_every_query_names_a_collection_that_there_is() -> None:
    queries = "\n".join(text for kind, _, text in BLOCKS if kind == "javascript")
    named = set(re.findall(r"\bdb\.(\w+)\.", queries))
    assert named
    assert named <= set(COLLECTIONS)
