"""python-socketio as its documentation shows it: `emit` to a room, nothing stored.

A producer connects to `/produce` as in bare_aiohttp.py; watchers are Socket.IO clients that emit `join`.
"""

import asyncio
import json
import sys

import socketio
from aiohttp import WSMsgType, web

sio = socketio.AsyncServer(async_mode="aiohttp", cors_allowed_origins="*")


@sio.on("join")
async def join(sid: str, room: str) -> bool:
    await sio.enter_room(sid, room)
    return True


async def produce(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            frame = json.loads(message.data)
            await sio.emit("delta", frame["data"], room=frame["room"])
    return socket


async def health(request: web.Request) -> web.Response:
    return web.Response(text="ok")


def main() -> None:
    app = web.Application()
    sio.attach(app)
    app.add_routes([web.get("/produce", produce), web.get("/health", health)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, loop=asyncio.new_event_loop())


if __name__ == "__main__":
    main()
