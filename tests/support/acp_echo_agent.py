"""An agent on the agent side of agent-client-protocol that says back what it hears, one chunk per block."""

import asyncio
from typing import Any
from uuid import uuid4

import acp
from acp import schema


class EchoAgent(acp.Agent):
    """Says back what it hears."""

    def __init__(self) -> None:
        self.client: acp.Client | None = None

    def on_connect(self, conn: acp.Client) -> None:
        self.client = conn

    async def initialize(self, protocol_version: int, *_: Any, **__: Any) -> schema.InitializeResponse:
        return schema.InitializeResponse(protocol_version=protocol_version)

    async def new_session(self, cwd: str, *_: Any, **__: Any) -> schema.NewSessionResponse:
        return schema.NewSessionResponse(session_id=uuid4().hex)

    async def prompt(self, session_id: str, prompt: list[Any], **_: Any) -> schema.PromptResponse:
        assert self.client is not None, "connected before the first call"
        for block in prompt:
            await self.client.session_update(session_id, acp.update_agent_message(acp.text_block(block.text)))
        return schema.PromptResponse(stop_reason="end_turn")


if __name__ == "__main__":
    asyncio.run(acp.run_agent(EchoAgent()))  # type: ignore[abstract]  # the protocol's optional methods stay out
