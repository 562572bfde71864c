"""Browsers that are logged in: each has come with a token once, and goes on with a cookie of its own.

What the cookie holds is no token: it opens what its token opens, as long as that counts and nobody has logged out. Kept
are digests, in memory and in the store, so that a restart logs nobody out.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from baton.core.commands import Identity
from baton.core.permissions import Action
from baton.core.ports import Clock, Store
from baton.core.tokens import MAX_TOKEN_LENGTH, Login, new_token_text, token_digest
from baton.services.tokens import Tokens
from baton.services.trail import Trail

logger = logging.getLogger(__name__)

LOGIN_LIFE: Final = timedelta(days=90)
MOST_LOGINS: Final = 10_000
"""Then the oldest ends with each new one: who comes with a token again and again fills no memory."""


async def _nobody(_: str) -> None:
    """Nothing came in with it: no server runs."""


class Logins:
    """See the module. Implements `web.access.LoginKeeper`."""

    def __init__(self, *, store: Store, tokens: Tokens, trail: Trail, clock: Clock) -> None:
        self._store = store
        self._tokens = tokens
        self._trail = trail
        self._clock = clock
        self._logins: dict[str, Login] = {}
        """By id, the oldest first."""
        self._lock = asyncio.Lock()
        self.on_ended: Callable[[str], Awaitable[None]] = _nobody
        """Called once a login opens nothing any more: sockets that came in with it are to be closed."""

    async def load(self) -> None:
        """Know what the store has; forget there what opens nothing any more."""
        async with self._lock:
            stored = await self._store.logins()
            live = [login for login in stored if self._of(login) is not None][:MOST_LOGINS]
            self._logins = {login.id: login for login in reversed(live)}
            await self._store.remove_logins([login.id for login in stored if login.id not in self._logins])

    def verify(self, token: str) -> Identity | None:
        """Whose cookie holds this; None: nobody's, or nobody's any more."""
        if len(token) > MAX_TOKEN_LENGTH:
            return None
        login = self._logins.get(token_digest(token))
        return None if login is None else self._of(login)

    async def open(self, who: Identity, token: str) -> str:
        """What the cookie of a browser is to hold that came with this token of `who`'s."""
        secret, now = f"login_{new_token_text()}", self._clock.now()
        login = Login(
            id=token_digest(secret), token_digest=token_digest(token), created_at=now, expires_at=now + LOGIN_LIFE
        )
        async with self._lock:
            await self._store.add_login(login)
            self._logins[login.id] = login
            surplus = list(self._logins)[: max(0, len(self._logins) - MOST_LOGINS)]
        await self._end(surplus)
        await self._trail.note(who, Action.LOGIN)
        return secret

    async def close(self, secret: str, address: str) -> None:
        """The browser logs out: what its cookie holds opens nothing any more, whoever has kept it. Idempotent."""
        who = self.verify(secret)
        if who is None:
            return
        await self._end([token_digest(secret)])
        await self._trail.note(replace(who, address=address), Action.LOGOUT)

    async def failed(self, address: str) -> None:
        """A browser came with a token that is nobody's."""
        await self._trail.login_failed(address)

    async def _end(self, ids: list[str]) -> None:
        for login_id in ids:
            self._logins.pop(login_id, None)
        await self._store.remove_logins(ids)
        for login_id in ids:
            logger.info("🔌 login ended", extra={"action": "login.ended"})
            await self.on_ended(login_id)

    def _of(self, login: Login) -> Identity | None:
        if self._clock.now() >= login.expires_at:
            return None
        who = self._tokens.verify_digest(login.token_digest)
        return None if who is None else replace(who, login_id=login.id)
