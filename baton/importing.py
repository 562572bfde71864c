"""`baton import-claude`: Claude Code's own sessions of a folder as conversations, to go on with in Baton.

Where no server has the database, they are written into it from here; where one does, it is asked to bring them in,
through its in-process bridge. Either way nothing of a session's size is held in memory.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from baton.agents.claude_history import MAX_LIMIT, list_sessions, read_session
from baton.asking import open_server
from baton.clock import SystemClock
from baton.core.commands import AccountRole, Identity
from baton.core.errors import NotFound
from baton.core.events import Event
from baton.core.ids import UserId
from baton.core.ports import Store
from baton.database import free_database
from baton.schemas.fields import load
from baton.schemas.sessions import AgentSession, SessionListSchema, SessionPage, SessionPageSchema
from baton.services.history import SessionImporter
from baton.settings import Settings

REQUEST_TIMEOUT_S: Final = 600.0
"""For one session, however large, that a server brings in."""
_ADMIN: Final = Identity(UserId("admin"), AccountRole.ADMIN)
_LOCAL_BRIDGE: Final = "local"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BroughtIn:
    """What became of one session."""

    conversation_id: str
    title: str
    message_count: int
    is_new: bool


BringIn = Callable[[str], Awaitable[BroughtIn]]


async def import_claude(
    settings: Settings,
    tell: Tell,
    *,
    folder: Path,
    session_ids: Sequence[str] = (),
    takes_all: bool = False,
    url: str | None = None,
) -> None:
    """List the sessions of `folder`, or import those that are named, or all.

    `url`: of the server that has the database, where it is not the settings' own. Raises ConfigError, NotFound,
    Unavailable, and what the server refuses with.
    """
    place = await asyncio.to_thread(os.path.realpath, folder)
    found = await asyncio.to_thread(_all_sessions, settings, place)
    if not session_ids and not takes_all:
        _tell_list(found, place, tell)
        return
    chosen = [session.session_id for session in found] if takes_all else list(session_ids)
    unknown = sorted(set(chosen) - {session.session_id for session in found})
    if unknown:
        raise NotFound(f"Claude Code has no session {', '.join(unknown)} in {place}")
    async with _way_in(settings, place, url) as bring_in:
        for session_id in chosen:
            done = await bring_in(session_id)
            what = f"imported, {done.message_count} messages" if done.is_new else "was here already"
            tell(f"{session_id}  {what}  {done.title}")


def _all_sessions(settings: Settings, folder: str) -> list[AgentSession]:
    found: list[AgentSession] = []
    cursor = None
    while True:
        answer = list_sessions(settings.agent_environment, folder, cursor, MAX_LIMIT)
        page = load(SessionListSchema(), answer)
        found += page.sessions
        cursor = page.next
        if cursor is None:
            return found


def _tell_list(found: Sequence[AgentSession], folder: str, tell: Tell) -> None:
    for session in found:
        when = session.updated_at.strftime("%Y-%m-%d %H:%M") if session.updated_at else ""
        tell(f"{session.session_id}  {when}  {session.size_bytes / 1e6:7.1f} MB  {session.title}")
    if not found:
        tell(f"Claude Code has no sessions in {folder}")


@asynccontextmanager
async def _way_in(settings: Settings, folder: str, url: str | None) -> AsyncIterator[BringIn]:
    """How sessions get into the database: directly where nobody serves it, else through who does."""
    if url is None:
        async with free_database(settings) as store:
            if store is not None:
                yield _directly(settings, store, folder)
                return
    async with _through_server(settings, folder, url or settings.origin) as bring_in:
        yield bring_in


# --- directly --------------------------------------------------------------------------------------------------


def _directly(settings: Settings, store: Store, folder: str) -> BringIn:
    importer = SessionImporter(store=store, publisher=_Nobody(), clock=SystemClock(), limits=settings.limits)

    async def bring_in(session_id: str) -> BroughtIn:
        async def read(cursor: str | None) -> SessionPage:
            await store.renew_lease()
            answer = await asyncio.to_thread(
                read_session, settings.agent_environment, folder, session_id, cursor, MAX_LIMIT
            )
            page: SessionPage = load(SessionPageSchema(), answer)
            return page

        imported = await importer.bring_in(_ADMIN, session_id, read)
        conversation = imported.conversation
        return BroughtIn(
            conversation_id=conversation.id,
            title=conversation.title,
            message_count=imported.message_count,
            is_new=imported.is_new,
        )

    return bring_in


class _Nobody:
    """A publisher without listeners: no server runs."""

    def publish(self, events: Sequence[Event]) -> None:
        pass


# --- through a server ------------------------------------------------------------------------------------------


@asynccontextmanager
async def _through_server(settings: Settings, folder: str, url: str) -> AsyncIterator[BringIn]:
    async with open_server(settings, url, timeout_s=REQUEST_TIMEOUT_S) as server:

        async def bring_in(session_id: str) -> BroughtIn:
            body = {"sessionId": session_id, "workingDirectory": folder, "bridgeId": _LOCAL_BRIDGE}
            return _brought_in(await server.ask("POST", "/api/bridges/sessions/import", json=body))

        yield bring_in


def _brought_in(said: dict[str, Any]) -> BroughtIn:
    conversation = said["conversation"]
    return BroughtIn(
        conversation_id=conversation["id"],
        title=conversation["title"],
        message_count=said["messageCount"],
        is_new=said["isNew"],
    )
