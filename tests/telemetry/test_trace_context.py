"""W3C contexts as they are read and written, and whether calls are traced at all."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.models import GatewaySettings
from gateway.errors import ConfigError
from gateway.telemetry import client_share, trace_context
from gateway.telemetry.client_share import ClientShare
from gateway.telemetry.tracing import is_on

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD: Final = f"00-{TRACE}-{SPAN}-01"
ENDPOINT: Final = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (GOOD, GOOD),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-03", GOOD),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", GOOD),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f" {GOOD}", None),
        (f"{GOOD}\n", None),
        ("", None),
        (None, None),
        (7, None),
        ([GOOD], None),
    ],
)
def test_traceparent(given: Any, written: str | None) -> None:
    context = trace_context.remote({"traceparent": given})
    assert (trace_context.header(context) if context is not None else None) == written
    assert context is None or context.is_remote


@pytest.mark.parametrize(
    ("given", "read"),
    [("a=1,b=2", "a=1,b=2"), ("a=1", "a=1"), ("x" * 513, ""), ("a=\n1", ""), ("nonsense", ""), (7, ""), (None, "")],
)
def test_tracestate(given: Any, read: str) -> None:
    context = trace_context.remote({"traceparent": GOOD, "tracestate": given})
    assert context is not None
    assert context.trace_state.to_header() == read


def test_baggage_is_that_of_the_first_who_has_any() -> None:
    assert trace_context.baggage({"baggage": "a=1"}, {"baggage": "b=2"}) == "a=1"
    assert trace_context.baggage({"baggage": "a=1\r\nx: y"}, {"baggage": "b=2"}) == "b=2"
    assert trace_context.baggage({"baggage": "x" * 8193}, {}) == ""


json = st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner), max_leaves=3)


@given(st.fixed_dictionaries({}, optional={name: json | st.just(GOOD) for name in trace_context.FIELDS}))
def test_nothing_that_a_client_sends_is_too_odd(fields: dict[str, Any]) -> None:
    context = trace_context.remote(fields)
    assert context is None or context.is_valid
    written = trace_context.baggage(fields) + (context.trace_state.to_header() if context is not None else "")
    assert written.isascii()
    assert "\n" not in written
    assert "\r" not in written


@pytest.mark.parametrize(
    ("enabled", "variables", "expected"),
    [
        (None, {}, False),
        (None, ENDPOINT, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        (None, {"OTEL_TRACES_EXPORTER": "otlp"}, False),
        (None, {**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, False),
        (None, {**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True),
        (None, {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        (None, {**ENDPOINT, "OTEL_TRACES_EXPORTER": "zipkin"}, False),
        (None, {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
        (False, ENDPOINT, False),
        (True, {}, True),
        (True, {"OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_whether_calls_are_traced(enabled: bool | None, variables: dict[str, str], expected: bool) -> None:
    settings = GatewaySettings.model_validate({"tracing": {"enabled": enabled}})
    assert is_on(settings, variables) is expected


def test_what_is_asked_for_and_cannot_be_is_an_error() -> None:
    settings = GatewaySettings.model_validate({"tracing": {"enabled": True}})
    with pytest.raises(ConfigError, match="only 'http/protobuf' is spoken"):
        is_on(settings, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


@pytest.mark.parametrize(("share", "granted"), [(0.0, 0), (0.1, 10), (0.25, 25), (1 / 3, 34), (0.5, 50), (1.0, 100)])
def test_of_what_a_tenant_wants_sampled_a_share_is(share: float, granted: int) -> None:
    shares = ClientShare(share)
    decisions = [shares.grants("ann") for _ in range(100)]
    assert sum(decisions) == granted
    assert decisions[0] is (share > 0), "for whoever looks into something by hand"
    assert shares.grants("bob") is (share > 0)


def test_tenants_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_share, "MAX_TENANTS", 2)
    shares = ClientShare(0.5)
    assert [shares.grants(who) for who in ("ann", "bob", "ann", "cat", "bob")] == [True, True, False, True, True]
