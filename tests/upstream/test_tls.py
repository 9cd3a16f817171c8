"""HTTPS: a certificate the system trusts is accepted, every other refused before a byte of the request is sent."""

import ipaddress
import ssl
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.upstream.transport import pool as pool_module
from gateway.upstream.transport.wire import WireError
from tests.upstream.ends import Got, Mcp, byte_server, connected, response, service
from tests.upstream.test_wire import exchange, pool_to

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture(autouse=True)
def fresh_trust() -> Generator[None]:
    """What is trusted is read once per process; each test has it read anew."""
    pool_module._tls_context.cache_clear()  # pyright: ignore[reportPrivateUsage]
    yield
    pool_module._tls_context.cache_clear()  # pyright: ignore[reportPrivateUsage]


def certificate(folder: Path, address: str = "127.0.0.1") -> Path:
    """A self-signed certificate and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def server_context(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_a_trusted_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    async with byte_server(Mcp(service("modern")), server_context(path)) as server, connected(server.url) as up:
        assert await up.call("a") == "a"
        assert server.connections == 1


@pytest.mark.parametrize("address", [None, "127.0.0.2"], ids=["unknown", "for another address"])
async def test_an_untrusted_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    path = certificate(tmp_path, address or "127.0.0.1")
    if address is not None:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    async with byte_server(answer, server_context(path)) as server:
        with pytest.raises(WireError, match="certificate is not trusted") as caught:
            await exchange(pool_to(server.url))
        assert not caught.value.delivered
        assert server.got == []


async def answer(got: Got) -> None:
    await got.send(response(b"hello"))


async def test_no_tls_at_all() -> None:
    async def refuse(stream: ByteStream) -> None:
        await stream.send(response(status="400 Bad Request"))
        await stream.aclose()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tg:
        tg.start_soon(listener.serve, refuse)
        with pytest.raises(WireError, match="cannot connect") as caught:
            await exchange(pool_to(f"https://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"))
        assert not caught.value.delivered
        tg.cancel_scope.cancel()
