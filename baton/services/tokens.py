"""Tokens of the API: who makes and revokes them, whose a text is, and which bridge a token is bound to.

All that count are in memory by their hashes, so that a check costs no I/O; the store is what lasts. Whoever writes
tokens while a server runs asks that server (`baton.token_admin`), and once in a while all are read again, so that
what got into the database in another way counts soon too.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from baton.core.commands import AccountRole, Identity
from baton.core.errors import Conflict, Forbidden, InvalidRequest, NotFound
from baton.core.ids import BridgeId, TokenId, UserId, is_object_id, new_object_id
from baton.core.permissions import Action
from baton.core.ports import Clock, Store
from baton.core.tokens import MAX_TOKEN_LENGTH, ApiToken, CreateToken, NewToken, new_token_text, token_digest
from baton.services.trail import Trail

logger = logging.getLogger(__name__)

MAX_LIVE_TOKENS: Final = 1000
RESERVED_NAMES: Final = frozenset({"admin", "bridge", "local"})
"""Names that the server gives: a user's token with one of them would own what is theirs."""


async def _nobody(_: TokenId) -> None:
    """Nothing came in with a token: no server runs."""


class Tokens:
    """See the module. Implements `web.access.TokenVerifier`.

    `given`: the digests of the tokens that settings or files of the data folder give, by role. They are kept in the
    store like all others, so that they can be bound and revoked, but count only as long as they are given.
    """

    def __init__(
        self, *, store: Store, clock: Clock, given: Mapping[AccountRole, str], trail: Trail | None = None
    ) -> None:
        self._store = store
        self._trail = trail or Trail(store, clock)
        self._clock = clock
        self._given = dict(given)
        self._live: dict[str, ApiToken] = {}
        """By digest."""
        self._used_at: dict[TokenId, datetime] = {}
        """Uses that the store does not know yet."""
        self._lock = asyncio.Lock()
        """Whoever changes tokens holds it from the first read to the last write, in the store and here."""
        self.on_ended: Callable[[TokenId], Awaitable[None]] = _nobody
        """Called once a token counts no more: what came in with it is to be closed."""

    # --- life --------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Know what the store has. Until then, every token is nobody's."""
        async with self._lock:
            await self._read()

    async def adopt(self) -> None:
        """Keep the given tokens in the store, where they are new; for the process that owns the database."""
        async with self._lock:
            for role, digest in self._given.items():
                await self._store.add_token(
                    ApiToken(
                        id=TokenId(new_object_id()),
                        name=role.value,
                        role=role,
                        created_at=self._clock.now(),
                        created_by=None,
                        digest=digest,
                    )
                )
            await self._read()
        for role, digest in self._given.items():
            found = self._live.get(digest)
            if found is None or found.role is not role:
                logger.warning(
                    "❌ a token that files or settings give was revoked, or is another's: remove the file, or choose "
                    "another token, and start again",
                    extra={"action": "token.given_refused", "role": role.value},
                )

    async def sweep(self) -> None:
        """End what has expired, store what was used, read again what is stored. At least once a minute."""
        await self._end([token for token in self._live.values() if not token.is_live(self._clock.now())])
        used_at, self._used_at = self._used_at, {}
        try:
            await self._store.note_token_use(used_at)
        except BaseException:
            self._used_at = used_at | self._used_at
            raise
        async with self._lock:
            before = list(self._live.values())
            await self._read()
            now_live = {token.id for token in self._live.values()}
        await self._end([token for token in before if token.id not in now_live])

    async def _read(self) -> None:
        now = self._clock.now()
        stored = await self._store.live_tokens()
        self._live = {token.digest: token for token in stored if token.is_live(now) and self._counts(token)}

    def _counts(self, token: ApiToken) -> bool:
        """Not so a token that settings or a file gave once, and give no more."""
        return token.created_by is not None or token.digest in self._given.values()

    async def _end(self, tokens: Sequence[ApiToken]) -> None:
        """Forget them, and close what came in with them."""
        for token in tokens:
            self._live.pop(token.digest, None)
        for token in tokens:
            logger.info("🔌 token counts no more", extra={"action": "token.ended", "tokenId": token.id})
            await self.on_ended(token.id)

    # --- checking ----------------------------------------------------------------------------------------------

    def verify(self, token: str) -> Identity | None:
        """Whose token this is; None: nobody's.

        The time it takes tells nothing of the tokens: what is looked up is the hash of a hash.
        """
        return None if len(token) > MAX_TOKEN_LENGTH else self.verify_digest(token_digest(token))

    def verify_digest(self, digest: str) -> Identity | None:
        """Whose the token with this digest is; None: nobody's."""
        found = self._live.get(digest)
        now = self._clock.now()
        if found is None or not found.is_live(now):
            return None
        self._used_at[found.id] = now
        return Identity(UserId(found.name), found.role, token_id=found.id, bridge_id=found.bridge_id)

    async def bind(self, who: Identity, bridge_id: BridgeId) -> None:
        """Make the token this bridge's at its first use. Raises Forbidden, with the cure, where it is another's.

        Nor may a bridge that is one token's come with another one as long as the first counts: whoever has any
        token of the role bridge could otherwise take another's runs.
        """
        async with self._lock:
            token = self._by_id(who.token_id)
            if token is None:
                raise Forbidden("The token was revoked, or has expired")
            if token.bridge_id is None:
                token = await self._bind(token, bridge_id)
        if token.bridge_id != bridge_id:
            raise Forbidden(
                f"Make this bridge its own: `baton token create --role bridge --name NAME` "
                f"(the token is {token.bridge_id}'s)"
            )

    async def _bind(self, token: ApiToken, bridge_id: BridgeId) -> ApiToken:
        for other in self._live.values():
            if other.bridge_id == bridge_id and other.is_live(self._clock.now()):
                raise Forbidden(f"Another token is this bridge's: `baton token revoke {other.id}` ({other.name})")
        bound = await self._store.bind_token(token.id, bridge_id)
        if bound is None or bound.revoked_at is not None:
            raise Forbidden("The token was revoked")
        self._live[bound.digest] = bound
        logger.info("🌉 token bound", extra={"action": "token.bound", "tokenId": bound.id, "bridgeId": bound.bridge_id})
        return bound

    def _by_id(self, token_id: TokenId | None) -> ApiToken | None:
        return next((token for token in self._live.values() if token.id == token_id), None)

    # --- for admins --------------------------------------------------------------------------------------------

    async def create(self, who: Identity, command: CreateToken) -> NewToken:
        """Make one. Raises InvalidRequest for a name that nobody may have, Conflict where it is taken (with
        `same_user`: where no user has it), or too many."""
        if command.name.casefold() in RESERVED_NAMES or is_object_id(command.name):
            raise InvalidRequest(
                f"The name {command.name} is one that the server itself gives: choose another",
                fields={"name": ["Is one that the server itself gives."]},
            )
        now, text = self._clock.now(), new_token_text()
        days = command.expires_in_days
        token = ApiToken(
            id=TokenId(new_object_id()),
            name=command.name,
            role=command.role,
            created_at=now,
            created_by=who.user_id,
            expires_at=None if days is None else now + timedelta(days=days),
            digest=token_digest(text),
        )
        async with self._lock:
            self._check_room(command, now)
            if not await self._store.add_token(token):
                raise Conflict("The token could not be made: try again")
            self._live[token.digest] = token
        logger.info("🔌 token made", extra={"action": "token.created", "tokenId": token.id, "role": token.role.value})
        await self._trail.note(who, Action.TOKEN_CREATED, subject=_said(token))
        return NewToken(token=token, text=text)

    def _check_room(self, command: CreateToken, now: datetime) -> None:
        live = [token for token in self._live.values() if token.is_live(now)]
        name = command.name
        namesakes = [token for token in live if token.name.casefold() == name.casefold()]
        if command.same_user:
            # Spelled and with the role as it is: no token may come to more than those of its name have already.
            # A bridge's is one bridge's: it has no second one.
            known = {(token.name, token.role) for token in namesakes if token.role is not AccountRole.BRIDGE}
            if (name, command.role) not in known:
                raise Conflict(f"There is no {command.role} named {name} with a token that counts")
        elif namesakes:
            raise Conflict(
                f"There is a token named {name}: choose another name, or revoke that one first; for one more token "
                "of the same user say so (--same-user)"
            )
        if len(live) >= MAX_LIVE_TOKENS:
            raise Conflict(f"There are {MAX_LIVE_TOKENS} tokens that count: revoke some first")

    async def page(self, who: Identity) -> Sequence[ApiToken]:
        """The newest 1000, newest first, also those that were revoked or have expired."""
        tokens = [
            replace(token, last_used_at=self._used_at.get(token.id, token.last_used_at))
            for token in await self._store.tokens()
            if self._counts(token)
        ]
        # Ids of several processes, such as the command's, are in order to the second only.
        return sorted(tokens, key=lambda token: (token.created_at, token.id), reverse=True)

    async def revoke(self, who: Identity, token_id: TokenId) -> ApiToken:
        """End it for ever, with all that came in with it; one that was revoked stays as it is.

        Raises NotFound, and Conflict for the last token of an admin: nobody could make another.
        """
        async with self._lock:
            token = await self._store.token(token_id)
            if token is None:
                raise NotFound("There is no such token")
            self._check_not_last(token)
            revoked = await self._store.revoke_token(token_id, self._clock.now())
            if revoked is None:
                raise NotFound("There is no such token")
            was_live = self._live.pop(token.digest, None) is not None
        if was_live:
            await self._end([token])
        if token.revoked_at is None:
            await self._trail.note(who, Action.TOKEN_REVOKED, subject=_said(token))
        return revoked

    def _check_not_last(self, token: ApiToken) -> None:
        now = self._clock.now()
        admins = {one.id for one in self._live.values() if one.role is AccountRole.ADMIN and one.is_live(now)}
        if admins == {token.id}:
            raise Conflict("This is the last token of an admin: make another one first (`baton token create`)")


def _said(token: ApiToken) -> str:
    """The token in one line of the audit."""
    return f"{token.id} {token.role} {token.name}"
