"""When an answer comes as JSON and when as an event stream, and how a stream is kept open."""

import json

import pytest

from tests.frontend.conftest import KEEPALIVE
from tests.interaction._http import events, open_session, posted, sent
from tests.interaction._requirements import requirement
from tests.interaction._wire import Message, request

ERAS = pytest.mark.parametrize("modern", [False, True], ids=["handshake", "modern"])


def slow(modern: bool, seconds: float, **meta: object) -> Message:
    params = {"name": "all__slow", "arguments": {"seconds": seconds, "steps": 1}, "_meta": meta}
    return request("tools/call", params, modern=modern)


@requirement("http:json-or-stream")
@ERAS
def test_an_answer_that_nothing_precedes_is_json(url: str, modern: bool) -> None:
    for message in (request("tools/list", modern=modern), slow(modern, 0), request("nonesuch", modern=modern)):
        with posted(url, message) as response:
            assert response.headers.get_content_type() == "application/json"
            assert int(response.headers["Content-Length"]) == len(response.read())


@requirement("http:json-or-stream")
@ERAS
def test_an_answer_after_something_else_ends_a_stream(url: str, modern: bool) -> None:
    with posted(url, slow(modern, 0, progressToken="t")) as response:
        assert response.status == 200
        assert response.headers.get_content_type() == "text/event-stream"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert "no-cache" in response.headers["Cache-Control"]
        (first, progress), (second, answer) = events(response)
    assert (first, second) == ("message", "message")
    assert json.loads(progress)["method"] == "notifications/progress"
    assert json.loads(answer)["result"]


@requirement("http:json-or-stream")
@ERAS
def test_who_accepts_no_stream_gets_the_answer_alone(url: str, modern: bool) -> None:
    with posted(url, slow(modern, KEEPALIVE * 2, progressToken="t"), {"Accept": "application/json"}) as response:
        assert response.headers.get_content_type() == "application/json"
        assert json.loads(response.read())["result"]


@requirement("http:keepalive")
@ERAS
def test_a_silent_call_becomes_a_stream_that_is_kept_alive(url: str, modern: bool) -> None:
    with posted(url, slow(modern, KEEPALIVE * 3.5)) as response:
        assert response.headers.get_content_type() == "text/event-stream"
        *comments, (event, answer) = events(response)
    assert event == "message"
    assert json.loads(answer)["result"]
    assert len(comments) >= 1
    assert {event for event, _ in comments} == {":"}


@requirement("http:keepalive")
def test_standing_streams_are_kept_alive(base: str) -> None:
    session = open_session(f"{base}/mcp")
    listen = request("subscriptions/listen", {"notifications": {}}, modern=True)
    with (
        sent("GET", f"{base}/mcp", None, session | {"Accept": "text/event-stream"}) as standing,
        sent("GET", f"{base}/sse", None, {"Accept": "text/event-stream"}) as legacy,
        posted(f"{base}/mcp", listen) as listening,
    ):
        for response, before in ((standing, 0), (legacy, 1), (listening, 1)):
            kinds = events(response)
            for _ in range(before):
                assert next(kinds)[0] != ":"
            assert [next(kinds)[0] for _ in range(2)] == [":", ":"]


@requirement("listen:acknowledged")
def test_listening_needs_a_stream(url: str) -> None:
    listen = request("subscriptions/listen", {"notifications": {}}, modern=True)
    with posted(url, listen, {"Accept": "application/json"}) as response:
        assert response.status == 406
