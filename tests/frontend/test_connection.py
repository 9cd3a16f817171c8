"""A connection's bounds, without a socket."""

from collections.abc import Coroutine
from typing import Any

import pytest

from gateway.frontend.connection import MAX_PIPELINED
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.slow_reader import STALL_BYTES, STALL_SECONDS
from tests.frontend.ends import Client

HEAD = b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
WHOLE = b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"POST /mcp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def begin(work: Coroutine[Any, Any, object]) -> None:
    """Run it to where it waits."""
    work.send(None)
    work.close()


# --- Time -------------------------------------------------------------------------------------------------------------


def test_who_says_nothing_is_not_waited_for() -> None:
    client = Client()
    client.loop.pass_time(4.9)
    assert not client.transport.closed
    client.loop.pass_time(0.2)
    assert (client.transport.closed, client.status) == (True, 0)


@pytest.mark.parametrize("sent", [HEAD[:-1], b"\r\n" * 60, b"P" * 30], ids=["headers", "empty lines", "method"])
def test_slow_headers(sent: bytes) -> None:
    client = Client()
    client.send(*(sent[at : at + 1] for at in range(len(sent))), every=5.1 / len(sent))
    assert client.transport.closed
    assert client.status in (408, 400)


def test_slow_headers_are_told_so() -> None:
    client = Client()
    client.send(HEAD[:-1])
    client.loop.pass_time(5.1)
    assert client.status == 408
    assert client.refused()["error"]["code"] == -32600


@pytest.mark.parametrize("start", [HEAD, CHUNKED + b"A\r\n"], ids=["declared", "chunked"])
def test_a_slow_body(start: bytes) -> None:
    client = Client()
    client.send(start)
    client.send(*[b"x"] * 8, every=1.1)
    assert not client.transport.closed
    client.send(b"x", every=0.3)
    assert client.status == 408
    client.refused()


def test_a_slow_body_after_slow_headers_has_what_they_left_it() -> None:
    client = Client()
    client.loop.pass_time(2)
    client.send(HEAD[:20], every=2)
    client.send(HEAD[20:], every=4.9)
    assert not client.transport.closed
    client.loop.pass_time(0.2)
    assert client.status == 408


def test_a_body_nobody_wants_is_not_waited_for_either() -> None:
    client = Client()
    client.send(HEAD)
    client.answer()
    client.send(*[b"x"] * 9, every=1)
    assert client.transport.closed


def test_a_request_that_came_whole_has_no_deadline() -> None:
    client = Client()
    client.send(WHOLE)
    client.loop.pass_time(10_000)
    assert not client.transport.closed


def test_each_request_of_a_connection_has_its_own_time() -> None:
    client = Client()
    for _ in range(5):
        client.send(WHOLE[:30], every=4)
        client.send(WHOLE[30:])
        client.answer()
        client.loop.pass_time(4)
    assert not client.transport.closed
    client.send(WHOLE[:30], every=5.1)
    assert client.status == 408


def test_an_idle_connection_is_closed() -> None:
    client = Client()
    client.send(WHOLE)
    client.answer()
    client.loop.pass_time(6)
    assert (client.transport.closed, client.status) == (True, 0)


def test_an_earlier_request_in_flight_is_not_given_up_for_a_slow_one_behind_it() -> None:
    client = Client()
    client.send(WHOLE + WHOLE[:30])
    client.loop.pass_time(60)
    assert not client.transport.closed
    client.answer()
    client.loop.pass_time(10)
    assert client.status == 408


def test_a_body_that_we_do_not_read_is_not_the_clients_fault() -> None:
    client = Client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", b"x" * 90_000)
    assert client.transport.paused
    assert client.running is not None
    client.loop.pass_time(60)
    assert not client.transport.closed
    begin(client.running.read(1 << 20))
    assert not client.transport.paused
    client.loop.pass_time(60)
    assert client.status == 408


def test_who_waits_for_100_continue_is_not_slow() -> None:
    client = Client()
    client.send(HEAD.replace(b"Host", b"Expect: 100-continue\r\nHost"))
    client.loop.pass_time(60)
    assert not client.transport.closed


def test_a_response_that_is_not_read_is_given_up() -> None:
    client = Client()
    client.send(WHOLE)
    client.transport.unread = 10 * STALL_BYTES
    client.connection.pause_writing()
    for _ in range(5):
        client.loop.pass_time(STALL_SECONDS)
        client.transport.unread -= STALL_BYTES
    assert not client.transport.aborted, "it is slow, but it reads"
    client.loop.pass_time(STALL_SECONDS)
    client.transport.unread -= 1
    client.loop.pass_time(STALL_SECONDS)
    assert client.transport.aborted


