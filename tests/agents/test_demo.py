"""The demo agent and its scenarios: `baton.agents.demo`."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from baton.agents.demo import DemoAgent, parse_script
from baton.agents.demo_scenarios import SCENARIOS
from baton.agents.demo_stage import OPENING
from baton.agents.options import AgentOptions
from baton.core import stream
from baton.core.errors import AgentFailed
from baton.core.frames import PromptAsked, RunResult
from baton.core.ids import AttachmentId
from baton.core.models import Attachment, PromptType
from baton.core.ports import PromptAnswer
from baton.core.stream import StreamEvent
from baton.core.text import Json, utf16_length
from tests.support.recording_turn import RecordingTurn, choosing
from tests.support.scripted_agents import execute

DOCS = Path(__file__).parents[2] / "docs" / "demo-agent.md"

Answer = Callable[[PromptAsked], PromptAnswer]


class Stopwatch:
    """A clock on which every sleep is over at once; adds them up."""

    def __init__(self) -> None:
        self.slept_s = 0.0
        self.naps = 0

    async def sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        self.naps += 1


@pytest.fixture
def stopwatch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def agent(stopwatch: Stopwatch) -> DemoAgent:
    return DemoAgent(AgentOptions(environment={}, default_working_directory="/", sleep=stopwatch.sleep))


async def played(agent: DemoAgent, message: str, answer: Answer | None = None) -> RecordingTurn:
    turn = RecordingTurn(answer=answer)
    await agent.run(execute(message=message, agent="demo"), turn)
    return turn


def first_text(turn: RecordingTurn) -> str:
    return turn.of(stream.TextDelta)[0].text


# --- what holds for every scenario -------------------------------------------------------------------------------


def settled(name: str) -> str:
    """The scenario's message, small enough for a test."""
    return f"/demo {name}" + {"huge": " size_kb=1", "markdown": " words=30"}.get(name, "")


async def outcome(agent: DemoAgent, name: str, request_id: str = "r1") -> tuple[RecordingTurn, RunResult | Exception]:
    turn = RecordingTurn(answer=choosing("allow_once"))
    try:
        result: RunResult | Exception = await agent.run(
            execute(request_id, settled(name), agent="demo", conversation_id="c"), turn
        )
    except (AgentFailed, RuntimeError) as error:
        result = error
    return turn, result


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_first_words_say_that_this_is_a_demo_agent_and_no_model(agent: DemoAgent, name: str) -> None:
    turn, _ = await outcome(agent, name)
    text = turn.joined_deltas(stream.TextDelta)
    assert text.startswith("Demo agent (scripted, not a model)")


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_scenario_plays_the_same_every_time(agent: DemoAgent, stopwatch: Stopwatch, name: str) -> None:
    options = AgentOptions(environment={}, default_working_directory="/", sleep=stopwatch.sleep)
    first, _ = await outcome(agent, name)
    second, _ = await outcome(DemoAgent(options), name)
    assert first.events == second.events
    assert first.asked == second.asked


@pytest.mark.parametrize("name", SCENARIOS)
async def test_every_delta_follows_on_and_every_message_ends(agent: DemoAgent, name: str) -> None:
    turn, result = await outcome(agent, name)
    texts: dict[tuple[str, int], str] = {}
    for event in turn.events:
        if isinstance(event, (stream.TextDelta, stream.ThinkingDelta)):
            key = (event.message_id, event.block)
            assert event.offset == utf16_length(texts.get(key, ""))
            texts[key] = texts.get(key, "") + event.text
        elif isinstance(event, (stream.TextDone, stream.ThinkingDone)):
            assert texts[event.message_id, event.block] == event.text
    if isinstance(result, RunResult):
        started = {event.message_id for event in turn.of(stream.MessageStarted)}
        done = {event.message_id for event in turn.of(stream.MessageDone)}
        discarded = {event.message_id for event in turn.of(stream.MessageDiscarded)}
        assert started == done | discarded


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in ("fail", "crash")])
async def test_every_run_reports_usage_session_and_what_it_played(agent: DemoAgent, name: str) -> None:
    turn, result = await outcome(agent, name)
    assert isinstance(result, RunResult)
    assert result.session_id is not None
    assert turn.of(stream.SessionUpdated) == [stream.SessionUpdated(session_id=result.session_id)]
    assert turn.of(stream.UsageUpdated)[-1].usage == result.usage
    assert result.usage.output_tokens > 0
    for done in turn.of(stream.MessageDone):
        assert isinstance(done.claude_data, dict)
        assert (done.claude_data["agent"], done.claude_data["scenario"]) == ("demo", name)


