"""Logins: a cookie of its own for each browser, which ends with its token, its logout, or its time."""

from datetime import timedelta

import pytest

from baton.core.commands import AccountRole, Identity
from baton.core.ids import UserId
from baton.core.permissions import Action
from baton.core.tokens import CreateToken, NewToken
from baton.services import logins as service
from baton.services.logins import LOGIN_LIFE, Logins
from baton.services.tokens import Tokens
from baton.services.trail import Trail
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock

ROOT = Identity(UserId("root"), AccountRole.ADMIN)
HERE = "192.0.2.1"


class World:
    """One server's tokens and logins; `restart` gives those of its next start."""

    def __init__(self, store: SqliteStore, clock: FakeClock) -> None:
        self.store, self.clock = store, clock
        self.trail = Trail(store, clock)
        self.tokens = Tokens(store=store, clock=clock, given={}, trail=self.trail)
        self.logins = Logins(store=store, tokens=self.tokens, trail=self.trail, clock=clock)
        self.ended: list[str] = []

        async def note(login_id: str) -> None:
            self.ended.append(login_id)

        self.logins.on_ended = note

    async def start(self) -> "World":
        await self.tokens.load()
        await self.logins.load()
        return self

    async def restart(self) -> "World":
        return await World(self.store, self.clock).start()

    async def token(self, name: str = "anna", days: int | None = None) -> NewToken:
        return await self.tokens.create(ROOT, CreateToken(name=name, role=AccountRole.USER, expires_in_days=days))

    async def log_in(self, made: NewToken) -> str:
        who = self.tokens.verify(made.text)
        assert who is not None
        return await self.logins.open(who, made.text)


@pytest.fixture
async def world(store: SqliteStore) -> World:
    return await World(store, FakeClock()).start()


async def test_a_cookie_opens_what_its_token_opens_also_after_a_restart(world: World) -> None:
    made = await world.token()
    cookie = await world.log_in(made)
    for now in (world, await world.restart()):
        who = now.logins.verify(cookie)
        assert who is not None
        assert (who.user_id, who.role, who.token_id) == ("anna", AccountRole.USER, made.token.id)
        assert who.login_id


async def test_a_cookie_holds_no_token_and_a_token_is_no_cookie(world: World) -> None:
    made = await world.token()
    cookie = await world.log_in(made)
    assert made.text not in cookie
    assert world.logins.verify(made.text) is None
    assert world.tokens.verify(cookie) is None
    (kept,) = await world.store.logins()
    assert cookie not in repr(kept)
    assert kept.id != cookie


async def test_a_cookie_that_was_kept_opens_nothing_after_its_logout(world: World) -> None:
    made = await world.token()
    cookie, other = await world.log_in(made), await world.log_in(made)
    who = world.logins.verify(cookie)
    await world.logins.close(cookie, HERE)
    await world.logins.close(cookie, HERE)
    assert who is not None
    assert world.ended == [who.login_id]
    for now in (world, await world.restart()):
        assert now.logins.verify(cookie) is None
        assert now.logins.verify(other) is not None, "another browser of the same person goes on"
        assert now.tokens.verify(made.text) is not None


async def test_a_cookie_ends_with_its_token_and_comes_back_with_no_other(world: World) -> None:
    made = await world.token()
    cookie = await world.log_in(made)
    await world.tokens.revoke(ROOT, made.token.id)
    await world.token()
    assert world.logins.verify(cookie) is None
    again = await world.restart()
    assert again.logins.verify(cookie) is None
    assert list(await world.store.logins()) == [], "nothing is kept of it"


async def test_a_cookie_ends_when_its_token_expires_or_its_own_time_is_over(world: World) -> None:
    short, long = await world.log_in(await world.token(days=1)), await world.log_in(await world.token("ben"))
    world.clock.jump(timedelta(days=1).total_seconds())
    assert world.logins.verify(short) is None
    assert world.logins.verify(long) is not None
    world.clock.jump(LOGIN_LIFE.total_seconds())
    assert world.logins.verify(long) is None


@pytest.mark.parametrize("secret", ["", "x", "login_", "x" * 100_000, "\ud800"])
async def test_what_nobody_was_given_opens_nothing(world: World, secret: str) -> None:
    assert world.logins.verify(secret) is None
    await world.logins.close(secret, HERE)
    assert world.ended == []


async def test_of_too_many_logins_the_oldest_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MOST_LOGINS", 2)
    made = await world.token()
    cookies = [await world.log_in(made) for _ in range(3)]
    for now in (world, await world.restart()):
        assert [now.logins.verify(cookie) is not None for cookie in cookies] == [False, True, True]
    assert len(await world.store.logins()) == 2


async def test_logins_and_logouts_are_in_the_audit(world: World) -> None:
    made = await world.token()
    cookie = await world.log_in(made)
    await world.logins.close(cookie, HERE)
    entries = (await world.store.audit(user_id=UserId("anna"))).items
    assert [(entry.action, entry.token_id) for entry in entries] == [
        (Action.LOGOUT, made.token.id),
        (Action.LOGIN, made.token.id),
    ]
    assert entries[0].address == HERE
