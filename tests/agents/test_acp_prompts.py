"""An ACP agent's questions and people's answers: `acp_prompts`, `acp_forms`, `acp_login`, `acp_modes`."""

from typing import Any

import pytest

pytest.importorskip("acp", reason="the extra `acp` is not installed")

from acp import schema

from baton.agents.acp_content import content_of
from baton.agents.acp_events import Tool
from baton.agents.acp_forms import Form, form_answer, form_prompt, read_form
from baton.agents.acp_login import AuthMethod, login_cure
from baton.agents.acp_modes import config_choice, mode_choice, wanted_mode
from baton.agents.acp_prompts import Permission, decision_for, permission_for
from baton.core.ids import AttachmentId
from baton.core.models import Attachment, PermissionMode, PromptType
from baton.core.ports import PromptAnswer

# --- permissions ---------------------------------------------------------------------------------------------------


def asked(*options: tuple[str, str], known: Tool | None = None, **call: Any) -> Permission:
    """What a request with these options (id, kind) comes to."""
    offered = [schema.PermissionOption(option_id=name, name=name.title(), kind=kind) for name, kind in options]  # type: ignore[arg-type]
    raw = {"toolCallId": "t1", "title": "Do it", "kind": "execute", **call}
    return permission_for(schema.ToolCallUpdate.model_validate(raw), offered, known)


def told(permission: Permission, option: str) -> str | None:
    return decision_for(permission, PromptAnswer(selected_option=option)).option_id


def test_options_get_our_names_by_their_kind() -> None:
    permission = asked(
        ("y", "allow_once"), ("always", "allow_always"), ("n", "reject_once"), ("never", "reject_always")
    )
    assert [(option.id, option.label) for option in permission.prompt.options] == [
        ("allow_once", "Y"),
        ("allow_always", "Always"),
        ("deny", "N"),
        ("agent:never", "Never"),
        ("deny_stop", "Deny and stop"),
    ]
    assert [told(permission, option.id) for option in permission.prompt.options] == ["y", "always", "n", "never", "n"]


def test_a_second_option_of_a_kind_keeps_the_agents_own_name() -> None:
    permission = asked(("y", "allow_once"), ("here", "allow_always"), ("everywhere", "allow_always"))
    assert [option.id for option in permission.prompt.options] == ["allow_once", "allow_always", "agent:everywhere"]
    assert told(permission, "agent:everywhere") == "everywhere"


def test_an_answer_that_was_not_offered_counts_as_what_it_means() -> None:
    permission = asked(("y", "allow_once"), ("n", "reject_once"))
    assert told(permission, "allow_session") == "y"
    assert told(permission, "allow_always") == "y"
    assert told(permission, "something else") == "n"
    assert told(asked(("y", "allow_once")), "deny") is None, "cancelled, where it cannot be refused"
    assert told(asked(("n", "reject_once")), "allow_once") is None


def test_only_deny_and_stop_stops() -> None:
    permission = asked(("y", "allow_once"), ("n", "reject_once"))
    stops = {name: decision_for(permission, PromptAnswer(selected_option=name)).stops for name in ("deny", "deny_stop")}
    assert stops == {"deny": False, "deny_stop": True}


def test_what_the_request_does_not_say_is_taken_from_the_tool_call() -> None:
    known = Tool("t1", "m1", 0, own_name="Write", acp_kind="edit", title="Write a.txt", input={"path": "a.txt"})
    prompt = asked(("y", "allow_once"), known=known, title=None, kind=None).prompt
    assert (prompt.title, prompt.tool_name, prompt.input) == ("Write a.txt", "Write", {"path": "a.txt"})


def test_a_plan_that_can_only_be_accepted_for_good_can_be_accepted() -> None:
    permission = asked(("auto", "allow_always"), ("no", "reject_once"), kind="switch_mode")
    assert permission.prompt.type is PromptType.PLAN_REVIEW
    assert [option.id for option in permission.prompt.options] == ["agent:auto", "reject"]


def test_an_accepted_plan_says_which_mode_comes_after_it() -> None:
    permission = asked(("y", "allow_once"), ("no", "reject_once"), kind="switch_mode")
    decisions = [decision_for(permission, PromptAnswer(selected_option=o.id)) for o in permission.prompt.options]
    assert [(decision.option_id, decision.mode) for decision in decisions] == [
        ("y", "acceptEdits"),
        ("y", "default"),
        ("no", None),
    ]


# --- forms ---------------------------------------------------------------------------------------------------------


def form(**properties: Any) -> Form:
    schema_ = {"type": "object", "properties": properties}
    read = read_form({"sessionId": "s", "mode": "form", "message": "Please say", "requestedSchema": schema_})
    assert read is not None
    return read[0]


def filled(asked_form: Form, **answers: Any) -> dict[str, Any] | None:
    return form_answer(asked_form, PromptAnswer(selected_option="answer", answers=answers))


def test_a_lone_field_is_asked_with_the_forms_message() -> None:
    prompt = form_prompt(form(name={"type": "string", "title": "Name"}), "t1")
    assert (prompt.title, prompt.message, prompt.questions[0].header) == ("Please say", "", "Name")


