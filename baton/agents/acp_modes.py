"""Which of an ACP session's own modes and models stand for Baton's, wherever the agent keeps them. Pure.

Agents have them as session modes, as config options of the categories `mode` and `model`, or not at all; the names
are their own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from acp import schema

from baton.core.models import PermissionMode

_ASKING: Final = ("default", "ask", "manual", "read-only")
_PLANNING: Final = ("plan", "architect")
"""Names that agents give to the mode in which they ask, and to the one in which they plan, the surest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Something that one of several values can be chosen for. `config_id` None: it is the session's mode."""

    config_id: str | None
    current: str
    values: tuple[tuple[str, str], ...]
    """Value and title of each."""

    def first_of(self, names: Iterable[str]) -> str | None:
        """The first of these names that there is."""
        return next((name for name in names if any(name == value for value, _ in self.values)), None)


def mode_choice(modes: schema.SessionModeState | None, options: Sequence[Any] | None) -> Choice | None:
    """The session's mode; None where the agent has none."""
    if modes is not None:
        values = tuple((mode.id, mode.name) for mode in modes.available_modes)
        return Choice(config_id=None, current=modes.current_mode_id, values=values)
    return config_choice(options, "mode")


def config_choice(options: Sequence[Any] | None, category: str) -> Choice | None:
    """The first config option of this category; None where there is none."""
    for option in options or ():
        if isinstance(option, schema.SessionConfigOptionSelect) and option.category == category:
            return Choice(config_id=option.id, current=option.current_value, values=tuple(_values(option.options)))
    return None


def _values(options: Sequence[Any]) -> Iterable[tuple[str, str]]:
    for option in options:
        if isinstance(option, schema.SessionConfigSelectGroup):
            yield from _values(option.options)
        else:
            yield option.value, option.name


def wanted_mode(choice: Choice | None, mode: PermissionMode) -> str | None:
    """The agent's name of the mode to be in: one in which it plans or asks, never one in which it asks less.

    None: it has no such mode.
    """
    if choice is None:
        return None
    return choice.first_of(_PLANNING if mode is PermissionMode.PLAN else _ASKING)


def is_planning(mode: str | None) -> bool:
    """Whether this is the agent's name of a mode in which it plans."""
    return mode in _PLANNING
