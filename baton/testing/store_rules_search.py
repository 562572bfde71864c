"""The rules of `Store.search`: whatever a person types finds what holds all words, newest first."""

from dataclasses import replace

import pytest

from baton.core.errors import InvalidRequest
from baton.core.ids import ProjectId, new_object_id
from baton.core.models import Conversation, ConversationStatus, MessageStatus, Role, TextBlock
from baton.core.ports import Store
from baton.core.stored import Change, Committed, SearchHit
from baton.testing import samples
from baton.testing.store_rules_commit import commit_one

MATCH_START, MATCH_END = "\ue000", "\ue001"


async def said(store: Store, *contents: str, **fields: object) -> Conversation:
    """A conversation in which these messages stand, a second apart."""
    conversation = samples.conversation(**{"title": "", **fields})
    messages = tuple(
        samples.message(
            conversation.id,
            content=content,
            ordinal=n,
            seq=n,
            created_at=samples.at(n),
            project_id=conversation.project_id,
        )
        for n, content in enumerate(contents, start=1)
    )
    conversation = replace(conversation, seq=len(messages), ordinal=len(messages))
    change = Change(conversation_id=conversation.id, conversation=conversation, is_new=True, messages=messages)
    assert await commit_one(store, change) == Committed()
    return conversation


def plain(hit: SearchHit) -> str:
    """A snippet without its marks."""
    return hit.snippet.replace(MATCH_START, "").replace(MATCH_END, "")


