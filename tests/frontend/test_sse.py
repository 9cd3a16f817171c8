"""The legacy HTTP+SSE transport on the wire."""

import json

import pytest

from tests.interaction._http import JSON, post, sent, sse
from tests.interaction._requirements import requirement
from tests.interaction._wire import INITIALIZED, request, shake_hands
from tests.servers.peers import OPENING
from tests.support import wait_until


@requirement("sse:endpoint")
def test_the_first_event_says_where_to_post(base: str) -> None:
    with sent("GET", f"{base}/sse", None, {"Accept": "text/event-stream"}) as response:
        assert response.headers.get_content_type() == "text/event-stream"
        assert response.readline() == b"event: endpoint\n"
        name, _, path = response.readline().decode().strip().partition(": ")
        assert name == "data"
        assert path.startswith("/messages?session_id=")
        assert len(path.partition("=")[2]) >= 22, "not to be guessed"


@requirement("sse:endpoint")
def test_each_connection_hears_its_own_answers(base: str) -> None:
    with sse(base) as one, sse(base) as other:
        assert one.endpoint != other.endpoint
        for channel in (one, other):
            shake_hands(channel)
        for channel, name in ((one, "one"), (other, "other")):
            channel.send(request("tools/call", {"name": "raw__echo", "arguments": {"who": name}}, id=1))
        for channel, name in ((other, "other"), (one, "one")):
            assert channel.receive()["result"]["structuredContent"] == {"who": name}


@requirement("sse:malformed")
def test_what_is_no_message_is_refused_where_it_is_posted(base: str) -> None:
    with sse(base) as channel:
        for body, status in ((b"{", 400), (b"[]", 400), (b"x" * 100_000, 413)):
            with sent("POST", channel.endpoint, body, JSON) as response:
                assert response.status == status
        with sent("POST", channel.endpoint, b"{}", {"Content-Type": "text/plain"}) as response:
            assert response.status == 415
        shake_hands(channel)


@requirement("sse:unknown")
@pytest.mark.anyio
async def test_a_connection_that_is_not_there_is_404(base: str) -> None:
    with sse(base) as channel:
        gone = channel.endpoint
    for endpoint in (f"{base}/messages", f"{base}/messages?session_id=nonesuch"):
        status, answer = post(endpoint, request("ping"))
        assert (status, answer["error"]["code"]) == (404, -32600)
    await wait_until(lambda: post(gone, request("ping"))[0] == 404)


@requirement("open:unasked")
def test_nothing_is_sent_unasked_before_the_handshake(base: str) -> None:
    with sse(base) as quiet, sse(base) as busy:
        shake_hands(busy)
        busy.send(request("tools/call", {"name": "all__add_tool", "arguments": {"name": "unasked"}}, id=1))
        while busy.receive().get("method") != "notifications/tools/list_changed":
            pass
        busy.send(request("tools/call", {"name": "all__remove_tool", "arguments": {"name": "unasked"}}, id=2))
        while busy.receive().get("method") != "notifications/tools/list_changed":
            pass
        *before, answer = quiet.exchange(request("initialize", OPENING))
        assert before == []
        assert json.dumps(answer["result"])
        quiet.send(INITIALIZED)
