"""The rules of reading one conversation: its lane, what changed, its history, its documents, its end."""

from collections.abc import Sequence
from dataclasses import replace

import orjson
import pytest

from baton.core.ids import ConversationId, RequestId, new_object_id
from baton.core.models import (
    Conversation,
    ConversationState,
    ConversationStatus,
    Failure,
    Message,
    MessageStatus,
    PermissionMode,
    PlanEntry,
    PromptResponse,
    PromptStatus,
    Question,
    QuestionOption,
    Role,
    Run,
    RunNotice,
    RunStatus,
    TextBlock,
    ThinkingBlock,
    ToolStatus,
    ToolUseBlock,
    Usage,
)
from baton.core.permissions import Decision, GrantId, Outcome, Risk, Rule
from baton.core.ports import Store
from baton.core.stored import Change, Committed, Known, PromptMove, StoredMessage
from baton.core.text import Json
from baton.schemas.codec import to_wire_json
from baton.testing import samples
from baton.testing.store_rules_commit import commit_one, finished_message, move, row_of, started

DIFFICULT_TEXT = "Zürich, 東京 👩‍👩‍👧 \0 \u2028 \\u0000 \"quotes\" 'and' % _ end"
DIFFICULT_JSON: Json = {
    "max": 2**63 - 1,
    "min": -(2**63),
    "list": [1, 2.5, None, True, {"": "\0"}],
    "text": DIFFICULT_TEXT,
}


async def filled(store: Store, count: int) -> tuple[Conversation, list[Message]]:
    """A conversation with `count` messages: ordinals 1 to count, seqs the same."""
    conversation = replace(samples.conversation(), seq=count, ordinal=count)
    messages = [
        samples.message(conversation.id, ordinal=n, seq=n, content=f"line {n}", created_at=samples.at(n))
        for n in range(1, count + 1)
    ]
    change = Change(conversation_id=conversation.id, conversation=conversation, is_new=True, messages=tuple(messages))
    assert await commit_one(store, change) == Committed()
    return conversation, messages


def ordinals(page: Sequence[StoredMessage]) -> list[int]:
    """The ordinals of a page, as they came."""
    return [stored.ordinal for stored in page]


async def opened_prompt(store: Store, run: Run, **fields: object) -> PromptMove:
    """A stored prompt of this run."""
    opened = PromptMove(prompt=samples.prompt(run.conversation_id, run.request_id, **fields), expect=None)
    conversation = await store.conversation(run.conversation_id)
    assert conversation is not None
    changed = replace(conversation, seq=max(conversation.seq, opened.prompt.seq))
    change = Change(conversation_id=run.conversation_id, conversation=changed, prompts=(opened,))
    assert await commit_one(store, change) == Committed()
    return opened


