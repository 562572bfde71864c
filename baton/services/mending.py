"""Mends what of the findings of `services.integrity` is safe to mend: nothing that anybody wrote is removed.

For whoever has the lease of the database. Every change of a conversation goes through `Store.commit` with a new seq, as
a server's does, so that browsers that come back are told of it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from baton.core.errors import Conflict
from baton.core.ids import ConversationId, PromptId
from baton.core.lifecycle import conversation_state, end_prompt, is_active
from baton.core.models import ConversationState, Prompt, PromptStatus, Run, RunStatus
from baton.core.ports import Clock, Store
from baton.core.records import Kind, Records
from baton.core.stored import Change, Committed, PromptMove
from baton.services.integrity import Findings, Progress, look

_RUNS_AT_ONCE: Final = 100
_MESSAGES_AT_ONCE: Final = 500
_COUNTED: Final = (Kind.MESSAGE, Kind.RUN, Kind.PROMPT)


async def mend(findings: Findings, *, records: Records, store: Store, clock: Clock) -> None:
    """Mend what `integrity.MEANINGS` says is mended, as far as the findings name it."""
    await store.repair()
    await records.shape()
    empty = findings.ids("message_without_data")
    for start in range(0, len(empty), _MESSAGES_AT_ONCE):
        await records.clear_data(empty[start : start + _MESSAGES_AT_ONCE])
    if findings.ids("journal_orphan") or findings.ids("journal_ended"):
        await _remove_journals(store)
    await _mend_conversations(findings, records, store, clock)


async def settle(
    records: Records, store: Store, clock: Clock, progress: Progress, conversation_id: ConversationId | None = None
) -> None:
    """What was just filled in, or one conversation of it, fits together as far as that can be mended.

    An export of a database that was written meanwhile is of no one moment: a conversation may be older in it than
    its messages, and an end may lack its beginning.
    """
    await mend(
        await look(records, progress, conversation_id=conversation_id), records=records, store=store, clock=clock
    )


async def _remove_journals(store: Store) -> None:
    after: str | None = None
    while True:
        swept = await store.remove_ended_journals(_RUNS_AT_ONCE, after)
        if swept.next is None:
            return
        after = swept.next


async def _mend_conversations(findings: Findings, records: Records, store: Store, clock: Clock) -> None:
    waiting: dict[str, list[Prompt]] = {}
    for prompt_id in findings.ids("prompt_of_ended_run"):
        prompt = await store.prompt(PromptId(prompt_id))
        if prompt is not None and prompt.status is PromptStatus.PENDING:
            waiting.setdefault(prompt.conversation_id, []).append(prompt)
    wrong = [one for code in ("state_wrong", "seq_behind", "ordinal_behind") for one in findings.ids(code)]
    for conversation_id in sorted({*waiting, *wrong}):
        change = await _change(ConversationId(conversation_id), waiting.get(conversation_id, ()), records, store, clock)
        if change is None:
            continue
        (outcome,) = await store.commit([change])
        if not isinstance(outcome, Committed):
            raise Conflict(f"The conversation {conversation_id} could not be mended: look again")


async def _change(
    conversation_id: ConversationId, prompts: Sequence[Prompt], records: Records, store: Store, clock: Clock
) -> Change | None:
    """The conversation as its parts say it is, and its prompts ended; None: it went away meanwhile."""
    lane = await store.load_lane(conversation_id)
    if lane is None:
        return None
    seq, ordinal = await _greatest(conversation_id, records)
    seq = max(seq, lane.conversation.seq)
    now = clock.now()
    moves = []
    for prompt in prompts:
        seq += 1
        ended = replace(end_prompt(prompt, PromptStatus.CANCELLED, handler="cleanup", at=now), seq=seq)
        moves.append(PromptMove(prompt=ended, expect=PromptStatus.PENDING))
    conversation = replace(
        lane.conversation,
        seq=seq + 1,
        ordinal=max(ordinal, lane.conversation.ordinal),
        state=_state(lane.runs, lane.conversation.state),
    )
    return Change(conversation_id=conversation_id, conversation=conversation, prompts=tuple(moves))


async def _greatest(conversation_id: ConversationId, records: Records) -> tuple[int, int]:
    """The greatest seq and ordinal of what the conversation holds."""
    seq = ordinal = 0
    for kind in _COUNTED:
        async for record in records.scan(kind, conversation_id=conversation_id):
            document = record.document or {}
            seq = max(seq, int(document.get("seq") or 0))
            ordinal = max(ordinal, int(document.get("ordinal") or 0))
    return seq, ordinal


def _state(open_runs: Sequence[Run], before: ConversationState) -> ConversationState:
    active = [run for run in open_runs if is_active(run)]
    head = next(iter([*active, *open_runs]), None)
    has_failed = before is ConversationState.FAILED
    return conversation_state(head, RunStatus.FAILED if has_failed else None)
