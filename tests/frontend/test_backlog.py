"""Who does not read: notifications are lost, then the stream; the bytes kept for anybody are bounded."""

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from fastapi import FastAPI

from gateway import jsonrpc
from gateway.frontend.backlog import Backlog, Backlogs
from gateway.frontend.call_response import EventStream
from gateway.frontend.silence import Silence
from gateway.frontend.streams import MAX_BYTES, Streams
from gateway.request import ANONYMOUS, Principal
from gateway.rest.docs import SLICE, docs_routes
from tests.frontend.ends import Client
from tests.interaction._gateway import PATIENT, config_file, http_gateway, stdio_command
from tests.interaction._wire import piped, request, shake_hands, until_answer
from tests.servers.peers import SECONDS
from tests.support import wait_until

KEY, AGENT, OTHER = Principal("key:a"), Principal("agent:b", root="key:a"), Principal("key:c")

# --- The account ------------------------------------------------------------------------------------------------------


def filled(everywhere: Backlogs, principal: Principal | None, size: int) -> Backlog:
    backlog = everywhere.open(principal)
    backlog.add(size)
    return backlog


def test_a_stream_is_full_at_its_cap_but_an_answer_has_room_once_more() -> None:
    backlog = filled(Backlogs(1000, 500, 100), KEY, 60)
    assert backlog.has_room(40)
    assert not backlog.has_room(41)
    assert backlog.has_room(300, must=True)
    backlog.add(300)
    assert not backlog.has_room(1, must=True)
    backlog.remove(360)
    assert backlog.has_room(5000), "one message that waits alone was let in as one"


def test_agents_of_one_principal_share_its_room_and_leave_others_theirs() -> None:
    everywhere = Backlogs(1000, 500, 300)
    filled(everywhere, KEY, 250)
    filled(everywhere, AGENT, 250)
    assert not everywhere.open(KEY).has_room(1, must=True)
    assert not everywhere.open(AGENT).has_room(1, must=True)
    assert everywhere.open(OTHER).has_room(300)
    filled(everywhere, OTHER, 500)
    assert not everywhere.open(Principal("key:d")).has_room(1, must=True), "there is a cap of all"


def test_strangers_share_one_small_account_and_nobody_is_limited_twice_without_authentication() -> None:
    everywhere = Backlogs(1000, 500, 100)
    assert filled(everywhere, None, 60).has_room(40)
    filled(everywhere, None, 40)
    assert not everywhere.open().has_room(1)
    assert everywhere.open(KEY).has_room(100)
    filled(everywhere, ANONYMOUS, 600)
    assert everywhere.open(ANONYMOUS).has_room(100)


def test_nothing_is_left_of_what_went() -> None:
    everywhere = Backlogs()
    backlog = filled(everywhere, None, 60)
    backlog.belongs_to(AGENT)
    assert everywhere.of == {"key:a": 60}
    backlog.resize(10)
    backlog.clear()
    assert (everywhere.total, everywhere.of) == (0, {})


# --- Connections ------------------------------------------------------------------------------------------------------


def test_a_connection_that_is_not_read_is_counted_and_at_last_aborted() -> None:
    waiting = Backlogs(1000, 500, 100)
    clients = [Client(waiting=waiting) for _ in range(3)]
    for client, principal in zip(clients, (KEY, AGENT, OTHER), strict=True):
        client.send(b"GET /mcp HTTP/1.1\r\nHost: x\r\n\r\n")
        client.connection.belongs_to(principal)
        client.transport.unread = 300
        client.connection.pause_writing()
    assert [client.transport.aborted for client in clients] == [False, True, False], (
        "600 are too many for the first two"
    )
    assert (waiting.total, waiting.lost) == (600, 1)
    clients[0].connection.resume_writing()
    clients[2].connection.connection_lost(None)
    assert waiting.total == 0


# --- Streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_loses_notifications_by_their_size_then_itself() -> None:
    waiting, client = Backlogs(1000, 500, 100), Client()
    loop: Any = client.loop
    stream = EventStream(client.ask(), Silence(60, loop), waiting.open(KEY))
    stream.open(())
    client.connection.pause_writing()
    for _ in range(5):
        stream.push(b"x" * 40)
    assert waiting.total == 80
    stream.push(b"answer" * 10, must=True)
    assert (waiting.total, client.transport.aborted) == (140, False)
    assert stream.is_full
    stream.push(b"another", must=True)
    assert (waiting.total, waiting.lost, client.transport.aborted) == (0, 1, True)
    stream.push(b"and another", must=True)
    assert waiting.total == 0


def test_what_a_session_keeps_is_counted_and_bounded_too() -> None:
    kept = Backlogs(3 * MAX_BYTES, 2 * MAX_BYTES, MAX_BYTES)
    streams = [Streams(kept.open(KEY)) for _ in range(3)]

    def say(streams: Streams, size: int, *, must: bool) -> None:
        streams.standing.push(jsonrpc.notification("x", {"text": "x" * size}), must=must)

    for one in streams:
        say(one, MAX_BYTES, must=False)
    assert kept.total == 0, "a notification that large is not kept at all"
    for one in streams:
        say(one, MAX_BYTES, must=True)
    assert MAX_BYTES < kept.total <= 2 * MAX_BYTES + 100, "an answer is, while there is room"
    for one in streams:
        say(one, 10, must=False)
        one.clear()
        say(one, 10, must=True)
    assert (kept.total, kept.of) == (0, {})


