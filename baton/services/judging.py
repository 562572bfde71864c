"""Brings the policy to bear on a question of an agent: gathers what counts at this moment, and asks the rules.

The rules themselves are `policy`, which knows nothing of lanes and bridges; what follows from the decision is drafted
by `absorb` and `prompts`.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from baton.core.commands import Identity
from baton.core.errors import InvalidRequest
from baton.core.events import BridgePresence
from baton.core.frames import PromptAsked
from baton.core.ids import BridgeId, ConversationId, UserId
from baton.core.limits import Limits
from baton.core.models import PermissionMode, Prompt, PromptOption, PromptType, Run, ToolUseBlock
from baton.core.permissions import Decision, Grant, GrantScope, Outcome, Risk, Rule, worst
from baton.core.ports import BridgeLink
from baton.services import grants
from baton.services.lanes import Lanes
from baton.services.memory import LiveRun, Memory
from baton.services.policy import PolicyRequest, decide

_LASTING: Final = ("allow_session", "allow_always")
_TOOL_RULE: Final = "Tool, or Tool(pattern)"


class Judge:
    """Says what the rules make of a question, as things stand now."""

    def __init__(self, lanes: Lanes, link: BridgeLink, limits: Limits) -> None:
        self._lanes = lanes
        self._link = link
        self._limits = limits

    def decide(
        self,
        memory: Memory,
        live: LiveRun,
        asked: PromptAsked | Prompt,
        now: datetime,
        *,
        drafted: Sequence[Grant] = (),
    ) -> Decision | None:
        """What becomes of this call of a tool; None for plans and questions, which are for people.

        `drafted`: grants that are stored together with what follows from the decision.
        """
        if asked.type is not PromptType.TOOL_PERMISSION:
            return None
        run, conversation = live.run, memory.conversation
        standing = self._lanes.standing.reaching(conversation.id, conversation.project_id, conversation.user_id)
        decision = decide(
            PolicyRequest(
                tool=asked.tool_name or "",
                input=asked.input,
                kind=kind_of(live, asked.tool_use_id),
                mode=mode_of(memory, run),
                bypass_until=self._bypass_until(memory, run),
                conversation_id=conversation.id,
                project_id=conversation.project_id,
                user_id=conversation.user_id,
                working_directory=self.folder(memory, run),
                grants=[*standing, *drafted, *grants_of_run(run)],
                now=now,
            )
        )
        return _with_warning(decision, asked)

    def folder(self, memory: Memory, run: Run) -> str | None:
        """Where the run works, absolute; None: not known, so that everything counts as outside.

        As it was dispatched: its bridge may have gone since, and what is asked is judged the same.
        """
        folder = run.folder or run.request.working_directory or memory.conversation.working_directory
        if folder is None:  # an agent that goes on by itself
            bridge = self._bridge(run.bridge_id)
            folder = bridge.workspaces[0].path if bridge is not None and bridge.workspaces else None
        return folder if folder is not None and folder.startswith("/") else None

    def options(self, memory: Memory, live: LiveRun, prompt: Prompt) -> tuple[PromptOption, ...]:
        """What a person may answer: "always" is offered where it can be kept, and only there.

        What lasts is kept here as a grant and never by the agent, so it is offered for every agent that can allow
        a call once.
        """
        if prompt.type is not PromptType.TOOL_PERMISSION:
            return prompt.options
        names = [option.id for option in prompt.options]
        if "allow_once" not in names:
            return prompt.options
        kept = [option for option in prompt.options if option.id not in _LASTING]
        if not self.lasting_grants(memory, live, prompt, "allow_session", by=None, now=prompt.created_at):
            return tuple(kept)
        given = {option.id: option for option in (*DEFAULT_LASTING, *prompt.options)}
        at = [option.id for option in kept].index("allow_once") + 1
        return (*kept[:at], *(given[name] for name in _LASTING), *kept[at:])

    def lasting_grants(
        self, memory: Memory, live: LiveRun, prompt: Prompt, option: str, *, by: Identity | None, now: datetime
    ) -> Sequence[Grant]:
        """The grants that this answer leaves behind. `by`: who answers; None: nobody has yet."""
        kind, folder = kind_of(live, prompt.tool_use_id), self.folder(memory, live.run)
        return grants.grants_from_answer(
            prompt,
            option,
            kind=kind,
            folder=folder,
            by=by.user_id if by else None,
            bound_to=grants.bound_to(by) if by else None,
            now=now,
        )

    def allows_bypass(self, bridge_id: BridgeId | None) -> bool:
        """Whether this bridge (None: any that is there) lets agents go on without asking."""
        return any(bridge.allow_bypass for bridge in self._link.presence() if bridge_id in (None, bridge.id))

    def _bypass_until(self, memory: Memory, run: Run) -> datetime | None:
        if run.bridge_id is None or not self.allows_bypass(run.bridge_id):
            return None
        conversation = memory.conversation
        if conversation.permission_mode is PermissionMode.BYPASS:
            return conversation.bypass_until
        return (run.dispatched_at or run.queued_at) + timedelta(seconds=self._limits.bypass_s)

    def _bridge(self, bridge_id: BridgeId | None) -> BridgePresence | None:
        return next((bridge for bridge in self._link.presence() if bridge.id == bridge_id), None)


DEFAULT_LASTING: Final = (
    PromptOption(id="allow_session", label="Allow in this conversation", kind="allow_always"),
    PromptOption(id="allow_always", label="Always allow", kind="allow_always"),
)


def mode_of(memory: Memory, run: Run) -> PermissionMode:
    """The mode that counts for a run: its own, else its conversation's."""
    return run.request.permission_mode or memory.conversation.permission_mode