class SearchRules:
    """Words find messages and titles, and no text that a person types is an error."""

    async def test_a_message_is_found_by_its_words_in_any_order(self, store: Store) -> None:
        conversation = await said(store, "the quick brown fox")
        (hit,) = (await store.search("fox quick")).items
        assert hit.conversation_id == conversation.id
        assert hit.message_id is not None
        assert hit.role == Role.ASSISTANT
        assert hit.created_at == samples.at(1)
        assert "quick brown" in plain(hit)

    async def test_all_words_must_be_there(self, store: Store) -> None:
        await said(store, "alpha beta", "alpha gamma")
        hits = (await store.search("alpha gamma")).items
        assert [plain(hit) for hit in hits] == ["alpha gamma"]

    async def test_case_and_accents_make_no_difference(self, store: Store) -> None:
        await said(store, "Crème BRÛLÉE in Zürich")
        for words in ("creme brulee", "ZURICH", "zürich crème"):
            assert len((await store.search(words)).items) == 1, words

    async def test_matches_are_marked_in_the_snippet(self, store: Store) -> None:
        await said(store, "before needle after")
        (hit,) = (await store.search("needle")).items
        assert f"{MATCH_START}needle{MATCH_END}" in hit.snippet

    async def test_a_snippet_of_a_long_message_is_short_and_holds_the_match(self, store: Store) -> None:
        await said(store, "hay " * 20_000 + "needle " + "straw " * 20_000)
        (hit,) = (await store.search("needle")).items
        assert f"{MATCH_START}needle{MATCH_END}" in hit.snippet
        assert len(hit.snippet) < 1000

    async def test_a_title_is_found(self, store: Store) -> None:
        project_id = ProjectId(new_object_id())
        conversation = await said(store, title="Plans for the garden", project_id=project_id)
        (hit,) = (await store.search("garden")).items
        assert (hit.conversation_id, hit.message_id, hit.role) == (conversation.id, None, None)
        assert (hit.title, hit.project_id) == ("Plans for the garden", project_id)

    async def test_the_newest_come_first(self, store: Store) -> None:
        await said(store, "pear one", "pear two", "pear three")
        assert [plain(hit) for hit in (await store.search("pear")).items] == ["pear three", "pear two", "pear one"]

    async def test_what_was_written_late_about_old_times_is_still_old(self, store: Store) -> None:
        conversation = await said(store, "plum new")
        old = samples.message(conversation.id, content="plum old", ordinal=2, seq=2, created_at=samples.at(-1000))
        changed = replace(conversation, seq=2, ordinal=2)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, messages=(old,)))
        assert [plain(hit) for hit in (await store.search("plum")).items] == ["plum new", "plum old"]

    async def test_pages_of_hits_hold_each_once(self, store: Store) -> None:
        await said(store, *(f"apple {n}" for n in range(7)), title="apple title")
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = await store.search("apple", cursor=cursor, limit=3)
            assert len(page.items) <= 3
            seen.extend(plain(hit) for hit in page.items)
            cursor = page.next
            if cursor is None:
                break
        assert sorted(seen) == sorted([*(f"apple {n}" for n in range(7)), "apple title"])

    async def test_a_cursor_of_hits_stands_still_while_messages_are_added(self, store: Store) -> None:
        conversation = await said(store, *(f"grape {n}" for n in range(4)))
        first = await store.search("grape", limit=2)
        late = samples.message(conversation.id, content="grape late", ordinal=9, seq=9, created_at=samples.at(99))
        changed = replace(conversation, seq=9, ordinal=9)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, messages=(late,)))
        second = await store.search("grape", cursor=first.next, limit=2)
        assert [plain(hit) for hit in first.items] == ["grape 3", "grape 2"]
        assert [plain(hit) for hit in second.items] == ["grape 1", "grape 0"]

    async def test_a_foreign_cursor_of_hits_is_refused(self, store: Store) -> None:
        with pytest.raises(InvalidRequest):
            await store.search("word", cursor="not ours")

    async def test_a_project_limits_the_search(self, store: Store) -> None:
        home = ProjectId(new_object_id())
        inside = await said(store, "kiwi inside", project_id=home, title="kiwi")
        await said(store, "kiwi outside", title="kiwi")
        hits = (await store.search("kiwi", project_id=home)).items
        assert len(hits) == 2
        assert {hit.conversation_id for hit in hits} == {inside.id}

    async def test_a_conversation_that_moved_is_found_where_it_is_now(self, store: Store) -> None:
        old, new = ProjectId(new_object_id()), ProjectId(new_object_id())
        conversation = await said(store, "papaya inside", project_id=old, title="papaya")
        moved = replace(conversation, project_id=new, seq=conversation.seq + 1)
        change = Change(conversation_id=conversation.id, conversation=moved)
        assert await commit_one(store, change) == Committed()
        assert (await store.search("papaya", project_id=old)).items == ()
        assert {hit.project_id for hit in (await store.search("papaya", project_id=new)).items} == {new}
        assert len((await store.search("papaya", project_id=new)).items) == 2

    async def test_deleted_conversations_are_not_found(self, store: Store) -> None:
        conversation = await said(store, "mango", title="mango")
        deleted = replace(conversation, status=ConversationStatus.DELETED)
        await commit_one(store, Change(conversation_id=conversation.id, conversation=deleted))
        assert (await store.search("mango")).items == ()
        await commit_one(store, Change(conversation_id=conversation.id, conversation=conversation))
        assert len((await store.search("mango")).items) == 2

    async def test_a_changed_message_is_found_by_its_new_words_only(self, store: Store) -> None:
        conversation = await said(store)
        message = samples.message(conversation.id, content="draft lemon", status=MessageStatus.STREAMING)
        final = replace(message, content="final orange", blocks=(TextBlock("final orange"),), seq=2)
        for version in (message, final):
            changed = replace(conversation, seq=version.seq, ordinal=1)
            await commit_one(store, Change(conversation_id=conversation.id, conversation=changed, messages=(version,)))
        assert (await store.search("lemon")).items == ()
        assert len((await store.search("orange")).items) == 1

    async def test_a_changed_title_is_found_by_its_new_words_only(self, store: Store) -> None:
        conversation = await said(store, title="draft")
        await commit_one(
            store, Change(conversation_id=conversation.id, conversation=replace(conversation, title="final"))
        )
        assert (await store.search("draft")).items == ()
        assert len((await store.search("final")).items) == 1

    @pytest.mark.parametrize(
        "words",
        [
            '"',
            '""',
            '"unclosed',
            "NOT",
            "AND OR NOT",
            "NEAR(a b)",
            "content:word",
            "a*",
            "^a",
            "(",
            ")",
            "{a b}:c",
            "-minus",
            "+plus",
            "'; DROP TABLE messages; --",
            "\\",
            "$where",
            '{"$gt": ""}',
            "\0",
            "a\0b",
            "👋",
            "東京",
            "--",
            "%",
            "_",
            "\ue000",
            "[a-z]+(",
            "word " * 400,
            "x" * 10_000,
        ],
    )
    async def test_no_text_is_an_error(self, store: Store, words: str) -> None:
        await said(store, "unrelated line")
        assert (await store.search(words)).items == ()

    @pytest.mark.parametrize("words", ["", " ", " \t\n "])
    async def test_no_words_find_nothing(self, store: Store, words: str) -> None:
        await said(store, "something")
        page = await store.search(words)
        assert (page.items, page.next) == ((), None)

    @pytest.mark.parametrize(
        "words", ['"don\'t panic"', "panic -towel", "PANIC AND towel", "panic* towel", "(panic towel)", "panic, towel!"]
    )
    async def test_signs_around_words_are_no_operators(self, store: Store, words: str) -> None:
        await said(store, "don't panic and bring a towel")
        assert len((await store.search(words)).items) == 1

    async def test_text_around_difficult_characters_is_found(self, store: Store) -> None:
        await said(store, "first \0 second \\u0000 third 👋 fourth")
        for word in ("first", "second", "third", "fourth"):
            assert len((await store.search(word)).items) == 1, word
