"""What to tell a person whose ACP agent wants a login: its own methods, in its own words. Pure."""

import shlex
from collections.abc import Sequence

from acp import schema

from baton.core.text import clean_text

AuthMethod = schema.EnvVarAuthMethod | schema.TerminalAuthMethod | schema.AuthMethodAgent
_MAX_METHODS = 6


def login_cure(title: str, methods: Sequence[AuthMethod], command: Sequence[str]) -> str:
    """One text: that it is not logged in, what it offers, and where to do it."""
    offered = "; ".join(_method(method, command) for method in methods[:_MAX_METHODS])
    program = shlex.quote(command[0])
    where = f"log in with its own program ({program}) in a terminal on the bridge's machine, then send again"
    return f"{title} is not logged in: {where}." + (f" It offers: {offered}" if offered else "")


def _method(method: AuthMethod, command: Sequence[str]) -> str:
    text = clean_text(method.name)
    if isinstance(method, schema.EnvVarAuthMethod):
        names = ", ".join(clean_text(variable.name) for variable in method.vars)
        text = f"{text} (set {names} for the bridge)"
    elif isinstance(method, schema.TerminalAuthMethod):
        text = f"{text} (run {shlex.join([*command, *(method.args or ())])})"
    elif method.description:
        text = f"{text} ({clean_text(method.description)})"
    return " ".join(text.split())[:200]
