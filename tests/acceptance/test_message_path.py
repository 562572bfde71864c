"""The story: somebody starts Baton, asks an agent from a browser, answers its question, and loses nothing.

Real processes, the real `socket.io-client` from npm, a real file, `kill -9`.
"""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.node_client import NodeClient, node_client
from tests.support.server_process import ServerProcess, server_process


async def sent(client: NodeClient, request_id: str, content: str, **more: object) -> Any:
    """Send and join what it made."""
    answer = await client.emit("chat:send-message", {"requestId": request_id, "content": content, **more})
    assert answer["ok"], answer
    await client.join(answer["conversationId"])
    return answer


async def ended(client: NodeClient, request_id: str, status: str = "completed") -> dict[str, Any]:
    """The run, once it has this status."""
    await client.until(lambda: client.view.runs.get(request_id, {}).get("status") == status)
    return client.view.runs[request_id]


def assistant_texts(client: NodeClient) -> list[str]:
    messages = sorted(client.view.messages.values(), key=lambda message: int(message["ordinal"]))
    return [message["content"] for message in messages if message["role"] == "assistant"]


async def test_somebody_asks_an_agent_answers_its_question_and_loses_nothing(tmp_path: Path) -> None:
    async with server_process(tmp_path) as server:
        async with node_client(server.url, server.token()) as anna, node_client(server.url, server.token()) as ben:
            # A message makes a conversation; the demo agent answers, word by word.
            answer = await sent(anna, "first", "Hello there rate=200")
            assert answer["status"] == "dispatched"
            conversation_id = answer["conversationId"]
            await ben.join(conversation_id)
            await ended(anna, "first")
            assert "demo agent" in assistant_texts(anna)[0].lower()
            assert len(anna.payloads("chat:stream-response")) > 3, "it streams"

            # It asks before it acts; whoever is there may answer, and both see it.
            await sent(anna, "second", "/demo ask rate=200", conversationId=conversation_id)
            await ben.until_event("interactive_prompt")
            (prompt,) = [p for p in ben.view.prompts.values() if p["status"] == "pending"]
            assert prompt["title"]
            answered = await ben.emit("permission:respond", {"promptId": prompt["id"], "selectedOption": "allow_once"})
            assert answered["prompt"]["status"] == "answered"
            late = await anna.emit("permission:respond", {"promptId": prompt["id"], "selectedOption": "deny"})
            assert late["error"]["code"] == "already_resolved"
            assert late["prompt"]["selectedOption"] == "allow_once"
            await ended(anna, "second")
            await ended(ben, "second")
            assert anna.view.messages == ben.view.messages, "every tab shows the same"
            shown = anna.view.messages

        # A crash loses nothing that was shown.
        await server.kill()
        await server.start()
        async with node_client(server.url, server.token()) as carla:
            await carla.join(conversation_id)
            assert {i: m["content"] for i, m in carla.view.messages.items()} == {
                i: m["content"] for i, m in shown.items()
            }
            again = await carla.emit("chat:send-message", {"requestId": "first", "content": "Hello there rate=200"})
            assert again["conversationId"] == conversation_id, "a known request is answered, not run again"
            await sent(carla, "third", "/demo recall rate=200", conversationId=conversation_id)
            await ended(carla, "third")


