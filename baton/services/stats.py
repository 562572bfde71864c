"""Looking across conversations: search, how many there are of what, and what happened over time."""

from datetime import datetime, timedelta
from math import ceil
from typing import Final

from baton.core.commands import Identity
from baton.core.errors import Forbidden, InvalidRequest
from baton.core.ids import ProjectId
from baton.core.ports import Clock, Store
from baton.core.series import Bucket, BucketWidth, Span
from baton.core.stored import Page, SearchHit, StoreCounts
from baton.services.ownership import seen_by

MAX_BUCKETS: Final = 750
"""Of one series: a month of hours, or two years of days."""
_USUAL_BUCKETS: Final = {BucketWidth.HOUR: 24, BucketWidth.DAY: 30}
_AHEAD: Final = timedelta(days=1)
"""So far may a series reach past now: to the end of the day that it is somewhere on earth."""


class Stats:
    """See the module."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def counts(self, who: Identity) -> StoreCounts:
        """By status, over everything stored. Raises Forbidden for others than admins: they are no single user's."""
        if not who.is_admin:
            raise Forbidden("The counts of the whole are for admins")
        return await self._store.counts()

    async def series(
        self, who: Identity, *, since: datetime | None, until: datetime | None, width: BucketWidth
    ) -> tuple[Span, tuple[Bucket, ...]]:
        """What ended in each bucket, the first of which begins at `since` and the last of which holds `until`.

        `until` None: now; `since` None: 24 whole hours, or 30 whole days of UTC, with the one that holds `until`.
        Raises Forbidden for others than admins, because it tells of everybody; InvalidRequest for a span that ends
        before it begins, lies ahead, or has more than MAX_BUCKETS.
        """
        if not who.is_admin:
            raise Forbidden("What happened over time is for admins")
        span = _span(since, until, width, self._clock.now())
        return span, tuple(await self._store.series(span))

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


def _span(since: datetime | None, until: datetime | None, width: BucketWidth, now: datetime) -> Span:
    until = until or now
    if until > now + _AHEAD:
        raise _invalid("until", "Must not lie ahead by more than a day.")
    if since is None:
        since = _begin(until, width) - timedelta(seconds=width.seconds * (_USUAL_BUCKETS[width] - 1))
    # Whole seconds: stores count in them.
    since = since.replace(microsecond=0)
    if since >= until:
        raise _invalid("since", "Must lie before until.")
    count = ceil((until - since) / timedelta(seconds=width.seconds))
    if count > MAX_BUCKETS:
        raise _invalid("since", f"Must give at most {MAX_BUCKETS} buckets: take a later one, or bucket=day.")
    return Span(since=since, width=width, count=count)


def _begin(at: datetime, width: BucketWidth) -> datetime:
    """Of the bucket of UTC that holds this moment."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    return hour if width is BucketWidth.HOUR else hour.replace(hour=0)


def _invalid(name: str, text: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid: {name}", fields={name: [text]})
