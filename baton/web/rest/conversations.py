"""Routes for conversations: their properties, their life, their session and permission mode."""

from aiohttp import web

from baton.core.models import Conversation, PermissionMode
from baton.schemas import answers
from baton.schemas.browser import CreateConversationSchema
from baton.schemas.codec import to_wire
from baton.schemas.rest import (
    ConversationsQuery,
    ConversationsQuerySchema,
    ForkConversationSchema,
    ModeBodySchema,
    PatchConversationSchema,
    SessionBodySchema,
)
from baton.web.rest.answers import answer
from baton.web.rest.route import Call, Route

_ALL = "/api/chat/conversations"
_ONE = f"{_ALL}/{{conversationId}}"
_TAG = "Conversations"


async def page(call: Call) -> web.Response:
    """Some of them."""
    query: ConversationsQuery = call.query
    found = await call.services.conversations.page(call.who, query.where, cursor=query.cursor, limit=query.limit)
    seen = await call.services.marks.of(call.who, [conversation.id for conversation in found.items])
    listed = [to_wire(conversation) for conversation in found.items]
    return answer({"conversations": listed, "seen": seen, "next": found.next})


async def create(call: Call) -> web.Response:
    """A new one."""
    return _said(await call.services.conversations.create(call.who, call.body), status=201)


async def get(call: Call) -> web.Response:
    """One of them."""
    return _said(await call.services.conversations.get(call.who, call.conversation_id))


async def patch(call: Call) -> web.Response:
    """With other properties."""
    return _said(await call.services.conversations.patch(call.who, call.conversation_id, call.body))


async def delete(call: Call) -> web.Response:
    """Into the bin."""
    return _said(await call.services.conversations.delete(call.who, call.conversation_id))


async def restore(call: Call) -> web.Response:
    """Out of bin or archive."""
    return _said(await call.services.conversations.restore(call.who, call.conversation_id))


async def archive(call: Call) -> web.Response:
    """Into the archive."""
    return _said(await call.services.conversations.archive(call.who, call.conversation_id))


async def fork(call: Call) -> web.Response:
    """A copy."""
    return _said(await call.services.conversations.fork(call.who, call.body), status=201)


async def set_session(call: Call) -> web.Response:
    """With the session that the next run resumes."""
    session_id: str = call.body["claude_session_id"]
    return _said(await call.services.conversations.set_session(call.who, call.conversation_id, session_id))


async def clear_session(call: Call) -> web.Response:
    """Without a session: the next run starts one."""
    return _said(await call.services.conversations.set_session(call.who, call.conversation_id, None))


async def clear_sessions(call: Call) -> web.Response:
    """How many had one."""
    return answer({"cleared": await call.services.conversations.clear_sessions(call.who)})


async def mode(call: Call) -> web.Response:
    """How much the agent may do without asking."""
    return _mode(await call.services.conversations.mode(call.who, call.conversation_id))


async def set_mode(call: Call) -> web.Response:
    """The mode from now on."""
    return _mode(await call.services.conversations.set_mode(call.who, call.conversation_id, call.body))


async def reset_active(call: Call) -> web.Response:
    """How many were ended."""
    return answer(to_wire(await call.services.runs.reset_active(call.who)))


def _said(conversation: Conversation, *, status: int = 200) -> web.Response:
    return answer({"conversation": to_wire(conversation)}, status=status)


def _mode(now: PermissionMode) -> web.Response:
    return answer({"mode": now.value})


ROUTES = (
    Route(
        method="GET",
        path=_ALL,
        handler=page,
        summary="List conversations, most recently updated first",
        tag=_TAG,
        answer=answers.ConversationsAnswer,
        query=ConversationsQuerySchema,
    ),
    Route(
        method="POST",
        path=_ALL,
        handler=create,
        summary="Make an empty conversation",
        tag=_TAG,
        answer=answers.ConversationAnswer,
        status=201,
        body=CreateConversationSchema,
    ),
    Route(
        method="POST",
        path=f"{_ALL}/reset-active",
        handler=reset_active,
        summary="End every active run as aborted and every pending prompt as cancelled",
        tag=_TAG,
        answer=answers.ResetAnswer,
    ),
    Route(method="GET", path=_ONE, handler=get, summary="A conversation", tag=_TAG, answer=answers.ConversationAnswer),
    Route(
        method="PATCH",
        path=_ONE,
        handler=patch,
        summary="Change a conversation; null takes a value away",
        tag=_TAG,
        answer=answers.ConversationAnswer,
        body=PatchConversationSchema,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=delete,
        summary="Delete a conversation; it can be restored for 30 days",
        tag=_TAG,
        answer=answers.ConversationAnswer,
    ),
    Route(
        method="POST",
        path=f"{_ONE}/restore",
        handler=restore,
        summary="Undo a deletion or an archiving",
        tag=_TAG,
        answer=answers.ConversationAnswer,
    ),
    Route(
        method="PUT",
        path=f"{_ONE}/archive",
        handler=archive,
        summary="Archive a conversation",
        tag=_TAG,
        answer=answers.ConversationAnswer,
    ),
    Route(
        method="POST",
        path=f"{_ONE}/fork",
        handler=fork,
        summary="Copy a conversation up to a message; the copy's first run forks the session",
        tag=_TAG,
        answer=answers.ConversationAnswer,
        status=201,
        body=ForkConversationSchema,
    ),
    Route(
        method="PUT",
        path=f"{_ONE}/session",
        handler=set_session,
        summary="Set the session that the next run resumes",
        tag=_TAG,
        answer=answers.ConversationAnswer,
        body=SessionBodySchema,
    ),
    Route(
        method="DELETE",
        path=f"{_ONE}/session",
        handler=clear_session,
        summary="Let the next run start a new session; the history stays",
        tag=_TAG,
        answer=answers.ConversationAnswer,
    ),
    Route(
        method="DELETE",
        path="/api/chat/sessions/clear",
        handler=clear_sessions,
        summary="Let every conversation's next run start a new session",
        tag=_TAG,
        answer=answers.ClearedAnswer,
    ),
    Route(
        method="GET",
        path=f"{_ONE}/permission-mode",
        handler=mode,
        summary="The permission mode",
        tag=_TAG,
        answer=answers.ModeAnswer,
    ),
    Route(
        method="POST",
        path=f"{_ONE}/permission-mode",
        handler=set_mode,
        summary="Change the permission mode",
        tag=_TAG,
        answer=answers.ModeAnswer,
        body=ModeBodySchema,
    ),
)
