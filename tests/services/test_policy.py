"""The order of the rules is a promise: denial, plan, grants, modes, what only reads, and then a person is asked."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baton.core.ids import ConversationId, ProjectId, UserId
from baton.core.models import PermissionMode, PromptOption
from baton.core.permissions import (
    Decision,
    Grant,
    GrantEffect,
    GrantId,
    GrantScope,
    GrantStatus,
    Outcome,
    Risk,
    Rule,
)
from baton.core.prompt_options import TOOL_OPTIONS
from baton.core.text import Json
from baton.services.policy import PolicyRequest, decide, handler_of, option_for, risk_of
from baton.testing.samples import START
from tests.services import shell_table as table
from tests.services.shell_table import FOLDER

CONVERSATION = ConversationId("c" * 24)
PROJECT = ProjectId("a" * 24)
HOUR = timedelta(hours=1)


def a_grant(tool: str = "Bash", pattern: str | None = None, **fields: Any) -> Grant:
    values: dict[str, Any] = {
        "id": GrantId("9" * 24),
        "scope": GrantScope.ALL,
        "tool_name": tool,
        "pattern": pattern,
        "created_by": UserId("anna"),
        "created_at": START,
        **fields,
    }
    return Grant(**values)


def a_denial(tool: str = "Bash", pattern: str | None = None, **fields: Any) -> Grant:
    return a_grant(tool, pattern, effect=GrantEffect.DENY, **fields)


def asked(tool: str, tool_input: Json, *grants: Grant, **fields: Any) -> PolicyRequest:
    values: dict[str, Any] = {
        "mode": PermissionMode.DEFAULT,
        "conversation_id": CONVERSATION,
        "project_id": PROJECT,
        "working_directory": FOLDER,
        "now": START,
        **fields,
    }
    return PolicyRequest(tool=tool, input=tool_input, grants=grants, **values)


def bash(command: str, *grants: Grant, **fields: Any) -> Decision:
    return decide(asked("Bash", {"command": command}, *grants, **fields))


def edit(path: str, *grants: Grant, **fields: Any) -> Decision:
    return decide(asked("Write", {"file_path": path, "content": "x"}, *grants, **fields))


# --- the table of shell commands -----------------------------------------------------------------------------------


def test_a_command_that_only_reads_is_not_asked_about() -> None:
    for command in table.LOW:
        decision = bash(command)
        assert (decision.outcome, decision.rule, decision.risk) == (Outcome.ALLOW, Rule.READ_ONLY, Risk.LOW), command


def test_every_other_command_is_asked_about() -> None:
    for command in (*table.MEDIUM, *table.HIGH, *table.CRITICAL, *table.LOOK_ALIKES):
        decision = bash(command)
        assert (decision.outcome, decision.rule) == (Outcome.ASK, Rule.ASK), command


def test_no_prefix_lets_a_critical_command_through() -> None:
    programs = {command.split(" ")[0] for command in (*table.HIGH, *table.CRITICAL) if re.match(r"[\w./]+ ", command)}
    grants = [a_grant(pattern=f"{name}:*") for name in programs]
    for command in table.CRITICAL:
        assert bash(command, *grants).outcome is Outcome.ASK, command


# --- the order -----------------------------------------------------------------------------------------------------


def test_a_denial_comes_before_everything() -> None:
    for mode in PermissionMode:
        decision = bash("ls", a_grant(), a_denial(), mode=mode, bypass_until=START + HOUR)
        assert (decision.outcome, decision.rule) == (Outcome.DENY, Rule.DENY_GRANT)
        assert decision.grant_id == a_denial().id
        assert decision.reason == "Bash is denied"


def test_a_denial_that_may_be_meant_is_asked_about_whatever_else_allows() -> None:
    decision = bash(
        'eval "$X"', a_grant(), a_denial(pattern="rm:*"), mode=PermissionMode.BYPASS, bypass_until=START + HOUR
    )
    assert (decision.outcome, decision.rule) == (Outcome.ASK, Rule.DENY_UNCLEAR)


def test_a_denial_that_is_surely_met_wins_over_one_that_may_be() -> None:
    decision = bash('eval "$X"; rm a', a_denial(pattern="mv:*"), a_denial(pattern="rm:*"))
    assert decision.rule is Rule.DENY_GRANT


def test_while_planning_nothing_that_writes_or_runs_is_allowed() -> None:
    calls: list[tuple[str, Json]] = [
        ("Bash", {"command": "ls"}),
        ("Write", {"file_path": "a", "content": ""}),
        ("mcp__github__create_issue", {}),
        ("Task", {"prompt": "x"}),
    ]
    for tool, tool_input in calls:
        decision = decide(asked(tool, tool_input, a_grant(tool), mode=PermissionMode.PLAN))
        assert (decision.outcome, decision.rule) == (Outcome.ASK, Rule.PLAN), tool


def test_while_planning_reading_goes_on() -> None:
    assert decide(asked("Read", {"file_path": "a"}, mode=PermissionMode.PLAN)).outcome is Outcome.ALLOW
    web = asked(
        "WebFetch", {"url": "https://example.com/x"}, a_grant("WebFetch", "example.com"), mode=PermissionMode.PLAN
    )
    assert decide(web).rule is Rule.ALLOW_GRANT


def test_a_grant_comes_before_the_mode() -> None:
    decision = edit("a.py", a_grant("Write", "*.py"), mode=PermissionMode.ACCEPT_EDITS)
    assert (decision.rule, decision.grant_id) == (Rule.ALLOW_GRANT, a_grant().id)
    assert decision.reason == "Granted: Write(*.py)"


def test_bypass_allows_everything_until_its_time_is_over() -> None:
    bypass = PermissionMode.BYPASS
    until = START + HOUR
    assert bash("rm -rf ~", mode=bypass, bypass_until=until).rule is Rule.BYPASS
    assert bash("rm -rf ~", mode=bypass, bypass_until=until, now=until).outcome is Outcome.ASK
    assert bash("rm -rf ~", mode=bypass, bypass_until=None).outcome is Outcome.ASK
    assert bash("rm -rf ~", mode=PermissionMode.DEFAULT, bypass_until=until).outcome is Outcome.ASK


@pytest.mark.parametrize("tool", ["AskUserQuestion", "ExitPlanMode", "Switch mode"])
def test_no_rule_answers_a_question_to_a_person(tool: str) -> None:
    request = asked(tool, {}, a_grant(tool), mode=PermissionMode.BYPASS, bypass_until=START + HOUR)
    assert decide(request).outcome is Outcome.ASK


# --- acceptEdits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["a.py", "src/a.py", f"{FOLDER}/src/a.py", "./a.py", ".github/workflows/x.yml", ".gitignore"]
)
def test_edits_below_the_folder_are_accepted(path: str) -> None:
    assert edit(path, mode=PermissionMode.ACCEPT_EDITS).rule is Rule.ACCEPT_EDITS
    assert edit(path).outcome is Outcome.ASK


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../a", "src/../../a", "src/../a", "~/a", "~", "", ".", "..", FOLDER, f"{FOLDER}x/a"),
        *(f"{FOLDER}/../a", "/work", "/", "a\\b", "a\x00b", "a\nb", "\u202ea", "file:///work/app/a", "C:/a"),
        *("//etc/passwd", "/work//app/../x", ".git/config", ".git/hooks/pre-commit", ".GIT/hooks/x", ".mcp.json"),
        *(
            "sub/.git/config",
            ".claude/settings.json",
            ".vscode/tasks.json",
            ".husky/pre-commit",
            ".idea/x",
            ".envrc",
            ".VSCode/x",
        ),
        *(".ssh/authorized_keys", ".bashrc", ".g\u200cit/config"),
    ],
)
def test_edits_elsewhere_and_of_what_runs_later_are_asked_about(path: str) -> None:
    assert edit(path, mode=PermissionMode.ACCEPT_EDITS).outcome is Outcome.ASK


@pytest.mark.parametrize(
    ("tool", "kind", "tool_input"),
    [
        ("Bash", "execute", {"command": "touch a"}),
        ("Delete", "edit", {"path": "a"}),
        ("Move", "edit", {"path": "a", "to": "b"}),
        ("Edit", "execute", {"file_path": "a"}),
        ("Edit", "edit", {}),
        ("Edit", "edit", "a"),
        ("Edit", "edit", {"file_path": 3}),
        ("Edit", "edit", {"file_path": ["a", "/etc/passwd"]}),
        ("Edit", "edit", {"file_path": "a", "path": "/etc/passwd"}),
        ("Edit", "edit", {"file_path": "a", "changes": {"/etc/passwd": {}}}),
        ("Edit", "edit", {"path": "a", "extra": "../b"}),
        ("mcp__files__write", "edit", {"path": "a"}),
        ("apply_patch", "edit", {"path": "a"}),
    ],
)
def test_accepting_edits_accepts_nothing_but_known_edits(tool: str, kind: str, tool_input: Json) -> None:
    assert decide(asked(tool, tool_input, kind=kind, mode=PermissionMode.ACCEPT_EDITS)).outcome is Outcome.ASK


def test_accepting_edits_needs_a_known_folder() -> None:
    assert edit("a.py", mode=PermissionMode.ACCEPT_EDITS, working_directory=None).outcome is Outcome.ASK
    assert edit("etc/x", mode=PermissionMode.ACCEPT_EDITS, working_directory="/").outcome is Outcome.ASK


# --- which grants count --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({}, True),
        ({"scope": GrantScope.CONVERSATION, "conversation_id": CONVERSATION}, True),
        ({"scope": GrantScope.CONVERSATION, "conversation_id": ConversationId("d" * 24)}, False),
        ({"scope": GrantScope.CONVERSATION}, False),
        ({"scope": GrantScope.PROJECT, "project_id": PROJECT}, True),
        ({"scope": GrantScope.PROJECT, "project_id": ProjectId("b" * 24)}, False),
        ({"scope": GrantScope.PROJECT}, False),
        ({"status": GrantStatus.REVOKED}, False),
        ({"status": GrantStatus.EXPIRED}, False),
        ({"expires_at": START}, False),
        ({"expires_at": START + HOUR}, True),
    ],
)
def test_a_grant_counts_only_where_and_while_it_is_meant(fields: dict[str, Any], counts: bool) -> None:
    allowed = bash("npm test", a_grant(pattern="npm test", **fields))
    denied = bash("npm test", a_denial(pattern="npm test", **fields))
    assert allowed.outcome is (Outcome.ALLOW if counts else Outcome.ASK)
    assert denied.outcome is (Outcome.DENY if counts else Outcome.ASK)


def test_a_project_grant_reaches_no_conversation_without_a_project() -> None:
    grant = a_grant(pattern="npm test", scope=GrantScope.PROJECT, project_id=PROJECT)
    assert bash("npm test", grant, project_id=None).outcome is Outcome.ASK


def test_several_grants_cover_one_command_together() -> None:
    one, two = a_grant(pattern="npm test"), a_grant(pattern="git add:*", id=GrantId("8" * 24))
    assert bash("npm test && git add a", one).outcome is Outcome.ASK
    decision = bash("npm test && git add a", one, two)
    assert decision.outcome is Outcome.ALLOW
    assert decision.reason == "Granted: Bash(git add:*), Bash(npm test)"


@pytest.mark.parametrize(
    ("tool", "pattern", "tool_input", "allowed"),
    [
        ("Write", None, {"file_path": "/anywhere"}, True),
        ("Write", "src/*", {"file_path": "src/a/b.py"}, True),
        ("Write", "src/*", {"file_path": f"{FOLDER}/src/a"}, True),
        ("Write", "src/*", {"file_path": "src/../a"}, False),
        ("Write", "src/*", {"file_path": "/src/a"}, False),
        ("Write", "src/*", {"file_path": "SRC/a"}, False),
        ("Write", "*", {"file_path": "../a"}, False),
        ("Edit", "src/*", {"file_path": "src/a"}, False),
        ("WebFetch", "example.com", {"url": "https://example.com/x?y"}, True),
        ("WebFetch", "example.com", {"url": "https://EXAMPLE.com:8443"}, True),
        ("WebFetch", "example.com", {"url": "https://www.example.com"}, False),
        ("WebFetch", "*.example.com", {"url": "https://a.b.example.com"}, True),
        ("WebFetch", "*.example.com", {"url": "https://example.com"}, False),
        ("WebFetch", "*.example.com", {"url": "https://evilexample.com"}, False),
        ("WebFetch", "example.com", {"url": "https://example.com@evil.com"}, False),
        ("WebFetch", "example.com", {"url": "https://evil.com/example.com"}, False),
        ("WebFetch", "example.com", {"url": "https://evil.com\\@example.com"}, False),
        ("WebFetch", "example.com", {"url": "https://evil.com#@example.com"}, False),
        ("WebFetch", "example.com", {"url": "https://example.com.evil.com"}, False),
        ("WebFetch", "example.com", {"url": "ftp://example.com"}, False),
        ("WebFetch", "example.com", {"url": "https://ex\u0430mple.com"}, False),
        ("WebFetch", "example.com", {"url": 3}, False),
        ("mcp__github__*", None, {}, False),
    ],
)
def test_patterns_mean_what_they_say(tool: str, pattern: str | None, tool_input: Json, allowed: bool) -> None:
    used = "Write" if tool == "Edit" else tool.replace("__*", "2__x")
    decision = decide(asked(used, tool_input, a_grant(tool, pattern)))
    assert (decision.outcome is Outcome.ALLOW) == allowed


def test_a_grant_may_be_for_all_tools_of_a_server() -> None:
    assert decide(asked("mcp__github__get", {}, a_grant("mcp__github__*"))).outcome is Outcome.ALLOW
    assert decide(asked("mcp__github", {}, a_grant("mcp__github__*"))).outcome is Outcome.ASK


@pytest.mark.parametrize(
    ("tool", "pattern", "used", "tool_input", "outcome"),
    [
        ("Edit", None, "Write", {"file_path": "a"}, Outcome.DENY),
        ("Edit", "secrets/*", "MultiEdit", {"file_path": "secrets/a", "edits": []}, Outcome.DENY),
        ("Edit", "secrets/*", "Edit", {"file_path": "SECRETS/a"}, Outcome.DENY),
        ("Edit", "secrets/*", "Edit", {"file_path": "src/a"}, Outcome.ASK),
        ("Read", ".env", "Read", {"file_path": "./.env"}, Outcome.DENY),
        ("Bash", None, "Run", {"command": "ls"}, Outcome.DENY),
        ("Run", "rm:*", "Bash", {"command": "ls; rm a"}, Outcome.DENY),
        ("WebFetch", "evil.com", "WebFetch", {"url": "https://evil.com."}, Outcome.DENY),
        ("WebFetch", None, "mcp__web__fetch", {"url": "https://evil.com"}, Outcome.ASK),
        ("mcp__web__*", None, "mcp__web__fetch", {}, Outcome.DENY),
    ],
)
def test_a_denial_means_every_tool_that_does_the_same(
    tool: str, pattern: str | None, used: str, tool_input: Json, outcome: Outcome
) -> None:
    assert decide(asked(used, tool_input, a_denial(tool, pattern))).outcome is outcome


@pytest.mark.parametrize(
    ("tool", "pattern", "tool_input"),
    [
        ("Read", "secrets/*", {"file_path": "/outside"}),
        ("Read", "secrets/*", {}),
        ("WebFetch", "evil.com", {"url": "https://a@b"}),
        ("Bash", "rm:*", {}),
        ("Bash", "git 'broken", {"command": "ls"}),
    ],
)
def test_a_denial_that_nobody_can_tell_about_is_asked_about(tool: str, pattern: str, tool_input: Json) -> None:
    bypass = {"mode": PermissionMode.BYPASS, "bypass_until": START + HOUR}
    assert decide(asked(tool, tool_input, a_denial(tool, pattern), **bypass)).rule is Rule.DENY_UNCLEAR


def test_a_broken_pattern_allows_nothing() -> None:
    assert (
        bash("git status; npm test", a_grant(pattern="git 'broken"), a_grant(pattern="npm test")).outcome
        is Outcome.ALLOW
    )
    assert bash("npm ci", a_grant(pattern="npm 'ci")).outcome is Outcome.ASK


# --- answering -----------------------------------------------------------------------------------------------------


def test_a_decision_answers_for_this_once() -> None:
    assert option_for(TOOL_OPTIONS, Outcome.ALLOW) == "allow_once"
    assert option_for(TOOL_OPTIONS, Outcome.DENY) == "deny"
    assert option_for(TOOL_OPTIONS, Outcome.ASK) is None


def test_an_option_of_the_agents_own_is_known_by_its_kind() -> None:
    own = (
        PromptOption(id="agent:yes", label="Yes", kind="allow_once"),
        PromptOption(id="x", label="All", kind="allow_always"),
    )
    assert option_for(own, Outcome.ALLOW) == "agent:yes"
    assert option_for(own[1:], Outcome.ALLOW) is None
    assert option_for(own, Outcome.DENY) is None


def test_the_handler_tells_grants_from_modes() -> None:
    assert handler_of(bash("npm test", a_grant())) == handler_of(bash("ls", a_denial())) == "grant"
    assert handler_of(bash("ls")) == handler_of(edit("a", mode=PermissionMode.ACCEPT_EDITS)) == "mode"


# --- risk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "kind", "tool_input", "risk"),
    [
        ("Read", "read", {"file_path": f"{FOLDER}/a", "offset": 1, "limit": 5}, Risk.LOW),
        ("Read", None, {"file_path": "a"}, Risk.LOW),
        ("Read", "read", {"file_path": "/etc/passwd"}, Risk.MEDIUM),
        ("Read", "read", {"file_path": ".env"}, Risk.MEDIUM),
        ("Read", "read", {"file_path": ".env.example"}, Risk.LOW),
        ("Read", "read", {}, Risk.MEDIUM),
        ("Read", "read", {"files": ["/etc/passwd"], "path": "a"}, Risk.MEDIUM),
        ("Grep", "search", {"pattern": "/etc"}, Risk.LOW),
        ("Grep", "search", {"pattern": "x", "path": ".."}, Risk.MEDIUM),
        ("Glob", "search", {"pattern": "**/*.py"}, Risk.LOW),
        ("Glob", "search", {"pattern": "/etc/*"}, Risk.MEDIUM),
        ("Glob", "search", {"pattern": "../*"}, Risk.MEDIUM),
        ("LS", "read", {"path": FOLDER}, Risk.LOW),
        ("TodoWrite", "think", {"todos": []}, Risk.LOW),
        ("WebFetch", "fetch", {"url": "https://example.com"}, Risk.MEDIUM),
        ("WebSearch", "search", {"query": "x"}, Risk.MEDIUM),
        ("Task", "task", {"prompt": "x"}, Risk.MEDIUM),
        ("mcp__fs__read_file", "read", {"path": "a"}, Risk.MEDIUM),
        ("mcp__fs__read_file", "think", {}, Risk.MEDIUM),
        ("mcp__fs__run", "execute", {"command": "ls"}, Risk.HIGH),
        ("mcp__fs__run", "execute", {"command": "rm -rf ~"}, Risk.CRITICAL),
        ("Whatever", "read", {"path": "a"}, Risk.MEDIUM),
        ("Whatever", "think", {}, Risk.MEDIUM),
        ("Whatever", None, {}, Risk.MEDIUM),
        ("Whatever", "nonsense", None, Risk.MEDIUM),
        ("Whatever", "edit", {"path": "a"}, Risk.HIGH),
        ("Whatever", "execute", {"command": "ls"}, Risk.HIGH),
        ("Whatever", "execute", {"command": "rm -rf ~"}, Risk.CRITICAL),
        ("Think", "execute", {}, Risk.HIGH),
        ("Edit", "edit", {"file_path": "a"}, Risk.HIGH),
        ("Write", "edit", {"file_path": "/home/me/.bashrc"}, Risk.CRITICAL),
        ("Write", "edit", {"file_path": "/etc/hosts"}, Risk.CRITICAL),
        ("Write", "edit", {"file_path": ".git/hooks/pre-push"}, Risk.CRITICAL),
        ("KillShell", "execute", {"shell_id": "1"}, Risk.HIGH),
        ("Bash", "execute", {"command": "ls", "description": "look"}, Risk.LOW),
        ("Bash", "execute", {"command": "ls", "dangerouslyDisableSandbox": True}, Risk.HIGH),
        ("Bash", "execute", {"command": "ls", "surprise": "rm"}, Risk.HIGH),
        ("Bash", "execute", {"command": ""}, Risk.HIGH),
        ("Bash", "execute", {}, Risk.HIGH),
        ("Bash", "execute", None, Risk.HIGH),
        ("Bash", "execute", {"command": 3}, Risk.HIGH),
        ("Run", "execute", {"command": ["bash", "-lc", "ls -la"]}, Risk.LOW),
        ("Run", "execute", {"command": ["bash", "-lc", "rm -rf ~"]}, Risk.CRITICAL),
        ("Run", "execute", {"command": ["ls", "-la"]}, Risk.LOW),
        ("Run", "execute", {"command": "ls", "args": ["-la"]}, Risk.LOW),
        ("Run", "execute", {"command": "rm", "args": ["-rf", "/"]}, Risk.CRITICAL),
        ("Run", "execute", {"command": "rm", "args": "-rf /"}, Risk.HIGH),
        ("Run", "execute", {"command": "ls", "cwd": "/etc"}, Risk.HIGH),
        ("Run", "execute", {"command": "ls", "cwd": f"{FOLDER}/src"}, Risk.LOW),
    ],
)
def test_each_call_has_its_risk(tool: str, kind: str | None, tool_input: Json, risk: Risk) -> None:
    assert risk_of(tool, tool_input, kind, FOLDER) is risk


# --- properties ----------------------------------------------------------------------------------------------------

COMMANDS = st.sampled_from([*table.LOW[:20], *table.MEDIUM, *table.HIGH[:60], *table.CRITICAL[:40]])
CALLS = st.one_of(
    COMMANDS.map(lambda command: ("Bash", {"command": command})),
    st.sampled_from(["a.py", "src/b", "/etc/x", "../y", ".git/config", ".env"]).flatmap(
        lambda path: st.sampled_from(["Read", "Write", "Edit", "Delete"]).map(lambda tool: (tool, {"file_path": path}))
    ),
    st.sampled_from([("WebFetch", {"url": "https://example.com"}), ("mcp__a__b", {}), ("Task", {}), ("TodoWrite", {})]),
)
GRANTS = st.lists(
    st.builds(
        a_grant,
        st.sampled_from(["Bash", "Read", "Write", "Edit", "WebFetch", "mcp__a__*", "Task"]),
        st.none(),
        effect=st.sampled_from(list(GrantEffect)),
        status=st.sampled_from(list(GrantStatus)),
        expires_at=st.sampled_from([None, START, START + HOUR]),
    )
    | st.builds(
        a_grant,
        st.just("Bash"),
        st.sampled_from(["rm:*", "git commit:*", "npm test", "git push:*", "curl:*"]),
        effect=st.sampled_from(list(GrantEffect)),
    ),
    max_size=4,
).map(tuple)
REQUESTS = st.builds(
    lambda call, grants, mode, until: asked(call[0], call[1], *grants, mode=mode, bypass_until=until),
    CALLS,
    GRANTS,
    st.sampled_from(list(PermissionMode)),
    st.sampled_from([None, START, START + HOUR]),
)


@settings(deadline=None, max_examples=200)
@given(REQUESTS, st.sampled_from(["Bash", "Read", "Write", "WebFetch", "mcp__a__*"]), st.sampled_from([None, "rm:*"]))
def test_one_more_denial_never_allows_more(request_: PolicyRequest, tool: str, pattern: str | None) -> None:
    before = decide(request_).outcome
    denial = a_denial(tool, pattern if tool == "Bash" else None)
    after = decide(replace(request_, grants=(*request_.grants, denial))).outcome
    assert after is before or after is not Outcome.ALLOW


@settings(deadline=None, max_examples=200)
@given(REQUESTS)
def test_without_any_grant_and_mode_only_what_reads_is_allowed(request_: PolicyRequest) -> None:
    decision = decide(replace(request_, grants=(), mode=PermissionMode.DEFAULT))
    assert (decision.outcome is Outcome.ALLOW) == (decision.risk is Risk.LOW)
    assert decision.outcome is not Outcome.DENY


@settings(deadline=None, max_examples=200)
@given(REQUESTS)
def test_plan_mode_never_allows_more_than_the_default(request_: PolicyRequest) -> None:
    planned = decide(replace(request_, mode=PermissionMode.PLAN))
    default = decide(replace(request_, mode=PermissionMode.DEFAULT))
    assert planned.outcome is default.outcome or planned.outcome is Outcome.ASK


@settings(deadline=None, max_examples=200)
@given(REQUESTS)
def test_a_denial_in_force_that_names_the_whole_tool_always_wins(request_: PolicyRequest) -> None:
    denial = a_denial(request_.tool, None)
    assert decide(replace(request_, grants=(*request_.grants, denial))).outcome is Outcome.DENY


@settings(deadline=None, max_examples=200)
@given(REQUESTS)
def test_the_order_of_grants_does_not_matter(request_: PolicyRequest) -> None:
    turned = replace(request_, grants=tuple(reversed(request_.grants)))
    assert decide(turned).outcome is decide(request_).outcome


@settings(deadline=None, max_examples=200)
@given(REQUESTS)
def test_every_decision_says_why(request_: PolicyRequest) -> None:
    decision = decide(request_)
    assert decision.reason
    assert (decision.grant_id is not None) == (decision.rule in (Rule.DENY_GRANT, Rule.DENY_UNCLEAR, Rule.ALLOW_GRANT))
