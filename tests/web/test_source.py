"""Whose address a request counts for: what a client forges must not count."""

from ipaddress import ip_network

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from baton.web.source import Addresses

PROXIES = [ip_network("10.0.0.0/8"), ip_network("::1")]


def address(peer: str | None, *forwarded: str, trusted: bool = True) -> str:
    """Of a request from `peer` with these X-Forwarded-For headers."""
    headers = CIMultiDict([("X-Forwarded-For", value) for value in forwarded])
    request = make_mocked_request("GET", "/", headers=headers).clone(remote=peer)
    return Addresses(PROXIES if trusted else ()).of(request)


def test_without_a_trusted_proxy_it_is_the_peers() -> None:
    assert address("10.0.0.1", "203.0.113.9", trusted=False) == "10.0.0.1"


def test_who_is_no_trusted_proxy_may_write_what_he_likes() -> None:
    assert address("198.51.100.7", "203.0.113.9", "10.0.0.3") == "198.51.100.7"


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        (("203.0.113.9",), "203.0.113.9"),
        (("1.1.1.1, 203.0.113.9",), "203.0.113.9"),
        (("1.1.1.1", "203.0.113.9, 10.0.0.3"), "203.0.113.9"),
        (("203.0.113.9:4711",), "203.0.113.9"),
        (("[2001:db8:1:2:3::4]:80",), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::",), "2001:db8:1:2::/64"),
        (("::ffff:203.0.113.9",), "203.0.113.9"),
        (("10.0.0.8, 10.0.0.3",), "10.0.0.8"),
    ],
    ids=str,
)
def test_behind_one_it_is_the_last_that_is_none(forwarded: tuple[str, ...], expected: str) -> None:
    assert address("10.0.0.1", *forwarded) == expected


@pytest.mark.parametrize(
    "forged", ["", ",", "unknown", "' OR 1=1", "999.1.1.1", "1.1.1.1,", "1.1.1.1, _hidden", "," * 4000, "[", "[::"]
)
def test_what_is_no_address_counts_for_the_proxy_that_let_it_pass(forged: str) -> None:
    assert address("10.0.0.1", forged) == "10.0.0.1"
    assert address("10.0.0.1", f"1.1.1.1, {forged}, 10.0.0.5") == "10.0.0.5"


def test_all_of_one_customers_ipv6_addresses_are_one() -> None:
    assert {address(f"2001:db8:1:2::{number:x}") for number in range(100)} == {"2001:db8:1:2::/64"}
    assert address("fe80::1%eth0") == "fe80::/64"


def test_a_socket_without_an_address_is_no_error() -> None:
    assert address("/run/baton.sock") == "/run/baton.sock"
