"""A Hypothesis machine that commits at random and compares the store with a model made of dictionaries.

The rules of `store_rules_*` name what must hold; the machine looks for orders of events that nobody named.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from baton.core.ids import ConversationId, MessageId, RequestId
from baton.core.models import Conversation, Message, Prompt, PromptStatus, Run, RunStatus
from baton.core.permissions import AuditEntry, Grant, GrantId, GrantScope, GrantStatus, reaches, revoke
from baton.core.ports import Store
from baton.core.stored import Change, Committed, JournalRow, JournalTrim, Known, Lost, Outcome, PromptMove, RunMove
from baton.core.stream import TextDelta
from baton.testing import samples

Read = TypeVar("Read")

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
STATUS = st.sampled_from(list(RunStatus))
OPEN = frozenset({RunStatus.QUEUED, RunStatus.DISPATCHED, RunStatus.RUNNING, RunStatus.AWAITING_INPUT})
PLACES = 2
"""How many conversations one example writes to."""


class CommitMachine(RuleBasedStateMachine):
    """Random changes to a few conversations; subclasses say how a store is made."""

    make_store: Callable[[], Store]

    runs = Bundle("runs")
    prompts = Bundle("prompts")
    grants = Bundle("grants")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = type(self).make_store()
        self.runner.run(self.store.open())
        self.conversations: dict[int, Conversation] = {}
        self.stored_runs: dict[RequestId, Run] = {}
        self.stored_messages: dict[ConversationId, dict[MessageId, Message]] = {}
        self.stored_prompts: dict[str, Prompt] = {}
        self.journal: dict[ConversationId, list[JournalRow]] = {}
        self.stored_grants: dict[GrantId, Grant] = {}
        self.audit: dict[ConversationId, list[AuditEntry]] = {}

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()

    def commit(self, change: Change) -> Outcome:
        """The store's outcome."""
        (outcome,) = self.runner.run(self.store.commit([change]))
        return outcome

    def grown(self, place: int) -> Conversation:
        """The conversation with the next seq and ordinal."""
        before = self.conversations[place]
        return replace(before, seq=before.seq + 1, ordinal=before.ordinal + 1)

    def place_of(self, conversation_id: ConversationId) -> tuple[int, Conversation]:
        """The conversation of this id, and where it is kept."""
        (found,) = [(place, one) for place, one in self.conversations.items() if one.id == conversation_id]
        return found

    def read_each(self, read: Callable[[ConversationId], Coroutine[Any, Any, Read]]) -> list[Read]:
        """What is read of each conversation."""

        async def read_all() -> list[Read]:
            return await asyncio.gather(*(read(conversation.id) for conversation in self.conversations.values()))

        return self.runner.run(read_all())

    @initialize()
    def start(self) -> None:
        for place in range(PLACES):
            conversation = samples.conversation()
            change = Change(conversation_id=conversation.id, conversation=conversation, is_new=True)
            assert self.commit(change) == Committed()
            assert self.commit(change) == Known()
            self.conversations[place] = conversation
            self.stored_messages[conversation.id] = {}
            self.journal[conversation.id] = []
            self.audit[conversation.id] = []

    @rule(target=runs, place=st.integers(0, PLACES - 1), content=TEXT)
    def send(self, place: int, content: str) -> tuple[int, RequestId]:
        change = samples.send(self.conversations[place], content=content, position=float(len(self.stored_runs)))
        assert self.commit(change) == Committed()
        assert change.conversation is not None
        assert change.new_run is not None
        self.conversations[place] = change.conversation
        self.stored_runs[change.new_run.request_id] = change.new_run
        self.stored_messages[change.conversation_id][change.messages[0].id] = change.messages[0]
        return place, change.new_run.request_id

    @rule(known=runs, content=TEXT)
    def send_again(self, known: tuple[int, RequestId], content: str) -> None:
        place, request_id = known
        change = samples.send(self.conversations[place], content=content, request_id=request_id)
        assert self.commit(change) == Known()

    @rule(known=runs, to=STATUS, expect=st.frozensets(STATUS))
    def move(self, known: tuple[int, RequestId], to: RunStatus, expect: frozenset[RunStatus]) -> None:
        place, request_id = known
        conversation, run = self.grown(place), self.stored_runs[request_id]
        moved = replace(run, status=to, seq=conversation.seq)
        said = samples.message(
            conversation.id, request_id=request_id, ordinal=conversation.ordinal, seq=conversation.seq
        )
        outcome = self.commit(
            Change(
                conversation_id=conversation.id,
                conversation=conversation,
                runs=(RunMove(run=moved, expect=expect),),
                messages=(said,),
            )
        )
        if run.status not in expect:
            assert outcome == Lost()
            return
        assert outcome == Committed()
        self.conversations[place] = conversation
        self.stored_runs[request_id] = moved
        self.stored_messages[conversation.id][said.id] = said

    @rule(target=prompts, known=runs)
    def ask(self, known: tuple[int, RequestId]) -> str:
        place, request_id = known
        conversation = self.grown(place)
        prompt = samples.prompt(conversation.id, request_id, seq=conversation.seq)
        moves = (PromptMove(prompt=prompt, expect=None),)
        change = Change(conversation_id=conversation.id, conversation=conversation, prompts=moves)
        assert self.commit(change) == Committed()
        assert self.commit(change) == Lost()
        self.conversations[place] = conversation
        self.stored_prompts[prompt.id] = prompt
        return prompt.id

    @rule(prompt_id=prompts, to=st.sampled_from(list(PromptStatus)), expect=st.sampled_from(list(PromptStatus)))
    def settle(self, prompt_id: str, to: PromptStatus, expect: PromptStatus) -> None:
        before = self.stored_prompts[prompt_id]
        after = replace(before, status=to)
        _, conversation = self.place_of(before.conversation_id)
        moves = (PromptMove(prompt=after, expect=expect),)
        outcome = self.commit(Change(conversation_id=conversation.id, conversation=conversation, prompts=moves))
        assert outcome == (Committed() if before.status is expect else Lost())
        if outcome == Committed():
            self.stored_prompts[prompt_id] = after

    @rule(
        target=grants,
        prompt_id=prompts,
        expect=st.sampled_from(list(PromptStatus)),
        scope=st.sampled_from([GrantScope.ALL, GrantScope.CONVERSATION]),
    )
    def answer_for_ever(self, prompt_id: str, expect: PromptStatus, scope: GrantScope) -> GrantId:
        before = self.stored_prompts[prompt_id]
        place, conversation = self.place_of(before.conversation_id)
        answered = replace(before, status=PromptStatus.ANSWERED)
        grant = samples.grant(conversation.id, scope=scope, created_at=samples.at(len(self.stored_grants)))
        entry = samples.audit_entry(conversation.id, created_at=samples.at(len(self.audit[conversation.id])))
        change = Change(
            conversation_id=conversation.id,
            conversation=self.grown(place),
            prompts=(PromptMove(prompt=answered, expect=expect),),
            grants=(grant,),
            audit=(entry,),
        )
        outcome = self.commit(change)
        assert outcome == (Committed() if before.status is expect else Lost())
        if outcome == Committed():
            self.conversations[place] = self.grown(place)
            self.stored_prompts[prompt_id] = answered
            self.stored_grants[grant.id] = grant
            self.audit[conversation.id].append(entry)
        return grant.id

    @rule(grant_id=grants, place=st.integers(0, PLACES - 1))
    def revoke_grant(self, grant_id: GrantId, place: int) -> None:
        grant = self.stored_grants.get(grant_id)
        if grant is None or grant.status is not GrantStatus.GRANTED:
            return
        revoked = revoke(grant, samples.at(999))
        conversation = self.grown(place)
        assert (
            self.commit(Change(conversation_id=conversation.id, conversation=conversation, grants=(revoked,)))
            == Committed()
        )
        self.conversations[place] = conversation
        self.stored_grants[grant_id] = revoked

    @rule(known=runs, text=TEXT)
    def stream(self, known: tuple[int, RequestId], text: str) -> None:
        place, request_id = known
        before = self.conversations[place]
        self.conversations[place] = replace(before, seq=before.seq + 1)
        row = JournalRow(
            conversation_id=before.id,
            request_id=request_id,
            seq=before.seq + 1,
            bridge_seq=before.seq + 1,
            events=(TextDelta("m", 0, 0, text),),
            at=samples.START,
        )
        assert self.commit(Change(conversation_id=before.id, journal=row)) == Committed()
        self.journal[before.id].append(row)

    @rule(known=runs, back=st.integers(0, 3))
    def trim(self, known: tuple[int, RequestId], back: int) -> None:
        place, request_id = known
        conversation = self.grown(place)
        trim = JournalTrim(request_id=request_id, up_to_bridge_seq=conversation.seq - back)
        change = Change(conversation_id=conversation.id, conversation=conversation, trims=(trim,))
        assert self.commit(change) == Committed()
        self.conversations[place] = conversation
        self.journal[conversation.id] = [
            row
            for row in self.journal[conversation.id]
            if row.request_id != request_id or row.bridge_seq > trim.up_to_bridge_seq
        ]

    @rule()
    def restart(self) -> None:
        self.runner.run(self.store.close())
        self.store = type(self).make_store()
        self.runner.run(self.store.open())
        self.runner.run(self.store.repair())

    @invariant()
    def lanes_are_equal(self) -> None:
        lanes = self.read_each(self.store.load_lane)
        for conversation, lane in zip(self.conversations.values(), lanes, strict=True):
            assert lane is not None
            open_runs = [
                run
                for run in self.stored_runs.values()
                if run.conversation_id == conversation.id and run.status in OPEN
            ]
            named = {run.request_id for run in open_runs}
            assert list(lane.runs) == open_runs
            assert list(lane.journal) == [row for row in self.journal[conversation.id] if row.request_id in named]
            assert {prompt.id: prompt for prompt in lane.prompts} == {
                prompt.id: prompt for prompt in self.stored_prompts.values() if prompt.request_id in named
            }

    @invariant()
    def histories_are_equal(self) -> None:
        pages = self.read_each(lambda conversation_id: self.store.history(conversation_id, limit=1000))
        for conversation, page in zip(self.conversations.values(), pages, strict=True):
            expected = sorted(self.stored_messages[conversation.id].values(), key=lambda message: message.ordinal)
            assert [(stored.id, stored.seq) for stored in page] == [(one.id, one.seq) for one in expected]

    @invariant()
    def grants_and_audits_are_equal(self) -> None:
        reaching = self.read_each(lambda conversation_id: self.store.grants(conversation_id, None))
        audits = self.read_each(lambda conversation_id: self.store.audit(conversation_id=conversation_id))
        for conversation, grants, page in zip(self.conversations.values(), reaching, audits, strict=True):
            expected = {
                grant.id: grant for grant in self.stored_grants.values() if reaches(grant, conversation.id, None)
            }
            found = [grant for grant in grants if grant.id in self.stored_grants]
            assert {grant.id: grant for grant in found} == expected
            assert len(found) == len(expected)
            assert list(page.items) == self.audit[conversation.id][::-1]


def run_machine(machine: type[CommitMachine]) -> None:
    """Run a bounded number of examples, each of some twenty steps."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
