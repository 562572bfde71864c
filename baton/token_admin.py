"""`baton token create | list | revoke`: through the server where one has the database, else on the database itself.

A server keeps its tokens in memory and must close what came in with a revoked one: so it is asked wherever there is
one. What is done on a database that nobody serves, the next start finds there.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from baton.asking import Server, open_server
from baton.clock import SystemClock
from baton.core.commands import AccountRole, Identity
from baton.core.errors import ConfigError, Conflict, InvalidRequest, NotFound
from baton.core.ids import TokenId, UserId
from baton.core.tokens import ApiToken, CreateToken, NewToken
from baton.credentials import read_credentials
from baton.database import free_database
from baton.schemas.codec import from_document
from baton.schemas.fields import load
from baton.schemas.rest import MAX_TOKEN_DAYS, MAX_TOKEN_NAME_LENGTH, CreateTokenSchema
from baton.services.tokens import Tokens
from baton.settings import Settings

_ADMIN: Final = Identity(UserId("admin"), AccountRole.ADMIN)
_DAYS: Final = re.compile(r"[0-9]{1,6}\Z", re.ASCII)
_ACCEPTED: Final = {
    "name": f"--name: accepted are 1 to {MAX_TOKEN_NAME_LENGTH} printable characters",
    "role": f"--role: accepted is {', '.join(AccountRole)}",
    "expiresInDays": f"--expires: accepted is a whole number of days from 1 to {MAX_TOKEN_DAYS}",
}


class Desk(Protocol):
    """Where tokens are made and revoked. Raises what `services.tokens` does, from wherever it is."""

    async def create(self, command: CreateToken) -> NewToken: ...

    async def page(self) -> Sequence[ApiToken]: ...

    async def revoke(self, token_id: TokenId) -> ApiToken: ...


def create_command(name: str, role: str, expires: str | None, *, same_user: bool = False) -> CreateToken:
    """What was typed, judged as a request to the server is. Raises ConfigError, naming what is accepted."""
    days = int(expires) if expires is not None and _DAYS.match(expires) else expires
    try:
        raw = {"name": name, "role": role, "expiresInDays": days, "sameUser": same_user}
        command: CreateToken = load(CreateTokenSchema(), raw)
    except InvalidRequest as error:
        raise ConfigError("\n".join(_ACCEPTED[field] for field in sorted(error.fields or {}))) from error
    return command


async def find(desk: Desk, wanted: str) -> ApiToken:
    """The token with this id, or the one that counts and has this name. Raises NotFound, Conflict."""
    tokens = await desk.page()
    now = datetime.now(UTC)
    found = [token for token in tokens if token.id == wanted] or [
        token for token in tokens if token.name == wanted and token.is_live(now)
    ]
    if not found:
        raise NotFound(f"There is no token {wanted!r} that counts: `baton token list` names them")
    if len(found) > 1:
        raise Conflict(f"Several tokens are named {wanted!r}: name one by its id, as `baton token list` shows it")
    return found[0]


def table(tokens: Sequence[ApiToken]) -> str:
    """Tokens as lines under a head, newest first."""
    now = datetime.now(UTC)
    rows = [("ID", "ROLE", "STATE", "NAME", "BRIDGE", "CREATED", "LAST USED", "EXPIRES")]
    rows += [
        (
            token.id,
            token.role.value,
            _state(token, now),
            token.name,
            token.bridge_id or "-",
            _day(token.created_at),
            _day(token.last_used_at),
            _day(token.expires_at),
        )
        for token in tokens
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _state(token: ApiToken, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "live" if token.is_live(now) else "expired"


def _day(at: datetime | None) -> str:
    return "-" if at is None else at.strftime("%Y-%m-%d %H:%M")


@asynccontextmanager
async def open_desk(settings: Settings, url: str | None = None, *, makes_database: bool = False) -> AsyncIterator[Desk]:
    """The desk of this data; `url`: of the server that has the database, where it is another machine's.

    Raises ConfigError where there is nothing yet and nothing is to be made, Unavailable where the server does not
    answer.
    """
    if url is None:
        path = settings.sqlite_path
        if path is not None and not path.exists() and not makes_database:
            raise ConfigError(f"There is no database {path} yet: the first `baton serve` makes it, and two tokens")
        async with free_database(settings) as store:
            if store is not None:
                given = {AccountRole.ADMIN: settings.admin_token, AccountRole.BRIDGE: settings.bridge_token}
                credentials = read_credentials(settings.data, given)
                tokens = Tokens(store=store, clock=SystemClock(), given=credentials.digests)
                await tokens.adopt()
                yield _Direct(tokens)
                return
    async with open_server(settings, url or settings.origin) as server:
        yield _Remote(server)


class _Direct:
    """Nobody serves the database: it is written from here."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def create(self, command: CreateToken) -> NewToken:
        return await self._tokens.create(_ADMIN, command)

    async def page(self) -> Sequence[ApiToken]:
        return await self._tokens.page(_ADMIN)

    async def revoke(self, token_id: TokenId) -> ApiToken:
        return await self._tokens.revoke(_ADMIN, token_id)


class _Remote:
    """A server has the database: it is asked."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def create(self, command: CreateToken) -> NewToken:
        body = {
            "name": command.name,
            "role": command.role.value,
            "expiresInDays": command.expires_in_days,
            "sameUser": command.same_user,
        }
        said = await self._server.ask("POST", "/api/tokens", json=body)
        return NewToken(token=_token(said["token"]), text=said["secret"])

    async def page(self) -> Sequence[ApiToken]:
        return [_token(wire) for wire in (await self._server.ask("GET", "/api/tokens"))["tokens"]]

    async def revoke(self, token_id: TokenId) -> ApiToken:
        return _token((await self._server.ask("DELETE", f"/api/tokens/{token_id}"))["token"])


def _token(wire: dict[str, Any]) -> ApiToken:
    return from_document(ApiToken, {**wire, "digest": ""})
