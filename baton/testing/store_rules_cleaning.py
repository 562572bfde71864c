"""The rules of what goes: attachments that nothing uses, journals of ended runs, conversations that nobody touched."""

from dataclasses import replace

import pytest

from baton.core.errors import InvalidRequest
from baton.core.ids import AttachmentId, ConversationId, new_object_id
from baton.core.models import Attachment, Conversation, ConversationStatus, RunStatus
from baton.core.ports import Store
from baton.core.stored import Change
from baton.testing import samples
from baton.testing.store_rules_commit import commit_one, move, started
from baton.testing.store_rules_lists import listed

LATER = samples.at(10**9)
"""After everything that a rule does, also where the store's clock is the real one."""
EARLIER = samples.at(-1)
"""Before it."""


async def put(store: Store, *, used_by: ConversationId | None = None) -> Attachment:
    """An attachment that was uploaded."""
    attachment = samples.attachment()
    await store.put_attachment(attachment, b"1234", used_by=used_by)
    return attachment


async def is_there(store: Store, attachment: Attachment) -> bool:
    """Whether it can be read."""
    content = await store.attachment_content(attachment.id)
    assert (await store.attachment(attachment.id) is None) == (content is None)
    return content is not None


async def remove_all_unused(store: Store) -> int:
    """Everything that nothing uses; how many that were."""
    removed = 0
    while True:
        swept = await store.remove_unused_attachments(LATER, 10)
        removed += swept.removed
        if swept.next is None:
            return removed


async def remove_all_ended_journals(store: Store) -> int:
    """Of every run that has ended; how many."""
    removed, after = 0, None
    while True:
        swept = await store.remove_ended_journals(2, after)
        removed += swept.removed
        after = swept.next
        if after is None:
            return removed


async def journalled(store: Store, conversation: Conversation, name: str) -> list[int]:
    """The seqs of the run's rows, as a lane would load them if the run was open."""
    lane = await store.load_lane(conversation.id)
    assert lane is not None
    return [row.seq for row in lane.journal if row.request_id == name]


