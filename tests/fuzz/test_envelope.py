"""Whatever an agent says of itself: it is understood, or refused with one of our errors."""

from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.bridge.envelope import dress_result, unwrap_params
from gateway.errors import GatewayError
from gateway.frontend.body import check_shape
from gateway.jsonrpc import as_object
from gateway.protocol import ENVELOPE_KEYS, META_CLIENT_CAPABILITIES, META_VERSION, Era
from gateway.request import ANONYMOUS, is_askable
from gateway.server.agents import carries_envelope, modern_agent

META = sorted(ENVELOPE_KEYS - {META_VERSION, META_CLIENT_CAPABILITIES})

scalars = st.none() | st.booleans() | st.integers() | st.just(2**70) | st.text(max_size=8) | st.floats()
keys = st.sampled_from(["name", "uri", "_meta", "progressToken", "sampling", "x", "", "\ud800", META_VERSION, *META])
words = st.sampled_from(["2026-07-28", "2025-11-25", "2099-01-01", "tools/call", "initialize", "debug", "a\nb", "ünï"])
anything = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)
envelopes = st.fixed_dictionaries(
    {META_VERSION: st.just("2026-07-28") | anything, META_CLIENT_CAPABILITIES: st.builds(dict[str, Any]) | anything},
    optional=dict.fromkeys(META, anything),
)
params = st.fixed_dictionaries({"_meta": envelopes | anything}, optional={"name": anything, "uri": anything})
messages = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "id": st.integers() | st.text(max_size=4), "method": words | st.text(max_size=8)},
    optional={"params": params | anything},
)
values = words | st.text(st.characters(max_codepoint=255), max_size=12) | st.just("=?base64?w4k=?=")
headers = st.dictionaries(
    st.sampled_from(["mcp-protocol-version", "mcp-method", "mcp-name", "mcp-param-x", "content-type"]), values
)


@settings(deadline=None)
@given(messages, st.none() | headers)
def test_any_envelope(message: dict[str, Any], given_headers: dict[str, str] | None) -> None:
    refusal: GatewayError | None = None
    before = message
    try:
        check_shape(message)
        before = deepcopy(message)
        carries_envelope(message.get("params"))
        agent = modern_agent(message, ANONYMOUS, None, given_headers)
        assert agent.era is Era.MODERN
        assert is_askable(agent) in (True, False)
    except GatewayError as error:
        refusal = error
    assert refusal is None or (refusal.message and refusal.status < 500)
    assert repr(message) == repr(before)


@settings(deadline=None)
@given(st.dictionaries(keys, anything) | params)
def test_what_is_taken_off_is_the_envelope_alone(given_params: dict[str, Any]) -> None:
    before = deepcopy(given_params)
    rest = unwrap_params(given_params)
    assert repr(given_params) == repr(before)
    assert not ENVELOPE_KEYS.intersection(as_object(rest.get("_meta")))
    assert {key for key in rest if key != "_meta"} == {key for key in given_params if key != "_meta"}


@settings(deadline=None)
@given(
    st.dictionaries(keys | st.just("resultType"), anything), st.sampled_from(Era), st.sampled_from(["tools/list", "x"])
)
def test_any_result_can_be_dressed(result: dict[str, Any], era: Era, method: str) -> None:
    before = deepcopy(result)
    dressed = dress_result(result, method, era)
    assert all(repr(dressed[key]) == repr(before[key]) for key in before if key not in ("_meta", "resultType"))
