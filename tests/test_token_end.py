"""A whole server and a token that ends while it is in use: links and sockets go within the minute, or at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from baton.app import SERVER, Server, create_app
from baton.core.commands import AccountRole, Identity
from baton.core.ids import UserId
from baton.core.tokens import CreateToken, NewToken
from baton.credentials import open_credentials, prepare_folder
from baton.settings import Settings
from baton.storage.sqlite import SqliteStore
from baton.storage.sqlite_migrate import migrate_sqlite
from baton.testing.clock import FakeClock
from tests.support.ports import free_port
from tests.support.raw_clients import RawBridge, hello, open_bridge, open_socket

ROOT = Identity(UserId("root"), AccountRole.ADMIN)
DAY_S = 24 * 3600.0
BRIDGE = hello("desktop")


@dataclass
class Stage:
    """A server whose time the test moves, and a client of it."""

    server: Server
    clock: FakeClock
    session: aiohttp.ClientSession
    url: str

    async def token(self, role: AccountRole, name: str = "x", days: int | None = None) -> NewToken:
        return await self.server.services.tokens.create(ROOT, CreateToken(name=name, role=role, expires_in_days=days))

    @asynccontextmanager
    async def bridge(self, token: str) -> AsyncIterator[RawBridge]:
        """One that has its welcome."""
        async with open_bridge(self.session, self.url, token, BRIDGE) as bridge:
            await bridge.until("welcome")
            yield bridge


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock, data = FakeClock(), tmp_path / "data"
    prepare_folder(data)
    database = data / "baton.sqlite3"
    await migrate_sqlite(database, clock=clock)
    settings = Settings(data=data, port=free_port(), bridge="none")
    app = create_app(settings, open_credentials(data), clock=clock, store=SqliteStore(database, clock=clock))
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", settings.port).start()
        async with aiohttp.ClientSession() as session:
            yield Stage(app[SERVER], clock, session, f"http://127.0.0.1:{settings.port}")
    finally:
        await runner.cleanup()


async def test_an_expired_token_loses_its_link_within_a_minute(stage: Stage) -> None:
    new = await stage.token(AccountRole.BRIDGE, days=1)
    async with stage.bridge(new.text) as bridge:
        stage.clock.jump(DAY_S)
        await stage.clock.run_for(31)  # less than two heartbeats, after which silence would end it
        assert (await bridge.ending()).code == 4401


async def test_an_expired_token_loses_its_sockets_within_a_minute(stage: Stage) -> None:
    new = await stage.token(AccountRole.USER, days=1)
    socket = await open_socket(stage.session, stage.url, new.text)
    stage.clock.jump(DAY_S)
    await stage.clock.run_for(31)
    assert stage.server.fanout.socket_count == 0
    await socket.close()


async def test_what_else_came_in_with_a_revoked_token_is_refused_at_once(stage: Stage) -> None:
    new = await stage.token(AccountRole.USER)
    async with stage.session.post(f"{stage.url}/api/login", json={"token": new.text}) as response:
        cookie = response.headers["Set-Cookie"].partition(";")[0]
    await stage.server.services.tokens.revoke(ROOT, new.token.id)
    for headers in ({"Authorization": f"Bearer {new.text}"}, {"Cookie": cookie}):
        async with stage.session.get(f"{stage.url}/api/me", headers=headers) as response:
            assert response.status == 401


async def test_after_a_logout_the_kept_cookie_opens_nothing_and_its_sockets_are_closed(stage: Stage) -> None:
    new = await stage.token(AccountRole.USER)
    async with stage.session.post(f"{stage.url}/api/login", json={"token": new.text}) as response:
        kept = {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}
    assert new.text not in kept["Cookie"]
    async with aiohttp.ClientSession(headers=kept, cookie_jar=aiohttp.DummyCookieJar()) as browser:
        with_cookie = await open_socket(browser, stage.url, None)
        with_token = await open_socket(stage.session, stage.url, new.text)
        for socket in (with_cookie, with_token):
            await socket.packet()  # the first event: only now it counts
        assert stage.server.fanout.socket_count == 2
        async with browser.post(f"{stage.url}/api/logout") as response:
            assert response.status == 200
        assert stage.server.fanout.socket_count == 1, "who came with the token itself goes on"
        async with browser.get(f"{stage.url}/api/me") as response:
            assert response.status == 401
        with pytest.raises(AssertionError, match="refused"):
            await open_socket(browser, stage.url, None)
        await with_token.close()


async def test_a_failed_login_is_in_the_audit_with_its_address_and_without_its_token(stage: Stage) -> None:
    async with stage.session.post(f"{stage.url}/api/login", json={"token": "a wrong one"}) as response:
        assert response.status == 401
    (entry,) = (await stage.server.store.audit(action="login.failed")).items
    assert (entry.address, entry.user_id) == ("127.0.0.1", None)
    assert "a wrong one" not in repr(entry)


async def test_a_revoked_bridge_is_gone_and_its_name_free_for_its_next_token(stage: Stage) -> None:
    first, second = await stage.token(AccountRole.BRIDGE, "one"), await stage.token(AccountRole.BRIDGE, "two")
    async with stage.bridge(first.text) as bridge:
        async with open_bridge(stage.session, stage.url, second.text, BRIDGE) as impostor:
            refused = await impostor.ending()
            assert (refused.code, "baton token revoke" in refused.reason) == (4401, True)
        await stage.server.services.tokens.revoke(ROOT, first.token.id)
        assert (await bridge.ending()).code == 4401
    async with stage.bridge(second.text):
        assert [one.id for one in stage.server.hub.presence()] == ["desktop"]
