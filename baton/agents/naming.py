"""How agents are named in settings and on the command line.

`claude` and `demo` are names; `acp:gemini` is an agent that speaks the Agent Client Protocol and is started by a
command that a person sets. Pure text: nothing is looked up or started here.
"""

import re
from typing import Final

from baton.core.errors import ConfigError

ACP_PREFIX: Final = "acp:"

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}\Z")
_NAME_RULE: Final = "a name has small letters, digits, '.', '_' and '-', at most 40"


def is_acp(name: str) -> bool:
    """Whether this is the name of an ACP agent."""
    return name.startswith(ACP_PREFIX)


def parse_agent_argument(text: str) -> tuple[str, str | None]:
    """One `--agent`: `claude`, `acp:gemini`, or `acp:gemini="gemini --acp"` with its command; None: without one.

    Raises ConfigError.
    """
    name, separator, command = text.strip().partition("=")
    name, command = name.strip(), _unquoted(command.strip())
    if not _NAME.match(name.removeprefix(ACP_PREFIX)):
        raise ConfigError(f"--agent {text}: {_NAME_RULE}; ACP agents are named acp:<name>")
    if separator and not is_acp(name):
        raise ConfigError(f"--agent {text}: only ACP agents have a command: acp:{name}=...")
    if separator and not command:
        raise ConfigError(f"--agent {text}: the command is missing")
    return name, command or None


def parse_acp_commands(text: str) -> dict[str, str]:
    """`BATON_ACP`, such as `gemini=gemini --acp;codex=codex-acp`: commands by agent name. Raises ValueError."""
    commands: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, command = part.partition("=")
        name = ACP_PREFIX + name.strip().removeprefix(ACP_PREFIX)
        command = _unquoted(command.strip())
        if not _NAME.match(name.removeprefix(ACP_PREFIX)) or not command:
            raise ValueError(f"{part!r} is not name=command ({_NAME_RULE})")
        if name in commands:
            raise ValueError(f"{name!r} is named twice")
        commands[name] = command
    return commands


def acp_settings(commands: dict[str, str]) -> dict[str, dict[str, str]]:
    """What `registry.load_agents` takes as the settings of these agents."""
    return {name: {"command": command} for name, command in commands.items()}


def _unquoted(text: str) -> str:
    """Without the one pair of quotes around all of it that no shell took away."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" and text[0] not in text[1:-1]:
        return text[1:-1].strip()
    return text