async def test_two_runs_share_no_ids(agent: DemoAgent) -> None:
    first, _ = await outcome(agent, "ask", "r1")
    second, _ = await outcome(agent, "ask", "r2")
    assert first.asked[0].prompt_id != second.asked[0].prompt_id
    assert first.of(stream.MessageStarted)[0].message_id != second.of(stream.MessageStarted)[0].message_id


# --- choosing ----------------------------------------------------------------------------------------------------


async def test_a_plain_text_is_echoed_and_told_the_scenarios(agent: DemoAgent) -> None:
    text = (await played(agent, "What is the weather?")).text()
    assert "What is the weather?" in text
    assert all(name in text for name in SCENARIOS)


async def test_an_unknown_scenario_is_told_which_there_are(agent: DemoAgent) -> None:
    text = (await played(agent, "/demo sing")).text()
    assert text.startswith(f"{OPENING}there is no scenario “sing”. There are: echo, markdown")


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("/demo markdown words=many", "words (how many words) must be a number from 1 to 100000, not “many”."),
        ("/demo markdown words=0", "words (how many words) must be a number from 1 to 100000, not “0”."),
        ("/demo markdown words=nan", "words (how many words) must be a number from 1 to 100000, not “nan”."),
        ("/demo markdown words", "words (how many words) must be a number from 1 to 100000, not “”."),
        ("/demo markdown size=3", "markdown has no “size=3”. It has: words, rate."),
        ("/demo echo hello", "echo has no “hello”. It has: rate."),
    ],
)
async def test_wrong_parameters_are_told_what_is_right(agent: DemoAgent, message: str, complaint: str) -> None:
    assert (await played(agent, message)).text() == OPENING + complaint


def test_parameters_are_set_by_the_message_and_default_otherwise() -> None:
    script = parse_script("/demo tool steps=5 rate=200")
    assert dict(script.parameters) == {"steps": 5, "seconds": 0.6, "rate": 200}


def test_a_plain_text_may_set_the_speed() -> None:
    assert parse_script("hello rate=7").parameters["rate"] == 7
    assert parse_script("my heart rate=0 is low").parameters["rate"] == 40


def test_a_message_that_only_begins_like_a_command_is_a_plain_text() -> None:
    assert parse_script("/demonstrate markdown").scenario.name == "echo"
    assert parse_script("").scenario.name == "echo"


# --- speed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [2, 40, 1000])
async def test_words_come_at_the_speed_that_was_asked_for(agent: DemoAgent, stopwatch: Stopwatch, rate: int) -> None:
    turn = await played(agent, f"/demo markdown words=200 rate={rate}")
    words = len(turn.text().split())
    assert stopwatch.slept_s == pytest.approx(words / rate, rel=0.1)
    assert len(turn.of(stream.TextDelta)) == words


async def test_a_high_speed_does_not_mean_a_pause_per_word(agent: DemoAgent, stopwatch: Stopwatch) -> None:
    await played(agent, "/demo markdown words=1000 rate=10000")
    assert stopwatch.naps < 20


