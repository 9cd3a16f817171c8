"""Whatever comes over a socket of an agent's: nothing breaks, nothing is read in two ways, nothing is held for ever."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.frontend.connection import MAX_PIPELINED
from tests.frontend.ends import Client

Requests = list[tuple[str, str, tuple[tuple[str, str], ...], bytes]]

lines = st.sampled_from(
    [
        b"Host: x",
        b"Content-Length: 2",
        b"Content-Length: 200",
        b"Content-Length: 99999999999999999999",
        b"content-length: +2",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Connection: close",
        b"Connection: upgrade",
        b"Upgrade: websocket",
        b"Upgrade: h2c",
        b"Expect: 100-continue",
        b"X: a\0b",
        b"X: \xff\xfe",
        b" folded",
        b"X:" + b"y" * 900,
        b"Mcp-Method: ping",
    ]
)
targets = st.sampled_from(
    [b"/mcp", b"*", b"http://x/mcp", b"//", b"/%ff%00", b"/\xff", b"x:1", b"/" + b"y" * 900, b"/#a?b"]
)
starts = st.tuples(
    st.sampled_from([b"POST", b"GET", b"CONNECT", b"OPTIONS", b"PRI", b"M-SEARCH", b"get", b""]),
    targets,
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b""]),
).map(b" ".join)
ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"])
bodies = st.sampled_from(
    [b"", b"{}", b"2\r\n{}\r\n0\r\n\r\n", b"2;x=y\r\n{}\r\n0\r\nX: y\r\n\r\n", b"zz\r\n", b"x" * 200]
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A request, more or less."""
    head = [draw(starts), *draw(st.lists(lines, max_size=5)), b""]
    return b"".join(line + draw(ends) for line in head) + draw(bodies)


good = st.sampled_from(
    [
        b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ]
)
streams = st.lists(
    good | good.map(lambda one: one * 20) | messages() | st.binary(max_size=40) | st.just(b"\r\n"), max_size=6
).map(b"".join)
cuts = st.lists(st.integers(0, 400), max_size=8)


def pieces(stream: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(each, len(stream)) for each in at), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges) if a < b]


def converse(client: Client, chunks: list[bytes]) -> Requests:
    """The requests that get through whole, each of which is answered at once."""
    found: Requests = []
    for chunk in chunks:
        client.send(chunk)
        assert client.pipelined <= MAX_PIPELINED
        while (one := client.running) and not one.answered and not one.gone and one.whole:
            found.append((one.method, one.path, tuple(one.headers.items()), one.body))
            client.answer()
    return found


@settings(deadline=None)
@given(streams, cuts)
def test_any_bytes(stream: bytes, at: list[int]) -> None:
    client = Client()
    converse(client, pieces(stream, at))
    written = client.transport.written
    assert written.count(b"HTTP/1.1 ") <= 1, "one refusal, and it is the last word"
    assert not written or client.transport.closed
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" if client.transport.closed else b"")
    assert client.transport.written == written


@settings(deadline=None)
@given(streams, cuts)
def test_a_request_in_flight_is_left_alone(stream: bytes, at: list[int]) -> None:
    client = Client()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    for piece in pieces(stream, at):
        client.send(piece)
        assert client.pipelined <= MAX_PIPELINED
    refused = client.transport.closed
    client.loop.pass_time(60)
    assert client.transport.written == b"", "it would be taken for the answer"
    assert client.transport.closed is refused, "it is not the client that is slow"


@settings(deadline=None)
@given(streams, cuts)
def test_nothing_is_held_for_ever(stream: bytes, at: list[int]) -> None:
    client = Client()
    converse(client, pieces(stream, at))
    client.loop.pass_time(60)
    assert client.transport.closed
    client.connection.connection_lost(None)
    assert client.loop.timers == 0


@settings(deadline=None)
@given(streams, cuts)
def test_how_the_bytes_are_cut_makes_no_difference(stream: bytes, at: list[int]) -> None:
    found = converse(Client(), pieces(stream, at))
    one_by_one = converse(Client(), pieces(stream, list(range(len(stream)))))
    fewer, more = sorted((found, one_by_one), key=len)  # what comes at once with nonsense ends with it
    assert more[: len(fewer)] == fewer


names = st.sampled_from([b"mcp-method", b"MCP-Method", b"mcp-session-id", b"accept", b"x-a"])
values = st.binary(max_size=8).map(lambda value: bytes(byte for byte in value if byte > 31 and byte != 127))


@settings(deadline=None)
@given(st.lists(st.tuples(names, values)), st.sampled_from([b"", b"Connection: upgrade\r\nUpgrade: h2c\r\n"]))
def test_any_headers(fields: list[tuple[bytes, bytes]], offer: bytes) -> None:
    client = Client()
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    request = client.ask(b"GET / HTTP/1.1\r\nHost: x\r\n" + offer + lines + b"\r\n")
    found = [name.lower().decode() for name, _ in fields]
    assert request.headers.keys() - {"connection"} == {"host", *found}
    assert sorted([*request.repeated, *set(found)]) == sorted(found)
    for name, value in fields:
        assert value.decode("latin-1").strip(" ") in request.headers[name.lower().decode()]
