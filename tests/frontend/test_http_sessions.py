"""Streamable HTTP of the handshake era: sessions, their one standing stream, and requests without any."""

import json
from typing import Any

import pytest

from tests.interaction._http import BOTH, HttpChannel, events, open_session, post, posted, sent
from tests.interaction._requirements import requirement
from tests.interaction._wire import Wire, request
from tests.servers.peers import OPENING

LIST = request("tools/list")
STREAM = {"Accept": "text/event-stream"}


def status_of(method: str, url: str, headers: dict[str, str]) -> int:
    with sent(method, url, None, STREAM | headers) as response:
        return response.status


@requirement("session:opened")
def test_initialize_opens_a_session_that_its_requests_name(url: str) -> None:
    ids: set[str] = set()
    for _ in range(3):
        session = open_session(url)
        id = session["Mcp-Session-Id"]
        assert len(id) >= 22, "not to be guessed"
        assert all("!" <= character <= "~" for character in id)
        ids.add(id)
        with posted(url, LIST, session) as response:
            assert response.status == 200
            assert response.headers["Mcp-Session-Id"] == id
    assert len(ids) == 3


@requirement("session:opened")
def test_a_failed_initialize_opens_none(url: str) -> None:
    with posted(url, request("initialize", {})) as response:
        assert json.loads(response.read())["error"]["code"] == -32602
        id = response.headers["Mcp-Session-Id"]
    assert id is None or post(url, LIST, {"Mcp-Session-Id": id})[0] == 404


@requirement("session:missing")
def test_a_request_of_the_era_that_names_no_session_is_400(url: str) -> None:
    status, answer = post(url, LIST, {"MCP-Protocol-Version": "2025-11-25"})
    assert (status, answer["error"]["code"]) == (400, -32600)
    assert "initialize" in answer["error"]["message"]
    assert status_of("GET", url, {}) == 400
    assert status_of("DELETE", url, {}) == 400


@requirement("session:dead")
def test_a_session_that_is_not_there_is_404(url: str) -> None:
    for id in ("nonesuch", "x" * 5000, "é"):
        headers = {"Mcp-Session-Id": id, "MCP-Protocol-Version": "2025-11-25"}
        status, answer = post(url, LIST, headers)
        assert (status, answer["error"]["code"]) == (404, -32600)
        assert status_of("GET", url, headers) == 404
        assert status_of("DELETE", url, headers) == 404


@requirement("session:delete", "session:dead")
def test_a_deleted_session_is_dead(url: str) -> None:
    session = open_session(url)
    assert status_of("DELETE", url, session) == 200
    assert post(url, LIST, session)[0] == 404
    assert status_of("DELETE", url, session) == 404


@requirement("session:view")
def test_a_session_belongs_to_where_it_was_opened(base: str) -> None:
    session = open_session(f"{base}/mcp/raw")
    assert post(f"{base}/mcp/raw", LIST, session)[0] == 200
    assert post(f"{base}/mcp/raw/", LIST, session)[0] == 200
    for path in ("/mcp", "/mcp/all"):
        assert post(f"{base}{path}", LIST, session)[0] == 404
        assert status_of("DELETE", f"{base}{path}", session) == 404
    assert post(f"{base}/mcp/raw", LIST, session)[0] == 200, "and lives on"


@requirement("session:version")
def test_a_revision_nobody_knows_is_400(url: str) -> None:
    session = open_session(url)
    for version in ("1999-01-01", "2026-99-99", "latest"):
        assert post(url, LIST, session | {"MCP-Protocol-Version": version})[0] == 400
    for version in ("2025-06-18", ""):
        assert post(url, LIST, session | {"MCP-Protocol-Version": version})[0] == 200


@requirement("session:notifications")
def test_what_is_owed_no_answer_is_202(url: str) -> None:
    session = open_session(url)
    silent: list[dict[str, Any]] = [
        {"method": "notifications/cancelled", "params": {"requestId": "nonesuch"}},
        {"method": "notifications/cancelled", "params": {"requestId": None}},
        {"method": "notifications/cancelled"},
        {"method": "notifications/roots/list_changed"},
        {"method": "nonesuch"},
        {"id": 1, "result": {}},
        {"id": "nonesuch", "error": {"code": -1, "message": ""}},
    ]
    for message in silent:
        assert post(url, {"jsonrpc": "2.0", **message}, session) == (202, None)


