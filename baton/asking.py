"""How a command asks the server that has the database, as its admin: one request, the answer or the server's error."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from baton.core.commands import AccountRole
from baton.core.errors import BatonError, ConfigError, Unavailable
from baton.credentials import read_token
from baton.settings import Settings

REQUEST_TIMEOUT_S: Final = 30.0


class Server:
    """A server that answers. `http`: an aiohttp.ClientSession of its address."""

    def __init__(self, http: Any, url: str) -> None:
        self._http = http
        self._url = url

    async def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """What the server answers. Raises its error as it told it, Unavailable, ConfigError where it is no Baton."""
        from aiohttp import ClientError

        try:
            async with self._http.request(method, path, **options) as answer:
                said = await answer.json(content_type=None)
        except (ClientError, TimeoutError, ValueError) as error:
            raise Unavailable(
                f"The database is in use, and the server at {self._url} does not answer ({type(error).__name__}): "
                "stop that process, or name the server with --url"
            ) from error
        if not isinstance(said, dict) or "ok" not in said:
            raise ConfigError(f"What answers at {self._url} is no Baton server")
        if not said["ok"]:
            refused = said.get("error") or {}
            raise BatonError(str(refused.get("message")), code=str(refused.get("code")))
        return said


@asynccontextmanager
async def open_server(settings: Settings, url: str, *, timeout_s: float = REQUEST_TIMEOUT_S) -> AsyncIterator[Server]:
    """The server at `url`, with the admin's token of this machine."""
    # Imported here: it takes longer than everything else that a command on a database needs.
    import aiohttp

    token = settings.admin_token or read_token(settings.data, AccountRole.ADMIN)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=timeout_s, connect=10)
    async with aiohttp.ClientSession(url, headers=headers, timeout=timeout) as http:
        yield Server(http, url)
