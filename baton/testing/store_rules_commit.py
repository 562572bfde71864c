"""The rules of `Store.commit`: outcomes, atomicity, compare-and-set, the journal."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from baton.core.errors import LeaseLost
from baton.core.ids import ConversationId, MessageId, RequestId
from baton.core.lifecycle import OPEN_RUN
from baton.core.models import Conversation, Message, MessageStatus, PromptStatus, Role, Run, RunStatus, TextBlock
from baton.core.ports import Store
from baton.core.stored import (
    Change,
    Committed,
    JournalRow,
    JournalTrim,
    Known,
    Lost,
    Outcome,
    PromptMove,
    Refused,
    RunMove,
)
from baton.core.stream import MessageDone, MessageStarted, TextDelta, ToolDone, ToolInput, ToolStarted
from baton.testing import samples

LONE_SURROGATE = "\ud800"
"""No store can hold it, so it stands for every value that got past the edge and cannot be stored."""


async def commit_one(store: Store, change: Change) -> Outcome:
    """The outcome of a call with this one change."""
    (outcome,) = await store.commit([change])
    return outcome


async def started(store: Store, **fields: object) -> tuple[Conversation, Run]:
    """A stored conversation with one stored send."""
    change = samples.send(samples.conversation(**fields), is_new=True)
    assert await commit_one(store, change) == Committed()
    assert change.conversation is not None
    assert change.new_run is not None
    return change.conversation, change.new_run


def row_of(run: Run, seq: int, **fields: object) -> Change:
    """A change that is one bare journal row, as most are."""
    row = samples.journal_row(run.conversation_id, run.request_id, seq=seq, **fields)
    return Change(conversation_id=run.conversation_id, journal=row)


def refused_row(run: Run, seq: int) -> Change:
    """A bare journal row that cannot be stored."""
    return row_of(run, seq, events=(TextDelta("m", 0, 0, LONE_SURROGATE),))


async def journal_of(store: Store, conversation_id: ConversationId) -> tuple[JournalRow, ...]:
    """What stands in the journal for the open runs."""
    lane = await store.load_lane(conversation_id)
    assert lane is not None
    return lane.journal


class CommitRules:
    """`commit` stores each change, all of it or nothing, and says for each what happened."""

    async def test_a_send_is_stored_whole(self, store: Store) -> None:
        change = samples.send(samples.conversation(), is_new=True, content="Good morning")
        assert await store.commit([change]) == [Committed()]
        assert change.new_run is not None
        assert await store.conversation(change.conversation_id) == change.conversation
        assert await store.run(change.new_run.request_id) == change.new_run
        assert await store.message(change.messages[0].id) == change.messages[0]

    async def test_nothing_to_commit_is_no_error(self, store: Store) -> None:
        assert list(await store.commit([])) == []

    async def test_the_same_request_again_is_known_and_writes_nothing(self, store: Store) -> None:
        conversation, run = await started(store)
        again = samples.send(conversation, request_id=run.request_id, content="other")
        assert await commit_one(store, again) == Known()
        assert await store.run(run.request_id) == run
        assert await store.message(again.messages[0].id) is None
        assert await store.conversation(conversation.id) == conversation

    async def test_a_request_known_in_another_conversation_is_known(self, store: Store) -> None:
        _, run = await started(store)
        elsewhere = samples.send(samples.conversation(), is_new=True, request_id=run.request_id)
        assert await commit_one(store, elsewhere) == Known()
        assert await store.conversation(elsewhere.conversation_id) is None

    async def test_of_two_equal_requests_at_once_one_is_known(self, store: Store) -> None:
        request_id = samples.new_request_id()
        sends = [samples.send(samples.conversation(), is_new=True, request_id=request_id) for _ in range(4)]
        outcomes = await asyncio.gather(*(commit_one(store, change) for change in sends))
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Committed", "Known", "Known", "Known"]

    async def test_a_new_conversation_that_exists_is_known(self, store: Store) -> None:
        conversation, _ = await started(store)
        twin = replace(conversation, title="twin", seq=9)
        change = Change(conversation_id=twin.id, conversation=twin, is_new=True)
        assert await commit_one(store, change) == Known()
        assert await store.conversation(conversation.id) == conversation

    async def test_a_conversation_is_replaced_whole(self, store: Store) -> None:
        conversation, _ = await started(store, title="old", claude_session_id="s1")
        changed = replace(conversation, title="new", claude_session_id=None, seq=7, queue_paused=True)
        change = Change(conversation_id=conversation.id, conversation=changed)
        assert await commit_one(store, change) == Committed()
        assert await store.conversation(conversation.id) == changed

    async def test_a_message_is_replaced_by_its_id(self, store: Store) -> None:
        conversation, run = await started(store)
        first = samples.message(conversation.id, request_id=run.request_id, ordinal=2, seq=2, content="Hel")
        last = replace(first, content="Hello", blocks=(TextBlock("Hello"),), seq=3, covers_bridge_seq=8)
        for message in (first, last):
            change = Change(
                conversation_id=conversation.id,
                conversation=replace(conversation, seq=message.seq, ordinal=2),
                messages=(message,),
            )
            assert await commit_one(store, change) == Committed()
        assert await store.message(first.id) == last
        assert [stored.seq for stored in await store.history(conversation.id)] == [1, 3]

    # --- compare and set

    async def test_a_run_moves_from_an_expected_status(self, store: Store) -> None:
        conversation, run = await started(store)
        moved = replace(run, status=RunStatus.RUNNING, seq=2, bridge_seq=4, user_message=None)
        assert await commit_one(store, move(conversation, moved, RunStatus.QUEUED)) == Committed()
        assert await store.run(run.request_id) == moved

    async def test_a_run_that_is_past_the_expected_status_is_lost(self, store: Store) -> None:
        conversation, run = await started(store)
        done = replace(run, status=RunStatus.ABORTED, seq=2, finished_at=samples.at(9))
        await commit_one(store, move(conversation, done, *OPEN_RUN))
        late = replace(run, status=RunStatus.COMPLETED, seq=3)
        assert await commit_one(store, move(conversation, late, *OPEN_RUN)) == Lost()
        assert await store.run(run.request_id) == done

    async def test_a_move_of_an_unknown_run_is_lost(self, store: Store) -> None:
        conversation, _ = await started(store)
        unknown = samples.run(conversation.id, status=RunStatus.RUNNING)
        assert await commit_one(store, move(conversation, unknown, *OPEN_RUN)) == Lost()
        assert await store.run(unknown.request_id) is None

    async def test_of_many_that_end_a_run_one_wins(self, store: Store) -> None:
        conversation, run = await started(store)
        ends = [
            replace(run, status=status, seq=2)
            for status in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.ABORTED, RunStatus.COMPLETED)
        ]
        outcomes = await asyncio.gather(*(commit_one(store, move(conversation, end, *OPEN_RUN)) for end in ends))
        assert [type(outcome) for outcome in outcomes].count(Committed) == 1
        winner = ends[[type(outcome) for outcome in outcomes].index(Committed)]
        assert await store.run(run.request_id) == winner

    async def test_a_prompt_is_opened_once(self, store: Store) -> None:
        conversation, run = await started(store)
        prompt = samples.prompt(conversation.id, run.request_id, seq=2)
        opened = Change(
            conversation_id=conversation.id,
            conversation=replace(conversation, seq=2),
            prompts=(PromptMove(prompt=prompt, expect=None),),
        )
        assert await commit_one(store, opened) == Committed()
        assert await commit_one(store, opened) == Lost()
        assert await store.prompt(prompt.id) == prompt

    async def test_of_many_answers_to_a_prompt_one_wins(self, store: Store) -> None:
        conversation, run = await started(store)
        prompt = samples.prompt(conversation.id, run.request_id, seq=2)
        opened = PromptMove(prompt=prompt, expect=None)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=conversation, prompts=(opened,)))
        answers = [
            replace(prompt, status=PromptStatus.ANSWERED, selected_option=f"option {n}", seq=3) for n in range(4)
        ]
        outcomes = await asyncio.gather(
            *(
                commit_one(
                    store,
                    Change(
                        conversation_id=conversation.id,
                        conversation=replace(conversation, seq=3),
                        prompts=(PromptMove(prompt=answer, expect=PromptStatus.PENDING),),
                    ),
                )
                for answer in answers
            )
        )
        kinds = [type(outcome) for outcome in outcomes]
        assert (kinds.count(Committed), kinds.count(Lost)) == (1, 3)
        assert await store.prompt(prompt.id) == answers[kinds.index(Committed)]

    async def test_a_lost_change_leaves_nothing(self, store: Store) -> None:
        conversation, run = await started(store)
        message = samples.message(conversation.id, request_id=run.request_id, ordinal=2, seq=2)
        prompt = samples.prompt(conversation.id, run.request_id)
        change = Change(
            conversation_id=conversation.id,
            conversation=replace(conversation, seq=2, title="changed"),
            runs=(RunMove(run=replace(run, status=RunStatus.COMPLETED), expect=frozenset({RunStatus.RUNNING})),),
            messages=(message,),
            prompts=(PromptMove(prompt=prompt, expect=None),),
            journal=samples.journal_row(conversation.id, run.request_id, seq=2),
        )
        assert await commit_one(store, change) == Lost()
        assert await store.message(message.id) is None
        assert await store.prompt(prompt.id) is None
        assert await store.run(run.request_id) == run
        assert await store.conversation(conversation.id) == conversation
        assert await journal_of(store, conversation.id) == ()

    # --- many at once

    async def test_a_bad_change_is_refused_and_sinks_no_other(self, store: Store) -> None:
        good = samples.send(samples.conversation(), is_new=True)
        bad = samples.send(samples.conversation(), is_new=True, content=LONE_SURROGATE)
        last = samples.send(samples.conversation(), is_new=True)
        outcomes = await store.commit([good, bad, last])
        assert [type(outcome) for outcome in outcomes] == [Committed, Refused, Committed]
        assert bad.new_run is not None
        assert await store.conversation(bad.conversation_id) is None
        assert await store.run(bad.new_run.request_id) is None
        assert await store.conversation(last.conversation_id) == last.conversation

    async def test_a_bad_journal_row_is_refused_and_sinks_no_other(self, store: Store) -> None:
        runs = [(await started(store))[1] for _ in range(3)]
        outcomes = await store.commit([row_of(runs[0], 2), refused_row(runs[1], 2), row_of(runs[2], 2)])
        assert [type(outcome) for outcome in outcomes] == [Committed, Refused, Committed]
        kept = [len(await journal_of(store, run.conversation_id)) for run in runs]
        assert kept == [1, 0, 1]

    async def test_each_change_of_a_call_has_its_own_outcome_in_order(self, store: Store) -> None:
        conversation, run = await started(store)
        _, other = await started(store)
        changes = [
            samples.send(conversation, request_id=run.request_id),
            row_of(other, 2),
            move(conversation, replace(run, status=RunStatus.COMPLETED), RunStatus.RUNNING),
            samples.send(samples.conversation(), is_new=True),
        ]
        assert list(await store.commit(changes)) == [Known(), Committed(), Lost(), Committed()]

    async def test_calls_take_effect_in_the_order_they_were_made(self, store: Store) -> None:
        conversation, _ = await started(store)
        message_id = MessageId(samples.message(conversation.id).id)

        def version(number: int) -> Change:
            message = samples.message(conversation.id, id=message_id, ordinal=2, seq=number, content=str(number))
            changed = replace(conversation, seq=number, title=str(number))
            return Change(conversation_id=conversation.id, conversation=changed, messages=(message,))

        await asyncio.gather(*(store.commit([version(number)]) for number in range(2, 32)))
        final = await store.message(message_id)
        assert final is not None
        assert final.content == "31"
        kept = await store.conversation(conversation.id)
        assert kept is not None
        assert kept.title == "31"

    async def test_many_conversations_write_at_once(self, store: Store) -> None:
        runs = [(await started(store))[1] for _ in range(5)]
        for seq in range(2, 6):
            outcomes = await store.commit([row_of(run, seq) for run in runs])
            assert list(outcomes) == [Committed()] * 5
        for run in runs:
            assert [row.seq for row in await journal_of(store, run.conversation_id)] == [2, 3, 4, 5]

    # --- journal

    async def test_a_journal_row_comes_back_as_it_was_written(self, store: Store) -> None:
        conversation, run = await started(store)
        events = (
            MessageStarted(message_id="m1", model="opus", claude_message_id="c1"),
            TextDelta("m1", 0, 0, "Grüße 👋 \0 end"),
            ToolStarted(message_id="m1", block=1, id="t1", name="Bash", kind="execute", title="ls"),
            ToolInput(message_id="m1", block=1, id="t1", input={"command": "ls", "n": [1, None, 2.5, True]}),
            ToolDone(message_id="m1", id="t1", result={"out": "x"}, is_error=True, block=1),
            MessageDone(message_id="m1", claude_data={"big": 2**63 - 1}),
        )
        change = row_of(run, 2, bridge_seq=7, events=events, at=samples.at(1.234))
        assert await commit_one(store, change) == Committed()
        assert await journal_of(store, conversation.id) == (change.journal,)

    async def test_a_bare_journal_row_leaves_the_conversation_as_it_was(self, store: Store) -> None:
        conversation, run = await started(store)
        await commit_one(store, row_of(run, 2))
        assert await store.conversation(conversation.id) == conversation

    async def test_the_same_seq_twice_means_that_the_lease_is_lost(self, store: Store) -> None:
        conversation, run = await started(store)
        await commit_one(store, row_of(run, 2, bridge_seq=1))
        with pytest.raises(LeaseLost):
            await store.commit([row_of(run, 2, bridge_seq=2)])
        assert [row.bridge_seq for row in await journal_of(store, conversation.id)] == [1]

    async def test_a_bridge_frame_counts_once(self, store: Store) -> None:
        conversation, run = await started(store)
        await commit_one(store, row_of(run, 2, bridge_seq=1))
        assert isinstance(await commit_one(store, row_of(run, 3, bridge_seq=1)), Refused)
        assert [row.seq for row in await journal_of(store, conversation.id)] == [2]

    async def test_trimmed_rows_are_gone_and_the_rest_stays(self, store: Store) -> None:
        conversation, run = await started(store)
        second = samples.send(conversation)
        await store.commit([second])
        assert second.new_run is not None
        for seq in range(3, 7):
            await commit_one(store, row_of(run, seq))
        await commit_one(store, row_of(second.new_run, 7, bridge_seq=1))
        trim = JournalTrim(request_id=run.request_id, up_to_bridge_seq=4)
        changed = replace(conversation, seq=8, ordinal=2)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, trims=(trim,)))
        kept = [(row.request_id, row.bridge_seq) for row in await journal_of(store, conversation.id)]
        assert kept == [(run.request_id, 5), (run.request_id, 6), (second.new_run.request_id, 1)]

    async def test_a_run_ends_in_one_change(self, store: Store) -> None:
        conversation, run = await started(store)
        await commit_one(store, row_of(run, 2))
        final = finished_message(conversation, run)
        done = replace(run, status=RunStatus.COMPLETED, seq=4, bridge_seq=3, message_ids=(*run.message_ids, final.id))
        change = Change(
            conversation_id=conversation.id,
            conversation=replace(conversation, seq=4, ordinal=2),
            runs=(RunMove(run=done, expect=OPEN_RUN),),
            messages=(final,),
            trims=(JournalTrim(request_id=run.request_id, up_to_bridge_seq=3),),
        )
        assert await commit_one(store, change) == Committed()
        assert await store.run(run.request_id) == done
        assert await store.message(final.id) == final
        lane = await store.load_lane(conversation.id)
        assert lane is not None
        assert (lane.runs, lane.journal, lane.messages) == ((), (), ())

    async def check_restart(self, store: Store, connect: Callable[[], Store]) -> None:
        """Everything written is there for a new store object, after the old one closed."""
        conversation, run = await started(store)
        await commit_one(store, row_of(run, 2))
        await store.put_project(garden := samples.project())
        await store.close()
        again = connect()
        await again.open()
        try:
            assert await again.conversation(conversation.id) == conversation
            assert await again.run(run.request_id) == run
            assert [row.seq for row in await journal_of(again, conversation.id)] == [2]
            assert await again.project(garden.id) == garden
            assert await commit_one(again, samples.send(conversation, request_id=run.request_id)) == Known()
        finally:
            await again.close()


def move(conversation: Conversation, run: Run, *expect: RunStatus) -> Change:
    """A change that stores this run where the stored one has an expected status."""
    return Change(
        conversation_id=conversation.id,
        conversation=replace(conversation, seq=run.seq),
        runs=(RunMove(run=run, expect=frozenset(expect)),),
    )


def finished_message(conversation: Conversation, run: Run, **fields: object) -> Message:
    """What the assistant said, whole."""
    return samples.message(
        conversation.id,
        **{
            "request_id": RequestId(run.request_id),
            "ordinal": 2,
            "seq": 3,
            "role": Role.ASSISTANT,
            "status": MessageStatus.COMPLETED,
            "covers_bridge_seq": 3,
            **fields,
        },
    )
