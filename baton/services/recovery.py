"""What a start does before the first client or bridge is let in: mend, and rebuild what was under way."""

import logging

from baton.core.ports import Store
from baton.services.lanes import Lanes

logger = logging.getLogger(__name__)


async def recover(store: Store, lanes: Lanes) -> int:
    """Mend what a crash left half done, load every conversation with open runs, and the grants; how many there were.

    The journal rebuilds live messages here; what the bridges know is settled at their hello.
    """
    mended = await store.repair()
    conversations = await store.open_conversations()
    for conversation_id in conversations:
        async with lanes.turn(conversation_id):
            pass
    lanes.standing.replace_all(await store.standing_grants())
    for conversation_id in await store.bypassing():
        async with lanes.turn(conversation_id) as memory:
            lanes.note_bypass(memory.conversation)
    logger.info("recovered", extra={"action": "store.recovered", "mended": mended, "conversations": len(conversations)})
    return len(conversations)
