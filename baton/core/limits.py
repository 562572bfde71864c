"""Every limit on sizes, counts and times that the domain knows, with its default. Settings may change each."""

from dataclasses import dataclass

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
    flush_floor_s: float = 0.004
    """The least time between two flushes: trades CPU for milliseconds nobody sees (benchmarks/relay.py)."""
    rpc_timeout_s: float = 10.0
    trash_keep_days: int = 30
    """How long what was deleted can be restored."""
    retention_days: int = 0
    """After so long without a change, conversations are deleted; 0: never."""
    attachment_keep_s: float = 24 * 3600.0
    """How long an attachment that nothing uses is kept: an upload that was not sent, or what a purge has freed."""
    clean_up_every_s: float = 3600.0
