"""The least a Python relay can do: aiohttp WebSockets, no rooms protocol, nothing stored.

A producer connects to `/produce` and sends `{"room": ..., "data": <any JSON>}`; watchers connect to `/watch/<room>`.
"""

import asyncio
import json
import sys
from collections import defaultdict

from aiohttp import WSMsgType, web

rooms: defaultdict[str, set[web.WebSocketResponse]] = defaultdict(set)


async def produce(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            frame = json.loads(message.data)
            text = json.dumps(frame["data"])
            for watcher in rooms[frame["room"]]:
                await watcher.send_str(text)
    return socket


async def watch(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    room = rooms[request.match_info["room"]]
    room.add(socket)
    try:
        async for _ in socket:
            pass
    finally:
        room.discard(socket)
    return socket


async def health(request: web.Request) -> web.Response:
    return web.Response(text="ok")


def main() -> None:
    app = web.Application()
    app.add_routes([web.get("/produce", produce), web.get("/watch/{room}", watch), web.get("/health", health)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, loop=asyncio.new_event_loop())


if __name__ == "__main__":
    main()
