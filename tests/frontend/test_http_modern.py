"""Streamable HTTP of 2026-07-28: every request says in headers what it says in its body, and stands alone."""

import base64
import json
from typing import Any

import pytest

from tests.interaction._http import fields, kept_alive, post, posted, sent
from tests.interaction._requirements import requirement
from tests.interaction._wire import Message, request
from tests.servers.peers import ENVELOPE

CALL = request("tools/call", {"name": "raw__echo", "arguments": {"a": 1}}, modern=True)
READ = request("resources/read", {"uri": "raw://odd"}, modern=True)
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"


def without(message: Message, key: str) -> Message:
    """The message with one key less in its envelope."""
    meta = {name: value for name, value in message["params"]["_meta"].items() if name != key}
    return message | {"params": message["params"] | {"_meta": meta}}


@requirement("modern:headers")
def test_headers_that_say_what_the_body_says_are_accepted(url: str) -> None:
    for message in (CALL, READ, request("prompts/get", {"name": "raw__odd"}, modern=True)):
        status, answer = post(url, message)
        assert (status, answer["result"]["resultType"]) == (200, "complete")
    name = base64.b64encode(b"raw__echo").decode()
    assert post(url, CALL, {"Mcp-Name": f"=?base64?{name}?="})[0] == 200
    assert post(url, CALL, {"Mcp-Name": "  raw__echo "})[0] == 200, "blanks around it are not part of it"


@requirement("modern:headers")
@pytest.mark.parametrize(
    "headers",
    [
        {"MCP-Protocol-Version": ""},
        {"MCP-Protocol-Version": "2025-11-25"},
        {"Mcp-Method": ""},
        {"Mcp-Method": "tools/list"},
        {"Mcp-Method": "TOOLS/CALL"},
        {"Mcp-Name": ""},
        {"Mcp-Name": "raw__raw"},
        {"Mcp-Name": "=?base64?!!!?="},
        {"Mcp-Name": "=?base64?cmF3X19yYXc=?="},
    ],
)
def test_headers_that_say_anything_else_are_refused(url: str, headers: dict[str, str]) -> None:
    status, answer = post(url, CALL, headers)
    assert (status, answer["id"], answer["error"]["code"]) == (400, CALL["id"], -32020)


@requirement("modern:headers")
def test_what_was_said_before_counts_for_no_request_that_says_something_else(url: str) -> None:
    """One connection: the envelope of the first call is remembered."""
    listed = request("tools/call", {"name": "raw__echo", "arguments": {"a": [1, []], "b": {}}}, modern=True)
    other = request("tools/call", {"name": "raw__raw", "arguments": {}}, modern=True)
    with kept_alive(url) as ask:
        for message in (CALL, listed, CALL):
            status, answer = ask(message, fields(message))
            assert (status, answer["result"]["resultType"]) == (200, "complete")
        assert ask(other, fields(CALL))[1]["error"]["code"] == -32020
        assert ask(CALL, {**fields(CALL), "MCP-Protocol-Version": "2025-11-25"})[1]["error"]["code"] == -32020
        assert ask(without(CALL, CAPABILITIES), fields(CALL))[1]["error"]["code"] == -32602


@requirement("modern:headers")
def test_what_was_said_of_one_resource_counts_for_no_other(url: str) -> None:
    """The envelope is remembered, by all that the headers say again."""
    other = request("resources/read", {"uri": "raw://other"}, modern=True)
    both = request("resources/read", {"uri": "raw://odd", "name": "raw://odd"}, modern=True)
    with kept_alive(url) as ask:
        assert [ask(message, fields(READ))[0] for message in (READ, both, READ)] == [200, 200, 200]
        for message in (other, request("resources/read", {**both["params"], "uri": "raw://other"}, modern=True)):
            assert ask(message, fields(READ))[1]["error"]["code"] == -32020


@requirement("modern:headers")
def test_a_resource_is_named_by_its_uri(url: str) -> None:
    assert post(url, READ, {"Mcp-Name": "raw://other"})[1]["error"]["code"] == -32020
    assert post(url, READ, {"Mcp-Name": ""})[1]["error"]["code"] == -32020


