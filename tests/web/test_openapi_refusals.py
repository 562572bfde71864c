"""What OpenAPI says about refusals is true of every route: no credential, from elsewhere, too often."""

from pathlib import Path
from typing import Any

from baton.core.limits import Limits
from baton.web.rest.route import Route
from baton.web.rest.table import ROUTES
from tests.web.rest_stage import LIMITS, Stage, stage
from tests.web.test_error_shape import body_of, path_of


async def described(rest: Stage) -> Any:
    """The paths of the document."""
    return (await rest.get("/api/openapi.json", token=None))["paths"]


def says(paths: Any, route: Route, status: int) -> bool:
    return str(status) in paths[route.path][route.method.lower()]["responses"]


async def test_who_has_no_credential_gets_401_where_the_document_says_so_and_only_there(rest: Stage) -> None:
    paths = await described(rest)
    for route in ROUTES:
        body = {"json": {"token": "wrong"}} if route.path == "/api/login" else body_of(route)
        answered = await rest.ask(route.method, path_of(route), token=None, **body)
        assert (answered.status == 401) is says(paths, route, 401), route.path


async def test_who_comes_from_elsewhere_gets_403_everywhere_as_the_document_says(rest: Stage) -> None:
    paths = await described(rest)
    for route in ROUTES:
        for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
            async with rest.session.request(route.method, rest.url + path_of(route), headers=headers) as answered:
                assert answered.status == 403
        assert says(paths, route, 403)


async def test_who_asks_too_much_gets_429_with_its_time_where_the_document_says_so(tmp_path: Path) -> None:
    limits = Limits(payload_max_bytes=LIMITS.payload_max_bytes, rest_per_minute_of_address=1)
    async with stage(tmp_path / "baton.sqlite3", limits=limits) as rest:
        paths = await described(rest)
        for route in ROUTES:
            answered = await rest.ask(route.method, path_of(route), **body_of(route))
            is_limited = answered.status == 429
            assert is_limited is says(paths, route, 429), route.path
            if is_limited:
                assert int(answered.headers["Retry-After"]) >= 1
                responses = paths[route.path][route.method.lower()]["responses"]
                assert "Retry-After" in responses["429"]["headers"]
