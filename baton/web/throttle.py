"""How much one credential and one address may ask for, and how often they may be wrong about a token.

What is refused is `rate_limited` and says when it may come again. The figures are `core.limits.Limits`'; they are far
above what people do, and each can be turned off. Everything here is in memory, bounded, and gone with the process.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from baton.clock import SystemClock
from baton.core.commands import Identity
from baton.core.errors import RateLimited
from baton.core.limits import Limits
from baton.core.ports import Clock
from baton.web.buckets import Buckets
from baton.web.guesses import Guesses
from baton.web.source import Addresses, Network, bearer
from baton.web.wire import refusal

logger = logging.getLogger(__name__)

UNLIMITED: Final = Limits(
    rest_per_minute=0,
    rest_per_minute_of_address=0,
    commands_per_minute=0,
    connects_per_minute=0,
    attachments_per_minute=0,
    wrong_tokens=0,
)
TELL_EVERY_S: Final = 60.0
"""How often the log tells of the same one."""
MOST_TOLD: Final = 1_000
REASONS: Final = (
    "rest_per_minute",
    "rest_per_minute_of_address",
    "commands_per_minute",
    "connects_per_minute",
    "attachments_per_minute",
    "wrong_token",
    "wrong_tokens",
)
"""What is counted for /metrics: a wrong token, and by name of its limit what was refused."""

_BRIDGE: Final = "/bridge"
_SOCKET: Final = "/socket.io/"
_FREE: Final = ("/health", "/static/")
"""Platforms must hear how the server is also while somebody floods it; files of the page cost nothing."""


@dataclass(slots=True)
class _Notice:
    """What the log has not told of one yet."""

    told_at: float
    untold: int = 0


class Throttle:
    """The limits of one server."""

    def __init__(self, limits: Limits, clock: Clock, trusted_proxies: Sequence[Network] = ()) -> None:
        self._clock = clock
        self._addresses = Addresses(trusted_proxies)
        self._rest = Buckets(limits.rest_per_minute, clock)
        self._rest_of_address = Buckets(limits.rest_per_minute_of_address, clock)
        self._commands = Buckets(limits.commands_per_minute, clock)
        self._connects = Buckets(limits.connects_per_minute, clock)
        self._attachments = Buckets(limits.attachments_per_minute, clock)
        self._guesses = Guesses(limits.wrong_tokens, clock)
        self._notices: OrderedDict[tuple[str, str], _Notice] = OrderedDict()
        self.counts: Final = dict.fromkeys(REASONS, 0)

    @classmethod
    def unlimited(cls) -> "Throttle":
        """Refuses nothing."""
        return cls(UNLIMITED, SystemClock())

    # --- requests ------------------------------------------------------------------------------------------------

    @property
    def middleware(self) -> Middleware:
        """Counts requests and connects by address; refuses a bridge's guessing before it has a socket."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                self._check_request(request)
            except RateLimited as refused:
                return refusal(refused)
            return await handler(request)

        return count

    def _check_request(self, request: web.Request) -> None:
        path = request.path
        if not is_limited(path):
            return None
        address = self._addresses.of(request)
        if path == _BRIDGE:
            self.check_token(request, bearer(request.headers.get(hdrs.AUTHORIZATION)))
        elif not path.startswith(_SOCKET):
            return self._take(self._rest_of_address, "rest_per_minute_of_address", address)
        elif "sid" in request.query:
            return None  # a poll of a socket that was counted
        return self._take(self._connects, "connects_per_minute", address)

    def take_request(self, who: Identity) -> None:
        """One REST request. Raises RateLimited, as all that follow."""
        self._take(self._rest, "rest_per_minute", _name(who))

    def take_upload(self, who: Identity) -> None:
        """One attachment that is to be stored."""
        self._take(self._attachments, "attachments_per_minute", _name(who))

    def take_command(self, who: Identity) -> None:
        """One socket event that changes something."""
        self._take(self._commands, "commands_per_minute", _name(who))

    def _take(self, buckets: Buckets, limit: str, name: str) -> None:
        wait_s = buckets.take(name)
        if wait_s:
            self._note(limit, name)
            raise RateLimited(f"Too many requests ({limit})", retry_after_s=wait_s)

    def address_of(self, request: web.BaseRequest) -> str:
        """Where a request comes from, as it is counted."""
        return self._addresses.of(request)

    # --- tokens --------------------------------------------------------------------------------------------------

    def check_token(self, request: web.BaseRequest, token: str | None) -> None:
        """To be asked before a token is looked at. Raises RateLimited where its address was wrong too often."""
        if token is None:
            return
        address = self._addresses.of(request)
        wait_s = self._guesses.wait_s(address, token)
        if wait_s:
            self._note("wrong_tokens", address)
            raise RateLimited("Too many wrong tokens came from this address", retry_after_s=wait_s)

    def note_token(self, request: web.BaseRequest, token: str, *, is_right: bool) -> None:
        """What came out when it was looked at."""
        address = self._addresses.of(request)
        if is_right:
            self._guesses.right(address, token)
        else:
            self._guesses.wrong(address, token)
            self._note("wrong_token", address)

    # --- the log -------------------------------------------------------------------------------------------------

    async def tell(self) -> None:
        """Log what has gathered since it was last told. To be called about once a minute."""
        for (reason, who), notice in list(self._notices.items()):
            if self._clock.monotonic() - notice.told_at < TELL_EVERY_S:
                continue
            if notice.untold:
                self._tell(reason, who, notice)
            else:
                del self._notices[reason, who]

    def _note(self, reason: str, who: str) -> None:
        """Count it; the first is logged at once, the others as one line a minute."""
        self.counts[reason] += 1
        notice = self._notices.get((reason, who))
        if notice is not None:
            notice.untold += 1
            if self._clock.monotonic() - notice.told_at >= TELL_EVERY_S:
                self._tell(reason, who, notice)
            return
        notice = self._notices[reason, who] = _Notice(0.0, untold=1)
        self._tell(reason, who, notice)
        if len(self._notices) > MOST_TOLD:
            self._notices.popitem(last=False)

    def _tell(self, reason: str, who: str, notice: _Notice) -> None:
        count, notice.untold, notice.told_at = notice.untold, 0, self._clock.monotonic()
        logger.warning(
            "🔌 wrong tokens, or more than the limit",
            extra={"action": "access.slowed", "reason": reason, "who": who, "count": count},
        )


def is_limited(path: str) -> bool:
    """Whether requests for it are counted at all."""
    return not path.startswith(_FREE)


def _name(who: Identity) -> str:
    """Whose bucket it is: the token's, so that no other of the same name empties it."""
    return who.token_id or who.user_id
