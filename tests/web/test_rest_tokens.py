"""/api/tokens: what admins make, see and revoke."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.rest_stage import Stage, stage


@pytest.fixture
async def rest(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path / "baton.sqlite3") as running:
        yield running


async def made(rest: Stage, **body: Any) -> Any:
    answered = await rest.ask("POST", "/api/tokens", token="admin-token", json={"role": "user", **body})
    assert answered.status == 201, answered.content
    return answered.body


async def test_a_token_is_made_told_once_listed_and_revoked(rest: Stage) -> None:
    new = await made(rest, name="Anna's phone", role="bridge", expiresInDays=30)
    assert new["secret"].startswith("baton_")
    assert (new["token"]["name"], new["token"]["role"], new["token"]["createdBy"]) == ("Anna's phone", "bridge", "root")
    assert new["token"]["expiresAt"] > new["token"]["createdAt"]

    listed = await rest.ask("GET", "/api/tokens", token="admin-token")
    assert listed.body["tokens"] == [new["token"]]
    assert new["secret"].encode() not in listed.content
    assert b"digest" not in listed.content

    path = f"/api/tokens/{new['token']['id']}"
    revoked = await rest.ask("DELETE", path, token="admin-token")
    assert revoked.body["token"] == {**new["token"], "revokedAt": revoked.body["token"]["revokedAt"]}
    assert revoked.body["token"]["revokedAt"] is not None
    assert (await rest.ask("DELETE", path, token="admin-token")).body == revoked.body


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "user"}, "name"),
        ({"name": " ", "role": "user"}, "name"),
        ({"name": "x" * 101, "role": "user"}, "name"),
        ({"name": "\x1b[2J", "role": "user"}, "name"),
        ({"name": "two\nlines", "role": "user"}, "name"),
        ({"name": "admin", "role": "user"}, "name"),
        ({"name": 7, "role": "user"}, "name"),
        ({"name": "x"}, "role"),
        ({"name": "x", "role": "root"}, "role"),
        ({"name": "x", "role": "user", "expiresInDays": 0}, "expiresInDays"),
        ({"name": "x", "role": "user", "expiresInDays": 3651}, "expiresInDays"),
        ({"name": "x", "role": "user", "expiresInDays": "1"}, "expiresInDays"),
        ({"name": "x", "role": "user", "expiresInDays": 1.5}, "expiresInDays"),
        ({"name": "x", "role": "user", "digest": "0" * 64}, "digest"),
        ({"name": "x", "role": "user", "bridgeId": "b"}, "bridgeId"),
    ],
    ids=str,
)
async def test_a_wrong_body_is_refused_field_by_field(rest: Stage, body: Any, field: str) -> None:
    answered = await rest.ask("POST", "/api/tokens", token="admin-token", json=body)
    assert (answered.status, answered.code) == (400, "invalid_payload")
    assert set(answered.body["error"]["fields"]) == {field}
    assert (await rest.ask("GET", "/api/tokens", token="admin-token")).body["tokens"] == []


async def test_a_name_that_is_taken_is_a_conflict(rest: Stage) -> None:
    await made(rest, name="anna")
    answered = await rest.ask("POST", "/api/tokens", token="admin-token", json={"name": "Anna", "role": "user"})
    assert (answered.status, answered.code) == (409, "conflict")


@pytest.mark.parametrize("token_id", ["9" * 24, "nonsense", "anna"])
async def test_an_unknown_token_is_not_found(rest: Stage, token_id: str) -> None:
    answered = await rest.ask("DELETE", f"/api/tokens/{token_id}", token="admin-token")
    assert (answered.status, answered.code) == (404, "not_found")
