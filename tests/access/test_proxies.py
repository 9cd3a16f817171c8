"""Where a request came from: what proxies of ours say, and nobody else."""

import pytest
from structlog.testing import capture_logs

from gateway.access.proxies import MAX_HOPS, TrustedProxies

OURS = ("10.0.0.0/8", "127.0.0.1", "2001:db8::/32")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "origin"),
    [
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("198.51.100.7", "203.0.113.1", "198.51.100.7"),
        ("127.0.0.2", "203.0.113.1", "127.0.0.2"),
        ("127.0.0.1", "203.0.113.1, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.1, 198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("127.0.0.1", "10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("127.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("127.0.0.1", "[2001:db9::1]:4711", "2001:db9::1"),
        ("2001:db8::5", "2001:db9::1", "2001:db9::1"),
        ("::ffff:127.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "198.51.100.7, unknown", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7, unknown, 10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "198.51.100.7,", "127.0.0.1"),
        ("", "198.51.100.7", ""),
        ("127.0.0.1", "198.51.100.7" + ", 10.1.2.3" * MAX_HOPS, "10.1.2.3"),
    ],
)
def test_the_last_address_that_is_not_ours(peer: str, forwarded_for: str | None, origin: str) -> None:
    assert TrustedProxies(OURS).origin(peer, forwarded_for) == origin


def test_without_proxies_nobody_is_believed_and_the_log_says_so_once() -> None:
    proxies = TrustedProxies([])
    with capture_logs() as logs:
        for _ in range(3):
            assert proxies.origin("127.0.0.1", "198.51.100.7") == "127.0.0.1"
        assert proxies.origin("203.0.113.9", "198.51.100.7") == "203.0.113.9"
    assert [entry["log_level"] for entry in logs] == ["warning"]
