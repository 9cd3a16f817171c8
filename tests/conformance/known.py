"""The differences that are known, and why they are right."""

from typing import Final

from tests.conformance.compare import Known

_NO_STREAM_TO_END: Final = (
    "The server ends the stream of a call, for its client to come back to. Over a pipe, or over one stream for all,"
    " it has no such stream to end, so that the gateway has none to end either."
)
_TAKEN_UP: Final = {"outgoing-request", "incoming-response", "server-sse-disconnect-resume"}

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
    Known(
        "2026-07-28",
        ("handshake", "modern"),
        {
            "request-metadata": {
                "sep-2575-client-declares-elicitation-capability",
                "sep-2575-client-declares-roots-capability",
                "sep-2575-client-declares-sampling-capability",
            }
        },
        "What an agent can do is declared on that agent's requests and not on the gateway's own, and this server offers"
        " nothing that an agent could ask of it.",
    ),
    Known(
        "2026-07-28",
        ("handshake",),
        {"http-standard-headers": {"sep-2243-client-includes-standard-headers"}},
        "For an agent of the handshake era that can be asked something the gateway tries `initialize` first, once. That"
        " is a request of the older revisions, which know no such headers; this server refuses it and is spoken to in"
        " its own era from then on.",
    ),
)
