"""The real Claude Code program and SDK, against a fake of the Messages API on loopback: what a turn says and asks."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="the extra `claude` is not installed")

from baton.core.frames import PromptAsked
from baton.core.ids import AttachmentId
from baton.core.models import Attachment, PermissionMode, PromptType, Usage
from baton.core.ports import PromptAnswer
from baton.core.stream import (
    MessageDone,
    MessageStarted,
    ModeUpdated,
    SessionUpdated,
    TextDelta,
    ThinkingDelta,
    ToolDone,
    ToolInput,
    ToolProgress,
    ToolStarted,
    UsageUpdated,
)
from tests.support import claude_fixtures
from tests.support.claude_fixtures import MakeAgent, aborted, children, run
from tests.support.fake_messages_api import PLAN, FakeMessagesApi, Reply, Text, ToolCall
from tests.support.recording_turn import RecordingTurn, choosing

# pytest finds fixtures by the names of the module that uses them.
api, environment = claude_fixtures.api, claude_fixtures.environment
make_agent, work = claude_fixtures.make_agent, claude_fixtures.work

_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""One pixel."""
_PDF = b"%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


# --- text ----------------------------------------------------------------------------------------------------------


async def test_deltas_of_a_text_join_to_the_final_text(make_agent: MakeAgent) -> None:
    turn = RecordingTurn()
    said = "grüße aus dem 🌍, and **Markdown** too"

    result = await run(make_agent(), turn, f"text {said}")

    assert turn.joined_deltas(TextDelta) == turn.text() == said
    assert [event.session_id for event in turn.of(SessionUpdated)] == [result.session_id]
    (done,) = turn.of(MessageDone)
    assert isinstance(done.claude_data, dict)
    assert done.claude_data["content"] == [{"type": "text", "text": said}]
    assert (result.outcome, result.usage.input_tokens, result.usage.output_tokens) == ("completed", 10, 5)
    assert result.cost_usd > 0


async def test_usage_is_told_while_the_turn_goes_on_and_its_sum_at_the_end(make_agent: MakeAgent) -> None:
    agent, turn = make_agent(), RecordingTurn(answer=choosing("allow_once"))

    result = await run(agent, turn, "bash touch made.txt")

    assert [event.usage.output_tokens for event in turn.of(UsageUpdated)] == [5, 10]
    assert result.usage == turn.of(UsageUpdated)[-1].usage == Usage(20, 10, 6, 4)
    other = await run(agent, RecordingTurn(), "text x", result.session_id)
    assert other.usage == Usage(10, 5, 3, 2)
    assert other.cost_usd == pytest.approx(result.cost_usd / 2)


async def test_thinking_is_told_apart_from_text(make_agent: MakeAgent) -> None:
    turn = RecordingTurn()

    await run(make_agent(), turn, "think the answer")

    assert turn.joined_deltas(ThinkingDelta) == turn.thinking() == "First I think about it."
    assert turn.text() == "the answer"
    assert len(turn.of(MessageStarted)) == 1, "blocks of one message stay one message"


async def test_the_next_message_goes_to_the_same_process(make_agent: MakeAgent, api: FakeMessagesApi) -> None:
    agent = make_agent()
    first = await run(agent, RecordingTurn(), "text one")
    process = children()

    second = await run(agent, RecordingTurn(), "text two", first.session_id)

    assert second.session_id == first.session_id
    assert children() == process
    assert api.requests[-1].says("text one")
    assert second.cost_usd == pytest.approx(first.cost_usd), "each run has its own cost, not the session's sum"


async def test_a_run_without_a_session_begins_one(make_agent: MakeAgent, api: FakeMessagesApi) -> None:
    agent = make_agent()
    first = await run(agent, RecordingTurn(), "text one")

    second = await run(agent, RecordingTurn(), "text two")

    assert second.session_id not in (None, first.session_id)
    assert not api.requests[-1].says("text one")
    assert len(children()) == 2


