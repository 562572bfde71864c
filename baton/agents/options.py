"""What every agent is made with. Apart from the registry, so that an agent imports this and nothing else of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """Everything an agent may know of the process it lives in.

    An agent starts children with `environment` and nothing else: Baton's own secrets are not in it.
    """

    environment: Mapping[str, str]
    default_working_directory: str
    """Absolute; where an Execute without a `working_directory` works."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The agent's own, by plain name (`BATON_CLAUDE_MODEL` is `model` here). Unknown names are ignored."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """How an agent lets time pass; tests pass that of their clock."""
