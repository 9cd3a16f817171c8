"""Where the gateway's own requests may go: never to a network that somebody else chose for it.

For URLs that come from outside (an issuer's metadata, its keys), not for the upstreams, which the owner of the gateway
configures. A host name is resolved once, every address it has is judged, and the connection is made to one of exactly
these addresses (`egress_transport`): a name that resolves differently the next time cannot lead it elsewhere.
"""

import functools
import ssl
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from socket import gaierror, inet_aton
from typing import Final

from gateway.names import resolver

Address = IPv4Address | IPv6Address

Resolve = Callable[[str, int], Awaitable[Collection[str]]]
"""`(host, port)` → its addresses, best first. Raises OSError if there are none."""

METADATA: Final = frozenset(
    map(ip_address, ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"))
)
"""Where clouds serve a machine's own credentials, outside 169.254.0.0/16, which is refused as a whole."""

PRIVATE: Final = tuple(
    map(
        ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7"),
    )
)
"""This machine, and the networks behind somebody's router (RFC 1918, 4193, 6598)."""

GLOBAL_IPV6: Final = IPv6Network("2000::/3")
NAT64: Final = IPv6Network("64:ff9b::/96")
"""IPv4 as seen from a network without it (RFC 6052); the last 32 bits decide."""


class EgressRefused(Exception):
    """The request would go where it must not; the message says why."""


class UnfitBody(Exception):
    """What an answer carries is not taken; the message says why, in words that may follow its URL."""


def refusal(address: Address, *, private: bool = False) -> str:
    """Why no connection may be made to an address; empty if it may.

    Args:
        private: whether `PRIVATE` is fine. What no server of ours can have (multicast, link-local, a cloud's metadata
            service, IPv4 dressed up as IPv6) never is.
    """
    if isinstance(address, IPv6Address):
        if address in NAT64:
            return refusal(IPv4Address(int(address) & 0xFFFF_FFFF))
        if address.ipv4_mapped or address.sixtofour or address.teredo:
            return "an IPv4 address inside an IPv6 address"
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_link_local or address in METADATA:
        return "link-local, or a cloud's metadata service"
    if any(address in network for network in PRIVATE):
        return "" if private else "an address of this machine or of a private network"
    public = address.is_global and not address.is_multicast
    if not public or (isinstance(address, IPv6Address) and address not in GLOBAL_IPV6):
        return "not the address of one machine on the internet"
    return ""


async def resolve(host: str, port: int) -> Collection[str]:
    """The addresses of a host, as the system's resolver says."""
    return await resolver().addresses(host)


async def addresses(host: str, port: int, *, private: bool = False, lookup: Resolve = resolve) -> tuple[Address, ...]:
    """Resolve a host, once, to addresses that all may be connected to, best first.

    Raises:
        EgressRefused: one of them may not; or the host is an IP address in a spelling that programs read differently
            (`0177.1`, `2130706433`, a zone).
        OSError: it has none.
    """
    literal = _literal(host)
    found = (literal,) if literal else tuple(map(_plain, await lookup(host, port)))
    for address in found:
        reason = refusal(address, private=private)
        if reason:
            raise EgressRefused(f"{host} is {reason}" if literal else f"{host} resolves to {address}: {reason}")
    if not found:
        raise gaierror(f"{host} has no address")
    return found


def _literal(host: str) -> Address | None:
    """The address that a host is, or None if it is a name."""
    with suppress(ValueError):
        return _plain(host)
    with suppress(OSError):
        inet_aton(host)
        raise EgressRefused(f"{host} is an IP address in an unusual spelling")
    if ":" in host or "%" in host:
        raise EgressRefused(f"{host} is not a host name")
    return None


def _plain(text: str) -> Address:
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise EgressRefused(f"{text} belongs to one network interface")
    return address


@functools.cache
def system_tls() -> ssl.SSLContext:
    """The system's certificate authorities. One for all: reading them takes tens of milliseconds."""
    return ssl.create_default_context()
