"""A bridge's own page for people and monitors on its machine: `GET /health`. Tells states and counts, no content."""

from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from aiohttp import hdrs, web

from baton import __version__
from baton.bridge.facts import BridgeFacts, LinkState
from baton.core.text import Json
from baton.schemas.codec import iso

_OWN_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


def health_app(facts: Callable[[], BridgeFacts]) -> web.Application:
    """The page, asking `facts` each time. To be served on loopback only."""

    async def answer(_: web.Request) -> web.Response:
        said = health(facts())
        return web.Response(
            # A monitor that looks at nothing else sees by the status that nobody can reach this bridge now.
            status=200 if said["status"] == "ok" else 503,
            body=orjson.dumps(said),
            content_type="application/json",
            headers={hdrs.CACHE_CONTROL: "no-store"},
        )

    app = web.Application(middlewares=[_own_host_only])
    app.router.add_get("/health", answer)
    app.router.add_get("/health/live", _live)
    return app


def health(facts: BridgeFacts) -> dict[str, Json]:
    """What the page says. `status` is `ok` while there is a link, else `degraded`: runs go on either way."""
    link = facts.link
    return {
        "status": "ok" if link.state is LinkState.CONNECTED else "degraded",
        "version": __version__,
        "uptimeS": facts.uptime_s,
        "bridgeId": facts.bridge_id,
        "name": facts.name,
        "link": {
            "state": link.state.value,
            "server": facts.url,
            "since": iso(link.since),
            "tries": link.tries,
            "reason": link.text or None,
            "code": link.code,
        },
        "agents": [
            {"id": offer.id, "title": offer.title, "available": offer.available, "reason": offer.reason}
            for offer in facts.agents
        ],
        "runs": {
            "active": facts.active,
            "queued": facts.queued,
            "undelivered": facts.undelivered,
            "elsewhere": facts.elsewhere,
        },
        "spool": {"bytes": facts.spool_bytes, "maxBytes": facts.spool_max_bytes},
    }


async def _live(_: web.Request) -> web.Response:
    return web.Response(text="ok")


@web.middleware
async def _own_host_only(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A page of another name that a browser was led here by (DNS rebinding) learns nothing."""
    name = request.host.rpartition(":")[0] or request.host
    if name not in _OWN_NAMES:
        raise web.HTTPForbidden(text="This page is for this machine only")
    return await handler(request)
