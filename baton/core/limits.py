"""Every limit on sizes, counts and times that the domain knows, with its default. Settings may change each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MEBI = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    payload_max_bytes: int = 10_000_000
    """One Socket.IO packet or REST body (attachments have their own limit)."""
    content_max_chars: int = 1_000_000
    """The text of one user message."""
    message_max_bytes: int = 4 * MEBI
    """One stored message, as JSON."""
    tool_result_max_bytes: int = 256 << 10
    """A tool's result inside its block; the rest becomes an attachment."""
    snapshot_max_bytes: int = 8 * MEBI
    snapshot_messages: int = 100
    """Messages of a join without `after`."""
    attachment_max_bytes: int = 20 * MEBI
    queue_max_runs: int = 100
    """Runs that wait in one conversation's queue."""
    backlog_max_bytes: int = 4 * MEBI
    """Unsent bytes of one browser, past which it is told to resync."""
    bridge_frame_max_bytes: int = 16 * MEBI
    bridge_window_bytes: int = 4 * MEBI
    """Unacknowledged bytes in flight per bridge link."""
    abort_grace_s: float = 10.0
    """After an abort was asked, how long the bridge's own final frame is waited for."""
    away_after_s: float = 30.0
    away_timeout_s: float = 24 * 3600.0
    queue_timeout_s: float = 300.0
    """How long the head of a queue waits for a bridge."""
    heartbeat_s: float = 20.0
    shutdown_s: float = 10.0
    flush_floor_s: float = 0.005
    """The least time between two flushes: trades CPU for milliseconds nobody sees (docs/performance.md)."""
    rpc_timeout_s: float = 10.0
    prompt_timeout_s: float = 1800.0
    """How long a prompt waits for a person; 0: for ever."""
    prompt_timeouts_s: Mapping[str, float] = field(default_factory=dict)
    """The same for prompts of one risk (`CRITICAL`) or type (`question`); the risk counts before the type."""
    prompt_stages_s: tuple[float, ...] = (30.0, 60.0, 120.0)
    """When a prompt that nobody answers tells louder."""
    seen_lease_s: float = 60.0
    """How long one look of a person at a prompt holds its deadline up."""
    bypass_s: float = 3600.0
    """How long `bypassPermissions` lasts."""
    stuck_after_s: float = 180.0
    """Silence of a run after which its bridge is asked what it waits for; 0: never."""
    stuck_grace_s: float = 120.0
    """How long a silent run that waits for nothing may still go on, under a deadline that is shown."""
    model_grace_s: float = 900.0
    """The same for one that waits for its model."""

    def prompt_timeout_of(self, risk: str, prompt_type: str) -> float | None:
        """Seconds that a prompt of this risk and type waits for a person; None: for ever."""
        named = self.prompt_timeouts_s
        seconds = named.get(risk, named.get(prompt_type, self.prompt_timeout_s))
        return seconds or None

    rest_per_minute: int = 6_000
    """REST requests of one credential; 0, here and below: without end. So many may come at once, and refill over a
    minute. The page asks about ten times when it opens; a program that reads a history page after page stays below."""
    rest_per_minute_of_address: int = 30_000
    """The same of one address, whoever asks: a whole office may come from one."""
    commands_per_minute: int = 3_000
    """Socket events of one credential that change something, over all of its sockets. A person sends a few."""
    connects_per_minute: int = 6_000
    """Sockets and bridges that one address opens. After a restart all tabs of an office come back within seconds."""
    attachments_per_minute: int = 300
    """Uploads of one credential: each may be `attachment_max_bytes` large."""
    wrong_tokens: int = 20
    """Different wrong tokens of one address, or tries of the same one, until further ones must wait ever longer."""
    trash_keep_days: int = 30
    """How long what was deleted can be restored."""
    retention_days: int = 0
    """After so long without a change, conversations are deleted; 0: never."""
    audit_keep_days: int = 365
    """How long the audit knows of what was decided and done; 0: for ever."""
    attachment_keep_s: float = 24 * 3600.0
    """How long an attachment that nothing uses is kept: an upload that was not sent, or what a purge has freed."""
    clean_up_every_s: float = 3600.0
