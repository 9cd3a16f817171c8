"""A response whose head came before on its connection is not parsed again, and means the same."""

from collections.abc import Mapping
from typing import cast
from unittest.mock import Mock

import pytest

from gateway.telemetry.cells import Traffic
from gateway.upstream.transport.wire import HttpConnection, Reply, ResponseHeaders, WireError


class Collected(Reply):
    """A `Reply` that keeps what it gets."""

    def __init__(self) -> None:
        self.head: tuple[int, Mapping[bytes, bytes]] | None = None
        self.body = b""
        self.end = ""

    def on_head(self, status: int, headers: ResponseHeaders) -> None:
        assert self.head is None
        self.head = status, headers

    def on_data(self, data: bytes) -> None:
        self.body += data

    def on_end(self) -> None:
        self.end += "ended"

    def on_lost(self, error: WireError) -> None:
        self.end += "lost"


def response(body: bytes, *lines: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return b"\r\n".join([b"HTTP/1.1 " + status, b"content-length: %d" % length, *lines, b"", body])


def connection() -> tuple[HttpConnection, Mock]:
    wire, transport = HttpConnection(Mock(traffic=Traffic())), Mock(**{"is_closing.return_value": False})
    wire.connection_made(transport)
    return wire, transport


def receive(wire: HttpConnection, *pieces: bytes) -> Collected:
    wire.start(b"", reply := Collected())
    for piece in pieces:
        wire.data_received(piece)
    return reply


def test_the_same_head_means_the_same() -> None:
    wire, _ = connection()
    first = receive(wire, response(b"{}", b"a: 1"))
    second = receive(wire, response(b"[1, 2]", b"a: 1"))
    third = receive(wire, response(b"{}", b"a: 2"))
    heads = [each.head for each in (first, second, third) if each.head is not None]
    assert heads[1][1] is heads[0][1], "the second was not parsed"
    assert (heads[1][0], second.body, second.end) == (200, b"[1, 2]", "ended")
    assert (heads[2][1][b"a"], third.body, third.end) == (b"2", b"{}", "ended")
    assert wire.usable


@pytest.mark.parametrize(
    "sent",
    [
        [response(b"{}")[:-1]],
        [response(b"{}")[:20], response(b"{}")[20:]],
        [response(b"{}", length=1)],
        [response(b"{}", length=3)],
        [response(b"{}") + response(b"{}")],
        [response(b"{}", status=b"500 Oh")],
        [response(b"{}", b"connection: close")],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + response(b"{}")],
        [response(b"{}").replace(b"\r\n", b"\r\ncontent-length: 2\r\n", 1)],
        [response(b"2\r\n{}\r\n0\r\n\r\n", b"transfer-encoding: chunked")],
    ],
)
def test_anything_else_is_parsed(sent: list[bytes]) -> None:
    """What comes of it is what would come of it on a new connection."""
    seen: list[object] = []
    for before in ([], [response(b"{}")]):
        wire, transport = connection()
        for each in before:
            receive(wire, each)
        if wire.usable and transport.abort.call_count == 0:
            reply = receive(wire, *sent)
            seen.append((reply.head, reply.body, reply.end, wire.usable))
    assert all(each == seen[0] for each in seen)


