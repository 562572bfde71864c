"""What one setting is, how its text is read, and what is accepted, in words for error texts and documentation."""

import ipaddress
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from baton.agents.naming import parse_acp_commands
from baton.core.models import PromptType
from baton.core.permissions import Risk

TOKEN_MIN_LENGTH: Final = 20
_PROMPT_KINDS: Final = (*(risk.value for risk in Risk), *(kind.value for kind in PromptType))


@dataclass(frozen=True, slots=True)
class Kind:
    """A reader of text and what it accepts, in words. `read` raises ValueError."""

    accepts: str
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that can be set: what help, documentation and error texts say of it."""

    name: str
    variable: str
    aliases: tuple[str, ...]
    kind: Kind
    default: str
    help: str
    is_secret: bool
    has_option: bool

    @property
    def variables(self) -> tuple[str, ...]:
        """All names that are read, the first that is set wins."""
        return (self.variable, *self.aliases)

    @property
    def option(self) -> str:
        """The command line's name of it."""
        return "--" + self.name.replace("_", "-")


def one_of(*choices: str) -> Kind:
    def read(text: str) -> str:
        return choices[choices.index(text.lower())]

    return Kind(" or ".join(choices), read)


def several_of(*choices: str) -> Kind:
    def read(text: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(choices[choices.index(name)] for name in _split_list(text.lower())))

    return Kind(f"{', '.join(choices)}: one or more, separated by commas", read)


def _split_list(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise ValueError(text)
    return names


def whole(least: int, most: int | None = None) -> Kind:
    def read(text: str) -> int:
        number = int(text)
        if number < least or (most is not None and number > most):
            raise ValueError(text)
        return number

    return Kind(f"a whole number, {least} or more" if most is None else f"a whole number from {least} to {most}", read)


def seconds(*, from_zero: bool) -> Kind:
    def read(text: str) -> float:
        number = float(text)
        if not math.isfinite(number) or number < 0 or (number == 0 and not from_zero):
            raise ValueError(text)
        return number

    return Kind("seconds, 0 or more" if from_zero else "seconds, more than 0", read)


def _read_seconds(text: str) -> float:
    return float(seconds(from_zero=True).read(text))


def _read_stages(text: str) -> tuple[float, ...]:
    stages = tuple(_read_seconds(part) for part in _split_list(text))
    if list(stages) != sorted(set(stages)) or stages[0] == 0:
        raise ValueError(text)
    return stages


def _read_prompt_timeouts(text: str) -> dict[str, float]:
    found = {}
    for part in _split_list(text):
        name, _, value = part.partition("=")
        known = {item.lower(): item for item in _PROMPT_KINDS}
        found[known[name.strip().lower()]] = _read_seconds(value)
    return found


def _read_switch(text: str) -> bool:
    return {"on": True, "1": True, "true": True, "yes": True, "off": False, "0": False, "false": False, "no": False}[
        text.lower()
    ]


def _read_origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError(text)
    if parts.path not in ("", "/"):
        raise ValueError(text)
    if parts.port is not None and not 0 < parts.port < 65536:
        raise ValueError(text)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _read_backend(text: str) -> str:
    # A bridge's own habit: the address of its socket is the same server's.
    return _read_origin(re.sub(r"^ws(s?)://", r"http\1://", text))


def _read_store(text: str) -> str:
    if not re.match(r"(mongodb(\+srv)?://|sqlite:///)[^\s]", text):
        raise ValueError(text)
    return text


def _read_level(text: str) -> str:
    level = {"WARN": "WARNING"}.get(text.upper(), text.upper())
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError(text)
    return level


def _read_folders(text: str) -> tuple[Path, ...]:
    folders = tuple(Path(part).expanduser().absolute() for part in text.split(os.pathsep))
    if not all(folder.is_dir() for folder in folders):
        raise ValueError(text)
    return folders


def _read_networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(part) for part in _split_list(text))


def _read_secret(text: str) -> str:
    if len(text) < TOKEN_MIN_LENGTH or not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError(text)
    return text


def _read_text(text: str) -> str:
    if not text.strip():
        raise ValueError(text)
    return text.strip()


SECONDS_LIST = Kind("seconds more than 0, separated by commas, in growing order", _read_stages)
PROMPT_TIMEOUTS = Kind(
    f"name=seconds, several separated by commas; names are {', '.join(_PROMPT_KINDS)}", _read_prompt_timeouts
)
SWITCH = Kind("on or off", _read_switch)
ORIGIN = Kind("an address like https://baton.example.org, without a path", _read_origin)
BACKEND = Kind("a server's address like https://baton.example.org, without a path", _read_backend)
STORE = Kind("mongodb://..., mongodb+srv://... or sqlite:///path", _read_store)
LEVEL = Kind("DEBUG, INFO, WARNING or ERROR", _read_level)
FOLDER = Kind("a folder", lambda text: Path(_read_text(text)).expanduser().absolute())
FOLDERS = Kind(f"folders that exist, separated by {os.pathsep!r}", _read_folders)
_PORT = whole(0, 65535)
PORT_OR_NONE = Kind(
    "a whole number from 0 to 65535, or none", lambda text: None if text == "none" else _PORT.read(text)
)
LOG_FILE = Kind("a file, or none", lambda text: None if text == "none" else Path(text).expanduser().absolute())
TEXT = Kind("a text", _read_text)
ACP_COMMANDS = Kind("name=command, several separated by ';'", lambda text: tuple(parse_acp_commands(text).items()))
NAMES = Kind("names separated by commas", lambda text: tuple(_split_list(text)))
NETWORKS = Kind("addresses or networks such as 10.0.0.0/8, separated by commas", _read_networks)
HOST = Kind("an address or host name of this machine", _read_text)
SECRET = Kind(f"at least {TOKEN_MIN_LENGTH} printable characters without spaces", _read_secret)


def declare(
    variable: str,
    default: object,
    kind: Kind,
    *,
    help: str,  # noqa: A002 - the word that argparse and every reader uses
    aliases: tuple[str, ...] = (),
    shown: str | None = None,
    is_secret: bool = False,
    has_option: bool = True,
) -> Any:
    """A dataclass field that is a setting; a callable default makes the value anew each time."""
    described = Setting(
        name="",
        variable=variable,
        aliases=aliases,
        kind=kind,
        default=_shown(default) if shown is None else shown,
        help=help,
        is_secret=is_secret,
        has_option=has_option,
    )
    metadata = {"setting": described}
    if callable(default):
        return field(default_factory=default, repr=not is_secret, metadata=metadata)
    return field(default=default, repr=not is_secret, metadata=metadata)


def table_of(cls: type) -> tuple[Setting, ...]:
    """Every field of the class that was made by `declare`, in order."""
    described = ((item.name, item.metadata.get("setting")) for item in fields(cls))
    return tuple(replace(setting, name=name) for name, setting in described if setting is not None)


def _shown(value: object) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
