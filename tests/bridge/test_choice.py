"""Where a run goes, and what is said when it can go nowhere."""

import pytest

from baton.bridge.choice import choose_bridge
from baton.core.events import BridgePresence
from baton.core.frames import AgentOffer, Workspace
from baton.core.ids import BridgeId
from baton.core.ports import BridgeChoice

CLAUDE = AgentOffer(id="claude", title="Claude")
DEMO = AgentOffer(id="demo", title="Demo")
GEMINI = AgentOffer(id="acp:gemini", title="Gemini")
LOGGED_OUT = AgentOffer(
    id="claude", title="Claude", available=False, reason="Claude Code is not logged in: run `claude`"
)


def bridge(
    id_: str, *agents: AgentOffer, active: int = 0, most: int = 5, folders: tuple[str, ...] = ()
) -> BridgePresence:
    return BridgePresence(
        id=BridgeId(id_),
        name=id_,
        agents=agents,
        active=active,
        max_concurrent_requests=most,
        workspaces=tuple(Workspace(path=path, name=path) for path in folders),
    )


def choose(
    *bridges: BridgePresence, agent: str | None = None, bridge_id: str | None = None, folder: str | None = None
) -> BridgeChoice:
    wanted = None if bridge_id is None else BridgeId(bridge_id)
    return choose_bridge(bridges, agent=agent, bridge_id=wanted, working_directory=folder)


def test_without_any_bridge_the_text_is_the_contracts() -> None:
    assert choose(agent="demo") == BridgeChoice(bridge_id=None, agent="demo", reason="No bridge service connected")


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ((DEMO, GEMINI, CLAUDE), "claude"),
        ((DEMO, GEMINI, LOGGED_OUT), "acp:gemini"),
        ((DEMO, LOGGED_OUT), "demo"),
    ],
)
def test_the_default_agent_is_claude_then_any_other_and_the_demo_last(
    offers: tuple[AgentOffer, ...], expected: str
) -> None:
    assert choose(bridge("b", *offers)) == BridgeChoice(bridge_id=BridgeId("b"), agent=expected)


def test_the_best_agent_is_looked_for_on_all_bridges() -> None:
    assert choose(bridge("a", DEMO), bridge("b", CLAUDE, active=4)).bridge_id == "b"


def test_the_least_loaded_bridge_is_taken() -> None:
    assert choose(bridge("a", CLAUDE, active=2), bridge("b", CLAUDE, active=1)).bridge_id == "b"


def test_an_asked_bridge_is_taken_however_loaded_it_is() -> None:
    assert choose(bridge("a", CLAUDE, active=4), bridge("b", CLAUDE), bridge_id="a").bridge_id == "a"


def test_an_asked_bridge_that_is_away_is_named_with_a_cure() -> None:
    choice = choose(bridge("a", CLAUDE), bridge_id="b")
    assert choice.bridge_id is None
    assert choice.reason is not None
    assert "b is not connected" in choice.reason
    assert "baton bridge" in choice.reason


def test_an_agent_that_nobody_has_is_named_with_what_there_is() -> None:
    choice = choose(bridge("a", DEMO), agent="claude")
    assert choice == BridgeChoice(
        bridge_id=None, agent="claude", reason="The agent claude cannot work on a: there is demo"
    )


def test_an_agent_that_cannot_work_says_why_and_what_helps() -> None:
    choice = choose(bridge("a", DEMO, LOGGED_OUT), agent="claude")
    assert choice.reason is not None
    assert "run `claude`" in choice.reason


def test_a_full_bridge_is_waited_for_and_no_other_agent_taken() -> None:
    choice = choose(bridge("a", CLAUDE, active=5), bridge("b", DEMO))
    assert choice.bridge_id is None
    assert choice.reason is not None
    assert "a is busy" in choice.reason


def test_a_bridge_without_any_agent_is_told_as_such() -> None:
    assert choose(bridge("a")).reason == "No agent can work on a: it offers none"


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("/home/anna", True),
        ("/home/anna/", True),
        ("/home/anna/garden", True),
        ("/home/annabel", False),
        ("/home", False),
        (None, True),
    ],
)
def test_a_run_goes_only_where_its_folder_is_a_workspace(folder: str | None, allowed: bool) -> None:
    choice = choose(bridge("a", CLAUDE, folders=("/home/anna",)), folder=folder)
    assert (choice.bridge_id is not None) is allowed


def test_a_bridge_that_names_no_workspaces_judges_folders_itself() -> None:
    assert choose(bridge("a", CLAUDE), folder="/anywhere").bridge_id == "a"


def test_windows_paths_are_compared_too() -> None:
    assert choose(bridge("a", CLAUDE, folders=("C:\\code",)), folder="C:\\code\\x").bridge_id == "a"
