"""A page of history deep in a large database, through REST. `python -m benchmarks.history [messages]`"""

import asyncio
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import aiohttp

from baton.clock import SystemClock
from baton.core.ids import ConversationId, MessageId, UserId, new_object_id
from baton.core.models import Conversation, Message, MessageStatus, Role, TextBlock
from baton.core.stored import Change
from baton.storage.sqlite import SqliteStore
from baton.storage.sqlite_migrate import migrate_sqlite
from benchmarks.processes import baton_server, summary

CONVERSATIONS = 10
REQUESTS = 2000
_WARM_UP = 100
_BATCH = 1000
_WORDS = ("journal", "commit", "stream", "bridge", "prompt", "delta", "lane", "browser", "agent", "message")


async def measure(messages: int = 1_000_000) -> None:
    """Fill a database, ask for pages of 100 at random depths, print the times."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        began = time.monotonic()
        ids = await _fill(Path(folder) / "data" / "baton.sqlite3", messages)
        size_mib = (Path(folder) / "data" / "baton.sqlite3").stat().st_size / (1 << 20)
        print(f"\nhistory: {messages:,} messages stored in {time.monotonic() - began:.0f} s, {size_mib:.0f} MiB")
        async with baton_server(Path(folder)) as (_, url, tokens):
            await _ask(url, tokens["admin"], ids, messages // CONVERSATIONS)


async def _fill(path: Path, messages: int) -> list[ConversationId]:
    path.parent.mkdir(mode=0o700)
    clock = SystemClock()
    await migrate_sqlite(path, clock=clock)
    store = SqliteStore(path, clock=clock)
    await store.open()
    rng = random.Random(1)
    ids = []
    for _ in range(CONVERSATIONS):
        now = clock.now()
        conversation = Conversation(
            id=ConversationId(new_object_id()), user_id=UserId("bench"), created_at=now, updated_at=now
        )
        ids.append(conversation.id)
        per_conversation = messages // CONVERSATIONS
        for first in range(1, per_conversation + 1, _BATCH):
            last = min(first + _BATCH - 1, per_conversation)
            batch = tuple(_message(conversation, ordinal, rng) for ordinal in range(first, last + 1))
            stored = replace(conversation, seq=last, ordinal=last)
            await store.commit(
                [Change(conversation_id=conversation.id, conversation=stored, is_new=first == 1, messages=batch)]
            )
    await store.close()
    return ids


def _message(conversation: Conversation, ordinal: int, rng: random.Random) -> Message:
    text = " ".join(rng.choices(_WORDS, k=30))
    return Message(
        id=MessageId(new_object_id()),
        conversation_id=conversation.id,
        ordinal=ordinal,
        seq=ordinal,
        role=Role.USER if ordinal % 2 else Role.ASSISTANT,
        status=MessageStatus.COMPLETED,
        content=text,
        blocks=(TextBlock(text),),
        timestamp=conversation.created_at,
        created_at=conversation.created_at,
        updated_at=conversation.created_at,
    )


async def _ask(url: str, token: str, ids: list[ConversationId], depth: int) -> None:
    rng = random.Random(2)
    pages_ms, idle_ms = [], []
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        for number in range(REQUESTS + _WARM_UP):
            before = rng.randint(2, depth + 1)
            address = f"{url}/api/chat/conversations/{rng.choice(ids)}/messages?before={before}&limit=100"
            page_ms, nothing_ms = await _get_ms(session, address), await _get_ms(session, f"{url}/health/live")
            if number >= _WARM_UP:
                pages_ms.append(page_ms)
                idle_ms.append(nothing_ms)
    print(f"  a page of 100 through REST, {REQUESTS} at random depths: {summary(pages_ms)}")
    print(f"  in turn with it /health/live, which reads nothing: {summary(idle_ms)}")


async def _get_ms(session: aiohttp.ClientSession, address: str) -> float:
    began = time.perf_counter()
    async with session.get(address) as response:
        await response.read()
        assert response.status == 200, await response.text()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