# --- As agents know it ------------------------------------------------------------------------------------------------

FLOODED = 20_000
SIZE = 1000
FLOOD = """
import json, sys
def say(**message): sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\\n")
for line in sys.stdin:
    message = json.loads(line)
    method, id, params = message["method"], message.get("id"), message.get("params")
    if method == "initialize":
        info = {"name": "flood", "version": "1"}
        say(id=id, result={"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info})
    elif method == "tools/list":
        say(id=id, result={"tools": [{"name": "flood", "inputSchema": {"type": "object"}}]})
    elif method == "tools/call":
        for number in range(int(sys.argv[1])):
            token = params["_meta"]["progressToken"]
            progress = {"progressToken": token, "progress": number, "message": "x" * int(sys.argv[2])}
            say(method="notifications/progress", params=progress)
        sys.stdout.flush()
        open(sys.argv[3], "w").close()
        say(id=id, result={"content": []})
    elif id is not None:
        say(id=id, error={"code": -32601, "message": method})
    sys.stdout.flush()
"""
CALL = request("tools/call", {"name": "up__flood", "_meta": {"progressToken": "t"}}, id="call")


def flooding(folder: Path) -> tuple[dict[str, Any], Path]:
    done = folder / "done"
    return {"up": {"command": sys.executable, "args": ["-c", FLOOD, str(FLOODED), str(SIZE), str(done)]}}, done


def judge(messages: list[dict[str, Any]]) -> None:
    """What a client reads that began when all had been said, or nearly: some of the notifications, and the answer."""
    *heard, answer = messages
    assert answer == {"jsonrpc": "2.0", "id": "call", "result": {"content": []}}
    numbers = [message["params"]["progress"] for message in heard]
    assert numbers == sorted(numbers)
    assert 0 < len(numbers) < FLOODED / 2


def test_a_stdio_client_that_does_not_read(tmp_path: Path) -> None:
    servers, done = flooding(tmp_path)
    args = stdio_command(config_file(tmp_path, servers, **PATIENT, max_backlog_per_stream="256KiB"))
    with piped(args) as pipe:
        shake_hands(pipe)
        pipe.send(CALL)
        anyio.run(wait_until, done.exists, SECONDS)
        messages: list[dict[str, Any]] = []
        while not messages or messages[-1].get("id") != "call":
            messages.append(pipe.receive())
        judge([message for message in messages if not message.get("method", "").endswith("/list_changed")])
        pipe.send(request("ping", id="still there"))
        assert [one for one in until_answer(pipe.receive, "still there") if "id" in one][-1]["result"] == {}


def test_an_http_client_that_does_not_read(tmp_path: Path) -> None:
    servers, done = flooding(tmp_path)
    with http_gateway(tmp_path, servers, **PATIENT, max_backlog_per_stream="256KiB") as gateway:
        url = urlsplit(gateway.base)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(SECONDS)
            client.connect((url.hostname, url.port))
            body = json.dumps(CALL).encode()
            head = (
                f"POST /mcp HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\nConnection: close\r\n"
                f"Accept: application/json, text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            client.sendall(head.encode() + body)
            anyio.run(wait_until, done.exists, SECONDS)
            got = b"".join(iter(lambda: client.recv(1 << 20), b""))
        judge([json.loads(line.removeprefix(b"data: ")) for line in _lines(got) if line.startswith(b"data: ")])


def _lines(response: bytes) -> Iterator[bytes]:
    """The lines of a chunked body."""
    rest = response.partition(b"\r\n\r\n")[2]
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    yield from body.splitlines()


def test_the_assets_of_docs_are_sent_slice_by_slice() -> None:
    app = FastAPI()
    app.include_router(docs_routes())
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(event: Any) -> None:
        sent.append(event)

    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": "/docs/swagger-ui-bundle.js",
        "headers": [],
        "query_string": b"",
    }
    anyio.run(app, scope, receive, send)
    sizes = [len(event["body"]) for event in sent[1:]]
    assert max(sizes) <= SLICE <= 64 * 1024
    assert dict(sent[0]["headers"])[b"content-length"] == b"%d" % sum(sizes)


@pytest.mark.parametrize("limit", ["1MiB"])
def test_max_memory_counts_on_stdio_too(tmp_path: Path, limit: str) -> None:
    servers, _ = flooding(tmp_path)
    with piped(stdio_command(config_file(tmp_path, servers, **PATIENT, max_memory=limit))) as pipe:
        answer: dict[str, Any] = {}
        while "error" not in answer:
            pipe.send(request("ping", id=1))
            *_, answer = until_answer(pipe.receive, 1)
        assert "max_memory" in answer["error"]["message"]
