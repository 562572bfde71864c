"""What a REST route is, and how one request goes through it: who, path, query, body, handler.

Routes are data: aiohttp's router and the OpenAPI document are both made from the same table.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from marshmallow import Schema

from baton.core.commands import AccountRole, Identity
from baton.core.errors import Forbidden, InvalidRequest
from baton.core.ids import AttachmentId, ConversationId, ProjectId, PromptId, RequestId, TokenId
from baton.core.limits import Limits
from baton.core.permissions import GrantId
from baton.schemas.codec import camel
from baton.schemas.fields import ObjectId, Payload, RequestName, load, parse_json
from baton.services.catalog import Services
from baton.web.access import Access
from baton.web.rest.answers import JSON
from baton.web.rest.body import read_body
from baton.web.rest.health import HealthProbe
from baton.web.rest.metrics import Metrics

PEOPLE: Final = frozenset({AccountRole.USER, AccountRole.ADMIN})
ADMINS: Final = frozenset({AccountRole.ADMIN})
EVERYBODY: Final = frozenset(AccountRole)

_PARAMETER = re.compile(r"{(\w+)}")


class PathSchema(Payload):
    """Every parameter that a path may have; a route uses those that it names."""

    conversation_id = ObjectId("conversation")
    project_id = ObjectId("project")
    prompt_id = ObjectId("prompt")
    grant_id = ObjectId("permission")
    attachment_id = ObjectId("attachment")
    request_id = RequestName()
    token_id = ObjectId("token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What handlers work with: the same for all requests of one app."""

    services: Services
    access: Access
    limits: Limits
    health: HealthProbe
    metrics: Metrics
    version: str
    describe: Callable[[], Mapping[str, Any]]
    """Makes the OpenAPI document; blocks for some tens of milliseconds, the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, judged: who asks, for what."""

    request: web.Request
    desk: Desk
    path: Mapping[str, str]
    query: Any
    """What the route's query schema makes."""
    body: Any
    """What the route's body schema makes."""
    asker: Identity | None

    @property
    def services(self) -> Services:
        """The use cases."""
        return self.desk.services

    @property
    def who(self) -> Identity:
        """Who asks. Only for routes that are not public."""
        assert self.asker is not None, "a public route knows nobody"
        return self.asker

    @property
    def conversation_id(self) -> ConversationId:
        """Of the path."""
        return ConversationId(self.path["conversation_id"])

    @property
    def project_id(self) -> ProjectId:
        """Of the path."""
        return ProjectId(self.path["project_id"])

    @property
    def prompt_id(self) -> PromptId:
        """Of the path."""
        return PromptId(self.path["prompt_id"])

    @property
    def grant_id(self) -> GrantId:
        """Of the path."""
        return GrantId(self.path["grant_id"])

    @property
    def attachment_id(self) -> AttachmentId:
        """Of the path."""
        return AttachmentId(self.path["attachment_id"])

    @property
    def request_id(self) -> RequestId:
        """Of the path."""
        return RequestId(self.path["request_id"])

    @property
    def token_id(self) -> TokenId:
        """Of the path."""
        return TokenId(self.path["token_id"])


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One thing that REST can do. `path` names its parameters as the wire does: `{conversationId}`."""

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    answer: type[Schema] | None = None
    """None: not JSON of ours; see `produces`."""
    status: int = 200
    body: type[Payload] | None = None
    """What judges the body. None: there is none, or the handler reads it itself."""
    body_description: type[Schema] | None = None
    """What a body that the handler reads itself looks like."""
    query: type[Payload] | None = None
    consumes: str = JSON
    produces: tuple[str, ...] = (JSON,)
    also_answers: tuple[int, ...] = ()
    """Further statuses with the same answer."""
    is_public: bool = False
    judges_token: bool = False
    """A public one that is given a token all the same, and refuses a wrong one."""
    roles: frozenset[AccountRole] = PEOPLE

    @property
    def parameters(self) -> tuple[str, ...]:
        """Of the path, by their wire names."""
        return tuple(_PARAMETER.findall(self.path))

    @property
    def filled_fields(self) -> frozenset[str]:
        """Wire names of the body's fields that the path fills."""
        if self.body is None:
            return frozenset()
        known = {field.data_key for field in self.body().fields.values()}
        return frozenset(self.parameters) & known


class Entrance:
    """A route as aiohttp calls it."""

    def __init__(self, route: Route, desk: Desk) -> None:
        self._route = route
        self._desk = desk
        self._path = PathSchema(only=[name for name in PathSchema().fields if camel(name) in route.parameters])
        self._query = route.query() if route.query else Payload()
        self._body = _judge_of_body(route)
        self._filled = route.filled_fields

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Judge the request, then let the handler answer it."""
        asker = self._identify(request)
        path = load(self._path, dict(request.match_info))
        call = Call(
            request=request,
            desk=self._desk,
            asker=asker,
            path=path,
            query=load(self._query, _single(request)),
            body=None if self._body is None else load(self._body, await self._raw_body(request)),
        )
        return await self._route.handler(call)

    def _identify(self, request: web.Request) -> Identity | None:
        if self._route.is_public:
            return None
        who = self._desk.access.identify(request)
        if who.role not in self._route.roles:
            raise Forbidden(f"A {who.role} credential may not do this")
        self._desk.access.throttle.take_request(who)
        return who

    async def _raw_body(self, request: web.Request) -> object:
        """The body's JSON, an object where there is none, with the ids that the path gives."""
        body = await read_body(request, self._desk.limits.payload_max_bytes)
        raw = parse_json(body) if body.strip() else {}
        if not isinstance(raw, dict):
            return raw
        for name in self._filled:
            if raw.setdefault(name, request.match_info[name]) != request.match_info[name]:
                raise InvalidRequest(f"Invalid: {name}", fields={name: ["Differs from the path."]})
        return raw


def _judge_of_body(route: Route) -> Payload | None:
    """None: nobody looks at it (GET), or the handler reads it itself.

    A route without a body takes none but an empty one: what more it says would not be done.
    """
    if route.body is not None:
        return route.body()
    return None if route.method == "GET" or route.body_description is not None else Payload()


def _single(request: web.Request) -> dict[str, str]:
    """The query's parameters. Raises InvalidRequest for one that is given twice."""
    twice = [name for name in set(request.query) if len(request.query.getall(name)) > 1]
    if twice:
        raise InvalidRequest(f"Invalid: {twice[0]}", fields={name: ["Given more than once."] for name in twice})
    return dict(request.query)
