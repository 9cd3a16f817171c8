"""A session's streams without sockets: what is kept of each, and what a client that comes back hears."""

import json
from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.frontend.streams import MAX_ANSWERS, MAX_BYTES, MAX_EVENTS, RETRY_MS, Channel, FormerStream, Streams

Seen = tuple[str, Any]
"""`(event id, message or None)`"""


class Client:
    """A connection, and what its client sees."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.raw = b""
        self.ended = False

    def push(self, data: bytes, *, must: bool = False) -> None:
        assert not self.ended
        self.raw += data
        fields = dict(line.split(": ", 1) for line in data.decode().splitlines() if line)
        self.seen.append((fields["id"], json.loads(fields["data"]) if fields["data"] else None))

    def end(self) -> None:
        self.ended = True

    @property
    def said(self) -> list[Any]:
        return [message["n"] for _, message in self.seen if message is not None]

    @property
    def last(self) -> str:
        return self.seen[-1][0]


def say(channel: Channel, *numbers: int) -> None:
    for number in numbers:
        channel.push({"n": number})


def back(streams: Streams, last_event_id: str, *, prime: bool = False) -> Client:
    """A client that comes back with an id."""
    client = Client()
    found = streams.find(last_event_id)
    assert not isinstance(found, FormerStream)
    channel, after = found
    channel.attach(client, after, prime=prime)
    return client


def test_who_comes_back_hears_the_rest_of_its_own_stream_and_then_what_follows() -> None:
    streams = Streams()
    mine, other = streams.open(), streams.open()
    first = Client()
    mine.attach(first, 0, prime=True)
    say(mine, 1)
    say(other, 100)
    mine.detach(first)
    say(mine, 2)
    say(other, 200)
    second = back(streams, first.last)
    assert second.said == [2]
    say(mine, 3)
    mine.end()
    assert (first.said, second.said) == ([1], [2, 3])
    assert second.ended


def test_it_may_come_back_more_than_once_and_after_the_end() -> None:
    streams = Streams()
    channel = streams.open()
    client = Client()
    channel.attach(client, 0, prime=True)
    say(channel, 1, 2)
    channel.end()
    for id, rest in ((client.seen[0][0], [1, 2]), (client.seen[1][0], [2]), (client.seen[2][0], [])):
        again = back(streams, id)
        assert again.said == rest
        assert again.ended


def test_priming_gives_an_id_before_there_is_a_message() -> None:
    streams = Streams()
    channel, client = streams.open(), Client()
    channel.attach(client, 0, prime=True)
    assert client.raw == b"id: %s\nretry: %d\ndata: \n\n" % (client.last.encode(), RETRY_MS)
    channel.detach(client)
    say(channel, 1)
    again = back(streams, client.last, prime=True)
    assert again.seen[0] == (client.last, None)
    assert again.said == [1]


def test_a_new_connection_takes_over_from_one_that_nobody_missed_yet() -> None:
    streams = Streams()
    channel, old = streams.open(), Client()
    channel.attach(old, 0, prime=True)
    new = back(streams, old.last)
    assert old.ended
    channel.detach(old)
    say(channel, 1)
    assert new.said == [1]


def test_ids_are_unique_within_the_session() -> None:
    streams = Streams()
    channels = [streams.standing, streams.open(), streams.open()]
    clients = [Client() for _ in channels]
    for channel, client in zip(channels, clients, strict=True):
        channel.attach(client, prime=False)
    for _ in range(5):
        for channel in channels:
            say(channel, 1)
    ids = [id for client in clients for id, _ in client.seen]
    assert len(set(ids)) == 15


@pytest.mark.parametrize("id", ["", "-", "7", "9-1", "x-1", "0-x", "-1-1", "0--1", "0-1-1", "٣-1", "9" * 40 + "-1"])
def test_an_id_of_no_stream_is_refused(id: str) -> None:
    with pytest.raises(InvalidRequest, match="Last-Event-ID"):
        Streams().find(id)


@pytest.mark.parametrize("request_id", [1, -5, 0, "a", "a-b.c~d", "ü", "", 1.0, 2**60, "x" * 200])
def test_an_event_of_another_run_says_where_it_was_and_what_it_answers(request_id: int | str | float) -> None:
    before, after = Streams(node="here.1"), Streams(node="here.2")
    channel = before.open(None, request_id)
    named = None if request_id == "x" * 200 else request_id
    assert after.find(channel.id(7)) == FormerStream("here.1", False, 1, 7, named)
    assert after.find(before.standing.id(3)) == FormerStream("here.1", True, 0, 3, None)
    assert before.find(channel.id(7)) == (channel, 7)
    with pytest.raises(InvalidRequest):
        after.find("0-3")


def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    streams = Streams()
    old, new, client = streams.open(), streams.open(), Client()
    old.attach(client, 0, prime=True)
    say(old, 1)
    old.end()
    say(new, *range(MAX_EVENTS))
    with pytest.raises(InvalidRequest):
        streams.find(client.last)
    assert back(streams, new.id(0)).said == list(range(MAX_EVENTS))
    new.push({"n": 1, "filler": "x" * MAX_BYTES}, must=True)
    assert back(streams, new.id(0)).said == [1]


def test_of_answers_in_one_piece_the_latest_are_kept() -> None:
    streams = Streams()
    talking, client = streams.open(), Client()
    talking.attach(client, 0, prime=True)
    say(talking, 1)
    answered = [streams.open() for _ in range(MAX_ANSWERS + 1)]
    for number, channel in enumerate(answered):
        channel.answer({"n": number})
    with pytest.raises(InvalidRequest):
        streams.find(answered[0].id(0))
    assert back(streams, answered[1].id(0)).said == [1]
    assert back(streams, answered[-1].id(0)).said == [MAX_ANSWERS]
    assert back(streams, talking.id(0)).said == [1], "which is of another stream"


def test_the_standing_stream_keeps_what_no_connection_took_whatever_else_is_said() -> None:
    streams = Streams()
    say(streams.standing, 1)
    other = streams.open()
    say(other, *range(2 * MAX_EVENTS))
    client = Client()
    streams.standing.attach(client, prime=False)
    assert client.said == [1]
    streams.standing.detach(client)
    streams.standing.attach(again := Client(), prime=False)
    assert again.said == []


def test_the_same_change_is_kept_once() -> None:
    streams, client = Streams(), Client()
    for number in (1, 1, 2, 1):
        streams.standing.push({"n": number}, once=True)
    streams.standing.attach(client, prime=False)
    assert client.said == [1, 2]
    streams.standing.push({"n": 1}, once=True)
    assert client.said == [1, 2, 1]
