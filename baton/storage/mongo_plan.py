"""A change of the port as the documents that it is made of, checked before any of them is written. Does no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from bson import ObjectId

from baton.core.models import PromptStatus, RunStatus
from baton.core.stored import Change, JournalTrim
from baton.storage.mongo_documents import (
    Document,
    Unstorable,
    dump_audit_entry,
    dump_conversation,
    dump_grant,
    dump_journal,
    dump_message,
    dump_prompt,
    dump_run,
    object_id,
)

APPEND_ONLY = "audit_log"
"""The collection in which a document that is there is never written again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A change as the documents that it is made of."""

    id: ObjectId
    conversation_key: ObjectId
    is_new: bool
    conversation: Document | None
    new_run: Document | None
    runs: tuple[tuple[Document, frozenset[RunStatus]], ...]
    messages: tuple[Document, ...]
    prompts: tuple[tuple[Document, PromptStatus | None], ...]
    journal: Document | None
    trims: tuple[JournalTrim, ...]
    grants: tuple[Document, ...]
    audit: tuple[Document, ...]

    @property
    def is_bare_row(self) -> bool:
        """Whether it is one journal row and nothing else."""
        return self.journal is not None and len(self.documents()) == 1 and not self.trims

    @property
    def is_more_than_one_write(self) -> bool:
        """Whether a crash could leave a part of it."""
        return len(self.documents()) + len(self.trims) > 1

    def documents(self) -> list[tuple[str, Document]]:
        """Every document with its collection, in the order of writing."""
        return [
            *([("runs", self.new_run)] if self.new_run else []),
            *(("messages", document) for document in self.messages),
            *(("interactive_prompts", document) for document, _ in self.prompts),
            *(("runs", document) for document, _ in self.runs),
            *(("conversation_permissions", document) for document in self.grants),
            *((APPEND_ONLY, document) for document in self.audit),
            *([("run_journal", self.journal)] if self.journal else []),
            *([("conversations", self.conversation)] if self.conversation else []),
        ]


def plan_of(change: Change) -> Plan:
    """Every document of the change, checked. Raises Unstorable."""
    conversation_key = object_id(change.conversation_id)
    if conversation_key is None:
        raise Unstorable("the conversation's id is not 24 hex digits")
    owner_id = change.conversation.user_id if change.conversation else None
    return Plan(
        id=ObjectId(),
        conversation_key=conversation_key,
        is_new=change.is_new,
        conversation=dump_conversation(change.conversation) if change.conversation else None,
        new_run=dump_run(change.new_run, owner_id) if change.new_run else None,
        runs=tuple((dump_run(move.run, owner_id), move.expect) for move in change.runs),
        messages=tuple(dump_message(message, owner_id) for message in change.messages),
        prompts=tuple((dump_prompt(move.prompt, owner_id), move.expect) for move in change.prompts),
        journal=dump_journal(change.journal) if change.journal else None,
        trims=change.trims,
        grants=tuple(dump_grant(grant) for grant in change.grants),
        audit=tuple(dump_audit_entry(entry) for entry in change.audit),
    )


def stages(plans: Sequence[Plan]) -> list[list[Plan]]:
    """The plans in groups that may be written at the same time.

    Two of one conversation, or with one requestId, are in different groups, in their order: a later row on disk
    must mean that the earlier one is, or a crash in between would acknowledge a frame that is lost. So are two with
    one grant, which may reach further than a conversation: the later one's must be what stays.
    """
    groups: list[list[Plan]] = []
    last: dict[ObjectId, int] = {}
    for plan in plans:
        keys = [plan.conversation_key, *([plan.new_run["_id"]] if plan.new_run else [])]
        keys += [document["_id"] for document in (*plan.grants, *plan.audit)]
        number = 1 + max(last.get(key, -1) for key in keys)
        last.update(dict.fromkeys(keys, number))
        if number == len(groups):
            groups.append([])
        groups[number].append(plan)
    return groups
