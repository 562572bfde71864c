"""The rules of grants and of the audit: part of a change, found by whom they reach, kept as long as they should be."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from baton.core.errors import InvalidRequest
from baton.core.ids import ConversationId, ProjectId, RequestId, UserId, new_object_id
from baton.core.lifecycle import OPEN_RUN
from baton.core.models import Conversation, RunStatus
from baton.core.permissions import AuditEntry, Grant, GrantEffect, GrantId, GrantScope, GrantStatus, expire, revoke
from baton.core.ports import Store
from baton.core.stored import Change, Committed, ConversationFilter, Known, Lost, Refused
from baton.testing import samples
from baton.testing.store_rules_commit import LONE_SURROGATE, commit_one, move, started
from baton.testing.store_rules_lists import listed
from baton.testing.store_rules_read import DIFFICULT_TEXT


def granting(conversation: Conversation, *grants: Grant) -> Change:
    """A change that stores these grants."""
    return Change(conversation_id=conversation.id, conversation=conversation, grants=grants)


async def granted(store: Store, conversation: Conversation, *grants: Grant) -> None:
    """These grants are stored."""
    assert await commit_one(store, granting(conversation, *grants)) == Committed()


async def audited(store: Store, conversation: Conversation, *entries: AuditEntry) -> None:
    """These entries are stored."""
    change = Change(conversation_id=conversation.id, conversation=conversation, audit=entries)
    assert await commit_one(store, change) == Committed()


async def entries_of(store: Store, conversation_id: ConversationId) -> Sequence[AuditEntry]:
    """What the audit holds of this conversation."""
    page = await store.audit(conversation_id=conversation_id)
    assert page.next is None
    return page.items


class PermissionRules:
    """Grants and entries of the audit are written with the rest of a change, or not at all."""

    # --- part of a change

    async def test_full_grants_and_entries_come_back_equal(self, store: Store) -> None:
        project_id = ProjectId(new_object_id())
        conversation = await listed(store, project_id=project_id)
        grant = samples.grant(
            scope=GrantScope.PROJECT,
            project_id=project_id,
            tool_name="mcp__x__*",
            pattern=DIFFICULT_TEXT,
            effect=GrantEffect.DENY,
            status=GrantStatus.REVOKED,
            expires_at=samples.at(60),
            created_by=UserId("Zürich"),
            revoked_at=samples.at(5.678),
        )
        entry = samples.audit_entry(
            conversation.id,
            project_id=project_id,
            reason=DIFFICULT_TEXT,
            rule="deny_grant",
            grant_id=grant.id,
            request_id=RequestId("$ne"),
        )
        both = Change(conversation_id=conversation.id, conversation=conversation, grants=(grant,), audit=(entry,))
        assert await commit_one(store, both) == Committed()
        assert await store.grant(grant.id) == grant
        assert list(await entries_of(store, conversation.id)) == [entry]

    async def test_sparse_grants_and_entries_come_back_equal(self, store: Store) -> None:
        conversation = await listed(store)
        grant = samples.grant(pattern=None, created_by=None)
        entry = samples.audit_entry(conversation.id, tool_name=None, rule=None, user_id=None, selected_option=None)
        await granted(store, conversation, grant)
        await audited(store, conversation, entry)
        assert await store.grant(grant.id) == grant
        assert list(await entries_of(store, conversation.id)) == [entry]

    async def test_a_grant_is_replaced_whole_by_its_id(self, store: Store) -> None:
        conversation = await listed(store)
        grant = samples.grant(conversation.id)
        await granted(store, conversation, grant)
        revoked = revoke(replace(grant, pattern=None, tool_name="Edit"), samples.at(9))
        await granted(store, conversation, revoked)
        assert await store.grant(grant.id) == revoked
        assert [one for one in await store.grants(conversation.id, None) if one.id == grant.id] == [revoked]
        assert grant.id not in [one.id for one in await store.standing_grants()]

    async def test_an_entry_with_a_stored_id_changes_nothing(self, store: Store) -> None:
        conversation = await listed(store)
        entry = samples.audit_entry(conversation.id, outcome="allow")
        await audited(store, conversation, entry)
        before = await store.counts()
        await audited(store, conversation, entry, replace(entry, outcome="deny", created_at=samples.at(9)))
        assert list(await entries_of(store, conversation.id)) == [entry]
        assert await store.counts() == before

    async def test_a_new_conversation_comes_with_its_grants_and_entries(self, store: Store) -> None:
        conversation = samples.conversation()
        grant, entry = samples.grant(conversation.id), samples.audit_entry(conversation.id)
        change = replace(granting(conversation, grant), is_new=True, audit=(entry,))
        assert await commit_one(store, change) == Committed()
        assert await store.grant(grant.id) == grant
        assert list(await entries_of(store, conversation.id)) == [entry]

    async def test_a_change_that_is_lost_grants_and_notes_nothing(self, store: Store) -> None:
        conversation, run = await started(store)
        grant, entry = samples.grant(conversation.id), samples.audit_entry(conversation.id)
        lost = move(conversation, replace(run, status=RunStatus.RUNNING), *(OPEN_RUN - {run.status}))
        assert await commit_one(store, replace(lost, grants=(grant,), audit=(entry,))) == Lost()
        assert await store.grant(grant.id) is None
        assert list(await entries_of(store, conversation.id)) == []

    async def test_a_change_that_is_known_grants_and_notes_nothing(self, store: Store) -> None:
        conversation, run = await started(store)
        grant, entry = samples.grant(conversation.id), samples.audit_entry(conversation.id)
        known = samples.send(conversation, request_id=run.request_id)
        assert await commit_one(store, replace(known, grants=(grant,), audit=(entry,))) == Known()
        assert await store.grant(grant.id) is None
        assert list(await entries_of(store, conversation.id)) == []

    async def test_a_grant_that_cannot_be_stored_is_refused_and_sinks_no_other(self, store: Store) -> None:
        first, second = await listed(store), await listed(store)
        bad, good = samples.grant(pattern=LONE_SURROGATE), samples.grant(second.id)
        changed = replace(first, title="changed")
        outcomes = await store.commit([granting(changed, bad), granting(second, good)])
        assert isinstance(outcomes[0], Refused)
        assert outcomes[1] == Committed()
        assert await store.grant(bad.id) is None
        assert await store.grant(good.id) == good
        assert await store.conversation(first.id) == first

    async def test_an_entry_that_cannot_be_stored_is_refused(self, store: Store) -> None:
        conversation = await listed(store)
        entry = samples.audit_entry(conversation.id, reason=LONE_SURROGATE)
        change = Change(conversation_id=conversation.id, conversation=conversation, audit=(entry,))
        assert isinstance(await commit_one(store, change), Refused)
        assert list(await entries_of(store, conversation.id)) == []

    async def test_of_two_changes_with_one_grant_the_later_stays(self, store: Store) -> None:
        lanes = [await listed(store) for _ in range(5)]
        grant = samples.grant()
        versions = [replace(grant, pattern=f"version {n}") for n in range(len(lanes))]
        outcomes = await store.commit([granting(*pair) for pair in zip(lanes, versions, strict=True)])
        assert set(outcomes) == {Committed()}
        assert await store.grant(grant.id) == versions[-1]

    # --- grants

    async def test_an_unknown_grant_is_none(self, store: Store) -> None:
        assert await store.grant(GrantId(new_object_id())) is None
        assert await store.grant(GrantId("not an id")) is None

    async def test_grants_that_stand_are_listed_oldest_first(self, store: Store) -> None:
        conversation = await listed(store)
        made = [
            samples.grant(created_at=samples.at(3)),
            samples.grant(conversation.id, created_at=samples.at(1)),
            samples.grant(scope=GrantScope.PROJECT, project_id=ProjectId(new_object_id()), created_at=samples.at(2)),
            samples.grant(created_at=samples.at(4), expires_at=samples.at(5)),
        ]
        ended = [revoke(samples.grant(), samples.at(1)), expire(samples.grant(expires_at=samples.at(1)))]
        await granted(store, conversation, *made, *ended)
        standing = await store.standing_grants()
        assert [grant for grant in standing if grant in made] == [made[1], made[2], made[0], made[3]]
        assert not [grant for grant in standing if grant.status is not GrantStatus.GRANTED]
        assert len(await store.standing_grants(limit=2)) == 2
        assert list(await store.standing_grants(limit=0)) == []

    async def test_grants_that_reach_a_conversation_are_listed_newest_first(self, store: Store) -> None:
        home, elsewhere = ProjectId(new_object_id()), ProjectId(new_object_id())
        conversation, other = await listed(store, project_id=home), await listed(store, project_id=elsewhere)
        reaching = [
            samples.grant(created_at=samples.at(2)),
            samples.grant(conversation.id, created_at=samples.at(3)),
            samples.grant(scope=GrantScope.PROJECT, project_id=home, created_at=samples.at(1)),
            revoke(samples.grant(conversation.id, created_at=samples.at(5)), samples.at(6)),
            expire(samples.grant(created_at=samples.at(4), expires_at=samples.at(5))),
        ]
        foreign = [
            samples.grant(other.id),
            samples.grant(scope=GrantScope.PROJECT, project_id=elsewhere),
        ]
        await granted(store, conversation, *reaching)
        await granted(store, other, *foreign)
        newest_first = [reaching[3], reaching[4], reaching[1], reaching[0], reaching[2]]
        listed_grants = await store.grants(conversation.id, home)
        assert [grant for grant in listed_grants if grant in reaching + foreign] == newest_first
        assert list(await store.grants(conversation.id, home, limit=3)) == newest_first[:3]
        assert list(await store.grants(conversation.id, home, limit=0)) == []

    async def test_without_a_project_no_projects_grants_reach(self, store: Store) -> None:
        conversation = await listed(store)
        mine = samples.grant(conversation.id)
        orphan = samples.grant(scope=GrantScope.PROJECT, project_id=None)
        await granted(store, conversation, mine, orphan)
        reaching = await store.grants(conversation.id, None)
        assert mine in reaching
        assert orphan not in reaching

    async def test_a_purged_conversation_takes_its_own_grants_along_and_leaves_wider_ones(self, store: Store) -> None:
        project_id = ProjectId(new_object_id())
        conversation, other = await listed(store, project_id=project_id), await listed(store)
        own = samples.grant(conversation.id)
        wider = [
            samples.grant(conversation.id, scope=GrantScope.ALL),
            samples.grant(conversation.id, scope=GrantScope.PROJECT, project_id=project_id),
        ]
        neighbour = samples.grant(other.id)
        await granted(store, conversation, own, *wider)
        await granted(store, other, neighbour)
        await store.purge_conversation(conversation.id)
        assert await store.grant(own.id) is None
        assert own.id not in [grant.id for grant in await store.standing_grants()]
        assert [await store.grant(grant.id) for grant in (*wider, neighbour)] == [*wider, neighbour]

    # --- the audit

    async def test_the_audit_is_listed_newest_first(self, store: Store) -> None:
        conversation, other = await listed(store), await listed(store)
        made = [samples.audit_entry(conversation.id, created_at=samples.at(n)) for n in (2, 3, 1)]
        foreign = samples.audit_entry(other.id, created_at=samples.at(2.5))
        await audited(store, conversation, *made)
        await audited(store, other, foreign)
        assert list(await entries_of(store, conversation.id)) == [made[1], made[0], made[2]]
        everything = (await store.audit(limit=1000)).items
        assert [entry for entry in everything if entry in (*made, foreign)] == [made[1], foreign, made[0], made[2]]

    @pytest.mark.parametrize("is_of_one", [True, False])
    async def test_pages_of_the_audit_hold_each_once(self, store: Store, is_of_one: bool) -> None:
        conversation = await listed(store)
        made = [samples.audit_entry(conversation.id, created_at=samples.at(n // 3)) for n in range(10)]
        await audited(store, conversation, *made)
        seen: list[str] = []
        cursor: str | None = None
        while True:
            of_one = conversation.id if is_of_one else None
            page = await store.audit(conversation_id=of_one, cursor=cursor, limit=3)
            assert len(page.items) <= 3
            seen.extend(entry.id for entry in page.items)
            cursor = page.next
            if cursor is None:
                break
        known = {entry.id for entry in made}
        assert sorted(one for one in seen if one in known) == sorted(known)

    async def test_a_cursor_of_the_audit_stands_still_while_entries_are_added(self, store: Store) -> None:
        conversation = await listed(store)
        made = [samples.audit_entry(conversation.id, created_at=samples.at(n)) for n in range(4)]
        await audited(store, conversation, *made)
        first = await store.audit(conversation_id=conversation.id, limit=2)
        await audited(store, conversation, samples.audit_entry(conversation.id, created_at=samples.at(50)))
        second = await store.audit(conversation_id=conversation.id, cursor=first.next, limit=2)
        assert first.items == (made[3], made[2])
        assert second.items == (made[1], made[0])
        assert second.next is None

    @pytest.mark.parametrize("cursor", ["", "x", "not ours", "bnVsbA", "W10=", "1", "é", "a" * 5000])
    async def test_a_foreign_cursor_of_the_audit_is_refused(self, store: Store, cursor: str) -> None:
        with pytest.raises(InvalidRequest):
            await store.audit(cursor=cursor)

    async def test_a_cursor_of_another_list_is_refused_by_the_audit(self, store: Store) -> None:
        for _ in range(2):
            await listed(store)
        page = await store.conversations(ConversationFilter(), limit=1)
        assert page.next is not None
        with pytest.raises(InvalidRequest):
            await store.audit(cursor=page.next)

    async def test_the_audit_of_a_purged_conversation_stays(self, store: Store) -> None:
        conversation = await listed(store)
        entry = samples.audit_entry(conversation.id)
        await audited(store, conversation, entry)
        before = await store.counts()
        await store.purge_conversation(conversation.id)
        assert list(await entries_of(store, conversation.id)) == [entry]
        assert (await store.counts()).decisions == before.decisions

    async def test_decisions_are_counted_by_outcome_and_handler(self, store: Store) -> None:
        conversation = await listed(store)
        before = (await store.counts()).decisions
        ended = (("allow", "grant"), ("allow", "grant"), ("deny", "mode"), ("timeout", "timeout"), ("é", "\0 $x"))
        entries = [samples.audit_entry(conversation.id, outcome=outcome, handler=who) for outcome, who in ended]
        await audited(store, conversation, *entries)
        after = (await store.counts()).decisions
        grown = {tally: count - before.get(tally, 0) for tally, count in after.items()}
        assert {tally: by for tally, by in grown.items() if by} == {
            "allow/grant": 2,
            "deny/mode": 1,
            "timeout/timeout": 1,
            "é/\0 $x": 1,
        }

    # --- a server at work

    async def test_at_first_no_server_was_at_work(self, store: Store) -> None:
        assert await store.alive_at() is None

    async def test_what_was_noted_last_of_a_server_at_work_is_told(self, store: Store) -> None:
        for moment in (samples.at(1), samples.at(60.001)):
            await store.note_alive(moment)
            assert await store.alive_at() == moment
