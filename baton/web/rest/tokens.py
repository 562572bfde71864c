"""Routes for tokens: an admin makes, lists and revokes them."""

from aiohttp import web

from baton.schemas import answers
from baton.schemas.codec import to_wire
from baton.schemas.rest import CreateTokenSchema
from baton.web.rest.answers import answer
from baton.web.rest.route import ADMINS, Call, Route

_ALL = "/api/tokens"


async def page(call: Call) -> web.Response:
    """The newest 1000."""
    return answer({"tokens": [to_wire(token) for token in await call.services.tokens.page(call.who)]})


async def create(call: Call) -> web.Response:
    """The token with its text."""
    made = await call.services.tokens.create(call.who, call.body)
    return answer({"token": to_wire(made.token), "secret": made.text}, status=201)


async def revoke(call: Call) -> web.Response:
    """The token as it was revoked, perhaps long ago."""
    return answer({"token": to_wire(await call.services.tokens.revoke(call.who, call.token_id))})


ROUTES = (
    Route(
        method="GET",
        path=_ALL,
        handler=page,
        summary="List tokens, also those that were revoked; for admins",
        tag="Tokens",
        answer=answers.TokensAnswer,
        roles=ADMINS,
    ),
    Route(
        method="POST",
        path=_ALL,
        handler=create,
        summary="Make a token; its text is told this once; for admins",
        tag="Tokens",
        body=CreateTokenSchema,
        answer=answers.NewTokenAnswer,
        status=201,
        roles=ADMINS,
    ),
    Route(
        method="DELETE",
        path=f"{_ALL}/{{tokenId}}",
        handler=revoke,
        summary="Revoke a token, and close what came in with it; for admins",
        tag="Tokens",
        answer=answers.TokenAnswer,
        roles=ADMINS,
    ),
)
