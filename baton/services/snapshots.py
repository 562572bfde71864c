"""What a conversation looks like now: the one function behind join, resync and REST pages.

It works inside the conversation's turn, so that it tells only what is on disk and knows exactly which events come
after it. Messages and their runs pass through as stored JSON; only live ones are encoded.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from baton.core.commands import Identity, JoinConversation
from baton.core.errors import NotFound
from baton.core.events import Queue
from baton.core.ids import ConversationId, RequestId
from baton.core.limits import Limits
from baton.core.models import Conversation, ConversationStatus, Prompt
from baton.core.ports import Store
from baton.core.stored import EncodedJson, StoredChanges, StoredMessage
from baton.schemas.codec import to_wire_json
from baton.services.lanes import Lanes
from baton.services.memory import Memory
from baton.services.ownership import Ownership

_MAX_AT_ONCE = 8
"""Snapshots being made at the same moment; the rest wait their turn."""
_MAX_CHANGES = 1000
"""Changed messages in one snapshot; more are paged back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The answer to a join. `truncated`: more changed than fits; these are the newest, the client pages back."""

    epoch: str
    seq: int
    conversation: Conversation
    messages: tuple[EncodedJson, ...]
    runs: tuple[EncodedJson, ...]
    """Those of its messages, and the others that have changed or are open."""
    prompts: tuple[Prompt, ...]
    queue: Queue
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPage:
    """Messages by ordinal. `next`: the `before` (or `after`) of the page that follows; None at the end."""

    messages: tuple[EncodedJson, ...]
    runs: tuple[EncodedJson, ...]
    """Those of its messages."""
    next: int | None


class Snapshots:
    """See the module. `epoch` is the store's; `app` sets it once the store is open, before anyone is let in."""

    def __init__(self, *, store: Store, lanes: Lanes, ownership: Ownership, limits: Limits, epoch: str = "") -> None:
        self._ownership = ownership
        self._store = store
        self._lanes = lanes
        self._limits = limits
        self.epoch = epoch
        self._slots = asyncio.Semaphore(_MAX_AT_ONCE)

    async def snapshot(
        self, who: Identity, command: JoinConversation, subscribe: Callable[[], None] | None = None
    ) -> Snapshot:
        """Everything above `after`; without it, or with another epoch, the newest messages.

        `subscribe` is called at the instant to which the snapshot is true: every later event, and none before,
        reaches whoever it subscribes. Raises NotFound.
        """
        # The one check of a watcher: whom it lets in hears every later event without being asked again.
        await self._ownership.check(who, command.conversation_id)
        async with self._slots, self._lanes.turn(command.conversation_id) as memory:
            if memory.conversation.status is ConversationStatus.DELETED:
                raise NotFound("The conversation is deleted; restore it to go on")
            after = self._start(command, memory)
            snapshot = await self._above(memory, after)
            if subscribe is not None:
                subscribe()
            return snapshot

    async def history(
        self, who: Identity, conversation_id: ConversationId, *, before: int | None, after: int | None, limit: int
    ) -> HistoryPage:
        """One page of messages: the newest below `before`, or the oldest above `after`. Raises NotFound."""
        await self._ownership.check(who, conversation_id)
        memory = self._lanes.peek(conversation_id)
        if memory is not None and memory.runs:
            async with self._lanes.turn(conversation_id) as held:
                stored = await self._store.history(conversation_id, before=before, after=after, limit=limit)
                stored = _with_live(held, stored, before=before, after=after, limit=limit)
                runs = await self._runs_of(conversation_id, stored, held)
        else:
            stored = await self._store.history(conversation_id, before=before, after=after, limit=limit)
            runs = await self._runs_of(conversation_id, stored, None)
            if not stored and await self._store.conversation(conversation_id) is None:
                raise NotFound("There is no such conversation")
        edge = None
        if len(stored) == limit:
            edge = stored[-1].ordinal if after is not None and before is None else stored[0].ordinal
        messages = tuple(message.json for message in stored)
        return HistoryPage(messages=messages, runs=tuple(runs.values()), next=edge)

    def _start(self, command: JoinConversation, memory: Memory) -> int:
        """The seq to go on from; 0 for a client whose past is not ours."""
        after = command.after or 0
        if command.epoch is not None and command.epoch != self.epoch:
            return 0
        return after if after <= memory.conversation.seq else 0

    async def _above(self, memory: Memory, after: int) -> Snapshot:
        limit = _MAX_CHANGES if after else self._limits.snapshot_messages
        changes = await self._store.changes_after(memory.conversation.id, after, limit)
        told = await self._fitting(memory, changes, after)
        if after and (changes.has_more or told.is_cut):
            # What changed does not fit: the newest messages whole, and the client starts again from them.
            changes = await self._store.changes_after(memory.conversation.id, 0, self._limits.snapshot_messages)
            told = replace(await self._fitting(memory, changes, 0), is_cut=True)
        return Snapshot(
            epoch=self.epoch,
            seq=memory.conversation.seq,
            conversation=memory.conversation,
            messages=told.messages,
            runs=told.runs,
            prompts=_prompts(memory, changes),
            queue=memory.queue(),
            truncated=told.is_cut,
        )

    async def _fitting(self, memory: Memory, changes: StoredChanges, after: int) -> "_Told":
        """What changed, and the runs of all its messages, as far as it fits."""
        changed = _runs(memory, changes, after)
        messages = _overlay(memory, changes.messages, after)
        runs = await self._runs_of(memory.conversation_id, messages, memory)
        fitting = _newest(messages, runs, self._limits.snapshot_max_bytes)
        wanted = {request_id: runs[request_id] for request_id in _named(fitting) if request_id in runs}
        return _Told(
            messages=tuple(message.json for message in fitting),
            runs=tuple((wanted | changed).values()),
            is_cut=len(fitting) < len(messages),
        )

    async def _runs_of(
        self, conversation_id: ConversationId, messages: Sequence[StoredMessage], memory: Memory | None
    ) -> dict[RequestId, EncodedJson]:
        """The runs of these messages, oldest first; the open ones as memory has them."""
        named = _named(messages)
        live = {} if memory is None else {name: memory.runs[name] for name in named if name in memory.runs}
        found = await self._store.runs_of(conversation_id, [name for name in named if name not in live])
        known = {name: to_wire_json(one.run) for name, one in live.items()} | dict(found)
        return {name: known[name] for name in named if name in known}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """The part of a snapshot that may be too large. `is_cut`: it was; these are the newest."""

    messages: tuple[EncodedJson, ...]
    runs: tuple[EncodedJson, ...]
    is_cut: bool


