"""Streams that broke are taken up again by who they belong to, and by nobody else; so are questions, in both eras."""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Final

import pytest

from tests.interaction._connect import NEAR
from tests.interaction._gateway import PATIENT, Entry, child, http_gateway
from tests.interaction._http import HttpChannel, asked, fields, post, posted, sent
from tests.interaction._requirements import requirement
from tests.interaction._wire import Message, Wire, request
from tests.support import wait_until

KEYS: Final = {"ann": "key-of-ann-0123456789abcdef", "bob": "key-of-bob-0123456789abcdef"}
STREAM: Final = {"Accept": "text/event-stream"}
ASKABLE: Final[Message] = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
"""`_meta` of an agent that can be asked to fill in a form."""


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    id: str
    message: Message | None


@pytest.fixture(scope="module")
def guarded(remote: dict[str, Entry], tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Where a gateway for `KEYS` serves MCP, in front of the `NEAR` upstreams and a program of the handshake era."""
    folder: Path = tmp_path_factory.mktemp("guarded")
    keys = folder / "keys.json"
    keys.write_text(json.dumps([{"key": key, "owner": name, "rate_limit_rpm": -1} for name, key in KEYS.items()]))
    servers = {name: remote[name] for name in NEAR} | {"pipe": child("tests.servers.everything", "--era", "handshake")}
    with http_gateway(folder, servers, auth={"enabled": True, "api_keys_file": str(keys)}, **PATIENT) as gateway:
        yield f"{gateway.base}/mcp"


def as_(name: str) -> dict[str, str]:
    return {"X-Api-Key": KEYS[name]}


def session_of(url: str, name: str) -> dict[str, str]:
    """Open a session; returns the headers that its owner sends with everything."""
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    with posted(url, request("initialize", params), as_(name)) as response:
        assert response.status == 200, response.read()
        session = {"Mcp-Session-Id": response.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-11-25"}
    return session | as_(name)


def events(response: HTTPResponse) -> Iterator[Event]:
    """What comes, with its ids."""
    id = data = ""
    for line in response:
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        if name == "id":
            id = value
        elif name == "data":
            data = value
        elif not name and not value and (id or data):
            yield Event(id, json.loads(data) if data else None)
            id = data = ""


def slow(upstream: str, steps: int, seconds: float) -> Message:
    arguments = {"seconds": seconds, "steps": steps}
    meta = {"progressToken": "p"}
    return request("tools/call", {"name": f"{upstream}__slow", "arguments": arguments, "_meta": meta})


@contextmanager
def broken_after(url: str, session: dict[str, str], message: Message, steps: int) -> Generator[str]:
    """Call, hear so many notifications, and lose the connection; yields the id of the last event that was seen."""
    with posted(url, message, session) as response:
        stream = events(response)
        seen = [event for event in (next(stream) for _ in range(steps + 1)) if event.message is not None]
        assert [event.message["params"]["progress"] for event in seen if event.message] == list(range(1, steps + 1))
        last = seen[-1].id
    yield last


@contextmanager
def resumed(url: str, session: dict[str, str], last: str) -> Generator[Iterator[Event]]:
    with sent("GET", url, None, STREAM | session | {"Last-Event-ID": last}) as response:
        assert response.status == 200, response.read()
        yield events(response)


def status_of(url: str, session: dict[str, str], last: str) -> tuple[int, Any]:
    with sent("GET", url, None, STREAM | session | {"Last-Event-ID": last}) as response:
        return response.status, json.loads(response.read())


@requirement("resume:rest")
@pytest.mark.parametrize("upstream", NEAR)
def test_who_lost_the_stream_of_a_call_gets_the_rest_of_it(guarded: str, upstream: str) -> None:
    session, message = session_of(guarded, "ann"), slow(upstream, 6, 0.6)
    with broken_after(guarded, session, message, 2) as last, resumed(guarded, session, last) as stream:
        rest = [event.message for event in stream if event.message is not None]
    assert [one["params"]["progress"] for one in rest[:-1]] == [3, 4, 5, 6]
    assert rest[-1]["id"] == message["id"]
    assert rest[-1]["result"]["content"]


@requirement("resume:rest")
def test_and_so_does_who_comes_back_after_its_end_or_twice(guarded: str) -> None:
    session, message = session_of(guarded, "ann"), slow(NEAR[0], 3, 0.3)
    other = session_of(guarded, "ann")
    wire = Wire(HttpChannel(guarded, other), modern=False)
    with broken_after(guarded, session, message, 1) as last:
        while wire.call(f"{NEAR[0]}__cancelled_calls").result["structuredContent"]["running"]:
            pass
        for _ in range(2):
            with resumed(guarded, session, last) as stream:
                rest = [event.message for event in stream if event.message is not None]
            assert [one["params"]["progress"] for one in rest[:-1]] == [2, 3]
            assert "result" in rest[-1]


@requirement("resume:own")
def test_nobody_else_can_take_a_stream_up(guarded: str) -> None:
    """Another principal's session is to it like one that never was; another session of one's own has other streams."""
    mine, message = session_of(guarded, "ann"), slow(NEAR[0], 4, 0.8)
    with broken_after(guarded, mine, message, 1) as last:
        theirs = mine | as_("bob")
        unknown = mine | as_("bob") | {"Mcp-Session-Id": "nonesuch"}
        assert status_of(guarded, theirs, last) == status_of(guarded, unknown, last)
        assert status_of(guarded, theirs, last)[0] == 404
        assert post(guarded, request("ping"), theirs)[0] == 404
        other = session_of(guarded, "ann")
        assert status_of(guarded, other, last)[0] == 400
        assert status_of(guarded, {**mine, "X-Api-Key": "nonesuch"}, last)[0] == 401
        with resumed(guarded, mine, last) as stream:
            assert "result" in [event.message for event in stream if event.message is not None][-1]


@requirement("resume:own")
@pytest.mark.parametrize("last", ["nonesuch", "", "-", "1-", "99-1", "1-x", "-1-1", "1-1-1", "٣-١", "9" * 5000])
def test_an_event_that_never_was_is_400(guarded: str, last: str) -> None:
    session = session_of(guarded, "ann")
    status, answer = status_of(guarded, session, last.encode().decode("latin-1"))
    assert (status, answer["error"]["code"]) == (400, -32600)
    assert "again" in answer["error"]["message"]


# --- Parked calls over HTTP ------------------------------------------------------------------------------------------


def ask(upstream: str, name: str, **more: Any) -> tuple[Message, dict[str, str]]:
    """A modern call that asks for a form, and the headers of whose it is."""
    arguments = {"word": "w", "kinds": ["form"], **more.pop("arguments", {})}
    params: Message = {"name": f"{upstream}__ask", "arguments": arguments, "_meta": ASKABLE, **more}
    return request("tools/call", params, modern=True), as_(name)


def parked(url: str, upstream: str, **arguments: Any) -> dict[str, Any]:
    """What brings the answer to a call of ann's that was asked something."""
    status, answer = post(url, *ask(upstream, "ann", arguments=arguments))
    assert (status, answer["result"]["resultType"]) == (200, "input_required"), answer
    accepted = {"action": "accept", "content": {"answer": "a"}}
    answers = dict.fromkeys(answer["result"]["inputRequests"], accepted)
    return {"requestState": answer["result"]["requestState"], "inputResponses": answers, "arguments": arguments}


@requirement("parked:bound")
@pytest.mark.parametrize("upstream", ["pipe", *NEAR])
def test_a_question_is_answered_by_who_was_asked(guarded: str, upstream: str) -> None:
    again = parked(guarded, upstream)
    status, refused = post(guarded, *ask(upstream, "bob", **again))
    assert (status, refused["error"]["code"]) == (400, -32602)
    assert refused["error"]["data"] == {"reason": "invalid_request_state"}
    status, refused = post(guarded, *ask(upstream, "ann", **{**again, "requestState": "garbage"}))
    assert (status, refused["error"]["code"]) == (400, -32602)
    again_with_arguments = {**again, "arguments": {"word": "other"}}
    assert post(guarded, *ask(upstream, "ann", **again_with_arguments))[1]["error"]["code"] == -32602
    status, done = post(guarded, *ask(upstream, "ann", **{**again, "arguments": {}}))
    assert (status, done["result"]["structuredContent"]["form-1"]["content"]) == (200, {"answer": "a"})


@requirement("parked:left")
@pytest.mark.parametrize("upstream", ["pipe", NEAR[0]])
@pytest.mark.anyio
async def test_who_leaves_while_the_upstream_works_on_its_answer_cancels_the_call(guarded: str, upstream: str) -> None:
    def counts() -> dict[str, int]:
        params: Message = {"name": f"{upstream}__cancelled_calls", "arguments": {}, "_meta": ASKABLE}
        return post(guarded, request("tools/call", params, modern=True), as_("ann"))[1]["result"]["structuredContent"]

    before = counts()["cancelled"]
    message, headers = ask(upstream, "ann", **parked(guarded, upstream, then=60))
    with asked("POST", guarded, json.dumps(message).encode(), fields(message) | headers) as connection:
        connection.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.getresponse()
    await wait_until(lambda: counts() == {"running": 0, "cancelled": before + 1})
