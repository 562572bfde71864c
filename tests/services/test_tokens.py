"""Tokens: told once, checked without I/O, bound to one bridge, ended for ever; and those of files and settings."""

from datetime import timedelta

import pytest

from baton.core.commands import AccountRole, Identity
from baton.core.errors import Conflict, Forbidden, InvalidRequest, NotFound, StoreUnavailable
from baton.core.ids import BridgeId, TokenId, UserId, new_object_id
from baton.core.tokens import MAX_TOKEN_LENGTH, CreateToken, NewToken, token_digest
from baton.services import tokens as service
from baton.services.tokens import Tokens
from baton.storage.sqlite import SqliteStore
from baton.testing import samples
from baton.testing.clock import FakeClock
from baton.testing.stores import StoreInFront

ROOT = Identity(UserId("root"), AccountRole.ADMIN)
LAPTOP, DESKTOP = BridgeId("laptop"), BridgeId("desktop")
ADMIN_TEXT, BRIDGE_TEXT = "the admin's own token 1", "the bridge's own token 1"
GIVEN = {AccountRole.ADMIN: token_digest(ADMIN_TEXT), AccountRole.BRIDGE: token_digest(BRIDGE_TEXT)}
DAY_S = 24 * 3600.0


class Ended:
    """Remembers which tokens were ended."""

    def __init__(self) -> None:
        self.ids: list[TokenId] = []

    async def __call__(self, token_id: TokenId) -> None:
        self.ids.append(token_id)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def tokens(store: SqliteStore, clock: FakeClock) -> Tokens:
    return await started(store, clock)


async def started(store: SqliteStore, clock: FakeClock, given: dict[AccountRole, str] | None = None) -> Tokens:
    """Of a server that was just started."""
    tokens = Tokens(store=store, clock=clock, given=GIVEN if given is None else given)
    tokens.on_ended = Ended()
    await tokens.load()
    await tokens.adopt()
    return tokens


def ended(tokens: Tokens) -> list[TokenId]:
    assert isinstance(tokens.on_ended, Ended)
    return tokens.on_ended.ids


async def made(
    tokens: Tokens, name: str = "desktop", role: AccountRole = AccountRole.BRIDGE, days: int | None = None
) -> NewToken:
    return await tokens.create(ROOT, CreateToken(name=name, role=role, expires_in_days=days))


def who(tokens: Tokens, text: str) -> Identity:
    """Whose the text is; somebody's."""
    found = tokens.verify(text)
    assert found is not None
    return found


# --- making and checking ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", list(AccountRole))
async def test_a_new_token_is_its_names_with_its_role(tokens: Tokens, role: AccountRole) -> None:
    new = await made(tokens, "Zoë's phone", role)
    assert tokens.verify(new.text) == Identity(UserId("Zoë's phone"), role, token_id=new.token.id)
    assert (new.token.created_by, new.token.expires_at) == ("root", None)


async def test_a_token_counts_after_a_restart_and_its_text_is_kept_nowhere(
    tokens: Tokens, store: SqliteStore, clock: FakeClock
) -> None:
    new = await made(tokens)
    again = await started(store, clock)
    assert again.verify(new.text) == tokens.verify(new.text)
    assert new.text not in repr(await store.token(new.token.id))
    assert new.text not in repr(new)


@pytest.mark.parametrize("wrong", ["", "baton_", "é", "\ud800", "x" * 10_000, ADMIN_TEXT + " ", ADMIN_TEXT[:-1]])
async def test_any_other_text_is_nobodys(tokens: Tokens, wrong: str) -> None:
    assert tokens.verify(wrong) is None


async def test_a_text_that_is_too_long_is_not_hashed(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "token_digest", lambda text: pytest.fail("was hashed"))
    assert tokens.verify("x" * (MAX_TOKEN_LENGTH + 1)) is None


