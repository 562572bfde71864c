"""A token of the API: what is kept of it, and how its text is made and hashed.

The text itself is told once, to whoever makes the token, and kept nowhere: what is stored and compared is its hash.
Its 256 random bits need no slow hash: there is nothing to guess.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from baton.core.commands import AccountRole
from baton.core.ids import BridgeId, TokenId, UserId
from baton.core.models import INTERNAL_FIELDS

MAX_TOKEN_LENGTH: Final = 512
"""Longer ones are refused unread: nobody may make the server hash megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """One token, without its text."""

    id: TokenId
    name: str
    """Who brings it: the userId of what is done with it."""
    role: AccountRole
    bridge_id: BridgeId | None = None
    """Of the role bridge: the one bridge whose token it is, bound at the first use."""
    created_at: datetime
    created_by: UserId | None
    """None: the server itself, at its first start or from its settings. It counts as long as it is given there."""
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    # kept, not shown
    digest: str = field(repr=False)
    """Of its text: `token_digest`."""

    def is_live(self, now: datetime) -> bool:
        """Whether it opens anything at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateToken:
    """Make a token."""

    name: str
    role: AccountRole
    expires_in_days: int | None = None
    """None: it never does."""
    same_user: bool = False
    """It is another token of a user who has one: for another device, or for another member of a team."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token that was just made, with its text: the only time that anybody sees it."""

    token: ApiToken
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One browser that has come with a token and goes on with a cookie of its own, as long as the token counts."""

    id: str
    """The digest of what the cookie holds: `token_digest`, as of a token."""
    token_digest: str = field(repr=False)
    """Of the token that it came with."""
    created_at: datetime
    expires_at: datetime


INTERNAL_FIELDS[ApiToken] = frozenset({"digest"})
# Here and not in `models`, which knows no roles. The codecs look a class up when they first meet it.


def new_token_text() -> str:
    """A text that nobody can guess."""
    return f"baton_{secrets.token_urlsafe(32)}"


def token_digest(text: str) -> str:
    """SHA-256 of a token's text, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
