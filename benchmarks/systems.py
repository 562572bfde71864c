"""The systems that are compared: started, given conversations, and watched. The relays are benchmarks/relays/."""

import asyncio
import json
import secrets
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import SERVER_CPUS, Child, baton_server, until_healthy
from tests.support.ports import free_port

RELAYS = Path(__file__).parent / "relays"
SYSTEMS = ("bare", "baton", "stock", "node", "origin")
TITLES = {
    "bare": "bare aiohttp relay (stores nothing)",
    "baton": "**Baton**",
    "stock": "python-socketio, stock (stores nothing)",
    "node": "Node socket.io relay (stores nothing)",
    "origin": "Node socket.io, a write per chunk",
}


@dataclass(frozen=True, slots=True)
class Load:
    """What is streamed: so many conversations, frames a second in each, deltas a frame, and watchers of each."""

    conversations: int
    rate: float
    watchers: int
    per_frame: int = 1

    @property
    def deltas_s(self) -> float:
        """Deltas a second of all conversations together."""
        return self.conversations * self.rate * self.per_frame


@dataclass(frozen=True, slots=True)
class Streaming:
    """A system with its load under way from `go` on."""

    server: Child
    watchers: Child
    producer: Child
    url: str
    tokens: dict[str, str]
    rooms: list[str]

    async def go(self) -> None:
        """Begin, where it has not begun by itself."""
        if self.tokens:
            await self.producer.tell("go")


def store_settings(store: str | None) -> dict[str, str]:
    """What the environment of a Baton server says of its store: a database of its own, whichever it is."""
    if store is None:
        return {}
    address, mark, options = store.partition("?")
    return {"BATON_STORE": f"{own_database(address)}{mark}{options}", "BATON_MIGRATE": "1"}


def own_database(address: str) -> str:
    """An address of MongoDB with a database that is not used yet."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.split('/')[0]}/bench_{secrets.token_hex(6)}"


@asynccontextmanager
async def serving(
    system: str, folder: Path, store: str | None = None, **environment: str
) -> AsyncIterator[tuple[Child, str, dict[str, str]]]:
    """A running server of the system: its process, address and tokens (none: it is a relay)."""
    if system == "baton":
        settings = {"BATON_BRIDGE": "none", **store_settings(store), **environment}
        async with baton_server(folder, **settings) as running:
            yield running
        return
    port = free_port()
    place = own_database(store) if store else str(folder / "chunks.sqlite3")
    command = {
        "bare": [sys.executable, str(RELAYS / "bare_aiohttp.py"), str(port)],
        "stock": [sys.executable, str(RELAYS / "stock_socketio.py"), str(port)],
        "node": ["node", str(RELAYS / "node_socketio.mjs"), str(port)],
        "origin": ["node", str(RELAYS / "node_database.mjs"), str(port), place],
    }[system]
    async with Child.run(command, cpus=SERVER_CPUS) as server:
        url = f"http://127.0.0.1:{port}"
        await until_healthy(f"{url}/health")
        yield server, url, {}


@asynccontextmanager
async def streaming(
    system: str, folder: Path, load: Load, store: str | None = None, *, checks: bool = False, **more: Any
) -> AsyncIterator[Streaming]:
    """A system with watchers that have joined and a producer that is ready. `more`: options of the bridge."""
    environment = more.pop("environment", {})
    async with serving(system, folder, store, **environment) as (server, url, tokens):
        if tokens:
            async with baton_streaming(server, url, tokens, load, checks=checks, **more) as under_way:
                yield under_way
            return
        rooms = [f"room-{number}" for number in range(load.conversations)]
        watch = {"kind": "bare" if system == "bare" else "socketio", "url": url, "rooms": rooms}
        async with Child.load("watch", {**watch, "per_room": load.watchers}) as watchers:
            await watchers.told("ready")
            async with Child.load("produce", {"url": url, "rooms": rooms, "rate": load.rate}) as producer:
                await producer.told("ready")
                yield Streaming(server, watchers, producer, url, tokens, rooms)


@asynccontextmanager
async def baton_streaming(
    server: Child, url: str, tokens: dict[str, str], load: Load, *, checks: bool = False, **more: Any
) -> AsyncIterator[Streaming]:
    """The same on a Baton server that runs: an outside bridge, a run in each conversation, watchers that joined."""
    options = {"url": url, "token": tokens["bridge"], "runs": load.conversations, "rate": load.rate}
    async with Child.load("bridge", {**options, "per_frame": load.per_frame, **more}) as bridge:
        await bridge.told("connected")
        rooms = [await asyncio.to_thread(begin_run, url, tokens["admin"]) for _ in range(load.conversations)]
        await bridge.told("ready")
        watch = {"kind": "socketio", "url": url, "rooms": rooms, "per_room": load.watchers, "checks": checks}
        async with Child.load("watch", {**watch, "token": tokens["admin"]}) as watchers:
            await watchers.told("ready")
            yield Streaming(server, watchers, bridge, url, tokens, rooms)


def begin_run(url: str, token: str) -> str:
    """A conversation with a run under way; its id."""
    made = post(f"{url}/api/chat/conversations", token, {"agent": "load"})
    conversation_id: str = made["conversation"]["id"]
    post(
        f"{url}/api/chat/conversations/{conversation_id}/messages",
        token,
        {"requestId": f"load-{conversation_id}", "content": "go"},
    )
    return conversation_id


def post(url: str, token: str, body: dict[str, Any]) -> Any:
    """The answer of REST."""
    request = urllib.request.Request(
        url,
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)
