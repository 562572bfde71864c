"""Decides what a tool call needs: allowed, denied, or asked about. Pure: everything it goes by is in the request.

The order is the promise (docs/permissions.md): a denial comes first, then plan mode, grants, modes, what only reads,
and whatever is left is asked about. The first rule that has something to say decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from baton.core.ids import ConversationId, ProjectId, UserId
from baton.core.models import PermissionMode, PromptOption
from baton.core.permissions import Decision, Grant, GrantEffect, Outcome, Risk, Rule, is_in_force, reaches
from baton.core.text import Json
from baton.services.grants import covering, denies
from baton.services.tool_calls import Family, ToolCall, is_plain_edit, look_at, risk_of

__all__ = ["PolicyRequest", "decide", "handler_of", "option_for", "risk_of"]

_FOR_PEOPLE: Final = frozenset({"AskUserQuestion", "ExitPlanMode", "Switch mode"})
"""Questions to a person: no rule answers them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRequest:
    """One call that an agent asks about, and everything that counts at this moment."""

    tool: str
    input: Json
    kind: str | None = None
    """read, edit, execute, search, fetch, think, task or other; None: not told."""
    mode: PermissionMode
    bypass_until: datetime | None = None
    """When `bypassPermissions` ends. None: it does not count, for example where the bridge does not allow it."""
    conversation_id: ConversationId
    project_id: ProjectId | None = None
    user_id: UserId | None = None
    """Whose the conversation is."""
    working_directory: str | None = None
    """Absolute, on the bridge's machine, symbolic links resolved there. None: not known, so everything is outside."""
    grants: Sequence[Grant] = ()
    """All that may count; those that have ended, or are meant for others, are passed over."""
    now: datetime


def decide(request: PolicyRequest) -> Decision:
    """What the rules say about this call, and why."""
    call = look_at(request.tool, request.input, request.kind, request.working_directory)
    for rule in _RULES:
        decision = rule(request, call)
        if decision is not None:
            return decision
    return _decision(call, Outcome.ASK, Rule.ASK, call.reason)


def option_for(options: Sequence[PromptOption], outcome: Outcome) -> str | None:
    """The option that says this, once, to the agent; None where it offers none, or a person is to be asked.

    Never one that has the agent decide by itself from then on: what is allowed is decided here, each time.
    """
    if outcome is Outcome.ASK:
        return None
    name, kind = ("allow_once", "allow_once") if outcome is Outcome.ALLOW else ("deny", "reject_once")
    found = [option.id for option in options if option.id == name] or [
        option.id for option in options if option.kind == kind
    ]
    return found[0] if found else None


def handler_of(decision: Decision) -> str:
    """What a prompt that this decision ended has as its `autoHandler`."""
    return "grant" if decision.rule in (Rule.DENY_GRANT, Rule.ALLOW_GRANT) else "mode"


def _decision(call: ToolCall, outcome: Outcome, rule: Rule, reason: str, grant: Grant | None = None) -> Decision:
    return Decision(outcome=outcome, rule=rule, reason=reason, risk=call.risk, grant_id=grant.id if grant else None)


def _grants(request: PolicyRequest, effect: GrantEffect) -> list[Grant]:
    """Those that count, the oldest first."""
    found = [
        grant
        for grant in request.grants
        if grant.effect is effect
        and is_in_force(grant, request.now)
        and reaches(grant, request.conversation_id, request.project_id, request.user_id)
    ]
    return sorted(found, key=lambda grant: (grant.created_at, grant.id))


def _denied(request: PolicyRequest, call: ToolCall) -> Decision | None:
    doubt: Grant | None = None
    for grant in _grants(request, GrantEffect.DENY):
        answer = denies(grant, call)
        if answer:
            return _decision(call, Outcome.DENY, Rule.DENY_GRANT, f"{_named(grant)} is denied", grant)
        if answer is None:
            doubt = doubt or grant
    if doubt is None:
        return None
    reason = f"{_named(doubt)} is denied, and nobody can tell whether this is that"
    return _decision(call, Outcome.ASK, Rule.DENY_UNCLEAR, reason, doubt)


def _named(grant: Grant) -> str:
    return grant.tool_name if grant.pattern is None else f"{grant.tool_name}({grant.pattern})"


def _for_people(request: PolicyRequest, call: ToolCall) -> Decision | None:
    if call.tool in _FOR_PEOPLE:
        return _decision(call, Outcome.ASK, Rule.ASK, "It is a question to a person")
    return None


def _planned(request: PolicyRequest, call: ToolCall) -> Decision | None:
    if request.mode is not PermissionMode.PLAN or call.family not in (Family.EDIT, Family.SHELL, Family.OTHER):
        return None
    return _decision(
        call, Outcome.ASK, Rule.PLAN, "Nothing that writes or runs is allowed without asking while planning"
    )


def _granted(request: PolicyRequest, call: ToolCall) -> Decision | None:
    found = covering(_grants(request, GrantEffect.ALLOW), call)
    if not found:
        return None
    names = ", ".join(_named(grant) for grant in found)
    return _decision(call, Outcome.ALLOW, Rule.ALLOW_GRANT, f"Granted: {names}", found[0])


def _bypassed(request: PolicyRequest, call: ToolCall) -> Decision | None:
    if request.mode is not PermissionMode.BYPASS or request.bypass_until is None or request.now >= request.bypass_until:
        return None
    return _decision(call, Outcome.ALLOW, Rule.BYPASS, "Everything is allowed for a limited time")


def _edits_accepted(request: PolicyRequest, call: ToolCall) -> Decision | None:
    if request.mode is not PermissionMode.ACCEPT_EDITS or not is_plain_edit(call):
        return None
    return _decision(call, Outcome.ALLOW, Rule.ACCEPT_EDITS, "Edits below the working directory are accepted")


def _read_only(request: PolicyRequest, call: ToolCall) -> Decision | None:
    if call.risk is not Risk.LOW:
        return None
    return _decision(call, Outcome.ALLOW, Rule.READ_ONLY, call.reason)


_RULES: Final[Sequence[Callable[[PolicyRequest, ToolCall], Decision | None]]] = (
    _denied,
    _for_people,
    _planned,
    _granted,
    _bypassed,
    _edits_accepted,
    _read_only,
)
"""In the order in which they are asked."""
