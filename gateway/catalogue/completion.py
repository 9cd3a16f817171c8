"""Which of an upstream's suggestions for a resource template lead to URIs that somebody may have. Pure."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gateway import sdk
from gateway.jsonrpc import as_object

if TYPE_CHECKING:
    from mcp.shared.uri_template import UriTemplate


def permitted(
    result: Mapping[str, Any], template: str, params: Mapping[str, Any], admits: Callable[[str], bool]
) -> dict[str, Any]:
    """The result of a `completion/complete` without the values that lead where one may not go.

    A value is tried in the template, beside those that the agent has chosen for other variables before; what is still
    open is left empty. Where that makes no URI nothing can be told of it, and nothing is suggested.

    Args:
        template: the upstream's own `uriTemplate`.
        params: of the request.
        admits: whether a URI, in the upstream's own form, may be had.
    """
    completion = as_object(result.get("completion"))
    values: list[Any] = completion["values"] if isinstance(completion.get("values"), list) else []
    parsed = _parsed(template)
    name = as_object(params.get("argument")).get("name")
    chosen = as_object(as_object(params.get("context")).get("arguments"))
    variables = {key: value for key, value in chosen.items() if isinstance(value, str)}
    kept = [
        value
        for value in values
        if parsed is not None
        and isinstance(value, str)
        and name in parsed.variable_names
        and admits(parsed.expand({**variables, str(name): value}))
    ]
    if len(kept) == len(values):
        return dict(result)
    rest = {key: value for key, value in completion.items() if key != "total"}  # it counts what is hidden, too
    return {**result, "completion": {**rest, "values": kept}}


def _parsed(template: str) -> "UriTemplate | None":
    sdk.load()
    from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate

    try:
        return UriTemplate.parse(template)
    except InvalidUriTemplate:
        return None
