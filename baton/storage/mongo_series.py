"""What ended over time, added up here from a few fields of each document that an index finds.

Not by `$group`: servers that speak MongoDB's language differ in what they can group by. Documents come in batches, so
that a long series does not hold the event loop up.
"""

from collections.abc import Mapping
from typing import Any, Final

from baton.core.errors import TooLarge
from baton.core.models import Usage
from baton.core.series import PROMPT_OUTCOMES, Bucket, SeriesSums, Span
from baton.storage.mongo_documents import Document, aware

_BATCH: Final = 1000
_MOST: Final = 500_000
"""Runs, or entries of the audit, that one series may be made of."""
_USAGE: Final = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens")
_PERSON: Final = "user_selection"


class SeriesReads:
    """Reads `runs` and `audit_log`."""

    def __init__(self, collections: Mapping[str, Any]) -> None:
        self._runs = collections["runs"]
        self._audit = collections["audit_log"]

    async def series(self, span: Span) -> tuple[Bucket, ...]:
        """See core.ports.Store.series."""
        sums = SeriesSums(span)
        await self._add_runs(span, sums)
        await self._add_prompts(span, sums)
        return sums.buckets()

    async def _add_runs(self, span: Span, sums: SeriesSums) -> None:
        number = 0
        fields = {"finishedAt": True, "status": True, "usage": True, "costUsd": True}
        found = self._runs.find(_within(span, "finishedAt"), fields).sort([("finishedAt", 1)])
        async for run in found.limit(_MOST + 1).batch_size(_BATCH):
            number = _next(number, "runs")
            index = span.index_of(aware(run["finishedAt"]))
            tokens = [int(run["usage"].get(name, 0)) for name in _USAGE]
            sums.add_runs(index, run["status"], 1, Usage(*tokens), float(run["costUsd"]))

    async def _add_prompts(self, span: Span, sums: SeriesSums) -> None:
        number = 0
        fields = {"createdAt": True, "outcome": True, "handler": True, "latencyMs": True}
        found = self._audit.find(_within(span, "createdAt"), fields).sort([("createdAt", 1)])
        async for entry in found.limit(_MOST + 1).batch_size(_BATCH):
            number = _next(number, "prompts")
            if entry["outcome"] not in PROMPT_OUTCOMES:
                continue
            index = span.index_of(aware(entry["createdAt"]))
            sums.add_prompts(index, entry["outcome"], 1)
            if entry["handler"] == _PERSON:
                sums.add_answer(index, int(entry["latencyMs"]))


def _within(span: Span, name: str) -> Document:
    return {name: {"$gte": span.since, "$lt": span.until}}


def _next(number: int, what: str) -> int:
    """One more than `number`. Raises TooLarge past the limit."""
    if number == _MOST:
        raise TooLarge(f"More than {_MOST} {what} ended in this time: ask for less of it")
    return number + 1
