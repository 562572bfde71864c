"""An agent's question meets the rules: what a rule decides never reaches a person, and is on record all the same."""

from datetime import timedelta
from typing import Any

import pytest

from baton.core.commands import (
    CreateConversation,
    CreateGrant,
    ForkConversation,
    PatchConversation,
    RespondPrompt,
    RetryRun,
    SendMessage,
)
from baton.core.errors import AlreadyResolved, Conflict, InvalidRequest, NotFound
from baton.core.events import ModeChanged, PromptOpened, PromptResolved
from baton.core.frames import (
    Aborted,
    Execute,
    PermissionApplied,
    PermissionCancel,
    PermissionRequest,
    PermissionResponse,
    PromptAsked,
    SetMode,
)
from baton.core.ids import ConversationId, RequestId
from baton.core.limits import Limits
from baton.core.models import (
    Conversation,
    PermissionMode,
    Prompt,
    PromptOption,
    PromptResponse,
    PromptStatus,
    RunStatus,
)
from baton.core.models import PromptType as Type
from baton.core.permissions import GrantEffect, GrantId, GrantScope, GrantStatus
from baton.core.prompt_options import PLAN_OPTIONS
from baton.core.stream import ModeUpdated
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from tests.services.harness import ANNA, LOCAL, ROOT, Server

R1 = RequestId("r1")


async def a_run(server: Server, mode: PermissionMode | None = None, **fields: Any) -> Conversation:
    """A run that works in /work."""
    create = CreateConversation(permission_mode=mode, working_directory="/work", project_id=fields.pop("project", None))
    conversation = await server.conversations.create(ANNA, create)
    await server.runs.send(ANNA, SendMessage(request_id=R1, content="Do it", conversation_id=conversation.id, **fields))
    server.start("r1")
    await server.intake.flush()
    return conversation


async def ask(server: Server, tool: str, prompt_id: str = "p1", **fields: Any) -> Prompt:
    """The agent asks; the prompt as it is stored then."""
    values: dict[str, Any] = {"type": Type.TOOL_PERMISSION, "title": f"{tool}?", "tool_name": tool, **fields}
    asked = PromptAsked(prompt_id=prompt_id, **values)
    server.frame(PermissionRequest(request_id=R1, seq=server.next_seq("r1"), prompt=asked))
    await server.intake.flush()
    return next(p for p in await server.store.prompts() if p.bridge_prompt_id == prompt_id)


async def bash(server: Server, command: str, prompt_id: str = "p1") -> Prompt:
    return await ask(server, "Bash", prompt_id, input={"command": command})


async def respond(server: Server, prompt: Prompt, option: str, **response: Any) -> Prompt:
    command = RespondPrompt(prompt_id=prompt.id, selected_option=option, response=PromptResponse(**response))
    return await server.prompts.respond(ANNA, command)


def told_agent(server: Server) -> list[tuple[str, str, str | None]]:
    return [
        (frame.prompt_id, frame.selected_option, frame.message)
        for frame in server.bridge.of(PermissionResponse)
        if isinstance(frame, PermissionResponse)
    ]


# --- what a rule decides -----------------------------------------------------------------------------------------


async def test_what_only_reads_goes_on_at_once_and_is_stored_with_its_reason(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "ls -la")
    assert (prompt.status, prompt.selected_option, prompt.auto_handler) == (PromptStatus.ANSWERED, "allow_once", "mode")
    assert prompt.decision is not None
    assert prompt.decision.rule == "read_only"
    assert told_agent(server) == [("p1", "allow_once", None)]
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.RUNNING
    assert server.browser.told(PromptOpened) == []
    assert len(server.browser.told(PromptResolved)) == 1


async def test_a_command_that_hides_another_is_asked_about_with_its_risk(server: Server) -> None:
    await a_run(server)
    prompt = await bash(server, "ls; rm -rf ~")
    assert (prompt.status, prompt.risk_level) == (PromptStatus.PENDING, "CRITICAL")
    assert told_agent(server) == []
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.AWAITING_INPUT


async def test_a_bridge_can_call_it_worse_than_it_looks_but_never_better(server: Server) -> None:
    await a_run(server)
    worse = await ask(server, "Bash", "p1", input={"command": "ls"}, risk="CRITICAL")
    better = await ask(server, "Bash", "p2", input={"command": "rm -rf ~"}, risk="LOW")
    assert (worse.status, worse.risk_level) == (PromptStatus.PENDING, "CRITICAL")
    assert (better.status, better.risk_level) == (PromptStatus.PENDING, "CRITICAL")


