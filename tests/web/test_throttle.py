"""Limits of requests, events, connects, uploads and wrong tokens, as they are met from outside."""

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict

from baton.core.errors import RateLimited
from baton.core.limits import Limits
from baton.testing.clock import FakeClock
from baton.web.buckets import MOST_NAMES
from baton.web.guesses import MOST_REMEMBERED
from baton.web.throttle import MOST_TOLD, Throttle
from tests.support.in_process import running_server
from tests.web.rest_stage import LIMITS, Answered, Stage, stage
from tests.web.socket_stage import OTHER_TOKEN, TOKEN, RawSocket, open_stage

SEND = {"requestId": "r", "content": "hi"}


@asynccontextmanager
async def rest_with(path: Path, *, proxies: tuple[str, ...] = (), **limits: int) -> AsyncIterator[Stage]:
    networks = [ip_network(proxy) for proxy in proxies]
    async with stage(path / "baton.sqlite3", limits=replace(LIMITS, **limits), trusted_proxies=networks) as running:
        yield running


def check_refused(answered: Answered, after_s: int) -> None:
    """`rate_limited`, with the same seconds for people and for programs."""
    error = answered.body["error"]
    assert (answered.status, error["code"], error["retryable"]) == (429, "rate_limited", True)
    assert answered.headers["Retry-After"] == str(after_s)
    assert f"try again in {after_s} s" in error["message"]


def socket_request(forwarded_for: str) -> web.Request:
    """A connect through a proxy; no more of a request than is looked at, since thousands are made."""
    headers = CIMultiDict({"X-Forwarded-For": forwarded_for})
    return cast(web.Request, SimpleNamespace(remote="127.0.0.1", headers=headers, path="/socket.io/", query={}))


# --- REST --------------------------------------------------------------------------------------------------------


async def test_more_requests_than_a_credentials_are_refused_until_some_refill(tmp_path: Path) -> None:
    async with rest_with(tmp_path, rest_per_minute=6) as rest:
        assert [(await rest.ask("GET", "/api/me")).status for _ in range(6)] == [200] * 6
        check_refused(await rest.ask("GET", "/api/me"), 10)
        assert (await rest.ask("GET", "/api/me", token="other-token")).status == 200, "others are not met"
        rest.clock.advance(10)
        assert (await rest.ask("GET", "/api/me")).status == 200


async def test_more_requests_than_an_addresss_are_refused_whoever_asks(tmp_path: Path) -> None:
    async with rest_with(tmp_path, rest_per_minute_of_address=6) as rest:
        for token in ("user-token", "other-token", None) * 2:
            assert (await rest.ask("GET", "/api/me", token=token)).status in (200, 401)
        check_refused(await rest.ask("GET", "/api/me", token="admin-token"), 10)
        check_refused(await rest.ask("GET", "/no/such/path", token=None), 10)


async def test_health_is_told_whatever_else_comes_from_the_address(tmp_path: Path) -> None:
    async with rest_with(tmp_path, rest_per_minute_of_address=1) as rest:
        for _ in range(5):
            await rest.ask("GET", "/api/me")
            assert (await rest.ask("GET", "/health/live", token=None)).status == 200


async def test_uploads_have_a_limit_of_their_own(tmp_path: Path) -> None:
    async with rest_with(tmp_path, attachments_per_minute=2) as rest:
        for expected in (201, 201, 429):
            form = aiohttp.FormData()
            form.add_field("file", b"text", filename="a.txt")
            assert (await rest.ask("POST", "/api/attachments", data=form)).status == expected
        assert (await rest.ask("GET", "/api/me")).status == 200


async def test_zero_turns_each_limit_off(tmp_path: Path) -> None:
    async with rest_with(tmp_path, rest_per_minute=0, rest_per_minute_of_address=0, wrong_tokens=0) as rest:
        assert {(await rest.ask("GET", "/api/me")).status for _ in range(100)} == {200}
        assert {(await rest.ask("GET", "/api/me", token=f"w{n}")).status for n in range(100)} == {401}


# --- addresses ---------------------------------------------------------------------------------------------------


async def test_a_forged_address_buys_nothing(tmp_path: Path) -> None:
    async with rest_with(tmp_path, rest_per_minute_of_address=5) as rest:
        statuses = [
            (await rest.ask("GET", "/api/me", headers={"X-Forwarded-For": f"203.0.113.{number}"})).status
            for number in range(10)
        ]
        assert statuses == [200] * 5 + [429] * 5


