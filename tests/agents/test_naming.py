"""How agents are named: `baton.agents.naming`, and what the registry makes of it."""

import re
from pathlib import Path

import pytest

from baton.agents.naming import acp_settings, parse_acp_commands, parse_agent_argument
from baton.agents.options import AgentOptions
from baton.agents.registry import load_agents
from baton.cli import _load_bridge_settings, build_parser
from baton.core.errors import ConfigError
from baton.settings import load, load_bridge


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("claude", ("claude", None)),
        ("acp:gemini", ("acp:gemini", None)),
        ("acp:gemini=gemini --acp", ("acp:gemini", "gemini --acp")),
        ('acp:gemini="gemini --acp"', ("acp:gemini", "gemini --acp")),
        ("acp:x='npx -y it --key=value'", ("acp:x", "npx -y it --key=value")),
        ('acp:x="a" "b"', ("acp:x", '"a" "b"')),
    ],
)
def test_an_argument_is_a_name_and_perhaps_a_command(text: str, meant: tuple[str, str | None]) -> None:
    assert parse_agent_argument(text) == meant


@pytest.mark.parametrize("text", ["", "acp:", "acp:Gemini", "a b", "claude=run", "acp:x=", "acp:x=''", "../x"])
def test_an_argument_that_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--agent"):
        parse_agent_argument(text)


def test_the_setting_names_several() -> None:
    commands = parse_acp_commands(' gemini=gemini --acp; acp:codex = "codex-acp" ;; ')
    assert commands == {"acp:gemini": "gemini --acp", "acp:codex": "codex-acp"}
    assert parse_acp_commands("") == {}


@pytest.mark.parametrize("text", ["gemini", "gemini=", "Gemini=x", "a=b;a=c", "=x"])
def test_a_setting_that_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"name=command|named twice"):
        parse_acp_commands(text)


@pytest.fixture
def options(tmp_path: Path) -> AgentOptions:
    return AgentOptions(environment={"PATH": ""}, default_working_directory=str(tmp_path))


async def test_acp_agents_with_a_command_are_offered_before_the_demo(options: AgentOptions) -> None:
    agents = load_agents(None, options, acp_settings({"acp:gemini": "gemini --acp"}))
    assert list(agents)[-2:] == ["acp:gemini", "demo"]
    pytest.importorskip("acp", reason="the extra `acp` is not installed")
    offer = await agents["acp:gemini"].offer()
    assert (offer.id, offer.title, offer.available) == ("acp:gemini", "gemini", False)
    assert offer.reason == "The program 'gemini' is not installed here"


async def test_an_acp_agent_without_a_command_says_that_there_is_none(options: AgentOptions) -> None:
    offer = await load_agents(["acp:gemini"], options)["acp:gemini"].offer()
    assert (offer.available, offer.reason) == (False, "No agent named 'acp:gemini' is installed")


@pytest.mark.parametrize("command", ["", "'", "   "])
async def test_a_command_that_cannot_be_read_is_named(options: AgentOptions, command: str) -> None:
    offer = await load_agents(["acp:x"], options, acp_settings({"acp:x": command}))["acp:x"].offer()
    assert not offer.available
    assert "acp:x" in (offer.reason or "")


# --- settings and the command line ---------------------------------------------------------------------------------


def test_the_setting_gives_each_agent_its_command_and_its_own_settings() -> None:
    environ = {"BATON_ACP": "my-agent=run it;codex=codex-acp", "BATON_ACP_MY_AGENT_MODEL": "big"}
    for settings in (load({}, environ=environ, dotenv=None), load_bridge({}, environ=environ, dotenv=None)):
        assert settings.agent_settings["acp:my-agent"] == {"command": "run it", "model": "big"}
        assert settings.agent_settings["acp:codex"] == {"command": "codex-acp"}
        assert "BATON_ACP" not in settings.agent_environment


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"BATON_ACP": "gemini"}, "BATON_ACP=gemini: accepted is name=command"),
        (
            {"BATON_ACP": "gemini=x", "BATON_ACP_GEMINI_COLOUR": "red"},
            "BATON_ACP_GEMINI_COLOUR: there is no such setting",
        ),
        ({"BATON_ACP_GEMINI_MODEL": "big"}, "BATON_ACP_GEMINI_MODEL: there is no such setting"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        load({}, environ=environ, dotenv=None)


def test_a_bridge_is_given_agents_with_their_commands() -> None:
    arguments = ["bridge", "--agent", "claude,demo", "--agent", "acp:gemini=gemini --acp, really", "--acp", "x=run x"]
    settings = _load_bridge_settings(build_parser().parse_args(arguments))
    assert settings.agent == ("claude", "demo", "acp:gemini")
    assert settings.agent_settings["acp:gemini"]["command"] == "gemini --acp, really"
    assert settings.agent_settings["acp:x"]["command"] == "run x"


def test_a_bridge_without_named_agents_offers_all() -> None:
    assert _load_bridge_settings(build_parser().parse_args(["bridge"])).agent == ()
