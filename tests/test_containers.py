"""What docker-compose.yml, the Dockerfile and the scripts promise, as far as that can be held without an engine."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from baton.cli import build_parser
from baton.settings import known_variables
from tests.support.in_process import running_server
from tests.support.talking import talked

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_containers_and_volumes_have_the_names_that_people_type() -> None:
    names = {f"{COMPOSE['name']}-{service}-1" for service in SERVICES}
    assert names == {"baton-backend-1", "baton-mongodb-1", "baton-bridge-1"}
    assert all("container_name" not in service for service in SERVICES.values()), "compose makes the names itself"
    assert "mongodb-data" in COMPOSE["volumes"]


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_every_service_comes_back_says_how_it_is_and_has_a_bounded_log(service: dict[str, Any]) -> None:
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_ports_are_open_on_this_machine_only(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_variables_of_the_services_are_settings_and_their_commands_commands() -> None:
    agents = {"ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"}
    for service in SERVICES.values():
        assert set(service.get("environment", {})) <= known_variables() | agents
        if "command" in service:
            build_parser().parse_args(service["command"][1:])


def test_named_volumes_are_declared_and_a_bridge_does_not_see_the_servers_data() -> None:
    used = {name: {mount.split(":")[0] for mount in service["volumes"]} for name, service in SERVICES.items()}
    declared = set(COMPOSE["volumes"])
    assert {mount for mounts in used.values() for mount in mounts if not mount.startswith("$")} <= declared
    assert used["bridge"].isdisjoint(used["backend"])


def test_the_image_runs_as_nobody_special_with_a_health_check() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    users = re.findall(r"^USER (\S+)", last, flags=re.M)
    assert users == ["1000:1000"]
    assert "HEALTHCHECK" in last
    assert re.search(r"^CMD \[\"baton\", \"serve\"", last, flags=re.M)


async def test_a_bridge_in_the_network_of_containers_may_call_the_server_by_its_service_name(tmp_path: Path) -> None:
    (name,) = (value for key, value in SERVICES["backend"]["environment"].items() if key == "BATON_HOST_NAMES")
    assert f"http://{name}:3001" in SERVICES["bridge"]["command"]
    async with running_server(tmp_path, host_names=(name,)) as running, aiohttp.ClientSession(running.url) as http:
        port = running.server.settings.port
        for host, status in ((f"{name}:{port}", 200), (f"elsewhere:{port}", 403)):
            async with http.get("/health/live", headers={"Host": host}) as answer:
                assert answer.status == status, host


# --- scripts -----------------------------------------------------------------------------------------------------

FAKE_DOCKER = """#!/usr/bin/env bash
# `docker inspect` reads the container's state from a file, `docker restart` writes what comes after it.
echo "$*" >> "$WORLD/calls"
case $1 in
  inspect) cat "$WORLD/${@: -1}" 2>/dev/null ;;
  restart) echo "${AFTER-healthy}" > "$WORLD/$2" ;;
esac
"""
CONTAINERS = ("baton-mongodb-1", "baton-backend-1", "baton-bridge-1")


class World:
    """Containers that are as files say, and a docker that knows no others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "docker").write_text(FAKE_DOCKER)
        (folder / "docker").chmod(0o755)
        for container in CONTAINERS:
            self.put(container, "healthy")

    def put(self, container: str, state: str) -> None:
        (self.folder / container).write_text(state + "\n")

    @property
    def restarted(self) -> list[str]:
        """Containers, in order."""
        calls = (self.folder / "calls").read_text().splitlines()
        return [call.split()[1] for call in calls if call.startswith("restart ")]

    def check(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """One run of the script."""
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [str(ROOT / "scripts" / "health-check.sh"), *arguments],
            env={"PATH": path, "WORLD": str(self.folder), **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_where_all_are_healthy_nothing_is_restarted(world: World) -> None:
    done = world.check()
    assert (done.returncode, world.restarted) == (0, [])
    assert "mongodb backend bridge: healthy" in done.stdout


@pytest.mark.parametrize("state", ["unhealthy", "exited", "dead", "paused"])
def test_one_that_is_down_is_restarted(world: World, state: str) -> None:
    world.put("baton-bridge-1", state)
    done = world.check()
    assert (done.returncode, world.restarted) == (1, ["baton-bridge-1"])


def test_a_server_whose_database_was_restarted_gets_another_look_first(world: World) -> None:
    world.put("baton-mongodb-1", "unhealthy")
    world.put("baton-backend-1", "unhealthy")
    done = world.check("--looks", "3", "--every", "0")
    assert (done.returncode, world.restarted) == (0, ["baton-mongodb-1", "baton-backend-1"])


def test_one_that_still_starts_is_left_alone(world: World) -> None:
    world.put("baton-backend-1", "starting")
    done = world.check()
    assert (done.returncode, world.restarted) == (1, [])


def test_one_that_never_gets_well_is_restarted_so_often_and_no_more(world: World) -> None:
    world.put("baton-backend-1", "unhealthy")
    done = world.check("--looks", "10", "--every", "0", "--max", "2", AFTER="unhealthy")
    assert (done.returncode, world.restarted) == (1, ["baton-backend-1"] * 2)
    assert "docker logs --tail 100 baton-backend-1" in done.stdout


def test_one_that_is_not_there_is_told_of(world: World) -> None:
    (world.folder / "baton-mongodb-1").unlink()
    done = world.check()
    assert (done.returncode, world.restarted) == (1, [])
    assert "make docker-up" in done.stdout


def test_only_the_named_services_are_looked_at(world: World) -> None:
    world.put("baton-mongodb-1", "exited")
    assert world.check("backend", "bridge").returncode == 0


@pytest.mark.parametrize("arguments", [["--every"], ["--every", "often"], ["frontend"], ["--max", "-1"]])
def test_a_wrong_argument_is_exit_code_2(world: World, arguments: list[str]) -> None:
    done = world.check(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage:")


async def test_the_script_collects_debug_info_into_one_archive(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        await talked(running, "the-words-that-somebody-wrote")
        process = await asyncio.create_subprocess_exec(
            "bash",
            str(ROOT / "scripts" / "collect-debug-info.sh"),
            "it.tar.gz",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            env={
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "BATON_DATA": str(tmp_path / "data"),
                "BATON_BRIDGE_PORT": "0",
                "PORT": str(running.server.settings.port),
            },
        )
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert (tmp_path / "it.tar.gz").exists()
    assert b"it.tar.gz" in out
    assert b"the-words-that-somebody-wrote" not in out
