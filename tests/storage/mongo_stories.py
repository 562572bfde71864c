"""What is committed in tests of failures, and the database around it: every kind of change, before and after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from baton.core.ids import ConversationId, PromptId, new_object_id
from baton.core.lifecycle import OPEN_RUN
from baton.core.models import Conversation, PromptStatus, Run, RunStatus
from baton.core.permissions import revoke
from baton.core.stored import Change, Committed, JournalTrim, PromptMove, RunMove
from baton.storage.mongo import COLLECTIONS, MongoStore
from baton.testing import samples
from baton.testing.clock import FakeClock
from tests.storage.mongo_watcher import WRITES, Call, WatchedClient, Watcher

Dump: TypeAlias = dict[str, list[dict[str, Any]]]
Story: TypeAlias = tuple[list[Change], list[Change]]
"""What is there, and what is committed then."""


ASKED = PromptId("0" * 24)
STANDING = samples.grant()
NOTED = samples.audit_entry(ConversationId(new_object_id()))


class Died(Exception):
    """The process is no more: no call after this one reaches the server."""


class Failing:
    """Lets some writes pass once armed, then fails every call (a process that died) or every write (a server)."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self._left: int | None = None
        self.writes = 0

    def arm(self, passing: int) -> None:
        """From now on, let so many writes pass."""
        self._left = passing

    def heal(self) -> None:
        """From now on, let everything pass."""
        self._left = None

    async def __call__(self, call: Call) -> None:
        is_write = call.method in WRITES
        if self._left is not None and self._left <= 0 and (is_write or isinstance(self._error, Died)):
            raise self._error
        self.writes += is_write
        if self._left is not None and is_write:
            self._left -= 1


@dataclass(slots=True)
class Place:
    """One database, and stores on it. `client` reaches it."""

    client: Any
    name: str
    clock: FakeClock

    async def store(self, watcher: Watcher | None = None, clock: FakeClock | None = None) -> MongoStore:
        """A new open store; a process of its own as far as the database can tell."""
        client = self.client if watcher is None else WatchedClient(self.client, watcher)
        store = MongoStore("mongodb://given", clock=clock or self.clock, database=self.name, client=client)
        await store.open()
        return store

    async def begin_with(self, changes: Sequence[Change]) -> None:
        """Empty it, then commit these."""
        for name in COLLECTIONS:
            await self.client[self.name][name].delete_many({})
        store = await self.store()
        assert await store.commit(changes) == [Committed()] * len(changes)
        await store.close()

    async def dump(self) -> Dump:
        """Every document that is served, without the keys of journal rows, which differ between two attempts."""
        found: Dump = {}
        for name in COLLECTIONS:
            if name not in ("pending_changes", "leases", "meta"):
                documents = [document async for document in self.client[self.name][name].find({})]
                found[name] = sorted(documents, key=lambda document: (document.get("seq", 0), str(document["_id"])))
        for row in found["run_journal"]:
            del row["_id"]
        return found

    async def pending(self) -> int:
        """How many parts of changes are announced."""
        return int(await self.client[self.name]["pending_changes"].count_documents({}))


# --- what is committed -----------------------------------------------------------------------------------------


def send(conversation: Conversation, run: Run) -> list[Change]:
    return [samples.send(conversation)]


def first_send(conversation: Conversation, run: Run) -> list[Change]:
    return [samples.send(samples.conversation(), is_new=True)]


def import_lines(conversation: Conversation, run: Run) -> list[Change]:
    new = samples.conversation(seq=5, ordinal=5)
    lines = tuple(samples.message(new.id, ordinal=n, seq=n) for n in range(1, 6))
    return [Change(conversation_id=new.id, conversation=new, is_new=True, messages=lines)]


