"""A Hypothesis machine that sends, forks, deletes, restores, restarts and cleans up in any order.

Whatever comes before: no message of a conversation that is there has lost an attachment, and in the end nothing is
left of what nobody can reach.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test
from mongomock_motor import AsyncMongoMockClient

from baton.core.commands import ForkConversation, SendMessage
from baton.core.errors import NotFound
from baton.core.ids import AttachmentId, ConversationId, RequestId
from baton.core.limits import Limits
from baton.core.models import ConversationStatus
from baton.core.ports import Store
from baton.services.attachments import Attachments
from baton.services.cleaning import Cleaning
from baton.storage.migrate import migrate
from baton.storage.mongo import MongoStore, mongo_migrations
from baton.storage.sqlite import SqliteStore
from baton.storage.sqlite_migrate import migrate_sqlite
from baton.testing.clock import FakeClock
from tests.services.harness import ANNA, Server

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


class CleaningMachine(RuleBasedStateMachine):
    """Subclasses say how a store is made."""

    make_store: Callable[[FakeClock], Any]

    uploads = Bundle("uploads")
    conversations = Bundle("conversations")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.store: Store = self.runner.run(type(self).make_store(self.clock))
        self.known_uploads: list[AttachmentId] = []
        self.known_conversations: list[ConversationId] = []
        self.sends = 0
        self._begin()

    def _begin(self) -> None:
        limits = Limits(retention_days=60)
        self.server = Server(self.store, limits=limits, clock=self.clock, epoch="e")
        conversations = self.server.conversations
        self.cleaning = Cleaning(store=self.store, conversations=conversations, clock=self.clock, limits=limits)
        self.runner.run(self.server.recover())

    def teardown(self) -> None:
        self.runner.run(self._end())
        self.runner.close()

    async def _end(self) -> None:
        for conversation_id in self.known_conversations:
            if await self.store.conversation(conversation_id) is not None:
                await self.server.conversations.delete(ANNA, conversation_id)
        for days in (31, 2):
            self.clock.advance(days * DAY_S)
            await self.cleaning.clean_up()
        assert [one for one in self.known_uploads if await self.store.attachment(one) is not None] == []
        assert [one for one in self.known_conversations if await self.store.conversation(one) is not None] == []
        await self.store.close()

    @rule(target=uploads)
    def upload(self) -> AttachmentId:
        attachments = Attachments(store=self.store, clock=self.clock, limits=Limits())
        adding = attachments.add(ANNA, filename="a", mime_type="text/plain", content=b"1234")
        attachment = self.runner.run(adding)
        self.known_uploads.append(attachment.id)
        return attachment.id

    @rule(target=conversations, upload=uploads)
    def send_to_a_new_one(self, upload: AttachmentId) -> Any:
        return self._send(upload, None)

    @rule(upload=uploads, conversation=conversations)
    def send(self, upload: AttachmentId, conversation: ConversationId) -> None:
        self._send(upload, conversation)

    def _send(self, upload: AttachmentId, to: ConversationId | None) -> Any:
        """The conversation, for the bundle; nothing where one of both has gone."""
        self.sends += 1
        command = SendMessage(
            request_id=RequestId(f"r{self.sends}"), content="see", conversation_id=to, attachments=(upload,)
        )
        try:
            answer = self.runner.run(self.server.runs.send(ANNA, command))
        except NotFound:
            return multiple()
        if to is None:
            self.known_conversations.append(answer.conversation_id)
        return answer.conversation_id

    @rule(target=conversations, conversation=conversations)
    def fork(self, conversation: ConversationId) -> Any:
        command = ForkConversation(conversation_id=conversation)
        try:
            copy = self.runner.run(self.server.conversations.fork(ANNA, command))
        except NotFound:
            return multiple()
        self.known_conversations.append(copy.id)
        return copy.id

    @rule(conversation=conversations)
    def delete(self, conversation: ConversationId) -> None:
        self._change(self.server.conversations.delete, conversation)

    @rule(conversation=conversations)
    def restore(self, conversation: ConversationId) -> None:
        if self._change(self.server.conversations.restore, conversation):
            stored = self.runner.run(self.store.conversation(conversation))
            assert stored is not None
            assert stored.status is ConversationStatus.ACTIVE

    def _change(self, change: Callable[..., Any], conversation: ConversationId) -> bool:
        try:
            self.runner.run(change(ANNA, conversation))
        except NotFound:
            assert self.runner.run(self.store.conversation(conversation)) is None
            return False
        return True

    @rule(hours=st.sampled_from([1, 23, 25, 20 * 24, 31 * 24, 61 * 24]))
    def clean_up_later(self, hours: int) -> None:
        self.clock.advance(hours * HOUR_S)
        self.runner.run(self.cleaning.clean_up())

    @rule(conversation=conversations)
    def delete_for_good(self, conversation: ConversationId) -> None:
        self.delete(conversation)
        for hours in (31 * 24, 25):
            self.clean_up_later(hours)

    @rule()
    def restart(self) -> None:
        self._begin()

    @invariant()
    def what_is_named_is_there(self) -> None:
        self.runner.run(self._look())

    async def _look(self) -> None:
        for conversation_id in self.known_conversations:
            for stored in await self.store.history(conversation_id):
                message = await self.store.message(stored.id)
                assert message is not None
                for attachment in message.attachments:
                    assert await self.store.attachment_content(attachment.id) == b"1234"


def check(make_store: Callable[[FakeClock], Any]) -> None:
    """Run a bounded number of examples."""

    class Machine(CleaningMachine):
        pass

    Machine.make_store = staticmethod(make_store)  # type: ignore[method-assign] - a class of this call's own
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )


def test_nothing_that_is_needed_goes_and_nothing_else_stays_on_sqlite(tmp_path: Path) -> None:
    empty = tmp_path / "empty.sqlite3"
    asyncio.run(migrate_sqlite(empty, clock=FakeClock()))

    async def make(clock: FakeClock) -> Store:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        store = SqliteStore(Path(shutil.copy(empty, folder / "baton.sqlite3")), clock=clock)
        await store.open()
        return store

    check(make)


def test_nothing_that_is_needed_goes_and_nothing_else_stays_on_mongodb() -> None:
    async def make(clock: FakeClock) -> Store:
        client: Any = AsyncMongoMockClient()
        async with mongo_migrations("mongodb://mock", clock=clock, database="baton", client=client) as target:
            await migrate(target)
        store = MongoStore("mongodb://mock", clock=clock, database="baton", client=client)
        await store.open()
        return store

    check(make)
