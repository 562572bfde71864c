"""`baton audit`: from the server that has the database, and from the database that nobody serves."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.in_process import Running, running_server
from tests.support.shell import Shell, beside


async def decided(running: Running) -> str:
    """A conversation in which one tool was allowed by a person and one prompt ended with its run."""
    headers = {"Authorization": f"Bearer {running.token}"}
    async with aiohttp.ClientSession(running.url, headers=headers) as http:

        async def ask(method: str, path: str, **body: Any) -> Any:
            async with http.request(method, path, json=body or None) as answer:
                return await answer.json()

        conversation = (await ask("POST", "/api/chat/conversations"))["conversation"]["id"]
        chat = f"/api/chat/conversations/{conversation}"
        for option in ("deny", None):
            sent = await ask("POST", f"{chat}/messages", content="/demo ask rate=100000")
            async with asyncio.timeout(20):
                while not (waiting := (await ask("GET", f"{chat}/prompts/pending"))["prompts"]):
                    await asyncio.sleep(0.02)  # REST does not tell when something changes
            if option is None:
                await ask("POST", f"/api/chat/runs/{sent['requestId']}/abort")
            else:
                await ask("POST", f"{chat}/respond", promptId=waiting[0]["id"], selectedOption=option)
            async with asyncio.timeout(20):
                while (await ask("GET", "/api/chat/runs"))["runs"]:
                    await asyncio.sleep(0.02)
        return str(conversation)


async def test_decisions_are_shown_with_and_without_a_server_newest_first(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        conversation = await decided(running)
        asked = await beside(running, tmp_path).baton("audit", "--json")
        lines = await beside(running, tmp_path).baton("audit", "--conversation", conversation)
    read = await Shell(tmp_path, {}).baton("audit", "--json")
    assert (asked.code, read.code) == (0, 0), (asked.err, read.err)
    assert asked.out == read.out
    newest, oldest = [json.loads(line) for line in read.out.splitlines()]
    assert (newest["outcome"], newest["handler"], newest["userId"]) == ("cancelled", "cleanup", None), (
        "the agent took its question back"
    )
    assert (oldest["outcome"], oldest["handler"], oldest["userId"]) == ("deny", "user_selection", "admin")
    head, first, second = lines.out.splitlines()
    assert head.startswith("WHEN")
    assert "cancelled" in first
    assert "deny  admin  ask" in second


async def test_of_many_only_as_many_as_asked_for(tmp_path: Path) -> None:
    async with running_server(tmp_path) as running:
        await decided(running)
    read = await Shell(tmp_path, {}).baton("audit", "--json", "--limit", "1")
    assert len(read.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--limit", "0"), 2, "--limit=0"),
        (("--conversation", "x"), 1, "no conversation's id"),
        ((), 2, "the first `baton serve` makes it"),
    ],
)
async def test_what_cannot_be_shown_is_said_with_its_cure(
    tmp_path: Path, arguments: tuple[str, ...], code: int, text: str
) -> None:
    said = await Shell(tmp_path, {}).baton("audit", *arguments)
    assert (said.code, said.out) == (code, "")
    assert text in said.err


async def test_a_database_in_which_nothing_was_decided_says_so(tmp_path: Path) -> None:
    async with running_server(tmp_path):
        pass
    said = await Shell(tmp_path, {}).baton("audit")
    assert said.code == 0
    assert "nothing was decided or done yet" in said.out
