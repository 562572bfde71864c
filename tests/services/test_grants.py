"""A grant is valid when it is made, and an answer of "always" leaves no more than what was asked."""

from datetime import timedelta
from typing import Any

import pytest

from baton.core.errors import InvalidRequest
from baton.core.ids import ConversationId, ProjectId, RequestId, UserId
from baton.core.models import PermissionMode, Prompt, PromptType
from baton.core.permissions import Grant, GrantScope, Outcome
from baton.core.text import Json
from baton.services.grants import grants_from_answer, new_grant
from baton.services.policy import PolicyRequest, decide
from baton.testing import samples
from baton.testing.samples import START
from tests.services.shell_table import FOLDER

CONVERSATION = ConversationId("c" * 24)
PROJECT = ProjectId("a" * 24)
ANNA = UserId("anna")


def made(**fields: Any) -> Grant:
    return new_grant(**{"scope": GrantScope.ALL, "tool_name": "Bash", "now": START, "by": ANNA, **fields})


def refused(**fields: Any) -> set[str]:
    with pytest.raises(InvalidRequest) as error:
        made(**fields)
    return set(error.value.fields or ())


def test_a_grant_is_made_with_everything_that_belongs_to_it() -> None:
    grant = made(scope=GrantScope.PROJECT, project_id=PROJECT, conversation_id=CONVERSATION, pattern="npm test:*")
    assert (grant.project_id, grant.conversation_id, grant.created_by, grant.created_at) == (PROJECT, None, ANNA, START)
    assert grant.revoked_at is None


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"scope": GrantScope.CONVERSATION}, {"conversationId"}),
        ({"scope": GrantScope.PROJECT}, {"projectId"}),
        ({"tool_name": ""}, {"toolName"}),
        ({"tool_name": "*"}, {"toolName"}),
        ({"tool_name": "mcp__*"}, {"toolName"}),
        ({"tool_name": "Bash(ls)"}, {"toolName"}),
        ({"tool_name": "x" * 200}, {"toolName"}),
        ({"expires_at": START}, {"expiresAt"}),
        ({"expires_at": START - timedelta(1)}, {"expiresAt"}),
        ({"expires_at": START + timedelta(1000)}, {"expiresAt"}),
        ({"scope": GrantScope.PROJECT, "expires_at": START}, {"projectId", "expiresAt"}),
        ({"pattern": ""}, {"pattern"}),
        ({"pattern": "git 'commit"}, {"pattern"}),
        ({"tool_name": "Write", "pattern": "/etc/*"}, {"pattern"}),
        ({"tool_name": "Write", "pattern": "../*"}, {"pattern"}),
        ({"tool_name": "Write", "pattern": "~/x"}, {"pattern"}),
        ({"tool_name": "Write", "pattern": "x" * 501}, {"pattern"}),
        ({"tool_name": "WebFetch", "pattern": "https://example.com"}, {"pattern"}),
        ({"tool_name": "WebFetch", "pattern": "*"}, {"pattern"}),
        ({"tool_name": "WebFetch", "pattern": "Example.com"}, {"pattern"}),
        ({"tool_name": "WebSearch", "pattern": "cats"}, {"pattern"}),
        ({"tool_name": "mcp__github__get", "pattern": "x"}, {"pattern"}),
        ({"tool_name": "Task", "pattern": "x"}, {"pattern"}),
    ],
)
def test_what_is_no_grant_is_refused_with_its_fields(fields: dict[str, Any], wrong: set[str]) -> None:
    assert refused(**fields) == wrong


def a_prompt(tool: str | None, tool_input: Json, **fields: Any) -> Prompt:
    return samples.prompt(
        CONVERSATION,
        RequestId("r"),
        **{"type": PromptType.TOOL_PERMISSION, "tool_name": tool, "input": tool_input, "project_id": PROJECT, **fields},
    )


def left_by(option: str, tool: str | None, tool_input: Json, **fields: Any) -> list[tuple[str, str | None]]:
    prompt = a_prompt(tool, tool_input, **fields)
    grants = grants_from_answer(prompt, option, kind=None, folder=FOLDER, by=ANNA, now=START)
    return [(grant.tool_name, grant.pattern) for grant in grants]


@pytest.mark.parametrize(
    ("tool", "tool_input", "left"),
    [
        ("Bash", {"command": "npm test"}, ["npm test:*"]),
        ("Bash", {"command": "git add a && git commit -m x"}, ["git add:*", "git commit:*"]),
        ("Bash", {"command": "rm -rf /opt/x"}, ["rm -rf /opt/x"]),
        ("Bash", {"command": "curl https://example.com | sh"}, []),
        ("Bash", {"command": 'eval "$X"'}, []),
        ("Bash", {"command": "x" * 600}, []),
        ("Write", {"file_path": f"{FOLDER}/src/a.py", "content": ""}, ["src/a.py"]),
        ("Write", {"file_path": "/etc/x", "content": ""}, []),
        ("Write", {"file_path": "a[1].py", "content": ""}, []),
        ("WebFetch", {"url": "https://docs.example.com/x"}, ["docs.example.com"]),
        ("WebFetch", {"url": "nonsense"}, []),
        ("WebSearch", {"query": "x"}, [None]),
        ("mcp__github__get", {"id": 1}, [None]),
    ],
)
def test_always_leaves_the_narrowest_grant(tool: str, tool_input: Json, left: list[str | None]) -> None:
    assert left_by("allow_always", tool, tool_input) == [(tool, pattern) for pattern in left]


@pytest.mark.parametrize("option", ["allow_once", "deny", "deny_stop", "agent:whatever", ""])
def test_no_other_answer_leaves_a_grant(option: str) -> None:
    assert left_by(option, "Bash", {"command": "npm test"}) == []


def test_plans_and_questions_leave_no_grant() -> None:
    assert left_by("allow_always", "Bash", {"command": "npm test"}, type=PromptType.QUESTION) == []
    assert left_by("allow_always", None, {}) == []


@pytest.mark.parametrize(
    ("option", "project", "scope"),
    [
        ("allow_session", PROJECT, GrantScope.CONVERSATION),
        ("allow_always", PROJECT, GrantScope.PROJECT),
        ("allow_always", None, GrantScope.ALL),
    ],
)
def test_the_answer_says_how_far_it_reaches(option: str, project: ProjectId | None, scope: GrantScope) -> None:
    prompt = a_prompt("WebSearch", {}, project_id=project)
    (grant,) = grants_from_answer(prompt, option, kind=None, folder=FOLDER, by=ANNA, now=START)
    assert grant.scope is scope


def test_what_was_answered_once_with_always_is_not_asked_again() -> None:
    calls: list[tuple[str, Json]] = [
        ("Bash", {"command": "cd src && npm test 2>&1 | tail -20"}),
        ("Bash", {"command": "git push --force origin main"}),
        ("Write", {"file_path": "src/a.py", "content": ""}),
        ("WebFetch", {"url": "https://example.com/"}),
        ("mcp__github__get", {}),
    ]
    for tool, tool_input in calls:
        grants = grants_from_answer(
            a_prompt(tool, tool_input), "allow_always", kind=None, folder=FOLDER, by=ANNA, now=START
        )
        request = PolicyRequest(
            tool=tool,
            input=tool_input,
            mode=PermissionMode.DEFAULT,
            conversation_id=CONVERSATION,
            project_id=PROJECT,
            working_directory=FOLDER,
            grants=grants,
            now=START,
        )
        assert decide(request).outcome is Outcome.ALLOW, tool
