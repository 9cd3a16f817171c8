"""Agents over TLS: with real certificates, a real gateway, and files that change while it runs."""

import json
import socket
import ssl
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from gateway.config.models import GatewaySettings, TlsSettings
from gateway.errors import ConfigError
from gateway.frontend.connections import Bounds, bounds_of
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.listener import HttpListener
from gateway.frontend.tls import ServerTls
from tests.certificates import LOOPBACK, Issued, issue
from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import BOTH, JSON
from tests.interaction._wire import request
from tests.servers.peers import SECONDS
from tests.support import wait_until

pytestmark = pytest.mark.anyio

AUTHORITY: Final = issue("authority", authority=True)
CLIENTS: Final = issue("clients", authority=True)


def trusting(authority: Issued = AUTHORITY) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem.decode())


def settings(folder: Path, *, client_ca: bool = False) -> TlsSettings:
    """With a new certificate for loopback."""
    cert, key = issue(LOOPBACK, AUTHORITY).write(folder, "gateway")
    ca = folder / "clients.pem"
    ca.write_bytes(CLIENTS.pem)
    return TlsSettings(cert=cert, key=key, client_ca=ca if client_ca else None)


async def handle(request: HttpRequest) -> None:
    request.reply(200, request.scheme.encode() + await request.read(1 << 20))


@dataclass
class Served:
    """A listener on loopback, and what its connections' certificates are read from."""

    port: int
    tls: ServerTls

    def ask(self, context: ssl.SSLContext, body: bytes = b"") -> tuple[bytes, int]:
        """The answer's body, and the serial number of the certificate that was shown."""
        connection = HTTPSConnection(LOOPBACK, self.port, context=context, timeout=SECONDS)
        try:
            connection.request("POST", "/", body)
            sock: Any = connection.sock
            shown = sock.getpeercert()
            with connection.getresponse() as response:
                return response.read(), int(shown["serialNumber"], 16)
        finally:
            connection.close()

    async def asked(self, context: ssl.SSLContext, body: bytes = b"") -> tuple[bytes, int]:
        return await anyio.to_thread.run_sync(self.ask, context, body)


class Serving:
    def __init__(self, given: TlsSettings, bounds: Bounds | None = None) -> None:
        self._tls = ServerTls(given)
        self._listener = HttpListener(LOOPBACK, 0, bounds or bounds_of(GatewaySettings()), tls=self._tls)
        assert self._listener.url.startswith("https://")

    async def __aenter__(self) -> Served:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        await self._tasks.start(self._listener.serve, handle)
        self._tasks.start_soon(self._tls.follow)
        return Served(int(self._listener.url.rpartition(":")[2]), self._tls)

    async def __aexit__(self, *raised: Any) -> None:
        await self._listener.close(1)
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(*raised)


async def test_requests_and_answers(tmp_path: Path) -> None:
    async with Serving(settings(tmp_path)) as served:
        assert (await served.asked(trusting(), b"x" * 500_000))[0] == b"https" + b"x" * 500_000
        with pytest.raises(ssl.SSLCertVerificationError):
            await served.asked(trusting(CLIENTS))


async def test_who_has_no_certificate_of_the_clients_authority_is_not_let_in(tmp_path: Path) -> None:
    def having(one: Issued) -> ssl.SSLContext:
        context = trusting()
        context.load_cert_chain(*one.write(tmp_path, "client"))
        return context

    async with Serving(settings(tmp_path, client_ca=True)) as served:
        assert (await served.asked(having(issue("somebody", CLIENTS))))[0] == b"https"
        for context in (trusting(), having(issue("somebody")), having(issue("somebody", AUTHORITY))):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await served.asked(context)


