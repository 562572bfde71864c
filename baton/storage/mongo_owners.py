"""Whose conversation a message, a run or a prompt is of, in the document itself: there lists and search find it.

Written with every document (`mongo_plan`), and once, in a database from before owners were kept, into those that are
there.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from bson import ObjectId

from baton.core.ids import UserId
from baton.core.permissions import DECIDED
from baton.storage.mongo_documents import equal, one_of

_PAGE: Final = 200
_MOST_TOKENS: Final = 100_000
_FIRST: Final = ObjectId("0" * 24)
_OWNED: Final = ("messages", "runs", "interactive_prompts")


async def fill_owners(collections: Mapping[str, Any], now: datetime) -> None:
    """To be called by the one process that serves, before it does: then nobody writes what this would miss.

    May be cut short and called again.
    """
    meta = collections["meta"]
    if await meta.find_one({"_id": "owners"}) is not None:
        return
    last = _FIRST
    while page := await _page(collections["conversations"], last):
        for document in page:
            of_it = {"conversationId": document["_id"], "ownerId": {"$exists": False}}
            for name in _OWNED:
                await collections[name].update_many(of_it, {"$set": {"ownerId": document.get("userId")}})
        last = page[-1]["_id"]
    await _bind_grants(collections)
    # Every entry that was made before others than decisions were.
    await collections["audit_log"].update_many({"action": {"$exists": False}}, {"$set": {"action": DECIDED}})
    await meta.replace_one({"_id": "owners"}, {"_id": "owners", "value": now}, upsert=True)


async def owners_of(conversations: Any, keys: Sequence[ObjectId]) -> dict[ObjectId, UserId]:
    """Whose these conversations are; those that are not there are left out."""
    if not keys:
        return {}
    found = conversations.find({"_id": one_of(keys)}, {"userId": True}).limit(len(keys))
    return {document["_id"]: document["userId"] async for document in found}


async def _page(conversations: Any, last: ObjectId) -> list[dict[str, Any]]:
    found = conversations.find({"_id": {"$gt": last}}, {"userId": True}).sort([("_id", 1)]).limit(_PAGE)
    return [document async for document in found]


async def _bind_grants(collections: Mapping[str, Any]) -> None:
    """A grant that reaches further than a conversation is bound to whoever gave it, unless that was an admin. Before,
    nobody noted it: what a person gave who has only tokens of a user becomes that person's."""
    roles: dict[str, set[str]] = {}
    tokens = collections["api_tokens"].find({}, {"name": True, "role": True}).sort([("_id", 1)]).limit(_MOST_TOKENS)
    async for token in tokens:
        roles.setdefault(str(token["name"]), set()).add(str(token["role"]))
    for name in (name for name, known in roles.items() if known == {"user"}):
        for scope in ("project", "all"):
            given = {"scope": scope, "createdBy": equal(name), "userId": {"$exists": False}}
            await collections["conversation_permissions"].update_many(given, {"$set": {"userId": name}})
