"""The one family of errors. Each has a stable `code` that clients match on (docs/protocol.md, section 1).

Raise the most specific class with values, not prepared sentences; `message` names the cure where there is one.
"""

from collections.abc import Mapping
from typing import Final


class BatonError(Exception):
    """Root of every error that Baton reports to somebody.

    Attributes: `code` (stable), `message` (for people), `retryable` (the same call may work later),
    `fields` (what is wrong with which field, only for invalid input).
    """

    code: str = "internal"
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retryable: bool | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable
        self.fields = fields


class InvalidRequest(BatonError):
    """The caller asked for something that cannot be, and asking again will not help."""

    code = "invalid_payload"


class Unauthenticated(InvalidRequest):
    """No valid credential came with the request."""

    code = "unauthenticated"


class Forbidden(InvalidRequest):
    """The credential is known, but this is not its to do; or Host or Origin is not ours."""

    code = "forbidden"


class NotFound(InvalidRequest):
    """There is no such thing, or its id is malformed."""

    code = "not_found"


class Conflict(InvalidRequest):
    """The request contradicts what is stored, for example a requestId known with another payload."""

    code = "conflict"


class AlreadyResolved(Conflict):
    """A prompt or run that has its final state; `winner` is that prompt or run, as stored."""

    code = "already_resolved"

    def __init__(self, message: str, *, winner: object) -> None:
        super().__init__(message)
        self.winner = winner


class TooLarge(InvalidRequest):
    """Over a limit; the message names the limit."""

    code = "too_large"


class Unavailable(BatonError):
    """Something Baton needs is not there now; the same call may work later."""

    code = "store_unavailable"
    retryable = True


class StoreUnavailable(Unavailable):
    """The database did not take or give what was asked. Nothing of the operation was stored."""


class LeaseLost(Unavailable):
    """Another process owns the database now: this one must stop publishing and acknowledging at once."""


class Overloaded(Unavailable):
    """A bounded queue is full."""

    code = "overloaded"


class RateLimited(Unavailable):
    """Too much, too fast, or too many wrong tokens; the same call works in `retry_after_s` whole seconds."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(f"{message}; try again in {retry_after_s} s")
        self.retry_after_s: Final = retry_after_s


class Draining(Unavailable):
    """The server is shutting down and takes no new work."""

    code = "draining"


class NoBridge(Unavailable):
    """No bridge is connected that could run this."""

    code = "no_bridge"

    def __init__(self, message: str = "No bridge service connected") -> None:
        super().__init__(message)


class AgentFailed(BatonError):
    """The agent, or the bridge it ran on, could not finish; `code` says which way."""

    code = "agent_failed"


class PeerViolation(BatonError):
    """A bridge broke the wire contract; `close_code` is what its socket is closed with."""

    code = "peer_violation"

    def __init__(self, message: str, *, close_code: int = 4400) -> None:
        super().__init__(message)
        self.close_code: Final = close_code


class ConfigError(BatonError):
    """A setting is wrong; the message names the variable, the value and what is accepted."""

    code = "config"
