"""Everything that can be set, and the only reader of the environment.

One table: a field of `Settings` carries its variable, default, reader and help. `load` reads by it, `baton serve
--help` and docs/settings.md are made from it. Options win over the environment, that over `.env`, that over defaults.
"""

import dataclasses
import difflib
import importlib.metadata
import io
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final

import platformdirs
from dotenv.parser import parse_stream

from baton import setting_kinds as kinds
from baton.bridge_settings import BridgeSettings
from baton.core.errors import ConfigError
from baton.core.limits import Limits
from baton.setting_kinds import Setting, declare, table_of

TRANSPORTS: Final = ("websocket", "polling")
AGENT_SETTINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "claude": ("idle_s", "model", "program", "trust_folders"),
    "demo": (),
}
"""What Baton's own agents read (docs/agents.md); an agent of somebody else's may read whatever has its prefix."""

ACP_SETTINGS: Final = ("idle_s", "model", "start_timeout_s", "title")
"""What each ACP agent reads beside its command (docs/acp.md): BATON_ACP_GEMINI_MODEL is `model` of `acp:gemini`."""

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})


# --- the table -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one server runs with. Made by `load`; tests may make one directly. Secrets do not stand in its repr."""

    host: str = declare(
        "HOST", "127.0.0.1", kinds.HOST, help="Address to listen on; 0.0.0.0 for all of this machine's."
    )
    port: int = declare("PORT", 3001, kinds.whole(0, 65535), help="Port to listen on; 0 takes a free one.")
    public_url: str | None = declare(
        "PUBLIC_URL",
        None,
        kinds.ORIGIN,
        help="Address under which people reach the server, where that is not localhost: requests for other hosts and "
        "from pages of other origins are refused.",
        shown="http://localhost:PORT",
    )
    host_names: tuple[str, ...] = declare(
        "BATON_HOST_NAMES",
        (),
        kinds.NAMES,
        help="Further host names that are this server, such as a container's own for a bridge in its network.",
        shown="none",
    )
    client_url: str = declare(
        "CLIENT_URL",
        "http://localhost:5173",
        kinds.ORIGIN,
        help="A page served elsewhere that may connect, such as a dev server.",
    )
    trusted_proxy: tuple[IPv4Network | IPv6Network, ...] = declare(
        "BATON_TRUSTED_PROXY",
        (),
        kinds.NETWORKS,
        help="Proxies whose X-Forwarded-For is believed: who came is its last address that is none of them. "
        "Others may write there what they like.",
        shown="none",
    )
    store: str | None = declare(
        "BATON_STORE",
        None,
        kinds.STORE,
        help="Database. sqlite:///file is below the current folder, sqlite:////file is absolute.",
        aliases=("MONGODB_URI", "MONGODB_URL"),
        shown="sqlite, baton.sqlite3 in the data folder",
        is_secret=True,
    )
    migrate: bool = declare(
        "BATON_MIGRATE",
        False,
        kinds.SWITCH,
        help="Bring a MongoDB database up to date at the start (SQLite always is).",
    )
    data: Path = declare(  # noqa: RUF009 - it makes a dataclass field
        "BATON_DATA",
        lambda: platformdirs.user_data_path("baton"),
        kinds.FOLDER,
        help="Data folder: the database file, and the tokens of the first start. Its owner's only.",
        shown="the user's data folder, such as ~/.local/share/baton",
    )
    auth: bool = declare(
        "BATON_AUTH",
        True,
        kinds.SWITCH,
        help="Whether a token is needed. Off is refused unless HOST is this machine only.",
    )
    admin_token: str | None = declare(
        "BATON_ADMIN_TOKEN",
        None,
        kinds.SECRET,
        help="The admin's token, where the data folder does not last; otherwise one is made at the first start.",
        is_secret=True,
        has_option=False,
    )
    bridge_token: str | None = declare(
        "BATON_BRIDGE_TOKEN",
        None,
        kinds.SECRET,
        help="The bridges' token, where the data folder does not last; otherwise one is made at the first start.",
        is_secret=True,
        has_option=False,
    )
    bridge: str = declare(
        "BATON_BRIDGE",
        "local",
        kinds.one_of("local", "none"),
        help="Whether agents run inside this process (local) or only on bridges that connect (none).",
    )
    bridge_port: int | None = declare(
        "BATON_BRIDGE_PORT",
        8080,
        kinds.PORT_OR_NONE,
        help="Port of the in-process bridge's health page, on this machine only; 0 takes a free one, none: no page.",
    )
    agents: tuple[str, ...] = declare(
        "BATON_AGENTS",
        (),
        kinds.NAMES,
        help="Agents of the in-process bridge, the default one first.",
        shown="all installed",
    )
    acp: tuple[tuple[str, str], ...] = declare(
        "BATON_ACP",
        (),
        kinds.ACP_COMMANDS,
        help="Agents that speak the Agent Client Protocol, each with the command that starts it: docs/acp.md.",
        shown="none",
    )
    workspace: tuple[Path, ...] = declare(
        "BATON_WORKSPACE",
        (),
        kinds.FOLDERS,
        help="Folders in which the in-process bridge lets agents work, the default one first.",
        shown="the current folder",
    )
    max_concurrent_requests: int = declare(
        "BATON_MAX_CONCURRENT_REQUESTS",
        5,
        kinds.whole(1),
        help="Runs that the in-process bridge works on at the same time.",
    )
    allow_bypass: bool = declare(
        "BATON_ALLOW_BYPASS",
        False,
        kinds.SWITCH,
        help="Whether people may let agents of the in-process bridge work without asking (bypassPermissions).",
    )
    transports: tuple[str, ...] = declare(
        "BATON_TRANSPORTS", TRANSPORTS, kinds.several_of(*TRANSPORTS), help="How Socket.IO clients may connect."
    )
    log_level: str = declare("LOG_LEVEL", "INFO", kinds.LEVEL, help="Least level that is logged.")
    log_format: str = declare(
        "LOG_FORMAT", "text", kinds.one_of("text", "json"), help="How a line of the log is written."
    )
    limits: Limits = field(default_factory=Limits)
    agent_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What agents' children get as their environment: this process's without anything that is Baton's own."""
    agent_settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By agent, then by plain name: BATON_CLAUDE_MODEL is `model` of `claude`."""

    @property
    def store_url(self) -> str:
        """The database, also where none was named."""
        return self.store or f"sqlite:///{self.data / 'baton.sqlite3'}"

    @property
    def sqlite_path(self) -> Path | None:
        """The database file; None: it is a MongoDB."""
        if not self.store_url.startswith("sqlite:///"):
            return None
        return Path(self.store_url.removeprefix("sqlite:///")).expanduser().absolute()

    @property
    def store_label(self) -> str:
        """The database for people, without credentials."""
        if self.sqlite_path is not None:
            return f"SQLite, {self.sqlite_path}"
        return "MongoDB, " + without_credentials(self.store_url).split("?")[0]

    @property
    def origin(self) -> str:
        """Scheme, host and port that people reach this server under."""
        return self.public_url or f"http://localhost:{self.port}"

    @property
    def workspaces(self) -> tuple[Path, ...]:
        """Folders of the in-process bridge, at least one."""
        return self.workspace or (Path.cwd(),)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK_HOSTS or self.host.startswith("127.")


def without_credentials(url: str) -> str:
    """`url` without the user name and password that it may carry."""
    return re.sub(r"//.*@", "//", url)


LIMIT_HELP: Final[dict[str, str]] = {
    "payload_max_bytes": "One Socket.IO packet or REST body; attachments have their own limit.",
    "content_max_chars": "Text of one user message.",
    "message_max_bytes": "One stored message, as JSON.",
    "tool_result_max_bytes": "A tool's result inside its message; the rest becomes an attachment.",
    "snapshot_max_bytes": "What a join answers; beyond, it is truncated to the newest messages.",
    "snapshot_messages": "Messages that a join without `after` answers.",
    "attachment_max_bytes": "One attachment.",
    "queue_max_runs": "Runs that wait in one conversation's queue.",
    "backlog_max_bytes": "Unsent bytes of one browser, past which it is told to resync.",
    "bridge_frame_max_bytes": "One frame of a bridge.",
    "bridge_window_bytes": "Unacknowledged bytes in flight per bridge.",
    "abort_grace_s": "After an abort was asked, how long the bridge's own final frame is waited for.",
    "away_after_s": "How long a bridge may be gone before its runs are shown as away.",
    "away_timeout_s": "How long a run may be away before it fails.",
    "queue_timeout_s": "How long the head of a queue waits for a bridge.",
    "heartbeat_s": "Between two heartbeats of a bridge; two silent ones end its link.",
    "shutdown_s": "How long a stop may take.",
    "flush_floor_s": "Least time between two writes of the stream: trades CPU for latency.",
    "rpc_timeout_s": "How long a bridge may take to answer a question.",
    "prompt_timeout_s": "How long a prompt waits for a person; 0: for ever.",
    "prompt_timeouts_s": "The same for prompts of one risk or type, such as CRITICAL=600,question=0.",
    "prompt_stages_s": "When a prompt that nobody answers tells louder.",
    "seen_lease_s": "How long one look of a person at a prompt holds its deadline up.",
    "bypass_s": "How long the mode bypassPermissions lasts.",
    "stuck_after_s": "Silence of a run after which its bridge is asked what it waits for; 0: never.",
    "stuck_grace_s": "How long a silent run that waits for nothing may still go on; its deadline is shown.",
    "model_grace_s": "The same for a silent run that waits for its model.",
    "rest_per_minute": "REST requests of one credential, all at once if need be; 0, here and below: without end.",
    "rest_per_minute_of_address": "REST requests of one address.",
    "commands_per_minute": "Socket events of one credential that change something.",
    "connects_per_minute": "Sockets and bridges that one address opens.",
    "attachments_per_minute": "Uploads of one credential.",
    "wrong_tokens": "Wrong tokens of one address until it must wait between two, from 1 s to 5 minutes; 0: never.",
    "trash_keep_days": "How many days a deleted conversation can be restored; then it is removed for good.",
    "retention_days": "After how many days without a change a conversation is deleted by itself; 0: never.",
    "audit_keep_days": "How many days the audit knows of what was decided and done; 0: for ever.",
    "attachment_keep_s": "How long an attachment that no conversation uses is kept, such as an unsent upload.",
    "clean_up_every_s": "Between two rounds of the clean-up.",
}
"""What each limit means, for help and documentation (a test holds it complete)."""

MOST_DAYS: Final = 36_500
"""A hundred years: much more, and no calendar has the day before."""
_LIMITS_FROM_ZERO: Final = frozenset(
    {
        "abort_grace_s",
        "attachments_per_minute",
        "audit_keep_days",
        "commands_per_minute",
        "connects_per_minute",
        "flush_floor_s",
        "prompt_timeout_s",
        "rest_per_minute",
        "rest_per_minute_of_address",
        "retention_days",
        "stuck_after_s",
        "wrong_tokens",
    }
)
_LIMIT_KINDS: Final = {"prompt_timeouts_s": kinds.PROMPT_TIMEOUTS, "prompt_stages_s": kinds.SECONDS_LIST}


def settings_table() -> tuple[Setting, ...]:
    """Every setting but the limits, in the order of the documentation."""
    return table_of(Settings)


def bridge_table() -> tuple[Setting, ...]:
    """Every setting of `baton bridge` but the limits."""
    return table_of(BridgeSettings)


def limits_table() -> tuple[Setting, ...]:
    """Every limit as a setting: BATON_ and its name."""
    return tuple(
        Setting(
            name=item.name,
            variable=f"BATON_{item.name.upper()}",
            aliases=(),
            kind=_limit_kind(item),
            default=_limit_default(item),
            help=LIMIT_HELP.get(item.name, ""),
            is_secret=False,
            has_option=False,
        )
        for item in dataclasses.fields(Limits)
    )


def _limit_kind(item: "dataclasses.Field[Any]") -> kinds.Kind:
    from_zero = item.name in _LIMITS_FROM_ZERO
    if item.name in _LIMIT_KINDS:
        return _LIMIT_KINDS[item.name]
    if item.name.endswith("_days"):
        return kinds.whole(0 if from_zero else 1, MOST_DAYS)
    return kinds.whole(0 if from_zero else 1) if item.type is int else kinds.seconds(from_zero=from_zero)


def _limit_default(item: "dataclasses.Field[Any]") -> str:
    if item.default is dataclasses.MISSING:
        return ""
    values = item.default if isinstance(item.default, tuple) else (item.default,)
    return ",".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


# --- reading ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    """Where values come from, and how an error text names the place. The first source that has a value wins."""

    values: Mapping[str, str]
    names: Callable[[Setting], tuple[str, ...]]
    place: Callable[[Setting, str], str]


def load(
    options: Mapping[str, str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    dotenv: Path | None = Path(".env"),
    without: Collection[str] = (),
) -> Settings:
    """The settings from options (by field name), the environment, `.env` in the current folder, and defaults.

    Variables of the environment that are named by `without` do not count.
    Raises ConfigError that names every wrong or unknown variable at once, with its value and what is accepted.
    """
    environ = _only(os.environ if environ is None else environ, without)
    problems: list[str] = []
    settings = Settings(**_read_all(settings_table(), options or {}, environ, dotenv, problems))
    problems += _contradictions(settings, environ)
    _refuse(problems)
    return settings


def load_bridge(
    options: Mapping[str, str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    dotenv: Path | None = Path(".env"),
    without: Collection[str] = (),
) -> BridgeSettings:
    """As `load`, for `baton bridge`."""
    problems: list[str] = []
    environ = _only(os.environ if environ is None else environ, without)
    settings = BridgeSettings(**_read_all(bridge_table(), options or {}, environ, dotenv, problems))
    _refuse(problems)
    return settings


def _only(environ: Mapping[str, str], without: Collection[str]) -> Mapping[str, str]:
    return {name: value for name, value in environ.items() if name not in without}


def _read_all(
    table: Sequence[Setting],
    options: Mapping[str, str],
    environ: Mapping[str, str],
    dotenv: Path | None,
    problems: list[str],
) -> dict[str, Any]:
    """Everything that a settings class is made of, but for its defaults."""
    from_file = _read_dotenv(dotenv, problems) if dotenv is not None else {}
    sources = (
        _Source(options, lambda setting: (setting.name,), lambda setting, _: setting.option),
        _Source(environ, lambda setting: setting.variables, lambda _, variable: variable),
        _Source(from_file, lambda setting: setting.variables, lambda _, variable: f"{variable} (in {dotenv})"),
    )
    values: dict[str, Any] = dict(_read_values(table, sources, problems))
    values["limits"] = Limits(**dict(_read_values(limits_table(), sources[1:], problems)))
    agents, commands = _agent_names(), dict(values.get("acp", ()))
    for variables, place in ((environ, ""), (from_file, f" (in {dotenv})")):
        problems += _unknown_variables(variables, place, agents, commands)
    values["agent_environment"] = _agent_environment(environ)
    values["agent_settings"] = _agent_settings({**from_file, **environ}, agents, commands)
    return values


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise ConfigError("\n".join(problems))


def _read_values(
    table: Sequence[Setting], sources: Sequence[_Source], problems: list[str]
) -> Iterator[tuple[str, Any]]:
    for setting in table:
        found = _find(setting, sources)
        if found is None:
            continue
        place, text = found
        try:
            yield setting.name, setting.kind.read(text.strip())
        except (ValueError, KeyError, OverflowError):
            shown = "[hidden]" if setting.is_secret and setting.kind is kinds.SECRET else without_credentials(text)
            problems.append(f"{place}={shown}: accepted is {setting.kind.accepts}")


def _find(setting: Setting, sources: Sequence[_Source]) -> tuple[str, str] | None:
    """The place and text of a setting. An empty text counts as not set, as `VARIABLE=` in a shell is meant."""
    for source in sources:
        for name in source.names(setting):
            text = source.values.get(name, "")
            if text.strip():
                return source.place(setting, name), text
    return None


def _read_dotenv(path: Path, problems: list[str]) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: cannot be read ({error})")
        return {}
    values: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            problems.append(f"{path}, line {binding.original.line}: accepted is NAME=value")
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values


def known_variables() -> frozenset[str]:
    """Every variable that is read, but for those of other people's agents."""
    tables = (*settings_table(), *bridge_table(), *limits_table())
    own = {name for setting in tables for name in setting.variables}
    return frozenset(
        own | {_agent_prefix(agent) + name.upper() for agent, names in AGENT_SETTINGS.items() for name in names}
    )


