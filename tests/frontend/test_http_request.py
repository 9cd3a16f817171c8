"""One request and its answer, as bytes."""

import pytest

from gateway.errors import InvalidRequest, PayloadTooLarge
from gateway.frontend.connection import PROBE_SECONDS
from gateway.frontend.http_request import READ_AHEAD
from tests.frontend.ends import Client

GET = b"GET /health?x=%2F HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


def finished(work: object) -> object:
    """What a coroutine that need not wait returns."""
    with pytest.raises(StopIteration) as stop:
        work.send(None)  # type: ignore[attr-defined]
    return stop.value.value


# --- Requests ---------------------------------------------------------------------------------------------------------


def test_what_a_request_says() -> None:
    request = Client().ask(b"GET /a%20b?x=%2F HTTP/1.1\r\nHOST: x\r\nX-A: \t1 \r\nx-a: 2\r\nX-B: \xff\r\n\r\n")
    assert (request.method, request.path, request.raw_path, request.query) == ("GET", "/a b", b"/a%20b", b"x=%2F")
    assert request.headers == {"host": "x", "x-a": "1, 2", "x-b": "\xff"}
    assert request.repeated == ["x-a"]
    assert (request.version, request.keep_alive, request.whole, request.body) == ("1.1", True, True, b"")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"http://x/a/b?c", "/a/b", b"c"),
        (b"HTTPS://x?c", "/", b"c"),
        (b"http://x", "/", b""),
        (b"//x/a", "//x/a", b""),
        (b"/a#b?c", "/a", b""),
        (b"/a?b#c", "/a", b"b"),
    ],
)
def test_targets(target: bytes, path: str, query: bytes) -> None:
    request = Client().ask(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (request.path, request.query) == (path, query)


def test_a_body_that_is_there_is_not_waited_for() -> None:
    request = Client().ask(POST + b"body")
    assert finished(request.read(4)) == b"body"
    with pytest.raises(PayloadTooLarge):
        request.read(3).send(None)


def test_a_body_that_arrives_is_read_to_its_end_or_its_limit() -> None:
    client = Client()
    request = client.ask(POST + b"bo")
    reading, bounded = request.read(4), request.read(2)
    reading.send(None)
    client.send(b"d")
    assert reading.send(None) is None, "it goes on waiting"
    client.send(b"y")
    assert finished(reading) == b"body"
    with pytest.raises(PayloadTooLarge):
        bounded.send(None)


def test_a_body_larger_than_anybody_wants_is_not_taken() -> None:
    client = Client()
    request = client.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n")
    reading = request.read(2 * READ_AHEAD)
    reading.send(None)
    client.send(b"x" * (2 * READ_AHEAD))
    assert not client.transport.paused
    client.send(b"x")
    assert client.transport.paused
    with pytest.raises(PayloadTooLarge):
        reading.send(None)
    request.reply(413)
    assert not client.transport.paused, "the rest is read and dropped, and the connection can be used again"
    assert not client.transport.closed


def test_who_leaves_before_the_body_is_there() -> None:
    client = Client()
    request = client.ask(POST + b"bo")
    reading = request.read(4)
    reading.send(None)
    assert not client.connection.eof_received()
    client.connection.connection_lost(None)
    with pytest.raises(InvalidRequest, match="left"):
        reading.send(None)


def test_who_waits_for_100_continue_is_given_it_when_the_body_is_wanted() -> None:
    client = Client()
    request = client.ask(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-Continue\r\n\r\n"))
    assert client.transport.written == b""
    reading = request.read(4)
    reading.send(None)
    assert client.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"body")
    assert finished(reading) == b"body"
    request.reply(202)
    assert not client.transport.closed


def test_who_is_refused_while_waiting_for_100_continue_may_keep_its_body() -> None:
    """Whether it sends the body after all cannot be told from what is its next request."""
    client = Client()
    client.ask(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")).reply(401)
    assert b"connection: close" in client.transport.written
    assert client.transport.closed


# --- Answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_in_one_piece() -> None:
    client = Client()
    request = client.ask(GET)
    request.extra_headers = [("vary", "origin")]
    request.reply(200, b"{}", {"mcp-session-id": "s"}.items())
    assert client.transport.written == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n"
        b"mcp-session-id: s\r\nvary: origin\r\n\r\n{}"
    )
    assert not client.transport.closed
    with pytest.raises(RuntimeError):
        request.reply(200)


@pytest.mark.parametrize(("status", "head"), [(202, b"content-length: 0\r\n"), (204, b"")])
def test_an_answer_without_a_body(status: int, head: bytes) -> None:
    client = Client()
    client.ask(GET).reply(status)
    assert client.transport.written.partition(b"\r\n")[2] == head + b"\r\n"


@pytest.mark.parametrize("streamed", [False, True])
def test_head_is_answered_by_a_head(streamed: bool) -> None:
    client = Client()
    request = client.ask(GET.replace(b"GET", b"HEAD"))
    if streamed:
        request.start(200, [("content-length", "2")])
        request.write(b"{}")
        request.end()
    else:
        request.reply(200, b"{}")
    assert client.transport.written.endswith(b"content-length: 2\r\n\r\n")
    client.ask(GET).reply(202)
    assert client.transport.written.count(b"HTTP/1.1 ") == 2


def test_an_answer_of_unknown_length_is_chunked() -> None:
    client = Client()
    request = client.ask(GET)
    request.start(200, [("content-type", "text/event-stream")])
    assert b"transfer-encoding: chunked\r\n" in client.transport.written
    client.transport.written = b""
    request.write(b"")
    request.write(b"x" * 17)
    request.end()
    assert client.transport.written == b"11\r\n" + b"x" * 17 + b"\r\n0\r\n\r\n"
    assert not client.transport.closed


@pytest.mark.parametrize("sent", [b"", b"123"])
def test_an_answer_that_is_not_as_long_as_it_said_ends_the_connection(sent: bytes) -> None:
    client = Client()
    request = client.ask(GET)
    request.start(200, [("content-length", "2")])
    if len(sent) > 2:
        with pytest.raises(ValueError, match="longer"):
            request.write(sent)
    request.end()
    assert client.transport.aborted


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\n", "\0"])
def test_a_header_is_one_line(value: str) -> None:
    client = Client()
    request = client.ask(GET)
    with pytest.raises(ValueError, match="control"):
        request.reply(200, b"{}", [("x", value)])
    assert client.transport.written == b""
    request.reply(500)


def test_the_end_of_a_connection_is_announced() -> None:
    client = Client()
    client.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).reply(200, b"{}")
    assert b"connection: close\r\n" in client.transport.written
    assert client.transport.closed


