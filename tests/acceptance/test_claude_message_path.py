"""The message path with the real Claude Code: browser, server, its bridge, the CLI, and the way back to the disk.

Real processes and the real `socket.io-client` from npm; only the API behind Claude Code is a fake, on loopback.
"""

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("claude_agent_sdk", reason="the extra `claude` is not installed")

from tests.support import claude_fixtures
from tests.support.claude_fixtures import children, wait_for_end
from tests.support.fake_messages_api import FakeMessagesApi
from tests.support.node_client import NodeClient, node_client
from tests.support.server_process import ServerProcess, server_process
from tests.support.view import View

# pytest finds fixtures by the names of the module that uses them.
api, environment, work = claude_fixtures.api, claude_fixtures.environment, claude_fixtures.work

_NOT_OURS = ("ANTHROPIC_", "CLAUDE", "AWS_", "GOOGLE_")
"""What a person who runs the tests may have set for Claude Code of their own."""


class PageView(View):
    """A page that also follows its tool calls to their end."""

    def _take_stream(self, event: dict[str, Any], envelope: dict[str, Any]) -> None:
        super()._take_stream(event, envelope)
        if event["type"] == "tool.started" and event["messageId"] in self.messages:
            # A tool may be done before its message is, which then comes whole.
            blocks = self.messages[event["messageId"]]["blocks"]
            blocks += [{"type": "text", "text": ""} for _ in range(event["block"] + 1 - len(blocks))]
            blocks[event["block"]] = {"type": "tool_use", "id": event["id"], "name": event["name"], "status": "running"}
        if event["type"] == "tool.done":
            block = self.messages[event["messageId"]]["blocks"][event["block"]]
            status = "failed" if event["isError"] else "completed"
            block |= {"status": status, "result": event["result"], "isError": event["isError"]}


