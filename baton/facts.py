"""What /health and /metrics are judged from, gathered from the parts of a running server."""

from baton.jobs import JobRecord, Jobs
from baton.services.catalog import Services
from baton.services.silence import SILENT
from baton.web.fanout import Fanout
from baton.web.rest.health import HealthFacts, JobFacts


def health_facts(services: Services, fanout: Fanout, jobs: Jobs, *, uptime_s: float, is_ready: bool) -> HealthFacts:
    """As of now; touches no store. `is_ready`: requests are let in."""
    runs = [live.run for live in services.lanes.open_runs()]
    return HealthFacts(
        uptime_s=round(uptime_s, 1),
        is_store_ok=services.lanes.writes.is_ok,
        are_jobs_ok=jobs.is_running,
        job_troubles=jobs.troubles(),
        jobs=tuple(_facts_of(record) for record in jobs.records),
        is_ready=is_ready,
        sockets=fanout.socket_count,
        conversations=fanout.conversation_count,
        bridges=sum(bridge.connected for bridge in services.bridges.presence()),
        active=sum(run.status not in ("queued",) for run in runs),
        queued=sum(run.status == "queued" for run in runs),
        away=sum(run.away for run in runs),
        stuck=sum(run.status in SILENT and run.deadline_at is not None and not run.away for run in runs),
        pending_prompts=len(services.lanes.pending_prompts()),
    )


def _facts_of(record: JobRecord) -> JobFacts:
    return JobFacts(
        name=record.name,
        runs=record.runs,
        failures=record.failures,
        last_success_at=record.last_success_at,
        last_duration_s=record.last_duration_s,
    )
