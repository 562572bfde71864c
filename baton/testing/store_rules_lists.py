"""The rules of lists and of what stands outside conversations: filters, cursors, projects, attachments, counts."""

from dataclasses import replace

import pytest

from baton.core.errors import InvalidRequest
from baton.core.ids import AttachmentId, ConversationId, ProjectId, new_object_id
from baton.core.lifecycle import OPEN_RUN
from baton.core.models import Conversation, ConversationStatus, PromptStatus, RunStatus
from baton.core.ports import Store
from baton.core.stored import Change, Committed, ConversationFilter
from baton.testing import samples
from baton.testing.store_rules_commit import commit_one, move, started
from baton.testing.store_rules_read import opened_prompt


async def listed(store: Store, **fields: object) -> Conversation:
    """A stored conversation."""
    conversation = samples.conversation(**fields)
    change = Change(conversation_id=conversation.id, conversation=conversation, is_new=True)
    assert await commit_one(store, change) == Committed()
    return conversation


async def pages(store: Store, where: ConversationFilter, limit: int) -> list[ConversationId]:
    """All conversations, page by page."""
    seen: list[ConversationId] = []
    cursor: str | None = None
    while True:
        page = await store.conversations(where, cursor=cursor, limit=limit)
        assert len(page.items) <= limit
        seen.extend(conversation.id for conversation in page.items)
        cursor = page.next
        if cursor is None:
            return seen


