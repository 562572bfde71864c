"""Grants of a project and of all conversations: given without a conversation, listed, taken back; and what moves."""

from datetime import timedelta

import pytest

from baton.core.commands import AccountRole, CreateGrant, CreateProject, CreateWideGrant, Identity, PatchConversation
from baton.core.errors import Forbidden, InvalidRequest, NotFound
from baton.core.events import ConversationUpdated
from baton.core.ids import ProjectId, UserId
from baton.core.models import PromptStatus
from baton.core.permissions import GrantId, GrantScope, GrantStatus
from tests.services.harness import ANNA, Server
from tests.services.test_judging import a_run, ask, bash

ADMIN = Identity(UserId("root"), AccountRole.ADMIN)


async def test_a_wide_grant_reaches_what_it_is_for_and_is_listed_until_it_ends(server: Server) -> None:
    projects = server.services.projects
    garden = await projects.create(ANNA, CreateProject(name="Garden"))
    await server.permissions.give(ANNA, (await server.conversation()).id, CreateGrant(tool_name="Read"))
    inside = await server.permissions.give_widely(ADMIN, CreateWideGrant(tool_name="WebFetch", project_id=garden.id))
    server.clock.advance(1)
    until = server.clock.now() + timedelta(minutes=5)
    everywhere = await server.permissions.give_widely(ADMIN, CreateWideGrant(tool_name="Bash", expires_at=until))
    assert (inside.scope, everywhere.scope) == (GrantScope.PROJECT, GrantScope.ALL)
    assert await server.permissions.wide_grants(ADMIN) == (everywhere, inside)
    await a_run(server, project=garden.id)
    assert (await bash(server, "npm test")).auto_handler == "grant"
    assert (await ask(server, "WebFetch", "p2", input={"url": "https://x.org"})).auto_handler == "grant"
    server.clock.advance(301)
    assert await server.permissions.wide_grants(ADMIN) == (inside,)
    assert (await server.permissions.revoke_wide(ADMIN, inside.id)).status is GrantStatus.REVOKED
    assert await server.permissions.wide_grants(ADMIN) == ()


async def test_a_wide_grant_that_makes_no_sense_is_refused(server: Server) -> None:
    with pytest.raises(NotFound):
        await server.permissions.give_widely(ADMIN, CreateWideGrant(tool_name="Bash", project_id=ProjectId("9" * 24)))
    with pytest.raises(InvalidRequest):
        await server.permissions.give_widely(ADMIN, CreateWideGrant(tool_name="Bash", pattern="ls; rm"))
    own = await server.permissions.give(ANNA, (await server.conversation()).id, CreateGrant(tool_name="Bash"))
    for unknown in (own.id, GrantId("9" * 24)):
        with pytest.raises(NotFound):
            await server.permissions.revoke_wide(ADMIN, unknown)


async def test_what_waits_is_answered_once_its_conversation_is_where_a_grant_allows_it(server: Server) -> None:
    garden = await server.services.projects.create(ANNA, CreateProject(name="Garden"))
    await server.permissions.give_widely(ADMIN, CreateWideGrant(tool_name="Bash", project_id=garden.id))
    conversation = await a_run(server)
    prompt = await bash(server, "npm test")
    assert prompt.status is PromptStatus.PENDING
    await server.conversations.patch(ANNA, conversation.id, PatchConversation(project_id=garden.id))
    assert (await server.prompts.get(ANNA, prompt.id)).auto_handler == "grant"


async def test_a_conversation_moves_once_and_everybody_is_told(server: Server) -> None:
    garden = await server.services.projects.create(ANNA, CreateProject(name="Garden"))
    conversation = await server.conversation()
    for _ in range(2):
        moved = await server.conversations.patch(ANNA, conversation.id, PatchConversation(project_id=garden.id))
        assert moved.project_id == garden.id
    told = [event for event in server.browser.events if isinstance(event, ConversationUpdated)]
    assert told == [ConversationUpdated(moved)]
    with pytest.raises(NotFound):
        await server.conversations.patch(ANNA, conversation.id, PatchConversation(project_id=ProjectId("9" * 24)))
    assert (await server.conversations.get(ANNA, conversation.id)).project_id == garden.id


async def test_wide_grants_are_for_admins(server: Server) -> None:
    given = await server.permissions.give_widely(ADMIN, CreateWideGrant(tool_name="Bash"))
    for refused in (
        server.permissions.wide_grants(ANNA),
        server.permissions.give_widely(ANNA, CreateWideGrant(tool_name="Bash")),
        server.permissions.revoke_wide(ANNA, given.id),
    ):
        with pytest.raises(Forbidden):
            await refused
