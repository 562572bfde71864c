"""Numbers for Prometheus, in a registry of their own per app: two apps can live in one process."""

from collections.abc import Iterator, Sequence
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from baton.web.rest.health import Health, JobFacts

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class _JobCollector(Collector):
    """What jobs count themselves, as it stands when somebody asks."""

    def __init__(self) -> None:
        self.facts: Sequence[JobFacts] = ()

    def collect(self) -> Iterator[Metric]:
        """One family for each number, with the job as its label."""
        runs = CounterMetricFamily("baton_job_runs", "Rounds that have begun", labels=("job",))
        failures = CounterMetricFamily("baton_job_failures", "Rounds that have failed", labels=("job",))
        success = GaugeMetricFamily(
            "baton_job_last_success_timestamp_seconds", "End of the last round that worked", labels=("job",)
        )
        duration = GaugeMetricFamily("baton_job_last_duration_seconds", "Of the last round", labels=("job",))
        for job in self.facts:
            runs.add_metric([job.name], job.runs)
            failures.add_metric([job.name], job.failures)
            if job.last_success_at is not None:
                success.add_metric([job.name], job.last_success_at.timestamp())
            if job.last_duration_s is not None:
                duration.add_metric([job.name], job.last_duration_s)
        yield from (runs, failures, success, duration)


class Metrics:
    """Counts requests as they are answered; everything else is read off `Health` when somebody asks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ("method", "route", "status")
        self._requests = Counter("baton_http_requests", "Requests answered", labels, registry=self.registry)
        self._seconds = Histogram(
            "baton_http_request_seconds",
            "Time from a request's headers to its answer's end",
            ("method", "route"),
            registry=self.registry,
            buckets=_BUCKETS_S,
        )
        self._up = Gauge("baton_up", "1: can serve", registry=self.registry)
        self._uptime = Gauge("baton_uptime_seconds", "Since the start", registry=self.registry)
        self._connected = Gauge("baton_connections", "Connected now", ("kind",), registry=self.registry)
        self._runs = Gauge("baton_runs", "Runs that have not ended", ("state",), registry=self.registry)
        self._prompts = Gauge("baton_prompts_pending", "Prompts that wait", registry=self.registry)
        self._parts = Gauge("baton_service_up", "1: ok", ("service",), registry=self.registry)
        self._jobs = _JobCollector()
        self.registry.register(self._jobs)

    def middleware(self) -> Middleware:
        """Counts each request under its route's pattern, never under its path: those are without end."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            if hdrs.UPGRADE in request.headers:
                return await handler(request)  # a socket lives for hours: it is no request
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "none"
            method = request.method if request.method in hdrs.METH_ALL else "other"
            with self._seconds.labels(method, route).time():
                response = await handler(request)
            self._requests.labels(method, route, response.status).inc()
            return response

        return count

    def text(self, health: Health, jobs: Sequence[JobFacts]) -> bytes:
        """Everything in Prometheus' text format."""
        self._jobs.facts = jobs
        self._up.set(health.can_serve)
        self._uptime.set(health.uptime_s)
        self._prompts.set(health.prompts.pending)
        for kind in ("sockets", "conversations", "bridges"):
            self._connected.labels(kind).set(getattr(health.connections, kind))
        for state in ("active", "queued", "away", "stuck"):
            self._runs.labels(state).set(getattr(health.runs, state))
        for service in ("store", "bridge", "jobs", "frontend"):
            self._parts.labels(service).set(getattr(health.services, service) == "ok")
        return generate_latest(self.registry)
