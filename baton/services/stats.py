"""Looking across conversations: search, and how many there are of what."""

from baton.core.commands import Identity
from baton.core.errors import Forbidden, InvalidRequest
from baton.core.ids import ProjectId
from baton.core.ports import Store
from baton.core.stored import Page, SearchHit, StoreCounts
from baton.services.ownership import seen_by


class Stats:
    """See the module."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    async def counts(self, who: Identity) -> StoreCounts:
        """By status, over everything stored. Raises Forbidden for others than admins: they are no single user's."""
        if not who.is_admin:
            raise Forbidden("The counts of the whole are for admins")
        return await self._store.counts()

    async def search(
        self,
        who: Identity,
        words: str,
        *,
        project_id: ProjectId | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> Page[SearchHit]:
        """Messages and titles of their conversations that hold all words, newest first. Raises InvalidRequest where
        there is no word."""
        if not any(char.isalnum() for char in words):
            raise InvalidRequest("There is no word to search for", fields={"q": ["Must hold a word."]})
        return await self._store.search(words, project_id=project_id, user_id=seen_by(who), cursor=cursor, limit=limit)
