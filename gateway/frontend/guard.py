"""Which `Host` and `Origin` the gateway answers to: the defence against DNS rebinding, on every endpoint.

An address cannot be rebound, so a literal one is always fine as a Host. A name must be one we know. A browser says
where its page came from; that must be this machine, or a place the configuration names.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from gateway.errors import Forbidden

_LOOPBACK_NAMES: Final = frozenset({"localhost"})


_FORM: Final = re.compile(r"(?:\[[^\]\s]*\]|[^\[\]:/?#@,\s\\]*)(?::\d*)?")
"""`Host`: one name or address, and perhaps a port (RFC 9110, 7.2)."""


class MisdirectedRequest(Forbidden):
    """The Host is not one of ours."""

    status = 421


class Guard:
    """
    Args:
        hosts: names, with or without port, to answer to besides loopback's.
        origins: as browsers write them, e.g. `https://app.example.com`.
    """

    def __init__(self, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._passed: set[str] = set()

    def check(self, host: str | None, origin: str | None) -> None:
        """
        Raises:
            Forbidden: either is not allowed; the message names the setting that would.
        """
        if host is None or (host not in self._passed and not self._is_host(host.lower())):
            raise MisdirectedRequest("This Host is not served here. Add it to gateway.allowed_hosts if it should be.")
        if len(self._passed) < 64:
            self._passed.add(host)
        if origin is not None and not self.is_origin(origin):
            raise Forbidden("This Origin may not use the gateway. Add it to gateway.allowed_origins if it should.")

    def is_origin(self, origin: str) -> bool:
        origin = origin.lower()
        if origin in self._origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:  # a bracket that is not closed, and the like
            return False
        return parts.scheme in ("http", "https") and _is_loopback(parts.hostname or "")

    def _is_host(self, host: str) -> bool:
        if _FORM.fullmatch(host) is None:
            return False
        name = _name(host)
        return host in self._hosts or name in self._hosts or name in _LOOPBACK_NAMES or _is_address(name)


def _name(host: str) -> str:
    """`Host` without its port; an IPv6 address without brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return name in _LOOPBACK_NAMES or (_is_address(name) and ipaddress.ip_address(name).is_loopback)