async def test_what_is_said_right_behind_the_handshake_is_heard(tmp_path: Path) -> None:
    """In one segment with the client's last word of it."""
    async with Serving(settings(tmp_path)) as served:

        def ask() -> bytes:
            coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
            end = trusting().wrap_bio(coming, going, server_hostname=LOOPBACK)
            with socket.create_connection((LOOPBACK, served.port), SECONDS) as wire:
                while True:
                    try:
                        end.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        wire.sendall(going.read())
                        coming.write(wire.recv(65536))
                end.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                wire.sendall(going.read())
                answer = b""
                while b"https" not in answer:
                    try:
                        answer += end.read()
                    except ssl.SSLWantReadError:
                        coming.write(wire.recv(65536))
                return answer

        assert (await anyio.to_thread.run_sync(ask)).startswith(b"HTTP/1.1 200 ")


async def test_a_new_certificate_is_used_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    given = settings(tmp_path)
    async with Serving(given) as served:
        _, first = await served.asked(trusting())
        before = served.tls.context
        given.cert.write_bytes(b"nonsense")
        await wait_until(lambda: served.tls.failed, SECONDS)
        assert served.tls.context is before
        assert (await served.asked(trusting()))[1] == first
        settings(tmp_path)
        await wait_until(lambda: served.tls.context is not before, SECONDS)
        assert (await served.asked(trusting()))[1] != first


def is_closed(wire: socket.socket) -> bool:
    """Waits for it to be."""
    try:
        return wire.recv(1) == b""
    except ConnectionError:
        return True


async def test_who_does_not_finish_the_handshake_is_not_waited_for_and_counts_as_a_connection(tmp_path: Path) -> None:
    bounds = Bounds(header_timeout=0.5, read_timeout=1, header_bytes=2048, connections=1)
    async with Serving(settings(tmp_path), bounds) as served:

        def silent() -> None:
            with socket.create_connection((LOOPBACK, served.port), SECONDS) as first:
                with socket.create_connection((LOOPBACK, served.port), SECONDS) as second:
                    assert is_closed(second)
                assert is_closed(first)

        await anyio.to_thread.run_sync(silent)
        assert (await served.asked(trusting()))[0] == b"https"


async def test_who_speaks_plain_http_is_not_served(tmp_path: Path) -> None:
    async with Serving(settings(tmp_path)) as served:

        def plain() -> bytes:
            with socket.create_connection((LOOPBACK, served.port), SECONDS) as wire:
                wire.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                return wire.recv(100)

        with suppress(ConnectionError):
            assert not (await anyio.to_thread.run_sync(plain)).startswith(b"HTTP")


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    given = settings(tmp_path)
    with pytest.raises(ConfigError, match=r"gateway\.tls: .*nowhere.pem cannot be read: No such file"):
        ServerTls(TlsSettings(cert=tmp_path / "nowhere.pem", key=given.key))
    other, _ = issue(LOOPBACK).write(tmp_path, "other")
    with pytest.raises(ConfigError, match="do not belong together"):
        ServerTls(TlsSettings(cert=other, key=given.key))
    given.key.write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match="PEM"):
        ServerTls(given)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    folder = tmp_path_factory.mktemp("tls")
    given = settings(folder)
    files = {"cert": given.cert.name, "key": given.key.name}
    with http_gateway(folder, {"raw": child("tests.servers.raw")}, tls=files, **PATIENT) as gateway:
        yield gateway.base


def test_a_gateway_that_speaks_https(base: str) -> None:
    port = int(base.rpartition(":")[2])
    connection = HTTPSConnection(LOOPBACK, port, context=trusting(), timeout=SECONDS)
    try:
        connection.request("POST", "/mcp", json.dumps(request("tools/list", id=1)), BOTH | JSON)
        with connection.getresponse() as response:
            assert response.status == 200
            assert "raw__raw" in {tool["name"] for tool in json.loads(response.read())["result"]["tools"]}
        connection.request("GET", "/", headers={"Accept": "text/html"})
        with connection.getresponse() as response:
            assert f"https://127.0.0.1:{port}/mcp" in response.read().decode()
    finally:
        connection.close()
