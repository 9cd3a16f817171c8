"""Where a request came from: the address of its connection, or what a proxy that we trust says of it. Pure."""

import ipaddress
from collections.abc import Iterable
from typing import Final

import structlog

log = structlog.stdlib.get_logger("gateway.access")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_HOPS: Final = 32
"""Most proxies that are looked behind."""


class TrustedProxies:
    """
    Args:
        networks: addresses, or networks such as `10.0.0.0/8`.

    Raises:
        ValueError: one of them is neither.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(each, strict=False) for each in networks]
        self._has_warned = False

    def origin(self, peer: str, forwarded_for: str | None) -> str:
        """The address that a request came from: the last one on its way that is no proxy of ours. Whoever sent it can
        have written what stands before that.

        Args:
            peer: at the other end of the connection.
            forwarded_for: `X-Forwarded-For`, all of them.
        """
        if not forwarded_for:
            return peer
        address = _parse(peer)
        if address is None or not self._trusts(address):
            self._warn(address)
            return peer
        for hop in reversed(forwarded_for.split(",")[-MAX_HOPS:]):
            further = _parse(hop.strip())
            if further is None:
                break
            address = further
            if not self._trusts(address):
                break
        return str(address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _warn(self, peer: Address | None) -> None:
        """A proxy that nobody named makes all its clients look like one."""
        if not self._has_warned and not self._networks and peer is not None and peer.is_private:
            self._has_warned = True
            log.warning(
                "X-Forwarded-For is not believed: if a proxy of yours sends it, name that in gateway.trusted_proxies",
                peer=str(peer),
            )


def _parse(text: str) -> Address | None:
    """An address with or without a port, as proxies write it; one of IPv4 in IPv6's clothes is of IPv4."""
    host = text[1:].partition("]")[0] if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address