async def test_a_denied_tool_is_refused_with_the_reason(server: Server) -> None:
    conversation = await a_run(server)
    deny = CreateGrant(tool_name="Bash", pattern="git push:*", effect=GrantEffect.DENY, scope=GrantScope.ALL)
    await server.permissions.give(ROOT, conversation.id, deny)
    prompt = await bash(server, "git push origin main")
    assert (prompt.status, prompt.selected_option, prompt.auto_handler) == (PromptStatus.ANSWERED, "deny", "grant")
    ((_, option, message),) = told_agent(server)
    assert option == "deny"
    assert message is not None
    assert "git push" in message


@pytest.mark.parametrize(
    ("mode", "folder", "is_asked"),
    [
        (PermissionMode.ACCEPT_EDITS, "/work/a.py", False),
        (PermissionMode.ACCEPT_EDITS, "/etc/hosts", True),
        (PermissionMode.DEFAULT, "/work/a.py", True),
        (PermissionMode.PLAN, "/work/a.py", True),
    ],
)
async def test_edits_below_the_folder_are_accepted_in_accept_edits_only(
    server: Server, mode: PermissionMode, folder: str, is_asked: bool
) -> None:
    await a_run(server, mode)
    prompt = await ask(server, "Write", input={"file_path": folder, "content": "x"})
    assert (prompt.status is PromptStatus.PENDING) is is_asked


async def test_the_folder_of_a_bridge_counts_where_a_conversation_names_none(server: Server) -> None:
    conversation = await server.conversations.create(ANNA, CreateConversation())
    await server.runs.send(ANNA, SendMessage(request_id=R1, content="x", conversation_id=conversation.id))
    assert (await ask(server, "Read", "p1", input={"file_path": "/work/a"})).status is PromptStatus.ANSWERED
    assert (await ask(server, "Read", "p2", input={"file_path": "/home/a"})).status is PromptStatus.PENDING


async def test_what_a_bridge_asked_just_before_it_went_is_judged_as_if_it_were_there(
    server: Server, store: SqliteStore
) -> None:
    conversation = await server.conversations.create(ANNA, CreateConversation())
    await server.runs.send(ANNA, SendMessage(request_id=R1, content="x", conversation_id=conversation.id))
    server.bridge.workspaces = ()
    assert (await bash(server, "rm -r build")).risk_level == "HIGH"
    again = Server(store, limits=Limits(), clock=FakeClock(), epoch="e")
    again.bridge.workspaces = ()
    await again.recover()
    assert (await ask(again, "Read", "p2", input={"file_path": "/work/a"})).status is PromptStatus.ANSWERED


async def test_a_run_that_is_sent_again_works_where_its_calls_are_judged(server: Server) -> None:
    conversation = await server.conversations.create(ANNA, CreateConversation(working_directory="/work"))
    await server.runs.send(ANNA, SendMessage(request_id=R1, content="x", conversation_id=conversation.id))
    await server.conversations.patch(ANNA, conversation.id, PatchConversation(working_directory="/work/other"))
    expected = await server.intake.greet(LOCAL, known={})
    assert [frame.working_directory for frame in expected.frames if isinstance(frame, Execute)] == ["/work"]
    assert (await ask(server, "Read", input={"file_path": "/work/a"})).status is PromptStatus.ANSWERED


async def test_tools_that_the_send_allows_need_no_asking_in_its_run_alone(server: Server) -> None:
    conversation = await a_run(server, allowed_tools=("Bash(npm test:*)",))
    assert (await bash(server, "npm test -- --watch", "p1")).auto_handler == "grant"
    assert (await bash(server, "npm publish", "p2")).status is PromptStatus.PENDING
    assert list(await server.permissions.grants(ANNA, conversation.id)) == []


async def test_a_send_with_a_rule_that_is_none_is_refused_and_stores_nothing(server: Server) -> None:
    conversation = await server.conversation()
    for rule in ("Bash(", "Bash(ls) x", "", "Bash()", "mcp__*"):
        with pytest.raises(InvalidRequest) as refused:
            await server.runs.send(
                ANNA,
                SendMessage(request_id=R1, content="x", conversation_id=conversation.id, allowed_tools=("Read", rule)),
            )
        assert refused.value.fields is not None
        assert "allowedTools" in refused.value.fields
    assert await server.store.run(R1) is None


