"""Nothing reaches a browser before it is on disk: a commit is held, and no socket gets a byte of it."""

from pathlib import Path

from baton.core.ports import Store
from baton.testing.stores import HeldStore
from tests.support.in_process import running_server
from tests.support.node_client import NodeClient, node_client


async def test_a_commit_that_is_held_is_seen_by_nobody(tmp_path: Path) -> None:
    held: list[HeldStore] = []

    def wrap(store: Store) -> Store:
        held.append(HeldStore(store))
        return held[0]

    async with running_server(tmp_path, wrap=wrap) as running:
        (store,) = held
        async with node_client(running.url, running.token) as anna, node_client(running.url, running.token) as ben:
            sent = await anna.emit(
                "chat:send-message", {"requestId": "r", "content": "/demo markdown words=200 rate=200"}
            )
            for client in (anna, ben):
                await client.join(sent["conversationId"])
            await ben.until(lambda: len(ben.payloads("chat:stream-response")) > 3)
            store.hold()
            await store.reached.wait()
            told = [await settled(client, sent["conversationId"]) for client in (anna, ben)]
            # Both sockets still answer, in order, behind everything that was sent before: nothing new has come.
            for client, before in zip((anna, ben), told, strict=True):
                assert await settled(client, sent["conversationId"]) == before
            store.release()
            await ben.until(lambda: ben.view.runs["r"]["status"] == "completed")
            await anna.until(lambda: anna.view.runs["r"]["status"] == "completed")
            assert anna.view.messages == ben.view.messages
            assert len(anna.payloads("chat:stream-response")) > told[0]


async def settled(client: NodeClient, conversation_id: str) -> int:
    """How many envelopes have come, once everything that was on its way is here."""
    await client.emit("conversation:check", {"conversationId": conversation_id})
    return len(client.payloads("chat:stream-response"))
