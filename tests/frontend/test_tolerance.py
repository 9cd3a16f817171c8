"""What agents in the field send that is not quite JSON-RPC, or not quite MCP, and can mean one thing only."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from tests.frontend.test_http import post_bytes
from tests.interaction._gateway import PATIENT, child, config_file, http_gateway, stdio_command
from tests.interaction._http import BOTH, JSON, open_session, post, posted, sent
from tests.interaction._wire import Pipe, piped, request, shake_hands
from tests.servers.peers import OPENING, SECONDS

BOM = b"\xef\xbb\xbf"


def ping(id: str) -> bytes:
    return b'{"jsonrpc": "2.0", "id": %s, "method": "ping"}' % id.encode()


def started(folder: Path) -> list[str]:
    return stdio_command(config_file(folder, {"raw": child("tests.servers.raw")}, **PATIENT))


def rest(pipe: Pipe) -> list[dict[str, Any]]:
    """Close stdin; what still comes, but for news of lists."""
    pipe.stdin.close()
    messages = [json.loads(line) for line in iter(pipe.line, b"")]
    assert pipe.process.wait(SECONDS) == 0
    return [message for message in messages if "id" in message]


def answered(pipe: Pipe) -> bytes:
    """The next line that is no news of lists."""
    while b'/list_changed"' in (line := pipe.line()):
        pass
    return line


def test_a_byte_order_mark_before_the_first_message(url: str, tmp_path: Path) -> None:
    assert post_bytes(url, BOM + ping("1")) == (200, {"jsonrpc": "2.0", "id": 1, "result": {}})
    with piped(started(tmp_path)) as pipe:
        pipe.send(BOM + json.dumps(request("initialize", OPENING, id=7)).encode())
        assert pipe.receive()["id"] == 7


def test_an_id_that_is_a_whole_number_is_one(url: str, tmp_path: Path) -> None:
    assert post_bytes(url, ping("2.0")) == (200, {"jsonrpc": "2.0", "id": 2, "result": {}})
    with piped(started(tmp_path)) as pipe:
        shake_hands(pipe)
        pipe.send(ping("2.0"))
        assert answered(pipe) == b'{"jsonrpc":"2.0","id":2.0,"result":{}}'


def test_the_last_line_need_not_end(tmp_path: Path) -> None:
    with piped(started(tmp_path)) as pipe:
        shake_hands(pipe)
        call = request("tools/call", {"name": "raw__echo", "arguments": {"a": 1}}, id="last")
        pipe.stdin.write(json.dumps(call).encode())
        (answer,) = rest(pipe)
        assert (answer["id"], answer["result"]["structuredContent"]) == ("last", {"a": 1})
    with piped(started(tmp_path)) as pipe:
        shake_hands(pipe)
        pipe.stdin.write(b" ")
        assert rest(pipe) == []


def test_half_a_surrogate_pair_passes_in_both_directions(url: str, tmp_path: Path) -> None:
    params = rb'{"name":"raw__echo","arguments":{"cut \ud83d":"\udc00"}}'
    cut = rb'{"jsonrpc":"2.0","id":5,"method":"tools/call","params":%b}' % params
    status, answer = post_bytes(url, cut)
    assert status == 200
    assert answer["result"]["structuredContent"] == {"cut \ud83d": "\udc00"}
    with piped(started(tmp_path)) as pipe:
        shake_hands(pipe)
        pipe.send(cut)
        assert rb'{"cut \ud83d":"\udc00"}' in answered(pipe)
        # Nor does it hurt where it is logged, or is nobody's name.
        for method in (rb"tools/call", rb"cut \ud83d/call"):
            pipe.send(rb'{"jsonrpc":"2.0","id":6,"method":"%s","params":{"name":"\ud83d","uri":"\ud83d:"}}' % method)
            assert json.loads(answered(pipe))["error"]["code"] in (-32602, -32601)


@pytest.mark.parametrize("modern", [False, True])
def test_an_empty_array_where_only_an_object_can_be(url: str, modern: bool) -> None:
    assert post_bytes(url, b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": []}')[1]["result"]["tools"]
    call = request("tools/call", {"name": "raw__echo", "arguments": []}, modern=modern)
    if modern:
        call["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = []
    status, answer = post(url, call)
    assert (status, answer["result"]["structuredContent"]) == (200, {})


def test_capabilities_of_clients_that_know_no_empty_object(url: str) -> None:
    declared: list[Any] = [[], {"sampling": [], "elicitation": {"form": []}, "roots": []}]
    for capabilities in declared:
        opening = request("initialize", {**OPENING, "capabilities": capabilities})
        assert post(url, opening)[1]["result"]["protocolVersion"] == OPENING["protocolVersion"]
    assert post(url, request("tools/list"), open_session(url))[0] == 200


# --- Batches ----------------------------------------------------------------------------------------------------------

OLD = {**OPENING, "protocolVersion": "2025-03-26"}
BATCH = [
    request("ping", id="a"),
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    request("tools/call", {"name": "raw__echo", "arguments": {"a": 1}}, id="b"),
    request("nonesuch/method", id="c"),
]


def judge(answers: list[dict[str, Any]]) -> None:
    by_id = {answer["id"]: answer for answer in answers}
    assert by_id["a"]["result"] == {}
    assert by_id["b"]["result"]["structuredContent"] == {"a": 1}
    assert by_id["c"]["error"]["code"] == -32601
    assert len(answers) == 3


def session_of(url: str, opening: dict[str, Any]) -> dict[str, str]:
    with posted(url, request("initialize", opening)) as response:
        session = {"Mcp-Session-Id": response.headers["Mcp-Session-Id"]}
        response.read()
    return session


def test_a_session_of_2025_03_26_may_send_batches(url: str) -> None:
    session = session_of(url, OLD)
    status, answers = post_bytes(url, json.dumps(BATCH).encode(), **session)
    assert status == 200
    judge(answers)
    with sent("POST", url, json.dumps(BATCH[1:2]).encode(), BOTH | JSON | session) as response:
        assert (response.status, response.read()) == (202, b"")
    for wrong in ([], [request("initialize", OLD)], [request("ping")] * 101, [7]):
        assert post_bytes(url, json.dumps(wrong).encode(), **session)[1]["error"]["code"] == -32600


def test_the_answers_to_a_batch_are_bounded_together(tmp_path: Path) -> None:
    servers = {"raw": child("tests.servers.raw")}
    with http_gateway(tmp_path, servers, max_backlog_per_stream="64KiB", **PATIENT) as gateway:
        url = f"{gateway.base}/mcp"
        session = session_of(url, OLD)
        arguments = {"a": "x" * 60_000}
        batch = [request("tools/call", {"name": "raw__echo", "arguments": arguments}, id=number) for number in range(5)]
        status, answers = post_bytes(url, json.dumps(batch).encode(), **session)
        assert status == 200
        assert sorted(answer["id"] for answer in answers) == [0, 1, 2, 3, 4]
        assert 1 <= sum("result" in answer for answer in answers) <= 2
        assert {answer["error"]["code"] for answer in answers if "error" in answer} == {-32006}
        assert len(post_bytes(url, json.dumps(batch[:1]).encode(), **session)[1]) == 1


def test_nobody_else_may(url: str, tmp_path: Path) -> None:
    for session in ({}, session_of(url, OPENING)):
        status, answer = post_bytes(url, json.dumps(BATCH).encode(), **session)
        assert (status, answer["error"]["code"]) == (400, -32600)
    with piped(started(tmp_path)) as pipe:
        shake_hands(pipe)
        pipe.send(json.dumps(BATCH).encode())
        assert json.loads(answered(pipe))["error"]["code"] == -32600


def test_a_batch_over_stdio(tmp_path: Path) -> None:
    with piped(started(tmp_path)) as pipe:
        pipe.send(request("initialize", OLD, id=0))
        assert pipe.receive()["result"]["protocolVersion"] == "2025-03-26"
        pipe.send(json.dumps(BATCH).encode())
        answers: Any = None
        while not isinstance(answers, list):
            answers = json.loads(pipe.line())
        judge(cast("list[dict[str, Any]]", answers))
