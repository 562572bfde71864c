"""One whole exchange with a running server over REST, for tests that look at what it leaves behind."""

import asyncio
from typing import Any

import aiohttp

from tests.support.in_process import Running


async def talked(running: Running, content: str) -> str:
    """The conversation in which this was said, and answered by the demo agent to the end."""
    return await talked_at(running.url, running.token, content)


async def talked_at(url: str, token: str, content: str, *, answer: str | None = None) -> str:
    """The same on any server. `answer`: what is chosen where the agent asks."""
    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {token}"}) as http:

        async def ask(method: str, path: str, **body: Any) -> Any:
            async with http.request(method, path, json=body or None) as said:
                return await said.json()

        conversation = str((await ask("POST", "/api/chat/conversations"))["conversation"]["id"])
        chat = f"/api/chat/conversations/{conversation}"
        assert (await ask("POST", f"{chat}/messages", content=content))["ok"]
        async with asyncio.timeout(30):
            while (await ask("GET", "/api/chat/runs"))["runs"]:
                for prompt in (await ask("GET", f"{chat}/prompts/pending"))["prompts"] if answer else []:
                    await ask("POST", f"{chat}/respond", promptId=prompt["id"], selectedOption=answer)
                await asyncio.sleep(0.02)  # REST does not tell when something changes
        return conversation