async def test_nothing_is_allowed_to_a_run_that_somebody_has_stopped(server: Server) -> None:
    await a_run(server)
    await server.runs.abort(ANNA, R1)
    assert (await bash(server, "ls")).status is PromptStatus.PENDING
    assert told_agent(server) == []


async def test_plans_and_questions_are_for_people_in_every_mode(server: Server) -> None:
    server.bridge.allow_bypass = True
    await a_run(server, PermissionMode.BYPASS)
    plan = await ask(server, "ExitPlanMode", "p1", type=Type.PLAN_REVIEW)
    question = await ask(server, "AskUserQuestion", "p2", type=Type.QUESTION)
    assert {plan.status, question.status} == {PromptStatus.PENDING}
    assert plan.decision is None


# --- the agent's own program -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(PermissionMode))
async def test_the_agents_program_runs_in_a_mode_in_which_it_asks(server: Server, mode: PermissionMode) -> None:
    server.bridge.allow_bypass = True
    await a_run(server, mode, allowed_tools=("Bash",))
    (execute,) = server.bridge.of(Execute)
    assert isinstance(execute, Execute)
    assert execute.permission_mode is (PermissionMode.PLAN if mode is PermissionMode.PLAN else PermissionMode.DEFAULT)
    assert execute.allowed_tools == ()


async def test_a_new_mode_reaches_a_running_agent_as_one_in_which_it_asks(server: Server) -> None:
    conversation = await a_run(server, PermissionMode.PLAN)
    await server.conversations.set_mode(ANNA, conversation.id, PermissionMode.ACCEPT_EDITS)
    (frame,) = server.bridge.of(SetMode)
    assert isinstance(frame, SetMode)
    assert frame.mode is PermissionMode.DEFAULT


@pytest.mark.parametrize("name", ["acceptEdits", "bypassPermissions", "yolo"])
async def test_an_agent_cannot_give_itself_the_right_to_ask_less(server: Server, name: str) -> None:
    conversation = await a_run(server)
    server.say("r1", ModeUpdated(mode=name))
    await server.intake.flush()
    assert await server.conversations.mode(ANNA, conversation.id) is PermissionMode.DEFAULT
    assert server.browser.told(ModeChanged) == []


async def test_always_is_said_to_the_agent_as_once(server: Server) -> None:
    await a_run(server)
    await respond(server, await bash(server, "npm test"), "allow_always")
    assert told_agent(server) == [("p1", "allow_once", None)]


# --- what answers leave behind -----------------------------------------------------------------------------------


async def test_for_this_conversation_is_kept_here_and_not_asked_again(server: Server) -> None:
    conversation = await a_run(server)
    await respond(server, await bash(server, "npm test"), "allow_session")
    assert (await bash(server, "npm test", "p2")).auto_handler == "grant"
    (grant,) = await server.permissions.grants(ANNA, conversation.id)
    assert (grant.scope, grant.tool_name, grant.pattern, grant.created_by) == (
        GrantScope.CONVERSATION,
        "Bash",
        "npm test:*",
        ANNA.user_id,
    )


async def test_grants_are_in_force_after_a_restart(server: Server, store: SqliteStore) -> None:
    await a_run(server)
    await respond(server, await bash(server, "npm test"), "allow_always")
    again = Server(store, limits=server.services.limits, clock=FakeClock(), epoch="e")
    await again.recover()
    assert (await bash(again, "npm test", "p2")).auto_handler == "grant"


async def test_a_grant_covers_what_the_person_changed_the_call_into(server: Server) -> None:
    conversation = await a_run(server)
    prompt = await bash(server, "npm tset")
    await respond(server, prompt, "allow_session", input={"command": "npm test"})
    (grant,) = await server.permissions.grants(ANNA, conversation.id)
    assert grant.pattern == "npm test:*"


async def test_a_grant_answers_what_else_waits_for_the_same(server: Server) -> None:
    await a_run(server)
    first, second = await bash(server, "npm test"), await bash(server, "npm test", "p2")
    other = await bash(server, "npm publish", "p3")
    await respond(server, first, "allow_session")
    assert (await server.prompts.get(ANNA, second.id)).auto_handler == "grant"
    assert (await server.prompts.get(ANNA, other.id)).status is PromptStatus.PENDING
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.AWAITING_INPUT


