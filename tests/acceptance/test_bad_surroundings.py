"""A full disk, a file that cannot be written, settings that are wrong, and a second server: each says what it is.

Real processes on real disks. What was refused left nothing, what was said is kept, and it goes on by itself once the
trouble is over.
"""

import asyncio
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.ports import free_port
from tests.support.raw_clients import RawSocket, hello, open_bridge, open_socket
from tests.support.shared_server import TOKEN, SharedServer, SmallDisk, connected, count_rows, shared_server

LONG_MESSAGE = "x" * 20_000


@asynccontextmanager
async def client_of(server: SharedServer) -> AsyncIterator[tuple[aiohttp.ClientSession, RawSocket]]:
    """Somebody with a socket."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        socket = await open_socket(session, server.url, TOKEN)
        yield session, socket
        await socket.close()


async def until(condition: Callable[[], bool]) -> None:
    """Return when it holds; a process and a file can only be asked again."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


# --- a disk that takes nothing ---------------------------------------------------------------------------------


async def assert_refuses_and_recovers(
    server: SharedServer,
    copy: Callable[[], Path],
    *,
    break_disk: Callable[[], None],
    mend_disk: Callable[[], None],
) -> None:
    """While an agent speaks, the disk stops taking bytes for a while: the story of all these faults."""
    async with client_of(server) as (session, anna):
        streaming = {"requestId": "stream", "content": "/demo markdown words=200 rate=100"}
        conversation_id = (await anna.ask("chat:send-message", streaming))["conversationId"]
        seq = (await anna.ask("join-conversation", conversation_id))["seq"]
        await anna.until_event("chat:stream-response")
        break_disk()
        before = rows_of(copy())
        await assert_refuses_what_writes(server, session, anna, conversation_id)
        assert (await anna.ask("conversation:check", {"conversationId": conversation_id}))["exists"], "it still reads"
        assert (await anna.ask("join-conversation", conversation_id))["ok"]
        assert rows_of(copy()) == before, "what was refused has left nothing"
        mend_disk()
        await until(lambda: server.health("ready") == 200)
        assert (await anna.ask("chat:send-message", {"requestId": "refused", "content": LONG_MESSAGE}))["ok"]
        await anna.ask("join-conversation", {"conversationId": conversation_id, "after": seq})
        while (told := await anna.until_event("chat:run"))["run"]["requestId"] != "stream":
            pass
        assert told["run"]["status"] == "completed", "the agent has lost nothing"
    with connected(copy()) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (document,) = database.execute("SELECT doc FROM messages WHERE role = 'assistant' ORDER BY pk").fetchone()
        assert len(json.loads(document)["content"].split()) > 150
    for word in (" ERROR ", "Traceback", LONG_MESSAGE):
        assert word not in server.log


async def assert_refuses_what_writes(
    server: SharedServer, session: aiohttp.ClientSession, anna: RawSocket, conversation_id: str
) -> None:
    """Each gets its code, on either way in; the server says that it lives and cannot serve."""
    for event, payload in (
        ("chat:send-message", {"requestId": "refused", "content": LONG_MESSAGE}),
        ("conversation:create", {"requestId": "refused", "title": "t" * 100}),
        ("chat:abort", {"requestId": "stream"}),
        ("permission:set-mode", {"conversationId": conversation_id, "mode": "plan"}),
        ("latency:ping", {}),
    ):
        answer = await anna.ask(event, payload)
        assert (answer["ok"], answer["error"]["code"]) == (False, "store_unavailable"), (event, answer)
        assert answer["error"]["retryable"] is True
    for method, path, options in (
        ("POST", "/api/projects", {"json": {"name": "n" * 200}}),
        ("DELETE", f"/api/chat/conversations/{conversation_id}", {}),
        ("POST", f"/api/chat/conversations/{conversation_id}/fork", {}),
        ("POST", "/api/attachments", {"data": {"file": io.BytesIO(b"x" * 50_000)}}),
    ):
        async with session.request(method, server.url + path, **options) as response:
            body = await response.json()
            assert (response.status, body["error"]["code"]) == (503, "store_unavailable"), (path, body)
            assert int(response.headers["Retry-After"]) > 0
    assert server.health("ready") == 503
    assert server.health("live") == 200


def rows_of(database: Path) -> dict[str, int]:
    """Of the tables that the refused requests would have written."""
    with connected(database) as opened:
        rows = count_rows(opened)
    # What the agent says may have been on its way when the disk broke.
    return {table: count for table, count in rows.items() if table != "run_journal"}