@requirement("modern:envelope")
def test_an_incomplete_envelope_is_refused(url: str) -> None:
    status, answer = post(url, without(CALL, CAPABILITIES))
    assert (status, answer["id"], answer["error"]["code"]) == (400, CALL["id"], -32602)
    headers = fields(CALL)
    with sent("POST", url, json.dumps(without(CALL, VERSION)).encode(), headers) as response:
        assert response.status == 400
        assert json.loads(response.read())["error"]["code"] in (-32602, -32020)
    with sent("POST", url, json.dumps({**CALL, "params": {"name": "raw__echo"}}).encode(), headers) as response:
        assert response.status == 400


@requirement("modern:version")
@pytest.mark.parametrize("version", ["2099-01-01", "2026-07-29", "latest"])
def test_a_revision_nobody_knows_is_refused_with_those_there_are(url: str, version: str) -> None:
    params = {"_meta": ENVELOPE["_meta"] | {VERSION: version}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}
    status, answer = post(url, message)
    assert (status, answer["error"]["code"]) == (400, -32022)
    assert answer["error"]["data"] == {"supported": ["2026-07-28"], "requested": version}


@requirement("modern:status")
def test_errors_have_a_status_that_says_so(url: str) -> None:
    for method, params, expected in (
        ("nonesuch", {}, (404, -32601)),
        ("ping", {}, (404, -32601)),
        ("initialize", {}, (404, -32601)),
        ("tools/call", {"name": "nonesuch"}, (400, -32602)),
        ("tools/list", {"cursor": "nonsense"}, (400, -32602)),
        ("tools/call", {"name": "raw__refuse"}, (400, -32050)),
    ):
        status, answer = post(url, request(method, params, modern=True))
        assert (status, answer["error"]["code"]) == expected, method


@requirement("modern:methods")
def test_there_is_nothing_but_post(url: str) -> None:
    for method in ("GET", "DELETE"):
        headers = {"MCP-Protocol-Version": "2026-07-28", "Accept": "text/event-stream"}
        with sent(method, url, None, headers) as response:
            assert (response.status, response.headers["Allow"]) == (405, "POST")


@requirement("modern:notifications")
def test_a_notification_is_202_and_a_response_is_refused(url: str) -> None:
    cancel: dict[str, Any] = {"method": "notifications/cancelled", "params": {"requestId": 1}}
    version = {"MCP-Protocol-Version": "2026-07-28"}
    assert post(url, {"jsonrpc": "2.0", **cancel}, version) == (202, None)
    assert post(url, {"jsonrpc": "2.0", "id": 1, "result": {}}, version)[0] == 400


@requirement("modern:stateless")
def test_a_session_id_means_nothing(url: str) -> None:
    with posted(url, CALL, {"Mcp-Session-Id": "nonesuch"}) as response:
        assert response.status == 200
        assert "Mcp-Session-Id" not in response.headers


@requirement("tools:x-mcp-header")
def test_a_mirrored_argument_must_be_mirrored_truly(url: str) -> None:
    def call(**headers: str) -> tuple[int, Any]:
        params = {"name": "all__test_x_mcp_header", "arguments": {"region": "eu"}}
        return post(url, request("tools/call", params, modern=True), headers)

    assert call(**{"Mcp-Param-Region": "eu"})[1]["result"]["content"][0]["text"] == "region=eu"
    assert call(**{"Mcp-Param-Region": "eu", "Mcp-Param-Unheard": "of"})[0] == 200
    for headers in ({}, {"Mcp-Param-Region": "us"}):
        status, answer = call(**headers)
        assert (status, answer["error"]["code"]) == (400, -32020)


@requirement("http:malformed")
@pytest.mark.parametrize("method", ["tools/call", "tools/list"])
def test_a_request_whose_id_is_null_is_refused_and_not_taken_for_a_notification(url: str, method: str) -> None:
    for more in ({}, {"unusual": 1}):
        message = {"jsonrpc": "2.0", "id": None, "method": method, "params": CALL["params"] | more}
        status, answer = post(url, message)
        assert (status, answer["error"]["code"]) == (400, -32600)
