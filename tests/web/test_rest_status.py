"""Health, metrics, presence, counts, login, the status page and the description of the API."""

import re
from typing import Any

import pytest
from openapi_spec_validator import validate

from baton.testing import samples
from baton.web.rest.health import JobFacts, judge
from baton.web.rest.openapi import operation_id
from baton.web.rest.table import ROUTES
from tests.web.rest_stage import Stage, facts

# --- health ------------------------------------------------------------------------------------------------------


async def test_health_has_exactly_the_promised_fields(rest: Stage) -> None:
    rest.facts = facts(sockets=3, conversations=2, active=1, queued=4, away=1, pending_prompts=5)
    answered = await rest.ask("GET", "/health", token=None)
    assert answered.headers["Server"] == "Baton", "and not which versions of what"
    assert answered.body == {
        "status": "ok",
        "version": "1.2.3",
        "uptimeS": 12.5,
        "connections": {"sockets": 3, "conversations": 2, "bridges": 1},
        "services": {"store": "ok", "bridge": "ok", "jobs": "ok", "frontend": "ok"},
        "runs": {"active": 1, "queued": 4, "away": 1, "stuck": 0},
        "prompts": {"pending": 5},
    }


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "ok"),
        ({"bridges": 0}, "degraded"),
        ({"are_jobs_ok": False}, "degraded"),
        ({"job_troubles": ("sweep has ended",)}, "degraded"),
        ({"stuck": 1}, "degraded"),
        ({"is_store_ok": False}, "down"),
        ({"is_ready": False}, "down"),
        ({"is_store_ok": False, "bridges": 0}, "down"),
    ],
)
def test_health_is_judged_from_its_facts(changes: dict[str, Any], status: str) -> None:
    assert judge(facts(**changes), "1").status == status


async def test_a_job_in_trouble_is_named(rest: Stage) -> None:
    rest.facts = facts(job_troubles=("clean-up failed 3 times in a row", "lease is 80 s late"))
    answered = await rest.ask("GET", "/health", token=None)
    assert answered.status == 200
    assert answered.body["services"]["jobs"] == "degraded: clean-up failed 3 times in a row; lease is 80 s late"


async def test_jobs_that_are_not_under_way_are_down_whatever_they_were(rest: Stage) -> None:
    rest.facts = facts(are_jobs_ok=False, job_troubles=("flush has ended",))
    assert (await rest.ask("GET", "/health", token=None)).body["services"]["jobs"] == "down"


async def test_metrics_tell_of_each_job(rest: Stage) -> None:
    done = JobFacts(name="clean-up", runs=7, failures=2, last_success_at=samples.START, last_duration_s=0.25)
    lasting = JobFacts(name="flush", runs=1, failures=0, last_success_at=None, last_duration_s=None)
    rest.facts = facts(jobs=(done, lasting))
    for _ in range(2):
        text = (await rest.ask("GET", "/metrics")).content.decode()
    assert 'baton_job_runs_total{job="clean-up"} 7.0' in text
    assert 'baton_job_failures_total{job="clean-up"} 2.0' in text
    assert 'baton_job_last_duration_seconds{job="clean-up"} 0.25' in text
    (line,) = [line for line in text.splitlines() if line.startswith("baton_job_last_success_timestamp_seconds{")]
    assert float(line.split()[-1]) == samples.START.timestamp()
    assert 'baton_job_runs_total{job="flush"} 1.0' in text


async def test_a_platform_is_told_by_the_status_whether_to_send_requests(rest: Stage) -> None:
    for rest.facts, expected in ((facts(), 200), (facts(bridges=0), 200), (facts(is_store_ok=False), 503)):
        assert (await rest.ask("GET", "/health", token=None)).status == expected
        assert (await rest.ask("GET", "/health/ready", token=None)).status == expected
        assert (await rest.ask("GET", "/health/live", token=None)).status == 200


