"""What people are told to type about permissions does what it says: the seed guide's section 6, docs/permissions.md.

The guide's commands are run as they are written, on MongoDB's adapter and without tokens; only the port is another.
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from mongomock_motor import AsyncMongoMockClient

from baton.core.permissions import Rule
from baton.core.prompt_options import DEFAULT_OPTIONS
from baton.services import expiry
from baton.storage.migrate import migrate
from baton.storage.mongo import MongoStore, mongo_migrations
from baton.testing.clock import FakeClock
from tests.support.in_process import running_server
from tests.support.server_process import server_process

DOCS = Path(__file__).parents[2] / "docs"
DOC = (DOCS / "permissions.md").read_text(encoding="utf-8")
SETTINGS = (DOCS / "settings.md").read_text(encoding="utf-8")


Json = Any


@dataclass
class Shell:
    """Somebody at a terminal, with curl and mongosh."""

    url: str
    db: Any
    variables: dict[str, str]

    async def type(self, command: str) -> list[Json]:
        """What the commands print, one JSON after the other."""
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            command.replace("http://localhost:3001", self.url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self.variables},
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        printed, decoder, at = [], json.JSONDecoder(), 0
        text = out.decode().strip()
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            printed.append(value)
            at += len(text[at:]) - len(text[at:].lstrip())
        return printed

    async def find(self, collection: str, **query: str) -> list[dict[str, Any]]:
        """db.<collection>.find(query)"""
        return [document async for document in self.db[collection].find(query)]


async def until(is_so: Callable[[], Awaitable[Any]]) -> Any:
    """What it gives, once it gives something."""
    async with asyncio.timeout(20):
        while not (found := await is_so()):
            await asyncio.sleep(0.02)  # neither REST nor a database tells when something changes
    return found


@pytest.fixture
async def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shell]:
    """A server on MongoDB without tokens, and a bridge whose agent asks."""
    monkeypatch.setattr(expiry, "_LOOK_EVERY_S", 0.5)
    client: Any = AsyncMongoMockClient()
    async with mongo_migrations("mongodb://mock", clock=FakeClock(), database="baton", client=client) as target:
        await migrate(target)

    def on_mongo(_: object) -> MongoStore:
        return MongoStore("mongodb://mock", clock=FakeClock(), database="baton", client=client)

    async with running_server(tmp_path, wrap=on_mongo, auth=False) as running:
        yield Shell(running.url, client["baton"], {})


async def asked(shell: Shell, content: str = "/demo ask rate=100000") -> tuple[str, dict[str, Any]]:
    """A conversation whose agent asks, and what is stored of that."""
    (made,) = await shell.type(
        "curl -s http://localhost:3001/api/chat/conversations -d '{}' -H 'Content-Type: application/json'"
    )
    name = made["conversation"]["id"]
    body = json.dumps({"requestId": f"r-{name}", "content": content})
    await shell.type(
        f"curl -s -X POST http://localhost:3001/api/chat/conversations/{name}/messages"
        f" -H 'Content-Type: application/json' -d '{body}'"
    )
    (prompt,) = await until(lambda: shell.find("interactive_prompts", status="pending"))
    return name, prompt


async def run_of(shell: Shell, conversation_id: str, *statuses: str) -> dict[str, Any]:
    """The conversation's run, once it has ended so."""

    async def ended() -> Any:
        (run,) = await shell.find("runs", requestId=f"r-{conversation_id}")
        return run if run["status"] in statuses else None

    run: dict[str, Any] = await until(ended)
    return run


# --- the seed guide, section 6 -----------------------------------------------------------------------------------


async def test_pending_prompts_and_grants_are_found_as_the_guide_looks_for_them(shell: Shell) -> None:
    conversation, prompt = await asked(shell)
    assert (str(prompt["conversationId"]), prompt["toolName"]) == (conversation, "Bash")
    assert await shell.find("conversation_permissions", status="granted") == []
    body = '{"selectedOption": "allow_session"}'
    await shell.type(
        f"curl -s -X POST http://localhost:3001/api/chat/prompts/{prompt['_id']}/respond"
        f" -H 'Content-Type: application/json' -d '{body}'"
    )
    (grant,) = await shell.find("conversation_permissions", status="granted")
    assert (grant["toolName"], grant["scope"], str(grant["conversationId"])) == ("Bash", "conversation", conversation)
    await run_of(shell, conversation, "completed")
    assert await shell.find("interactive_prompts", status="pending") == []


async def test_stuck_permissions_are_cleared_by_the_guides_statement_and_their_runs_end(shell: Shell) -> None:
    conversation, prompt = await asked(shell)
    assert 'updateMany({status: "pending"}, {$set: {status: "timeout", autoHandler: "cleanup"}})' in DOC
    cleared = {"$set": {"status": "timeout", "autoHandler": "cleanup"}}
    await shell.db.interactive_prompts.update_many({"status": "pending"}, cleared)
    run = await run_of(shell, conversation, "failed")
    assert run["error"]["code"] == "prompt_timeout"
    (ended,) = await shell.find("interactive_prompts", status="timeout")
    assert (ended["_id"], ended["autoHandler"]) == (prompt["_id"], "cleanup")
    assert ended["respondedAt"] is not None
    (entry,) = await shell.find("audit_log")
    assert (entry["outcome"], entry["handler"]) == ("timeout", "cleanup")