class ReadRules:
    """What stands in the store comes back as it was written, in order, and no more than asked for."""

    # --- documents

    async def test_a_full_conversation_comes_back_equal(self, store: Store) -> None:
        full = samples.conversation(
            project_id=samples.project().id,
            title=DIFFICULT_TEXT,
            status=ConversationStatus.DELETED,
            agent="claude",
            model="opus",
            permission_mode=PermissionMode.ACCEPT_EDITS,
            bridge_id="bridge",
            working_directory="/work",
            claude_session_id="session",
            seq=2**40,
            state=ConversationState.AWAITING_INPUT,
            usage=Usage(1, 2, 3, 4),
            cost_usd=0.125,
            ordinal=9,
            queue_paused=True,
            queue_reason="failed",
            deleted_at=samples.at(5.678),
            fork_session=True,
            bypass_until=samples.at(60),
            mode_before=PermissionMode.PLAN,
        )
        await commit_one(store, Change(conversation_id=full.id, conversation=full, is_new=True))
        assert await store.conversation(full.id) == full

    async def test_a_full_message_comes_back_equal(self, store: Store) -> None:
        conversation, run = await started(store)
        full = finished_message(
            conversation,
            run,
            content=DIFFICULT_TEXT,
            blocks=(
                ThinkingBlock("hm"),
                TextBlock(DIFFICULT_TEXT),
                ToolUseBlock(
                    id="t",
                    name="Bash",
                    input=DIFFICULT_JSON,
                    status=ToolStatus.FAILED,
                    result=[DIFFICULT_JSON],
                    is_error=True,
                    started_at=samples.at(1),
                    finished_at=samples.at(2),
                ),
            ),
            attachments=(replace(samples.attachment(), user_id=None, created_at=None),),
            claude_data=DIFFICULT_JSON,
            usage=Usage(1, 2),
            error=Failure("agent_failed", "no"),
            session_id="s",
            parent_tool_use_id="p",
            claude_message_id="c",
        )
        changed = replace(conversation, seq=3, ordinal=2)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, messages=(full,)))
        assert await store.message(full.id) == full

    async def test_a_full_prompt_comes_back_equal(self, store: Store) -> None:
        _, run = await started(store)
        opened = await opened_prompt(
            store,
            run,
            seq=2,
            input=DIFFICULT_JSON,
            message=DIFFICULT_TEXT,
            questions=(Question(id="q", question="?", multi_select=True, options=(QuestionOption(label="a"),)),),
            response=PromptResponse(message="m", answers={"q": ["a", "b"]}),
            timeout_at=samples.at(60),
            stage=2,
            stage_at=samples.at(30),
            seen_until=samples.at(20),
            decision=Decision(
                outcome=Outcome.ASK,
                rule=Rule.DENY_UNCLEAR,
                reason=DIFFICULT_TEXT,
                risk=Risk.CRITICAL,
                grant_id=GrantId(new_object_id()),
            ),
        )
        assert await store.prompt(opened.prompt.id) == opened.prompt

    async def test_what_is_not_there_is_none(self, store: Store) -> None:
        unknown = samples.conversation()
        message = samples.message(unknown.id)
        assert await store.conversation(unknown.id) is None
        assert await store.message(message.id) is None
        assert await store.run(samples.new_request_id()) is None
        assert await store.prompt(samples.prompt(unknown.id, samples.new_request_id()).id) is None
        assert await store.load_lane(unknown.id) is None
        assert list(await store.history(unknown.id)) == []

    # --- lane

    async def test_a_lane_holds_the_open_runs_in_queue_order(self, store: Store) -> None:
        conversation, first = await started(store)
        sends = []
        for position in (3.0, 1.0, 2.0):
            send = samples.send(conversation, position=position, queued_at=samples.at(10 - position))
            assert await commit_one(store, send) == Committed()
            assert send.conversation is not None
            assert send.new_run is not None
            conversation = send.conversation
            sends.append(send.new_run)
        lane = await store.load_lane(conversation.id)
        assert lane is not None
        assert lane.runs == (first, sends[1], sends[2], sends[0])
        assert lane.conversation == conversation

    async def test_a_lane_holds_nothing_of_runs_that_ended(self, store: Store) -> None:
        conversation, run = await started(store)
        await commit_one(store, row_of(run, 2))
        await opened_prompt(store, run, seq=3)
        spoken = finished_message(conversation, run)
        changed = replace(conversation, seq=3, ordinal=2)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, messages=(spoken,)))
        await commit_one(store, move(changed, replace(run, status=RunStatus.FAILED, seq=4), RunStatus.QUEUED))
        lane = await store.load_lane(conversation.id)
        assert lane is not None
        assert (lane.runs, lane.prompts, lane.journal, lane.messages) == ((), (), (), ())

    async def test_a_lane_counts_on_from_the_journal(self, store: Store) -> None:
        conversation, run = await started(store)
        await commit_one(store, row_of(run, 2))
        await commit_one(store, row_of(run, 17, bridge_seq=3))
        lane = await store.load_lane(conversation.id)
        assert lane is not None
        assert lane.conversation == replace(conversation, seq=17)
        assert [row.seq for row in lane.journal] == [2, 17]

    async def test_a_lane_holds_what_the_assistant_said_in_open_runs(self, store: Store) -> None:
        conversation, run = await started(store)
        spoken = tuple(
            finished_message(conversation, run, ordinal=ordinal, covers_bridge_seq=10 - ordinal) for ordinal in (4, 3)
        )
        changed = replace(conversation, seq=3, ordinal=4)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, messages=spoken))
        lane = await store.load_lane(conversation.id)
        assert lane is not None
        assert lane.messages == (spoken[1], spoken[0])

    async def test_a_lane_holds_prompts_of_open_runs_in_any_status(self, store: Store) -> None:
        _, run = await started(store)
        pending = await opened_prompt(store, run, seq=2)
        answered = await opened_prompt(store, run, seq=3, status=PromptStatus.ANSWERED, selected_option="deny")
        lane = await store.load_lane(run.conversation_id)
        assert lane is not None
        assert {prompt.id: prompt for prompt in lane.prompts} == {
            pending.prompt.id: pending.prompt,
            answered.prompt.id: answered.prompt,
        }

    async def test_conversations_with_an_open_run_are_named_once(self, store: Store) -> None:
        conversation, _ = await started(store)
        await commit_one(store, samples.send(conversation))
        other, run = await started(store)
        await commit_one(store, move(other, replace(run, status=RunStatus.COMPLETED), RunStatus.QUEUED))
        named = list(await store.open_conversations())
        assert named.count(conversation.id) == 1
        assert other.id not in named

    async def test_there_is_nothing_to_repair_in_a_sound_store(self, store: Store) -> None:
        conversation, run = await started(store)
        await store.repair()
        assert await store.repair() == 0
        assert await store.run(run.request_id) is not None
        assert ordinals(await store.history(conversation.id)) == [1]

    # --- what changed

    async def test_changes_are_those_above_a_seq(self, store: Store) -> None:
        conversation, messages = await filled(store, 5)
        changes = await store.changes_after(conversation.id, 3, 100)
        assert [(stored.id, stored.seq) for stored in changes.messages] == [(messages[3].id, 4), (messages[4].id, 5)]
        assert not changes.has_more

    async def test_changed_messages_come_by_ordinal(self, store: Store) -> None:
        conversation, messages = await filled(store, 3)
        touched = replace(messages[0], seq=9)
        changed = replace(conversation, seq=9)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, messages=(touched,)))
        changes = await store.changes_after(conversation.id, 1, 100)
        assert [(stored.ordinal, stored.seq) for stored in changes.messages] == [(1, 9), (2, 2), (3, 3)]

    async def test_more_changes_than_the_limit_give_the_newest(self, store: Store) -> None:
        conversation, _ = await filled(store, 6)
        changes = await store.changes_after(conversation.id, 2, 3)
        assert ordinals(changes.messages) == [4, 5, 6]
        assert changes.has_more

    async def test_just_as_many_changes_as_the_limit_are_all(self, store: Store) -> None:
        conversation, _ = await filled(store, 6)
        changes = await store.changes_after(conversation.id, 3, 3)
        assert ordinals(changes.messages) == [4, 5, 6]
        assert not changes.has_more

    async def test_changes_after_nothing_are_the_newest_messages(self, store: Store) -> None:
        conversation, _ = await filled(store, 6)
        changes = await store.changes_after(conversation.id, 0, 4)
        assert ordinals(changes.messages) == [3, 4, 5, 6]
        assert changes.has_more

    async def test_changes_hold_runs_and_prompts_above_the_seq_in_any_status(self, store: Store) -> None:
        conversation, run = await started(store)
        ended = replace(run, status=RunStatus.COMPLETED, seq=5)
        await opened_prompt(store, run, seq=2)
        answered = await opened_prompt(store, run, seq=4, status=PromptStatus.ANSWERED)
        await commit_one(store, move(conversation, ended, RunStatus.QUEUED))
        changes = await store.changes_after(conversation.id, 3, 100)
        assert changes.runs == (ended,)
        assert changes.prompts == (answered.prompt,)
        assert changes.messages == ()

    async def test_changes_after_nothing_hold_open_runs_and_pending_prompts_only(self, store: Store) -> None:
        conversation, run = await started(store)
        await commit_one(store, move(conversation, replace(run, status=RunStatus.FAILED, seq=2), RunStatus.QUEUED))
        send = samples.send(replace(conversation, seq=2))
        await commit_one(store, send)
        assert send.new_run is not None
        pending = await opened_prompt(store, send.new_run, seq=4)
        await opened_prompt(store, send.new_run, seq=5, status=PromptStatus.CANCELLED)
        changes = await store.changes_after(conversation.id, 0, 100)
        assert changes.runs == (send.new_run,)
        assert changes.prompts == (pending.prompt,)

    async def test_runs_of_a_page_are_the_wire_json_of_those_that_are_the_conversations_own(self, store: Store) -> None:
        conversation, run = await started(store)
        ended = replace(
            run,
            status=RunStatus.FAILED,
            seq=2,
            finished_at=samples.at(3),
            error=Failure("agent_failed", DIFFICULT_TEXT),
            plan=(PlanEntry(text=DIFFICULT_TEXT, status="pending"),),
            notices=(RunNotice("info", DIFFICULT_TEXT),),
        )
        await commit_one(store, move(conversation, ended, RunStatus.QUEUED))
        _, stranger = await started(store)
        named = [RequestId("unknown"), run.request_id, stranger.request_id]
        assert await store.runs_of(conversation.id, named) == {run.request_id: to_wire_json(ended)}
        assert await store.runs_of(conversation.id, []) == {}

    async def test_a_page_names_the_runs_of_its_messages(self, store: Store) -> None:
        conversation, run = await started(store)
        apart = samples.message(conversation.id, ordinal=7, seq=7, request_id=None)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=conversation, messages=(apart,)))
        assert [stored.request_id for stored in await store.history(conversation.id)] == [run.request_id, None]

    # --- history

    async def test_history_begins_with_the_newest_page_in_order(self, store: Store) -> None:
        conversation, _ = await filled(store, 7)
        assert ordinals(await store.history(conversation.id, limit=3)) == [5, 6, 7]

    async def test_history_pages_back_to_the_first_message(self, store: Store) -> None:
        conversation, _ = await filled(store, 7)
        seen: list[int] = []
        before: int | None = None
        while page := await store.history(conversation.id, before=before, limit=3):
            assert len(page) <= 3
            seen = ordinals(page) + seen
            before = page[0].ordinal
        assert seen == [1, 2, 3, 4, 5, 6, 7]

    async def test_history_pages_forth_from_an_ordinal(self, store: Store) -> None:
        conversation, _ = await filled(store, 7)
        assert ordinals(await store.history(conversation.id, after=2, limit=3)) == [3, 4, 5]
        assert ordinals(await store.history(conversation.id, after=5, limit=3)) == [6, 7]
        assert ordinals(await store.history(conversation.id, after=7, limit=3)) == []

    async def test_history_is_of_one_conversation(self, store: Store) -> None:
        conversation, messages = await filled(store, 2)
        await filled(store, 4)
        assert [stored.id for stored in await store.history(conversation.id)] == [message.id for message in messages]

    async def test_history_serves_the_wire_json_byte_for_byte(self, store: Store) -> None:
        conversation, run = await started(store)
        spoken = finished_message(
            conversation, run, content=DIFFICULT_TEXT, claude_data=DIFFICULT_JSON, attachments=(samples.attachment(),)
        )
        changed = replace(conversation, seq=3, ordinal=2)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, messages=(spoken,)))
        page = await store.history(conversation.id, after=1)
        assert [stored.json for stored in page] == [to_wire_json(spoken)]
        changes = await store.changes_after(conversation.id, 2, 10)
        assert [stored.json for stored in changes.messages] == [to_wire_json(spoken)]
        assert "coversBridgeSeq" not in orjson.loads(page[0].json)

    async def test_a_message_of_megabytes_is_kept(self, store: Store) -> None:
        conversation, run = await started(store)
        large = finished_message(conversation, run, content="é👋 " * 500_000, blocks=())
        changed = replace(conversation, seq=3, ordinal=2)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, messages=(large,)))
        assert await store.message(large.id) == large

    @pytest.mark.parametrize("status", [MessageStatus.STREAMING, MessageStatus.DISCARDED, MessageStatus.ABORTED])
    async def test_history_holds_messages_of_every_status(self, store: Store, status: MessageStatus) -> None:
        conversation, run = await started(store)
        spoken = finished_message(conversation, run, status=status)
        changed = replace(conversation, seq=3, ordinal=2)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, messages=(spoken,)))
        assert ordinals(await store.history(conversation.id)) == [1, 2]

    # --- the end of a conversation

    async def test_a_purged_conversation_is_gone(self, store: Store) -> None:
        conversation, run = await started(store, title="perishable")
        opened = await opened_prompt(store, run, seq=2)
        await commit_one(store, row_of(run, 3))
        await store.purge_conversation(conversation.id)
        assert await store.conversation(conversation.id) is None
        assert await store.load_lane(conversation.id) is None
        assert list(await store.history(conversation.id)) == []
        assert await store.message(run.message_ids[0]) is None
        assert await store.prompt(opened.prompt.id) is None
        assert (await store.search("perishable")).items == ()
        assert conversation.id not in await store.open_conversations()

    async def test_of_a_purged_run_stays_what_answers_its_request_again(self, store: Store) -> None:
        conversation, run = await started(store)
        await store.purge_conversation(conversation.id)
        kept = await store.run(run.request_id)
        assert kept is not None
        assert (kept.request_id, kept.user_id, kept.digest, kept.answer) == (
            run.request_id,
            run.user_id,
            run.digest,
            run.answer,
        )
        assert kept.request.content == ""
        assert kept.user_message is None

    async def test_the_request_of_a_purged_run_is_still_known(self, store: Store) -> None:
        conversation, run = await started(store)
        await store.purge_conversation(conversation.id)
        again = samples.send(samples.conversation(), is_new=True, request_id=run.request_id)
        assert await commit_one(store, again) == Known()
        assert await store.conversation(again.conversation_id) is None

    async def test_purging_twice_or_nothing_is_harmless(self, store: Store) -> None:
        conversation, run = await started(store)
        other, _ = await started(store)
        await store.purge_conversation(conversation.id)
        await store.purge_conversation(conversation.id)
        await store.purge_conversation(ConversationId(samples.conversation().id))
        kept = await store.run(run.request_id)
        assert kept is not None
        assert kept.answer == run.answer
        assert await store.conversation(other.id) == other

    async def test_roles_are_kept(self, store: Store) -> None:
        conversation, _ = await started(store)
        lines = tuple(
            samples.message(conversation.id, role=role, ordinal=n, seq=n) for n, role in enumerate(Role, start=2)
        )
        changed = replace(conversation, seq=4, ordinal=4)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, messages=lines))
        assert [await store.message(line.id) for line in lines] == list(lines)
