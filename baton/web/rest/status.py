"""Routes that tell how the server is: health, metrics, presence, counts, latency, the API's own description."""

import asyncio

from aiohttp import hdrs, web

from baton.schemas import answers
from baton.schemas.codec import iso, to_wire
from baton.schemas.rest import SeriesQuery, SeriesQuerySchema
from baton.web.rest.answers import answer, raw_json
from baton.web.rest.health import DOWN, OK, Health, judge
from baton.web.rest.metrics import CONTENT_TYPE
from baton.web.rest.route import ADMINS, Call, Route


async def _judged(call: Call) -> Health:
    return judge(await call.desk.health(), call.desk.version)


async def health(call: Call) -> web.Response:
    """Also while degraded 200: a platform must not restart what serves."""
    judged = await _judged(call)
    return raw_json(to_wire(judged), status=200 if judged.can_serve else 503)


async def live(call: Call) -> web.Response:
    """The event loop turns: that is all."""
    return raw_json({"status": OK})


async def ready(call: Call) -> web.Response:
    """Whether requests make sense."""
    judged = await _judged(call)
    return raw_json({"status": OK if judged.can_serve else DOWN}, status=200 if judged.can_serve else 503)


async def metrics(call: Call) -> web.Response:
    """Everything, for Prometheus."""
    facts = await call.desk.health()
    text = call.desk.metrics.text(judge(facts, call.desk.version), facts.jobs)
    return web.Response(body=text, headers={hdrs.CONTENT_TYPE: CONTENT_TYPE, hdrs.CACHE_CONTROL: "no-store"})


async def openapi(call: Call) -> web.Response:
    """The description of these very routes."""
    document = await asyncio.to_thread(call.desk.describe)
    return raw_json(dict(document))


async def bridges(call: Call) -> web.Response:
    """Who is there."""
    return answer({"bridges": [to_wire(bridge) for bridge in call.services.bridges.presence()]})


async def stats(call: Call) -> web.Response:
    """How many of what."""
    return answer(to_wire(await call.services.stats.counts(call.who)))


async def series(call: Call) -> web.Response:
    """How much of what, when."""
    query: SeriesQuery = call.query
    span, buckets = await call.services.stats.series(call.who, since=query.since, until=query.until, width=query.bucket)
    return answer(
        {
            "since": iso(span.since),
            "until": iso(span.until),
            "bucket": span.width,
            "buckets": [to_wire(bucket) for bucket in buckets],
        }
    )


async def test_latency(call: Call) -> web.Response:
    """Where the time goes."""
    return answer(to_wire(await call.services.bridges.latency(call.who)))


ROUTES = (
    Route(
        method="GET",
        path="/health",
        handler=health,
        summary="How the server is; 503 when it cannot serve",
        tag="Operation",
        answer=answers.HealthAnswer,
        also_answers=(503,),
        is_public=True,
    ),
    Route(
        method="GET",
        path="/health/live",
        handler=live,
        summary="The process lives",
        tag="Operation",
        answer=answers.ReadinessAnswer,
        is_public=True,
    ),
    Route(
        method="GET",
        path="/health/ready",
        handler=ready,
        summary="The server takes requests; 503 when not",
        tag="Operation",
        answer=answers.ReadinessAnswer,
        also_answers=(503,),
        is_public=True,
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=metrics,
        summary="Numbers for Prometheus",
        tag="Operation",
        produces=("text/plain",),
    ),
    Route(
        method="GET",
        path="/api/openapi.json",
        handler=openapi,
        summary="This description",
        tag="Operation",
        is_public=True,
    ),
    Route(
        method="GET",
        path="/api/bridges",
        handler=bridges,
        summary="Bridges and the agents they offer",
        tag="Operation",
        answer=answers.BridgesAnswer,
    ),
    Route(
        method="GET",
        path="/api/stats",
        handler=stats,
        summary="Counts by status; for admins",
        tag="Operation",
        answer=answers.StatsAnswer,
        roles=ADMINS,
    ),
    Route(
        method="GET",
        path="/api/stats/series",
        handler=series,
        summary="Runs, tokens, cost and prompts over time",
        tag="Operation",
        answer=answers.SeriesAnswer,
        query=SeriesQuerySchema,
        roles=ADMINS,
    ),
    Route(
        method="POST",
        path="/api/chat/test-latency",
        handler=test_latency,
        summary="Measure store, bridge and event loop now",
        tag="Operation",
        answer=answers.LatencyAnswer,
    ),
)
