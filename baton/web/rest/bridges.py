"""Routes for what lies on the machines of bridges: sessions that agents keep there themselves."""

from aiohttp import web

from baton.schemas import answers
from baton.schemas.codec import to_wire
from baton.schemas.rest import ImportSessionSchema, SessionsQuery, SessionsQuerySchema
from baton.web.rest.answers import answer
from baton.web.rest.route import Call, Route

_SESSIONS = "/api/bridges/sessions"


async def sessions(call: Call) -> web.Response:
    """A page of them."""
    query: SessionsQuery = call.query
    found = await call.services.history.sessions(
        call.who,
        bridge_id=query.bridge_id,
        working_directory=query.working_directory,
        cursor=query.next,
        limit=query.limit,
    )
    return answer({"sessions": [to_wire(session) for session in found.sessions], "next": found.next})


async def import_session(call: Call) -> web.Response:
    """The conversation; 200 where it was there already."""
    imported = await call.services.history.import_session(call.who, call.body)
    return answer(
        {
            "conversation": to_wire(imported.conversation),
            "isNew": imported.is_new,
            "messageCount": imported.message_count,
        },
        status=201 if imported.is_new else 200,
    )


ROUTES = (
    Route(
        method="GET",
        path=_SESSIONS,
        handler=sessions,
        summary="Claude's own sessions of a folder on a bridge, the newest first",
        tag="Operation",
        query=SessionsQuerySchema,
        answer=answers.SessionsAnswer,
    ),
    Route(
        method="POST",
        path=f"{_SESSIONS}/import",
        handler=import_session,
        summary="Make a conversation of one of them, to go on with",
        tag="Operation",
        body=ImportSessionSchema,
        answer=answers.ImportedAnswer,
        status=201,
        also_answers=(200,),
    ),
)