def test_a_response_that_is_read_after_all_is_not() -> None:
    client = Client()
    client.connection.pause_writing()
    client.loop.pass_time(1)
    client.connection.resume_writing()
    client.send(WHOLE)
    client.loop.pass_time(1000)
    assert not client.transport.aborted


@pytest.mark.parametrize("sent", [b"", HEAD[:-1], HEAD, WHOLE])
def test_a_lost_connection_leaves_no_timer(sent: bytes) -> None:
    client = Client()
    if sent:
        client.send(sent)
    client.connection.pause_writing()
    client.connection.connection_lost(ConnectionResetError())
    assert client.loop.timers == 0


# --- Size -------------------------------------------------------------------------------------------------------------

LARGE = b"X-Large: " + b"x" * 2048 + b"\r\n"
MANY = b"".join(b"X-%d: y\r\n" % number for number in range(500))


@pytest.mark.parametrize("lines", [LARGE, MANY], ids=["large", "many"])
@pytest.mark.parametrize("end", [b"", b"\r\n"], ids=["unfinished", "whole"])
@pytest.mark.parametrize("split", [False, True])
def test_large_headers(lines: bytes, end: bytes, split: bool) -> None:
    client = Client()
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + end
    client.send(*(head[at : at + 100] for at in range(0, len(head), 100)) if split else (head,))
    assert client.status == 431
    assert "max_header_bytes" in client.refused()["error"]["message"]


def test_a_large_address() -> None:
    client = Client()
    client.send(b"GET /" + b"x" * 2048 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.status == 431


def test_headers_that_fit_before_a_large_body() -> None:
    client = Client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000)
    client.send(b"")
    assert (client.transport.closed, client.status) == (False, 0)


@pytest.mark.parametrize("sent", [b"1;" + b"x" * 3000, b"0\r\n" + b"X: y\r\n" * 500], ids=["extension", "trailers"])
def test_what_stands_around_a_body_is_bounded_too(sent: bytes) -> None:
    client = Client()
    client.send(CHUNKED, sent)
    assert client.status == 431


def test_a_body_in_a_thousand_pieces_is_handed_on_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[bytes] = []
    feed = HttpRequest.feed

    def noted(request: HttpRequest, data: bytes) -> None:
        fed.append(data)
        feed(request, data)

    monkeypatch.setattr(HttpRequest, "feed", noted)
    client = Client()
    client.send(CHUNKED)
    first = client.running
    assert first is not None
    client.send(b"1\r\nx\r\n" * 1000, b"1\r\ny\r\n" + b"0\r\n\r\n" + WHOLE)
    assert first.body == b"x" * 1000 + b"y"
    assert first.whole
    assert fed == [b"x" * 1000, b"y", b"{}"]
    client.answer()
    second: Any = client.running
    assert second is not first
    assert second.body == b"{}"


def test_a_pipeline_has_an_end() -> None:
    client = Client()
    client.send(WHOLE * (1 + MAX_PIPELINED))
    assert not client.transport.closed
    client.send(WHOLE)
    assert (client.transport.closed, client.status) == (True, 0), "nothing can be said before the first answer"


def test_too_many_connections() -> None:
    first = Client()
    together = first.connection._connections  # pyright: ignore[reportPrivateUsage]
    second, third = Client(together), Client(together)
    assert (third.status, first.transport.closed, second.transport.closed) == (503, False, False)
    assert "max_connections" in third.refused()["error"]["message"]
    third.send(WHOLE)
    third.connection.connection_lost(None)
    first.connection.connection_lost(None)
    assert not Client(together).transport.closed


# --- Form -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"X: a\rb",
        b"X: a\nb",
        b"X: a\0b",
        b"X\0: a",
        b"X : a",
        b"X y: a",
        b": a",
        b"Content-Length: 3",
        b"Content-Length: -1",
        b"Content-Length: 1_0",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
    ],
)
def test_headers_that_two_readers_might_read_differently(line: bytes) -> None:
    client = Client()
    client.send(b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + line + b"\r\n\r\n{}")
    assert client.status == 400
    assert client.refused()["error"]["message"] == "The request is not HTTP."


