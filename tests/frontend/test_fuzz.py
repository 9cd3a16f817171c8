"""Whatever is posted to a real gateway: an answer of its own for each, and never a defect."""

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.frontend.conftest import MAX_BODY
from tests.interaction._http import BOTH, JSON
from tests.servers.peers import ENVELOPE, SECONDS

scalars = st.none() | st.booleans() | st.integers() | st.just(2**70) | st.text(max_size=8)
keys = st.sampled_from(
    ["name", "uri", "ref", "argument", "arguments", "cursor", "level", "protocolVersion", "x", "_meta"]
)
words = st.sampled_from(["raw__echo", "raw__nonesuch", "raw__", "debug", "ref/prompt", "2025-11-25", "raw://x", "🙂"])
anything = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
methods = st.sampled_from(
    [
        *("initialize", "ping", "tools/list", "tools/call", "resources/list", "resources/read", "prompts/get"),
        *("resources/templates/list", "prompts/list", "completion/complete", "logging/setLevel", "server/discover"),
        *("resources/subscribe", "tasks/get", "roots/list", "notifications/initialized", "rpc.x", ""),
    ]
)
params = st.dictionaries(keys, anything, max_size=4)
messages = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": methods},
    optional={"id": st.integers() | words | anything, "params": params | params.map(lambda more: {**more, **ENVELOPE})},
)
bodies = (messages | anything).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40)
headers = st.dictionaries(
    st.sampled_from(["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Session-Id", "Accept", "Last-Event-ID"]),
    st.sampled_from(
        ["2026-07-28", "2025-11-25", "tools/call", "raw__echo", "*/*", "text/event-stream", "", "=?base64?", "é"]
    ),
    max_size=3,
)

REFUSALS = {400, 404, 405, 406, 413, 415}


def exchange(connection: HTTPConnection, path: str, body: bytes, given_headers: dict[str, str]) -> tuple[int, bytes]:
    encoded = {name: value.encode("latin-1") for name, value in (BOTH | JSON | given_headers).items()}
    connection.request("POST", path, body, encoded)
    with connection.getresponse() as response:
        return response.status, response.read()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_message(base: str, data: st.DataObject) -> None:
    parts = urlsplit(base)
    connection = HTTPConnection(parts.netloc, timeout=SECONDS)
    try:
        for _ in range(2):
            path = data.draw(st.sampled_from(["/mcp", "/mcp/raw", "/messages?session_id=x"]))
            body, more = data.draw(bodies), data.draw(headers)
            assert len(body) < MAX_BODY
            status, answer = exchange(connection, path, body, more)
            assert status in {200, 202, *REFUSALS}, (status, answer)
            assert b"-32603" not in answer, answer
            if status in REFUSALS:
                refusal: dict[str, Any] = json.loads(answer)
                assert refusal["error"]["message"]
    finally:
        connection.close()
