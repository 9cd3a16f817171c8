"""What an agent does wrong, and what it is told."""

from typing import Any

import pytest

from tests.interaction._requirements import requirement
from tests.interaction._wire import Wire

BOTH_ERAS: list[tuple[str, dict[str, Any]]] = [
    ("tools/call", {}),
    ("tools/call", {"name": "raw-http-modern__raw", "arguments": [1]}),
    ("tools/call", {"name": "raw-http-modern__raw", "arguments": "x"}),
    ("prompts/get", {}),
    ("resources/read", {}),
    ("completion/complete", {}),
    ("completion/complete", {"ref": {"type": "ref/nothing"}}),
    ("completion/complete", {"ref": {"type": "ref/prompt"}}),
    ("completion/complete", {"ref": []}),
    ("tools/list", {"cursor": 5}),
    ("tools/list", {"cursor": "☃"}),
    ("prompts/list", {"cursor": "bm9wZQ"}),
]
HANDSHAKE: list[tuple[str, dict[str, Any]]] = [
    ("tools/call", {"name": 7}),  # in the modern era it would contradict its header first
    ("prompts/get", {"name": None}),
    ("resources/read", {"uri": 7}),
    ("logging/setLevel", {}),
    ("logging/setLevel", {"level": "loud"}),
    ("logging/setLevel", {"level": ["debug"]}),
    ("resources/subscribe", {}),
    ("resources/unsubscribe", {"uri": None}),
]
MODERN: list[tuple[str, dict[str, Any]]] = [
    ("subscriptions/listen", {}),
    ("subscriptions/listen", {"notifications": []}),
    ("subscriptions/listen", {"notifications": {"resourceSubscriptions": "test://one"}}),
    ("subscriptions/listen", {"notifications": {"resourceSubscriptions": [7]}}),
]


@requirement("errors:params")
def test_malformed_parameters_are_refused(wire: Wire) -> None:
    for method, params in BOTH_ERAS + (MODERN if wire.modern else HANDSHAKE):
        answer = wire.ask(method, params)
        assert answer.message.get("error", {}).get("code") == -32602, (method, params, answer.message)
        assert answer.error["message"]


@requirement("errors:method")
def test_an_unknown_method_is_refused(wire: Wire) -> None:
    gone = ["resources/subscribe", "resources/unsubscribe", "logging/setLevel"]
    for method in ("nonesuch", "tools/", *(gone if wire.modern else ["subscriptions/listen"])):
        assert wire.ask(method, {"uri": "raw://odd", "level": "info"}).error["code"] == -32601


@requirement("errors:id")
@pytest.mark.parametrize("id", [0, -1, 2**53 + 1, "", "0", "☃", "x" * 1000])
def test_an_answer_has_the_id_of_its_request(wire: Wire, id: int | str) -> None:
    answer = wire.ask("tools/list", id=id)
    assert answer.result["tools"]
    assert answer.message["id"] == id
    assert type(answer.message["id"]) is type(id)
    assert wire.ask("nonesuch", id=id).message["id"] == id
