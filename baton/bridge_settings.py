"""What `baton bridge` runs with: a table like that of `settings`, which reads it."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from baton import setting_kinds as kinds
from baton.core.limits import MEBI, Limits
from baton.setting_kinds import declare


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSettings:
    """What one bridge runs with. Made by `settings.load_bridge`. Secrets do not stand in its repr."""

    backend: str = declare("BATON_BACKEND_URL", "http://localhost:3001", kinds.BACKEND, help="The server's address.")
    token: str | None = declare(
        "BATON_BRIDGE_TOKEN",
        None,
        kinds.SECRET,
        help="The bridge's token; `baton token create --role bridge --name NAME` makes one on the server's machine.",
        shown="bridge.token in the data folder",
        is_secret=True,
    )
    name: str = declare(
        "BATON_BRIDGE_NAME",
        lambda: platform.node() or "bridge",
        kinds.TEXT,
        help="What people see. Two bridges of one data folder need two names.",
        shown="this machine's name",
    )
    workspace: tuple[Path, ...] = declare(
        "BATON_WORKSPACE",
        (),
        kinds.FOLDERS,
        help="Folders in which agents may work, the default one first. The option may be repeated.",
        shown="the current folder",
    )
    agent: tuple[str, ...] = declare(
        "BATON_AGENTS",
        (),
        kinds.NAMES,
        help="Agents that are offered, the default one first. The option may be repeated, and may bring an ACP agent's "
        'command: acp:gemini="gemini --acp".',
        shown="all installed",
    )
    acp: tuple[tuple[str, str], ...] = declare(
        "BATON_ACP",
        (),
        kinds.ACP_COMMANDS,
        help="Agents that speak the Agent Client Protocol, each with the command that starts it: docs/acp.md.",
        shown="none",
    )
    allow_bypass: bool = declare(
        "BATON_ALLOW_BYPASS",
        False,
        kinds.SWITCH,
        help="Whether people may let agents here work without asking (bypassPermissions).",
    )
    max_concurrent: int = declare(
        "BATON_MAX_CONCURRENT_REQUESTS", 5, kinds.whole(1), help="Runs that are worked on at the same time."
    )
    port: int = declare(
        "BATON_BRIDGE_PORT",
        8080,
        kinds.whole(0, 65535),
        help="Port of the health page, on this machine only; 0 takes a free one.",
    )
    websocket_timeout: int = declare(
        "BATON_WEBSOCKET_TIMEOUT",
        30_000,
        kinds.whole(1),
        help="Milliseconds that a new link may take to be welcomed by the server.",
    )
    reconnection_delay: int = declare(
        "BATON_RECONNECTION_DELAY",
        1000,
        kinds.whole(1),
        help="Milliseconds before the first new try, at most; doubled with each further one, up to 30 seconds.",
    )
    reconnection_attempts: int = declare(
        "BATON_RECONNECTION_ATTEMPTS", 0, kinds.whole(0), help="Tries in a row, after which it ends; 0: for ever."
    )
    message_buffer_size: int = declare(
        "BATON_MESSAGE_BUFFER_SIZE",
        MEBI,
        kinds.whole(1),
        help="Bytes of one run that are kept in memory until the server has them; what is more waits in the spool.",
    )
    spool_max_bytes: int = declare(
        "BATON_SPOOL_MAX_BYTES",
        1 << 30,
        kinds.whole(1),
        help="Bytes of all runs that wait in the spool; past it a run fails with `spool_full`.",
    )
    data: Path = declare(  # noqa: RUF009 - it makes a dataclass field
        "BATON_DATA",
        lambda: platformdirs.user_data_path("baton"),
        kinds.FOLDER,
        help="Data folder: the spool, and the token if there is one. Its owner's only.",
        shown="the user's data folder, such as ~/.local/share/baton",
    )
    log_file: Path | None = declare(  # noqa: RUF009 - it makes a dataclass field
        "BATON_BRIDGE_LOG_FILE",
        Path("/tmp/bridge-service.log"),  # nosec B108  # noqa: S108 - where people look for it; it is opened with care
        kinds.LOG_FILE,
        help="Where the log is also written; `none`: nowhere.",
    )
    log_level: str = declare("LOG_LEVEL", "INFO", kinds.LEVEL, help="Least level that is logged.")
    log_format: str = declare(
        "LOG_FORMAT", "text", kinds.one_of("text", "json"), help="How a line of the log is written."
    )
    limits: Limits = field(default_factory=Limits)
    agent_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """As of `settings.Settings`."""
    agent_settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """As of `settings.Settings`."""

    @property
    def workspaces(self) -> tuple[Path, ...]:
        """Folders in which agents may work, at least one."""
        return self.workspace or (Path.cwd(),)
