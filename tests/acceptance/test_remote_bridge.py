"""What a bridge on another machine gives a person as the one inside the server does: files that come with messages."""

from pathlib import Path

import aiohttp

from tests.support.bridge_process import bridge_process
from tests.support.node_client import node_client
from tests.support.server_process import server_process


async def test_an_agent_elsewhere_reads_what_a_message_brings(tmp_path: Path) -> None:
    content = b"x" * 12_345
    async with (
        server_process(tmp_path / "server", BATON_BRIDGE="none") as server,
        bridge_process(tmp_path / "bridge", server.url, server.token("bridge")) as bridge,
        node_client(server.url, server.token()) as anna,
    ):
        await bridge.until_connected()
        form = aiohttp.FormData()
        form.add_field("file", content, filename="notes.txt", content_type="text/plain")
        admin = {"Authorization": f"Bearer {server.token()}"}
        async with aiohttp.ClientSession(headers=admin) as session:
            async with session.post(f"{server.url}/api/attachments", data=form) as response:
                attachment = (await response.json())["attachment"]
        message = {"requestId": "r", "content": "Read this rate=1000", "attachments": [attachment["id"]]}
        answer = await anna.emit("chat:send-message", message)
        assert answer["ok"], answer
        await anna.join(answer["conversationId"])
        await anna.until(lambda: anna.view.runs["r"]["status"] == "completed")
        (text,) = anna.view.texts().values()
        assert "notes.txt" in text
        assert "12345" in text.replace(",", "")
