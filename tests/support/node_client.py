"""The real `socket.io-client` from npm, as one more actor of a test."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.view import View

DRIVER = Path(__file__).parents[1] / "clients" / "driver.mjs"

Told = dict[str, Any]


class NodeClient:
    """A Node process with one socket. `events` holds what it was told, `view` what a page would show."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._acks: dict[int, asyncio.Future[Any]] = {}
        self._joins: dict[int, bool] = {}
        """Emits that join, and whether the view goes on from what it has."""
        self._changed = asyncio.Condition()
        self.events: list[tuple[str, Any]] = []
        self.states: list[Told] = []
        self.view = View()

    async def emit(self, event: str, payload: object = None, timeout_s: float = 20) -> Any:
        """Send an event; its acknowledgement."""
        return await self._emit(next(self._ids), event, payload, timeout_s)

    async def _emit(self, number: int, event: str, payload: object, timeout_s: float = 20) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._acks[number] = answer
        await self._tell({"do": "emit", "id": number, "event": event, "payload": payload})
        async with asyncio.timeout(timeout_s):
            return await answer

    async def burst(self, emits: list[tuple[str, object]], timeout_s: float = 60) -> list[Any]:
        """Send many events in one go; their acknowledgements, in the order in which they came."""
        loop = asyncio.get_running_loop()
        came: list[Any] = []
        futures = []
        lines = []
        for event, payload in emits:
            number = next(self._ids)
            answer: asyncio.Future[Any] = loop.create_future()
            answer.add_done_callback(lambda done: came.append(done.result()))
            self._acks[number] = answer
            futures.append(answer)
            lines.append({"id": number, "event": event, "payload": payload})
        await self._tell({"do": "burst", "emits": lines})
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*futures)
        return came

    async def join(self, conversation_id: str, *, after: int | None = None) -> Any:
        """Join, and let the view follow."""
        payload: dict[str, object] = {"conversationId": conversation_id}
        if after is not None:
            payload |= {"after": after, "epoch": self.view.epoch}
        number = next(self._ids)
        self._joins[number] = after is not None
        return await self._emit(number, "join-conversation", payload)

    async def until(self, is_true: Callable[[], bool], timeout_s: float = 30) -> None:
        """Return when `is_true` holds; looked at after each thing told."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(is_true)

    async def until_event(self, name: str, timeout_s: float = 30) -> Any:
        """The payload of the first event of that name, waited for."""
        await self.until(lambda: any(event == name for event, _ in self.events), timeout_s)
        return next(payload for event, payload in self.events if event == name)

    def payloads(self, name: str) -> list[Any]:
        """Everything told under that name."""
        return [payload for event, payload in self.events if event == name]

    async def cut(self) -> None:
        """Drop the connection under the client, as a network would; it reconnects by itself."""
        await self._tell({"do": "cut"})

    async def connect(self) -> None:
        """Connect again, after the server has disconnected it."""
        await self._tell({"do": "connect"})

    async def _tell(self, command: Told) -> None:
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()

    async def read(self) -> None:
        """Take in what the client tells; for the task that owns it. Its last line is half where it ended meanwhile."""
        assert self._process.stdout is not None, "it is a pipe"
        while (line := await self._process.stdout.readline()).endswith(b"\n"):
            async with self._changed:
                self._take(json.loads(line))
                self._changed.notify_all()

    def _take(self, told: Told) -> None:
        if "ack" in told:
            self._take_ack(told["ack"], told["answer"])
        elif "state" in told:
            self.states.append(told)
        else:
            self.events.append((told["event"], told["payload"]))
            self.view.take_event(told["event"], told["payload"])

    def _take_ack(self, number: int, answer: Any) -> None:
        if number in self._joins and answer["ok"]:
            # Here and not in `join`: what was read together with the acknowledgement is taken in before whoever
            # waits for it runs, and those are the events that follow on from the snapshot.
            self.view.take_snapshot(answer, is_resume=self._joins.pop(number))
        self._acks.pop(number).set_result(answer)


@asynccontextmanager
async def node_client(url: str, token: str | None, transport: str = "") -> AsyncIterator[NodeClient]:
    """A connected client; `transport` "" starts with polling and upgrades, as browsers do."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(DRIVER),
        url,
        token or "",
        transport,
        cwd=DRIVER.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 << 20,
    )
    client = NodeClient(process)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(client.read())
        try:
            await client.until(lambda: bool(client.states))
            yield client
        finally:
            assert process.stdin is not None, "it is a pipe"
            process.stdin.close()
            await process.wait()
            await reading
