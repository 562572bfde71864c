"""`kill -9` of the server at random moments of a stream loses nothing that any client was shown."""

import asyncio
import json
import random
import sqlite3
from pathlib import Path
from typing import Any

from tests.support.node_client import NodeClient, node_client
from tests.support.outside_bridge import expected_text
from tests.support.outside_process import outside_bridge
from tests.support.server_process import ServerProcess, server_process

KILLS = 20
WORDS = 200
SEED = 20261123


async def test_with_the_in_process_bridge_the_text_that_was_shown_is_kept(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    async with server_process(tmp_path) as server, node_client(server.url, server.token()) as anna:
        for number in range(KILLS):
            request_id = f"r{number}"
            answer = await begin(anna, request_id, "/demo markdown words=2000 rate=400")
            await until_shown(anna, request_id, rng.randint(1, 60))
            await server.kill()
            shown = dict(anna.view.messages)
            await restart(server, anna)
            await anna.join(answer["conversationId"], after=anna.view.seq)
            await anna.until(lambda name=request_id: anna.view.runs[name]["status"] == "failed")
            assert anna.view.runs[request_id]["error"]["code"] == "bridge_lost"
            stored = stored_texts(server)
            for message in shown.values():
                assert stored[message["id"]].startswith(message["content"])
            assert_views_agree(anna, stored)
            anna.events.clear()


async def test_with_an_outside_bridge_the_run_goes_on_and_completes_with_exact_text(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    async with (
        server_process(tmp_path, BATON_BRIDGE="none") as server,
        outside_bridge(server.url, server.token("bridge")),
        node_client(server.url, server.token()) as anna,
    ):
        await anna.until(lambda: any(status["bridges"] for status in anna.payloads("bridge:status")))
        for number in range(KILLS):
            request_id = f"r{number}"
            answer = await begin(anna, request_id, f"words={WORDS} rate=300 think tool")
            await until_shown(anna, request_id, rng.randint(1, 90))
            await server.kill()
            shown = {message["id"]: message["content"] for message in anna.view.messages.values()}
            assert anna.view.gaps == 0
            for message_id, text in shown.items():
                assert journalled_or_stored(server, message_id, text)
            await restart(server, anna)
            await anna.join(answer["conversationId"], after=anna.view.seq)
            await anna.until(lambda name=request_id: anna.view.runs[name]["status"] == "completed")
            (text,) = [text for text in anna.view.texts().values() if text.startswith("w0")]
            assert text == expected_text(WORDS)
            assert_views_agree(anna, stored_texts(server))
            anna.events.clear()


async def until_shown(client: NodeClient, request_id: str, events: int) -> None:
    """So many stream events were shown. A slow machine has fewer and larger ones: then the end of the run does too."""
    await client.until(
        lambda: (
            len(client.payloads("chat:stream-response")) > events
            or client.view.runs.get(request_id, {}).get("status") == "completed"
        )
    )


def journalled_or_stored(server: ServerProcess, message_id: str, text: str) -> bool:
    """Whether what was shown of a message is on disk, in its document or as deltas of the journal."""
    stored = stored_texts(server).get(message_id)
    if stored is not None:
        return stored.startswith(text)
    with sqlite3.connect(f"file:{server.database}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT events FROM run_journal ORDER BY seq").fetchall()
    deltas = [event for (events,) in rows for event in json.loads(events) if event.get("messageId") == message_id]
    said = "".join(event["text"] for event in deltas if event["type"] == "text.delta")
    return said.startswith(text)


def stored_texts(server: ServerProcess) -> dict[str, str]:
    """Content by message id, as in the file."""
    with sqlite3.connect(f"file:{server.database}?mode=ro", uri=True) as database:
        return {i: json.loads(doc)["content"] for i, doc in database.execute("SELECT id, doc FROM messages")}


def assert_views_agree(client: NodeClient, stored: dict[str, str]) -> None:
    """What a client shows of finished messages is what the file holds."""
    for message in client.view.messages.values():
        assert stored[message["id"]] == message["content"]


async def begin(client: NodeClient, request_id: str, content: str) -> Any:
    """Send in a new conversation, and join it."""
    answer = await client.emit("chat:send-message", {"requestId": request_id, "content": content})
    assert answer["ok"], answer
    client.view.messages.clear()
    await client.join(answer["conversationId"])
    return answer


async def restart(server: ServerProcess, *clients: NodeClient) -> None:
    """Start again, and wait until the clients have reconnected by themselves."""
    connects = [sum(state["state"] == "connect" for state in client.states) for client in clients]
    await server.start()
    async with asyncio.timeout(30):
        for client, before in zip(clients, connects, strict=True):
            await client.until(lambda c=client, b=before: sum(s["state"] == "connect" for s in c.states) > b)