async def test_silent_says_nothing_until_its_time_is_over(agent: DemoAgent) -> None:
    said_before: list[int] = []
    turn = RecordingTurn()

    async def sleep(seconds: float) -> None:
        if seconds == 90:
            said_before.append(len(turn.of(stream.MessageStarted)))

    silent = DemoAgent(AgentOptions(environment={}, default_working_directory="/", sleep=sleep))
    await silent.run(execute(message="/demo silent seconds=90"), turn)
    assert said_before == [0]
    assert "90 seconds" in turn.text()


# --- scenarios ---------------------------------------------------------------------------------------------------


async def test_markdown_has_as_many_words_as_asked_for_and_characters_beyond_the_basic_plane(agent: DemoAgent) -> None:
    text = (await played(agent, "/demo markdown words=120")).text()
    assert len(text.removeprefix(OPENING).split()) == 120
    assert "```python" in text
    assert utf16_length(text) > len(text)


async def test_thinking_comes_before_text(agent: DemoAgent) -> None:
    turn = await played(agent, "/demo thinking")
    kinds = [type(event) for event in turn.events]
    assert kinds.index(stream.ThinkingDone) < kinds.index(stream.TextDelta)
    assert turn.thinking()


async def test_a_tool_has_input_progress_and_a_result_and_text_follows(agent: DemoAgent) -> None:
    turn = await played(agent, "/demo tool steps=4")
    (started,) = turn.of(stream.ToolStarted)
    assert turn.of(stream.ToolInput)[0].input == {"command": "make test"}
    assert [event.text for event in turn.of(stream.ToolProgress)] == [f"step {n} of 4\n" for n in (1, 2, 3, 4)]
    assert turn.result_of(started.id).result == "4 steps passed"
    assert len(turn.of(stream.MessageDone)) == 2


async def test_work_has_a_list_an_edit_a_failure_and_sub_agents_whose_messages_name_them(agent: DemoAgent) -> None:
    turn = await played(agent, "/demo work")
    names = [call.name for call in turn.of(stream.ToolStarted)]
    assert names == ["TodoWrite", "Read", "Edit", "Bash", "Task", "Task", "Grep", "Grep", "TodoWrite"]
    assert [done.is_error for done in turn.of(stream.ToolDone)].count(True) == 1
    agents = {call.id for call in turn.of(stream.ToolStarted) if call.name == "Task"}
    parents = [started.parent_tool_use_id for started in turn.of(stream.MessageStarted)]
    assert {parent: parents.count(parent) for parent in agents} == dict.fromkeys(agents, 2)
    assert turn.of(stream.ToolDone)[-2].id in agents, "a sub-agent ends when it has spoken"


async def test_two_gives_two_messages(agent: DemoAgent) -> None:
    assert len((await played(agent, "/demo two")).of(stream.MessageDone)) == 2


async def test_fail_fails_after_some_words(agent: DemoAgent) -> None:
    turn = RecordingTurn()
    with pytest.raises(AgentFailed) as failed:
        await agent.run(execute(message="/demo fail after=3"), turn)
    assert (failed.value.code, failed.value.retryable) == ("agent_failed", True)
    assert turn.text() == OPENING + "# A long"


async def test_crash_raises_what_no_agent_may_raise(agent: DemoAgent) -> None:
    with pytest.raises(RuntimeError):
        await played(agent, "/demo crash")


async def test_huge_says_and_returns_as_much_as_asked_for(agent: DemoAgent) -> None:
    turn = await played(agent, "/demo huge size_kb=300")
    result = turn.of(stream.ToolDone)[0].result
    assert isinstance(result, str)
    assert len(result) == 300 * 1024
    assert len(turn.of(stream.TextDone)[0].text) > 300 * 1024


async def test_burst_says_that_many_deltas_at_once(agent: DemoAgent) -> None:
    emissions: list[int] = []

    class Counting(RecordingTurn):
        def emit(self, *events: StreamEvent) -> None:
            emissions.append(sum(isinstance(event, stream.TextDelta) for event in events))
            super().emit(*events)

    turn = Counting()
    await agent.run(execute(message="/demo burst n=500"), turn)
    assert max(emissions) == 500
    assert turn.text().endswith(" 498 499 ")