async def test_before_the_store_was_read_every_token_is_nobodys(store: SqliteStore, clock: FakeClock) -> None:
    assert Tokens(store=store, clock=clock, given=GIVEN).verify(ADMIN_TEXT) is None


async def test_two_tokens_that_count_have_two_names(tokens: Tokens) -> None:
    first = await made(tokens, "Laptop")
    with pytest.raises(Conflict, match="named laptop"):
        await made(tokens, "laptop")
    await tokens.revoke(ROOT, first.token.id)
    assert who(tokens, (await made(tokens, "laptop")).text).user_id == "laptop"


async def again(tokens: Tokens, name: str, role: AccountRole) -> NewToken:
    """One more token of the same user."""
    return await tokens.create(ROOT, CreateToken(name=name, role=role, same_user=True))


async def test_one_more_token_of_the_same_user_is_made_where_it_is_asked_for_and_ends_alone(tokens: Tokens) -> None:
    first = await made(tokens, "anna", AccountRole.USER)
    second = await again(tokens, "anna", AccountRole.USER)
    assert who(tokens, second.text).user_id == who(tokens, first.text).user_id
    await tokens.revoke(ROOT, first.token.id)
    assert tokens.verify(first.text) is None
    assert who(tokens, second.text).token_id == second.token.id


@pytest.mark.parametrize(
    ("name", "role"),
    [("ben", AccountRole.USER), ("Anna", AccountRole.USER), ("anna", AccountRole.ADMIN), ("desk", AccountRole.BRIDGE)],
)
async def test_one_more_token_comes_to_no_more_than_those_of_its_name(
    tokens: Tokens, name: str, role: AccountRole
) -> None:
    await made(tokens, "anna", AccountRole.USER)
    await made(tokens, "desk", AccountRole.BRIDGE)
    with pytest.raises(Conflict, match=f"no {role} named {name}"):
        await again(tokens, name, role)


