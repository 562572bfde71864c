"""`baton audit`: what was decided and done, newest first, from the server that has the database or from itself."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from baton.asking import open_server
from baton.core.errors import ConfigError, InvalidRequest
from baton.core.ids import ConversationId, UserId, is_object_id
from baton.core.permissions import DECIDED, Action
from baton.core.ports import Store
from baton.database import free_database
from baton.schemas.codec import to_wire
from baton.settings import Settings

_PAGE: Final = 1000
_COLUMNS: Final = ("when", "outcome", "by", "rule", "risk", "tool", "took", "conversation", "reason")

Tell = Callable[[str], None]


async def tell_audit(
    settings: Settings,
    tell: Tell,
    *,
    conversation: str | None = None,
    user: str | None = None,
    action: str | None = None,
    limit: int = 100,
    as_json: bool = False,
    url: str | None = None,
) -> None:
    """Tell at most `limit` entries, of one conversation, user or action or of all; as lines, or one JSON object a line.

    Raises ConfigError, Unavailable, and what the server refuses with.
    """
    if conversation is not None and not is_object_id(conversation):
        raise InvalidRequest(f"{conversation!r} is no conversation's id")
    if action is not None and action not in list(Action):
        raise ConfigError(f"--action={action}: accepted is {', '.join(Action)}")
    path = settings.sqlite_path
    if url is None and path is not None and not path.exists():
        raise ConfigError(f"There is no database {path} yet: the first `baton serve` makes it")
    if not as_json:
        tell("  ".join(name.upper() for name in _COLUMNS))
    count = 0
    wanted = {"conversationId": conversation, "userId": user, "action": action}
    given = {name: value for name, value in wanted.items() if value is not None}
    async for entry in _entries(settings, given, limit, url):
        tell(json.dumps(entry, ensure_ascii=False) if as_json else _line(entry))
        count += 1
    if not count and not as_json:
        tell("nothing was decided or done yet")


async def _entries(
    settings: Settings, wanted: Mapping[str, str], limit: int, url: str | None
) -> AsyncIterator[dict[str, Any]]:
    if url is None:
        async with free_database(settings) as store:
            if store is not None:
                async for entry in _stored(store, wanted, limit):
                    yield entry
                return
    async with open_server(settings, url or settings.origin) as server:
        cursor: str | None = None
        while limit > 0:
            page = {"limit": str(min(limit, _PAGE))} | ({"next": cursor} if cursor else {})
            said = await server.ask("GET", "/api/audit", params={**wanted, **page})
            for entry in said["entries"]:
                yield entry
            limit, cursor = limit - len(said["entries"]), said["next"]
            if cursor is None:
                return


async def _stored(store: Store, wanted: Mapping[str, str], limit: int) -> AsyncIterator[dict[str, Any]]:
    conversation, user = wanted.get("conversationId"), wanted.get("userId")
    cursor: str | None = None
    while limit > 0:
        page = await store.audit(
            conversation_id=ConversationId(conversation) if conversation is not None else None,
            user_id=UserId(user) if user is not None else None,
            action=wanted.get("action"),
            cursor=cursor,
            limit=min(limit, _PAGE),
        )
        for entry in page.items:
            yield to_wire(entry)
        limit, cursor = limit - len(page.items), page.next
        if cursor is None:
            return


def _line(entry: dict[str, Any]) -> str:
    when = str(entry["createdAt"])[:19].replace("T", " ")
    if entry["action"] != DECIDED:
        who = entry["userId"] or ("-" if entry["address"] else entry["handler"])
        about = (entry["address"] or "-", entry["conversationId"] or "-", entry["subject"] or "-")
        return "  ".join(str(cell) for cell in (when, entry["action"], who, *about))
    cells = (
        when,
        entry["outcome"],
        entry["userId"] or entry["handler"],
        entry["rule"] or "-",
        entry["riskLevel"],
        entry["toolName"] or entry["type"],
        f"{entry['latencyMs'] / 1000:.1f} s",
        entry["conversationId"],
        entry["reason"] or "-",
    )
    return "  ".join(str(cell) for cell in cells)