async def test_notice_shows_each_level_and_a_to_do_list(agent: DemoAgent) -> None:
    turn = await played(agent, "/demo notice")
    assert [notice.level for notice in turn.of(stream.Notice)] == ["info", "warning", "error"]
    (listed,) = turn.of(stream.PlanUpdated)
    assert [entry.status for entry in listed.entries] == ["completed", "in_progress", "pending"]


async def test_discard_takes_back_a_message_that_was_shown(agent: DemoAgent) -> None:
    turn = await played(agent, "/demo discard")
    (discarded,) = turn.of(stream.MessageDiscarded)
    shown, right = turn.of(stream.MessageStarted)
    assert discarded.message_id == shown.message_id
    assert [done.message_id for done in turn.of(stream.MessageDone)] == [right.message_id]


async def test_attachments_are_read_and_told(agent: DemoAgent) -> None:
    attachment = Attachment(
        id=AttachmentId("a"), filename="notes.txt", mime_type="text/plain", size_bytes=5, url="/api/attachments/a"
    )
    turn = RecordingTurn(files={"a": b"12345"})
    await agent.run(replace(execute(message="look"), attachments=(attachment,)), turn)
    assert "You attached notes.txt, 5 bytes." in turn.text()


# --- questions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["allow_once", "allow_session", "allow_always"])
async def test_what_is_allowed_is_pretended(agent: DemoAgent, option: str) -> None:
    turn = await played(agent, "/demo ask", choosing(option))
    (done,) = turn.of(stream.ToolDone)
    assert (done.result, done.is_error) == ("pretended to run: rm -r build/1", False)
    assert f"you answered {option}" in turn.text()
    assert [choice.id for choice in turn.asked[0].options] == [
        "allow_once", "allow_session", "allow_always", "deny", "deny_stop",
    ]  # fmt: skip


async def test_a_changed_input_is_what_is_pretended(agent: DemoAgent) -> None:
    changed: Json = {"command": "ls build"}
    turn = await played(agent, "/demo ask", lambda _: PromptAnswer(selected_option="allow_once", input=changed))
    assert turn.of(stream.ToolDone)[0].result == "pretended to run: ls build"
    assert "with your changes" in turn.text()


async def test_what_is_denied_is_not_done_and_the_reason_is_told(agent: DemoAgent) -> None:
    turn = await played(agent, "/demo ask", choosing("deny", "too dangerous"))
    (done,) = turn.of(stream.ToolDone)
    assert (done.result, done.is_error) == ("The person denied it: too dangerous", True)
    assert "so I did not run rm -r build/1: too dangerous" in turn.text()


async def test_deny_and_stop_ends_the_turn(agent: DemoAgent) -> None:
    turn = await played(agent, "/demo ask", choosing("deny_stop"))
    assert turn.of(stream.ToolDone)[0].is_error
    assert len(turn.of(stream.MessageStarted)) == 1


async def test_several_questions_are_open_at_once(agent: DemoAgent) -> None:
    turn = await played(agent, "/demo ask count=3", choosing("allow_once"))
    assert len({prompt.prompt_id for prompt in turn.asked}) == 3
    assert [prompt.tool_use_id for prompt in turn.asked] == [tool.id for tool in turn.of(stream.ToolStarted)]


async def test_answers_to_questions_are_told(agent: DemoAgent) -> None:
    answers: Json = {"colour": "Red", "toppings": ["Olives", "Peppers"], "name": "Rex"}
    turn = await played(agent, "/demo question", lambda _: PromptAnswer(selected_option="answer", answers=answers))
    (prompt,) = turn.asked
    assert prompt.type is PromptType.QUESTION
    assert [(asked.multi_select, len(asked.options)) for asked in prompt.questions] == [
        (False, 3),
        (True, 3),
        (False, 0),
    ]
    assert "Which colour? Red; Which toppings? Olives, Peppers; What should it be called? Rex" in turn.text()