async def test_always_is_offered_only_where_it_can_be_kept(server: Server) -> None:
    await a_run(server)
    plain, hidden = await bash(server, "npm test"), await bash(server, "eval $X", "p2")
    assert {"allow_session", "allow_always"} <= {option.id for option in plain.options}
    assert {"allow_session", "allow_always"}.isdisjoint(option.id for option in hidden.options)


async def test_always_is_offered_for_agents_that_know_only_once(server: Server) -> None:
    await a_run(server)
    once = PromptOption(id="allow_once", label="Yes", kind="allow_once")
    no = PromptOption(id="deny", label="No", kind="reject_once")
    prompt = await ask(server, "Bash", input={"command": "npm test"}, options=(once, no))
    assert [option.id for option in prompt.options] == ["allow_once", "allow_session", "allow_always", "deny"]
    await respond(server, prompt, "allow_always")
    assert told_agent(server) == [("p1", "allow_once", None)]


@pytest.mark.parametrize(
    ("option", "response", "mode"),
    [
        ("accept_edits", {}, PermissionMode.ACCEPT_EDITS),
        ("accept_default", {}, PermissionMode.DEFAULT),
        ("edit", {"input": {"plan": "better"}}, PermissionMode.DEFAULT),
        ("edit", {"message": "please smaller"}, PermissionMode.PLAN),
        ("reject", {"message": "no"}, PermissionMode.PLAN),
    ],
)
async def test_a_plans_answer_sets_the_mode_with_it(
    server: Server, option: str, response: dict[str, Any], mode: PermissionMode
) -> None:
    conversation = await a_run(server, PermissionMode.PLAN)
    plan = await ask(server, "ExitPlanMode", type=Type.PLAN_REVIEW, options=PLAN_OPTIONS, input={"plan": "x"})
    await respond(server, plan, option, **response)
    assert await server.conversations.mode(ANNA, conversation.id) is mode
    ((_, said, _),) = told_agent(server)
    assert said == ("accept_default" if option == "accept_edits" else option)
    edit = await ask(server, "Write", "p2", input={"file_path": "/work/a", "content": ""})
    assert (edit.status is PromptStatus.ANSWERED) is (mode is PermissionMode.ACCEPT_EDITS)


async def test_a_new_mode_answers_what_waits_and_needs_nobody_any_more(server: Server) -> None:
    conversation = await a_run(server)
    prompt = await ask(server, "Write", input={"file_path": "/work/a", "content": ""})
    await server.conversations.set_mode(ANNA, conversation.id, PermissionMode.ACCEPT_EDITS)
    assert (await server.prompts.get(ANNA, prompt.id)).auto_handler == "mode"
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.RUNNING


# --- bypass ------------------------------------------------------------------------------------------------------


async def test_bypass_is_refused_where_the_bridge_does_not_allow_it(server: Server) -> None:
    conversation = await server.conversation()
    with pytest.raises(Conflict):
        await server.conversations.set_mode(ANNA, conversation.id, PermissionMode.BYPASS)
    with pytest.raises(Conflict):
        await server.conversations.create(ANNA, CreateConversation(permission_mode=PermissionMode.BYPASS))
    with pytest.raises(Conflict):
        await server.runs.send(
            ANNA,
            SendMessage(
                request_id=R1, content="x", conversation_id=conversation.id, permission_mode=PermissionMode.BYPASS
            ),
        )
    assert await server.store.run(R1) is None


async def test_bypass_asks_nobody_until_its_time_is_over_and_the_mode_before_comes_back(server: Server) -> None:
    server.bridge.allow_bypass = True
    conversation = await a_run(server, PermissionMode.ACCEPT_EDITS)
    await server.conversations.set_mode(ANNA, conversation.id, PermissionMode.BYPASS)
    assert (await bash(server, "npm publish")).auto_handler == "mode"
    server.clock.advance(server.services.limits.bypass_s + 1)
    assert (await bash(server, "npm publish", "p2")).status is PromptStatus.PENDING
    await server.deadlines.sweep()
    assert await server.conversations.mode(ANNA, conversation.id) is PermissionMode.ACCEPT_EDITS
    last = server.browser.told(ModeChanged)[-1]
    assert isinstance(last, ModeChanged)
    assert (last.mode, last.by) == (PermissionMode.ACCEPT_EDITS, "timeout")