@pytest.mark.parametrize(("mime_type", "kind"), [("image/png", "image"), ("application/pdf", "document")])
async def test_pictures_and_documents_reach_the_model_as_they_are(
    make_agent: MakeAgent, api: FakeMessagesApi, mime_type: str, kind: str
) -> None:
    sent = Attachment(id=AttachmentId("a" * 24), filename="it", mime_type=mime_type, size_bytes=4, url="/a")
    content = {"image": _PNG, "document": _PDF}[kind]
    turn = RecordingTurn(files={"a" * 24: content})

    await run(make_agent(), turn, "text seen", attachments=(sent,))

    (source,) = [
        block["source"]
        for message in api.requests[-1].messages
        for block in message["content"]
        if isinstance(block, dict) and block["type"] == kind
    ]
    assert (source["media_type"], base64.b64decode(source["data"])) == (mime_type, content)
    assert turn.text() == "seen"


async def test_a_text_file_reaches_the_model_as_a_document(make_agent: MakeAgent, api: FakeMessagesApi) -> None:
    note = Attachment(id=AttachmentId("b" * 24), filename="n.txt", mime_type="text/plain", size_bytes=9, url="/b")
    turn = RecordingTurn(files={"b" * 24: b"the note!"})

    await run(make_agent(), turn, "text seen", attachments=(note,))

    assert api.requests[-1].says("the note!")
    assert turn.text() == "seen"


async def test_a_file_that_is_mentioned_is_read_for_the_model(
    make_agent: MakeAgent, api: FakeMessagesApi, work: Path
) -> None:
    (work / "note.txt").write_text("the code word is walrus")

    await run(make_agent(), RecordingTurn(), "text look at @note.txt")

    assert api.requests[-1].says("the code word is walrus")


async def test_a_persons_own_slash_command_is_known_and_runs(
    make_agent: MakeAgent, api: FakeMessagesApi, environment: dict[str, str]
) -> None:
    commands = Path(environment["CLAUDE_CONFIG_DIR"]) / "commands"
    commands.mkdir(parents=True)
    (commands / "greet.md").write_text("---\ndescription: Greets\nargument-hint: NAME\n---\nSay hello to $ARGUMENTS.")
    agent = make_agent()

    known: Any = await agent.commands(None)
    await run(agent, RecordingTurn(), "/greet Bob")

    (greet,) = [command for command in known["commands"] if command["name"] == "greet"]
    assert (greet["argumentHint"], "Greets" in greet["description"]) == ("NAME", True)
    assert api.requests[-1].says("Say hello to Bob.")


# --- tools and permission ------------------------------------------------------------------------------------------


async def test_an_allowed_command_runs(make_agent: MakeAgent, work: Path) -> None:
    turn = RecordingTurn(answer=choosing("allow_once"))

    result = await run(make_agent(), turn, "bash echo done > made.txt && cat made.txt")

    assert (work / "made.txt").read_text() == "done\n"
    (prompt,) = turn.asked
    assert (prompt.type, prompt.tool_name) == (PromptType.TOOL_PERMISSION, "Bash")
    assert prompt.title == "Bash: echo done > made.txt && cat made.txt"
    assert [option.id for option in prompt.options] == [
        "allow_once",
        "allow_session",
        "allow_always",
        "deny",
        "deny_stop",
    ]
    assert prompt.tool_use_id is not None
    assert turn.of(ToolStarted)[-1].title == "echo done > made.txt && cat made.txt"
    assert turn.of(ToolStarted)[-1].kind == "execute"
    assert [event.id for event in turn.of(ToolInput)] == [prompt.tool_use_id]
    assert turn.result_of(prompt.tool_use_id).result == "done"
    assert result.num_turns >= 2


async def test_a_denied_command_does_not_run_and_the_model_is_told_why(
    make_agent: MakeAgent, api: FakeMessagesApi, work: Path
) -> None:
    turn = RecordingTurn(answer=choosing("deny", "not on a Friday"))

    await run(make_agent(), turn, "bash touch made.txt")

    assert not (work / "made.txt").exists()
    assert api.requests[-1].tool_results == ["not on a Friday"]
    assert turn.of(ToolDone)[-1].is_error


async def test_deny_and_stop_ends_the_turn_without_asking_the_model_again(
    make_agent: MakeAgent, api: FakeMessagesApi
) -> None:
    turn = RecordingTurn(answer=choosing("deny_stop"))

    result = await run(make_agent(), turn, "bash touch made.txt")

    assert result.outcome == "completed"
    assert len(api.requests) == 1