async def test_questions_that_are_not_answered_are_told_so(agent: DemoAgent) -> None:
    assert "you did not answer: later" in (await played(agent, "/demo question", choosing("deny", "later"))).text()


@pytest.mark.parametrize(("option", "mode"), [("accept_edits", "acceptEdits"), ("accept_default", "default")])
async def test_an_accepted_plan_is_carried_out_in_its_mode(agent: DemoAgent, option: str, mode: str) -> None:
    turn = await played(agent, "/demo plan", choosing(option))
    assert turn.asked[0].type is PromptType.PLAN_REVIEW
    assert turn.of(stream.ModeUpdated) == [stream.ModeUpdated(mode=mode)]
    assert {entry.status for entry in turn.of(stream.PlanUpdated)[-1].entries} == {"completed"}


async def test_a_plan_is_carried_out_as_it_was_changed(agent: DemoAgent) -> None:
    changed: Json = {"plan": "1. Nothing"}
    turn = await played(agent, "/demo plan", lambda _: PromptAnswer(selected_option="edit", input=changed))
    assert "you changed the plan to:\n\n1. Nothing" in turn.text()


@pytest.mark.parametrize("option", ["reject", "edit"])
async def test_a_plan_that_is_not_accepted_is_not_carried_out(agent: DemoAgent, option: str) -> None:
    turn = await played(agent, "/demo plan", choosing(option, "smaller steps"))
    assert turn.of(stream.PlanUpdated) == []
    assert "I go on planning: smaller steps" in turn.text()


# --- sessions ----------------------------------------------------------------------------------------------------


async def test_recall_says_what_was_sent_before_in_the_session(agent: DemoAgent) -> None:
    first = await agent.run(execute("r1", "remember the milk"), RecordingTurn())
    turn = RecordingTurn()
    second = await agent.run(execute("r2", "/demo recall", session_id=first.session_id), turn)
    assert "you sent in this session: “remember the milk”" in turn.text()
    assert second.session_id == first.session_id


async def test_recall_in_an_unknown_session_says_so_and_keeps_it(agent: DemoAgent) -> None:
    turn = RecordingTurn()
    result = await agent.run(execute(message="/demo recall", session_id="from-before"), turn)
    assert "this session is new to me" in turn.text()
    assert result.session_id == "from-before"


async def test_a_fork_is_a_session_of_its_own_that_remembers_what_it_was_forked_from(agent: DemoAgent) -> None:
    first = await agent.run(execute("r1", "remember the milk"), RecordingTurn())
    turn = RecordingTurn()
    fork = replace(execute("r2", "/demo recall", session_id=first.session_id), fork=True)
    second = await agent.run(fork, turn)
    assert "remember the milk" in turn.text()
    assert second.session_id != first.session_id


async def test_commands_name_the_scenarios(agent: DemoAgent) -> None:
    assert "markdown" in str(await agent.commands(None))


# --- docs --------------------------------------------------------------------------------------------------------


def test_the_docs_name_each_scenario_and_each_parameter_with_its_default_and_range() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rows = {
        (cells[0].strip(" `"), cells[1].strip(" `")): [cell.strip() for cell in cells[2:4]]
        for line in text.splitlines()
        if len(cells := line.strip().strip("|").split("|")) == 5
    }
    for scenario in SCENARIOS.values():
        for parameter in scenario.settable():
            documented = rows[scenario.name, parameter.name]
            assert documented == [
                f"{parameter.default:g}",
                f"{parameter.minimum:g} to {parameter.maximum:g}",
            ], f"{scenario.name} {parameter.name}"
    named = set(re.findall(r"^### `(\w+)`", text, re.MULTILINE))
    assert named == set(SCENARIOS)
