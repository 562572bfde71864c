"""Routes for who asks: the login cookie, and what the credential says."""

from aiohttp import web

from baton.schemas import answers
from baton.schemas.rest import LoginSchema
from baton.web.rest.answers import answer
from baton.web.rest.route import EVERYBODY, Call, Route
from baton.web.wire import encode


async def login(call: Call) -> web.Response:
    """Log the browser in: it gets a cookie that goes on for the token."""
    response = answer({})
    who = await call.desk.access.log_in(call.request, response, call.body["token"])
    response.body = encode({"ok": True, "userId": who.user_id, "role": who.role.value})
    return response


async def logout(call: Call) -> web.Response:
    """Take the cookie back, whatever it holds, and end the login."""
    response = answer({})
    await call.desk.access.log_out(call.request, response)
    return response


async def me(call: Call) -> web.Response:
    """Who the credential says you are."""
    return answer({"userId": call.who.user_id, "role": call.who.role.value})


ROUTES = (
    Route(
        method="POST",
        path="/api/login",
        handler=login,
        summary="Log a browser in: a token for the login cookie",
        tag="Login",
        answer=answers.IdentityAnswer,
        body=LoginSchema,
        is_public=True,
        judges_token=True,
    ),
    Route(
        method="POST",
        path="/api/logout",
        handler=logout,
        summary="End the login, and take its cookie back",
        tag="Login",
        answer=answers.DoneAnswer,
        is_public=True,
    ),
    Route(
        method="GET",
        path="/api/me",
        handler=me,
        summary="Who the credential says you are",
        tag="Login",
        answer=answers.IdentityAnswer,
        roles=EVERYBODY,
    ),
)