def agent_mode(mode: PermissionMode) -> PermissionMode:
    """The mode that the agent's own program runs in: one in which it asks, because the server decides."""
    return PermissionMode.PLAN if mode is PermissionMode.PLAN else PermissionMode.DEFAULT


def kind_of(live: LiveRun, tool_use_id: str | None) -> str | None:
    """What the agent said that this tool does (read, edit, ...); None: it did not say."""
    for message in live.transcript.live() if tool_use_id is not None else ():
        for slot in message.slots:
            if isinstance(slot, ToolUseBlock) and slot.id == tool_use_id:
                return slot.kind
    return None


def grants_of_run(run: Run) -> Sequence[Grant]:
    """What `allowedTools` of a send allows, in this run only. Rules that are none allow nothing."""
    found = []
    for rule in run.request.allowed_tools:
        try:
            found.append(_run_grant(rule, run.conversation_id, run.queued_at, run.user_id))
        except InvalidRequest:
            continue
    return found


def check_allowed_tools(rules: Sequence[str], now: datetime) -> None:
    """Raises InvalidRequest that names the rules of `allowedTools` which are none."""
    wrong = []
    for rule in rules:
        try:
            _run_grant(rule, ConversationId(""), now, None)
        except InvalidRequest:
            wrong.append(f"{rule[:100]!r} is no rule; a rule is {_TOOL_RULE}.")
    if wrong:
        raise InvalidRequest("allowedTools holds what is no rule", fields={"allowedTools": wrong})


def _run_grant(rule: str, conversation_id: ConversationId, at: datetime, by: UserId | None) -> Grant:
    tool, has_pattern, rest = rule.partition("(")
    if has_pattern and not rest.endswith(")"):
        raise InvalidRequest(f"A rule is {_TOOL_RULE}")
    return grants.new_grant(
        scope=GrantScope.CONVERSATION,
        conversation_id=conversation_id,
        tool_name=tool,
        pattern=rest[:-1] if has_pattern else None,
        by=by,
        now=at,
    )


def _with_warning(decision: Decision, asked: PromptAsked | Prompt) -> Decision:
    """What its bridge says of the risk can make a call worse, never better; then its reading is asked about too."""
    told = asked.risk if isinstance(asked, PromptAsked) else asked.risk_level
    warned = Risk(told.upper()) if told and told.upper() in list(Risk) else Risk.LOW
    risk = worst((decision.risk, warned))
    if decision.rule is Rule.READ_ONLY and risk is not Risk.LOW:
        reason = "Its bridge says that it is more than reading"
        return replace(decision, outcome=Outcome.ASK, rule=Rule.ASK, reason=reason, risk=risk)
    return replace(decision, risk=risk)