@pytest.mark.parametrize("name", ["admin", "Bridge", "local", "9" * 24])
async def test_names_of_the_servers_own_are_refused(tokens: Tokens, name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await made(tokens, name, AccountRole.USER)
    assert refused.value.fields is not None
    assert set(refused.value.fields) == {"name"}


async def test_there_are_only_so_many(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_LIVE_TOKENS", 3)  # two are given
    await made(tokens, "one")
    with pytest.raises(Conflict, match="3 tokens that count"):
        await made(tokens, "two")


# --- ending ----------------------------------------------------------------------------------------------------


async def test_a_revoked_token_is_nobodys_at_once_and_for_ever(
    tokens: Tokens, store: SqliteStore, clock: FakeClock
) -> None:
    new = await made(tokens)
    first = await tokens.revoke(ROOT, new.token.id)
    assert tokens.verify(new.text) is None
    assert ended(tokens) == [new.token.id]
    clock.advance(5)
    assert await tokens.revoke(ROOT, new.token.id) == first
    assert ended(tokens) == [new.token.id], "what came in with it goes once"
    assert (await started(store, clock)).verify(new.text) is None


async def test_an_unknown_token_is_not_found(tokens: Tokens) -> None:
    with pytest.raises(NotFound):
        await tokens.revoke(ROOT, TokenId(new_object_id()))


async def test_an_expired_token_is_nobodys_and_ends_with_the_next_sweep(tokens: Tokens, clock: FakeClock) -> None:
    new, other = await made(tokens, days=2), await made(tokens, "other")
    assert new.token.expires_at == clock.now() + timedelta(days=2)
    clock.advance(2 * DAY_S - 1)
    await tokens.sweep()
    assert who(tokens, new.text).user_id == "desktop"
    clock.advance(1)
    assert tokens.verify(new.text) is None
    await tokens.sweep()
    await tokens.sweep()
    assert ended(tokens) == [new.token.id]
    assert who(tokens, other.text).user_id == "other"


async def test_the_last_token_of_an_admin_stays(tokens: Tokens, clock: FakeClock) -> None:
    admin = who(tokens, ADMIN_TEXT)
    assert admin.token_id is not None
    with pytest.raises(Conflict, match="last token of an admin"):
        await tokens.revoke(admin, admin.token_id)
    second = await made(tokens, "second", AccountRole.ADMIN, days=1)
    assert (await tokens.revoke(admin, admin.token_id)).revoked_at == clock.now()
    assert tokens.verify(ADMIN_TEXT) is None
    assert who(tokens, second.text).role is AccountRole.ADMIN


async def test_what_another_process_did_counts_after_a_sweep(
    tokens: Tokens, store: SqliteStore, clock: FakeClock
) -> None:
    new = await made(tokens)
    elsewhere = await started(store, clock)
    added = await made(elsewhere, "added")
    await elsewhere.revoke(ROOT, new.token.id)
    await tokens.sweep()
    assert tokens.verify(new.text) is None
    assert ended(tokens) == [new.token.id]
    assert who(tokens, added.text).user_id == "added"


async def test_expired_tokens_end_also_while_the_store_is_away(store: SqliteStore, clock: FakeClock) -> None:
    class Away(StoreInFront):
        async def note_token_use(self, used_at: object) -> None:
            raise StoreUnavailable("away")

    tokens = Tokens(store=Away(store), clock=clock, given={})
    tokens.on_ended = Ended()
    new = await made(tokens, days=1)
    clock.advance(DAY_S)
    with pytest.raises(StoreUnavailable):
        await tokens.sweep()
    assert ended(tokens) == [new.token.id]


# --- lists -----------------------------------------------------------------------------------------------------


async def test_all_are_listed_newest_first_also_those_that_ended(tokens: Tokens) -> None:
    first, second = await made(tokens, "first"), await made(tokens, "second")
    revoked = await tokens.revoke(ROOT, first.token.id)
    listed = await tokens.page(ROOT)
    assert list(listed[:2]) == [second.token, revoked]
    assert [token.name for token in listed[2:]] == ["bridge", "admin"]


async def test_those_of_one_second_are_listed_in_order_whoever_made_them(
    tokens: Tokens, store: SqliteStore, clock: FakeClock
) -> None:
    # Another process's ids may be greater or less.
    for number, first_digit in enumerate("f0e"):
        made_at = clock.now() + timedelta(milliseconds=number + 1)
        token_id = TokenId(first_digit + new_object_id()[1:])
        assert await store.add_token(samples.api_token(id=token_id, name=str(number), created_at=made_at))
    assert [token.name for token in (await tokens.page(ROOT))[:3]] == ["2", "1", "0"]


async def test_the_last_use_is_listed_at_once_and_stored_by_a_sweep(
    tokens: Tokens, store: SqliteStore, clock: FakeClock
) -> None:
    new = await made(tokens)
    clock.advance(7)
    tokens.verify(new.text)
    assert (await tokens.page(ROOT))[0].last_used_at == clock.now()
    stored = await store.token(new.token.id)
    assert stored is not None
    assert stored.last_used_at is None
    await tokens.sweep()
    stored = await store.token(new.token.id)
    assert stored is not None
    assert stored.last_used_at == clock.now()


# --- bridges ---------------------------------------------------------------------------------------------------


async def test_a_token_is_the_bridges_that_used_it_first_also_after_a_restart(
    tokens: Tokens, store: SqliteStore, clock: FakeClock
) -> None:
    new = await made(tokens)
    await tokens.bind(who(tokens, new.text), LAPTOP)
    await tokens.bind(who(tokens, new.text), LAPTOP)
    assert who(tokens, new.text).bridge_id == LAPTOP
    again = await started(store, clock)
    with pytest.raises(Forbidden, match="baton token create --role bridge --name NAME"):
        await again.bind(who(again, new.text), DESKTOP)
    await again.bind(who(again, new.text), LAPTOP)


async def test_the_given_token_is_bound_too(tokens: Tokens, store: SqliteStore, clock: FakeClock) -> None:
    await tokens.bind(who(tokens, BRIDGE_TEXT), LAPTOP)
    again = await started(store, clock)
    assert who(again, BRIDGE_TEXT).bridge_id == LAPTOP


async def test_the_cure_stands_at_the_beginning_where_no_close_frame_cuts_it(tokens: Tokens) -> None:
    await tokens.bind(who(tokens, BRIDGE_TEXT), BridgeId("b" * 200))
    with pytest.raises(Forbidden) as refused:
        await tokens.bind(who(tokens, BRIDGE_TEXT), DESKTOP)
    assert "`baton token create --role bridge --name NAME`" in refused.value.message[:123]


async def test_a_bridge_comes_with_another_token_only_once_the_first_has_ended(tokens: Tokens) -> None:
    first, second = await made(tokens, "first"), await made(tokens, "second")
    await tokens.bind(who(tokens, first.text), LAPTOP)
    with pytest.raises(Forbidden, match=f"baton token revoke {first.token.id}"):
        await tokens.bind(who(tokens, second.text), LAPTOP)
    await tokens.revoke(ROOT, first.token.id)
    await tokens.bind(who(tokens, second.text), LAPTOP)
    assert who(tokens, second.text).bridge_id == LAPTOP


async def test_a_token_that_ends_while_it_is_checked_is_bound_no_more(tokens: Tokens) -> None:
    new = await made(tokens)
    identity = who(tokens, new.text)
    await tokens.revoke(ROOT, new.token.id)
    with pytest.raises(Forbidden):
        await tokens.bind(identity, LAPTOP)


async def test_a_token_that_was_revoked_elsewhere_is_not_bound(tokens: Tokens, store: SqliteStore) -> None:
    new = await made(tokens)
    await store.revoke_token(new.token.id, samples.START)
    with pytest.raises(Forbidden, match="revoked"):
        await tokens.bind(who(tokens, new.text), LAPTOP)


# --- given tokens ----------------------------------------------------------------------------------------------


async def test_given_tokens_are_the_admins_and_a_bridges(tokens: Tokens) -> None:
    for text, role in ((ADMIN_TEXT, AccountRole.ADMIN), (BRIDGE_TEXT, AccountRole.BRIDGE)):
        assert (who(tokens, text).user_id, who(tokens, text).role) == (role.value, role)


async def test_a_token_that_is_given_no_more_counts_no_more_until_it_is_given_again(
    tokens: Tokens, store: SqliteStore, clock: FakeClock
) -> None:
    other = {**GIVEN, AccountRole.ADMIN: token_digest("another text")}
    rotated = await started(store, clock, other)
    assert rotated.verify(ADMIN_TEXT) is None
    assert who(rotated, "another text").user_id == "admin"
    assert len(await rotated.page(ROOT)) == 2
    assert who(await started(store, clock), ADMIN_TEXT) == who(tokens, ADMIN_TEXT)


async def test_a_given_token_that_was_revoked_stays_so_and_the_log_says_it(
    tokens: Tokens, store: SqliteStore, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = who(tokens, BRIDGE_TEXT)
    assert bridge.token_id is not None
    await tokens.revoke(ROOT, bridge.token_id)
    again = await started(store, clock)
    assert again.verify(BRIDGE_TEXT) is None
    assert [getattr(record, "role", None) for record in caplog.records if record.levelname == "WARNING"] == ["bridge"]


async def test_a_token_given_for_another_role_keeps_the_one_that_it_has(
    tokens: Tokens, store: SqliteStore, clock: FakeClock
) -> None:
    swapped = {AccountRole.ADMIN: GIVEN[AccountRole.BRIDGE], AccountRole.BRIDGE: GIVEN[AccountRole.ADMIN]}
    again = await started(store, clock, swapped)
    assert who(again, BRIDGE_TEXT).role is AccountRole.BRIDGE