async def test_metrics_are_prometheus_text_and_count_routes_not_paths(rest: Stage) -> None:
    await rest.conversation()
    await rest.ask("GET", "/api/projects/nonsense")
    await rest.ask("GET", "/no/such/path")
    answered = await rest.ask("GET", "/metrics")
    text = answered.content.decode()
    assert answered.headers["Content-Type"].startswith("text/plain")
    assert "baton_up 1.0" in text
    assert 'baton_service_up{service="store"} 1.0' in text
    assert 'baton_http_requests_total{method="GET",route="/api/projects/{projectId}",status="404"} 1.0' in text
    assert 'baton_http_requests_total{method="GET",route="none",status="404"} 1.0' in text
    assert "nonsense" not in text
    assert "/no/such/path" not in text


async def test_metrics_are_not_public(rest: Stage) -> None:
    assert (await rest.ask("GET", "/metrics", token=None)).code == "unauthenticated"


async def test_bridges_counts_and_latency_are_told(rest: Stage) -> None:
    await rest.send(await rest.conversation())
    assert [bridge["id"] for bridge in (await rest.get("/api/bridges"))["bridges"]] == ["local"]
    assert (await rest.get("/api/stats", token="admin-token"))["conversations"] == {"active": 1}
    latency = (await rest.ask("POST", "/api/chat/test-latency")).body
    assert set(latency) == {"ok", "storeWriteMs", "storeReadMs", "bridgeRoundTripMs", "loopLagMs"}
    rest.bridge.connected = False
    assert (await rest.ask("POST", "/api/chat/test-latency")).body["bridgeRoundTripMs"] is None


async def test_a_series_tells_of_every_bucket_what_ended_in_it(rest: Stage) -> None:
    sent = await rest.send(await rest.conversation(), requestId="r1")
    await rest.agent_says(sent["requestId"], "Fine.")
    told = await rest.get("/api/stats/series", token="admin-token")
    assert told["bucket"] == "hour"
    assert len(told["buckets"]) == 24
    assert [bucket["runs"] for bucket in told["buckets"]] == [{}] * 23 + [{"completed": 1}]
    days = await rest.get(f"/api/stats/series?bucket=day&since={told['since']}", token="admin-token")
    assert days["since"] == told["since"]
    assert sum(bucket["runs"].get("completed", 0) for bucket in days["buckets"]) == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("bucket=minute", "bucket"),
        ("since=yesterday", "since"),
        ("since=2026-01-01T00:00:00", "since"),
        ("since=2020-01-01T00:00:00Z", "since"),
        ("until=9999-12-31T23:59:59Z", "until"),
        ("since=0001-01-01T00:00:00Z&until=0001-01-01T00:00:00Z", "since"),
        ("from=x", "from"),
    ],
)
async def test_a_series_that_cannot_be_is_refused_with_the_field(rest: Stage, query: str, field: str) -> None:
    refused = await rest.ask("GET", f"/api/stats/series?{query}", token="admin-token")
    assert (refused.status, refused.code) == (400, "invalid_payload")
    assert list(refused.body["error"]["fields"]) == [field]


# --- login ---------------------------------------------------------------------------------------------------------


async def test_a_login_is_a_cookie_that_scripts_cannot_read(rest: Stage) -> None:
    answered = await rest.ask("POST", "/api/login", json={"token": "user-token"}, token=None)
    assert answered.body == {"ok": True, "userId": "anna", "role": "user"}
    cookie = answered.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert (await rest.get("/api/me", token=None))["userId"] == "anna"


async def test_a_logout_takes_the_cookie_back(rest: Stage) -> None:
    await rest.ask("POST", "/api/login", json={"token": "user-token"}, token=None)
    await rest.ask("POST", "/api/logout", token=None)
    assert (await rest.ask("GET", "/api/me", token=None)).code == "unauthenticated"


