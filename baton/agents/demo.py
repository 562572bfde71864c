"""The demo agent: a script that behaves like an agent, for trying Baton out and as the partner of its tests.

It is no model, says so in its first words, touches no file, runs nothing, and needs no login. A message
`/demo <scenario> name=value ...` chooses what it plays (docs/demo-agent.md); the same message in the same session
always plays the same.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from baton.agents.demo_scenarios import SCENARIOS, Parameter, Scenario, scenario_names
from baton.agents.demo_stage import MODEL, OPENING, Stage
from baton.agents.options import AgentOptions
from baton.core import stream
from baton.core.frames import AgentOffer, Execute, RunResult
from baton.core.ids import derived_object_id
from baton.core.ports import Turn
from baton.core.text import Json

_REMEMBERED_SESSIONS: Final = 1000
_RATE: Final = re.compile(r"\brate=([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Script:
    """What a message asks to be played. `complaint`: why it cannot be."""

    scenario: Scenario
    parameters: Mapping[str, float]
    complaint: str | None = None


class DemoAgent:
    """An agent by the port's rules (`core.ports.Agent`) that plays scripts."""

    id = "demo"
    title = "Demo agent (scripted, not a model)"

    def __init__(self, options: AgentOptions) -> None:
        self._sleep = options.sleep
        self._sessions: OrderedDict[str, str] = OrderedDict()
        """The last message of each session: in memory only, and only of the latest sessions."""

    async def offer(self) -> AgentOffer:
        """Always available."""
        return AgentOffer(id=self.id, title=self.title, models=(MODEL,), modes=("default", "plan", "acceptEdits"))

    async def run(self, task: Execute, turn: Turn) -> RunResult:
        """Play the script that the message asks for. Raises AgentFailed only where the script says so."""
        session_id = self._session_of(task)
        recalled = self._sessions.get(task.session_id or session_id)
        self._remember(session_id, task.message)
        turn.emit(stream.SessionUpdated(session_id=session_id))
        script = parse_script(task.message)
        stage = Stage(
            task=task,
            turn=turn,
            scenario=script.scenario.name,
            parameters=script.parameters,
            sleep=self._sleep,
            recalled=recalled,
        )
        await (stage.tell(script.complaint) if script.complaint else script.scenario.play(stage))
        turn.emit(stream.UsageUpdated(usage=stage.usage))
        return RunResult(
            session_id=session_id, usage=stage.usage, duration_ms=round(stage.paused_s * 1000), num_turns=1
        )

    async def commands(self, working_directory: str | None) -> Json:
        """One command, and the scenarios it takes."""
        return {
            "commands": [
                {"name": "demo", "description": f"Play a scenario: {scenario_names()}", "argumentHint": "<scenario>"}
            ],
            "models": [MODEL],
        }

    async def close(self) -> None:
        """There is nothing to end."""

    def _session_of(self, task: Execute) -> str:
        """The session to go on in: the one named, or a new one that the request alone decides."""
        if task.session_id and not task.fork:
            return task.session_id
        return "demo-" + derived_object_id(task.conversation_id, task.request_id)

    def _remember(self, session_id: str, message: str) -> None:
        self._sessions[session_id] = message
        self._sessions.move_to_end(session_id)
        if len(self._sessions) > _REMEMBERED_SESSIONS:
            self._sessions.popitem(last=False)


def parse_script(message: str) -> Script:
    """What `message` asks for; a text that does not start with `/demo` is answered by `echo`."""
    words = message.split()
    if not words or words[0] != "/demo":
        return _echo_script(message)
    if len(words) == 1:
        return _script("echo")
    scenario = SCENARIOS.get(words[1])
    if scenario is None:
        return _script("echo", complaint=f"there is no scenario “{words[1][:50]}”. There are: {scenario_names()}.")
    return _with_parameters(scenario, words[2:])


def _echo_script(message: str) -> Script:
    """A plain text may still set the speed; where what it says about it makes no sense, it is just text."""
    found = _RATE.search(message)
    script = _with_parameters(SCENARIOS["echo"], [found.group()] if found else [])
    return script if script.complaint is None else _script("echo")


def _with_parameters(scenario: Scenario, words: list[str]) -> Script:
    settable = {parameter.name: parameter for parameter in scenario.settable()}
    parameters = {name: parameter.default for name, parameter in settable.items()}
    for word in words:
        name, _, text = word.partition("=")
        if name not in settable:
            known = ", ".join(settable)
            return _script(scenario.name, complaint=f"{scenario.name} has no “{word[:50]}”. It has: {known}.")
        value = _number(text)
        if value is None or not settable[name].minimum <= value <= settable[name].maximum:
            return _script(scenario.name, complaint=_out_of_range(settable[name], text))
        parameters[name] = value
    return Script(scenario, parameters)


def _script(name: str, *, complaint: str | None = None) -> Script:
    scenario = SCENARIOS[name]
    return Script(scenario, {parameter.name: parameter.default for parameter in scenario.settable()}, complaint)


def _out_of_range(parameter: Parameter, text: str) -> str:
    return (
        f"{parameter.name} ({parameter.meaning}) must be a number from {parameter.minimum:g} to "
        f"{parameter.maximum:g}, not “{text[:50]}”."
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


__all__ = ["OPENING", "DemoAgent", "Script", "parse_script"]
