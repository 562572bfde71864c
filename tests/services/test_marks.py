"""Up to where people have seen their conversations."""

from typing import Any

import pytest

from baton.core.errors import InvalidRequest, NotFound
from baton.core.events import ConversationSeen, StateChanged
from baton.core.ids import ConversationId, new_object_id
from baton.core.limits import Limits
from baton.testing.clock import FakeClock
from baton.testing.stores import StoreInFront
from tests.services.harness import ANNA, BEN, Server


def told(server: Server) -> list[ConversationSeen]:
    """What was told of marks."""
    return [event for event in server.browser.events if isinstance(event, ConversationSeen)]


async def test_a_mark_is_kept_and_told_to_ones_own_sockets(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation)
    await server.services.marks.note(ANNA, conversation.id, 2)
    assert await server.services.marks.of(ANNA, [conversation.id]) == {conversation.id: 2}
    assert await server.services.marks.of(BEN, [conversation.id]) == {}
    assert told(server) == [ConversationSeen(ANNA.user_id, conversation.id, 2)]


async def test_what_is_no_news_is_neither_written_nor_told(store: Any) -> None:
    class Counting(StoreInFront):
        writes = 0

        async def note_seen(self, *mark: Any) -> bool:
            self.writes += 1
            return await super().note_seen(*mark)

    counting = Counting(store)
    server = Server(counting, limits=Limits(), clock=FakeClock(), epoch="e")
    conversation = await server.conversation()
    await server.send(conversation)
    for seq in (2, 2, 1, 2):
        await server.services.marks.note(ANNA, conversation.id, seq)
    assert (counting.writes, len(told(server))) == (1, 1)
    after_a_restart = Server(counting, limits=Limits(), clock=FakeClock(), epoch="e")
    await after_a_restart.services.marks.note(ANNA, conversation.id, 2)
    assert told(after_a_restart) == []


async def test_nobody_has_seen_what_was_not_said_yet(server: Server) -> None:
    conversation = await server.conversation()
    with pytest.raises(InvalidRequest):
        await server.services.marks.note(ANNA, conversation.id, 99)
    with pytest.raises(NotFound):
        await server.services.marks.note(ANNA, ConversationId(new_object_id()), 0)


async def test_the_state_in_lists_says_how_far_the_conversation_is(server: Server) -> None:
    conversation = await server.conversation()
    await server.send(conversation)
    await server.answer("r1")
    server.complete("r1")
    await server.intake.flush()
    last = [event for event in server.browser.events if isinstance(event, StateChanged)][-1]
    assert last.seq == (await server.join(conversation)).seq