INNER = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQBAAAAAAIAAAAA\r\n",
    "websocket": b"upgrade: websocket\r\nconnection: keep-alive, upgrade\r\n",
    "twice": b"Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\nConnection: upgrade\r\n",
}
BODIES = {
    "declared": b"Content-Length: %d\r\n\r\n%b" % (len(INNER), INNER),
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER),
}


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_an_offer_of_another_protocol_is_ignored_and_its_body_is_no_request(offer: str, body: str, step: int) -> None:
    client = Client()
    data = b"POST /mcp?x=1 HTTP/1.1\r\nHost: x\r\n" + OFFERS[offer] + BODIES[body]
    client.send(*(data[at : at + step] for at in range(0, len(data), step)))
    first = client.running
    assert first is not None
    assert (first.body, first.whole, first.raw_path, first.query) == (INNER, True, b"/mcp", b"x=1")
    assert not {"upgrade", "http2-settings"} & first.headers.keys()
    assert not client.pipelined
    client.answer()
    client.send(WHOLE)
    second = client.running
    assert second is not None
    assert second is not first
    assert second.body == b"{}"
    assert not client.transport.written


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 2\r\nContent-Length: 3", b"Content-Length: 2\r\nTransfer-Encoding: x"]
)
def test_an_offer_hides_no_ambiguous_body(fields: bytes) -> None:
    client = Client()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n" + fields + b"\r\n\r\n{}")
    assert client.status == 400
    assert client.running is None


@pytest.mark.parametrize(
    "line", [b"CONNECT x:1 HTTP/1.1", b"GET http://evil.example/health HTTP/1.1", b"GET http://x:1/health HTTP/1.1"]
)
def test_a_target_that_is_somewhere_else(line: bytes) -> None:
    client = Client()
    client.send(line + b"\r\nHost: x\r\n\r\n")
    assert client.status == 400
    assert client.running is None


def test_a_target_may_name_the_host() -> None:
    client = Client()
    client.send(b"GET http://x/health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.running is not None


def test_an_upgrade_without_a_body_is_ignored() -> None:
    client = Client()
    client.send(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
    client.answer()
    client.send(WHOLE)
    assert not client.transport.closed
    assert client.running is not None
    assert client.running.body == b"{}"


def test_a_refusal_is_not_taken_for_the_answer_to_an_earlier_request() -> None:
    client = Client()
    client.send(WHOLE + b"\0\0\0")
    assert (client.transport.closed, client.status) == (True, 0)


# --- A head that came before ------------------------------------------------------------------------------------------


def post_of(body: bytes, *more: bytes, length: int | None = None) -> bytes:
    lines = [
        b"POST /mcp HTTP/1.1",
        b"Host: x",
        b"Content-Length: %d" % (len(body) if length is None else length),
        *more,
    ]
    return b"\r\n".join([*lines, b"", body])


def test_a_head_that_came_before_is_not_parsed_again_and_means_the_same() -> None:
    client = Client()
    first = client.ask(post_of(b"{}", b"X-Api-Key: a"))
    client.answer()
    second = client.ask(post_of(b'{"longer": 1}', b"X-Api-Key: a"))
    assert second.head is first.head
    assert (second.whole, second.body, second.headers["x-api-key"]) == (True, b'{"longer": 1}', "a")
    client.answer()
    third = client.ask(post_of(b"{}", b"X-Api-Key: b"))
    assert (third.headers["x-api-key"], third.body) == ("b", b"{}")


def test_bytes_are_counted_whether_their_head_came_before_or_not() -> None:
    client, sent = Client(), 0
    for body in (b"{}", b"[]", b'{"longer": 1}', b'{"longer": 2}', b"{}"):
        message = post_of(body)
        assert client.ask(message).body == body
        client.answer()
        sent += len(message)
    assert client.connection._connections.traffic.received == sent  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    "sent",
    [
        post_of(b"{}")[:-1],
        post_of(b"{}", length=1),
        post_of(b"{}", length=3),
        post_of(b"{}").replace(b"Content-Length: 2", b"Content-Length: +2"),
        post_of(b"{}").replace(b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 2"),
        post_of(b"{}").replace(b"Content-Length: 2", b"Content-Length: 2\r\nTransfer-Encoding: chunked"),
        post_of(b"{}").replace(b"\r\n", b"\n"),
        post_of(b"{}") + post_of(b"{}"),
    ],
)
def test_what_is_not_one_whole_request_with_it_is_parsed(sent: bytes) -> None:
    """Whatever comes of it, it is what would come of it on a new connection."""
    results: list[tuple[bytes, bytes, bool]] = []
    for before in ([], [post_of(b"{}")]):
        client = Client()
        for each in before:
            client.ask(each)
            client.answer()
        client.running = None
        client.send(sent)
        running: HttpRequest | None = client.running
        results.append(
            (running.body if running is not None else b"", client.transport.written, client.transport.closed)
        )
    assert results[0] == results[1]


@pytest.mark.parametrize("line", [b"Transfer-Encoding: identity", b"Connection: close", b"Expect: 100-continue"])
def test_a_head_that_says_more_of_the_connection_is_parsed_each_time(line: bytes) -> None:
    client = Client()
    client.send(post_of(b"{}", line))
    first = client.running
    if first is not None and not client.transport.closed:
        client.answer()
        client.send(post_of(b"{}", line))
        assert client.running is None or client.running is first or client.running.head is not first.head
