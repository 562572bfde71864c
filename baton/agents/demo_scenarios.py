"""The demo agent's scripts, one function each, with the parameters that a message may set.

docs/demo-agent.md documents each; a test holds it against `SCENARIOS`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from baton.agents.demo_stage import OPENING, Stage, Tool
from baton.agents.demo_text import filler, markdown_text
from baton.agents.demo_work import work
from baton.core import stream
from baton.core.errors import AgentFailed
from baton.core.models import PlanEntry, PromptType, Question, QuestionOption
from baton.core.ports import PromptAnswer
from baton.core.prompt_options import PLAN_OPTIONS, QUESTION_OPTIONS, TOOL_OPTIONS
from baton.core.text import Json


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a message may set, as `name=value`."""

    name: str
    default: float
    minimum: float
    maximum: float
    meaning: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script and what may be set of it; `rate` always may."""

    name: str
    summary: str
    play: Callable[[Stage], Awaitable[None]]
    parameters: tuple[Parameter, ...] = ()
    rate: float = 40

    def settable(self) -> tuple[Parameter, ...]:
        """Its own parameters and the speed."""
        return (*self.parameters, Parameter("rate", self.rate, 0.1, 100_000, "words per second"))


_PLAN: Final = "1. Look at the code\n2. Change it\n3. Run the tests"


# --- speaking ----------------------------------------------------------------------------------------------------


async def echo(stage: Stage) -> None:
    """What a message that names no scenario gets."""
    text = stage.task.message.strip()
    shown = text if len(text) <= 200 else text[:200] + "…"
    lines = [f"you said: “{shown}”."]
    for attachment in stage.task.attachments:
        content = await stage.turn.read_attachment(attachment)
        lines.append(f"You attached {attachment.filename}, {len(content)} bytes.")
    lines.append(f"A message that starts with /demo and one of these plays a scenario: {scenario_names()}.")
    await stage.tell(" ".join(lines))


async def markdown(stage: Stage) -> None:
    """Long Markdown."""
    await stage.tell("\n\n" + markdown_text(int(stage.parameters["words"])))


async def thinking(stage: Stage) -> None:
    """Thinking, then text."""
    speech = stage.begin()
    await stage.think(speech, "The question is what a demo agent would think. Nothing, but it can show how that looks.")
    await stage.say(speech, OPENING + "this answer had a thinking block before it.")
    stage.finish(speech)


async def two(stage: Stage) -> None:
    """Two messages in one run."""
    await stage.tell("this is the first of two messages.")
    await stage.tell("this is the second of two messages.")


async def slow(stage: Stage) -> None:
    """Few words a second."""
    await stage.tell("\n\n" + markdown_text(int(stage.parameters["words"])))


async def silent(stage: Stage) -> None:
    """Nothing for a while, then text."""
    seconds = stage.parameters["seconds"]
    await stage.pause(seconds)
    await stage.tell(f"nothing was said for {seconds:g} seconds.")


async def burst(stage: Stage) -> None:
    """Many deltas at once."""
    count = int(stage.parameters["n"])
    speech = stage.begin()
    stage.burst(speech, [OPENING, *(f"{number} " for number in range(1, count))])
    stage.finish(speech)


async def huge(stage: Stage) -> None:
    """A huge text and a huge tool result."""
    size = int(stage.parameters["size_kb"]) * 1024
    speech = stage.begin()
    stage.burst(speech, [OPENING + "a huge text follows.\n", *filler(size)])
    tool = stage.use(speech, "Bash", kind="execute", title="cat huge.log", arguments={"command": "cat huge.log"})
    stage.finish(speech)
    await stage.pause(0.01)
    stage.result(tool, "".join(filler(size)))
    await stage.tell(f"the text and the result of the tool had {size} characters each.")


async def notice(stage: Stage) -> None:
    """Notices of each level, a to-do list, and text."""
    for level in ("info", "warning", "error"):
        stage.turn.emit(stream.Notice(level=level, text=f"Demo agent: a notice of the level {level}."))
    _show_plan(stage, done=1)
    await stage.tell("there were three notices and a to-do list.")


async def discard(stage: Stage) -> None:
    """A message that is taken back after its beginning was shown, then the right one."""
    speech = stage.begin()
    await stage.say(speech, OPENING + "this message will be taken ba")
    await stage.pause(0.2)
    stage.turn.emit(stream.MessageDiscarded(message_id=speech.message_id))
    await stage.tell("the message before this one was taken back.")


async def recall(stage: Stage) -> None:
    """What was sent before in this session."""
    if stage.recalled is None:
        await stage.tell("this session is new to me; I remember only while this process runs.")
    else:
        await stage.tell(f"before this, you sent in this session: “{stage.recalled[:500]}”.")


# --- failing -----------------------------------------------------------------------------------------------------


async def fail(stage: Stage) -> None:
    """Some words, then a failure of the agent."""
    speech = stage.begin()
    await stage.say(speech, OPENING + markdown_text(int(stage.parameters["after"])))
    raise AgentFailed("The demo agent failed, as it was told to", retryable=True)


async def crash(stage: Stage) -> None:
    """Some words, then a mistake in the agent itself."""
    speech = stage.begin()
    await stage.say(speech, OPENING + "the next line of the script raises an error that no agent should.")
    raise RuntimeError("the demo agent crashed, as it was told to")


# --- tools and questions -----------------------------------------------------------------------------------------


async def tool(stage: Stage) -> None:
    """A tool call with input, progress and result, and text after it."""
    speech = stage.begin()
    await stage.say(speech, OPENING + "a tool is used, as a pretence.")
    steps = int(stage.parameters["steps"])
    call = stage.use(speech, "Bash", kind="execute", title="make test", arguments={"command": "make test"})
    stage.finish(speech)
    for step in range(1, steps + 1):
        stage.progress(call, f"step {step} of {steps}\n")
        await stage.pause(stage.parameters["seconds"] / steps)
    stage.result(call, f"{steps} steps passed")
    await stage.tell("the tool has ended, and nothing was really run.")


async def ask(stage: Stage) -> None:
    """Ask for permission; what is answered decides what follows."""
    speech = stage.begin()
    await stage.say(speech, OPENING + "I would like to use a tool (as a pretence), and ask first.")
    count = int(stage.parameters["count"])
    calls = [
        stage.use(speech, "Bash", kind="execute", title=f"rm -r build/{n}", arguments={"command": f"rm -r build/{n}"})
        for n in range(1, count + 1)
    ]
    stage.finish(speech)
    answers = await asyncio.gather(*(_ask_for(stage, call) for call in calls))
    if any(answer.selected_option == "deny_stop" for answer in answers):
        return
    for call, answer in zip(calls, answers, strict=True):
        await stage.tell(_told(call, answer))


async def _ask_for(stage: Stage, call: Tool) -> PromptAnswer:
    answer = await stage.ask(
        PromptType.TOOL_PERMISSION,
        f"Run {_command(call.input)}?",
        message="The demo agent asks; whatever you answer, nothing is run.",
        options=TOOL_OPTIONS,
        tool=call,
    )
    if answer.selected_option.startswith("allow"):
        stage.result(call, f"pretended to run: {_command(answer.input or call.input)}")
    else:
        stage.result(call, _with("The person denied it", answer.message), is_error=True)
    return answer


def _told(call: Tool, answer: PromptAnswer) -> str:
    option = answer.selected_option
    if option.startswith("allow"):
        changed = " with your changes" if answer.input is not None and answer.input != call.input else ""
        return f"you answered {option}, so I pretended to run {_command(answer.input or call.input)}{changed}."
    return _with(f"you answered {option}, so I did not run {_command(call.input)}", answer.message)


async def question(stage: Stage) -> None:
    """A question with one choice, one with several, and one with free text."""
    await stage.tell("I have three questions.")
    questions = (
        Question(id="colour", header="Colour", question="Which colour?", options=_choices("Red", "Green", "Blue")),
        Question(
            id="toppings",
            header="Toppings",
            question="Which toppings?",
            multi_select=True,
            options=_choices("Olives", "Onions", "Peppers"),
        ),
        Question(id="name", header="Name", question="What should it be called?"),
    )
    answer = await stage.ask(PromptType.QUESTION, "Three questions", options=QUESTION_OPTIONS, questions=questions)
    answers = answer.answers if isinstance(answer.answers, dict) else {}
    if answer.selected_option == "deny" or not answers:
        await stage.tell(_with("you did not answer", answer.message))
        return
    told = "; ".join(f"{asked.question} {_joined(answers.get(asked.id))}" for asked in questions)
    await stage.tell(f"you answered: {told}.")


async def plan(stage: Stage) -> None:
    """A plan to accept in two ways, to change, or to reject."""
    await stage.tell("I have a plan.")
    answer = await stage.ask(
        PromptType.PLAN_REVIEW,
        "Go on with this plan?",
        message=_PLAN,
        options=PLAN_OPTIONS,
        arguments={"plan": _PLAN},
    )
    changed = _edited(answer)
    if answer.selected_option == "reject" or (answer.selected_option == "edit" and changed is None):
        await stage.tell(_with("you did not accept the plan, so I go on planning", answer.message))
        return
    mode = "acceptEdits" if answer.selected_option == "accept_edits" else "default"
    stage.turn.emit(stream.ModeUpdated(mode=mode))
    if changed is not None:
        await stage.tell(f"you changed the plan to:\n\n{changed}")
    for done in range(4):
        _show_plan(stage, done=done)
        await stage.pause(0.2)
    await stage.tell(f"the plan is carried out (as a pretence) in the mode {mode}.")


# --- material ----------------------------------------------------------------------------------------------------


def _choices(*labels: str) -> tuple[QuestionOption, ...]:
    return tuple(QuestionOption(label=label, description=f"{label}, as an example") for label in labels)


def _show_plan(stage: Stage, *, done: int) -> None:
    entries = [line.split(". ", 1)[1] for line in _PLAN.splitlines()]
    states = ["completed"] * done + ["in_progress"] + ["pending"] * len(entries)
    stage.turn.emit(
        stream.PlanUpdated(
            entries=tuple(PlanEntry(text=text, status=state) for text, state in zip(entries, states, strict=False))
        )
    )


def _command(arguments: Json) -> str:
    return str(arguments.get("command", "")) if isinstance(arguments, dict) else str(arguments)


def _edited(answer: PromptAnswer) -> str | None:
    """The plan as changed by the person; None where it was not."""
    plan = answer.input.get("plan") if isinstance(answer.input, dict) else None
    return plan if isinstance(plan, str) and plan != _PLAN else None


def _joined(answer: Json) -> str:
    return ", ".join(str(item) for item in answer) if isinstance(answer, list) else str(answer or "(no answer)")


def _with(text: str, message: str | None) -> str:
    return f"{text}: {message}" if message else f"{text}."


_WORDS: Final = "how many words"

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario("echo", "says what was sent, reads attachments, lists the scenarios", echo),
        Scenario("markdown", "a long answer in Markdown", markdown, (Parameter("words", 300, 1, 100_000, _WORDS),)),
        Scenario("thinking", "thinks aloud, then answers", thinking),
        Scenario(
            "tool",
            "a tool call with input, progress, result, and text after it",
            tool,
            (
                Parameter("steps", 3, 1, 1000, "progress lines of the tool"),
                Parameter("seconds", 0.6, 0, 86_400, "how long the tool takes"),
            ),
        ),
        Scenario(
            "work",
            "a to-do list, a file read, an edit, a command that fails, two sub-agents",
            work,
            (Parameter("seconds", 0.6, 0, 86_400, "how long each sub-agent takes"),),
        ),
        Scenario("two", "two messages in one run", two),
        Scenario("fail", "some words, then the run fails", fail, (Parameter("after", 5, 0, 100_000, _WORDS),)),
        Scenario("crash", "some words, then a mistake in the agent's own code", crash),
        Scenario("slow", "two words a second", slow, (Parameter("words", 20, 1, 100_000, _WORDS),), rate=2),
        Scenario(
            "silent",
            "says nothing for a while",
            silent,
            (Parameter("seconds", 30, 0, 86_400, "how long nothing is said"),),
        ),
        Scenario(
            "huge",
            "a huge text and a huge tool result",
            huge,
            (Parameter("size_kb", 512, 1, 16_384, "thousands (1024) of characters of each"),),
        ),
        Scenario(
            "ask",
            "asks for permission to use a tool; the answer decides what follows",
            ask,
            (Parameter("count", 1, 1, 10, "tools that are asked for at the same time"),),
        ),
        Scenario("question", "asks three questions: one choice, several choices, free text", question),
        Scenario("plan", "shows a plan to accept, change or reject", plan),
        Scenario("notice", "notices of each level and a to-do list", notice),
        Scenario("discard", "takes a message back after it was shown, and says another", discard),
        Scenario("burst", "many deltas at once", burst, (Parameter("n", 1000, 1, 100_000, "how many deltas"),)),
        Scenario("recall", "says what was sent before in this session", recall),
    )
}


def scenario_names() -> str:
    """The names, for people."""
    return ", ".join(SCENARIOS)
