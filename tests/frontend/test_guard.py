"""Which Host and Origin are answered to."""

import pytest

from gateway.errors import Forbidden
from gateway.frontend.guard import Guard, MisdirectedRequest

GUARD = Guard(["0.0.0.0", "Gateway.Example", "with.port:8443"], ["https://app.example.com/", "http://tool.local:3000"])


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LocalHost",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:8080",
        "192.168.1.7:8080",
        "gateway.example",
        "GATEWAY.example:8080",
        "with.port:8443",
    ],
)
def test_these_hosts_are_ours(host: str) -> None:
    GUARD.check(host, None)
    GUARD.check(host, None)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        ":8080",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "gateway.example.evil.example",
        "with.port",
        "with.port:80",
        "[evil.example]",
        "127.0.0.1@evil.example",
        "localhost, evil.example",
    ],
)
def test_these_hosts_are_not(host: str | None) -> None:
    for _ in range(2):  # a refusal is not remembered as a welcome
        with pytest.raises(MisdirectedRequest) as caught:
            GUARD.check(host, None)
        assert caught.value.status == 421


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:5173",
        "https://LOCALHOST:1",
        "http://127.0.0.1:3000",
        "http://127.8.8.8",
        "http://[::1]:3000",
        "https://app.example.com",
        "https://APP.example.com",
        "http://tool.local:3000",
    ],
)
def test_these_origins_are_allowed(origin: str) -> None:
    GUARD.check("localhost", origin)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "localhost",
        "file://",
        "file://localhost",
        "chrome-extension://localhost",
        "http://evil.example",
        "http://localhost.evil.example",
        "http://evil.example#localhost",
        "http://localhost@evil.example",
        "http://192.168.1.7",
        "http://gateway.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "http://[::1",
        "http://[]",
        "http://localhost, http://evil.example",
    ],
)
def test_these_origins_are_not(origin: str) -> None:
    with pytest.raises(Forbidden) as caught:
        GUARD.check("localhost", origin)
    assert caught.value.status == 403
    assert "allowed_origins" in caught.value.message


@pytest.mark.parametrize(
    "host", ["127.0.0.1, evil.example", "127.0.0.1:x", "127.0.0.1:1:2", "127.0.0.1@evil", "[::1]x"]
)
def test_a_host_is_one_name_and_perhaps_a_port(host: str) -> None:
    with pytest.raises(Forbidden):
        Guard([], []).check(host, None)
