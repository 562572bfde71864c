"""The audit of who did what: each deed with who, when and where from, never with content, and in bounded number."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import pytest

from baton.core.commands import AccountRole, CreateGrant, CreateProject, Identity
from baton.core.errors import StoreUnavailable
from baton.core.ids import UserId
from baton.core.models import Conversation, PermissionMode
from baton.core.permissions import DECIDED, DONE, Action, AuditEntry
from baton.core.tokens import CreateToken
from baton.services import trail as service
from baton.services.cleaning import Cleaning
from baton.services.trail import Trail
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from baton.testing.stores import StoreInFront
from tests.services.harness import ANNA, ROOT, Server

WHO: Final = replace(ROOT, address="192.0.2.7")
SECRET: Final = "a secret title that nobody may read in the audit"


async def delete(server: Server, made: Conversation) -> object:
    return await server.conversations.delete(WHO, made.id)


async def restore(server: Server, made: Conversation) -> object:
    await server.conversations.archive(WHO, made.id)
    return await server.conversations.restore(WHO, made.id)


async def export(server: Server, made: Conversation) -> object:
    return await server.services.transfer.export_json(WHO, made.id)


async def reset(server: Server, _: Conversation) -> object:
    return await server.runs.reset_active(WHO)


async def clear(server: Server, _: Conversation) -> object:
    return await server.conversations.clear_sessions(WHO)


async def give(server: Server, made: Conversation) -> object:
    return await server.permissions.give(WHO, made.id, CreateGrant(tool_name="Bash", pattern="make test"))


async def take_back(server: Server, made: Conversation) -> object:
    given = await server.permissions.give(ANNA, made.id, CreateGrant(tool_name="Bash"))
    return await server.permissions.revoke(WHO, made.id, given.id)


async def change_mode(server: Server, made: Conversation) -> object:
    return await server.conversations.set_mode(WHO, made.id, PermissionMode.PLAN)


async def make_token(server: Server, _: Conversation) -> object:
    return await server.services.tokens.create(WHO, CreateToken(name="new", role=AccountRole.USER))


async def revoke_token(server: Server, _: Conversation) -> object:
    made = await server.services.tokens.create(ANNA, CreateToken(name="new", role=AccountRole.USER))
    return await server.services.tokens.revoke(WHO, made.token.id)


async def delete_project(server: Server, _: Conversation) -> object:
    project = await server.services.projects.create(WHO, CreateProject(name="Garden"))
    return await server.services.projects.delete(WHO, project.id)


Deed = Callable[[Server, Conversation], Awaitable[object]]
DEEDS: Final[dict[Action, tuple[Deed, bool]]] = {
    Action.CONVERSATION_DELETED: (delete, True),
    Action.CONVERSATION_RESTORED: (restore, True),
    Action.CONVERSATION_EXPORTED: (export, True),
    Action.RUNS_RESET: (reset, False),
    Action.SESSIONS_CLEARED: (clear, False),
    Action.GRANT_GIVEN: (give, True),
    Action.GRANT_REVOKED: (take_back, True),
    Action.MODE_CHANGED: (change_mode, True),
    Action.TOKEN_CREATED: (make_token, False),
    Action.TOKEN_REVOKED: (revoke_token, False),
    Action.PROJECT_DELETED: (delete_project, False),
}
"""How each is done, and whether its entry names a conversation."""
ELSEWHERE: Final = {Action.PROMPT_DECIDED, Action.LOGIN, Action.LOGIN_FAILED, Action.LOGOUT}
"""Tested with prompts and logins."""


async def entries(server: Server, action: Action) -> tuple[AuditEntry, ...]:
    """What the audit has of it, by WHO."""
    return (await server.store.audit(action=action.value, user_id=WHO.user_id)).items


def test_every_action_is_tested() -> None:
    assert set(DEEDS) | ELSEWHERE == set(Action)
    assert DECIDED == Action.PROMPT_DECIDED


@pytest.mark.parametrize("action", DEEDS, ids=str)
async def test_a_deed_is_entered_once_with_who_when_where_and_about_what(server: Server, action: Action) -> None:
    do, has_conversation = DEEDS[action]
    made = await server.conversation()
    await do(server, made)
    (entry,) = await entries(server, action)
    assert (entry.user_id, entry.role, entry.address) == ("root", "admin", "192.0.2.7")
    assert (entry.created_at, entry.outcome) == (server.clock.now(), DONE)
    assert entry.conversation_id == (made.id if has_conversation else None)
    assert SECRET not in repr(entry)


async def test_what_changes_nothing_is_not_entered(server: Server) -> None:
    made = await server.conversation()
    for _ in range(2):
        await server.conversations.set_mode(WHO, made.id, PermissionMode.PLAN)
        await server.conversations.delete(WHO, made.id)
        await server.conversations.restore(WHO, made.id)
        await server.conversations.restore(WHO, made.id)
    assert len(await entries(server, Action.MODE_CHANGED)) == 1
    assert len(await entries(server, Action.CONVERSATION_DELETED)) == 2
    assert len(await entries(server, Action.CONVERSATION_RESTORED)) == 2


async def test_what_is_refused_is_not_entered(server: Server) -> None:
    made = await server.conversation()
    stranger = Identity(UserId("stranger"), AccountRole.USER)
    for do in (server.conversations.delete, server.conversations.restore, server.services.transfer.export_json):
        with pytest.raises(Exception, match="no such conversation"):
            await do(stranger, made.id)
    assert (await server.store.audit(user_id=stranger.user_id)).items == ()


# --- failed logins -----------------------------------------------------------------------------------------------


async def failed(store: SqliteStore) -> list[AuditEntry]:
    return list((await store.audit(action=Action.LOGIN_FAILED.value, limit=1000)).items)


async def test_failed_logins_are_entered_in_bounded_number_and_the_rest_is_counted(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_FAILED", 3)
    clock = FakeClock()
    trail = Trail(store, clock)
    for _ in range(10):
        await trail.login_failed("192.0.2.1")
    assert [(entry.address, entry.user_id, entry.subject) for entry in await failed(store)] == [
        ("192.0.2.1", None, None)
    ] * 3
    clock.advance(3600)
    await trail.login_failed("192.0.2.2")
    newest, *_ = await failed(store)
    assert (newest.address, newest.subject) == ("192.0.2.2", "and 7 more before")


# --- the store ---------------------------------------------------------------------------------------------------


class Away(StoreInFront):
    """Takes no entry."""

    async def append_to_audit(self, entry: AuditEntry) -> None:
        raise StoreUnavailable("away")


async def test_an_entry_that_the_store_does_not_take_is_told_in_the_log(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        await Trail(Away(store), FakeClock()).note(WHO, Action.RUNS_RESET)
    (record,) = [record for record in caplog.records if getattr(record, "action", "") == "audit.lost"]
    assert (record.item, record.userId) == ("runs.reset", "root")  # type: ignore[attr-defined]  # from `extra`


async def test_old_entries_go_with_the_clean_up_and_with_zero_days_none_does(server: Server) -> None:
    await server.runs.reset_active(WHO)
    server.clock.advance(366 * 24 * 3600)
    limits = replace(server.services.limits, audit_keep_days=0)
    kept = Cleaning(store=server.store, conversations=server.conversations, clock=server.clock, limits=limits)
    await kept.clean_up()
    assert len(await entries(server, Action.RUNS_RESET)) == 1
    await server.services.cleaning.clean_up()
    assert await entries(server, Action.RUNS_RESET) == ()