def end(conversation: Conversation, run: Run) -> list[Change]:
    ended = replace(run, status=RunStatus.COMPLETED, seq=9, bridge_seq=3, user_message=None)
    spoken = tuple(
        samples.message(conversation.id, request_id=run.request_id, ordinal=n, seq=9, covers_bridge_seq=3)
        for n in (2, 3)
    )
    prompt = samples.prompt(conversation.id, run.request_id, id=ASKED, seq=4)
    return [
        Change(
            conversation_id=conversation.id,
            conversation=replace(conversation, seq=9, ordinal=3),
            runs=(RunMove(run=ended, expect=OPEN_RUN),),
            messages=spoken,
            prompts=(
                PromptMove(prompt=replace(prompt, status=PromptStatus.CANCELLED, seq=9), expect=PromptStatus.PENDING),
            ),
            trims=(JournalTrim(request_id=run.request_id, up_to_bridge_seq=3),),
        )
    ]


def question(conversation: Conversation, run: Run) -> list[Change]:
    prompt = samples.prompt(conversation.id, run.request_id, seq=7)
    waiting = replace(run, status=RunStatus.AWAITING_INPUT, seq=7, bridge_seq=4)
    return [
        Change(
            conversation_id=conversation.id,
            conversation=replace(conversation, seq=7),
            runs=(RunMove(run=waiting, expect=frozenset({run.status})),),
            prompts=(PromptMove(prompt=prompt, expect=None),),
            journal=samples.journal_row(conversation.id, run.request_id, seq=7, bridge_seq=4),
        )
    ]


def messages_only(conversation: Conversation, run: Run) -> list[Change]:
    spoken = samples.message(conversation.id, request_id=run.request_id, ordinal=2, seq=5, covers_bridge_seq=2)
    changed = replace(conversation, seq=5, ordinal=2)
    return [Change(conversation_id=conversation.id, conversation=changed, messages=(spoken,))]


def answer(conversation: Conversation, run: Run) -> list[Change]:
    prompt = samples.prompt(conversation.id, run.request_id, id=ASKED, seq=4)
    answered = replace(prompt, status=PromptStatus.ANSWERED, selected_option="allow_always", seq=5)
    entries = [samples.audit_entry(conversation.id, request_id=run.request_id, prompt_id=ASKED) for _ in range(2)]
    return [
        Change(
            conversation_id=conversation.id,
            conversation=replace(conversation, seq=5),
            runs=(RunMove(run=replace(run, seq=5), expect=OPEN_RUN),),
            prompts=(PromptMove(prompt=answered, expect=PromptStatus.PENDING),),
            grants=(samples.grant(conversation.id), samples.grant(), revoke(STANDING, samples.at(5))),
            audit=tuple(entries),
        )
    ]


def revoke_grant(conversation: Conversation, run: Run) -> list[Change]:
    grants = (revoke(STANDING, samples.at(5)),)
    return [Change(conversation_id=conversation.id, conversation=replace(conversation, seq=5), grants=grants)]


Case: TypeAlias = Callable[[Conversation, Run], list[Change]]
CASES: list[Case] = [send, first_send, import_lines, end, question, messages_only, answer, revoke_grant]


def prepared() -> tuple[list[Change], Conversation, Run]:
    """A running run with rows in the journal, a pending prompt, a grant and a noted decision: what every case finds."""
    begun = samples.send(samples.conversation(), is_new=True, status=RunStatus.RUNNING)
    assert begun.conversation is not None
    assert begun.new_run is not None
    conversation, run = replace(begun.conversation, seq=4), begun.new_run
    rows = [samples.journal_row(conversation.id, run.request_id, seq=seq, bridge_seq=seq - 1) for seq in (2, 3)]
    asked = PromptMove(prompt=samples.prompt(conversation.id, run.request_id, id=ASKED, seq=4), expect=None)
    changes = [
        begun,
        *(Change(conversation_id=conversation.id, journal=row) for row in rows),
        Change(
            conversation_id=conversation.id,
            conversation=conversation,
            prompts=(asked,),
            grants=(STANDING,),
            audit=(NOTED,),
        ),
    ]
    return changes, conversation, run


async def states_of(place: Place, story: Story) -> tuple[Dump, Dump, int]:
    """The database before, the database after, and how many writes lie between."""
    before, changes = story
    await place.begin_with(before)
    state_before = await place.dump()
    counting = Failing(Died())
    store = await place.store(counting)
    counting.writes = 0
    assert await store.commit(changes) == [Committed()] * len(changes)
    writes = counting.writes
    await store.close()
    return state_before, await place.dump(), writes
