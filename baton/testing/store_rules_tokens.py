"""The rules of tokens of the API: unique, bound once, revoked once and for ever."""

import asyncio
from dataclasses import replace

from baton.core.commands import AccountRole
from baton.core.ids import BridgeId, TokenId, new_object_id
from baton.core.ports import Store
from baton.core.tokens import ApiToken
from baton.testing import samples

LAPTOP, DESKTOP = BridgeId("laptop"), BridgeId("desktop")
UNKNOWN = TokenId("f" * 24)


async def added(store: Store, **fields: object) -> ApiToken:
    """A stored token."""
    token = samples.api_token(**fields)
    assert await store.add_token(token)
    return token


class TokenRules:
    """A token is kept without its text, found by nobody but who reads all, and changes in two ways only."""

    async def test_a_token_comes_back_as_it_was_given(self, store: Store) -> None:
        everything = await added(
            store,
            name="Zürich 👋 \0 $where",
            role=AccountRole.ADMIN,
            bridge_id=LAPTOP,
            created_by=None,
            last_used_at=samples.at(1),
            expires_at=samples.at(2),
            revoked_at=samples.at(3),
        )
        sparse = await added(store)
        assert await store.token(everything.id) == everything
        assert await store.token(sparse.id) == sparse
        assert await store.token(UNKNOWN) is None

    async def test_no_two_tokens_have_one_id_or_one_digest(self, store: Store) -> None:
        token = await added(store)
        assert not await store.add_token(replace(token, name="other", digest="0" * 64))
        assert not await store.add_token(replace(token, id=TokenId(new_object_id()), name="other"))
        assert await store.token(token.id) == token

    async def test_tokens_are_listed_newest_first_revoked_ones_too(self, store: Store) -> None:
        made = [await added(store, revoked_at=revoked) for revoked in (None, samples.at(1), None)]
        assert [token for token in await store.tokens() if token in made] == made[::-1]
        assert list(await store.tokens(limit=2)) == made[:0:-1]

    async def test_live_tokens_are_all_that_are_not_revoked(self, store: Store) -> None:
        live = await added(store)
        expired = await added(store, expires_at=samples.START)
        revoked = await added(store, revoked_at=samples.START)
        found = await store.live_tokens()
        assert live in found
        assert expired in found
        assert revoked not in found

    async def test_live_tokens_are_all_found_however_many_there_are(self, store: Store) -> None:
        made = [samples.api_token() for _ in range(1100)]
        assert all(await asyncio.gather(*(store.add_token(token) for token in made)))
        found = await store.live_tokens()
        assert {token.id for token in made} <= {token.id for token in found}
        assert len(found) == len({token.id for token in found})

    async def test_a_token_is_bound_to_the_first_bridge(self, store: Store) -> None:
        token = await added(store)
        bound = replace(token, bridge_id=LAPTOP)
        assert await store.bind_token(token.id, LAPTOP) == bound
        assert await store.bind_token(token.id, DESKTOP) == bound
        assert await store.token(token.id) == bound
        assert await store.bind_token(UNKNOWN, LAPTOP) is None

    async def test_of_two_that_bind_at_once_one_wins_and_both_learn_it(self, store: Store) -> None:
        token = await added(store)
        answers = await asyncio.gather(store.bind_token(token.id, LAPTOP), store.bind_token(token.id, DESKTOP))
        assert answers[0] == answers[1] == await store.token(token.id)
        assert answers[0] in (replace(token, bridge_id=LAPTOP), replace(token, bridge_id=DESKTOP))

    async def test_a_revoked_token_is_bound_no_more(self, store: Store) -> None:
        token = await added(store, revoked_at=samples.START)
        assert await store.bind_token(token.id, LAPTOP) == token

    async def test_a_token_is_revoked_once_and_for_ever(self, store: Store) -> None:
        token = await added(store)
        revoked = replace(token, revoked_at=samples.at(5))
        assert await store.revoke_token(token.id, samples.at(5)) == revoked
        assert await store.revoke_token(token.id, samples.at(9)) == revoked
        assert await store.token(token.id) == revoked
        assert await store.revoke_token(UNKNOWN, samples.at(5)) is None

    async def test_the_last_use_goes_forward_only(self, store: Store) -> None:
        token, other = await added(store), await added(store)
        await store.note_token_use({token.id: samples.at(5), UNKNOWN: samples.at(5)})
        await store.note_token_use({token.id: samples.at(3), other.id: samples.at(4)})
        await store.note_token_use({})
        assert await store.token(token.id) == replace(token, last_used_at=samples.at(5))
        assert await store.token(other.id) == replace(other, last_used_at=samples.at(4))

    async def test_a_token_does_not_show_its_digest(self, store: Store) -> None:
        token = await added(store)
        assert token.digest not in repr(await store.token(token.id))
