"""A server that answers as it was told to, path by path: what a real one says only after hours, or when it is ill."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from baton import __version__

HEALTH: Mapping[str, Any] = {
    "status": "ok",
    "version": __version__,
    "uptimeS": 12.0,
    "connections": {"sockets": 0, "conversations": 0, "bridges": 1},
    "services": {"store": "ok", "bridge": "ok", "jobs": "ok", "frontend": "ok"},
    "runs": {"active": 0, "queued": 0, "away": 0, "stuck": 0},
    "prompts": {"pending": 0},
}
BRIDGE: Mapping[str, Any] = {
    "id": "laptop-1",
    "name": "laptop",
    "connected": True,
    "agents": [{"id": "claude", "title": "Claude Code", "available": True, "reason": None}],
}
WELL: Mapping[str, Mapping[str, Any]] = {
    "/health": HEALTH,
    "/health/live": {"status": "ok"},
    "/api/me": {"ok": True, "userId": "admin", "role": "admin"},
    "/api/bridges": {"ok": True, "bridges": [BRIDGE]},
    "/api/stats": {"ok": True, "messages": {}, "runs": {}, "prompts": {}, "conversations": {}, "decisions": {}},
    "/api/chat/test-latency": {
        "ok": True,
        "storeWriteMs": 1.0,
        "storeReadMs": 0.5,
        "bridgeRoundTripMs": 1.0,
        "loopLagMs": 0.1,
    },
    "/api/chat/conversations": {"ok": True, "conversations": [], "next": None},
    "/api/chat/runs": {"ok": True, "runs": []},
    "/api/chat/prompts": {"ok": True, "prompts": []},
}


@dataclass
class Told:
    """Its address, and the credentials that came with requests, by path."""

    url: str
    credentials: dict[str, str | None] = field(default_factory=dict)


@asynccontextmanager
async def told_server(
    answers: Mapping[str, Mapping[str, Any]] | None = None, *, statuses: Mapping[str, int] | None = None
) -> AsyncIterator[Told]:
    """Answers each path of `WELL`, or of `answers` before it, with its object."""
    told = Told("")
    known = {**WELL, **(answers or {})}

    async def answer(request: web.Request) -> web.Response:
        told.credentials[request.path] = request.headers.get("Authorization")
        status = (statuses or {}).get(request.path, 200 if request.path in known else 404)
        return web.json_response(known.get(request.path, {"ok": False}), status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        told.url = f"http://127.0.0.1:{port}"
        yield told
    finally:
        await runner.cleanup()