def test_choices_are_told_and_given_back_as_the_agent_names_them() -> None:
    option = {"const": "r", "title": "Red", "description": "warm"}
    asked_form = form(
        one={"type": "string", "oneOf": [option]},
        many={"type": "array", "items": {"anyOf": [option, {"const": "b", "title": "Blue"}]}},
        plain={"type": "array", "items": {"type": "string", "enum": ["x", "y"]}},
        yes={"type": "boolean"},
    )
    questions = form_prompt(asked_form, None).questions
    assert [[o.label for o in q.options] for q in questions] == [["Red"], ["Red", "Blue"], ["x", "y"], ["Yes", "No"]]
    assert [question.multi_select for question in questions] == [False, True, True, False]
    assert questions[0].options[0].description == "warm"
    answers = {"q1": "Red", "q2": ["Red", "Blue"], "q3": ["y"], "q4": "No"}
    assert filled(asked_form, **answers) == {"one": "r", "many": ["r", "b"], "plain": ["y"], "yes": False}


def test_numbers_are_given_as_numbers_and_left_out_where_they_are_none() -> None:
    asked_form = form(count={"type": "integer"}, share={"type": "number"})
    assert filled(asked_form, q1="3", q2="0.5") == {"count": 3, "share": 0.5}
    assert filled(asked_form, q1="three", q2="0.5") == {"share": 0.5}


def test_own_words_go_into_the_field_beside_the_choice() -> None:
    asked_form = form(
        question_0={"type": "string", "enum": ["Red"]},
        question_0_custom={"type": "string"},
    )
    assert len(asked_form.fields) == 1
    assert filled(asked_form, q1="green") == {"question_0_custom": "green"}
    assert filled(asked_form, q1="Red") == {"question_0": "Red"}


def test_a_bare_message_answers_a_single_question() -> None:
    asked_form = form(name={"type": "string"})
    assert form_answer(asked_form, PromptAnswer(selected_option="answer", message="Ada")) == {"name": "Ada"}


def test_nothing_said_is_no_answer() -> None:
    asked_form = form(name={"type": "string"})
    assert filled(asked_form) is None
    assert form_answer(asked_form, PromptAnswer(selected_option="deny", answers={"q1": "Ada"})) is None
    assert filled(form()) == {}, "a form without questions is agreed to"


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"sessionId": "s", "mode": "url", "message": "Go", "url": "https://x.example", "elicitationId": "e"},
        {"sessionId": "s", "mode": "of a later version", "message": "?"},
    ],
)
def test_what_is_no_form_is_not_asked(params: object) -> None:
    assert read_form(params) is None


# --- login, modes, content -----------------------------------------------------------------------------------------


def test_a_login_names_the_agents_own_methods() -> None:
    methods: list[AuthMethod] = [
        schema.AuthMethodAgent(id="web", name="Log in", description="Opens\na browser"),
        schema.EnvVarAuthMethod.model_validate(
            {"id": "key", "name": "Key", "type": "env_var", "vars": [{"name": "A_KEY"}, {"name": "B_KEY"}]}
        ),
        schema.TerminalAuthMethod(type="terminal", id="t", name="Terminal", args=["login"]),
    ]
    text = login_cure("Gemini", methods, ("gemini", "--acp"))
    assert text.startswith("Gemini is not logged in: log in with its own program (gemini)")
    assert "Log in (Opens a browser); Key (set A_KEY, B_KEY for the bridge)" in text
    assert "Terminal (run gemini --acp login)" in text


def modes(*names: str) -> schema.SessionModeState:
    available = [schema.SessionMode(id=name, name=name) for name in names]
    return schema.SessionModeState(current_mode_id=names[0], available_modes=available)


def select(category: str, *names: str) -> schema.SessionConfigOptionSelect:
    options = [{"value": name, "name": name} for name in names]
    raw = {"id": "it", "name": "It", "type": "select", "category": category, "currentValue": names[0]}
    return schema.SessionConfigOptionSelect.model_validate(raw | {"options": options})


def test_a_mode_in_which_it_asks_is_wanted_for_everything_but_plans() -> None:
    choice = mode_choice(modes("auto", "read-only", "default", "plan"), None)
    assert {mode: wanted_mode(choice, mode) for mode in PermissionMode} == {
        PermissionMode.DEFAULT: "default",
        PermissionMode.PLAN: "plan",
        PermissionMode.ACCEPT_EDITS: "default",
        PermissionMode.BYPASS: "default",
    }
    assert (
        wanted_mode(mode_choice(modes("auto", "read-only", "full-access"), None), PermissionMode.BYPASS) == "read-only"
    )


def test_a_mode_is_found_among_the_config_options_too() -> None:
    choice = mode_choice(None, [select("model", "big"), select("mode", "yolo", "ask")])
    assert wanted_mode(choice, PermissionMode.DEFAULT) == "ask"
    assert config_choice([select("model", "big", "small")], "model") is not None
    assert mode_choice(None, None) is None
    assert wanted_mode(None, PermissionMode.PLAN) is None


def test_files_are_sent_as_the_agent_takes_them() -> None:
    def file(name: str, mime_type: str) -> Attachment:
        return Attachment(id=AttachmentId("a" * 24), filename=name, mime_type=mime_type, size_bytes=1, url="/x")

    files = [
        (file("a.png", "image/png"), b"\x89"),
        (file("b c.txt", "text/plain"), b"hi"),
        (file("d.zip", "application/zip"), b"PK"),
    ]
    nothing = content_of("look", files, schema.PromptCapabilities())
    everything = content_of("look", files, schema.PromptCapabilities(image=True, embedded_context=True))

    assert [block["type"] for block in nothing] == ["text"] * 4
    assert "hi" in nothing[1]["text"]
    assert [block["type"] for block in everything] == ["image", "resource", "resource", "text"]
    assert everything[1]["resource"]["uri"] == f"attachment://{'a' * 24}/b%20c.txt"
    assert everything[-1] == {"type": "text", "text": "look"}
