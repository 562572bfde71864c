"""Several bridges with one server, each a process with its own token: who takes which work, and a token that ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from baton.agents.demo import DemoAgent
from baton.agents.options import AgentOptions
from tests.support.bridge_process import BridgeProcess, bridge_process
from tests.support.node_client import NodeClient, node_client
from tests.support.recording_turn import RecordingTurn
from tests.support.scripted_agents import execute
from tests.support.server_process import ServerProcess, server_process

LONG = "/demo markdown words=3000 rate=60"
"""Goes on for longer than any test looks at it."""
STORY = "/demo markdown words=400 rate=150"
"""About three seconds."""


@dataclass
class Office:
    """A server, somebody who watches every conversation that was begun, and an admin."""

    server: ServerProcess
    anna: NodeClient
    admin: aiohttp.ClientSession
    conversations: dict[str, str] = field(default_factory=dict)
    """By requestId."""
    joined: dict[str, Any] = field(default_factory=dict)
    """The snapshot of each conversation."""

    async def token(self, name: str, role: str = "bridge") -> tuple[str, str]:
        """A new one: its text and its id."""
        async with self.admin.post("/api/tokens", json={"name": name, "role": role}) as response:
            made = await response.json()
            assert response.status == 201, made
            return made["secret"], made["token"]["id"]

    async def revoke(self, wanted: str) -> None:
        """By name or id."""
        async with self.admin.get("/api/tokens") as response:
            tokens = (await response.json())["tokens"]
        [token_id] = [token["id"] for token in tokens if wanted in (token["id"], token["name"])]
        async with self.admin.delete(f"/api/tokens/{token_id}") as response:
            assert response.status == 200

    async def send(self, request_id: str, content: str, **fields: object) -> Any:
        """The answer to a message whose conversation is watched from then on."""
        payload = {"requestId": request_id, "content": content, **fields}
        answer = await self.anna.emit("chat:send-message", payload)
        assert answer["ok"], answer
        conversation_id = self.conversations[request_id] = answer["conversationId"]
        if conversation_id not in self.joined:
            self.joined[conversation_id] = await self.anna.emit("join-conversation", conversation_id)
        return answer

    def run(self, request_id: str) -> dict[str, Any]:
        """As it was last told."""
        told = [payload["run"] for payload in self.anna.payloads("chat:run")]
        known = [*self.joined[self.conversations[request_id]]["runs"], *told]
        return next((run for run in reversed(known) if run["requestId"] == request_id), {})

    async def until(self, request_id: str, **wanted: object) -> dict[str, Any]:
        """The run, once it is told as wanted."""
        await self.anna.until(lambda: wanted.items() <= self.run(request_id).items())
        return self.run(request_id)

    async def text(self, request_id: str) -> str:
        """What its agent said, as it is stored."""
        async with self.admin.get(
            f"/api/chat/conversations/{self.conversations[request_id]}/messages", params={"limit": "500"}
        ) as response:
            messages = (await response.json())["messages"]
        return "\n".join(m["content"] for m in messages if m["role"] == "assistant" and m["requestId"] == request_id)

    async def bridges(self, count: int) -> None:
        """Return once so many are there."""
        await self.anna.until(lambda: len(self.anna.payloads("bridge:status")[-1]["bridges"]) == count)

    @asynccontextmanager
    async def bridge(self, folder: Path, name: str, token: str, **environment: str) -> AsyncIterator[BridgeProcess]:
        """A bridge process with this name, connected."""
        started = bridge_process(folder, self.server.url, token, BATON_BRIDGE_NAME=name, **environment)
        async with started as bridge:
            await bridge.until_connected()
            yield bridge


@asynccontextmanager
async def office(folder: Path, **settings: str) -> AsyncIterator[Office]:
    async with (
        server_process(folder / "server", BATON_BRIDGE="none", **settings) as server,
        node_client(server.url, server.token()) as anna,
        aiohttp.ClientSession(server.url, headers={"Authorization": f"Bearer {server.token()}"}) as admin,
    ):
        yield Office(server, anna, admin)


async def bridge_id(bridge: BridgeProcess) -> str:
    """What it calls itself."""
    name: str = (await bridge.until(lambda health: True))["bridgeId"]
    return name


async def expected(content: str) -> str:
    """What the demo agent answers to this, said without a pause."""

    async def at_once(seconds: float) -> None: ...

    turn = RecordingTurn()
    agent = DemoAgent(AgentOptions(environment={}, default_working_directory="/", sleep=at_once))
    await agent.run(execute(message=content), turn)
    return turn.text()


async def test_each_bridge_takes_its_share_and_keeps_its_conversations(tmp_path: Path) -> None:
    async with office(tmp_path) as o:
        second_token, _ = await o.token("desktop")
        async with (
            o.bridge(tmp_path / "a", "laptop", o.server.token("bridge")) as laptop,
            o.bridge(tmp_path / "b", "desktop", second_token, BATON_MAX_CONCURRENT_REQUESTS="2") as desktop,
        ):
            await o.bridges(2)
            on_laptop, on_desktop = await bridge_id(laptop), await bridge_id(desktop)

            await o.send("asked", LONG, bridgeId=on_desktop)
            assert (await o.until("asked", status="running"))["bridgeId"] == on_desktop, "the asked one"
            await o.send("new", "Hello rate=1000")
            assert (await o.until("new", status="completed"))["bridgeId"] == on_laptop, "the least loaded"
            await o.send("folder", "Hello rate=1000", workingDirectory=str(tmp_path / "b"))
            assert (await o.until("folder", status="completed"))["bridgeId"] == on_desktop, "the one with the folder"

            await o.send("busy", LONG, bridgeId=on_laptop)
            await o.send("busier", LONG, bridgeId=on_laptop)
            await o.until("busier", status="running")
            await o.send("again", "Hello rate=1000", conversationId=o.conversations["new"])
            assert (await o.until("again", status="completed"))["bridgeId"] == on_laptop, "where it began"

            await o.send("filling", LONG, bridgeId=on_desktop)
            await o.until("filling", status="running")
            queued = await o.send("queued", "Hello rate=1000", bridgeId=on_desktop)
            assert (queued["status"], "busy" in queued["reason"]) == ("queued", True), queued
            assert (await o.anna.emit("chat:abort", {"requestId": "asked"}))["ok"]
            assert (await o.until("queued", status="completed"))["bridgeId"] == on_desktop, "as soon as there is room"


async def test_a_second_bridge_with_the_firsts_token_is_told_the_cure_also_after_a_restart(tmp_path: Path) -> None:
    async with office(tmp_path) as o:
        token = o.server.token("bridge")
        async with o.bridge(tmp_path / "a", "laptop", token) as laptop:
            await o.server.kill()
            await o.server.start()
            async with bridge_process(tmp_path / "b", o.server.url, token, BATON_BRIDGE_NAME="desktop") as second:
                refused = await second.until(lambda health: health["link"]["code"] == 4401)
                assert "baton token create --role bridge --name NAME" in refused["link"]["reason"]
                await laptop.until_connected()
                assert token not in second.log


async def test_runs_of_a_revoked_bridge_wait_until_it_is_back_and_others_go_on(tmp_path: Path) -> None:
    async with office(tmp_path, BATON_AWAY_AFTER_S="0.5") as o:
        other_token, _ = await o.token("desktop")
        async with (
            o.bridge(tmp_path / "a", "laptop", o.server.token("bridge")) as laptop,
            o.bridge(tmp_path / "b", "desktop", other_token) as desktop,
        ):
            await o.bridges(2)
            await o.send("cut", STORY, bridgeId=await bridge_id(laptop))
            await o.send("other", STORY, bridgeId=await bridge_id(desktop))
            await o.until("cut", status="running")

            await o.revoke("bridge")
            await laptop.until(lambda health: health["link"]["code"] == 4401)
            assert (await o.until("cut", away=True))["status"] == "running"
            assert not (await o.until("other", status="completed"))["away"]
            assert await o.text("other") == await expected(STORY)

            # What it says meanwhile waits in its spool, and it comes back under its own name with a new token.
            await laptop.until(lambda health: health["runs"]["active"] == 0)
            assert await laptop.terminate() == 0
            laptop.take_token((await o.token("laptop"))[0])
            await laptop.start()
            back = await o.until("cut", status="completed")
            assert (back["away"], back["bridgeId"]) == (False, await bridge_id(laptop))
            assert await o.text("cut") == await expected(STORY)
            assert laptop.starts == ["cut"], "no agent was started twice"


async def test_a_bridge_reads_attachments_of_its_own_runs_and_no_conversation(tmp_path: Path) -> None:
    async with office(tmp_path) as o:
        mine, (others, _) = o.server.token("bridge"), await o.token("desktop")
        async with (
            o.bridge(tmp_path / "a", "laptop", mine) as laptop,
            o.bridge(tmp_path / "b", "desktop", others),
        ):
            await o.bridges(2)
            form = aiohttp.FormData()
            form.add_field("file", b"for one", filename="a.txt", content_type="text/plain")
            async with o.admin.post("/api/attachments", data=form) as response:
                sent = (await response.json())["attachment"]
            await o.send("r", LONG, attachments=[sent["id"]], bridgeId=await bridge_id(laptop))
            await o.until("r", status="running")
            for token, path, status in (
                (mine, sent["url"], 200),
                (others, sent["url"], 403),
                (mine, "/api/chat/conversations", 403),
                (mine, f"/api/chat/conversations/{o.conversations['r']}/messages", 403),
                (mine, "/api/tokens", 403),
            ):
                headers = {"Authorization": f"Bearer {token}"}
                async with o.admin.get(path, headers=headers) as response:
                    assert response.status == status, path


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_revoked_persons_sockets_are_disconnected_and_stay_out(tmp_path: Path, transport: str) -> None:
    async with office(tmp_path) as o:
        token, _ = await o.token("ben", role="user")
        async with node_client(o.server.url, token, transport) as ben:
            assert (await ben.emit("bridge:list", {}))["ok"]
            await o.revoke("ben")
            await ben.until(lambda: ben.states[-1]["state"] == "disconnect")
            assert ben.states[-1]["reason"] == "io server disconnect"
            await ben.connect()
            await ben.until(lambda: ben.states[-1]["state"] == "connect_error")
            assert ben.states[-1]["data"]["error"]["code"] == "unauthenticated"
        assert (await o.anna.emit("bridge:list", {}))["ok"], "others go on"
