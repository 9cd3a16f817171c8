"""The keep-alive connections to one origin: who may have one, which are reused, and when idle ones are closed."""

import asyncio
import functools
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import anyio

from gateway.names import resolver
from gateway.telemetry.cells import Traffic
from gateway.upstream.fair import ALL
from gateway.upstream.limiter import ConcurrencyLimiter
from gateway.upstream.timing import USUAL, UpstreamTiming
from gateway.upstream.transport.wire import HttpConnection, WireError

MAX_CONNECTIONS: Final = 256
"""Most connections to one origin at a time; further requests wait for one. Standing streams do not count."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what a connection belongs to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        """
        Raises:
            ValueError: no URL, or a port that is none.
        """
        parts = urlsplit(url)
        return cls(parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))

    @property
    def authority(self) -> str:
        """The `Host` header's value."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


class Pool:
    """The connections to one origin.

    Args:
        connect_timeout: seconds for TCP and TLS together.
    """

    def __init__(
        self, origin: Origin, connect_timeout: float, limit: int = MAX_CONNECTIONS, timing: UpstreamTiming = USUAL
    ) -> None:
        self.origin = origin
        self.traffic = Traffic()
        """Counts the bytes of all its connections."""
        self.lookup: Callable[[str], Awaitable[Sequence[str]]] | None = None
        """The resolver, if it is another than that of all."""
        self._connect_timeout = connect_timeout
        self._idle_seconds = timing.idle_seconds
        self._loop = asyncio.get_running_loop()
        self._idle: deque[HttpConnection] = deque()
        """Longest idle first."""
        self._open: set[HttpConnection] = set()
        self._turns = ConcurrencyLimiter(limit)
        """The places of connections that are in use. One that is not keeps its place for whoever had it last, as most
        of the time nobody else wants it; while somebody may be waiting for one, it is given back at once."""
        self._waiting = 0
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, tenant: str = ALL) -> HttpConnection | None:
        """An idle connection, or None when one has to be waited for: see `acquire`."""
        wire = self._pop_idle()
        if wire is None or wire.holder == tenant:  # it has the place that it had before
            return wire
        self._give_back(wire)
        if not self._turns.acquire_now(tenant) and not (self._give_all_back() and self._turns.acquire_now(tenant)):
            self._idle.append(wire)
            return None
        wire.holder = tenant
        return wire

    async def acquire(self, tenant: str = ALL, *, standing: bool = False) -> HttpConnection:
        """A connection ready for one exchange. A `standing` one is not counted against the limit.

        Args:
            tenant: for whom; connections are shared fairly (`fair.py`).

        Raises:
            WireError: no connection could be made; nothing was delivered.
        """
        if standing:
            wire = self._pop_idle() or await self._connect()
            self._give_back(wire)
            return wire
        self._give_all_back()
        self._waiting += 1
        try:
            await self._turns.acquire(tenant=tenant)
        finally:
            self._waiting -= 1
        try:
            wire = self._pop_idle() or await self._connect()
        except BaseException:
            self._turns.release(tenant)
            raise
        self._give_back(wire)
        wire.holder = tenant
        return wire

    def close(self) -> None:
        """Close every connection, busy or not, now and for good."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        for wire in list(self._open):
            wire.abort()
        self._idle.clear()

    # --- ConnectionOwner ----------------------------------------------------------------------------------------------

    def opened(self, wire: HttpConnection, sock: socket.socket | None) -> None:
        self._open.add(wire)
        if sock is not None:
            _keep_alive(sock)

    def release(self, wire: HttpConnection) -> None:
        if self._waiting:
            self._give_back(wire)
        wire.idle_since = self._loop.time()
        self._idle.append(wire)
        if self._reaper is None:
            self._reaper = self._loop.call_later(self._idle_seconds, self._reap)

    def forget(self, wire: HttpConnection) -> None:
        self._give_back(wire)
        self._open.discard(wire)

    # --- Inside -----------------------------------------------------------------------------------------------------

    def _pop_idle(self) -> HttpConnection | None:
        """The one used last, so that the others grow old and are closed."""
        fresh = self._loop.time() - self._idle_seconds
        while self._idle:
            wire = self._idle.pop()
            if wire.idle_since > fresh and not wire.is_closing():
                return wire
            self._give_back(wire)
            wire.abort()
        return None

    def _reap(self) -> None:
        loop = asyncio.get_running_loop()
        self._reaper = None
        while self._idle and self._idle[0].idle_since <= loop.time() - self._idle_seconds:
            wire = self._idle.popleft()
            self._give_back(wire)
            wire.abort()
        if self._idle:
            self._reaper = loop.call_at(self._idle[0].idle_since + self._idle_seconds, self._reap)

    def _give_back(self, wire: HttpConnection) -> None:
        """Somebody else may have the place of that connection, if it has one."""
        holder, wire.holder = wire.holder, None
        if holder is not None:
            self._turns.release(holder)

    def _give_all_back(self) -> bool:
        """The same of all that are idle; returns whether there were any."""
        held = [wire for wire in self._idle if wire.holder is not None]
        for wire in held:
            self._give_back(wire)
        return bool(held)

    async def _connect(self) -> HttpConnection:
        origin = self.origin
        try:
            with anyio.fail_after(self._connect_timeout) as scope:
                *others, last = await (self.lookup or resolver().addresses)(origin.host)
                for address in others:
                    try:
                        with anyio.fail_after(_half_of_what_is_left(scope)):
                            return await self._connect_to(address)
                    except ssl.SSLError:
                        raise  # there is somebody, who is not whom we want
                    except OSError:
                        continue
                return await self._connect_to(last)
        except TimeoutError:
            raise WireError(f"no connection within {self._connect_timeout:g} s", delivered=False) from None
        except ssl.SSLCertVerificationError as error:
            raise WireError(f"its certificate is not trusted ({error.verify_message})", delivered=False) from None
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise WireError(f"cannot connect to {origin.authority} ({reason})", delivered=False) from None

    async def _connect_to(self, address: str) -> HttpConnection:
        """
        Raises:
            OSError: nobody there, or not who it should be.
            WireError: the pool was closed meanwhile.
        """
        origin = self.origin
        tls = _tls_context() if origin.scheme == "https" else None
        _, wire = await asyncio.get_running_loop().create_connection(
            lambda: HttpConnection(self), address, origin.port, ssl=tls, server_hostname=origin.host if tls else None
        )
        if self._closed:
            wire.abort()
            raise WireError("the gateway closed the connection", delivered=False)
        return wire


def _half_of_what_is_left(scope: anyio.CancelScope) -> float:
    """An address that does not answer must leave time for the next."""
    return (scope.deadline - anyio.current_time()) / 2


def _keep_alive(sock: socket.socket) -> None:
    """Have the system find out when the other end is gone for good: standing streams have no deadline that would."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """One for all: reading the certificate authorities takes 40 ms in which nothing else runs."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
