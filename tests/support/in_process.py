"""A whole server inside the test's process, on a real port, with a store that the test can hold or break."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from baton.app import SERVER, Server, create_app
from baton.clock import SystemClock
from baton.core.commands import AccountRole
from baton.core.ports import Store
from baton.credentials import open_credentials, prepare_folder, read_token
from baton.settings import Settings
from baton.storage.sqlite import SqliteStore
from baton.storage.sqlite_migrate import migrate_sqlite
from tests.support.ports import free_port


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs: its parts, its address, its tokens."""

    server: Server
    url: str
    token: str
    bridge_token: str


@asynccontextmanager
async def running_server(
    folder: Path, *, wrap: Callable[[Store], Store] = lambda store: store, **settings: object
) -> AsyncIterator[Running]:
    """Start a server on a fresh database below `folder`; `wrap` puts something in front of its store."""
    clock = SystemClock()
    data = folder / "data"
    prepare_folder(data)
    database = data / "baton.sqlite3"
    await migrate_sqlite(database, clock=clock)
    defaults: dict[str, object] = {"agents": ("demo",), "workspace": (folder,), "bridge_port": None}
    chosen = Settings(data=data, port=free_port(), **(defaults | settings))  # type: ignore[arg-type]  # by name
    app = create_app(chosen, open_credentials(data), store=wrap(SqliteStore(database, clock=clock)))
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", chosen.port).start()
        await app[SERVER].presence()
        token, bridge_token = (read_token(data, role) for role in (AccountRole.ADMIN, AccountRole.BRIDGE))
        assert token is not None
        assert bridge_token is not None
        yield Running(app[SERVER], f"http://127.0.0.1:{chosen.port}", token, bridge_token)
    finally:
        await runner.cleanup()
