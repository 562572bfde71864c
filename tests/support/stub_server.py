"""A server process without Baton in it, for tests of how one starts and stops. Arguments: data folder, behaviours.

`slow-start` never gets up, `slow-stop` never gets down, `blocked-stop` blocks the event loop while it should stop.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from baton import logs
from baton.core.events import BridgePresence
from baton.core.frames import AgentOffer
from baton.core.ids import BridgeId
from baton.core.limits import Limits
from baton.credentials import Credentials
from baton.serving import PRESENCE, serve
from baton.settings import Settings


class OneBridge:
    """The presence of one bridge with two agents, one of which cannot be had."""

    async def __call__(self) -> Sequence[BridgePresence]:
        ready = AgentOffer(id="demo", title="Demo agent")
        absent = AgentOffer(id="claude", title="Claude Code", available=False, reason="Log in with `claude`.")
        return (BridgePresence(id=BridgeId("b"), name="here", in_process=True, agents=(ready, absent)),)


def build(settings: Settings, credentials: Credentials) -> web.Application:
    """The application with the behaviours of the command line."""
    app = web.Application()
    app[PRESENCE] = OneBridge()
    app.router.add_get("/", lambda _: _answer())
    if "slow-start" in sys.argv:
        app.on_startup.append(_wait_for_ever)
    if "slow-stop" in sys.argv:
        app.on_shutdown.append(_wait_for_ever)
    if "blocked-stop" in sys.argv:
        app.on_shutdown.append(_block)
    return app


async def _answer() -> web.Response:
    return web.Response(text="here")


async def _wait_for_ever(_: web.Application) -> None:
    print("waiting", flush=True)
    await asyncio.Event().wait()


async def _block(_: web.Application) -> None:
    time.sleep(60)  # what the watchdog is there for


if __name__ == "__main__":
    logs.configure("INFO", "text")
    limit_s = 0.5 if "blocked-stop" in sys.argv else 10.0
    chosen = Settings(port=0, data=Path(sys.argv[1]), limits=Limits(shutdown_s=limit_s))
    asyncio.run(serve(chosen, build, lambda text: print(text, flush=True)))
