"""What is looked at: one server's address and one bridge's page, asked without ever raising an odd error.

The token goes only to what has shown itself to be a Baton server, never into a finding.
"""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from baton.bridge_settings import BridgeSettings
from baton.core.commands import AccountRole
from baton.core.errors import ConfigError, Unavailable
from baton.credentials import read_token
from baton.settings import Settings

ASK_S: Final = 4.0
"""How long one request may take."""

_EVERYWHERE: Final = ("0.0.0.0", "::", "127.0.0.1", "::1", "")  # nosec B104  # noqa: S104 - compared with, not listened on


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `said` is the JSON object, empty where the body was none; `headers` have any spelling."""

    status: int
    said: Mapping[str, Any]
    headers: Mapping[str, str]
    text: str


@dataclass(slots=True)
class Patient:
    """One server and one bridge's page, as settings or options name them. `http`: an aiohttp.ClientSession."""

    settings: Settings
    bridge: BridgeSettings
    url: str
    is_here: bool
    """Whether the settings and files of this machine are the server's."""
    http: Any = field(repr=False)
    token: str | None = field(default=None, repr=False)
    token_trouble: str | None = None
    """Why the token's file cannot be used."""
    health: Mapping[str, Any] | None = None
    """The server's /health, once it has answered as a Baton does."""

    @property
    def page_url(self) -> str | None:
        """The bridge's page; None: the settings say that there is none, or do not say where."""
        port = self.settings.bridge_port
        return f"http://127.0.0.1:{port}" if port else None

    async def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        url: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = ASK_S,
    ) -> Reply:
        """One request, to the server where no other `url` is given. Raises Unavailable with the reason in words."""
        import aiohttp

        is_server = url is None and self.health is not None
        bearer = {"Authorization": f"Bearer {self.token}"} if is_server and self.token else {}
        limit = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self.http.request(
                method,
                (url or self.url) + path,
                headers={**bearer, **(headers or {})},
                timeout=limit,
                allow_redirects=False,  # a token must not follow one
            ) as answer:
                text = await answer.text(errors="replace")
                return Reply(answer.status, _object(text), answer.headers, text)
        except TimeoutError as error:
            raise Unavailable(f"nothing came within {timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unavailable(_reason(error)) from error


@asynccontextmanager
async def open_patient(settings: Settings, bridge: BridgeSettings, url: str | None) -> AsyncIterator[Patient]:
    """Look at the server at `url`, or at that of this machine's settings."""
    import aiohttp

    async with aiohttp.ClientSession() as http:
        patient = Patient(settings, bridge, (url or own_url(settings)).rstrip("/"), url is None, http)
        try:
            patient.token = settings.admin_token or read_token(settings.data, AccountRole.ADMIN)
        except (ConfigError, OSError) as error:
            patient.token_trouble = error.message if isinstance(error, ConfigError) else str(error)
        yield patient


def own_url(settings: Settings) -> str:
    """Where this machine reaches its own server; PUBLIC_URL may lead there by way of the whole internet."""
    host = "localhost" if settings.host in _EVERYWHERE else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _object(text: str) -> Mapping[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _reason(error: Exception) -> str:
    """The operating system's words where there are some; aiohttp's repeat the address."""
    code = getattr(error, "errno", None)
    return os.strerror(code).lower() if code else type(error).__name__
