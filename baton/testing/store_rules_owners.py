"""The rules of whose things are: lists, search and grants of one user, logins, and who did what in the audit."""

from dataclasses import replace

import pytest

from baton.core.ids import ConversationId, ProjectId, TokenId, UserId, new_object_id
from baton.core.lifecycle import OPEN_RUN
from baton.core.models import Conversation, ConversationStatus, Prompt, PromptStatus, Run
from baton.core.permissions import DECIDED, DONE, Action, GrantScope
from baton.core.ports import Store
from baton.core.stored import Change, Committed, ConversationFilter, PromptMove
from baton.core.tokens import Login
from baton.testing import samples
from baton.testing.store_rules_commit import commit_one
from baton.testing.store_rules_lists import listed, pages
from baton.testing.store_rules_search import plain, said


def somebody() -> UserId:
    """A user that no other test knows; the name needs care."""
    return UserId(f"Zoë $ne {new_object_id()}")


async def asked(store: Store, user_id: UserId, **fields: object) -> tuple[Conversation, Run, Prompt]:
    """A conversation of this user's with a run that waits for a person; the run was sent by somebody else."""
    conversation = samples.conversation(user_id=user_id, **fields)
    sent = samples.send(conversation, is_new=True)
    assert await commit_one(store, sent) == Committed()
    assert sent.conversation is not None
    assert sent.new_run is not None
    prompt = samples.prompt(conversation.id, sent.new_run.request_id, seq=2)
    move = PromptMove(prompt=prompt, expect=None)
    change = Change(conversation_id=conversation.id, conversation=replace(sent.conversation, seq=2), prompts=(move,))
    assert await commit_one(store, change) == Committed()
    return conversation, sent.new_run, prompt


def login(**fields: object) -> Login:
    """A login that nobody else has."""
    values: dict[str, object] = {
        "id": new_object_id() * 2,
        "token_digest": "d" * 64,
        "created_at": samples.START,
        "expires_at": samples.at(9),
    }
    return Login(**{**values, **fields})  # type: ignore[arg-type]  # a test names fields of its own