async def test_behind_a_trusted_proxy_each_address_has_its_own(tmp_path: Path) -> None:
    async with rest_with(tmp_path, proxies=("127.0.0.0/8",), rest_per_minute_of_address=1) as rest:
        for number in range(5):
            headers = {"X-Forwarded-For": f"198.51.100.1, 203.0.113.{number}"}
            assert (await rest.ask("GET", "/api/me", headers=headers)).status == 200
            assert (await rest.ask("GET", "/api/me", headers=headers)).status == 429


def test_thousands_of_addresses_take_bounded_memory(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "baton")  # each address has its line
    throttle = Throttle(Limits(wrong_tokens=1, connects_per_minute=1), FakeClock(), [ip_network("127.0.0.1")])
    for number in range(2 * MOST_NAMES):
        request = socket_request(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        throttle.note_token(request, f"wrong {number}", is_right=False)
        with contextlib.suppress(RateLimited):
            for _ in range(2):
                throttle._check_request(request)
    assert throttle.counts["wrong_token"] == throttle.counts["connects_per_minute"] == 2 * MOST_NAMES
    assert len(throttle._connects) == MOST_NAMES
    assert len(throttle._guesses) == MOST_REMEMBERED
    assert len(throttle._notices) == MOST_TOLD


# --- wrong tokens ------------------------------------------------------------------------------------------------


async def guess(rest: Stage, count: int) -> list[int]:
    """The statuses of so many different wrong tokens."""
    return [(await rest.ask("GET", "/api/me", token=f"guess {number}")).status for number in range(count)]


async def test_guessing_becomes_slow_and_then_slower(tmp_path: Path) -> None:
    async with rest_with(tmp_path, wrong_tokens=3) as rest:
        assert await guess(rest, 5) == [401, 401, 401, 429, 429]
        for wait_s in (1, 2, 4, 8):
            check_refused(await rest.ask("GET", "/api/me", token="next"), wait_s)
            rest.clock.advance(wait_s)
            assert (await rest.ask("GET", "/api/me", token=f"after {wait_s}")).status == 401


async def test_who_was_let_in_stays_in_and_nobody_new_comes_from_there(tmp_path: Path) -> None:
    async with rest_with(tmp_path, wrong_tokens=3) as rest:
        await rest.ask("GET", "/api/me")
        await guess(rest, 10)
        assert (await rest.ask("GET", "/api/me")).status == 200
        check_refused(await rest.ask("GET", "/api/me", token="other-token"), 1)
        check_refused(await rest.ask("POST", "/api/login", token=None, json={"token": "other-token"}), 1)
        assert (await rest.ask("GET", "/?token=other-token", token=None)).status == 429
        assert (await rest.ask("GET", "/api/me", token=None)).code == "unauthenticated", "no token is no guess"


async def test_a_right_token_from_elsewhere_is_never_locked_out(tmp_path: Path) -> None:
    async with rest_with(tmp_path, proxies=("127.0.0.1",), wrong_tokens=3) as rest:
        here, elsewhere = ({"X-Forwarded-For": f"203.0.113.{number}"} for number in (1, 2))
        for number in range(10):
            await rest.ask("GET", "/api/me", token=f"guess {number}", headers=here)
        assert (await rest.ask("GET", "/api/me", headers=here)).status == 429
        assert (await rest.ask("GET", "/api/me", headers=elsewhere)).status == 200


async def test_the_log_tells_of_guesses_once_a_minute_with_their_count_and_never_the_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with rest_with(tmp_path, wrong_tokens=3) as rest:
        with caplog.at_level(logging.WARNING):
            await guess(rest, 10)
            told = [vars(record) for record in caplog.records if record.__dict__.get("action") == "access.slowed"]
            assert [(line["reason"], line["who"], line["count"]) for line in told] == [
                ("wrong_token", "127.0.0.1", 1),
                ("wrong_tokens", "127.0.0.1", 1),
            ]
            caplog.clear()
            rest.clock.advance(60)
            throttle = rest.access.throttle
            await throttle.tell()
            await throttle.tell()
        told = [vars(record) for record in caplog.records]
        assert [(line["reason"], line["count"]) for line in told] == [("wrong_token", 2), ("wrong_tokens", 6)]
        assert "guess" not in str(told)


# --- sockets -----------------------------------------------------------------------------------------------------


async def test_more_commands_than_the_limit_are_refused_in_their_acknowledgement() -> None:
    async with open_stage(limits=Limits(commands_per_minute=6)) as stage:
        raw = await stage.websocket()
        for number in range(6):
            assert (await raw.ask("chat:send-message", SEND | {"requestId": f"r{number}"}))["ok"]
        answer = await raw.ask("chat:send-message", SEND)
        assert answer["error"]["code"] == "rate_limited"
        assert answer["error"]["retryable"]
        assert "try again in 10 s" in answer["error"]["message"]
        assert len(stage.script.asked) == 6, "what is refused is not done"
        stage.clock.advance(10)
        assert (await raw.ask("chat:send-message", SEND))["ok"]


async def test_a_new_socket_is_no_new_allowance_and_others_have_their_own() -> None:
    async with open_stage(limits=Limits(commands_per_minute=1)) as stage:
        for token, is_ok in ((TOKEN, True), (TOKEN, False), (OTHER_TOKEN, True)):
            raw = await stage.websocket(token=token)
            assert (await raw.ask("conversation:create", {}))["ok"] is is_ok


async def test_looking_and_stopping_are_never_refused() -> None:
    async with open_stage(limits=Limits(commands_per_minute=1)) as stage:
        raw = await stage.websocket()
        await raw.ask("conversation:create", {})
        for name, payload in (
            ("chat:abort", {"requestId": "r"}),
            ("bridge:list", {}),
            ("prompt:seen", {"promptId": "6" * 24}),
            ("latency:ping", {"sentAt": "now"}),
        ):
            assert (await raw.ask(name, payload))["ok"], name


async def test_what_is_malformed_is_told_as_such_and_counts_for_nothing() -> None:
    async with open_stage(limits=Limits(commands_per_minute=1)) as stage:
        raw = await stage.websocket()
        for _ in range(5):
            assert (await raw.ask("chat:send-message", {"nonsense": 1}))["error"]["code"] == "invalid_payload"
        assert (await raw.ask("chat:send-message", SEND))["ok"]


async def test_more_connects_than_an_addresss_are_refused_and_polls_are_none() -> None:
    async with open_stage(limits=Limits(connects_per_minute=2)) as stage:
        polling = await stage.polling()
        for _ in range(5):
            await polling.post(polling.event("bridge:list", {}))
            await polling.packets(1)
        await stage.websocket()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await RawSocket.open(stage)
        assert refused.value.status == 429
        assert refused.value.headers is not None
        assert refused.value.headers["Retry-After"] == "30"


async def test_a_guess_of_a_socket_counts_like_any_other() -> None:
    async with open_stage(limits=Limits(wrong_tokens=3)) as stage:
        codes = []
        for number in range(5):
            raw = await RawSocket.open(stage)
            await raw.ws.send_str("40" + json.dumps({"token": f"guess {number}"}))
            packet = await raw.packet()
            assert packet.startswith("44"), packet
            codes.append(json.loads(packet[2:])["data"]["error"]["code"])
            await raw.ws.close()
        assert codes == ["unauthenticated"] * 3 + ["rate_limited"] * 2


# --- bridges, and a whole server ----------------------------------------------------------------------------------


async def bridge_ending(session: aiohttp.ClientSession, url: str, token: str) -> Any:
    """How a bridge that comes with this token is sent away: the status without an upgrade, or the close code."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        socket = await session.ws_connect(f"{url}/bridge", headers=headers, protocols=["baton.bridge.v1"])
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status, "Retry-After" in (refused.headers or {})
    async with socket:
        return (await socket.receive()).data


async def test_a_guessing_bridge_is_refused_before_it_has_a_socket(tmp_path: Path) -> None:
    async with running_server(tmp_path, limits=Limits(wrong_tokens=3)) as running:
        async with aiohttp.ClientSession() as session:
            endings = [await bridge_ending(session, running.url, f"guess-{number}") for number in range(5)]
            assert endings == [4401] * 3 + [(429, True)] * 2
            headers = {"Authorization": f"Bearer {running.token}"}
            async with session.get(f"{running.url}/api/me", headers=headers) as answer:
                assert answer.status == 429
            assert running.server.access.throttle.counts["wrong_token"] == 3


async def test_bridges_that_connect_without_end_are_slowed(tmp_path: Path) -> None:
    async with running_server(tmp_path, limits=Limits(connects_per_minute=2)) as running:
        async with aiohttp.ClientSession() as session:
            endings = [await bridge_ending(session, running.url, "wrong") for _ in range(4)]
            assert endings == [4401] * 2 + [(429, True)] * 2
