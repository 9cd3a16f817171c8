"""The differences that are known, and why they are right."""

from typing import Final

from tests.conformance.compare import Known

_NO_STREAM_TO_END: Final = (
    "The server ends the stream of a call, for its client to come back to. Over a pipe, or over one stream for all,"
    " it has no such stream to end, so that the gateway has none to end either."
)
_TAKEN_UP: Final = {"outgoing-request", "incoming-response", "server-sse-disconnect-resume"}
_DECLARES: Final = frozenset(
    {
        "sep-2575-client-declares-elicitation-capability",
        "sep-2575-client-declares-roots-capability",
        "sep-2575-client-declares-sampling-capability",
    }
)
_OF_NO_AGENT: Final = (
    "What an agent can do is declared on that agent's requests and not on the gateway's own, and this server offers"
    " nothing that an agent could ask of it."
)

KNOWN: Final = (
    Known("2025-11-25", ("sse", "stdio", "highlevel-stdio"), {"server-sse-polling": _TAKEN_UP}, _NO_STREAM_TO_END),
    Known(
        "2026-07-28",
        ("sse", "http-handshake"),
        {
            "input-required-result-basic-elicitation": {
                "sep-2322-elicitation-incomplete",
                "sep-2322-elicitation-complete",
            },
            "input-required-result-ignore-extra-params": {"sep-2322-ignore-unexpected-params"},
        },
        "The suite looks for questions by their keys. In the handshake era questions have no keys.",
    ),
    Known("2026-07-28", ("modern",), {"request-metadata": _DECLARES}, _OF_NO_AGENT),
    Known(
        "2026-07-28",
        ("handshake",),
        {
            "http-standard-headers": {"sep-2243-client-includes-standard-headers"},
            "request-metadata": _DECLARES
            | {
                "sep-2575-client-populates-meta",
                "sep-2575-client-retry-supported-version",
                "sep-2575-client-sends-client-info",
                "sep-2575-http-client-sends-version-header",
            },
        },
        "For an agent of the handshake era that can be asked something the gateway tries `initialize` first, once. That"
        " is a request of the older revisions, which know no such headers and no envelope; this server refuses it and"
        " is spoken to in its own era from then on. Besides: " + _OF_NO_AGENT,
    ),
)
