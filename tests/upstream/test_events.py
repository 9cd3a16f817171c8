"""Server-sent events: the specification's line ends, fields and quirks, however the bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.transport.events import Event, EventParser, EventTooLarge

CAP = 1000


def parse(*chunks: bytes, cap: int = CAP) -> list[Event]:
    parser = EventParser(cap)
    return [event for chunk in chunks for event in parser.feed(chunk)]


STREAMS: dict[str, tuple[bytes, list[Event]]] = {
    "one": (b"data: a\n\n", [Event(b"a")]),
    "no blank": (b"data:a\n\n", [Event(b"a")]),
    "only one blank is taken": (b"data:  a \n\n", [Event(b" a ")]),
    "two lines": (b"data: a\ndata: b\n\n", [Event(b"a\nb")]),
    "an empty line of data": (b"data\ndata\n\n", [Event(b"\n")]),
    "colons in data": (b"data: a:b:\n\n", [Event(b"a:b:")]),
    "two events": (b"data: a\n\ndata: b\n\n", [Event(b"a"), Event(b"b")]),
    "all fields": (b"event: x\nid: 7\nretry: 25\ndata: a\n\n", [Event(b"a", b"x", b"7", 25)]),
    "the name is forgotten": (b"event: x\ndata: a\n\ndata: b\n\n", [Event(b"a", b"x"), Event(b"b")]),
    "an empty name": (b"event:\ndata: a\n\n", [Event(b"a")]),
    "a name alone": (b"event: x\n\ndata: a\n\n", [Event(b"a")]),
    "an id alone": (b"id: 7\n\n", [Event(b"", id=b"7")]),
    "an empty id": (b"id\ndata: a\n\n", [Event(b"a", id=b"")]),
    "NUL in an id": (b"id: \x007\ndata: a\n\n", [Event(b"a")]),
    "a retry alone": (b"retry: 5\n\n", [Event(b"", retry=5)]),
    "a retry that is no number": (b"retry: 5s\nretry: -1\nretry: 99999999999\ndata: a\n\n", [Event(b"a")]),
    "comments": (b": hello\n:\ndata: a\n: hello\n\n: bye\n\n", [Event(b"a")]),
    "unknown fields": (b"datum: a\nDATA: b\n data: c\ndata: d\n\n", [Event(b"d")]),
    "CRLF": (b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", [Event(b"a\nb"), Event(b"c")]),
    "CR": (b"data: a\rdata: b\r\rdata: c\r\r", [Event(b"a\nb"), Event(b"c")]),
    "mixed": (b"data: a\r\ndata: b\rdata: c\n\r\n", [Event(b"a\nb\nc")]),
    "CR, then CRLF": (b"data: a\r\r\n", [Event(b"a")]),
    "CRLF, then LF": (b"data: a\r\n\ndata: b\r\n\n", [Event(b"a"), Event(b"b")]),
    "BOM": (b"\xef\xbb\xbfdata: a\n\n", [Event(b"a")]),
    "BOM later": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [Event(b"a")]),
    "blank lines": (b"\n\r\n\r\n\ndata: a\n\n\n\n", [Event(b"a")]),
    "unfinished": (b"data: a\n\ndata: b\n", [Event(b"a")]),
    "not UTF-8": (b"data: \xff\n\n", [Event(b"\xff")]),
    "nothing": (b"", []),
    "as SDKs write it": (b"event: message\r\ndata: a\r\n\r\n", [Event(b"a")]),
    "as SDKs write it, with an id": (b"event: message\nid: 7\ndata: a\n\n", [Event(b"a", id=b"7")]),
    "with an id before": (b"id: 7\r\nevent: message\r\ndata: \r\n\r\n", [Event(b"", id=b"7")]),
    "with an empty id": (b"id: \ndata: a\n\n", [Event(b"a", id=b"")]),
    "another name": (b"event: ping\r\ndata: a\r\n\r\n", [Event(b"a", b"ping")]),
    "CR in data": (b"data: a\rid: 7\n\n", [Event(b"a", id=b"7")]),
    "LF, then CRLF": (b"data: a\r\ndata: b\n\n", [Event(b"a\nb")]),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_streams(kind: str) -> None:
    stream, events = STREAMS[kind]
    assert parse(stream) == events


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_byte_by_byte(kind: str) -> None:
    stream, events = STREAMS[kind]
    assert parse(*(stream[at : at + 1] for at in range(len(stream)))) == events


LINES = st.lists(
    st.tuples(
        st.sampled_from(
            [b"data: x", b"data", b"id: 1", b"event: e", b"retry: 3", b": c", b"", b"", b"\xef\xbb\xbfdata"]
        ),
        st.sampled_from([b"\n", b"\r", b"\r\n"]),
    )
)


@given(LINES, st.lists(st.integers(0, 200)))
def test_how_the_bytes_are_cut_makes_no_difference(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    stream = b"".join(line + end for line, end in lines)
    edges = [0, *sorted(cuts), len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(edges)]
    assert parse(*chunks, cap=len(stream) + 1) == parse(stream, cap=len(stream) + 1)


@given(st.integers(0, 40), st.integers(1, 40))
def test_the_cap_counts_the_same_however_the_bytes_are_cut(size: int, width: int) -> None:
    stream = b"data: " + b"x" * size + b"\r\n\r\n"
    chunks = [stream[at : at + width] for at in range(0, len(stream), width)]
    if len("data: ") + size + 2 <= 30:  # either line end counts as one
        assert parse(*chunks, cap=30) == [Event(b"x" * size)]
    else:
        with pytest.raises(EventTooLarge):
            parse(*chunks, cap=30)


@pytest.mark.parametrize("stream", [b"x" * (CAP + 1), b"data: x\n" * CAP, b": hello\n" * CAP, b"\r" + b"y" * CAP * 2])
def test_an_event_over_the_cap(stream: bytes) -> None:
    with pytest.raises(EventTooLarge):
        parse(stream)


WHOLE = [b"event: message\r\ndata: a\r\n\r\n", b"id: 7\ndata: b\n\n", b"data: c\n\n"]
PARTS = [
    b"data: d\n",
    b"\n",
    b"\r",
    b"id: 8\r\n",
    b"\xef\xbb\xbf",
    b"event: e\n",
    b"data: f\n\ndata: g\n\n",
    b"data: h",
]


@given(st.lists(st.sampled_from(WHOLE + PARTS)))
def test_events_that_come_whole_make_no_difference(chunks: list[bytes]) -> None:
    stream = b"".join(chunks)
    assert parse(*chunks) == parse(*(stream[at : at + 1] for at in range(len(stream))))


def test_a_whole_event_is_bounded() -> None:
    with pytest.raises(EventTooLarge):
        parse(b"event: message\r\ndata: " + b"x" * CAP + b"\r\n\r\n")


def test_the_cap_is_per_event() -> None:
    assert len(parse(b"data: " + b"x" * 900 + b"\n\n", *[b"data: " + b"x" * 900 + b"\n\n"] * 9)) == 10
    assert parse(*[b": ping\n\n"] * 1000) == []