class CleaningRules:
    """What goes is what nothing needs, in bounded steps that can be repeated."""

    # --- attachments

    async def test_an_upload_that_nothing_uses_is_removed(self, store: Store) -> None:
        upload = await put(store)
        await remove_all_unused(store)
        assert not await is_there(store, upload)

    async def test_a_young_upload_stays(self, store: Store) -> None:
        upload = await put(store)
        assert (await store.remove_unused_attachments(EARLIER, 10)).looked_at == 0
        assert await is_there(store, upload)

    async def test_what_a_conversation_uses_stays(self, store: Store) -> None:
        conversation = await listed(store)
        sent, spilled = await put(store), await put(store, used_by=conversation.id)
        assert list(await store.use_attachments(conversation.id, [sent.id])) == []
        assert await remove_all_unused(store) == 0
        assert await is_there(store, sent)
        assert await is_there(store, spilled)

    async def test_what_is_used_is_not_looked_at_again(self, store: Store) -> None:
        conversation = await listed(store)
        await put(store, used_by=conversation.id)
        await remove_all_unused(store)
        assert (await store.remove_unused_attachments(LATER, 10)).looked_at == 0

    async def test_a_deleted_conversation_keeps_its_attachments_until_it_is_purged(self, store: Store) -> None:
        conversation = await listed(store, status=ConversationStatus.DELETED)
        kept = await put(store, used_by=conversation.id)
        await remove_all_unused(store)
        assert await is_there(store, kept)
        await store.purge_conversation(conversation.id)
        assert await remove_all_unused(store) == 1
        assert not await is_there(store, kept)

    async def test_what_another_conversation_uses_outlives_a_purge(self, store: Store) -> None:
        original, fork = await listed(store), await listed(store)
        shared = await put(store, used_by=original.id)
        await store.use_attachments(fork.id, [shared.id])
        await store.purge_conversation(original.id)
        assert await remove_all_unused(store) == 0
        assert await is_there(store, shared)
        await store.purge_conversation(fork.id)
        assert await remove_all_unused(store) == 1

    async def test_a_use_by_a_conversation_that_never_came_keeps_nothing(self, store: Store) -> None:
        conversation = samples.conversation()
        upload = await put(store)
        await store.use_attachments(conversation.id, [upload.id])
        await remove_all_unused(store)
        assert not await is_there(store, upload)

    async def test_a_use_that_was_noted_before_its_conversation_was_made_counts(self, store: Store) -> None:
        conversation = samples.conversation()
        upload = await put(store)
        await store.use_attachments(conversation.id, [upload.id])
        await commit_one(store, Change(conversation_id=conversation.id, conversation=conversation, is_new=True))
        assert await remove_all_unused(store) == 0
        assert await is_there(store, upload)

    async def test_a_use_of_what_is_gone_is_told(self, store: Store) -> None:
        conversation = await listed(store)
        there, gone = await put(store), AttachmentId(new_object_id())
        assert list(await store.use_attachments(conversation.id, [gone, there.id])) == [gone]
        assert await remove_all_unused(store) == 0

    async def test_a_use_noted_twice_is_one_use(self, store: Store) -> None:
        conversation = await listed(store)
        kept = await put(store, used_by=conversation.id)
        await store.use_attachments(conversation.id, [kept.id, kept.id])
        await store.purge_conversation(conversation.id)
        assert await remove_all_unused(store) == 1

    async def test_an_attachment_put_again_keeps_its_uses(self, store: Store) -> None:
        conversation = await listed(store)
        kept = await put(store, used_by=conversation.id)
        await store.put_attachment(kept, b"5678")
        assert await remove_all_unused(store) == 0
        assert await store.attachment_content(kept.id) == b"5678"

    async def test_no_more_attachments_are_looked_at_than_asked_for(self, store: Store) -> None:
        uploads = [await put(store) for _ in range(3)]
        first = await store.remove_unused_attachments(LATER, 2)
        assert (first.looked_at, first.removed) == (2, 2)
        assert first.next is not None
        assert sum([await is_there(store, upload) for upload in uploads]) == 1
        rest = await store.remove_unused_attachments(LATER, 2)
        assert (rest.looked_at, rest.removed, rest.next) == (1, 1, None)

    async def test_content_that_has_its_attachment_is_not_stray(self, store: Store) -> None:
        kept = [await put(store) for _ in range(3)]
        after = None
        while True:
            swept = await store.remove_stray_content(LATER, 2, after)
            assert swept.removed == 0
            after = swept.next
            if after is None:
                break
        for attachment in kept:
            assert await is_there(store, attachment)

    # --- journals

    async def test_rows_of_ended_runs_are_removed_and_those_of_open_ones_stay(self, store: Store) -> None:
        stories = [await started(store) for _ in range(4)]
        for conversation, run in stories:
            row = samples.journal_row(conversation.id, run.request_id, seq=2)
            await commit_one(store, Change(conversation_id=conversation.id, journal=row))
        for conversation, run in stories[:2]:
            ended = replace(run, status=RunStatus.FAILED, seq=3)
            await commit_one(store, move(replace(conversation, seq=3), ended, RunStatus.QUEUED))
        assert await remove_all_ended_journals(store) == 2
        assert await remove_all_ended_journals(store) == 0
        for conversation, run in stories[2:]:
            assert await journalled(store, conversation, run.request_id) == [2]

    # --- conversations

    async def test_conversations_are_listed_from_the_one_longest_unchanged(self, store: Store) -> None:
        made = [await listed(store, updated_at=samples.at(n)) for n in (30, 10, 20, 40)]
        page = await store.unchanged_conversations(ConversationStatus.ACTIVE, samples.at(30))
        assert [one for one in page.items if one in made] == [made[1], made[2], made[0]]

    async def test_pages_of_unchanged_conversations_hold_each_once(self, store: Store) -> None:
        made = [await listed(store, updated_at=samples.at(n // 3)) for n in range(7)]
        seen: list[ConversationId] = []
        cursor = None
        while True:
            page = await store.unchanged_conversations(ConversationStatus.ACTIVE, samples.at(9), cursor=cursor, limit=2)
            assert len(page.items) <= 2
            seen += [one.id for one in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert sorted(seen) == sorted(one.id for one in made)

    async def test_only_conversations_of_the_status_are_listed(self, store: Store) -> None:
        await listed(store)
        binned = await listed(store, status=ConversationStatus.DELETED, deleted_at=samples.START)
        page = await store.unchanged_conversations(ConversationStatus.DELETED, LATER)
        assert page.items == (binned,)

    @pytest.mark.parametrize("cursor", ["", "x", "bnVsbA", "W10="])
    async def test_a_foreign_cursor_of_unchanged_conversations_is_refused(self, store: Store, cursor: str) -> None:
        with pytest.raises(InvalidRequest):
            await store.unchanged_conversations(ConversationStatus.ACTIVE, LATER, cursor=cursor)