async def test_bypass_ends_after_a_restart_too(server: Server, store: SqliteStore) -> None:
    server.bridge.allow_bypass = True
    conversation = await server.conversation()
    await server.conversations.set_mode(ANNA, conversation.id, PermissionMode.BYPASS)
    clock = FakeClock()
    again = Server(store, limits=server.services.limits, clock=clock, epoch="e")
    await again.recover()
    clock.advance(server.services.limits.bypass_s + 1)
    await again.deadlines.sweep()
    assert await again.conversations.mode(ANNA, conversation.id) is PermissionMode.DEFAULT


async def test_bypass_lasts_no_longer_where_the_clock_is_set_back(server: Server) -> None:
    server.bridge.allow_bypass = True
    conversation = await server.conversation()
    await server.conversations.set_mode(ANNA, conversation.id, PermissionMode.BYPASS)
    server.clock.jump(-7200)
    await server.tick(1)
    await server.leap(server.services.limits.bypass_s)
    assert await server.conversations.mode(ANNA, conversation.id) is PermissionMode.DEFAULT


async def test_bypass_lasts_no_longer_where_the_clock_is_set_back_while_no_server_is_there(
    server: Server, store: SqliteStore
) -> None:
    server.bridge.allow_bypass = True
    conversation = await server.conversation()
    await server.conversations.set_mode(ANNA, conversation.id, PermissionMode.BYPASS)
    await server.tick(1)
    clock = FakeClock()
    clock.jump(-7200)
    again = Server(store, limits=server.services.limits, clock=clock, epoch="e")
    await again.recover()
    await again.leap(server.services.limits.bypass_s)
    assert await again.conversations.mode(ANNA, conversation.id) is PermissionMode.DEFAULT


@pytest.mark.parametrize("jump", [3000, -3000])
async def test_bypass_has_its_time_in_a_machine_that_slept_and_ends_with_it(server: Server, jump: float) -> None:
    server.bridge.allow_bypass = True
    conversation = await server.conversation()
    await server.conversations.set_mode(ANNA, conversation.id, PermissionMode.BYPASS)
    server.clock.jump(jump)
    await server.tick(1)
    assert await server.conversations.mode(ANNA, conversation.id) is PermissionMode.BYPASS


async def test_bypass_counts_for_a_run_that_was_sent_in_it(server: Server) -> None:
    server.bridge.allow_bypass = True
    await a_run(server, permission_mode=PermissionMode.BYPASS)
    assert (await bash(server, "npm publish")).auto_handler == "mode"
    server.bridge.allow_bypass = False
    assert (await bash(server, "npm publish", "p2")).status is PromptStatus.PENDING


async def test_a_denial_counts_in_bypass_too(server: Server) -> None:
    server.bridge.allow_bypass = True
    conversation = await a_run(server, PermissionMode.BYPASS)
    await server.permissions.give(ANNA, conversation.id, CreateGrant(tool_name="WebFetch", effect=GrantEffect.DENY))
    assert (await ask(server, "WebFetch", input={"url": "https://example.org"})).selected_option == "deny"


# --- grants ------------------------------------------------------------------------------------------------------


async def test_a_grant_given_answers_what_waits(server: Server) -> None:
    conversation = await a_run(server)
    prompt = await bash(server, "npm test")
    await server.permissions.give(ROOT, conversation.id, CreateGrant(tool_name="Bash", pattern="npm:*"))
    assert (await server.prompts.get(ANNA, prompt.id)).auto_handler == "grant"


async def test_a_revoked_grant_counts_no_longer_and_cannot_be_revoked_twice(server: Server) -> None:
    conversation = await a_run(server)
    grant = await server.permissions.give(ANNA, conversation.id, CreateGrant(tool_name="Bash", pattern="npm test"))
    assert (await bash(server, "npm test")).auto_handler == "grant"
    await server.permissions.revoke(ROOT, conversation.id, grant.id)
    assert (await bash(server, "npm test", "p2")).status is PromptStatus.PENDING
    with pytest.raises(AlreadyResolved):
        await server.permissions.revoke(ROOT, conversation.id, grant.id)


async def test_a_grant_that_has_run_out_is_noted_as_ended(server: Server) -> None:
    conversation = await a_run(server)
    until = server.clock.now() + timedelta(minutes=5)
    await server.permissions.give(
        ANNA, conversation.id, CreateGrant(tool_name="Bash", pattern="npm test", expires_at=until)
    )
    assert (await bash(server, "npm test")).auto_handler == "grant"
    server.clock.advance(301)
    assert (await bash(server, "npm test", "p2")).status is PromptStatus.PENDING
    await server.deadlines.sweep()
    (grant,) = await server.permissions.grants(ANNA, conversation.id)
    assert grant.status is GrantStatus.EXPIRED


