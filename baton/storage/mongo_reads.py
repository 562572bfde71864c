"""What is asked of the database: one method per question, each limited, each served by an index.

It knows the documents' names and no rule; what must hold between two documents is settled before it is asked.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from bson import ObjectId

from baton.core.errors import StoreUnavailable
from baton.core.ids import ConversationId, RequestId, UserId
from baton.core.lifecycle import OPEN_RUN
from baton.core.models import (
    Conversation,
    ConversationStatus,
    Message,
    MessageStatus,
    Prompt,
    PromptStatus,
    Role,
    Run,
    RunStatus,
)
from baton.core.stored import (
    ConversationFilter,
    EncodedJson,
    JournalRow,
    LaneState,
    Page,
    StoreCounts,
    StoredChanges,
    StoredMessage,
)
from baton.storage.mongo_documents import (
    STORED_MESSAGE_FIELDS,
    STORED_RUN_FIELDS,
    Document,
    aware,
    equal,
    load_conversation,
    load_journal,
    load_message,
    load_prompt,
    load_run,
    object_id,
    one_of,
    run_key,
    run_view,
    stored_message,
)
from baton.storage.mongo_paging import Position, newest_first, read_cursor

_MAX_OPEN = 100_000
"""Open runs, or prompts and messages of one, that are read at most."""
_MAX_ROWS = 1_000_000
"""Journal rows of one conversation that are read at most."""
_LISTED = (ConversationStatus.ACTIVE, ConversationStatus.ARCHIVED)


class Reads:
    """Reads the collections of conversations."""

    def __init__(self, collections: Mapping[str, Any]) -> None:
        self._of = collections

    # --- one document ------------------------------------------------------------------------------------------

    async def conversation(self, key: ObjectId) -> Conversation | None:
        """By its id."""
        document = await self._of["conversations"].find_one({"_id": key})
        return None if document is None else load_conversation(document)

    async def message(self, key: ObjectId) -> Message | None:
        """By its id."""
        document = await self._of["messages"].find_one({"_id": key})
        return None if document is None else load_message(document)

    async def run(self, request_id: RequestId) -> Run | None:
        """By the client's name for it."""
        document = await self._of["runs"].find_one({"requestId": equal(request_id)})
        return None if document is None else load_run(document)

    async def prompt(self, key: ObjectId) -> Prompt | None:
        """By its id."""
        document = await self._of["interactive_prompts"].find_one({"_id": key})
        return None if document is None else load_prompt(document)

    # --- lanes -------------------------------------------------------------------------------------------------

    async def open_conversations(self) -> list[ConversationId]:
        """Those with an open run, each once."""
        found = self._of["runs"].find({"status": one_of(OPEN_RUN)}, {"conversationId": True})
        documents = await _all(found, _MAX_OPEN)
        return [ConversationId(text) for text in dict.fromkeys(str(one["conversationId"]) for one in documents)]

    async def lane(self, key: ObjectId) -> LaneState | None:
        """See core.ports.LaneState."""
        conversation = await self.conversation(key)
        if conversation is None:
            return None
        runs = await self._open_runs(key)
        request_ids = [run.request_id for run in runs]
        return LaneState(
            conversation=replace(conversation, seq=max(conversation.seq, await self._last_journalled(key))),
            runs=runs,
            prompts=tuple([prompt for one in request_ids for prompt in await self._prompts_of(one)]),
            journal=await self._journal(key, frozenset(request_ids)),
            messages=tuple(
                sorted(
                    [message for one in request_ids for message in await self._spoken_in(one)],
                    key=lambda message: message.ordinal,
                )
            ),
        )

    async def _open_runs(self, key: ObjectId) -> tuple[Run, ...]:
        found = self._of["runs"].find({"conversationId": key, "status": one_of(OPEN_RUN)})
        runs = [load_run(document) for document in await _all(found, _MAX_OPEN)]
        return tuple(sorted(runs, key=lambda run: (run.position, run.queued_at, run.request_id)))

    async def _last_journalled(self, key: ObjectId) -> int:
        newest_row = [("conversationId", -1), ("seq", -1)]
        row = await self._of["run_journal"].find_one({"conversationId": key}, {"seq": True}, sort=newest_row)
        return int(row["seq"]) if row else 0

    async def _prompts_of(self, request_id: RequestId) -> list[Prompt]:
        found = (
            self._of["interactive_prompts"].find({"requestId": equal(request_id)}).sort([("requestId", 1), ("seq", 1)])
        )
        return [load_prompt(document) for document in await _all(found, _MAX_OPEN)]

    async def _spoken_in(self, request_id: RequestId) -> list[Message]:
        where = {"requestId": equal(request_id), "role": str(Role.ASSISTANT)}
        return [load_message(document) for document in await _all(self._of["messages"].find(where), _MAX_OPEN)]

    async def _journal(self, key: ObjectId, request_ids: frozenset[RequestId]) -> tuple[JournalRow, ...]:
        if not request_ids:
            return ()
        found = self._of["run_journal"].find({"conversationId": key}).sort([("conversationId", 1), ("seq", 1)])
        documents = await _all(found, _MAX_ROWS)
        return tuple([load_journal(document) for document in documents if document["requestId"] in request_ids])

    # --- one conversation --------------------------------------------------------------------------------------

    async def changes_after(self, key: ObjectId, after: int, limit: int) -> StoredChanges:
        """See core.ports.Store.changes_after."""
        order = "seq" if after > 0 else "ordinal"
        where: Document = {"conversationId": key}
        if after > 0:
            where["seq"] = {"$gt": after}
        limit = max(limit, 1)  # to the driver, 0 means no limit
        newest = [("conversationId", -1), (order, -1)]
        found = self._of["messages"].find(where, STORED_MESSAGE_FIELDS).sort(newest).limit(limit + 1)
        messages = [stored_message(document) async for document in found]
        return StoredChanges(
            messages=tuple(sorted(messages[:limit], key=lambda message: message.ordinal)),
            runs=await self._runs_after(key, after, limit),
            prompts=await self._prompts_after(key, after, limit),
            has_more=len(messages) > limit,
        )

    async def _runs_after(self, key: ObjectId, after: int, limit: int) -> tuple[Run, ...]:
        if after <= 0:
            return (await self._open_runs(key))[:limit]
        where = {"conversationId": key, "seq": {"$gt": after}}
        found = self._of["runs"].find(where).sort([("conversationId", -1), ("seq", -1)]).limit(limit)
        return tuple(reversed([load_run(document) async for document in found]))

    async def _prompts_after(self, key: ObjectId, after: int, limit: int) -> tuple[Prompt, ...]:
        where: Document = {"conversationId": key}
        if after > 0:
            where["seq"] = {"$gt": after}
            order = [("conversationId", -1), ("seq", -1)]
        else:
            where["status"] = str(PromptStatus.PENDING)
            order = newest_first("createdAt")
        found = self._of["interactive_prompts"].find(where).sort(order).limit(limit)
        return tuple(reversed([load_prompt(document) async for document in found]))

    async def history(self, key: ObjectId, before: int | None, after: int | None, limit: int) -> list[StoredMessage]:
        """See core.ports.Store.history."""
        if limit < 1:
            return []
        where: Document = {"conversationId": key}
        bounds = {"$lt": before, "$gt": after}
        if before is not None or after is not None:
            where["ordinal"] = {sign: ordinal for sign, ordinal in bounds.items() if ordinal is not None}
        direction = 1 if after is not None and before is None else -1
        order = [("conversationId", direction), ("ordinal", direction)]
        found = self._of["messages"].find(where, STORED_MESSAGE_FIELDS).sort(order).limit(limit)
        page = [stored_message(document) async for document in found]
        return page if direction == 1 else page[::-1]

    async def runs_of(self, key: ObjectId, request_ids: Iterable[RequestId]) -> dict[RequestId, EncodedJson]:
        """See core.ports.Store.runs_of."""
        keys = [run_key(request_id) for request_id in request_ids]
        found = self._of["runs"].find({"_id": one_of(keys)}, STORED_RUN_FIELDS).limit(max(len(keys), 1))
        documents = [document async for document in found]
        return {one["requestId"]: run_view(one) for one in documents if one["conversationId"] == key}

    # --- lists -------------------------------------------------------------------------------------------------

    async def runs(self, statuses: Iterable[RunStatus], limit: int, user_id: UserId | None) -> list[Run]:
        """Oldest first."""
        if limit < 1:
            return []
        where = _owned(user_id) | {"status": one_of(statuses)}
        found = self._of["runs"].find(where).sort([("queuedAt", 1)]).limit(limit)
        return [load_run(document) async for document in found]

    async def prompts(
        self, status: PromptStatus | None, conversation_key: ObjectId | None, limit: int, user_id: UserId | None
    ) -> list[Prompt]:
        """Newest first."""
        if limit < 1:
            return []
        where = _owned(user_id)
        if status is not None:
            where["status"] = str(status)
        if conversation_key is not None:
            where["conversationId"] = conversation_key
        found = self._of["interactive_prompts"].find(where).sort(newest_first("createdAt")).limit(limit)
        return [load_prompt(document) async for document in found]

    async def conversations(self, where: ConversationFilter, cursor: str | None, limit: int) -> Page[Conversation]:
        """Most recently updated first. The limit is at least 1."""
        conditions: Document = {"status": one_of(_LISTED if where.status is None else (where.status,))}
        if where.project_id is not None:
            conditions["projectId"] = equal(object_id(where.project_id) or "")
        if where.user_id is not None:
            conditions["userId"] = equal(where.user_id)
        if where.session_id is not None:
            conditions["claudeSessionId"] = equal(where.session_id)
        if cursor is not None:
            conditions.update(read_cursor(cursor, "conversations").after("updatedAt"))
        found = self._of["conversations"].find(conditions).sort(newest_first("updatedAt")).limit(max(limit, 1) + 1)
        documents = [document async for document in found]
        page = documents[: max(limit, 1)]
        following = None
        if page and len(documents) > len(page):
            following = Position(aware(page[-1]["updatedAt"]), page[-1]["_id"]).cursor("conversations")
        return Page(items=tuple([load_conversation(document) for document in page]), next=following)

    async def is_used_by(self, attachment_key: ObjectId, user_id: UserId) -> bool:
        """Whether one of the conversations that use it is this user's."""
        file = await self._of["attachments.files"].find_one({"_id": attachment_key}, {"usedBy": True})
        users = [] if file is None else list(file.get("usedBy", ()))
        where = {"_id": one_of(users), "userId": equal(user_id)}
        return bool(users) and await self._of["conversations"].find_one(where, {"_id": True}) is not None

    # --- counts ------------------------------------------------------------------------------------------------

    async def counts(self, decisions: Mapping[str, int]) -> StoreCounts:
        """How many of each status, counted in the index of the status; `decisions` as given."""
        kinds: dict[str, type[StrEnum]] = {
            "messages": MessageStatus,
            "runs": RunStatus,
            "interactive_prompts": PromptStatus,
            "conversations": ConversationStatus,
        }
        # Exceptions are gathered too: to raise the first at once would leave the other counts running.
        found = await asyncio.gather(
            *(self._count(name, statuses) for name, statuses in kinds.items()), return_exceptions=True
        )
        counted: list[dict[str, int]] = []
        for result in found:
            if isinstance(result, BaseException):
                raise result
            counted.append(result)
        messages, runs, prompts, conversations = counted
        return StoreCounts(
            messages=messages, runs=runs, prompts=prompts, conversations=conversations, decisions=decisions
        )

    async def _count(self, name: str, statuses: type[StrEnum]) -> dict[str, int]:
        return {
            str(status): int(await self._of[name].count_documents({"status": equal(str(status))}))
            for status in statuses
        }


def _owned(user_id: UserId | None) -> Document:
    """The condition on what is of this user's conversations; None: anybody's."""
    return {} if user_id is None else {"ownerId": equal(user_id)}


async def _all(found: Any, most: int) -> list[Document]:
    """Every document of a read that must not be cut short. Raises StoreUnavailable past `most`."""
    documents: list[Document] = [document async for document in found.limit(most + 1)]
    if len(documents) > most:
        raise StoreUnavailable(f"There is more to read at once than the {most} documents that are allowed")
    return documents
