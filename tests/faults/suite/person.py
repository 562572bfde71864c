"""A browser's tab by the protocol's section 6: it comes back by itself, joins again, and asks until it is answered."""

import asyncio
import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp

from tests.faults.suite.witness import FINAL, Json, Screen, Witness
from tests.support.tcp_proxy import TcpProxy

RETRY_S = 0.1
ANSWER_S = 30
"""After so long without an answer the connection is given up: it may be one that a router has forgotten."""


class Person:
    """One tab on a wire of its own. `witness` keeps what it is told."""

    def __init__(self, name: str, wire: TcpProxy, host: str, token: str) -> None:
        self.witness = Witness(name)
        self.has_reloaded = False
        """Of what ended while it was not there, such a page knows messages and no runs."""
        self.wire = wire
        self._host = host
        self._token = token
        self._ids = itertools.count(1)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._acks: dict[int, Callable[[Json | None], None]] = {}
        self._news = asyncio.Condition()
        self._sending: set[asyncio.Task[None]] = set()
        self._may_connect = asyncio.Event()
        self._may_connect.set()

    # --- for the driver ---

    def watch(self, conversation_id: str) -> None:
        """Join it now, and at every later connection."""
        self.witness.screens.setdefault(conversation_id, Screen())
        if self._socket is not None:
            self._join(conversation_id)

    async def leave(self, conversation_id: str) -> None:
        """Watch it no more."""
        del self.witness.screens[conversation_id]
        await self.ask("leave-conversation", {"conversationId": conversation_id})

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Return when it holds; looked at after everything that it is told."""
        async with self._news:
            await self._news.wait_for(is_true)

    async def ask(self, event: str, payload: Json) -> Json:
        """The answer, however many connections it takes: every command may be repeated."""
        while True:
            answer = await self._ask_once(event, payload)
            if answer is not None and not answer.get("error", {}).get("retryable"):
                return answer
            await asyncio.sleep(RETRY_S)

    def is_connected(self) -> bool:
        """Whether it has a connection, as far as it knows."""
        return self._socket is not None

    def is_joined(self) -> bool:
        """Whether all its pages are joined, and none of them missed anything."""
        return all(screen.is_joined and not screen.needs_join for screen in self.witness.screens.values())

    def seqs(self) -> dict[str, int]:
        """How far it is in each conversation."""
        return {name: screen.seq for name, screen in self.witness.screens.items()}

    def knows_ended(self, request_ids: set[str]) -> bool:
        """Whether these runs have ended, as far as it was told."""
        screens = self.witness.screens.values()
        return request_ids <= {n for screen in screens for n, run in screen.runs.items() if run["status"] in FINAL}

    def sees_deadline(self) -> bool:
        """Whether a question waits that nobody will answer in time."""
        prompts = [prompt for screen in self.witness.screens.values() for prompt in screen.prompts.values()]
        return any(prompt["status"] == "pending" and prompt["riskLevel"] == "CRITICAL" for prompt in prompts)

    async def vanish(self, seconds: float, *, reloads: bool) -> None:
        """Be gone without a word, and come back; as a new page where it `reloads`."""
        self._may_connect.clear()
        self.wire.cut()
        if reloads:
            self.has_reloaded = True
            self.witness.reload()
        await asyncio.sleep(seconds)
        self._may_connect.set()

    # --- its life ---

    async def live(self) -> None:
        """Be connected, for ever; for the task that owns it."""
        async with aiohttp.ClientSession() as session:
            while True:
                await self._may_connect.wait()
                try:
                    await self._connect(session)
                except (aiohttp.ClientError, OSError, TimeoutError):
                    pass  # a link is not there, or is gone: what a browser does then is what follows
                finally:
                    await self._lose()
                await asyncio.sleep(RETRY_S)

    async def _connect(self, session: aiohttp.ClientSession) -> None:
        url = f"{self.wire.url}/socket.io/?EIO=4&transport=websocket"
        connecting = session.ws_connect(
            url, headers={"Host": self._host}, max_msg_size=0, timeout=aiohttp.ClientWSTimeout(ws_close=1)
        )
        async with asyncio.timeout(ANSWER_S):
            socket = await connecting
        async with socket:
            await socket.send_str("40" + json.dumps({"token": self._token}))
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                async with self._news:
                    await self._take(socket, message.data)
                    self._news.notify_all()

    async def _take(self, socket: aiohttp.ClientWebSocketResponse, packet: str) -> None:
        if packet == "2":
            await socket.send_str("3")
        elif packet.startswith("40"):
            self._socket = socket
            self.witness.connects += 1
            for conversation_id in self.witness.screens:
                self._join(conversation_id)
        elif packet.startswith("43"):
            start = packet.index("[")
            (answer,) = json.loads(packet[start:])
            self._acks.pop(int(packet[2:start]))(answer)
        elif packet.startswith("42"):
            self._hear(*json.loads(packet[2:]))

    def _hear(self, name: str, payload: Any) -> None:
        self.witness.take(name, payload)
        screen = self.witness.screens.get(payload.get("conversationId", ""))
        if screen is not None and screen.needs_join:
            after_s = payload.get("retryAfterMs", 0) / 1000
            asyncio.get_running_loop().call_later(after_s, self._join_again, payload["conversationId"], screen)

    async def _lose(self) -> None:
        async with self._news:
            self._socket = None
            self.witness.lose()
            for give_up in list(self._acks.values()):
                give_up(None)
            self._acks.clear()
            self._news.notify_all()

    # --- what it says ---

    def _join(self, conversation_id: str) -> None:
        screen = self.witness.screens[conversation_id]
        payload: Json = {"conversationId": conversation_id}
        after = screen.seq if screen.epoch is not None else None
        if after is not None:
            payload |= {"after": after, "epoch": screen.epoch}

        def take(answer: Json | None) -> None:
            # Not where the page was reloaded meanwhile: the answer belongs to the page that is gone.
            if self.witness.screens.get(conversation_id) is not screen or answer is None:
                return
            if answer["ok"]:
                self.witness.take_snapshot(conversation_id, answer, after)
            else:
                self._leave_soon()

        screen.needs_join = False  # asked for: only what comes after the answer can ask again
        self._emit("join-conversation", payload, take)

    def _join_again(self, conversation_id: str, screen: Screen) -> None:
        """Unless it has been done, or the connection is gone, whose successor joins by itself."""
        if self._socket is not None and screen.needs_join and self.witness.screens.get(conversation_id) is screen:
            self._join(conversation_id)

    def _leave_soon(self) -> None:
        """A join that is refused, because the server is about to stop or its store is away: connect anew and join."""
        self.wire.cut()

    async def _ask_once(self, event: str, payload: Json) -> Json | None:
        await self.until(self.is_connected)
        answer: asyncio.Future[Json | None] = asyncio.get_running_loop().create_future()
        self._emit(event, payload, lambda told: None if answer.done() else answer.set_result(told))
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError:
            self.wire.cut()
            return None

    def _emit(self, event: str, payload: Json, take: Callable[[Json | None], None]) -> None:
        number = next(self._ids)
        self._acks[number] = take
        assert self._socket is not None, "it is connected"
        packet = f"42{number}{json.dumps([event, payload])}"
        sending = asyncio.create_task(self._send(self._socket, packet), name=f"{self.witness.name} sends {event}")
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, packet: str) -> None:
        with suppress(ConnectionError, aiohttp.ClientError):  # its end is told to who reads
            await socket.send_str(packet)
