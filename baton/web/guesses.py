"""Slows down whoever tries out tokens, and nobody else.

Counted are the different wrong tokens of an address, and the tries of each: a tab or a bridge that goes on with one
revoked token is slowed by itself, and locks nobody out who shares its address. A token that was right there before is
let through whatever else comes from the address. Kept are keyed hashes, never tokens.
"""

import hashlib
import math
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from baton.core.ports import Clock

MOST_REMEMBERED: Final = 10_000
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 300.0
FORGOTTEN_AFTER_S: Final = 900.0
"""After so long without another wrong token nothing is held against an address."""

_Tried = tuple[str, bytes]


@dataclass(slots=True)
class _Strikes:
    """What is held against an address, or against one token of it."""

    count: int = 0
    last_at: float = 0.0
    free_at: float = 0.0


class Guesses:
    """What is held against whom.

    `free`: how many wrong ones cost nothing; then the wait is 1 s and doubles, up to 5 minutes. 0: nobody ever waits.
    """

    def __init__(self, free: int, clock: Clock, most: int = MOST_REMEMBERED) -> None:
        self._free = free
        self._clock = clock
        self._most = most
        self._key = secrets.token_bytes(32)
        self._strikes: OrderedDict[str | _Tried, _Strikes] = OrderedDict()
        self._right: OrderedDict[_Tried, None] = OrderedDict()

    def __len__(self) -> int:
        """Addresses and tokens that are remembered."""
        return len(self._strikes) + len(self._right)

    def wait_s(self, address: str, token: str) -> int:
        """Whole seconds until this token may be tried from there; 0: now. To be asked before it is looked at."""
        if not self._strikes:
            return 0  # nearly always
        tried = self._tried(address, token)
        held = self._strikes.get(tried), None if tried in self._right else self._strikes.get(address)
        free_at = max((strikes.free_at for strikes in held if strikes is not None), default=0.0)
        return max(0, math.ceil(free_at - self._clock.monotonic()))

    def wrong(self, address: str, token: str) -> None:
        """The token was nobody's."""
        if not self._free:
            return
        tried = self._tried(address, token)
        self._right.pop(tried, None)
        if self._strike(tried) == 1:
            self._strike(address)

    def right(self, address: str, token: str) -> None:
        """The token was somebody's. What was held against the address stays: its other guesses were as wrong."""
        if not self._free:
            return
        tried = self._tried(address, token)
        self._strikes.pop(tried, None)
        self._right[tried] = None
        self._right.move_to_end(tried)
        if len(self._right) > self._most:
            self._right.popitem(last=False)

    def _tried(self, address: str, token: str) -> _Tried:
        return address, hashlib.blake2b(token.encode(errors="surrogatepass"), key=self._key, digest_size=16).digest()

    def _strike(self, name: str | _Tried) -> int:
        """How many there are now."""
        now = self._clock.monotonic()
        strikes = self._strikes.get(name)
        if strikes is None or now - strikes.last_at > FORGOTTEN_AFTER_S:
            strikes = self._strikes[name] = _Strikes()
        strikes.count += 1
        strikes.last_at = now
        over = strikes.count - self._free
        if over >= 0:
            # The exponent is bounded because a float is.
            strikes.free_at = now + min(FIRST_WAIT_S * 2.0 ** min(over, 32), LONGEST_WAIT_S)
        self._strikes.move_to_end(name)
        if len(self._strikes) > self._most:
            self._strikes.popitem(last=False)
        return strikes.count
