"""What ended over time, added up by SQLite from indexes. Only of what people answered, documents are read."""

import sqlite3
from typing import Final

from baton.core.models import Usage
from baton.core.series import PROMPT_OUTCOMES, Bucket, SeriesSums, Span
from baton.schemas.codec import iso

_BUCKET: Final = "(CAST(strftime('%s', {at}) AS INTEGER) - ?1) / ?2"
_WITHIN: Final = "{at} >= ?3 AND {at} < ?4"
_IS_PROMPT: Final = f"outcome IN ({', '.join(map(repr, PROMPT_OUTCOMES))})"


def _query(text: str, at: str) -> str:
    return text.format(bucket=_BUCKET.format(at=at), within=_WITHIN.format(at=at), is_prompt=_IS_PROMPT)


# total() and not sum(): of numbers that a bridge made up, sum() fails where they pass 64 bits.
_RUNS: Final = _query(
    "SELECT {bucket}, status, count(*), total(inputTokens), total(outputTokens), total(cacheReadTokens), "
    "total(cacheWriteTokens), total(costUsd) FROM runs WHERE {within} GROUP BY 1, 2",
    "finishedAt",
)
_PROMPTS: Final = _query(
    "SELECT {bucket}, outcome, count(*) FROM audit_log WHERE {within} AND {is_prompt} GROUP BY 1, 2", "createdAt"
)
_ANSWERS: Final = _query(
    "SELECT {bucket}, json_extract(doc, '$.latencyMs') FROM audit_log "
    "WHERE {within} AND {is_prompt} AND handler = 'user_selection'",
    "createdAt",
)


def read_series(connection: sqlite3.Connection, span: Span) -> tuple[Bucket, ...]:
    """See the port."""
    values = (int(span.since.timestamp()), span.width.seconds, iso(span.since), iso(span.until))
    sums = SeriesSums(span)
    for index, status, count, *tokens, cost_usd in connection.execute(_RUNS, values):
        sums.add_runs(index, status.decode(), count, Usage(*map(int, tokens)), cost_usd)
    for index, outcome, count in connection.execute(_PROMPTS, values):
        sums.add_prompts(index, outcome.decode(), count)
    for index, latency_ms in connection.execute(_ANSWERS, values):
        sums.add_answer(index, latency_ms)
    return sums.buckets()