class OwnerRules:
    """What is asked for one user is that user's, all of it, and nothing else, however much others have."""

    # --- lists

    async def test_conversations_are_listed_by_their_user(self, store: Store) -> None:
        anna, ben = somebody(), somebody()
        mine = [await listed(store, user_id=anna, updated_at=samples.at(n)) for n in range(5)]
        await listed(store, user_id=ben, updated_at=samples.at(2))
        await listed(store, user_id=anna, status=ConversationStatus.DELETED)
        expected = [conversation.id for conversation in reversed(mine)]
        assert await pages(store, ConversationFilter(user_id=anna), 2) == expected

    async def test_the_user_holds_together_with_every_other_filter(self, store: Store) -> None:
        anna, home, session = somebody(), ProjectId(new_object_id()), "session-" + new_object_id()
        archived = ConversationStatus.ARCHIVED
        fields = {"project_id": home, "claude_session_id": session, "status": archived}
        mine = await listed(store, user_id=anna, **fields)
        await listed(store, user_id=somebody(), **fields)
        for where in (
            ConversationFilter(user_id=anna, project_id=home),
            ConversationFilter(user_id=anna, status=archived),
            ConversationFilter(user_id=anna, session_id=session),
            ConversationFilter(user_id=anna, project_id=home, status=archived, session_id=session),
        ):
            assert await pages(store, where, 10) == [mine.id]
        assert await pages(store, ConversationFilter(user_id=somebody(), project_id=home), 10) == []

    async def test_runs_and_prompts_are_listed_by_the_user_of_their_conversation(self, store: Store) -> None:
        anna, ben = somebody(), somebody()
        _, run, prompt = await asked(store, anna)
        await asked(store, ben)
        assert [found.request_id for found in await store.runs(OPEN_RUN, user_id=anna)] == [run.request_id]
        assert list(await store.prompts(user_id=anna)) == [prompt]
        assert list(await store.prompts(PromptStatus.PENDING, user_id=anna)) == [prompt]
        assert list(await store.prompts(PromptStatus.ANSWERED, user_id=anna)) == []
        assert list(await store.prompts(user_id=somebody())) == []

    async def test_a_list_of_one_user_is_not_shortened_by_what_others_have(self, store: Store) -> None:
        anna = somebody()
        _, run, prompt = await asked(store, anna)
        for _ in range(3):
            await asked(store, somebody())
        assert [found.request_id for found in await store.runs(OPEN_RUN, 1, user_id=anna)] == [run.request_id]
        assert list(await store.prompts(limit=1, user_id=anna)) == [prompt]

    async def test_a_run_and_a_prompt_stay_their_users_when_they_move(self, store: Store) -> None:
        anna = somebody()
        conversation, run, prompt = await asked(store, anna)
        answered = replace(prompt, status=PromptStatus.ANSWERED, seq=3)
        change = Change(
            conversation_id=conversation.id,
            conversation=replace(conversation, seq=3, ordinal=1),
            prompts=(PromptMove(prompt=answered, expect=PromptStatus.PENDING),),
        )
        assert await commit_one(store, change) == Committed()
        assert list(await store.prompts(PromptStatus.ANSWERED, user_id=anna)) == [answered]
        assert [found.request_id for found in await store.runs(OPEN_RUN, user_id=anna)] == [run.request_id]

    # --- search

    async def test_a_search_by_a_user_finds_what_is_that_users(self, store: Store) -> None:
        anna, word = somebody(), "w" + new_object_id()
        await said(store, f"{word} mine", title=f"{word} title", user_id=anna)
        await said(store, f"{word} others", title=f"{word} others", user_id=somebody())
        hits = (await store.search(word, user_id=anna)).items
        assert sorted(plain(hit) for hit in hits) == sorted([f"{word} mine", f"{word} title"])
        assert len((await store.search(word)).items) == 4
        assert (await store.search(word, user_id=somebody())).items == ()

    async def test_pages_of_a_users_hits_are_full_although_others_hits_stand_between(self, store: Store) -> None:
        anna, word = somebody(), "w" + new_object_id()
        for number in range(4):
            await said(store, f"{word} mine {number}", user_id=anna)
            await said(store, *(f"{word} others {n}" for n in range(30)), user_id=somebody())
        first = await store.search(word, user_id=anna, limit=2)
        second = await store.search(word, user_id=anna, limit=2, cursor=first.next)
        assert (len(first.items), len(second.items), second.next) == (2, 2, None)
        assert all("mine" in plain(hit) for hit in (*first.items, *second.items))

    async def test_a_users_search_in_a_project_holds_both(self, store: Store) -> None:
        anna, home, word = somebody(), ProjectId(new_object_id()), "w" + new_object_id()
        inside = await said(store, f"{word} a", user_id=anna, project_id=home)
        await said(store, f"{word} b", user_id=anna)
        await said(store, f"{word} c", user_id=somebody(), project_id=home)
        hits = (await store.search(word, user_id=anna, project_id=home)).items
        assert [hit.conversation_id for hit in hits] == [inside.id]

    async def test_the_name_of_a_user_is_no_word_that_anybody_finds(self, store: Store) -> None:
        anna = UserId("u" + new_object_id())
        await said(store, "something", user_id=anna)
        assert (await store.search(anna)).items == ()
        assert (await store.search("u" + anna.encode().hex())).items == ()

    async def test_a_user_finds_a_changed_message_by_its_new_words_only(self, store: Store) -> None:
        anna, word = somebody(), "w" + new_object_id()
        conversation = await said(store, user_id=anna)
        message = samples.message(conversation.id, content=f"{word} draft")
        for version in (message, replace(message, content=f"{word} final", seq=2)):
            changed = replace(conversation, seq=version.seq, ordinal=1)
            await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, messages=(version,)))
        assert (await store.search(f"{word} draft", user_id=anna)).items == ()
        assert len((await store.search(f"{word} final", user_id=anna)).items) == 1

    # --- grants and attachments

    @pytest.mark.parametrize("scope", [GrantScope.PROJECT, GrantScope.ALL])
    async def test_a_grant_that_is_bound_to_a_user_reaches_that_user_only(
        self, store: Store, scope: GrantScope
    ) -> None:
        anna, ben, home = somebody(), somebody(), ProjectId(new_object_id())
        project_id = home if scope is GrantScope.PROJECT else None
        annas, everybodys = (
            samples.grant(scope=scope, project_id=project_id, user_id=user_id) for user_id in (anna, None)
        )
        await store.put_grant(annas)
        await store.put_grant(everybodys)
        conversation_id = ConversationId(new_object_id())
        for user_id, expected in ((anna, {annas.id, everybodys.id}), (ben, {everybodys.id}), (None, {everybodys.id})):
            found = {grant.id for grant in await store.grants(conversation_id, home, user_id=user_id)}
            assert found & {annas.id, everybodys.id} == expected
        assert await store.grant(annas.id) == annas

    async def test_an_attachment_is_used_by_the_users_of_its_conversations(self, store: Store) -> None:
        anna, ben = somebody(), somebody()
        conversation, attachment = await listed(store, user_id=anna), samples.attachment()
        await store.put_attachment(attachment, b"1234")
        assert not await store.is_used_by(attachment.id, anna)
        assert list(await store.use_attachments(conversation.id, [attachment.id])) == []
        assert await store.is_used_by(attachment.id, anna)
        assert not await store.is_used_by(attachment.id, ben)
        assert not await store.is_used_by(samples.attachment().id, anna)

    # --- the audit

    async def test_the_audit_keeps_what_people_did_beside_decisions(self, store: Store) -> None:
        anna = somebody()
        conversation = await listed(store)
        decision = samples.audit_entry(conversation.id, user_id=anna, created_at=samples.at(1))
        deed = replace(
            samples.audit_entry(conversation.id, user_id=anna, created_at=samples.at(2)),
            action=Action.TOKEN_CREATED.value,
            outcome=DONE,
            conversation_id=None,
            request_id=None,
            prompt_id=None,
            address="192.0.2.1",
            token_id=TokenId("f" * 24),
            role="admin",
            subject="a token",
        )
        await store.append_to_audit(decision)
        await store.append_to_audit(deed)
        await store.append_to_audit(replace(deed, subject="again"))
        assert (await store.audit(user_id=anna)).items == (deed, decision)
        assert (await store.audit(user_id=anna, action=Action.TOKEN_CREATED.value)).items == (deed,)
        assert (await store.audit(user_id=anna, action=DECIDED)).items == (decision,)
        assert (await store.audit(user_id=anna, conversation_id=conversation.id)).items == (decision,)
        assert (await store.audit(user_id=somebody())).items == ()

    async def test_pages_of_a_filtered_audit_hold_each_once(self, store: Store) -> None:
        anna = somebody()
        made = [samples.audit_entry((await listed(store)).id, user_id=anna, created_at=samples.at(n)) for n in range(5)]
        for entry in made:
            await store.append_to_audit(entry)
        first = await store.audit(user_id=anna, limit=3)
        second = await store.audit(user_id=anna, limit=3, cursor=first.next)
        assert [*first.items, *second.items] == made[::-1]
        assert second.next is None

    async def test_only_decisions_are_counted_as_decisions(self, store: Store) -> None:
        before = dict((await store.counts()).decisions)
        entry = samples.audit_entry((await listed(store)).id, outcome=DONE, action=Action.LOGIN.value)
        await store.append_to_audit(entry)
        assert dict((await store.counts()).decisions) == before

    async def test_what_is_old_in_the_audit_goes_some_at_a_time(self, store: Store) -> None:
        anna, home = somebody(), (await listed(store)).id
        made = [samples.audit_entry(home, user_id=anna, created_at=samples.at(n - 10**9)) for n in range(5)]
        for entry in made:
            await store.append_to_audit(entry)
        before = samples.at(3 - 10**9)
        first = await store.remove_old_audit(before, 2)
        assert (first.removed, first.next is not None) == (2, True)
        assert (await store.remove_old_audit(before, 2)).removed == 1
        assert (await store.audit(user_id=anna)).items == (made[4], made[3])

    # --- logins

    async def test_logins_are_kept_newest_first_until_they_are_removed(self, store: Store) -> None:
        made = [login(created_at=samples.at(n)) for n in range(3)]
        for one in made:
            await store.add_login(one)
        assert [one for one in await store.logins() if one in made] == made[::-1]
        await store.remove_logins([made[1].id, "unknown"])
        await store.remove_logins([])
        assert [one for one in await store.logins() if one in made] == [made[2], made[0]]
