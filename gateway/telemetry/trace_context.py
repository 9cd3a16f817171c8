"""W3C Trace Context and Baggage, as headers and, under the same names, in `_meta` (SEP-414).

Source: https://www.w3.org/TR/trace-context/ and https://www.w3.org/TR/baggage/. What is not as they say is not there.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

FIELDS: Final = frozenset({"traceparent", "tracestate", "baggage"})
LONGEST_STATE: Final = 512
"""Characters of a `tracestate`."""
LONGEST_BAGGAGE: Final = 8192
"""Bytes of a `baggage`."""

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?")
_VISIBLE: Final = re.compile(r"[\x20-\x7e]*")
_LONGEST_PARENT: Final = 512


def remote(carrier: Mapping[str, Any]) -> SpanContext | None:
    """The context that a request came with."""
    given = carrier.get("traceparent")
    if not isinstance(given, str) or len(given) > _LONGEST_PARENT or not (parts := _TRACEPARENT.fullmatch(given)):
        return None
    version, trace, span, flags, more = parts.groups()
    if version == "ff" or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
        return None
    sampled = TraceFlags(int(flags, 16) & TraceFlags.SAMPLED)
    return SpanContext(int(trace, 16), int(span, 16), True, sampled, _state(carrier.get("tracestate")))


def _state(given: object) -> TraceState:
    if isinstance(given, str) and len(given) <= LONGEST_STATE and _VISIBLE.fullmatch(given):
        return TraceState.from_header([given])
    return TraceState()


def baggage(*carriers: Mapping[str, Any]) -> str:
    """The baggage that a request came with: that of the first carrier that has any. Empty if none has."""
    for carrier in carriers:
        given = carrier.get("baggage")
        if isinstance(given, str) and given and len(given) <= LONGEST_BAGGAGE and _VISIBLE.fullmatch(given):
            return given
    return ""


def header(context: SpanContext) -> str:
    """As a `traceparent`."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & TraceFlags.SAMPLED:02x}"
