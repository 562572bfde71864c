"""Socket.IO for browsers: the table of events, and the server that answers each of them.

An event is judged by its schema, carried out by a service, and answered by an acknowledgement, which alone tells
of a refused command. Events of one client take effect in the order sent: one is answered before the next is looked
at, so a slow one delays its own client and nobody else. Dispatch is by the table alone: what a client calls its
events never reaches the library's handlers (an event named `connect` is just an unknown one).
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import socketio
from aiohttp import WSCloseCode, web
from socketio import packet as socket_packet

from baton.core import commands
from baton.core.commands import Identity
from baton.core.errors import BatonError, Draining, InvalidRequest
from baton.core.events import BridgesChanged, ServerDraining
from baton.core.ids import ConversationId, ProjectId, PromptId, RequestId, TokenId
from baton.core.limits import Limits
from baton.core.ports import Clock
from baton.core.tally import Spread
from baton.schemas import browser
from baton.schemas.codec import iso, to_wire
from baton.services.catalog import Services
from baton.web.access import Access
from baton.web.engine import Connection, EngineServer, QuietLogger
from baton.web.fanout import Fanout
from baton.web.packets import BadPacket, Frame, Packet, ack_frame, parse_packet
from baton.web.wire import Payload, error_body, queue_body, snapshot_body

logger = logging.getLogger(__name__)

PATH: Final = "socket.io"
PING_INTERVAL_S: Final = 25
PING_TIMEOUT_S: Final = 60
SWEEP_S: Final = 1.0
RECONNECT_AFTER_MS: Final = 1000
CLOSE_GRACE_S: Final = 1.0
"""How long browsers may take to read what waits for them before their sockets are cut at shutdown."""

_NAMESPACES: Final = (None, "/")


@dataclass(frozen=True, slots=True)
class Client:
    """A socket that was let in."""

    sid: str
    connection: Connection
    who: Identity


@dataclass(frozen=True, slots=True)
class Ask:
    """One event being answered: who asks, of what, and what is to be done when the answer is on its way."""

    sid: str
    who: Identity
    services: Services
    fanout: Fanout
    answered: contextlib.ExitStack


# --- the table of events ---------------------------------------------------------------------------------------


async def _join(ask: Ask, command: commands.JoinConversation) -> Payload:
    joining = ask.fanout.joining(ask.sid, command.conversation_id)
    joined = False
    # Not before the acknowledgement: until then no event of the conversation may reach the client.
    ask.answered.callback(lambda: joining.end(joined=joined))
    snapshot = await ask.services.snapshots.snapshot(ask.who, command, joining.subscribe)
    joined = True
    return snapshot_body(snapshot)


async def _leave(ask: Ask, conversation_id: ConversationId) -> Payload:
    ask.fanout.leave(ask.sid, conversation_id)
    return {}


async def _join_project(ask: Ask, project_id: ProjectId) -> Payload:
    # Everybody sees every project, so that what happens in one is told to all; the room says only that it exists.
    await ask.services.projects.get(ask.who, project_id)
    return {}


async def _leave_project(ask: Ask, project_id: ProjectId) -> Payload:
    return {}


async def _send(ask: Ask, command: commands.SendMessage) -> Payload:
    return to_wire(await ask.services.runs.send(ask.who, command))


async def _abort(ask: Ask, request_id: RequestId) -> Payload:
    return {"run": to_wire(await ask.services.runs.abort(ask.who, request_id))}


async def _retry(ask: Ask, command: commands.RetryRun) -> Payload:
    return to_wire(await ask.services.runs.retry(ask.who, command))


async def _extend_run(ask: Ask, command: browser.ExtendRun) -> Payload:
    return {"run": to_wire(await ask.services.runs.extend(ask.who, command.request_id, command.seconds))}


async def _queue_update(ask: Ask, command: commands.UpdateQueued) -> Payload:
    return {"queue": queue_body(await ask.services.runs.queue_update(ask.who, command))}


async def _queue_remove(ask: Ask, request_id: RequestId) -> Payload:
    return {"queue": queue_body(await ask.services.runs.queue_remove(ask.who, request_id))}


async def _queue_move(ask: Ask, command: commands.MoveQueued) -> Payload:
    return {"queue": queue_body(await ask.services.runs.queue_move(ask.who, command))}


async def _queue_resume(ask: Ask, conversation_id: ConversationId) -> Payload:
    return {"queue": queue_body(await ask.services.runs.queue_resume(ask.who, conversation_id))}


async def _create(ask: Ask, command: commands.CreateConversation) -> Payload:
    return {"conversation": to_wire(await ask.services.conversations.create(ask.who, command))}


async def _check(ask: Ask, conversation_id: ConversationId) -> Payload:
    return {"exists": await ask.services.conversations.exists(ask.who, conversation_id)}


async def _seen(ask: Ask, command: browser.SeenConversation) -> Payload:
    await ask.services.marks.note(ask.who, command.conversation_id, command.seq)
    return {}


async def _respond(ask: Ask, command: commands.RespondPrompt) -> Payload:
    return {"prompt": to_wire(await ask.services.prompts.respond(ask.who, command))}


async def _prompt_seen(ask: Ask, prompt_id: PromptId) -> Payload:
    return {"prompt": to_wire(await ask.services.prompts.seen(ask.who, prompt_id, ask.sid))}


async def _extend_prompt(ask: Ask, command: browser.ExtendPrompt) -> Payload:
    return {"prompt": to_wire(await ask.services.prompts.extend(ask.who, command.prompt_id, command.seconds))}


async def _mode(ask: Ask, conversation_id: ConversationId) -> Payload:
    return {"mode": (await ask.services.conversations.mode(ask.who, conversation_id)).value}


async def _set_mode(ask: Ask, command: browser.SetMode) -> Payload:
    mode = await ask.services.conversations.set_mode(ask.who, command.conversation_id, command.mode)
    return {"mode": mode.value}


async def _bridges(ask: Ask, _: object) -> Payload:
    return {"bridges": [to_wire(bridge) for bridge in ask.services.bridges.presence()]}


async def _files(ask: Ask, command: browser.ListFiles) -> Payload:
    answer = await ask.services.bridges.files(
        ask.who,
        conversation_id=command.conversation_id,
        bridge_id=command.bridge_id,
        query=command.query,
        path=command.path,
        limit=command.limit,
    )
    return {"files": answer.get("files", []) if isinstance(answer, dict) else []}


async def _commands(ask: Ask, conversation_id: ConversationId) -> Payload:
    answer = await ask.services.bridges.commands(ask.who, conversation_id)
    known = answer if isinstance(answer, dict) else {}
    return {"commands": known.get("commands", []), "models": known.get("models", [])}


async def _ping(ask: Ask, ping: browser.Ping) -> Payload:
    received_at = iso(ask.services.clock.now())
    stored_ms, _ = await ask.services.store.probe()
    return {"sentAt": ping.sent_at, "receivedAt": received_at, "storedMs": round(stored_ms, 3)}


ACTIONS: Final[Mapping[str, Callable[[Ask, Any], Awaitable[Payload]]]] = {
    "join-conversation": _join,
    "leave-conversation": _leave,
    "join-project": _join_project,
    "leave-project": _leave_project,
    "chat:send-message": _send,
    "chat:abort": _abort,
    "chat:retry": _retry,
    "chat:extend": _extend_run,
    "chat:queue-update": _queue_update,
    "chat:queue-remove": _queue_remove,
    "chat:queue-move": _queue_move,
    "chat:queue-resume": _queue_resume,
    "conversation:create": _create,
    "conversation:check": _check,
    "conversation:seen": _seen,
    "permission:respond": _respond,
    "prompt:seen": _prompt_seen,
    "prompt:extend": _extend_prompt,
    "permission:get-mode": _mode,
    "permission:set-mode": _set_mode,
    "bridge:list": _bridges,
    "bridge:files": _files,
    "bridge:commands": _commands,
    "latency:ping": _ping,
}
"""What each event of `schemas.browser.EVENTS` does."""

COMMANDS: Final = frozenset(
    {
        "chat:send-message",
        "chat:retry",
        "chat:extend",
        "chat:queue-update",
        "chat:queue-remove",
        "chat:queue-move",
        "chat:queue-resume",
        "conversation:create",
        "permission:respond",
        "prompt:extend",
        "permission:set-mode",
    }
)
"""Those that write, and count against `commands_per_minute`. Not `chat:abort`: what runs can always be stopped."""


# --- the server ------------------------------------------------------------------------------------------------


class SocketServer:
    """The Socket.IO endpoint of one application. `transports`: which of websocket and polling are offered."""

    def __init__(
        self,
        services: Services,
        fanout: Fanout,
        access: Access,
        limits: Limits,
        clock: Clock,
        *,
        transports: tuple[str, ...] = ("websocket", "polling"),
    ) -> None:
        self._services = services
        self._fanout = fanout
        self._access = access
        self._limits = limits
        self._clock = clock
        self._clients: dict[str, Client] = {}
        self._sweeping: asyncio.Task[None] | None = None
        self._is_draining = False
        self.loop_lag_s = Spread()
        """How late the sweep wakes: what everything else on the loop has had to wait too."""
        self._library = _Library(self, limits, clock, transports)

    def attach(self, app: web.Application) -> None:
        """Serve below `/socket.io/`, from the start of `app` to its shutdown."""
        self._library.attach(app, PATH)
        app.on_startup.append(self._start)
        app.on_shutdown.append(self._stop)

    async def close(self) -> None:
        """Tell every browser that the server leaves, and close its socket. Idempotent, at most 2 s."""
        if self._is_draining:
            return
        self._is_draining = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait({self._sweeping})
        self._fanout.publish([ServerDraining(RECONNECT_AFTER_MS)])
        engine = self._library.engine
        for connection in engine.connections():
            connection.close_code = WSCloseCode.SERVICE_RESTART
            await connection.close()
        await engine.until_served(CLOSE_GRACE_S)

    async def end_token(self, token_id: TokenId) -> None:
        """The token opens nothing any more: disconnect the sockets that came with it, for good.

        None can slip through between its check and its entry in the table: nothing in between waits. A client closes
        the connection below by itself, once it has read that it was disconnected; over polling it would not read it
        if the connection's own end came along. Who does not close it has shown no credential any more, and goes as
        such with a sweep.
        """
        await self._end([client for client in self._clients.values() if client.who.token_id == token_id])

    async def end_login(self, login_id: str) -> None:
        """The browser has logged out: the same for the sockets that came with its cookie."""
        await self._end([client for client in self._clients.values() if client.who.login_id == login_id])

    async def _end(self, clients: list[Client]) -> None:
        for client in clients:
            await self._library.disconnect(client.sid)
            client.connection.is_admitted = False

    async def _start(self, _: web.Application) -> None:
        self._sweeping = asyncio.create_task(self._sweep(), name="socket-sweep")

    async def _stop(self, _: web.Application) -> None:
        await self.close()

    async def _sweep(self) -> None:
        while True:
            due_at = self._clock.monotonic() + SWEEP_S
            await self._clock.sleep(SWEEP_S)
            now = self._clock.monotonic()
            self.loop_lag_s.add(max(0.0, now - due_at))
            for connection in self._library.engine.connections():
                try:
                    await connection.tick(now)
                except Exception:
                    # One socket's failure must not end the pings of all others.
                    logger.exception("❌ socket sweep failed", extra={"action": "socket.sweep_failed"})

    # --- life of a socket ---

    def admit(self, sid: str, environ: dict[str, Any], auth: object) -> None:
        """Check who opens a socket. Raises what makes the library send a connect error."""
        try:
            if self._is_draining:
                raise Draining("The server is shutting down")
            who = self._access.identify_socket(environ, auth)
        except BatonError as refused:
            logger.info(
                "❌ socket refused", extra={"action": "socket.refused", "code": refused.code, "reason": refused.message}
            )
            text = f"{refused.code}: {refused.message}"
            raise socketio.exceptions.ConnectionRefusedError(text, error_body(refused)) from refused
        environ["baton.identity"] = who

    def welcome(self, sid: str, connection: Connection, who: Identity) -> None:
        """The socket has its CONNECT: from now on it hears and is heard."""
        connection.is_admitted = True
        self._clients[connection.sid] = Client(sid, connection, who)
        self._fanout.add(sid, connection, who)
        self._fanout.tell(sid, BridgesChanged(self._services.bridges.presence()))
        logger.info("🔌 connected", extra={"action": "socket.connected", "sid": sid, "userId": who.user_id})

    def forget(self, sid: str, connection_sid: str, reason: str) -> None:
        """The socket is gone."""
        client = self._clients.get(connection_sid)
        if client is None or client.sid != sid:
            return
        del self._clients[connection_sid]
        self._fanout.remove(sid, client.who)
        self._services.prompts.watchers.let_go(sid)
        logger.info("🔌 disconnected", extra={"action": "socket.disconnected", "sid": sid, "reason": reason})

    # --- events ---

    async def receive(self, connection_sid: str, ack_id: int | None, event: list[Any]) -> None:
        """Carry out one event of a client, and answer it. Raises BadPacket where nobody was let in."""
        client = self._clients.get(connection_sid)
        if client is None:
            raise BadPacket("an event before CONNECT")
        with contextlib.ExitStack() as answered:
            frame = await self._answer(client, -1 if ack_id is None else ack_id, event, answered)
            if ack_id is not None:
                client.connection.answer(frame)

    async def _answer(self, client: Client, ack_id: int, event: list[Any], answered: contextlib.ExitStack) -> Frame:
        ask = Ask(client.sid, client.who, self._services, self._fanout, answered)
        try:
            body = await self._carry_out(ask, event)
            return ack_frame(ack_id, {"ok": True, **body})
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the client must get its answer
            return ack_frame(ack_id, error_body(error))

    async def _carry_out(self, ask: Ask, event: list[Any]) -> Payload:
        name, *arguments = event
        if len(arguments) > 1:
            raise InvalidRequest("An event has one payload", fields={"payload": ["More than one."]})
        command = browser.load_event(name, arguments[0] if arguments else None, self._limits)
        if name in COMMANDS:
            self._access.throttle.take_command(ask.who)
        return await ACTIONS[name](ask, command)


class _Library(socketio.AsyncServer):  # type: ignore[misc]  # the library has no types
    """python-socketio with our connections, our parsing and our dispatch; its handshakes and sids are kept."""

    def __init__(self, owner: SocketServer, limits: Limits, clock: Clock, transports: tuple[str, ...]) -> None:
        quiet = QuietLogger(logger)
        super().__init__(
            async_mode="aiohttp",
            async_handlers=False,
            serializer=Packet,
            logger=quiet,
            engineio_logger=quiet,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            max_http_buffer_size=limits.payload_max_bytes,
            backlog_max_bytes=limits.backlog_max_bytes,
            transports=list(transports),
            clock=clock,
            cors_allowed_origins=[],  # `Access` checks Origin, and sets the headers
            http_compression=False,  # it would compress megabytes on the event loop
        )
        self._owner = owner
        self.on("connect", self._admit)
        self.on("disconnect", self._forget)

    @property
    def engine(self) -> EngineServer:
        """The Engine.IO server below."""
        engine: EngineServer = self.eio
        return engine

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    async def _admit(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        self._owner.admit(sid, environ, auth)

    async def _forget(self, sid: str, reason: str = "") -> None:
        self._owner.forget(sid, str(self.manager.eio_sid_from_sid(sid, "/")), reason)

    async def _handle_eio_message(self, eio_sid: str, data: str) -> None:
        """One message of a client. Raises BadPacket, which ends its connection."""
        packet = parse_packet(data)
        kind = packet.packet_type
        if kind == socket_packet.CONNECT:
            return await self._handle_connect(eio_sid, packet.namespace, packet.data)
        if kind == socket_packet.DISCONNECT:
            return await self._leave_namespace(eio_sid, packet.namespace)
        if kind == socket_packet.EVENT and packet.namespace in _NAMESPACES:
            return await self._owner.receive(eio_sid, packet.id, packet.data)
        if kind == socket_packet.BINARY_EVENT and packet.namespace in _NAMESPACES:
            return await self._refuse_binary(eio_sid, packet)
        if kind != socket_packet.ACK:  # we ask for none, so there is nothing to do about one
            raise BadPacket("a packet that no client sends")
        return None

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: object) -> None:
        await super()._handle_connect(eio_sid, namespace, data)
        sid = self.manager.sid_from_eio_sid(eio_sid, "/")
        connection = self.engine.sockets.get(eio_sid)
        if namespace not in _NAMESPACES or sid is None or connection is None or connection.is_admitted:
            return
        self._owner.welcome(sid, connection, self.environ[eio_sid]["baton.identity"])

    async def _leave_namespace(self, eio_sid: str, namespace: str | None) -> None:
        if namespace in _NAMESPACES and self.manager.sid_from_eio_sid(eio_sid, "/") is not None:
            await self._handle_disconnect(eio_sid, "/", self.reason.CLIENT_DISCONNECT)
            self.engine.sockets[eio_sid].is_admitted = False

    async def _refuse_binary(self, eio_sid: str, packet: Packet) -> None:
        """An event with attachments: JSON alone is spoken here. They follow, and are let pass unread."""
        self.engine.sockets[eio_sid].binary_to_skip = packet.attachment_count
        await self._owner.receive(eio_sid, packet.id, [packet.data[0], None, None])
