"""`baton db seed`: conversations to look at, and a large one to measure with."""

import sys
from collections.abc import AsyncGenerator, Iterable

from baton.clock import SystemClock
from baton.core.errors import ConfigError
from baton.keeping import Progress, Tell, open_records, owned_database
from baton.services.archive import Incoming, fill
from baton.services.seeding import MARK, demo_conversations, large_conversation
from baton.settings import Settings


async def seed(settings: Settings, tell: Tell, *, messages: int | None = None) -> None:
    """Adds them to what is there. Raises ConfigError, and Unavailable where a server has the database."""
    if messages is not None and messages < 1:
        raise ConfigError(f"--messages={messages}: accepted is a whole number, 1 or more")
    now = SystemClock().now()
    made = demo_conversations(now) if messages is None else large_conversation(messages, now)
    async with owned_database(settings), open_records(settings) as records:
        with Progress(sys.stderr, "💾 writing records:", messages) as progress:
            filled = await fill(records, _stream(made), progress)
    kinds = ", ".join(f"{kind} {added.added}" for kind, added in filled.kinds.items())
    tell(f"added {kinds}; their titles begin with {MARK.strip()!r}")


async def _stream(made: Iterable[Incoming]) -> AsyncGenerator[Incoming]:
    for incoming in made:
        yield incoming
