"""What Claude Code's process is started with: program, environment, and whether it is logged in.

Knows neither the SDK nor any message. It looks whether credentials exist; it never keeps or logs one.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

LAUNCHER: Final = Path(__file__).with_name("claude_launch.sh")
"""Takes away from the environment what the SDK would pass on; see there."""

INSTALL_CURE: Final = "Claude Code is not installed here: pip install 'baton-agents[claude]'"
LOGIN_CURE: Final = (
    "Claude Code is not logged in: run `claude` once in a terminal and log in, or set ANTHROPIC_API_KEY "
    "(or CLAUDE_CODE_OAUTH_TOKEN, made by `claude setup-token`) for the bridge"
)

_OURS: Final = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
_BATON_PREFIXES: Final = ("BATON_", "MONGODB_", "MONGO_")
_CLAUDE_PREFIXES: Final = ("CLAUDE_CODE_", "CLAUDE_AGENT_SDK_")
_CLAUDE_KEPT: Final = frozenset(
    {
        "CLAUDE_CODE_API_KEY_HELPER_TTL_MS",
        "CLAUDE_CODE_CERT_STORE",
        "CLAUDE_CODE_CLIENT_CERT",
        "CLAUDE_CODE_CLIENT_KEY",
        "CLAUDE_CODE_CLIENT_KEY_PASSPHRASE",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS",
        "CLAUDE_CODE_GIT_BASH_PATH",
        "CLAUDE_CODE_HTTPS_PROXY",
        "CLAUDE_CODE_HTTP_PROXY",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
        "CLAUDE_CODE_MAX_RETRIES",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_SKIP_BEDROCK_AUTH",
        "CLAUDE_CODE_SKIP_FOUNDRY_AUTH",
        "CLAUDE_CODE_SKIP_VERTEX_AUTH",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_FOUNDRY",
        "CLAUDE_CODE_USE_VERTEX",
    }
)
"""What a person sets for the agent. All others describe the Claude Code session that Baton was started in, if any."""

_KEYS: Final = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")
_CLOUDS: Final = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY")
_CONFIG_LOGINS: Final = frozenset({"oauthAccount", "primaryApiKey", "apiKeyHelper", *_KEYS, *_CLOUDS})
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
_SECRET_NAME: Final = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_SECRET_TEXT: Final = re.compile(r"\bsk-[\w-]{8,}|\b(?:Bearer|Basic)\s+\S+", re.IGNORECASE)


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What of `environment` Claude Code gets: without Baton's own, without traces of an outer Claude Code."""
    return {name: value for name, value in environment.items() if _may_pass(name)} | _OURS


def _may_pass(name: str) -> bool:
    if name.startswith(_CLAUDE_PREFIXES):
        return name in _CLAUDE_KEPT
    return not name.startswith(_BATON_PREFIXES) and name != "CLAUDECODE"


def launch_environment(child: Mapping[str, str], program: str, inherited: Iterable[str]) -> dict[str, str]:
    """What to give the SDK as `env`, so that the launcher ends up with exactly `child`.

    `inherited`: the names that the SDK would pass on. One that no shell can name is emptied instead of dropped.
    """
    unwanted = [name for name in inherited if name not in child]
    return {
        **child,
        **{name: "" for name in unwanted if not _PLAIN_NAME.match(name)},
        "BATON_LAUNCH_DROP": " ".join(name for name in unwanted if _PLAIN_NAME.match(name)),
        "BATON_LAUNCH_PROGRAM": program,
    }


def inherited_names() -> tuple[str, ...]:
    """The names the SDK would pass on: those of this process, whatever `AgentOptions.environment` says."""
    return tuple(os.environ)


def is_sdk_installed() -> bool:
    """Whether `claude_agent_sdk` can be imported, without importing it."""
    return find_spec("claude_agent_sdk") is not None


def find_program(environment: Mapping[str, str], named: str | None = None) -> str | None:
    """Claude Code's program: the `named` one, else the SDK's own, else the one on PATH; None: there is none."""
    if named is not None:
        return shutil.which(named, path=environment.get("PATH"))
    spec = find_spec("claude_agent_sdk")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).with_name("_bundled") / "claude"
        if bundled.is_file():
            return str(bundled)
    return shutil.which("claude", path=environment.get("PATH"))


def is_logged_in(environment: Mapping[str, str]) -> bool:
    """Whether a key, a token, a cloud or a login of a person is set up. Says nothing about whether it is still good."""
    if any(environment.get(name) for name in _KEYS) or any(_is_on(environment.get(name)) for name in _CLOUDS):
        return True
    named, home = environment.get("CLAUDE_CONFIG_DIR"), environment.get("HOME")
    if not named and not home:
        return False
    folder = Path(named) if named else Path(home or "") / ".claude"
    beside = folder if named else folder.parent
    if (folder / ".credentials.json").is_file():
        return True
    names = _names_in(folder / "settings.json") | _names_in(beside / ".claude.json")
    return not names.isdisjoint(_CONFIG_LOGINS)


def _is_on(value: str | None) -> bool:
    return value is not None and value.strip().lower() in {"1", "true", "yes", "on"}


def _names_in(path: Path) -> frozenset[str]:
    """The names set in one of Claude Code's own files, and in its `env`; none where it cannot be read."""
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return frozenset()
    if not isinstance(config, dict):
        return frozenset()
    own = config.get("env")
    return frozenset(name for name, value in config.items() if value) | frozenset(own if isinstance(own, dict) else ())


def without_secrets(text: str, environment: Mapping[str, str]) -> str:
    """`text` with everything that looks like a secret, or is one of this environment, replaced."""
    for name, value in environment.items():
        if len(value) >= 6 and _SECRET_NAME.search(name):
            text = text.replace(value, "[secret]")
    return _SECRET_TEXT.sub("[secret]", text)
