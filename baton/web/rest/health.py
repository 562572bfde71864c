"""Whether the server can serve: judged from a few cheap facts, told to people, platforms and metrics."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

OK: Final = "ok"
DEGRADED: Final = "degraded"
DOWN: Final = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """One job since the start of the process."""

    name: str
    runs: int
    failures: int
    last_success_at: datetime | None
    """None: it had none yet, or lasts as long as the server."""
    last_duration_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFacts:
    """What the running app knows about itself without asking anybody."""

    uptime_s: float
    is_store_ok: bool
    """The last write or read worked, and the lease is ours."""
    are_jobs_ok: bool = True
    """They are under way at all."""
    job_troubles: tuple[str, ...] = ()
    """In words that name the job; told to everybody who asks, so never an error's text."""
    jobs: tuple[JobFacts, ...] = ()
    is_ready: bool = True
    """Recovery is done and the server is not draining."""
    sockets: int = 0
    conversations: int = 0
    """Watched ones."""
    bridges: int = 0
    active: int = 0
    queued: int = 0
    away: int = 0
    stuck: int = 0
    pending_prompts: int = 0


HealthProbe = Callable[[], Awaitable[HealthFacts]]
"""Given by the app. At most some milliseconds; must not raise for a store that is down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """How many are connected, and how many conversations are watched."""

    sockets: int
    conversations: int
    bridges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """`ok` or `down` for each part; jobs can be `degraded: ` and what is wrong with which."""

    store: str
    bridge: str
    jobs: str
    frontend: str = OK
    """The page is served by the very process that answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRuns:
    """Runs that have not ended."""

    active: int
    queued: int
    away: int
    stuck: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPrompts:
    """Prompts that wait for a person."""

    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`GET /health`, as it is sent."""

    status: str
    version: str
    uptime_s: float
    connections: Connections
    services: Parts
    runs: OpenRuns
    prompts: OpenPrompts

    @property
    def can_serve(self) -> bool:
        """Whether requests make sense: also while degraded."""
        return self.status != DOWN


def judge(facts: HealthFacts, version: str) -> Health:
    """Down without its store or while it is not ready; degraded without a bridge, jobs, or with stuck runs."""
    if not (facts.is_store_ok and facts.is_ready):
        status = DOWN
    else:
        status = OK if facts.bridges and _jobs(facts) == OK and not facts.stuck else DEGRADED
    return Health(
        status=status,
        version=version,
        uptime_s=round(facts.uptime_s, 3),
        connections=Connections(sockets=facts.sockets, conversations=facts.conversations, bridges=facts.bridges),
        services=Parts(store=_said(facts.is_store_ok), bridge=_said(facts.bridges > 0), jobs=_jobs(facts)),
        runs=OpenRuns(active=facts.active, queued=facts.queued, away=facts.away, stuck=facts.stuck),
        prompts=OpenPrompts(pending=facts.pending_prompts),
    )


def _jobs(facts: HealthFacts) -> str:
    if facts.are_jobs_ok and facts.job_troubles:
        return f"{DEGRADED}: {'; '.join(facts.job_troubles)}"
    return _said(facts.are_jobs_ok)


def _said(is_ok: bool) -> str:
    return OK if is_ok else DOWN
