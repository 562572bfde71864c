"""Grants as people see them: listing, giving and revoking; and what is on record of decisions that were taken."""

import logging
from typing import Final

from baton.core import permissions
from baton.core.commands import CreateGrant, CreateWideGrant, Identity
from baton.core.errors import Forbidden, NotFound
from baton.core.ids import ConversationId, UserId
from baton.core.models import Conversation
from baton.core.permissions import Action, AuditEntry, Grant, GrantId, GrantScope
from baton.core.ports import Clock, Store
from baton.core.stored import Page
from baton.services.asking import Asking
from baton.services.grants import bound_to, new_grant
from baton.services.lanes import Lanes
from baton.services.ownership import Ownership
from baton.services.trail import Trail

logger = logging.getLogger(__name__)

_MOST_WIDE: Final = 1000


class Permissions:
    """See the module."""

    def __init__(
        self, *, store: Store, lanes: Lanes, ownership: Ownership, trail: Trail, asking: Asking, clock: Clock
    ) -> None:
        self._trail = trail
        self._ownership = ownership
        self._store = store
        self._lanes = lanes
        self._asking = asking
        self._clock = clock

    async def grants(self, who: Identity, conversation_id: ConversationId) -> tuple[Grant, ...]:
        """Those that reach this conversation, also ended ones, newest first. Raises NotFound."""
        conversation = await self._ownership.conversation(who, conversation_id)
        found = await self._store.grants(conversation_id, conversation.project_id, user_id=conversation.user_id)
        return tuple(found)

    async def give(self, who: Identity, conversation_id: ConversationId, command: CreateGrant) -> Grant:
        """A grant that is in force, and the answer to what waits and is decided by it.

        What a user gives for a project or for all reaches that user's conversations; what an admin gives, everybody's.
        Raises NotFound, InvalidRequest with the fields that are wrong.
        """
        conversation = await self._ownership.conversation(who, conversation_id)
        grant = new_grant(
            scope=command.scope,
            tool_name=command.tool_name,
            pattern=command.pattern,
            effect=command.effect,
            conversation_id=conversation.id,
            project_id=conversation.project_id,
            expires_at=command.expires_at,
            by=who.user_id,
            now=self._clock.now(),
            bound_to=bound_to(who),
        )
        return await self._give(who, grant, conversation)

    async def revoke(self, who: Identity, conversation_id: ConversationId, grant_id: GrantId) -> Grant:
        """The grant as taken back. Raises NotFound where it does not reach the conversation, Forbidden for one that an
        admin gave for everybody, AlreadyResolved."""
        conversation = await self._ownership.conversation(who, conversation_id)
        grant = await self._store.grant(grant_id)
        if grant is None or not _reaches(grant, conversation):
            raise NotFound("There is no such grant in this conversation")
        if not who.is_admin and grant.scope is not GrantScope.CONVERSATION and grant.user_id is None:
            raise Forbidden("This grant is everybody's: an admin takes it back")
        return await self._revoke(who, grant, conversation)

    # --- grants that reach further than one conversation

    async def wide_grants(self, who: Identity) -> tuple[Grant, ...]:
        """Those of all conversations and of projects that are in force, the newest 1,000, newest first.

        Raises Forbidden for others than admins, as do the next two: they give in their own conversations.
        """
        _check_admin(who)
        now = self._clock.now()
        standing = [
            grant
            for grant in await self._store.standing_grants()
            if grant.scope is not GrantScope.CONVERSATION and permissions.is_in_force(grant, now)
        ]
        return tuple(standing[: -_MOST_WIDE - 1 : -1])

    async def give_widely(self, who: Identity, command: CreateWideGrant) -> Grant:
        """As `give`, for a project or for all. Raises NotFound for the project, InvalidRequest."""
        _check_admin(who)
        if command.project_id is not None and await self._store.project(command.project_id) is None:
            raise NotFound("There is no such project")
        grant = new_grant(
            scope=GrantScope.ALL if command.project_id is None else GrantScope.PROJECT,
            tool_name=command.tool_name,
            pattern=command.pattern,
            effect=command.effect,
            project_id=command.project_id,
            expires_at=command.expires_at,
            by=who.user_id,
            now=self._clock.now(),
            bound_to=None,
        )
        return await self._give(who, grant)

    async def revoke_wide(self, who: Identity, grant_id: GrantId) -> Grant:
        """The grant as taken back. Raises NotFound for one of a single conversation, AlreadyResolved."""
        _check_admin(who)
        grant = await self._store.grant(grant_id)
        if grant is None or grant.scope is GrantScope.CONVERSATION:
            raise NotFound("There is no such grant of a project or of all conversations")
        return await self._revoke(who, grant)

    # --- the audit

    async def audit(
        self,
        who: Identity,
        *,
        conversation_id: ConversationId | None = None,
        user_id: UserId | None = None,
        action: Action | None = None,
        cursor: str | None,
        limit: int,
    ) -> Page[AuditEntry]:
        """What was decided and done, newest first. Raises Forbidden for others than admins, InvalidRequest."""
        if not who.is_admin:
            raise Forbidden("The audit is for admins")
        return await self._store.audit(
            conversation_id=conversation_id,
            user_id=user_id,
            action=action.value if action else None,
            cursor=cursor,
            limit=limit,
        )

    async def _give(self, who: Identity, grant: Grant, conversation: Conversation | None = None) -> Grant:
        await self._store.put_grant(grant)
        self._lanes.standing.note([grant])
        _log(grant, "grant.given")
        await self._trail.note(
            who, Action.GRANT_GIVEN, conversation=conversation, grant_id=grant.id, subject=_said(grant)
        )
        await self._look_again(grant)
        return grant

    async def _revoke(self, who: Identity, grant: Grant, conversation: Conversation | None = None) -> Grant:
        revoked = permissions.revoke(grant, self._clock.now())
        await self._store.put_grant(revoked)
        self._lanes.standing.note([revoked])
        _log(revoked, "grant.revoked")
        await self._trail.note(
            who, Action.GRANT_REVOKED, conversation=conversation, grant_id=grant.id, subject=_said(grant)
        )
        return revoked

    async def _look_again(self, grant: Grant) -> None:
        """Answer the prompts that wait and need no person any more."""
        waiting = {prompt.conversation_id for prompt in self._lanes.pending_prompts()}
        for conversation_id in waiting:
            async with self._lanes.turn(conversation_id) as memory:
                if not _reaches(grant, memory.conversation):
                    continue
                draft = self._lanes.draft(memory)
                self._asking.look_again(draft)
                if not draft.is_bare:
                    await self._lanes.commit(draft)


def _reaches(grant: Grant, conversation: Conversation) -> bool:
    return permissions.reaches(grant, conversation.id, conversation.project_id, conversation.user_id)


def _said(grant: Grant) -> str:
    """The grant in one line: it is a rule, and no content of a conversation."""
    reach = grant.scope.value if grant.user_id is None else f"{grant.scope} of {grant.user_id}"
    what = grant.tool_name if grant.pattern is None else f"{grant.tool_name}({grant.pattern})"
    return f"{grant.effect} {what} in {reach}"


def _check_admin(who: Identity) -> None:
    if not who.is_admin:
        raise Forbidden("Grants of projects and of all conversations are for admins")


def _log(grant: Grant, action: str) -> None:
    logger.info(
        "permission changed",
        extra={"action": action, "grantId": grant.id, "tool": grant.tool_name, "scope": grant.scope},
    )
