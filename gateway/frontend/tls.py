"""TLS for agents: the certificate we show, whose certificates let them in, and how a connection becomes one of TLS.

Everything is read again when a file changes. Connections that are there keep what they began with.
"""

import asyncio
import errno
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
import structlog

from gateway.blocking import in_thread
from gateway.config.models import TlsSettings
from gateway.config.reload.watch import look, watch
from gateway.errors import ConfigError
from gateway.frontend.connection import AgentConnection
from gateway.frontend.connections import Connections

log = structlog.stdlib.get_logger("gateway.frontend")

RETRY_SECONDS: Final = 0.1
"""When to accept again, after there were no files left for another connection."""
FAREWELL_SECONDS: Final = 1.0
"""How long a client may take to say that it has heard us close the connection."""


class ServerTls:
    """Blocks: made in a thread.

    Raises:
        ConfigError: a file cannot be used.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._seen = look(self._files())
        self.failed = False
        """Whether they cannot be used as they are now."""
        self.context = _load(settings)
        """For connections to come."""

    async def follow(self) -> None:
        """Use the files as they are now, until cancelled. What cannot be used changes nothing, and the log says why."""
        await watch(self._files, self._reload, self._seen)

    def _files(self) -> list[Path]:
        settings = self._settings
        return [Path(file).absolute() for file in (settings.cert, settings.key, settings.client_ca) if file is not None]

    async def _reload(self) -> None:
        try:
            self.context = await in_thread(_load, self._settings)
            self.failed = False
            log.info("certificate reloaded", cert=str(self._settings.cert))
        except ConfigError as error:
            self.failed = True
            log.error("certificate not reloaded; the one from before stays", reason=error.message)


def _load(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.cert, settings.key, _no_password)
        if settings.client_ca is not None:
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        raise ConfigError(f"gateway.tls: {_reason(error, settings)}") from None
    return context


def _no_password() -> str:
    raise ValueError("the key has a password; give the file of one without")


def _reason(error: Exception, settings: TlsSettings) -> str:
    files = [str(file) for file in (settings.cert, settings.key, settings.client_ca) if file is not None]
    if isinstance(error, ssl.SSLError):
        what = "do not belong together" if "MISMATCH" in (error.reason or "") else "are not what they should be"
        return f"{', '.join(files)} {what} ({error.reason or error}). PEM files are needed."
    if isinstance(error, OSError):
        missing = next((file for file in files if not Path(file).is_file()), files[0])
        return f"{missing} cannot be read: {error.strerror or error}"
    return str(error)


class TlsServer:
    """Accepts connections, and hands on those that agree upon TLS; each has as long for it as for the headers of a
    request, and counts as a connection meanwhile. An `asyncio.Server` would show all of them its first certificate."""

    def __init__(self, listening: socket.socket, tls: ServerTls, connections: Connections) -> None:
        self._listening = listening
        self._tls = tls
        self._connections = connections
        self._task = connections.loop.create_task(self._accept())

    async def aclose(self) -> None:
        """Accept no more."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _accept(self) -> None:
        loop = self._connections.loop
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._listening)
            except OSError as error:  # no files are left, or whoever came has left
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    await anyio.sleep(RETRY_SECONDS)
                continue
            if self._connections.is_full:
                accepted.close()  # there are no words for it yet
            else:
                self._connections.shake_hands(open_tls(self._connections, self._tls, accepted))


async def open_tls(together: Connections, tls: ServerTls, accepted: socket.socket) -> None:
    """Make a connection that was accepted one of TLS, if it agrees."""
    with suppress(OSError):  # it speaks no TLS, has no certificate, is too slow, or has left
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await together.loop.connect_accepted_socket(
            lambda: AgentConnection(together),
            accepted,
            ssl=tls.context,
            ssl_handshake_timeout=together.bounds.header_timeout,
            ssl_shutdown_timeout=FAREWELL_SECONDS,
        )
