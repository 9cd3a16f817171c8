"""What the configuration proves to an API with, put where the document's security schemes want it."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.openapi.model import Operation, SecurityScheme


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request carries besides its arguments."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """By lower-case name."""
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    cookies: Mapping[str, str] = field(default_factory=dict[str, str])


NO_PROOF: Final = Proof()
KINDS: Final = frozenset({"apiKey", "http", "oauth2", "openIdConnect"})
"""Security schemes that a key or a token satisfies."""


def proof_of(operation: Operation, schemes: Mapping[str, SecurityScheme], credentials: Mapping[str, str]) -> Proof:
    """For each of the operation's alternatives for which there are credentials, as far as they are not in each other's
    way: documents that frameworks write name several where one alone is refused.

    Args:
        credentials: name of a scheme → a key or token, or `user:password`.
    """
    if not credentials:
        return NO_PROOF
    found: dict[str, dict[str, str]] = {"header": {}, "query": {}, "cookie": {}}
    for names in operation.security:
        if all(name in credentials and name in schemes and schemes[name].kind in KINDS for name in names):
            written = [_written(schemes[name], credentials[name]) for name in names]
            if not any(name in found[place] for place, name, _ in written):
                for place, name, value in written:
                    found[place][name] = value
    return Proof(found["header"], found["query"], found["cookie"])


def _written(scheme: SecurityScheme, value: str) -> tuple[str, str, str]:
    """Place, name and value of what a scheme wants."""
    if scheme.kind == "apiKey":
        in_url = scheme.place in ("query", "cookie")
        return (scheme.place, scheme.name, value) if in_url else ("header", scheme.name.lower(), value)
    if scheme.kind == "http" and scheme.scheme == "basic":
        return "header", "authorization", f"Basic {base64.b64encode(value.encode()).decode()}"
    word = "Bearer" if scheme.scheme in ("", "bearer") else scheme.scheme.capitalize()
    return "header", "authorization", f"{word} {value}"