@requirement("session:same-id")
def test_a_request_id_in_use_is_refused(url: str) -> None:
    session = open_session(url)
    slow = request("tools/call", {"name": "all__slow", "arguments": {"seconds": 0.3}, "_meta": {"progressToken": 1}})
    with posted(url, slow, session) as response:  # its first progress is there, and so it is running
        assert response.headers.get_content_type() == "text/event-stream"
        status, answer = post(url, LIST | {"id": slow["id"]}, session)
        assert (status, answer["error"]["code"]) == (200, -32600)
        assert post(url, LIST | {"id": slow["id"]}, open_session(url))[1]["result"], "another session's ids are its own"
        *_, (_, last) = events(response)
        assert "result" in json.loads(last)


# --- The standing stream ----------------------------------------------------------------------------------------------


@requirement("session:stream")
def test_the_standing_stream_carries_what_belongs_to_no_request(url: str) -> None:
    session = open_session(url)
    agent = Wire(HttpChannel(url, session), modern=False)
    with sent("GET", url, None, STREAM | session) as response:
        assert response.status == 200
        assert response.headers.get_content_type() == "text/event-stream"
        assert response.headers["Mcp-Session-Id"] == session["Mcp-Session-Id"]
        heard = (json.loads(data) for event, data in events(response) if event == "message")
        agent.call("all__add_tool", name="heard_standing")
        assert next(heard)["method"] == "notifications/tools/list_changed"
        agent.call("all__remove_tool", name="heard_standing")
        assert next(heard)["method"] == "notifications/tools/list_changed"


@requirement("session:stream")
def test_what_happens_before_the_stream_is_open_is_kept_for_it(url: str) -> None:
    session = open_session(url)
    agent, witness = Wire(HttpChannel(url, session), modern=False), open_session(url)
    with sent("GET", url, None, STREAM | witness) as response:
        agent.call("all__add_tool", name="before_it_was_open")
        heard = (data for event, data in events(response) if event == "message")
        assert "list_changed" in next(heard)
        agent.call("all__remove_tool", name="before_it_was_open")
        assert "list_changed" in next(heard)
    with sent("GET", url, None, STREAM | session) as response:
        assert "list_changed" in next(data for event, data in events(response) if event == "message")


@requirement("session:one-stream")
def test_a_second_standing_stream_is_409_while_there_is_a_first(url: str) -> None:
    session = open_session(url)
    with sent("GET", url, None, STREAM | session) as response:
        assert response.status == 200
        assert status_of("GET", url, session) == 409
        assert status_of("DELETE", url, session) == 200
        assert [event for event, _ in events(response) if event != ":"] == [], "the session's end is the stream's"


@requirement("http:accept")
def test_a_stream_is_only_for_who_accepts_one(url: str) -> None:
    with sent("GET", url, None, open_session(url) | {"Accept": "application/json"}) as response:
        assert response.status == 406


# --- No session at all ------------------------------------------------------------------------------------------------


@requirement("http:plain")
def test_plain_http_tools_need_no_session(url: str) -> None:
    def ask(method: str, params: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        with sent("POST", url, body, {"Content-Type": "application/json"}) as response:
            assert response.status == 200
            assert "Mcp-Session-Id" not in response.headers
            return json.loads(response.read())

    assert ask("ping", {})["result"] == {}
    assert ask("tools/list", {})["result"]["tools"]
    assert ask("tools/call", {"name": "raw__echo", "arguments": {"a": 1}})["result"]["structuredContent"] == {"a": 1}
    assert ask("resources/read", {"uri": "raw://odd"})["result"]["contents"]
    assert ask("tools/call", {"name": "nonesuch"})["error"]["code"] == -32602
    assert post(url, {"jsonrpc": "2.0", "method": "notifications/initialized"}) == (202, None)


@requirement("http:plain")
@pytest.mark.parametrize("method", ["resources/subscribe", "resources/unsubscribe"])
def test_what_needs_a_session_says_so(url: str, method: str) -> None:
    status, answer = post(url, request(method, {"uri": "test://watched-resource"}))
    assert status in (200, 400)
    assert answer["error"]["code"] == -32600
    assert "initialize" in answer["error"]["message"]


@requirement("session:opened")
def test_a_session_is_not_opened_by_a_notification(url: str) -> None:
    with posted(url, {"jsonrpc": "2.0", "method": "initialize", "params": OPENING}, BOTH) as response:
        assert response.status == 202
        assert "Mcp-Session-Id" not in response.headers
