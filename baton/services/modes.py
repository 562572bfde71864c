"""How a conversation's permission mode changes, whoever changes it: a person, a plan's answer, the agent, time."""

from dataclasses import replace
from datetime import datetime

from baton.core.errors import Conflict
from baton.core.events import ModeChanged
from baton.core.frames import SetMode
from baton.core.ids import BridgeId
from baton.core.models import Conversation, PermissionMode
from baton.services.drafts import Draft
from baton.services.judging import Judge, agent_mode


def change_mode(draft: Draft, mode: PermissionMode, *, by: str, bypass_until: datetime | None = None) -> None:
    """Draft the new mode: for the conversation, for its active run, and for the agent's own program.

    `bypass_until` goes with `bypassPermissions` alone; the mode before that is kept, and comes back when it ends.
    """
    conversation = draft.memory.conversation
    before = None
    if mode is PermissionMode.BYPASS:
        was_bypassing = conversation.permission_mode is PermissionMode.BYPASS
        before = conversation.mode_before if was_bypassing else conversation.permission_mode
    draft.store_conversation(replace(conversation, permission_mode=mode, bypass_until=bypass_until, mode_before=before))
    draft.tell(ModeChanged(mode, by))
    active = draft.memory.active()
    if active is None or active.run.bridge_id is None:
        return
    # Kept with the run too: a bridge that is away is told when it says hello (`intake`).
    run = replace(active.run, request=replace(active.run.request, permission_mode=mode))
    draft.store_run(run, {run.status})
    draft.send(active.run.bridge_id, SetMode(request_id=run.request_id, mode=agent_mode(mode)))


def end_bypass(draft: Draft) -> None:
    """Draft that the time of `bypassPermissions` is over."""
    change_mode(draft, lasting_mode(draft.memory.conversation), by="timeout")


def lasting_mode(conversation: Conversation) -> PermissionMode:
    """The mode that is left once `bypassPermissions` is over: what a copy begins in, because it allows nothing anew."""
    if conversation.permission_mode is PermissionMode.BYPASS:
        return conversation.mode_before or PermissionMode.DEFAULT
    return conversation.permission_mode


def check_bypass(judge: Judge, mode: PermissionMode | None, bridge_id: BridgeId | None) -> None:
    """Raises Conflict where the mode is `bypassPermissions`, and the bridge (None: every one) does not allow it."""
    if mode is PermissionMode.BYPASS and not judge.allows_bypass(bridge_id):
        raise Conflict(
            "The bridge does not allow bypassPermissions; start it with --allow-bypass on (BATON_ALLOW_BYPASS)"
        )
