"""Whatever an upstream answers over HTTP: its reply ends once, in one way, however the bytes are cut."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.telemetry.cells import Traffic
from gateway.upstream.transport.wire import MAX_OVERHEAD, HttpConnection, Reply, WireError

Outcome = tuple[int, dict[bytes, bytes], bytes, str, bool]
"""Status, headers, body, how it ended, and whether the connection was kept."""


class Transport:
    closed = False

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> None:
        return None


class ConnectionOwner:
    """A pool of one."""

    released = 0
    traffic = Traffic()

    def opened(self, wire: HttpConnection, sock: object) -> None: ...

    def release(self, wire: HttpConnection) -> None:
        self.released += 1

    def forget(self, wire: HttpConnection) -> None: ...


class Heard(Reply):
    """A reply, that nothing may come after the end of."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.end = ""

    def on_head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        assert not self.end
        assert not self.status
        self.status, self.headers = status, dict(headers)

    def on_data(self, data: bytes) -> None:
        assert not self.end
        assert self.status
        self.body += data

    def on_end(self) -> None:
        assert not self.end
        self.end = "whole"

    def on_lost(self, error: WireError) -> None:
        assert not self.end
        assert error.delivered
        self.end = "lost"


def exchange(chunks: list[bytes], before: bytes = b"") -> Outcome:
    """What becomes of one request, answered with these bytes and then the end of the connection.

    Args:
        before: a response on the same connection, which is kept after it.
    """
    keeper, transport, reply = ConnectionOwner(), Transport(), Heard()
    made: Any = transport
    wire = HttpConnection(keeper)
    wire.connection_made(made)
    if before:
        wire.start(b"GET / HTTP/1.1\r\n\r\n", Heard())
        wire.data_received(before)
        keeper.released = 0
    wire.start(b"GET / HTTP/1.1\r\n\r\n", reply)
    for chunk in chunks:
        if not transport.closed:  # as with a real one
            wire.data_received(chunk)
    kept = wire.usable
    assert keeper.released <= 1
    assert not kept or reply.end == "whole" or not reply.end
    wire.connection_lost(None)
    assert reply.end in ("whole", "lost")
    assert not wire.usable
    return reply.status, reply.headers, reply.body, reply.end, kept


lines = st.sampled_from(
    [
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"Content-Length: -1",
        b"Content-Length: 99999999999999999999",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: upgrade",
        b"Upgrade: h2c",
        b"Content-Type: text/event-stream",
        b"Mcp-Session-Id: \xff",
        b"X: a\0b",
        b" folded",
        b"X:" + b"y" * 200,
    ]
)
starts = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 4
    + [b"HTTP/1.1 100 Continue", b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Same"]
    + [b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 99 x", b"HTTP/1.1 1000 x", b"HTTP/2 200 OK", b"ICY 200 OK", b""]
)
bodies = st.sampled_from(
    [
        b"",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"zz\r\n",
        b"-1\r\n",
        b"\xff" * 9,
    ]
)
ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"])


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """A response, more or less."""
    head = [draw(starts), *draw(st.lists(lines, max_size=4)), b""]
    return b"".join(line + draw(ends) for line in head) + draw(bodies)


good = st.just(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
streams = st.lists(good | responses() | st.binary(max_size=40), max_size=4).map(b"".join)
cuts = st.lists(st.integers(0, 300), max_size=8)


def pieces(stream: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(each, len(stream)) for each in at), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges) if a < b]


@settings(deadline=None)
@given(streams, cuts)
def test_how_the_bytes_are_cut_makes_no_difference(stream: bytes, at: list[int]) -> None:
    *found, kept = exchange(pieces(stream, at))
    *one_by_one, kept_then = exchange([stream[each : each + 1] for each in range(len(stream))])
    assert found == one_by_one
    # An empty line after a response does no harm where it comes with it, and is not waited for where it comes later.
    assert kept == kept_then or stream.endswith((b"\r", b"\n"))


chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
chunks = st.sampled_from(
    [b"5\r\nhello\r\n"] * 4
    + [b"A\r\n0\r\n\r\n12345\r\n", b"5;a=b\r\nhello\r\n", b"05\r\nhello\r\n", b"4\r\nhello\r\n", b"6\r\nhello\r\n"]
    + [b"0\r\n\r\n"] * 4
    + [b"0\r\nX: y\r\n\r\n", b"0;a\r\n\r\n", b"\r\n", b"5\nhello\n", b"0x5\r\nhello\r\n", b"5_0\r\n", chunked]
)


@settings(deadline=None)
@given(st.lists(chunks, max_size=6).map(b"".join), cuts)
def test_a_head_that_came_before_makes_no_difference(body: bytes, at: list[int]) -> None:
    sent = pieces(chunked + body, [0, *at])
    *found, kept = exchange(sent, before=chunked + b"5\r\nhello\r\n0\r\n\r\n")
    *fresh, kept_then = exchange(sent)
    assert (found, kept) == (fresh, kept_then)


@settings(deadline=None)
@given(st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]), lines)
def test_no_end_of_overhead_is_kept(start: bytes, line: bytes) -> None:
    *_, kept = exchange([start, *[line + b"\r\n"] * (2 * MAX_OVERHEAD // len(line))])
    assert not kept
