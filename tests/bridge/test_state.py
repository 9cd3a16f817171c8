"""`requestState`: good for one principal, upstream and request, for some time, under keys that may change."""

from typing import Any

import pytest

from gateway.bridge.state import StateSeal
from gateway.bridge.timing import USUAL
from gateway.call import Call
from gateway.errors import InvalidRequestState
from tests.bridge.requests import agent, call

OLD, NEW = b"o" * 32, "n" * 32
CONTENT = {"state": "s" * 500, "n": 2**70}
ARGUMENTS: dict[str, Any] = {"b": 1, "a": [1.5, None, "☃", {"y": 2**70, "x": 0}]}


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def refused(seal: StateSeal, state: object, request: Call, upstream: str = "up") -> bool:
    with pytest.raises(InvalidRequestState) as caught:
        seal.open(state, request, upstream)
    return (caught.value.code, caught.value.data) == (-32602, {"reason": "invalid_request_state"})


def test_a_retry_of_the_same_request_opens_it() -> None:
    seal = StateSeal([NEW])
    state = seal.seal(CONTENT, call(arguments=ARGUMENTS), "up")
    assert "sss" not in state
    retry = call(arguments=dict(reversed(ARGUMENTS.items())), inputResponses={"a": {}}, _meta={"progressToken": 7})
    retry.id = "another"
    assert seal.open(state, retry, "up") == CONTENT


@pytest.mark.parametrize(
    ("other", "upstream"),
    [
        (call(arguments=ARGUMENTS), "down"),
        (call(agent(principal="bob"), arguments=ARGUMENTS), "up"),
        (call(agent(view="up"), arguments=ARGUMENTS), "up"),
        (call(arguments=ARGUMENTS, name="b"), "up"),
        (call(arguments={**ARGUMENTS, "b": 2}), "up"),
        (call(arguments={**ARGUMENTS, "b": "1"}), "up"),
        (call(arguments={**ARGUMENTS, "c": None}), "up"),
        (call(), "up"),
        (call(arguments=ARGUMENTS, method="prompts/get"), "up"),
        (call(arguments=ARGUMENTS, uri="a:1"), "up"),
    ],
    ids=["upstream", "principal", "view", "tool", "value", "type", "more", "none", "method", "uri"],
)
def test_any_other_request_does_not(other: Call, upstream: str) -> None:
    seal = StateSeal([NEW])
    assert refused(seal, seal.seal(CONTENT, call(arguments=ARGUMENTS), "up"), other, upstream)


@pytest.mark.parametrize("state", ["", "x", "☃", "v1." + "A" * 100, 7, [], {}, True, "A" * 1_000_000])
def test_what_was_never_sealed_is_refused(state: object) -> None:
    assert refused(StateSeal([NEW]), state, call())


def test_what_was_changed_on_the_way_is_refused() -> None:
    seal, request = StateSeal([NEW]), call()
    state = seal.seal(CONTENT, request, "up")
    for position in range(0, len(state), 7):
        changed = "A" if state[position] != "A" else "B"
        assert refused(seal, state[:position] + changed + state[position + 1 :], request)
    assert refused(seal, state[:-1], request)


def test_it_expires() -> None:
    clock = Clock()
    seal, request = StateSeal([NEW], clock), call()
    state = seal.seal(CONTENT, request, "up")
    clock.now += USUAL.lifetime_seconds - 1
    assert seal.open(state, request, "up") == CONTENT
    clock.now += 1
    assert refused(seal, state, request)


def test_keys_are_changed_one_after_the_other() -> None:
    """The first seals, all unseal: a new key comes first, and the old one goes when nothing of it is about any more."""
    request = call()
    before, during, after = StateSeal([OLD]), StateSeal([NEW, OLD]), StateSeal([NEW])
    state = before.seal(CONTENT, request, "up")
    assert during.open(state, request, "up") == CONTENT
    assert after.open(during.seal(CONTENT, request, "up"), request, "up") == CONTENT
    assert refused(after, state, request)
    assert refused(before, during.seal(CONTENT, request, "up"), request)


def test_however_deep_the_arguments() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    seal, request = StateSeal([NEW]), call(arguments={"a": deep})
    assert seal.open(seal.seal(CONTENT, request, "up"), request, "up") == CONTENT