@pytest.mark.skipif(SmallDisk.reason_not() is not None, reason=SmallDisk.reason_not() or "")
async def test_a_full_disk_is_told_and_once_there_is_room_everything_goes_on(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path / "server", size_mb=8)
    copies = iter(tmp_path / f"copy-{number}" for number in range(9))
    try:
        disk.server.start()
        await assert_refuses_and_recovers(
            disk.server, lambda: disk.copy(next(copies)), break_disk=disk.fill, mend_disk=disk.make_room
        )
    finally:
        disk.server.stop()


def file_size_limit(server: SharedServer) -> tuple[Callable[[], None], Callable[[], None]]:
    """No file may grow, by a limit of the system on the process: needs no privilege. Its log goes nowhere then."""
    hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)[1]
    return (
        lambda: ignore(resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, hard))),
        lambda: ignore(resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))),
    )


def immutable_file(server: SharedServer) -> tuple[Callable[[], None], Callable[[], None]]:
    """The files are made unchangeable, which holds for those that are open already too."""
    files = [str(server.database), f"{server.database}-wal"]
    return (
        lambda: ignore(subprocess.run(["chattr", "+i", *files], check=True)),
        lambda: ignore(subprocess.run(["chattr", "-i", *files], check=True)),
    )


def ignore(_: object) -> None:
    """What a call gives is not wanted."""


def can_make_immutable(folder: Path) -> bool:
    """Whether this user on this file system can."""
    trial = folder / "trial"
    trial.touch()
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+i", trial], capture_output=True).returncode:
        return False
    try:
        trial.open("a").close()
    except OSError:
        return True
    else:
        return False
    finally:
        subprocess.run(["chattr", "-i", trial], check=True)


@pytest.mark.parametrize("fault", [file_size_limit, immutable_file])
async def test_a_database_that_cannot_be_written_is_told_and_goes_on_when_it_can(
    tmp_path: Path, fault: Callable[[SharedServer], tuple[Callable[[], None], Callable[[], None]]]
) -> None:
    if fault is immutable_file and not can_make_immutable(tmp_path):
        pytest.skip("this user or file system cannot make a file immutable (chattr +i)")
    with shared_server(tmp_path / "server") as server:
        break_disk, mend_disk = fault(server)
        try:
            await assert_refuses_and_recovers(
                server, lambda: server.database, break_disk=break_disk, mend_disk=mend_disk
            )
        finally:
            mend_disk()


# --- settings that are wrong -----------------------------------------------------------------------------------


def start_in_vain(tmp_path: Path, **environment: str) -> str:
    """What a server says that cannot start; it must leave at once, with an exit code and without a traceback."""
    folder = {"BATON_DATA": str(tmp_path / "data"), "PORT": str(free_port()), "BATON_BRIDGE_PORT": "none"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
    process = subprocess.run(
        [sys.executable, "-m", "baton", "serve"],
        cwd=tmp_path,
        env={**inherited, **folder, **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert process.returncode not in (0, None)
    assert "Traceback" not in process.stderr
    return process.stderr


def test_all_wrong_settings_are_told_at_once_with_their_values_and_what_is_accepted(tmp_path: Path) -> None:
    wrong = {
        "PORT": "many",
        "PUBLIC_URL": "here",
        "BATON_STORE": "oracle://db",
        "BATON_AUTH": "maybe",
        "CLIENT_URL": "javascript:alert(1)",
        "LOG_LEVEL": "LOUD",
        "LOG_FORMAT": "xml",
        "BATON_TRANSPORTS": "pigeon",
        "BATON_PAYLOAD_MAX_BYTES": "-1",
        "BATON_SHUTDOWN_S": "nan",
        "BATON_MAX_CONCURRENT_REQUESTS": "0",
        "BATON_HEARTBEAT_S": "0",
        "BATON_BRIDGE": "remote",
    }
    told = start_in_vain(tmp_path, **wrong, BATON_PROT="1")
    for variable, value in wrong.items():
        (line,) = [line for line in told.splitlines() if f"{variable}={value}" in line]
        assert "accepted is" in line
    assert "BATON_PROT: there is no such setting" in told
    assert not (tmp_path / "data").exists(), "nothing was touched"


def test_a_server_for_everybody_without_tokens_is_refused(tmp_path: Path) -> None:
    assert "BATON_AUTH" in start_in_vain(tmp_path, HOST="0.0.0.0", BATON_AUTH="off")


def test_a_secret_that_is_wrong_is_not_repeated(tmp_path: Path) -> None:
    told = start_in_vain(tmp_path, BATON_ADMIN_TOKEN="hunter2")
    assert "BATON_ADMIN_TOKEN" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda path: path.write_bytes(b"no database " * 100), "no SQLite database"),
        (lambda path: path.mkdir(), "folder"),
        (lambda path: shutil.rmtree(path.parent), "does not exist"),
    ],
)
def test_a_store_that_is_none_is_named_with_the_cure(tmp_path: Path, make: Callable[[Path], object], word: str) -> None:
    path = tmp_path / "stores" / "baton.sqlite3"
    path.parent.mkdir()
    make(path)
    told = start_in_vain(tmp_path, BATON_STORE=f"sqlite:///{path}")
    assert str(path.parent) in told
    assert word in told


