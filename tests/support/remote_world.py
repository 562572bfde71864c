"""A server, a bridge on another machine, the wire between them, and somebody who watches: four processes of a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton.agents.demo import DemoAgent
from baton.agents.options import AgentOptions
from tests.support.bridge_process import BridgeProcess, bridge_process
from tests.support.node_client import NodeClient, node_client
from tests.support.recording_turn import Answer, RecordingTurn
from tests.support.scripted_agents import execute
from tests.support.server_process import ServerProcess, server_process
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

FINAL = ("completed", "failed", "aborted")


@dataclass
class World:
    """A server, a bridge elsewhere, the wire between them, and somebody who watches."""

    server: ServerProcess
    bridge: BridgeProcess
    wire: TcpProxy
    anna: NodeClient

    async def send(self, request_id: str, content: str, conversation_id: str | None = None, **more: object) -> str:
        """Send a message in a conversation that is watched, else in a new one; its id."""
        watched = conversation_id or await self._watch_new()
        payload = {"requestId": request_id, "content": content, "conversationId": watched, **more}
        answer = await self.anna.emit("chat:send-message", payload)
        assert answer["ok"], answer
        return watched

    async def _watch_new(self) -> str:
        """A new conversation, watched before anything is sent: what ends before the join is in no snapshot."""
        made = await self.anna.emit("conversation:create", {})
        await self.anna.join(made["conversation"]["id"])
        watched: str = made["conversation"]["id"]
        return watched

    async def until_shown(self, events: int, request_id: str) -> None:
        """So many more stream events were shown, or the run has ended meanwhile."""
        least = len(self.anna.payloads("chat:stream-response")) + events
        await self.anna.until(
            lambda: (
                len(self.anna.payloads("chat:stream-response")) >= least or self.run(request_id).get("status") in FINAL
            )
        )

    async def until_ended(self, request_id: str, *statuses: str) -> dict[str, Any]:
        """The run, once it has ended; as one of these."""
        await self.anna.until(lambda: self.run(request_id).get("status") in FINAL, timeout_s=40)
        assert self.run(request_id)["status"] in statuses, self.run(request_id)
        assert self.anna.view.gaps == 0
        return self.run(request_id)

    def run(self, request_id: str) -> dict[str, Any]:
        """What is shown of the run."""
        return self.anna.view.runs.get(request_id, {})

    def text(self, request_id: str) -> str:
        """What is shown of the run's answer: its messages, but for those that only have tools or thoughts."""
        messages = [m for m in self.anna.view.messages.values() if any(b["type"] == "text" for b in m["blocks"])]
        ours = [m for m in messages if m["role"] == "assistant" and m["requestId"] == request_id]
        return "\n".join(m["content"] for m in sorted(ours, key=lambda m: int(m["ordinal"])))

    def blocks(self, request_id: str) -> dict[tuple[str, int], str]:
        """Every text and thought that is shown of it, by message and place."""
        messages = [m for m in self.anna.view.messages.values() if m["requestId"] == request_id]
        return {(m["id"], n): block.get("text", "") for m in messages for n, block in enumerate(m["blocks"])}

    def pending(self) -> list[dict[str, Any]]:
        """The prompts that wait for somebody."""
        return [prompt for prompt in self.anna.view.prompts.values() if prompt["status"] == "pending"]

    async def until_gone(self, timeout_s: float = 30) -> None:
        """The server knows that the bridge is not there."""
        await self.anna.until(lambda: not self._is_there(), timeout_s)

    async def until_there(self) -> None:
        """The server has the bridge."""
        await self.anna.until(self._is_there)

    def _is_there(self) -> bool:
        told = self.anna.payloads("bridge:status")
        return bool(told) and any(bridge["connected"] for bridge in told[-1]["bridges"])

    async def restart_server(self) -> None:
        """SIGKILL, and a new process; returns when the watcher is back."""
        await self.server.kill()
        await self.start_server()

    async def start_server(self) -> None:
        """A new process; returns when the watcher is back."""
        connects = self._connects()
        await self.server.start()
        await self.anna.until(lambda: self._connects() > connects)

    def _connects(self) -> int:
        return sum(state["state"] == "connect" for state in self.anna.states)

    async def restart_bridge(self) -> None:
        """SIGKILL, and a new process with a link. What the wire held of the old one arrives before it."""
        await self.bridge.kill()
        self.wire.bring_up()
        self.wire.let_go()
        await self.bridge.start()
        await self.bridge.until_connected()


@asynccontextmanager
async def world(folder: Path, *, server: dict[str, str] | None = None, **bridge: str) -> AsyncIterator[World]:
    """All of them, connected. `server` and `bridge`: variables of the two processes."""
    async with tcp_proxy() as wire:
        settings = {"BATON_BRIDGE": "none", "PUBLIC_URL": wire.url, **(server or {})}
        async with server_process(folder / "server", **settings) as serving:
            wire.target_port = serving.port
            async with (
                bridge_process(folder / "bridge", wire.url, serving.token("bridge"), **bridge) as bridging,
                node_client(serving.url, serving.token()) as anna,
            ):
                made = World(serving, bridging, wire, anna)
                await made.until_there()
                yield made


async def expected(content: str, answer: Answer | None = None) -> str:
    """What the demo agent answers to this, said without a pause; `answer`: to what it asks."""

    async def at_once(seconds: float) -> None: ...

    agent = DemoAgent(AgentOptions(environment={}, default_working_directory="/", sleep=at_once))
    turn = RecordingTurn(answer)
    await agent.run(execute(message=content), turn)
    return turn.text()
