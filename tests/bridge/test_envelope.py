"""What comes off a request and what goes on a result, for each era."""

from typing import Any

import pytest
from mcp_types.methods import CACHEABLE_METHODS

from gateway.bridge.envelope import SERVER_INFO, dress_result, is_input_required, unwrap_params
from gateway.protocol import META_SERVER_INFO, Era

PREFIX = "io.modelcontextprotocol/"
ENVELOPE: dict[str, Any] = {
    f"{PREFIX}{key}": {} for key in ("protocolVersion", "clientInfo", "clientCapabilities", "logLevel")
}


CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"name": "a"}, {"name": "a"}),
    ({"name": "a", "_meta": ENVELOPE}, {"name": "a"}),
    ({"_meta": {"progressToken": 7}}, {}),
    ({"_meta": {}}, {}),
    ({"_meta": {"traceparent": "00", **ENVELOPE, "progressToken": 7}}, {"_meta": {"traceparent": "00"}}),
    ({"_meta": {f"{PREFIX}related-task": {"taskId": "1"}, "a": 1}}, {"_meta": {"a": 1}}),
    ({"_meta": None}, {"_meta": None}),
    ({"arguments": {"_meta": ENVELOPE}}, {"arguments": {"_meta": ENVELOPE}}),
]


@pytest.mark.parametrize(("params", "expected"), CASES)
def test_what_describes_the_agents_hop_comes_off(params: dict[str, Any], expected: dict[str, Any]) -> None:
    before = repr(params)
    assert unwrap_params(params) == expected
    assert repr(params) == before, "the request still needs it"


def test_the_handshake_era_knows_no_result_type() -> None:
    result: dict[str, Any] = {"content": [], "resultType": "complete", "_meta": {"a": 1}}
    assert dress_result(result, "tools/call", Era.HANDSHAKE) == {"content": [], "_meta": {"a": 1}}
    assert dress_result({}, "tools/list", Era.HANDSHAKE) == {}


@pytest.mark.parametrize("method", sorted(CACHEABLE_METHODS))
def test_the_modern_era_says_how_long_what_may_be_kept(method: str) -> None:
    dressed = dress_result({}, method, Era.MODERN)
    assert dressed == {
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {META_SERVER_INFO: SERVER_INFO},
    }


@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "completion/complete", "subscriptions/listen"])
def test_what_may_not_be_kept_says_nothing_of_it(method: str) -> None:
    assert dress_result({}, method, Era.MODERN).keys() == {"resultType", "_meta"}


def test_an_upstreams_own_words_win() -> None:
    own: dict[str, Any] = {
        "resultType": "task",
        "ttlMs": 5,
        "cacheScope": "public",
        "_meta": {META_SERVER_INFO: {"name": "up"}},
    }
    assert dress_result(own.copy(), "tools/list", Era.MODERN, {"name": "view"}) == own
    assert dress_result({}, "ping", Era.MODERN, {"name": "view"})["_meta"] == {META_SERVER_INFO: {"name": "view"}}


def test_a_meta_that_is_no_object_is_left_alone() -> None:
    assert dress_result({"_meta": None}, "tools/call", Era.MODERN)["_meta"] is None


@pytest.mark.parametrize(
    ("result", "expected"),
    [({"resultType": "input_required"}, True), ({"resultType": "complete"}, False), ({}, False)],
)
def test_questions_are_recognised(result: dict[str, Any], expected: bool) -> None:
    assert is_input_required(result) is expected
