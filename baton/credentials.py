"""The two tokens that a server makes at its first start, for its admin and for a bridge.

They are files in the data folder that only their owner can read, because a file of one user is what that user's
other programs may read and what nobody else's may. In memory there are only hashes. Whether a token that somebody
brings counts is `services.tokens`' to say.
"""

import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from baton.core.commands import AccountRole
from baton.core.errors import ConfigError
from baton.core.tokens import new_token_text, token_digest

FIRST_ROLES: Final = (AccountRole.ADMIN, AccountRole.BRIDGE)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The tokens of settings and of the first start, by their hashes (`core.tokens.token_digest`)."""

    digests: Mapping[AccountRole, str]


def open_credentials(folder: Path, given: Mapping[AccountRole, str | None] | None = None) -> Credentials:
    """The credentials of a server: tokens that were given by settings, else those kept in `folder`.

    Missing files are made. Raises ConfigError where the folder or a file is open to others, with the cure.
    """
    given = given or {}
    return _credentials({role: given.get(role) or ensure_token(folder, role) for role in FIRST_ROLES})


def read_credentials(folder: Path, given: Mapping[AccountRole, str | None]) -> Credentials:
    """The same for whom makes none: where there is no file yet, there is no token. Raises ConfigError."""
    found = {role: given.get(role) or read_token(folder, role) for role in FIRST_ROLES}
    return _credentials({role: token for role, token in found.items() if token is not None})


def _credentials(tokens: Mapping[AccountRole, str]) -> Credentials:
    if len(set(tokens.values())) < len(tokens):
        raise ConfigError("BATON_ADMIN_TOKEN and BATON_BRIDGE_TOKEN are the same: a bridge would be an admin")
    return Credentials({role: token_digest(token) for role, token in tokens.items()})


def token_path(folder: Path, role: AccountRole) -> Path:
    """Where the token of the first start is kept."""
    return folder / f"{role.value}.token"


def read_token(folder: Path, role: AccountRole) -> str | None:
    """The token of the first start; None: there was none yet. Raises ConfigError where others could read it."""
    path = token_path(folder, role)
    if not path.exists():
        return None
    _refuse_loose(path, "600")
    token = path.read_text(encoding="ascii", errors="replace").strip()
    if not token:
        raise ConfigError(f"{path} is empty: remove it, and the next start makes a new token")
    return token


def ensure_token(folder: Path, role: AccountRole) -> str:
    """The token of the first start, made now where there is none."""
    prepare_folder(folder)
    existing = read_token(folder, role)
    if existing is not None:
        return existing
    _write_once(token_path(folder, role), new_token_text())
    # Read back rather than returned: of two processes that start together one made it, and both must agree.
    token = read_token(folder, role)
    if token is None:
        raise ConfigError(f"{token_path(folder, role)} was removed while the server started")
    return token


def prepare_folder(folder: Path) -> None:
    """Make the data folder for its owner alone. Raises ConfigError where it cannot be made, or is open to others."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"BATON_DATA={folder}: cannot be made ({error.strerror}); accepted is a folder of yours"
        ) from error
    _refuse_loose(folder, "700")


def _write_once(path: Path, text: str) -> None:
    """Put the whole file there, unless there is one: a link is atomic, and fails where the name is taken."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    except OSError as error:
        raise ConfigError(f"{path}: the token cannot be written ({error.strerror})") from error
    finally:
        draft.unlink(missing_ok=True)


def _refuse_loose(path: Path, mode: str) -> None:
    if os.name != "posix":
        return
    found = path.stat()
    if found.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        raise ConfigError(f"{path} belongs to another user; set BATON_DATA to a folder of yours")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigError(f"{path} can be read or changed by other users of this machine; cure: chmod {mode} '{path}'")