async def test_what_the_socket_showed_is_what_rest_and_the_file_hold(tmp_path: Path) -> None:
    async with server_process(tmp_path) as server, node_client(server.url, server.token()) as anna:
        answer = await sent(anna, "r", "/demo tool rate=200")
        await ended(anna, "r")
        headers = {"Authorization": f"Bearer {server.token()}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            url = f"{server.url}/api/chat/conversations/{answer['conversationId']}/messages"
            async with session.get(url) as response:
                page = await response.json()
        assert {m["id"]: m for m in page["messages"]} == (await rejoined(anna, answer["conversationId"]))
        with sqlite3.connect(server.database) as database:
            stored = dict(database.execute("SELECT id, doc FROM messages").fetchall())
        assert {i: json.loads(doc)["content"] for i, doc in stored.items()} == {
            m["id"]: m["content"] for m in page["messages"]
        }


async def rejoined(client: NodeClient, conversation_id: str) -> dict[str, Any]:
    snapshot = await client.join(conversation_id)
    return {message["id"]: message for message in snapshot["messages"]}


async def test_an_abort_ends_the_run_and_keeps_the_text(tmp_path: Path) -> None:
    async with server_process(tmp_path) as server, node_client(server.url, server.token()) as anna:
        await sent(anna, "r", "/demo markdown words=2000 rate=50")
        await anna.until(lambda: len(anna.payloads("chat:stream-response")) > 5)
        before = assistant_texts(anna)[0]
        assert (await anna.emit("chat:abort", {"requestId": "r"}))["ok"]
        await ended(anna, "r", "aborted")
        assert assistant_texts(anna)[0].startswith(before)
        await anna.until_event("chat:aborted")
        answer = await anna.emit("chat:retry", {"requestId": "r", "newRequestId": "again"})
        assert answer["status"] == "dispatched"
        await anna.emit("chat:abort", {"requestId": "again"})


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_thousand_events_in_one_burst_take_effect_in_order(tmp_path: Path, transport: str) -> None:
    async with server_process(tmp_path, BATON_QUEUE_MAX_RUNS="2000") as server:
        async with node_client(server.url, server.token(), transport) as anna:
            answer = await sent(anna, "r", "/demo silent seconds=60")
            conversation_id = answer["conversationId"]
            emits: list[tuple[str, object]] = [
                (
                    "chat:send-message",
                    {"requestId": f"b{number}", "content": f"message {number}", "conversationId": conversation_id},
                )
                for number in range(1000)
            ]
            answers = await anna.burst(emits)
            assert [answer["position"] for answer in answers] == list(range(1, 1001))
            # A paused queue keeps what waits; ending all of it at once leaves nothing behind.
            async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {server.token()}"}) as session:
                async with session.post(f"{server.url}/api/chat/conversations/reset-active") as response:
                    assert (await response.json())["runs"] == 1001


async def test_two_clients_that_drop_and_rejoin_end_with_equal_messages(tmp_path: Path) -> None:
    async with server_process(tmp_path) as server:
        async with node_client(server.url, server.token()) as anna, node_client(server.url, server.token()) as ben:
            answer = await sent(anna, "r", "/demo markdown words=600 rate=200")
            await ben.join(answer["conversationId"])

            async def unsteady(client: NodeClient, every_s: float) -> None:
                while client.view.runs.get("r", {}).get("status") not in ("completed", "failed"):
                    connects = sum(state["state"] == "connect" for state in client.states)
                    await client.cut()
                    await client.until(
                        lambda count=connects: sum(s["state"] == "connect" for s in client.states) > count
                    )
                    await client.join(answer["conversationId"], after=client.view.seq)
                    await asyncio.sleep(every_s)  # the rhythm of the cuts is what this test is about

            async with asyncio.timeout(60):
                await asyncio.gather(unsteady(anna, 0.15), unsteady(ben, 0.23))
            assert anna.view.messages == ben.view.messages
            assert len(assistant_texts(anna)[0].split()) > 500


async def test_no_token_no_entry(tmp_path: Path) -> None:
    async with server_process(tmp_path) as server:
        async with node_client(server.url, None) as stranger:
            assert stranger.states[0]["state"] == "connect_error"
            assert "unauthenticated" in json.dumps(stranger.states[0])
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{server.url}/api/chat/conversations") as response:
                assert response.status == 401
            async with session.get(f"{server.url}/health") as response:
                assert response.status == 200
            headers = {"Authorization": f"Bearer {server.token()}", "Origin": "http://evil.example"}
            async with session.get(f"{server.url}/api/chat/conversations", headers=headers) as response:
                assert response.status == 403
            headers = {"Authorization": f"Bearer {server.token()}", "Host": "evil.example"}
            async with session.get(f"{server.url}/api/chat/conversations", headers=headers) as response:
                assert response.status == 403


async def test_sigterm_is_clean_while_streams_run(tmp_path: Path) -> None:
    async with server_process(tmp_path) as server:
        async with node_client(server.url, server.token()) as anna:
            await sent(anna, "r", "/demo markdown words=5000 rate=100")
            await anna.until(lambda: len(anna.payloads("chat:stream-response")) > 3)
            async with asyncio.timeout(10):
                assert await server.terminate() == 0
            assert anna.payloads("server:draining")
        await server.start()
        assert_is_whole(server)


def assert_is_whole(server: ServerProcess) -> None:
    with sqlite3.connect(server.database) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (open_runs,) = database.execute(
            "SELECT count(*) FROM runs WHERE status NOT IN ('completed', 'failed', 'aborted')"
        ).fetchone()
    assert open_runs == 0
