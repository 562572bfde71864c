"""Each grep that docs/troubleshooting.md has for a log finds something in the log of an ordinary run."""

import asyncio
import subprocess
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.support.bridge_process import bridge_process
from tests.support.raw_clients import open_socket
from tests.support.server_process import server_process
from tests.support.talking import talked_at

OF_THE_SERVER = (
    ("-E", "(connected|disconnected)"),
    ("-E", "(stream|chunk|complete)"),
    ("-E", "(permission|prompt)"),
    ("-E", "🔌|💬|📡|🌉"),
    ("-E", "💾|✅|❌"),
    ("-E", "requestId|claude:execute|claude:stream"),
    ("-i", "cors"),
    ("-i", "session"),
    ("-i", "bridge"),
    *(("-E", word) for word in ("🔌", "💬", "📡", "🌉", "💾", "✅", "disconnected", "stream", "complete")),
    *(("-E", word) for word in ("permission", "prompt", "claude:execute", "claude:stream")),
)
OF_THE_BRIDGE = (
    ("-i", "timeout"),
    ("-E", "ERROR|WARN|execute|stream"),
    *(("-E", word) for word in ("execute", "stream", "connected", "🌉", "📡")),
)


@dataclass(frozen=True)
class Logs:
    """What an ordinary afternoon has left behind."""

    server: str
    bridge: str


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    """Once for all tests, in an event loop of its own."""
    return asyncio.run(an_afternoon(tmp_path_factory.mktemp("afternoon")))


async def an_afternoon(folder: Path) -> Logs:
    """Somebody opens a page, sends a message, is asked, allows it, reads the answer, and leaves."""
    async with server_process(folder, BATON_BRIDGE="none") as server:
        async with bridge_process(folder / "bridge", server.url, server.token("bridge")) as bridge:
            await bridge.until_connected()
            async with aiohttp.ClientSession() as http:
                page = await open_socket(http, server.url, server.token())
                await talked_at(server.url, server.token(), "/demo ask rate=100000", answer="allow_session")
                await page.close()
            await bridge.terminate()
            written = bridge.log
        await server.terminate()
    return Logs((folder / "server.log").read_text(), written)


def grep(option: str, pattern: str, text: str) -> list[str]:
    """As in a shell, on the log alone: what is printed for people at the start is not meant."""
    lines = "\n".join(line for line in text.splitlines() if "action=" in line)
    done = subprocess.run(["grep", option, pattern], input=lines, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


@pytest.mark.parametrize(("option", "pattern"), OF_THE_SERVER)
def test_a_grep_of_the_servers_log_finds_something(logs: Logs, option: str, pattern: str) -> None:
    assert grep(option, pattern, logs.server), logs.server


@pytest.mark.parametrize(("option", "pattern"), OF_THE_BRIDGE)
def test_a_grep_of_a_bridges_log_finds_something(logs: Logs, option: str, pattern: str) -> None:
    assert grep(option, pattern, logs.bridge), logs.bridge