async def test_a_wrong_token_gives_no_cookie(rest: Stage) -> None:
    for token, code in (("wrong", "unauthenticated"), ("bridge-token", "forbidden")):
        answered = await rest.ask("POST", "/api/login", json={"token": token}, token=None)
        assert answered.code == code
        assert "Set-Cookie" not in answered.headers


# --- the page --------------------------------------------------------------------------------------------------------


async def test_the_page_comes_without_a_login_and_runs_nothing_inline(rest: Stage) -> None:
    page = await rest.ask("GET", "/", token=None)
    html = page.content.decode()
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<style|style=|\son\w+=|<script>|javascript:|https?://", html)


async def test_every_file_that_the_page_names_is_served(rest: Stage) -> None:
    html = (await rest.ask("GET", "/", token=None)).content.decode()
    named = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)
    assert len(named) >= 3
    for path in named:
        file = await rest.ask("GET", path, token=None)
        assert (file.status, file.headers["X-Content-Type-Options"]) == (200, "nosniff"), path


async def test_a_file_that_the_browser_has_is_not_sent_again(rest: Stage) -> None:
    first = await rest.ask("GET", "/static/status.js", token=None)
    headers = {"If-None-Match": first.headers["ETag"]}
    assert (await rest.ask("GET", "/static/status.js", token=None, headers=headers)).status == 304


async def test_nothing_but_the_pages_own_files_is_served(rest: Stage) -> None:
    for name in ("secret", "..%2F__init__.py", "%2e%2e%2faccess.py", "index.html%00.css"):
        assert (await rest.ask("GET", f"/static/{name}", token=None)).code == "not_found", name


async def test_the_printed_link_logs_in_and_leaves_no_token_behind(rest: Stage) -> None:
    answered = await rest.ask("GET", "/?token=user-token", token=None)
    assert (answered.status, answered.headers["Location"]) == (303, "/")
    assert answered.headers["Cache-Control"] == "no-store"
    assert (await rest.get("/api/me", token=None))["userId"] == "anna"


async def test_a_link_with_a_wrong_token_logs_nobody_in(rest: Stage) -> None:
    for token in ("wrong", "bridge-token", ""):
        answered = await rest.ask("GET", f"/?token={token}", token=None)
        assert (answered.status, answered.headers["Location"]) == (303, "/#token-refused"), token
        assert "Set-Cookie" not in answered.headers


async def test_a_link_that_lost_its_token_logs_nobody_out(rest: Stage) -> None:
    await rest.ask("GET", "/?token=user-token", token=None)
    await rest.ask("GET", "/?token=", token=None)
    assert (await rest.get("/api/me", token=None))["userId"] == "anna"


# --- OpenAPI ---------------------------------------------------------------------------------------------------------


async def test_the_description_is_valid_openapi(rest: Stage) -> None:
    document = await rest.get("/api/openapi.json", token=None)
    validate(document)
    assert document["info"]["version"] == "1.2.3"


async def test_every_route_of_the_app_is_described_and_nothing_else(rest: Stage) -> None:
    document = await rest.get("/api/openapi.json", token=None)
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    served = {
        (route.method, route.resource.canonical)
        for route in rest.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert served - described == {("GET", "/"), ("GET", "/static/{name}")}
    assert described <= served


def test_operations_have_names_of_their_own() -> None:
    names = [operation_id(route) for route in ROUTES]
    assert len(set(names)) == len(names)


async def test_what_the_path_gives_is_not_asked_for_in_the_body(rest: Stage) -> None:
    document = await rest.get("/api/openapi.json", token=None)
    body = document["paths"]["/api/chat/conversations/{conversationId}/messages"]["post"]["requestBody"]
    properties = body["content"]["application/json"]["schema"]["properties"]
    assert "conversationId" not in properties
    assert properties["content"]["type"] == "string"


def test_only_what_must_be_is_public() -> None:
    public = {route.path for route in ROUTES if route.is_public}
    assert public == {
        "/health",
        "/health/live",
        "/health/ready",
        "/api/openapi.json",
        "/api/login",
        "/api/logout",
    }
