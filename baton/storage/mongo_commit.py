"""How a change reaches MongoDB whole, without transactions.

A change of more than one document is first announced in `pending_changes`, durably, then written document by
document, then forgotten there. Whatever the process dies of in between, `settle` writes the same documents again:
each is replaced by its `_id`, so that doing it twice is doing it once. A bare journal row, which nearly all changes
are, is one document and needs none of this.

What decides about a change (is the requestId known, does the run still have the expected status) is looked up before
anything is written. Between that look and the write nobody else can write: calls take turns, and one process holds
the lease. Should somebody else do it all the same (a process whose lease ran out, a person at the shell), then the
write of the run or prompt itself, which carries the expected status in its filter, does not match: the change is
Lost, the other's final state stands, and only messages of the change, which are true by themselves, may be left.

It knows pymongo's errors and nothing of motor: the collections are handed in.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.errors import BulkWriteError, DuplicateKeyError

from baton.core.errors import LeaseLost
from baton.core.lifecycle import OPEN_RUN
from baton.core.models import PromptStatus
from baton.core.permissions import GrantScope
from baton.core.stored import Change, Committed, Known, Lost, Outcome, Refused
from baton.storage.mongo_documents import STRIPPED_RUN, Document, Unstorable, dump_message, equal, load_run, one_of
from baton.storage.mongo_errors import DUPLICATE_KEY, refused_documents
from baton.storage.mongo_lease import Lease
from baton.storage.mongo_pending import PendingChanges, trimmed
from baton.storage.mongo_plan import APPEND_ONLY, Plan, plan_of, stages

logger = logging.getLogger(__name__)

FINISH_S = 5.0
"""How long commits that are under way may take when the store closes."""
_AT_ONCE = 16
"""Changes of one call that are written at the same time."""
_MAX_OPEN_RUNS = 100_000


@dataclass(slots=True)
class _Standing:
    """What is stored already of the things that decide about changes."""

    runs: dict[ObjectId, str] = field(default_factory=dict)
    prompts: dict[ObjectId, str] = field(default_factory=dict)
    conversations: set[ObjectId] = field(default_factory=set)
    rows: set[ObjectId] = field(default_factory=set)
    """Plans whose (conversation, seq) is in the journal."""
    frames: set[ObjectId] = field(default_factory=set)
    """Plans whose (requestId, bridgeSeq) is in the journal."""

    def verdict(self, plan: Plan) -> Outcome | None:
        """Why the plan cannot be written; None: it can. Raises LeaseLost."""
        if plan.id in self.rows:
            raise LeaseLost("The journal has a row of this number already: another process writes here")
        if plan.is_new and plan.conversation_key in self.conversations:
            return Known()
        if plan.new_run is not None and plan.new_run["_id"] in self.runs:
            return Known()
        for document, expect in plan.runs:
            if self.runs.get(document["_id"]) not in expect:
                return Lost()
        for document, expected in plan.prompts:
            if self.prompts.get(document["_id"]) != expected:
                return Lost()
        return Refused("the bridge's frame is stored already") if plan.id in self.frames else None


class Committer:
    """Writes changes. One per store; `commit` calls take turns."""

    def __init__(self, collections: Mapping[str, Any], lease: Lease) -> None:
        self._of = collections
        self._lease = lease
        self._pending = PendingChanges(collections, lease)
        self._turn = asyncio.Lock()
        self._is_unsettled = False
        self._running: set[asyncio.Task[list[Outcome]]] = set()

    async def commit(self, changes: Sequence[Change]) -> list[Outcome]:
        """See core.ports.Store.commit. Once begun it is finished, also where its caller is cancelled, even twice.

        Cancelling a call of motor only stops waiting for it: its thread would go on, and could write an old document
        over one that the next commit has written.
        """
        task = asyncio.create_task(self._commit(changes), name="mongo commit")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            raise

    async def finish(self) -> None:
        """Return when no commit is under way, after FINISH_S at the latest: what is left then, repair writes again."""
        if self._running:
            _, left = await asyncio.wait(self._running, timeout=FINISH_S)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _commit(self, changes: Sequence[Change]) -> list[Outcome]:
        async with self._turn:
            await self._lease.check()
            await self._settle_if_needed()
            outcomes: dict[ObjectId, Outcome] = {}
            drafted = [_draft(change) for change in changes]
            for group in stages([plan for plan in drafted if isinstance(plan, Plan)]):
                outcomes.update(await self._write_group(group))
            return [outcomes[plan.id] if isinstance(plan, Plan) else plan for plan in drafted]

    async def settled(self) -> None:
        """Return when nothing is half written; to be awaited before a lane is read anew after an error."""
        if self._is_unsettled:
            async with self._turn:
                await self._settle_if_needed()

    async def repair(self) -> int:
        """Finish what a process before this one left; how many changes were mended."""
        async with self._turn:
            mended = await self._settle()
            mended += await self._store_carried_messages()
            await self._of["meta"].update_one({"_id": "repair"}, {"$set": {"value": self._lease.term}}, upsert=True)
            return mended

    async def purge(self, conversation_key: ObjectId, now: datetime) -> None:
        """Remove a conversation; of its runs stays what answers a request again. The document goes last, and just
        before it the uses of attachments: while it can be restored it keeps them."""
        async with self._turn:
            await self._settle_if_needed()
            of_it = {"conversationId": conversation_key}
            for name in ("run_journal", "messages", "interactive_prompts", "conversation_reads"):
                await self._of[name].delete_many(of_it)
            await self._of["conversation_permissions"].delete_many(of_it | {"scope": str(GrantScope.CONVERSATION)})
            await self._of["runs"].update_many(of_it | {"status": one_of(OPEN_RUN)}, {"$set": {"status": "aborted"}})
            await self._of["runs"].update_many(of_it, {"$set": STRIPPED_RUN})
            freed = {"$pull": {"usedBy": conversation_key}, "$set": {"inDoubtSince": now}}
            await self._of["attachments.files"].update_many({"usedBy": conversation_key}, freed)
            await self._of["conversations"].delete_one({"_id": conversation_key})

    # --- one group ---------------------------------------------------------------------------------------------

    async def _write_group(self, plans: Sequence[Plan]) -> dict[ObjectId, Outcome]:
        rows = [plan for plan in plans if plan.is_bare_row]
        others = [plan for plan in plans if not plan.is_bare_row]
        both = await asyncio.gather(self._write_rows(rows), self._write_plans(others), return_exceptions=True)
        outcomes: dict[ObjectId, Outcome] = {}
        for written in both:
            if isinstance(written, BaseException):
                raise written
            outcomes.update(written)
        return outcomes

    async def _write_rows(self, plans: Sequence[Plan]) -> dict[ObjectId, Outcome]:
        """The hot path: all bare rows in one call."""
        outcomes: dict[ObjectId, Outcome] = {plan.id: Committed() for plan in plans}
        rows = [plan.journal for plan in plans if plan.journal is not None]
        if not rows:
            return outcomes
        try:
            await self._of["run_journal"].insert_many(rows, ordered=False)
        except BulkWriteError as exc:
            for error in refused_documents(exc):
                outcomes[plans[error["index"]].id] = await self._row_refused(rows[error["index"]], error)
        return outcomes

    async def _row_refused(self, row: Document, error: Mapping[str, Any]) -> Outcome:
        """Why a journal row was not taken, if it was not. Raises LeaseLost where its number is another's."""
        if error.get("code") != DUPLICATE_KEY:
            return Refused("the database does not take this row")
        there = await self._row_of_its_number(row)
        if there == row["_id"]:
            return Committed()  # the driver sent it twice, because the first answer was lost
        if there is not None:
            raise LeaseLost("The journal has a row of this number already: another process writes here")
        return Refused("the bridge's frame is stored already")

    async def _row_of_its_number(self, row: Document) -> ObjectId | None:
        """The key of the stored row with this row's number."""
        where = {"conversationId": row["conversationId"], "seq": equal(row["seq"])}
        found = await self._of["run_journal"].find_one(where, {"_id": True})
        return None if found is None else found["_id"]

    async def _frame_exists(self, row: Document) -> bool:
        where = {"requestId": equal(row["requestId"]), "bridgeSeq": equal(row["bridgeSeq"])}
        return await self._of["run_journal"].find_one(where, {"_id": True}) is not None

    async def _write_plans(self, plans: Sequence[Plan]) -> dict[ObjectId, Outcome]:
        if not plans:
            return {}
        standing = await self._standing(plans)
        verdicts = {plan.id: standing.verdict(plan) for plan in plans}
        accepted = [plan for plan in plans if verdicts[plan.id] is None]
        written = await self._write_accepted(accepted)
        return {plan_id: verdict or written[plan_id] for plan_id, verdict in verdicts.items()}

    async def _standing(self, plans: Sequence[Plan]) -> _Standing:
        standing = _Standing()
        run_keys, prompt_keys, new_keys = [], [], []
        for plan in plans:
            run_keys += [plan.new_run["_id"]] if plan.new_run else []
            run_keys += [document["_id"] for document, _ in plan.runs]
            prompt_keys += [document["_id"] for document, _ in plan.prompts]
            new_keys += [plan.conversation_key] if plan.is_new else []
            if plan.journal is not None:
                standing.rows |= {plan.id} if await self._row_of_its_number(plan.journal) else set()
                standing.frames |= {plan.id} if await self._frame_exists(plan.journal) else set()
        standing.runs = await self._statuses("runs", run_keys)
        standing.prompts = await self._statuses("interactive_prompts", prompt_keys)
        standing.conversations = set(await self._statuses("conversations", new_keys))
        return standing

    async def _statuses(self, name: str, keys: Sequence[ObjectId]) -> dict[ObjectId, str]:
        if not keys:
            return {}
        found = self._of[name].find({"_id": one_of(keys)}, {"status": True}).limit(len(keys))
        return {document["_id"]: document["status"] async for document in found}

    async def _write_accepted(self, plans: Sequence[Plan]) -> dict[ObjectId, Outcome]:
        if not plans:
            return {}
        room = asyncio.Semaphore(_AT_ONCE)

        async def write(plan: Plan) -> Outcome:
            async with room:
                return await self._write(plan)

        many = [plan for plan in plans if plan.is_more_than_one_write]
        # From here to the end an error leaves changes half written.
        self._is_unsettled = True
        refused = await self._pending.announce(many)
        writable = [plan for plan in plans if plan.id not in refused]
        results = await asyncio.gather(*(write(plan) for plan in writable), return_exceptions=True)
        outcomes: dict[ObjectId, Outcome] = {**refused}
        outcomes.update(zip((plan.id for plan in writable), [_raised(result) for result in results], strict=True))
        await self._pending.forget([plan.id for plan in many])
        self._is_unsettled = False
        return outcomes

    # --- one change --------------------------------------------------------------------------------------------

    async def _write(self, plan: Plan) -> Outcome:
        """Write the plan's documents in the order of core.ports.Store.commit, guarantee 3."""
        if plan.new_run is not None and not await self._add("runs", plan.new_run):
            return Known()
        await self._write_messages(plan)
        for document, expected in plan.prompts:
            if not await self._move_prompt(document, expected):
                return await self._overtaken(plan)
        for document, expect in plan.runs:
            if not await self._move("runs", document, one_of(expect)):
                return await self._overtaken(plan)
        for document in plan.grants:
            await self._put("conversation_permissions", document)
        for document in plan.audit:
            await self._insert(APPEND_ONLY, document)
        if plan.journal is not None:
            await self._write_row(plan.journal)
        if plan.conversation is not None:
            await self._put("conversations", plan.conversation)
        for trim in plan.trims:
            await self._of["run_journal"].delete_many(trimmed(trim.request_id, trim.up_to_bridge_seq))
        return Committed()

    async def _write_row(self, row: Document) -> None:
        """Insert a journal row that its plan says is free. Raises LeaseLost where it is not."""
        if not await self._insert("run_journal", row) and await self._row_of_its_number(row) != row["_id"]:
            raise LeaseLost("The journal has a row of this number already: another process writes here")

    async def _write_messages(self, plan: Plan) -> None:
        if plan.is_new and len(plan.messages) > 1:
            try:
                # An import: nothing of it is there, and one call for each message would take minutes.
                await self._of["messages"].insert_many(list(plan.messages), ordered=False)
            except BulkWriteError as exc:
                if any(error.get("code") != DUPLICATE_KEY for error in refused_documents(exc)):
                    raise
            else:
                return
        for document in plan.messages:
            await self._put("messages", document)

    async def _move_prompt(self, document: Document, expected: PromptStatus | None) -> bool:
        if expected is None:
            return await self._add("interactive_prompts", document)
        return await self._move("interactive_prompts", document, equal(str(expected)))

    async def _add(self, name: str, document: Document) -> bool:
        """Insert a run or prompt; whether what is stored now is this one."""
        return await self._insert(name, document) or await self._is_stored(name, document)

    async def _move(self, name: str, document: Document, expected: Document) -> bool:
        """Replace a run or prompt that has the expected status; whether what is stored now is this one."""
        moved = await self._of[name].replace_one({"_id": document["_id"], "status": expected}, document)
        return bool(moved.matched_count) or await self._is_stored(name, document)

    async def _is_stored(self, name: str, document: Document) -> bool:
        """Whether this very document is there although its write says no.

        The driver repeats a write whose answer was lost; a server that does not know it again then finds it done.
        `seq` is given out once: whoever else wrote has another.
        """
        marks = ("seq", "status", "messageIds")
        found = await self._of[name].find_one({"_id": document["_id"]}, dict.fromkeys(marks, True)) or {}
        return all(found.get(mark) == document.get(mark) for mark in marks)

    async def _overtaken(self, plan: Plan) -> Outcome:
        """Somebody wrote between our look and our write: another process, or a person at the shell."""
        await self._lease.confirm()
        logger.warning(
            "A change was overtaken by a write from outside",
            extra={"action": "store_overtaken", "conversationId": str(plan.conversation_key)},
        )
        return Lost()

    async def _insert(self, name: str, document: Document) -> bool:
        """Whether the document was not there yet."""
        try:
            await self._of[name].insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    async def _put(self, name: str, document: Document) -> None:
        await self._of[name].replace_one({"_id": document["_id"]}, document, upsert=True)

    # --- after a crash or an error -----------------------------------------------------------------------------

    async def _settle_if_needed(self) -> None:
        if self._is_unsettled:
            await self._settle()

    async def _settle(self) -> int:
        last_repair = await self._of["meta"].find_one({"_id": "repair"})
        settled = await self._pending.settle(int(last_repair["value"]) if last_repair else 0)
        self._is_unsettled = False
        return settled

    async def _store_carried_messages(self) -> int:
        """Put back the user's message of an open run where it is missing, as after a dump taken in mid-write."""
        where = {"status": one_of(OPEN_RUN), "userMessage": {"$ne": None}}
        mended = 0
        async for document in self._of["runs"].find(where).limit(_MAX_OPEN_RUNS):
            carried, owner_id = load_run(document).user_message, document.get("ownerId")
            if carried is not None and await self._insert("messages", dump_message(carried, owner_id)):
                mended += 1
        return mended


def _draft(change: Change) -> Plan | Refused:
    try:
        return plan_of(change)
    except Unstorable as exc:
        return Refused(str(exc))


def _raised(result: Outcome | BaseException) -> Outcome:
    """The outcome; raises what was raised instead."""
    if isinstance(result, BaseException):
        raise result
    return result
