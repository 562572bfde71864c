"""A MongoDB that is away, slow, too old, read-only, full or of a newer Baton: `baton serve` says so, and goes on when
it is mended. Real processes, with the driver; the server is `tests.support.wire_server`.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest

from baton.storage.migrate import migrate
from baton.storage.mongo import mongo_migrations
from baton.testing.clock import FakeClock
from tests.support.ports import free_port
from tests.support.server_process import server_process
from tests.support.wire_server import Fault, WireServer, wire_server

Spoil: TypeAlias = Callable[[WireServer], object]
SOON = "serverSelectionTimeoutMS=1500&connectTimeoutMS=1500&socketTimeoutMS=1500"


@pytest.fixture
async def mongo() -> AsyncIterator[WireServer]:
    """A server with a database that is up to date."""
    async with wire_server() as server:
        async with mongo_migrations(f"mongodb://{server.address}/", clock=FakeClock(), database="baton") as target:
            await migrate(target)
        yield server


async def start_in_vain(folder: Path, store: str) -> str:
    """What `baton serve` says that cannot start; it leaves by itself, with an exit code and without a traceback."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
    variables = {"BATON_DATA": str(folder / "data"), "PORT": str(free_port()), "BATON_BRIDGE_PORT": "none"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "baton", "serve",
        cwd=folder,
        env={**inherited, **variables, "BATON_STORE": store},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    text = said.decode()
    assert process.returncode not in (0, None)
    assert "Traceback" not in text
    assert "sesame" not in text
    return text


def refusing(code: int) -> Fault:
    """Every write is refused."""
    return Fault(times=None, reply={"ok": 0.0, "code": code, "errmsg": "sesame"})


def silent(*commands: str) -> Fault:
    """These are never answered."""
    return Fault(commands=commands, times=None, hold=asyncio.Event())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda server: server.faults.append(Fault(commands=("ping",), times=None, hold=asyncio.Event())),
            "not answer",
        ),
        (lambda server: server.hello.update(maxWireVersion=6), "4.4 or newer"),
        (lambda server: server.faults.append(refusing(13)), "rights"),
        (lambda server: server.faults.append(refusing(14031)), "full"),
        (lambda server: server.faults.append(refusing(10107)), "replica set"),
        (
            lambda server: server.client["baton"]["schema_migrations"].insert_one({"_id": 9999, "name": "9999_later"}),
            "install the version that wrote it",
        ),
        (lambda server: server.client["baton"]["schema_migrations"].delete_many({}), "baton db migrate"),
    ],
    ids=["slow", "too old", "read-only", "full", "no primary", "newer", "not migrated"],
)
async def test_a_mongodb_that_cannot_be_worked_with_is_named_with_the_cure(
    mongo: WireServer, tmp_path: Path, spoil: Spoil, said: str
) -> None:
    spoil(mongo)
    assert said in await start_in_vain(tmp_path, f"mongodb://{mongo.address}/baton?{SOON}")


async def test_a_mongodb_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    store = f"mongodb://anna:sesame@127.0.0.1:{free_port()}/baton?{SOON}"
    assert "does not answer" in await start_in_vain(tmp_path, store)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda: refusing(14031), "full"),
        (lambda: refusing(13), "rights"),
        (lambda: refusing(10107), "no primary"),
        (lambda: Fault(times=None, cut_after=0), ""),
        (lambda: silent("insert", "update", "delete"), "in time"),
    ],
    ids=["full", "read-only", "no primary", "cut", "slow"],
)
async def test_a_server_whose_mongodb_fails_says_so_and_goes_on_once_it_is_mended(
    mongo: WireServer, tmp_path: Path, fault: Callable[[], Fault], said: str
) -> None:
    store = f"mongodb://{mongo.address}/baton?{SOON}"
    async with server_process(tmp_path, BATON_STORE=store) as server:
        async with aiohttp.ClientSession(server.url, headers={"Authorization": f"Bearer {server.token()}"}) as http:
            mongo.faults = [fault()]
            status, answer = await ask(http, "POST", "/api/chat/conversations")
            assert (status, answer["error"]["code"], answer["error"]["retryable"]) == (503, "store_unavailable", True)
            assert said in answer["error"]["message"]
            assert "sesame" not in str(answer)
            await server.until("/health/ready", 503)
            assert await server.status("/health/live") == 200
            status, answer = await ask(http, "GET", "/api/chat/conversations")
            assert (status, answer["conversations"]) == (200, []), "it still reads, and what was refused left nothing"
            mongo.heal()
            await server.until("/health/ready", 200)
            status, answer = await ask(http, "POST", "/api/chat/conversations")
            assert status == 201
            async with http.get("/metrics") as told:
                (opened,) = re.findall(r"^baton_store_pool_opened_total (\S+)$", await told.text(), re.M)
            assert float(opened) >= 1
    log = (tmp_path / "server.log").read_text()
    assert "Traceback" not in log
    assert "sesame" not in log


async def ask(http: aiohttp.ClientSession, method: str, path: str) -> tuple[int, Any]:
    """Status and body."""
    async with http.request(method, path, json={} if method == "POST" else None) as answer:
        return answer.status, await answer.json()
