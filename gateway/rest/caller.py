"""Who is calling, and what for: the dependencies that every endpoint but the public ones has."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Response, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from gateway.errors import InsufficientScope, Unauthenticated
from gateway.request import ADMIN, READ, Principal
from gateway.rest.failures import body_of
from gateway.rest.models import Failure

Count = Callable[[Principal], Awaitable[Mapping[str, str]]]

_SCHEMES: Final = [
    Security(APIKeyHeader(name="X-Api-Key", scheme_name="API key", auto_error=False)),
    Security(APIKeyHeader(name="X-Agent-Token", scheme_name="Agent token", auto_error=False)),
    Security(HTTPBearer(scheme_name="API key or OAuth token", auto_error=False)),
]
"""For `/docs`: the credential itself was read before the request came here."""

_EXAMPLES: Final = {
    400: ("invalid_params", "agent_name: Field required"),
    401: ("unauthenticated", "Authentication is required: send one of x-api-key, x-agent-token, authorization."),
    403: ("insufficient_scope", "This needs the scope admin, which your credential lacks."),
    404: ("not_found", "There is no such upstream."),
    413: ("payload_too_large", "The body is larger than 65536 bytes."),
    415: ("unsupported_media_type", "Content-Type must be application/json."),
    429: ("rate_limited", "Too many requests: the limit of 60 a minute is used up. Try again in 7 s."),
    503: ("not_saved", "The agent was not registered (No space left on device). Make room, and try again."),
}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ways in which an endpoint fails, for its `responses`."""
    return {
        status: {"model": Failure, "content": {"application/json": {"example": body_of(*_EXAMPLES[status])}}}
        for status in statuses
    }


async def _caller(request: Request) -> Principal:
    principal = request.scope.get("user")
    if not isinstance(principal, Principal):
        raise Unauthenticated("Authentication is required.")
    return principal


async def _anybody(request: Request) -> Principal | None:
    principal = request.scope.get("user")
    return principal if isinstance(principal, Principal) else None


def _needs(scope: str) -> Callable[[Principal], Awaitable[Principal]]:
    async def check(principal: "Caller") -> Principal:
        if scope not in principal.scopes:
            raise InsufficientScope({scope})
        return principal

    return check


Caller = Annotated[Principal, Depends(_caller)]
"""Anybody who is somebody."""
Anybody = Annotated[Principal | None, Depends(_anybody)]
"""Whoever it is; None for who did not say."""
Reader = Annotated[Principal, Depends(_needs(READ))]
Admin = Annotated[Principal, Depends(_needs(ADMIN))]

PRIVATE: Final[dict[str, Any]] = {"dependencies": _SCHEMES, "responses": failures(401)}
"""How a router of endpoints that need a caller is made."""


def counted(count: Count) -> Any:
    """The dependency of an endpoint whose requests are counted.

    Raises:
        RateLimited: there were too many.
    """

    async def check(principal: Caller, response: Response) -> None:
        response.headers.update(await count(principal))

    return Depends(check)
