"""The rules of what each user has seen."""

import asyncio

from baton.core.ids import ConversationId, UserId, new_object_id
from baton.core.ports import Store
from baton.testing.store_rules_commit import started

ANNA, BEN = UserId("anna"), UserId("ben")


class MarkRules:
    """A mark is one user's in one conversation, and moves forward only."""

    async def test_a_mark_moves_forward_only_and_says_whether_it_moved(self, store: Store) -> None:
        conversation, _ = await started(store)
        moved = [await store.note_seen(ANNA, conversation.id, seq) for seq in (0, 5, 5, 3, 6)]
        assert moved == [True, True, False, False, True]
        assert await store.seen(ANNA, [conversation.id]) == {conversation.id: 6}

    async def test_marks_are_each_users_own_and_only_those_that_are_asked_for(self, store: Store) -> None:
        (one, _), (two, _), (three, _) = [await started(store) for _ in range(3)]
        await store.note_seen(ANNA, one.id, 1)
        await store.note_seen(ANNA, two.id, 2)
        await store.note_seen(BEN, one.id, 9)
        assert await store.seen(ANNA, [one.id, three.id]) == {one.id: 1}
        assert await store.seen(BEN, [one.id, two.id]) == {one.id: 9}
        assert await store.seen(ANNA, []) == {}

    async def test_of_several_at_once_the_furthest_stays(self, store: Store) -> None:
        conversation, _ = await started(store)
        await asyncio.gather(*(store.note_seen(ANNA, conversation.id, seq) for seq in (3, 9, 1, 7)))
        assert await store.seen(ANNA, [conversation.id]) == {conversation.id: 9}

    async def test_marks_go_with_their_conversation(self, store: Store) -> None:
        conversation, _ = await started(store)
        await store.note_seen(ANNA, conversation.id, 4)
        await store.purge_conversation(conversation.id)
        assert await store.seen(ANNA, [conversation.id]) == {}

    async def test_what_is_no_conversation_was_seen_by_nobody(self, store: Store) -> None:
        strangers = [ConversationId(new_object_id()), ConversationId("no id")]
        assert await store.seen(ANNA, strangers) == {}
