"""The rules of series: what ended is counted in the bucket in which it ended, and nowhere else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from baton.core.lifecycle import FINAL_RUN
from baton.core.models import Conversation, Failure, Run, RunStatus, Usage
from baton.core.ports import Store
from baton.core.series import Bucket, BucketWidth, Span
from baton.core.stored import Change, Committed
from baton.testing import samples
from baton.testing.store_rules_commit import commit_one, move, started
from baton.testing.store_rules_lists import listed

YEAR = datetime(1999, 12, 31, 22, 0, tzinfo=UTC)
"""Long before anything that other rules store."""
HOURS = Span(since=YEAR, width=BucketWidth.HOUR, count=3)


def at(minutes: float) -> datetime:
    """So many minutes after the begin of the span."""
    return YEAR + timedelta(minutes=minutes)


async def ended(store: Store, finished_at: datetime, **fields: object) -> tuple[Conversation, Run]:
    """A run that has its final state."""
    conversation, run = await started(store)
    fields = {"status": RunStatus.COMPLETED, "finished_at": finished_at, **fields}
    done = replace(run, **fields)  # type: ignore[arg-type]  # fields of a run
    assert await commit_one(store, move(conversation, done, RunStatus.QUEUED)) == Committed()
    return conversation, done


async def audited(store: Store, created_at: datetime, **fields: object) -> None:
    """A prompt that has ended."""
    conversation = await listed(store)
    entry = samples.audit_entry(conversation.id, created_at=created_at, **fields)
    change = Change(conversation_id=conversation.id, conversation=conversation, audit=(entry,))
    assert await commit_one(store, change) == Committed()


class SeriesRules:
    """Every bucket of the span is told, in order; what ends at a bucket's begin is in it."""

    async def test_a_series_of_nothing_has_every_bucket(self, store: Store) -> None:
        empty = [
            Bucket(
                start_at=at(60 * index),
                runs={},
                usage=Usage(),
                cost_usd=0.0,
                prompts={},
                answers=0,
                median_latency_ms=None,
                p95_latency_ms=None,
            )
            for index in range(3)
        ]
        assert list(await store.series(HOURS)) == empty

    async def test_runs_are_counted_where_they_ended_by_status(self, store: Store) -> None:
        await started(store)
        await ended(store, at(0))
        await ended(store, at(59.9999))
        await ended(store, at(60), status=RunStatus.ABORTED)
        await ended(store, at(61), status=RunStatus.FAILED, error=Failure("agent_failed", "It broke"))
        await ended(store, at(-0.001))
        await ended(store, at(180))
        told = await store.series(HOURS)
        assert [dict(bucket.runs) for bucket in told] == [{"completed": 2}, {"aborted": 1, "failed": 1}, {}]
        assert {status for bucket in told for status in bucket.runs} <= {str(status) for status in FINAL_RUN}

    async def test_tokens_and_cost_are_those_of_the_runs_of_the_bucket(self, store: Store) -> None:
        await ended(store, at(61), usage=Usage(1, 20, 300, 4000), cost_usd=0.25)
        await ended(store, at(119), usage=Usage(1, 20, 300, 4000), cost_usd=0.5, status=RunStatus.ABORTED)
        told = await store.series(HOURS)
        assert [bucket.usage for bucket in told] == [Usage(), Usage(2, 40, 600, 8000), Usage()]
        assert [bucket.cost_usd for bucket in told] == [0.0, 0.75, 0.0]

    async def test_more_tokens_than_fit_into_a_number_of_the_database_are_still_told(self, store: Store) -> None:
        for _ in range(3):
            await ended(store, at(1), usage=Usage(input_tokens=2**62))
        assert (await store.series(HOURS))[0].usage.input_tokens == 3 * 2**62

    async def test_runs_of_a_purged_conversation_still_count(self, store: Store) -> None:
        conversation, _ = await ended(store, at(5), usage=Usage(output_tokens=7))
        await store.purge_conversation(conversation.id)
        told = await store.series(HOURS)
        assert (dict(told[0].runs), told[0].usage) == ({"completed": 1}, Usage(output_tokens=7))

    async def test_prompts_are_counted_by_how_they_ended(self, store: Store) -> None:
        await audited(store, at(0), outcome="allow", handler="grant", latency_ms=0)
        await audited(store, at(1), outcome="allow", handler="user_selection", latency_ms=900)
        await audited(store, at(179.9999), outcome="timeout", handler="timeout", latency_ms=10**7)
        await audited(store, at(180), outcome="deny", latency_ms=5)
        told = await store.series(HOURS)
        assert [dict(bucket.prompts) for bucket in told] == [{"allow": 2}, {}, {"timeout": 1}]

    async def test_what_the_audit_tells_of_beside_prompts_is_not_counted(self, store: Store) -> None:
        await audited(store, at(5), outcome="done", handler="user_selection", latency_ms=0)
        bucket, *_ = await store.series(HOURS)
        assert (dict(bucket.prompts), bucket.answers) == ({}, 0)

    async def test_latencies_are_of_what_people_answered(self, store: Store) -> None:
        for latency_ms in (40, 10, 30, 20):
            await audited(store, at(70), outcome="deny", latency_ms=latency_ms)
        await audited(store, at(70), outcome="allow", handler="mode", latency_ms=0)
        _, bucket, last = await store.series(HOURS)
        assert (bucket.answers, bucket.median_latency_ms, bucket.p95_latency_ms) == (4, 20, 40)
        assert (last.answers, last.median_latency_ms, last.p95_latency_ms) == (0, None, None)

    async def test_buckets_of_days_begin_where_the_span_does(self, store: Store) -> None:
        await ended(store, at(60 * 24 - 1))
        await ended(store, at(60 * 24))
        told = await store.series(Span(since=YEAR, width=BucketWidth.DAY, count=2))
        assert [(bucket.start_at, dict(bucket.runs)) for bucket in told] == [
            (YEAR, {"completed": 1}),
            (YEAR + timedelta(days=1), {"completed": 1}),
        ]