def test_a_status_that_is_an_error_stays_one() -> None:
    wire, _ = connection()
    replies = [receive(wire, response(b"{}", status=b"500 Oh")) for _ in range(2)]
    assert [each.head and each.head[0] for each in replies] == [500, 500]


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAMED = STREAM + b"5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        [STREAMED],
        [STREAM, b"5\r\nhello\r\n", b"0\r\n\r\n"],
        [STREAM + b"2\r\nhe\r\n", b"3\r\nllo\r\n0\r\n\r\n"],
    ],
    ids=["at once", "apart", "in two"],
)
def test_the_head_of_a_stream_is_known_again(sent: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    wire, _ = connection()
    first = receive(wire, STREAM, b"5\r\nhello\r\n", b"0\r\n\r\n")
    parser = Mock()
    monkeypatch.setattr(wire, "_parser", parser)
    second = receive(wire, *sent)
    assert (second.head, second.body, second.end) == (first.head, b"hello", "ended")
    parser.feed_data.assert_not_called()
    assert wire.usable


ODD = [
    b"5\r\nhel",
    b"05\r\nhello\r\n0\r\n\r\n",
    b"5;a=b\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"4\r\nhello\r\n0\r\n\r\n",
    b"6\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n",
    b"fffffffffffffffff\r\nhello",
    b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
    b"5\r\nhello\r\n0\r\n",
    b"5\r\nhello\r\n00\r\n\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n" + STREAMED,
    b"5\r\nhello\r\n0\r\n\r\n\r\n",
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("before", [[], [STREAM], [STREAM + b"1\r\n!\r\n"], [STREAM, b"1\r\n!\r\n1\r\n?\r\n"]])
def test_what_is_odd_in_a_stream_means_what_it_did(odd: bytes, before: list[bytes]) -> None:
    sent = [*before, odd] if before else [STREAM + odd]
    seen: list[object] = []
    for earlier in ([], [STREAMED], [STREAMED, STREAMED], [STREAMED, response(b"{}"), response(b"{}")]):
        wire, transport = connection()
        for each in earlier:
            receive(wire, each)
        reply = receive(wire, *sent)
        seen.append((reply.head, reply.body, reply.end, wire.usable, transport.abort.call_count))
        wire.connection_lost(None)
        seen[-1] = (seen[-1], reply.end)
    assert all(each == seen[0] for each in seen)


@pytest.mark.parametrize(
    "head",
    [
        STREAM.replace(b"200 OK", b"201 OK"),
        STREAM.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
        STREAM.replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + STREAM,
        STREAM.replace(b"\r\n\r\n", b"\r\nx: %s\r\n\r\n" % (b"x" * 5000)),
    ],
)
def test_another_head_of_a_stream_is_not_known_again(head: bytes) -> None:
    wire, _ = connection()
    first = receive(wire, head + b"5\r\nhello\r\n0\r\n\r\n")
    if wire.usable:
        second = receive(wire, head, b"5\r\nhello\r\n0\r\n\r\n")
        assert (second.head, second.body, second.end) == (first.head, first.body, first.end)
        assert second.head is not None
        assert first.head is not None
        assert second.head[1] is not first.head[1]


def test_a_bug_in_a_reply_to_a_known_stream_fails_that_reply_alone() -> None:
    wire, transport = connection()
    receive(wire, STREAMED)
    reply = Mock(**{"on_data.side_effect": RuntimeError("a bug")})
    wire.start(b"", reply)
    wire.data_received(STREAMED)
    reply.on_lost.assert_called_once()
    transport.abort.assert_called_once()


def test_a_bug_in_a_reply_fails_that_reply_alone() -> None:
    wire, transport = connection()
    receive(wire, response(b"{}"))
    reply = Mock(**{"on_data.side_effect": RuntimeError("a bug")})
    wire.start(b"", reply)
    wire.data_received(response(b"{}"))
    reply.on_lost.assert_called_once()
    transport.abort.assert_called_once()


class Plain(Collected):
    """Says that the headers are plain, and takes whole bodies from then on, unless they are empty objects."""

    def on_head(self, status: int, headers: ResponseHeaders) -> None:
        super().on_head(status, headers)
        headers.are_plain = True

    def on_plain(self, body: bytes) -> bool:
        if body == b"{}":
            return False
        self.body, self.end = body, "whole"
        return True


def test_what_is_plain_comes_as_a_whole() -> None:
    wire, _ = connection()
    keeper = cast(Mock, wire._keeper)  # pyright: ignore[reportPrivateUsage]
    replies: list[Plain] = []
    for number, sent in enumerate((response(b"1"), response(b"2"), response(b"{}"), response(b"3", b"a: 1"))):
        wire.start(b"", reply := Plain())
        wire.data_received(sent)
        replies.append(reply)
        assert keeper.release.call_count == number + 1, "each time it can serve another"
    assert [(each.body, each.end) for each in replies] == [
        (b"1", "ended"),
        (b"2", "whole"),
        (b"{}", "ended"),
        (b"3", "ended"),
    ]


def test_the_end_of_the_connection_is_no_answer_though_one_came_before() -> None:
    wire, _ = connection()
    receive(wire, b"HTTP/1.1 204 No\r\n\r\n")
    wire.start(b"", reply := Collected())
    wire.connection_lost(None)
    assert reply.end == "lost"