async def test_who_stops_a_turn_with_a_reason_is_heard_by_the_model(
    make_agent: MakeAgent, api: FakeMessagesApi
) -> None:
    agent, turn = make_agent(), RecordingTurn(answer=choosing("deny_stop", "not on a Friday"))
    first = await run(agent, turn, "bash touch made.txt")
    await run(agent, RecordingTurn(), "text two", first.session_id)
    assert api.requests[-1].says("not on a Friday")
    assert not api.requests[-1].says("The user doesn't want to proceed")


@pytest.mark.parametrize("option", ["deny", "deny_stop"])
async def test_a_refusal_that_an_abort_follows_at_once_is_heard_by_the_model(
    make_agent: MakeAgent, api: FakeMessagesApi, option: str
) -> None:
    agent, turn = make_agent(), RecordingTurn(answer=choosing(option, "nobody answered"))
    await aborted(agent, turn, "bash touch made.txt", lambda turn: bool(turn.asked))
    (session,) = turn.of(SessionUpdated)
    await run(agent, RecordingTurn(), "text two", session.session_id)
    assert api.requests[-1].says("nobody answered")


async def test_the_persons_changed_input_is_what_runs(make_agent: MakeAgent, work: Path) -> None:
    def answer(prompt: PromptAsked) -> PromptAnswer:
        assert isinstance(prompt.input, dict)
        return PromptAnswer(selected_option="allow_once", input={**prompt.input, "command": "touch changed.txt"})

    await run(make_agent(), RecordingTurn(answer=answer), "bash touch asked.txt")

    assert [path.name for path in work.iterdir()] == ["changed.txt"]


async def test_what_was_allowed_is_asked_again_and_nothing_is_written_into_the_repository(
    make_agent: MakeAgent, work: Path
) -> None:
    agent, turn = make_agent(), RecordingTurn(answer=choosing("allow_session"))
    first = await run(agent, turn, "bash mkfifo one")
    (work / "one").unlink()

    await run(agent, turn, "bash mkfifo one", first.session_id)

    assert (work / "one").exists()
    assert len(turn.asked) == 2, "what needs no asking is decided, and recorded, by the server"
    assert not (work / ".claude").exists()


async def test_two_sub_agents_ask_at_once_and_each_gets_its_own_answer(
    make_agent: MakeAgent, environment: dict[str, str], work: Path
) -> None:
    environment["CLAUDE_CODE_DISABLE_BACKGROUND_TASKS"] = "1"
    both_ask = asyncio.Event()

    class PatientTurn(RecordingTurn):
        async def ask(self, prompt: PromptAsked) -> PromptAnswer:
            self.asked.append(prompt)
            if len(self.asked) == 2:
                both_ask.set()
            await both_ask.wait()
            allow = isinstance(prompt.input, dict) and prompt.input["command"] == "touch a.txt"
            return PromptAnswer(selected_option="allow_once" if allow else "deny")

    turn = PatientTurn()
    await run(make_agent(), turn, "agents touch a.txt | touch b.txt")

    assert [path.name for path in work.iterdir()] == ["a.txt"]
    parents = {event.parent_tool_use_id for event in turn.of(MessageStarted)} - {None}
    assert parents == {event.id for event in turn.of(ToolStarted) if event.name == "Agent"}
    started = {event.message_id for event in turn.of(MessageStarted)}
    assert {event.message_id for event in turn.of(MessageDone)} == started, "each message is finished"
    assert {event.id for event in turn.of(ToolProgress)} == parents, "the calls tell how far they are"


async def test_a_tool_named_in_the_run_is_asked_about_all_the_same(make_agent: MakeAgent, work: Path) -> None:
    turn = RecordingTurn(answer=choosing("allow_once"))

    await run(make_agent(), turn, "bash touch made.txt", allowed_tools=("Bash",))

    assert [prompt.tool_name for prompt in turn.asked] == ["Bash"]
    assert (work / "made.txt").exists()


# --- questions and plans -------------------------------------------------------------------------------------------


async def test_answers_to_questions_reach_the_model(make_agent: MakeAgent, api: FakeMessagesApi) -> None:
    def answer(prompt: PromptAsked) -> PromptAnswer:
        return PromptAnswer(selected_option="answer", answers={"q1": "Blue", "q2": ["S", "L"]})

    turn = RecordingTurn(answer=answer)
    await run(make_agent(), turn, "question")

    (prompt,) = turn.asked
    assert prompt.type is PromptType.QUESTION
    assert [question.question for question in prompt.questions] == ["Which colour?", "Which sizes?"]
    assert [question.multi_select for question in prompt.questions] == [False, True]
    assert [option.label for option in prompt.questions[0].options] == ["Red", "Blue"]
    (told,) = api.requests[-1].tool_results
    assert '"Which colour?"="Blue"' in told
    assert '"Which sizes?"="S, L"' in told