@pytest.mark.parametrize(
    ("tool", "pattern", "seconds", "field"),
    [
        ("Bash", "ls; rm", None, "pattern"),
        ("Bash", "", None, "pattern"),
        ("Read", "../x", None, "pattern"),
        ("WebFetch", "https://x", None, "pattern"),
        ("Bash", None, -1, "expiresAt"),
        ("Bash", None, 400 * 86400, "expiresAt"),
        ("rm -rf /", None, None, "toolName"),
    ],
)
async def test_a_grant_that_makes_no_sense_is_refused(
    server: Server, tool: str, pattern: str | None, seconds: float | None, field: str
) -> None:
    conversation = await server.conversation()
    at = None if seconds is None else server.clock.now() + timedelta(seconds=seconds)
    with pytest.raises(InvalidRequest) as refused:
        await server.permissions.give(
            ANNA, conversation.id, CreateGrant(tool_name=tool, pattern=pattern, expires_at=at)
        )
    assert list(refused.value.fields or {}) == [field]
    assert list(await server.permissions.grants(ANNA, conversation.id)) == []


async def test_a_grant_for_a_project_needs_one_and_reaches_its_conversations_only(server: Server) -> None:
    lonely = await server.conversation()
    with pytest.raises(InvalidRequest):
        await server.permissions.give(ANNA, lonely.id, CreateGrant(tool_name="Bash", scope=GrantScope.PROJECT))
    with pytest.raises(NotFound):
        await server.permissions.revoke(ANNA, lonely.id, GrantId("9" * 24))
    with pytest.raises(NotFound):
        await server.permissions.give(ANNA, ConversationId("9" * 24), CreateGrant(tool_name="Bash"))


# --- on record ---------------------------------------------------------------------------------------------------


async def test_every_decision_is_on_record_once(server: Server) -> None:
    conversation = await a_run(server)
    await bash(server, "ls", "p1")
    prompt = await bash(server, "npm test", "p2")
    server.clock.advance(2)
    await respond(server, prompt, "deny", message="not now")
    server.frame(PermissionApplied(request_id=R1, seq=server.next_seq("r1"), prompt_id="p2"))
    await ask(server, "Bash", "p3", input={"command": "npm publish"})
    server.complete("r1")
    await server.intake.flush()
    entries = (await server.store.audit(conversation_id=conversation.id)).items
    assert [(e.outcome, e.handler, e.rule, e.user_id) for e in reversed(entries)] == [
        ("allow", "mode", "read_only", None),
        ("deny", "user_selection", "ask", ANNA.user_id),
        ("cancelled", "run_ended", "ask", None),
    ]
    assert entries[1].latency_ms == 2000
    assert (await server.store.counts()).decisions["allow/mode"] == 1


async def test_an_answer_that_was_told_is_shown_as_delivered(server: Server) -> None:
    await a_run(server)
    await bash(server, "ls")
    server.frame(PermissionApplied(request_id=R1, seq=server.next_seq("r1"), prompt_id="p1"))
    await server.intake.flush()
    (prompt,) = await server.store.prompts()
    assert prompt.delivered_at is not None


async def test_a_decision_that_the_bridge_missed_comes_with_its_next_hello(server: Server, store: SqliteStore) -> None:
    await a_run(server)
    await bash(server, "ls")
    again = Server(store, limits=server.services.limits, clock=FakeClock(), epoch="e")
    await again.recover()
    expected = await again.intake.greet(LOCAL, known={R1: (2, ("p1",))})
    assert [f.selected_option for f in expected.frames if isinstance(f, PermissionResponse)] == ["allow_once"]


# --- an id that comes again --------------------------------------------------------------------------------------


async def newest(server: Server, status: PromptStatus | None = None) -> Prompt:
    return (await server.store.prompts(status))[0]


async def test_another_question_under_an_id_that_was_answered_is_asked_and_never_gets_the_old_answer(
    server: Server,
) -> None:
    await a_run(server)
    await respond(server, await bash(server, "npm test"), "allow_once")
    server.clock.advance(1)
    await bash(server, "rm -rf ~")
    second = await newest(server, PromptStatus.PENDING)
    assert second.input == {"command": "rm -rf ~"}
    assert len(told_agent(server)) == 1
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.AWAITING_INPUT
    expected = await server.intake.greet(LOCAL, known={R1: (5, ("p1",))})
    assert [frame for frame in expected.frames if isinstance(frame, PermissionResponse)] == []
    await respond(server, second, "deny")
    assert [option for _, option, _ in told_agent(server)] == ["allow_once", "deny"]