def test_a_port_in_use_is_told_before_the_database_is_touched(tmp_path: Path) -> None:
    with shared_server(tmp_path / "server") as server:
        told = start_in_vain(tmp_path, PORT=str(server.port))
    assert f"PORT={server.port}: another program listens there" in told
    assert not (tmp_path / "data" / "baton.sqlite3").exists()


# --- a second server -------------------------------------------------------------------------------------------


@contextmanager
def second_server(first: SharedServer) -> Iterator[SharedServer]:
    """Another process on the database of the first."""
    second = SharedServer(first.folder.parent / "second", BATON_STORE=f"sqlite:///{first.database}")
    try:
        second.start(until="live")
        yield second
    finally:
        second.stop()


async def test_a_second_server_waits_live_but_not_ready_and_takes_over_from_a_killed_one(tmp_path: Path) -> None:
    with shared_server(tmp_path / "first") as first, second_server(first) as second:
        async with client_of(first) as (session, anna):
            sent = {"requestId": "r", "content": "/demo slow words=1000"}
            conversation_id = (await anna.ask("chat:send-message", sent))["conversationId"]
            await anna.ask("join-conversation", conversation_id)
            await anna.until_event("chat:stream-response")
            assert second.health("ready") == 503
            for path in ("/api/chat/conversations", "/socket.io/?EIO=4&transport=polling", "/bridge"):
                async with session.get(second.url + path) as response:
                    assert response.status == 503, path
                    assert (await response.json())["error"]["code"] == "store_unavailable"
            first.kill()
        began = time.monotonic()
        await asyncio.to_thread(second.wait_until, "ready")
        assert time.monotonic() - began < 10
        async with client_of(second) as (_, anna):
            await until(lambda: first.query("SELECT status FROM runs") == [("failed",)])
            snapshot = await anna.ask("join-conversation", conversation_id)
            assert {message["role"] for message in snapshot["messages"]} >= {"user"}
            assert (await anna.ask("chat:send-message", sent))["conversationId"] == conversation_id


async def test_a_request_id_of_another_user_is_a_conflict(tmp_path: Path) -> None:
    sent: dict[str, Any] = {"requestId": "anna's", "content": "mine rate=100000"}
    with shared_server(tmp_path / "server") as server:
        async with client_of(server) as (_, anna):
            answer = await anna.ask("chat:send-message", sent)
            assert answer["ok"]
            await until(lambda: server.query("SELECT status FROM runs") == [("completed",)])
    # Without tokens everybody is one other user.
    with shared_server(tmp_path / "server", BATON_AUTH="off") as server:
        before = server.counts()
        async with client_of(server) as (_, ben):
            for payload in (sent, {**sent, "conversationId": answer["conversationId"]}):
                assert (await ben.ask("chat:send-message", payload))["error"]["code"] == "conflict"
        assert server.counts() == before


async def test_without_tokens_too_nobody_takes_the_place_of_the_servers_own_bridge(tmp_path: Path) -> None:
    with shared_server(tmp_path / "server", BATON_AUTH="off") as server:
        async with client_of(server) as (session, anna):

            async def listed() -> list[bool]:
                return [told["inProcess"] for told in (await anna.ask("bridge:list", {}))["bridges"]]

            async with asyncio.timeout(20):
                while not await listed():  # its agents are asked first what they offer
                    await anna.until_event("bridge:status")
            async with open_bridge(session, server.url, None, hello("local", "thief")) as bridge:
                assert (await bridge.ending()).code == 4409
            assert await listed() == [True]
