"""Routes for what is allowed without asking, and for what was decided and done."""

from aiohttp import web

from baton.core.permissions import Grant
from baton.schemas import answers
from baton.schemas.codec import to_wire
from baton.schemas.rest import AuditQuery, AuditQuerySchema, CreateGrantSchema, CreateWideGrantSchema
from baton.web.rest.answers import answer
from baton.web.rest.route import ADMINS, Call, Route

_TAG = "Permissions"
_WIDE = "/api/permissions"
_GRANTS = "/api/chat/conversations/{conversationId}/permissions"


async def grants(call: Call) -> web.Response:
    """Those that reach the conversation."""
    found = await call.services.permissions.grants(call.who, call.conversation_id)
    return answer({"permissions": [to_wire(grant) for grant in found]})


async def give(call: Call) -> web.Response:
    """The grant."""
    return _said(await call.services.permissions.give(call.who, call.conversation_id, call.body), status=201)


async def revoke(call: Call) -> web.Response:
    """The grant, ended."""
    return _said(await call.services.permissions.revoke(call.who, call.conversation_id, call.grant_id))


async def wide_grants(call: Call) -> web.Response:
    """Those that reach further than one conversation."""
    found = await call.services.permissions.wide_grants(call.who)
    return answer({"permissions": [to_wire(grant) for grant in found]})


async def give_widely(call: Call) -> web.Response:
    """The grant."""
    return _said(await call.services.permissions.give_widely(call.who, call.body), status=201)


async def revoke_wide(call: Call) -> web.Response:
    """The grant, ended."""
    return _said(await call.services.permissions.revoke_wide(call.who, call.grant_id))


async def audit(call: Call) -> web.Response:
    """One page of entries."""
    query: AuditQuery = call.query
    page = await call.services.permissions.audit(
        call.who,
        conversation_id=query.conversation_id,
        user_id=query.user_id,
        action=query.action,
        cursor=query.next,
        limit=query.limit,
    )
    return answer({"entries": [to_wire(entry) for entry in page.items], "next": page.next})


def _said(grant: Grant, *, status: int = 200) -> web.Response:
    return answer({"permission": to_wire(grant)}, status=status)


ROUTES = (
    Route(
        method="GET",
        path=_GRANTS,
        handler=grants,
        summary="Grants that reach a conversation, newest first",
        tag=_TAG,
        answer=answers.GrantsAnswer,
    ),
    Route(
        method="POST",
        path=_GRANTS,
        handler=give,
        summary="Allow or deny a tool from now on",
        tag=_TAG,
        answer=answers.GrantAnswer,
        status=201,
        body=CreateGrantSchema,
    ),
    Route(
        method="DELETE",
        path=f"{_GRANTS}/{{grantId}}",
        handler=revoke,
        summary="Take a grant back",
        tag=_TAG,
        answer=answers.GrantAnswer,
    ),
    Route(
        method="GET",
        path=_WIDE,
        handler=wide_grants,
        summary="Grants in force in a project or in all conversations, newest first",
        tag=_TAG,
        answer=answers.GrantsAnswer,
        roles=ADMINS,
    ),
    Route(
        method="POST",
        path=_WIDE,
        handler=give_widely,
        summary="Allow or deny a tool in a project, or everywhere, from now on",
        tag=_TAG,
        answer=answers.GrantAnswer,
        status=201,
        body=CreateWideGrantSchema,
        roles=ADMINS,
    ),
    Route(
        method="DELETE",
        path=f"{_WIDE}/{{grantId}}",
        handler=revoke_wide,
        summary="Take such a grant back",
        tag=_TAG,
        answer=answers.GrantAnswer,
        roles=ADMINS,
    ),
    Route(
        method="GET",
        path="/api/audit",
        handler=audit,
        summary="What was decided and done, newest first; for admins",
        tag=_TAG,
        answer=answers.AuditAnswer,
        query=AuditQuerySchema,
        roles=ADMINS,
    ),
)