async def test_stuck_permissions_and_then_stuck_requests_are_cleared_one_after_the_other(shell: Shell) -> None:
    conversation, _ = await asked(shell)
    cleared = {"$set": {"status": "timeout", "autoHandler": "cleanup"}}
    await shell.db.interactive_prompts.update_many({"status": "pending"}, cleared)
    await shell.type("curl -X POST http://localhost:3001/api/chat/conversations/reset-active")
    run = await run_of(shell, conversation, "aborted", "failed")
    assert run["status"] in ("aborted", "failed")
    (entry,) = await shell.find("audit_log", action="prompt.decided")
    assert entry["outcome"] == "timeout"
    (reset,) = await shell.find("audit_log", outcome="done")
    assert reset["action"] == "runs.reset"


async def test_the_permission_mode_is_reset_as_the_guide_does_it(shell: Shell) -> None:
    conversation, _ = await asked(shell, "/demo plan rate=100000")
    await shell.type(
        f"""curl -X POST http://localhost:3001/api/chat/conversations/{conversation}/permission-mode \\
  -H "Content-Type: application/json" \\
  -d '{{"mode": "plan"}}'"""
    )
    (told,) = await shell.type(
        f"""curl -X POST http://localhost:3001/api/chat/conversations/{conversation}/permission-mode \\
  -H "Content-Type: application/json" \\
  -d '{{"mode": "interactive"}}'"""
    )
    assert (told["ok"], told["mode"]) == (True, "default")
    (stored,) = await shell.find("conversations")
    assert stored["permissionMode"] == "default"


async def test_active_requests_and_sessions_are_reset_as_the_guide_does_it(shell: Shell) -> None:
    conversation, prompt = await asked(shell)
    (told,) = await shell.type("curl -X POST http://localhost:3001/api/chat/conversations/reset-active")
    assert (told["ok"], told["runs"], told["prompts"]) == (True, 1, 1)
    await run_of(shell, conversation, "aborted")
    (ended,) = await shell.find("interactive_prompts")
    assert (ended["_id"], ended["status"], ended["autoHandler"]) == (prompt["_id"], "cancelled", "cleanup")
    (before,) = await shell.find("conversations")
    assert before["claudeSessionId"] is not None
    (told,) = await shell.type("curl -X DELETE http://localhost:3001/api/chat/sessions/clear")
    assert told["ok"]
    (after,) = await shell.find("conversations")
    assert after["claudeSessionId"] is None


# --- docs/permissions.md -----------------------------------------------------------------------------------------


async def test_each_command_of_the_document_works_as_it_is_written(tmp_path: Path) -> None:
    (block,) = re.findall(r"```bash\n(.*?)```", DOC, flags=re.S)
    async with server_process(tmp_path / "server") as server:
        headers = {"Authorization": f"Bearer {server.token()}"}
        async with aiohttp.ClientSession(server.url, headers=headers) as session:

            async def post(path: str, body: dict[str, Any]) -> Any:
                async with session.post(path, json=body) as response:
                    assert response.status in (200, 201)
                    return await response.json()

            project = await post("/api/projects", {"name": "P"})
            made = await post("/api/chat/conversations", {"projectId": project["project"]["id"]})
            conversation = made["conversation"]["id"]
            path = f"/api/chat/conversations/{conversation}/permissions"
            given = await post(path, {"toolName": "Read", "scope": "conversation"})
        variables = {
            "CONVERSATION": conversation,
            "GRANT": given["permission"]["id"],
            "BATON_DATA": str(server.data),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        mode, project_grant, denial, listed, revoked = await Shell(server.url, None, variables).type(block)
    assert mode["mode"] == "acceptEdits"
    assert (project_grant["permission"]["pattern"], project_grant["permission"]["scope"]) == ("npm test:*", "project")
    assert (denial["permission"]["effect"], denial["permission"]["scope"]) == ("deny", "all")
    assert [grant["toolName"] for grant in listed["permissions"]] == ["Bash", "Bash", "Read"]
    assert (revoked["permission"]["id"], revoked["permission"]["status"]) == (given["permission"]["id"], "revoked")


def test_the_document_names_the_options_the_rules_and_the_settings_that_there_are() -> None:
    for name in (*Rule, *(option.id for options in DEFAULT_OPTIONS.values() for option in options)):
        assert f"`{name}`" in DOC, name
    for setting in re.findall(r"`(BATON_[A-Z_]+)", DOC):
        assert setting in SETTINGS, setting
