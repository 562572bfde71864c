"""The audit says who or what decided, about what, and how long it took; and keeps no input."""

from dataclasses import replace

import pytest

from baton.core import lifecycle
from baton.core.ids import ConversationId, RequestId, UserId
from baton.core.models import Prompt, PromptResponse, PromptStatus, PromptType
from baton.core.permissions import Decision, GrantId, Outcome, Risk, Rule
from baton.services.audit import entry_for, input_digest
from baton.testing import samples
from baton.testing.samples import at

GRANT = GrantId("9" * 24)
ASKED = samples.prompt(
    ConversationId("c" * 24), RequestId("r"), type=PromptType.TOOL_PERMISSION, input={"command": "secret"}
)


def answered(option: str, by: str | None = "anna", handler: str = "user_selection") -> Prompt:
    who = UserId(by) if by else None
    return lifecycle.answer_prompt(ASKED, option, PromptResponse(), by=who, handler=handler, at=at(2.5))


def test_a_person_who_answered_is_named() -> None:
    entry = entry_for(answered("allow_once"), None)
    assert (entry.outcome, entry.handler, entry.user_id, entry.rule) == ("allow", "user_selection", "anna", None)
    assert entry.latency_ms == 2500


def test_a_rule_that_decided_is_named_with_its_grant_and_reason() -> None:
    decision = Decision(
        outcome=Outcome.DENY, rule=Rule.DENY_GRANT, reason="Bash is denied", risk=Risk.HIGH, grant_id=GRANT
    )
    entry = entry_for(answered("deny", by=None, handler="grant"), decision)
    assert (entry.outcome, entry.handler, entry.rule, entry.grant_id) == ("deny", "grant", Rule.DENY_GRANT, GRANT)
    assert (entry.reason, entry.user_id) == ("Bash is denied", None)


@pytest.mark.parametrize("status", [PromptStatus.TIMEOUT, PromptStatus.CANCELLED])
def test_what_nobody_answered_keeps_its_own_end(status: PromptStatus) -> None:
    ended = lifecycle.end_prompt(ASKED, status, handler="timeout", at=at(60))
    assert entry_for(ended, None).outcome == str(status)


def test_an_answer_to_a_question_is_neither_allow_nor_deny() -> None:
    question = replace(answered("answer"), type=PromptType.QUESTION)
    assert entry_for(question, None).outcome == "answered"


def test_a_clock_that_went_back_gives_no_negative_time() -> None:
    assert entry_for(replace(answered("deny"), responded_at=at(-5)), None).latency_ms == 0


def test_the_input_is_known_again_but_not_kept() -> None:
    assert "secret" not in repr(entry_for(answered("deny"), None))
    assert input_digest({"a": 1, "b": [2]}) == input_digest({"b": [2], "a": 1}) != input_digest({"a": 1, "b": [3]})