# --- HTTP/1.0 ---------------------------------------------------------------------------------------------------------


def test_a_connection_of_http_1_0_ends_with_the_answer_unless_its_client_asks() -> None:
    client = Client()
    client.ask(GET.replace(b"1.1", b"1.0")).reply(200, b"{}")
    assert (b"connection: close\r\n" in client.transport.written, client.transport.closed) == (True, True)


def test_a_connection_of_http_1_0_can_be_kept_alive() -> None:
    client = Client()
    kept = GET.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    for number in (1, 2):
        client.ask(kept).reply(200, b"{}")
        assert client.transport.written.count(b"connection: keep-alive\r\n") == number
    assert not client.transport.closed


def test_the_end_of_a_stream_is_the_connections_in_http_1_0() -> None:
    client = Client()
    kept = GET.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    request = client.ask(kept)
    request.start(200, [])
    request.write(b"data")
    request.end()
    assert client.transport.written == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ndata"
    assert client.transport.closed


# --- Pipelines --------------------------------------------------------------------------------------------------------


def test_requests_are_answered_in_the_order_they_came() -> None:
    client = Client()
    client.send(b"".join(GET.replace(b"/health", b"/%d" % number) for number in range(5)))
    for number in range(5):
        assert client.running is not None
        assert client.running.path == f"/{number}", "one at a time"
        client.running.reply(200, b"%d" % number)
    assert [client.transport.written[at + 4 : at + 5] for at in _ends(client.transport.written)] == [
        b"%d" % number for number in range(5)
    ]
    assert not client.transport.paused


def _ends(written: bytes) -> list[int]:
    return [at for at in range(len(written)) if written.startswith(b"\r\n\r\n", at)]


def test_a_pipeline_waits_for_its_reader() -> None:
    client = Client()
    first = client.ask(GET + GET)
    client.connection.pause_writing()
    first.reply(200, b"much")
    assert client.running is first
    client.connection.resume_writing()
    assert client.running is not first


def test_what_comes_after_the_last_answer_is_not_served() -> None:
    client = Client()
    first = client.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + GET)
    first.reply(200)
    assert client.running is first
    assert client.transport.closed


# --- Clients that leave -----------------------------------------------------------------------------------------------


def test_a_client_that_left_is_noticed_and_not_answered() -> None:
    client = Client()
    request = client.ask(GET)
    gone: list[bool] = []
    request.on_gone = lambda: gone.append(request.gone)
    client.connection.connection_lost(None)
    assert gone == [True]
    request.reply(200)
    request.start(200, [])
    request.end()
    assert client.transport.written == b""


def test_a_client_that_ended_its_side_is_asked_whether_it_is_there_and_answered() -> None:
    client = Client()
    request = client.ask(GET + GET)
    assert client.connection.eof_received(), "it can still read"
    client.loop.pass_time(sum(PROBE_SECONDS) + 100)
    assert client.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n" * (1 + len(PROBE_SECONDS))
    request.reply(200, b"first")
    assert not client.transport.closed
    client.answer()
    assert client.transport.closed
    client.connection.connection_lost(None)
    assert client.loop.timers == 0


def test_a_client_that_ended_its_side_with_nothing_to_hear_is_gone() -> None:
    client = Client()
    assert not client.connection.eof_received()
    client.ask(GET).start(200, [])
    assert not client.connection.eof_received(), "nobody reads a stream so"


def test_an_older_client_that_ended_its_side_is_not_asked_what_it_would_not_understand() -> None:
    client = Client()
    request = client.ask(GET.replace(b"1.1", b"1.0"))
    assert client.connection.eof_received()
    client.loop.pass_time(10)
    request.reply(200, b"{}")
    assert client.transport.written.startswith(b"HTTP/1.1 200 OK")