def _named(messages: Sequence[StoredMessage]) -> list[RequestId]:
    """The runs that these messages belong to, each once, in their order."""
    return list(dict.fromkeys(message.request_id for message in messages if message.request_id is not None))


def _overlay(memory: Memory, stored: Sequence[StoredMessage], after: int) -> list[StoredMessage]:
    """Stored messages with the live ones, which know more, in their places."""
    by_id = {message.id: message for message in stored}
    for live in memory.runs.values():
        for message in live.transcript.live():
            if message.seq > after:
                whole = live.transcript.message(
                    message, session_id=live.session_id, at=live.run.last_event_at or message.started_at
                )
                by_id[message.id] = StoredMessage(
                    id=message.id,
                    request_id=live.request_id,
                    ordinal=message.ordinal,
                    seq=message.seq,
                    json=to_wire_json(whole),
                )
    return sorted(by_id.values(), key=lambda message: message.ordinal)


def _with_live(
    memory: Memory, stored: Sequence[StoredMessage], *, before: int | None, after: int | None, limit: int
) -> Sequence[StoredMessage]:
    merged = [
        message
        for message in _overlay(memory, stored, -1)
        if (before is None or message.ordinal < before) and (after is None or message.ordinal > after)
    ]
    return merged[:limit] if after is not None and before is None else merged[-limit:]


def _newest(
    messages: Sequence[StoredMessage], runs: Mapping[RequestId, EncodedJson], max_bytes: int
) -> list[StoredMessage]:
    """The newest messages that fit together with their runs, at least one."""
    fitting: list[StoredMessage] = []
    counted: set[RequestId | None] = set()
    size = 0
    for message in reversed(messages):
        size += len(message.json)
        if message.request_id is not None and message.request_id not in counted:
            counted.add(message.request_id)
            size += len(runs.get(message.request_id, b""))
        if size > max_bytes and fitting:
            break
        fitting.append(message)
    return fitting[::-1]


def _runs(memory: Memory, changes: StoredChanges, after: int) -> dict[RequestId, EncodedJson]:
    """Runs that have changed, the open ones as memory has them (the journal knows more than their documents)."""
    runs = {run.request_id: run for run in changes.runs}
    for live in memory.runs.values():
        if live.run.seq > after or live.run.request_id in runs:
            runs[live.run.request_id] = live.run
    return {request_id: to_wire_json(run) for request_id, run in runs.items()}


def _prompts(memory: Memory, changes: StoredChanges) -> tuple[Prompt, ...]:
    prompts = {prompt.id: prompt for prompt in changes.prompts}
    for prompt in memory.pending_prompts():
        prompts[prompt.id] = prompt
    return tuple(prompts.values())
