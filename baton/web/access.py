"""Who may come in: Host and Origin of every request, and the credential of every caller.

Without the Host check any web page could reach a server on localhost by DNS rebinding; without the Origin check
any page could open a socket with the visitor's cookie. What a page embeds (pictures, scripts, frames) comes without an
Origin, but browsers say of it that another page asks (Fetch Metadata). All three hold with and without a token. Knows
nothing of how tokens are kept: `TokenVerifier` does.
"""

import ipaddress
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from baton.core.commands import AccountRole, Identity
from baton.core.errors import Forbidden, Unauthenticated
from baton.core.ids import UserId
from baton.web.source import bearer
from baton.web.throttle import Throttle
from baton.web.wire import refusal

logger = logging.getLogger(__name__)

LOCAL_USER: Final = Identity(UserId("local"), AccountRole.ADMIN)
"""Everybody under BATON_AUTH=off."""

LOCAL_BRIDGE: Final = Identity(UserId("local"), AccountRole.BRIDGE)
"""Every bridge under BATON_AUTH=off."""

_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
_METHODS: Final = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
_PREFLIGHT_AGE_S: Final = 600
_COOKIE_AGE_S: Final = 90 * 24 * 3600


class TokenVerifier(Protocol):
    """Knows whose a token is.

    1. Takes the same time for a wrong token as for a right one; compares hashes, in constant time.
    2. Is cheap enough for the event loop: no I/O.
    """

    def verify(self, token: str) -> Identity | None:
        """Whose it is; None: nobody's."""
        ...


class LoginKeeper(Protocol):
    """Knows which browsers are logged in.

    1. What it gives is no token, and opens nothing once its login was closed or its token counts no more.
    2. `verify` is as cheap as `TokenVerifier.verify`.
    """

    def verify(self, token: str) -> Identity | None:
        """Whose cookie holds this; None: nobody's."""
        ...

    async def open(self, who: Identity, token: str) -> str:
        """What the cookie of a browser is to hold that came with this token."""
        ...

    async def close(self, secret: str, address: str) -> None:
        """The browser logs out."""
        ...

    async def failed(self, address: str) -> None:
        """A browser came with a token that is nobody's."""
        ...


