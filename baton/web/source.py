"""Where a request comes from: its address, also behind a proxy, and the credential in its headers.

What a client writes into X-Forwarded-For is worth nothing unless a proxy that the owner trusts has added to it.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

from aiohttp import hdrs, web

Network: TypeAlias = IPv4Network | IPv6Network
_Address: TypeAlias = IPv4Address | IPv6Address

_IPV6_PREFIX_BITS: Final = 64
"""What one customer gets: who has one IPv6 address has so many that counting them singly would count nothing."""


class Addresses:
    """Tells addresses. `trusted`: the proxies whose X-Forwarded-For is believed."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def of(self, request: web.BaseRequest) -> str:
        """Who came, for counting: an IPv4 address, or the first 64 bits of an IPv6 one. Never raises.

        It is the socket's peer; where that is a trusted proxy, the last address of X-Forwarded-For that is none.
        An entry that is no address ends the search at the proxy that let it pass.
        """
        peer = request.remote or ""
        address = _parsed(peer)
        if address is None:
            return peer
        if self._trusted and self._is_trusted(address):
            address = self._forwarded(request, address)
        return _counted(address)

    def _forwarded(self, request: web.BaseRequest, proxy: _Address) -> _Address:
        told = ",".join(request.headers.getall(hdrs.X_FORWARDED_FOR, ())).split(",")
        address = proxy
        for entry in reversed(told):
            behind = _parsed(_without_port(entry.strip()))
            if behind is None:
                return address
            address = behind
            if not self._is_trusted(address):
                return address
        return address

    def _is_trusted(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted)


def bearer(header: str | None) -> str | None:
    """The token of an Authorization header; a header of another kind counts as none."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _parsed(text: str) -> _Address | None:
    """The address; one of IPv4 that came in IPv6's clothes is one of IPv4."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _without_port(text: str) -> str:
    """`1.2.3.4:5` and `[::1]:5` are written too."""
    if text.startswith("["):
        inside, closed, _ = text[1:].partition("]")
        return inside if closed else ""
    return text.partition(":")[0] if text.count(":") == 1 else text


def _counted(address: _Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    network = IPv6Network((address, _IPV6_PREFIX_BITS), strict=False)
    return str(network)
