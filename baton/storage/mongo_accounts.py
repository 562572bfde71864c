"""What `MongoStore` does about tokens and logins, whose documents `mongo_tokens` knows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from baton.core.ids import BridgeId, TokenId
from baton.core.tokens import ApiToken, Login
from baton.storage.mongo_documents import object_id
from baton.storage.mongo_tokens import Logins, Tokens
from baton.storage.mongo_translation import translated


class Accounts(Protocol):
    """The two collections of an open store."""

    @property
    def tokens(self) -> Tokens: ...

    @property
    def logins(self) -> Logins: ...


class AccountVerbs:
    """A part of `core.ports.Store`."""

    @property
    def _accounts(self) -> Accounts:
        """Raises StoreUnavailable where the store is not open."""
        raise NotImplementedError

    @translated
    async def add_token(self, token: ApiToken) -> bool:
        """See core.ports.Store."""
        return await self._accounts.tokens.add(token)

    @translated
    async def token(self, token_id: TokenId) -> ApiToken | None:
        """See core.ports.Store."""
        key = object_id(token_id)
        return None if key is None else await self._accounts.tokens.get(key)

    @translated
    async def tokens(self, limit: int = 1000) -> Sequence[ApiToken]:
        """See core.ports.Store."""
        return await self._accounts.tokens.newest(limit)

    @translated
    async def live_tokens(self) -> Sequence[ApiToken]:
        """See core.ports.Store."""
        return await self._accounts.tokens.live()

    @translated
    async def bind_token(self, token_id: TokenId, bridge_id: BridgeId) -> ApiToken | None:
        """See core.ports.Store."""
        key = object_id(token_id)
        return None if key is None else await self._accounts.tokens.bind(key, bridge_id)

    @translated
    async def revoke_token(self, token_id: TokenId, at: datetime) -> ApiToken | None:
        """See core.ports.Store."""
        key = object_id(token_id)
        return None if key is None else await self._accounts.tokens.revoke(key, at)

    @translated
    async def note_token_use(self, used_at: Mapping[TokenId, datetime]) -> None:
        """See core.ports.Store."""
        keys = {object_id(token_id): at for token_id, at in used_at.items()}
        await self._accounts.tokens.note_use({key: at for key, at in keys.items() if key is not None})

    @translated
    async def add_login(self, login: Login) -> None:
        """See core.ports.Store."""
        await self._accounts.logins.add(login)

    @translated
    async def logins(self, limit: int = 20_000) -> Sequence[Login]:
        """See core.ports.Store."""
        return await self._accounts.logins.newest(limit)

    @translated
    async def remove_logins(self, ids: Sequence[str]) -> None:
        """See core.ports.Store."""
        await self._accounts.logins.remove(ids)
