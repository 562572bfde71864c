"""Which agents there are: found by the entry point group `baton.agents`, imported when first used.

An entry point names a callable that takes `AgentOptions` and makes an agent. Whatever goes wrong with one, it is
offered as not available, with the reason; it never keeps a bridge from starting or hides the others.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from baton.agents.options import AgentOptions
from baton.core.errors import AgentFailed
from baton.core.frames import AgentOffer, Execute, RunResult
from baton.core.ports import Agent, Turn
from baton.core.text import Json

GROUP: Final = "baton.agents"
OFFER_TIMEOUT_S: Final = 10.0

_BUILT_IN: Final = (
    EntryPoint("claude", "baton.agents.claude:ClaudeAgent", GROUP),
    EntryPoint("demo", "baton.agents.demo:DemoAgent", GROUP),
)
"""Baton's own, so that they are there also where it runs from a checkout that is not installed."""

_LAST: Final = "demo"
"""Offered last, because a bridge's first available agent is its default."""

logger = logging.getLogger(__name__)


def agent_names() -> tuple[str, ...]:
    """Every agent that is installed, the preferred ones first. Imports none of them."""
    return tuple(_found())


def load_agents(
    names: Sequence[str] | None,
    options: AgentOptions,
    settings: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Agent]:
    """The agents of these names (None: all that are installed), by name, in order of preference.

    `settings` holds each agent's own, by its name. An unknown name gives an agent that says so.
    """
    found = _found()
    return {
        name: LazyAgent(name, found.get(name), replace(options, settings=(settings or {}).get(name, {})))
        for name in (found if names is None else names)
    }


class LazyAgent:
    """An agent that is imported and made when it is first asked something, in a thread, because that can take long."""

    def __init__(self, name: str, source: EntryPoint | None, options: AgentOptions) -> None:
        self.id = name
        self.title = name
        self._source = source
        self._options = options
        self._agent: Agent | None = None
        self._is_closed = False
        self._loading = asyncio.Lock()

    async def offer(self) -> AgentOffer:
        """What the agent offers; not available, with the reason, where it cannot be had."""
        try:
            offer = await (await self._loaded()).offer()
        except AgentFailed as failed:
            return AgentOffer(id=self.id, title=self.title, available=False, reason=failed.message)
        return replace(offer, id=self.id)

    async def run(self, task: Execute, turn: Turn) -> RunResult:
        """Run it. Raises AgentFailed `agent_missing` where it cannot be had."""
        return await (await self._loaded()).run(task, turn)

    async def commands(self, working_directory: str | None) -> Json:
        """Its commands and models. Raises AgentFailed `agent_missing` where it cannot be had."""
        return await (await self._loaded()).commands(working_directory)

    async def close(self) -> None:
        """End it, if it was ever made; it is not made again."""
        self._is_closed = True
        if self._agent is not None:
            await self._agent.close()

    async def _loaded(self) -> Agent:
        async with self._loading:
            if self._is_closed:
                raise AgentFailed("The bridge is shutting down", code="bridge_lost", retryable=True)
            if self._agent is None:
                self._agent = await asyncio.to_thread(self._load)
                self.title = self._agent.title
            return self._agent

    def _load(self) -> Agent:
        if self._source is None:
            raise AgentFailed(f"No agent named {self.id!r} is installed", code="agent_missing")
        try:
            agent: Agent = self._source.load()(self._options)
        # Anything can go wrong in somebody else's module; here it only means that this agent is not available.
        except Exception as error:
            logger.warning(
                "an agent could not be loaded",
                extra={"action": "agent.load_failed", "agent": self.id, "error": type(error).__name__},
                exc_info=True,
            )
            raise AgentFailed(
                f"The agent {self.id!r} could not be loaded: {type(error).__name__}: {error}", code="agent_missing"
            ) from error
        return agent


class Offers:
    """What all agents of a bridge offer, as last asked."""

    def __init__(self, agents: Iterable[Agent], *, timeout_s: float = OFFER_TIMEOUT_S) -> None:
        self._agents = tuple(agents)
        self._timeout_s = timeout_s
        self.current: tuple[AgentOffer, ...] = ()
        """Empty until the first `refresh`."""

    async def refresh(self) -> tuple[AgentOffer, ...]:
        """Ask all agents at once. One that fails, or takes longer than its time, is offered as not available."""
        self.current = tuple(await asyncio.gather(*(self._ask(agent) for agent in self._agents)))
        return self.current

    async def _ask(self, agent: Agent) -> AgentOffer:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await agent.offer()
        except TimeoutError:
            reason = f"It did not say within {self._timeout_s:g} s whether it can work"
        # As for loading: an agent's own mistake makes it unavailable and nothing else.
        except Exception as error:
            logger.warning(
                "an agent could not say whether it can work",
                extra={"action": "agent.offer_failed", "agent": agent.id, "error": type(error).__name__},
                exc_info=True,
            )
            reason = f"It failed to say whether it can work: {type(error).__name__}"
        return AgentOffer(id=agent.id, title=agent.title, available=False, reason=reason)


def _found() -> dict[str, EntryPoint]:
    """By name; one that is installed goes before the built-in of the same name."""
    sources = {source.name: source for source in (*_BUILT_IN, *entry_points(group=GROUP))}
    return dict(sorted(sources.items(), key=lambda item: (item[0] == _LAST, item[0])))
