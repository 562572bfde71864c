"""A session that somebody had with Claude Code in a terminal is imported, and goes on in Baton where it was."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

pytest.importorskip("claude_agent_sdk", reason="the extra `claude` is not installed")

from baton.core.commands import AccountRole, Identity, SendMessage
from baton.core.ids import ConversationId, RequestId, UserId
from baton.core.models import Run, RunStatus
from tests.support import claude_fixtures
from tests.support.claude_fixtures import MakeAgent, run
from tests.support.fake_messages_api import FakeMessagesApi
from tests.support.in_process import Running, running_server
from tests.support.recording_turn import RecordingTurn

api, environment = claude_fixtures.api, claude_fixtures.environment
make_agent, work = claude_fixtures.make_agent, claude_fixtures.work

ANNA = Identity(UserId("anna"), AccountRole.ADMIN)


async def finished(server: Running, request_id: RequestId) -> Run:
    """The run, once it has its final state."""
    async with asyncio.timeout(30):
        while True:
            found = await server.server.services.runs.get(ANNA, request_id)
            if found.status in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.ABORTED):
                return found
            await asyncio.sleep(0.05)


async def test_the_imported_session_goes_on_where_it_was(
    make_agent: MakeAgent, work: Path, environment: dict[str, str], api: FakeMessagesApi, tmp_path: Path
) -> None:
    before = make_agent()
    session_id = (await run(before, RecordingTurn(), "text the secret word is walnut")).session_id
    await before.close()

    async with running_server(tmp_path, agents=("claude",), workspace=(work,), agent_environment=environment) as server:
        headers = {"Authorization": f"Bearer {server.token}"}
        async with aiohttp.ClientSession(server.url, headers=headers) as http:
            async with http.get("/api/bridges/sessions", params={"workingDirectory": str(work)}) as answer:
                assert [item["sessionId"] for item in (await answer.json())["sessions"]] == [session_id]
            body = {"sessionId": session_id, "workingDirectory": str(work)}
            async with http.post("/api/bridges/sessions/import", json=body) as answer:
                imported = await answer.json()
                assert (answer.status, imported["isNew"], imported["messageCount"]) == (201, True, 2), imported
            conversation_id = ConversationId(imported["conversation"]["id"])

            await server.server.services.runs.send(
                ANNA, SendMessage(request_id=RequestId("r1"), content="text go on", conversation_id=conversation_id)
            )
            done = await finished(server, RequestId("r1"))

            async with http.get(f"/api/chat/conversations/{conversation_id}/messages") as answer:
                messages = (await answer.json())["messages"]
        conversation = await server.server.services.conversations.get(ANNA, conversation_id)

    assert done.status is RunStatus.COMPLETED, done.error
    assert conversation.claude_session_id == session_id
    assert [(message["role"], message["content"]) for message in messages] == [
        ("user", "text the secret word is walnut"),
        ("assistant", "the secret word is walnut"),
        ("user", "text go on"),
        ("assistant", "go on"),
    ]
    asked = str(api.requests[-1])
    assert "walnut" in asked, "the model was told what was said before"
