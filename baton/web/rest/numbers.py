"""What the parts of a running server count, as Prometheus families, read off them when somebody asks."""

import asyncio
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from baton.core.tally import PoolTally, Spread
from baton.services.catalog import Services
from baton.web.fanout import Fanout
from baton.web.sockets import SocketServer
from baton.web.throttle import Throttle


class Numbers(Collector):
    """All that one server counts beside requests and jobs (`metrics`)."""

    def __init__(
        self, services: Services, fanout: Fanout, sockets: SocketServer, throttle: Throttle, pool: PoolTally
    ) -> None:
        self._pool = pool
        self._services = services
        self._fanout = fanout
        self._sockets = sockets
        self._throttle = throttle

    def collect(self) -> Iterator[Metric]:
        """Every family, also of what has not happened yet where its labels are known."""
        yield from self._stream()
        yield from self._store()
        yield from self._connections()
        yield from self._queues()
        yield from self._endings()

    def _stream(self) -> Iterator[Metric]:
        tally, fanout = self._services.lanes.tally, self._fanout
        yield CounterMetricFamily("baton_deltas_in", "Stream events that bridges sent", value=tally.deltas_in)
        yield CounterMetricFamily("baton_deltas_out", "Stream events times their receivers", value=fanout.deltas_out)
        yield CounterMetricFamily("baton_events_out", "Events times their receivers", value=fanout.events_out)
        yield CounterMetricFamily("baton_resyncs", "Browsers that fell behind", value=fanout.resyncs)
        yield _histogram("baton_event_loop_lag_seconds", "How late a timer woke", self._sockets.loop_lag_s)

    def _store(self) -> Iterator[Metric]:
        tally = self._services.lanes.tally
        yield _histogram("baton_flush_frames", "Frames of bridges in one flush", tally.flush_frames)
        yield _histogram("baton_flush_seconds", "From a flush's commit to its last acknowledgement", tally.flush_s)
        yield _histogram("baton_store_write_seconds", "One commit", tally.write_s)
        yield CounterMetricFamily(
            "baton_store_write_failures", "Commits that the store did not take", value=tally.write_failures
        )

    def _connections(self) -> Iterator[Metric]:
        pool = self._pool
        connections = GaugeMetricFamily("baton_store_pool_connections", "Connections to MongoDB", labels=("state",))
        connections.add_metric(["in_use"], pool.in_use)
        connections.add_metric(["idle"], pool.idle)
        yield connections
        yield GaugeMetricFamily("baton_store_pool_waiting", "Operations that wait for one", value=pool.waiting)
        yield _histogram("baton_store_pool_checkout_seconds", "How long operations waited for one", pool.checkout_s)
        failures = CounterMetricFamily("baton_store_pool_failures", "Operations that got none", labels=("reason",))
        for reason in ("timeout", "connection_error", "pool_closed"):
            failures.add_metric([reason], pool.checkout_failures[reason])
        closed = CounterMetricFamily("baton_store_pool_closed", "Connections that were closed", labels=("reason",))
        for reason in ("idle", "stale", "error", "pool_closed"):
            closed.add_metric([reason], pool.closed[reason])
        yield from (failures, closed)
        yield CounterMetricFamily("baton_store_pool_opened", "Connections that were opened", value=pool.opened)
        yield CounterMetricFamily("baton_store_pool_cleared", "Times that the server failed", value=pool.cleared)

    def _queues(self) -> Iterator[Metric]:
        intake = self._services.intake
        backlogs = self._fanout.backlogs_bytes()
        yield GaugeMetricFamily("baton_inbox_frames", "Frames that are not on disk yet", value=intake.waiting_frames)
        yield GaugeMetricFamily("baton_inbox_runs", "Runs that have such frames", value=intake.waiting_runs)
        yield GaugeMetricFamily("baton_backlog_bytes", "Unsent bytes of all browsers", value=sum(backlogs))
        largest = max(backlogs, default=0)
        yield GaugeMetricFamily("baton_backlog_largest_bytes", "Unsent bytes of the slowest browser", value=largest)
        yield GaugeMetricFamily("baton_tasks", "Tasks of the event loop", value=len(asyncio.all_tasks()))

    def _endings(self) -> Iterator[Metric]:
        tally = self._services.lanes.tally
        runs = CounterMetricFamily("baton_runs_ended", "Runs by outcome", labels=("outcome",))
        for outcome in ("completed", "failed", "aborted"):
            runs.add_metric([outcome], tally.runs_ended[outcome])
        prompts = CounterMetricFamily("baton_prompts_ended", "Prompts by outcome", labels=("outcome", "handler"))
        for (outcome, handler), count in sorted(tally.prompts_ended.items()):
            prompts.add_metric([outcome, handler], count)
        refused = CounterMetricFamily("baton_refusals", "Wrong tokens, and refusals by limit", labels=("reason",))
        for reason, count in self._throttle.counts.items():
            refused.add_metric([reason], count)
        yield from (runs, prompts, refused)


def _histogram(name: str, text: str, spread: Spread) -> HistogramMetricFamily:
    bounds = [*(str(bound) for bound in spread.bounds), "+Inf"]
    buckets = list(zip(bounds, map(float, accumulate(spread.counts)), strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=spread.total)
