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

from baton.agents.naming import is_acp
from baton.agents.options import AgentOptions
from baton.core.errors import AgentFailed, NotFound
from baton.core.frames import AgentOffer, Execute, RunResult
from baton.core.ids import RequestId
from baton.core.models import PermissionMode
from baton.core.ports import Agent, KeepsSessions, Turn
from baton.core.text import Json

GROUP: Final = "baton.agents"
OFFER_TIMEOUT_S: Final = 10.0

_BUILT_IN: Final = (
    EntryPoint("claude", "baton.agents.claude:ClaudeAgent", GROUP),
    EntryPoint("demo", "baton.agents.demo:DemoAgent", GROUP),
)
"""Baton's own, so that they are there also where it runs from a checkout that is not installed."""

_ACP: Final = EntryPoint("acp", "baton.agents.acp:AcpAgent", GROUP)
"""Makes every agent that is named `acp:<name>`; its settings say which program that is."""

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
    """The agents of these names, by name, in order of preference.

    None: all that are installed, and every `acp:<name>` that has settings. `settings` holds each agent's own, by its
    name; those of an ACP agent name its `command`. An unknown name gives an agent that says so.
    """
    settings = settings or {}
    found = _found() | {name: _ACP for name in settings if is_acp(name)}
    asked = sorted(found, key=lambda name: name == _LAST) if names is None else names
    return {name: LazyAgent(name, found.get(name), _options_of(name, options, settings)) for name in asked}


def _options_of(name: str, options: AgentOptions, settings: Mapping[str, Mapping[str, str]]) -> AgentOptions:
    own = settings.get(name, {})
    return replace(options, settings={**own, "name": name} if is_acp(name) else own)


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

    async def set_mode(self, request_id: RequestId, mode: PermissionMode) -> None:
        """Tell it that a run's mode is another one, where that is something it knows to do."""
        switch = getattr(self._agent, "set_mode", None)
        if switch is not None:
            await switch(request_id, mode)

    async def list_sessions(self, working_directory: str, *, cursor: str | None, limit: int | None) -> Json:
        """Its own sessions of this folder. Raises NotFound where it keeps none."""
        return await (await self._keeper()).list_sessions(working_directory, cursor=cursor, limit=limit)

    async def read_session(
        self, working_directory: str, session_id: str, *, cursor: str | None, limit: int | None
    ) -> Json:
        """What was said in one of them. Raises NotFound."""
        keeper = await self._keeper()
        return await keeper.read_session(working_directory, session_id, cursor=cursor, limit=limit)

    async def close(self) -> None:
        """End it, if it was ever made; it is not made again."""
        self._is_closed = True
        if self._agent is not None:
            await self._agent.close()

    async def _keeper(self) -> KeepsSessions:
        agent = await self._loaded()
        if not isinstance(agent, KeepsSessions):
            raise NotFound(f"The agent {self.id!r} keeps no sessions that can be listed")
        return agent

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