async def test_an_accepted_plan_ends_plan_mode(make_agent: MakeAgent, api: FakeMessagesApi) -> None:
    agent, turn = make_agent(), RecordingTurn(answer=choosing("accept_default"))

    result = await run(agent, turn, "plan", permission_mode=PermissionMode.PLAN)

    (prompt,) = turn.asked
    assert (prompt.type, prompt.message) == (PromptType.PLAN_REVIEW, PLAN)
    assert [option.id for option in prompt.options] == ["accept_edits", "accept_default", "edit", "reject"]
    assert [event.mode for event in turn.of(ModeUpdated)] == ["default"]
    assert "approved" in api.requests[-1].tool_results[-1]
    assert result.outcome == "completed"


async def test_accepting_a_plan_and_its_edits_tells_the_mode_and_leaves_asking_to_the_server(
    make_agent: MakeAgent, work: Path
) -> None:
    agent, turn = make_agent(), RecordingTurn(answer=choosing("accept_edits"))
    planned = await run(agent, turn, "plan", permission_mode=PermissionMode.PLAN)
    after = RecordingTurn(answer=choosing("deny"))

    await run(agent, after, f"write {work / 'made.txt'} text", planned.session_id)

    assert [event.mode for event in turn.of(ModeUpdated)] == ["acceptEdits"]
    assert [prompt.tool_name for prompt in after.asked] == ["Write"]
    assert not (work / "made.txt").exists()


async def test_a_rejected_plan_keeps_planning_and_says_why(make_agent: MakeAgent, api: FakeMessagesApi) -> None:
    turn = RecordingTurn(answer=choosing("reject", "first write a test"))

    await run(make_agent(), turn, "plan", permission_mode=PermissionMode.PLAN)

    assert api.requests[-1].tool_results[-1] == "first write a test"
    assert turn.of(ModeUpdated) == []


async def test_a_plan_changed_by_the_person_is_the_one_that_the_model_gets(
    make_agent: MakeAgent, api: FakeMessagesApi
) -> None:
    def answer(prompt: PromptAsked) -> PromptAnswer:
        return PromptAnswer(selected_option="edit", input={"plan": "1. Do it better."})

    await run(make_agent(), RecordingTurn(answer=answer), "plan", permission_mode=PermissionMode.PLAN)

    assert "1. Do it better." in api.requests[-1].tool_results[-1]


# --- commands, and scripts of tests -----------------------------------------------------------------------------


async def test_commands_and_models_are_told_before_the_first_run_and_no_process_stays_for_it(
    make_agent: MakeAgent, api: FakeMessagesApi
) -> None:
    agent = make_agent()

    known: Any = await agent.commands(None)

    assert "compact" in [command["name"] for command in known["commands"]]
    assert "default" in [model["id"] for model in known["models"]]
    assert "default" in (await agent.offer()).models
    assert children() == []
    assert api.requests == []


async def test_the_model_that_a_run_names_is_the_one_that_answers_also_in_a_process_that_is_there(
    make_agent: MakeAgent, api: FakeMessagesApi
) -> None:
    agent, turn = make_agent(), RecordingTurn()
    first = await run(agent, RecordingTurn(), "text x", model="opus")
    await run(agent, turn, "text y", first.session_id, model="haiku")

    assert "opus" in api.requests[0].body["model"]
    assert "haiku" in api.requests[1].body["model"]
    assert [event.model for event in turn.of(MessageDone)] == [api.requests[1].body["model"]]
    assert len(children()) == 1


async def test_a_script_of_the_test_overrides_the_fakes_own_scenarios(
    make_agent: MakeAgent, api: FakeMessagesApi, work: Path
) -> None:
    api.script("go on", Reply(parts=(ToolCall("Bash", {"command": "touch s.txt"}),)), Reply(parts=(Text("all done"),)))
    turn = RecordingTurn(answer=choosing("allow_once"))

    await run(make_agent(), turn, "please go on")

    assert (work / "s.txt").exists()
    assert turn.text() == "all done"