def _unknown_variables(
    values: Mapping[str, str], place: str, agents: Collection[str], commands: Collection[str]
) -> list[str]:
    known = known_variables() | {_agent_prefix(agent) + name.upper() for agent in commands for name in ACP_SETTINGS}
    prefixes = ("BATON_TEST_", *(_agent_prefix(name) for name in agents if name not in AGENT_SETTINGS))
    return [
        f"{name}{place}: there is no such setting; {_hint(name, known)}"
        for name in sorted(values)
        if name.startswith("BATON_") and name not in known and not name.startswith(prefixes)
    ]


def _hint(name: str, known: Iterable[str]) -> str:
    # Compared without the prefix, which all have in common and which some settings do not have.
    by_rest = {item.removeprefix("BATON_"): item for item in known}
    close = difflib.get_close_matches(name.removeprefix("BATON_"), by_rest, n=1)
    return f"did you mean {by_rest[close[0]]}?" if close else "docs/settings.md lists all"


def _contradictions(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    problems = []
    if not settings.auth and not settings.is_loopback:
        problems.append(
            f"BATON_AUTH=off with HOST={settings.host}: anyone who reaches this machine could run commands on it; "
            "accepted with HOST=127.0.0.1 only"
        )
    if settings.sqlite_path is not None and "DYNO" in environ:
        problems.append(
            "BATON_STORE: a SQLite file on a dyno is lost with the dyno; accepted is a MongoDB address "
            "(BATON_STORE, MONGODB_URI or MONGODB_URL)"
        )
    return problems


# --- what agents get ---------------------------------------------------------------------------------------------


def _agent_names() -> frozenset[str]:
    installed = importlib.metadata.entry_points(group="baton.agents")
    return frozenset(AGENT_SETTINGS) | frozenset(point.name for point in installed)


def _agent_prefix(agent: str) -> str:
    return f"BATON_{re.sub(r'[^A-Za-z0-9]', '_', agent).upper()}_"


def _agent_environment(environ: Mapping[str, str]) -> dict[str, str]:
    own = known_variables()
    return {name: value for name, value in environ.items() if name not in own and not name.startswith("BATON_")}


def _agent_settings(
    values: Mapping[str, str], agents: Collection[str], commands: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """By agent. `commands`: of the ACP agents, by name."""
    own = {
        agent: {
            name.removeprefix(_agent_prefix(agent)).lower(): value
            for name, value in values.items()
            if name.startswith(_agent_prefix(agent))
        }
        for agent in (*agents, *commands)
    }
    return own | {agent: {**own[agent], "command": command} for agent, command in commands.items()}