async def test_the_same_question_again_is_the_same_prompt_and_hears_its_answer_again(server: Server) -> None:
    await a_run(server)
    await bash(server, "npm test")
    prompt = await bash(server, "npm test")
    assert len(await server.store.prompts()) == 1
    assert told_agent(server) == []
    await respond(server, prompt, "allow_once")
    await bash(server, "npm test")
    assert len(await server.store.prompts()) == 1
    assert [option for _, option, _ in told_agent(server)] == ["allow_once", "allow_once"]


async def test_another_question_under_the_id_of_one_that_waits_takes_that_back(server: Server) -> None:
    await a_run(server)
    first = await bash(server, "npm test")
    server.clock.advance(1)
    await bash(server, "npm publish")
    assert (await server.prompts.get(ANNA, first.id)).status is PromptStatus.CANCELLED
    assert (await newest(server, PromptStatus.PENDING)).input == {"command": "npm publish"}
    with pytest.raises(AlreadyResolved):
        await respond(server, first, "allow_once")


async def test_what_was_taken_back_can_be_asked_again(server: Server) -> None:
    await a_run(server)
    await bash(server, "npm test")
    server.frame(PermissionCancel(request_id=R1, seq=server.next_seq("r1"), prompt_id="p1"))
    await server.intake.flush()
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.RUNNING
    server.clock.advance(1)
    await bash(server, "npm test")
    assert (await newest(server)).status is PromptStatus.PENDING
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.AWAITING_INPUT


# --- what lasts, and what does not -------------------------------------------------------------------------------


@pytest.mark.parametrize("made_in", [PermissionMode.BYPASS, PermissionMode.PLAN])
async def test_a_fork_of_a_conversation_in_bypass_begins_in_a_mode_that_asks(
    server: Server, made_in: PermissionMode
) -> None:
    server.bridge.allow_bypass = True
    create = CreateConversation(permission_mode=made_in, working_directory="/work")
    conversation = await server.conversations.create(ANNA, create)
    await server.conversations.set_mode(ANNA, conversation.id, PermissionMode.BYPASS)
    fork = await server.conversations.fork(ANNA, ForkConversation(conversation_id=conversation.id))
    asking = PermissionMode.DEFAULT if made_in is PermissionMode.BYPASS else made_in
    assert (fork.permission_mode, fork.bypass_until) == (asking, None)


async def test_a_retry_brings_allowed_tools_along_and_no_new_hour_of_bypass(server: Server) -> None:
    server.bridge.allow_bypass = True
    await a_run(server, allowed_tools=("Bash(npm test)",), permission_mode=PermissionMode.BYPASS)
    await bash(server, "npm publish")
    await server.runs.abort(ANNA, R1)
    server.frame(Aborted(request_id=R1, seq=server.next_seq("r1")))
    await server.intake.flush()
    await server.leap(2 * 3600)
    await server.runs.retry(ANNA, RetryRun(request_id=R1, new_request_id=RequestId("r2")))
    server.start("r2")
    for prompt_id, command in (("q1", "npm test"), ("q2", "npm publish")):
        asked = PromptAsked(
            prompt_id=prompt_id, type=Type.TOOL_PERMISSION, title="?", tool_name="Bash", input={"command": command}
        )
        server.frame(PermissionRequest(request_id=RequestId("r2"), seq=server.next_seq("r2"), prompt=asked))
    await server.intake.flush()
    assert [(name, option) for name, option, _ in told_agent(server)][-1] == ("q1", "allow_once")
    assert (await newest(server, PromptStatus.PENDING)).input == {"command": "npm publish"}


async def test_a_rule_that_answers_does_not_let_a_run_go_on_that_still_waits(server: Server) -> None:
    await a_run(server)
    first = await bash(server, "npm test")
    await ask(server, "Read", "p2", input={"file_path": "src/a.py"})
    assert [name for name, _, _ in told_agent(server)] == ["p2"]
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.AWAITING_INPUT
    await respond(server, first, "deny")
    assert (await server.runs.get(ANNA, R1)).status is RunStatus.RUNNING
