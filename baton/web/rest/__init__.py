"""REST: thin routes over the services. `setup_rest` hangs all of it into an aiohttp application."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web

from baton.core.limits import Limits
from baton.services.catalog import Services
from baton.web.access import Access
from baton.web.page import add_built_page
from baton.web.rest.errors import error_middleware, meet_expectation
from baton.web.rest.health import HealthFacts, HealthProbe
from baton.web.rest.metrics import Metrics
from baton.web.rest.route import Desk, Entrance
from baton.web.rest.table import ROUTES
from baton.web.status_page import add_status_page


def setup_rest(
    app: web.Application,
    services: Services,
    access: Access,
    *,
    version: str,
    health: HealthProbe,
    limits: Limits,
    metrics: Metrics | None = None,
    built_page: Path | None = None,
) -> None:
    """Add all routes, the page, the error shape and the request counters to `app`.

    `built_page` is the folder of the built page; None: the small status page stands in its place.

    Its middlewares go to the front: errors of everything behind them, other parts' too, get the one shape.
    """
    metrics = metrics or Metrics()
    desk = Desk(
        services=services,
        access=access,
        limits=limits,
        health=health,
        metrics=metrics,
        version=version,
        describe=functools.cache(functools.partial(_describe, version)),
    )
    app.middlewares[:0] = [metrics.middleware(), error_middleware()]
    app.on_response_prepare.append(_add_safe_headers)
    for route in ROUTES:
        serve = Entrance(route, desk).serve
        app.router.add_route(route.method, route.path, serve, expect_handler=meet_expectation)
        if route.method == hdrs.METH_GET:
            app.router.add_route(hdrs.METH_HEAD, route.path, serve, expect_handler=meet_expectation)
    if built_page is not None:
        add_built_page(app, access, built_page)
    add_status_page(app, access, at_root=built_page is None)


def _describe(version: str) -> Mapping[str, Any]:
    from baton.web.rest.openapi import describe  # a tenth of the start, for a document that few ask for

    return describe(ROUTES, version)


async def _add_safe_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers[hdrs.SERVER] = "Baton"  # instead of the versions of Python and aiohttp
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    # For browsers that do not say who embeds something (`web.access`): they then keep it from the page themselves.
    response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")


__all__ = ["HealthFacts", "HealthProbe", "Metrics", "setup_rest"]