@pytest.fixture
def variables(environment: dict[str, str], work: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a server that runs Claude Code is started with, beside what every test's server is."""
    for name in list(os.environ):
        if name.startswith(_NOT_OURS):
            monkeypatch.delenv(name)
    return {**environment, "BATON_AGENTS": "claude", "BATON_WORKSPACE": str(work)}


@asynccontextmanager
async def started(tmp_path: Path, variables: dict[str, str]) -> AsyncIterator[tuple[ServerProcess, NodeClient]]:
    """A server and a page that is connected to it."""
    async with server_process(tmp_path / "server", **variables) as server:
        async with node_client(server.url, server.token()) as page:
            page.view = PageView()
            yield server, page


async def sent(page: NodeClient, request_id: str, content: str, **more: object) -> str:
    """Send in the conversation that the page watches, or in a new one; its id."""
    if not page.view.is_joined:
        # Watched before anything is sent: a run that had ended by then would be in no snapshot.
        made = await page.emit("conversation:create", {})
        more["conversationId"] = made["conversation"]["id"]
        await page.join(made["conversation"]["id"])
    answer = await page.emit("chat:send-message", {"requestId": request_id, "content": content, **more})
    assert answer["ok"], answer
    conversation_id: str = answer["conversationId"]
    return conversation_id


async def ended(page: NodeClient, request_id: str, status: str = "completed") -> dict[str, Any]:
    """The run, once it has ended, which must be as `status`."""
    final = ("completed", "failed", "aborted")
    await page.until(lambda: page.view.runs.get(request_id, {}).get("status") in final)
    run: dict[str, Any] = page.view.runs[request_id]
    assert run["status"] == status, run
    return run


async def asked(page: NodeClient) -> dict[str, Any]:
    """The prompt that waits for an answer, once there is one."""
    pending: list[dict[str, Any]] = []

    def is_there() -> bool:
        pending[:] = [prompt for prompt in page.view.prompts.values() if prompt["status"] == "pending"]
        return bool(pending)

    await page.until(is_there)
    return pending[0]


def said(page: NodeClient, request_id: str) -> str:
    """What the agent said in this run, as the page shows it."""
    messages = sorted(page.view.messages.values(), key=lambda message: int(message["ordinal"]))
    return "\n".join(m["content"] for m in messages if m["role"] == "assistant" and m["requestId"] == request_id)


def tools(page: NodeClient, request_id: str) -> list[dict[str, Any]]:
    """The tool calls of this run, as the page shows them."""
    messages = [message for message in page.view.messages.values() if message["requestId"] == request_id]
    return [block for message in messages for block in message["blocks"] if block["type"] == "tool_use"]


def stored(server: ServerProcess) -> dict[str, Any]:
    """The messages in the database file, as they were written."""
    with closing(sqlite3.connect(server.database)) as database:
        rows = database.execute("SELECT id, doc FROM messages").fetchall()
    return {name: {k: v for k, v in json.loads(document).items() if k != "coversBridgeSeq"} for name, document in rows}


async def assert_stored_as_shown(page: NodeClient, server: ServerProcess) -> None:
    """The file holds what the page has built from events, and what it gets when it is loaded again."""
    kept = stored(server)
    assert timeless(page.view.messages) == timeless(kept)
    (conversation_id,) = {message["conversationId"] for message in kept.values()}
    again = await page.join(conversation_id)
    assert {message["id"]: message for message in again["messages"]} == kept


def timeless(messages: dict[str, Any]) -> dict[str, Any]:
    """Without the two times that the end of a tool call changes, which its event does not tell."""

    def without(item: dict[str, Any], time: str) -> dict[str, Any]:
        return {name: value for name, value in item.items() if name != time}

    return {
        name: without(message, "updatedAt") | {"blocks": [without(block, "finishedAt") for block in message["blocks"]]}
        for name, message in messages.items()
    }


async def test_a_text_streams_and_what_is_shown_is_what_is_stored(tmp_path: Path, variables: dict[str, str]) -> None:
    async with started(tmp_path, variables) as (server, page):
        text = "grüße aus dem 🌍, said in a number of words"
        conversation_id = await sent(page, "r", f"text {text}")
        run = await ended(page, "r")

        assert said(page, "r") == text
        envelopes = page.payloads("chat:stream-response")
        deltas = [event for envelope in envelopes for event in envelope["events"] if event["type"] == "text.delta"]
        assert "".join(delta["text"] for delta in deltas) == text
        await assert_stored_as_shown(page, server)
        (complete,) = page.payloads("chat:message-complete")
        assert (complete["usage"]["inputTokens"], complete["usage"]["outputTokens"]) == (10, 5)
        assert run["agent"] == "claude"
        conversation = (await page.join(conversation_id))["conversation"]
        assert conversation["claudeSessionId"] == complete["sessionId"] is not None


async def test_a_command_that_a_person_allows_runs(tmp_path: Path, variables: dict[str, str], work: Path) -> None:
    async with started(tmp_path, variables) as (server, page):
        await sent(page, "r", "bash echo done > made.txt && cat made.txt")
        prompt = await asked(page)
        assert (prompt["type"], prompt["toolName"], prompt["riskLevel"]) == ("tool_permission", "Bash", "HIGH")
        assert not (work / "made.txt").exists()

        answer = await page.emit("permission:respond", {"promptId": prompt["id"], "selectedOption": "allow_once"})
        await ended(page, "r")

        assert answer["prompt"]["status"] == "answered"
        assert (work / "made.txt").read_text() == "done\n"
        (tool,) = tools(page, "r")
        assert (tool["status"], tool["result"]) == ("completed", "done")
        assert said(page, "r").endswith("The tool said: done")
        assert page.view.prompts[prompt["id"]]["deliveredAt"]
        await assert_stored_as_shown(page, server)


async def test_a_command_that_a_person_denies_does_not_run_and_the_model_is_told_why(
    tmp_path: Path, variables: dict[str, str], work: Path
) -> None:
    async with started(tmp_path, variables) as (server, page):
        await sent(page, "r", "bash touch made.txt")
        prompt = await asked(page)

        no = {"promptId": prompt["id"], "selectedOption": "deny", "message": "not on a Friday"}
        assert (await page.emit("permission:respond", no))["ok"]
        await ended(page, "r")

        assert not (work / "made.txt").exists()
        (tool,) = tools(page, "r")
        assert (tool["status"], tool["isError"]) == ("failed", True)
        assert said(page, "r").endswith("The tool said: not on a Friday")
        await assert_stored_as_shown(page, server)


async def test_after_an_abort_in_mid_stream_the_next_message_is_answered(
    tmp_path: Path, variables: dict[str, str], api: FakeMessagesApi
) -> None:
    async with started(tmp_path, variables) as (server, page):
        conversation_id = await sent(page, "r", "slow")
        await page.until(lambda: "word5 " in said(page, "r"))
        before = said(page, "r")
        assert (await page.emit("chat:abort", {"requestId": "r"}))["ok"]
        await ended(page, "r", "aborted")

        assert said(page, "r").startswith(before), "what was shown is kept"
        await page.emit("chat:queue-resume", {"conversationId": conversation_id})
        await sent(page, "next", "text after", conversationId=conversation_id)
        await ended(page, "next")
        assert said(page, "next") == "after"
        assert api.requests[-1].says("word0 word1"), "the model knows what it had said"
        await assert_stored_as_shown(page, server)


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
async def test_after_a_restart_of_the_server_the_session_goes_on(
    tmp_path: Path, variables: dict[str, str], api: FakeMessagesApi, end: str
) -> None:
    async with started(tmp_path, variables) as (server, page):
        conversation_id = await sent(page, "before", "text the code word is walrus")
        await ended(page, "before")
        (process,) = children(of=server.pid)
        if end == "SIGTERM":
            assert await server.terminate() == 0
        else:
            await server.kill()
        await asyncio.to_thread(wait_for_end, process)
        await server.start()

        async with node_client(server.url, server.token()) as later:
            await later.join(conversation_id)
            await sent(later, "after", "text two", conversationId=conversation_id)
            await ended(later, "after")
            assert api.requests[-1].says("the code word is walrus")
            assert said(later, "after") == "two"
            assert said(later, "before") == "the code word is walrus"
            await assert_stored_as_shown(later, server)


async def test_a_run_that_the_server_died_with_keeps_its_text_and_its_session(
    tmp_path: Path, variables: dict[str, str], api: FakeMessagesApi
) -> None:
    async with started(tmp_path, variables) as (server, page):
        conversation_id = await sent(page, "first", "text the code word is walrus")
        await ended(page, "first")
        await sent(page, "cut", "slow", conversationId=conversation_id)
        await page.until(lambda: "word5 " in said(page, "cut"))
        shown = said(page, "cut")
        (process,) = children(of=server.pid)
        await server.kill()
        await asyncio.to_thread(wait_for_end, process)
        await server.start()

        async with node_client(server.url, server.token()) as later:
            await later.join(conversation_id)
            await later.until(lambda: any(m["status"] == "failed" for m in later.view.messages.values()))
            assert said(later, "cut").startswith(shown)
            await later.emit("chat:queue-resume", {"conversationId": conversation_id})
            await sent(later, "after", "text two", conversationId=conversation_id)
            await ended(later, "after")
            assert api.requests[-1].says("the code word is walrus")


async def test_what_ends_in_the_background_is_shown_and_stored_as_a_run_of_its_own(
    tmp_path: Path, variables: dict[str, str], work: Path
) -> None:
    os.mkfifo(work / "pipe")
    async with started(tmp_path, variables) as (server, page):
        conversation_id = await sent(page, "r", "later cat pipe", allowedTools=["Bash"])
        await ended(page, "r")
        with (work / "pipe").open("w"):  # the command ends when the pipe is closed
            pass
        await page.until(lambda: len(page.view.runs) == 2)
        (name,) = page.view.runs.keys() - {"r"}
        run = await ended(page, name)

        assert (run["origin"], run["conversationId"]) == ("background", conversation_id)
        assert said(page, name).startswith("It is done: Background command")
        await assert_stored_as_shown(page, server)
        await sent(page, "after", "text after", conversationId=conversation_id)
        await ended(page, "after")


async def test_the_mode_that_a_person_sets_in_mid_run_is_the_one_that_claude_goes_on_in(
    tmp_path: Path, variables: dict[str, str], api: FakeMessagesApi
) -> None:
    async with started(tmp_path, variables) as (_, page):
        conversation_id = await sent(page, "r", "bash touch made.txt")
        prompt = await asked(page)
        assert not api.requests[-1].says("Plan mode is active")

        mode = {"conversationId": conversation_id, "mode": "plan"}
        assert (await page.emit("permission:set-mode", mode))["ok"]
        no = {"promptId": prompt["id"], "selectedOption": "deny"}
        assert (await page.emit("permission:respond", no))["ok"]
        await ended(page, "r")

        assert api.requests[-1].says("Plan mode is active")


async def test_nothing_of_batons_own_reaches_the_environment_of_claude(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    secrets = {"BATON_ADMIN_TOKEN": "hush-" + "a" * 40, "MONGODB_URI": ""}
    async with server_process(tmp_path / "server", **variables, **secrets) as server:
        async with node_client(server.url, secrets["BATON_ADMIN_TOKEN"]) as page:
            await sent(page, "r", "text x")
            await ended(page, "r")
            (process,) = children(of=server.pid)
            raw = Path(f"/proc/{process}/environ").read_bytes().decode()

    names = {entry.partition("=")[0] for entry in raw.split("\0")}
    assert "ANTHROPIC_BASE_URL" in names
    assert not [name for name in names if name.startswith(("BATON_", "MONGODB_"))]
    assert "hush" not in raw


async def welcomed(log: Path) -> str:
    """What the server has printed, once that includes its agents."""
    async with asyncio.timeout(20):
        while "Agents:" not in log.read_text():
            await asyncio.sleep(0.02)  # what a process prints can only be looked at again
    return log.read_text()


@pytest.mark.parametrize("has_key", [True, False])
async def test_claude_is_the_default_agent_where_it_has_a_key_and_else_the_demo_agent_that_says_so(
    tmp_path: Path, variables: dict[str, str], has_key: bool
) -> None:
    del variables["BATON_AGENTS"]
    if not has_key:
        del variables["ANTHROPIC_API_KEY"]
    async with started(tmp_path, {**variables, "BATON_AGENTS": ""}) as (_, page):
        await sent(page, "r", "text hello")
        run = await ended(page, "r")

        (bridge,) = (await page.emit("bridge:list", {}))["bridges"]
        welcome = await welcomed(tmp_path / "server" / "server.log")
        assert run["agent"] == ("claude" if has_key else "demo")
        assert [(agent["id"], agent["available"]) for agent in bridge["agents"]] == [
            ("claude", has_key),
            ("demo", True),
        ]
        cure = "claude: not here. Claude Code is not logged in: run `claude` once in a terminal and log in"
        assert (cure in welcome) is not has_key
