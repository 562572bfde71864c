"""Every REST route, in one table: what aiohttp serves, what OpenAPI describes, what the tests walk through."""

from typing import Final

from baton.web.rest import (
    attachments,
    bridges,
    conversations,
    login,
    messages,
    permissions,
    projects,
    runs,
    status,
    tokens,
)
from baton.web.rest.route import Route

ROUTES: Final[tuple[Route, ...]] = (
    *status.ROUTES,
    *login.ROUTES,
    *projects.ROUTES,
    *conversations.ROUTES,
    *messages.ROUTES,
    *runs.ROUTES,
    *permissions.ROUTES,
    *attachments.ROUTES,
    *bridges.ROUTES,
    *tokens.ROUTES,
)
