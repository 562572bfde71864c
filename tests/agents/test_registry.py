"""How agents are found: `baton.agents.registry`."""

import asyncio
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from baton.agents import registry
from baton.agents.demo import DemoAgent
from baton.agents.options import AgentOptions
from baton.agents.registry import Offers, agent_names, load_agents
from baton.core.errors import AgentFailed
from baton.core.frames import AgentOffer
from tests.support.recording_turn import RecordingTurn
from tests.support.scripted_agents import ScriptedAgent, execute


@pytest.fixture
def options(tmp_path: Path) -> AgentOptions:
    return AgentOptions(environment={}, default_working_directory=str(tmp_path))


def test_the_packages_agents_are_those_that_are_built_in() -> None:
    config = ConfigParser()
    config.read(Path(__file__).parents[2] / "setup.cfg")
    named = dict(line.split(" = ") for line in config["options.entry_points"]["baton.agents"].strip().splitlines())
    assert {source.name: source.value for source in registry._BUILT_IN} == named


def test_the_demo_agent_comes_last() -> None:
    assert agent_names()[-1] == "demo"
    assert "claude" in agent_names()


def test_listing_and_loading_imports_no_agent() -> None:
    program = (
        "import sys; from baton.agents.registry import *; from baton.agents.options import AgentOptions;"
        "agent_names(); load_agents(None, AgentOptions(environment={}, default_working_directory='/'));"
        "sys.exit(any(name.startswith(('baton.agents.claude', 'baton.agents.demo', 'claude_agent_sdk'))"
        " for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


async def test_a_loaded_agent_works_under_its_name(options: AgentOptions) -> None:
    agents = load_agents(["demo"], options)
    offer = await agents["demo"].offer()
    assert (offer.id, offer.available, agents["demo"].title) == ("demo", True, DemoAgent.title)
    turn = RecordingTurn()
    await agents["demo"].run(execute(message="/demo burst n=2", agent="demo"), turn)
    assert "Demo agent" in turn.text()


async def test_an_agent_gets_its_own_settings(options: AgentOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[AgentOptions] = []

    def make(given: AgentOptions) -> ScriptedAgent:
        seen.append(given)
        return ScriptedAgent()

    install(monkeypatch, "other", make)
    agents = load_agents(["other"], options, {"other": {"model": "large"}, "demo": {"model": "none"}})
    await agents["other"].offer()
    assert seen[0].settings == {"model": "large"}


async def test_an_unknown_agent_is_offered_as_not_installed_and_cannot_run(options: AgentOptions) -> None:
    agents = load_agents(["nobody"], options)
    assert await agents["nobody"].offer() == AgentOffer(
        id="nobody", title="nobody", available=False, reason="No agent named 'nobody' is installed"
    )
    with pytest.raises(AgentFailed) as failed:
        await agents["nobody"].run(execute(), RecordingTurn())
    assert failed.value.code == "agent_missing"


async def test_an_agent_whose_import_fails_is_offered_with_the_reason(
    options: AgentOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(given: AgentOptions) -> ScriptedAgent:
        raise ImportError("No module named 'sdk'")

    install(monkeypatch, "other", broken)
    offer = await load_agents(["other"], options)["other"].offer()
    assert not offer.available
    assert offer.reason == "The agent 'other' could not be loaded: ImportError: No module named 'sdk'"


async def test_closing_ends_only_what_was_made_and_nothing_is_made_after(
    options: AgentOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ScriptedAgent] = []

    def make(given: AgentOptions) -> ScriptedAgent:
        made.append(ScriptedAgent())
        return made[-1]

    install(monkeypatch, "other", make)
    never, used = (load_agents(["other"], options)["other"] for _ in range(2))
    await used.offer()
    await never.close()
    await used.close()
    assert [agent.closed for agent in made] == [1]
    with pytest.raises(AgentFailed):
        await never.run(execute(), RecordingTurn())


async def test_all_agents_are_asked_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    class Waiting(ScriptedAgent):
        async def offer(self) -> AgentOffer:
            await both.wait()
            return await super().offer()

    offers = Offers([Waiting(name="a"), Waiting(name="b")])
    assert [offer.id for offer in await offers.refresh()] == ["a", "b"]
    assert [offer.available for offer in offers.current] == [True, True]


async def test_an_agent_that_does_not_answer_in_time_is_offered_as_not_available() -> None:
    class Hanging(ScriptedAgent):
        async def offer(self) -> AgentOffer:
            await asyncio.Event().wait()
            return await super().offer()

    offers = Offers([Hanging(name="a"), ScriptedAgent(name="b")], timeout_s=0.01)
    hanging, other = await offers.refresh()
    assert (hanging.available, hanging.reason) == (False, "It did not say within 0.01 s whether it can work")
    assert other.available


async def test_an_agent_that_fails_to_answer_is_offered_as_not_available() -> None:
    class Broken(ScriptedAgent):
        async def offer(self) -> AgentOffer:
            raise RuntimeError("inside")

    (offer,) = await Offers([Broken(name="a")]).refresh()
    assert (offer.available, offer.reason) == (False, "It failed to say whether it can work: RuntimeError")


def install(monkeypatch: pytest.MonkeyPatch, name: str, make: object) -> None:
    """Have an entry point of this name that gives `make`."""
    module = ModuleType("agents_of_a_test")
    module.make = make  # type: ignore[attr-defined]  # that is what an entry point reads
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = EntryPoint(name, "agents_of_a_test:make", registry.GROUP)
    monkeypatch.setattr(registry, "_BUILT_IN", (*registry._BUILT_IN, source))