class Access:
    """The rules of one server. `host` is what it listens on, `port` may be 0 where the system chose one.

    `throttle`: how much may be asked, and how often wrongly; None: without end.
    `names` are further Host values (`example.org`, `example.org:8080`) that are this server.
    """

    def __init__(
        self,
        tokens: TokenVerifier,
        logins: LoginKeeper,
        *,
        host: str,
        port: int,
        public_url: str | None = None,
        client_origins: Sequence[str] = (),
        names: Sequence[str] = (),
        auth_enabled: bool = True,
        throttle: Throttle | None = None,
    ) -> None:
        self._tokens = tokens
        self._logins = logins
        self.throttle = throttle or Throttle.unlimited()
        self._port = port
        self._auth_enabled = auth_enabled
        self._is_loopback = _is_loopback(host)
        self._public = urlsplit(_origin(public_url or ""))
        self._public_names = _netlocs_of(public_url)
        self._names = frozenset(_netloc(name) for name in names) | _own_name(host, port) | self._public_names
        self._client_origins = frozenset(_origin(origin) for origin in client_origins if origin)

    def attach(self, app: web.Application) -> None:
        """Put the checks before everything else that `app` does, and CORS headers on all its answers."""
        app.middlewares.insert(0, self.middleware)
        app.middlewares.insert(1, self.throttle.middleware)
        app.on_response_prepare.append(self.add_cors_headers)

    # --- where from ---

    @property
    def middleware(self) -> Middleware:
        """Refuses requests for another Host or from another Origin; answers CORS preflights."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                self.check_source(request)
            except Forbidden as refused:
                logger.warning(
                    "❌ refused: Host or Origin is not ours (cors)",
                    extra={"action": "access.refused", "path": request.path, "reason": refused.message},
                )
                return refusal(refused)
            if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
                return web.Response(status=204)
            return await handler(request)

        return check

    def check_source(self, request: web.BaseRequest) -> None:
        """Raises Forbidden unless Host is ours and the page that asks, if one does, ours or a configured client's."""
        host = _netloc(request.headers.get(hdrs.HOST, ""))
        if not self._is_our_host(host, request):
            raise Forbidden(
                f"The Host {host[:100]!r} is not this server's; set PUBLIC_URL to the address that people use"
            )
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and not self._is_allowed_origin(origin, host, request):
            raise Forbidden(f"The Origin {origin[:100]!r} may not use this server; set CLIENT_URL to allow it")
        if origin is None and _is_embedded_elsewhere(request):
            raise Forbidden("A page of another origin may not embed this; one that may use this server says so by CORS")

    def _is_our_host(self, host: str, request: web.BaseRequest) -> bool:
        name, port = _split(host)
        if host in self._names or name in self._names:
            return True
        if port != self._port_of(request):
            return False
        # An address cannot be rebound to another one: a page that says it was loaded from there.
        return name in _LOOPBACK_NAMES or (not self._is_loopback and _is_address(name))

    def _is_allowed_origin(self, origin: str, host: str, request: web.BaseRequest) -> bool:
        origin = _origin(origin)
        if origin in self._client_origins:
            return True
        scheme, _, netloc = origin.partition("://")
        if scheme not in _DEFAULT_PORTS:
            return False
        if netloc in self._public_names:
            return scheme == self._public.scheme
        netloc = _with_port(netloc, scheme)
        own = {f"{name}:{self._port_of(request)}" for name in _LOOPBACK_NAMES}
        return netloc in own or netloc in {_with_port(name, scheme) for name in (*self._names, host)}

    def _port_of(self, request: web.BaseRequest) -> int:
        if self._port:
            return self._port
        transport = request.transport
        address = transport.get_extra_info("sockname") if transport is not None else None
        return int(address[1]) if isinstance(address, tuple) else 0

    async def add_cors_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let pages of the configured client origins read the answer and send their cookie."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or _origin(origin) not in self._client_origins:
            return
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        if request.method == hdrs.METH_OPTIONS:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = _METHODS
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = "Authorization, Content-Type"
            response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = str(_PREFLIGHT_AGE_S)

    # --- who ---

    def identify(self, request: web.BaseRequest) -> Identity:
        """Whose credential came with the request, of any role. Raises Unauthenticated, RateLimited."""
        return self._identity(bearer(request.headers.get(hdrs.AUTHORIZATION)), request)

    def identify_person(self, request: web.BaseRequest) -> Identity:
        """Who asks, if it is a person. Raises Unauthenticated, or Forbidden for a bridge's credential."""
        return _person(self.identify(request))

    def identify_socket(self, environ: Mapping[str, Any], auth: object) -> Identity:
        """Who opens this Socket.IO connection: by `auth.token`, else as `identify_person` says."""
        request: web.Request = environ["aiohttp.request"]
        token = auth.get("token") if isinstance(auth, Mapping) else None
        if token is not None and not isinstance(token, str):
            raise Unauthenticated("auth.token must be a string")
        return _person(self._identity(token or bearer(request.headers.get(hdrs.AUTHORIZATION)), request))

    def authorize_bridge(self, request: web.BaseRequest) -> Identity:
        """The bridge that connects. Raises Unauthenticated, or Forbidden for a person's credential."""
        if not self._auth_enabled:
            return LOCAL_BRIDGE
        identity = self.identify(request)
        if identity.role is not AccountRole.BRIDGE:
            raise Forbidden("A bridge needs a token of the role bridge")
        return identity

    def _identity(self, token: str | None, request: web.BaseRequest) -> Identity:
        address = self.throttle.address_of(request)
        if not self._auth_enabled:
            return replace(LOCAL_USER, address=address)
        verify, secret = self._tokens.verify, token
        if not secret:
            # Not both in one: a cookie that was kept must not do as a token, nor a token as a cookie.
            verify, secret = self._logins.verify, request.cookies.get(self.cookie_name(request))
        if not secret:
            raise Unauthenticated("A token is needed: `baton token show` tells it, the first start has printed it")
        self.throttle.check_token(request, secret)
        identity = verify(secret)
        self.throttle.note_token(request, secret, is_right=identity is not None)
        if identity is None:
            raise Unauthenticated("The token is not valid" if token else "The login has ended: log in again")
        return replace(identity, address=address)

    # --- login cookie ---

    def cookie_name(self, request: web.BaseRequest) -> str:
        """Has the port in it: browsers share cookies between the ports of a host, servers must not."""
        return f"baton_token_{self._port_of(request)}"

    async def log_in(self, request: web.BaseRequest, response: web.StreamResponse, token: str) -> Identity:
        """Give the browser its login cookie. Raises Unauthenticated, or Forbidden for a bridge's token."""
        try:
            identity = _person(self._identity(token, request))
        except Unauthenticated:
            await self._logins.failed(self.throttle.address_of(request))
            raise
        if not self._auth_enabled:
            return identity
        response.set_cookie(
            self.cookie_name(request),
            await self._logins.open(identity, token),
            max_age=_COOKIE_AGE_S,
            httponly=True,
            samesite="Strict",
            secure=self._public.scheme == "https",
            path="/",
        )
        return identity

    async def log_out(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Take the login cookie back; where it was kept all the same, it opens nothing any more."""
        secret = request.cookies.get(self.cookie_name(request))
        if secret:
            await self._logins.close(secret, self.throttle.address_of(request))
        response.del_cookie(self.cookie_name(request), path="/")


def _person(identity: Identity) -> Identity:
    if identity.role is AccountRole.BRIDGE:
        raise Forbidden("A bridge's token cannot be used by a person")
    return identity


# --- names and addresses ---------------------------------------------------------------------------------------


def _netloc(text: str) -> str:
    return text.strip().lower()


def _is_embedded_elsewhere(request: web.BaseRequest) -> bool:
    """Whether a page of another origin has this loaded, by the browser's own word, and not a person who follows a link.

    Other ports of a host count as the same site, so that a cookie that is `SameSite=Strict` comes along from them.
    Programs, and browsers on unencrypted names other than this machine's, say nothing of it.
    """
    if request.headers.get("Sec-Fetch-Site") not in ("cross-site", "same-site"):
        return False
    is_read = request.method in (hdrs.METH_GET, hdrs.METH_HEAD)
    how = (request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest"))
    return not (is_read and how == ("navigate", "document"))


def _origin(text: str) -> str:
    return text.strip().lower().rstrip("/")


def _split(netloc: str) -> tuple[str, int | None]:
    """Name and port of `name`, `name:port`, `[::1]` or `[::1]:port`. No port: 80, as in a Host header of http."""
    name, colon, port = netloc.rpartition(":")
    if not colon or netloc.endswith("]"):
        return netloc, _DEFAULT_PORTS["http"]
    return name, int(port) if re.fullmatch(r"[0-9]{1,5}", port) else None


def _with_port(netloc: str, scheme: str) -> str:
    has_port = ":" in netloc.rpartition("]")[2]
    return netloc if has_port else f"{netloc}:{_DEFAULT_PORTS[scheme]}"


def _netlocs_of(url: str | None) -> frozenset[str]:
    """A public address is reached with its port, and on default ports without."""
    if not url:
        return frozenset()
    parts = urlsplit(url)
    netloc = _netloc(parts.netloc.rpartition("@")[2])
    default = _DEFAULT_PORTS.get(parts.scheme)
    return frozenset({netloc, netloc.removesuffix(f":{default}")})


def _own_name(host: str, port: int) -> frozenset[str]:
    """What the server was told to listen on is its name too, unless it is an address."""
    name = _netloc(host)
    return frozenset() if not name or name in _LOOPBACK_NAMES or _is_address(name) else frozenset({f"{name}:{port}"})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    name = _netloc(host)
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name.strip("[]")).is_loopback)
