"""Where a path lies, judged from its text alone: in the working folder, among what must not be touched, or unknown.

The server never sees the person's files, so it cannot resolve symbolic links: every `..`, everything absolute that
does not begin with the folder, and everything that is not plainly a path counts as outside.
"""

import re
import unicodedata
from itertools import pairwise
from typing import Final

_TAKES_OVER: Final = frozenset(
    {
        ".ssh",
        ".gnupg",
        ".bashrc",
        ".bash_profile",
        ".bash_login",
        ".bash_logout",
        ".bash_aliases",
        ".profile",
        ".zshrc",
        ".zshenv",
        ".zprofile",
        ".zlogin",
        ".zlogout",
        ".cshrc",
        ".tcshrc",
        ".kshrc",
        ".inputrc",
        ".xinitrc",
        ".xprofile",
        ".xsession",
        ".pam_environment",
        ".netrc",
        "authorized_keys",
        "launchagents",
        "launchdaemons",
        "crontab",
        "sudoers",
    }
)
"""Names, in small letters, of what runs, or opens the door, at the next login."""

_PROTECTED: Final = _TAKES_OVER | {
    ".git",
    ".gitmodules",
    ".gitconfig",
    ".hg",
    ".svn",
    ".claude",
    ".claude.json",
    ".mcp.json",
    ".cursor",
    ".vscode",
    ".idea",
    ".husky",
    ".devcontainer",
    ".envrc",
    ".aws",
    ".kube",
    ".docker",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".pypirc",
    ".vimrc",
    ".exrc",
    ".emacs",
    ".tmux.conf",
}
"""Beside these, what is run later without being asked about: hooks, tasks, an agent's own settings."""

_SYSTEM: Final = re.compile(
    r"/(private/)?(applications|bin|boot|dev|etc|lib\d*|library|opt|proc|root|run|sbin|srv|sys|system|usr|var)(/|\Z)",
    re.IGNORECASE,
)
_HARMLESS: Final = re.compile(
    r"/dev/(null|zero|stdin|stdout|stderr|tty|fd/\d+)|/(private/)?(var/)?tmp/.+|(/private)?/var/folders/.+"
)
_HOME: Final = re.compile(r"(~[\w.-]*|\$HOME|\$\{HOME\}|/root|/(home|Users)/[^/]+)(?=/|\Z)")
_SECRETS: Final = re.compile(
    r"\.env(\..+)?|.+\.env|.*\.(pem|key|p12|pfx|jks|keystore|kdbx)|id_(rsa|dsa|ecdsa|ed25519).*|\.netrc|\.npmrc|\.pypirc"
    r"|\.git-credentials|\.htpasswd|credentials(\..+)?|secrets?(\.(json|ya?ml|toml|env|txt))?",
    re.IGNORECASE,
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"})
_EXAMPLES: Final = (".example", ".sample", ".template", ".dist")


def place_in(folder: str | None, path: object) -> str | None:
    """The path below the folder, `.` for the folder itself; None where it lies outside, or nobody can tell.

    A relative path is taken as below the folder. Without a folder, or with `/` as one, nothing lies inside.
    """
    if not isinstance(path, str) or not path or folder is None or not _is_plain(path) or path.startswith("~"):
        return None
    base = _parts(folder)
    if not folder.startswith("/") or not base or ".." in base:
        return None
    parts = _parts(path)
    if path.startswith("/"):
        if parts[: len(base)] != base:
            return None
        parts = parts[len(base) :]
    if ".." in parts:
        return None
    return "/".join(parts) or "."


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _is_plain(path: str) -> bool:
    """No backslash, address or drive, and no sign that cannot be seen: those make two readers see two paths."""
    return re.search(r"\\|://|\A[A-Za-z]:", path) is None and not has_hidden_signs(path)


def has_hidden_signs(text: str) -> bool:
    """Whether it holds signs that are not seen: control and format characters, and blanks other than the space."""
    if _CONTROL.search(text) is not None:
        return True
    return not text.isascii() and any(unicodedata.category(char) in _UNSEEN for char in text if not char.isascii())


def is_protected(place: str) -> bool:
    """Whether a path below the folder holds what is run later without being asked about.

    Without regard to case: on macOS `.GIT/hooks` is the same folder.
    """
    return any(part.casefold() in _PROTECTED for part in _parts(place))


def holds_secrets(path: str) -> bool:
    """Whether its name is one under which secrets are usually kept."""
    name = (_parts(path) or [""])[-1]
    return _SECRETS.fullmatch(name) is not None and not name.endswith(_EXAMPLES)


def takes_over(path: str, folder: str | None) -> bool:
    """Whether writing there changes the system, or what runs at the next login. A place in the folder only by name."""
    parts = [part.casefold() for part in _parts(path)]
    if any(part in _TAKES_OVER for part in parts):
        return True
    if place_in(folder, path) is not None:
        return any(pair in ((".git", "hooks"), (".git", "config")) for pair in pairwise(parts))
    home = _HOME.match(path)
    if home is not None and path[home.end() :]:
        # A dot file of the person's own: each is the settings of some program.
        return path[home.end() :].lstrip("/").startswith((".", "Library"))
    if not path.startswith("/"):
        return path in ("~", "$HOME", "${HOME}")
    if ".." in parts or not parts:
        return True
    absolute = "/" + "/".join(parts)
    return _SYSTEM.match(absolute) is not None and not _HARMLESS.fullmatch(absolute)


def is_root_or_home(path: str) -> bool:
    """`/`, a folder directly below it, somebody's home or the folder of all homes: with or without `/*` behind it."""
    bare = re.sub(r"(/+|/\.|/\*|/\.\*|/\{.*\})+\Z", "", path)
    home = _HOME.match(bare)
    if home is not None and home.end() == len(bare):
        return True
    return bare == "" or (path.startswith("/") and len(_parts(bare)) <= 1 and not _HARMLESS.fullmatch(path))