class ListRules:
    """Lists are limited, ordered, filtered, and paged by cursors that stand still while the list grows."""

    # --- conversations

    async def test_conversations_are_listed_by_their_last_update(self, store: Store) -> None:
        home = ProjectId(new_object_id())
        made = [await listed(store, project_id=home, updated_at=samples.at(n)) for n in (2, 3, 1)]
        page = await store.conversations(ConversationFilter(project_id=home))
        assert page.items == (made[1], made[0], made[2])
        assert page.next is None

    async def test_pages_of_conversations_hold_each_once(self, store: Store) -> None:
        home = ProjectId(new_object_id())
        made = [await listed(store, project_id=home, updated_at=samples.at(n // 3)) for n in range(10)]
        seen = await pages(store, ConversationFilter(project_id=home), 3)
        assert sorted(seen) == sorted(conversation.id for conversation in made)

    async def test_a_cursor_stands_still_while_conversations_are_added(self, store: Store) -> None:
        home = ConversationFilter(project_id=ProjectId(new_object_id()))
        made = [await listed(store, project_id=home.project_id, updated_at=samples.at(n)) for n in range(4)]
        first = await store.conversations(home, limit=2)
        await listed(store, project_id=home.project_id, updated_at=samples.at(50))
        second = await store.conversations(home, cursor=first.next, limit=2)
        assert first.items == (made[3], made[2])
        assert second.items == (made[1], made[0])

    async def test_a_full_last_page_has_no_next(self, store: Store) -> None:
        home = ConversationFilter(project_id=ProjectId(new_object_id()))
        for n in range(4):
            await listed(store, project_id=home.project_id, updated_at=samples.at(n))
        first = await store.conversations(home, limit=2)
        second = await store.conversations(home, cursor=first.next, limit=2)
        assert first.next is not None
        assert second.next is None

    @pytest.mark.parametrize("cursor", ["", "x", "not ours", "bnVsbA", "W10=", "1", "é", "a" * 5000])
    async def test_a_foreign_cursor_is_refused(self, store: Store, cursor: str) -> None:
        with pytest.raises(InvalidRequest):
            await store.conversations(ConversationFilter(), cursor=cursor)

    async def test_deleted_conversations_are_listed_only_when_asked_for(self, store: Store) -> None:
        home = ProjectId(new_object_id())
        live = await listed(store, project_id=home)
        archived = await listed(store, project_id=home, status=ConversationStatus.ARCHIVED)
        deleted = await listed(store, project_id=home, status=ConversationStatus.DELETED)
        everything = await pages(store, ConversationFilter(project_id=home), 10)
        assert sorted(everything) == sorted([live.id, archived.id])
        bin_ = ConversationFilter(project_id=home, status=ConversationStatus.DELETED)
        assert await pages(store, bin_, 10) == [deleted.id]

    async def test_all_conversations_are_listed_without_a_filter(self, store: Store) -> None:
        live = await listed(store)
        deleted = await listed(store, status=ConversationStatus.DELETED)
        everything = await pages(store, ConversationFilter(), 100)
        assert live.id in everything
        assert deleted.id not in everything
        assert deleted.id in await pages(store, ConversationFilter(status=ConversationStatus.DELETED), 100)

    async def test_conversations_are_found_by_their_session(self, store: Store) -> None:
        session = "session-" + new_object_id()
        found = await listed(store, claude_session_id=session)
        await listed(store, claude_session_id=None)
        await listed(store, claude_session_id=session, status=ConversationStatus.DELETED)
        assert await pages(store, ConversationFilter(session_id=session), 10) == [found.id]

    async def test_filters_of_conversations_hold_together(self, store: Store) -> None:
        home, session = ProjectId(new_object_id()), "session-" + new_object_id()
        archived = ConversationStatus.ARCHIVED
        both = await listed(store, project_id=home, claude_session_id=session, status=archived)
        await listed(store, project_id=home, claude_session_id=session)
        await listed(store, claude_session_id=session, status=archived)
        where = ConversationFilter(project_id=home, session_id=session, status=archived)
        assert await pages(store, where, 10) == [both.id]

    # --- runs and prompts

    async def test_runs_are_listed_by_status_oldest_first(self, store: Store) -> None:
        conversation, first = await started(store)
        later = samples.send(conversation, queued_at=samples.at(5))
        await commit_one(store, later)
        other, ended = await started(store)
        done = replace(ended, status=RunStatus.COMPLETED)
        await commit_one(store, move(other, done, RunStatus.QUEUED))
        assert later.new_run is not None
        open_runs = [run.request_id for run in await store.runs(OPEN_RUN)]
        assert [one for one in open_runs if one in (first.request_id, later.new_run.request_id)] == [
            first.request_id,
            later.new_run.request_id,
        ]
        assert ended.request_id not in open_runs
        assert done in await store.runs(frozenset({RunStatus.COMPLETED}))

    async def test_no_more_runs_are_listed_than_asked_for(self, store: Store) -> None:
        for _ in range(3):
            await started(store)
        assert len(await store.runs(OPEN_RUN, limit=2)) == 2
        assert list(await store.runs(frozenset())) == []

    async def test_prompts_are_listed_newest_first(self, store: Store) -> None:
        conversation, run = await started(store)
        made = [
            (await opened_prompt(store, run, seq=n + 2, created_at=samples.at(moment))).prompt
            for n, moment in enumerate((2, 3, 1))
        ]
        assert list(await store.prompts(conversation_id=conversation.id)) == [made[1], made[0], made[2]]
        assert list(await store.prompts(conversation_id=conversation.id, limit=1)) == [made[1]]
        assert [prompt for prompt in await store.prompts() if prompt in made] == [made[1], made[0], made[2]]

    async def test_prompts_are_listed_by_status_and_conversation(self, store: Store) -> None:
        conversation, run = await started(store)
        _, other = await started(store)
        mine = (await opened_prompt(store, run, seq=2)).prompt
        answered = (await opened_prompt(store, run, seq=3, status=PromptStatus.ANSWERED)).prompt
        foreign = (await opened_prompt(store, other, seq=2)).prompt
        assert list(await store.prompts(PromptStatus.PENDING, conversation.id)) == [mine]
        pending = await store.prompts(PromptStatus.PENDING)
        assert mine in pending
        assert foreign in pending
        assert answered not in pending

    # --- projects

    async def test_a_project_is_put_and_replaced(self, store: Store) -> None:
        project = samples.project(name="Döner \0", working_directory="/work")
        await store.put_project(project)
        assert await store.project(project.id) == project
        renamed = replace(project, name="Other", working_directory=None)
        await store.put_project(renamed)
        assert await store.project(project.id) == renamed

    async def test_projects_are_listed_newest_first(self, store: Store) -> None:
        made = [samples.project(created_at=samples.at(moment)) for moment in (2, 3, 1)]
        for project in made:
            await store.put_project(project)
        assert [project for project in await store.projects() if project in made] == [made[1], made[0], made[2]]
        assert len(await store.projects(limit=2)) == 2

    async def test_a_deleted_project_is_gone_and_its_conversations_stay(self, store: Store) -> None:
        project = samples.project()
        await store.put_project(project)
        conversation = await listed(store, project_id=project.id)
        assert await store.delete_project(project.id)
        assert not await store.delete_project(project.id)
        assert await store.project(project.id) is None
        assert await store.conversation(conversation.id) is not None

    # --- attachments

    @pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe binary \r\n", bytes(range(256)) * 4096])
    async def test_an_attachment_comes_back_byte_for_byte(self, store: Store, content: bytes) -> None:
        attachment = samples.attachment(filename="Zürich 👋.bin", size_bytes=len(content))
        await store.put_attachment(attachment, content)
        assert await store.attachment(attachment.id) == attachment
        assert await store.attachment_content(attachment.id) == content

    async def test_an_attachment_put_again_is_replaced(self, store: Store) -> None:
        attachment = samples.attachment()
        await store.put_attachment(attachment, b"old")
        renamed = replace(attachment, filename="new.txt")
        await store.put_attachment(renamed, b"new")
        assert await store.attachment(attachment.id) == renamed
        assert await store.attachment_content(attachment.id) == b"new"

    async def test_an_unknown_attachment_is_none(self, store: Store) -> None:
        unknown = AttachmentId(new_object_id())
        assert await store.attachment(unknown) is None
        assert await store.attachment_content(unknown) is None

    # --- counts

    async def test_counts_follow_every_change_of_status(self, store: Store) -> None:
        before = await store.counts()
        conversation, run = await started(store)
        await opened_prompt(store, run, seq=2)
        archived = replace(conversation, status=ConversationStatus.ARCHIVED)
        await commit_one(store, move(archived, replace(run, status=RunStatus.COMPLETED), RunStatus.QUEUED))
        after = await store.counts()
        assert after.messages.get("completed", 0) - before.messages.get("completed", 0) == 1
        assert after.runs.get("completed", 0) - before.runs.get("completed", 0) == 1
        assert after.runs.get("queued", 0) == before.runs.get("queued", 0)
        assert after.prompts.get("pending", 0) - before.prompts.get("pending", 0) == 1
        assert after.conversations.get("archived", 0) - before.conversations.get("archived", 0) == 1
        assert after.conversations.get("active", 0) == before.conversations.get("active", 0)

    async def test_what_is_purged_is_counted_no_more(self, store: Store) -> None:
        before = await store.counts()
        conversation, run = await started(store)
        await opened_prompt(store, run, seq=2)
        await store.purge_conversation(conversation.id)
        after = await store.counts()
        for name in ("messages", "prompts", "conversations"):
            counted = {status: count for status, count in getattr(after, name).items() if count}
            assert counted == {status: count for status, count in getattr(before, name).items() if count}
