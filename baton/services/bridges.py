"""What people ask of the connected bridges: who is there, which files, which commands, how far away."""

import asyncio
import time
from dataclasses import dataclass

from baton.core.commands import Identity
from baton.core.errors import BatonError, InvalidRequest, NoBridge
from baton.core.events import BridgePresence
from baton.core.ids import BridgeId, ConversationId
from baton.core.limits import Limits
from baton.core.models import Conversation
from baton.core.ports import BridgeLink, Store
from baton.core.text import Json
from baton.services.ownership import Ownership


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Where the time goes, in milliseconds."""

    store_write_ms: float
    store_read_ms: float
    bridge_round_trip_ms: float | None
    """None: no bridge is connected, or it did not answer."""
    loop_lag_ms: float


class Bridges:
    """See the module."""

    def __init__(self, *, store: Store, ownership: Ownership, link: BridgeLink, limits: Limits) -> None:
        self._ownership = ownership
        self._store = store
        self._link = link
        self._limits = limits

    def presence(self) -> tuple[BridgePresence, ...]:
        """Every bridge that is known to this process."""
        return self._link.presence()

    async def files(
        self,
        who: Identity,
        *,
        conversation_id: ConversationId | None,
        bridge_id: BridgeId | None,
        query: str | None,
        path: str | None,
        limit: int | None,
    ) -> Json:
        """`{"files": [{path, type, size}]}` below the working directory. Raises NoBridge, NotFound, AgentFailed."""
        if (conversation_id is None) == (bridge_id is None):
            raise InvalidRequest(
                "Name a conversation or a bridge", fields={"conversationId": ["One of conversationId and bridgeId."]}
            )
        conversation = await self._ownership.conversation(who, conversation_id) if conversation_id is not None else None
        params: Json = {
            "workingDirectory": conversation.working_directory if conversation else None,
            "query": query,
            "path": path,
            "limit": limit,
        }
        return await self._link.call(
            self._bridge_of(conversation, bridge_id), "files.list", params, self._limits.rpc_timeout_s
        )

    async def commands(self, who: Identity, conversation_id: ConversationId) -> Json:
        """`{"commands": [...], "models": [...]}` of the conversation's agent. Raises NoBridge, NotFound."""
        conversation = await self._ownership.conversation(who, conversation_id)
        params: Json = {"agent": conversation.agent, "workingDirectory": conversation.working_directory}
        return await self._link.call(
            self._bridge_of(conversation, None), "commands", params, self._limits.rpc_timeout_s
        )

    async def latency(self, who: Identity) -> Latency:
        """Measure now: one durable write, one read, one round trip to a bridge, one turn of the event loop."""
        write_ms, read_ms = await self._store.probe()
        began = time.perf_counter()
        await asyncio.sleep(0)  # one turn of the loop is exactly what is measured
        lag_ms = (time.perf_counter() - began) * 1000
        return Latency(
            store_write_ms=round(write_ms, 3),
            store_read_ms=round(read_ms, 3),
            bridge_round_trip_ms=await self._round_trip_ms(),
            loop_lag_ms=round(lag_ms, 3),
        )

    async def _round_trip_ms(self) -> float | None:
        bridges = [bridge for bridge in self._link.presence() if bridge.connected]
        if not bridges:
            return None
        began = time.perf_counter()
        try:
            await self._link.call(bridges[0].id, "echo", {}, self._limits.rpc_timeout_s)
        except BatonError:
            return None
        return round((time.perf_counter() - began) * 1000, 3)

    def _bridge_of(self, conversation: Conversation | None, bridge_id: BridgeId | None) -> BridgeId:
        asked = bridge_id or (conversation.bridge_id if conversation else None)
        connected = [bridge.id for bridge in self._link.presence() if bridge.connected]
        if asked is None and connected:
            return connected[0]
        if asked is None or asked not in connected:
            raise NoBridge if asked is None else NoBridge(f"The bridge {asked} is not connected")
        return asked


__all__ = ["Bridges", "Latency"]
